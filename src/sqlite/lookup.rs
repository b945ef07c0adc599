//! Present rows by their keys: what a changed key means now.
//!
//! A row counts as found only if its key is the asked one by value and storage class: SQLite's own comparison would also find
//! 'ABC' for 'abc' under NOCASE, and 5 for '5'.

use super::fault::from_sqlite;
use super::halves::Encoding;
use super::scan::{Bound, Reading, cell, select};
use crate::model::cell::CellBuf;
use crate::model::chunk::Chunk;
use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::plan::packer::Packer;
use crate::plan::route::{Identity, Route, ScanOrder};
use rusqlite::{Connection, Row};

/// How the rows of one table are found again, key by key.
pub struct Lookup<'r> {
    route: &'r Route,
    packer: Packer<'r>,
    reading: Reading,
    columns: &'r [usize],
    /// For keys without a NULL and of whole texts, which nearly all are.
    by_whole_key: String,
}

impl<'r> Lookup<'r> {
    /// Of a table whose identity is its columns; others cannot be followed.
    pub fn new(route: &'r Route, encoding: Encoding) -> Lookup<'r> {
        let Identity::Columns(columns) = &route.identity else {
            unreachable!("a table without a key is refused before it is captured")
        };
        let reading = Reading::of_route(route, encoding);
        let by_whole_key = select(&reading, &condition(route, columns, |at| format!("= ?{}", at + 1)));
        Lookup { route, packer: Packer::new(route), reading, columns, by_whole_key }
    }

    /// Packs the rows that have exactly this key: none, one, or several where the key is NULL.
    pub fn pack(&self, db: &Connection, key: &[CellBuf], chunk: &mut Chunk) -> Result<(), Fault> {
        let failed = |error| from_sqlite(format!("read table {} by key", self.route.source), error);
        let encoding = self.reading.encoding();
        let is_asked = |at: usize| {
            // NULL equals nothing.
            let sign = if key[at].as_cell().is_null() { "is" } else { "=" };
            format!("{sign} {}", encoding.place(key[at].as_cell(), at + 1))
        };
        let is_plain = key.iter().all(|cell| !cell.as_cell().is_null())
            && encoding.binds(key.iter().map(CellBuf::as_cell));
        let of_its_own =
            (!is_plain).then(|| select(&self.reading, &condition(self.route, self.columns, is_asked)));
        let sql = of_its_own.as_ref().unwrap_or(&self.by_whole_key);
        let mut statement = db.prepare_cached(sql).map_err(failed)?;
        let binds = key.iter().map(|cell| Bound(cell.as_cell()));
        let mut rows = statement.query(rusqlite::params_from_iter(binds)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            if self.has_key(row, key) {
                self.packer.pack(|at| cell(row, at), || self.reading.position(row), chunk);
            }
        }
        Ok(())
    }

    fn has_key(&self, row: &Row<'_>, key: &[CellBuf]) -> bool {
        self.columns.iter().zip(key).all(|(column, wanted)| cell(row, *column) == wanted.as_cell())
    }
}

/// `asked` says what a part of the key must be.
fn condition(route: &Route, columns: &[usize], asked: impl Fn(usize) -> String) -> String {
    let term = |(at, column): (usize, &usize)| {
        let name = match (&route.columns[*column].source, &route.scan) {
            (Some(name), _) => ident(name),
            (None, ScanOrder::Rowid { name, .. }) => name.clone(),
            (None, ScanOrder::Key { .. } | ScanOrder::Whole) => {
                unreachable!("only a table read by rowid keeps it in a column of its own")
            }
        };
        format!("x.{name} {}", asked(at))
    };
    let terms: Vec<String> = columns.iter().enumerate().map(term).collect();
    format!(" where {}", terms.join(" and "))
}
