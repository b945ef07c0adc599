//! What only a closer look at both sides tells the gates of the switch, kept from one such look to the next: it costs too much to be taken
//! again and again.

use crate::phase::gate::{BadSequence, Readings};
use std::time::{Duration, Instant};

/// What the last one found.
#[derive(Clone, Debug, Default)]
pub struct Closer {
    pub at: Option<Instant>,
    pub sequences: Option<Vec<BadSequence>>,
    pub sequences_left: Vec<String>,
    pub uncaptured: Option<Vec<String>>,
    pub unwritable: Option<Vec<String>>,
    pub round_trip: Duration,
    pub prepared: Duration,
}

/// An order is refused by what is shown: where that is shut, or nobody has looked, it must not stay so by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Closer {
    /// A pause that was measured in a bad moment shuts its gate, and only a look opens it again; so does a canary that got lost.
    pub fn is_due(&self, readings: &Readings) -> bool {
        let open = readings.reverse.canary
            && readings.pause_expected.total() <= readings.limits.pause_budget
            && self.sequences.as_ref().is_some_and(Vec::is_empty)
            && self.uncaptured.as_ref().is_some_and(Vec::is_empty)
            && self.unwritable.as_ref().is_some_and(Vec::is_empty);
        match self.at {
            None => true,
            Some(at) => !open && at.elapsed() >= LOOK_AGAIN,
        }
    }
}
