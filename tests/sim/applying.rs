//! How the flows write the target: sessions that load and apply, whose commits may go unanswered.

use crate::bug::Bug;
use crate::reading::place;
use crate::rows::TABLES;
use crate::target::{End, Lock};
use crate::work::{Apply, Does, Load, Refusal, Work, Written, rows_of};
use crate::world::{State, World};
use futures_util::future::{FutureExt, join};
use liteferry::link::{
    Applied, Applier, BATCH_REFUSED, Extent, Loaded, Loader, Outcome, PART_REFUSED, POSITION_MOVED, Portion,
    Range, Sending, Target,
};
use liteferry::model::chunk::Chunk;
use liteferry::model::fault::{Fault, FaultClass};
use liteferry::model::history::Position;

#[derive(Clone)]
pub struct MemoryTarget(pub World);

/// A connection to the server that was there when it was opened.
#[derive(Clone)]
pub struct Session {
    world: World,
    server: u64,
    id: u64,
}

pub struct MemoryApplier {
    session: Session,
    owner: u64,
    batch: Option<(Course, Vec<Portion>)>,
}

/// Where a batch takes the target.
#[derive(Clone, Copy)]
struct Course {
    from: Position,
    to: Position,
    newest: Position,
}

/// A transaction that is rolled back when its session goes away before the commit was sent.
struct Open<'a> {
    world: &'a World,
    id: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.world.look().target.abandon(self.id);
    }
}

fn fault(class: FaultClass, code: &'static str) -> Fault {
    Fault::new(class, code, "do what is asked")
}

impl Target for MemoryTarget {
    type Loader = Session;

    async fn loader(&self) -> Result<Session, Fault> {
        self.0.trip("connection_lost").await?;
        Ok(Session::open(&self.0))
    }
}

impl Session {
    pub fn open(world: &World) -> Session {
        let target = &mut world.look().target;
        Session { world: world.clone(), server: target.server, id: target.open_session() }
    }

    /// Time passes on the way to the server, which may be another one by then.
    async fn reach(&self) -> Result<(), Fault> {
        self.world.trip("connection_lost").await?;
        if self.world.look().target.server == self.server {
            Ok(())
        } else {
            Err(fault(FaultClass::Transient, "connection_lost"))
        }
    }

    /// Takes a lock's last holder for done or undone, once it is known which.
    pub async fn wait_for(&self, lock: Lock) -> Result<(), Fault> {
        self.reach().await?;
        self.wait_here(lock)
    }

    fn wait_here(&self, lock: Lock) -> Result<(), Fault> {
        let state = &mut *self.world.look();
        let waited = state
            .target
            .go_through(self.id, state.bug, &mut state.oracle)
            .and_then(|()| state.target.wait_for(lock, (&mut state.dice, state.bug), &mut state.oracle));
        waited.map_err(|_| fault(FaultClass::Transient, "lock_timeout"))
    }

    async fn begin(&self, lock: Lock, work: Work) -> Result<Open<'_>, Fault> {
        self.reach().await?;
        self.wait_here(lock)?;
        let state = &mut *self.world.look();
        match state.target.begin(lock, work, state.bug) {
            Ok(id) => Ok(Open { world: &self.world, id }),
            Err(refusal) => Err(self.refused(refusal, &mut state.oracle)),
        }
    }

    fn refused(&self, refusal: Refusal, oracle: &mut crate::oracle::Oracle) -> Fault {
        oracle.saw(match refusal {
            Refusal::PositionMoved => "a position that had moved",
            Refusal::NotOwner => "an owner of yesterday",
            Refusal::RangeMoved => "a range that had moved",
            Refusal::Unique => "a part that was refused",
        });
        match refusal {
            Refusal::PositionMoved => fault(FaultClass::Unknown, POSITION_MOVED),
            Refusal::NotOwner | Refusal::RangeMoved => fault(FaultClass::Fatal, "another_owner"),
            Refusal::Unique => fault(FaultClass::Data, PART_REFUSED),
        }
    }

    async fn commit(&self, open: Open<'_>) -> Result<(), Fault> {
        self.reach().await?;
        if !self.world.look().target.send(open.id) {
            return Err(fault(FaultClass::Transient, "connection_lost"));
        }
        self.world.pause().await;
        let state = &mut *self.world.look();
        let faults = if state.calm { 0 } else { 4 * state.shape.faults };
        if state.target.ended(open.id).is_none() && !state.dice.chance(faults) {
            state.target.end(open.id, End::Landed, state.bug, &mut state.oracle);
            if state.target.ended(open.id) == Some(End::Landed) {
                return Ok(());
            }
        }
        self.without_answer(open.id, state)
    }

    fn without_answer(&self, id: u64, state: &mut State) -> Result<(), Fault> {
        state.oracle.saw(match state.target.ended(id) {
            Some(End::Landed) => "a lost answer of a commit that landed",
            Some(End::Lost | End::Refused) => "a lost answer of a commit that was lost",
            None => "a lost answer of a commit still to come",
        });
        if state.has(Bug::AssumesCommit) { Ok(()) } else { Err(fault(FaultClass::Unknown, "commit_unknown")) }
    }

    /// Sends a batch whole; what becomes of it is known later, if ever.
    async fn post(&self, work: Work) -> Result<Outcome, Fault> {
        self.reach().await?;
        let (session, state) = (self.clone(), &mut *self.world.look());
        let id = state.target.post(self.id, Lock::Position, work);
        if state.target.waiting(self.id) > 1 {
            state.oracle.saw("batches under way together");
        }
        if state.has(Bug::CountsWhatIsSent) {
            return Ok(Outcome::Known(Applied::default()));
        }
        let outcome = async move { session.answer(id).await.map(|()| Applied::default()) };
        Ok(Outcome::Awaited(outcome.boxed()))
    }

    async fn answer(&self, id: u64) -> Result<(), Fault> {
        let far = self.world.look().shape.far;
        self.world.pause_below(far).await;
        let state = &mut *self.world.look();
        let faults = if state.calm { 0 } else { 4 * state.shape.faults };
        if state.dice.chance(faults) {
            return self.without_answer(id, state);
        }
        state.target.end(id, End::Landed, state.bug, &mut state.oracle);
        match state.target.ended(id) {
            Some(End::Landed) => Ok(()),
            Some(End::Refused) => {
                state.oracle.saw("a batch that was refused on its way");
                Err(fault(FaultClass::Transient, BATCH_REFUSED))
            }
            Some(End::Lost) | None => self.without_answer(id, state),
        }
    }

    async fn run(&self, lock: Lock, work: Work) -> Result<(), Fault> {
        let open = self.begin(lock, work).await?;
        self.commit(open).await
    }
}

impl Loader for Session {
    async fn load(&mut self, range: &Range, chunk: &Chunk) -> Result<Loaded, Fault> {
        let place = usize::try_from(range.id).expect("ranges are counted from zero");
        let load = Load {
            range: place,
            after: range.after.clone(),
            rows: rows_of(chunk),
            misfits: chunk.misfits.clone(),
            last_key: chunk.last_key.clone(),
            ends_range: chunk.ends_range,
            newest: chunk.newest,
            does: Does::Both,
        };
        if self.world.look().has(Bug::ProgressApart) {
            let rows = Work::Load(Load { does: Does::Rows, ..load.clone() });
            self.run(Lock::Range(place), rows).await?;
            self.run(Lock::Range(place), Work::Load(Load { does: Does::Record, ..load })).await?;
        } else {
            self.run(Lock::Range(place), Work::Load(load)).await?;
        }
        Ok(Loaded { rows: u64::try_from(chunk.rows()).expect("a count fits"), held: chunk.held })
    }
}

impl MemoryApplier {
    pub fn new(world: &World, owner: u64) -> MemoryApplier {
        MemoryApplier { session: Session::open(world), owner, batch: None }
    }

    fn apply(&self, Course { from, to, newest }: Course, extent: Extent, portions: &[Portion]) -> Apply {
        let state = self.session.world.look();
        let routes: &[_; TABLES] = &state.routes;
        let changed = portions.iter().flatten();
        let tables = changed.map(|changed| Written::of(place(routes, &changed.route), changed)).collect();
        Apply { owner: self.owner, from, to, newest, extent, surely: false, tables, does: Does::Both }
    }
}

impl Applier for MemoryApplier {
    async fn position(&mut self) -> Result<Position, Fault> {
        self.batch = None;
        self.session.wait_for(Lock::Position).await?;
        let state = self.session.world.look();
        if state.target.now().owner == self.owner {
            Ok(state.target.now().position)
        } else {
            Err(fault(FaultClass::Fatal, "another_owner"))
        }
    }

    async fn open(&mut self, from: Position, to: Position, newest: Position) -> Result<(), Fault> {
        self.session.reach().await?;
        self.batch = Some((Course { from, to, newest }, Vec::new()));
        Ok(())
    }

    async fn put(&mut self, portion: Portion) -> Result<(), Fault> {
        self.session.reach().await?;
        let (_, portions) = self.batch.as_mut().expect("a batch is opened before it is put into");
        portions.push(portion);
        Ok(())
    }

    async fn commit(
        &mut self,
        extent: Extent,
        sending: Sending,
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Outcome, Fault> {
        let (course, portions) = self.batch.take().expect("a batch is opened before it is committed");
        let apply = self.apply(course, extent, &portions);
        let session = &self.session;
        if session.world.look().has(Bug::PositionApart) {
            durable.await?;
            session.run(Lock::Position, Work::Apply(Apply { does: Does::Rows, ..apply.clone() })).await?;
            session.run(Lock::Position, Work::Apply(Apply { does: Does::Record, ..apply })).await?;
            return Ok(Outcome::Known(Applied::default()));
        }
        let is_sure = portions.iter().flatten().all(|changed| changed.rows.misfits.is_empty());
        if sending == Sending::Ahead && is_sure {
            let under_way = session.world.look().target.waiting(session.id);
            if under_way == 0 || !session.world.look().has(Bug::HardensOneOfMany) {
                durable.await?;
            }
            return session.post(Work::Apply(Apply { surely: true, ..apply })).await;
        }
        let (open, durable) = join(session.begin(Lock::Position, Work::Apply(apply)), durable).await;
        let open = open?;
        durable?;
        session.commit(open).await?;
        Ok(Outcome::Known(Applied::default()))
    }
}
