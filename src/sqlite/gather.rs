//! The log's rows folded by key, and the rows they name, table by table, until a portion is full. In the caller's snapshot.

use super::fault::from_sqlite;
use super::halves::Encoding;
use super::lookup::Lookup;
use super::scan::cell;
use crate::link::{Changed, Portion};
use crate::model::cell::{Cell, CellBuf};
use crate::model::chunk::{Chunk, Keys};
use crate::model::fault::Fault;
use crate::model::key::key_json;
use crate::model::name::ident;
use crate::plan::packer::put_key;
use crate::plan::route::{Identity, Route};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// What of one table goes into the next portion.
pub struct Gathering<'r> {
    route: &'r Arc<Route>,
    lookup: Lookup<'r>,
    known: HashSet<String>,
    keys: Keys,
    names: Vec<String>,
    pub rows: Chunk,
}

impl<'r> Gathering<'r> {
    pub fn new(route: &'r Arc<Route>, encoding: Encoding) -> Gathering<'r> {
        Gathering {
            route,
            lookup: Lookup::new(route, encoding),
            known: HashSet::new(),
            keys: Keys::default(),
            names: Vec::new(),
            rows: Chunk::default(),
        }
    }

    pub fn add(&mut self, db: &Connection, mut key: Vec<CellBuf>) -> Result<(), Fault> {
        let Identity::Columns(columns) = &self.route.identity else {
            unreachable!("a table without a key is refused before it is captured")
        };
        key.truncate(columns.len());
        let name = key_json(key.iter().map(CellBuf::as_cell));
        if !self.known.insert(name.clone()) {
            return Ok(());
        }
        self.names.push(name);
        put_key(self.route, columns, &key, &mut self.keys);
        self.lookup.pack(db, &key, &mut self.rows)
    }
}

/// Takes out what was gathered of every table; a key that comes again goes into a later portion again, with the same row.
pub fn gathered(tables: &mut BTreeMap<i64, Gathering<'_>>) -> Portion {
    let taken = tables.values_mut().filter(|table| !table.names.is_empty()).map(|table| {
        table.known.clear();
        Changed {
            route: Arc::clone(table.route),
            keys: std::mem::take(&mut table.keys),
            names: std::mem::take(&mut table.names),
            rows: std::mem::take(&mut table.rows),
            emptied: None,
        }
    });
    taken.collect()
}

/// Table numbers and keys of the changes after `from` up to and with `to`.
pub fn log_rows(
    db: &Connection,
    encoding: Encoding,
    (from, to): (i64, i64),
) -> Result<Vec<(i64, Vec<CellBuf>)>, Fault> {
    let failed = |error| from_sqlite("read the change table", error);
    let terms = log_terms(db, encoding).map_err(failed)?;
    let sql = format!("select {terms} from main._liteferry_change where seq > ?1 and seq <= ?2 order by seq");
    let mut statement = db.prepare_cached(&sql).map_err(failed)?;
    let width = statement.column_count();
    let mut rows = statement.query([from, to]).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let Cell::Integer(id) = cell(row, LOG_TABLE) else { continue };
        let key = (LOG_KEY..width).map(|at| cell(row, at).to_buf()).collect();
        found.push((id, key));
    }
    Ok(found)
}

/// What is read of the change table; its keys may be halved texts, as the rows that they name.
fn log_terms(db: &Connection, encoding: Encoding) -> rusqlite::Result<String> {
    if encoding == Encoding::Utf8 {
        return Ok("*".to_owned());
    }
    let statement = db.prepare_cached("select * from main._liteferry_change")?;
    let terms: Vec<String> =
        statement.column_names().into_iter().map(|name| encoding.term(&ident(name))).collect();
    Ok(terms.join(", "))
}

/// Columns of the change table: seq, table, nonce, then the key.
const LOG_TABLE: usize = 1;
pub const LOG_KEY: usize = 3;
