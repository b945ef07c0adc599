//! The daemon: one task that owns the phase, from setup to following every change, and goes on where it was after whatever ended it.
//!
//! ```text
//!  set up ─▶ arm capture ─▶ backfill ─▶ keys ─▶ catch up ─▶ indexes ─▶ follow ⟲
//!     every arrow is recorded in the target before the next begins; after a fault the attempt begins anew from what is recorded
//! ```
//!
//! It never assumes what became of a commit, and never works on a migration that another daemon has taken over.

mod agree;
mod back;
mod batch;
mod bite;
mod blocking;
mod clean;
mod command;
mod crossing;
mod desk;
mod flight;
mod follow;
mod gates;
mod hooks;
mod left;
mod lookout;
pub mod moved;
mod newcomers;
mod order;
mod orphans;
mod owed;
mod owning;
mod pace;
mod pairing;
mod relearn;
mod repair;
mod reread;
mod reshape;
mod returned;
mod setup;
mod stop;
mod tended;
mod verify;
mod verifying;
mod watch;
mod way;
mod widening;
mod window;

use super::begun::as_begun;
use super::prepare::Request;
use super::retry::{Backoff, Verdict, decide, less_may_do};
use super::standing::Answer;
use super::status::{Board, Reason, Status};
use crate::journal::store::{Migration, Store};
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::model::history::Position;
use crate::phase::RunState;
use crate::phase::machine::Command;
use crate::postgres::claim::{Claim, VANISHED, claim};
use crate::postgres::connect::pool;
use crate::settings::Hooks;
use crate::sqlite::changes::SqliteChanges;
use crate::telemetry::labels::Direction;
use crate::telemetry::metrics::Metrics;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

use bite::Bite;
use crossing::Work;
use desk::Desk;
use owning::Owned;

pub use order::{Actor, Ordered};
pub use repair::repair;
pub use setup::{findings_of_run, records_in_the_way};
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
    pub switch: SwitchRules,
    pub start: Start,
}

/// What a switch, and the way back, must keep to.
#[derive(Clone, Debug)]
pub struct SwitchRules {
    /// How long the application's writes may be expected to wait.
    pub pause_budget: Duration,
    /// After so long an attempt that is not decided is given up. Below the application's busy timeout, so that no statement fails.
    pub deadline: Duration,
    pub lag_max: Duration,
    pub validation_age_max: Duration,
    /// How long the application's connections wait for a lock, as the operator states it; nobody else can know.
    pub application_busy_timeout: Duration,
    /// Whether a foreign key that rows break comes back NOT VALID.
    pub keys_may_be_broken: bool,
    pub hooks: Hooks,
    /// The directory that the source's archive is written to at the end. `None`: beside the source.
    pub archive: Option<PathBuf>,
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
    Phase(Command),
    Ledger(Entries, Settle),
}

/// Which of the ledger's entries are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// By its number.
    One(i64),
    All,
}

/// What an operator decides about entries of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// What stands in the target is right as it is.
    Accept,
    /// The row is read again from the source.
    Retry,
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
    /// The order that is being obeyed, until it is answered.
    owed: Arc<Mutex<Option<Ordered>>>,
    /// How much a batch takes, forwards and back.
    bites: [Bite; 2],
}

pub async fn run(
    job: &Job,
    voice: &Voice,
    mut orders: mpsc::Receiver<Ordered>,
    mut stopping: Stopping,
) -> Result<Ended, Fault> {
    let mut backoff = Backoff::new(RandomState::new().hash_one(()));
    let (mut start, mut owned, mut told) = (job.start, None, String::new());
    loop {
        let begin = (&mut start, &mut owned);
        let attempted = tokio::select! {
            attempted = attempt(job, voice, begin, &mut orders, stopping.clone()) => attempted,
            () = overdue(stopping.clone()) => Ok(Attempted::Next(Next::Stopped)),
        };
        let fault = match attempted {
            Ok(Attempted::Ended(ended)) => return Ok(ended),
            Ok(Attempted::Next(Next::Stopped)) => return Ok(Ended::Stopped),
            Ok(Attempted::Next(Next::Again)) => continue,
            Err(fault) => fault,
        };
        voice.metrics.failed(&fault);
        if less_may_do(&fault) {
            voice.bites.iter().for_each(Bite::was_too_much);
        }
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
                halted((voice, &mut orders), &fault, &mut told);
                stopping.asked().await;
            }
            Verdict::HaltFor(pause) => {
                halted((voice, &mut orders), &fault, &mut told);
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
fn halted((voice, orders): (&Voice, &mut mpsc::Receiver<Ordered>), fault: &Fault, told: &mut String) {
    if *told != fault.doing {
        tracing::error!(code = fault.code, doing = fault.doing, remedy = fault.remedy, "halted");
        fault.doing.clone_into(told);
    }
    voice.say(RunState::Halted, Some(fault));
    while let Ok(ordered) = orders.try_recv() {
        refuse(voice, ordered, fault);
    }
}

/// It came when nobody knew yet, and is refused as if at the door: obeyed hours later, once all is mended, it would surprise whoever gave it.
fn refuse(voice: &Voice, ordered: Ordered, fault: &Fault) {
    let (number, refused) = (ordered.number, Some(Reason::of(fault)));
    if matches!(ordered.order, Order::Phase(_) | Order::Ledger(..)) {
        tracing::warn!(code = fault.code, order = number, "refused: replication has halted");
    }
    voice.board.update(Instant::now(), |status| match ordered.order {
        Order::Phase(_) | Order::Ledger(..) => status.standing.tell(Answer { number, refused }),
        // A comparison moves nothing: it is made once there is something to compare.
        Order::Validate(_) => status.validation.ordered = Some(ordered),
    });
}

/// One life, from what is recorded on.
async fn attempt(
    job: &Job,
    voice: &Voice,
    (start, owned): (&mut Start, &mut Option<Owned>),
    orders: &mut mpsc::Receiver<Ordered>,
    stopping: Stopping,
) -> Result<Attempted, Fault> {
    let request = &job.request;
    let store = Store::new(pool(&request.address).await?);
    let claim = match claim(&request.address, &request.schema, VANISHED).await {
        Err(fault) if fault.code == "another_owner" => {
            return Err(owning::claimed_by_whom(request, &store, owned.as_ref(), fault).await);
        }
        claimed => claimed?,
    };
    voice.board.update(Instant::now(), |status| {
        status.target.up = true;
        status.target.version = Some(claim.server_version());
    });
    // Setup too waits for nothing longer than its server is known to be there.
    let working = claimed((job, voice), (&store, &claim), (start, owned), (orders, stopping));
    let lost = tokio::select! {
        attempted = Box::pin(working) => return attempted,
        lost = claim.lost() => lost,
    };
    if owned.is_none() {
        voice.attended(owning::let_go(request, &claim)).await;
    }
    Err(lost)
}

/// The same once nobody else may begin, resume or drop it.
async fn claimed(
    (job, voice): (&Job, &Voice),
    (store, claim): (&Store, &Claim),
    (start, owned): (&mut Start, &mut Option<Owned>),
    (orders, stopping): (&mut mpsc::Receiver<Ordered>, Stopping),
) -> Result<Attempted, Fault> {
    let request = &job.request;
    let migration = match setup::known(job, store).await? {
        Some(migration) => migration,
        None if owned.is_some() => return Err(setup::gone(request)),
        None => {
            voice.board.update(Instant::now(), |status| status.standing.records_read = true);
            match setup::begin(job, store, voice).await? {
                setup::Begun::Blocked(findings) => return Ok(Attempted::Ended(Ended::Blocked(findings))),
                setup::Begun::Migration(migration) => migration,
            }
        }
    };
    if owned.is_none() {
        setup::tell_settings(job, store, &migration).await?;
    }
    let request = as_begun(request, store, Some(&migration)).await?;
    let job = &Job { request, ..job.clone() };
    let ours = owning::take_over(store, (migration.id, claim), owned).await?;
    let begun_anew = *start == Start::Resync;
    if begun_anew {
        setup::begin_new_history((job, voice), store, (migration.id, &ours)).await?;
        *start = Start::GoOn;
    }
    let mut desk = Desk::open(job, store, voice, (migration.id, ours)).await?;
    if begun_anew {
        desk.back_to_sqlite().await?;
    }
    Box::pin(work(desk, migration, (orders, stopping))).await.map(Attempted::Next)
}

/// What is to be done where the migration stands.
async fn work(
    mut desk: Desk<'_>,
    migration: Migration,
    (orders, stopping): (&mut mpsc::Receiver<Ordered>, Stopping),
) -> Result<Next, Fault> {
    // Before it is told which side is written, so that nobody reads that beside the phase of a daemon that knows nothing yet.
    let recorded = desk.state;
    desk.arrived(recorded);
    let work = crossing::settle(&mut desk).await?;
    let state = desk.state;
    desk.arrived(state);
    // What is decided and not finished has neither been told of nor answered.
    if work != Work::FinishSwitch {
        desk.call_due_hook().await?;
        desk.answer_interrupted().await?;
    }
    match work {
        Work::Forward | Work::FinishSwitch => {
            Box::pin(follow::follow(desk, (migration, work), (orders, stopping))).await
        }
        Work::Backward => Box::pin(back::follow_back(desk, (orders, stopping))).await,
        Work::CleanUp => {
            desk.voice.say(RunState::Running, None);
            desk.refuse_comparison().await?;
            clean::clean_up(&mut desk).await
        }
        Work::Rest => rest(&desk, orders, stopping).await,
    }
}

/// How an attempt ended, other than by a fault.
enum Attempted {
    Ended(Ended),
    Next(Next),
}

/// What comes after an attempt that did what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Stopped,
    /// The migration stands elsewhere now: look again.
    Again,
}

/// The migration is over; whoever asks is told so.
async fn rest(
    desk: &Desk<'_>,
    orders: &mut mpsc::Receiver<Ordered>,
    mut stopping: Stopping,
) -> Result<Next, Fault> {
    desk.voice.say(RunState::Running, None);
    desk.voice.follow_tables(&BTreeMap::new(), &BTreeMap::new());
    clean::show_again(desk).await;
    while !stopping.is_asked() {
        desk.voice.board.tick(Instant::now());
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = stopping.asked() => {}
            Some(ordered) = orders.recv() => {
                let refused = match ordered.order {
                    Order::Phase(command) => desk.judge(&ordered, command).err(),
                    Order::Ledger(..) => Some(Reason::nothing_to_compare()),
                    Order::Validate(_) => {
                        let waits = |status: &mut Status| status.validation.ordered = Some(ordered);
                        desk.voice.board.update(Instant::now(), waits);
                        desk.refuse_comparison().await?;
                        continue;
                    }
                };
                desk.take_up(&ordered);
                desk.answer(&ordered, refused).await?;
            }
        }
    }
    Ok(Next::Stopped)
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Voice {
    pub fn new(board: Board, metrics: Arc<Metrics>) -> Voice {
        Voice { board, metrics, last: Arc::default(), owed: Arc::default(), bites: Default::default() }
    }

    fn bite(&self, direction: Direction) -> &Bite {
        let [forward, back] = &self.bites;
        match direction {
            Direction::Forward => forward,
            Direction::Reverse => back,
        }
    }

    fn owe(&self, ordered: Option<Ordered>) {
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner) = ordered;
    }

    fn owed(&self) -> Option<Ordered> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
