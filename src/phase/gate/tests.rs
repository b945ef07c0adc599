//! Tests of the gates: each is shut by its own reading alone, and says how it is opened.

use super::*;
use crate::phase::pause::{Work, predicted_pause};

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Everything is as it should be.
fn ready() -> Readings {
    Readings {
        limits: Limits {
            pause_budget: 250 * MS,
            deadline: 1_000 * MS,
            lag_max: 1_000 * MS,
            validation_age_max: 24 * 60 * MINUTE,
            application_busy_timeout: 5_000 * MS,
            keys_may_be_broken: false,
        },
        owned: true,
        run: RunState::Running,
        target_up: true,
        tables_to_load: 0,
        lag: Some(20 * MS),
        validation: Some(Validated {
            age: 3 * MINUTE,
            differences: 0,
            same_history: true,
            same_schema: true,
        }),
        comparing: false,
        ledger_open: 0,
        ledger_acceptable: Vec::new(),
        sequences: Some(Vec::new()),
        sequences_left: Vec::new(),
        constraints: Some(Looked { violated: Vec::new(), age: 7_000 * MS }),
        uncaptured: Some(Vec::new()),
        unwritable: Some(Vec::new()),
        reverse: Reverse { canary: true, running: true, lag: Duration::ZERO, compared: None },
        one_way_columns: Vec::new(),
        left_behind: Vec::new(),
        spelt_otherwise: Vec::new(),
        disk: Some(Disk { free_bytes: 400 * MIB, database_bytes: 4_000 * MIB }),
        archive: place(Seen::Open { free_bytes: Some(4_000 * MIB), copy_bytes: 4_000 * MIB }),
        pause_expected: pause(40),
    }
}

fn place(seen: Seen) -> Option<Place> {
    Some(Place { directory: "/srv/archive".into(), seen })
}

/// One that is spent on the tables.
fn pause(millis: u32) -> Pause {
    let least = predicted_pause(&Work { drains: &[], round_trip: Duration::ZERO, prepared: Duration::ZERO });
    let prepared = millis * MS - least.total();
    predicted_pause(&Work { drains: &[], round_trip: Duration::ZERO, prepared })
}

fn shut(gates: Vec<Gate>) -> Vec<Gate> {
    gates.into_iter().filter(|gate| !gate.ok).collect()
}

/// One change, and the only gate that it shuts: name, reading, limit, a word of the remedy.
type Case = (fn(&mut Readings), [&'static str; 4]);

fn check(gates: fn(&Readings) -> Vec<Gate>, cases: &[Case]) {
    for (change, [name, reading, limit, remedy]) in cases {
        let mut readings = ready();
        change(&mut readings);
        let found = shut(gates(&readings));
        let [gate] = found.as_slice() else { panic!("{name}: {found:?}") };
        assert_eq!((gate.name, gate.reading.as_str(), gate.limit.as_str()), (*name, *reading, *limit));
        assert_eq!(gate.known, *reading != "not known yet", "{name}");
        assert!(gate.remedy.contains(remedy), "{name}: {}", gate.remedy);
        assert!(gate.remedy.ends_with('.'), "{name}: {}", gate.remedy);
    }
}

fn names(gates: &[Gate]) -> Vec<&'static str> {
    gates.iter().map(|gate| gate.name).collect()
}

#[test]
fn all_gates_stand_open_where_all_is_well_and_have_names_of_their_own() {
    let all = [to_switch(&ready()), to_rollback(&ready()), to_cleanup(&ready())];
    for gates in &all {
        assert!(
            gates.iter().all(|gate| gate.ok && gate.remedy.is_empty() && !gate.reading.is_empty()),
            "{gates:?}"
        );
        let names: std::collections::BTreeSet<_> = names(gates).into_iter().collect();
        assert_eq!(names.len(), gates.len());
    }
    assert_eq!(
        names(&all[0]),
        [
            "owner",
            "backfill",
            "running",
            "lag",
            "validation",
            "schema",
            "ledger",
            "sequences",
            "constraints",
            "reverse_capture",
            "reverse_tables",
            "reverse_canary",
            "reverse_columns",
            "disk",
            "pause",
            "busy_timeout",
        ]
    );
    assert_eq!(
        names(&all[1]),
        [
            "owner",
            "target",
            "reverse_link",
            "reverse_lag",
            "reverse_validation",
            "reverse_tables_beside",
            "reverse_spellings"
        ]
    );
    assert_eq!(names(&all[2]), ["owner", "target", "reverse_link", "reverse_lag", "archive"]);
}

#[test]
fn whatever_is_amiss_shuts_its_own_gate_to_the_switch() {
    check(
        to_switch,
        &[
            (|r| r.owned = false, ["owner", "another liteferry's", "ours", "taken this migration over"]),
            (
                |r| r.tables_to_load = 1,
                ["backfill", "1 table to be loaded", "complete", "`liteferry status`"],
            ),
            (
                |r| r.tables_to_load = 3,
                ["backfill", "3 tables to be loaded", "complete", "`liteferry status`"],
            ),
            (|r| r.run = RunState::Halted, ["running", "halted", "running", "`liteferry status`"]),
            (|r| r.run = RunState::Paused, ["running", "paused", "running", "`liteferry resume`"]),
            (|r| r.run = RunState::CatchingUp, ["running", "catching-up", "running", "backlog"]),
            (|r| r.run = RunState::Degraded, ["running", "degraded", "running", "fault"]),
            (|r| r.run = RunState::Stopping, ["running", "stopping", "running", "`liteferry run`"]),
            (|r| r.lag = None, ["lag", "not known yet", "at most 1 s", "looked at the source"]),
            (|r| r.lag = Some(1_001 * MS), ["lag", "1.001 s", "at most 1 s", "[switch] max_lag_ms"]),
            (
                |r| r.ledger_open = 1,
                ["ledger", "1 entry open", "every entry accepted", "`liteferry ledger accept ID`"],
            ),
            (
                |r| r.ledger_open = 12,
                ["ledger", "12 entries open", "every entry accepted", "`liteferry ledger retry ID`"],
            ),
            (
                |r| (r.ledger_open, r.ledger_acceptable) = (2, vec!["class", "rounded"]),
                [
                    "ledger",
                    "2 entries open",
                    "every entry accepted",
                    "accept = [\"class\", \"rounded\"] takes",
                ],
            ),
            (
                |r| r.sequences = None,
                ["sequences", "not known yet", "every one can be set", "`liteferry gates`"],
            ),
            (
                |r| {
                    let bad = |name: &str, why| BadSequence { name: name.to_owned(), why };
                    r.sequences = Some(vec![
                        bad("orders_id_seq", SequenceTrouble::Exhausted),
                        bad("invoice_number", SequenceTrouble::NotComputable),
                    ]);
                },
                [
                    "sequences",
                    "orders_id_seq is exhausted, invoice_number cannot be computed",
                    "every one can be set",
                    "[sequences]",
                ],
            ),
            (
                |r| {
                    let behind = |name: &str, column: &str| {
                        let why = SequenceTrouble::Undecided { column: column.to_owned() };
                        BadSequence { name: name.to_owned(), why }
                    };
                    r.sequences = Some(vec![behind("public.a_seq", "a.id"), behind("public.b_seq", "b.no")]);
                },
                [
                    "sequences",
                    "public.a_seq would give numbers that a.id has, public.b_seq would give numbers that b.no has",
                    "every one can be set",
                    "Put `sequences = { \"public.a_seq\" = \"a.id\", \"public.b_seq\" = \"b.no\" }` at",
                ],
            ),
            (
                |r| r.constraints = None,
                ["constraints", "not known yet", "no row breaks one", "`liteferry gates`"],
            ),
            (
                |r| {
                    let violated = vec![Violated {
                        constraint: "orders_customer_fkey".into(),
                        rows: 3,
                        whose: RowsOf::Sqlite,
                    }];
                    r.constraints = Some(Looked { violated, age: 12_000 * MS })
                },
                [
                    "constraints",
                    "orders_customer_fkey (3 rows), 12 s ago",
                    "no row breaks one",
                    "no_foreign_key",
                ],
            ),
            (
                |r| r.uncaptured = None,
                ["reverse_capture", "not known yet", "in place on every table", "`liteferry gates`"],
            ),
            (
                |r| r.uncaptured = Some((1..=7).map(|n| format!("t{n}")).collect()),
                [
                    "reverse_capture",
                    "missing on t1, t2, t3, t4, t5 and 2 more",
                    "in place on every table",
                    "`liteferry phase validate`",
                ],
            ),
            (
                |r| r.unwritable = None,
                ["reverse_tables", "not known yet", "each can be written back", "`liteferry gates`"],
            ),
            (
                |r| r.unwritable = Some(vec!["tags: no such collation sequence: unicase".into()]),
                [
                    "reverse_tables",
                    "tags: no such collation sequence: unicase",
                    "each can be written back",
                    "[tables] exclude",
                ],
            ),
            (
                |r| r.reverse.canary = false,
                ["reverse_canary", "not back in SQLite", "back in SQLite", "`liteferry status`"],
            ),
            (|r| r.disk = None, ["disk", "not known yet", "at least 256 MiB", "`liteferry gates`"]),
            (
                |r| r.disk = Some(Disk { free_bytes: 400 * MIB - 1, database_bytes: 4_000 * MIB }),
                ["disk", "399 MiB free", "at least 400 MiB", "Make room"],
            ),
            (
                |r| r.disk = Some(Disk { free_bytes: 255 * MIB, database_bytes: 1 }),
                ["disk", "255 MiB free", "at least 256 MiB", "Make room"],
            ),
            (
                |r| r.pause_expected = pause(251),
                ["pause", "251 ms expected", "at most 250 ms", "[switch] pause_budget_ms"],
            ),
            (
                |r| {
                    r.limits.deadline = 100 * MS;
                    r.pause_expected = pause(101);
                },
                ["pause", "101 ms expected", "at most 100 ms", "raise [switch] deadline_ms,"],
            ),
            (
                |r| r.pause_expected = pause(1001),
                [
                    "pause",
                    "1.001 s expected",
                    "at most 250 ms",
                    "991 ms of it is what PostgreSQL is given for each table then (constraints, triggers, sequences), however \
                     few the writes are: raise [switch] pause_budget_ms and deadline_ms",
                ],
            ),
            (
                |r| r.limits.application_busy_timeout = Duration::ZERO,
                ["busy_timeout", "not stated", "at least 1 s", "[switch] busy_timeout_ms"],
            ),
            (
                |r| r.limits.application_busy_timeout = 999 * MS,
                ["busy_timeout", "999 ms", "at least 1 s", "[switch] deadline_ms"],
            ),
        ],
    );
}

#[test]
fn a_validation_counts_while_it_is_clean_young_and_of_this_history_and_schema() {
    fn last(readings: &mut Readings) -> &mut Validated {
        readings.validation.as_mut().unwrap()
    }
    const LIMIT: &str = "clean, at most 24 h";
    check(
        to_switch,
        &[
            (
                |r| last(r).differences = 2,
                ["validation", "2 rows differ", LIMIT, "`liteferry validate --repair`"],
            ),
            (
                |r| last(r).same_history = false,
                ["validation", "of another history of the source", LIMIT, "`liteferry validate`"],
            ),
            (
                |r| last(r).age = 24 * 60 * MINUTE + MS,
                ["validation", "clean, 24 h 1 min ago", LIMIT, "[switch] validation_max_age"],
            ),
            (
                |r| last(r).same_schema = false,
                ["schema", "changed", "unchanged since the validation", "`liteferry validate`"],
            ),
        ],
    );
    let none = Readings { validation: None, ..ready() };
    assert_eq!(names(&shut(to_switch(&none))), ["validation", "schema"]);
    for comparing in [false, true] {
        let gates = shut(to_switch(&Readings { comparing, ..none.clone() }));
        assert!(gates.iter().all(|gate| gate.known != comparing), "{gates:?}");
    }
}

#[test]
fn at_its_limit_a_gate_is_open() {
    let mut readings = ready();
    readings.lag = Some(readings.limits.lag_max);
    readings.pause_expected = pause(250);
    readings.limits.application_busy_timeout = readings.limits.deadline;
    readings.validation.as_mut().unwrap().age = readings.limits.validation_age_max;
    readings.disk = Some(Disk { free_bytes: 256 * MIB, database_bytes: 2_560 * MIB });
    readings.reverse.lag = readings.limits.lag_max;
    assert_eq!(shut(to_switch(&readings)), []);
    assert_eq!(shut(to_rollback(&readings)), []);
}

#[test]
fn columns_without_a_way_back_are_told_and_hinder_nobody() {
    let readings = Readings { one_way_columns: vec!["orders.tags".into(), "notes.body".into()], ..ready() };
    let gates = to_switch(&readings);
    assert_eq!(shut(gates.clone()), []);
    let told = gates.iter().find(|gate| gate.name == "reverse_columns").unwrap();
    assert_eq!(told.reading, "without a faithful way back: orders.tags, notes.body");
}

#[test]
fn tables_that_would_be_left_behind_are_told_and_hinder_nobody() {
    let gates = to_rollback(&Readings { left_behind: vec!["public.made_later".into()], ..ready() });
    assert_eq!(shut(gates.clone()), []);
    let told = gates.iter().find(|gate| gate.name == "reverse_tables_beside").unwrap();
    assert_eq!(told.reading, "rows that would stay in PostgreSQL: public.made_later");
}

#[test]
fn values_that_came_back_in_another_spelling_are_told_and_hinder_nobody() {
    let spelt_otherwise = vec![("t.price".into(), 2), ("t.at".into(), 1)];
    let gates = to_rollback(&Readings { spelt_otherwise, ..ready() });
    assert_eq!(shut(gates.clone()), []);
    let told = gates.iter().find(|gate| gate.name == "reverse_spellings").unwrap();
    assert!(told.reading.contains("may not read: t.price (2 values), t.at (1 value);"), "{}", told.reading);
}

#[test]
fn sequences_of_no_column_are_told_and_hinder_nobody() {
    let gates = to_switch(&Readings { sequences_left: vec!["public.invoice_number".into()], ..ready() });
    assert_eq!(shut(gates.clone()), []);
    let told = gates.iter().find(|gate| gate.name == "sequences").unwrap();
    assert_eq!(told.reading, "every one can be set; of no column, left as they are: public.invoice_number");
}

#[test]
fn the_way_back_wants_both_sides_and_a_link_that_is_close_behind() {
    check(
        to_rollback,
        &[
            (|r| r.owned = false, ["owner", "another liteferry's", "ours", "taken this migration over"]),
            (
                |r| r.target_up = false,
                ["target", "does not answer", "answers", "`liteferry rollback --without-target`"],
            ),
            (|r| r.run = RunState::Paused, ["reverse_link", "paused", "running", "`liteferry resume`"]),
            (|r| r.reverse.running = false, ["reverse_link", "not running", "running", "`liteferry status`"]),
            (|r| r.reverse.lag = 2_500 * MS, ["reverse_lag", "2.5 s", "at most 1 s", "[switch] max_lag_ms"]),
            (
                |r| r.reverse.compared = compared(Rows::Differ(3)),
                [
                    "reverse_validation",
                    "3 rows of SQLite differ, 2 min ago",
                    "no row known to differ",
                    "`--repair`",
                ],
            ),
        ],
    );
    for (rows, reading) in [
        (Some(Rows::Equal), "equal, 2 min ago"),
        (Some(Rows::ReadAgain(1)), "1 row read again, 2 min ago"),
        (None, "not compared yet"),
    ] {
        let mut readings = ready();
        readings.reverse.compared = rows.and_then(compared);
        let gates = to_rollback(&readings);
        assert_eq!(shut(gates.clone()), [], "{reading}");
        let told = gates.iter().find(|gate| gate.name == "reverse_validation").unwrap();
        assert_eq!(told.reading, reading);
    }
    // Neither a validation of the way there nor an entry of the ledger keeps anybody from going back.
    let late = Readings { validation: None, ledger_open: 9, constraints: None, disk: None, ..ready() };
    assert_eq!(shut(to_rollback(&late)), []);
}

fn compared(rows: Rows) -> Option<Compared> {
    Some(Compared { rows, age: 2 * MINUTE })
}

#[test]
fn the_end_wants_a_way_back_that_keeps_up() {
    check(
        to_cleanup,
        &[
            (|r| r.reverse.lag = 2_500 * MS, ["reverse_lag", "2.5 s", "at most 1 s", "[switch] max_lag_ms"]),
            (|r| r.reverse.running = false, ["reverse_link", "not running", "running", "`liteferry status`"]),
            (|r| r.target_up = false, ["target", "does not answer", "answers", "PostgreSQL"]),
            (|r| r.archive = None, ["archive", "not known yet", "can be written", "ask `liteferry gates`"]),
            (
                |r| r.archive = place(Seen::Closed("no such directory".into())),
                ["archive", "/srv/archive: no such directory", "can be written", "[cleanup] archive"],
            ),
            (
                |r| r.archive = place(Seen::Open { free_bytes: Some(99 * MIB), copy_bytes: 100 * MIB }),
                ["archive", "/srv/archive: 99 MiB free", "at least 100 MiB", "[cleanup] archive"],
            ),
        ],
    );
}

#[test]
fn room_that_the_system_does_not_tell_of_keeps_nobody_from_the_end() {
    let archive = place(Seen::Open { free_bytes: None, copy_bytes: MIB });
    assert_eq!(shut(to_cleanup(&Readings { archive, ..ready() })), []);
}

#[test]
fn durations_are_told_no_shorter_than_they_are() {
    for (duration, words) in [
        (Duration::ZERO, "0 ms"),
        (Duration::from_micros(1), "1 ms"),
        (999 * MS, "999 ms"),
        (1_000 * MS, "1 s"),
        (1_050 * MS, "1.05 s"),
        (10 * 1_000 * MS, "10 s"),
        (119_999 * MS, "119.999 s"),
        (2 * MINUTE, "2 min"),
        (2 * MINUTE + MS, "3 min"),
        (125 * MINUTE, "2 h 5 min"),
    ] {
        assert_eq!(spell(duration), words);
    }
}
