//! What one transaction does to the target, as a pure function of what is committed. It commits nothing itself.

use crate::bug::Bug;
use crate::rows::{Image, key_of};
use crate::target::{Committed, Shows, Unique};
use liteferry::link::{Changed, Extent};
use liteferry::model::cell::CellBuf;
use liteferry::model::chunk::{Chunk, Misfit};
use liteferry::model::history::Position;
use std::ops::Range;

#[derive(Clone, Debug)]
pub enum Work {
    Load(Load),
    Apply(Apply),
}

#[derive(Clone, Debug)]
pub struct Load {
    pub range: usize,
    pub after: Vec<CellBuf>,
    pub rows: Vec<Vec<u8>>,
    pub misfits: Vec<Misfit>,
    pub last_key: Vec<CellBuf>,
    pub ends_range: bool,
    pub newest: Option<Position>,
    pub does: Does,
}

#[derive(Clone, Debug)]
pub struct Apply {
    pub owner: u64,
    pub from: Position,
    pub to: Position,
    pub newest: Position,
    pub extent: Extent,
    /// Refused whole with the first of its rows.
    pub surely: bool,
    pub tables: Vec<Written>,
    pub does: Does,
}

/// The rows and the record of them; apart only by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Both,
    Rows,
    Record,
}

/// One table's share of a portion.
#[derive(Clone, Debug)]
pub struct Written {
    pub table: usize,
    pub names: Vec<String>,
    pub keys: Vec<Vec<u8>>,
    pub rows: Vec<Vec<u8>>,
    pub misfits: Vec<Misfit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    PositionMoved,
    NotOwner,
    RangeMoved,
    Unique,
}

impl Written {
    pub fn of(table: usize, changed: &Changed) -> Written {
        Written {
            table,
            names: changed.names.clone(),
            keys: tuples(&changed.keys.arena, &changed.keys.ends),
            rows: rows_of(&changed.rows),
            misfits: changed.rows.misfits.clone(),
        }
    }
}

pub fn rows_of(chunk: &Chunk) -> Vec<Vec<u8>> {
    tuples(&chunk.arena, &chunk.row_ends)
}

fn tuples(arena: &[u8], ends: &[usize]) -> Vec<Vec<u8>> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| arena[Range { start, end: *end }].to_vec()).collect()
}

impl Work {
    pub fn perform(&self, committed: &Committed, bug: Option<Bug>) -> Result<Committed, Refusal> {
        let mut next = committed.clone();
        match self {
            Work::Load(load) => load.perform(&mut next, bug)?,
            Work::Apply(apply) => apply.perform(&mut next, bug)?,
        }
        Ok(next)
    }
}

impl Load {
    fn perform(&self, next: &mut Committed, bug: Option<Bug>) -> Result<(), Refusal> {
        let range = &mut next.ranges[self.range];
        if (range.done || range.after != self.after) && bug != Some(Bug::ComparesNoRange) {
            return Err(Refusal::RangeMoved);
        }
        let table = range.table;
        if self.does != Does::Rows {
            range.after.clone_from(&self.last_key);
            range.done = self.ends_range;
            range.seen = self.newest;
        }
        if self.does != Does::Record {
            next.image.enter(table, &self.misfits);
            for row in &self.rows {
                next.image.rows[table].insert(key_of(row), row.clone());
            }
        }
        Ok(())
    }
}

impl Apply {
    fn perform(&self, next: &mut Committed, bug: Option<Bug>) -> Result<(), Refusal> {
        if bug != Some(Bug::ComparesNothing) {
            if next.owner != self.owner && bug != Some(Bug::AnyOwner) {
                return Err(Refusal::NotOwner);
            }
            if next.position != self.from {
                return Err(Refusal::PositionMoved);
            }
        }
        if self.does != Does::Rows {
            next.position = self.to;
            next.seen = if bug == Some(Bug::ForgetsItsParts) { self.to } else { self.newest };
            next.shows = match self.extent {
                Extent::Whole => Shows::Snapshot,
                Extent::Part => Shows::Parts,
            };
        }
        if self.does != Does::Record {
            self.write(next, bug)?;
        }
        Ok(())
    }

    /// All deletes come before all inserts: a unique value may move from one row to another.
    fn write(&self, next: &mut Committed, bug: Option<Bug>) -> Result<(), Refusal> {
        let image = &mut next.image;
        for written in &self.tables {
            if bug != Some(Bug::KeepsEntries) {
                written.names.iter().for_each(|name| image.forget_entries(written.table, name));
            }
            for key in &written.keys {
                let gone = || !written.rows.iter().any(|row| key_of(row) == key_of(key));
                let kept = match bug {
                    Some(Bug::InsertsBeforeDeleting) => true,
                    Some(Bug::KeepsDeleted) => gone(),
                    _ => false,
                };
                if !kept {
                    image.rows[written.table].remove(&key_of(key));
                }
            }
        }
        for written in &self.tables {
            image.enter(written.table, &written.misfits);
            for row in &written.rows {
                self.insert(image, (written.table, row), next.unique)?;
            }
        }
        if bug == Some(Bug::InsertsBeforeDeleting) {
            for written in &self.tables {
                let there = |key: &Vec<u8>| written.rows.iter().any(|row| key_of(row) == key_of(key));
                let gone = written.keys.iter().filter(|key| !there(key));
                gone.for_each(|key| drop(image.rows[written.table].remove(&key_of(key))));
            }
        }
        Ok(())
    }

    /// A row that the target refuses goes to the ledger if the batch is whole.
    fn insert(
        &self,
        image: &mut Image,
        (table, row): (usize, &Vec<u8>),
        unique: Unique,
    ) -> Result<(), Refusal> {
        if table == 0 && unique == Unique::Enforced && image.tag_is_taken(row) {
            match self.extent {
                Extent::Part => return Err(Refusal::Unique),
                Extent::Whole if self.surely => return Err(Refusal::Unique),
                Extent::Whole => image.enter_refused(table, row.clone()),
            }
        } else {
            image.rows[table].insert(key_of(row), row.clone());
        }
        Ok(())
    }
}
