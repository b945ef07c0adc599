//! What the gates of both directions take from the settings and the board. Nothing here asks a side.

use super::job::SwitchRules;
use crate::engine::order::Repair;
use crate::engine::status::View;
use crate::phase::RunState;
use crate::phase::gate::{Compared, Limits, Reverse, Rows, Validated};
use crate::telemetry::labels::Direction;
use std::time::Duration;

pub(super) fn limits(rules: &SwitchRules) -> Limits {
    Limits {
        pause_budget: rules.pause_budget,
        deadline: rules.deadline,
        lag_max: rules.lag_max,
        validation_age_max: rules.validation_age_max,
        application_busy_timeout: rules.application_busy_timeout,
        keys_may_be_broken: rules.keys_may_be_broken,
    }
}

/// The board's verdict is of this history and this schema: both are voided with the attempt that they belonged to.
pub(super) fn validated(view: &View) -> Option<Validated> {
    let last = view.status.validation.last.filter(|last| last.direction == Direction::Forward)?;
    let epoch = view.status.target.position.map(|position| position.epoch);
    Some(Validated {
        age: view.age_of(last.at),
        differences: last.differences,
        same_history: epoch.is_none_or(|epoch| epoch == last.position.epoch),
        same_schema: view.status.validation.schema_holds,
    })
}

pub(super) fn reverse(view: &View) -> Reverse {
    let shown = view.status.standing.reverse.unwrap_or_default();
    Reverse {
        canary: shown.canary,
        running: view.status.run.state == RunState::Running,
        lag: shown.oldest.map_or(Duration::ZERO, |oldest| view.age_of(oldest)),
        compared: compared_back(view),
    }
}

/// What is known of SQLite's rows since PostgreSQL is written.
fn compared_back(view: &View) -> Option<Compared> {
    let last = view.status.validation.last.filter(|last| last.direction == Direction::Reverse)?;
    let rows = match (last.differences, last.repair) {
        (0, _) => Rows::Equal,
        (differing, Repair::LeaveAsIs) => Rows::Differ(differing),
        (differing, Repair::ReadAgain) => Rows::ReadAgain(differing),
    };
    Some(Compared { rows, age: view.age_of(last.at) })
}
