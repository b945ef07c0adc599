//! The built daemon as a child: started, signalled, killed, and asked how it ended. Everything it says is kept in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Daemon {
    child: Child,
    pub log: PathBuf,
}

/// What every daemon of a campaign is started with.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub source: PathBuf,
    pub url: String,
    pub logs: PathBuf,
    pub sets: Vec<String>,
}

impl Recipe {
    pub fn start(&self, number: u64) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_liteferry"));
        let foreign = |name: &str| name.starts_with("LITEFERRY_") || name.starts_with("PG");
        for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        command.arg("run").arg("--source").arg(&self.source).args(["--target", &self.url]);
        for set in &self.sets {
            command.args(["--set", set]);
        }
        let log = self.logs.join(format!("daemon-{number:04}.log"));
        let file = File::create(&log).expect("a log can be made");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Daemon { child: command.spawn().expect("the daemon starts"), log }
    }

    /// How often the daemons said so.
    pub fn said(&self, text: &str) -> usize {
        let files = std::fs::read_dir(&self.logs).expect("the logs have a folder");
        let paths = files.map(|file| file.expect("it can be listed").path());
        let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let said = |path| {
            String::from_utf8_lossy(&std::fs::read(path).expect("a log can be read")).matches(text).count()
        };
        logs.map(said).sum()
    }
}

impl Daemon {
    pub fn signal(&self, name: &str) {
        send_signal(self.child.id(), name);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().expect("a child can be asked").map(|status| status.code().unwrap_or(-1))
    }

    /// The exit code, if it ends within the time.
    pub fn ends_within(&mut self, wait: Duration) -> Option<i32> {
        let deadline = Instant::now() + wait;
        loop {
            match self.ended() {
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                ended => return ended,
            }
        }
    }

    /// What it halted with, or panicked of, if it did.
    pub fn complaint(&self) -> Option<String> {
        complaint(&self.log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// To a child of ours that has not been waited for.
pub fn send_signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).status();
    assert!(sent.expect("a shell can be started").success(), "kill -s {name}");
}

fn complaint(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).expect("a log can be read");
    let bad = |line: &&str| line.contains("halted") || line.contains("panicked") || line.contains("ERROR");
    text.lines().find(bad).map(str::to_owned)
}
