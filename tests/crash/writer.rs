//! The application: a process of its own that writes to the SQLite file until it is told to rest, and goes on when told so. It ends
//! with a complaint at any error that an application without us would not see.

use crate::random::Random;
use crate::statements::transaction;
use rusqlite::{Connection, ErrorCode};
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A writer as the test holds it.
pub struct Writer {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

/// What a writer is told by its environment.
const SOURCE: &str = "CRASH_WRITER_SOURCE";
const SEED: &str = "CRASH_WRITER_SEED";
const NUMBER: &str = "CRASH_WRITER_NUMBER";
/// The test of this program that is a writer where the environment says so.
const ENTRY: &str = "an_application_writes_where_one_is_asked_for";
const BUSY_WAIT: Duration = Duration::from_secs(20);
const RESTED: &str = "rested ";

/// What a writer has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub statements: u64,
    pub refused: u64,
    pub transactions: u64,
}

impl Writer {
    /// It rests until it is told to write.
    pub fn start(source: &Path, seed: u64, number: usize) -> Writer {
        let mut command = Command::new(std::env::current_exe().expect("a program knows its file"));
        command.args(["--exact", ENTRY, "--nocapture", "--test-threads=1"]);
        command.env(SOURCE, source).env(SEED, seed.to_string()).env(NUMBER, number.to_string());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a writer starts");
        let tell = child.stdin.take().expect("its input is piped");
        let hear = BufReader::new(child.stdout.take().expect("its output is piped"));
        Writer { child, tell, hear }
    }

    pub fn write(&mut self) {
        writeln!(self.tell, "write").expect("a writer listens");
    }

    /// Returns when its last transaction has ended.
    pub fn rest(&mut self) -> Tally {
        writeln!(self.tell, "rest").expect("a writer listens");
        loop {
            let mut line = String::new();
            let read = self.hear.read_line(&mut line).expect("a writer speaks");
            assert!(read > 0, "a writer ended: its complaint stands above");
            // The test program that it is tells of itself on the same line.
            let Some((_, told)) = line.split_once(RESTED) else { continue };
            let numbers: Vec<u64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [statements, refused, transactions] = numbers[..] else { panic!("a tally: {line}") };
            return Tally { statements, refused, transactions };
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// In the middle of whatever it does.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }
}

/// Is a writer, if this process was started to be one.
pub fn be_one() {
    let (Ok(source), Ok(seed), Ok(number)) =
        (std::env::var(SOURCE), std::env::var(SEED), std::env::var(NUMBER))
    else {
        return;
    };
    let number: usize = number.parse().expect("a number");
    let random = Random::new(seed.parse().expect("a seed"));
    let mut application =
        Application { source: PathBuf::from(source), number, random, db: None, tally: Tally::default() };
    application.obey();
}

struct Application {
    source: PathBuf,
    number: usize,
    random: Random,
    db: Option<Connection>,
    tally: Tally,
}

impl Application {
    fn obey(&mut self) {
        let writing = Arc::new(AtomicBool::new(false));
        let (sender, rest) = std::sync::mpsc::channel();
        let told = Arc::clone(&writing);
        // The end of the input is the end of the test: nobody needs a writer any more.
        std::thread::spawn(move || {
            for line in stdin().lines().map_while(Result::ok) {
                told.store(line == "write", Ordering::SeqCst);
                sender.send(line).expect("the application hears");
            }
            std::process::exit(0);
        });
        while let Ok(line) = rest.recv() {
            while line == "write" && writing.load(Ordering::SeqCst) {
                self.transact();
                let pause = 1 + self.random.below(4);
                std::thread::sleep(Duration::from_millis(u64::try_from(pause).expect("a short pause")));
            }
            if line == "rest" {
                let Tally { statements, refused, transactions } = self.tally;
                println!("{RESTED}{statements} {refused} {transactions}");
                stdout().flush().expect("somebody listens");
            }
        }
    }

    fn transact(&mut self) {
        if self.number == 2 && self.random.in_hundred(3) {
            // The last to leave carries the WAL into the database and removes it.
            self.db = None;
        }
        let number = self.number;
        let source = self.source.clone();
        let db = self.db.get_or_insert_with(|| open(&source, number));
        for sql in transaction(&mut self.random) {
            self.tally.statements += 1;
            match db.execute_batch(&sql) {
                Ok(()) => {}
                Err(error) if expected(&error) => self.tally.refused += 1,
                Err(error) => panic!("{error}\n{sql}"),
            }
            // A statement may have rolled all of it back, or a lock have refused the beginning.
            if db.is_autocommit() {
                break;
            }
        }
        if !db.is_autocommit() {
            db.execute_batch("rollback").expect("an open transaction can be rolled back");
        }
        self.tally.transactions += 1;
    }
}

fn open(source: &Path, number: usize) -> Connection {
    let db = Connection::open(source).expect("the application opens its database");
    db.busy_timeout(BUSY_WAIT).expect("a timeout can be set");
    let foreign_keys = if number == 0 { "off" } else { "on" };
    let recursive = if number == 1 { "on" } else { "off" };
    db.execute_batch(&format!(
        "pragma synchronous = normal; pragma foreign_keys = {foreign_keys}; pragma recursive_triggers = {recursive}"
    ))
    .expect("SQLite knows the pragmas");
    db
}

/// Constraints refuse, and so may others' locks; never is anything of ours the reason.
fn expected(error: &rusqlite::Error) -> bool {
    let text = error.to_string();
    let refused = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    );
    refused && !text.contains("liteferry")
}
