//! A PostgreSQL of one test's own, for what the shared one cannot be put through: crashes, other rules, a standby.

use liteferry::postgres::embedded::Cluster;
use liteferry::postgres::url::Place;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server of the test's own, in a directory that the server's user may pass through.
pub struct OwnServer {
    runtime: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
    cluster: Option<Cluster>,
}

impl OwnServer {
    pub fn new() -> OwnServer {
        let mut server = OwnServer::unmade();
        server.start();
        server
    }

    /// A hot standby of this server, made of its files while it is down, and following it. Not every package of the server's
    /// programs has `pg_basebackup`.
    pub fn standby(&mut self) -> OwnServer {
        let mut standby = OwnServer::unmade();
        let (from, to) = (self.dir().join("data"), standby.dir().join("data"));
        self.stop_immediately();
        // `-p` keeps owner and mode, which the server looks at.
        let copied = Command::new("cp").arg("-Rp").arg(&from).arg(&to).status();
        assert!(copied.expect("cp can be started").success(), "the primary's files are copied");
        self.start();
        let primary = format!("primary_conninfo = 'host={} user=postgres'\n", self.socket_dir().display());
        let mut settings =
            OpenOptions::new().append(true).open(to.join("postgresql.auto.conf")).expect("opened");
        settings.write_all(primary.as_bytes()).expect("written");
        fs::write(to.join("standby.signal"), "").expect("written");
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
            settings: vec![("fsync", "off".to_owned())],
            cluster: None,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// From now on with these settings too.
    pub fn restart_with(&mut self, settings: impl IntoIterator<Item = (&'static str, String)>) {
        self.stop_immediately();
        self.settings.extend(settings);
        self.start();
    }

    pub fn start(&mut self) {
        let settings: Vec<(&str, &str)> =
            self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let starting = Cluster::start_with(self.dir.path(), &settings);
        self.cluster = Some(self.runtime.block_on(starting).expect("PostgreSQL starts"));
    }

    /// As a crash would.
    pub fn stop_immediately(&mut self) {
        self.cluster = None;
    }

    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@{}/postgres", self.socket_dir().display().to_string().replace('/', "%2F"))
    }

    pub fn socket_dir(&self) -> PathBuf {
        let target = self.cluster.as_ref().expect("the server runs").target();
        let Some(Place::Socket(dir)) = target.hosts.into_iter().next().map(|host| host.place) else {
            panic!("a private server is reached through its socket");
        };
        dir
    }
}
