//! How the flows read the source: scans chunk by chunk, each of its own moment, and batches of changes in one snapshot.

use crate::bug::Bug;
use crate::rows::{Row, TABLES, Tables, name_of, pack};
use crate::source::Change;
use crate::world::World;
use liteferry::link::{Batch, Captured, Changed, Extent, Portion, Range, Source, Span, Take};
use liteferry::model::cell::{Cell, CellBuf};
use liteferry::model::chunk::{Chunk, Keys};
use liteferry::model::fault::Fault;
use liteferry::model::history::Position;
use liteferry::plan::packer::put_key;
use liteferry::plan::route::Route;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::mpsc;

#[derive(Clone)]
pub struct MemorySource(pub World);

impl Source for MemorySource {
    async fn spans(&self, _route: &Arc<Route>, _want: usize) -> Result<Vec<Span>, Fault> {
        Ok(vec![Span::default()])
    }

    async fn scan(&self, range: Range, chunks: mpsc::Sender<Chunk>) -> Result<(), Fault> {
        let mut after = range.after.clone();
        loop {
            self.0.trip("source_busy").await?;
            let chunk = self.next_chunk(&range, &after);
            let ends = chunk.ends_range;
            after.clone_from(&chunk.last_key);
            if !self.0.look().has(Bug::LoadsUnhardened) {
                self.harden().await?;
            }
            if chunks.send(chunk).await.is_err() || ends {
                return Ok(());
            }
        }
    }
}

impl MemorySource {
    fn next_chunk(&self, range: &Range, after: &[CellBuf]) -> Chunk {
        let state = &mut *self.0.look();
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
    portions: mpsc::Sender<Result<Portion, Fault>>,
}

impl Captured for MemorySource {
    async fn changes(&self, from: Position, take: Take) -> Result<Option<Batch>, Fault> {
        self.0.trip("source_busy").await?;
        let (batch, reading) = {
            let state = &mut *self.0.look();
            let snapshot = state.source.snapshot(from, state.bug)?;
            let most = match take {
                Take::UpTo(most) => usize::try_from(most).expect("a batch is small"),
                Take::All => usize::MAX,
            };
            let mut lines = snapshot.lines;
            lines.truncate(most);
            let Some(to) = lines.last().map(|change| change.at) else { return Ok(None) };
            let whole = to == snapshot.newest || state.has(Bug::CallsPartWhole);
            let extent = if whole { Extent::Whole } else { Extent::Part };
            state.oracle.saw(match (extent, take) {
                (_, Take::All) => "a batch of all that is waiting",
                (Extent::Part, Take::UpTo(_)) => "a part of the backlog",
                (Extent::Whole, Take::UpTo(_)) => "a whole batch",
            });
            let (sender, portions) = mpsc::channel(1);
            let changes = u64::try_from(lines.len()).expect("a length fits");
            let batch = Batch { from, to, extent, changes, portions };
            let world = self.0.clone();
            (batch, Reading { world, lines, tables: snapshot.tables, portions: sender })
        };
        self.0.spawn(Box::pin(reading.run()));
        self.0.pause().await;
        Ok(Some(batch))
    }

    async fn harden(&self) -> Result<(), Fault> {
        self.0.trip("source_sync").await?;
        let state = &mut *self.0.look();
        if !state.has(Bug::HardensNothing) {
            state.source.harden(&mut state.oracle);
        }
        Ok(())
    }

    async fn forget(&self, seq: i64) -> Result<(), Fault> {
        self.0.trip("source_busy").await?;
        let state = &mut *self.0.look();
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
                let _given_up = self.portions.send(Err(fault)).await;
                return;
            }
            let portion = self.portion(lines);
            if !portion.is_empty() && self.portions.send(Ok(portion)).await.is_err() {
                return;
            }
        }
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
