//! The fence: SQLite's write lock, taken to keep the application's writers waiting while their writes move, and what is written under
//! it. A fence that is dropped leaves no trace: SQLite rolls back, and the writers go on.
//!
//! It never waits for anything but the lock itself, and never touches a row of the application.

use super::objects::Objects;
use super::{begin, commit, drawn, run};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::plan::capture::{CHANGE, CONTROL, Trigger};
use crate::sqlite::connect::{SqliteFile, schema_version};
use crate::sqlite::control::{self, Control, Writes};
use crate::sqlite::fault::from_sqlite;
use crate::sqlite::history::{OF_ANOTHER, log_lost, of_log, position_upto, schema_digest};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::time::Duration;

/// The write lock, held.
#[derive(Debug)]
pub struct Fence {
    db: Connection,
    epoch: i64,
}

impl Fence {
    /// Waits for the lock as long as `wait`; from then on nobody writes but us.
    pub fn take(file: &SqliteFile, token: &str, wait: Duration) -> Result<Fence, Fault> {
        let doing = "keep the application's writers waiting";
        let db = file.open_writer(wait)?;
        begin_for_good(&db, doing)?;
        let found = control(&db, token)?;
        match found.writes {
            Writes::Sqlite => Ok(Fence { db, epoch: found.epoch }),
            Writes::Postgres => Err(Fault::fatal("source_closed", doing).with_remedy(
                "The writes have moved to PostgreSQL already: start the daemon again, it goes on from there.",
            )),
        }
    }

    /// The newest change: none comes after it while the fence stands.
    pub fn head(&self) -> Result<Position, Fault> {
        let doing = "read the last change before the switch";
        let head = position_upto(&self.db, self.epoch, i64::MAX).map_err(|error| of_log(doing, error))?;
        head.ok_or_else(|| log_lost(doing))
    }

    /// SQLite's own counters of AUTOINCREMENT tables.
    pub fn counters(&self) -> Result<Vec<(String, i64)>, Fault> {
        counters(&self.db)
    }

    /// The one point of no return: with this commit the application's writes to SQLite are refused, for good.
    /// `reverse` is where the way back begins: a batch of an earlier life of it finds itself elsewhere.
    pub fn close(self, guards: &[Trigger], last: Position, reverse: Position) -> Result<(), Fault> {
        let doing = "close SQLite to the application's writes";
        for guard in guards {
            run(&self.db, doing, &guard.sql)?;
        }
        let sql = format!(
            "update {CONTROL} set writes = 'postgres', closed = ?1, reverse_epoch = ?3, reverse_mark = ?4, reverse_nonce = ?5, \
             reverse_before = null where epoch = ?2"
        );
        let places = [last.seq, last.epoch, reverse.epoch, reverse.seq, reverse.nonce];
        let closed = self.db.execute(&sql, places).map_err(|error| from_sqlite(doing, error))?;
        assert_eq!(closed, 1, "the control row was read under this very lock");
        self.db.execute_batch("commit").map_err(|error| from_sqlite(doing, error))
    }
}

/// How many guards keep the application's writes out.
pub fn guards(db: &Connection) -> Result<i64, Fault> {
    Ok(Objects::read(db)?.guards())
}

/// SQLite about to take the application's writes again; nothing is committed.
#[derive(Debug)]
pub struct Opening {
    db: Connection,
    pub first: Position,
    pub found: Found,
}

/// The application's schema, as it stood under the lock.
#[derive(Debug)]
pub struct Found {
    pub version: i64,
    pub schema: String,
}

impl Opening {
    /// A new life of the log begins, with a change of nobody's.
    pub fn begin(file: &SqliteFile, token: &str, wait: Duration) -> Result<Opening, Fault> {
        let doing = "make SQLite ready for the application's writes";
        let failed = |error| from_sqlite(doing, error);
        let db = file.open_writer(wait)?;
        begin_for_good(&db, doing)?;
        let epoch = control(&db, token)?.epoch + 1;
        let found = Found { version: schema_version(&db)?, schema: schema_digest(&db)? };
        Objects::read(&db)?.revive_log(&db)?;
        let seq = next_seq(&db).map_err(failed)?;
        let first = Position { epoch, seq, nonce: drawn(&db)? };
        write_open(&db, first)?;
        Ok(Opening { db, first, found })
    }

    pub fn commit(self) -> Result<(), Fault> {
        let doing = "open SQLite to the application's writes";
        self.db.execute_batch("commit").map_err(|error| from_sqlite(doing, error))
    }
}

/// A power cut must not take a decision back. Where there is a rollback journal, its removal is part of the commit.
const FOR_GOOD: &str = "pragma synchronous = extra";

fn begin_for_good(db: &Connection, doing: &str) -> Result<(), Fault> {
    run(db, doing, FOR_GOOD)?;
    run(db, doing, "begin immediate")
}

/// Opens SQLite to the application where that was decided and not done; done twice it is done once. `left` is where the way back stood
/// then: a file that stands elsewhere, or whose log does not end before `first`, is a backup of the time when PostgreSQL was written, and
/// lacks what came after it.
pub fn open_as_decided(
    db: &Connection,
    token: &str,
    (first, left): (Position, Option<Position>),
) -> Result<(), Fault> {
    let doing = "open SQLite to the application's writes";
    db.execute_batch(FOR_GOOD).map_err(|error| from_sqlite(doing, error))?;
    let tx: Transaction<'_> = begin(db, doing)?;
    let found = control(&tx, token)?;
    // Somebody else has done it, and the writes may have moved on since.
    if found.epoch >= first.epoch {
        return Ok(());
    }
    Objects::read(&tx)?.revive_log(&tx)?;
    let is_as_left = found.epoch + 1 == first.epoch
        && next_seq(&tx).map_err(|error| from_sqlite(doing, error))? == first.seq
        && found.reverse.map(|reached| reached.at) == left;
    if !is_as_left {
        return Err(Fault::fatal("history_fork", doing).with_remedy(
            "the source is not what the rollback left (a backup of the time when PostgreSQL was written has been restored): put the right \
             file there; or, if it is the one to go on with, run it with --resync",
        ));
    }
    write_open(&tx, first)?;
    commit(tx, doing)
}

fn next_seq(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row(&format!("select coalesce(max(seq), 0) + 1 from {CHANGE}"), [], |row| row.get(0))
}

fn write_open(db: &Connection, first: Position) -> Result<(), Fault> {
    let failed = |error| from_sqlite("open SQLite to the application's writes", error);
    let objects = Objects::read(db)?;
    objects.drop_guards(db)?;
    objects.revive_log(db)?;
    let marker = format!("insert or replace into {CHANGE}(seq, tbl, nonce) values (?1, 0, ?2)");
    db.execute(&marker, [first.seq, first.nonce]).map_err(failed)?;
    let sql = format!("update {CONTROL} set writes = 'sqlite', closed = null, epoch = ?1");
    db.execute(&sql, [first.epoch]).map_err(failed)?;
    Ok(())
}

/// Who takes the writes, once no fence stands that could still decide otherwise.
pub fn settled(file: &SqliteFile, token: &str, wait: Duration) -> Result<Control, Fault> {
    let db = file.open_writer(wait)?;
    let tx = begin(&db, "read who takes the application's writes")?;
    control(&tx, token)
}

/// The control row, if it is this migration's.
pub fn control(db: &Connection, token: &str) -> Result<Control, Fault> {
    let doing = "read who takes the application's writes";
    let Some(found) = control::read(db)? else {
        return Err(Fault::fatal("capture_missing", doing).with_remedy(
            "liteferry's tables are gone from the source (a backup from before, or `detach`): run it with --resync",
        ));
    };
    if found.migration != token {
        return Err(Fault::fatal("other_migration", doing).with_remedy(OF_ANOTHER));
    }
    Ok(found)
}

/// SQLite's own counters of AUTOINCREMENT tables, by table.
pub fn counters(db: &Connection) -> Result<Vec<(String, i64)>, Fault> {
    let read = || -> rusqlite::Result<Vec<(String, i64)>> {
        let there = "select 1 from sqlite_schema where name = 'sqlite_sequence'";
        if db.query_row(there, [], |_| Ok(())).optional()?.is_none() {
            return Ok(Vec::new());
        }
        // Whoever may write to the table may leave any value there.
        let sql =
            "select name, seq from sqlite_sequence where typeof(seq) = 'integer' and typeof(name) = 'text'";
        let mut statement = db.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    read().map_err(|error| from_sqlite("read SQLite's counters", error))
}
