//! What must hold in every world, and which worlds are the ends.

use crate::world::{At, Daemon, Guard, World};
use liteferry::phase::Phase;

pub const BOTH: &str = "both sides accept writes";
pub const LOST: &str = "a side that accepts writes has not every acknowledged one";
pub const ILLEGAL: &str = "the record is in no legal state";
pub const ASTRAY: &str = "an idle owner's record does not say who takes the writes";

pub fn violation(world: &World) -> Option<&'static str> {
    let (sqlite, postgres) = (&world.sqlite, &world.postgres);
    let (on_sqlite, on_postgres) = (!sqlite.guarded, postgres.guard == Guard::Off);
    let lacks = |rows: u8| world.acknowledged & !rows != 0;
    if on_sqlite && on_postgres {
        Some(BOTH)
    } else if (on_sqlite && lacks(sqlite.rows)) || (on_postgres && lacks(postgres.rows)) {
        Some(LOST)
    } else if !postgres.state.is_legal() {
        Some(ILLEGAL)
    } else if owner_is_idle(world) && !agrees(world) {
        Some(ASTRAY)
    } else {
        None
    }
}

/// A daemon has it, nothing is under way, and exactly one side takes the writes: the one that the record names.
pub fn settled(world: &World) -> bool {
    owner_is_idle(world) && agrees(world) && world.postgres.open.is_none() && world.sqlite.lock.is_none()
}

fn owner_is_idle(world: &World) -> bool {
    let Some(owner) = world.postgres.owner else { return false };
    *world.clone().daemon(owner) == Daemon::Up(At::Idle, world.postgres.state)
}

fn agrees(world: &World) -> bool {
    let (sqlite, postgres) = (&world.sqlite, &world.postgres);
    let switched = postgres.state.phase == Phase::Switch;
    sqlite.guarded == switched
        && (postgres.guard == Guard::Off) == switched
        && sqlite.epoch == postgres.epoch
        && postgres.state.crossing.is_none()
}
