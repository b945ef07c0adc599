//! Gates: the named preconditions of a change of phase, each with its present reading, its limit, and what to do. Pure: whoever asks
//! brings the readings. What is not known is not open.

mod archive;
mod back;
mod broken;

use super::RunState;
use super::pause::Pause;
use crate::model::finding::listed;
pub use archive::{Place, Seen};
use back::{
    reverse_canary, reverse_capture, reverse_columns, reverse_lag, reverse_link, reverse_spellings,
    reverse_tables, reverse_tables_beside, reverse_validation,
};
use broken::constraints;
use std::time::Duration;

/// One precondition, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    pub name: &'static str,
    pub ok: bool,
    /// Whether somebody has looked already. What is not known is not open, and is not refused for good.
    pub known: bool,
    pub reading: String,
    pub limit: String,
    /// What opens it; empty where it is open.
    pub remedy: String,
}

/// What the gates look at. `None` is what nobody has looked at yet.
#[derive(Clone, Debug)]
pub struct Readings {
    pub limits: Limits,
    /// Whether the target still says that the migration is ours.
    pub owned: bool,
    pub run: RunState,
    pub target_up: bool,
    /// Tables that came or were rebuilt, and have not been read equal since.
    pub tables_to_load: u64,
    /// Age of the oldest change that is not applied, once somebody has looked.
    pub lag: Option<Duration>,
    /// The last comparison of everything, whatever came of it.
    pub validation: Option<Validated>,
    /// Whether everything is being compared.
    pub comparing: bool,
    /// Entries of the ledger that nobody has accepted.
    pub ledger_open: u64,
    /// Reasons of open entries of which one setting takes all.
    pub ledger_acceptable: Vec<&'static str>,
    /// Sequences of the target that could not be set.
    pub sequences: Option<Vec<BadSequence>>,
    /// Those that nobody sets: no column tells how far they are.
    pub sequences_left: Vec<String>,
    /// Suspended constraints that rows break.
    pub constraints: Option<Looked>,
    /// Tables whose changes in the target would not be noted.
    pub uncaptured: Option<Vec<String>>,
    /// Tables that SQLite lets only the application write, each with what SQLite says is missing.
    pub unwritable: Option<Vec<String>>,
    pub reverse: Reverse,
    /// Columns whose values in the target have no way back into the form that the application wrote.
    pub one_way_columns: Vec<String>,
    /// Tables of the target that SQLite does not have, and that hold rows.
    pub left_behind: Vec<String>,
    /// Columns of SQLite, and how many of their values came back in a text or in bytes that are not as the column spells its own.
    pub spelt_otherwise: Vec<(String, u64)>,
    /// Of the volume that the SQLite database is on.
    pub disk: Option<Disk>,
    /// Where the cleanup puts its archive.
    pub archive: Option<Place>,
    /// See [`super::pause`].
    pub pause_expected: Pause,
}

/// From the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub pause_budget: Duration,
    pub deadline: Duration,
    pub lag_max: Duration,
    pub validation_age_max: Duration,
    /// Zero where the operator has not stated it.
    pub application_busy_timeout: Duration,
    /// Whether a foreign key that rows break comes back NOT VALID: they stay, and later ones are held to it.
    pub keys_may_be_broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    pub age: Duration,
    /// Rows that are missing, extra or different, the ledger's apart.
    pub differences: u64,
    /// Whether the source's history is still the one it was then.
    pub same_history: bool,
    /// Whether both schemas are still what they were then.
    pub same_schema: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSequence {
    pub name: String,
    pub why: SequenceTrouble,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequenceTrouble {
    /// The largest key is the last that the sequence can give.
    Exhausted,
    /// Where it has to start cannot be told from the rows.
    NotComputable,
    /// No column owns it, and the one that it looks to number has numbers which it has yet to give.
    Undecided { column: String },
    /// It is a part of that column's texts, which end with numbers that it has yet to give, up to this one.
    Part { column: String, reached: i64 },
}

/// What a look at the rows found, and how long ago it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    pub violated: Vec<Violated>,
    pub age: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violated {
    pub constraint: String,
    pub rows: u64,
    pub whose: RowsOf,
}

/// Where the rows are written that break a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsOf {
    Sqlite,
    /// They are of a table that is not followed.
    Target,
}

/// The way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reverse {
    /// Whether a canary has made the whole way round.
    pub canary: bool,
    pub running: bool,
    /// Age of the oldest change of the target that SQLite does not have yet.
    pub lag: Duration,
    /// The last comparison of SQLite with PostgreSQL as the side that is written, if there was one.
    pub compared: Option<Compared>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    pub rows: Rows,
    pub age: Duration,
}

/// What a comparison found, and what was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    Equal,
    /// So many, and they were left as they are.
    Differ(u64),
    /// So many differed. All of them are read again before the writes move.
    ReadAgain(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub free_bytes: u64,
    pub database_bytes: u64,
}

const MIB: u64 = 1 << 20;
/// After the switch SQLite goes on growing: a tenth of its size, and never less than this, must be free.
const FREE_BYTES_MIN: u64 = 256 * MIB;

/// To take the application's writes over to PostgreSQL.
pub fn to_switch(readings: &Readings) -> Vec<Gate> {
    vec![
        owner(readings),
        backfill(readings),
        running(readings),
        lag(readings),
        validation(readings),
        schema(readings),
        ledger(readings),
        sequences(readings),
        constraints(readings),
        reverse_capture(readings),
        reverse_tables(readings),
        reverse_canary(readings),
        reverse_columns(readings),
        disk(readings),
        pause(readings),
        busy_timeout(readings),
    ]
}

/// To take the application's writes back to SQLite, once PostgreSQL has them.
pub fn to_rollback(readings: &Readings) -> Vec<Gate> {
    vec![
        owner(readings),
        target(readings),
        reverse_link(readings),
        reverse_lag(readings),
        reverse_validation(readings),
        reverse_tables_beside(readings),
        reverse_spellings(readings),
    ]
}

/// To end the migration; beside these a person confirms it. What still waits is brought to SQLite first: under a steady load something
/// always does.
pub fn to_cleanup(readings: &Readings) -> Vec<Gate> {
    let way_back = [owner(readings), target(readings), reverse_link(readings), reverse_lag(readings)];
    way_back.into_iter().chain([archive::archive(readings)]).collect()
}

/// A gate before it is known whether its remedy is wanted.
struct Reading {
    name: &'static str,
    reading: String,
    limit: String,
}

impl Reading {
    fn new(name: &'static str, reading: impl Into<String>, limit: impl Into<String>) -> Reading {
        Reading { name, reading: reading.into(), limit: limit.into() }
    }

    fn open(self) -> Gate {
        let Reading { name, reading, limit } = self;
        Gate { name, ok: true, known: true, reading, limit, remedy: String::new() }
    }

    fn shut(self, remedy: impl Into<String>) -> Gate {
        Gate { ok: false, remedy: remedy.into(), ..self.open() }
    }

    /// For as long as a look that tells it is under way.
    fn unknown(self, remedy: impl Into<String>) -> Gate {
        Gate { known: false, ..self.shut(remedy) }
    }
}

fn owner(readings: &Readings) -> Gate {
    if readings.owned {
        return Reading::new("owner", "ours", "ours").open();
    }
    Reading::new("owner", "another liteferry's", "ours").shut(
        "Give the command to the liteferry that has taken this migration over, or stop that one and start this one again.",
    )
}

fn backfill(readings: &Readings) -> Gate {
    match readings.tables_to_load {
        0 => Reading::new("backfill", "complete", "complete").open(),
        tables => Reading::new("backfill", format!("{} to be loaded", counted(tables, "table")), "complete")
            .shut(
                "Wait until the tables that came, were rebuilt or may have changed unseen are read equal: `liteferry status` shows how far they are. \
                 Where that has no end, the application makes and drops tables or indexes in this database again and again (the journal tells), and \
                 everything is compared each time: have it use TEMP tables, or stop that job, until the writes have moved.",
            ),
    }
}

fn running(readings: &Readings) -> Gate {
    let reading = Reading::new("running", readings.run.word(), RunState::Running.word());
    match run_remedy(readings.run) {
        None => reading.open(),
        Some(remedy) => reading.shut(remedy),
    }
}

fn run_remedy(run: RunState) -> Option<&'static str> {
    match run {
        RunState::Running => None,
        RunState::CatchingUp => Some("Wait until the backlog is applied: `liteferry status` shows the lag."),
        RunState::Degraded => Some("Wait until the fault has passed: `liteferry status` names it."),
        RunState::Halted => Some("`liteferry status` says what halted it and what to do about it."),
        RunState::Paused => Some("Run `liteferry resume`."),
        RunState::Stopping => Some("Start `liteferry run` again."),
    }
}

fn lag(readings: &Readings) -> Gate {
    let limit = readings.limits.lag_max;
    let told = readings.lag.map_or_else(|| UNKNOWN.to_owned(), spell);
    let reading = Reading::new("lag", told, at_most(limit));
    match readings.lag {
        Some(lag) if lag <= limit => reading.open(),
        Some(_) => reading.shut("Wait until the writes are fewer, or raise [switch] max_lag_ms."),
        None => reading.unknown("Wait until the daemon has looked at the source."),
    }
}

fn validation(readings: &Readings) -> Gate {
    let limit = readings.limits.validation_age_max;
    let gate = |reading: String| Reading::new("validation", reading, format!("clean, {}", at_most(limit)));
    let Some(last) = readings.validation else {
        if readings.comparing {
            return gate(UNKNOWN.to_owned()).unknown(COMPARED);
        }
        return gate("none".to_owned()).shut("Run `liteferry validate`.");
    };
    if last.differences > 0 {
        return gate(format!("{} differ", counted(last.differences, "row")))
            .shut("Run `liteferry validate --repair`, and look at what it lists.");
    }
    if !last.same_history {
        return gate("of another history of the source".to_owned()).shut("Run `liteferry validate`.");
    }
    let reading = gate(format!("clean, {} ago", spell(last.age)));
    if last.age <= limit {
        return reading.open();
    }
    reading.shut("Run `liteferry validate`, or raise [switch] validation_max_age.")
}

fn schema(readings: &Readings) -> Gate {
    let gate = |reading: &str| Reading::new("schema", reading, "unchanged since the validation");
    match readings.validation {
        Some(Validated { same_schema: true, .. }) => gate("unchanged").open(),
        Some(Validated { same_schema: false, .. }) => {
            gate("changed").shut("Run `liteferry validate`: the last one saw other tables or columns, or they were changed and changed back since.")
        }
        None if readings.comparing => gate(UNKNOWN).unknown(COMPARED),
        None => gate("no validation yet").shut("Run `liteferry validate`."),
    }
}

fn ledger(readings: &Readings) -> Gate {
    if readings.ledger_open == 0 {
        return Reading::new("ledger", "nothing open", "every entry accepted").open();
    }
    let setting = match readings.ledger_acceptable.as_slice() {
        [] => String::new(),
        reasons => format!(
            " Where the application goes on making such entries, [misfits] accept = {reasons:?} takes those that stand as `kept`, and \
             those to come."
        ),
    };
    let reading = format!("{} open", counted(readings.ledger_open, "entry"));
    Reading::new("ledger", reading, "every entry accepted").shut(format!(
        "`liteferry ledger` lists them; `liteferry ledger accept ID` (or `all`) says that PostgreSQL may keep what it has, \
         `liteferry ledger retry ID` reads the row again.{setting}"
    ))
}

fn sequences(readings: &Readings) -> Gate {
    let gate = |reading: String| Reading::new("sequences", reading, "every one can be set");
    let Some(bad) = &readings.sequences else {
        return gate(UNKNOWN.to_owned()).unknown(LOOK_AGAIN);
    };
    if bad.is_empty() {
        let left = match readings.sequences_left.as_slice() {
            [] => String::new(),
            names => format!("; of no column, left as they are: {}", listed(names.iter().cloned())),
        };
        return gate(format!("every one can be set{left}")).open();
    }
    let undecided = bad.iter().filter_map(|sequence| match &sequence.why {
        SequenceTrouble::Undecided { column } => Some(format!("{:?} = {column:?}", sequence.name)),
        SequenceTrouble::Part { reached, .. } => Some(format!("{:?} = {reached}", sequence.name)),
        SequenceTrouble::Exhausted | SequenceTrouble::NotComputable => None,
    });
    let undecided: Vec<String> = undecided.collect();
    let mut remedies = Vec::new();
    if undecided.len() < bad.len() {
        remedies.push(
            "Give an exhausted one a wider type (`alter sequence … as bigint`, and its column), and name the start of one that \
             cannot be computed under [sequences], or correct the line there that names it."
                .to_owned(),
        );
    }
    if !undecided.is_empty() {
        remedies.push(format!(
            "Put `sequences = {{ {} }}` at the top of the settings, with 0 for one that may stay as it is, and a higher number where more of \
             them come before the switch, and restart.",
            undecided.join(", ")
        ));
    }
    gate(listed(bad.iter().map(BadSequence::words))).shut(remedies.join(" "))
}

impl BadSequence {
    fn words(&self) -> String {
        match &self.why {
            SequenceTrouble::Exhausted => format!("{} is exhausted", self.name),
            SequenceTrouble::NotComputable => format!("{} cannot be computed", self.name),
            SequenceTrouble::Undecided { column } | SequenceTrouble::Part { column, .. } => {
                format!("{} would give numbers that {column} has", self.name)
            }
        }
    }
}

fn disk(readings: &Readings) -> Gate {
    let Some(disk) = readings.disk else {
        return Reading::new("disk", UNKNOWN, at_least_bytes(FREE_BYTES_MIN)).unknown(LOOK_AGAIN);
    };
    let wanted = FREE_BYTES_MIN.max(disk.database_bytes / 10);
    let free = format!("{} MiB free", disk.free_bytes / MIB);
    let reading = Reading::new("disk", free, at_least_bytes(wanted));
    if disk.free_bytes >= wanted {
        return reading.open();
    }
    reading.shut("Make room on the volume of the SQLite database: after the switch it goes on growing.")
}

fn pause(readings: &Readings) -> Gate {
    let Limits { pause_budget, deadline, .. } = readings.limits;
    let limit = pause_budget.min(deadline);
    let expected = format!("{} expected", spell(readings.pause_expected.total()));
    let reading = Reading::new("pause", expected, at_most(limit));
    let is_above = |limit: Duration| readings.pause_expected.total() > limit;
    let settings = match (is_above(pause_budget), is_above(deadline)) {
        (false, false) => return reading.open(),
        (true, false) => "[switch] pause_budget_ms",
        (false, true) => "[switch] deadline_ms",
        (true, true) => "[switch] pause_budget_ms and deadline_ms",
    };
    reading.shut(readings.pause_expected.remedy(settings))
}

fn busy_timeout(readings: &Readings) -> Gate {
    let Limits { application_busy_timeout: stated, deadline, .. } = readings.limits;
    if stated.is_zero() {
        return Reading::new("busy_timeout", "not stated", at_least(deadline)).shut(
            "State in [switch] busy_timeout_ms how long every connection of the application waits for a lock (`pragma busy_timeout`).",
        );
    }
    let reading = Reading::new("busy_timeout", spell(stated), at_least(deadline));
    if stated >= deadline {
        return reading.open();
    }
    reading.shut(
        "Raise the application's busy timeout and [switch] busy_timeout_ms with it, or lower [switch] deadline_ms: \
         statements would fail while the writes are moved.",
    )
}

fn target(readings: &Readings) -> Gate {
    if readings.target_up {
        return Reading::new("target", "answers", "answers").open();
    }
    Reading::new("target", "does not answer", "answers").shut(
        "Bring PostgreSQL back. If it is gone for good, `liteferry rollback --without-target` opens SQLite as it is.",
    )
}

const UNKNOWN: &str = "not known yet";
const COMPARED: &str = "Wait until both sides have been compared: `liteferry status` shows the verdict.";
const LOOK_AGAIN: &str =
    "Wait a moment and ask `liteferry gates` again; if it stays so, `liteferry status` tells why.";

fn at_most(limit: Duration) -> String {
    format!("at most {}", spell(limit))
}

fn at_least(limit: Duration) -> String {
    format!("at least {}", spell(limit))
}

fn at_least_bytes(limit: u64) -> String {
    format!("at least {} MiB", limit.div_ceil(MIB))
}

/// Exact to the millisecond below two minutes, and never shorter than it is.
fn spell(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let minutes = millis.div_ceil(60_000);
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => {
            let exact = format!("{}.{:03}", millis / 1_000, millis % 1_000);
            format!("{} s", exact.trim_end_matches('0').trim_end_matches('.'))
        }
        120_000..7_200_000 => format!("{minutes} min"),
        _ if minutes.is_multiple_of(60) => format!("{} h", minutes / 60),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

fn counted(number: u64, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, None) => format!("{number} {what}s"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
    }
}

#[cfg(test)]
mod tests;
