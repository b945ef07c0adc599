//! How many batches may be under way at once. Where the answer to one takes long because PostgreSQL is far, more are sent meanwhile; where it
//! takes long because PostgreSQL is busy, what waits is better sent together later.

use std::time::Duration;

pub struct Window {
    /// What an answer takes that waits for nothing but the way and its own work.
    usual: Duration,
    /// So many may be under way.
    size: usize,
}

/// An answer from next door is there before the next batch is read.
const FAR: Duration = Duration::from_micros(900);
const SIZE_MAX: usize = 64;
/// Of what an answer takes longer than usual, such a part is taken for usual from now on.
const ADAPTS: u32 = 256;

impl Window {
    pub fn new() -> Window {
        Window { usual: Duration::ZERO, size: 1 }
    }

    /// Whether another batch is sent behind so many.
    pub fn has_room(&self, under_way: usize) -> bool {
        under_way < if self.usual < FAR { 1 } else { self.size }
    }

    /// An answer took so long, to the oldest of so many batches.
    pub fn answered(&mut self, took: Duration, under_way: usize) {
        self.usual = match took.checked_sub(self.usual) {
            Some(longer) if self.usual > Duration::ZERO => self.usual + longer / ADAPTS,
            Some(_) | None => took,
        };
        if took > self.usual * 3 / 2 {
            self.size = (self.size / 2).max(1);
        } else if under_way >= self.size {
            self.size = (self.size + 1).min(SIZE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// Keeps as many under way as it may.
    fn after(window: &mut Window, answers: u32, took: Duration) -> usize {
        let full = |window: &Window| (1..).find(|under_way| !window.has_room(*under_way)).unwrap_or(1);
        for _ in 0..answers {
            window.answered(took, full(window));
        }
        full(window)
    }

    #[test]
    fn next_door_one_batch_is_under_way() {
        let mut window = Window::new();
        assert_eq!(after(&mut window, 1_000, MILLI / 3), 1);
        window.answered(20 * MILLI, 1);
        assert_eq!(after(&mut window, 100, MILLI / 3), 1, "it was busy for a moment");
    }

    #[test]
    fn far_away_there_are_more_for_as_long_as_answers_are_on_time() {
        let mut window = Window::new();
        assert!(window.has_room(0) && !window.has_room(1), "nothing is known yet");
        assert_eq!(after(&mut window, 5, 5 * MILLI), 6);
        assert_eq!(after(&mut window, 2, 11 * MILLI), 1, "they wait for each other");
        assert_eq!(after(&mut window, 4, 5 * MILLI), 5);
        assert_eq!(after(&mut window, 1_000, 5 * MILLI), SIZE_MAX);
        assert!(window.has_room(0));
    }

    #[test]
    fn what_is_not_needed_is_not_asked_for() {
        let mut window = Window::new();
        (0..100).for_each(|_| window.answered(5 * MILLI, 1));
        assert!(window.has_room(1) && !window.has_room(2));
    }

    #[test]
    fn who_moves_away_is_far_in_time() {
        let mut window = Window::new();
        after(&mut window, 10, MILLI / 3);
        assert!(after(&mut window, 1_000, 5 * MILLI) > 8);
    }
}
