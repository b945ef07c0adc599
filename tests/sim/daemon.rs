//! One life of a daemon, as the engine leads it, over the sides in memory: take over, backfill, catch up, build, follow.

use crate::applying::{MemoryApplier, MemoryTarget, Session};
use crate::bug::Bug;
use crate::reading::MemorySource;
use crate::target::{Lock, STANDBY_LAG_MAX, Shows, Stage, Unique};
use crate::world::{State, World};
use futures_util::future::join;
use liteferry::flow::backfill::backfill;
use liteferry::flow::flight::Flight;
use liteferry::flow::follow::{Step, step};
use liteferry::flow::progress::Unwatched;
use liteferry::link::{Applier, Captured, Extent, Link, Range, Take};
use liteferry::model::fault::{Fault, FaultClass};
use liteferry::model::history::Position;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

struct Life {
    world: World,
    owner: u64,
    link: Link<MemorySource, MemoryTarget>,
    applier: MemoryApplier,
}

/// Goes on until a fault ends it. Whoever drives it may drop it at any await, as a crash would.
pub async fn live(world: World, owner: u64) -> Result<Infallible, Fault> {
    let session = Session::open(&world);
    session.wait_for(Lock::Position).await?;
    world.look().target.update(|committed| committed.owner = owner);
    let link = Link { source: MemorySource::new(&world), target: MemoryTarget(world.clone()) };
    let mut life = Life { applier: MemoryApplier::new(&world, owner), world, owner, link };
    life.link.source.must_show(life.seen());
    let stage = life.world.look().target.now().stage;
    if stage == Stage::Backfill {
        if life.world.look().has(Bug::LoadsWhileFollowing) {
            return life.load_while_following().await;
        }
        let open = life.open_ranges().await?;
        life.backfill(open).await?;
    }
    life.follow().await
}

impl Life {
    async fn backfill(&mut self, open: Vec<Range>) -> Result<(), Fault> {
        let resumed = open.iter().any(|range| !range.after.is_empty());
        let shape = self.world.look().shape;
        if resumed {
            self.world.look().oracle.saw("a range that was gone on with");
        }
        let loaded = backfill(&self.link, open, (shape.workers, shape.on_misfit), &Unwatched).await;
        if let Err(fault) = loaded {
            return Err(self.explain(fault).await);
        }
        if self.world.look().has(Bug::FollowsFromTheEnd) {
            let newest = self.world.look().source.newest();
            self.world.look().target.update(|committed| committed.position = newest);
        }
        self.link.source.must_show(self.seen());
        let mut at = self.applier.position().await?;
        while let Some(step) = self.step(at).await? {
            at = step.to;
            if step.extent == Extent::Whole {
                break;
            }
        }
        self.build_unique(at).await?;
        self.enter_following(at).await
    }

    fn seen(&self) -> Vec<Position> {
        let state = self.world.look();
        if state.has(Bug::ForgetsItsChunks) { vec![state.target.now().seen] } else { state.target.seen() }
    }

    /// A range may have been moved by a commit of our own whose answer was lost.
    async fn explain(&mut self, fault: Fault) -> Fault {
        if fault.code != "another_owner" || self.world.look().has(Bug::LeavesMovedRange) {
            return fault;
        }
        match self.applier.position().await {
            Ok(_) => Fault::new(FaultClass::Unknown, "range_moved", fault.doing),
            Err(found) => found,
        }
    }

    async fn load_while_following(mut self) -> Result<Infallible, Fault> {
        let mut open = self.open_ranges().await?;
        let late = open.pop().into_iter().collect();
        self.backfill(open).await?;
        let link = Link { source: self.link.source.clone(), target: self.link.target.clone() };
        let shape = self.world.look().shape;
        let loading = backfill(&link, late, (shape.workers, shape.on_misfit), &Unwatched);
        let (loaded, followed) = join(loading, self.follow()).await;
        loaded?;
        followed
    }

    /// As they are once no chunk is in doubt.
    async fn open_ranges(&self) -> Result<Vec<Range>, Fault> {
        let session = Session::open(&self.world);
        let ranges = self.world.look().target.now().ranges.len();
        for range in 0..ranges {
            session.wait_for(Lock::Range(range)).await?;
        }
        let state = self.world.look();
        let all = state.target.now().ranges.iter().enumerate();
        let open = all.filter(|(_, range)| !range.done).map(|(id, range)| Range {
            id: i64::try_from(id).expect("few ranges"),
            route: Arc::clone(&state.routes[range.table]),
            span: range.span,
            after: range.after.clone(),
            seen: range.seen,
        });
        Ok(open.collect())
    }

    async fn build_unique(&self, at: Position) -> Result<(), Fault> {
        self.world.trip("connection_lost").await?;
        let state = &mut *self.world.look();
        confirm_backfilled(state, at)?;
        let image = &state.target.now().image;
        if image.rows[0].values().any(|row| image.tag_is_taken(row)) {
            return Err(Fault::new(FaultClass::Data, "index_refused", "build the index"));
        }
        state.target.update(|committed| committed.unique = Unique::Enforced);
        Ok(())
    }

    async fn enter_following(&self, at: Position) -> Result<(), Fault> {
        Session::open(&self.world).wait_for(Lock::Position).await?;
        let state = &mut *self.world.look();
        if state.target.now().owner != self.owner {
            return Err(Fault::fatal("another_owner", "record the phase"));
        }
        confirm_backfilled(state, at)?;
        state.oracle.saw("a backfill that was completed");
        state.target.update(|committed| {
            committed.stage = Stage::Following;
            // Also where nothing was written since capture was armed, and so no batch said so.
            committed.shows = Shows::Snapshot;
        });
        state.oracle.shows_a_state(state.target.now());
        Ok(())
    }

    async fn step(&mut self, at: Position) -> Result<Option<Step>, Fault> {
        let shape = self.world.look().shape;
        let take = Take::UpTo(shape.take_max);
        let step = step(&self.link.source, &mut self.applier, (at, take), shape.on_misfit).await?;
        if let Some(step) = &step {
            self.world.look().oracle.told(step);
        }
        Ok(step)
    }

    /// Sends batch behind batch, for as long as chance will have it.
    async fn fly(&mut self, at: Position) -> Result<Vec<Step>, Fault> {
        let shape = self.world.look().shape;
        let mut flight = Flight::from(at, Take::UpTo(shape.take_max), shape.on_misfit);
        let mut flown = Vec::new();
        flight.send(&self.link.source, &mut self.applier).await;
        while flight.is_under_way() {
            if flight.may_send() && self.world.look().dice.chance(60) {
                flight.send(&self.link.source, &mut self.applier).await;
            } else {
                flight.answer().await;
            }
            while let Some(step) = flight.landed() {
                self.world.look().oracle.told(&step);
                flown.push(step);
            }
        }
        if let Some(step) = flight.end(&self.link.source, &mut self.applier).await? {
            self.world.look().oracle.told(&step);
            flown.push(step);
        }
        Ok(flown)
    }

    async fn follow(&mut self) -> Result<Infallible, Fault> {
        let mut at = self.applier.position().await?;
        // Oldest first; what a standby may fall back to is not forgotten.
        let mut marks: VecDeque<Position> = VecDeque::new();
        loop {
            let flown = self.fly(at).await?;
            if let Some(step) = flown.last() {
                at = step.to;
                marks.extend(flown.iter().map(|step| step.to));
                continue;
            }
            if self.world.look().has(Bug::PrunesNewest) {
                self.link.source.forget(at.seq).await?;
            }
            while marks.len() > STANDBY_LAG_MAX + 1 {
                let mark = marks.pop_front().expect("there are more than a few");
                self.link.source.forget(mark.seq - 1).await?;
            }
            idle().await;
            if !self.world.look().has(Bug::TrustsIdleTarget) {
                at = self.applier.position().await?;
            }
        }
    }
}

/// A target that fell back to an earlier state meanwhile has its ranges to load again.
fn confirm_backfilled(state: &mut State, at: Position) -> Result<(), Fault> {
    let now = state.target.now();
    let holds = now.position == at && now.ranges.iter().all(|range| range.done);
    if holds || state.has(Bug::EntersWithoutLooking) {
        return Ok(());
    }
    state.oracle.saw("a backfill that the target lost");
    Err(Fault::new(FaultClass::Unknown, "position_moved", "record the phase"))
}

/// Others come first once.
async fn idle() {
    let mut waited = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut waited, true) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
