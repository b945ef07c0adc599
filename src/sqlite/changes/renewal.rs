//! Which tables are read whole: those of which at least two rows of five wait to be written. To write a row where another stands takes more
//! than three times as long as to copy one, so that this is the sooner way, and by far where all have changed.

use super::{Begun, Shared};
use crate::link::{Extent, RENEWAL_REFUSED, Take};
use crate::model::cell::Cell;
use crate::model::fault::{Fault, FaultClass};
use crate::model::name::ident;
use crate::plan::route::{Route, ScanOrder};
use crate::sqlite::fault::from_sqlite;
use crate::sqlite::gather::LOG_KEY;
use crate::sqlite::scan::cell;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The tables are locked in the target, and a snapshot of the source held, while they are copied: some seconds.
const ROWS_MAX: i64 = 4_000_000;
/// Rows may be long, and the target slow.
const TIME_MAX: Duration = Duration::from_secs(15);
/// More changes than that are not weighed: to count different keys takes a look at each.
const WEIGHED_MAX: i64 = 2 * ROWS_MAX;
/// Each table takes such a look of its own: those that have fewer of the changes than this part of them are not weighed.
const TABLES_MAX: i64 = 8;

impl Shared {
    /// The tables of a batch that are read whole, by number. It is then a batch of all that waits, of which they must be
    /// at least the half.
    pub(super) fn to_renew(
        &self,
        Begun { reader, head, take, .. }: &Begun,
    ) -> Result<BTreeMap<i64, &Arc<Route>>, Fault> {
        let (from, to) = (head.from.seq, head.newest.seq);
        let waiting = to - from;
        let is_asked = match take {
            Take::Renewing(_) => reader.never_waits && self.state().weighed <= from,
            Take::UpTo(_) | Take::All => false,
        };
        // What is one batch is soon done.
        if !is_asked || head.extent == Extent::Whole || waiting > WEIGHED_MAX {
            return Ok(BTreeMap::new());
        }
        self.state().weighed = to;
        let db = &reader.db;
        let changes = changes_by_table(db, (from, to))?;
        let large = changes.iter().filter(|(_, changes)| **changes * TABLES_MAX >= waiting);
        let large = large.filter_map(|(id, changes)| Some((*id, *changes, self.expected.tables.get(id)?)));
        let (mut renewed, mut rows, mut left) = (BTreeMap::new(), 0, waiting);
        for (id, changes, route) in large {
            let Some(of_table) = rows_if_few(db, route, changes * 5 / 2)? else { continue };
            if rows + of_table <= ROWS_MAX && different_keys(db, id, (from, to))? * 5 / 2 >= of_table {
                renewed.insert(id, route);
                (rows, left) = (rows + of_table, left - changes);
            }
        }
        // The others' changes are taken key by key, all of them at once.
        if left > waiting / 2 {
            renewed.clear();
        }
        for route in renewed.values() {
            tracing::info!(table = route.source, "much of it has changed: the table is copied anew");
        }
        Ok(renewed)
    }
}

/// Whether the copying of tables is still a matter of seconds.
pub(super) fn confirm_pace(began: Instant) -> Result<(), Fault> {
    if began.elapsed() <= TIME_MAX {
        return Ok(());
    }
    Err(Fault::new(FaultClass::Transient, RENEWAL_REFUSED, "read tables whole of which much has changed")
        .with_remedy("It takes too long: their changes are applied key by key instead."))
}

fn changes_by_table(db: &Connection, (from, to): (i64, i64)) -> Result<BTreeMap<i64, i64>, Fault> {
    let failed = |error| from_sqlite("count changes by table", error);
    let sql = "select tbl from main._liteferry_change where seq > ?1 and seq <= ?2";
    let mut statement = db.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query([from, to]).map_err(failed)?;
    let mut changes = BTreeMap::new();
    while let Some(row) = rows.next().map_err(failed)? {
        // The marker is of no table.
        if let Cell::Integer(id) = cell(row, 0) {
            *changes.entry(id).or_default() += 1;
        }
    }
    Ok(changes)
}

/// How many rows a table has; nothing where they are more, or cannot be read portion by portion.
fn rows_if_few(db: &Connection, route: &Route, most: i64) -> Result<Option<i64>, Fault> {
    match route.scan {
        ScanOrder::Whole => return Ok(None),
        ScanOrder::Rowid { .. } | ScanOrder::Key { .. } => {}
    }
    let failed = |error| from_sqlite(format!("count table {}", route.source), error);
    let sql = format!("select count(*) from (select 1 from main.{} limit ?1)", ident(&route.source));
    let rows: i64 = db.query_row(&sql, [most + 1], |row| row.get(0)).map_err(failed)?;
    Ok((rows <= most).then_some(rows))
}

/// About how many keys of a table the changes name.
fn different_keys(db: &Connection, id: i64, (from, to): (i64, i64)) -> Result<i64, Fault> {
    let failed = |error| from_sqlite("count changed keys", error);
    let sql = "select * from main._liteferry_change where seq > ?1 and seq <= ?2 and tbl = ?3";
    let mut statement = db.prepare_cached(sql).map_err(failed)?;
    let width = statement.column_count();
    let mut rows = statement.query([from, to, id]).map_err(failed)?;
    let mut keys = Different::none();
    while let Some(row) = rows.next().map_err(failed)? {
        keys.note((LOG_KEY..width).map(|at| cell(row, at)));
    }
    Ok(keys.count())
}

/// How many different keys there are, by how much of a field of bits their hashes leave empty: to a hundredth, in one MiB.
struct Different {
    field: Vec<u64>,
}

const FIELD_BITS: u32 = 1 << 23;

impl Different {
    fn none() -> Different {
        Different { field: vec![0; usize::try_from(FIELD_BITS / u64::BITS).expect("a small number")] }
    }

    fn note<'c>(&mut self, key: impl Iterator<Item = Cell<'c>>) {
        let mut hasher = DefaultHasher::new();
        for cell in key {
            match cell {
                Cell::Null => 0.hash(&mut hasher),
                Cell::Integer(integer) => (1, integer).hash(&mut hasher),
                Cell::Real(real) => (2, real.to_bits()).hash(&mut hasher),
                Cell::Text(bytes) => (3, bytes).hash(&mut hasher),
                Cell::Blob(bytes) => (4, bytes).hash(&mut hasher),
            }
        }
        let bit = hasher.finish() % u64::from(FIELD_BITS);
        let word = usize::try_from(bit / u64::from(u64::BITS)).expect("within the field");
        self.field[word] |= 1 << (bit % u64::from(u64::BITS));
    }

    #[allow(clippy::cast_possible_truncation, reason = "fewer than the field has bits times its logarithm")]
    fn count(&self) -> i64 {
        let empty: u32 = self.field.iter().map(|word| word.count_zeros()).sum();
        let (empty, all) = (f64::from(empty.max(1)), f64::from(FIELD_BITS));
        (all * (all / empty).ln()).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_keys_are_counted_once_each() {
        for count in [0, 1, 1_000, 100_000, 3_000_000] {
            let mut keys = Different::none();
            for _ in 0..2 {
                for key in 0..count {
                    keys.note([Cell::Integer(key), Cell::Null].into_iter());
                }
            }
            let found = keys.count();
            assert!((found - count).abs() * 100 <= count, "{found} of {count}");
        }
    }
}
