//! What all sides of one simulation share: its state, its chance, and threads that read beside the daemons. Nothing here is awaited
//! while the state is locked.

use crate::bug::Bug;
use crate::dice::Dice;
use crate::oracle::Oracle;
use crate::rows::{TABLES, routes};
use crate::source::SourceSide;
use crate::target::TargetSide;
use crate::writer::{Values, first_rows};
use liteferry::flow::backfill::OnMisfit;
use liteferry::model::fault::{Fault, FaultClass};
use liteferry::plan::route::Route;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

/// How one simulation is cut.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub take_max: u64,
    pub portion_lines: usize,
    pub chunk_rows: usize,
    pub workers: usize,
    pub spans: usize,
    pub values: Values,
    pub on_misfit: OnMisfit,
    /// In a hundred turns at a side.
    pub faults: u64,
    /// In a hundred turns of the application.
    pub writes: u64,
    /// Turns until a batch is answered: behind many a few more may be sent.
    pub far: u64,
}

pub struct State {
    pub dice: Dice,
    pub bug: Option<Bug>,
    pub shape: Shape,
    pub routes: [Arc<Route>; TABLES],
    pub source: SourceSide,
    pub target: TargetSide,
    pub oracle: Oracle,
    /// No more faults: what is waiting must come to its end.
    pub calm: bool,
}

/// A thread of the source.
pub type Thread = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    threads: Arc<Mutex<Vec<Thread>>>,
}

impl World {
    /// Both sides as they are when capture has just been armed.
    pub fn new(seed: u64, bug: Option<Bug>) -> World {
        let mut dice = Dice::new(seed);
        let shape = Shape::roll(&mut dice);
        let mut source = SourceSide::new(first_rows(&mut dice, shape.values));
        let mut oracle = Oracle::default();
        source.arm(dice.nonce(), &mut oracle);
        let target = TargetSide::new(source.newest(), shape.spans);
        let state = State { dice, bug, shape, routes: routes(), source, target, oracle, calm: false };
        World { state: Arc::new(Mutex::new(state)), threads: Arc::default() }
    }

    pub fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic ends the simulation")
    }

    /// Lets whoever else there is go on, for none or a few turns.
    pub async fn pause(&self) {
        self.pause_below(3).await;
    }

    pub async fn pause_below(&self, turns: u64) {
        let mut turns = self.look().dice.below(turns);
        poll_fn(|_| {
            if turns == 0 {
                return Poll::Ready(());
            }
            turns -= 1;
            Poll::Pending
        })
        .await;
    }

    /// A fault that passes, from time to time.
    pub async fn trip(&self, code: &'static str) -> Result<(), Fault> {
        self.pause().await;
        let state = &mut *self.look();
        if state.calm || !state.dice.chance(state.shape.faults) {
            return Ok(());
        }
        state.oracle.saw("a fault that passes");
        Err(Fault::new(FaultClass::Transient, code, "do what is asked"))
    }

    pub fn spawn(&self, thread: Thread) {
        self.threads.lock().expect("a panic ends the simulation").push(thread);
    }

    /// Takes all threads out, to be driven; those that have not ended are spawned again.
    pub fn take_threads(&self) -> Vec<Thread> {
        std::mem::take(&mut *self.threads.lock().expect("a panic ends the simulation"))
    }
}

impl Shape {
    fn roll(dice: &mut Dice) -> Shape {
        let size = |dice: &mut Dice, bound| 1 + dice.index(bound);
        Shape {
            take_max: 1 + dice.below(8),
            portion_lines: size(dice, 5),
            chunk_rows: size(dice, 5),
            workers: size(dice, 3),
            spans: size(dice, 3),
            values: if dice.chance(60) { Values::AnyKind } else { Values::Fitting },
            on_misfit: if dice.chance(85) { OnMisfit::Ledger } else { OnMisfit::Halt },
            faults: dice.below(4),
            writes: 5 + dice.below(80),
            far: if dice.chance(60) { 2 } else { 24 },
        }
    }
}

impl State {
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}
