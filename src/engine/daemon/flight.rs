//! Batch upon batch on their way to PostgreSQL, for as long as nothing else is to be done.
//!
//! ```text
//!  a look ─ batch sent ─┬─ somebody has written ──▶ the next look
//!                       └─ an answer has come ────▶ its batch is told of
//! ```
//!
//! Whatever needs the target to stand still waits until the last answer has come: a snapshot for a comparison, an order, a look at the ledger.

use super::life::Life;
use super::pace::{Pruning, Quiet, Throng};
use super::relearn::Doubts;
use super::verifying::Verifying;
use super::window::Window;
use crate::engine::order::Ordered;
use crate::flow::flight::Flight;
use crate::flow::follow::{Step, step};
use crate::link::{Captured, Extent, Take};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::phase::machine::Percent;
use crate::plan::overrides::ExistingRows;
use crate::sqlite::wake::{Early, Wake};
use crate::telemetry::labels::Direction;
use std::collections::VecDeque;
use std::future::ready;
use std::time::Instant;
use tokio::sync::mpsc;

/// What is kept in mind of the batches that were applied.
pub(super) struct Course {
    /// Where the target stands.
    pub at: Position,
    pub quiet: Quiet,
    pub pruning: Pruning,
    pub doubts: Doubts,
    pub window: Window,
    pub throng: Throng,
    /// Nobody has looked yet whether a migration has brought indexes or constraints that are still to be made.
    pub rules_wait: bool,
}

pub(super) struct Flown {
    /// Nothing had changed.
    pub idle: bool,
    /// Nothing is left that the file system will not tell of.
    pub caught_up: bool,
}

/// A batch under way, for those who watch.
struct Leg {
    began: Instant,
    /// Since when its oldest change has waited, at the most.
    since: Instant,
    extent: Extent,
}

impl Course {
    pub fn begin(at: Position, pruning: Pruning, doubts: Doubts) -> Course {
        let (quiet, window, throng) = (Quiet::new(), Window::new(), Throng::new(Instant::now()));
        Course { at, quiet, pruning, doubts, window, throng, rules_wait: true }
    }

    fn reached(&mut self, step: &Step, began: Instant) {
        self.throng.landed(began, step.to.seq.abs_diff(self.at.seq), Instant::now());
        self.at = step.to;
        self.doubts.stepped(step);
        self.quiet.broken();
        self.pruning.note(step.to);
    }
}

impl Life<'_> {
    /// Applies what has changed, and what changes until the last answer has come; from `until` on nothing more is sent.
    pub(super) async fn fly(
        &mut self,
        course: &mut Course,
        wake: &mut Wake,
        (orders, verifying): (&mpsc::Receiver<Ordered>, &Verifying),
        until: Instant,
    ) -> Result<Flown, Fault> {
        if let Some(rest) = course.throng.rest(Instant::now()) {
            tokio::time::sleep(rest).await;
        }
        let most = self.voice.bite(Direction::Forward).of(self.job.batch_max);
        let take = if self.may_renew(verifying) { Take::Renewing(most) } else { Take::UpTo(most) };
        let goes_on = || orders.is_empty() && !verifying.is_due() && Instant::now() < until;
        let flown = self.fly_while(goes_on, take, course, wake).await;
        if flown.is_err() {
            let waiting = self.changes.known().map(|known| known.waiting.unsigned_abs());
            self.voice.bite(Direction::Forward).takes(waiting.map_or(most, |waiting| waiting.min(most)));
        }
        flown
    }

    async fn fly_while(
        &mut self,
        goes_on: impl Fn() -> bool,
        take: Take,
        course: &mut Course,
        wake: &mut Wake,
    ) -> Result<Flown, Fault> {
        let mut flight = Flight::from(course.at, take, self.job.request.on_misfit);
        let (mut legs, began) = (VecDeque::new(), Instant::now());
        let mut found = self.send(&mut flight, &mut legs, wake).await;
        let mut idle = found.is_none();
        let mut looks = found == Some(Extent::Part);
        loop {
            // What has been answered by now is told before anything else is begun.
            flight.meanwhile(ready(())).await;
            while let Some(step) = flight.landed() {
                let under_way = legs.len();
                let leg: Leg = legs.pop_front().expect("each batch that was sent has its leg");
                if let Some(took) = step.answered_in {
                    course.window.answered(took, under_way);
                }
                self.landed(course, &step, (leg.began, legs.front().map(|next| next.since)));
            }
            if !flight.is_under_way() {
                break;
            }
            let may_look = flight.may_send()
                && course.window.has_room(legs.len())
                && goes_on()
                && !self.stopping.is_asked();
            if !(may_look && looks) {
                tokio::select! {
                    () = flight.answer() => {}
                    () = wake.wait(), if may_look => looks = true,
                }
                continue;
            }
            found = self.send(&mut flight, &mut legs, wake).await;
            looks = found == Some(Extent::Part);
            if found.is_none()
                && flight.may_send()
                && let Some(early) = wake.found_nothing()
            {
                flight.meanwhile(self.let_it_come(early)).await?;
                looks = true;
            }
        }
        let again = Instant::now();
        if let Some(step) = flight.end(&self.changes, &mut self.applier).await? {
            (idle, found) = (false, Some(step.extent));
            wake.found();
            self.landed(course, &step, (again, None));
        }
        if idle {
            self.voice.stepped((began, None), (course.at, None), &self.changes);
        }
        let caught_up = found.is_none_or(|extent| extent == Extent::Whole && wake.is_told());
        Ok(Flown { idle, caught_up })
    }

    /// Waits, if at all, for a commit that a look came before.
    pub(super) async fn let_it_come(&self, early: Early) -> Result<(), Fault> {
        match early {
            Early::LookAgain => Ok(()),
            Early::WaitWithTheDisk => self.changes.harden().await,
        }
    }

    /// Looks for another batch, and sends it.
    async fn send(
        &mut self,
        flight: &mut Flight,
        legs: &mut VecDeque<Leg>,
        wake: &mut Wake,
    ) -> Option<Extent> {
        let began = Instant::now();
        let extent = flight.send(&self.changes, &mut self.applier).await?;
        wake.found();
        // What follows a part of a backlog has waited for as long.
        let since = match legs.back() {
            Some(Leg { since, extent: Extent::Part, .. }) => *since,
            Some(Leg { extent: Extent::Whole, .. }) | None => {
                self.changes.known().map_or(began, |known| known.since)
            }
        };
        legs.push_back(Leg { began, since, extent });
        Some(extent)
    }

    fn landed(&mut self, course: &mut Course, step: &Step, (began, next): (Instant, Option<Instant>)) {
        self.voice.bite(Direction::Forward).went_well();
        self.voice.stepped((began, next), (course.at, Some(step)), &self.changes);
        self.drains.note(Instant::now(), began.elapsed());
        course.reached(step, began);
    }

    /// One batch, told to whoever watches.
    pub(super) async fn step(&mut self, at: Position, take: fn(u64) -> Take) -> Result<Option<Step>, Fault> {
        let began = Instant::now();
        let (bite, on_misfit) = (self.voice.bite(Direction::Forward), self.job.request.on_misfit);
        let most = bite.of(self.job.batch_max);
        let step = step(&self.changes, &mut self.applier, (at, take(most)), on_misfit).await;
        if step.is_err() {
            bite.takes(self.changes.known().map_or(most, |known| known.waiting.unsigned_abs().min(most)));
        }
        let step = step?;
        if step.is_some() {
            bite.went_well();
        }
        self.voice.stepped((began, None), (at, step.as_ref()), &self.changes);
        if step.is_some() {
            self.drains.note(Instant::now(), began.elapsed());
        }
        Ok(step)
    }

    /// Not where a table may hold rows of others, is to be read meanwhile, or is seen by a snapshot, for which it would be empty; nor after a
    /// batch that was too much.
    pub(super) fn may_renew(&self, verifying: &Verifying) -> bool {
        let (most, bite) = (self.job.batch_max, self.voice.bite(Direction::Forward));
        let holds_ours_alone = match self.job.request.overrides.existing_rows {
            ExistingRows::Refuse | ExistingRows::Replace => true,
            ExistingRows::Merge => false,
        };
        holds_ours_alone
            && self.desk.state.reads == Percent::NONE
            && !verifying.is_comparing()
            && bite.of(most) == most
    }
}
