//! How long the application's writes are expected to wait while they are moved: foretold from what was measured lately, so that the
//! operator sees it before he gives the command. Pure.

use std::time::Duration;

/// What is done between the fence and the decision, as far as it takes time.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// What the last batches took, from the wake to the commit, if they were lately.
    pub drains: &'a [Duration],
    /// Of an empty statement to the target and back.
    pub round_trip: Duration,
    /// What making the target ready took when it was rehearsed: constraints, sequences, captures and guards.
    pub prepared: Duration,
}

/// What is expected, by what it is spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    drain: Duration,
    distance: Duration,
    prepared: Duration,
}

/// What waits for an answer of the target between the fence and the decision, one after the other: what is rehearsed, and the rest (the last
/// comparison, the records; the last batch is told by those before it). Counted with a target 60 ms away.
const REHEARSED: u32 = 2;
const ROUND_TRIPS: u32 = 7;
/// The commits of both sides, each with its write to the disk.
const COMMITS: Duration = Duration::from_millis(10);

pub fn predicted_pause(work: &Work<'_>) -> Pause {
    let prepared = work.prepared.saturating_sub(work.round_trip * REHEARSED);
    Pause { drain: drain(work.drains), distance: work.round_trip * ROUND_TRIPS, prepared }
}

impl Pause {
    pub fn total(self) -> Duration {
        self.drain + self.distance + self.prepared + COMMITS
    }

    /// What takes the most of it, and what can be done about that besides giving it its time by these settings.
    pub fn remedy(self, settings: &str) -> String {
        let Pause { drain, distance, prepared } = self;
        if prepared > drain.max(distance) {
            let millis = prepared.as_millis();
            return format!(
                "{millis} ms of it is what PostgreSQL is given for each table then (constraints, triggers, sequences), however few the \
                 writes are: raise {settings}, or wait until PostgreSQL has less to do."
            );
        }
        if distance > drain {
            let millis = distance.as_millis();
            return format!(
                "{millis} ms of it is the way to PostgreSQL and back, {ROUND_TRIPS} times: raise {settings}, or run liteferry nearer to it."
            );
        }
        format!("Wait until the writes are fewer, or raise {settings}.")
    }
}

/// Three of four drains are no longer. One batch is drained under the fence; without any, the other parts stand alone.
fn drain(drains: &[Duration]) -> Duration {
    let mut sorted = drains.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * 3).div_ceil(4);
    rank.checked_sub(1).map_or(Duration::ZERO, |at| sorted[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const REST: Work<'_> = Work { drains: &[], round_trip: Duration::ZERO, prepared: Duration::ZERO };

    #[test]
    fn a_drain_is_taken_to_last_as_three_of_four_did() {
        for (drains, expected) in [
            (&[][..], Duration::ZERO),
            (&[7 * MS], 7 * MS),
            (&[9 * MS, MS], 9 * MS),
            (&[MS, 900 * MS, 3 * MS, 2 * MS], 3 * MS),
            (&[8 * MS, 7 * MS, 6 * MS, 5 * MS, 4 * MS, 3 * MS, 2 * MS, MS], 6 * MS),
        ] {
            assert_eq!(drain(drains), expected, "{drains:?}");
            assert_eq!(predicted_pause(&Work { drains, ..REST }).total(), COMMITS + expected);
        }
    }

    #[test]
    fn everything_that_has_to_be_done_takes_time() {
        let least = predicted_pause(&REST).total();
        for (work, more) in [
            (Work { round_trip: 20 * MS, ..REST }, 140 * MS),
            (Work { prepared: 30 * MS, ..REST }, 30 * MS),
            (Work { round_trip: 2 * MS, prepared: 30 * MS, ..REST }, (14 + 26) * MS),
        ] {
            assert_eq!(predicted_pause(&work).total(), least + more, "{work:?}");
        }
    }

    #[test]
    fn what_takes_the_most_of_it_is_said() {
        let work = Work { drains: &[70 * MS], round_trip: 10 * MS, prepared: (20 + 70) * MS };
        for (work, says) in [
            (work, "Wait until the writes are fewer, or raise X."),
            (
                Work { prepared: (20 + 71) * MS, ..work },
                "71 ms of it is what PostgreSQL is given for each table",
            ),
            (
                Work { round_trip: 11 * MS, ..work },
                "77 ms of it is the way to PostgreSQL and back, 7 times: raise X",
            ),
        ] {
            let told = predicted_pause(&work).remedy("X");
            assert!(told.starts_with(says), "{told}");
        }
    }
}
