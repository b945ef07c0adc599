//! A PostgreSQL of one test's own, for what the shared one cannot be put through: crashes, other rules, a standby.

use liteferry::postgres::binaries;
use liteferry::postgres::embedded::Cluster;
use liteferry::postgres::url::Place;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server of the test's own, in a directory that the server's user may pass through.
pub struct OwnServer {
    runtime: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
    cluster: Option<Cluster>,
}

impl OwnServer {
    pub fn new() -> OwnServer {
        let mut server = OwnServer::unmade();
        server.start();
        server
    }

    /// A hot standby of this server, made by `pg_basebackup` and following it.
    pub fn standby(&self) -> OwnServer {
        let mut standby = OwnServer::unmade();
        let (from, to) = (self.dir().join("data"), standby.dir().join("data"));
        let owner = fs::metadata(&from).expect("the primary's data are there");
        fs::create_dir(&to).expect("made");
        fs::set_permissions(&to, PermissionsExt::from_mode(0o700)).expect("closed to others");
        chown(&to, Some(owner.uid()), Some(owner.gid())).expect("given to the server's user");
        let bin = binaries::find(binaries::version_of_data(&from)).expect("PostgreSQL is installed").bin;
        let mut backup = Command::new(bin.join("pg_basebackup"));
        backup.arg("--host").arg(self.socket_dir()).args(["--username", "postgres", "--checkpoint", "fast"]);
        backup.arg("--write-recovery-conf").arg("--pgdata").arg(&to).current_dir("/");
        backup.uid(owner.uid()).gid(owner.gid());
        let done = backup.output().expect("pg_basebackup can be started");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(to.join("standby.signal").exists());
        standby.start();
        standby
    }

    fn unmade() -> OwnServer {
        let open = PermissionsExt::from_mode(0o711);
        let dir = tempfile::Builder::new().prefix("liteferry-own-").permissions(open).tempdir();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        OwnServer {
            runtime: runtime.expect("a runtime can be made"),
            dir: dir.expect("a directory can be made"),
            cluster: None,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn start(&mut self) {
        let starting = Cluster::start_with(self.dir.path(), &[("fsync", "off")]);
        self.cluster = Some(self.runtime.block_on(starting).expect("PostgreSQL starts"));
    }

    /// As a crash would.
    pub fn stop_immediately(&mut self) {
        self.cluster = None;
    }

    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@{}/postgres", self.socket_dir().display().to_string().replace('/', "%2F"))
    }

    fn socket_dir(&self) -> PathBuf {
        let target = self.cluster.as_ref().expect("the server runs").target();
        let Some(Place::Socket(dir)) = target.hosts.into_iter().next().map(|host| host.place) else {
            panic!("a private server is reached through its socket");
        };
        dir
    }
}
