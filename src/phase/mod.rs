//! The phases of a migration and their words: the same in the journal, the API, the metrics and the papers. Layer 1. Pure.

pub mod gate;
pub mod machine;
pub mod pause;
mod run;
mod step;

pub use run::RunState;
pub use step::Step;

/// Where a migration stands. The order is the order of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    Setup,
    Backfill,
    /// Seen from outside: what the application writes to SQLite, we write to PostgreSQL at once.
    DualWrite,
    Validate,
    Switch,
    Cleanup,
    Done,
}

impl Phase {
    pub const ALL: [Phase; 7] = [
        Phase::Setup,
        Phase::Backfill,
        Phase::DualWrite,
        Phase::Validate,
        Phase::Switch,
        Phase::Cleanup,
        Phase::Done,
    ];

    /// What the journal holds: it never changes its meaning.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Setup => "setup",
            Phase::Backfill => "backfill",
            Phase::DualWrite => "dual-write",
            Phase::Validate => "validate",
            Phase::Switch => "switch",
            Phase::Cleanup => "cleanup",
            Phase::Done => "done",
        }
    }

    pub fn from_word(word: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// Whether one side is brought up to the other change by change.
    pub fn replicates(self) -> bool {
        match self {
            Phase::Setup | Phase::Backfill | Phase::Done => false,
            Phase::DualWrite | Phase::Validate | Phase::Switch | Phase::Cleanup => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_its_phase_and_no_other() {
        let words: Vec<&str> = Phase::ALL.into_iter().map(Phase::word).collect();
        assert_eq!(words, ["setup", "backfill", "dual-write", "validate", "switch", "cleanup", "done"]);
        assert_eq!(words.iter().map(|word| Phase::from_word(word)).collect::<Vec<_>>(), Phase::ALL.map(Some));
        assert_eq!(Phase::from_word("Setup"), None);
        assert!(Phase::ALL.is_sorted());
    }
}
