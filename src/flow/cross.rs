//! The crossing: the application's writes move from one side to the other. A switch crosses from SQLite to PostgreSQL, a rollback
//! back; the order is the same, and the values that one step leaves to the next keep it from being taken otherwise.
//!
//! ```text
//!  fence ─▶ drain ─▶ check ─▶ prepare ─▶ DECIDE ─▶ open
//!    └── a failure here lifts the fence: nothing happened ──┘      └── from here on it is finished forward
//! ```
//!
//! The deciding commit is never interrupted; what became of it where its answer is lost is looked up, not guessed.

use crate::crash;
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::phase::Step;
use crate::phase::machine::Crossing;
use std::future::Future;
use std::time::{Duration, Instant};

/// The two sides of a crossing, with what each step is for them.
pub trait Sides: Send {
    const CROSSING: Crossing;
    /// Keeps every writer out of the side that is left. Dropped, it lets them in again.
    type Fence: Send;
    /// The other side's transaction, made ready and not committed.
    type Opening: Send;

    /// Waits for those who are writing, and keeps the next ones waiting.
    fn fence(&mut self) -> impl Future<Output = Result<Self::Fence, Fault>> + Send;

    /// The last change that the fence let through.
    fn last(&mut self, fence: &mut Self::Fence) -> impl Future<Output = Result<Position, Fault>> + Send;

    /// Brings the other side there.
    fn drain(&mut self, last: Position) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Compares both sides, as far as the time allows; gives how many rows were compared.
    fn check(&mut self, drained: &Drained) -> impl Future<Output = Result<u64, Fault>> + Send;

    /// Makes the other side ready to be written, in a transaction that stays open.
    fn prepare(
        &mut self,
        fence: &mut Self::Fence,
        proven: &Proven,
    ) -> impl Future<Output = Result<Self::Opening, Fault>> + Send;

    /// Closes the side that is left. This commit decides.
    fn decide(
        &mut self,
        fenced: Fenced<Self::Fence>,
        proven: &Proven,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Commits what was made ready.
    fn open(
        &mut self,
        opening: Self::Opening,
        decided: Decided,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// No writer but ourselves on the side that is left.
pub struct Fenced<F>(F);

impl<F> Fenced<F> {
    pub fn into_fence(self) -> F {
        self.0
    }
}

/// The other side holds everything up to the last change.
pub struct Drained {
    last: Position,
}

/// Both sides were compared under the fence.
pub struct Proven {
    pub last: Position,
    pub rows: u64,
}

/// The writes belong to the other side.
pub struct Decided {
    _from_here_alone: (),
}

impl Drained {
    pub fn last(&self) -> Position {
        self.last
    }
}

/// What a crossing took.
#[derive(Clone, Debug)]
pub struct Crossed {
    pub last: Position,
    pub rows_compared: u64,
    /// How long the application's writes were held up.
    pub pause: Duration,
    pub steps: Vec<(Step, Duration)>,
}

/// Where a crossing failed.
#[derive(Debug)]
pub enum Failed {
    /// Before the decision: the fence is lifted, and nothing happened.
    Before(Fault),
    /// At the decision or after it. Which of the two is looked up.
    InDoubt(Fault),
}

pub const DEADLINE_MISSED: &str = "deadline_missed";

/// Crosses, or leaves no trace once `deadline` has passed since the fence was asked for.
pub async fn cross<S: Sides>(sides: &mut S, deadline: Duration) -> Result<Crossed, Failed> {
    let until = Instant::now() + deadline;
    let mut clock = Clock { crossing: S::CROSSING, steps: Vec::new(), since: Instant::now() };
    let made_ready = tokio::time::timeout_at(until.into(), make_ready(sides, &mut clock));
    let (fenced, proven, opening, began) = match made_ready.await {
        Ok(ready) => ready.map_err(Failed::Before)?,
        Err(_) => return Err(Failed::Before(missed(deadline))),
    };
    // A last look: what comes now is not interrupted.
    if Instant::now() >= until {
        return Err(Failed::Before(missed(deadline)));
    }
    sides.decide(fenced, &proven).await.map_err(in_doubt)?;
    clock.step(Step::Decide);
    sides.open(opening, Decided { _from_here_alone: () }).await.map_err(in_doubt)?;
    clock.step(Step::Open);
    Ok(Crossed { last: proven.last, rows_compared: proven.rows, pause: began.elapsed(), steps: clock.steps })
}

type Ready<S> = (Fenced<<S as Sides>::Fence>, Proven, <S as Sides>::Opening, Instant);

async fn make_ready<S: Sides>(sides: &mut S, clock: &mut Clock) -> Result<Ready<S>, Fault> {
    let mut fence = sides.fence().await?;
    clock.step(Step::Fence);
    // Until here writers waited for each other, as ever.
    let began = Instant::now();
    let last = sides.last(&mut fence).await?;
    sides.drain(last).await?;
    clock.step(Step::Drain);
    let drained = Drained { last };
    let rows = sides.check(&drained).await?;
    clock.step(Step::Check);
    let proven = Proven { last: drained.last, rows };
    let opening = sides.prepare(&mut fence, &proven).await?;
    clock.step(Step::Prepare);
    Ok((Fenced(fence), proven, opening, began))
}

struct Clock {
    crossing: Crossing,
    steps: Vec<(Step, Duration)>,
    since: Instant,
}

impl Clock {
    fn step(&mut self, step: Step) {
        let now = Instant::now();
        self.steps.push((step, now - self.since));
        self.since = now;
        crash::passed(self.crossing.word(), step.word());
    }
}

/// Whatever it was, it says nothing of the decision: that is looked up before anybody is asked for help.
fn in_doubt(fault: Fault) -> Failed {
    Failed::InDoubt(Fault { class: FaultClass::Unknown, ..fault })
}

fn missed(deadline: Duration) -> Fault {
    let doing = format!("move the writes within {} ms", deadline.as_millis());
    Fault::new(FaultClass::Transient, DEADLINE_MISSED, doing).with_remedy(
        "Nothing happened. Try again at a quieter time, or allow more by switch.deadline_ms, below the application's busy timeout.",
    )
}
