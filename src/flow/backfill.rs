//! Backfill: ranges of tables, read and loaded side by side, chunk by chunk.
//!
//! ```text
//!  queue of ranges ──▶ worker ── scan (source thread) ──chunk──▶ load (target) ──▶ commit: rows + ledger + progress
//!                  └─▶ worker ── …                one chunk waits at most
//! ```

use super::progress::{Event, Watch};
use crate::link::{Link, Loader, Range, Source, Target};
use crate::model::chunk::{Chunk, Misfit};
use crate::model::fault::Fault;
use crate::plan::route::Route;
use futures_util::future::{try_join, try_join_all};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// What is done about a cell that the target cannot give back byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMisfit {
    Ledger,
    Halt,
}

/// Loads every range to its end. The first fault ends the others; what was committed stays, and the ranges go on from there another time.
pub async fn backfill<S: Source, T: Target>(
    link: &Link<S, T>,
    ranges: Vec<Range>,
    (workers, on_misfit): (usize, OnMisfit),
    watch: &dyn Watch,
) -> Result<(), Fault> {
    let workers = workers.min(ranges.len());
    let queue = Mutex::new(VecDeque::from(ranges));
    try_join_all((0..workers).map(|_| work(link, &queue, on_misfit, watch))).await?;
    Ok(())
}

async fn work<S: Source, T: Target>(
    link: &Link<S, T>,
    queue: &Mutex<VecDeque<Range>>,
    on_misfit: OnMisfit,
    watch: &dyn Watch,
) -> Result<(), Fault> {
    let mut loader = link.target.loader().await?;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(range) = next else { return Ok(()) };
        let (sender, receiver) = mpsc::channel(1);
        try_join(
            link.source.scan(range.clone(), sender),
            load(&mut loader, (range, on_misfit), receiver, watch),
        )
        .await?;
    }
}

async fn load(
    loader: &mut impl Loader,
    (mut range, on_misfit): (Range, OnMisfit),
    mut chunks: mpsc::Receiver<Chunk>,
    watch: &dyn Watch,
) -> Result<(), Fault> {
    while let Some(chunk) = chunks.recv().await {
        if let (OnMisfit::Halt, Some(misfit)) = (on_misfit, chunk.misfits.first()) {
            return Err(halt(&range.route, misfit));
        }
        let loaded = loader.load(&range, &chunk).await?;
        if on_misfit == OnMisfit::Halt && loaded.held > 0 {
            return Err(halt_refused(&range, loaded.held));
        }
        let bytes = u64::try_from(chunk.arena.len()).expect("a chunk's size fits");
        watch.see(Event::Loaded { table: &range.route.source, rows: loaded.rows + loaded.held, bytes });
        range.after = chunk.last_key;
    }
    Ok(())
}

pub(super) fn halt(route: &Route, misfit: &Misfit) -> Fault {
    let class = misfit.class.word();
    let column = &route.columns[misfit.column].target;
    Fault::fatal(
        "misfit",
        format!("load {}.{column} of row {}: {class}, {}", route.source, misfit.key, misfit.reason),
    )
    .with_remedy(
        "mend the cell at the source, choose another type for the column, or set misfits.policy = \"ledger\"",
    )
}

/// The rows stand in the ledger whole, and the chunk they came in is committed.
fn halt_refused(range: &Range, held: u64) -> Fault {
    Fault::fatal("misfit", format!("load {held} rows of {}, which the target refuses", range.route.source)).with_remedy(
        "look at them in liteferry.ledger, mend them at the source or the constraint at the target, then run it with --restart; or \
         set misfits.policy = \"ledger\"",
    )
}
