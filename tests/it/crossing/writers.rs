//! Applications that write whatever the routing says: one to SQLite, one to PostgreSQL, at all times. What was acknowledged to them is
//! kept, and whoever refuses them must be a guard.

use super::Side;
use super::process::Process;
use crate::support::application;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// Where they write. The keys are issued by whichever side takes the row: one that was issued before is an error.
pub const TABLE: &str = "create table log (id integer primary key autoincrement, who text not null, n integer not null, unique (who, n));";

/// What the names of processes begin with.
pub const PROCESS: &str = "process ";

/// A row by who wrote it, and its number there.
pub type Written = (String, i64);

/// Threads that write until this is dropped, or one of them is told to end; and processes, which are killed.
pub struct Writers {
    acknowledged: Arc<Mutex<BTreeSet<Written>>>,
    running: Vec<Running>,
    processes: Vec<Process>,
    /// Each has a name of its own.
    started: usize,
    places: [(Side, String); 2],
}

struct Running {
    who: &'static str,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What became of one write.
pub enum Outcome {
    Acknowledged,
    /// By a guard, or because nobody is there: not carried out.
    Refused,
    /// The connection was lost: nobody knows.
    Unknown,
}

const BETWEEN: Duration = Duration::from_millis(3);
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
/// A thousand times a second.
const HAMMERED: Duration = Duration::from_millis(1);

impl Writers {
    /// One that knows only SQLite, and one that knows only PostgreSQL.
    pub fn start(source: &Path, url: &str) -> Writers {
        let file = source.to_str().expect("a file of a test has a plain name");
        let mut writers = Writers {
            acknowledged: Arc::default(),
            running: Vec::new(),
            processes: Vec::new(),
            started: 0,
            places: [(Side::Sqlite, file.to_owned()), (Side::Postgres, url.to_owned())],
        };
        let (source, url) = (source.to_owned(), url.to_owned());
        writers.join("s", move || {
            let mut side = Sqlite::open(&source);
            move |row: &Written| side.write(row)
        });
        writers.join("p", move || {
            let mut side = Postgres::at(&url);
            move |row: &Written| side.write(row)
        });
        writers
    }

    /// One more, as fast as an application is at its work. What it makes, it makes on its own thread.
    pub fn join<W: FnMut(&Written) -> Outcome>(
        &mut self,
        who: &'static str,
        side: impl FnOnce() -> W + Send + 'static,
    ) {
        self.join_at((who, [BETWEEN, REFUSED_PAUSE]), side);
    }

    /// One that does nothing else.
    pub fn hammer<W: FnMut(&Written) -> Outcome>(
        &mut self,
        who: &'static str,
        side: impl FnOnce() -> W + Send + 'static,
    ) {
        self.join_at((who, [Duration::ZERO, HAMMERED]), side);
    }

    fn join_at<W: FnMut(&Written) -> Outcome>(
        &mut self,
        (who, [after_a_write, after_a_refusal]): (&'static str, [Duration; 2]),
        side: impl FnOnce() -> W + Send + 'static,
    ) {
        let ending = Arc::new(AtomicBool::new(false));
        let (told, acknowledged) = (Arc::clone(&ending), Arc::clone(&self.acknowledged));
        let thread = spawn(move || {
            let mut write = side();
            let mut n = 1;
            while !told.load(Ordering::SeqCst) {
                let row = (who.to_owned(), n);
                let pause = match write(&row) {
                    Outcome::Acknowledged => {
                        acknowledged.lock().expect("no writer has panicked").insert(row);
                        n += 1;
                        after_a_write
                    }
                    Outcome::Refused => after_a_refusal,
                    Outcome::Unknown => {
                        n += 1;
                        after_a_refusal
                    }
                };
                sleep(pause);
            }
        });
        self.running.push(Running { who, ending, thread });
    }

    /// The same as a process a side; those there were before are killed, and what was acknowledged to them is known from then on.
    pub fn in_fresh_processes(&mut self, sides: &[Side]) {
        self.kill_processes();
        for (side, place) in self.places.iter().filter(|(side, _)| sides.contains(side)) {
            self.started += 1;
            let name = format!("{PROCESS}{}", self.started);
            self.processes.push(Process::start(&name, (*side, place), Arc::clone(&self.acknowledged)));
        }
    }

    pub fn kill_processes(&mut self) {
        self.processes.drain(..).for_each(Process::kill);
    }

    /// All rows so far.
    pub fn acknowledged(&self) -> BTreeSet<Written> {
        self.acknowledged.lock().expect("no writer has panicked").clone()
    }

    /// Whoever complained does so here.
    pub fn end_one(&mut self, who: &str) {
        let (ending, going_on) = self.running.drain(..).partition(|running| running.who == who);
        self.running = going_on;
        let ending: Vec<Running> = ending;
        ending.into_iter().for_each(Running::end);
    }

    /// The same, of all.
    pub fn end(mut self) -> BTreeSet<Written> {
        self.kill_processes();
        self.running.drain(..).for_each(Running::end);
        self.acknowledged()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.running.iter().for_each(|running| running.ending.store(true, Ordering::SeqCst));
    }
}

impl Running {
    fn end(self) {
        self.ending.store(true, Ordering::SeqCst);
        self.thread.join().expect("a writer met nothing that an application would not expect");
    }
}

pub struct Sqlite {
    db: Connection,
}

impl Sqlite {
    pub fn open(source: &Path) -> Sqlite {
        Sqlite { db: application(source) }
    }

    pub fn write(&mut self, (who, n): &Written) -> Outcome {
        Sqlite::outcome(self.db.execute("insert into log (who, n) values (?1, ?2)", (who, n)).map(drop))
    }

    /// Two rows in one transaction, which begins as a reader.
    pub fn write_twice(&mut self, (who, n): &Written) -> Outcome {
        let written = self.db.execute_batch(&format!(
            "begin; insert into log (who, n) values ('{who}', {n}); insert into log (who, n) values ('{who}', -{n}); commit"
        ));
        if written.is_err() && !self.db.is_autocommit() {
            self.db.execute_batch("rollback").expect("a transaction can be given up");
        }
        Sqlite::outcome(written)
    }

    fn outcome(written: rusqlite::Result<()>) -> Outcome {
        match written {
            Ok(()) => Outcome::Acknowledged,
            Err(error) if error.to_string().contains("the writes have moved to PostgreSQL") => {
                Outcome::Refused
            }
            Err(error) => panic!("SQLite refused the application: {error}"),
        }
    }
}

const INSERT: &str = "insert into log (who, n) values ($1::text, $2::bigint)";

pub struct Postgres {
    runtime: Runtime,
    url: String,
    client: Option<Client>,
}

impl Postgres {
    pub fn at(url: &str) -> Postgres {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        Postgres { runtime, url: url.to_owned(), client: None }
    }

    pub fn write(&mut self, (who, n): &Written) -> Outcome {
        self.carry_out(async |client| client.execute(INSERT, &[who, n]).await.map(drop))
    }

    /// Two rows in one transaction.
    pub fn write_twice(&mut self, (who, n): &Written) -> Outcome {
        self.carry_out(async |client| {
            let written = async {
                client.batch_execute("begin").await?;
                client.execute(INSERT, &[who, n]).await?;
                client.execute(INSERT, &[who, &-n]).await?;
                client.batch_execute("commit").await
            };
            let outcome = written.await;
            if outcome.is_err() && !client.is_closed() {
                // The error that matters is the first one.
                drop(client.batch_execute("rollback").await);
            }
            outcome
        })
    }

    fn carry_out(&mut self, work: impl AsyncFnOnce(&Client) -> Result<(), tokio_postgres::Error>) -> Outcome {
        let Some(client) = self.client.take().or_else(|| self.runtime.block_on(connect(&self.url))) else {
            return Outcome::Refused;
        };
        let written = self.runtime.block_on(work(&client));
        if client.is_closed() {
            return Outcome::Unknown;
        }
        self.client = Some(client);
        match written {
            Ok(()) => Outcome::Acknowledged,
            Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Outcome::Refused,
            // The server is being stopped: this statement was not carried out, and what comes after finds the connection closed.
            Err(error) if error.code().is_none_or(|code| code.code().starts_with("57P")) => {
                self.client = None;
                Outcome::Unknown
            }
            Err(error) => panic!("PostgreSQL refused the application: {error:?}"),
        }
    }
}

/// Nothing where no server is.
async fn connect(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    // It ends with the client; what went wrong, the client is told.
    tokio::spawn(async move { drop(connection.await) });
    Some(client)
}
