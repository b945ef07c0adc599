//! The switch: the application's writes move from SQLite to PostgreSQL. Here is what each step of the crossing is on these two sides.
//!
//! All that PostgreSQL needs is done in one transaction that stays open until SQLite has decided: abandoned, it leaves nothing.

use super::super::blocking::blocking;
use super::super::desk::Told;
use super::super::heights;
use super::super::life::Life;
use super::super::setup::captures;
use super::super::tended::{is_as_made, untouched};
use crate::engine::standing::Writes;
use crate::flow::cross::{Decided, Drained, Fenced, Proven, Sides};
use crate::journal::crossing::{Crosser, switched};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::phase::machine::{Crossing, Event};
use crate::plan::capture::{Trigger, guards};
use crate::plan::handover::{Issued, Left, Sequence, Suspect, left_alone, sequences, to_be_read};
use crate::plan::numbers::Numbers;
use crate::plan::route::Route;
use crate::postgres::capture::{self, Written, begin_history};
use crate::postgres::catalog::catalog;
use crate::postgres::connect::Session;
use crate::postgres::fault;
use crate::sqlite::capture::fence::{self, Fence};
use crate::sqlite::control;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::try_join;

/// What the switch will do, made ready before anybody waits.
pub struct Preparations {
    /// Constraints and triggers that come back, as statements.
    restore: Vec<String>,
    sequences: Vec<Sequence>,
    /// Sequences that stay where they are.
    left: Vec<Left>,
    /// What they go on after, and there is no time for while anybody waits.
    to_be_read: Vec<Numbers>,
    guards: Vec<Trigger>,
    tables: BTreeMap<i64, Arc<Route>>,
    /// Where the way back begins.
    reverse: Position,
}

impl Preparations {
    pub async fn make(life: &Life<'_>) -> Result<Preparations, Fault> {
        let awaiting = life.awaiting_switch().await?;
        let restore =
            awaiting.into_iter().map(|statement| statement.fallback.unwrap_or(statement.sql)).collect();
        let session = life.link.target.session().await?;
        let catalog = catalog(&session, &life.job.request.schema).await?;
        life.link.target.give_back(session);
        let schema = life.link.source.introspect().await?;
        let routes = || life.tables.values().map(AsRef::as_ref);
        let overrides = &life.job.request.overrides;
        let reverse = life.link.source.read(control::next_reverse).await?;
        let sequences = sequences(routes(), (&schema, &catalog), overrides);
        let left = left_alone(routes(), (&schema, &catalog), overrides);
        let suspected = left.iter().filter_map(|left| left.suspect.as_ref()).flat_map(Suspect::numbers);
        let numbers = sequences.iter().filter_map(|sequence| sequence.numbers.as_ref()).chain(suspected);
        Ok(Preparations {
            reverse,
            restore,
            to_be_read: to_be_read(numbers, routes(), &catalog),
            sequences,
            left,
            guards: guards(&captures(&schema, &life.tables).0),
            tables: life.tables.clone(),
        })
    }

    /// Of a source that is closed already: it says itself where the way back begins.
    pub async fn as_decided(life: &Life<'_>) -> Result<Preparations, Fault> {
        let made = Preparations::make(life).await?;
        Ok(Preparations { reverse: life.link.source.read(control::reverse_begins).await?, ..made })
    }

    /// Does in PostgreSQL what the switch will do, and takes it back: what fails then fails now, and how long it takes is known.
    pub async fn rehearse(
        &self,
        session: &Session,
        migration: i64,
        issued: Issued<'_>,
    ) -> Result<Duration, Fault> {
        let began = Instant::now();
        let done = self.take(session, migration, (issued, REHEARSAL_MAX)).await;
        let took = began.elapsed();
        let undone = session.batch_execute("rollback").await;
        done?;
        undone.map_err(|error| fault::of(error, "end the rehearsal of the switch"))?;
        Ok(took)
    }

    /// Begins a transaction and gives PostgreSQL all that the application needs there.
    async fn take(
        &self,
        session: &Session,
        migration: i64,
        (issued, wait): (Issued<'_>, Duration),
    ) -> Result<(), Fault> {
        // Nothing here may come from a search path: each name is whole.
        let wait = wait.as_millis();
        let begin =
            format!("begin; set local lock_timeout = '{wait}ms'; set local statement_timeout = '{wait}ms'");
        let set = self.sequences.iter().map(|sequence| sequence.set_sql(issued));
        let given = std::iter::once(begin).chain(self.restore.iter().cloned()).chain(set);
        // In one piece, for without the transaction all would stay as it is set.
        let given: Vec<String> = given.collect();
        let giving = async {
            let given = session.batch_execute(&given.join(";\n")).await;
            given.map_err(|error| {
                fault::of(error, "give constraints and triggers back, and set the sequences")
            })
        };
        // The application waits: all of it is sent before the first is answered.
        try_join!(
            biased;
            giving,
            untouched(session, migration, (&self.tables, Written::Sqlite)),
            capture::set(session, migration, Written::Postgres),
        )
        .map(drop)
    }

    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    pub fn to_be_read(&self) -> Vec<Numbers> {
        self.to_be_read.clone()
    }

    pub fn left(&self) -> &[Left] {
        &self.left
    }
}

/// Nobody waits for it but readers that ask for what it locks.
const REHEARSAL_MAX: Duration = Duration::from_millis(500);

/// SQLite, which is left, and PostgreSQL, which is to be written.
pub struct Forward<'l, 'a> {
    life: &'l mut Life<'a>,
    preparations: &'l Preparations,
    told: &'l Told,
    deadline: Duration,
}

/// PostgreSQL's transaction, open.
pub struct Opening {
    session: Session,
    routing_epoch: i64,
}

impl<'l, 'a> Forward<'l, 'a> {
    pub fn new(
        life: &'l mut Life<'a>,
        preparations: &'l Preparations,
        (told, deadline): (&'l Told, Duration),
    ) -> Forward<'l, 'a> {
        Forward { life, preparations, told, deadline }
    }

    /// A session whose transaction has given PostgreSQL all that the application needs there. Nothing is committed.
    async fn take(&self, issued: Issued<'_>) -> Result<Session, Fault> {
        let session = self.life.link.target.session().await?;
        self.preparations.take(&session, self.life.migration, (issued, self.deadline)).await?;
        Ok(session)
    }

    /// Records in the same transaction where the writes are from now on; gives the routing's new epoch.
    async fn record(&self, session: &Session, last: Position) -> Result<i64, Fault> {
        let migration = self.life.migration;
        let crosser = Crosser { migration, owner: &self.life.owner, state: self.life.desk.state };
        let detail = format!("the application's writes go to PostgreSQL, after change {}", last.seq);
        let recorded = try_join!(
            begin_history(session, migration, self.preparations.reverse),
            Box::pin(switched(session, crosser, last, self.told.entry(&detail))),
        );
        recorded.map(|((), routing_epoch)| routing_epoch)
    }

    async fn commit(&mut self, opening: Opening) -> Result<(), Fault> {
        let doing = "commit the switch in PostgreSQL";
        opening.session.batch_execute("commit").await.map_err(|error| fault::of_commit(error, doing))?;
        self.life.desk.has_happened(Event::Decided(Crossing::Switch))?;
        self.life.desk.route_in(opening.routing_epoch, Writes::Postgres);
        self.life.link.target.give_back(opening.session);
        Ok(())
    }

    /// SQLite is closed already: whoever decided that did not live to open PostgreSQL.
    pub async fn finish(&mut self) -> Result<Position, Fault> {
        let last = self.life.catch_up().await?;
        let counters = self.life.link.source.read(fence::counters).await?;
        let address = Arc::clone(&self.life.job.request.address);
        let heights = heights::read(address, self.preparations.to_be_read()).await?;
        let issued = Issued { counters: &counters, heights: &heights };
        let session = self.take(issued).await?;
        let routing_epoch = self.record(&session, last).await?;
        self.commit(Opening { session, routing_epoch }).await?;
        Ok(last)
    }
}

impl Sides for Forward<'_, '_> {
    const CROSSING: Crossing = Crossing::Switch;
    /// `None` only while a thread has it.
    type Fence = Option<Fence>;
    type Opening = Opening;

    async fn fence(&mut self) -> Result<Option<Fence>, Fault> {
        let (file, token, wait) =
            (self.life.link.source.file().clone(), self.life.desk.token.clone(), self.deadline);
        blocking("keep the application's writers waiting", move || Fence::take(&file, &token, wait))
            .await
            .map(Some)
    }

    async fn last(&mut self, fence: &mut Option<Fence>) -> Result<Position, Fault> {
        under(fence, Fence::head).await
    }

    async fn drain(&mut self, last: Position) -> Result<(), Fault> {
        let reached = self.life.catch_up_to(last).await?;
        if reached == last {
            return Ok(());
        }
        let doing = format!("apply every change up to {}", last.seq);
        Err(Fault::new(FaultClass::Transient, "not_drained", doing).with_remedy(
            "Nothing happened: the target did not come to stand where the source does. Try again.",
        ))
    }

    async fn check(&mut self, drained: &Drained) -> Result<u64, Fault> {
        let rows = self.life.compare_newest(drained.last()).await?;
        if self.life.changes.has_leapt() {
            let doing = "rely on what was compared";
            return Err(Fault::new(FaultClass::Transient, "source_schema_moved", doing).with_remedy(
                "the application changed its schema more than once just now: every table is compared, and then try again",
            ));
        }
        self.life.note_step().await?;
        Ok(rows)
    }

    async fn prepare(&mut self, fence: &mut Option<Fence>, proven: &Proven) -> Result<Opening, Fault> {
        let counters = under(fence, Fence::counters).await?;
        // Everything up to the last change has passed: nothing is left to be read.
        let heights = self.life.heights.now(&self.life.applier).unwrap_or_default();
        let issued = Issued { counters: &counters, heights: &heights };
        let session = self.take(issued).await?;
        let (routing_epoch, ()) = try_join!(
            self.record(&session, proven.last),
            is_as_made(&session, self.life.migration, &self.life.tables),
        )?;
        Ok(Opening { session, routing_epoch })
    }

    async fn decide(&mut self, fenced: Fenced<Option<Fence>>, proven: &Proven) -> Result<(), Fault> {
        let fence = fenced.into_fence().expect("no thread has it");
        let (guards, last) = (self.preparations.guards.clone(), proven.last);
        let reverse = self.preparations.reverse;
        blocking("close SQLite to the application's writes", move || fence.close(&guards, last, reverse))
            .await
    }

    async fn open(&mut self, opening: Opening, _decided: Decided) -> Result<(), Fault> {
        self.commit(opening).await
    }
}

/// Looks at SQLite through the fence's own connection.
async fn under<T: Send + 'static>(
    fence: &mut Option<Fence>,
    look: impl FnOnce(&Fence) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let held = fence.take().expect("no thread has it");
    let (held, seen) = blocking("look at the fenced source", move || {
        let seen = look(&held);
        Ok((held, seen))
    })
    .await?;
    *fence = Some(held);
    seen
}
