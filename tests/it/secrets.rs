//! Secrets with marks in them are given to a daemon that then goes the whole way, there, back and to the end, while everything is logged:
//! whatever others can read of it holds none of them. Attacks meanwhile move nothing, nor leave a line in the journal.

use crate::follow::Case;
use crate::http::attacks::Attacked;
use crate::support::daemon::Daemon;
use crate::support::{command, finished, liteferry};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What everybody's eyes must not see. The mark of the rows is theirs who may read the databases.
const PASSWORD: &str = "mark-of-the-password-file";
const VARIABLE: &str = "mark-of-the-variable";
const IN_URL: &str = "mark-of-the-url";
const TOKEN: &str = "mark-of-the-token-0123456789abcdef";
const CALLBACK: &str = "mark-of-the-callback";
const HOOK: &str = "mark-of-the-hook";
const CELL: &str = "mark-of-the-row";
const SECRETS: [&str; 6] = [PASSWORD, VARIABLE, IN_URL, TOKEN, CALLBACK, HOOK];

const ROWS: &str = "pragma journal_mode = wal;
    create table note (id integer primary key, body text unique, day date);
    insert into note values (1, 'mark-of-the-row', null), (2, 'mark-of-the-row' || char(0), 'mark-of-the-row day');";

#[test]
fn no_secret_is_seen_on_the_whole_way_and_no_attack_moves_anything() {
    let case = Case::new(ROWS);
    let dir = case.source.path.parent().expect("a file lies somewhere").to_owned();
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).expect("a file can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode can be set");
        path.display().to_string()
    };
    fs::create_dir(dir.join("source.db.state")).expect("a directory can be made");
    let token = format!("http.token_file={}", file("source.db.state/token", TOKEN));
    let password = format!("target.password_file={}", file("password", PASSWORD));
    let seen = dir.join("environment");
    let hook = format!(": {HOOK}; env > {}; sleep 0.3", seen.display());
    let callback = format!("http://me:{CALLBACK}@{}/?key={CALLBACK}", a_listener_that_agrees());
    let told = [
        ("PGPASSWORD", VARIABLE),
        ("LITEFERRY__HOOKS__BEFORE_SWITCH", &callback),
        ("LITEFERRY__HOOKS__AFTER_SWITCH", &hook),
    ];
    let eyes = Eyes::open();
    // The directory of the state cannot be made, and need not be: the token lies elsewhere.
    let settings = ["log.level=trace", &token, &password, "state.dir=/proc/nowhere"];
    let settings: Vec<&str> = settings.into_iter().flat_map(|set| ["--set", set]).collect();
    let mut daemon = Daemon::start_told(&case.source, &case.target.url, &settings, &told);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"].is_string());
    let mut heard = listened_to(&mut daemon);
    ordered(&mut daemon, r#"{"to":"validate"}"#);
    ordered_at(&mut daemon, "/v1/ledger/all", r#"{"action":"accept"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);

    under_attack(&case, &mut daemon);
    heard += &typed(&case, &daemon, &[&token, &password]);
    ordered(&mut daemon, r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["run"]["state"] == "running");
    case.rows("insert into note (id, body) values (7, 'mark-of-the-row too')");
    daemon.until(|status| {
        let reverse = &status["reverse"];
        let written = reverse["changes"] == 0 && reverse["applied"].as_u64() > Some(0);
        written && status["rollback"]["possible"] == true
    });
    heard += &listened_to(&mut daemon);
    ordered(&mut daemon, r#"{"to":"dual-write"}"#);
    case.app("insert into note (id, body) values (8, 'mark-of-the-row eight')");
    daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    ordered(&mut daemon, r#"{"to":"validate"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    ordered(&mut daemon, r#"{"to":"switch"}"#);
    daemon.until(|status| status["gates"]["cleanup"]["open"] == true);
    ordered(&mut daemon, r#"{"to":"cleanup","confirm":"source.db"}"#);
    let done = daemon.until(|status| status["phase"] == "done");
    assert_eq!((&done["rollback"]["possible"], &done["reverse"]), (&Value::from(false), &Value::Null));
    heard += &listened_to(&mut daemon);
    heard += &daemon.log();
    assert!(heard.contains("calling the hook"), "nothing was logged");

    is_told_nowhere(&heard);
    assert_eq!(eyes.close(), BTreeSet::new(), "arguments that everybody sees");
    let environment = fs::read_to_string(seen).expect("the hook was called");
    assert!(environment.contains("LITEFERRY_MOMENT=after_switch"), "{environment}");
    assert!(!environment.contains(VARIABLE), "a hook got the password of PostgreSQL");
    is_recorded_nowhere(&case);
}

fn is_recorded_nowhere(case: &Case) {
    for table in ["journal", "migration"] {
        let rows = format!("{:?}", case.rows(&format!("select * from liteferry.{table}")));
        assert!(!SECRETS.iter().any(|secret| rows.contains(secret)), "{table} holds a secret");
    }
}

fn is_told_nowhere(heard: &str) {
    for secret in SECRETS.into_iter().chain([CELL]) {
        let line = heard.lines().find(|line| line.contains(secret));
        assert_eq!(line.map(|line| line.chars().take(400).collect::<String>()), None, "{secret} was told");
    }
}

fn under_attack(case: &Case, daemon: &mut Daemon) {
    let at = daemon.address().parse().expect("an address");
    let mut standing = || {
        let status = daemon.until(|_| true);
        let parts = ["phase", "machine", "answer", "routing"].map(|part| status[part].clone());
        (parts, case.rows("select count(*) from liteferry.journal"))
    };
    let before = standing();
    Attacked { at, token: TOKEN.to_owned() }.storm(|_| {});
    assert_eq!(standing(), before);
}

fn ordered(daemon: &mut Daemon, body: &str) {
    ordered_at(daemon, "/v1/phase", body);
}

#[track_caller]
fn ordered_at(daemon: &mut Daemon, path: &str, body: &str) {
    daemon.obeys(path, body);
}

/// All that the listener tells without a token.
fn listened_to(daemon: &mut Daemon) -> String {
    let paths = [
        "/",
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/status",
        "/v1/tables",
        "/v1/validation",
        "/v1/journal",
        "/v1/ledger",
        "/v1/gates",
        "/v1/routing?key=a",
        "/v1/nowhere",
    ];
    paths.iter().map(|path| daemon.wait_for(|daemon| daemon.get(path)).1).collect()
}

/// All that the commands print, of a daemon and of both sides.
fn typed(case: &Case, daemon: &Daemon, sets: &[&str]) -> String {
    let listen = format!("http.listen={}", daemon.address());
    let source = case.source.path.display().to_string();
    let shared: Vec<&str> = ["--source", &source, "--set", &listen]
        .into_iter()
        .chain(sets.iter().flat_map(|set| ["--set", *set]))
        .collect();
    let url = case.target.url.replacen('@', &format!(":{IN_URL}@"), 1);
    let commands: [&[&str]; 9] = [
        &["status"],
        &["gates"],
        &["journal"],
        &["ledger"],
        &["validate"],
        &["check"],
        &["config", "show"],
        &["config", "check"],
        &["rollback", "--dry-run"],
    ];
    let mut all = String::new();
    for words in commands {
        for json in [&[][..], &["--json"]] {
            let mut program = command(&[words, &shared, json].concat());
            let output =
                finished(program.env("LITEFERRY__TARGET__URL", &url).output().expect("it can be started"));
            assert!(output.stdout.len() > 1, "{words:?}: {output:?}");
            all += &(output.stdout + &output.stderr);
        }
    }
    let refused = liteferry(&["pause", "--set", &listen, "--set", "http.token_file=/nowhere"]).exits_with(1);
    all + &refused.stdout + &refused.stderr
}

/// A callback's server, until the test ends.
fn a_listener_that_agrees() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
    let at = listener.local_addr().expect("it has an address").to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _asked = stream.read(&mut [0; 1024]);
            let _answered = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    at
}

/// Looks at the arguments of every process again and again, as anybody on the machine may.
struct Eyes {
    watching: thread::JoinHandle<BTreeSet<String>>,
    closed: std::sync::Arc<AtomicBool>,
}

impl Eyes {
    fn open() -> Eyes {
        let closed = std::sync::Arc::new(AtomicBool::new(false));
        let asked = std::sync::Arc::clone(&closed);
        let watching = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !asked.load(Ordering::Relaxed) {
                seen.extend(
                    arguments().into_iter().filter(|line| SECRETS.iter().any(|secret| line.contains(secret))),
                );
                thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        Eyes { watching, closed }
    }

    fn close(self) -> BTreeSet<String> {
        self.closed.store(true, Ordering::Relaxed);
        self.watching.join().expect("it watches to the end")
    }
}

fn arguments() -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("there is a list of processes").flatten();
    let lines = processes.filter_map(|process| fs::read(Path::new(&process.path()).join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}
