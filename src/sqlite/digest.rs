//! Digests of a table as it should stand in the target: every row packed as for loading, then hashed instead of sent.

use super::scan::{cell, for_each_row_in_turns, position_width};
use crate::diff::compare::Seen;
use crate::diff::digest::{RowHasher, text_digest};
use crate::diff::{Buckets, RowDigest, Sum};
use crate::link::{Span, Sums, Wanted};
use crate::model::cell::Cell;
use crate::model::chunk::{Chunk, Misfit};
use crate::model::fault::Fault;
use crate::model::key::key_json;
use crate::plan::packer::Packer;
use crate::plan::route::{Identity, Route};
use rusqlite::{Connection, Row};
use std::collections::HashSet;
use std::time::Duration;

/// Packs rows one at a time, for hashing.
struct RowReader<'r> {
    route: &'r Route,
    packer: Packer<'r>,
    hasher: RowHasher,
    chunk: Chunk,
}

impl<'r> RowReader<'r> {
    fn new(route: &'r Route) -> RowReader<'r> {
        let type_oids = route.columns.iter().map(|column| column.type_oid).collect();
        RowReader {
            route,
            packer: Packer::new(route),
            hasher: RowHasher::new(type_oids),
            chunk: Chunk::default(),
        }
    }

    /// The row's tuple and digest, unless it is held back; its misfits stay in `chunk` until the next call.
    fn read(&mut self, row: &Row<'_>) -> Option<(&[u8], RowDigest)> {
        self.chunk.clear();
        let width = self.route.columns.len();
        let position =
            || (width..width + position_width(self.route)).map(|at| cell(row, at)).collect::<Vec<_>>();
        self.packer.pack(|at| cell(row, at), position, &mut self.chunk);
        if self.chunk.rows() == 0 {
            return None;
        }
        let tuple = self.chunk.row(0);
        Some((tuple, self.hasher.digest(tuple)))
    }
}

pub fn sums(
    db: &Connection,
    route: &Route,
    (span, buckets): (Span, usize),
    read_time: Duration,
) -> Result<Sums, Fault> {
    let mut reader = RowReader::new(route);
    let (mut rows, mut ledger) = (Buckets::new(buckets), Sum::default());
    for_each_row_in_turns(db, route, span, read_time, |row| {
        if let Some((_, digest)) = reader.read(row) {
            rows.add(digest);
        }
        for misfit in &reader.chunk.misfits {
            ledger.add(ledger_digest(route, misfit));
        }
    })?;
    Ok(Sums { rows, ledger: Some(ledger) })
}

pub fn rows(
    db: &Connection,
    route: &Route,
    wanted: &Wanted,
    read_time: Duration,
) -> Result<Vec<Seen>, Fault> {
    let mut reader = RowReader::new(route);
    let mut found = Vec::new();
    for_each_row_in_turns(db, route, wanted.span, read_time, |row| {
        if let Some((tuple, digest)) = reader.read(row)
            && wanted.holds(digest)
        {
            let key = route.identity.key_of(tuple, digest);
            found.push(Seen { key, digest, shown: shown_key(route, row) });
        }
    })?;
    Ok(found)
}

pub fn tuples(
    db: &Connection,
    route: &Route,
    (span, digests): (Span, &[RowDigest]),
    read_time: Duration,
) -> Result<Vec<(RowDigest, Vec<u8>)>, Fault> {
    let wanted: HashSet<RowDigest> = digests.iter().copied().collect();
    let mut reader = RowReader::new(route);
    let mut found = Vec::new();
    for_each_row_in_turns(db, route, span, read_time, |row| {
        if let Some((tuple, digest)) = reader.read(row)
            && wanted.contains(&digest)
        {
            found.push((digest, tuple.to_vec()));
        }
    })?;
    Ok(found)
}

fn shown_key(route: &Route, row: &Row<'_>) -> String {
    let width = route.columns.len();
    match &route.identity {
        Identity::Columns(columns) => key_json(columns.iter().map(|column| cell(row, *column))),
        Identity::WholeRow => {
            key_json((width..width + position_width(route)).map(|at| -> Cell<'_> { cell(row, at) }))
        }
    }
}

/// One line a misfit, the same that `postgres/sql/ledger_sum.sql` puts together from the ledger's columns.
fn ledger_digest(route: &Route, misfit: &Misfit) -> RowDigest {
    let raw: String = misfit.raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = [
        misfit.key.clone(),
        route.columns[misfit.column].target.clone(),
        misfit.class.word().to_owned(),
        misfit.standing.word().to_owned(),
        raw,
    ]
    .join("\x1f");
    text_digest(line.as_bytes())
}
