//! How `run` reaches its server: by TLS and no weaker than it was told, with a password out of a file, and through a list of hosts of which
//! one takes writes.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::skipped::skipped;
use crate::support::{
    Output, OwnServer, TempDb, TestDatabase, application, command, finished, liteferry, psql, sqlite, until,
};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, v text); insert into t values (1, 'a')";

/// A server that takes nobody without a password, and has TLS, at two addresses of which its certificate names one.
struct Guarded {
    server: OwnServer,
    dir: PathBuf,
    named: String,
    unnamed: String,
}

const PASSWORD: &str = "secret: of \\ two parts";

static NETWORKS: AtomicU8 = AtomicU8::new(77);

impl Guarded {
    /// `None`, with a word why, where nothing makes certificates, or no such address is free.
    fn start() -> Option<Guarded> {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
            skipped("there is no openssl to make certificates with");
            return None;
        }
        // Every address of the loopback network is this machine; whoever else tests here, in this process too, has others.
        let [.., high, low] = std::process::id().to_be_bytes();
        let network = NETWORKS.fetch_add(2, Ordering::Relaxed);
        let (named, unnamed) =
            (format!("127.{network}.{high}.{low}"), format!("127.{}.{high}.{low}", network + 1));
        // The port is a private server's only one.
        if [&named, &unnamed].iter().any(|address| TcpListener::bind((address.as_str(), 5432)).is_err()) {
            skipped("another server has the port at every address");
            return None;
        }
        let mut server = OwnServer::new();
        // The default before 14 is another.
        psql(&server.url("postgres"), "alter database postgres set password_encryption = 'scram-sha-256'");
        psql(&server.url("postgres"), &format!("create role mover login superuser password '{PASSWORD}'"));
        let dir = server.dir().to_owned();
        for name in ["authority", "stranger"] {
            authority(&dir, name);
        }
        certificate(&dir, &named, "3650");
        let owner = fs::metadata(dir.join("data")).expect("the server's data are there");
        fs::write(dir.join("hba.conf"), "local all all trust\nhost all all all scram-sha-256\n")
            .expect("written");
        for file in ["server.pem", "server.key", "hba.conf"] {
            chown(dir.join(file), Some(owner.uid()), Some(owner.gid())).expect("the server may own them");
        }
        let path = |file: &str| dir.join(file).display().to_string();
        server.restart_with([
            ("listen_addresses", format!("{named},{unnamed}")),
            ("hba_file", path("hba.conf")),
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", path("server.pem")),
            ("ssl_key_file", path("server.key")),
        ]);
        Some(Guarded { server, dir, named, unnamed })
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Gives the server another certificate, for so many days.
    fn certify(&self, days: &str) {
        let key = fs::metadata(self.file("server.key")).expect("the server has a key");
        certificate(&self.dir, &self.named, days);
        chown(self.file("server.key"), Some(key.uid()), Some(key.gid())).expect("the server may own it");
    }

    fn url(&self, host: &str, authority: &str) -> String {
        format!("postgres://mover@{host}/postgres?sslmode=verify-full&sslrootcert={}", self.file(authority))
    }

    fn passfile(&self, name: &str, mode: u32) -> String {
        let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
        let text = format!("# ours\nelsewhere:*:*:*:none\n{}:5432:postgres:mover:{escaped}\n", self.named);
        let path = self.dir.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode can be set");
        path.display().to_string()
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output();
    let output = output.expect("openssl can be run");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn authority(dir: &Path, name: &str) {
    openssl(dir, &format!("req -x509 {KEY} -keyout {name}.key -out {name}.pem -days 3650 -subj /CN={name}"));
}

fn certificate(dir: &Path, address: &str, days: &str) {
    fs::write(dir.join("names"), format!("subjectAltName=IP:{address}\n")).expect("written");
    openssl(dir, &format!("req {KEY} -keyout server.key -out server.csr -subj /CN=server"));
    openssl(
        dir,
        &format!(
            "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days {days} -extfile names -out server.pem"
        ),
    );
    fs::set_permissions(dir.join("server.key"), Permissions::from_mode(0o600)).expect("a mode can be set");
}

#[test]
fn a_daemon_follows_by_tls_with_an_authority_of_its_own_and_a_password_file() {
    let Some(server) = Guarded::start() else { return };
    let passfile = server.passfile("pgpass", 0o600);
    let target = TestDatabase { url: server.url(&server.named, "authority.pem"), name: "postgres".into() };
    let source = sqlite(SOURCE);
    let told = [("PGPASSFILE", passfile.as_str())];
    let mut daemon = Daemon::start_told(&source, &target.url, &[], &told);
    let status = daemon.until(|status| status["phase"] == "dual-write");
    assert!(!status.to_string().contains("secret"), "{status:#}");
    rusqlite::Connection::open(&source.path)
        .and_then(|db| db.execute_batch("insert into t values (2, 'b')"))
        .expect("the application writes");
    daemon.drained(&source);
    let tls = "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'mover' and client_addr is not null";
    assert_eq!(psql(&server.server.url("postgres"), tls)[0][0].as_deref(), Some("t"));
    assert_eq!(daemon.stop(), Some(0));

    // SCRAM gives nothing away: where the operator wants no TLS, it needs none.
    let mut validate = command(&["validate", "--source", &source.path.display().to_string(), "--target"]);
    validate.arg(target.url.replace("verify-full", "disable")).env("PGPASSFILE", &passfile);
    let output = finished(validate.output().expect("the program can be started")).exits_with(0);
    assert!(!output.stderr.contains("secret"), "{}", output.stderr);

    // Nothing weaker is taken, and each refusal has its name.
    let (exposed, absent) = (server.passfile("exposed", 0o644), server.file("absent"));
    for (host, authority, passfile, code) in [
        (&server.unnamed, "authority.pem", &passfile, "tls_identity"),
        (&server.named, "stranger.pem", &passfile, "tls_identity"),
        (&server.named, "nowhere.pem", &passfile, "tls_file_unreadable"),
        (&server.named, "authority.pem", &exposed, "password_file_exposed"),
        (&server.named, "authority.pem", &absent, "password_missing"),
    ] {
        let told = [("PGPASSFILE", passfile.as_str())];
        let mut daemon = Daemon::start_told(&source, &server.url(host, authority), &[], &told);
        assert_eq!(daemon.halted(), code, "{host} {authority} {passfile}\n{}", daemon.log());
        assert!(!daemon.log().contains("secret"), "{}", daemon.log());
    }
}

impl Guarded {
    /// What `check` says with this behind the URL, and this in its environment.
    fn check(&self, source: &TempDb, more: &str, told: &[(&str, &str)]) -> Output {
        let url = format!("postgres://mover@{}/postgres?sslmode={more}", self.named);
        let mut check = command(&["check", "--source", &source.path.display().to_string(), "--target", &url]);
        check.env("PGPASSWORD", PASSWORD).envs(told.iter().copied());
        finished(check.output().expect("the program can be started"))
    }

    fn set(&self, settings: &[&str]) {
        let ask = |sql: &str| psql(&self.server.url("postgres"), sql);
        let loaded = || ask("select pg_conf_load_time()");
        let before = loaded();
        settings.iter().for_each(|setting| drop(ask(&format!("alter system {setting}"))));
        ask("select pg_reload_conf()");
        until("the settings are in force", || loaded() != before);
    }
}

#[track_caller]
fn is_refused(output: Output, code: &str, remedy: &str) {
    let told = output.exits_with(1).stderr;
    assert!(told.contains(&format!("[{code}]")), "wanted {code}: {told}");
    assert!(told.split_once('→').is_some_and(|(_, told)| told.contains(remedy)), "wanted {remedy}: {told}");
}

#[test]
fn what_tls_lacks_is_named_and_each_remedy_helps() {
    let Some(mut server) = Guarded::start() else { return };
    let source = sqlite(SOURCE);
    let authority = server.file("authority.pem");
    let full = format!("verify-full&sslrootcert={authority}");
    server.check(&source, &full, &[]).exits_with(0);

    is_refused(
        server.check(&source, "verify-ca", &[]),
        "tls_ca_missing",
        "Name the authority in sslrootcert",
    );
    server.check(&source, &format!("verify-ca&sslrootcert={authority}"), &[]).exits_with(0);
    let nobody = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];
    let told = server.check(&source, "verify-full", &nobody);
    is_refused(told, "tls_ca_missing", "name a file in sslrootcert");
    server.check(&source, &full, &nobody).exits_with(0);

    let key = server.file("stranger.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("a mode can be set");
    let own = |name: &str| {
        format!(
            "{full}&sslcert={}&sslkey={}",
            server.file(&format!("{name}.pem")),
            server.file(&format!("{name}.key"))
        )
    };
    let chmod = format!("chmod 0600 {key}");
    is_refused(server.check(&source, &own("stranger"), &[]), "tls_key_exposed", &chmod);
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("a mode can be set");
    server.check(&source, &own("stranger"), &[]).exits_with(0);

    server.set(&[&format!("set ssl_ca_file = '{authority}'")]);
    is_refused(server.check(&source, &own("stranger"), &[]), "tls_refused", "another client certificate");
    server.check(&source, &own("server"), &[]).exits_with(0);
    server.set(&[
        "reset ssl_ca_file",
        "set ssl_min_protocol_version = 'TLSv1'",
        "set ssl_max_protocol_version = 'TLSv1.1'",
    ]);
    is_refused(server.check(&source, &full, &[]), "tls_refused", "no TLS newer than 1.1");
    server.set(&["reset ssl_max_protocol_version", "reset ssl_min_protocol_version"]);
    server.check(&source, &full, &[]).exits_with(0);

    server.server.restart_with([("ssl", "off".to_owned())]);
    is_refused(server.check(&source, &full, &[]), "tls_unavailable", "ssl = on");
    server.check(&source, "disable", &[]).exits_with(0);
    server.certify("-1");
    server.server.restart_with([("ssl", "on".to_owned())]);
    is_refused(server.check(&source, &full, &[]), "tls_expired", "Renew the server's certificate");
    server.certify("3650");
    server.set(&[]);
    server.check(&source, &full, &[]).exits_with(0);
}

/// Anybody may listen at a port. What is sent to one who asks for the password is all kept.
#[test]
fn a_password_is_not_given_away_to_whoever_asks_for_it() {
    const CLEAR_TEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";
    for (asked, allow, given) in [
        (CLEAR_TEXT, "refuse", None),
        (MD5, "refuse", None),
        (CLEAR_TEXT, "allow", Some("canary")),
        (MD5, "allow", Some("md5")),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let at = listener.local_addr().expect("it has an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let mut heard = vec![0; 1 << 12];
            // The first message says how long it is.
            stream.read_exact(&mut heard[..4]).expect("a message begins");
            let length = u32::from_be_bytes(heard[..4].try_into().expect("four bytes"));
            let length = usize::try_from(length).expect("it is short");
            stream.read_exact(&mut heard[4..length]).expect("a message ends");
            stream.write_all(asked).expect("it can be asked");
            let answered = stream.read(&mut heard).expect("it answers, or goes away");
            heard[..answered].to_vec()
        });
        let source = sqlite(SOURCE);
        let mut check = command(&["check", "--source", &source.path.display().to_string()]);
        check.args(["--target", &format!("postgres://mover@{at}/db")]).env("PGPASSWORD", "canary");
        check.args(["--set", &format!("target.unguarded_password={allow}")]);
        let output = finished(check.output().expect("the program can be started")).exits_with(1);
        let answer = server.join().expect("the server ends");
        let text = String::from_utf8_lossy(&answer);
        match given {
            None => {
                assert!(answer.is_empty(), "{answer:?}");
                assert!(output.stderr.contains("password_unguarded"), "{}", output.stderr);
            }
            Some(given) => assert!(text.contains(given), "{text:?}"),
        }
        assert!(!output.stderr.contains("canary"), "{}", output.stderr);
    }
}

#[test]
fn what_proves_either_end_is_renewed_without_a_restart() {
    let Some(server) = Guarded::start() else { return };
    let (file, admin) = (server.file("password"), server.server.url("postgres"));
    fs::write(&file, format!("{PASSWORD}\n")).expect("written");
    let url = server.url(&server.named, "trusted.pem");
    fs::copy(server.file("authority.pem"), server.file("trusted.pem")).expect("copied");
    let case = Case { source: sqlite(SOURCE), target: TestDatabase { url, name: "postgres".into() } };
    let mut daemon = case.daemon(&["--set", &format!("target.password_file={file}")]);
    daemon.until(|status| status["phase"] == "dual-write");
    let cut_off = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'mover'";

    fs::write(&file, "another\n").expect("written");
    psql(&admin, "alter role mover password 'another'");
    psql(&admin, cut_off);
    case.app("insert into t values (2, 'b')");
    daemon.drained(&case.source);

    // The server's certificate is another authority's before that one is trusted here.
    fs::copy(server.file("stranger.pem"), server.file("authority.pem")).expect("copied");
    fs::copy(server.file("stranger.key"), server.file("authority.key")).expect("copied");
    server.certify("3650");
    psql(&admin, "select pg_reload_conf()");
    daemon.wait_for(|daemon| {
        psql(&admin, cut_off);
        (daemon.status()?["run"]["reason"]["code"] == "tls_identity").then_some(())
    });
    fs::copy(server.file("authority.pem"), server.file("trusted.pem")).expect("copied");
    case.app("insert into t values (3, 'c')");
    daemon.drained(&case.source);
    assert!(!daemon.log().contains("another\n") && !daemon.log().contains("secret"), "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn of_several_hosts_the_one_that_takes_writes_is_followed_into_also_after_a_failover() {
    let mut primary = OwnServer::new();
    let standby = primary.standby();
    let hosts = format!("/nowhere,{},{}", standby.socket_dir().display(), primary.socket_dir().display());
    let url = format!("host={hosts} user=postgres dbname=postgres target_session_attrs=read-write");
    let case = Case { source: sqlite(SOURCE), target: TestDatabase { url, name: "postgres".into() } };
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("insert into t values (2, 'b')");
    daemon.drained(&case.source);
    let held = |server: &OwnServer| psql(&server.url("postgres"), "select count(*) from t")[0][0].clone();
    assert_eq!(held(&primary).as_deref(), Some("2"));
    primary.stop_immediately();
    case.app("insert into t values (3, 'while there was nobody to take it')");
    daemon.until(|status| status["run"]["state"] == "degraded");
    psql(&standby.url("postgres"), "select pg_promote()");
    daemon.drained(&case.source);
    assert_eq!(held(&standby).as_deref(), Some("3"));
    let source = case.source.path.display().to_string();
    let report = liteferry(&["validate", "--json", "--source", &source, "--target", &case.target.url]);
    assert_eq!(report.exits_with(0).json()["verdict"], "equal");
    assert_eq!(daemon.stop(), Some(0));
}

/// The standby lacks the last batch that SQLite has taken, and nothing else.
#[test]
fn what_a_failover_after_the_switch_has_lost_does_not_stay_in_sqlite() {
    let mut primary = OwnServer::new();
    let mut standby = primary.standby();
    let hosts = format!("{},{}", standby.socket_dir().display(), primary.socket_dir().display());
    let url = format!("host={hosts} user=postgres dbname=postgres target_session_attrs=read-write");
    let case = Case { source: sqlite(SOURCE), target: TestDatabase { url, name: "postgres".into() } };
    let mut daemon = case.switched(&[]);
    let there = |server: &OwnServer, sql: &str| psql(&server.url("postgres"), sql);
    let forgotten = "select count(*) from liteferry.reverse_change";
    let count = |sql: &str| -> i64 {
        let counted = application(&case.source.path).query_row(sql, [], |row| row.get(0));
        counted.expect("SQLite has the table")
    };
    let taken = |row: &str| count(row) == 1 && there(&primary, forgotten)[0][0].as_deref() == Some("0");
    there(&primary, "insert into t values (2, 'replicated')");
    until("SQLite has the row, and PostgreSQL knows", || taken("select count(*) from t where id = 2"));
    let written = there(&primary, "select pg_current_wal_insert_lsn()")[0][0].clone().expect("it writes");
    let replayed = format!("select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
    until("the standby has replayed it", || there(&standby, &replayed)[0][0].as_deref() == Some("t"));
    standby.stop_immediately();
    there(&primary, "insert into t values (3, 'lost')");
    until("SQLite has the row", || taken("select count(*) from t where id = 3"));

    primary.stop_immediately();
    standby.start();
    there(&standby, "select pg_promote()");
    there(&standby, "insert into t values (4, 'after the failover')");
    until("SQLite is as PostgreSQL is", || {
        count("select count(*) from t where id = 3") == 0 && count("select count(*) from t where id = 4") == 1
    });
    daemon.until(|status| status["gates"]["rollback"]["open"] == true);
    assert!(daemon.log().contains("reverse_failed_over"), "{}", daemon.log());
    assert_eq!(daemon.compared("{}")["verdict"], "equal");
    assert_eq!(daemon.stop(), Some(0));
}
