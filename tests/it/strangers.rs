//! Clients that find a daemon where theirs would listen: one of another migration is neither taken for theirs nor shown their token, and
//! theirs is known before it is.

use crate::support::{Output, TempDb, TestDatabase, command, database, finished, liteferry, sqlite};
use liteferry::engine::follows::digest;
use liteferry::postgres::url::Target;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What listens there, until the tests end.
struct Listener {
    at: String,
    /// Each request's line, and whether it bore a token.
    heard: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Listener {
    /// Tells `health` to everybody, and `status` to those who bear a token.
    fn telling(health: Value, status: Value) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
        let at = listener.local_addr().expect("it is bound").to_string();
        let heard = Arc::<Mutex<Vec<(String, bool)>>>::default();
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (line, borne) = request(&stream);
                let (code, body) = match (line.split(' ').nth(1), borne) {
                    (Some("/healthz"), _) => (200, health.clone()),
                    (_, true) => (200, status.clone()),
                    (_, false) => {
                        (401, json!({ "code": "no_token", "detail": "It bears none.", "remedy": "Bear it." }))
                    }
                };
                all.lock().expect("nobody has panicked").push((line, borne));
                answer(stream, (code, &body.to_string()));
            }
        });
        Listener { at, heard }
    }

    fn heard(&self) -> Vec<(String, bool)> {
        self.heard.lock().expect("nobody has panicked").clone()
    }
}

/// Its first line, and whether a token is borne.
fn request(stream: &TcpStream) -> (String, bool) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("the client speaks");
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(told) = line.strip_prefix("content-length:") {
            length = told.trim().parse().expect("a number");
        }
        head.push(line);
    }
    reader.read_exact(&mut vec![0; length]).expect("the client sends what it announced");
    let borne = head.iter().any(|line| line.starts_with("authorization:"));
    (head.first().cloned().unwrap_or_default(), borne)
}

fn answer(mut stream: TcpStream, (code, body): (u16, &str)) {
    let head = format!("HTTP/1.1 {code} .\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // Whoever has gone misses nothing.
    let _told = stream.write_all((head + body).as_bytes());
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
        liteferry(&["copy", "--source", &sides.source(), "--target", &sides.target.url]).exits_with(0);
        sides
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
}

#[test]
fn a_strangers_daemon_is_not_taken_for_ours_and_sees_no_token() {
    let sides = Sides::copied();
    let elsewhere =
        json!({ "source": digest("/srv/other.db"), "target": digest("t"), "schema": digest("public") });
    for health in [json!({ "healthy": true, "follows": elsewhere }), json!({ "healthy": true }), json!([])] {
        let stranger = Listener::telling(health, json!({}));
        let report = sides.typed(&["validate", "--json"], &stranger.at).exits_with(0).json();
        assert_eq!(report["verdict"], "equal", "{report:#}");
        assert_eq!(stranger.heard(), [("get /healthz http/1.1".to_owned(), false)]);
        // An order is for whoever listens, and says whose address is wanted.
        let refused = sides.typed(&["status"], &stranger.at).exits_with(1).stderr;
        assert!(refused.contains("[daemon_refused]") && refused.contains("http.listen"), "{refused}");
    }
}

#[test]
fn our_own_daemon_that_wants_its_token_of_readers_is_known_first() {
    let sides = Sides::copied();
    let address = Target::parse(&sides.target.url, &|_| None).expect("the test's own URL").describe();
    let path = sides.file.path.canonicalize().expect("it is there").display().to_string();
    let ours = json!({ "source": digest(&path), "target": digest(&address), "schema": digest("public") });
    // One that has halted compares nothing: the command does it.
    let halted = json!({ "run": { "state": "halted" } });
    let daemon = Listener::telling(json!({ "follows": ours }), halted);
    sides.typed(&["validate"], &daemon.at).exits_with(0);
    let line = |path: &str| format!("get {path} http/1.1");
    let expected = [(line("/healthz"), false), (line("/v1/status"), false), (line("/v1/status"), true)];
    assert_eq!(daemon.heard(), expected);
}
