//! How often PostgreSQL is asked what it has changed. It tells nobody of a commit by itself that would not slow all commits down.

use std::thread;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// While one change comes right after the other, and most questions find one.
const DENSE: Duration = Duration::from_micros(100);
const DENSE_WITHIN: Duration = Duration::from_millis(2);
/// While changes come one after the other.
const BUSY: Duration = Duration::from_millis(1);
const BUSY_FOR: Duration = Duration::from_millis(100);
const LATELY: Duration = Duration::from_millis(10);
/// Where nothing has been written for a while.
const IDLE: Duration = Duration::from_millis(50);
const IDLE_AFTER: Duration = Duration::from_secs(2);

pub struct Asking {
    /// When the last batch was found.
    found: Instant,
    /// How long after the one before.
    after: Duration,
}

impl Asking {
    pub fn begin(now: Instant) -> Asking {
        Asking { found: now, after: Duration::MAX }
    }

    pub fn found(&self) -> Instant {
        self.found
    }

    pub fn has_found(&mut self, now: Instant) {
        self.after = now.saturating_duration_since(self.found);
        self.found = now;
    }

    /// Until the next question. The runtime's clock ticks once a millisecond: what is hardly longer than that, a thread sleeps.
    pub async fn pause(&self) {
        match pause_after(self.found.elapsed(), self.after) {
            short if short <= BUSY => {
                let _slept = spawn_blocking(move || thread::sleep(short)).await;
            }
            long => sleep(long).await,
        }
    }
}

/// `nothing`: for how long nothing was found, `after` how long nothing had been found before that.
fn pause_after(nothing: Duration, after: Duration) -> Duration {
    match nothing.max(after) {
        dense if dense < DENSE_WITHIN => DENSE,
        _ if nothing < BUSY_FOR => BUSY,
        _ if nothing < IDLE_AFTER => LATELY,
        _ => IDLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_changes_are_asked_for_often_and_rare_ones_seldom() {
        let ms = Duration::from_millis;
        assert_eq!(pause_after(ms(1), ms(1)), DENSE);
        assert_eq!(pause_after(ms(3), ms(1)), BUSY, "the next one is late");
        assert_eq!(pause_after(ms(1), ms(10)), BUSY, "one is not a stream");
        assert_eq!(pause_after(ms(500), ms(1)), LATELY);
        assert_eq!(pause_after(ms(5_000), Duration::MAX), IDLE);
    }
}
