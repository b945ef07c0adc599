//! Applications that write whatever the routing says: one to SQLite, one to PostgreSQL, at all times. What was acknowledged to them is
//! kept, and whoever refuses them must be a guard.

use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// Where they write. The keys are issued by whichever side takes the row: one that was issued before is an error.
pub const TABLE: &str = "create table log (id integer primary key autoincrement, who text not null, n integer not null, unique (who, n));";

/// A row by who wrote it, and its number there.
pub type Written = (String, i64);

/// Threads that write until this is dropped, or a part of them is told to end.
pub struct Writers {
    acknowledged: Arc<Mutex<BTreeSet<Written>>>,
    sqlite: Option<Running>,
    postgres: Option<Running>,
}

struct Running {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What became of one write.
enum Outcome {
    Acknowledged,
    Guarded,
    /// The connection was lost: nobody knows.
    Unknown,
}

const BETWEEN: Duration = Duration::from_millis(3);
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
/// Longer than any deadline that these tests set.
const BUSY_WAIT: Duration = Duration::from_secs(60);

impl Writers {
    pub fn start(source: &Path, url: &str) -> Writers {
        let acknowledged = Arc::default();
        let (source, url) = (source.to_owned(), url.to_owned());
        let sqlite = run("s", &acknowledged, move || {
            let mut side = Sqlite { db: open(&source) };
            move |row: &Written| side.write(row)
        });
        let postgres = run("p", &acknowledged, move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            let mut side = Postgres { runtime, url, client: None };
            move |row: &Written| side.write(row)
        });
        Writers { acknowledged, sqlite: Some(sqlite), postgres: Some(postgres) }
    }

    /// All rows so far.
    pub fn acknowledged(&self) -> BTreeSet<Written> {
        self.acknowledged.lock().expect("no writer has panicked").clone()
    }

    pub fn end_sqlite(&mut self) {
        self.sqlite.take().into_iter().for_each(Running::end);
    }

    /// Whoever complained does so here.
    pub fn end(mut self) -> BTreeSet<Written> {
        self.end_sqlite();
        self.postgres.take().into_iter().for_each(Running::end);
        self.acknowledged()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for running in self.sqlite.iter().chain(&self.postgres) {
            running.ending.store(true, Ordering::SeqCst);
        }
    }
}

impl Running {
    fn end(self) {
        self.ending.store(true, Ordering::SeqCst);
        self.thread.join().expect("a writer met nothing that an application would not expect");
    }
}

fn run<W: FnMut(&Written) -> Outcome>(
    who: &'static str,
    acknowledged: &Arc<Mutex<BTreeSet<Written>>>,
    side: impl FnOnce() -> W + Send + 'static,
) -> Running {
    let ending = Arc::new(AtomicBool::new(false));
    let (told, acknowledged) = (Arc::clone(&ending), Arc::clone(acknowledged));
    let thread = spawn(move || {
        let mut write = side();
        let mut numbers = 1..;
        let mut next = || (who.to_owned(), numbers.next().expect("numbers do not end"));
        let mut row = next();
        while !told.load(Ordering::SeqCst) {
            match write(&row) {
                Outcome::Acknowledged => {
                    acknowledged.lock().expect("no writer has panicked").insert(row);
                    row = next();
                    sleep(BETWEEN);
                }
                Outcome::Guarded => sleep(REFUSED_PAUSE),
                Outcome::Unknown => {
                    row = next();
                    sleep(REFUSED_PAUSE);
                }
            }
        }
    });
    Running { ending, thread }
}

pub fn open(source: &PathBuf) -> Connection {
    let db = Connection::open(source).expect("the application opens its database");
    db.busy_timeout(BUSY_WAIT).expect("a timeout can be set");
    db
}

struct Sqlite {
    db: Connection,
}

impl Sqlite {
    fn write(&mut self, (who, n): &Written) -> Outcome {
        match self.db.execute("insert into log (who, n) values (?1, ?2)", (who, n)) {
            Ok(_) => Outcome::Acknowledged,
            Err(error) if error.to_string().contains("the writes have moved to PostgreSQL") => {
                Outcome::Guarded
            }
            Err(error) => panic!("SQLite refused the application: {error}"),
        }
    }
}

struct Postgres {
    runtime: Runtime,
    url: String,
    client: Option<Client>,
}

impl Postgres {
    fn write(&mut self, (who, n): &Written) -> Outcome {
        let Some(client) = self.client.take().or_else(|| self.runtime.block_on(connect(&self.url))) else {
            return Outcome::Guarded;
        };
        let sql = "insert into log (who, n) values ($1::text, $2::bigint)";
        let written = self.runtime.block_on(client.execute(sql, &[who, n]));
        if client.is_closed() {
            return Outcome::Unknown;
        }
        self.client = Some(client);
        match written {
            Ok(_) => Outcome::Acknowledged,
            Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Outcome::Guarded,
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
