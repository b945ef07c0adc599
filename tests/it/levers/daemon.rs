//! A daemon process of one test's own, the settings that it and its clients share, and plain requests to it.

use super::{Output, TempDb, TestDatabase, command, finished};
use crate::support::{NOWHERE, PATIENCE};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(20);

/// What a daemon and its clients are started with.
pub struct Settings {
    args: Vec<String>,
    state: PathBuf,
}

pub struct Daemon {
    child: Child,
    settings: Settings,
    log: PathBuf,
    /// Where it listens, once it does.
    at: String,
}

impl Daemon {
    /// Of clients that find no daemon.
    pub fn settings(source: &TempDb, target: &TestDatabase) -> Settings {
        let dir = source.path.parent().expect("a file stands in a directory");
        let state = dir.join("state");
        let args = [
            "--source".to_owned(),
            source.path.display().to_string(),
            "--target".to_owned(),
            target.url.clone(),
            format!("--set=state.dir={}", state.display()),
            "--set=validate.on=false".to_owned(),
        ];
        Settings { args: args.to_vec(), state }
    }

    /// Started, and followed until the target stands in dual-write.
    pub fn follow(source: &TempDb, target: &TestDatabase) -> Daemon {
        let log = source.path.with_extension("log");
        let out = File::create(&log).expect("a log can be made");
        let mut daemon =
            Daemon::begin(source, target, (&["--set=http.listen=127.0.0.1:0", "run"], out.into()));
        daemon.wait("listener", || daemon.told_address().is_some());
        daemon.at = daemon.told_address().expect("it was told");
        daemon.followed()
    }

    /// The same with its log in a place where nobody finds the address.
    pub fn follow_into(source: &TempDb, target: &TestDatabase, (run, out): (&[&str], Stdio)) -> Daemon {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port can be had");
        let at = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let listen = format!("--set=http.listen={at}");
        let mut daemon = Daemon::begin(source, target, (&[&[listen.as_str()], run].concat(), out));
        daemon.at = at;
        daemon.wait("listener", || TcpStream::connect(&daemon.at).is_ok());
        daemon.followed()
    }

    fn followed(self) -> Daemon {
        self.wait("dual-write", || self.get("/v1/status")["phase"] == "dual-write");
        self
    }

    fn begin(source: &TempDb, target: &TestDatabase, (run, out): (&[&str], Stdio)) -> Daemon {
        let settings = Daemon::settings(source, target);
        let log = source.path.with_extension("log");
        let mut command = command(&settings.args(run));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        let child = command.spawn().expect("the program can be started");
        Daemon { child, settings, log, at: NOWHERE.to_owned() }
    }

    /// To the end of the word: the line may be half written.
    fn told_address(&self) -> Option<String> {
        let told = self.told();
        let (address, _) = told.split("address=").nth(1)?.split_once(char::is_whitespace)?;
        Some(address.to_owned())
    }

    /// One of the commands, with the daemon's own settings.
    pub fn liteferry(&self, args: &[&str]) -> Output {
        let listen = format!("--set=http.listen={}", self.at);
        let given = [&[listen.as_str()], args].concat();
        finished(command(&self.settings.args(&given)).output().expect("the program can be started"))
    }

    pub fn get(&self, path: &str) -> Value {
        let text = self.text(path);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub fn text(&self, path: &str) -> String {
        let (status, body) = self.ask(&format!("GET {path} HTTP/1.1\r\n"), &[], "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The status and the document of the answer. `host` among the headers takes the place of our own.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let (status, body) = self.ask(&format!("POST {path} HTTP/1.1\r\n"), headers, body);
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    pub fn bearer(&self) -> String {
        let token = std::fs::read_to_string(self.settings.state.join("token")).expect("the token was made");
        format!("Bearer {}", token.trim())
    }

    #[track_caller]
    pub fn wait(&self, what: &str, met: impl Fn() -> bool) {
        let began = Instant::now();
        while !met() {
            assert!(began.elapsed() < *PATIENCE, "no {what}:\n{}", self.told());
            sleep(LOOK);
        }
    }

    #[track_caller]
    pub fn stop(mut self) {
        let ended = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(ended.expect("kill can be run").success());
        let status = self.child.wait().expect("the daemon ends");
        assert!(status.success(), "{status}:\n{}", self.told());
    }

    /// Its log.
    pub fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.at).expect("the daemon listens");
        stream.set_read_timeout(Some(*PATIENCE)).expect("a socket takes a timeout");
        let mut request = line.to_owned();
        if !headers.iter().any(|(name, _)| *name == "host") {
            request.push_str(&format!("host: {}\r\n", self.at));
        }
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        request.push_str(&format!("connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(request.as_bytes()).expect("the daemon reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the daemon answers and closes");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("an answer has a status"), body.to_owned())
    }
}

impl Settings {
    pub fn args<'a>(&'a self, command: &[&'a str]) -> Vec<&'a str> {
        self.args.iter().map(String::as_str).chain(command.iter().copied()).collect()
    }
}

/// A test that has failed leaves no daemon behind.
impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}
