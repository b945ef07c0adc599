//! The protocol of switch and rollback as a small model, and all of it: every order in which the application, two daemons, SQLite and
//! PostgreSQL can take their steps, with a crash between any two. Beside it two operators at odds, at random. The program is not run
//! here; the machine of phases is its own.

mod bug;
mod operators;
mod orders;
mod property;
mod protocol;
mod search;
mod world;

use bug::Bug;
use property::{ASTRAY, BOTH, LOST};
use protocol::Bounds;
use search::{STUCK, search};
use std::collections::BTreeSet;

/// There and back, twice, with a write for every time but one.
const BOUNDS: Bounds = Bounds { writes: 3, crossings: 4 };

#[test]
fn whatever_crashes_one_side_takes_the_writes_and_none_is_lost() {
    let searched = search(BOUNDS, None).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{searched:?}");
    // A model that cannot move proves nothing.
    assert!(
        searched.worlds > 100_000 && searched.steps > searched.worlds && searched.settled > 1_000,
        "{searched:?}"
    );
    assert_eq!(searched.crossings, (0..=BOUNDS.crossings).collect());
}

#[test]
fn every_planted_mistake_is_found() {
    let mut broken = BTreeSet::new();
    for bug in Bug::ALL {
        let Err(violation) = search(BOUNDS, Some(bug)) else { panic!("{bug:?} is not found") };
        println!("{bug:?}: {}, after {} steps", violation.what, violation.way.len());
        broken.insert(violation.what);
    }
    assert_eq!(broken, BTreeSet::from([ASTRAY, BOTH, LOST, STUCK]));
}
