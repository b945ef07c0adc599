//! Triggers of many tables are put in, and taken out, in turns: SQLite reads all of its schema for each trigger, so that hundreds of
//! them take as long as no writer of the application should wait.
//!
//! After each turn the application's connections read the schema anew, and begin their statement again. One that finds it changed once
//! more by then, fifty times in a row, fails: the rests are a multiple of what such a reading takes.

use super::objects::Objects;
use super::{begin, commit, drop_table, mark, read_origin};
use crate::model::fault::Fault;
use crate::plan::capture::{CONTROL, CaptureTable};
use crate::sqlite::connect::schema_version;
use crate::sqlite::fault::from_sqlite;
use crate::sqlite::history::log_lost;
use rusqlite::{Connection, OpenFlags, Transaction};
use std::time::{Duration, Instant};

/// How long the write lock is held at least, or one table's triggers.
const TURN_MIN: Duration = Duration::from_millis(10);
/// At most: a disk that pauses makes one reading long, and must not make the next turn so.
const TURN_MAX: Duration = Duration::from_millis(100);
/// How long a statement of the application waits at most, for the lock and for its connection's reading.
const WAIT_MAX: Duration = Duration::from_millis(45);
/// Whoever waits for the lock asks for it again within a quarter of that, most of the time.
const REST: Duration = Duration::from_millis(100);
/// So many readings of the schema more.
const REST_BY_READING: u32 = 5;
/// Thousands of tables take minutes, of which nothing else tells.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub struct Turns<'t> {
    db: &'t Connection,
    doing: &'t str,
    /// Is told after each turn.
    turned: &'t dyn Fn(),
}

impl<'t> Turns<'t> {
    pub fn new(db: &'t Connection, doing: &'t str, turned: &'t dyn Fn()) -> Turns<'t> {
        Turns { db, doing, turned }
    }

    /// Lets the others go on; gives how long the next turn may be.
    fn rest(&self) -> Result<Duration, Fault> {
        (self.turned)();
        let reading = self.reading()?;
        std::thread::sleep(REST + reading * REST_BY_READING);
        Ok(turn_beside(reading))
    }

    /// How long a connection takes to read the schema now.
    fn reading(&self) -> Result<Duration, Fault> {
        let began = Instant::now();
        let read = || {
            // A database that was moved away meanwhile is not made anew.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let other = Connection::open_with_flags(self.db.path().unwrap_or_default(), flags)?;
            other.query_row("select count(*) from sqlite_schema", [], |row| row.get::<_, i64>(0))
        };
        read().map(|_| began.elapsed()).map_err(|error| from_sqlite(self.doing, error))
    }
}

/// Where the reading alone takes too long, each turn makes one statement of each connection late, and the fewer of them the better.
fn turn_beside(reading: Duration) -> Duration {
    match WAIT_MAX.saturating_sub(reading) {
        room if room < TURN_MIN => reading.min(TURN_MAX),
        room => room.min(reading).max(TURN_MIN),
    }
}

/// Begins in the transaction that is given, and gives the one in which everything stands.
pub fn install<'db>(
    mut tx: Transaction<'db>,
    tables: &[CaptureTable],
    turns: &Turns<'db>,
) -> Result<Transaction<'db>, Fault> {
    let (mut known, mut left) = (Objects::read(&tx)?, tables);
    let origin = read_origin(&tx, &known)?;
    let (mut told, mut turn) = (Instant::now(), TURN_MIN);
    loop {
        left = known.install_until(&tx, left, Instant::now() + turn)?;
        if left.is_empty() {
            break;
        }
        // A log without a row would be taken for a lost one, if we ended here.
        mark(&tx)?;
        let version = schema_version(&tx)?;
        commit(tx, turns.doing)?;
        turn = turns.rest()?;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let done = tables.len() - left.len();
            tracing::info!(done, of = tables.len(), "triggers are put into the tables of the source");
        }
        tx = begin(turns.db, turns.doing)?;
        if schema_version(&tx)? != version {
            known = Objects::read(&tx)?;
        }
        // Somebody has detached meanwhile: triggers without a log would let every write fail. Another migration's log is not ours.
        if known.log.is_none() || read_origin(&tx, &known)? != origin {
            return Err(log_lost(turns.doing));
        }
    }
    Objects::read(&tx)?.install(&tx, tables)?;
    Ok(tx)
}

/// Takes out all triggers, and gives the transaction in which none is left. What says whose capture it is goes first: a daemon that finds
/// triggers gone would else put them in again, between any two turns.
pub fn take_out<'db>(turns: &Turns<'db>) -> Result<Transaction<'db>, Fault> {
    let mut turn = TURN_MIN;
    loop {
        let tx = begin(turns.db, turns.doing)?;
        let objects = Objects::read(&tx)?;
        drop_table(&tx, objects.control.as_deref(), CONTROL)?;
        if objects.drop_triggers_until(&tx, Instant::now() + turn)? {
            return Ok(tx);
        }
        commit(tx, turns.doing)?;
        turn = turns.rest()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_too_long_or_turns_are_few() {
        let of = |millis| turn_beside(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 10, 20, 25, 35].map(of), [10, 10, 20, 20, 10]);
        assert_eq!([36, 80, 400].map(of), [36, 80, 100]);
    }
}
