//! One simulation: who takes the next turn, and what goes wrong between two turns. A pure function of its seed.

use crate::bug::Bug;
use crate::daemon::live;
use crate::dice::Dice;
use crate::rows::image_of;
use crate::target::{End, Shows};
use crate::world::{State, World};
use liteferry::flow::backfill::OnMisfit;
use liteferry::model::fault::{Fault, FaultClass};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

struct Daemon {
    owner: u64,
    /// The source went back under it: what it has read itself may be gone, even if the target holds none of it.
    outlived_a_source: bool,
    life: Pin<Box<dyn Future<Output = Result<Infallible, Fault>> + Send>>,
}

pub struct Simulation {
    world: World,
    dice: Dice,
    daemon: Option<Daemon>,
    /// Daemons that were thought dead, each with what it knew.
    zombies: Vec<Daemon>,
    owners: u64,
    /// Lives that a fault ended although nothing was in their way.
    stumbles: u64,
    halted: bool,
}

/// What happened how often, or what must never have happened.
pub type Outcome = Result<BTreeMap<&'static str, u64>, String>;

const TURNS: u64 = 700;
const ZOMBIES_MAX: usize = 2;
/// Turns of a daemon without faults within which everything is applied.
const DRAIN_TURNS_MAX: u64 = 20_000;
/// What went wrong before may still end a life or two.
const STUMBLES_MAX: u64 = 2;
/// A target that holds everything is left alone for so many turns more, in which nothing may change.
const IDLE_TURNS: u64 = 30;

pub fn simulate(seed: u64, bug: Option<Bug>) -> Outcome {
    let world = World::new(seed, bug);
    {
        let state = &mut *world.look();
        state.oracle.on_misfit = state.shape.on_misfit;
    }
    // Another chance than that of the sides, for the same seed.
    let dice = Dice::new(!seed);
    let mut simulation =
        Simulation { world, dice, daemon: None, zombies: Vec::new(), owners: 0, stumbles: 0, halted: false };
    simulation.run();
    let state = simulation.world.look();
    match state.oracle.violation() {
        Some(violation) => Err(violation),
        None => Ok(state.oracle.seen.clone()),
    }
}

impl Simulation {
    fn run(&mut self) {
        let turns = TURNS / 4 + self.dice.below(TURNS);
        for _ in 0..turns {
            self.turn();
            if self.is_over() {
                return;
            }
        }
        self.drain();
    }

    fn is_over(&self) -> bool {
        self.halted || self.world.look().oracle.violation().is_some()
    }

    fn turn(&mut self) {
        let writes = self.world.look().shape.writes;
        match self.dice.below(1000) {
            0..500 => self.drive_daemon(),
            500..800 => self.drive_threads(),
            800..860 => self.drive_zombie(),
            860..960 if self.dice.chance(writes) => self.write(),
            860..960 => {}
            960..978 => self.go_on_by_itself(),
            978..985 => self.crash(),
            985..988 => self.freeze(),
            988..991 => self.cut_power(),
            991..994 => self.fail_over(),
            994..997 => self.restore(),
            _ => self.burst(),
        }
    }

    fn drive_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            self.owners += 1;
            let life = Box::pin(live(self.world.clone(), self.owners));
            self.daemon = Some(Daemon { owner: self.owners, outlived_a_source: false, life });
            return;
        };
        match poll(&mut daemon) {
            None => self.daemon = Some(daemon),
            Some(fault) => self.ended(&daemon, &fault),
        }
    }

    fn drive_zombie(&mut self) {
        if self.zombies.is_empty() {
            return;
        }
        let place = self.dice.index(self.zombies.len());
        // Whatever ended a zombie, nobody starts it again.
        if poll(&mut self.zombies[place]).is_some() {
            self.zombies.swap_remove(place);
        }
    }

    fn drive_threads(&mut self) {
        for mut thread in self.world.take_threads() {
            if thread.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                self.world.spawn(thread);
            }
        }
    }

    fn write(&mut self) {
        let state = &mut *self.world.look();
        state.source.turn(&mut self.dice, state.shape.values, &mut state.oracle);
    }

    /// A backlog, all at once.
    fn burst(&mut self) {
        for _ in 0..self.dice.below(12) {
            self.write();
        }
    }

    /// What the sides do without being asked.
    fn go_on_by_itself(&mut self) {
        let state = &mut *self.world.look();
        if self.dice.chance(50) {
            state.source.harden_some(&mut self.dice, &mut state.oracle);
        }
        for id in state.target.in_doubt() {
            let end = if self.dice.chance(50) { End::Landed } else { End::Lost };
            state.target.end(id, end, state.bug, &mut state.oracle);
        }
    }

    fn crash(&mut self) {
        if self.daemon.take().is_some() {
            self.saw("a crash");
        }
    }

    /// The daemon stops in the middle of something, another takes over, and then it goes on.
    fn freeze(&mut self) {
        if self.zombies.len() < ZOMBIES_MAX
            && let Some(daemon) = self.daemon.take()
        {
            self.saw("a zombie");
            self.zombies.push(daemon);
        }
    }

    /// Source and daemons stand on one machine.
    fn cut_power(&mut self) {
        self.daemon = None;
        self.zombies.clear();
        drop(self.world.take_threads());
        let state = &mut *self.world.look();
        let lost = state.source.cut_power();
        state.oracle.saw(if lost { "a power cut that lost commits" } else { "a power cut" });
    }

    fn fail_over(&mut self) {
        let state = &mut *self.world.look();
        let lost = state.target.fail_over(&mut self.dice);
        state.oracle.saw(if lost { "a failover that lost commits" } else { "a failover" });
    }

    /// Daemons are stopped for it, or not.
    fn restore(&mut self) {
        if self.dice.chance(70) {
            self.daemon = None;
            self.zombies.clear();
            drop(self.world.take_threads());
        }
        let outliving = self.daemon.iter_mut().chain(&mut self.zombies);
        outliving.for_each(|daemon| daemon.outlived_a_source = true);
        let state = &mut *self.world.look();
        if state.target.now().shows == Shows::Parts {
            state.oracle.saw("a backup restored underway");
        }
        state.target.sync_standby();
        state.source.restore(&mut self.dice, &mut state.oracle);
        state.oracle.saw("a restored backup");
    }

    fn saw(&self, what: &'static str) {
        self.world.look().oracle.saw(what);
    }

    /// A daemon that halts must have a reason; any other begins its next life where the target stands.
    fn ended(&mut self, daemon: &Daemon, fault: &Fault) {
        let state = &mut *self.world.look();
        self.stumbles += u64::from(state.calm);
        let stumbles = self.stumbles;
        state
            .oracle
            .require(stumbles <= STUMBLES_MAX, || format!("I9: ended again and again by nothing: {fault}"));
        match (fault.class, fault.code) {
            (FaultClass::Transient | FaultClass::Unknown, _) => {}
            (_, "another_owner") => {
                let taken = state.target.now().owner != daemon.owner;
                state.oracle.saw("a daemon that left for another");
                state.oracle.require(taken, || "I9: the daemon left a migration that is its own".into());
            }
            (FaultClass::Data | FaultClass::Fatal, code) => {
                self.halted = true;
                let reason = reason_to_halt(state, daemon, code);
                state.oracle.saw(reason.unwrap_or("a halt without a reason"));
                state.oracle.require(reason.is_some(), || format!("I9: halted without a reason: {fault}"));
            }
        }
    }

    /// Nothing goes wrong any more: everything must get across.
    fn drain(&mut self) {
        self.zombies.clear();
        self.world.look().calm = true;
        for _ in 0..DRAIN_TURNS_MAX {
            self.drive_threads();
            self.drive_daemon();
            if self.is_over() {
                return;
            }
            if is_settled(&self.world.look()) {
                return self.rest();
            }
        }
        self.world
            .look()
            .oracle
            .require(false, || "I9: the daemon does not get to the end of the log".into());
    }

    fn rest(&mut self) {
        for _ in 0..IDLE_TURNS {
            self.drive_threads();
            self.drive_daemon();
        }
        let state = &mut *self.world.look();
        let expected = image_of(&state.source.tables(), &state.routes);
        let equal = state.target.now().image == expected;
        state.oracle.saw("a run to the end");
        state.oracle.require(equal, || "I1, I2: both sides are at rest and not equal".into());
    }
}

fn is_settled(state: &State) -> bool {
    let now = state.target.now();
    now.shows == Shows::Snapshot && now.position == state.source.newest()
}

fn reason_to_halt(state: &State, daemon: &Daemon, code: &str) -> Option<&'static str> {
    let known = state.source.knows(state.target.now().position)
        && state.target.seen().iter().all(|seen| state.source.knows(*seen));
    match code {
        "history_fork" | "seq_regressed" if !known => Some("a fork that was refused"),
        "history_fork" | "seq_regressed" if daemon.outlived_a_source => {
            Some("a fork that was refused while it was read")
        }
        "stopped" if state.oracle.seen.contains_key("a reader that died") => Some("a batch that had no end"),
        "misfit" if state.shape.on_misfit == OnMisfit::Halt => Some("a misfit that halted"),
        _ => None,
    }
}

fn poll(daemon: &mut Daemon) -> Option<Fault> {
    match daemon.life.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => None,
        Poll::Ready(Err(fault)) => Some(fault),
        Poll::Ready(Ok(never)) => match never {},
    }
}
