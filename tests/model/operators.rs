//! Two operators at once, with old views, out of order and twice: whatever they command, the record goes only where it may.

use crate::orders::{Act, Expect, Operator, acts, answer, told};
use liteferry::phase::Phase;
use liteferry::phase::machine::{Command, Crossing, State, Why};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The record as it would be kept, and what each operator saw of it last.
struct Record {
    state: State,
    ann: State,
    bob: State,
    /// Before and after, for every move.
    journal: Vec<(State, State)>,
    /// How often the writes went over.
    crossed: usize,
}

/// Every way from one phase to another, with who may take it. Written down apart from the machine.
const WAYS: [(Phase, Phase, &str); 7] = [
    (Phase::Setup, Phase::Backfill, "told"),
    (Phase::Backfill, Phase::DualWrite, "told"),
    (Phase::DualWrite, Phase::Validate, "ordered"),
    (Phase::Validate, Phase::DualWrite, "ordered"),
    (Phase::Validate, Phase::Switch, "told"),
    (Phase::Switch, Phase::DualWrite, "told"),
    (Phase::Switch, Phase::Cleanup, "ordered"),
];
const END: (Phase, Phase, &str) = (Phase::Cleanup, Phase::Done, "told");
const SEQUENCES: u32 = 3_000;

thread_local! {
    /// What the sequences came by, or they have tried less than they say.
    static SEEN: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

#[test]
fn operators_at_odds_move_the_record_only_where_it_may_go() {
    let settings =
        ProptestConfig { cases: SEQUENCES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(settings, |(acts in acts())| {
        let mut record = Record::new();
        for act in acts {
            record.obey(act);
        }
        record.hangs_together();
    });
    let seen = SEEN.with_borrow(Clone::clone);
    for wanted in [
        "another phase was expected",
        "paused",
        "under way",
        "wrong phase",
        "twice",
        "switched",
        "rolled back",
        "cleaned up",
        "done",
    ] {
        assert!(seen.contains(wanted), "never met: {wanted}");
    }
}

impl Record {
    fn new() -> Record {
        // Half of the way is behind us, so that a sequence comes to what matters.
        let state = State { phase: Phase::Backfill, ..State::FIRST };
        Record { state, ann: state, bob: state, journal: Vec::new(), crossed: 0 }
    }

    fn view(&mut self, of: Operator) -> &mut State {
        match of {
            Operator::Ann => &mut self.ann,
            Operator::Bob => &mut self.bob,
        }
    }

    fn obey(&mut self, act: Act) {
        match act {
            Act::Look(operator) => *self.view(operator) = self.state,
            Act::Tell(event) => {
                if let Ok(after) = told(self.state, event) {
                    self.enter(after, "told");
                    assert_eq!(told(after, event), Ok(after));
                }
            }
            Act::Order { by, command, expect, times } => {
                for time in 0..times {
                    self.order(by, (command, expect), time);
                }
            }
        }
    }

    fn order(&mut self, by: Operator, (command, expect): (Command, Expect), time: usize) {
        let (before, seen) = (self.state, *self.view(by));
        match answer(before, seen, (command, expect)) {
            Ok(after) => {
                let stale = matches!(expect, Expect::TheSeenPhase) && seen.phase != before.phase;
                assert!(!stale, "{by:?} saw {seen:?} and commanded {command:?} at {before:?}");
                assert!(!matches!(expect, Expect::This(phase) if phase != before.phase));
                if time > 0 && matches!(expect, Expect::Nothing) {
                    assert_eq!(after, before, "{command:?} once more changes nothing");
                    note("twice");
                }
                self.enter(after, "ordered");
            }
            Err(illegal) => {
                assert_eq!(illegal.state, before);
                note(match illegal.why {
                    Why::Phase => "wrong phase",
                    Why::Crossing => "under way",
                    Why::Paused => "paused",
                    Why::Expected(_) => "another phase was expected",
                });
            }
        }
    }

    /// As the store does: only a change is written.
    fn enter(&mut self, after: State, by: &'static str) {
        let before = self.state;
        if before == after {
            return;
        }
        if before.phase != after.phase {
            let way = (before.phase, after.phase, by);
            assert!(WAYS.contains(&way) || way == END, "{way:?}");
        }
        match (before.crossing, before.phase, after.phase) {
            (Some(Crossing::Switch), _, Phase::Switch) => note("switched"),
            (Some(Crossing::Rollback), _, Phase::DualWrite) => note("rolled back"),
            (None, Phase::Switch, Phase::Cleanup) => note("cleaned up"),
            (None, Phase::Cleanup, Phase::Done) => note("done"),
            _ => {}
        }
        self.crossed += usize::from((before.phase >= Phase::Switch) != (after.phase >= Phase::Switch));
        self.journal.push((before, after));
        self.state = after;
    }

    /// The journal tells the whole way, and the writes are where the number of crossings says.
    fn hangs_together(&self) {
        for lines in self.journal.windows(2) {
            assert_eq!(lines[0].1, lines[1].0);
        }
        assert_eq!(self.journal.last().map_or(self.state, |last| last.1), self.state);
        assert!(self.journal.iter().all(|(_, after)| after.is_legal()));
        assert_eq!(self.crossed % 2 == 1, self.state.phase >= Phase::Switch);
        let begun = |crossing| move |(_, after): &&(State, State)| after.crossing == Some(crossing);
        let count = |crossing| self.journal.iter().filter(begun(crossing)).count();
        assert!(self.crossed <= count(Crossing::Switch) + count(Crossing::Rollback));
    }
}

fn note(what: &'static str) {
    SEEN.with_borrow_mut(|seen| seen.insert(what));
}
