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
use std::time::Instant;

const DRAINS_MAX: usize = 64;

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
        self.voice.stepped(began, (at, step.as_ref()), &self.changes);
        if step.is_some() {
            self.drains.truncate(DRAINS_MAX - 1);
            self.drains.insert(0, began.elapsed());
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
