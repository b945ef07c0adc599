//! The rollback: the application's writes move from PostgreSQL back to SQLite. The switch, walked the other way: the fence is a lock on
//! every table, PostgreSQL's commit decides, and SQLite's transaction is open until then.

use super::super::back::Back;
use super::super::blocking::blocking;
use super::super::desk::Told;
use crate::engine::standing::Writes;
use crate::flow::cross::{Decided, Drained, Fenced, Proven, Sides};
use crate::journal::crossing::{Crosser, rolled_back};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::phase::machine::{Crossing, Event};
use crate::postgres::capture::{self, Written};
use crate::postgres::connect::Session;
use crate::postgres::fault;
use crate::postgres::make_way::has_missed;
use crate::sqlite::capture::fence::Opening;
use std::time::{Duration, Instant};
use tokio::try_join;

/// How long the first try waits for the writers of a table, and at most a later one: less than the second that PostgreSQL takes to find a
/// deadlock, which it would end by an error of the application.
const FENCE_WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// PostgreSQL, which is left, and SQLite, which is to be written.
pub struct Backward<'b, 'a> {
    back: &'b mut Back<'a>,
    told: &'b Told,
    deadline: Duration,
    /// Where SQLite's new history begins, once that is known.
    first: Option<Position>,
    routing_epoch: Option<i64>,
}

impl<'b, 'a> Backward<'b, 'a> {
    pub fn new(back: &'b mut Back<'a>, (told, deadline): (&'b Told, Duration)) -> Backward<'b, 'a> {
        Backward { back, told, deadline, first: None, routing_epoch: None }
    }
}

impl Sides for Backward<'_, '_> {
    const CROSSING: Crossing = Crossing::Rollback;
    type Fence = Session;
    type Opening = Opening;

    /// Readers go on; whoever writes is waited for, and then waits. One of them may wait for a table that is locked here already, with
    /// another one in hand: all are let go of again before PostgreSQL calls that a deadlock, so that it can end.
    async fn fence(&mut self) -> Result<Session, Fault> {
        let session = self.back.target.session().await?;
        let tables: Vec<String> = self.back.tables.values().map(|route| route.target.sql()).collect();
        let (began, mut wait) = (Instant::now(), FENCE_WAITS.0);
        loop {
            let left = self.deadline.saturating_sub(began.elapsed());
            match lock(&session, &tables, (wait.min(left), left)).await {
                Err(fault) if has_missed(&fault) && wait < left => {
                    session
                        .batch_execute("rollback")
                        .await
                        .map_err(|error| fault::of(error, "let the application's writers go on"))?;
                    wait = FENCE_WAITS.1.min(wait * 2);
                }
                locked => return locked.map(|()| session),
            }
        }
    }

    async fn last(&mut self, fence: &mut Session) -> Result<Position, Fault> {
        self.back.is_untouched(fence).await?;
        self.back.position().await
    }

    async fn drain(&mut self, _last: Position) -> Result<(), Fault> {
        self.back.catch_up().await
    }

    /// Every row was written from what PostgreSQL showed, and read back where it did not fit: nothing else is compared here.
    async fn check(&mut self, _drained: &Drained) -> Result<u64, Fault> {
        Ok(0)
    }

    async fn prepare(&mut self, _fence: &mut Session, _proven: &Proven) -> Result<Opening, Fault> {
        let (file, token, wait) = (self.back.file.clone(), self.back.desk.token.clone(), self.deadline);
        let doing = "make SQLite ready for the application's writes";
        let opening = blocking(doing, move || Opening::begin(&file, &token, wait)).await?;
        self.back.untouched.confirm(&opening.found)?;
        self.first = Some(opening.first);
        Ok(opening)
    }

    async fn decide(&mut self, fenced: Fenced<Session>, _proven: &Proven) -> Result<(), Fault> {
        let (session, migration) = (fenced.into_fence(), self.back.desk.migration);
        let first = self.first.expect("SQLite was made ready");
        let desk = &self.back.desk;
        let crosser = Crosser { migration, owner: &desk.owner, state: desk.state };
        let entry = self.told.entry("the application's writes go to SQLite again");
        let ((), routing_epoch) = try_join!(
            capture::set(&session, migration, Written::Sqlite),
            Box::pin(rolled_back(&session, crosser, first, entry)),
        )?;
        self.routing_epoch = Some(routing_epoch);
        let doing = "commit the rollback in PostgreSQL";
        session.batch_execute("commit").await.map_err(|error| fault::of_commit(error, doing))?;
        self.back.target.give_back(session);
        Ok(())
    }

    async fn open(&mut self, opening: Opening, _decided: Decided) -> Result<(), Fault> {
        blocking("open SQLite to the application's writes", move || opening.commit()).await?;
        let desk = &mut self.back.desk;
        desk.has_happened(Event::Decided(Crossing::Rollback))?;
        // What was proved was proved of another history.
        desk.voice.board.update(Instant::now(), |status| {
            status.validation.last = None;
            status.validation.clean = None;
        });
        desk.route_in(self.routing_epoch.expect("the rollback is recorded"), Writes::Sqlite);
        Ok(())
    }
}

/// All of them, or nothing: then the session's transaction has failed. What follows under the locks has what is left of the deadline: how
/// long it takes is a matter of how many tables and columns there are, and not of who writes to them.
async fn lock(session: &Session, tables: &[String], (wait, left): (Duration, Duration)) -> Result<(), Fault> {
    // Zero would be no bound at all.
    let at_least = |bound: Duration| bound.max(Duration::from_millis(1)).as_millis();
    let (each, all, rest) = (at_least(wait), at_least(wait * 2), at_least(left));
    let mut begin =
        format!("begin; set local lock_timeout = '{each}ms'; set local statement_timeout = '{all}ms'; ");
    // Of a source without a table there is nothing to lock.
    if !tables.is_empty() {
        begin.push_str(&format!("lock table {} in share row exclusive mode; ", tables.join(", ")));
    }
    begin.push_str(&format!("set local lock_timeout = '{rest}ms'; set local statement_timeout = '{rest}ms'"));
    session
        .batch_execute(&begin)
        .await
        .map_err(|error| fault::of(error, "keep the application's writers waiting"))
}
