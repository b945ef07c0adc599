//! The way back: after the switch every change of PostgreSQL is brought to SQLite, so that a rollback loses nothing.

use super::asking::Asking;
use super::crossing::rollback::Backward;
use super::crossing::untouched::Untouched;
use super::desk::{Desk, Told, unmet};
use super::hooks::{self, Moment};
use super::job::Next;
use super::left::Left;
use super::shelf::Shelf;
use super::shown::{limits, reverse};
use super::stop::Stopping;
use super::tables::{followed, suspects};
use super::tended::are_apart;
use super::verifying::Verifying;
use super::voice::millis;
use crate::crash;
use crate::engine::order::{Order, Ordered};
use crate::engine::reason::Reason;
use crate::engine::standing::{Reverse, Writes};
use crate::engine::status::{Run, Status, View};
use crate::flow::cross::{Crossed, Failed, cross};
use crate::flow::follow::{Step, step};
use crate::link::{Captured, Extent, Take};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::model::name::PgName;
use crate::phase::RunState;
use crate::phase::gate::{Readings, to_cleanup, to_rollback};
use crate::phase::machine::{Command, Crossing, Event, State};
use crate::phase::pause::Pause;
use crate::plan::route::Route;
use crate::postgres::changes::PgChanges;
use crate::postgres::finish::{prove, unproved};
use crate::postgres::make_way::{make_way, who_holds};
use crate::postgres::target::{LoadRole, PgTarget};
use crate::postgres::task::Task;
use crate::sqlite::apply::SqliteApplier;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::source::SqliteSource;
use crate::telemetry::labels::{CutoverOutcome, Direction, Operation};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What one attempt works with while PostgreSQL is written.
pub struct Back<'a> {
    pub desk: Desk<'a>,
    pub stopping: Stopping,
    pub file: SqliteFile,
    pub tables: BTreeMap<i64, Arc<Route>>,
    pub target: PgTarget,
    pub changes: PgChanges,
    pub applier: SqliteApplier,
    pub left: Left,
    pub shelf: Shelf,
    pub untouched: Untouched,
    /// Tables that may differ in ways no captured change tells, as this life began.
    pub suspects: BTreeMap<i64, Arc<Route>>,
    pub tended: Option<Instant>,
}

const EMPTY_LOG_EVERY: Duration = Duration::from_millis(100);
const LOOK_AT_LAG: Duration = Duration::from_millis(500);
/// Changes of one batch, the queue's rows counted.
const CHANGES_MAX: u64 = 50_000;

pub async fn follow_back(
    desk: Desk<'_>,
    (orders, stopping): (&mut mpsc::Receiver<Ordered>, Stopping),
) -> Result<Next, Fault> {
    let request = &desk.job.request;
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let tables = followed(request, desk.store, desk.migration).await.map_err(put_back_whole)?;
    let suspects = suspects(&tables, &desk.store.suspects(desk.migration).await?);
    desk.voice.follow_tables(&tables, &suspects);
    let target = PgTarget::new(
        Arc::clone(&request.address),
        Some(desk.migration),
        LoadRole::Origin,
        request.overrides.existing_rows,
    );
    let session = target.session().await?;
    are_apart(&desk, &session, &tables).await?;
    target.give_back(session);
    let (changes, applier) = back_to(&desk, tables.clone(), (&target, &file)).await?;
    let _proving = Task::begin(prove_constraints(target.clone(), tables.clone()));
    let left = Left::beside(&SqliteSource::new(file.clone(), request.limit)).await?;
    let untouched = Untouched::since_closed(&desk, &file).await?;
    let (shelf, tended) = (Shelf::default(), None);
    let mut back = Back {
        desk,
        stopping,
        file,
        tables,
        target,
        changes,
        applier,
        left,
        shelf,
        untouched,
        suspects,
        tended,
    };
    let ended = back.keep_following(orders).await;
    if ended.is_err() {
        back.tell_lag().await;
    }
    ended
}

/// What is filled in after a change was undone is SQLite: where PostgreSQL lost values with it, SQLite has the last ones.
fn put_back_whole(fault: Fault) -> Fault {
    if fault.code != "schema_drift" {
        return fault;
    }
    fault.with_remedy(
        "the target's tables were changed: put the change back, values and all, in one transaction. SQLite still has the values as they were, and \
         is made equal to PostgreSQL as soon as the way back goes on, which it does by itself",
    )
}

/// Constraints came back without a look at the rows that were there; now there is time for it. One that rows break stays as it is, and
/// is told.
pub async fn prove_constraints(target: PgTarget, tables: BTreeMap<i64, Arc<Route>>) {
    let names: Vec<PgName> = tables.values().map(|route| route.target.clone()).collect();
    let all = async {
        let session = target.session().await?;
        for constraint in unproved(&session, &names).await? {
            if let Err(fault) = prove(&session, &constraint).await {
                tracing::warn!(
                    code = fault.code,
                    constraint = constraint.name,
                    table = %constraint.table,
                    "rows break a constraint, or it could not be looked at: it stays NOT VALID"
                );
            }
        }
        Ok::<(), Fault>(())
    };
    if let Err(fault) = all.await {
        tracing::warn!(code = fault.code, doing = fault.doing, "constraints are not validated");
    }
}

/// Both ends of the way back.
pub async fn back_to(
    desk: &Desk<'_>,
    tables: BTreeMap<i64, Arc<Route>>,
    (target, file): (&PgTarget, &SqliteFile),
) -> Result<(PgChanges, SqliteApplier), Fault> {
    let missing = || Fault::fatal("state_unreadable", "read where the migration stands");
    let schema = desk.store.follow(desk.migration).await?.ok_or_else(missing)?.source_schema;
    let (applier, on_disk) = SqliteApplier::new(file.clone(), desk.token.clone(), schema)?;
    let portion_bytes = desk.job.request.limit.bytes;
    let changes = PgChanges::new(target.clone(), (desk.migration, tables), portion_bytes, on_disk);
    Ok((changes, applier))
}

impl Back<'_> {
    pub async fn keep_following(&mut self, orders: &mut mpsc::Receiver<Ordered>) -> Result<Next, Fault> {
        let mut at = self.position().await?;
        let (mut emptied, mut looked) = (Instant::now(), None::<Instant>);
        let mut asking = Asking::begin(Instant::now());
        let mut verifying = self.verifying()?;
        // Whether there is a way back is known before the first batch, however long that takes; what stood still is not well before it
        // has moved.
        if self.desk.voice.board.look(Instant::now()).status.run.state == RunState::Running {
            self.look().await?;
            looked = Some(Instant::now());
        }
        tracing::info!(epoch = at.epoch, mark = at.seq, "following the way back");
        while !self.stopping.is_asked() {
            while let Ok(order) = orders.try_recv() {
                self.changes.forget(at.seq).await?;
                if let Some(next) = self.obey(order, &mut verifying).await? {
                    return Ok(next);
                }
                // Before it was refused everything may have been brought to SQLite.
                at = self.position().await?;
            }
            verifying.settle(self.desk.store, self.desk.voice).await?;
            if self.has_compared(&mut verifying).await? {
                looked = None;
            }
            let moved = match self.desk.state.paused {
                true => {
                    self.changes.forget(at.seq).await?;
                    None
                }
                false => self.step_compared(at, &mut verifying).await?,
            };
            if let Some(step) = &moved {
                at = step.to;
                asking.has_found(Instant::now());
            }
            if emptied < asking.found() && emptied.elapsed() >= EMPTY_LOG_EVERY {
                emptied = Instant::now();
                self.applier.empty_log().await?;
            }
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK_AT_LAG) {
                looked = Some(Instant::now());
                self.changes.forget(at.seq).await?;
                self.look().await?;
            }
            if moved.is_some() {
                continue;
            }
            self.desk.voice.board.tick(Instant::now());
            tokio::select! {
                () = asking.pause() => {}
                () = self.stopping.asked() => {}
                Some(order) = orders.recv() => {
                    if let Some(next) = self.obey(order, &mut verifying).await? {
                        return Ok(next);
                    }
                    at = self.position().await?;
                }
            }
        }
        self.desk.voice.say(RunState::Stopping, None);
        verifying.end().await;
        self.changes.forget(at.seq).await?;
        Ok(Next::Stopped)
    }

    pub async fn position(&mut self) -> Result<Position, Fault> {
        let reached = self.applier.reached().await?;
        self.changes.resume(reached).await;
        Ok(reached.at)
    }

    /// Brings SQLite to where PostgreSQL stands, whatever that takes.
    pub async fn catch_up(&mut self) -> Result<(), Fault> {
        let mut at = self.position().await?;
        while let Some(step) = self.step(at).await? {
            at = step.to;
            if step.extent == Extent::Whole {
                break;
            }
        }
        Ok(())
    }

    /// One batch, to its end.
    async fn step(&mut self, at: Position) -> Result<Option<Step>, Fault> {
        let (began, step) = (Instant::now(), self.take(at).await?);
        if let Some(step) = &step {
            self.taken(began, step);
            self.changes.forget(step.to.seq).await?;
        }
        Ok(step)
    }

    /// One batch; what it brings SQLite to is compared, where somebody waits for that.
    async fn step_compared(
        &mut self,
        at: Position,
        verifying: &mut Verifying,
    ) -> Result<Option<Step>, Fault> {
        let wanted = verifying.wants_a_pair(self.desk.voice);
        let (began, step) = (Instant::now(), self.take(at).await?);
        match (&step, wanted) {
            (Some(step), true) => self.pair_after(step, verifying).await?,
            (None, true) => self.pair_at_rest(at, verifying).await?,
            (_, false) => {}
        }
        if let Some(step) = &step {
            self.taken(began, step);
        }
        Ok(step)
    }

    /// One batch. What was taken before it is forgotten meanwhile.
    async fn take(&mut self, at: Position) -> Result<Option<Step>, Fault> {
        let (bite, on_misfit) = (self.desk.voice.bite(Direction::Reverse), self.desk.job.request.on_misfit);
        let most = bite.of(CHANGES_MAX);
        let step = step(&self.changes, &mut self.applier, (at, Take::UpTo(most)), on_misfit).await;
        match &step {
            Ok(Some(_)) => bite.went_well(),
            Ok(None) => {}
            // How many wait is known as of the last look.
            Err(_) => {
                let waiting = self.desk.voice.board.look(Instant::now()).status.standing.reverse;
                bite.takes(waiting.map_or(most, |reverse| reverse.changes.clamp(1, most)));
            }
        }
        step
    }

    /// Whoever watches is told.
    fn taken(&self, began: Instant, step: &Step) {
        let metrics = &self.desk.voice.metrics;
        metrics.batch_applied(began.elapsed(), step.changes);
        self.desk.voice.board.update(Instant::now(), |status| {
            status.standing.written_back += step.changes;
            // What has come since then is seen by the next look: until then nothing is known to wait.
            if let (Extent::Whole, Some(reverse)) = (step.extent, &mut status.standing.reverse) {
                (reverse.changes, reverse.oldest) = (0, None);
            }
        });
        for (table, done) in &step.tables {
            metrics.applied(Direction::Reverse, table, Operation::Upsert, done.written);
            metrics.applied(Direction::Reverse, table, Operation::Delete, done.deleted);
        }
    }

    /// How far SQLite is behind is PostgreSQL's to say, whatever SQLite is locked by: what was last told would stay.
    async fn tell_lag(&self) {
        let Ok(lag) = self.changes.lag().await else { return };
        let now = Instant::now();
        self.desk.voice.board.update(now, |status| {
            if let Some(reverse) = status.standing.reverse.as_mut() {
                reverse.changes = lag.rows;
                reverse.oldest = (lag.rows > 0).then(|| now.checked_sub(lag.oldest).unwrap_or(now));
            }
        });
    }

    /// How far SQLite is behind, for those who watch and for the gates.
    async fn look(&mut self) -> Result<Readings, Fault> {
        let lag = self.changes.lag().await?;
        self.left.look(&self.target, &self.tables).await?;
        self.left.look_at_spellings(self.desk.store, self.desk.migration).await?;
        self.tend().await?;
        let now = Instant::now();
        let oldest = (lag.rows > 0).then(|| now.checked_sub(lag.oldest).unwrap_or(now));
        let apart = self.desk.voice.board.look(now).status.tables.iter().any(|table| table.suspect);
        let state = match (self.desk.state.paused, apart) {
            (true, _) => RunState::Paused,
            (false, true) => RunState::CatchingUp,
            (false, false) => RunState::Running,
        };
        let seen = |status: &mut Status| {
            status.source.up = true;
            status.target.up = true;
            status.run = Run::plain(state);
            status.standing.reverse = Some(Reverse { changes: lag.rows, oldest, canary: true });
        };
        let mut view = self.desk.voice.board.look(now);
        seen(&mut view.status);
        let readings = self.readings(&view).await?;
        // At once: whoever sees how far SQLite is behind sees the gates too.
        self.desk.voice.board.update(now, |status| {
            seen(status);
            status.standing.gates =
                vec![(Command::Rollback, to_rollback(&readings)), (Command::Cleanup, to_cleanup(&readings))];
        });
        Ok(readings)
    }

    async fn readings(&mut self, view: &View) -> Result<Readings, Fault> {
        let archive = self.desk.job.switch.archive.as_deref();
        let archive = self.shelf.look(self.file.path(), archive).await;
        let desk = &self.desk;
        Ok(Readings {
            limits: limits(&desk.job.switch),
            owned: desk.store.is_owned(desk.migration, &desk.owner).await?,
            run: view.status.run.state,
            target_up: true,
            tables_to_load: 0,
            lag: view.lag(),
            validation: None,
            comparing: false,
            ledger_open: 0,
            ledger_acceptable: Vec::new(),
            sequences: None,
            sequences_left: Vec::new(),
            constraints: None,
            uncaptured: None,
            unwritable: None,
            reverse: reverse(view),
            one_way_columns: Vec::new(),
            left_behind: self.left.tables.iter().map(ToString::to_string).collect(),
            spelt_otherwise: self.left.spelt_otherwise.clone(),
            disk: None,
            archive,
            pause_expected: Pause::default(),
        })
    }

    async fn obey(&mut self, ordered: Ordered, verifying: &mut Verifying) -> Result<Option<Next>, Fault> {
        let command = match ordered.order {
            Order::Phase(command) => command,
            Order::Validate(_) => {
                let told = (self.desk.store, self.desk.voice);
                return verifying.obey(ordered, told).await.map(|()| None);
            }
            Order::Ledger(..) => {
                self.desk.take_up(&ordered);
                return self.desk.answer(&ordered, Some(Reason::ledger_rests())).await.map(|()| None);
            }
        };
        self.desk.take_up(&ordered);
        let after = match self.desk.judge(&ordered, command) {
            Err(reason) => return self.desk.answer(&ordered, Some(reason)).await.map(|()| None),
            Ok(after) if after == self.desk.state => {
                return self.desk.answer(&ordered, None).await.map(|()| None);
            }
            Ok(after) => after,
        };
        match command {
            Command::Rollback => self.roll_back(&ordered, after, verifying).await,
            Command::Cleanup => self.clean_up(&ordered, after, verifying).await,
            Command::Validate | Command::Switch | Command::Pause | Command::Resume | Command::Reads(_) => {
                let (what, detail) = ordered.words();
                self.desk.enter(after, Told::of(&ordered, what).entry(&detail)).await?;
                self.look().await?;
                self.desk.answer(&ordered, None).await.map(|()| None)
            }
        }
    }

    async fn clean_up(
        &mut self,
        ordered: &Ordered,
        after: State,
        verifying: &mut Verifying,
    ) -> Result<Option<Next>, Fault> {
        if let Some(reason) = unmet(&to_cleanup(&self.look().await?)) {
            return self.desk.answer(ordered, Some(reason)).await.map(|()| None);
        }
        verifying.rest(self.desk.voice);
        // The archive holds all that was written before this was asked for.
        self.catch_up().await?;
        let (what, detail) = ordered.words();
        self.desk.enter(after, Told::of(ordered, what).entry(&detail)).await?;
        self.desk.answer(ordered, None).await?;
        Ok(Some(Next::Again))
    }

    async fn make_way(&self) -> Result<(), Fault> {
        let session = self.target.session().await?;
        make_way(&session, &self.tables).await?;
        self.target.give_back(session);
        Ok(())
    }

    /// Moves the writes back to SQLite, or tells why not.
    async fn roll_back(
        &mut self,
        ordered: &Ordered,
        begun: State,
        verifying: &mut Verifying,
    ) -> Result<Option<Next>, Fault> {
        self.catch_up().await?;
        if let Some(reason) = unmet(&to_rollback(&self.look().await?)) {
            self.desk.voice.attempted(CutoverOutcome::Refused);
            return self.desk.answer(ordered, Some(reason)).await.map(|()| None);
        }
        let hooks = &self.desk.job.switch.hooks;
        if let Err(reason) = hooks::call(hooks, Moment::BeforeRollback).await {
            self.desk.voice.attempted(CutoverOutcome::Refused);
            return self.desk.answer(ordered, Some(reason)).await.map(|()| None);
        }
        // Beside a rollback journal a reader would keep SQLite from being opened.
        verifying.rest(self.desk.voice);
        let told = Told::of(ordered, "rollback");
        // Whoever stays in the way is named once it is known that he is.
        drop(self.make_way().await);
        self.desk.enter(begun, told.entry("begun")).await?;
        crash::passed("rollback", "begun");
        self.catch_up().await?;
        self.desk.route(Writes::Paused);
        let deadline = self.desk.job.switch.deadline;
        let crossed = cross(&mut Backward::new(self, (&told, deadline)), deadline).await;
        match crossed {
            Ok(crossed) => self.rolled_back(ordered, &crossed).await.map(|()| Some(Next::Again)),
            Err(Failed::Before(fault)) => {
                self.desk.voice.attempted(CutoverOutcome::Abandoned);
                self.desk.route(Writes::Postgres);
                let fault = who_holds(&self.target.session().await?, &self.tables, fault).await;
                let entry = format!("nothing happened: {fault}");
                self.desk.happened(Event::Abandoned(Crossing::Rollback), told.entry(&entry)).await?;
                self.desk.answer(ordered, Some(Reason::of(&fault))).await?;
                Ok(Some(Next::Again))
            }
            Err(Failed::InDoubt(fault)) => {
                self.desk.voice.attempted(CutoverOutcome::InDoubt);
                Err(fault)
            }
        }
    }

    async fn rolled_back(&mut self, ordered: &Ordered, crossed: &Crossed) -> Result<(), Fault> {
        self.desk.voice.crossed(crossed);
        tracing::info!(pause_ms = millis(crossed.pause), "the application's writes go to SQLite again");
        self.desk.call_due_hook().await?;
        crash::passed("rollback", "told");
        self.desk.answer(ordered, None).await
    }
}
