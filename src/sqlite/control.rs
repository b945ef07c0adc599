//! The control row in the application's database: which side takes its writes, and where the way back stands.
//!
//! It is read and written in the caller's transaction, so that it tells of the same moment as the rows beside it.

use super::capture::drawn;
use super::fault::from_sqlite;
use crate::model::fault::Fault;
use crate::model::history::{Position, Reached};
use crate::plan::capture::CONTROL;
use rusqlite::{Connection, OptionalExtension};

/// Which side takes the application's writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    Sqlite,
    Postgres,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub migration: String,
    pub epoch: i64,
    pub writes: Writes,
    /// The last change before SQLite was closed.
    pub closed: Option<i64>,
    /// Nothing before the way back was opened for the first time.
    pub reverse: Option<Reached>,
    /// A word of PostgreSQL's that came the whole way.
    pub canary: Option<String>,
}

impl Writes {
    pub fn word(self) -> &'static str {
        match self {
            Writes::Sqlite => "sqlite",
            Writes::Postgres => "postgres",
        }
    }

    pub fn from_word(word: &str) -> Option<Writes> {
        [Writes::Sqlite, Writes::Postgres].into_iter().find(|writes| writes.word() == word)
    }
}

/// Nothing where capture was never armed.
pub fn read(db: &Connection) -> Result<Option<Control>, Fault> {
    let doing = "read the control row";
    let failed = |error| from_sqlite(doing, error);
    // The columns came one after the other; those of a table that an older version made say nothing else than their defaults.
    let later = match width(db).map_err(failed)? {
        0 => return Ok(None),
        WIDTH => LATER,
        _ => "'sqlite', null, null, null, null, null, null",
    };
    let sql = format!("select migration, epoch, {later} from main.{CONTROL}");
    let read = |row: &rusqlite::Row<'_>| {
        let writes: String = row.get(2)?;
        let reverse = match (row.get(5)?, row.get(6)?, row.get(7)?) {
            (Some(epoch), Some(seq), Some(nonce)) => {
                Some(Reached { at: Position { epoch, seq, nonce }, before: row.get(8)? })
            }
            (_, _, _) => None,
        };
        let (migration, epoch, closed, canary) = (row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?);
        let control = |writes| Control { migration, epoch, writes, closed, reverse, canary };
        Ok(Writes::from_word(&writes).map(control))
    };
    let found = db.prepare_cached(&sql).and_then(|mut statement| statement.query_row([], read)).optional();
    let Some(found) = found.map_err(failed)? else { return Ok(None) };
    found.map(Some).ok_or_else(|| {
        Fault::fatal("state_unreadable", doing)
            .with_remedy("a newer liteferry wrote it, or somebody by hand: run the version that wrote it")
    })
}

/// Whether the application's writes went to PostgreSQL.
pub fn is_closed(db: &Connection) -> Result<bool, Fault> {
    Ok(read(db)?.is_some_and(|control| control.writes == Writes::Postgres))
}

const LATER: &str = "writes, closed, canary, reverse_epoch, reverse_mark, reverse_nonce, reverse_before";
const WIDTH: i64 = 10;

fn width(db: &Connection) -> rusqlite::Result<i64> {
    let mut count = db.prepare_cached("select count(*) from pragma_table_info(?1, 'main')")?;
    count.query_row([CONTROL], |row| row.get(0))
}

/// A cleanup wants a way back that has been walked to its end.
pub const WITHOUT_A_WAY_BACK: &str = "or go on in PostgreSQL without a way back: stop the daemon, run `liteferry detach --open-sqlite`, and in \
    PostgreSQL `drop schema liteferry cascade`";

/// Where the way back stands here.
pub fn reverse_begins(db: &Connection) -> Result<Position, Fault> {
    let reached = read(db)?.and_then(|control| control.reverse);
    reached.map(|reached| reached.at).ok_or_else(|| {
        Fault::fatal("reverse_unopened", "find where SQLite stands on the way back")
            .with_remedy(format!("the way back was never opened here: SQLite is a backup from before, perhaps. Put the right file there; {WITHOUT_A_WAY_BACK}"))
    })
}

/// The next mark of the way back, with a number of its own.
pub fn next_reverse(db: &Connection) -> Result<Position, Fault> {
    let at = reverse_begins(db)?;
    Ok(Position { epoch: at.epoch, seq: at.seq + 1, nonce: drawn(db)? })
}

/// Begins a history of PostgreSQL's changes, here as there, if none has begun and SQLite is still the side that is written, in the life
/// of the log that `at` names.
pub fn begin_reverse(db: &Connection, at: Position) -> Result<(), Fault> {
    let sql = format!(
        "update main.{CONTROL} set reverse_epoch = ?1, reverse_mark = ?2, reverse_nonce = ?3, reverse_before = null \
         where reverse_epoch is null and writes = 'sqlite' and epoch = ?1"
    );
    write_one(db, "open the way back", &sql, &[at.epoch, at.seq, at.nonce])
}

/// Moves on by one batch, if SQLite stands where the batch begins.
pub(super) fn advance(db: &Connection, from: Position, to: Position) -> Result<(), Fault> {
    let sql = format!(
        "update main.{CONTROL} set reverse_epoch = ?1, reverse_mark = ?2, reverse_nonce = ?3, reverse_before = ?6 \
         where reverse_epoch = ?4 and reverse_mark = ?5 and reverse_nonce = ?6"
    );
    let places = [to.epoch, to.seq, to.nonce, from.epoch, from.seq, from.nonce];
    write_one(db, "move the way back on", &sql, &places)
}

fn write_one(db: &Connection, doing: &str, sql: &str, places: &[i64]) -> Result<(), Fault> {
    let written = db
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(places)));
    match written.map_err(|error| from_sqlite(doing, error))? {
        1 => Ok(()),
        _ => Err(Fault::fatal("reverse_history_fork", doing).with_remedy(FORK)),
    }
}

pub const FORK: &str = "SQLite and PostgreSQL no longer tell the same history of the way back (a restored backup, a second daemon): \
    copy both databases, and begin a new migration";
