//! The daemon, or PostgreSQL, dies at every point of a switch, a rollback and a cleanup, while applications write to both sides at all
//! times. Afterwards one side takes writes, it has every acknowledged one, and the way goes on without a human.

mod campaign;
mod writers;

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{OwnServer, TestDatabase, database, psql, sqlite, try_psql};
use liteferry::crash::{ABORT, FREEZE, POINTS};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};
use writers::{TABLE, Writers, Written};

struct Walk {
    case: Case,
    daemon: Daemon,
    /// Where the daemon of now listens.
    address: Arc<Mutex<String>>,
    writers: Writers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sqlite,
    Postgres,
}

/// On a machine with other work a pause is long; the bounds are not what is tested here.
const SETTINGS: [&str; 8] = [
    "--set",
    "switch.deadline_ms=20000",
    "--set",
    "switch.busy_timeout_ms=60000",
    "--set",
    "switch.pause_budget_ms=10000",
    "--set",
    "switch.max_lag_ms=20000",
];
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
const CLEANUP: &str = r#"{"to": "cleanup", "confirm": "source.db"}"#;

#[test]
fn a_daemon_that_dies_in_a_switch_leaves_one_side_open_with_every_acknowledged_write() {
    let mut walk = Walk::begin(database());
    for point in points("switch") {
        walk.stand_in("validate");
        walk.die_at(point, r#"{"to": "switch"}"#);
        walk.is_whole(point);
    }
    walk.end();
}

#[test]
fn a_daemon_that_dies_in_a_rollback_leaves_one_side_open_with_every_acknowledged_write() {
    let mut walk = Walk::begin(database());
    for point in points("rollback") {
        walk.stand_in("switch");
        walk.die_at(point, r#"{"to": "dual-write"}"#);
        walk.is_whole(point);
    }
    walk.end();
}

#[test]
fn a_server_that_dies_in_a_crossing_leaves_one_side_open_with_every_acknowledged_write() {
    let mut server = OwnServer::new();
    let mut walk = Walk::begin(TestDatabase { url: server.url("postgres"), name: "postgres".to_owned() });
    for point in points("switch").chain(points("rollback")) {
        let (from, order) = match point.starts_with("switch") {
            true => ("validate", r#"{"to": "switch"}"#),
            false => ("switch", r#"{"to": "dual-write"}"#),
        };
        walk.stand_in(from);
        walk.restart(&[(FREEZE, point)]);
        walk.stand_in(from);
        walk.command(order);
        assert!(walk.daemon.is_frozen(), "{point} was not reached\n{}", walk.daemon.log());
        server.stop_immediately();
        server.start();
        walk.daemon.signal("-CONT");
        // It is the same daemon that finds the way out.
        walk.is_whole(point);
        walk.restart(&[]);
    }
    walk.end();
}

#[test]
fn a_cleanup_that_was_left_half_done_is_ended_by_the_next_daemon() {
    for point in points("cleanup") {
        let mut walk = Walk::begin(database());
        walk.stand_in("switch");
        // What is written to SQLite once nothing of ours is left in it, nobody carries over.
        walk.writers.end_one("s");
        walk.die_at(point, CLEANUP);
        walk.daemon.until(|status| status["phase"] == "done" && status["routing"]["writes"] == "postgres");
        assert!(walk.takes(Side::Postgres), "{point}");
        walk.has_all(Side::Postgres, point);
        let dir = walk.case.source.path.parent().expect("a file lies somewhere");
        let files: Vec<String> = std::fs::read_dir(dir)
            .expect("a directory can be read")
            .map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned())
            .collect();
        for ending in [".zst", ".sha256", ".report.json"] {
            assert!(files.iter().any(|file| file.ends_with(ending)), "{point}: {ending} in {files:?}");
        }
        let ours = "select count(*) from pg_trigger where tgname like 'liteferry%'";
        assert_eq!(psql(&walk.case.target.url, ours), [[Some("0".to_owned())]], "{point}");
        walk.writers.end();
    }
}

fn points(work: &str) -> impl Iterator<Item = &'static str> {
    let work = format!("{work} ");
    POINTS.into_iter().filter(move |point| point.starts_with(&work))
}

impl Walk {
    /// Both writers begin once PostgreSQL has its guards.
    fn begin(target: TestDatabase) -> Walk {
        let source = sqlite(&format!("pragma journal_mode = wal; {TABLE}"));
        let case = Case { source, target };
        let daemon = case.validated(&SETTINGS);
        let writers = Writers::start(&case.source.path, &case.target.url);
        let address = Arc::new(Mutex::new(daemon.address().to_owned()));
        Walk { case, daemon, address, writers }
    }

    fn restart(&mut self, told: &[(&str, &str)]) {
        self.daemon.kill();
        self.daemon = Daemon::start_told(&self.case.source, &self.case.target.url, &SETTINGS, told);
        *self.address.lock().expect("no thread has panicked") = self.daemon.address().to_owned();
    }

    /// The daemon dies by the order, and another is started.
    fn die_at(&mut self, point: &str, order: &str) {
        let from = self.phase();
        self.restart(&[(ABORT, point)]);
        self.stand_in(&from);
        self.command(order);
        assert!(self.daemon.has_ended(), "{point} was not reached\n{}", self.daemon.log());
        let both = self.takes(Side::Sqlite) && self.takes(Side::Postgres);
        assert!(!both || point.starts_with("cleanup"), "both sides take writes after {point}");
        self.restart(&[]);
    }

    fn phase(&mut self) -> String {
        let status = self.daemon.until(is_settled);
        status["phase"].as_str().expect("a phase has a word").to_owned()
    }

    /// Goes to a phase from wherever it stands, and is ready for the next step.
    fn stand_in(&mut self, wanted: &str) {
        loop {
            let order = match (self.phase().as_str(), wanted) {
                (phase, wanted) if phase == wanted => break,
                ("dual-write", _) => r#"{"to": "validate"}"#,
                ("validate", _) => r#"{"to": "switch"}"#,
                ("switch", _) => r#"{"to": "dual-write"}"#,
                (phase, _) => panic!("no way from {phase} to {wanted}"),
            };
            self.compared();
            self.command(order);
        }
        self.compared();
    }

    /// The gates want a comparison.
    fn compared(&mut self) {
        let compared = |status: &Value| {
            status["validation"]["verdict"].is_string() && status["validation"]["state"] == "idle"
        };
        let status = self.daemon.until(is_settled);
        if status["phase"] != "validate" || compared(&status) {
            return;
        }
        if status["validation"]["state"] == "idle" {
            // One may have begun by itself meanwhile.
            self.daemon.try_post("/v1/validate", "{}");
        }
        self.daemon.until(compared);
    }

    /// Orders until it is obeyed, dead or frozen: while others write, a gate may be closed for a moment.
    #[track_caller]
    fn command(&mut self, order: &str) {
        let began = Instant::now();
        let mut last = Value::Null;
        while began.elapsed() < PATIENCE {
            let Some((status, told)) = self.daemon.try_post("/v1/phase", order) else { return self.gone() };
            if status == 202 {
                match self.answer(told["order"].as_i64().expect("an order has a number")) {
                    None | Some(Value::Null) => return,
                    Some(refused) => last = refused,
                }
            } else {
                last = told;
            }
            sleep(LOOK * 5);
        }
        panic!("{order} was never obeyed: {last:#}\n{}", self.daemon.log());
    }

    /// Nothing where it does not live to answer.
    fn answer(&mut self, order: i64) -> Option<Value> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.daemon.has_ended() || self.daemon.is_frozen() {
                return None;
            }
            let status = self.daemon.status().unwrap_or_default();
            if status["answer"]["order"].as_i64() >= Some(order) {
                return Some(status["answer"]["refused"].clone());
            }
            sleep(LOOK);
        }
        panic!("no answer to {order}\n{}", self.daemon.log());
    }

    fn gone(&mut self) {
        let began = Instant::now();
        while !self.daemon.has_ended() && !self.daemon.is_frozen() {
            assert!(began.elapsed() < PATIENCE, "it neither answers nor ends\n{}", self.daemon.log());
            sleep(LOOK);
        }
    }

    /// By itself it has come to where exactly one side takes writes, and that one has all of them.
    fn is_whole(&mut self, after: &str) {
        let status = self.daemon.until(is_settled);
        let open = match status["routing"]["writes"].as_str() {
            Some("sqlite") => Side::Sqlite,
            Some("postgres") => Side::Postgres,
            _ => panic!("after {after}: {status:#}"),
        };
        let phase = status["phase"].as_str().expect("a phase has a word");
        let fits = match open {
            Side::Sqlite => ["dual-write", "validate"].contains(&phase),
            Side::Postgres => phase == "switch",
        };
        assert!(fits, "after {after}: {status:#}");
        let taken = (self.takes(Side::Sqlite), self.takes(Side::Postgres));
        assert_eq!(taken, (open == Side::Sqlite, open == Side::Postgres), "after {after}: {status:#}");
        self.has_all(open, after);
        println!("{after}: {open:?} takes the writes, in the phase {phase}");
    }

    fn has_all(&self, side: Side, after: &str) {
        let acknowledged = self.writers.acknowledged();
        let rows = self.rows(side);
        let lost: Vec<&Written> = acknowledged.difference(&rows).take(5).collect();
        assert!(lost.is_empty(), "after {after}, {side:?} lacks {lost:?}\n{}", self.daemon.log());
    }

    fn rows(&self, side: Side) -> BTreeSet<Written> {
        match side {
            Side::Sqlite => {
                let db = writers::open(&self.case.source.path);
                let mut rows = db.prepare("select who, n from log").expect("the table is there");
                let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("it can be read");
                rows.map(|row| row.expect("a row can be read")).collect()
            }
            Side::Postgres => {
                let rows = psql(&self.case.target.url, "select who, n from log").into_iter();
                let row = |mut cells: Vec<Option<String>>| {
                    let n = cells.pop().flatten().and_then(|n| n.parse().ok()).expect("a number");
                    (cells.pop().flatten().expect("a name"), n)
                };
                rows.map(row).collect()
            }
        }
    }

    /// Whether the application could write there now.
    fn takes(&self, side: Side) -> bool {
        let probe = "insert into log (who, n) values ('probe', 0)";
        match side {
            Side::Sqlite => {
                let db = writers::open(&self.case.source.path);
                let taken = db.execute_batch(&format!("begin immediate; {probe}; rollback"));
                if let Err(error) = &taken {
                    assert!(error.to_string().contains("the writes have moved"), "{error}");
                }
                taken.is_ok()
            }
            Side::Postgres => {
                let taken = try_psql(&self.case.target.url, &format!("begin; {probe}; rollback"));
                if let Err(error) = &taken {
                    assert!(error.contains("takes no writes"), "{error}");
                }
                taken.is_ok()
            }
        }
    }

    /// Once more there and back, and both sides are the same.
    fn end(mut self) {
        self.stand_in("switch");
        self.is_whole("all of it");
        self.stand_in("dual-write");
        self.is_whole("all of it");
        let acknowledged = self.writers.end();
        for who in ["s", "p"] {
            assert!(acknowledged.iter().any(|(by, _)| by == who), "{who} never wrote: nothing was shown");
        }
        self.daemon.drained(&self.case.source);
        self.case.is_equal();
    }
}

fn is_settled(status: &Value) -> bool {
    status["run"]["state"] == "running"
        && status["machine"]["crossing"].is_null()
        && ["sqlite", "postgres"].contains(&status["routing"]["writes"].as_str().unwrap_or_default())
}
