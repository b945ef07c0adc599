//! What the daemon tells its board and its metrics while it works.

use super::bite::Bite;
use crate::engine::order::Ordered;
use crate::engine::status::{Board, Followed, Lag, Run, ValidationState};
use crate::flow::cross::Crossed;
use crate::flow::follow::Step;
use crate::flow::progress::{Event, Watch};
use crate::link::Extent;
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::phase::RunState;
use crate::plan::route::Route;
use crate::sqlite::changes::{self, SqliteChanges};
use crate::telemetry::labels::{CutoverOutcome, Direction, Operation, Throttle};
use crate::telemetry::metrics::Metrics;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often work that goes on says so.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// What the daemon tells the world by.
#[derive(Clone)]
pub struct Voice {
    pub board: Board,
    pub metrics: Arc<Metrics>,
    /// The source and where the target stood when it was last read, to tell the lag by while the target is away.
    last: Arc<Mutex<Option<(SqliteChanges, Position)>>>,
    /// The order that is being obeyed, until it is answered.
    owed: Arc<Mutex<Option<Ordered>>>,
    /// How much a batch takes, forwards and back.
    bites: [Bite; 2],
}

/// What is looked at before there is anything to show.
impl Watch for Voice {
    fn see(&self, _event: Event<'_>) {
        self.board.tick(Instant::now());
    }
}

impl Voice {
    pub fn new(board: Board, metrics: Arc<Metrics>) -> Voice {
        Voice { board, metrics, last: Arc::default(), owed: Arc::default(), bites: Default::default() }
    }

    pub(super) fn bite(&self, direction: Direction) -> &Bite {
        let [forward, back] = &self.bites;
        match direction {
            Direction::Forward => forward,
            Direction::Reverse => back,
        }
    }

    /// Whatever was at hand was broken off: less of it is taken next, either way.
    pub(super) fn took_too_much(&self) {
        self.bites.iter().for_each(Bite::was_too_much);
    }

    pub(super) fn owe(&self, ordered: Option<Ordered>) {
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner) = ordered;
    }

    pub(super) fn owed(&self) -> Option<Ordered> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// While the target is away changes pile up, and the lag must say so.
    pub(super) async fn look_at_source(&self) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((changes, at)) = last else { return };
        // The look itself tells the lag.
        if let Err(fault) = changes.tell_waiting(at).await {
            tracing::debug!(code = fault.code, "the lag is not known");
        }
        self.board.update(Instant::now(), |status| status.source.wal_bytes = changes.wal_bytes());
        changes.rest();
    }

    pub(super) fn say(&self, state: RunState, fault: Option<&Fault>) {
        let run = fault.map_or_else(|| Run::plain(state), |fault| Run::because(state, fault));
        self.board.update(Instant::now(), |status| {
            match fault.and_then(away) {
                Some(Side::Source) => status.source.up = false,
                Some(Side::Target) => status.target.up = false,
                None => {}
            }
            // What was being compared goes with the attempt.
            if matches!(state, RunState::Halted | RunState::Degraded) {
                status.validation.state = ValidationState::Idle;
            }
            status.run = run;
        });
    }

    /// Work that takes long is work that goes on: it ends by itself where its server is no longer at it.
    pub(super) async fn attended<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(TICK) => self.board.tick(Instant::now()),
            }
        }
    }

    /// How an attempt to move the writes ended.
    pub(super) fn attempted(&self, outcome: CutoverOutcome) {
        self.metrics.cutover_attempted(outcome);
    }

    pub(super) fn crossed(&self, crossed: &Crossed) {
        self.attempted(CutoverOutcome::Decided);
        for (step, took) in &crossed.steps {
            self.metrics.cutover_stepped(*step, *took);
        }
        self.metrics.cutover_paused(crossed.pause);
        self.board.update(Instant::now(), |status| status.standing.pause_measured = Some(crossed.pause));
    }

    /// Tells the lag as soon as changes are seen; they wait until they are applied.
    pub(super) fn watch(&self, log_rows_warn: u64) -> Box<changes::Watch> {
        let (board, metrics, warned) =
            (self.board.clone(), Arc::clone(&self.metrics), AtomicBool::new(false));
        Box::new(move |known| {
            let log_rows = known.log_rows.unsigned_abs();
            if log_rows < log_rows_warn {
                warned.store(false, Ordering::Relaxed);
                metrics.unthrottled(Throttle::ChangeLog);
            } else if !warned.swap(true, Ordering::Relaxed) {
                metrics.throttled(Throttle::ChangeLog);
                tracing::warn!(
                    log_rows,
                    "the change table is past source.log_limit: changes wait for postgres, or stay for source.log_retention"
                );
            }
            board.update(Instant::now(), |status| {
                status.source.seq = Some(known.newest.seq);
                status.source.log_rows = log_rows;
                // What is under way waits too, however far ahead of it the look begins.
                let applied = status.target.position.filter(|at| at.epoch == known.newest.epoch);
                let waiting = applied.map_or(0, |at| known.newest.seq - at.seq).max(known.waiting);
                let oldest = status.lag.and_then(|lag| lag.oldest).or(Some(known.since));
                let oldest = oldest.filter(|_| waiting > 0);
                status.lag = Some(Lag { changes: waiting.unsigned_abs(), oldest });
            });
        })
    }

    pub(super) fn follow_tables(
        &self,
        tables: &BTreeMap<i64, Arc<Route>>,
        suspects: &BTreeMap<i64, Arc<Route>>,
    ) {
        let followed = tables.iter().map(|(id, route)| Followed {
            id: *id,
            source: route.source.clone(),
            target: route.target.to_string(),
            suspect: suspects.contains_key(id),
        });
        let followed = followed.collect();
        self.board.update(Instant::now(), |status| status.tables = followed);
    }

    /// What a look at the source found, and what became of it. `next` is since when the batch behind it waits, where one is under way.
    pub(super) fn stepped(
        &self,
        (began, next): (Instant, Option<Instant>),
        (from, step): (Position, Option<&Step>),
        changes: &SqliteChanges,
    ) {
        let now = Instant::now();
        let at = step.map_or(from, |step| step.to);
        let known = changes.known();
        let newest = known.map_or(at.seq, |known| known.newest.seq);
        self.board.tick(now);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((changes.clone(), at));
        if let Some(step) = step {
            self.metrics.captured(step.changes);
            self.metrics.batch_applied(began.elapsed(), step.changes);
            for (table, done) in &step.tables {
                self.metrics.applied(Direction::Forward, table, Operation::Upsert, done.written);
                self.metrics.applied(Direction::Forward, table, Operation::Delete, done.deleted);
            }
        }
        let waiting = u64::try_from(newest - at.seq).unwrap_or(0);
        let behind = step.is_some_and(|step| step.extent == Extent::Part);
        self.board.update(now, |status| {
            status.source.up = true;
            status.target.up = true;
            status.source.seq = Some(newest);
            status.source.wal_bytes = changes.wal_bytes();
            status.source.log_rows = known.map_or(0, |known| known.log_rows.unsigned_abs());
            status.target.position = Some(at);
            // Tables that changed unseen are no copy of anything before they are read equal.
            let apart = behind || status.tables.iter().any(|table| table.suspect);
            status.run = Run::plain(if apart { RunState::CatchingUp } else { RunState::Running });
            // What is left of a backlog has waited at least as long as what was applied of it.
            let oldest = next.or(status.lag.and_then(|lag| lag.oldest)).filter(|_| waiting > 0);
            status.lag = Some(Lag { changes: waiting, oldest });
        });
    }

    /// A number that moves with every row and every change that has arrived.
    pub(super) fn progress(&self) -> u64 {
        let status = self.board.look(Instant::now()).status;
        let rows: u64 = status.backfill.tables.values().map(|table| table.rows).sum();
        let applied = status.target.position.map_or(0, |position| position.seq.unsigned_abs());
        rows + applied
    }
}

enum Side {
    Source,
    Target,
}

/// Which side a fault says is away. Of what only a look at both could tell, neither is.
fn away(fault: &Fault) -> Option<Side> {
    let looked_at =
        ["source_closed", "source_opened", "source_schema_changed", "source_schema_moved", "source_sql"];
    match fault.class {
        _ if looked_at.contains(&fault.code) => None,
        _ if fault.code.starts_with("source_") => Some(Side::Source),
        FaultClass::Transient | FaultClass::Unknown => Some(Side::Target),
        FaultClass::Data | FaultClass::Fatal => None,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
