//! How much of a backlog a batch takes: less after PostgreSQL has broken one off that a smaller one might have got through with, and in
//! time as much as before.
//!
//! It outlives the attempts, each of which a fault ends. It never stops: one change is always taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of one direction.
#[derive(Clone, Debug, Default)]
pub struct Bite(Arc<Mutex<Size>>);

#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Nothing where as much is taken as the settings say.
    reduced: Option<u64>,
    /// Changes that the batch at hand takes, as well as is known.
    at_hand: u64,
    well: u32,
}

/// So many batches must have got through before twice as much is tried.
const WELL_MIN: u32 = 8;

impl Bite {
    /// How many changes to take, of those that may be.
    pub fn of(&self, most: u64) -> u64 {
        self.size().reduced.map_or(most, |reduced| reduced.min(most))
    }

    /// So many are there to be taken: it is they that are halved, if it comes to that.
    pub fn takes(&self, changes: u64) {
        self.size().at_hand = changes;
    }

    pub fn went_well(&self) {
        let mut size = self.size();
        let Some(reduced) = size.reduced else { return };
        size.well += 1;
        if size.well >= WELL_MIN {
            (size.reduced, size.well) = (reduced.checked_mul(2), 0);
        }
    }

    pub fn was_too_much(&self) {
        let mut size = self.size();
        // What was broken off before a batch was at hand was none of its doing.
        if size.at_hand > 0 {
            (size.reduced, size.well) = (Some((size.at_hand / 2).max(1)), 0);
            size.at_hand = 0;
        }
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_halved_and_what_goes_well_grows_again() {
        let bite = Bite::default();
        let most = 1_000;
        assert_eq!(bite.of(most), most);
        bite.was_too_much();
        assert_eq!(bite.of(most), most, "nothing was at hand");
        for expected in [5, 2, 1, 1] {
            bite.takes(bite.of(most).min(10));
            bite.was_too_much();
            assert_eq!(bite.of(most), expected);
        }
        let mut sizes = Vec::new();
        for _ in 0..8 * 11 {
            bite.went_well();
            if sizes.last() != Some(&bite.of(most)) {
                sizes.push(bite.of(most));
            }
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000]);
    }
}
