//! Reads tables in the order of their key, in short read transactions, and packs rows into chunks.
//!
//! It never holds a read transaction while it waits for anybody: a pinned reader makes the application's WAL grow.

use super::fault::from_sqlite;
use super::halves::Encoding;
use crate::link::Span;
use crate::model::cell::{Cell, CellBuf};
use crate::model::chunk::Chunk;
use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::model::schema::{KeyOrder, SqliteTable};
use crate::plan::packer::Packer;
use crate::plan::route::{Route, ScanOrder};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, ffi};
use std::time::{Duration, Instant};

/// When a chunk ends, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLimit {
    pub bytes: usize,
    pub read_time: Duration,
}

/// What is read of a table and in which order: a row's cells, then its scan key.
#[derive(Debug)]
pub struct Reading {
    table: String,
    /// SQL of the cells.
    terms: Vec<String>,
    /// SQL of the scan key; empty where nothing tells how far a reading has come, which then goes to its end at once.
    key: Vec<String>,
    scan: ScanOrder,
    encoding: Encoding,
}

/// How a table is read in turns, each a read transaction of its own.
pub struct Turns<'t> {
    pub read_time: Duration,
    /// Told after each turn how many rows it read.
    pub ended: &'t dyn Fn(u64),
}

/// What SQLite lets a statement return. A table of so many columns leaves no room for its scan key, and is surveyed in one go.
const RESULT_COLUMNS_MAX: usize = 2000;

/// A statement that reads a table from some place on, and what to bind.
struct Leg {
    condition: String,
    binds: Vec<CellBuf>,
}

impl Reading {
    pub fn of_route(route: &Route, encoding: Encoding) -> Reading {
        let columns = route.columns.iter().map(|column| column.source.as_deref());
        Reading::new(&route.source, columns, (route.scan.clone(), encoding))
    }

    /// Every column in the table's order, in the order of reading that the declaration vouches for.
    pub fn of_table(table: &SqliteTable, encoding: Encoding) -> Reading {
        let columns = table.columns.iter().map(|column| Some(column.name.as_str()));
        let mut reading = Reading::new(&table.name, columns, (ScanOrder::declared(table), encoding));
        if reading.terms.len() + reading.key.len() > RESULT_COLUMNS_MAX {
            reading.key.clear();
        }
        reading
    }

    /// A column without a name is the rowid.
    fn new<'n>(
        table: &str,
        columns: impl Iterator<Item = Option<&'n str>>,
        (scan, encoding): (ScanOrder, Encoding),
    ) -> Reading {
        let text = |name: &str| encoding.term(&format!("x.{}", ident(name)));
        let (rowid, key) = match &scan {
            ScanOrder::Rowid { name, .. } => (format!("x.{name}"), vec![format!("x.{name}")]),
            ScanOrder::Key { names, .. } => (String::new(), names.iter().map(|name| text(name)).collect()),
            ScanOrder::Whole => (String::new(), Vec::new()),
        };
        let term = |name: Option<&str>| name.map_or_else(|| rowid.clone(), text);
        Reading { table: table.to_owned(), terms: columns.map(term).collect(), key, scan, encoding }
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The scan key of a row.
    pub fn position<'r>(&self, row: &'r Row<'_>) -> Vec<Cell<'r>> {
        let width = self.terms.len();
        (width..width + self.key.len()).map(|at| cell(row, at)).collect()
    }

    fn resumes(&self) -> bool {
        !self.key.is_empty()
    }
}

/// Reads the next chunk of a span, from after the row with the scan key `after` on.
pub fn next_chunk(
    db: &Connection,
    route: &Route,
    (span, after): (Span, &[CellBuf]),
    limit: ChunkLimit,
) -> Result<Chunk, Fault> {
    let mut chunk = Chunk::default();
    chunk.ends_range = true;
    let (packer, reading) = (Packer::new(route), Reading::of_route(route, Encoding::of(db)?));
    let mut turn = Turn::begin(limit.read_time);
    for_each_row(db, &reading, (span, after), |row| {
        packer.pack(|at| cell(row, at), || reading.position(row), &mut chunk);
        let full = turn.is_over_with_row() || chunk.bytes() >= limit.bytes;
        if !full || !reading.resumes() {
            return true;
        }
        chunk.last_key = reading.position(row).into_iter().map(Cell::to_buf).collect();
        chunk.ends_range = false;
        false
    })?;
    Ok(chunk)
}

/// A read transaction, which has its time.
struct Turn {
    since: Instant,
    time: Duration,
    rows: u64,
}

impl Turn {
    fn begin(time: Duration) -> Turn {
        Turn { since: Instant::now(), time, rows: 0 }
    }

    /// Counts a row. The clock costs as much as a cell, so that only some rows look at it.
    fn is_over_with_row(&mut self) -> bool {
        let looks = self.rows.is_multiple_of(ROWS_A_LOOK);
        self.rows += 1;
        looks && self.since.elapsed() >= self.time
    }
}

const ROWS_A_LOOK: u64 = 16;

/// Calls `visit` for every row of a span, in as many read transactions as keep each below `read_time`. A table without a key to go on
/// from is read in one.
pub fn for_each_row_in_turns(
    db: &Connection,
    reading: &Reading,
    span: Span,
    turns: &Turns<'_>,
    mut visit: impl FnMut(&Row<'_>),
) -> Result<(), Fault> {
    let mut after: Vec<CellBuf> = Vec::new();
    loop {
        let (mut turn, mut reached) = (Turn::begin(turns.read_time), None);
        for_each_row(db, reading, (span, &after), |row| {
            visit(row);
            if !turn.is_over_with_row() || !reading.resumes() {
                return true;
            }
            reached = Some(reading.position(row).into_iter().map(Cell::to_buf).collect());
            false
        })?;
        (turns.ended)(turn.rows);
        match reached {
            Some(position) => after = position,
            None => return Ok(()),
        }
    }
}

/// Calls `visit` for each row, in scan order, until it answers false. The row's cells are the reading's, then the scan key.
fn for_each_row(
    db: &Connection,
    reading: &Reading,
    (span, after): (Span, &[CellBuf]),
    mut visit: impl FnMut(&Row<'_>) -> bool,
) -> Result<(), Fault> {
    let mut read = || -> rusqlite::Result<()> {
        // A snapshot that is held for a comparison stays as it is.
        let transaction = if db.is_autocommit() { Some(db.unchecked_transaction()?) } else { None };
        'legs: for leg in legs(reading, span, after) {
            let sql = select(reading, &leg.condition);
            let mut statement = db.prepare(&sql)?;
            let binds: Vec<Bound<'_>> = leg.binds.iter().map(|cell| Bound(cell.as_cell())).collect();
            let mut rows = statement.query(rusqlite::params_from_iter(binds))?;
            let mut ascent = Ascent::begin(reading, after);
            while let Some(row) = rows.next()? {
                ascent.confirm(row)?;
                if !visit(row) {
                    break 'legs;
                }
            }
        }
        transaction.map_or(Ok(()), rusqlite::Transaction::commit)
    };
    read().map_err(|error| from_sqlite(format!("read table {}", reading.table), error))
}

/// How far a reading by rowid has come. Only a damaged tree gives rowids out of order; SQLite does not look, and a search in such a
/// tree passes rows by in silence.
struct Ascent {
    /// Where a row has its rowid, if it is read by that.
    at: Option<usize>,
    last: Option<i64>,
}

impl Ascent {
    fn begin(reading: &Reading, after: &[CellBuf]) -> Ascent {
        let at = match &reading.scan {
            ScanOrder::Rowid { .. } => reading.resumes().then_some(reading.terms.len()),
            ScanOrder::Key { .. } | ScanOrder::Whole => None,
        };
        let last = match after.first() {
            Some(CellBuf::Integer(last)) => Some(*last),
            Some(CellBuf::Null | CellBuf::Real(_) | CellBuf::Text(_) | CellBuf::Blob(_)) | None => None,
        };
        Ascent { at, last }
    }

    fn confirm(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let Some(at) = self.at else { return Ok(()) };
        let rowid = row.get(at)?;
        if self.last.is_some_and(|last| last >= rowid) {
            return Err(damaged("rowids are out of order"));
        }
        self.last = Some(rowid);
        Ok(())
    }
}

/// What SQLite answers where it finds such damage itself.
pub(super) fn damaged(how: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(how.to_owned()))
}

/// The cell as SQLite holds it: class and bytes, no conversion.
pub fn cell<'r>(row: &'r Row<'_>, at: usize) -> Cell<'r> {
    match row.get_ref(at).expect("the statement has this column") {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(value) => Cell::Integer(value),
        ValueRef::Real(value) => Cell::Real(value),
        ValueRef::Text(bytes) => Cell::Text(bytes),
        ValueRef::Blob(bytes) => Cell::Blob(bytes),
    }
}

/// The cells, then the scan key, of the rows that meet a condition, in scan order.
pub(super) fn select(reading: &Reading, condition: &str) -> String {
    let order = match &reading.scan {
        ScanOrder::Rowid { name, .. } => format!(" order by x.{name}"),
        ScanOrder::Key { names, order } => {
            let by: Vec<String> = names.iter().zip(order).map(|(name, key)| ordered(name, key)).collect();
            format!(" order by {}", by.join(", "))
        }
        ScanOrder::Whole => String::new(),
    };
    let terms = [&reading.terms[..], &reading.key].concat().join(", ");
    format!("select {terms} from main.{} as x{condition}{order}", ident(&reading.table))
}

fn collated(name: &str, key: &KeyOrder) -> String {
    format!("x.{} collate {}", ident(name), ident(&key.collation))
}

fn ordered(name: &str, key: &KeyOrder) -> String {
    format!("{}{}", collated(name, key), if key.descending { " desc" } else { "" })
}

/// Statements that together read what lies after a key, in order. For a composite key: first the rows that share all but its last part,
/// then those that share one part less, and so on, so that each is a plain search in the key's own tree.
fn legs(reading: &Reading, span: Span, after: &[CellBuf]) -> Vec<Leg> {
    match &reading.scan {
        ScanOrder::Whole => vec![Leg { condition: String::new(), binds: Vec::new() }],
        ScanOrder::Rowid { name, .. } => {
            let (mut terms, mut binds) = (Vec::new(), Vec::new());
            match (after.first(), span.from) {
                (Some(last), _) => {
                    terms.push(format!("x.{name} > ?{}", binds.len() + 1));
                    binds.push(last.clone());
                }
                (None, Some(from)) => {
                    terms.push(format!("x.{name} >= ?{}", binds.len() + 1));
                    binds.push(CellBuf::Integer(from));
                }
                (None, None) => {}
            }
            if let Some(to) = span.to {
                terms.push(format!("x.{name} <= ?{}", binds.len() + 1));
                binds.push(CellBuf::Integer(to));
            }
            let condition =
                if terms.is_empty() { String::new() } else { format!(" where {}", terms.join(" and ")) };
            vec![Leg { condition, binds }]
        }
        ScanOrder::Key { .. } if after.is_empty() => {
            vec![Leg { condition: String::new(), binds: Vec::new() }]
        }
        ScanOrder::Key { names, order } => {
            let leg = |depth| key_leg(&names[..depth], &order[..depth], (after, reading.encoding));
            (1..=names.len()).rev().map(leg).collect()
        }
    }
}

fn key_leg(names: &[String], order: &[KeyOrder], (after, encoding): (&[CellBuf], Encoding)) -> Leg {
    let last = names.len() - 1;
    let terms: Vec<String> = names
        .iter()
        .zip(order)
        .enumerate()
        .map(|(index, (name, key))| {
            let compare = match (index == last, key.descending) {
                (false, _) => "=",
                (true, false) => ">",
                (true, true) => "<",
            };
            format!("{} {compare} {}", collated(name, key), encoding.place(after[index].as_cell(), index + 1))
        })
        .collect();
    Leg { condition: format!(" where {}", terms.join(" and ")), binds: after[..names.len()].to_vec() }
}

/// A cell as a parameter.
pub(super) struct Bound<'a>(pub Cell<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Cell::Null => ValueRef::Null,
            Cell::Integer(value) => ValueRef::Integer(value),
            Cell::Real(value) => ValueRef::Real(value),
            Cell::Text(bytes) => ValueRef::Text(bytes),
            Cell::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// How many rows a table has; SQLite walks its smallest index for it.
pub fn count_rows(db: &Connection, table: &str) -> Result<u64, Fault> {
    let sql = format!("select count(*) from main.{}", ident(table));
    let count: i64 = db
        .query_row(&sql, [], |row| row.get(0))
        .map_err(|error| from_sqlite(format!("count the rows of table {table}"), error))?;
    Ok(u64::try_from(count).expect("a count is not negative"))
}
