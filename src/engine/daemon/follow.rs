//! From armed to followed: backfill, the first catching up, indexes, and then every change as it comes.

use super::crossing::Work;
use super::desk::Desk;
use super::flight::{Course, Flown};
use super::job::Next;
use super::life::{Life, opened};
use super::pace::{LOOK_AT_LEDGER, LOOK_AT_TARGET, Late, Looks, Pruning, Quiet, SHOW_GATES};
use super::relearn::Doubts;
use super::reshape::LEAPT;
use super::returned;
use super::schema_moved::{is_of_schema, schema_moved};
use super::stop::Stopping;
use super::verifying::{Subject, Verifying};
use super::watch::BackfillWatch;
use crate::engine::finish::Steps;
use crate::engine::order::Ordered;
use crate::flow::backfill::backfill;
use crate::flow::progress::{Unwatched, Watch};
use crate::flow::validate::Extra;
use crate::journal::follow::Stage;
use crate::journal::store::Migration;
use crate::link::{Applier, Extent, POSITION_MOVED, Take};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::phase::machine::Event;
use crate::phase::{Phase, RunState};
use crate::plan::Statement;
use crate::plan::overrides::ExistingRows;
use crate::plan::route::Route;
use crate::postgres::finish::analyze;
use crate::postgres::newcomers::TARGET_DISTURBED;
use crate::postgres::patience::{self, answered};
use crate::postgres::target::Ground;
use crate::sqlite::history::SchemaSeen;
use crate::sqlite::wake::{Look, Wake};
use crate::telemetry::{labels::Direction, metrics::LedgerRows};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const DISTURBED: [&str; 2] = [TARGET_DISTURBED, "rows_swallowed"];

pub(super) async fn follow(
    desk: Desk<'_>,
    (migration, work): (Migration, Work),
    (orders, stopping): (&mut mpsc::Receiver<Ordered>, Stopping),
) -> Result<Next, Fault> {
    let missing = || Fault::fatal("state_unreadable", "read where the migration stands");
    returned::suspend_again(&desk, work).await?;
    let recorded = desk.store.follow(migration.id).await?.ok_or_else(missing)?;
    let mut life = opened(desk, (&migration, recorded), stopping).await?;
    let followed = async {
        if work == Work::FinishSwitch {
            return life.finish_switch().await;
        }
        if life.desk.state.phase <= Phase::Backfill {
            life.backfill().await?;
        }
        life.tend_suspects().await?;
        life.look_for_newcomers().await?;
        life.keep_following(orders).await
    };
    match followed.await {
        Err(fault) if is_of_schema(&fault) && life.schema_moved().await? => Err(schema_moved(fault)),
        Err(fault) if fault.class == FaultClass::Data || DISTURBED.contains(&fault.code) => {
            Err(life.without_newcomers(fault).await)
        }
        ended => ended,
    }
}

impl Life<'_> {
    async fn schema_moved(&self) -> Result<bool, Fault> {
        let now = self.link.source.read(SchemaSeen::in_db).await?;
        Ok(now.digest() != self.schema || self.version.is_some_and(|known| known != now.version()))
    }

    /// Loads what is there, and brings the target for the first time to a state that the source is in.
    async fn backfill(&mut self) -> Result<(), Fault> {
        let request = &self.job.request;
        let routes: Vec<Arc<Route>> = self.tables.values().cloned().collect();
        let ranges = self.store.ranges(self.migration, &routes).await?;
        let watch = BackfillWatch::begin(self.voice, &ranges, &self.link.source).await?;
        let open = ranges.into_iter().filter(|state| !state.done).map(|state| state.range).collect();
        let loaded = backfill(&self.link, open, (request.workers, request.on_misfit), &watch).await;
        if let Err(fault) = loaded {
            return Err(self.explain(fault).await);
        }
        self.link.source.release();
        watch.end();
        // Every chunk is of a state of its own.
        self.changes.must_show(self.store.seen(self.migration).await?);
        self.take_steps(Stage::Key, Ground::Loaded, &watch).await?;
        let mut at = self.applier.position().await?;
        self.voice.say(RunState::CatchingUp, None);
        while let Some(step) = self.step(at, Take::UpTo).await? {
            at = step.to;
            if step.extent == Extent::Whole {
                break;
            }
        }
        if self.applier.position().await? != at {
            return Err(moved("catch up with the source"));
        }
        self.take_steps(Stage::Index, Ground::State(at), &watch).await?;
        self.take_steps(Stage::Last, Ground::State(at), &watch).await?;
        let session = self.link.target.session().await?;
        for route in &routes {
            answered(patience::LONG, "gather statistics", analyze(&session, &route.target)).await?;
            self.voice.board.tick(Instant::now());
        }
        self.link.target.give_back(session);
        if !self.store.backfilled((self.migration, &self.owner), at).await? {
            return Err(self.explain(moved("record that the backfill is complete")).await);
        }
        self.store
            .note("followed", "the backfill is complete; every change is followed from here on")
            .await?;
        self.desk.has_happened(Event::BackfillComplete)
    }

    /// What stands elsewhere than it was left may have been moved by another owner, by a commit of ours whose answer was lost, or by a
    /// target that fell back to an earlier state.
    async fn explain(&mut self, fault: Fault) -> Fault {
        if !matches!(fault.code, "another_owner" | POSITION_MOVED) {
            return fault;
        }
        match self.applier.position().await {
            Ok(_) => moved(&fault.doing),
            Err(found) => found,
        }
    }

    /// Makes what the application's migrations have added to the rules of its tables, now that the target stands where they were added. What
    /// is unique there decides how rows are written: whether anything was made is told.
    async fn add_rules(&self, course: &mut Course, verifying: &Verifying) -> Result<bool, Fault> {
        if !course.rules_wait || verifying.is_reconciling() || verifying.is_comparing() {
            return Ok(false);
        }
        course.rules_wait = false;
        let steps = Steps::open(&self.link.target, self.store, self.migration, &Unwatched).await?;
        let mut some = false;
        for stage in [Stage::Index, Stage::Last] {
            let planned = self.store.planned(self.migration, stage).await?;
            if planned.iter().any(|statement| steps.is_open(statement)) {
                some = true;
                self.take_steps(stage, Ground::State(course.at), &Unwatched).await?;
            }
        }
        Ok(some)
    }

    async fn take_steps(&self, stage: Stage, ground: Ground, watch: &dyn Watch) -> Result<(), Fault> {
        let statements = self.store.planned(self.migration, stage).await?;
        let steps = Steps::open(&self.link.target, self.store, self.migration, watch).await?.on(ground);
        let taken = async {
            match stage {
                Stage::Key | Stage::Index => {
                    let side_by_side: Vec<&Statement> = statements.iter().collect();
                    steps.take_side_by_side(&side_by_side, self.job.request.workers).await
                }
                Stage::Last | Stage::Switch => steps.take_one_by_one(statements.iter()).await,
            }
        };
        // A step asks by itself whether the server is at it.
        let findings = self.voice.attended(taken).await?;
        for finding in findings {
            tracing::warn!(
                code = finding.code,
                subject = finding.subject,
                remedy = finding.remedy,
                "{}",
                finding.text
            );
        }
        Ok(())
    }

    async fn keep_following(&mut self, orders: &mut mpsc::Receiver<Ordered>) -> Result<Next, Fault> {
        let at = self.applier.position().await?;
        let mut wake = Wake::watch(self.changes.files(), self.job.poll)?;
        let (mut late, mut looks) = (Late::default(), Looks::new());
        let pruning = self.pruning(at).await?;
        let mut verifying = Verifying::new(self.job.validation, self.subject(), &self.suspects, self.voice);
        tracing::info!(epoch = at.epoch, seq = at.seq, "following");
        let doubts = Doubts::new(&self.look_at_ledger().await?);
        let mut course = Course::begin(at, pruning, doubts);
        while !self.stopping.is_asked() {
            if let Some(next) = self.obey_all(orders, &mut verifying).await? {
                return Ok(next);
            }
            self.settle(&mut verifying).await?;
            let until = course.pruning.next().map_or(looks.next(), |bite| bite.min(looks.next()));
            let Flown { idle, caught_up } =
                self.fly(&mut course, &mut wake, (orders, &verifying), until).await?;
            if !idle {
                looks.target = Instant::now();
            }
            if (idle || course.doubts.have_waited())
                && !verifying.is_comparing()
                && let Some(next) = Box::pin(self.learn_anew(&mut course.doubts)).await?
            {
                return Ok(next);
            }
            if caught_up && self.add_rules(&mut course, &verifying).await? {
                return Ok(Next::Again);
            }
            verifying.pair(self.changes.take_held(), course.at).await?;
            let of_migration = (self.store, self.migration);
            course.pruning.prune(&self.changes, &mut self.applier, of_migration).await?;
            self.look_around(&mut looks, &mut verifying).await?;
            if idle && let Some(early) = wake.found_nothing() {
                self.let_it_come(early).await?;
                continue;
            }
            let long = if idle && course.quiet.lasts() { self.retire(&wake, course.at).await? } else { None };
            late.settle(long, Instant::now());
            while caught_up && !self.stopping.is_asked() {
                self.voice.board.tick(Instant::now());
                tokio::select! {
                    () = wake.wait() => {}
                    () = self.stopping.asked() => {}
                    () = verifying.due() => break,
                    Some(order) = orders.recv() => {
                        if let Some(next) = self.obey(order, &mut verifying).await? {
                            return Ok(next);
                        }
                        break;
                    }
                }
                self.look_around(&mut looks, &mut verifying).await?;
                if looks.target.elapsed() >= LOOK_AT_TARGET
                    && self.target_moved(&mut looks, &mut course.at).await?
                {
                    break;
                }
                // Disconnected, files that look otherwise are worth a look inside, or a commit that may have come late.
                let in_doubt = course.doubts.are_due_again() && !verifying.is_comparing();
                if long.is_none_or(|long| long != wake.look()) || late.is_due(Instant::now()) || in_doubt {
                    break;
                }
            }
        }
        self.voice.say(RunState::Stopping, None);
        verifying.end().await;
        Ok(Next::Stopped)
    }

    async fn pruning(&self, at: Position) -> Result<Pruning, Fault> {
        let marks = self.store.marks(self.migration, at.epoch).await?;
        Ok(Pruning::resumed(self.job.retention, at, marks))
    }

    /// Ends what has been compared, and has the next snapshot held where another comparison is due.
    async fn settle(&self, verifying: &mut Verifying) -> Result<(), Fault> {
        verifying.settle(self.store, self.voice).await?;
        if verifying.wants_a_pair(self.voice) {
            self.changes.hold_next();
        }
        Ok(())
    }

    async fn target_moved(&mut self, looks: &mut Looks, at: &mut Position) -> Result<bool, Fault> {
        looks.target = Instant::now();
        let left = std::mem::replace(at, self.applier.position().await?);
        Ok(left != *at)
    }

    /// What waits to be ordered; while replication is paused, until it is resumed.
    async fn obey_all(
        &mut self,
        orders: &mut mpsc::Receiver<Ordered>,
        verifying: &mut Verifying,
    ) -> Result<Option<Next>, Fault> {
        while let Ok(order) = orders.try_recv() {
            if let Some(next) = self.obey(order, verifying).await? {
                return Ok(Some(next));
            }
        }
        if self.desk.state.paused { self.stay_paused((orders, verifying)).await } else { Ok(None) }
    }

    /// Looks at the ledger, for newcomers and at the gates, each as often as it is worth.
    async fn look_around(&mut self, looks: &mut Looks, verifying: &mut Verifying) -> Result<(), Fault> {
        if looks.ledger.elapsed() >= LOOK_AT_LEDGER {
            looks.ledger = Instant::now();
            self.look_at_ledger().await?;
        }
        if Instant::now() >= looks.lookout.due() {
            self.keep_lookout(&mut looks.lookout).await?;
        }
        if verifying.has_concluded() || looks.gates.is_none_or(|looked| looked.elapsed() >= SHOW_GATES) {
            looks.gates = Some(Instant::now());
            self.note_version(verifying).await?;
            self.show_gates().await?;
        }
        Ok(())
    }

    /// Counts what the ledger holds, for those who watch.
    pub(super) async fn look_at_ledger(&self) -> Result<Vec<(String, String, u64)>, Fault> {
        let held = self.store.ledger_rows(self.migration).await?;
        let rows = held.iter().map(|(table, reason, rows)| LedgerRows { table, reason, rows: *rows });
        self.voice.metrics.ledger(&rows.collect::<Vec<_>>());
        let total = held.iter().map(|(_, _, rows)| rows).sum();
        self.voice.board.update(Instant::now(), |status| status.ledger_rows = total);
        Ok(held)
    }

    /// Closes the connections. What was written while it closed is looked for once more, after which the files stay as they look until
    /// somebody else touches them. Nothing where there is work to do.
    async fn retire(&mut self, wake: &Wake, at: Position) -> Result<Option<Look>, Fault> {
        self.changes.rest();
        self.link.source.release();
        tokio::time::sleep(Quiet::CLOCK_TICK).await;
        let look = wake.look();
        if self.changes.waiting(at).await? > 0 {
            return Ok(None);
        }
        self.changes.rest();
        Ok((wake.look() == look).then_some(look))
    }

    /// What was changed and changed back in between two looks has all tables compared.
    pub(super) async fn note_version(&mut self, verifying: &mut Verifying) -> Result<(), Fault> {
        if self.changes.take_leap() {
            self.store.suspect_all((self.migration, &self.owner)).await?;
            if self.leapt.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
                tracing::warn!(
                    "the schema was changed and changed back between two looks: every table is compared"
                );
                self.store.note("schema", LEAPT).await?;
                self.leapt = Some(Instant::now());
            }
            self.suspects = self.tables.clone();
            self.voice.board.update(Instant::now(), |status| status.validation.schema_holds = false);
            verifying.suspect(&self.suspects, self.voice);
        }
        self.note_step().await
    }

    /// A VACUUM moves SQLite's version of the schema and no row: neither the next life nor the way back is to wonder at several of them.
    pub(super) async fn note_step(&mut self) -> Result<(), Fault> {
        let seen = self.changes.schema_version();
        if let Some(version) = seen.filter(|_| seen != self.version) {
            self.store.understood((self.migration, &self.owner), version).await?;
            self.version = seen;
        }
        Ok(())
    }

    fn subject(&self) -> Subject {
        Subject {
            file: self.link.source.file().clone(),
            tables: self.tables.clone(),
            target: self.link.target.clone(),
            migration: self.migration,
            store: self.store.clone(),
            described: self.job.request.address.describe(),
            direction: Direction::Forward,
            extra: match self.job.request.overrides.existing_rows {
                ExistingRows::Merge => Extra::Allowed,
                ExistingRows::Refuse | ExistingRows::Replace => Extra::Counts,
            },
        }
    }
}

/// Of an application that makes and drops tables all the time, the journal is not to become a diary.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

fn moved(doing: &str) -> Fault {
    Fault::new(FaultClass::Unknown, POSITION_MOVED, doing)
        .with_remedy("The target does not stand where it was left; where it stands is read again.")
}
