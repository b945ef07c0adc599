//! Metrics: every name, label and bucket that Prometheus gets to see stands in this file, and nowhere else.
//!
//! No label holds anything but a word from a closed set or the name of a table, and of those at most `labels::TABLES_MAX`: a schema of ten
//! thousand tables must not become ten thousand series a metric. Never a key, a cell's value or a connection string.

use super::families::{
    Families, NO_LABELS, by_words, count, counts, histogram, registered, seconds_or_none, set_or_remove,
    whole,
};
use super::labels::{CutoverOutcome, Direction, Operation, RowVerdict, TableNames, Throttle};
use crate::model::fault::Fault;
use crate::phase::{Phase, RunState, Step};
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub struct Metrics {
    families: Families,
    present: Present,
    copying: Copying,
    applying: Applying,
    proof: Proof,
    crossing: Crossing,
    trouble: Trouble,
    tables: TableNames,
    /// Held by a scrape, and while a set of series is replaced: nobody sees half of one.
    whole: Mutex<()>,
}

/// What is so at this moment. A scrape brings it along, so that no gauge can be left standing at what was.
#[derive(Clone, Debug)]
pub struct Readings {
    /// `None` while nobody has read where the migration stands.
    pub phase: Option<Phase>,
    pub phase_times: BTreeMap<Phase, Duration>,
    pub run_state: RunState,
    pub copy_eta: Option<Duration>,
    pub lag_changes: Option<u64>,
    pub lag: Option<Duration>,
    pub source_seq: Option<i64>,
    pub applied_seq: Option<i64>,
    pub source_wal_bytes: u64,
    pub change_log_rows: u64,
    /// Since both sides were last found equal.
    pub validate_clean_age: Option<Duration>,
    pub sqlite_up: bool,
    pub postgres_up: bool,
    /// The command that a gate stands before, its name, and whether it is open.
    pub gates: Vec<(&'static str, &'static str, bool)>,
    pub rollback_possible: bool,
    /// While changes flow from PostgreSQL to SQLite.
    pub reverse_lag: Option<Duration>,
}

/// Rows of one table that the ledger holds for one reason.
#[derive(Clone, Copy, Debug)]
pub struct LedgerRows<'a> {
    pub table: &'a str,
    /// A word of the ledger.
    pub reason: &'a str,
    pub rows: u64,
}

impl Metrics {
    /// `version` is our own.
    pub fn new(version: &str) -> Metrics {
        let mut families = Families::default();
        let to = &mut families;
        let build = registered(
            to,
            IntGaugeVec::new(
                Opts::new("liteferry_build_info", "Always 1; the label tells the version."),
                &["version"],
            ),
        );
        build.with_label_values(&[version]).set(1);
        Metrics {
            present: Present::registered(to),
            copying: Copying::registered(to),
            applying: Applying::registered(to),
            proof: Proof::registered(to),
            crossing: Crossing::registered(to),
            trouble: Trouble::registered(to),
            tables: TableNames::default(),
            whole: Mutex::default(),
            families,
        }
    }

    /// The text that Prometheus reads.
    pub fn render(&self, now: &Readings) -> String {
        let _whole = locked(&self.whole);
        self.present.show(now);
        self.families.render()
    }

    /// A chunk was committed.
    pub fn copied(&self, table: &str, rows: u64, bytes: u64) {
        self.copying.rows.with_label_values(&[self.tables.label(table)]).inc_by(rows);
        self.copying.bytes.inc_by(bytes);
    }

    /// Replaces all estimates: tables with how many rows each seems to have.
    pub fn copy_estimated<'a>(&self, tables: impl IntoIterator<Item = (&'a str, u64)>) {
        let _whole = locked(&self.whole);
        self.copying.estimate.reset();
        for (table, rows) in tables {
            self.copying.estimate.with_label_values(&[self.tables.label(table)]).add(gauge_value(rows));
        }
    }

    /// The application's changes that were seen for the first time.
    pub fn captured(&self, changes: u64) {
        self.applying.captured.inc_by(changes);
    }

    /// Rows of a committed batch.
    pub fn applied(&self, direction: Direction, table: &str, operation: Operation, rows: u64) {
        let labels = [direction.word(), self.tables.label(table), operation.word()];
        self.applying.rows.with_label_values(&labels).inc_by(rows);
    }

    /// A batch was committed, with so many rows of all tables.
    pub fn batch_applied(&self, took: Duration, rows: u64) {
        self.applying.batch_seconds.observe(took.as_secs_f64());
        self.applying.batch_rows.observe(f64::from(u32::try_from(rows).unwrap_or(u32::MAX)));
    }

    pub fn validated(&self, table: &str, verdict: RowVerdict, rows: u64) {
        self.proof.validated.with_label_values(&[self.tables.label(table), verdict.word()]).inc_by(rows);
    }

    pub fn repaired(&self, table: &str, rows: u64) {
        self.proof.repairs.with_label_values(&[self.tables.label(table)]).inc_by(rows);
    }

    /// Replaces all that was told of the ledger.
    pub fn ledger(&self, held: &[LedgerRows<'_>]) {
        let _whole = locked(&self.whole);
        self.proof.ledger.reset();
        for LedgerRows { table, reason, rows } in held {
            let labels = [self.tables.label(table), *reason];
            self.proof.ledger.with_label_values(&labels).add(gauge_value(*rows));
        }
    }

    pub fn cutover_attempted(&self, outcome: CutoverOutcome) {
        self.crossing.attempts.with_label_values(&[outcome.word()]).inc();
    }

    pub fn cutover_stepped(&self, step: Step, took: Duration) {
        self.crossing.step_seconds.with_label_values(&[step.word()]).observe(took.as_secs_f64());
    }

    /// For so long neither side took writes.
    pub fn cutover_paused(&self, pause: Duration) {
        self.crossing.pause_seconds.observe(pause.as_secs_f64());
    }

    pub fn throttled(&self, reason: Throttle) {
        self.trouble.throttled.with_label_values(&[reason.word()]).set(1);
    }

    pub fn unthrottled(&self, reason: Throttle) {
        self.trouble.throttled.with_label_values(&[reason.word()]).set(0);
    }

    /// A fault ended an attempt.
    pub fn failed(&self, fault: &Fault) {
        self.trouble.errors.with_label_values(&[fault.class.word(), fault.code]).inc();
    }

    /// What the fault ended is attempted again.
    pub fn retried(&self, fault: &Fault) {
        self.trouble.retries.with_label_values(&[fault.code]).inc();
    }
}

/// Mirrors `Readings`. A gauge that may have no value is a vector without labels: its one series is there or not.
struct Present {
    phase: IntGaugeVec,
    phase_seconds: CounterVec,
    run_state: IntGaugeVec,
    copy_eta_seconds: GaugeVec,
    lag_changes: IntGaugeVec,
    lag_seconds: GaugeVec,
    source_seq: IntGaugeVec,
    applied_seq: IntGaugeVec,
    source_wal_bytes: IntGauge,
    change_log_rows: IntGauge,
    validate_clean_age_seconds: GaugeVec,
    sqlite_up: IntGauge,
    postgres_up: IntGauge,
    gate_ok: IntGaugeVec,
    rollback_possible: IntGauge,
    reverse_lag_seconds: GaugeVec,
}

impl Present {
    fn registered(to: &mut Families) -> Present {
        Present {
            phase: by_words(
                to,
                "liteferry_phase",
                "1 for the phase that the migration is in; 0 for all until that is known.",
                &["phase"],
            ),
            phase_seconds: registered(
                to,
                CounterVec::new(
                    Opts::new("liteferry_phase_seconds_total", "Time spent in each phase by this process."),
                    &["phase"],
                ),
            ),
            run_state: by_words(
                to,
                "liteferry_run_state",
                "1 for the state that the daemon is in.",
                &["state"],
            ),
            copy_eta_seconds: seconds_or_none(
                to,
                "liteferry_copy_eta_seconds",
                "When the backfill should end, by its rate so far; absent when none is under way.",
            ),
            lag_changes: by_words(to, "liteferry_lag_changes", "Captured changes not applied yet.", &[]),
            lag_seconds: seconds_or_none(to, "liteferry_lag_seconds", "Age of the oldest unapplied change."),
            source_seq: by_words(to, "liteferry_source_seq", "Number of the newest captured change.", &[]),
            applied_seq: by_words(to, "liteferry_applied_seq", "Number of the newest applied change.", &[]),
            source_wal_bytes: whole(to, "liteferry_source_wal_bytes", "Size of the application's WAL file."),
            change_log_rows: whole(to, "liteferry_change_log_rows", "Rows of the change table in SQLite."),
            validate_clean_age_seconds: seconds_or_none(
                to,
                "liteferry_validate_clean_age_seconds",
                "Time since both sides were last found equal; absent when they never were.",
            ),
            sqlite_up: whole(to, "liteferry_sqlite_up", "1 while SQLite answers."),
            postgres_up: whole(to, "liteferry_postgres_up", "1 while PostgreSQL answers."),
            gate_ok: by_words(
                to,
                "liteferry_gate_ok",
                "1 for an open gate before a command that would be tried now.",
                &["to", "gate"],
            ),
            rollback_possible: whole(
                to,
                "liteferry_rollback_possible",
                "1 while the application can go back to SQLite without loss.",
            ),
            reverse_lag_seconds: seconds_or_none(
                to,
                "liteferry_reverse_lag_seconds",
                "Age of the oldest change of PostgreSQL that is not in SQLite; absent while none flow back.",
            ),
        }
    }

    fn show(&self, now: &Readings) {
        for phase in Phase::ALL {
            self.phase.with_label_values(&[phase.word()]).set((Some(phase) == now.phase).into());
        }
        for state in RunState::ALL {
            self.run_state.with_label_values(&[state.word()]).set((state == now.run_state).into());
        }
        for (phase, spent) in &now.phase_times {
            let counter = self.phase_seconds.with_label_values(&[phase.word()]);
            counter.inc_by((spent.as_secs_f64() - counter.get()).max(0.0));
        }
        set_or_remove(&self.copy_eta_seconds, now.copy_eta);
        set_or_remove(&self.validate_clean_age_seconds, now.validate_clean_age);
        set_or_remove(&self.lag_seconds, now.lag);
        for (gauge, number) in [
            (&self.lag_changes, now.lag_changes.map(gauge_value)),
            (&self.source_seq, now.source_seq),
            (&self.applied_seq, now.applied_seq),
        ] {
            gauge.reset();
            if let Some(number) = number {
                gauge.with_label_values(&NO_LABELS).set(number);
            }
        }
        self.source_wal_bytes.set(gauge_value(now.source_wal_bytes));
        self.change_log_rows.set(gauge_value(now.change_log_rows));
        self.gate_ok.reset();
        for (to, gate, is_open) in &now.gates {
            self.gate_ok.with_label_values(&[*to, *gate]).set((*is_open).into());
        }
        self.rollback_possible.set(now.rollback_possible.into());
        set_or_remove(&self.reverse_lag_seconds, now.reverse_lag);
        self.sqlite_up.set(now.sqlite_up.into());
        self.postgres_up.set(now.postgres_up.into());
    }
}

struct Copying {
    rows: IntCounterVec,
    estimate: IntGaugeVec,
    bytes: IntCounter,
}

impl Copying {
    fn registered(to: &mut Families) -> Copying {
        Copying {
            rows: counts(
                to,
                "liteferry_copy_rows_total",
                "Rows that the backfill has committed.",
                &["table"],
            ),
            estimate: by_words(
                to,
                "liteferry_copy_rows_estimate",
                "Rows that a table seemed to have when its backfill was planned.",
                &["table"],
            ),
            bytes: count(to, "liteferry_copy_bytes_total", "Bytes that the backfill has committed."),
        }
    }
}

struct Applying {
    captured: IntCounter,
    rows: IntCounterVec,
    batch_seconds: Histogram,
    batch_rows: Histogram,
}

impl Applying {
    fn registered(to: &mut Families) -> Applying {
        Applying {
            captured: count(
                to,
                "liteferry_changes_captured_total",
                "Changes of the application seen in the log.",
            ),
            rows: counts(
                to,
                "liteferry_rows_applied_total",
                "Rows written or deleted on the side that follows.",
                &["direction", "table", "op"],
            ),
            batch_seconds: histogram(
                to,
                "liteferry_apply_batch_seconds",
                "Time from reading a batch to its commit.",
                &BATCH_SECONDS,
            ),
            batch_rows: histogram(
                to,
                "liteferry_apply_batch_rows",
                "Rows of a committed batch.",
                &BATCH_ROWS,
            ),
        }
    }
}

struct Proof {
    validated: IntCounterVec,
    repairs: IntCounterVec,
    ledger: IntGaugeVec,
}

impl Proof {
    fn registered(to: &mut Families) -> Proof {
        Proof {
            validated: counts(
                to,
                "liteferry_validate_rows_total",
                "Rows compared, by what was found.",
                &["table", "verdict"],
            ),
            repairs: counts(
                to,
                "liteferry_repairs_total",
                "Rows written anew because they differed.",
                &["table"],
            ),
            ledger: by_words(
                to,
                "liteferry_ledger_rows",
                "Rows that the ledger holds, by why they did not cross exactly.",
                &["table", "reason"],
            ),
        }
    }
}

/// The writes on their way from one side to the other.
struct Crossing {
    attempts: IntCounterVec,
    step_seconds: HistogramVec,
    pause_seconds: Histogram,
}

impl Crossing {
    fn registered(to: &mut Families) -> Crossing {
        let steps = HistogramOpts::new("liteferry_cutover_step_seconds", "Time of each step of a crossing.");
        let attempts = counts(
            to,
            "liteferry_cutover_attempts_total",
            "Attempts to move the writes, in either direction, by how they ended.",
            &["outcome"],
        );
        let step_seconds = registered(to, HistogramVec::new(steps.buckets(PAUSE_SECONDS.into()), &["step"]));
        // The first one must be seen as an increase.
        for outcome in CutoverOutcome::ALL {
            attempts.with_label_values(&[outcome.word()]).inc_by(0);
        }
        for step in Step::ALL {
            step_seconds.with_label_values(&[step.word()]);
        }
        Crossing {
            attempts,
            step_seconds,
            pause_seconds: histogram(
                to,
                "liteferry_cutover_pause_seconds",
                "How long neither side took writes while they were moved.",
                &PAUSE_SECONDS,
            ),
        }
    }
}

struct Trouble {
    throttled: IntGaugeVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
}

impl Trouble {
    fn registered(to: &mut Families) -> Trouble {
        Trouble {
            throttled: by_words(to, "liteferry_throttled", "1 while work is held back, by why.", &["reason"]),
            errors: counts(
                to,
                "liteferry_errors_total",
                "Attempts that a fault ended; docs/FAULTS.md explains each code.",
                &["class", "code"],
            ),
            retries: counts(to, "liteferry_retries_total", "Attempts made again after a fault.", &["code"]),
        }
    }
}

/// From an idle application's single row to a backlog whose batch takes as long as a request may.
const BATCH_SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
const BATCH_ROWS: [f64; 10] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0];

/// A pause that nobody notices, the budget, the deadline, and a hook that restarts an application.
const PAUSE_SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What these locks guard is never left half done by a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::labels::TABLES_MAX;
    use std::collections::{BTreeSet, HashMap};

    fn readings() -> Readings {
        Readings {
            phase: Some(Phase::DualWrite),
            phase_times: BTreeMap::from([(Phase::Setup, Duration::from_secs(2))]),
            run_state: RunState::Degraded,
            copy_eta: None,
            lag_changes: Some(3),
            lag: Some(Duration::from_millis(1500)),
            source_seq: Some(41),
            applied_seq: None,
            source_wal_bytes: 4096,
            change_log_rows: 12,
            validate_clean_age: Some(Duration::from_secs(60)),
            sqlite_up: true,
            postgres_up: false,
            gates: vec![("switch", "lag", true), ("switch", "ledger", false)],
            rollback_possible: true,
            reverse_lag: Some(Duration::from_millis(250)),
        }
    }

    /// Each metric is set once; a name of the outside face that none of this shows is a failure.
    fn rendered() -> String {
        let metrics = Metrics::new("1.2.3");
        let now = Readings { copy_eta: Some(Duration::from_secs(5)), applied_seq: Some(7), ..readings() };
        metrics.copy_estimated([("orders", 10)]);
        metrics.copied("orders", 4, 400);
        metrics.captured(2);
        metrics.applied(Direction::Forward, "orders", Operation::Upsert, 2);
        metrics.batch_applied(Duration::from_millis(3), 2);
        metrics.validated("orders", RowVerdict::Different, 1);
        metrics.repaired("orders", 1);
        metrics.ledger(&[LedgerRows { table: "orders", reason: "spelling", rows: 5 }]);
        metrics.cutover_attempted(CutoverOutcome::Decided);
        metrics.cutover_stepped(Step::Drain, Duration::from_millis(20));
        metrics.cutover_paused(Duration::from_millis(60));
        metrics.throttled(Throttle::ChangeLog);
        let fault = Fault::fatal("name_taken", "create a table");
        metrics.failed(&fault);
        metrics.retried(&fault);
        metrics.render(&now)
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    #[test]
    fn every_metric_is_shown_with_its_labels() {
        let text = rendered();
        for line in [
            "liteferry_phase{phase=\"dual-write\"} 1",
            "liteferry_phase{phase=\"setup\"} 0",
            "liteferry_phase_seconds_total{phase=\"setup\"} 2",
            "liteferry_run_state{state=\"degraded\"} 1",
            "liteferry_run_state{state=\"running\"} 0",
            "liteferry_copy_rows_total{table=\"orders\"} 4",
            "liteferry_copy_rows_estimate{table=\"orders\"} 10",
            "liteferry_copy_bytes_total 400",
            "liteferry_copy_eta_seconds 5",
            "liteferry_changes_captured_total 2",
            "liteferry_rows_applied_total{direction=\"forward\",op=\"upsert\",table=\"orders\"} 2",
            "liteferry_apply_batch_seconds_bucket{le=\"0.0025\"} 0",
            "liteferry_apply_batch_seconds_bucket{le=\"0.005\"} 1",
            "liteferry_apply_batch_rows_bucket{le=\"+Inf\"} 1",
            "liteferry_apply_batch_rows_sum 2",
            "liteferry_lag_changes 3",
            "liteferry_lag_seconds 1.5",
            "liteferry_applied_seq 7",
            "liteferry_source_wal_bytes 4096",
            "liteferry_change_log_rows 12",
            "liteferry_validate_rows_total{table=\"orders\",verdict=\"different\"} 1",
            "liteferry_validate_clean_age_seconds 60",
            "liteferry_repairs_total{table=\"orders\"} 1",
            "liteferry_ledger_rows{reason=\"spelling\",table=\"orders\"} 5",
            "liteferry_gate_ok{gate=\"lag\",to=\"switch\"} 1",
            "liteferry_gate_ok{gate=\"ledger\",to=\"switch\"} 0",
            "liteferry_rollback_possible 1",
            "liteferry_reverse_lag_seconds 0.25",
            "liteferry_cutover_attempts_total{outcome=\"decided\"} 1",
            "liteferry_cutover_step_seconds_bucket{step=\"drain\",le=\"0.01\"} 0",
            "liteferry_cutover_step_seconds_bucket{step=\"drain\",le=\"0.025\"} 1",
            "liteferry_cutover_pause_seconds_bucket{le=\"0.1\"} 1",
            "liteferry_throttled{reason=\"change-log\"} 1",
            "liteferry_errors_total{class=\"fatal\",code=\"name_taken\"} 1",
            "liteferry_retries_total{code=\"name_taken\"} 1",
            "liteferry_postgres_up 0",
            "liteferry_sqlite_up 1",
            "liteferry_build_info{version=\"1.2.3\"} 1",
        ] {
            has(&text, line);
        }
    }

    #[test]
    fn each_series_stands_under_the_help_and_type_of_its_name() {
        for text in [rendered(), Metrics::new("1").render(&readings())] {
            every_family_is_told_of(&text);
        }
    }

    fn every_family_is_told_of(text: &str) {
        let (mut types, mut series) = (HashMap::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type follows its name");
                assert!(types.insert(name, kind).is_none(), "{name} twice");
                assert!(text.contains(&format!("# HELP {name} ")), "{name}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a value follows its series");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(series.insert(name), "{name} twice");
                let bare = name.split('{').next().unwrap_or_default();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end));
                assert!(
                    types.contains_key(bare) || family.is_some_and(|name| types[name] == "histogram"),
                    "{line}"
                );
            }
        }
        assert_eq!(types.len(), 33);
    }

    #[test]
    fn what_has_no_value_has_no_series() {
        let metrics = Metrics::new("1");
        let now = Readings { copy_eta: Some(Duration::from_secs(1)), ..readings() };
        assert!(metrics.render(&now).contains("\nliteferry_copy_eta_seconds 1\n"));
        let text = metrics.render(&readings());
        let before = metrics.render(&Readings { reverse_lag: None, gates: Vec::new(), ..readings() });
        let shows = |text: &str, name| text.lines().any(|line| line.starts_with(name));
        assert!(!shows(&before, "liteferry_reverse_lag") && !shows(&before, "liteferry_gate_ok"), "{before}");
        assert!(
            !shows(&text, "liteferry_copy_eta_seconds") && !shows(&text, "liteferry_applied_seq"),
            "{text}"
        );
        has(&text, "liteferry_source_seq 41");
    }

    /// A first event that makes its series is no increase to Prometheus.
    #[test]
    fn where_the_dashboard_looks_at_an_increase_the_series_is_there_before_the_first_event() {
        let text = Metrics::new("1").render(&readings());
        let dashboard = include_str!("../../deploy/grafana/liteferry.json");
        let mut names = dashboard.split("increase(").skip(1).filter_map(|rest| rest.split('{').next());
        assert!(names.clone().count() > 1);
        let late = |name: &&str| {
            let begun = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            !text.lines().any(begun)
        };
        assert_eq!(names.find(late), None, "{text}");
        has(&text, "liteferry_cutover_step_seconds_count{step=\"fence\"} 0");
    }

    #[test]
    fn a_phase_that_is_not_known_is_none() {
        let text = Metrics::new("1").render(&Readings { phase: None, ..readings() });
        for phase in Phase::ALL {
            has(&text, &format!("liteferry_phase{{phase=\"{}\"}} 0", phase.word()));
        }
    }

    #[test]
    fn time_in_a_phase_only_grows() {
        let metrics = Metrics::new("1");
        for (seconds, shown) in [(2, 2), (5, 5), (4, 5)] {
            let phase_times = BTreeMap::from([(Phase::Setup, Duration::from_secs(seconds))]);
            let text = metrics.render(&Readings { phase_times, ..readings() });
            has(&text, &format!("liteferry_phase_seconds_total{{phase=\"setup\"}} {shown}"));
        }
    }

    #[test]
    fn tables_beyond_the_cap_share_one_label() {
        let metrics = Metrics::new("1");
        let names: Vec<String> = (0..TABLES_MAX + 5).map(|number| format!("t{number}")).collect();
        metrics.copy_estimated(names.iter().map(|name| (name.as_str(), 2)));
        metrics.copied("t0", 1, 1);
        metrics.copied(&names[TABLES_MAX], 1, 1);
        let text = metrics.render(&readings());
        has(&text, "liteferry_copy_rows_estimate{table=\"other\"} 10");
        has(&text, "liteferry_copy_rows_total{table=\"t0\"} 1");
        has(&text, "liteferry_copy_rows_total{table=\"other\"} 1");
        assert_eq!(text.matches("liteferry_copy_rows_estimate{").count(), TABLES_MAX + 1);
    }

    #[test]
    fn a_hostile_name_stays_inside_its_label() {
        let metrics = Metrics::new("1");
        metrics.copied("a\"} 1\nevil{x=\"\\", 1, 1);
        let text = metrics.render(&readings());
        has(&text, "liteferry_copy_rows_total{table=\"a\\\"} 1\\nevil{x=\\\"\\\\\"} 1");
        assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
    }

    #[test]
    fn the_ledgers_rows_go_away_when_they_are_settled() {
        let metrics = Metrics::new("1");
        metrics.ledger(&[LedgerRows { table: "a", reason: "zone", rows: 1 }]);
        metrics.ledger(&[]);
        assert!(!metrics.render(&readings()).contains("liteferry_ledger_rows{"));
    }
}
