//! Reads tables in the order of their key, in short read transactions, and packs rows into chunks.
//!
//! It never holds a read transaction while it waits for anybody: a pinned reader makes the application's WAL grow.

use super::fault::from_sqlite;
use crate::link::Span;
use crate::model::cell::{Cell, CellBuf};
use crate::model::chunk::Chunk;
use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::model::schema::KeyOrder;
use crate::plan::packer::Packer;
use crate::plan::route::{Route, ScanOrder};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql};
use std::time::{Duration, Instant};

/// When a chunk ends, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLimit {
    pub bytes: usize,
    pub read_time: Duration,
}

/// A statement that reads a table from some place on, and what to bind.
struct Leg {
    condition: String,
    binds: Vec<CellBuf>,
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
    let packer = Packer::new(route);
    let started = Instant::now();
    let width = route.columns.len();
    for_each_row(db, route, (span, after), |row| {
        let position = || (width..width + position_width(route)).map(|at| cell(row, at)).collect::<Vec<_>>();
        packer.pack(|at| cell(row, at), position, &mut chunk);
        let full = chunk.bytes() >= limit.bytes || started.elapsed() >= limit.read_time;
        if !full || route.scan == ScanOrder::Whole {
            return true;
        }
        chunk.last_key = position().into_iter().map(Cell::to_buf).collect();
        chunk.ends_range = false;
        false
    })?;
    Ok(chunk)
}

/// Calls `visit` for every row of a span, in as many read transactions as keep each below `read_time`. A table without a key to go on
/// from is read in one.
pub fn for_each_row_in_turns(
    db: &Connection,
    route: &Route,
    span: Span,
    read_time: Duration,
    mut visit: impl FnMut(&Row<'_>),
) -> Result<(), Fault> {
    let width = route.columns.len();
    let mut after: Vec<CellBuf> = Vec::new();
    loop {
        let started = Instant::now();
        let mut reached = None;
        for_each_row(db, route, (span, &after), |row| {
            visit(row);
            if route.scan == ScanOrder::Whole || started.elapsed() < read_time {
                return true;
            }
            reached = Some((width..width + position_width(route)).map(|at| cell(row, at).to_buf()).collect());
            false
        })?;
        match reached {
            Some(position) => after = position,
            None => return Ok(()),
        }
    }
}

/// Calls `visit` for each row, in scan order, until it answers false. The row's cells are the route's columns, then the scan key.
pub fn for_each_row(
    db: &Connection,
    route: &Route,
    (span, after): (Span, &[CellBuf]),
    mut visit: impl FnMut(&Row<'_>) -> bool,
) -> Result<(), Fault> {
    let doing = || format!("read table {}", route.source);
    let mut read = || -> rusqlite::Result<()> {
        let transaction = db.unchecked_transaction()?;
        'legs: for leg in legs(route, span, after) {
            let sql = select(route, &leg.condition);
            let mut statement = transaction.prepare(&sql)?;
            let binds: Vec<Bound<'_>> = leg.binds.iter().map(|cell| Bound(cell.as_cell())).collect();
            let mut rows = statement.query(rusqlite::params_from_iter(binds))?;
            while let Some(row) = rows.next()? {
                if !visit(row) {
                    break 'legs;
                }
            }
        }
        transaction.commit()
    };
    read().map_err(|error| from_sqlite(doing(), error))
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

/// How many cells follow a row's columns.
pub fn position_width(route: &Route) -> usize {
    match &route.scan {
        ScanOrder::Rowid { .. } => 1,
        ScanOrder::Key { names, .. } => names.len(),
        ScanOrder::Whole => 0,
    }
}

fn select(route: &Route, condition: &str) -> String {
    let rowid = match &route.scan {
        ScanOrder::Rowid { name, .. } => format!("x.{name}"),
        ScanOrder::Key { .. } | ScanOrder::Whole => String::new(),
    };
    let mut terms: Vec<String> = route
        .columns
        .iter()
        .map(|column| {
            column.source.as_ref().map_or_else(|| rowid.clone(), |name| format!("x.{}", ident(name)))
        })
        .collect();
    let order = match &route.scan {
        ScanOrder::Rowid { .. } => {
            terms.push(rowid.clone());
            format!(" order by {rowid}")
        }
        ScanOrder::Key { names, order } => {
            terms.extend(names.iter().map(|name| format!("x.{}", ident(name))));
            let by: Vec<String> = names.iter().zip(order).map(|(name, key)| ordered(name, key)).collect();
            format!(" order by {}", by.join(", "))
        }
        ScanOrder::Whole => String::new(),
    };
    format!("select {} from main.{} as x{condition}{order}", terms.join(", "), ident(&route.source))
}

fn collated(name: &str, key: &KeyOrder) -> String {
    format!("x.{} collate {}", ident(name), ident(&key.collation))
}

fn ordered(name: &str, key: &KeyOrder) -> String {
    format!("{}{}", collated(name, key), if key.descending { " desc" } else { "" })
}

/// Statements that together read what lies after a key, in order. For a composite key: first the rows that share all but its last part,
/// then those that share one part less, and so on, so that each is a plain search in the key's own tree.
fn legs(route: &Route, span: Span, after: &[CellBuf]) -> Vec<Leg> {
    match &route.scan {
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
            (1..=names.len()).rev().map(|depth| key_leg(&names[..depth], &order[..depth], after)).collect()
        }
    }
}

fn key_leg(names: &[String], order: &[KeyOrder], after: &[CellBuf]) -> Leg {
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
            format!("{} {compare} ?{}", collated(name, key), index + 1)
        })
        .collect();
    Leg { condition: format!(" where {}", terms.join(" and ")), binds: after[..names.len()].to_vec() }
}

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
