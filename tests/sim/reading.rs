//! How the flows read the source: scans chunk by chunk, each of its own moment, and batches of changes in one snapshot.

use crate::bug::Bug;
use crate::rows::{Row, TABLES, Tables, name_of, pack};
use crate::source::Change;
use crate::world::World;
use liteferry::link::{
    Batch, Captured, Changed, Extent, Piece, Pieces, Portion, Portions, Range, Source, Span, Take,
};
use liteferry::model::cell::{Cell, CellBuf};
use liteferry::model::chunk::{Chunk, Keys};
use liteferry::model::fault::Fault;
use liteferry::model::history::Position;
use liteferry::plan::packer::put_key;
use liteferry::plan::route::Route;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

#[derive(Clone)]
pub struct MemorySource {
    world: World,
    /// What every snapshot has to show.
    seen: Arc<Mutex<Vec<Position>>>,
    /// Where the target stood when the first chunk was loaded.
    since: Position,
}

impl Source for MemorySource {
    async fn spans(&self, _route: &Arc<Route>, _want: usize) -> Result<Vec<Span>, Fault> {
        Ok(vec![Span::default()])
    }

    async fn scan(&self, range: Range, chunks: mpsc::Sender<Chunk>) -> Result<(), Fault> {
        let (mut after, mut seen) = (range.after.clone(), range.seen);
        loop {
            self.world.trip("source_busy").await?;
            let mut chunk = self.next_chunk(&range, &after);
            let newest = self.continues(seen.unwrap_or(self.since))?;
            chunk.newest = Some(newest);
            seen = Some(newest);
            let ends = chunk.ends_range;
            after.clone_from(&chunk.last_key);
            if !self.world.look().has(Bug::LoadsUnhardened) {
                self.harden().await?;
            }
            if chunks.send(chunk).await.is_err() || ends {
                return Ok(());
            }
        }
    }
}

impl MemorySource {
    pub fn new(world: &World) -> MemorySource {
        let since = world.look().target.now().position;
        MemorySource { world: world.clone(), seen: Arc::default(), since }
    }

    pub fn must_show(&self, seen: Vec<Position>) {
        *self.seen.lock().expect("a panic ends the simulation") = seen;
    }

    /// The newest change, if the history is that of the chunk before.
    fn continues(&self, before: Position) -> Result<Position, Fault> {
        let state = &*self.world.look();
        if !state.has(Bug::ForgetsItsLastChunk) {
            state.source.confirm(before, state.bug)?;
        }
        Ok(state.source.newest())
    }

    fn next_chunk(&self, range: &Range, after: &[CellBuf]) -> Chunk {
        let state = &mut *self.world.look();
        let tables = state.source.tables();
        let most = state.shape.chunk_rows;
        let first = match (after.first().map(CellBuf::as_cell), range.span.from) {
            (Some(Cell::Integer(id)), _) => Bound::Excluded(id),
            (_, Some(id)) => Bound::Included(id),
            (_, None) => Bound::Unbounded,
        };
        let table = place(&state.routes, &range.route);
        let last = range.span.to.unwrap_or(i64::MAX);
        let mut rows =
            tables[table].range((first, Bound::Unbounded)).filter(|(id, _)| **id <= last).peekable();
        let mut chunk = Chunk::default();
        chunk.last_key = after.to_vec();
        for (id, row) in rows.by_ref().take(most) {
            pack(&range.route, (*id, row), &mut chunk);
            chunk.last_key = vec![CellBuf::Integer(*id)];
        }
        chunk.ends_range = rows.peek().is_none();
        chunk
    }
}

/// What a thread of the source needs to read a batch.
struct Reading {
    world: World,
    lines: Vec<Change>,
    tables: Arc<Tables>,
    pieces: Pieces,
}

impl Captured for MemorySource {
    async fn changes(&self, from: Position, take: Take) -> Result<Option<Batch>, Fault> {
        self.world.trip("source_busy").await?;
        let (batch, reading) = {
            let state = &mut *self.world.look();
            let snapshot = state.source.snapshot(from, state.bug)?;
            let seen = &mut *self.seen.lock().expect("a panic ends the simulation");
            if !state.has(Bug::AsksForPositionAlone) {
                seen.iter().try_for_each(|seen| state.source.confirm(*seen, state.bug))?;
            }
            let most = match take {
                Take::UpTo(most) | Take::Renewing(most) => usize::try_from(most).expect("a batch is small"),
                Take::All => usize::MAX,
            };
            let mut lines = snapshot.lines;
            lines.truncate(most);
            let Some(to) = lines.last().map(|change| change.at) else { return Ok(None) };
            *seen = vec![snapshot.newest];
            let whole = to == snapshot.newest || state.has(Bug::CallsPartWhole);
            let extent = if whole { Extent::Whole } else { Extent::Part };
            state.oracle.saw(match (extent, take) {
                (_, Take::All) => "a batch of all that is waiting",
                (Extent::Part, Take::UpTo(_) | Take::Renewing(_)) => "a part of the backlog",
                (Extent::Whole, Take::UpTo(_) | Take::Renewing(_)) => "a whole batch",
            });
            let (pieces, portions) = Portions::channel(1);
            let changes = u64::try_from(lines.len()).expect("a length fits");
            let batch = Batch { from, to, extent, changes, newest: snapshot.newest, portions };
            let world = self.world.clone();
            (batch, Reading { world, lines, tables: snapshot.tables, pieces })
        };
        self.world.spawn(Box::pin(reading.run()));
        self.world.pause().await;
        Ok(Some(batch))
    }

    async fn harden(&self) -> Result<(), Fault> {
        self.world.trip("source_sync").await?;
        let state = &mut *self.world.look();
        if !state.has(Bug::HardensNothing) {
            state.source.harden(&mut state.oracle);
        }
        Ok(())
    }

    async fn forget(&self, seq: i64) -> Result<(), Fault> {
        self.world.trip("source_busy").await?;
        let state = &mut *self.world.look();
        state.oracle.saw("a pruning");
        state.source.prune(seq, state.bug);
        Ok(())
    }
}

impl Reading {
    async fn run(self) {
        let size = self.world.look().shape.portion_lines;
        for lines in self.lines.chunks(size) {
            if let Err(fault) = self.world.trip("source_busy").await {
                let _given_up = self.pieces.send(Err(fault)).await;
                return;
            }
            if self.dies() {
                if self.world.look().has(Bug::TakesSilenceForTheEnd) {
                    break;
                }
                return;
            }
            let portion = self.portion(lines);
            if !portion.is_empty() && self.pieces.send(Ok(Piece::Portion(portion))).await.is_err() {
                return;
            }
        }
        let _given_up = self.pieces.send(Ok(Piece::End)).await;
    }

    /// Without a word to anybody.
    fn dies(&self) -> bool {
        let state = &mut *self.world.look();
        let dies = !state.calm && state.shape.faults > 0 && state.dice.below(2_000) == 0;
        if dies {
            state.oracle.saw("a reader that died");
        }
        dies
    }

    fn portion(&self, lines: &[Change]) -> Portion {
        let state = &mut *self.world.look();
        let present = state.source.tables();
        let tables = if state.has(Bug::RowsOutsideSnapshot) { &present } else { &self.tables };
        let keys: BTreeSet<(usize, i64)> = lines.iter().filter_map(|change| change.key).collect();
        let changed = (0..TABLES).map(|table| {
            let ids = keys.iter().filter(|(at, _)| *at == table).map(|(_, id)| *id);
            gather(&state.routes[table], ids.map(|id| (id, tables[table].get(&id))))
        });
        changed.filter(|changed| !changed.names.is_empty()).collect()
    }
}

fn gather<'a>(route: &Arc<Route>, keys: impl Iterator<Item = (i64, Option<&'a Row>)>) -> Changed {
    let mut changed = Changed {
        route: Arc::clone(route),
        keys: Keys::default(),
        names: Vec::new(),
        rows: Chunk::default(),
        emptied: None,
    };
    for (id, row) in keys {
        changed.names.push(name_of(id));
        put_key(route, &[0], &[CellBuf::Integer(id)], &mut changed.keys);
        if let Some(row) = row {
            pack(route, (id, row), &mut changed.rows);
        }
    }
    changed
}

pub fn place(routes: &[Arc<Route>; TABLES], route: &Route) -> usize {
    routes.iter().position(|known| known.source == route.source).expect("a route of this simulation")
}
