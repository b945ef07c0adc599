//! One transaction of the way back: rows found by their keys, compared cell by cell, and written where a cell differs.
//!
//! A unique value may move between rows: a row that another still stands in the way of is laid aside until every other row is
//! written. What then still does not fit is refused by name, and the batch with it.

use super::later::Later;
use super::may_write;
use super::table::{Table, key_of};
use crate::canon::Back;
use crate::link::{Applied, Changed};
use crate::model::cell::{Cell, CellBuf};
use crate::model::chunk::tuple_cells;
use crate::model::fault::{Fault, FaultClass};
use crate::model::finding::Finding;
use crate::model::key::key_json;
use crate::plan::route::{Identity, Route};
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::control::Writes;
use crate::sqlite::fault::from_sqlite;
use rusqlite::{Connection, ffi};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub const REFUSED: &str = "reverse_refused";

pub struct Writing {
    db: Connection,
    tables: Vec<Table>,
    /// Places in `tables`, by the table's name.
    places: HashMap<String, usize>,
    writes: Writes,
    applied: Applied,
    later: Later,
}

/// A row as SQLite has it.
pub struct Present {
    /// What it is found by again.
    pub address: Vec<CellBuf>,
    pub cells: Vec<CellBuf>,
}

/// A row as SQLite should have it.
pub struct Wanted<'t> {
    pub cells: Vec<CellBuf>,
    /// Columns that differ from the present row; all, where there is none.
    pub changed: Vec<usize>,
    pub tuple: Vec<Option<&'t [u8]>>,
}

/// A row that is written, as it should be, and whose it is.
pub type Row<'a> = (&'a Route, &'a [CellBuf]);

/// What became of a row that was to be written.
pub enum Written {
    Done,
    /// Another row has a value that must stand once.
    InTheWay,
}

/// Lookups of a database with many tables, and updates of different columns, stay prepared.
const STATEMENTS_MAX: usize = 512;

pub const UNCHECKED: &str = "pragma ignore_check_constraints = on";

impl Writing {
    pub fn on(db: Connection) -> Result<Writing, Fault> {
        db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let failed = |error| from_sqlite("set up a connection of the way back", error);
        let mode: String = db.query_row("pragma main.journal_mode", [], |row| row.get(0)).map_err(failed)?;
        // Beside a rollback journal a commit brings itself to disk.
        let synchronous = if mode == "wal" { "normal" } else { "extra" };
        // What the application's CHECKs refuse has been accepted by PostgreSQL and must not be lost. Rows laid aside may be many.
        let set = format!("pragma synchronous = {synchronous}; pragma temp_store = file; {UNCHECKED}");
        db.execute_batch(&set).map_err(failed)?;
        let later = Later::on(&db)?;
        let (tables, places) = (Vec::new(), HashMap::new());
        Ok(Writing { db, tables, places, writes: Writes::Sqlite, applied: Applied::default(), later })
    }

    pub fn db(&self) -> &Connection {
        &self.db
    }

    /// The transaction has begun.
    pub fn begin(&mut self, writes: Writes) -> Result<(), Fault> {
        self.writes = writes;
        self.applied = Applied::default();
        self.tables.iter_mut().for_each(Table::forget_keys);
        self.later.clear(&self.db)
    }

    /// What is known of the tables holds for one schema.
    pub fn forget_tables(&mut self) {
        (self.tables, self.places) = (Vec::new(), HashMap::new());
    }

    pub fn put(&mut self, changed: &Changed) -> Result<(), Fault> {
        may_write(&changed.route.source, self.writes)?;
        let place = self.place(&changed.route)?;
        if let Some(held) = &changed.emptied {
            self.empty(place, held)?;
        }
        let table = &self.tables[place];
        let keys_of_rows: HashSet<Vec<u8>> = (0..changed.rows.rows())
            .map(|row| table.route.identity.key_of(changed.rows.row(row), crate::diff::RowDigest(0, 0)))
            .collect();
        let mut start = 0;
        for end in &changed.keys.ends {
            let tuple = &changed.keys.arena[start..*end];
            start = *end;
            if !keys_of_rows.contains(&bytes_of_key(tuple)) {
                self.delete(place, tuple)?;
            }
        }
        for row in 0..changed.rows.rows() {
            self.write(place, changed.rows.row(row))?;
        }
        Ok(())
    }

    /// Writes what was laid aside, and raises the counters from which SQLite draws its next ids.
    pub fn settle(&mut self) -> Result<Applied, Fault> {
        let db = &self.db;
        self.later.each(db, |place, address, _| match address {
            Some(address) => self.tables[place].delete(db, &address),
            None => Ok(()),
        })?;
        // Those that had a rowid get it back before SQLite gives it to another.
        for old in [true, false] {
            self.later.each(db, |place, address, cells| {
                if address.is_some() != old {
                    return Ok(());
                }
                match self.tables[place].insert_again(db, address.as_deref(), &cells)? {
                    Written::Done => Ok(()),
                    Written::InTheWay => Err(in_the_way((&self.tables[place].route, &cells))),
                }
            })?;
        }
        self.tables.iter().try_for_each(|table| table.raise_counter(db))?;
        Ok(self.applied)
    }

    fn place(&mut self, route: &Arc<Route>) -> Result<usize, Fault> {
        if let Some(place) = self.places.get(&route.source) {
            return Ok(*place);
        }
        self.tables.push(Table::learn(&self.db, route)?);
        self.places.insert(route.source.clone(), self.tables.len() - 1);
        Ok(self.tables.len() - 1)
    }

    fn delete(&mut self, place: usize, key: &[u8]) -> Result<(), Fault> {
        let table = &mut self.tables[place];
        let cells: Vec<Option<&[u8]>> = tuple_cells(key).collect();
        let key = table.key_of(&cells);
        table.note_key(&key);
        if let Some(present) = table.find(&self.db, &key)? {
            table.delete(&self.db, &present.address)?;
        }
        self.applied.deleted += 1;
        Ok(())
    }

    fn empty(&mut self, place: usize, held: &HashSet<String>) -> Result<(), Fault> {
        let table = &self.tables[place];
        if held.is_empty() {
            return table.delete_all(&self.db);
        }
        table.delete_where(&self.db, |key| !held.contains(&key_json(key.iter().map(CellBuf::as_cell))))
    }

    fn write(&mut self, place: usize, tuple: &[u8]) -> Result<(), Fault> {
        let table = &mut self.tables[place];
        let tuple: Vec<Option<&[u8]>> = tuple_cells(tuple).collect();
        let key = table.key_in_tuple(&tuple);
        table.note_key(&key);
        let present = table.find(&self.db, &key)?;
        let wanted = wanted(&table.route, present.as_ref(), tuple);
        self.applied.written += 1;
        if present.is_some() && wanted.changed.iter().all(|column| !table.is_writable(*column)) {
            return Ok(());
        }
        let written = match &present {
            Some(present) => table.update(&self.db, &present.address, &wanted)?,
            None => table.insert(&self.db, &wanted)?,
        };
        match written {
            Written::Done => Ok(()),
            Written::InTheWay => {
                let address = present.as_ref().map(|present| present.address.as_slice());
                self.later.lay_aside(&self.db, place, address, &wanted.cells)
            }
        }
    }
}

/// Of rows by their keys, those that writing them back would leave as they stand here.
pub fn standing(
    db: &Connection,
    route: &Arc<Route>,
    rows: HashMap<Vec<u8>, Vec<u8>>,
) -> Result<HashSet<Vec<u8>>, Fault> {
    let table = Table::learn(db, route)?;
    let mut standing = HashSet::new();
    for (name, tuple) in rows {
        let tuple: Vec<Option<&[u8]>> = tuple_cells(&tuple).collect();
        let Some(present) = table.find(db, &table.key_in_tuple(&tuple))? else { continue };
        let wanted = wanted(route, Some(&present), tuple);
        let is_left =
            |column: &usize| !table.is_writable(*column) || wanted.cells[*column] == present.cells[*column];
        if wanted.changed.iter().all(is_left) {
            standing.insert(name);
        }
    }
    Ok(standing)
}

/// A table that SQLite lets nobody write who lacks a function or a collation of the application's own.
#[derive(Debug)]
pub struct Unwritable {
    pub table: String,
    /// What SQLite says.
    pub why: String,
}

impl Unwritable {
    pub fn finding(&self) -> Finding {
        let text = format!(
            "SQLite lets only the application write this table ({}): after the switch nothing could come back into it, and its gate \
             (reverse_tables) stays shut",
            self.why
        );
        let remedy = "for `liteferry run`: drop the indexes that need it until the migration is over, or leave the table out by tables.exclude";
        Finding::warning("reverse_unwritable", &self.table, text).with_remedy(remedy)
    }
}

/// Of these tables, those that the way back could not write. Nothing is written to find out.
pub fn unwritable<'r>(
    file: &SqliteFile,
    routes: impl IntoIterator<Item = &'r Arc<Route>>,
) -> Result<Vec<Unwritable>, Fault> {
    let db = file.open_unaided_reader()?;
    db.execute_batch(UNCHECKED)
        .map_err(|error| from_sqlite("set up a connection as of the way back", error))?;
    let mut found = Vec::new();
    for route in routes.into_iter().filter(|route| matches!(route.identity, Identity::Columns(_))) {
        match Table::compile(&db, route) {
            Ok(()) => {}
            Err(fault) if fault.code == "source_sql" => {
                let why = fault.source.as_ref().map_or_else(String::new, ToString::to_string);
                found.push(Unwritable { table: route.source.clone(), why });
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(found)
}

/// The row that should stand here: present cells that already cross to what PostgreSQL holds, and its values in the place of the others.
fn wanted<'t>(route: &Route, present: Option<&Present>, tuple: Vec<Option<&'t [u8]>>) -> Wanted<'t> {
    let (mut cells, mut changed) = (Vec::with_capacity(tuple.len()), Vec::new());
    let (mut scratch, mut text) = (Vec::new(), Vec::new());
    for (at, (column, bytes)) in route.columns.iter().zip(&tuple).enumerate() {
        if let Some(present) = present
            && column.codec.crosses_to(present.cells[at].as_cell(), *bytes, &mut scratch)
        {
            cells.push(present.cells[at].clone());
            continue;
        }
        changed.push(at);
        cells.push(match bytes {
            None => column.codec.nothing().to_buf(),
            Some(bytes) if key_of(route).contains(&at) => {
                cell_of(column.codec.back(column.affinity, bytes, &mut text))
            }
            Some(bytes) => cell_of(column.codec.back_in_row(column.affinity, bytes, &mut text)),
        });
    }
    Wanted { cells, changed, tuple }
}

pub fn cell_of(back: Back<'_>) -> CellBuf {
    match back {
        Back::Spelt(cell) => cell.to_buf(),
        Back::Foreign(cell) => cell,
    }
}

/// As `Identity::key_of` has it, of a tuple that is all key.
fn bytes_of_key(tuple: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in tuple_cells(tuple) {
        let part = part.unwrap_or_default();
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

const UNCOMPUTABLE: &str = "put a value there in PostgreSQL of which SQLite can compute it, and the way back goes on where it stands; where the \
    application goes on writing such values, a CHECK keeps them out: check (column is null or column::json is not null), for one of JSON";

/// A refusal of a statement that was prepared, as a fault if it is none that time settles.
pub fn judged(row: Row<'_>, outcome: rusqlite::Result<()>) -> Result<Written, Fault> {
    let Err(error) = outcome else { return Ok(Written::Done) };
    let (route, _) = row;
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    match code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            Ok(Written::InTheWay)
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => {
            let told = error.to_string();
            // SQLite names the column as `table.column`, and no value.
            let column = told.rsplit_once(&format!("{}.", route.source)).map_or("a column", |(_, name)| name);
            let fault = refused(row, &format!("{column} takes no NULL there"));
            Err(fault.with_remedy(
                "put a value there in PostgreSQL (or into what SQLite computes the column from), and the way back goes on where it stands; where the \
                 application goes on writing NULL, give the table a trigger that puts one in its place (docs/LIMITS.md, the way back)",
            ))
        }
        ffi::SQLITE_CONSTRAINT_DATATYPE => {
            Err(refused(row, "a column of the STRICT table takes no such value"))
        }
        ffi::SQLITE_MISMATCH => Err(refused(row, "its key there takes nothing but integers of 64 bits")),
        // The statement is prepared, so that it lacks nothing: it is a value that a function refuses.
        ffi::SQLITE_ERROR => {
            let fault = refused(
                row,
                "an index or a column that SQLite computes from it fails (json_extract of what is no JSON, say)",
            );
            Err(fault.with_remedy(UNCOMPUTABLE))
        }
        _ => Err(from_sqlite(format!("write back table {}", route.source), error)),
    }
}

pub fn refused(row: Row<'_>, why: &str) -> Fault {
    let (table, which) = (&row.0.source, number(row).unwrap_or_else(|| "a row".to_owned()));
    Fault::new(FaultClass::Fatal, REFUSED, format!("write back {which} of table {table}: {why}")).with_remedy(
        "SQLite cannot hold what PostgreSQL holds: change the row in PostgreSQL, and the way back goes on where it stands",
    )
}

/// The row by its key where that is numbers, as most are. What else a key is may be a name or an address, and is for no log.
fn number((route, cells): Row<'_>) -> Option<String> {
    let part = |column: &usize| match &cells[*column] {
        CellBuf::Integer(number) if route.columns[*column].codec.ty.is_integer() => Some(number.to_string()),
        _ => None,
    };
    let parts: Option<Vec<String>> = key_of(route).iter().map(part).collect();
    parts.map(|parts| format!("row {}", parts.join(", ")))
}

fn in_the_way(row: Row<'_>) -> Fault {
    refused(row, "another row there has a value that SQLite keeps unique")
}

/// Whether the column holds what it should, now that SQLite has applied its affinity.
pub fn holds(route: &Route, column: usize, (found, wanted): (Cell<'_>, &Wanted<'_>)) -> bool {
    let codec = &route.columns[column].codec;
    found == wanted.cells[column].as_cell() || codec.crosses_to(found, wanted.tuple[column], &mut Vec::new())
}
