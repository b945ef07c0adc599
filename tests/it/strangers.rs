//! Clients that find a daemon where theirs would listen: one of another migration is neither taken for theirs nor shown their token, and
//! theirs is known before it is.

use crate::support::daemon::Daemon;
use crate::support::{Output, TempDb, TestDatabase, command, database, finished, liteferry, sqlite};
use liteferry::engine::follows::{Challenge, Holder, digest};
use liteferry::postgres::url::Target;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const ANOTHER_TOKEN: &str = "fedcba9876543210fedcba9876543210";

/// What listens there, until the tests end.
struct Listener {
    at: String,
    /// Each request's line without what stands behind the path, and whether it bore a token.
    heard: Arc<Mutex<Vec<(String, bool)>>>,
}

/// What it answers.
#[derive(Clone)]
struct Told {
    /// To everybody.
    health: Value,
    /// The token that it proves to hold.
    holds: Option<&'static str>,
    /// To those who bear a token. Where it names its process, to everybody, and it is another one with each answer, as if it were started
    /// anew.
    status: Value,
}

impl Listener {
    fn telling(told: Told) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
        let at = listener.local_addr().expect("it is bound").to_string();
        let heard = Arc::<Mutex<Vec<(String, bool)>>>::default();
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(&stream);
                while let Some(asked) = Asked::read(&mut reader) {
                    let mut heard = all.lock().expect("nobody has panicked");
                    heard.push((asked.line(), asked.bears_a_token));
                    let count = heard.len();
                    drop(heard);
                    answer(&stream, told.answer(&asked, count));
                }
            }
        });
        Listener { at, heard }
    }

    fn heard(&self) -> Vec<(String, bool)> {
        self.heard.lock().expect("nobody has panicked").clone()
    }

    fn has_seen_a_token(&self) -> bool {
        self.heard().iter().any(|(_, borne)| *borne)
    }
}

impl Told {
    fn answer(&self, asked: &Asked, heard: usize) -> (u16, Value) {
        let refused = || json!({ "code": "no_token", "detail": "It bears none.", "remedy": "Bear it." });
        match (asked.target.split_once('?').unwrap_or((&asked.target, "")), asked.bears_a_token) {
            (("/healthz", query), _) => {
                let mut health = self.health.clone();
                let challenge = query.strip_prefix("challenge=").and_then(Challenge::read);
                if let (Some(token), Some(challenge)) = (self.holds, challenge) {
                    health["proof"] = json!(Holder::of(token).proof(asked.host.as_bytes(), &challenge));
                }
                (200, health)
            }
            (_, bears_a_token) => match &self.status["process"] {
                Value::String(process) => {
                    let mut status = self.status.clone();
                    status["process"] = json!(format!("{process} {heard}"));
                    (200, status)
                }
                _ if bears_a_token => (200, self.status.clone()),
                _ => (401, refused()),
            },
        }
    }
}

struct Asked {
    method: String,
    target: String,
    host: String,
    bears_a_token: bool,
}

impl Asked {
    /// Nothing once the client has gone.
    fn read(reader: &mut impl BufRead) -> Option<Asked> {
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|letters| *letters > 0)?;
        let mut words = first.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let mut asked = Asked { method, target, host: String::new(), bears_a_token: false };
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("the client speaks");
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "host" => asked.host = value.trim().to_owned(),
                "authorization" => asked.bears_a_token = true,
                "content-length" => length = value.trim().parse().expect("a number"),
                _ => {}
            }
        }
        reader.read_exact(&mut vec![0; length]).expect("the client sends what it announced");
        Some(asked)
    }

    fn line(&self) -> String {
        format!("{} {}", self.method, self.target.split('?').next().unwrap_or_default())
    }
}

fn answer(mut stream: &TcpStream, (code, body): (u16, Value)) {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {code} .\r\ncontent-length: {}\r\n\r\n", body.len());
    // Whoever has gone misses nothing.
    let _told = stream.write_all((head + &body).as_bytes());
}

/// Both sides of a finished copy, and a token.
struct Sides {
    file: TempDb,
    target: TestDatabase,
}

impl Sides {
    fn copied() -> Sides {
        let file = sqlite(
            "create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b')",
        );
        let sides = Sides { file, target: database() };
        std::fs::write(sides.token_file(), TOKEN).expect("a token can be kept");
        sides.keep_token(0o600);
        liteferry(&["copy", "--source", &sides.source(), "--target", &sides.target.url]).exits_with(0);
        sides
    }

    fn keep_token(&self, mode: u32) {
        std::fs::set_permissions(self.token_file(), Permissions::from_mode(mode)).expect("it is ours");
    }

    fn source(&self) -> String {
        self.file.path.display().to_string()
    }

    fn token_file(&self) -> String {
        self.file.path.with_extension("token").display().to_string()
    }

    fn typed(&self, words: &[&str], at: &str) -> Output {
        let (listen, token) = (format!("http.listen={at}"), format!("http.token_file={}", self.token_file()));
        let sides = ["--source", &self.source(), "--target", &self.target.url];
        let args = [words, &sides, &["--set", &listen, "--set", &token]].concat();
        finished(command(&args).output().expect("the program can be started"))
    }

    /// What our own daemon says that it follows: everybody may hear it, and say it too.
    fn followed(&self) -> Value {
        let address = Target::parse(&self.target.url, &|_| None).expect("the test's own URL").describe();
        let path = self.file.path.canonicalize().expect("it is there").display().to_string();
        json!({ "source": digest(&path), "target": digest(&address), "schema": digest("public") })
    }
}

#[test]
fn a_strangers_daemon_is_not_taken_for_ours_and_sees_no_token() {
    let sides = Sides::copied();
    let elsewhere =
        json!({ "source": digest("/srv/other.db"), "target": digest("t"), "schema": digest("public") });
    for health in [json!({ "healthy": true, "follows": elsewhere }), json!({ "healthy": true }), json!([])] {
        let stranger = Listener::telling(Told { health, holds: None, status: json!({}) });
        let report = sides.typed(&["validate", "--json"], &stranger.at).exits_with(0).json();
        assert_eq!(report["verdict"], "equal", "{report:#}");
        assert_eq!(stranger.heard(), [("GET /healthz".to_owned(), false)]);
        // What wants no token is asked of whoever listens, and says whose address is wanted.
        let refused = sides.typed(&["status"], &stranger.at).exits_with(1).stderr;
        assert!(refused.contains("[daemon_refused]") && refused.contains("http.listen"), "{refused}");
        assert!(!stranger.has_seen_a_token(), "{:?}", stranger.heard());
    }
}

/// All that bear the token on loopback.
const ORDERS: [&[&str]; 10] = [
    &["pause"],
    &["resume"],
    &["reads", "10"],
    &["phase", "validate"],
    &["phase", "switch", "--dry-run"],
    &["phase", "switch", "--yes"],
    &["rollback", "--yes"],
    &["cleanup", "--dry-run"],
    &["ledger", "retry", "1"],
    &["ledger", "accept", "all", "--wait"],
];
const READINGS: [&[&str]; 4] = [&["status"], &["gates"], &["journal"], &["ledger"]];

#[test]
fn nobody_is_shown_the_token_who_does_not_prove_that_he_holds_it() {
    let sides = Sides::copied();
    let health = json!({ "healthy": true, "follows": sides.followed() });
    for holds in [None, Some(ANOTHER_TOKEN)] {
        let stranger = Listener::telling(Told { health: health.clone(), holds, status: json!({}) });
        let beyond_loopback = stranger.at.replace("127.0.0.1", "0.0.0.0");
        let asked = ORDERS.into_iter().chain([&["validate"][..]]).map(|words| (words, &stranger.at));
        for (words, at) in asked.chain(READINGS.map(|words| (words, &beyond_loopback))) {
            let refused = sides.typed(words, at).exits_with(1).stderr;
            assert!(
                refused.contains("[daemon_unproven]") && refused.contains(&sides.token_file()),
                "{words:?}: {refused}"
            );
        }
        assert!(!stranger.has_seen_a_token(), "{:?}", stranger.heard());
    }
}

/// The daemon that runs reads it no more, and an order makes nothing worse.
#[test]
fn a_token_file_that_others_may_read_since_is_told_as_that_and_mended_by_what_is_said() {
    let sides = Sides::copied();
    let health = json!({ "healthy": true, "follows": sides.followed() });
    let daemon = Listener::telling(Told { health, holds: None, status: json!({}) });
    sides.keep_token(0o644);
    for words in [&["pause"][..], &["validate"]] {
        let refused = sides.typed(words, &daemon.at).exits_with(1).stderr;
        let remedy = format!("chmod 0600 {}", sides.token_file());
        assert!(
            refused.contains("[token_file_exposed]") && refused.contains(&remedy),
            "{words:?}: {refused}"
        );
    }
    assert!(!daemon.has_seen_a_token(), "{:?}", daemon.heard());
}

#[test]
fn what_speaks_no_http_is_not_said_to_be_a_daemon_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
    let at = listener.local_addr().expect("it is bound").to_string();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client comes");
        let asked = Asked::read(&mut BufReader::new(&stream)).expect("it asks");
        stream.write_all(b"SSH-2.0-stranger\r\n\r\n").expect("it listens");
        asked.bears_a_token
    });
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(file.path(), TOKEN).expect("a token can be kept");
    let (listen, token) = (format!("http.listen={at}"), format!("http.token_file={}", file.path().display()));
    let refused = liteferry(&["pause", "--set", &listen, "--set", &token]).exits_with(1).stderr;
    assert!(refused.contains("[daemon_unreadable]") && refused.contains("http.listen"), "{refused}");
    assert!(!stranger.join().expect("it ends"), "it saw the token");
}

#[test]
fn an_order_is_for_the_daemon_of_the_database_that_is_named() {
    let sides = Sides::copied();
    let elsewhere =
        json!({ "source": digest("/srv/other.db"), "target": digest("t"), "schema": digest("public") });
    let health = json!({ "healthy": true, "follows": elsewhere });
    // Two daemons may have one directory for their tokens.
    let other = Listener::telling(Told { health, holds: Some(TOKEN), status: json!({ "order": 1 }) });
    for words in ORDERS {
        let refused = sides.typed(words, &other.at).exits_with(1).stderr;
        assert!(
            refused.contains("[daemon_of_another]") && refused.contains("--source"),
            "{words:?}: {refused}"
        );
    }
    assert!(!other.has_seen_a_token(), "{:?}", other.heard());
    let health = json!({ "healthy": true, "follows": sides.followed() });
    let ours = Listener::telling(Told { health, holds: Some(TOKEN), status: json!({ "order": 1 }) });
    let told = sides.typed(&["pause"], &ours.at).exits_with(0).stdout;
    assert!(told.starts_with("order 1 was taken"), "{told}");
    let asked_then_ordered = [("GET /healthz".to_owned(), false), ("POST /v1/pause".to_owned(), true)];
    assert_eq!(ours.heard(), asked_then_ordered);
}

#[test]
fn our_own_daemon_that_wants_its_token_of_readers_is_known_first() {
    let sides = Sides::copied();
    // One that has halted compares nothing: the command does it.
    let status = json!({ "run": { "state": "halted" } });
    let health = json!({ "follows": sides.followed() });
    let daemon = Listener::telling(Told { health, holds: Some(TOKEN), status });
    sides.typed(&["validate"], &daemon.at).exits_with(0);
    let expected = [("/healthz", false), ("/v1/status", false), ("/healthz", false), ("/v1/status", true)];
    assert_eq!(daemon.heard(), expected.map(|(path, borne)| (format!("GET {path}"), borne)));
}

#[test]
fn whoever_waits_for_a_daemon_that_was_started_anew_is_told_where_to_look() {
    let sides = Sides::copied();
    let status = json!({ "order": 1, "process": "started", "run": { "state": "running" } });
    let health = json!({ "follows": sides.followed() });
    let daemon = Listener::telling(Told { health, holds: Some(TOKEN), status });
    for (words, remedy) in [
        (&["ledger", "accept", "all", "--wait"][..], "`liteferry status` and `liteferry journal` tell"),
        (&["validate"], "give it again"),
    ] {
        let refused = sides.typed(words, &daemon.at).exits_with(1).stderr;
        assert!(refused.contains("[daemon_restarted]") && refused.contains(remedy), "{words:?}: {refused}");
    }
}

/// Two daemons cannot listen at one address: the second is told whose it is, and a service manager not to try again.
#[test]
fn a_second_daemon_with_the_firsts_settings_finds_another_owner() {
    let source = sqlite("pragma journal_mode = wal; create table t (id integer primary key)");
    let (target, other) = (database(), database());
    let first = Daemon::start(&source, &target.url, &[]);
    let path = source.path.display().to_string();
    let state = format!("state.dir={path}.state");
    let listen = format!("http.listen={}", first.address());
    let second = |url: &str| {
        liteferry(&["run", "--source", &path, "--target", url, "--set", &state, "--set", &listen])
    };
    assert!(second(&target.url).exits_with(3).stderr.contains("[another_owner]"));
    assert!(second(&other.url).exits_with(1).stderr.contains("[listen_refused]"));
    assert_eq!(first.stop(), Some(0));
}
