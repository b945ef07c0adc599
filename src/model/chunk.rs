//! A chunk: rows on their way, already in canonical form.
//!
//! One byte arena and flat vectors; no allocation per value. A row's bytes are a COPY BINARY tuple (int16 number of columns, then
//! per column int32 length, -1 for NULL, and the canonical bytes), so the arena is what PostgreSQL's COPY reads and what the digest
//! is computed from.

use super::cell::{CellBuf, Class};
use super::history::Position;
use std::ops::Range;

#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The tuples, one after the other.
    pub arena: Vec<u8>,
    /// Where each tuple ends in `arena`.
    pub row_ends: Vec<usize>,
    /// What each row is called, where its route's identity is the row itself; empty otherwise.
    pub row_names: Vec<String>,
    pub misfits: Vec<Misfit>,
    misfit_bytes: usize,
    /// Rows that cannot stand in the target at all: every one of their cells is in `misfits`, none in `arena`.
    pub held: u64,
    /// The scan position after the last row read: where the next chunk starts. Empty where the table has no key to resume from.
    pub last_key: Vec<CellBuf>,
    /// The range has no rows after this chunk.
    pub ends_range: bool,
    /// The newest change of the source in the snapshot that the rows were read in, where it is followed.
    pub newest: Option<Position>,
}

/// A cell that the target does not give back byte for byte; it goes to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The row of the chunk it belongs to; `None` where the row is held back.
    pub row: Option<usize>,
    /// The row's identity as a JSON array of the key's cells, for people and for the ledger's key.
    pub key: String,
    /// Index into the route's columns.
    pub column: usize,
    pub class: Class,
    pub raw: Vec<u8>,
    /// The reason's stable word.
    pub reason: &'static str,
    pub standing: Standing,
}

/// What the target holds in the place of a misfit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The value, but not its spelling, class or last digits.
    Kept,
    /// NULL.
    Null,
    /// Nothing: the whole row is held back.
    RowHeld,
}

impl Standing {
    pub fn word(self) -> &'static str {
        match self {
            Standing::Kept => "kept",
            Standing::Null => "null",
            Standing::RowHeld => "row-held",
        }
    }
}

impl Chunk {
    pub fn rows(&self) -> usize {
        self.row_ends.len()
    }

    /// Empties the chunk and keeps its memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.row_ends.clear();
        self.row_names.clear();
        self.misfits.clear();
        self.misfit_bytes = 0;
        self.held = 0;
    }

    /// What the chunk holds in memory, rows and misfits.
    pub fn bytes(&self) -> usize {
        self.arena.len() + self.misfit_bytes
    }

    pub fn push_misfit(&mut self, misfit: Misfit) {
        self.misfit_bytes += misfit.raw.len() + misfit.key.len() + size_of::<Misfit>();
        self.misfits.push(misfit);
    }

    pub fn row(&self, index: usize) -> &[u8] {
        &self.arena[self.span(index..index + 1)]
    }

    /// The bytes of several rows that follow each other.
    pub fn span(&self, rows: Range<usize>) -> Range<usize> {
        let start = if rows.start == 0 { 0 } else { self.row_ends[rows.start - 1] };
        let end = if rows.end == 0 { 0 } else { self.row_ends[rows.end - 1] };
        start..end
    }
}

/// Canonical tuples of a route's identity columns, in their order, laid out as in a chunk.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    pub arena: Vec<u8>,
    pub ends: Vec<usize>,
}

/// The cells of one tuple: `None` for NULL.
pub fn tuple_cells(tuple: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = tuple.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            rest = tail;
            return Some(None);
        };
        let (cell, tail) = tail.split_at_checked(length)?;
        rest = tail;
        Some(Some(cell))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_cells_are_found_in_the_arena() {
        let tuple = [0, 2, 0, 0, 0, 1, 7, 255, 255, 255, 255];
        let arena = [tuple, tuple].concat();
        let chunk = Chunk { arena, row_ends: vec![11, 22], ..Chunk::default() };
        assert_eq!(chunk.row(1), &tuple);
        assert_eq!(chunk.span(0..2), 0..22);
        assert_eq!(chunk.span(0..0), 0..0);
        assert_eq!(tuple_cells(chunk.row(0)).collect::<Vec<_>>(), vec![Some(&[7][..]), None]);
    }
}
