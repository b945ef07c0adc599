//! The daemon's listener over loopback: what it answers, what it refuses, and what clients cannot do to it. Requests are raw bytes,
//! for a well-behaved client would not send most of them.

pub mod attacks;
mod clients;
mod commands;
mod orders;
mod page;

use crate::support::{PATIENCE, until};
use liteferry::engine::follows::digest;
use liteferry::engine::order::{ORDERS_MAX, Ordered};
use liteferry::engine::records::Records;
use liteferry::engine::status::{Board, Lag, Run, Status};
use liteferry::http::{Handle, HttpState, spawn};
use liteferry::model::fault::Fault;
use liteferry::phase::{Phase, RunState};
use liteferry::postgres::url::Target;
use liteferry::settings::Http;
use liteferry::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;

const STATUS: &str = "GET /v1/status HTTP/1.1\r\n";
const OWN_HOST: &str = "Host: 127.0.0.1:{port}\r\n";

struct Listening {
    handle: Handle,
    board: Board,
    /// What the daemon is ordered; nobody takes it.
    orders: mpsc::Receiver<Ordered>,
    token: String,
    dir: TempDir,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    /// In lower case.
    headers: Vec<(String, String)>,
    body: String,
}

#[test]
fn the_paths_answer_what_the_board_shows() {
    let server = listening();
    let status = server.get("/v1/status").json();
    assert_eq!(status["phase"], "dual-write");
    assert_eq!(status["source"]["seq"], 41);
    let health = server.get("/healthz").json();
    assert_eq!((&health["healthy"], &health["follows"]["source"]), (&json!(true), &json!(digest("app.db"))));
    assert!(!health.to_string().contains("app"), "{health}");
    assert_eq!(server.get("/readyz").json(), json!({ "ready": true }));
    let metrics = server.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains("\nliteferry_source_seq 41\n"), "{}", metrics.body);

    server.board.update(Instant::now(), |status| status.source.seq = Some(42));
    assert_eq!(server.get("/v1/status").json()["source"]["seq"], 42);
    assert!(server.get("/metrics").body.contains("\nliteferry_source_seq 42\n"));
}

#[test]
fn a_daemon_that_is_unwell_says_why() {
    let server = listening();
    server.board.update(Instant::now(), |status| status.machine.phase = Phase::Backfill);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").problem(503)["code"], "not_replicating");

    let fault = Fault::fatal("schema_drift", "follow orders").with_remedy("Look at orders.");
    server.board.update(Instant::now(), |status| status.run = Run::because(RunState::Halted, &fault));
    for path in ["/healthz", "/readyz"] {
        let problem = server.get(path).problem(503);
        assert_eq!(problem["code"], "schema_drift");
        assert_eq!(problem["detail"], "cannot follow orders");
        assert_eq!(problem["remedy"], "Look at orders.");
    }
    assert_eq!(server.get("/healthz").problem(503)["follows"]["source"], digest("app.db"));
    assert_eq!(server.get("/v1/status").json()["run"]["reason"]["code"], "schema_drift");
}

#[test]
fn only_our_own_names_are_answered() {
    let server = listening();
    let good = [
        "Host: 127.0.0.1:{port}\r\n",
        "Host: 127.0.0.1\r\n",
        "Host: localhost:{port}\r\n",
        "Host: LocalHost\r\n",
        "Host: [::1]:{port}\r\n",
        "Host: [::1]\r\n",
        "Host: OPS.example\r\n",
        "Host: ops.example:{port}\r\n",
        "Host: proxy.example:8443\r\n",
    ];
    for host in good {
        assert_eq!(server.ask(&[STATUS, host, "\r\n"]).status, 200, "{host}");
    }
    let foreign = [
        "Host: evil.example\r\n",
        "Host: evil.example:{port}\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: localhost.\r\n",
        "Host: localhost:1\r\n",
        "Host: localhost:{port}.evil.example\r\n",
        "Host: localhost:{port}@evil.example\r\n",
        "Host: evil.example@localhost:{port}\r\n",
        "Host: 127.1:{port}\r\n",
        "Host: 127.0.0.2:{port}\r\n",
        "Host: 2130706433\r\n",
        "Host: 0.0.0.0:{port}\r\n",
        "Host: ::1\r\n",
        "Host: a.ops.example\r\n",
        "Host: proxy.example\r\n",
        "Host: localhost, evil.example\r\n",
        "Host: local\u{e9}host\r\n",
        "Host:\r\n",
    ];
    for host in foreign {
        assert_eq!(server.ask(&[STATUS, host, "\r\n"]).problem(421)["code"], "foreign_host", "{host}");
    }
    let lines = [
        ("GET http://evil.example/v1/status HTTP/1.1\r\n", OWN_HOST, 421),
        ("GET http://127.0.0.1:{port}/v1/status HTTP/1.1\r\n", "Host: evil.example\r\n", 421),
        ("GET http://user@127.0.0.1:{port}/v1/status HTTP/1.1\r\n", OWN_HOST, 421),
        ("GET http://127.0.0.1:{port}/v1/status HTTP/1.1\r\n", OWN_HOST, 200),
        ("CONNECT evil.example:80 HTTP/1.1\r\n", OWN_HOST, 421),
        (STATUS, "", 400),
        (STATUS, "Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n", 400),
        (STATUS, "Host: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\n", 400),
        ("GET /v1/status HTTP/1.0\r\n", "", 400),
        ("GET /v1/status HTTP/1.0\r\n", OWN_HOST, 200),
    ];
    for (line, host, expected) in lines {
        let answer = server.ask(&[line, host, "\r\n"]);
        assert_eq!(answer.status, expected, "{line}{host}");
        if expected >= 400 {
            answer.problem(expected);
        }
    }
}

#[test]
fn pages_of_other_sites_are_refused() {
    let server = listening();
    for (headers, expected) in [
        ("Origin: http://127.0.0.1:{port}\r\n", 200),
        ("Origin: http://localhost:{port}\r\nSec-Fetch-Site: same-origin\r\n", 200),
        ("Origin: https://ops.example\r\n", 200),
        ("Sec-Fetch-Site: none\r\n", 200),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: http://localhost\r\n", 403),
        ("Origin: http://localhost:3000\r\n", 403),
        ("Origin: http://localhost:{port}.evil.example\r\n", 403),
        ("Origin: http://localhost:{port}/\r\n", 403),
        ("Origin: file://localhost:{port}\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin:\r\n", 403),
        ("Origin: http://localhost:{port}\r\nOrigin: http://evil.example\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Origin: http://localhost:{port}\r\nSec-Fetch-Site: cross-site\r\n", 403),
    ] {
        let answer = server.ask(&[STATUS, OWN_HOST, headers, "\r\n"]);
        assert_eq!(answer.status, expected, "{headers}");
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{answer:?}");
    }
}

#[test]
fn what_is_not_there_is_refused_with_a_reason() {
    let server = listening();
    for path in [
        "/metrics/",
        "//metrics",
        "/./metrics",
        "/v1/../metrics",
        "/v1/..%2fmetrics",
        "/%2e%2e/etc/passwd",
        "/%6detrics",
        "/metrics%00",
        "/metrics;a=b",
        "/METRICS",
        "/v1/status/x",
        "/v1",
        "*",
        "/{script}",
        "/%3Cscript%3E",
    ] {
        let answer = server.ask(&[&format!("GET {path} HTTP/1.1\r\n"), OWN_HOST, "\r\n"]);
        assert_eq!(answer.problem(404)["code"], "not_found", "{path}");
        assert!(!answer.body.contains("script"), "{}", answer.body);
    }
    let bearer = format!("Authorization: Bearer {}\r\n", server.token);
    for method in ["TRACE", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "BREW", "get"] {
        let line = format!("{method} /v1/status HTTP/1.1\r\n");
        let answer = server.ask(&[&line, OWN_HOST, &bearer, "X-Secret: echo\r\n\r\n"]);
        assert_eq!(answer.problem(405)["code"], "method_not_allowed", "{method}");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{method}");
        assert!(!answer.body.contains("echo"), "{}", answer.body);
    }
    let head = server.ask(&["HEAD /v1/status HTTP/1.1\r\n", OWN_HOST, "Connection: close\r\n\r\n"]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(server.get("/metrics?x=%00").status, 200);
}

#[test]
fn bodies_and_headers_are_bounded() {
    let server = listening();
    let post = "POST /v1/status HTTP/1.1\r\n";
    let filler = |bytes: usize| format!("X-Filler: {}\r\n", "x".repeat(bytes));
    for (line, headers, expected) in [
        (post, "Content-Length: 65537\r\n", 413),
        (post, "Content-Length: 18446744073709551613\r\n", 413),
        (STATUS, "Content-Length: 65537\r\n", 413),
        (post, "Transfer-Encoding: chunked\r\n", 411),
        (STATUS, "Transfer-Encoding: chunked\r\n", 411),
        (STATUS, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 411),
        (post, "Content-Length: 0\r\n", 401),
        (STATUS, &filler(15 * 1024), 200),
        (STATUS, &filler(17 * 1024), 431),
        (&format!("GET /v1/status?{} HTTP/1.1\r\n", "x".repeat(17 * 1024)), "", 431),
    ] {
        let answer = server.ask(&[line, OWN_HOST, headers, "\r\n"]);
        assert_eq!(answer.status, expected, "{line}{:.60}", headers);
        if expected >= 400 {
            answer.problem(expected);
        }
    }
    let chatty: String = (0..300).map(|number| format!("X-{number}: y\r\n")).collect();
    for (request, expected) in [
        (format!("{STATUS}{OWN_HOST}{}\r\n", filler(40 * 1024)), 431),
        (format!("{STATUS}{OWN_HOST}{chatty}\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\n{OWN_HOST}\r\n", "x".repeat(70_000)), 431),
        (format!("{STATUS}{OWN_HOST}X-Folded: a\r\n b\r\n\r\n"), 400),
        (format!("{STATUS}{OWN_HOST}X Space: a\r\n\r\n"), 400),
        (format!("{STATUS}{OWN_HOST}X-Nul: a\0b\r\n\r\n"), 400),
        (format!("{STATUS}{OWN_HOST}Content-Length: 18446744073709551615\r\n\r\n"), 431),
        (format!("GET /<script> HTTP/1.1\r\n{OWN_HOST}\r\n"), 400),
        (format!("{STATUS}{OWN_HOST}Content-Length: -1\r\n\r\n"), 400),
        (format!("{STATUS}{OWN_HOST}Content-Length: 1, 2\r\n\r\n"), 400),
        (format!("{STATUS}{OWN_HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (format!("{STATUS}{OWN_HOST}Transfer-Encoding: identity\r\n\r\n"), 400),
        (format!("GET /v1/status\0 HTTP/1.1\r\n{OWN_HOST}\r\n"), 400),
        (format!("GET  /v1/status HTTP/1.1\r\n{OWN_HOST}\r\n"), 400),
        (format!("GET /v1/status HTTP/3.0\r\n{OWN_HOST}\r\n"), 400),
        (format!("GET /v1/status\r\n{OWN_HOST}\r\n"), 400),
        ("\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\u{3}\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(server.ask(&[&request]).status, expected, "{request:.90}");
    }
    // To HTTP/2 there is no answer that its client would understand.
    let mut stream = server.connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn slow_and_idle_clients_are_cut_off() {
    let server = listening();
    let start = Instant::now();
    let mut idle = server.connect();
    let mut slow = server.connect();
    let mut kept = server.connect();
    kept.write_all(server.filled(&[STATUS, OWN_HOST, "\r\n"]).as_bytes()).unwrap();
    assert_eq!(answer(&mut kept).unwrap().status, 200);
    slow.write_all(STATUS.as_bytes()).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // A byte now and then does not buy time.
    while still_open(&mut slow) {
        assert!(start.elapsed() < *PATIENCE, "a slow client is still connected");
        if slow.write_all(b"X").is_err() {
            break;
        }
    }
    assert!(start.elapsed() > Duration::from_secs(4), "cut off after {:?}", start.elapsed());
    for (name, stream) in [("idle", &mut idle), ("kept alive", &mut kept)] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(rest, b"", "{name}");
    }
}

#[test]
fn idle_connections_keep_nobody_waiting() {
    let server = listening();
    // Whoever is answered at once, is so while they hold all places; they are cut off after some seconds.
    let (idle, busy) = loop {
        let began = Instant::now();
        let idle: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
        let busy = server.get("/v1/status");
        if busy.status == 503 {
            break (idle, busy);
        }
        assert!(began.elapsed() > Duration::from_secs(4), "idle connections hold no place");
    };
    assert_eq!(busy.problem(503)["code"], "too_many_clients");
    until("idle connections hold no place any more", || server.get("/v1/status").status == 200);
    drop(idle);
}

#[test]
fn requests_on_one_connection_are_answered_in_turn() {
    let server = listening();
    let mut stream = server.connect();
    let request = |path: &str| server.filled(&[&format!("GET {path} HTTP/1.1\r\n"), OWN_HOST, "\r\n"]);
    let three = [request("/healthz"), request("/nowhere"), request("/readyz")].concat();
    stream.write_all(three.as_bytes()).unwrap();
    let statuses: Vec<u16> = (0..3).map(|_| answer(&mut stream).unwrap().status).collect();
    assert_eq!(statuses, [200, 404, 200]);
}

#[test]
fn a_stopped_listener_is_gone_with_its_connections() {
    let server = listening();
    let at = server.handle.at();
    let mut idle = server.connect();
    assert_eq!(server.get("/healthz").status, 200);
    server.handle.stop();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    // A child of another test's that has not become its program yet has the socket, too, for a moment.
    until("nobody listens any more", || {
        TcpStream::connect(at).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

#[test]
fn a_taken_address_is_a_fault() {
    let server = listening();
    let refused = spawn(&settings(server.handle.at(), server.token_file()), state().0).unwrap_err();
    assert_eq!(refused.code, "listen_refused");
    drop(server);
}

fn listening() -> Listening {
    let (state, orders) = state();
    let board = state.board.clone();
    let dir = tempfile::tempdir().expect("a directory can be made");
    let token_file = dir.path().join("token");
    let settings = settings((Ipv4Addr::LOCALHOST, 0).into(), token_file.clone());
    let handle = spawn(&settings, state).expect("a free port can be had");
    let token = std::fs::read_to_string(token_file).expect("the token was made").trim().to_owned();
    Listening { handle, board, orders, token, dir }
}

fn settings(listen: SocketAddr, token_file: PathBuf) -> Http {
    let allowed_hosts = vec!["ops.example".to_owned(), "proxy.example:8443".to_owned()];
    Http { listen, token_file, allowed_hosts }
}

fn state() -> (HttpState, mpsc::Receiver<Ordered>) {
    let mut status = Status::at_start(Path::new("app.db"));
    status.lag = Some(Lag::default());
    status.machine.phase = Phase::DualWrite;
    status.run = Run::plain(RunState::Running);
    status.source.seq = Some(41);
    let (orders, taken) = mpsc::channel(ORDERS_MAX);
    // Nothing listens at the port of the discard protocol.
    let nowhere = Target::parse("postgres://me@127.0.0.1:9/app", &|_| None).expect("it is a target's URL");
    let state = HttpState {
        board: Board::new(status, Instant::now()),
        metrics: Arc::new(Metrics::new("1.2.3")),
        lag_max: Duration::from_secs(5),
        records: Arc::new(Records::new(Arc::new(nowhere), "public".to_owned())),
        orders,
        number: Arc::new(AtomicU64::new(0)),
    };
    (state, taken)
}

impl Listening {
    fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// An order as a client of ours gives it, with headers beside the usual ones.
    fn order(&self, path: &str, headers: &str, body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {}\r\n", self.token);
        let kind = "Content-Type: application/json\r\n";
        self.post(path, &[OWN_HOST, &bearer, kind, headers].concat(), body)
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        self.ask(&[&format!("POST {path} HTTP/1.1\r\n"), headers, &length, body])
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&[&format!("GET {path} HTTP/1.1\r\n"), OWN_HOST, "\r\n"])
    }

    /// Sends the parts on a connection of their own. Where the server answers before it has read all, writing may fail.
    fn ask(&self, parts: &[&str]) -> Answer {
        let mut stream = self.connect();
        let request = self.filled(parts);
        let sent = stream.write_all(request.as_bytes());
        let answer =
            answer(&mut stream).unwrap_or_else(|error| panic!("{error}, sent: {sent:?}\n{request:.200}"));
        if !answer.bare() {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        }
        answer
    }

    fn filled(&self, parts: &[&str]) -> String {
        parts.concat().replace("{port}", &self.handle.at().port().to_string())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.handle.at()).expect("the listener listens");
        stream.set_read_timeout(Some(*PATIENCE)).expect("a socket takes a timeout");
        stream
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known == name);
        let first = named.next();
        assert!(named.next().is_none(), "{name} twice: {self:?}");
        first.map(|(_, value)| value.as_str())
    }

    /// The parser's own word on what is no HTTP at all: it gives no reason.
    fn bare(&self) -> bool {
        [400, 414, 431].contains(&self.status) && self.header("content-type").is_none()
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!((self.status, self.header("content-type")), (200, Some("application/json")), "{self:?}");
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    #[track_caller]
    fn problem(&self, status: u16) -> Value {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, Some("application/problem+json")),
            "{self:?}"
        );
        let problem: Value = serde_json::from_str(&self.body).expect("the body is JSON");
        assert_eq!(problem["status"], status);
        problem
    }
}

fn still_open(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(read) => read > 0,
        Err(error) => [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()),
    }
}

/// Reads one answer and leaves what follows it unread.
fn answer(stream: &mut TcpStream) -> std::io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head is ASCII");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let closing = headers.iter().any(|(name, value)| name == "connection" && value == "close");
    let length =
        headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = Vec::new();
    match stream.take(length.unwrap_or(0)).read_to_end(&mut body) {
        // A server that has not read all of a request may reset the connection behind its answer.
        Err(error) if !(closing && error.kind() == ErrorKind::ConnectionReset) => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let status = status.unwrap_or_else(|| panic!("no status: {head}"));
    Ok(Answer { status, headers, body: String::from_utf8(body).expect("answers are UTF-8") })
}
