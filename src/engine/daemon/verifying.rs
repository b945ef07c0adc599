//! When a validation runs, and what becomes of its verdict.

use super::toucher::Log;
use super::verify::{Pair, Progress, Validation};
use super::voice::Voice;
use crate::engine::order::{Order, Ordered, Repair};
use crate::engine::report::{Report, Verdict};
use crate::engine::status::{Validated, ValidationState};
use crate::flow::validate::{Extra, Scope, TableVerdict};
use crate::journal::store::Store;
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::plan::route::Route;
use crate::postgres::pair::PgHalf;
use crate::postgres::target::PgTarget;
use crate::postgres::task::Task;
use crate::sqlite::changes::Held;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::pair::SqliteHalf;
use crate::telemetry::labels::{Direction, RowVerdict};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// When both sides are compared while they are written.
#[derive(Clone, Copy, Debug)]
pub struct Timetable {
    /// From the end of one to the beginning of the next; none by itself where this is missing.
    pub every: Option<Duration>,
    /// How long a pair of snapshots is held: SQLite's WAL grows meanwhile.
    pub pair_age_max: Duration,
    pub listed_max: usize,
}

/// What the validations of a migration are about.
pub struct Subject {
    pub file: SqliteFile,
    pub tables: BTreeMap<i64, Arc<Route>>,
    pub target: PgTarget,
    pub migration: i64,
    pub store: Store,
    /// Without a password.
    pub described: String,
    /// Rows that PostgreSQL alone has.
    pub extra: Extra,
    pub direction: Direction,
}

pub struct Verifying {
    timetable: Timetable,
    subject: Subject,
    state: State,
    /// Rounds of reading again and comparing again that are left.
    rounds: u32,
    /// What an operator asked for and has no verdict yet. It survives the faults in between.
    wanted: Option<Ordered>,
    /// Everything is compared once the suspects are, whatever the timetable says.
    wished: bool,
    /// Rows that were read again for the validation that goes on.
    read_again: u64,
    /// A verdict was told that nobody has looked at yet.
    concluded: bool,
    /// Tables that must be read equal before the target counts as a copy of the source.
    suspects: BTreeMap<i64, Arc<Route>>,
}

enum State {
    Idle {
        next: Option<Instant>,
    },
    /// For a pair.
    Waiting(Box<Validation>),
    Comparing {
        at: Position,
        work: Task<Result<Progress, Fault>>,
    },
}

/// Rows mended in one round may be written again before they are compared: a few rounds settle it.
const ROUNDS_MAX: u32 = 3;
const AFTER_A_FAULT: Duration = Duration::from_secs(10);

impl Verifying {
    /// The first validation is due at once, after the suspects.
    pub fn new(
        timetable: Timetable,
        subject: Subject,
        suspects: &BTreeMap<i64, Arc<Route>>,
        voice: &Voice,
    ) -> Verifying {
        let wanted = voice.board.look(Instant::now()).status.validation.ordered;
        let next = timetable.every.map(|_| Instant::now()).or(wanted.as_ref().map(|_| Instant::now()));
        let (state, suspects) = (State::Idle { next }, suspects.clone());
        let mut verifying = Verifying {
            timetable,
            subject,
            state,
            rounds: ROUNDS_MAX,
            wanted,
            wished: false,
            read_again: 0,
            concluded: false,
            suspects,
        };
        if verifying.is_reconciling() {
            verifying.begin(Repair::ReadAgain);
        }
        verifying
    }

    pub fn is_reconciling(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether a snapshot of the target is held.
    pub fn is_comparing(&self) -> bool {
        match self.state {
            State::Idle { .. } | State::Waiting(_) => false,
            State::Comparing { .. } => true,
        }
    }

    /// Takes an order. Whatever happens from here on, it is carried out and stands in the journal. One that comes before another has its
    /// verdict is answered by the same one, and takes nothing away from it.
    pub async fn obey(&mut self, ordered: Ordered, (store, voice): (&Store, &Voice)) -> Result<(), Fault> {
        match ordered.order {
            Order::Phase(_) | Order::Ledger(..) => Ok(()),
            Order::Validate(repair) => {
                let repair = match self.wanted_repair() {
                    Repair::LeaveAsIs => repair,
                    Repair::ReadAgain => Repair::ReadAgain,
                };
                self.want(ordered, voice);
                self.record_order(store, voice).await?;
                if let Some(recorded) = self.wanted.take() {
                    self.want(Ordered { order: Order::Validate(repair), ..recorded }, voice);
                }
                self.rounds = ROUNDS_MAX;
                if !self.is_reconciling() {
                    self.begin(repair);
                }
                Ok(())
            }
        }
    }

    fn want(&mut self, ordered: Ordered, voice: &Voice) {
        voice.board.update(Instant::now(), |status| status.validation.ordered = Some(ordered.clone()));
        self.wanted = Some(ordered);
    }

    async fn record_order(&mut self, store: &Store, voice: &Voice) -> Result<(), Fault> {
        let Some(ordered) = self.wanted.as_mut().filter(|ordered| !ordered.recorded) else { return Ok(()) };
        let (what, detail) = ordered.words();
        store.note(what, &detail).await?;
        ordered.recorded = true;
        voice.board.update(Instant::now(), |status| status.validation.ordered = Some(ordered.clone()));
        Ok(())
    }

    /// What is to be done about differences, where nobody asks for anything else.
    fn wanted_repair(&self) -> Repair {
        match self.wanted.as_ref().map(|ordered| ordered.order) {
            Some(Order::Validate(repair)) => repair,
            Some(Order::Phase(_) | Order::Ledger(..)) | None => Repair::LeaveAsIs,
        }
    }

    /// What was compared until now says nothing any more, and what is being compared neither.
    pub fn begin_anew(&mut self, voice: &Voice) {
        voice.board.update(Instant::now(), |status| status.validation.last = None);
        self.wished = true;
        self.begin(self.wanted_repair());
        self.show(voice);
    }

    fn show(&self, voice: &Voice) {
        let running = !matches!(self.state, State::Idle { .. });
        voice.board.update(Instant::now(), |status| {
            status.validation.state = if running { ValidationState::Running } else { ValidationState::Idle };
        });
    }

    /// These may differ, whatever was found of them before.
    pub fn suspect(&mut self, tables: &BTreeMap<i64, Arc<Route>>, voice: &Voice) {
        self.suspects.clone_from(tables);
        self.rounds = ROUNDS_MAX;
        voice.follow_tables(&self.subject.tables, &self.suspects);
        self.begin(Repair::ReadAgain);
        self.show(voice);
    }

    fn begin(&mut self, repair: Repair) {
        let (tables, repair) = if self.is_reconciling() {
            (&self.suspects, Repair::ReadAgain)
        } else {
            (&self.subject.tables, repair)
        };
        let scope = Scope { workers: 1, listed_max: self.timetable.listed_max, extra: self.subject.extra };
        let validation = Validation::of(tables, (scope, repair));
        self.state = State::Waiting(Box::new(validation));
    }

    /// Whether the next snapshot is to be held. Begins a validation that is due.
    pub fn wants_a_pair(&mut self, voice: &Voice) -> bool {
        if let State::Idle { next: Some(next) } = self.state
            && next <= Instant::now()
        {
            self.begin(self.wanted_repair());
        }
        self.show(voice);
        self.is_waiting()
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Takes the other half of a pair, before anything else is committed in the target, and compares in the background.
    pub async fn pair(&mut self, held: Option<Held>, at: Position) -> Result<(), Fault> {
        let Some(held) = held.filter(|held| held.at == at && self.is_waiting()) else { return Ok(()) };
        let postgres = PgHalf::of_target(&self.subject.target, self.subject.migration, at).await?;
        self.compare(Pair { sqlite: SqliteHalf::new(held), postgres }, at);
        Ok(())
    }

    /// Compares in the background, if a validation waits for a pair.
    pub fn compare(&mut self, pair: Pair, at: Position) {
        self.state = match std::mem::replace(&mut self.state, State::Idle { next: None }) {
            State::Waiting(validation) => {
                let work = validation.go_on(pair, self.subject.log(), self.timetable.pair_age_max);
                State::Comparing { at, work: Task::begin(work) }
            }
            other @ (State::Idle { .. } | State::Comparing { .. }) => other,
        };
    }

    /// Lets go of both sides at once. What was not compared yet is compared anew.
    pub fn rest(&mut self, voice: &Voice) {
        if !matches!(self.state, State::Idle { .. }) {
            self.state = State::Idle { next: Some(Instant::now()) };
        }
        voice.board.update(Instant::now(), |status| status.validation.state = ValidationState::Idle);
    }

    /// The same, and returns once nothing of it reads SQLite any more.
    pub async fn let_go(&mut self, voice: &Voice) {
        self.cut_off().await;
        self.rest(voice);
    }

    /// The same before the process ends. A comparison that still read would keep SQLite's log from going away with the last connection.
    pub async fn end(&mut self) {
        self.cut_off().await;
        self.state = State::Idle { next: None };
    }

    async fn cut_off(&mut self) {
        if let State::Comparing { work, .. } = &mut self.state {
            work.cut_off();
            // Whether it was cut off or had just ended: what it held is let go of.
            let _ended = work.await;
        }
    }

    /// What came in between, and a validation begins anew after. Whatever is not over by itself is passed on.
    pub fn interrupted(&mut self, fault: Fault) -> Result<(), Fault> {
        if fault.class == FaultClass::Fatal {
            return Err(fault);
        }
        tracing::warn!(code = fault.code, doing = fault.doing, "validation interrupted, begins anew");
        self.state = State::Idle { next: Some(Instant::now() + AFTER_A_FAULT) };
        Ok(())
    }

    /// Whether there is something to do, a pair to be made among it.
    pub fn is_due(&self) -> bool {
        match &self.state {
            State::Idle { next } => next.is_some_and(|next| next <= Instant::now()),
            State::Waiting(_) => true,
            State::Comparing { work, .. } => work.is_finished(),
        }
    }

    /// Returns when there is something to do: a comparison has ended, or the next one is due.
    pub async fn due(&mut self) {
        match &mut self.state {
            State::Idle { next: None } => std::future::pending().await,
            State::Idle { next: Some(next) } => tokio::time::sleep_until((*next).into()).await,
            State::Waiting(_) => {}
            State::Comparing { work, .. } => {
                while !work.is_finished() {
                    tokio::time::sleep(LOOK_AT_WORK).await;
                }
            }
        }
    }

    /// Sees to a comparison that has ended.
    pub async fn settle(&mut self, store: &Store, voice: &Voice) -> Result<(), Fault> {
        self.record_order(store, voice).await?;
        let State::Comparing { at, work } = &mut self.state else { return Ok(()) };
        if !work.is_finished() {
            return Ok(());
        }
        let at = *at;
        let ended = work.await;
        match ended
            .unwrap_or_else(|error| Err(Fault::fatal("stopped", "compare both sides").with_source(error)))
        {
            Ok(Progress::Paused(validation)) => self.state = State::Waiting(Box::new(validation)),
            Ok(Progress::Done(verdicts, validation)) => {
                self.conclude((verdicts, validation), at, store, voice).await?
            }
            Err(fault) => self.interrupted(fault)?,
        }
        Ok(())
    }

    /// Suspects are compared until they are read equal; only then does a validation of everything mean something.
    async fn reconciled(
        &mut self,
        verdicts: &[TableVerdict],
        (store, voice): (&Store, &Voice),
    ) -> Result<(), Fault> {
        let mut differing =
            verdicts.iter().filter(|table| table.missing + table.extra + table.different > 0).count();
        // What no reading again brings together must not keep the target from being a copy of the source's rows.
        if differing == 0 && self.rounds > 0 {
            differing = verdicts.iter().filter(|table| !table.ledger_agrees).count();
            self.rounds -= u32::from(differing > 0);
        }
        if differing == 0 {
            self.rounds = ROUNDS_MAX;
            let ids: Vec<i64> = std::mem::take(&mut self.suspects).into_keys().collect();
            store.clear_suspects(self.subject.migration, &ids).await?;
            tracing::info!(tables = ids.len(), "tables that had changed unseen are equal again");
            voice.follow_tables(&self.subject.tables, &self.suspects);
            let wanted = self.timetable.every.is_some() || self.wanted.is_some() || self.wished;
            self.state = State::Idle { next: wanted.then(Instant::now) };
            return Ok(());
        }
        tracing::info!(differing, "tables that had changed unseen are being read again");
        self.begin(Repair::ReadAgain);
        Ok(())
    }

    async fn conclude(
        &mut self,
        (verdicts, validation): (Vec<TableVerdict>, Validation),
        at: Position,
        store: &Store,
        voice: &Voice,
    ) -> Result<(), Fault> {
        if self.is_reconciling() {
            return self.reconciled(&verdicts, (store, voice)).await;
        }
        self.wished = false;
        self.count(&verdicts, validation.repair, voice);
        let differences = verdicts.iter().map(|table| table.missing + table.extra + table.different).sum();
        let Subject { direction, .. } = self.subject;
        let (source, target) = self.subject.sides();
        let report = Report {
            direction,
            source,
            target,
            started: validation.started,
            finished: SystemTime::now(),
            tables: verdicts,
            findings: Vec::new(),
            phases: vec![("validate", validation.started.elapsed().unwrap_or_default())],
            source_changed: false,
        };
        let json = report.to_json();
        store.record_verdict(self.subject.migration, &json.to_string()).await?;
        let (verdict, now) = (report.verdict(), Instant::now());
        self.concluded = true;
        tracing::info!(
            direction = direction.word(),
            verdict = verdict.words(),
            differences,
            seq = at.seq,
            "validation ended"
        );
        let repair = validation.repair;
        let again = repair == Repair::ReadAgain && verdict == Verdict::Differs && self.rounds > 0;
        let answered = if again { None } else { self.wanted.take() };
        let read_again = self.read_again;
        voice.board.update(now, |status| {
            let shown = &mut status.validation;
            shown.last = Some(Validated { direction, verdict, position: at, at: now, differences, repair });
            shown.report = Some(Arc::new(json));
            shown.read_again = read_again;
            if verdict != Verdict::Differs {
                shown.clean = Some(now);
                shown.schema_holds = true;
            }
            if let Some(answered) = answered {
                shown.answered = answered.number;
                shown.ordered = None;
                shown.refused = None;
            }
        });
        if again {
            self.rounds -= 1;
            self.begin(Repair::ReadAgain);
        } else {
            self.read_again = 0;
            self.state = State::Idle { next: self.timetable.every.map(|every| now + every) };
        }
        Ok(())
    }

    /// Once for each verdict.
    pub fn has_concluded(&mut self) -> bool {
        std::mem::take(&mut self.concluded)
    }

    fn count(&mut self, verdicts: &[TableVerdict], repair: Repair, voice: &Voice) {
        for verdict in verdicts {
            let table = &verdict.route.source;
            let (missing, extra, different) = (verdict.missing, verdict.extra, verdict.different);
            voice.metrics.validated(table, RowVerdict::Missing, missing);
            voice.metrics.validated(table, RowVerdict::Extra, extra);
            voice.metrics.validated(table, RowVerdict::Different, different);
            // A refused row is SQLite's, whichever side that is.
            let refused = match self.subject.direction {
                Direction::Forward => verdict.refused,
                Direction::Reverse => 0,
            };
            let equal = verdict.source_rows.saturating_sub(missing + different + refused);
            voice.metrics.validated(table, RowVerdict::Equal, equal);
            if !verdict.equal() {
                tracing::error!(table, missing, extra, different, "validation found differences");
            }
            match repair {
                Repair::LeaveAsIs => {}
                Repair::ReadAgain => {
                    voice.metrics.repaired(table, missing + extra + different);
                    self.read_again += missing + extra + different;
                }
            }
        }
    }
}

impl Subject {
    fn log(&self) -> Log {
        match self.direction {
            Direction::Forward => Log::Sqlite(self.file.clone(), self.store.clone(), self.migration),
            Direction::Reverse => Log::Postgres(self.target.clone(), self.migration),
        }
    }

    /// The source and the target, as people know them.
    fn sides(&self) -> (String, String) {
        let (sqlite, postgres) = (self.file.path().display().to_string(), self.described.clone());
        match self.direction {
            Direction::Forward => (sqlite, postgres),
            Direction::Reverse => (postgres, sqlite),
        }
    }
}

const LOOK_AT_WORK: Duration = Duration::from_millis(20);
