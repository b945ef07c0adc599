//! Applications that are processes of their own and can be killed in the middle of what they do: each write is a transaction of two rows.
//! What a process has told before its end was acknowledged to it.

use super::Side;
use super::writers::{Outcome, Postgres, Sqlite, Written};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// As it was started. It is killed when this is dropped.
pub struct Process {
    child: Child,
    hearing: Option<JoinHandle<()>>,
}

/// What a process is told by its environment.
const NAME: &str = "CROSSING_WRITER";
const SIDE: &str = "CROSSING_WRITER_SIDE";
const PLACE: &str = "CROSSING_WRITER_PLACE";
/// The test of this program that is a writer where the environment says so.
const ENTRY: &str = "crossing::process::an_application_writes_where_one_is_asked_for";
/// What comes before the number of an acknowledged write.
const WRITTEN: &str = "written ";
const BETWEEN: Duration = Duration::from_millis(3);
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

impl Process {
    /// It writes at once, and what it is acknowledged is put among the others'.
    pub fn start(
        name: &str,
        (side, place): (Side, &str),
        acknowledged: Arc<Mutex<BTreeSet<Written>>>,
    ) -> Process {
        let mut command = Command::new(std::env::current_exe().expect("a program knows its file"));
        command.args(["--exact", ENTRY, "--nocapture", "--test-threads=1"]);
        command.env(NAME, name).env(SIDE, format!("{side:?}")).env(PLACE, place);
        // Its input ends with the test, however that ends.
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a writer starts");
        let heard = BufReader::new(child.stdout.take().expect("its output is piped"));
        let name = name.to_owned();
        let hearing = spawn(move || {
            for line in heard.lines().map_while(Result::ok) {
                // The test program that it is tells of itself on the same line.
                let Some((_, n)) = line.split_once(WRITTEN) else { continue };
                let n: i64 = n.parse().expect("a number");
                let mut acknowledged = acknowledged.lock().expect("no writer has panicked");
                acknowledged.extend([(name.clone(), n), (name.clone(), -n)]);
            }
        });
        Process { child, hearing: Some(hearing) }
    }

    /// Returns once all that was acknowledged to it is known.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("a child can be asked for");
        assert!(ended.is_none(), "a writer ended by itself: its complaint stands above");
        self.end();
    }

    fn end(&mut self) {
        // Of one that has ended there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(hearing) = self.hearing.take() {
            hearing.join().expect("what was heard was a number");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Is a writer, if this process was started to be one.
#[test]
fn an_application_writes_where_one_is_asked_for() {
    let told = |variable| std::env::var(variable).ok();
    let (Some(name), Some(side), Some(place)) = (told(NAME), told(SIDE), told(PLACE)) else { return };
    spawn(|| {
        let ended = stdin().read_to_end(&mut Vec::new());
        std::process::exit(i32::from(ended.is_err()));
    });
    let mut write: Box<dyn FnMut(&Written) -> Outcome> = match side.as_str() {
        "Sqlite" => {
            let mut side = Sqlite::open(Path::new(&place));
            Box::new(move |row| side.write_twice(row))
        }
        _ => {
            let mut side = Postgres::at(&place);
            Box::new(move |row| side.write_twice(row))
        }
    };
    for n in 1.. {
        loop {
            match write(&(name.clone(), n)) {
                Outcome::Acknowledged => {
                    writeln!(stdout(), "{WRITTEN}{n}").expect("somebody listens");
                    break;
                }
                Outcome::Unknown => break,
                Outcome::Refused => sleep(REFUSED_PAUSE),
            }
        }
        sleep(BETWEEN);
    }
}
