//! The daemon: one task that owns the phase, from setup to following every change, and goes on where it was after whatever ended it.
//!
//! ```text
//!  set up ─▶ arm capture ─▶ backfill ─▶ keys ─▶ catch up ─▶ indexes ─▶ follow ⟲
//!     every arrow is recorded in the target before the next begins; after a fault the attempt begins anew from what is recorded
//! ```
//!
//! It never assumes what became of a commit, and never works on a migration that another daemon has taken over.

mod agree;
mod follow;
mod order;
mod pace;
mod repair;
mod reread;
mod reshape;
mod setup;
mod stop;
mod verify;
mod verifying;
mod watch;

use super::prepare::Request;
use super::retry::{Backoff, Verdict, decide};
use super::status::{Board, Reason, Run};
use crate::journal::store::Store;
use crate::model::fault::{Fault, FaultClass};
use crate::model::finding::Finding;
use crate::model::history::Position;
use crate::phase::RunState;
use crate::postgres::claim::{VANISHED, claim, end_held};
use crate::postgres::connect::pool;
use crate::sqlite::changes::SqliteChanges;
use crate::telemetry::metrics::Metrics;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub use order::{Actor, Ordered};
pub use repair::repair;
pub use stop::{Stopper, Stopping};
pub use verify::Repair;
pub use verifying::Timetable;

/// What a daemon is asked to do.
#[derive(Clone, Debug)]
pub struct Job {
    pub request: Request,
    pub journal: JournalRule,
    /// How often the source is looked at where the file system tells nothing.
    pub poll: Duration,
    /// Changes of one batch.
    pub batch_max: u64,
    /// How long applied changes stay in the change table, for a target that loses commits in a failover.
    pub retention: Duration,
    /// Lines of the change table from which on a person is warned.
    pub log_rows_warn: u64,
    pub validation: Timetable,
    pub start: Start,
}

/// How a daemon takes up a migration that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where the records say it stands.
    GoOn,
    /// In a new history: both sides are compared, and what differs is carried over.
    Resync,
}

/// What an operator asks of a running daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Validate(Repair),
}

/// Orders that wait for the daemon; more are refused by whoever takes them.
pub const ORDERS_MAX: usize = 16;

/// Which journal modes of the source are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalRule {
    RequireWal,
    Any,
}

/// How a daemon ended, other than by a fault.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The plan has blockers; nothing was written.
    Blocked(Vec<Finding>),
}

/// What the daemon tells the world by.
#[derive(Clone)]
pub struct Voice {
    pub board: Board,
    pub metrics: Arc<Metrics>,
    /// The source and where the target stood when it was last read, to tell the lag by while the target is away.
    last: Arc<Mutex<Option<(SqliteChanges, Position)>>>,
}

pub async fn run(
    job: &Job,
    voice: &Voice,
    mut orders: mpsc::Receiver<Ordered>,
    mut stopping: Stopping,
) -> Result<Ended, Fault> {
    let (mut backoff, mut start, mut owned, mut told) = (Backoff::new(), job.start, None, String::new());
    loop {
        let begin = (&mut start, &mut owned);
        let attempted = tokio::select! {
            attempted = attempt(job, voice, begin, &mut orders, stopping.clone()) => attempted,
            () = overdue(stopping.clone()) => Ok(Ended::Stopped),
        };
        let fault = match attempted {
            Ok(ended) => return Ok(ended),
            Err(fault) => fault,
        };
        voice.metrics.failed(&fault);
        if stopping.is_asked() {
            return Ok(Ended::Stopped);
        }
        match decide(&fault) {
            Verdict::WaitOut => {
                let pause = backoff.pause(voice.progress());
                voice.metrics.retried(&fault);
                tracing::warn!(
                    code = fault.code,
                    doing = fault.doing,
                    pause_ms = millis(pause),
                    "interrupted, goes on by itself"
                );
                voice.say(RunState::Degraded, Some(&fault));
                wait_out(voice, pause, &mut stopping).await;
            }
            Verdict::Halt => {
                halted(voice, &fault, &mut told);
                stopping.asked().await;
            }
            Verdict::HaltFor(pause) => {
                halted(voice, &fault, &mut told);
                wait_out(voice, pause, &mut stopping).await;
            }
            Verdict::Leave => return Err(fault),
        }
        if stopping.is_asked() {
            return Ok(Ended::Stopped);
        }
    }
}

/// Said once, however often it is looked at again.
fn halted(voice: &Voice, fault: &Fault, told: &mut String) {
    if *told != fault.doing {
        tracing::error!(code = fault.code, doing = fault.doing, remedy = fault.remedy, "halted");
        fault.doing.clone_into(told);
    }
    voice.say(RunState::Halted, Some(fault));
}

/// One life, from what is recorded on.
async fn attempt(
    job: &Job,
    voice: &Voice,
    (start, owned): (&mut Start, &mut Option<Owned>),
    orders: &mut mpsc::Receiver<Ordered>,
    stopping: Stopping,
) -> Result<Ended, Fault> {
    let request = &job.request;
    let store = Store::new(pool(&request.address).await?);
    let claim = match claim(&request.address, &request.schema, VANISHED).await {
        Err(fault) if fault.code == "another_owner" => {
            return Err(claimed_by_whom(request, &store, owned.as_ref(), fault).await);
        }
        claimed => claimed?,
    };
    voice.board.update(Instant::now(), |status| {
        status.target.up = true;
        status.target.version = Some(claim.server_version());
    });
    let migration = match setup::known(job, &store).await? {
        Some(migration) => migration,
        None => match setup::begin(job, &store, voice).await? {
            setup::Begun::Blocked(findings) => return Ok(Ended::Blocked(findings)),
            setup::Begun::Migration(migration) => migration,
        },
    };
    let ours = store.take_over(migration.id, &owner_name()).await?;
    *owned = Some(Owned { migration: migration.id, owner: ours.clone(), claim: claim.backend() });
    if *start == Start::Resync {
        setup::begin_new_history(job, &store, (migration.id, &ours)).await?;
        *start = Start::GoOn;
    }
    tokio::select! {
        followed = follow::follow(job, &store, (migration, ours), voice, (orders, stopping)) => followed?,
        lost = claim.lost() => return Err(lost),
    }
    Ok(Ended::Stopped)
}

/// The word that an earlier attempt of this daemon left in the migration.
struct Owned {
    migration: i64,
    owner: String,
    /// The session that held the target for it.
    claim: i32,
}

/// Sessions of our own that were cut off hold the claim until the server notices that nobody is behind them. While the migration bears
/// our word no other daemon has it, and leaving would leave nobody to follow.
async fn claimed_by_whom(request: &Request, store: &Store, owned: Option<&Owned>, fault: Fault) -> Fault {
    let Some(Owned { migration, owner, claim }) = owned else { return fault };
    let still_ours = match store.is_owned(*migration, owner).await {
        Ok(true) => end_held(&request.address, &request.schema, *claim).await.map(|()| true),
        other => other,
    };
    match still_ours {
        Ok(true) => Fault::new(FaultClass::Transient, "claim_held", fault.doing)
            .with_remedy("the server still kept a session of ours that was cut off; it is ended, and the target claimed anew"),
        Ok(false) => fault,
        Err(unread) => unread,
    }
}

/// Work that does not end by itself soon after the stop was asked for is dropped: its transactions roll back.
async fn overdue(mut stopping: Stopping) {
    stopping.asked().await;
    tokio::time::sleep(GRACE).await;
}

const GRACE: Duration = Duration::from_secs(4);
const TICK: Duration = Duration::from_secs(1);

/// The wait itself is work going on, as it should.
async fn wait_out(voice: &Voice, pause: Duration, stopping: &mut Stopping) {
    let until = Instant::now() + pause;
    while Instant::now() < until && !stopping.is_asked() {
        voice.board.tick(Instant::now());
        voice.look_at_source().await;
        let left = until.saturating_duration_since(Instant::now()).min(TICK);
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = stopping.asked() => {}
        }
    }
}

fn owner_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", host.trim(), std::process::id())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Voice {
    pub fn new(board: Board, metrics: Arc<Metrics>) -> Voice {
        Voice { board, metrics, last: Arc::default() }
    }

    fn say(&self, state: RunState, fault: Option<&Fault>) {
        let reason = fault.map(Reason::of);
        self.board.update(Instant::now(), |status| {
            if fault.is_some_and(|fault| fault.code.starts_with("source_")) {
                status.source.up = false;
            } else if fault.is_some() {
                status.target.up = false;
            }
            status.run = Run { state, reason };
        });
    }

    /// While the target is away changes pile up, and the lag must say so.
    async fn look_at_source(&self) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((changes, at)) = last else { return };
        // The look itself tells the lag.
        if let Err(fault) = changes.waiting(at).await {
            tracing::debug!(code = fault.code, "the lag is not known");
        }
        self.board.update(Instant::now(), |status| status.source.wal_bytes = changes.wal_bytes());
        changes.rest();
    }
}
