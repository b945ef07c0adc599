//! One batch on its way to PostgreSQL, and how much it takes.

use super::follow::Life;
use super::verifying::Verifying;
use crate::flow::follow::{Step, step};
use crate::link::Take;
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::phase::machine::Percent;
use crate::plan::overrides::ExistingRows;
use crate::telemetry::labels::Direction;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the last batches took, newest first.
#[derive(Default)]
pub struct Drains(VecDeque<(Instant, Duration)>);

const DRAINS_MAX: usize = 64;
/// A batch that is long over, a backlog say, foretells nothing: where nothing was written since, nothing will have to be drained.
const TOLD_FOR: Duration = Duration::from_mins(1);

impl Drains {
    pub(super) fn note(&mut self, now: Instant, took: Duration) {
        self.0.truncate(DRAINS_MAX - 1);
        self.0.push_front((now, took));
    }

    pub(super) fn lately(&self, now: Instant) -> Vec<Duration> {
        let is_young = |(at, _): &&(Instant, Duration)| now.duration_since(*at) < TOLD_FOR;
        self.0.iter().take_while(is_young).map(|(_, took)| *took).collect()
    }
}

impl Life<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_batch_is_forgotten_after_others_or_after_a_while() {
        let (mut drains, began) = (Drains::default(), Instant::now());
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let (long, short) = (Duration::from_secs(3), Duration::from_millis(1));
        drains.note(at(0), long);
        drains.note(at(30), short);
        assert_eq!(drains.lately(at(59)), [short, long]);
        assert_eq!(drains.lately(at(60)), [short]);
        assert!(drains.lately(at(90)).is_empty(), "nobody has written for a minute");
        drains.note(at(100), long);
        (0..DRAINS_MAX).for_each(|_| drains.note(at(101), short));
        assert_eq!(drains.lately(at(102)), [short; DRAINS_MAX]);
    }
}
