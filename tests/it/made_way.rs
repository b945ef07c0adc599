//! Locks that others hold on PostgreSQL's tables: an autovacuum makes way for whatever moves the writes, and anybody else is named.

use crate::follow::Case;
use crate::support::held::HeldSession;
use crate::support::{OwnServer, TestDatabase, psql, sqlite, until};

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, v text);
    create table of_t (id integer primary key, t_id integer references t (id));
    with recursive i (n) as (select 1 union all select n + 1 from i where n < 30000)
        insert into t select n, 'value ' || n from i";
/// A row in some seconds, and begun again a second after it was ended.
const SLOWLY: &str = "alter table t set (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,
    autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 1000000000)";

#[test]
fn an_autovacuum_makes_way_for_the_switch_and_for_the_way_back() {
    let mut server = OwnServer::new();
    // None for what is loaded, which would be over before it is told to be slow.
    server.restart_with([
        ("autovacuum_naptime", "1s".to_owned()),
        ("autovacuum_vacuum_insert_threshold", "-1".to_owned()),
    ]);
    let target = TestDatabase { url: server.url("postgres"), name: "postgres".to_owned() };
    let case = Case { source: sqlite(SOURCE), target };
    let mut daemon = case.daemon(&["--set", "validate.on=false"]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(&case.target.url, SLOWLY);
    case.app("update t set v = v || '!'");
    daemon.drained(&case.source);
    let vacuumed = "select pid from pg_locks where relation = 't'::regclass and mode = 'ShareUpdateExclusiveLock' and granted";
    let vacuum = || until("a vacuum is at it", || !case.rows(vacuumed).is_empty());
    vacuum();
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    vacuum();
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    vacuum();
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    case.rows("update t set v = v || '?' where id < 20000");
    vacuum();
    case.rows("alter table t disable trigger liteferry_capture");
    let fires = "select 1 from pg_trigger where tgrelid = 't'::regclass and tgname = 'liteferry_capture' and tgenabled = 'A'";
    until("what was touched is put back", || !case.rows(fires).is_empty());
    daemon.until(|status| status["gates"]["rollback"]["open"] == true);
    vacuum();
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.drained(&case.source);
    let ended = "select 1 from pg_stat_user_tables where relname = 't' and last_autovacuum is not null";
    assert!(case.rows(ended).is_empty(), "it was not waited for");
    case.is_equal();
}

#[test]
fn whoever_stays_in_the_way_of_a_crossing_is_named() {
    let case = Case::new("pragma journal_mode = wal; create table t (id integer primary key, v text)");
    // Nobody is waited for as long as elsewhere.
    let hurried = ["--set", "switch.deadline_ms=3000", "--set", "switch.pause_budget_ms=3000"];
    let mut daemon = case.validated(&hurried);
    let held = HeldSession::open(&case.target.url);
    let named = |refused: &serde_json::Value| {
        let pid = case.rows("select pid from pg_locks where relation = 't'::regclass and granted and mode ~ 'Exclusive' order by pid");
        let pid = pid[0][0].clone().unwrap_or_default();
        let told = refused["remedy"].as_str().unwrap_or_default();
        assert!(told.contains(&format!("session {pid} ")), "{refused:#}");
    };
    held.run("begin; lock table t in share update exclusive mode");
    named(&daemon.refuses("/v1/phase", r#"{"to":"switch"}"#, "lock_timeout"));
    held.run("rollback");
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    held.run("begin; insert into t values (1, 'long')");
    named(&daemon.refuses("/v1/phase", r#"{"to":"dual-write"}"#, "lock_timeout"));
    held.run("commit");
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn a_prepared_transaction_in_the_way_of_a_rollback_is_named() {
    let mut server = OwnServer::new();
    server.restart_with([("max_prepared_transactions", "2".to_owned())]);
    let target = TestDatabase { url: server.url("postgres"), name: "postgres".to_owned() };
    let case =
        Case { source: sqlite("pragma journal_mode = wal; create table t (id integer primary key)"), target };
    let mut daemon = case.switched(&[]);
    psql(&case.target.url, "begin; insert into t values (1); prepare transaction 'of the application'");
    let refused = daemon.refuses("/v1/phase", r#"{"to":"dual-write"}"#, "lock_timeout");
    let told = refused["remedy"].as_str().unwrap_or_default();
    assert!(told.contains("\"of the application\""), "{refused:#}");
    psql(&case.target.url, "commit prepared 'of the application'");
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn an_autovacuum_makes_way_for_a_wider_column() {
    let mut server = OwnServer::new();
    server.restart_with([("autovacuum_naptime", "1s".to_owned())]);
    let target = TestDatabase { url: server.url("postgres"), name: "postgres".to_owned() };
    let case = Case {
        source: sqlite(&format!("{SOURCE}; create table w (id integer primary key, n integer)")),
        target,
    };
    let mut daemon = case.daemon(&["--set", "validate.on=false", "--set", "misfits.policy=widen"]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(&case.target.url, &SLOWLY.replace("table t ", "table w "));
    case.app("insert into w select id, id from t; update w set n = id + 1");
    daemon.drained(&case.source);
    let vacuumed = "select pid from pg_locks where relation = 'w'::regclass and mode = 'ShareUpdateExclusiveLock' and granted";
    until("a vacuum is at it", || !case.rows(vacuumed).is_empty());
    case.app("update w set n = 'a word' where id = 7");
    let wider = "select 1 from pg_attribute where attrelid = 'w'::regclass and attname = 'n' and atttypid = 'text'::regtype";
    until("it is wider", || !case.rows(wider).is_empty());
    let ended = "select 1 from pg_stat_user_tables where relname = 'w' and last_autovacuum is not null";
    assert!(case.rows(ended).is_empty(), "it was not waited for");
}
