//! Columns to which values came that their type does not hold, where the operator wants them wider: the type that the copy would have
//! chosen, everything that stands on it as it was, nothing left in the ledger, and every value back in SQLite as it was written.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held::HeldSession;
use crate::support::{application, liteferry, psql};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

const WIDEN: &[&str] = &["--set", "misfits.policy=widen", "--set", "types.int_width=declared"];

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, n integer not null default 7, b boolean, d date, u uuid, j json, r real, s smallint, x,
                    late integer);
    create index t_n on t (n); create index t_u on t (u);
    create table other (id integer primary key, n integer);
    insert into t values (1, 5, 1, '2024-02-29', '12345678-1234-5678-1234-567812345678', '{\"a\": 1}', 0.5, 3, 1, 1),
                         (2, 6, 0, '2024-03-01', '12345678-1234-5678-1234-567812345679', '[]', 1.0, 4, 2, 2),
                         (3, -7, 1, null, null, null, 1e300, -3, 3, 3);
    insert into other values (1, 1)";

/// What each column comes to hold, one after the other.
const LATER: [&str; 9] = [
    "update t set n = 5000000000 where id = 1",
    "update t set b = 7 where id = 2",
    "update t set d = 'soon' where id = 1",
    "update t set u = 'none' where id = 2",
    "update t set j = '{a:1}' where id = 2",
    "update t set r = 'much' where id = 1",
    "update t set s = 1.5 where id = 3",
    "update t set x = 'three' where id = 3",
    "insert into t (id, n, b) values (9, 'no number', 'maybe')",
];

/// An application that never rests, and never waits for us.
struct App {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<i64>>,
}

impl App {
    fn start(case: &Case) -> App {
        let (ending, path) = (Arc::new(AtomicBool::new(false)), case.source.path.clone());
        let told = Arc::clone(&ending);
        let thread = spawn(move || {
            let db = application(&path);
            let mut written = 0;
            while !told.load(Ordering::Relaxed) {
                written += 1;
                let sql = "insert into t values (?1 + 1000, ?1, ?1 % 2, '2024-02-28', null, '{}', ?1 / 2.0, 1, ?1, ?1)";
                db.execute(sql, [written]).expect("a row is written");
                db.execute("update t set n = n + 1 where id = ?1", [written / 2 + 1000])
                    .expect("and another");
                sleep(Duration::from_millis(5));
            }
            written
        });
        App { ending, thread: Some(thread) }
    }

    fn end(mut self) -> i64 {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("no write of the application failed")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

fn types(case: &Case, table: &str) -> String {
    let sql = format!(
        "select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum) from pg_attribute
         where attrelid = '{table}'::regclass and attnum > 1 and not attisdropped"
    );
    case.rows(&sql)[0][0].clone().unwrap_or_default()
}

fn ledger(case: &Case) -> String {
    let sql = "select coalesce(string_agg(column_name || ' ' || key, ', ' order by column_name, key), '') from liteferry.ledger";
    case.rows(sql)[0][0].clone().unwrap_or_default()
}

/// Every cell as SQLite has it, class and spelling.
fn cells(case: &Case) -> Vec<String> {
    let db = application(&case.source.path);
    let shown = ["n", "b", "d", "u", "j", "r", "s", "x", "late"]
        .map(|name| format!("typeof({name}) || quote({name})"));
    let sql = format!("select id || ' ' || {} from t order by id", shown.join(" || ' ' || "));
    let mut statement = db.prepare(&sql).expect("a query");
    let rows = statement.query_map([], |row| row.get(0)).expect("it runs");
    rows.collect::<Result<_, _>>().expect("texts")
}

#[track_caller]
fn is_proved(case: &Case) {
    let source = case.source.path.display().to_string();
    let report = liteferry(&["validate", "--json", "--source", &source, "--target", &case.target.url]);
    let report = report.exits_with(0).json();
    assert_eq!(report["verdict"], "equal", "{report:#}");
}

#[track_caller]
fn ordered(daemon: &mut Daemon, body: &str) {
    daemon.obeys("/v1/phase", body);
}

#[test]
fn columns_become_wider_under_writers_and_across_a_crash_and_the_values_go_back_as_they_were() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(WIDEN);
    daemon.until(|status| status["phase"] == "dual-write");
    assert_eq!(
        types(&case, "t"),
        "n integer, b boolean, d date, u uuid, j json, r double precision, s smallint, x bigint, late integer"
    );
    let app = App::start(&case);
    for sql in &LATER[..3] {
        case.app(sql);
    }
    daemon.until_told_by("columns become wider", || sleep(Duration::from_millis(5)));
    daemon.kill();
    for sql in &LATER[3..] {
        case.app(sql);
    }
    let mut daemon = case.daemon(WIDEN);
    let wider = "n text, b text, d text, u text, j text, r text, s double precision, x text, late integer";
    daemon.until(|status| {
        status["run"]["state"] == "running" && types(&case, "t") == wider && ledger(&case).is_empty()
    });
    assert!(app.end() > 0);
    daemon.drained(&case.source);
    is_proved(&case);
    assert_eq!(types(&case, "other"), "n integer");
    let indexes = "select string_agg(indexrelid::regclass::text, ' ' order by 1) from pg_index
        where indrelid = 't'::regclass and indisvalid and not indisprimary";
    assert_eq!(case.rows(indexes)[0][0].as_deref(), Some("t_n t_u"));
    let noted = case.rows("select count(*) from liteferry.journal where what = 'widened'");
    assert_ne!(noted[0][0].as_deref(), Some("0"));

    daemon.until(|status| status["validation"]["verdict"] == "equal");
    ordered(&mut daemon, r#"{"to":"validate"}"#);
    // Beside the guards, and after a verdict that was about another type.
    case.app("update t set late = 'late' where id = 1");
    daemon.until(|_| types(&case, "t").ends_with("late text") && ledger(&case).is_empty());
    let before = cells(&case);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    ordered(&mut daemon, r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["run"]["state"] == "running");
    assert_eq!(case.rows("insert into t (x) values ('new') returning n")[0][0].as_deref(), Some("7"));
    // Each row goes the way back, and is what it was.
    case.rows("update t set n = n where id <> 9; update t set s = s, n = 'another' where id = 9; delete from t where x = 'new'");
    daemon
        .until(|status| status["reverse"]["changes"] == 0 && status["reverse"]["applied"].as_u64() > Some(0));
    ordered(&mut daemon, r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    let after: Vec<String> = cells(&case).iter().map(|row| row.replace("'another'", "'no number'")).collect();
    assert_eq!(after, before);
    daemon.drained(&case.source);
    is_proved(&case);
}

#[test]
fn a_column_that_something_stands_on_stays_and_says_why() {
    let case = Case::new(
        "pragma journal_mode = wal;
         create table t (id integer primary key, checked integer check (checked > 0), seen integer, free integer);
         create table log (id integer primary key, n integer, folded integer); create index folded on log (folded collate nocase);
         insert into t values (1, 1, 1, 1); insert into log values (1, 1, 1)",
    );
    let mut daemon = case.daemon(&["--set", "misfits.policy=widen"]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(&case.target.url, "create view watching as select n from log");
    case.app("update t set checked = 'a text is more than any number' where id = 1");
    daemon.until_told_by("checked: constraint", || sleep(Duration::from_millis(5)));
    case.app("update log set n = 'seen by a view'");
    daemon.until_told_by("used by a view or rule", || sleep(Duration::from_millis(5)));
    assert_eq!(
        (types(&case, "t"), types(&case, "log")),
        ("checked bigint, seen bigint, free bigint".into(), "n bigint, folded bigint".into())
    );
    case.app("update log set folded = 'a'");
    daemon.until_told_by("would not be the same", || sleep(Duration::from_millis(5)));
    // The others are not stopped by it.
    case.app("update t set free = 'free' where id = 1; insert into t values (2, 2, 2, 2)");
    daemon.until(|_| types(&case, "t") == "checked bigint, seen bigint, free text");
    daemon.until(|status| {
        status["run"]["state"] == "running" && ledger(&case) == "checked [1], folded [1], n [1]"
    });
    // Whoever reads is not waited for, and what was not done is done later.
    psql(&case.target.url, "drop view watching");
    let reader = HeldSession::open(&case.target.url);
    reader.run("begin; select count(*) from t");
    case.app("update t set seen = 'later' where id = 2");
    daemon.until_told_by("no wider columns yet", || sleep(Duration::from_millis(5)));
    case.app("update t set seen = 3 where id = 1");
    drop(reader);
    daemon.until(|status| {
        status["run"]["state"] == "running" && types(&case, "t") == "checked bigint, seen text, free text"
    });
    daemon.until(|_| !ledger(&case).contains("seen"));
    let told = case.rows(
        "select string_agg(detail, '; ' order by id) from liteferry.journal where what = 'not widened'",
    );
    let told = told[0][0].clone().unwrap_or_default();
    assert_eq!(told.matches("t.checked: constraint").count(), 1, "each reason stands there once: {told}");
    assert!(told.contains("t.checked: constraint") && told.contains("log.PostgreSQL refuses it"), "{told}");
    case.is_equal();
}
