//! What is so at this moment: written by the driver, read by whoever asks. The reader never waits for work, and the writer never
//! for a reader: the lock is held for a copy, no longer.
//!
//! Ages are kept as instants of the monotonic clock and become seconds when they are read: a lag that nobody updates still grows.
//! It never holds a cell's value or a password.

mod json;

use super::order::{Ordered, Repair};
use super::reason::Reason;
use super::report::Verdict;
use super::standing::Standing;
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::phase::machine::State;
use crate::phase::{Phase, RunState};
use crate::telemetry::labels::Direction;
use crate::telemetry::metrics::Readings;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// A daemon that has not ticked for so long is stuck.
pub const TICK_AGE_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Status {
    pub machine: State,
    pub standing: Standing,
    pub run: Run,
    pub source: Source,
    pub target: Target,
    /// Nothing before the first look.
    pub lag: Option<Lag>,
    /// What is followed, by the numbers that triggers know tables by.
    pub tables: Vec<Followed>,
    pub backfill: Backfill,
    pub validation: Validation,
    pub ledger_rows: u64,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub state: RunState,
    pub reason: Option<Reason>,
}

#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    pub up: bool,
    /// The newest captured change, once capture is armed.
    pub seq: Option<i64>,
    pub wal_bytes: u64,
    pub log_rows: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Target {
    pub up: bool,
    pub version: Option<String>,
    pub position: Option<Position>,
    /// Where it is, without a password.
    pub address: String,
    pub schema: String,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    pub changes: u64,
    /// When the oldest unapplied change was made, as well as is known.
    pub oldest: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    pub id: i64,
    pub source: String,
    pub target: String,
    /// Something may have changed unseen: it is compared before it counts as followed.
    pub suspect: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Backfill {
    pub tables: BTreeMap<String, TableProgress>,
    pub eta: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableProgress {
    pub rows: u64,
    pub total: u64,
    pub state: TableState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState {
    Waiting,
    Copying,
    Copied,
}

#[derive(Clone, Debug, Default)]
pub struct Validation {
    pub state: ValidationState,
    pub last: Option<Validated>,
    /// The last verdict with its tables and the differences that are listed.
    pub report: Option<Arc<Value>>,
    /// Rows that were read again for it, because they differed.
    pub read_again: u64,
    /// What an operator asked for and has no verdict yet.
    pub ordered: Option<Ordered>,
    /// The newest order that has its verdict, or was refused one.
    pub answered: u64,
    /// Why it was.
    pub refused: Option<Reason>,
    /// When both sides were last found equal, whatever was found since.
    pub clean: Option<Instant>,
    /// Whether the source's schema is still the one that the last verdict was about.
    pub schema_holds: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValidationState {
    #[default]
    Idle,
    Running,
}

#[derive(Clone, Copy, Debug)]
pub struct Validated {
    /// Which side was the source.
    pub direction: Direction,
    pub verdict: Verdict,
    pub position: Position,
    pub at: Instant,
    pub differences: u64,
    /// What was done about them.
    pub repair: Repair,
}

/// One for the process: the driver keeps it up to date, everybody else looks at it.
#[derive(Clone, Debug)]
pub struct Board(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    panel: Mutex<Panel>,
    /// Moves when something happens that somebody waits to see.
    moved: watch::Sender<()>,
}

#[derive(Debug)]
struct Panel {
    status: Status,
    started: Instant,
    process: Arc<str>,
    ticked: Instant,
    /// When the present phase began, or this process.
    entered: Instant,
    /// Of the phases that are over.
    phase_times: BTreeMap<Phase, Duration>,
}

/// The board as it was at one instant.
#[derive(Clone, Debug)]
pub struct View {
    pub status: Status,
    /// When it began: no other process is called so.
    pub process: Arc<str>,
    pub uptime: Duration,
    pub tick_age: Duration,
    phase_times: BTreeMap<Phase, Duration>,
    at: Instant,
}

impl Board {
    pub fn new(status: Status, now: Instant) -> Board {
        let phase_times = BTreeMap::new();
        let process = DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Micros, true);
        let process = process.into();
        let panel = Panel { status, started: now, process, ticked: now, entered: now, phase_times };
        Board(Arc::new(Shared { panel: Mutex::new(panel), moved: watch::Sender::new(()) }))
    }

    pub fn update(&self, now: Instant, change: impl FnOnce(&mut Status)) {
        let mut panel = self.panel();
        let (before, event) = (panel.status.phase(), panel.status.event());
        change(&mut panel.status);
        if panel.status.phase() != before {
            if let Some(before) = before {
                let spent = now.saturating_duration_since(panel.entered);
                *panel.phase_times.entry(before).or_default() += spent;
            }
            panel.entered = now;
        }
        let has_moved = panel.status.event() != event;
        drop(panel);
        if has_moved {
            self.0.moved.send_replace(());
        }
    }

    /// Hears of what happens; of what only grows or ages it does not.
    pub fn moved(&self) -> watch::Receiver<()> {
        self.0.moved.subscribe()
    }

    /// Says that the work itself goes on. Never called by a timer that would go on ticking beside stuck work.
    pub fn tick(&self, now: Instant) {
        self.panel().ticked = now;
    }

    pub fn look(&self, now: Instant) -> View {
        let panel = self.panel();
        let mut phase_times = panel.phase_times.clone();
        if let Some(present) = panel.status.phase() {
            *phase_times.entry(present).or_default() += now.saturating_duration_since(panel.entered);
        }
        View {
            status: panel.status.clone(),
            process: Arc::clone(&panel.process),
            uptime: now.saturating_duration_since(panel.started),
            tick_age: now.saturating_duration_since(panel.ticked),
            phase_times,
            at: now,
        }
    }

    /// A panic while the lock is held ends the process, or a test.
    fn panel(&self) -> MutexGuard<'_, Panel> {
        self.0.panel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// Whether the process makes progress.
    pub fn healthy(&self) -> Result<(), Reason> {
        if self.status.run.state == RunState::Halted {
            return Err(self.status.run.reason.clone().unwrap_or_else(|| {
                Reason::new("halted", "replication has halted", "The log says what happened.")
            }));
        }
        if self.tick_age > TICK_AGE_MAX {
            let sentence = format!("nothing has moved for {} s", self.tick_age.as_secs());
            return Err(Reason::new("no_progress", sentence, "Restart the daemon: it resumes where it was."));
        }
        Ok(())
    }

    /// Whether replication is live, and close behind.
    pub fn ready(&self, lag_max: Duration) -> Result<(), Reason> {
        self.healthy()?;
        let Status { machine: State { phase, .. }, run, .. } = &self.status;
        self.located()?;
        if !phase.replicates() {
            let sentence = format!("changes are not followed in the phase {}", phase.word());
            return Err(Reason::new("not_replicating", sentence, ""));
        }
        if run.state != RunState::Running {
            return Err(run.reason.clone().unwrap_or_else(|| {
                Reason::new("not_running", format!("replication is {}", run.state.word()), "")
            }));
        }
        let lag = match phase {
            Phase::Switch => self.status.standing.reverse.map(|reverse| self.reverse_lag(reverse)),
            _ => self.lag(),
        };
        let Some(lag) = lag else {
            return Err(Reason::new("not_looked_yet", "what waits to be applied is not known yet", ""));
        };
        if lag >= lag_max {
            let sentence = format!(
                "the oldest unapplied change is {:.1} s old, the bound is {:.1} s",
                lag.as_secs_f64(),
                lag_max.as_secs_f64()
            );
            return Err(Reason::new("lagging", sentence, ""));
        }
        Ok(())
    }

    /// Whether it is known where the migration stands, or why not.
    pub fn located(&self) -> Result<Phase, Reason> {
        let unread = || {
            let remedy = "The records are in PostgreSQL: once it is reached, this is known.";
            Reason::new("not_looked_yet", "where the migration stands has not been read yet", remedy)
        };
        self.status.phase().ok_or_else(|| self.status.run.reason.clone().unwrap_or_else(unread))
    }

    pub fn age_of(&self, then: Instant) -> Duration {
        self.since(then)
    }

    pub fn lag(&self) -> Option<Duration> {
        self.waiting().map(|lag| lag.oldest.map_or(Duration::ZERO, |oldest| self.since(oldest)))
    }

    /// What of SQLite waits to be applied, as well as is known: nothing does once the writes have moved.
    fn waiting(&self) -> Option<Lag> {
        let moved = self.status.machine.phase >= Phase::Switch;
        self.status.lag.or(moved.then(Lag::default))
    }

    pub fn readings(&self) -> Readings {
        let Status { run, source, target, backfill, validation, .. } = &self.status;
        Readings {
            phase: self.status.phase(),
            phase_times: self.phase_times.clone(),
            run_state: run.state,
            copy_eta: backfill.eta,
            lag_changes: self.waiting().map(|lag| lag.changes),
            lag: self.lag(),
            source_seq: source.seq,
            applied_seq: target.position.map(|position| position.seq),
            source_wal_bytes: source.wal_bytes,
            change_log_rows: source.log_rows,
            validate_clean_age: validation.clean.map(|clean| self.since(clean)),
            sqlite_up: source.up,
            postgres_up: target.up,
            gates: self.gates(),
            rollback_possible: self.way_back().is_ok(),
            reverse_lag: self.status.standing.reverse.map(|reverse| self.reverse_lag(reverse)),
        }
    }

    pub(super) fn since(&self, instant: Instant) -> Duration {
        self.at.saturating_duration_since(instant)
    }
}

impl Status {
    /// Whatever somebody may wait for.
    fn event(&self) -> impl PartialEq + use<> {
        let answer = self.standing.answers.first().map(|answer| answer.number);
        let validation = (self.validation.state, self.validation.answered);
        (self.phase(), self.machine, self.run.state, self.standing.routing, answer, validation)
    }

    /// `None` until the records have been read: a process begins with the first phase, whatever was reached.
    pub fn phase(&self) -> Option<Phase> {
        let Status { machine: State { phase, .. }, standing, .. } = self;
        (standing.records_read || *phase != Phase::Setup).then_some(*phase)
    }

    /// Of a daemon that has looked at nothing yet.
    pub fn at_start(source: &Path) -> Status {
        Status {
            machine: State::FIRST,
            standing: Standing::default(),
            run: Run::plain(RunState::Running),
            source: Source { path: source.to_owned(), up: false, seq: None, wal_bytes: 0, log_rows: 0 },
            target: Target::default(),
            lag: None,
            tables: Vec::new(),
            backfill: Backfill::default(),
            validation: Validation::default(),
            ledger_rows: 0,
        }
    }
}

impl Run {
    /// All is well, or as the operator wants it.
    pub fn plain(state: RunState) -> Run {
        Run { state, reason: None }
    }

    pub fn because(state: RunState, fault: &Fault) -> Run {
        Run { state, reason: Some(Reason::of(fault)) }
    }
}

impl TableState {
    pub fn word(self) -> &'static str {
        match self {
            TableState::Waiting => "waiting",
            TableState::Copying => "copying",
            TableState::Copied => "copied",
        }
    }
}

impl ValidationState {
    pub fn word(self) -> &'static str {
        match self {
            ValidationState::Idle => "idle",
            ValidationState::Running => "running",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::standing::{Answer, Reverse, Routing, Writes};
    use serde_json::json;

    const SECOND: Duration = Duration::from_secs(1);

    fn status() -> Status {
        Status {
            standing: Standing::default(),
            machine: State { phase: Phase::DualWrite, ..State::FIRST },
            run: Run::plain(RunState::Running),
            source: Source { path: "app.db".into(), up: true, seq: Some(12), wal_bytes: 4096, log_rows: 3 },
            target: Target::default(),
            lag: Some(Lag::default()),
            tables: Vec::new(),
            backfill: Backfill::default(),
            validation: Validation::default(),
            ledger_rows: 0,
        }
    }

    fn fault() -> Fault {
        Fault::fatal("schema_drift", "follow orders")
            .with_remedy("Look at orders.")
            .with_source(std::io::Error::other("a column is gone"))
    }

    #[test]
    fn an_empty_status_says_null_and_never_leaves_a_key_out() {
        let now = Instant::now();
        let impossible = |command: &str, remedy: &str| {
            let sentence = format!("`{command}` is not possible in the phase dual-write");
            let because = json!({ "code": "not_in_this_phase", "sentence": sentence, "remedy": remedy });
            json!({ "open": false, "because": because, "closed": [], "of": 0 })
        };
        let view = Board::new(status(), now).look(now + 7 * SECOND);
        let expected = json!({
            "phase": "dual-write",
            "run": { "state": "running", "reason": null },
            "source": { "path": "app.db", "up": true, "seq": 12, "wal_bytes": 4096, "log_rows": 3 },
            "target": { "up": false, "version": null, "position": null, "address": "", "schema": "" },
            "lag": { "changes": 0, "seconds": 0.0 },
            "backfill": { "tables": {}, "eta_seconds": null },
            "validation": { "state": "idle", "direction": null, "verdict": null, "position": null, "age_seconds": null, "differences": null },
            "ledger": { "rows": 0 },
            "rollback": { "possible": true, "reason": null },
            "version": env!("CARGO_PKG_VERSION"),
            "process": *view.process,
            "uptime_seconds": 7,
            "tick_age_seconds": 7,
            "machine": { "crossing": null, "paused": false, "reads": 0 },
            "routing": null,
            "reverse": null,
            "gates": {
                "validate": { "open": true, "because": null, "closed": [], "of": 0 },
                "switch": impossible("switch", "The way leads over `liteferry phase validate`."),
                "rollback": { "open": true, "because": null, "closed": [], "of": 0 },
                "cleanup": impossible("cleanup", "The way leads over `liteferry phase validate`."),
            },
            "pause": { "expected_seconds": null, "measured_seconds": null },
            "answer": null,
            "answers": [],
        });
        assert_eq!(view.to_json(), expected);
    }

    #[test]
    fn a_full_status_says_all_of_it() {
        let now = Instant::now();
        let board = Board::new(status(), now);
        let position = Position { epoch: 1, seq: 10, nonce: i64::MIN };
        board.update(now, |status| {
            status.run = Run::because(RunState::Degraded, &fault());
            status.target = Target {
                up: true,
                version: Some("15.8".into()),
                position: Some(position),
                address: "postgres://me@host/app".into(),
                schema: "public".into(),
            };
            status.lag = Some(Lag { changes: 2, oldest: Some(now) });
            let orders = TableProgress { rows: 5, total: 10, state: TableState::Copying };
            status.backfill = Backfill { tables: [("orders".into(), orders)].into(), eta: Some(SECOND) };
            let last = Validated {
                direction: Direction::Forward,
                verdict: Verdict::Differs,
                position,
                at: now,
                differences: 4,
                repair: Repair::LeaveAsIs,
            };
            status.validation = Validation {
                state: ValidationState::Running,
                last: Some(last),
                clean: Some(now),
                ..Validation::default()
            };
            status.ledger_rows = 9;
        });
        let view = board.look(now + 2 * SECOND);
        let position = json!({ "epoch": 1, "seq": 10, "nonce": "-9223372036854775808" });
        let json = view.to_json();
        let reason = json!({ "code": "schema_drift", "sentence": "cannot follow orders, because a column is gone",
            "remedy": "Look at orders." });
        for (pointer, expected) in [
            ("/run", json!({ "state": "degraded", "reason": reason })),
            (
                "/target",
                json!({ "up": true, "version": "15.8", "position": position,
                    "address": "postgres://me@host/app", "schema": "public" }),
            ),
            ("/lag", json!({ "changes": 2, "seconds": 2.0 })),
            ("/backfill/tables/orders", json!({ "rows": 5, "total": 10, "state": "copying" })),
            ("/backfill/eta_seconds", json!(1.0)),
            (
                "/validation",
                json!({ "state": "running", "direction": "forward", "verdict": "differs", "position": position,
                    "age_seconds": 2.0, "differences": 4 }),
            ),
            ("/ledger/rows", json!(9)),
            ("/rollback", json!({ "possible": true, "reason": null })),
        ] {
            assert_eq!(json.pointer(pointer), Some(&expected), "{pointer}");
        }
        let readings = view.readings();
        assert_eq!((readings.source_seq, readings.applied_seq), (Some(12), Some(10)));
        assert_eq!((readings.lag, readings.validate_clean_age), (Some(2 * SECOND), Some(2 * SECOND)));
    }

    #[test]
    fn the_way_is_told_with_its_last_answer() {
        let now = Instant::now();
        let board = Board::new(status(), now);
        let mut moved = board.moved();
        board.update(now, |status| status.source.log_rows += 1);
        assert!(!moved.has_changed().unwrap(), "what only grows is no event");
        let refused = Some(Reason::new("gates_closed", "a gate is closed: lag", "Wait."));
        board.update(now, |status| {
            let standing = &mut status.standing;
            standing.routing = Some(Routing { epoch: 4, writes: Writes::Postgres });
            standing.reverse = Some(Reverse { changes: 2, oldest: Some(now), canary: true });
            (standing.pause_expected, standing.pause_measured) = (Some(SECOND), Some(2 * SECOND));
            standing.tell(Answer { number: 6, refused: None });
            standing.tell(Answer { number: 7, refused });
        });
        assert!(moved.has_changed().unwrap());
        moved.mark_unchanged();
        let json = board.look(now + SECOND).to_json();
        let refused =
            json!({ "code": "gates_closed", "sentence": "a gate is closed: lag", "remedy": "Wait." });
        for (name, expected) in [
            ("routing", json!({ "epoch": 4, "writes": "postgres" })),
            ("reverse", json!({ "changes": 2, "lag_seconds": 1.0, "canary": true, "applied": 0 })),
            ("pause", json!({ "expected_seconds": 1.0, "measured_seconds": 2.0 })),
            ("answer", json!({ "order": 7, "refused": refused })),
            ("answers", json!([{ "order": 7, "refused": refused }, { "order": 6, "refused": null }])),
        ] {
            assert_eq!(json[name], expected);
        }
    }

    #[test]
    fn lag_grows_while_a_change_waits_and_nobody_updates_it() {
        let now = Instant::now();
        let board = Board::new(status(), now);
        board.update(now, |status| status.lag = Some(Lag { changes: 1, oldest: Some(now) }));
        assert_eq!(board.look(now + SECOND).lag(), Some(SECOND));
        assert_eq!(board.look(now + 9 * SECOND).lag(), Some(9 * SECOND));
        board.update(now + 9 * SECOND, |status| status.lag = Some(Lag::default()));
        assert_eq!(board.look(now + 10 * SECOND).lag(), Some(Duration::ZERO));
        // Zero of what nobody has counted would be believed.
        board.update(now, |status| status.lag = None);
        let view = board.look(now);
        assert_eq!(
            (view.lag(), view.to_json()["lag"].clone()),
            (None, json!({ "changes": null, "seconds": null }))
        );
    }

    #[test]
    fn only_ticks_prove_progress() {
        let now = Instant::now();
        let board = Board::new(status(), now);
        board.update(now + 25 * SECOND, |status| status.source.log_rows += 1);
        assert_eq!(board.look(now + TICK_AGE_MAX).healthy(), Ok(()));
        let stuck = board.look(now + 31 * SECOND).healthy().unwrap_err();
        assert_eq!((stuck.code, stuck.sentence.as_str()), ("no_progress", "nothing has moved for 31 s"));
        board.tick(now + 31 * SECOND);
        assert_eq!(board.look(now + 31 * SECOND).healthy(), Ok(()));
    }

    #[test]
    fn a_halted_daemon_is_unwell_and_says_why() {
        let now = Instant::now();
        let board = Board::new(status(), now);
        for (run, code) in [
            (Run::because(RunState::Halted, &fault()), "schema_drift"),
            (Run::plain(RunState::Halted), "halted"),
        ] {
            board.update(now, |status| status.run = run);
            assert_eq!(board.look(now).healthy().unwrap_err().code, code);
            assert_eq!(board.look(now).ready(SECOND).unwrap_err().code, code);
        }
    }

    #[test]
    fn ready_means_replicating_running_and_close_behind() {
        type Change = fn(&mut Status);
        let behind = |status: &mut Status| {
            let oldest = status.lag.and_then(|lag| lag.oldest).map(|oldest| oldest - 4 * SECOND);
            status.machine.phase = Phase::Switch;
            status.standing.reverse = Some(Reverse { changes: 1, oldest, canary: true });
        };
        let late = |status: &mut Status| {
            let oldest = status.lag.and_then(|lag| lag.oldest).map(|oldest| oldest - 4 * SECOND);
            status.lag = Some(Lag { changes: 1, oldest });
        };
        let cases: [(Change, Result<(), &str>); 11] = [
            (|_| {}, Ok(())),
            (behind, Err("lagging")),
            (|status| status.machine.phase = Phase::Cleanup, Ok(())),
            (|status| status.machine.phase = Phase::Backfill, Err("not_replicating")),
            (|status| status.machine.phase = Phase::Done, Err("not_replicating")),
            (|status| status.run = Run::plain(RunState::CatchingUp), Err("not_running")),
            (|status| status.run = Run::plain(RunState::Paused), Err("not_running")),
            (|status| status.run = Run::because(RunState::Degraded, &fault()), Err("schema_drift")),
            (late, Err("lagging")),
            (|status| status.lag = None, Err("not_looked_yet")),
            (|status| status.machine.phase = Phase::Switch, Err("not_looked_yet")),
        ];
        for (index, (change, expected)) in cases.into_iter().enumerate() {
            let now = Instant::now() + 60 * SECOND;
            let board = Board::new(status(), now);
            board.update(now, |status| status.lag = Some(Lag { changes: 1, oldest: Some(now - SECOND) }));
            board.update(now, change);
            let found = board.look(now).ready(5 * SECOND).map_err(|reason| reason.code);
            assert_eq!(found, expected, "case {index}");
        }
    }

    #[test]
    fn nothing_is_charged_to_a_phase_before_it_is_known() {
        let now = Instant::now();
        let board = Board::new(Status::at_start(Path::new("app.db")), now);
        assert_eq!(board.look(now + SECOND).readings().phase_times, BTreeMap::new());
        board.update(now + 2 * SECOND, |status| status.standing.records_read = true);
        board.update(now + 5 * SECOND, |status| status.machine.phase = Phase::Backfill);
        let times = board.look(now + 5 * SECOND).readings().phase_times;
        assert_eq!(times, BTreeMap::from([(Phase::Setup, 3 * SECOND), (Phase::Backfill, Duration::ZERO)]));
    }

    #[test]
    fn time_is_charged_to_the_phase_it_passed_in() {
        let now = Instant::now();
        let board = Board::new(status(), now);
        board.update(now + SECOND, |status| status.machine.phase = Phase::Validate);
        board.update(now + 3 * SECOND, |status| status.machine.phase = Phase::DualWrite);
        let times = board.look(now + 7 * SECOND).readings().phase_times;
        assert_eq!(times, BTreeMap::from([(Phase::DualWrite, 5 * SECOND), (Phase::Validate, 2 * SECOND)]));
    }

    #[test]
    fn tables_show_the_newest_count_that_there_is() {
        let now = Instant::now();
        let board = Board::new(status(), now);
        let table = |id, source: &str, suspect| Followed {
            id,
            source: source.to_owned(),
            target: format!("public.{source}"),
            suspect,
        };
        let loaded = TableProgress { rows: 5, total: 9, state: TableState::Copying };
        board.update(now, |status| {
            status.machine.phase = Phase::Backfill;
            status.tables = vec![table(1, "orders", false), table(2, "notes", true)];
            status.backfill = Backfill { tables: [("orders".into(), loaded)].into(), eta: None };
        });
        let shown = |board: &Board| board.look(now).tables_to_json()["tables"].clone();
        let orders = |state: &str, rows: u64, counted: &str| json!({ "id": 1, "source": "orders", "target": "public.orders", "state": state, "rows": rows, "counted": counted });
        assert_eq!(shown(&board)[0], orders("copying", 5, "backfill"));
        board.update(now, |status| {
            status.machine.phase = Phase::DualWrite;
            let report = json!({ "tables": [{ "table": "orders", "target_rows": 11 }] });
            status.validation.report = Some(Arc::new(report));
        });
        assert_eq!(shown(&board)[0], orders("followed", 11, "validation"));
        assert_eq!(
            shown(&board)[1],
            json!({ "id": 2, "source": "notes", "target": "public.notes", "state": "suspect", "rows": null, "counted": null })
        );
    }
}
