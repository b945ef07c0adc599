//! Packs rows of cells into chunks of canonical tuples, and sorts out the cells that do not cross.
//!
//! The one place where a row's fate is decided: it travels whole, it travels with misfits, or it is held back.

use super::route::{Identity, Route};
use crate::canon::{Fit, Reason};
use crate::model::cell::{Cell, CellBuf};
use crate::model::chunk::{Chunk, Keys, Misfit, Standing};
use crate::model::key::key_json;

#[derive(Debug)]
pub struct Packer<'r> {
    route: &'r Route,
    columns: u16,
}

/// A cell that did not cross exactly: its column, why, and what the target gets in its place.
struct Deviation {
    column: usize,
    reason: Reason,
    standing: Standing,
}

impl<'r> Packer<'r> {
    pub fn new(route: &'r Route) -> Packer<'r> {
        let columns = u16::try_from(route.columns.len()).expect("a table has at most 1600 columns");
        Packer { route, columns }
    }

    /// Appends one row. `cell` gives the cell of each of the route's columns; `position` is the row's scan key, its name in the ledger
    /// where the table has no key of its own.
    pub fn pack<'c>(
        &self,
        cell: impl Fn(usize) -> Cell<'c>,
        position: impl Fn() -> Vec<Cell<'c>>,
        chunk: &mut Chunk,
    ) {
        let start = chunk.arena.len();
        chunk.arena.extend_from_slice(&self.columns.to_be_bytes());
        let mut deviations: Vec<Deviation> = Vec::new();
        for (index, column) in self.route.columns.iter().enumerate() {
            let at = chunk.arena.len();
            chunk.arena.extend_from_slice(&[0; 4]);
            let (lost, reason) = match column.codec.encode(cell(index), &mut chunk.arena) {
                Fit::Exact => (false, None),
                Fit::Kept(reason) => (false, Some(reason)),
                Fit::Lost(reason) => (true, Some(reason)),
                Fit::Null if column.not_null => (true, Some(Reason::NotNull)),
                // Rows could not be told apart by what is NULL in all of them.
                Fit::Null if self.is_in_key(index) && !cell(index).is_null() => (true, Some(Reason::NotNull)),
                Fit::Null => (true, None),
            };
            let length = if lost { -1 } else { length_of(&chunk.arena, at) };
            chunk.arena[at..at + 4].copy_from_slice(&length.to_be_bytes());
            let Some(reason) = reason else { continue };
            if (lost && column.not_null) || self.is_in_key(index) {
                chunk.arena.truncate(start);
                self.hold(cell, position, reason, chunk);
                return;
            }
            let standing = if lost { Standing::Null } else { Standing::Kept };
            deviations.push(Deviation { column: index, reason, standing });
        }
        if !deviations.is_empty() {
            let row = chunk.row_ends.len();
            let key = self.key(&cell, &position);
            if self.route.identity == Identity::WholeRow {
                self.add_what_crossed(&mut deviations);
            }
            for deviation in deviations {
                let value = cell(deviation.column);
                chunk.push_misfit(Misfit { row: Some(row), key: key.clone(), ..misfit(value, &deviation) });
            }
        }
        if self.route.identity == Identity::WholeRow {
            chunk.row_names.push(self.key(&cell, &position));
        }
        chunk.row_ends.push(chunk.arena.len());
    }

    /// A key that crosses, but not exactly, may be another row's own key: there it would take that row's place.
    fn is_in_key(&self, column: usize) -> bool {
        match &self.route.identity {
            Identity::Columns(key) => key.contains(&column),
            Identity::WholeRow => false,
        }
    }

    /// Nothing tells to which row of the target a misfit belongs where rows have no key: the ledger then has the row whole, the
    /// cells that did not cross first.
    fn add_what_crossed(&self, deviations: &mut Vec<Deviation>) {
        let crossed = |column: &usize| deviations.iter().all(|deviation| deviation.column != *column);
        let crossed: Vec<usize> = (0..self.route.columns.len()).filter(crossed).collect();
        let kept = |column| Deviation { column, reason: Reason::NoKey, standing: Standing::Kept };
        deviations.extend(crossed.into_iter().map(kept));
    }

    /// The target refuses NULL where this row would need it: all its cells go to the ledger, none to the table.
    fn hold<'c>(
        &self,
        cell: impl Fn(usize) -> Cell<'c>,
        position: impl Fn() -> Vec<Cell<'c>>,
        reason: Reason,
        chunk: &mut Chunk,
    ) {
        let key = self.key(&cell, &position);
        chunk.held += 1;
        for column in 0..self.route.columns.len() {
            let deviation = Deviation { column, reason, standing: Standing::RowHeld };
            chunk.push_misfit(Misfit { key: key.clone(), ..misfit(cell(column), &deviation) });
        }
    }

    fn key<'c>(&self, cell: &impl Fn(usize) -> Cell<'c>, position: &impl Fn() -> Vec<Cell<'c>>) -> String {
        match &self.route.identity {
            Identity::Columns(columns) => key_json(columns.iter().map(|column| cell(*column))),
            Identity::WholeRow => key_json(position()),
        }
    }
}

/// Appends a key as the tuple of a route's key columns. A key that these columns cannot hold stands in no row of the target, and is
/// left out.
pub fn put_key(route: &Route, columns: &[usize], key: &[CellBuf], keys: &mut Keys) {
    let start = keys.arena.len();
    let count = u16::try_from(columns.len()).expect("a key has few columns");
    keys.arena.extend_from_slice(&count.to_be_bytes());
    for (column, part) in columns.iter().zip(key) {
        let at = keys.arena.len();
        keys.arena.extend_from_slice(&[0; 4]);
        match route.columns[*column].codec.encode(part.as_cell(), &mut keys.arena) {
            Fit::Exact => {}
            // A row whose key does not cross exactly is held back: in its canonical form it could be another row's.
            Fit::Null | Fit::Kept(_) | Fit::Lost(_) => return keys.arena.truncate(start),
        }
        let length = length_of(&keys.arena, at);
        keys.arena[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    keys.ends.push(keys.arena.len());
}

fn length_of(arena: &[u8], at: usize) -> i32 {
    // SQLite holds no value of 2 GiB or more, and no canonical form is longer than its largest input allows.
    i32::try_from(arena.len() - at - 4).expect("a cell is shorter than 2 GiB")
}

fn misfit(cell: Cell<'_>, deviation: &Deviation) -> Misfit {
    let mut raw = Vec::new();
    cell.put_raw(&mut raw);
    Misfit {
        row: None,
        key: String::new(),
        column: deviation.column,
        class: cell.class(),
        raw,
        reason: deviation.reason.word(),
        standing: deviation.standing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Form;
    use crate::plan::samples::route;

    fn packed(identity: Identity, row: [Cell<'static>; 2]) -> Chunk {
        let (route, mut chunk) = (route(&["k", "v"], identity), Chunk::default());
        Packer::new(&route).pack(|column| row[column], Vec::new, &mut chunk);
        chunk
    }

    #[test]
    fn a_row_whose_key_is_only_like_its_own_is_held_back() {
        let by_key = || Identity::Columns(vec![0]);
        let chunk = packed(by_key(), [Cell::Integer(1), Cell::Real(1.0)]);
        assert_eq!((chunk.rows(), chunk.held, chunk.misfits[0].standing), (1, 0, Standing::Kept));
        let chunk = packed(by_key(), [Cell::Real(1.0), Cell::Integer(1)]);
        assert_eq!((chunk.rows(), chunk.held, chunk.arena.len()), (0, 1, 0));
        assert_eq!(chunk.misfits.len(), 2);
        assert!(
            chunk.misfits.iter().all(|misfit| misfit.key == "[1.0]" && misfit.standing == Standing::RowHeld)
        );
        assert_eq!(packed(Identity::WholeRow, [Cell::Real(1.0), Cell::Integer(1)]).rows(), 1);
    }

    #[test]
    fn a_key_that_would_be_null_is_held_back() {
        let mut route = route(&["k", "v"], Identity::Columns(vec![0]));
        route.columns.iter_mut().for_each(|column| column.codec.form = Form::EmptyNull);
        let packed = |row: [Cell<'static>; 2]| {
            let mut chunk = Chunk::default();
            Packer::new(&route).pack(|column| row[column], Vec::new, &mut chunk);
            (chunk.rows(), chunk.held, chunk.misfits.len())
        };
        assert_eq!(packed([Cell::Text(b""), Cell::Integer(1)]), (0, 1, 2));
        assert_eq!(packed([Cell::Integer(1), Cell::Text(b"")]), (1, 0, 0));
    }

    #[test]
    fn a_key_that_is_only_like_another_names_no_row_of_the_target() {
        let (route, mut keys) = (route(&["k", "v"], Identity::Columns(vec![0])), Keys::default());
        for (key, known) in [
            (CellBuf::Integer(1), 1),
            (CellBuf::Real(1.0), 1),
            (CellBuf::Text(b"1".to_vec()), 1),
            (CellBuf::Null, 1),
            (CellBuf::Integer(2), 2),
        ] {
            put_key(&route, &[0], &[key], &mut keys);
            assert_eq!(keys.ends.len(), known);
            assert_eq!(keys.ends.last(), Some(&keys.arena.len()));
        }
    }
}
