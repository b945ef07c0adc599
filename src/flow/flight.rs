//! Flight: several batches on their way to the target at once, so that a change does not wait for the answer to the batch before its own.
//!
//! ```text
//!  send ──▶ look behind the last one sent ─ read ─ send ─ durable ─ commit sent ──▶ under way
//!  landed ◀── answers, in the order of the batches ◀────────────────────────────────────┘
//! ```
//!
//! Each batch begins where the one before it ends, or the target refuses it: of what is behind a batch that did not commit nothing commits.
//! No batch counts as applied before its own answer has come, and what became of one without an answer is never assumed.

use super::backfill::OnMisfit;
use super::follow::{self, Sent, Step, Terms};
use crate::link::{Applied, Applier, Captured, Extent, POSITION_MOVED, Sending, Take};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use futures_util::future::FutureExt;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

/// How much they may hold together is the applier's to bound.
const UNDER_WAY_MAX: usize = 64;

pub struct Flight {
    terms: Terms,
    /// Where the target stands, by its own answers.
    at: Position,
    /// Where it will stand once all that was sent is applied.
    ahead: Position,
    under_way: VecDeque<Sent>,
    /// Nobody has been told of them yet.
    landed: VecDeque<Step>,
    ending: Ending,
}

/// Why nothing more is sent. Batches before the one that is at fault may still land.
enum Ending {
    No,
    /// What was refused is taken again on other terms, from where the target stands then.
    Again(Terms),
    Fault(Fault),
}

impl Flight {
    /// To a target that stands there, with nothing under way to it.
    pub fn from(at: Position, take: Take, on_misfit: OnMisfit) -> Flight {
        Flight {
            terms: Terms { take, sending: Sending::Ahead, on_misfit },
            at,
            ahead: at,
            under_way: VecDeque::new(),
            landed: VecDeque::new(),
            ending: Ending::No,
        }
    }

    pub fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    pub fn may_send(&self) -> bool {
        matches!(self.ending, Ending::No) && self.under_way.len() < UNDER_WAY_MAX
    }

    /// Looks for what follows the last batch that was sent, and sends it; gives its extent. Nothing where nothing has changed, or nothing may
    /// be sent any more.
    pub async fn send(&mut self, source: &impl Captured, applier: &mut impl Applier) -> Option<Extent> {
        if !self.may_send() {
            return None;
        }
        let sending = pin!(follow::send(source, applier, self.ahead, self.terms));
        match (self.meanwhile(sending).await, &self.ending) {
            (Ok(None), _) => None,
            // Nobody will wait for it.
            (Ok(Some(_)), Ending::Fault(_)) => None,
            (Ok(Some(sent)), Ending::No | Ending::Again(_)) => {
                let extent = sent.extent;
                self.ahead = sent.to;
                self.under_way.push_back(sent);
                Some(extent)
            }
            (Err(fault), Ending::No) => {
                self.ending = self.terms.after(&fault).map_or(Ending::Fault(fault), Ending::Again);
                None
            }
            // Behind a batch that was refused the target does not stand where this one begins.
            (Err(fault), Ending::Again(_)) if fault.code != POSITION_MOVED => {
                self.ending = Ending::Fault(fault);
                None
            }
            (Err(_), Ending::Again(_) | Ending::Fault(_)) => None,
        }
    }

    /// Does something else, and takes answers in as they come.
    pub async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            // First: what is at fault in a batch explains what becomes of those behind it.
            let _all_or_some = self.take_answers(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Returns once another batch under way has been answered, or none is. May be dropped, and called again.
    pub async fn answer(&mut self) {
        let before = self.under_way.len();
        poll_fn(|context| match self.take_answers(context) {
            Poll::Pending if self.under_way.len() == before => Poll::Pending,
            Poll::Pending | Poll::Ready(()) => Poll::Ready(()),
        })
        .await;
    }

    /// The next batch that has landed, in their order.
    pub fn landed(&mut self) -> Option<Step> {
        self.landed.pop_front()
    }

    /// Ends the flight with nothing under way any more. What was refused is taken again.
    pub async fn end(
        self,
        source: &impl Captured,
        applier: &mut impl Applier,
    ) -> Result<Option<Step>, Fault> {
        match self.ending {
            Ending::No => Ok(None),
            Ending::Again(terms) => Box::pin(follow::step_so(source, applier, self.at, terms)).await,
            Ending::Fault(fault) => Err(fault),
        }
    }

    /// Ready once nothing is under way.
    fn take_answers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(oldest) = self.under_way.front_mut() {
            let Poll::Ready(answer) = oldest.outcome.poll_unpin(context) else { return Poll::Pending };
            let sent = self.under_way.pop_front().expect("it was there");
            self.answered(sent, answer);
        }
        Poll::Ready(())
    }

    fn answered(&mut self, sent: Sent, answer: Result<Applied, Fault>) {
        let is_refused = matches!(self.ending, Ending::Again(Terms { sending: Sending::Answered, .. }));
        match answer {
            Ok(_) if !is_refused => {
                self.at = sent.to;
                self.landed.push_back(sent.landed());
            }
            Ok(_) => self.give_up(
                Fault::new(FaultClass::Unknown, POSITION_MOVED, "apply a batch behind one that was refused")
                    .with_remedy("Somebody else has moved the target; its position is read again."),
            ),
            // Those behind one that was refused are refused for that alone.
            Err(fault) => match self.terms.after(&fault) {
                Some(terms) => self.ending = Ending::Again(terms),
                None => self.give_up(fault),
            },
        }
    }

    /// Of the batches behind it nothing is known either.
    fn give_up(&mut self, fault: Fault) {
        self.under_way.clear();
        self.ending = Ending::Fault(fault);
    }
}
