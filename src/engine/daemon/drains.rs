//! What the last batches took: by it a pause is foretold.

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
