//! After the switch the daemon compares SQLite with PostgreSQL while PostgreSQL is written, tells what differs, has it mended, and lets
//! nobody go back over rows that are known to differ.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::disk::LateDisk;
use crate::support::held::HeldSession;
use crate::support::{TempDb, application, database, liteferry, psql, sqlite, try_psql, until};
use rusqlite::config::DbConfig;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};

const ROWS: &str = "pragma journal_mode = wal;
    create table item (id integer primary key, name text not null, price real);
    create table note (code text not null primary key, body text);
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000)
        insert into item select i, 'item ' || i, i / 4.0 from n;
    insert into note select 'n' || id, name from item where id <= 500;";

/// Commits row after row to PostgreSQL until it is told to end.
struct Writer {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(url: &str) -> Writer {
        let (url, ending) = (url.to_owned(), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&ending);
        let write = "do $$ begin for i in 1..100 loop
                update item set price = random(), name = 'w' || random() where id = (select 1 + floor(random() * 2900)::bigint);
                insert into note values ('w' || random(), 'new');
                delete from note where code in (select code from note where code like 'w%' order by random() limit 1);
                commit;
            end loop; end $$";
        let thread = spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                try_psql(&url, write).expect("PostgreSQL takes writes");
            }
        });
        Writer { ending, thread }
    }

    fn end(self) {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer writes to its end");
    }
}

impl Case {
    pub fn switched(&self, more: &[&str]) -> Daemon {
        let mut daemon = self.validated(more);
        daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
        daemon.until(|status| {
            let gates = &status["gates"]["rollback"];
            let looked = gates["of"].as_u64() > Some(0);
            assert!(status["phase"] != "switch" || gates["open"] != true || looked, "{gates}");
            status["phase"] == "switch" && gates["open"] == true
        });
        daemon
    }

    /// By hand, and past the guards.
    fn behind_the_guards(&self, sql: &str) {
        let db = application(&self.source.path);
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
            .expect("triggers can be switched off");
        db.execute_batch(sql).expect("no guard fires");
    }
}

impl Daemon {
    /// The answer to an order to compare both sides.
    pub fn compared(&mut self, body: &str) -> Value {
        let (status, accepted) = self.post("/v1/validation", body);
        assert_eq!(status, 202, "{accepted:#}");
        self.answered(accepted["order"].as_u64())
    }

    fn answered(&mut self, order: Option<u64>) -> Value {
        self.wait_for(|daemon| daemon.validation().filter(|told| told["answered"].as_u64() >= order))
    }

    fn validation(&self) -> Option<Value> {
        let (_, told) = self.get("/v1/validation")?;
        Some(serde_json::from_str(&told).expect("it is JSON"))
    }
}

#[test]
fn a_source_without_a_table_goes_there_and_back() {
    let case = Case::new("pragma journal_mode = wal");
    let mut daemon = case.switched(&[]);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write");
}

#[test]
fn sqlite_is_compared_with_postgres_while_postgres_is_written() {
    let case = Case::new(ROWS);
    let mut daemon = case.switched(&["--set", "validate.pair_max_ms=100"]);
    let status = daemon.until(|status| status["validation"]["direction"] == "reverse");
    assert_eq!(status["validation"]["verdict"], "equal", "the first comparison comes by itself: {status:#}");
    let writer = Writer::start(&case.target.url);
    daemon.until(|status| status["reverse"]["applied"].as_u64() > Some(50));
    for _ in 0..3 {
        let found = daemon.compared("{}");
        assert_eq!((&found["verdict"], &found["differences"]), (&json!("equal"), &json!(0)), "{found:#}");
        assert_eq!(found["direction"], "reverse");
    }

    case.behind_the_guards(
        "update item set name = 'spoiled' where id = 2950; delete from item where id = 2960;
         insert into item values (100007, 'extra', 1); update note set body = 'spoiled' where code = 'n7'",
    );
    let found = daemon.compared("{}");
    assert_eq!((&found["verdict"], &found["differences"]), (&json!("differs"), &json!(4)), "{found:#}");
    let report = &found["report"];
    assert_eq!(
        (&report["direction"], &report["target"]),
        (&json!("reverse"), &json!(case.source.path.display().to_string()))
    );
    let listed = |table: usize| {
        let listed = report["tables"][table]["differences"].as_array().expect("a list").iter();
        listed.map(|row| format!("{} {}", row["kind"], row["key"])).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        [listed(0), listed(1)],
        [r#""different" "[2950]"; "missing" "[2960]"; "extra" "[100007]""#, r#""different" "[\"n7\"]""#]
    );
    daemon.until(|status| {
        let closed = status["gates"]["rollback"]["closed"].as_array().expect("a list");
        closed.contains(&json!("reverse_validation"))
    });
    daemon.refuses("/v1/phase", r#"{"to":"dual-write"}"#, "gates_closed");

    let mended = daemon.compared(r#"{"repair": true}"#);
    assert_eq!((&mended["verdict"], &mended["read_again"]), (&json!("equal"), &json!(4)), "{mended:#}");
    writer.end();
    let held = "select group_concat(id || ' ' || name, ';') from item where id in (2950, 2960, 100007)";
    let db = application(&case.source.path);
    let held: String = db.query_row(held, [], |row| row.get(0)).expect("a row");
    assert_eq!(held, "2950 item 2950;2960 item 2960");
    drop(db);

    daemon.until(|status| status["gates"]["rollback"]["open"] == true && status["reverse"]["changes"] == 0);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.drained(&case.source);
    case.is_equal();
}

/// As fixtures and restores do it: what is written meanwhile is noted by nobody, and what wakes all triggers wakes the guards.
#[test]
fn triggers_of_the_way_back_that_somebody_touched_are_put_back_and_their_tables_compared() {
    let case = Case::new(ROWS);
    let mut daemon = case.switched(&["--set", "validate.on=false"]);
    let url = &case.target.url;
    let unseen = |sql: &str| {
        psql(
            url,
            &format!("alter table item disable trigger all; {sql}; alter table item enable trigger all"),
        );
    };
    unseen("insert into item values (4001, 'unseen', 1); delete from item where id = 5");
    // Whoever goes back at once goes back with everything, or not at all.
    let (_, told) = daemon.post("/v1/phase", r#"{"to":"dual-write"}"#);
    assert_ne!(told["code"], "illegal_phase", "{told:#}");
    let held = "select group_concat(id, ' ') from item where id in (5, 4001)";
    let back = || -> Option<String> {
        application(&case.source.path).query_row(held, [], |row| row.get(0)).expect("a row")
    };
    until("what nobody noted is back", || back().as_deref() == Some("4001"));
    let status = daemon.until(|status| status["run"]["state"] == "running");
    assert_eq!(status["phase"], "switch", "{status:#}");

    until("the application writes", || try_psql(url, "insert into item values (4002, 'seen', 1)").is_ok());
    daemon.until(|status| status["gates"]["rollback"]["open"] == true && status["reverse"]["changes"] == 0);
    psql(url, "drop trigger liteferry_capture on note; insert into note values ('unseen', 'too')");
    until("what nobody noted is back", || {
        let noted = "select count(*) from note where code = 'unseen'";
        application(&case.source.path).query_row(noted, [], |row| row.get(0)) == Ok(1)
    });
    daemon.until(|status| status["gates"]["rollback"]["open"] == true && status["reverse"]["changes"] == 0);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.drained(&case.source);
    case.is_equal();
}

/// Nobody starts the daemon again: the application itself may be what mends the row.
#[test]
fn a_way_back_that_sqlite_refused_goes_on_once_the_row_is_changed() {
    let case = Case::new(ROWS);
    let mut daemon = case.switched(&[]);
    let url = &case.target.url;
    psql(url, "alter table item alter column name drop not null; insert into item values (5000, null, 1)");
    let status = daemon.until(|status| status["run"]["state"] == "halted");
    assert_eq!(status["run"]["reason"]["code"], "reverse_refused", "{status:#}");
    psql(url, "update item set name = 'mended' where id = 5000");
    daemon.until(|status| status["run"]["state"] == "running" && status["reverse"]["changes"] == 0);
    let mended = "select name from item where id = 5000";
    let mended = application(&case.source.path).query_row(mended, [], |row| row.get::<_, String>(0));
    assert_eq!(mended.as_deref(), Ok("mended"));
}

#[test]
fn guards_that_somebody_touched_before_the_switch_are_put_back_and_their_tables_compared() {
    let case = Case::new(ROWS);
    let mut daemon = case.validated(&[]);
    let url = &case.target.url;
    psql(
        url,
        "alter table note disable trigger all; insert into note values ('stranger', 'x'); alter table note enable trigger all",
    );
    until("what a stranger wrote is gone", || {
        psql(url, "select from note where code = 'stranger'").is_empty()
    });
    let refused = || try_psql(url, "insert into note values ('stranger', 'y')").is_err();
    until("no stranger writes", refused);
    application(&case.source.path).execute_batch("update note set body = 'ours'").expect("SQLite is written");
    daemon.until(|status| {
        status["run"]["state"] == "running"
            && status["lag"]["changes"] == 0
            && status["gates"]["switch"]["open"] == true
    });
    assert_eq!(case.rows("select from liteferry.reverse_change"), Vec::<Vec<Option<String>>>::new());
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
}

/// To make a switch ready puts guards in too: what was touched must be told before, and once more when the writers wait.
#[test]
fn a_switch_does_not_cover_up_that_somebody_touched_the_guards() {
    let case = Case::new(ROWS);
    let (begun, may_end) = (case.source.path.with_extension("begun"), case.source.path.with_extension("end"));
    let hook = format!(
        "hooks.before_switch=touch '{}'; while [ ! -e '{}' ]; do sleep 0.05; done",
        begun.display(),
        may_end.display()
    );
    let mut daemon = case.validated(&["--set", &hook]);
    let url = &case.target.url;
    let touch = |code: &str| {
        psql(
            url,
            &format!(
                "alter table note disable trigger all; insert into note values ('{code}', 'x'); alter table note enable trigger all"
            ),
        );
    };
    let is_gone = |code: &str| psql(url, &format!("select from note where code = '{code}'")).is_empty();
    let is_ready =
        |status: &Value| status["run"]["state"] == "running" && status["gates"]["switch"]["open"] == true;

    touch("before");
    daemon.post("/v1/phase", r#"{"to":"switch"}"#);
    until("what a stranger wrote is gone", || is_gone("before"));

    daemon.until(|status| status["phase"] == "validate" && is_ready(status));
    let (status, told) = daemon.post("/v1/phase", r#"{"to":"switch"}"#);
    assert_eq!(status, 202, "{told:#}");
    until("the switch is about to begin", || begun.exists());
    touch("meanwhile");
    std::fs::write(&may_end, "").expect("the file can be made");
    until("what a stranger wrote is gone", || is_gone("meanwhile"));
    daemon.until(|status| status["phase"] == "validate" && is_ready(status));
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
}

/// An application that makes tables as it goes goes on doing so in PostgreSQL.
#[test]
fn tables_that_a_rollback_would_leave_in_postgres_are_told_before_it() {
    // Each side's migrations have a record of their own, which nobody carries and nobody misses.
    let record = "create table alembic_version (version_num varchar(32) not null); insert into alembic_version values ('a')";
    let case = Case::new(&format!("{ROWS} {record}"));
    case.rows(&format!(
        "{record}; create table item (id bigint primary key, name text not null, price double precision);
         create table note (code text primary key, body text);
         create schema apart; create table apart.own (id int); insert into apart.own values (1)"
    ));
    let mut daemon = case.switched(&["--set", "target.mode=existing"]);
    let reading = |daemon: &Daemon| {
        let gates: Value = serde_json::from_str(&daemon.get("/v1/gates?to=dual-write")?.1).ok()?;
        let gates = gates["gates"].as_array()?.clone();
        let gate = gates.into_iter().find(|gate| gate["name"] == "reverse_tables_beside")?;
        gate["reading"].as_str().map(str::to_owned)
    };
    assert_eq!(reading(&daemon).as_deref(), Some("no table holds rows that would stay"));
    case.rows(
        "create table made_later (id int) partition by range (id); create table made_later_1 partition of made_later default;
         insert into made_later values (1); create table empty (id int); insert into item values (9001, 'x', 1)",
    );
    daemon.wait_for(|daemon| {
        (reading(daemon)? == "rows that would stay in PostgreSQL: public.made_later").then_some(())
    });
    assert!(daemon.log().contains("its rows would stay in PostgreSQL"), "{}", daemon.log());
}

/// What is looked at under the locks takes as long as there are columns, and not as long as a writer is waited for.
#[test]
fn a_rollback_of_many_columns_has_the_time_to_look_at_them() {
    let columns: Vec<String> = (0..900).map(|n| format!("c{n} integer")).collect();
    let tables: Vec<String> = (0..12)
        .map(|n| {
            format!(
                "create table t{n} (id integer primary key, {}); insert into t{n} (c1) values (2)",
                columns.join(", ")
            )
        })
        .collect();
    let case = Case::new(&format!("pragma journal_mode = wal; {}", tables.join("; ")));
    let mut daemon =
        case.switched(&["--set", "switch.deadline_ms=20000", "--set", "switch.pause_budget_ms=10000"]);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write");
}

#[test]
fn a_comparison_that_a_cleanup_comes_before_is_refused() {
    let case = Case::new(ROWS);
    let mut daemon = case.switched(&[]);
    let held = HeldSession::open(&case.target.url);
    held.run("begin; lock table item in access exclusive mode");
    let (status, accepted) = daemon.post("/v1/validation", "{}");
    assert_eq!(status, 202, "{accepted:#}");
    let file = case.source.path.with_file_name("final.json").display().to_string();
    let cleanup = daemon.client(&["cleanup", "--yes", "--report", &file]).spawn();
    let told = daemon.answered(accepted["order"].as_u64());
    assert_eq!(told["refused"]["code"], "not_possible", "{told:#}");
    held.run("commit");
    let ended = cleanup.expect("the program can be started").wait().expect("it is our child");
    assert!(ended.success(), "{ended}");
    assert_eq!(daemon.status().expect("it listens")["phase"], "done", "who waits for it waits to its end");
    // Also by a daemon that was not there.
    daemon.kill();
    let mut daemon = case.daemon(&[]);
    let report = std::fs::read_to_string(file).expect("the report was written");
    let report: Value = serde_json::from_str(&report).expect("it is JSON");
    let told =
        daemon.wait_for(|daemon| Some(daemon.validation()?["report"].clone()).filter(|told| !told.is_null()));
    assert_eq!(told, report);
    for field in ["source", "target", "started", "finished", "ledger_rows"] {
        assert!(!report[field].is_null(), "{field}: {report:#}");
    }
    assert_eq!((&report["total_source"], &report["success"]), (&json!(3500), &json!(true)), "{report:#}");
}

#[test]
fn beside_a_rollback_journal_both_sides_are_compared_and_the_way_back_stays_open() {
    let case = Case::new(&ROWS.replace("journal_mode = wal", "journal_mode = delete"));
    let mut daemon = case.switched(&["--set", "source.journal=any"]);
    let writer = Writer::start(&case.target.url);
    daemon.until(|status| status["reverse"]["applied"].as_u64() > Some(50));
    let found = daemon.compared("{}");
    assert_eq!(found["verdict"], "equal", "{found:#}");
    writer.end();
    daemon.until(|status| status["gates"]["rollback"]["open"] == true && status["reverse"]["changes"] == 0);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
}

/// Where the way back stands, and the batch's own number.
type Mark = (i64, i64);

fn mark_of(file: &Path) -> Mark {
    let sql = "select reverse_mark, reverse_nonce from _liteferry_control";
    application(file).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("it stands somewhere")
}

/// The daemon stands still, and the disk is looked at as a power cut would leave it. SQLite may have shown more, but whatever
/// PostgreSQL has forgotten must be in it.
#[test]
fn postgres_forgets_nothing_that_a_power_cut_would_take_from_sqlite() {
    let Some(disk) = LateDisk::mount() else { return };
    let source = disk.path().join("source.db");
    application(&source).execute_batch(ROWS).expect("SQLite opens a new file");
    let case = Case { source: TempDb::at(&source), target: database() };
    let daemon = case.switched(&[]);
    let writer = Writer::start(&case.target.url);
    let told = || -> Mark {
        let told = psql(&case.target.url, "select mark, nonce from liteferry.reverse");
        let number = |at: usize| told[0][at].as_deref().and_then(|text| text.parse().ok()).expect("a number");
        (number(0), number(1))
    };
    for _ in 0..12 {
        let before = told();
        until("batches are taken and forgotten", || told().0 > before.0);
        daemon.signal("-STOP");
        let forgotten = told();
        let left = disk.cut();
        daemon.signal("-CONT");
        let left = mark_of(&left.path().join("source.db"));
        assert!(left.0 >= forgotten.0, "PostgreSQL has forgotten {forgotten:?}; the disk has {left:?}");
        assert!(left.0 > forgotten.0 || left.1 == forgotten.1, "{forgotten:?} and {left:?} are one history");
    }
    writer.end();
    assert_eq!(daemon.stop(), Some(0));
}

/// Of a row that PostgreSQL was given, SQLite computes what PostgreSQL takes from its writers, and has no zero below zero in such a column.
#[test]
fn what_sqlite_makes_of_rows_that_came_back_is_carried_over_after_the_rollback() {
    let case = Case::new(
        "pragma journal_mode = wal;
         create table g (id integer primary key, a int, twice int as (a * 2) stored, word text as ('w' || a), n int);
         insert into g (a, n) values (1, 1e300), (2, 0.5)",
    );
    let mut daemon = case.switched(&[]);
    psql(
        &case.target.url,
        "insert into g (id, a, n) values (7, 4, '-0'); update g set a = 5, n = '-0' where id = 1",
    );
    daemon.until(|status| status["reverse"]["changes"] == 0 && status["gates"]["rollback"]["open"] == true);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| {
        status["run"]["state"] == "running" && status["validation"]["direction"] == "forward"
    });
    case.is_equal();
    let held = psql(&case.target.url, "select id, a, twice, word, n from g order by id");
    let held: Vec<String> =
        held.iter().map(|row| row.iter().flatten().cloned().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(held, ["1 5 10 w5 0", "2 2 4 w2 0.5", "7 4 8 w4 0"]);
}

/// It has no triggers yet because it is new, and nobody has touched them.
#[test]
fn a_table_that_comes_before_the_switch_gets_its_way_back_and_nobody_is_accused() {
    let case = Case::new(ROWS);
    let mut daemon = case.validated(&[]);
    case.app(
        "create table latecomer (id integer primary key, v text); insert into latecomer values (1, 'x')",
    );
    let guarded = "select 1 from pg_trigger where tgrelid = to_regclass('latecomer') and tgenabled = 'A' and tgname like '%guard%'";
    daemon.until(|status| {
        status["gates"]["switch"]["open"] == true
            && !case.rows(guarded).is_empty()
            && status["lag"]["changes"] == 0
    });
    assert!(!daemon.log().contains("way back"), "{}", daemon.log());
    assert!(case.rows("select 1 from liteferry.journal where what = 'put back'").is_empty());
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch");
    psql(&case.target.url, "insert into latecomer values (2, 'y')");
    daemon.until(|status| status["gates"]["rollback"]["open"] == true && status["reverse"]["changes"] == 0);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write");
    let late = application(&case.source.path)
        .query_row("select group_concat(v) from latecomer", [], |row| row.get::<_, String>(0));
    assert_eq!(late.unwrap(), "x,y");
}

#[test]
fn a_server_that_forbids_changes_of_its_schema_keeps_no_daemon_from_starting() {
    let case = Case::new(ROWS);
    let daemon = case.switched(&[]);
    assert_eq!(daemon.stop(), Some(0));
    psql(
        &case.target.url,
        "create function forbid() returns event_trigger language plpgsql as
             $$ begin raise exception '% is forbidden', tg_tag; end $$;
         create event trigger forbid on ddl_command_start execute function forbid()",
    );
    let mut daemon = case.daemon(&[]);
    psql(&case.target.url, "update item set name = 'written later' where id = 7");
    daemon.until(|status| status["reverse"]["applied"] == 1 && status["gates"]["rollback"]["open"] == true);
    assert_eq!(daemon.compared("{}")["verdict"], "equal");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_null_that_comes_back_as_a_text_which_may_stand_once_is_told_by_check() {
    let source = sqlite(
        "create table t (id integer primary key, ip varchar(15) unique); insert into t values (1, '')",
    );
    let target = database();
    psql(&target.url, "create table t (id bigint primary key, ip inet unique)");
    let path = source.path.display().to_string();
    let told = || {
        let sides =
            ["check", "--source", &path, "--target", &target.url, "--set", "target.mode=existing", "--json"];
        let form = ["--set", "types.column.\"t.ip\".form=empty-null"];
        let report = liteferry(&[&sides[..], &form].concat()).exits_with(0).json();
        let findings = report["findings"].as_array().expect("a list").clone();
        let remedy = |finding: &Value| finding["remedy"].as_str().expect("text").to_owned();
        findings.iter().filter(|finding| finding["code"] == "reverse_nulls").map(remedy).collect::<Vec<_>>()
    };
    let told = told();
    let (_, statement) = told[0].split_once(": ").expect("it ends with the statement");
    psql(&target.url, statement);
    psql(&target.url, "insert into t values (1, null)");
    assert!(try_psql(&target.url, "insert into t values (2, null)").is_err());
}
