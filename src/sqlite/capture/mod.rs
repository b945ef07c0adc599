//! Capture in the application's database: puts the log and its triggers in, looks whether they stand, prunes, and takes them out.
//!
//! Each function is one short transaction of its own, or several, or, where it only reads, part of the caller's. It never checkpoints, never
//! holds the write lock while it waits for anything, and never touches a row or an object that is not ours.

mod compile;
pub mod fence;
mod objects;
mod turns;

pub use objects::{Standing, census};

use super::connect::wait_at_most;
use super::fault::from_sqlite;
use super::halves::Encoding;
use super::history::{log_lost, of_log};
use super::scan::Bound;
use crate::model::cell::CellBuf;
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::model::name::ident;
use crate::plan::capture::{
    CHANGE, CONTROL, CaptureTable, control_columns_sql, control_table_sql, log_key_columns, log_table_sql,
};
use objects::Objects;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::time::{Duration, Instant};
use turns::Turns;

/// Whose capture it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// 32 hexadecimal digits.
    pub migration: String,
    /// Which life of the log. A log that was lost and made anew lives again under a higher number.
    pub epoch: i64,
}

/// How many rows one transaction of `touch` appends.
const TOUCHED_MAX: usize = 500;

/// In the rollback modes nobody begins to read while a commit waits for those who read already.
const IN_THE_WAY_MAX: Duration = Duration::from_millis(25);
/// Whoever has waited for that gets through.
const OUT_OF_THE_WAY: Duration = Duration::from_millis(75);
const TOUCH_TIME: Duration = Duration::from_secs(10);

/// Puts everything in and writes a marker row, whose position is given: from there on no change of these tables goes unlogged.
/// Where the same migration was here before, its log and its epoch stay, and only what is missing, stale or altered is made anew.
/// Where nothing of ours was there and not all of it can be put in, nothing stays.
pub fn arm(
    db: &Connection,
    origin: &Origin,
    tables: &[CaptureTable],
    turned: &dyn Fn(),
) -> Result<Position, Fault> {
    let before = installed(db)?;
    let armed = arm_in_turns(db, origin, tables, turned);
    // Meanwhile another daemon may have put in what is its own.
    let is_ours = || Ok(self::origin(db)?.is_some_and(|there| there.migration == origin.migration));
    if armed.is_err() && before.is_empty() && is_ours()? {
        detach(db, turned)?;
    }
    armed
}

fn arm_in_turns(
    db: &Connection,
    origin: &Origin,
    tables: &[CaptureTable],
    turned: &dyn Fn(),
) -> Result<Position, Fault> {
    let doing = "arm capture";
    let tx = begin(db, doing)?;
    let objects = Objects::read(&tx)?;
    objects.refuse_strangers(tables)?;
    let earlier = read_origin(&tx, &objects)?;
    if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.migration != origin.migration) {
        return Err(Fault::fatal("capture_other_migration", doing).with_remedy(format!(
            "The database is captured for migration {}: finish or detach that one first.",
            earlier.migration
        )));
    }
    let alive = earlier.is_some() && newest(&tx, &objects)?.is_some();
    if !alive {
        objects.drop_triggers(&tx)?;
        drop_table(&tx, objects.log.as_deref(), CHANGE)?;
    }
    let epoch = match &earlier {
        Some(earlier) if alive => earlier.epoch,
        Some(earlier) => earlier.epoch.saturating_add(1).max(origin.epoch),
        None => origin.epoch,
    };
    make_tables(&tx, if alive { objects.log.as_deref() } else { None }, tables)?;
    make_control(&tx, objects.control.as_deref())?;
    write_origin(&tx, &origin.migration, epoch)?;
    let tx = turns::install(tx, tables, &Turns::new(db, doing, turned))?;
    let (seq, nonce) = mark(&tx)?;
    commit(tx, doing)?;
    Ok(Position { epoch, seq, nonce })
}

/// After a schema change: `tables` are all that are captured from now on; what is missing or differs is made, what none of them needs
/// dropped. What was written in between is not in the log: the caller compares those tables anew.
pub fn rearm(db: &Connection, tables: &[CaptureTable], turned: &dyn Fn()) -> Result<(), Fault> {
    let doing = "arm capture again";
    let tx = begin(db, doing)?;
    let objects = Objects::read(&tx)?;
    objects.refuse_strangers(tables)?;
    if read_origin(&tx, &objects)?.is_none() || newest(&tx, &objects)?.is_none() {
        return Err(log_lost(doing));
    }
    make_tables(&tx, objects.log.as_deref(), tables)?;
    make_control(&tx, objects.control.as_deref())?;
    commit(turns::install(tx, tables, &Turns::new(db, doing, turned))?, doing)
}

/// Whose capture is in the database; `None` where there is none.
pub fn origin(db: &Connection) -> Result<Option<Origin>, Fault> {
    read_origin(db, &Objects::read(db)?)
}

/// Removes log rows up to a position, oldest first and at most `rows_max`. The newest row stays whatever is asked: with it gone the
/// numbers would start again. Nothing where it may not be committed, which is asked last.
pub fn prune(
    db: &Connection,
    upto_seq: i64,
    rows_max: u32,
    may_commit: impl FnOnce() -> Result<bool, Fault>,
) -> Result<Option<usize>, Fault> {
    let tx = begin(db, "prune the change table")?;
    let sql = format!(
        "delete from {CHANGE} where seq in (select seq from {CHANGE} where seq <= ?1 and seq < (select max(seq) from {CHANGE}) \
         order by seq limit ?2)"
    );
    let pruned =
        tx.execute(&sql, (upto_seq, rows_max)).map_err(|error| of_log("prune the change table", error))?;
    if !may_commit()? {
        return Ok(None);
    }
    commit(tx, "prune the change table")?;
    Ok(Some(pruned))
}

/// Logs keys as though their rows had changed, so that the follower reads these rows again. Where the write lock cannot be had, or a reader
/// stays in the way of a commit, it is tried again and again, for as long as `TOUCH_TIME`.
pub fn touch(db: &Connection, table_id: i64, keys: &[Vec<CellBuf>]) -> Result<(), Fault> {
    let doing = "log keys to be read again";
    wait_at_most(db, IN_THE_WAY_MAX).map_err(|error| from_sqlite(doing, error))?;
    let encoding = Encoding::of(db)?;
    let log = |keys: &[Vec<CellBuf>]| {
        let tx = begin(db, doing)?;
        append(&tx, (table_id, encoding), keys).map_err(|error| of_log(doing, error))?;
        commit(tx, doing)
    };
    for keys in keys.chunks(TOUCHED_MAX) {
        let began = Instant::now();
        loop {
            match log(keys) {
                Err(fault) if fault.class == FaultClass::Transient && began.elapsed() < TOUCH_TIME => {
                    std::thread::sleep(OUT_OF_THE_WAY);
                }
                logged => break logged?,
            }
        }
    }
    Ok(())
}

/// A number that two histories do not share.
pub fn drawn(db: &Connection) -> Result<i64, Fault> {
    db.query_row("select random()", [], |row| row.get(0)).map_err(|error| from_sqlite("draw a number", error))
}

/// What of ours is in the database, by name.
pub fn installed(db: &Connection) -> Result<Vec<String>, Fault> {
    Ok(Objects::read(db)?.ours())
}

/// Takes out everything that is ours, and nothing else, and gives the names. Triggers go first: without the log every write would
/// fail.
pub fn detach(db: &Connection, turned: &dyn Fn()) -> Result<Vec<String>, Fault> {
    let doing = "detach";
    let ours = installed(db)?;
    take_rest_out(turns::take_out(&Turns::new(db, doing, turned))?, doing)?;
    Ok(ours)
}

/// The same of a copy that nobody else has open, at once.
pub fn detach_alone(db: &Connection) -> Result<(), Fault> {
    let doing = "detach";
    let tx = begin(db, doing)?;
    let objects = Objects::read(&tx)?;
    objects.drop_guards(&tx)?;
    objects.drop_triggers(&tx)?;
    take_rest_out(tx, doing)
}

fn take_rest_out(tx: Transaction<'_>, doing: &str) -> Result<(), Fault> {
    let objects = Objects::read(&tx)?;
    objects.drop_pins(&tx)?;
    drop_table(&tx, objects.log.as_deref(), CHANGE)?;
    drop_table(&tx, objects.control.as_deref(), CONTROL)?;
    commit(tx, doing)
}

/// Takes the write lock first, so that nothing read here can be stale.
fn begin<'db>(db: &'db Connection, doing: &str) -> Result<Transaction<'db>, Fault> {
    Transaction::new_unchecked(db, TransactionBehavior::Immediate).map_err(|error| from_sqlite(doing, error))
}

/// In the rollback modes this waits for readers, as long as the connection's bound allows; if that is not enough, nothing was done.
fn commit(tx: Transaction<'_>, doing: &str) -> Result<(), Fault> {
    tx.commit().map_err(|error| from_sqlite(doing, error))
}

fn run(db: &Connection, doing: &str, sql: &str) -> Result<(), Fault> {
    db.execute_batch(sql).map_err(|error| from_sqlite(doing, error))
}

/// `columns` of the log that is there already, if one is; it is widened for longer keys.
fn make_tables(db: &Connection, columns: Option<&[String]>, tables: &[CaptureTable]) -> Result<(), Fault> {
    let width = tables.iter().map(|table| table.key.width()).max().unwrap_or(1);
    let Some(columns) = columns else {
        return run(db, "make the change table", &log_table_sql(width));
    };
    for at in objects::key_columns(columns)..width {
        run(db, "widen the change table", &format!("alter table {CHANGE} add column k{at}"))?;
    }
    Ok(())
}

/// `columns` of the control table that is there already, if one is.
fn make_control(db: &Connection, columns: Option<&[String]>) -> Result<(), Fault> {
    let Some(columns) = columns else { return run(db, "make the control table", &control_table_sql()) };
    control_columns_sql(columns).iter().try_for_each(|sql| run(db, "widen the control table", sql))
}

/// What else stands in the control row stays: it says which side takes the writes.
fn write_origin(db: &Connection, migration: &str, epoch: i64) -> Result<(), Fault> {
    let write = |sql: &str| {
        db.execute(sql, (migration, epoch)).map_err(|error| from_sqlite("write whose capture it is", error))
    };
    if write(&format!("update {CONTROL} set migration = ?1, epoch = ?2"))? == 0 {
        write(&format!("insert into {CONTROL}(one, migration, epoch) values (1, ?1, ?2)"))?;
    }
    Ok(())
}

/// `columns` of the table, if it is there and ours.
fn drop_table(db: &Connection, columns: Option<&[String]>, name: &str) -> Result<(), Fault> {
    match columns {
        Some(_) => run(db, "drop what is ours", &format!("drop table {}", ident(name))),
        None => Ok(()),
    }
}

fn read_origin(db: &Connection, objects: &Objects) -> Result<Option<Origin>, Fault> {
    if objects.control.is_none() {
        return Ok(None);
    }
    db.query_row(&format!("select migration, epoch from {CONTROL}"), [], |row| {
        Ok(Origin { migration: row.get(0)?, epoch: row.get(1)? })
    })
    .optional()
    .map_err(|error| from_sqlite("read whose capture it is", error))
}

fn newest(db: &Connection, objects: &Objects) -> Result<Option<i64>, Fault> {
    if objects.log.is_none() {
        return Ok(None);
    }
    db.query_row(&format!("select max(seq) from {CHANGE}"), [], |row| row.get(0))
        .map_err(|error| from_sqlite("read the newest change", error))
}

/// A change of nobody's.
fn mark(db: &Connection) -> Result<(i64, i64), Fault> {
    let marker = format!("insert into {CHANGE}(tbl,nonce) values(0,random()) returning seq, nonce");
    db.query_row(&marker, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(|error| from_sqlite("mark the beginning of capture", error))
}

/// All keys are of one table, and so of one width.
fn append(
    db: &Connection,
    (table_id, encoding): (i64, Encoding),
    keys: &[Vec<CellBuf>],
) -> rusqlite::Result<()> {
    let width = keys.first().map_or(0, Vec::len);
    let columns = log_key_columns(width);
    for key in keys {
        assert_eq!(key.len(), width, "a table's keys have one width");
        let place = |(at, cell): (usize, &CellBuf)| format!(",{}", encoding.place(cell.as_cell(), at + 2));
        let places: String = key.iter().enumerate().map(place).collect();
        let sql = format!("insert into {CHANGE}(tbl,nonce,{columns}) values(?1,random(){places})");
        let mut statement = db.prepare_cached(&sql)?;
        statement.raw_bind_parameter(1, table_id)?;
        for (at, cell) in key.iter().enumerate() {
            statement.raw_bind_parameter(at + 2, Bound(cell.as_cell()))?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}
