//! What a daemon is there for, and what comes of it.

use super::verifying::Timetable;
use crate::engine::prepare::Request;
use crate::model::finding::Finding;
use crate::settings::Hooks;
use std::path::PathBuf;
use std::time::Duration;

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

/// What comes after an attempt that did what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stopped,
    /// The migration stands elsewhere now: look again.
    Again,
}
