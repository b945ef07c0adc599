//! The demo's sample database, written anew in a directory of its own; and the shop that goes on writing to it.

use super::fault::from_sqlite;
use crate::model::fault::Fault;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Writes the sample into a new file.
pub fn write_sample(path: &Path) -> Result<(), Fault> {
    let write = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let db = Connection::open_with_flags(path, flags)?;
        db.execute_batch("pragma journal_mode = wal; begin;")?;
        db.execute_batch(include_str!("sample.sql"))?;
        db.execute_batch("commit;")
    };
    write().map_err(|error| from_sqlite("write the sample database", error))
}

/// An application as others are: it knows nothing of us, and writes as it would without us.
#[derive(Debug)]
pub struct Shop {
    counter: Arc<Counter>,
    thread: Option<JoinHandle<rusqlite::Result<()>>>,
}

#[derive(Debug, Default)]
struct Counter {
    transactions: AtomicU64,
    closed: AtomicBool,
}

const BETWEEN_TRANSACTIONS: Duration = Duration::from_millis(5);

/// What the shop does, one after the other; `?1` counts.
const BUSINESS: [&str; 6] = [
    "insert into orders (customer_id, status, placed_at) values (1 + ?1 % 5000, 'new', datetime('now'))",
    "update customers set balance = balance + 1, name = name || '' where id = 1 + ?1 * 31 % 5000",
    "insert or replace into products values (printf('SKU-%05d', 1 + ?1 % 400), 'Restocked ' || ?1, 9.5, ?1 / 3.0, x'00')",
    "update orders set status = 'paid' where id = 1 + ?1 * 7 % 20000",
    "insert into events values (?1, 'visit', json_object('n', ?1))",
    "delete from notes where id = 1 + ?1 % 1000",
];

impl Shop {
    pub fn open(path: &Path) -> Shop {
        let counter = Arc::new(Counter::default());
        let (path, shared) = (path.to_owned(), Arc::clone(&counter));
        let work = move || {
            let db = Connection::open(path)?;
            db.busy_timeout(Duration::from_secs(5))?;
            db.execute_batch("pragma synchronous = normal")?;
            for number in 0i64.. {
                if shared.closed.load(Ordering::Relaxed) {
                    break;
                }
                let at =
                    usize::try_from(number.unsigned_abs() % BUSINESS.len() as u64).expect("six or fewer");
                db.execute(BUSINESS[at], [number])?;
                shared.transactions.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(BETWEEN_TRANSACTIONS);
            }
            Ok(())
        };
        Shop { counter, thread: Some(std::thread::spawn(work)) }
    }

    pub fn transactions(&self) -> u64 {
        self.counter.transactions.load(Ordering::Relaxed)
    }

    /// Gives the number of transactions, once the last one is over.
    pub fn close(mut self) -> Result<u64, Fault> {
        self.counter.closed.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a shop is closed once");
        match thread.join() {
            Ok(done) => done.map_err(|error| from_sqlite("write as the sample shop", error))?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(self.transactions())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.counter.closed.store(true, Ordering::Relaxed);
    }
}
