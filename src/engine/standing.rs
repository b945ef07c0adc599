//! What the board shows of the way from one side to the other: who takes the application's writes, which gates are open, how the
//! changes flow back, what became of the last command.

use super::reason::Reason;
use crate::phase::Phase;
use crate::phase::gate::Gate;
use crate::phase::machine::Command;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Whether it is known what the target's records say, be it that there are none.
    pub records_read: bool,
    /// `None` until the records have been read: a process that has just been started must not say what was so once.
    pub routing: Option<Routing>,
    /// To the switch, to the way back and to the cleanup, as they were last read in this phase; none where the command is not possible.
    pub gates: Vec<(Command, Vec<Gate>)>,
    /// While changes flow from PostgreSQL to SQLite.
    pub reverse: Option<Reverse>,
    /// Changes that were brought from PostgreSQL to SQLite since this process began.
    pub written_back: u64,
    /// The pause that a switch is expected to cause, and that the last one did.
    pub pause_expected: Option<Duration>,
    pub pause_measured: Option<Duration>,
    /// What became of the last orders, the newest first. Several may be answered before whoever gave one of them looks.
    pub answers: Vec<Answer>,
}

/// What the application is told: where it writes. The epoch moves whenever that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    pub epoch: i64,
    pub writes: Writes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    Sqlite,
    /// They go over at this moment: whoever writes waits.
    Paused,
    Postgres,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Reverse {
    /// Changed keys that wait to be written back.
    pub changes: u64,
    /// When the oldest of them was changed.
    pub oldest: Option<Instant>,
    /// Whether the canary has made its way round.
    pub canary: bool,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The order's number.
    pub number: u64,
    /// Done, or refused and why.
    pub refused: Option<Reason>,
}

/// More than orders may wait at once.
const ANSWERS_MAX: usize = 32;

impl Standing {
    pub fn tell(&mut self, answer: Answer) {
        self.answers.truncate(ANSWERS_MAX - 1);
        self.answers.insert(0, answer);
    }

    /// What was read for the phase before says nothing of this one.
    pub fn enter(&mut self, phase: Phase) {
        self.gates.clear();
        match phase {
            Phase::Setup | Phase::Backfill | Phase::Validate => {}
            Phase::DualWrite => self.reverse = None,
            // What the canary found was before anything was written there.
            Phase::Switch | Phase::Cleanup | Phase::Done => {
                (self.reverse, self.pause_expected) = (None, None)
            }
        }
    }
}

impl Routing {
    /// Of a migration whose writes were never moved.
    pub const FIRST: Routing = Routing { epoch: 1, writes: Writes::Sqlite };
}

impl Writes {
    pub fn word(self) -> &'static str {
        match self {
            Writes::Sqlite => "sqlite",
            Writes::Paused => "paused",
            Writes::Postgres => "postgres",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_canary_found_says_nothing_of_what_is_written_after_the_switch() {
        let reverse = || Some(Reverse { canary: true, ..Reverse::default() });
        let mut standing = Standing { reverse: reverse(), ..Standing::default() };
        standing.enter(Phase::Validate);
        assert!(standing.reverse.is_some_and(|reverse| reverse.canary));
        for phase in [Phase::Switch, Phase::DualWrite, Phase::Done] {
            standing.reverse = reverse();
            standing.enter(phase);
            assert!(standing.reverse.is_none(), "{}", phase.word());
        }
    }
}
