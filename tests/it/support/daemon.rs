//! A running daemon: started, asked for its status, waited for, stopped or killed. Ends with the test.

use super::{PATIENCE, TempDb, application, command, under};
use serde_json::Value;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Daemon {
    child: Child,
    log: PathBuf,
    address: String,
    token: PathBuf,
}

const LOOK: Duration = Duration::from_millis(20);
/// Ten times what it may take where nothing else is done.
const STOP_MAX: Duration = Duration::from_secs(60);
/// On a machine with other work a pause is long; the bounds of a crossing are not what most tests look at.
const UNHURRIED: [&str; 8] = [
    "--set",
    "switch.deadline_ms=20000",
    "--set",
    "switch.busy_timeout_ms=60000",
    "--set",
    "switch.pause_budget_ms=10000",
    "--set",
    "switch.max_lag_ms=20000",
];

impl Daemon {
    /// Returns once it listens.
    pub fn start(source: &TempDb, url: &str, more: &[&str]) -> Daemon {
        Daemon::start_in(source.path.parent().expect("a file lies somewhere"), source, url, more)
    }

    /// The same, told by its environment where to end or to freeze.
    pub fn start_told(source: &TempDb, url: &str, more: &[&str], told: &[(&str, &str)]) -> Daemon {
        let dir = source.path.parent().expect("a file lies somewhere");
        Daemon::spawn(dir, source, url, (more, told, &[]))
    }

    /// The same under another program, which ends in it.
    pub fn start_under(outer: &[&str], source: &TempDb, url: &str) -> Daemon {
        Daemon::spawn(source.path.parent().expect("a file lies somewhere"), source, url, (&[], &[], outer))
    }

    /// The same with its log and its state in another directory than the source's.
    pub fn start_in(dir: &Path, source: &TempDb, url: &str, more: &[&str]) -> Daemon {
        Daemon::spawn(dir, source, url, (more, &[], &[]))
    }

    fn spawn(
        dir: &Path,
        source: &TempDb,
        url: &str,
        (more, told, outer): (&[&str], &[(&str, &str)], &[&str]),
    ) -> Daemon {
        let log = dir.join(format!("source.log{}", count()));
        let errors = File::create(&log).expect("a log can be made");
        let source = source.path.display().to_string();
        let state = format!("state.dir={}", dir.join("source.db.state").display());
        let args = [
            &[
                "run",
                "--source",
                &source,
                "--target",
                url,
                "--set",
                "http.listen=127.0.0.1:0",
                "--set",
                &state,
            ],
            &UNHURRIED[..],
            more,
        ]
        .concat();
        let token = PathBuf::from(format!("{source}.state/token"));
        let told = told.iter().copied();
        let mut program = command(&args);
        program.envs(told);
        if !outer.is_empty() {
            program = under(outer, &program);
        }
        let child = program.stdout(Stdio::null()).stderr(errors).spawn();
        let mut daemon =
            Daemon { child: child.expect("the program can be started"), log, address: String::new(), token };
        daemon.address = daemon.wait_for(|daemon| {
            let text = daemon.log();
            // To its end: the line may be half written.
            let (address, _) = text.split("address=").nth(1)?.split_once(char::is_whitespace)?;
            Some(address.to_owned())
        });
        daemon
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// One of the commands that ask it.
    pub fn client(&self, args: &[&str]) -> Command {
        let mut client = command(args);
        client.arg(format!("--set=http.listen={}", self.address));
        client.arg(format!("--set=http.token_file={}", self.token.display()));
        client
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).ok()?;
        let answer = self.read(stream)?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split("\r\n\r\n").nth(1)?.to_owned()))
    }

    /// Gives the status and what was answered.
    pub fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.try_post(path, body).expect("it listens, reads and answers")
    }

    /// Nothing where it does not live to answer.
    pub fn try_post(&self, path: &str, body: &str) -> Option<(u16, Value)> {
        let token = std::fs::read_to_string(&self.token).expect("the daemon has made its token");
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            token.trim(),
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        let answer = self.read(stream)?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// Gives a command again and again until it is obeyed: what passes by itself may close a gate for a moment, or come between.
    #[track_caller]
    pub fn obeys(&mut self, path: &str, body: &str) {
        let (began, mut last) = (Instant::now(), Value::Null);
        while began.elapsed() < *PATIENCE {
            match self.refusal(path, body) {
                None => return,
                Some(refused) => last = refused,
            }
            std::thread::sleep(LOOK);
        }
        panic!("{path} {body} is never obeyed: {last:#}\n{}", self.log());
    }

    /// Gives a command until it is refused for this reason; whatever else it is refused for passes, and it must never be obeyed.
    #[track_caller]
    pub fn refuses(&mut self, path: &str, body: &str, code: &str) -> Value {
        let (began, mut last) = (Instant::now(), Value::Null);
        while began.elapsed() < *PATIENCE {
            last = self
                .refusal(path, body)
                .unwrap_or_else(|| panic!("{path} {body} was obeyed\n{}", self.log()));
            if last["code"] == code {
                return last;
            }
            std::thread::sleep(LOOK);
        }
        panic!("{path} {body} is never refused for {code}: {last:#}\n{}", self.log());
    }

    /// Why a command was refused, at the door or when its turn came; nothing where it was obeyed.
    #[track_caller]
    pub fn refusal(&mut self, path: &str, body: &str) -> Option<Value> {
        let (status, told) = self.post(path, body);
        if status != 202 {
            return Some(told);
        }
        let order = told["order"].as_i64().expect("an order has a number");
        let status = self.until(|status| status["answer"]["order"].as_i64() >= Some(order));
        Some(status["answer"]["refused"].clone()).filter(|refused| !refused.is_null())
    }

    /// All that it says until it ends the connection; nothing where it stands still meanwhile.
    fn read(&self, mut stream: TcpStream) -> Option<String> {
        stream.set_read_timeout(Some(LOOK)).expect("a timeout can be set");
        let (began, mut answer, mut piece) = (Instant::now(), Vec::new(), [0; 1 << 14]);
        while began.elapsed() < *PATIENCE && !self.is_frozen() {
            match stream.read(&mut piece) {
                Ok(0) => return String::from_utf8(answer).ok(),
                Ok(count) => answer.extend_from_slice(&piece[..count]),
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                Err(_) => return None,
            }
        }
        None
    }

    pub fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.get("/v1/status")?.1).ok()
    }

    /// Waits until the status is as wanted, and gives it.
    #[track_caller]
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(|daemon| daemon.status().filter(|status| wanted(status)))
    }

    /// Waits until every change that the source has now is applied, and the target stands at a state of it.
    #[track_caller]
    pub fn drained(&mut self, source: &TempDb) -> Value {
        let newest: i64 = application(&source.path)
            .query_row("select max(seq) from _liteferry_change", [], |row| row.get(0))
            .expect("capture is armed");
        self.until(|status| {
            status["run"]["state"] == "running"
                && status["phase"] == "dual-write"
                && status["target"]["position"]["seq"].as_i64() >= Some(newest)
        })
    }

    /// Waits until it has compared both sides and has let go of the source, as it does where nothing is to be done.
    #[track_caller]
    pub fn at_rest(&mut self, source: &TempDb) {
        let wal = source.path.with_extension("db-wal");
        self.wait_for(|daemon| {
            let validation = &daemon.status()?["validation"];
            let compared = validation["state"] == "idle" && validation["verdict"].is_string();
            (compared && !wal.exists()).then_some(())
        });
    }

    /// Does this again and again until its log says so.
    #[track_caller]
    pub fn until_told_by(&mut self, text: &str, act: impl Fn()) {
        self.wait_for(|daemon| {
            act();
            daemon.log().contains(text).then_some(())
        });
    }

    /// Waits until it has halted, and gives the code.
    #[track_caller]
    pub fn halted(&mut self) -> String {
        let status = self.until(|status| status["run"]["state"] == "halted");
        status["run"]["reason"]["code"].as_str().expect("a halt has a code").to_owned()
    }

    #[track_caller]
    pub fn wait_for<T>(&mut self, ready: impl Fn(&Daemon) -> Option<T>) -> T {
        let began = Instant::now();
        while began.elapsed() < *PATIENCE {
            let ended = self.child.try_wait().expect("it is our child");
            if let Some(found) = ready(self) {
                return found;
            }
            if let Some(ended) = ended {
                panic!("the daemon ended: {ended}\n{}", self.log());
            }
            std::thread::sleep(LOOK);
        }
        panic!("waited in vain: {:?}\n{}", self.status(), self.log());
    }

    /// Where it has not ended by itself.
    pub fn kill(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Whether it was stopped by a signal, and waits for the one to go on.
    pub fn is_frozen(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Its exit code, however it ends.
    pub fn exit(mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < *PATIENCE {
            if let Some(ended) = self.child.try_wait().expect("it is our child") {
                return ended.code();
            }
            std::thread::sleep(LOOK);
        }
        panic!("it does not end\n{}", self.log());
    }

    /// Asks it to stop; gives its exit code. It ends soon, or a service manager would kill it.
    #[track_caller]
    pub fn stop(self) -> Option<i32> {
        let began = Instant::now();
        self.signal("-TERM");
        let code = self.exit();
        assert!(began.elapsed() < STOP_MAX, "it took {:?} to stop", began.elapsed());
        code
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn count() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
