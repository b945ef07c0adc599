//! The words that metrics are told apart by. All sets are closed, and the one that is not, the tables', is bounded.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Tables that get series of their own; the rest share one.
pub const TABLES_MAX: usize = 200;
const OTHER_TABLES: &str = "other";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From SQLite to PostgreSQL.
    Forward,
    Reverse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Upsert,
    Delete,
}

/// What a validation found of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowVerdict {
    Equal,
    Missing,
    Extra,
    Different,
}

/// Why work is slower than it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// The change table is past its bound.
    ChangeLog,
}

/// How an attempt to move the writes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoverOutcome {
    Decided,
    /// A gate was closed, or a hook said no.
    Refused,
    /// Nothing happened.
    Abandoned,
    /// Whether it was decided is looked up.
    InDoubt,
}

/// The tables that have a label: those that were named first.
#[derive(Default)]
pub(super) struct TableNames(Mutex<BTreeSet<String>>);

impl TableNames {
    pub(super) fn label<'t>(&self, table: &'t str) -> &'t str {
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if named.contains(table) {
            return table;
        }
        if named.len() == TABLES_MAX {
            return OTHER_TABLES;
        }
        named.insert(table.to_owned());
        table
    }
}

impl Direction {
    pub fn word(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        }
    }
}

impl Operation {
    pub(super) fn word(self) -> &'static str {
        match self {
            Operation::Upsert => "upsert",
            Operation::Delete => "delete",
        }
    }
}

impl CutoverOutcome {
    pub(super) const ALL: [CutoverOutcome; 4] = [
        CutoverOutcome::Decided,
        CutoverOutcome::Refused,
        CutoverOutcome::Abandoned,
        CutoverOutcome::InDoubt,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            CutoverOutcome::Decided => "decided",
            CutoverOutcome::Refused => "refused",
            CutoverOutcome::Abandoned => "abandoned",
            CutoverOutcome::InDoubt => "in-doubt",
        }
    }
}

impl RowVerdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            RowVerdict::Equal => "equal",
            RowVerdict::Missing => "missing",
            RowVerdict::Extra => "extra",
            RowVerdict::Different => "different",
        }
    }
}

impl Throttle {
    pub(super) fn word(self) -> &'static str {
        match self {
            Throttle::ChangeLog => "change-log",
        }
    }
}
