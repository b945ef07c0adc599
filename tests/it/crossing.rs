//! The daemon, or PostgreSQL, dies at every point of a switch, a rollback and a cleanup, while applications write to both sides at all
//! times. Afterwards one side takes writes, it has every acknowledged one, and the way goes on without a human.

mod campaign;
mod writers;

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held::HeldSession;
use crate::support::{OwnServer, PATIENCE, TestDatabase, application, database, psql, sqlite, try_psql};
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
    settings: Vec<String>,
    /// Where the daemon of now listens.
    address: Arc<Mutex<String>>,
    writers: Writers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sqlite,
    Postgres,
}

const LOOK: Duration = Duration::from_millis(20);
/// What a hook leaves a line in, beside the source.
const CALLED: &str = "called";
const CLEANUP: &str = r#"{"to": "cleanup", "confirm": "source.db"}"#;

#[test]
fn a_daemon_that_dies_in_a_switch_leaves_one_side_open_with_every_acknowledged_write() {
    let mut walk = Walk::begin(database());
    for point in points("switch") {
        walk.stand_in("validate");
        let called = walk.called("after_switch");
        walk.die_at(point, r#"{"to": "switch"}"#);
        walk.is_whole(point);
        if walk.phase() == "switch" {
            walk.is_called("after_switch", called, point);
        }
    }
    walk.end();
}

#[test]
fn a_daemon_that_dies_in_a_rollback_leaves_one_side_open_with_every_acknowledged_write() {
    let mut walk = Walk::begin(database());
    for point in points("rollback") {
        walk.stand_in("switch");
        let called = walk.called("after_rollback");
        walk.die_at(point, r#"{"to": "dual-write"}"#);
        walk.is_whole(point);
        if walk.phase() != "switch" {
            walk.is_called("after_rollback", called, point);
        }
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
        let number = walk.command(order).expect("it was taken");
        assert!(walk.daemon.is_frozen(), "{point} was not reached\n{}", walk.daemon.log());
        server.stop_immediately();
        server.start();
        walk.daemon.signal("-CONT");
        // It is the same daemon that finds the way out, and whoever asked is told what came of it.
        walk.is_whole(point);
        let refused = walk.answer(number).expect("it lives");
        assert_eq!(refused.is_null(), walk.phase() != from, "{point}: {refused:#}");
        walk.restart(&[]);
    }
    walk.end();
}

#[test]
fn a_cleanup_that_was_left_half_done_with_its_server_is_ended_by_this_daemon_or_the_next() {
    let mut server = OwnServer::new();
    for (at, point) in points("cleanup").enumerate() {
        let lives = at % 2 == 0;
        let name = format!("cleanup{at}");
        psql(&server.url("postgres"), &format!("create database {name}"));
        let any = server.url("postgres");
        let url = format!("{}{name}", any.strip_suffix("postgres").expect("its database ends it"));
        let mut walk = Walk::begin(TestDatabase { url, name });
        walk.stand_in("switch");
        // What is written to SQLite once nothing of ours is left in it, nobody carries over.
        walk.writers.end_one("s");
        walk.restart(&[(FREEZE, point)]);
        walk.stand_in("switch");
        walk.command(CLEANUP);
        walk.gone();
        server.stop_immediately();
        if lives {
            walk.daemon.signal("-CONT");
            server.start();
        } else {
            walk.daemon.kill();
            server.start();
            walk.restart(&[]);
        }
        walk.daemon.wait_for(|daemon| {
            // It comes by the point again.
            if daemon.is_frozen() {
                daemon.signal("-CONT");
            }
            let status = daemon.status()?;
            (status["phase"] == "done" && is_settled(&status)).then_some(())
        });
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
        let report = files.iter().find(|file| file.ends_with(".report.json")).expect("it was just found");
        let report = std::fs::read_to_string(dir.join(report)).expect("it can be read");
        let report: Value = serde_json::from_str(&report).expect("it is JSON");
        let removed = report["removed_from_sqlite"].as_array().expect("a list");
        for ours in ["_liteferry_change", "_liteferry_control", "_liteferry_1_ai"] {
            assert!(removed.iter().any(|name| name == ours), "{point}: {report:#}");
        }
        let ours = "select count(*) from pg_trigger where tgrelid = 'log'::regclass";
        assert_eq!(psql(&walk.case.target.url, ours), [[Some("0".to_owned())]], "{point}");
        // Once more is no more.
        let journal = "select id, what, detail from liteferry.journal order by id";
        let told = walk.case.rows(journal);
        walk.daemon.obeys("/v1/phase", CLEANUP);
        assert_eq!(walk.case.rows(journal), told, "{point}");
        walk.writers.end();
    }
}

#[test]
fn a_cleanup_waits_for_the_application_and_does_not_keep_it_waiting() {
    let mut walk = Walk::begin(database());
    walk.stand_in("switch");
    let reading = HeldSession::open(&walk.case.target.url);
    reading.run("begin; select count(*) from log");
    walk.command(CLEANUP);
    walk.daemon.until(|status| status["run"]["reason"]["code"] == "lock_timeout");
    // A wait without a bound would keep them for as long as the reader stays.
    for _ in 0..20 {
        walk.case.rows("set statement_timeout = '60s'; select count(*) from log");
        sleep(LOOK * 5);
    }
    reading.run("commit");
    walk.daemon.until(|status| status["phase"] == "done");
    walk.writers.end();
}

#[test]
fn a_migration_that_runs_as_the_switch_begins_is_carried_over_first() {
    let mut walk = Walk::begin(database());
    walk.stand_in("validate");
    let [begun, go] = ["begun", "go"].map(|name| walk.case.source.path.with_file_name(name));
    let hook = format!("touch '{}'; until [ -e '{}' ]; do sleep 0.02; done", begun.display(), go.display());
    walk.restart_with(&[format!("hooks.before_switch={hook}").as_str(), "hooks.timeout_ms=600000"]);
    walk.stand_in("validate");
    let db = application(&walk.case.source.path);
    // Nobody else writes: no change in the log tells of what comes.
    walk.writers.end_one("s");
    walk.daemon.until(|status| status["lag"]["changes"] == 0);
    // A gate may be closed for a moment.
    let began = Instant::now();
    let order = loop {
        assert!(began.elapsed() < *PATIENCE, "the hook was never called\n{}", walk.daemon.log());
        let (status, told) = walk.daemon.post("/v1/phase", r#"{"to": "switch"}"#);
        let order = told["order"].as_i64();
        if status == 202 {
            walk.daemon.until(|status| begun.exists() || status["answer"]["order"].as_i64() >= order);
        }
        if begun.exists() {
            break order.expect("an order has a number");
        }
        sleep(LOOK * 5);
    };
    let migration = "begin immediate; create table late (id integer primary key, v text); insert into late values (1, 'a')";
    db.execute_batch(migration).expect("the application migrates its schema");
    std::fs::write(go, "").expect("a file can be made");
    // All that was committed is applied: what is left is to be met under the fence.
    walk.daemon.until(|status| status["routing"]["writes"] == "paused");
    db.execute_batch("commit").expect("the migration ends");
    let refused = walk.answer(order).expect("it lives");
    assert_eq!(refused["code"], "source_schema_moved", "{refused:#}");
    walk.restart(&[]);
    walk.stand_in("switch");
    assert_eq!(walk.case.rows("select id, v from late"), [[Some("1".to_owned()), Some("a".to_owned())]]);
    let refused = db.execute_batch("insert into late values (2, 'b')").expect_err("it is guarded");
    assert!(refused.to_string().contains("the writes have moved"), "{refused}");
    walk.writers.end();
}

#[test]
fn what_is_vetoed_leaves_the_writes_where_they_are_and_the_way_back_running() {
    let mut walk = Walk::begin(database());
    for (from, order, veto) in [
        ("validate", r#"{"to": "switch"}"#, "hooks.before_switch=false"),
        ("switch", r#"{"to": "dual-write"}"#, "hooks.before_rollback=false"),
    ] {
        walk.stand_in(from);
        walk.restart_with(&[veto]);
        walk.stand_in(from);
        for _ in 0..3 {
            let (status, told) = walk.daemon.post("/v1/phase", order);
            if status == 202 {
                let refused = walk.answer(told["order"].as_i64().expect("an order has a number"));
                assert!(refused.is_some_and(|refused| !refused.is_null()), "{order}");
            }
            walk.is_whole(veto);
            assert_eq!(walk.phase(), from);
        }
        walk.restart(&[]);
    }
    walk.end();
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
        let called = case.source.path.with_file_name(CALLED).display().to_string();
        let hook = |moment: &str| format!("hooks.{moment}=echo $LITEFERRY_MOMENT >> '{called}'");
        let mut settings: Vec<String> = Vec::new();
        for moment in ["after_switch", "after_rollback"] {
            settings.extend(["--set".to_owned(), hook(moment)]);
        }
        let daemon = case.validated(&borrowed(&settings));
        let writers = Writers::start(&case.source.path, &case.target.url);
        let address = Arc::new(Mutex::new(daemon.address().to_owned()));
        Walk { case, daemon, settings, address, writers }
    }

    /// With some settings more until the next start.
    fn restart_with(&mut self, more: &[&str]) {
        self.daemon.kill();
        let more: Vec<&str> = more.iter().flat_map(|setting| ["--set", setting]).collect();
        let settings = [&borrowed(&self.settings)[..], &more].concat();
        self.daemon = Daemon::start(&self.case.source, &self.case.target.url, &settings);
    }

    /// How often a hook was called.
    fn called(&self, moment: &str) -> usize {
        let lines = std::fs::read_to_string(self.case.source.path.with_file_name(CALLED));
        lines.unwrap_or_default().lines().filter(|line| *line == moment).count()
    }

    #[track_caller]
    fn is_called(&self, moment: &str, before: usize, point: &str) {
        let began = Instant::now();
        while self.called(moment) == before {
            assert!(
                began.elapsed() < *PATIENCE,
                "{moment} was not called after {point}\n{}",
                self.daemon.log()
            );
            sleep(LOOK);
        }
    }

    fn restart(&mut self, told: &[(&str, &str)]) {
        self.daemon.kill();
        let settings = borrowed(&self.settings);
        self.daemon = Daemon::start_told(&self.case.source, &self.case.target.url, &settings, told);
        *self.address.lock().expect("no thread has panicked") = self.daemon.address().to_owned();
    }

    /// The daemon dies by the order, and another is started.
    fn die_at(&mut self, point: &str, order: &str) {
        let from = self.phase();
        self.restart(&[(ABORT, point)]);
        self.stand_in(&from);
        self.command(order);
        // A cleanup is answered before it is done.
        self.gone();
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
            self.daemon.try_post("/v1/validation", "{}");
        }
        self.daemon.until(compared);
    }

    /// Orders until it is obeyed, dead or frozen: while others write, a gate may be closed for a moment. Gives the order's number, where
    /// that was told.
    #[track_caller]
    fn command(&mut self, order: &str) -> Option<i64> {
        let began = Instant::now();
        let mut last = Value::Null;
        while began.elapsed() < *PATIENCE {
            let Some((status, told)) = self.daemon.try_post("/v1/phase", order) else {
                self.gone();
                return None;
            };
            if status == 202 {
                let number = told["order"].as_i64().expect("an order has a number");
                match self.answer(number) {
                    None | Some(Value::Null) => return Some(number),
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
        while began.elapsed() < *PATIENCE {
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
            assert!(began.elapsed() < *PATIENCE, "it was neither ended nor frozen\n{}", self.daemon.log());
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
                let db = application(&self.case.source.path);
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
                let db = application(&self.case.source.path);
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
        for (phase, who) in [("switch", "p"), ("dual-write", "s")] {
            self.stand_in(phase);
            self.is_whole("all of it");
            // Or nothing was shown.
            self.daemon.until(|_| self.writers.acknowledged().iter().any(|(by, _)| by == who));
        }
        self.writers.end();
        self.daemon.drained(&self.case.source);
        self.case.is_equal();
    }
}

fn borrowed(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

fn is_settled(status: &Value) -> bool {
    status["run"]["state"] == "running"
        && status["machine"]["crossing"].is_null()
        && ["sqlite", "postgres"].contains(&status["routing"]["writes"].as_str().unwrap_or_default())
}
