//! How the following paces itself: when a pause is long enough to leave the source alone, when it is looked into all the same, and when
//! applied changes may be forgotten.

use super::lookout::Lookout;
use crate::journal::store::Store;
use crate::link::Captured;
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::postgres::apply::PgApplier;
use crate::sqlite::changes::SqliteChanges;
use crate::sqlite::wake::Look;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long nothing has been written.
pub struct Quiet {
    since: Instant,
}

impl Quiet {
    /// File systems stamp files by a clock of some milliseconds: two writes within one tick look like one.
    pub const CLOCK_TICK: Duration = Duration::from_millis(20);
    /// An application that connects for each request must not find us opening and closing beside it all the time.
    const LONG: Duration = Duration::from_millis(700);

    pub fn new() -> Quiet {
        Quiet { since: Instant::now() }
    }

    pub fn broken(&mut self) {
        self.since = Instant::now();
    }

    pub fn lasts(&self) -> bool {
        self.since.elapsed() >= Quiet::LONG
    }
}

/// A commit may show long after it was written: the disk stands between. No file looks otherwise when it does, so that a source which was
/// left alone is looked into some more times after its files have changed last.
#[derive(Default)]
pub struct Late {
    settled: Option<(Look, Instant)>,
    looked: usize,
}

impl Late {
    const LOOKS_AFTER: [Duration; 6] = [
        Duration::from_millis(60),
        Duration::from_millis(250),
        Duration::from_secs(1),
        Duration::from_secs(4),
        Duration::from_secs(15),
        Duration::from_secs(60),
    ];

    /// How the source looks that is left alone, if it is.
    pub fn settle(&mut self, look: Option<Look>, now: Instant) {
        let Some(look) = look else { return };
        if self.settled.is_none_or(|(settled, _)| settled != look) {
            *self = Late { settled: Some((look, now)), looked: 0 };
        }
    }

    /// Whether it is to be looked into; each time once.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let (Some((_, since)), Some(after)) = (self.settled, Late::LOOKS_AFTER.get(self.looked)) else {
            return false;
        };
        let due = now.duration_since(since) >= *after;
        self.looked += usize::from(due);
        due
    }
}

/// Beside a writer at full speed, a batch for every few of its changes takes disk and processor from it and gains nobody anything. Where no
/// batch had to wait for changes and they come thick and fast, the next ones wait until some more have come.
pub struct Throng {
    /// Batches in a row that found their changes waiting.
    run: u32,
    changes: u128,
    since: Instant,
    landed: Instant,
    rests_until: Option<Instant>,
}

impl Throng {
    /// So long between a batch and the next, somebody waited for the changes.
    const BREATH: Duration = Duration::from_micros(100);
    const RUN: u32 = 16;
    /// A thousand transactions a second are followed one by one, though the machine be busy.
    const CHANGES_PER_SECOND: u128 = 2_500;
    const REST: Duration = Duration::from_millis(4);
    /// After which it is seen whether there still is a throng.
    const RESTS_FOR: Duration = Duration::from_millis(200);

    pub fn new(now: Instant) -> Throng {
        Throng { run: 0, changes: 0, since: now, landed: now, rests_until: None }
    }

    /// A batch that was begun then is applied now.
    pub fn landed(&mut self, began: Instant, changes: u64, now: Instant) {
        if self.run == 0 || began.saturating_duration_since(self.landed) > Throng::BREATH {
            (self.run, self.changes, self.since) = (0, 0, began);
        }
        self.run += 1;
        self.changes += u128::from(changes);
        self.landed = now;
        if self.run >= Throng::RUN {
            let micros = now.saturating_duration_since(self.since).as_micros();
            if self.changes * 1_000_000 >= micros * Throng::CHANGES_PER_SECOND {
                self.rests_until = Some(now + Throng::RESTS_FOR);
            }
            self.run = 0;
        }
    }

    /// How long the next batch waits.
    pub fn rest(&self, now: Instant) -> Option<Duration> {
        self.rests_until.filter(|until| now < *until).map(|_| Throng::REST)
    }
}

/// When what was looked at last.
pub struct Looks {
    pub target: Instant,
    pub ledger: Instant,
    /// Nothing before the first look.
    pub gates: Option<Instant>,
    pub lookout: Lookout,
}

impl Looks {
    pub fn new() -> Looks {
        let now = Instant::now();
        Looks { target: now, ledger: now, gates: None, lookout: Lookout::new(now) }
    }

    /// When the next look is due that is worth the while between two flights.
    pub fn next(&self) -> Instant {
        self.gates.map_or_else(Instant::now, |looked| self.lookout.due().min(looked + SHOW_GATES))
    }
}

/// A target that fell back to an earlier state tells nobody: where nothing is written, it is asked this often where it stands.
pub const LOOK_AT_TARGET: Duration = Duration::from_secs(10);
pub const SHOW_GATES: Duration = Duration::from_secs(1);
/// The ledger is counted whole.
pub const LOOK_AT_LEDGER: Duration = Duration::from_secs(30);

/// Lets applied changes go once they are older than the retention: a target that lost commits in a failover is given them again
/// until then.
pub struct Pruning {
    retention: Duration,
    /// Positions with the time they were applied by, oldest first.
    marks: VecDeque<(Instant, Position)>,
    unrecorded: Option<Position>,
    /// What is old enough to go, up to here.
    goal: Option<i64>,
    last: Instant,
}

/// So many marks make the retention exact to a part of itself.
const MARKS_MAX: u32 = 1_000;
const MARK_EVERY_MIN: Duration = Duration::from_secs(1);
/// Between two bites: the following waits while one is taken.
const BITE_EVERY: Duration = Duration::from_millis(200);

impl Pruning {
    /// `marks`: what was noted before, as the record has it for the history of `at`.
    pub fn resumed(retention: Duration, at: Position, marks: Vec<(Duration, i64)>) -> Pruning {
        let now = Instant::now();
        let mark = |(age, seq)| (now.checked_sub(age).unwrap_or(now), Position { seq, ..at });
        // Those beyond it a target has lost in a failover.
        let known = marks.into_iter().filter(|(_, seq)| *seq <= at.seq).map(mark);
        Pruning { retention, marks: known.collect(), unrecorded: None, goal: None, last: now }
    }

    pub fn note(&mut self, at: Position) {
        let every = (self.retention / MARKS_MAX).max(MARK_EVERY_MIN);
        if self.marks.back().is_none_or(|(marked, _)| marked.elapsed() >= every) {
            self.marks.push_back((Instant::now(), at));
            self.unrecorded = Some(at);
        }
    }

    /// The newest mark that has become old enough since it was last asked for.
    fn passed(&mut self) -> Option<Position> {
        let mut passed = None;
        while self.marks.front().is_some_and(|(marked, _)| marked.elapsed() >= self.retention) {
            passed = self.marks.pop_front().map(|(_, at)| at);
        }
        passed
    }

    /// When the next bite is due, where there is something to forget.
    pub fn next(&self) -> Option<Instant> {
        self.goal.map(|_| self.last + BITE_EVERY)
    }

    /// Forgets a little of what is old enough, the last applied change apart. The application's writers come first.
    pub async fn prune(
        &mut self,
        changes: &SqliteChanges,
        applier: &mut PgApplier,
        (store, migration): (&Store, i64),
    ) -> Result<(), Fault> {
        if let Some(at) = self.unrecorded.take() {
            store.mark(migration, at).await?;
        }
        if let Some(passed) = self.passed() {
            applier.settle().await?;
            let goal = passed.seq - 1;
            // The mark itself stays until another is passed: whoever dies before all of it is forgotten goes on with it.
            store.unmark(migration, Position { seq: goal, ..passed }).await?;
            self.goal = Some(goal);
        }
        let Some(goal) = self.goal.filter(|_| self.last.elapsed() >= BITE_EVERY) else { return Ok(()) };
        self.last = Instant::now();
        if changes.known().is_some_and(|known| known.newest.seq - known.log_rows >= goal) {
            self.goal = None;
            return Ok(());
        }
        match changes.forget(goal).await {
            Err(fault) if fault.class == FaultClass::Transient => {
                tracing::debug!(code = fault.code, "pruning waits for a quieter moment");
                Ok(())
            }
            pruned => pruned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_goes_on_where_it_was() {
        let at = |seq| Position { epoch: 2, seq, nonce: 0 };
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let marks = vec![(hours(30), 10), (hours(25), 20), (hours(23), 30), (hours(1), 40), (hours(26), 90)];
        let mut pruning = Pruning::resumed(hours(24), at(50), marks);
        assert_eq!(pruning.passed().map(|at| at.seq), Some(20));
        assert_eq!(pruning.passed(), None);
        pruning.note(at(60));
        assert_eq!(pruning.unrecorded.take(), Some(at(60)), "the last is an hour old");
        pruning.note(at(61));
        assert_eq!(pruning.unrecorded, None, "a mark was made just now");
        assert_eq!(pruning.marks.len(), 3);
        assert_eq!(pruning.next(), None, "nothing is to go yet");
        pruning.goal = Some(19);
        assert_eq!(pruning.next(), Some(pruning.last + BITE_EVERY));
    }

    #[test]
    fn a_source_that_was_left_alone_is_looked_into_again_and_again_and_then_no_more() {
        let (began, look) = (Instant::now(), Look::default());
        let mut late = Late::default();
        assert!(!late.is_due(began), "it was never left alone");
        late.settle(Some(look), began);
        let due_at = |late: &mut Late, millis: u64| late.is_due(began + Duration::from_millis(millis));
        for (millis, due) in
            [(59, false), (60, true), (61, false), (250, true), (5_000, true), (5_000, true), (5_000, false)]
        {
            // What is left alone again has not changed.
            late.settle(Some(look), began + Duration::from_millis(millis));
            assert_eq!(due_at(&mut late, millis), due, "{millis}");
        }
        assert!(due_at(&mut late, 900_000) && due_at(&mut late, 900_000) && !due_at(&mut late, 900_000));
    }
    const MICRO: Duration = Duration::from_micros(1);

    /// Whether there are rests after so many batches of 600 µs, each with so many changes and after such a wait.
    fn rests(batches: u32, changes: u64, wait: Duration) -> bool {
        let mut now = Instant::now();
        let mut throng = Throng::new(now);
        for _ in 0..batches {
            let began = now + wait;
            now = began + 600 * MICRO;
            throng.landed(began, changes, now);
        }
        throng.rest(now).is_some()
    }

    #[test]
    fn a_writer_at_full_speed_is_let_alone_between_batches() {
        assert!(rests(16, 2, Duration::ZERO));
        assert!(!rests(15, 2, Duration::ZERO), "a burst is followed at once");
        assert!(!rests(1_000, 2, 200 * MICRO), "each batch waited for its changes");
        assert!(!rests(1_000, 1, 10 * MICRO), "the machine is slow, and not the writer fast");
    }

    #[test]
    fn it_is_tried_again_and_again_whether_there_still_is_a_throng() {
        let began = Instant::now();
        let mut throng = Throng::new(began);
        (0..Throng::RUN).for_each(|_| throng.landed(began, 10, began + MICRO));
        assert_eq!(throng.rest(began + Throng::RESTS_FOR), Some(Throng::REST));
        let over = began + MICRO + Throng::RESTS_FOR;
        assert_eq!(throng.rest(over), None);
        (0..Throng::RUN).for_each(|_| throng.landed(over, 10, over + MICRO));
        assert_eq!(throng.rest(over), Some(Throng::REST));
    }
}
