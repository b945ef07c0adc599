//! What is under way by one session: batches of which nothing is left to send, and whose answers are still to come.
//!
//! What goes by one session is done in the order in which it was sent. Between two sessions there is no order: one of them has to be clear
//! before the next batch goes by the other, which would be refused otherwise for beginning where the target does not stand yet.

use super::pipeline::Pipeline;
use super::small::{BYTES_MAX, KEYS_MAX, WRITE, bytes_of, keys_of};
use crate::link::{Applied, BATCH_REFUSED, Changed, Outcome};
use crate::model::fault::{Fault, FaultClass};
use crate::postgres::fault;
use crate::postgres::patience::{self, answered};
use futures_util::future::{FutureExt, join};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub struct Lane {
    /// As much as one batch that is not staged.
    keys: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// An answer was not had, and none is to be had any more.
    silent: AtomicBool,
    unanswered: AtomicUsize,
    /// Of something that was sent nobody heard that it is done, or will.
    forgotten: AtomicBool,
}

/// Given back when it is dropped.
pub type Room = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// A batch that was sent.
struct Leg {
    state: Arc<State>,
    landed: bool,
}

impl Lane {
    pub fn new() -> Lane {
        let semaphore = |room| Arc::new(Semaphore::new(room));
        Lane { keys: semaphore(KEYS_MAX), bytes: semaphore(BYTES_MAX), state: Arc::default() }
    }

    /// Waits until enough of what was sent before has been answered.
    pub async fn take(&self, portion: &[Changed]) -> Result<Room, Fault> {
        let few = |count: usize| u32::try_from(count).expect("a portion is small");
        let taken = join(
            Arc::clone(&self.keys).acquire_many_owned(few(keys_of(portion))),
            Arc::clone(&self.bytes).acquire_many_owned(few(bytes_of(portion))),
        );
        let (keys, bytes) = answered(patience::for_bytes(BYTES_MAX), WRITE, taken.map(Ok)).await?;
        Ok((keys.expect("it is never closed"), bytes.expect("it is never closed")))
    }

    /// What becomes of a batch whose last statement has been sent, and commits it.
    pub fn outcome(&self, sent: Pipeline, room: Room, applied: Applied) -> Outcome {
        let leg = Leg::begun(&self.state);
        let outcome = async move {
            // Behind an answer that was lost, the commit may have been heard.
            let answers = sent.answers(fault::of_commit);
            let answers = answered(patience::for_bytes(BYTES_MAX), WRITE, answers).await;
            drop(room);
            match answers {
                Ok(()) => {
                    leg.landed();
                    Ok(applied)
                }
                Err(fault) if fault.class == FaultClass::Unknown => {
                    leg.state.silent.store(true, Ordering::Relaxed);
                    Err(fault)
                }
                // Where the COMMIT itself was refused the session is still in what has failed: it is asked before anything counts as done.
                Err(fault) => Err(Fault::new(FaultClass::Transient, BATCH_REFUSED, WRITE)
                    .with_remedy("It is written once more, statement by statement.")
                    .with_source(fault)),
            }
        };
        Outcome::Awaited(outcome.boxed())
    }

    /// Nothing more is to be sent by the session.
    pub fn give_up(&self) {
        self.state.silent.store(true, Ordering::Relaxed);
    }

    pub fn is_silent(&self) -> bool {
        self.state.silent.load(Ordering::Relaxed)
    }

    /// Whether the server has done all that was sent.
    pub fn is_clear(&self) -> bool {
        self.state.unanswered.load(Ordering::Relaxed) == 0 && !self.state.forgotten.load(Ordering::Relaxed)
    }

    /// It has answered something that was sent after all of it.
    pub fn has_answered(&self) {
        self.state.forgotten.store(false, Ordering::Relaxed);
    }
}

impl Leg {
    fn begun(state: &Arc<State>) -> Leg {
        state.unanswered.fetch_add(1, Ordering::Relaxed);
        Leg { state: Arc::clone(state), landed: false }
    }

    fn landed(mut self) {
        self.landed = true;
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.state.unanswered.fetch_sub(1, Ordering::Relaxed);
        if !self.landed {
            self.state.forgotten.store(true, Ordering::Relaxed);
        }
    }
}
