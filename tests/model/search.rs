//! Every world that the protocol can reach within the bounds, breadth first, so that the way to a violation is as short as any. It
//! looks at each world, and at the end whether a settled one can be reached from all of them.

use crate::bug::Bug;
use crate::property::{settled, violation};
use crate::protocol::{Bounds, Kind, Step, steps};
use crate::world::World;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

#[derive(Debug)]
pub struct Searched {
    pub worlds: usize,
    pub steps: usize,
    pub settled: usize,
    /// How often the writes had gone over in worlds that were settled.
    pub crossings: BTreeSet<u8>,
}

/// What is broken, and the steps that lead there.
pub struct Violation {
    pub what: &'static str,
    pub way: Vec<String>,
    pub world: World,
}

pub const STUCK: &str = "no daemon can settle it";
const WORLDS_MAX: usize = 5_000_000;

struct Known {
    worlds: Vec<World>,
    numbers: HashMap<World, usize>,
    /// By world: from which one it was first reached, and how.
    came: Vec<Option<(usize, String)>>,
    /// By world: those from which a daemon's own step leads here.
    before: Vec<Vec<usize>>,
}

pub fn search(bounds: Bounds, bug: Option<Bug>) -> Result<Searched, Violation> {
    let mut known =
        Known { worlds: Vec::new(), numbers: HashMap::new(), came: Vec::new(), before: Vec::new() };
    known.number(World::first(), || None);
    let (mut at, mut taken) = (0, 0);
    while at < known.worlds.len() {
        assert!(known.worlds.len() < WORLDS_MAX, "the bounds do not bound it");
        let world = known.worlds[at].clone();
        if let Some(what) = violation(&world) {
            return Err(known.violation(what, at));
        }
        for step in steps(&world, bounds, bug) {
            let Step { kind, who, what, to } = step;
            let told = || Some((at, who.map_or(what.to_owned(), |who| format!("{who:?} {what}"))));
            let next = known.number(to, told);
            if kind == Kind::Daemon {
                known.before[next].push(at);
            }
            taken += 1;
        }
        at += 1;
    }
    let settled = known.all_settle()?;
    let crossings = settled.iter().map(|at| known.worlds[*at].sqlite.epoch).collect();
    Ok(Searched { worlds: known.worlds.len(), steps: taken, settled: settled.len(), crossings })
}

impl Known {
    fn number(&mut self, world: World, came: impl FnOnce() -> Option<(usize, String)>) -> usize {
        if let Some(number) = self.numbers.get(&world) {
            return *number;
        }
        let number = self.worlds.len();
        self.worlds.push(world.clone());
        self.numbers.insert(world, number);
        self.came.push(came());
        self.before.push(Vec::new());
        number
    }

    /// From every world a settled one is reached by what daemons and PostgreSQL do of themselves, without an order and without another
    /// fault; tells which are settled.
    fn all_settle(&self) -> Result<Vec<usize>, Violation> {
        let ends: Vec<usize> = (0..self.worlds.len()).filter(|at| settled(&self.worlds[*at])).collect();
        let mut open = ends.clone();
        let mut settling = vec![false; self.worlds.len()];
        open.iter().for_each(|at| settling[*at] = true);
        while let Some(at) = open.pop() {
            for before in &self.before[at] {
                if !std::mem::replace(&mut settling[*before], true) {
                    open.push(*before);
                }
            }
        }
        match settling.iter().position(|settles| !settles) {
            None => Ok(ends),
            Some(stuck) => Err(self.violation(STUCK, stuck)),
        }
    }

    fn violation(&self, what: &'static str, at: usize) -> Violation {
        let mut way = Vec::new();
        let mut next = &self.came[at];
        while let Some((before, told)) = next {
            way.push(told.clone());
            next = &self.came[*before];
        }
        way.reverse();
        Violation { what, way, world: self.worlds[at].clone() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}, after {} steps:", self.what, self.way.len())?;
        self.way.iter().try_for_each(|step| writeln!(out, "  {step}"))?;
        write!(out, "{:#?}", self.world)
    }
}
