//! The daemon: one task that owns the phase, from setup to following every change, and goes on where it was after whatever ended it.
//!
//! ```text
//!  set up ─▶ arm capture ─▶ backfill ─▶ keys ─▶ catch up ─▶ indexes ─▶ follow ⟲
//!     every arrow is recorded in the target before the next begins; after a fault the attempt begins anew from what is recorded
//! ```
//!
//! It never assumes what became of a commit, and never works on a migration that another daemon has taken over.

mod agree;
mod asking;
mod back;
mod bite;
mod blocking;
mod clean;
mod closer;
mod command;
mod crossing;
mod desk;
mod drains;
mod flight;
mod follow;
mod gates;
mod heights;
mod hooks;
mod job;
mod left;
mod life;
mod likeness;
mod lookout;
pub mod moved;
mod newcomers;
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
mod schema_moved;
mod setup;
mod shelf;
mod shown;
mod stop;
mod tables;
mod tended;
mod told;
mod toucher;
mod verify;
mod verifying;
mod voice;
mod watch;
mod way;
mod widening;
mod window;

use super::begun::as_begun;
use super::order::{Order, Ordered};
use super::reason::Reason;
use super::retry::{Backoff, Verdict, decide, less_may_do};
use super::standing::Answer;
use super::status::Status;
use crate::journal::store::{Migration, Store};
use crate::model::fault::Fault;
use crate::phase::RunState;
use crate::postgres::claim::{Claim, VANISHED, claim};
use crate::postgres::connect::pool;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

use crossing::Work;
use desk::Desk;
use job::Next;
use owning::Owned;
use voice::{TICK, millis};

pub use job::{Ended, Job, JournalRule, Start, SwitchRules};
pub use repair::repair;
pub use setup::{findings_of_run, records_in_the_way};
pub use stop::{Stopper, Stopping};
pub use verifying::Timetable;
pub use voice::Voice;

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
            voice.took_too_much();
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
    let attempted = tokio::select! {
        attempted = Box::pin(working) => Ok(attempted),
        lost = claim.lost() => Err(lost),
    };
    match attempted {
        Ok(attempted) => {
            claim.end().await;
            attempted
        }
        Err(lost) => {
            if owned.is_none() {
                voice.attended(owning::let_go(request, &claim)).await;
            }
            Err(lost)
        }
    }
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
        Some(migration) => {
            if owned.is_none() {
                told::tell_settings(job, store, &migration).await?;
            }
            migration
        }
        None if owned.is_some() => return Err(setup::gone(request)),
        None => {
            voice.board.update(Instant::now(), |status| status.standing.records_read = true);
            match setup::begin(job, store, voice).await? {
                setup::Begun::Blocked(findings) => return Ok(Attempted::Ended(Ended::Blocked(findings))),
                setup::Begun::Migration(migration) => migration,
            }
        }
    };
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
