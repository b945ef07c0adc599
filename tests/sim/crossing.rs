//! The crossing over two sides in memory: each step fails, hangs, or comes too late. Before the decision that leaves no trace, and within
//! the deadline; at the decision and after it, it is reported as in doubt and never undone.

use liteferry::flow::cross::{
    Crossed, DEADLINE_MISSED, Decided, Drained, Failed, Fenced, Proven, Sides, cross,
};
use liteferry::model::fault::{Fault, FaultClass};
use liteferry::model::history::Position;
use liteferry::phase::machine::Crossing;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Fence,
    Last,
    Drain,
    Check,
    Prepare,
    Decide,
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Fails,
    /// It takes effect, and its answer is lost.
    FailsDone,
    /// Its answer never comes.
    Hangs,
    /// It holds its thread beyond the deadline, where no timer reaches it, and then succeeds.
    Stalls,
    /// It waits beyond the deadline, and then succeeds.
    Slow,
}

/// Both sides, as everybody sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct World {
    fenced: bool,
    /// A transaction of the other side's is open.
    opening: bool,
    /// The side that is left is closed, for good.
    closed: bool,
    /// The other side takes writes.
    opened: bool,
    steps: Vec<Step>,
}

const STEPS: [Step; 7] =
    [Step::Fence, Step::Last, Step::Drain, Step::Check, Step::Prepare, Step::Decide, Step::Open];
const TROUBLES: [Trouble; 5] =
    [Trouble::Fails, Trouble::FailsDone, Trouble::Hangs, Trouble::Stalls, Trouble::Slow];
const DEADLINE: Duration = Duration::from_millis(60);
const TOO_LONG: Duration = Duration::from_millis(90);
/// What a machine with other work may add.
const SLACK: Duration = Duration::from_secs(5);
const LAST: Position = Position { epoch: 1, seq: 7, nonce: 9 };

#[test]
fn a_crossing_without_trouble_takes_its_steps_in_order() {
    let (crossed, world) = attempt(None);
    let crossed = crossed.expect("nothing is in its way");
    assert_eq!((crossed.last, crossed.rows_compared), (LAST, 3));
    let names: Vec<&str> = crossed.steps.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["fence", "drain", "check", "prepare", "decide", "open"]);
    let over = World { closed: true, opened: true, steps: STEPS.into(), ..World::default() };
    assert_eq!(world, over);
}

#[test]
fn trouble_before_the_decision_leaves_no_trace_and_after_it_is_in_doubt() {
    for step in STEPS {
        for trouble in TROUBLES {
            check(step, trouble);
        }
    }
}

#[track_caller]
fn check(step: Step, trouble: Trouble) {
    // The deciding commit is never interrupted: whoever never answers it holds all of this up, and is bounded elsewhere.
    if step >= Step::Decide && trouble == Trouble::Hangs {
        return;
    }
    let began = Instant::now();
    let (crossed, world) = attempt(Some((step, trouble)));
    let what = format!("{step:?} {trouble:?}: {crossed:?}, {world:?}");
    assert!(!world.fenced && !world.opening, "something is held still: {what}");
    // Neither the order of steps nor their number depends on the trouble.
    assert_eq!(world.steps, STEPS[..world.steps.len()], "{what}");
    let nothing_happened = !world.closed && !world.opened;
    match (&crossed, trouble) {
        (Err(Failed::Before(fault)), _) if step < Step::Decide => {
            assert!(nothing_happened, "{what}");
            let expected = match trouble {
                Trouble::Fails | Trouble::FailsDone => "lock_timeout",
                Trouble::Hangs | Trouble::Stalls | Trouble::Slow => DEADLINE_MISSED,
            };
            assert_eq!((fault.code, fault.class), (expected, FaultClass::Transient), "{what}");
            assert!(!world.steps.contains(&Step::Decide), "{what}");
            let bound = if trouble == Trouble::Stalls { TOO_LONG } else { DEADLINE };
            assert!(began.elapsed() < bound + SLACK, "{what}: {:?}", began.elapsed());
        }
        (Err(Failed::InDoubt(fault)), Trouble::Fails | Trouble::FailsDone) if step >= Step::Decide => {
            assert_eq!(fault.code, "lock_timeout", "{what}");
            assert_eq!(world.closed, step == Step::Open || trouble == Trouble::FailsDone, "{what}");
            assert_eq!(world.opened, step == Step::Open && trouble == Trouble::FailsDone, "{what}");
        }
        (Ok(crossed), Trouble::Stalls | Trouble::Slow) if step >= Step::Decide => {
            assert!(world.closed && world.opened && crossed.pause >= TOO_LONG, "{what}");
        }
        (Ok(_) | Err(_), _) => panic!("{what}"),
    }
}

fn attempt(trouble: Option<(Step, Trouble)>) -> (Result<Crossed, Failed>, World) {
    let world = Arc::new(Mutex::new(World::default()));
    let mut sides = InMemory { world: Arc::clone(&world), trouble };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let crossed = runtime.expect("a runtime can be made").block_on(cross(&mut sides, DEADLINE));
    let world = world.lock().expect("no thread has panicked").clone();
    (crossed, world)
}

struct InMemory {
    world: Arc<Mutex<World>>,
    trouble: Option<(Step, Trouble)>,
}

/// Lifted when it goes, unless the side was closed under it.
struct Held {
    world: Arc<Mutex<World>>,
    lets_go: fn(&mut World),
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.lets_go)(&mut self.world.lock().expect("no thread has panicked"));
    }
}

impl InMemory {
    async fn take(&mut self, step: Step, effect: impl FnOnce(&mut World)) -> Result<(), Fault> {
        let trouble = self.trouble.filter(|(at, _)| *at == step).map(|(_, trouble)| trouble);
        self.world.lock().expect("no thread has panicked").steps.push(step);
        match trouble {
            None => {}
            Some(Trouble::Fails) => return Err(failed(step)),
            Some(Trouble::FailsDone) => {
                effect(&mut self.world.lock().expect("no thread has panicked"));
                return Err(failed(step));
            }
            Some(Trouble::Hangs) => std::future::pending::<()>().await,
            Some(Trouble::Stalls) => std::thread::sleep(TOO_LONG),
            Some(Trouble::Slow) => tokio::time::sleep(TOO_LONG).await,
        }
        effect(&mut self.world.lock().expect("no thread has panicked"));
        Ok(())
    }

    fn held(&self, lets_go: fn(&mut World)) -> Held {
        Held { world: Arc::clone(&self.world), lets_go }
    }
}

fn failed(step: Step) -> Fault {
    Fault::new(FaultClass::Transient, "lock_timeout", format!("{step:?}"))
}

impl Sides for InMemory {
    const CROSSING: Crossing = Crossing::Switch;
    type Fence = Held;
    type Opening = Held;

    async fn fence(&mut self) -> Result<Held, Fault> {
        // A lock that was got and not answered is let go with the connection that asked for it.
        let held = self.held(|world| world.fenced = false);
        self.take(Step::Fence, |world| world.fenced = true).await?;
        Ok(held)
    }

    async fn last(&mut self, _fence: &mut Held) -> Result<Position, Fault> {
        self.take(Step::Last, |_| ()).await?;
        Ok(LAST)
    }

    async fn drain(&mut self, last: Position) -> Result<(), Fault> {
        assert_eq!(last, LAST);
        self.take(Step::Drain, |_| ()).await
    }

    async fn check(&mut self, drained: &Drained) -> Result<u64, Fault> {
        assert_eq!(drained.last(), LAST);
        self.take(Step::Check, |_| ()).await?;
        Ok(3)
    }

    async fn prepare(&mut self, _fence: &mut Held, proven: &Proven) -> Result<Held, Fault> {
        assert_eq!((proven.last, proven.rows), (LAST, 3));
        let held = self.held(|world| world.opening = false);
        self.take(Step::Prepare, |world| world.opening = true).await?;
        Ok(held)
    }

    async fn decide(&mut self, fenced: Fenced<Held>, _proven: &Proven) -> Result<(), Fault> {
        let _fence = fenced.into_fence();
        assert!(self.world.lock().expect("no thread has panicked").fenced, "nobody else writes until then");
        self.take(Step::Decide, |world| world.closed = true).await
    }

    async fn open(&mut self, _opening: Held, _decided: Decided) -> Result<(), Fault> {
        assert!(self.world.lock().expect("no thread has panicked").closed, "never are both sides open");
        self.take(Step::Open, |world| world.opened = true).await
    }
}
