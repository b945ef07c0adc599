//! Digests of a table as it should stand in the target: every row packed as for loading, then hashed instead of sent.

use super::halves::Encoding;
use super::scan::{Reading, Turns, cell, for_each_row_in_turns};
use crate::diff::compare::Seen;
use crate::diff::digest::{RowHasher, ledger_digest};
use crate::diff::{Buckets, RowDigest, Sum};
use crate::link::{Span, Sums, Wanted};
use crate::model::cell::CellBuf;
use crate::model::chunk::Chunk;
use crate::model::fault::Fault;
use crate::model::key::key_json;
use crate::plan::packer::Packer;
use crate::plan::route::{Identity, Route};
use rusqlite::{Connection, Row};
use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

/// Packs rows one at a time, for hashing.
struct RowReader<'r> {
    reading: &'r Reading,
    packer: Packer<'r>,
    hasher: RowHasher,
    chunk: Chunk,
}

impl<'r> RowReader<'r> {
    fn new(route: &'r Route, reading: &'r Reading) -> RowReader<'r> {
        let type_oids = route.columns.iter().map(|column| column.type_oid).collect();
        RowReader {
            reading,
            packer: Packer::new(route),
            hasher: RowHasher::new(type_oids),
            chunk: Chunk::default(),
        }
    }

    /// The row's tuple and digest, unless it is held back; its misfits stay in `chunk` until the next call.
    fn read(&mut self, row: &Row<'_>) -> Option<(&[u8], RowDigest)> {
        self.chunk.clear();
        self.packer.pack(|at| cell(row, at), || self.reading.position(row), &mut self.chunk);
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
    turns: &Turns<'_>,
) -> Result<Sums, Fault> {
    let reading = Reading::of_route(route, Encoding::of(db)?);
    let mut reader = RowReader::new(route, &reading);
    let (mut rows, mut ledger) = (Buckets::new(buckets), Sum::default());
    for_each_row_in_turns(db, &reading, span, turns, |row| {
        if let Some((_, digest)) = reader.read(row) {
            rows.add(digest);
        }
        for misfit in &reader.chunk.misfits {
            ledger.add(ledger_digest(&route.columns[misfit.column].target, misfit));
        }
    })?;
    Ok(Sums { rows, ledger: Some(ledger) })
}

/// The keys of the rows that have cells for the ledger, as `name` takes them: after each turn, when nothing is being read.
pub fn keys_for_the_ledger(
    db: &Connection,
    (route, columns): (&Route, &[usize]),
    (span, read_time): (Span, Duration),
    name: impl Fn(&[Vec<CellBuf>]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let reading = Reading::of_route(route, Encoding::of(db)?);
    let mut reader = RowReader::new(route, &reading);
    let (keys, named) = (RefCell::new(Vec::new()), RefCell::new(Ok(())));
    let ended = |_| {
        let keys = keys.take();
        if named.borrow().is_ok() {
            *named.borrow_mut() = name(&keys);
        }
    };
    for_each_row_in_turns(db, &reading, span, &Turns { read_time, ended: &ended }, |row| {
        reader.read(row);
        if !reader.chunk.misfits.is_empty() {
            keys.borrow_mut().push(columns.iter().map(|column| cell(row, *column).to_buf()).collect());
        }
    })?;
    named.into_inner()
}

pub fn rows(
    db: &Connection,
    route: &Route,
    wanted: &Wanted,
    read_time: Duration,
) -> Result<Vec<Seen>, Fault> {
    let reading = Reading::of_route(route, Encoding::of(db)?);
    let mut reader = RowReader::new(route, &reading);
    let mut found = Vec::new();
    for_each_row_in_turns(db, &reading, wanted.span, &unwatched(read_time), |row| {
        if let Some((tuple, digest)) = reader.read(row)
            && wanted.holds(digest)
        {
            let key = route.identity.key_of(tuple, digest);
            found.push(Seen { key, digest, shown: shown_key(route, &reading, row) });
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
    let reading = Reading::of_route(route, Encoding::of(db)?);
    let mut reader = RowReader::new(route, &reading);
    let mut found = Vec::new();
    for_each_row_in_turns(db, &reading, span, &unwatched(read_time), |row| {
        if let Some((tuple, digest)) = reader.read(row)
            && wanted.contains(&digest)
        {
            found.push((digest, tuple.to_vec()));
        }
    })?;
    Ok(found)
}

fn unwatched(read_time: Duration) -> Turns<'static> {
    Turns { read_time, ended: &|_| {} }
}

fn shown_key(route: &Route, reading: &Reading, row: &Row<'_>) -> String {
    match &route.identity {
        Identity::Columns(columns) => key_json(columns.iter().map(|column| cell(row, *column))),
        Identity::WholeRow => key_json(reading.position(row)),
    }
}
