//! What is done to PostgreSQL's tables and rows without a write that anybody could have noted: before the guards stand, or by an `alter
//! table`. It is found before the writes move, in either direction, and nothing of a row is lost.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held::HeldSession;
use crate::support::{application, psql, try_psql, until};
use serde_json::Value;

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, n integer not null, v text, price decimal(10, 2));
    create table other (id integer primary key, v text);
    with recursive i (n) as (select 1 union all select n + 1 from i where n < 1000)
        insert into t select n, n, 'v' || n, n * 1.25 from i;
    insert into other values (1, 'a')";

/// Each changes every row, and fires no trigger.
const REMADE: [&str; 3] = [
    "alter table t alter column n type bigint using n * 2",
    "alter table t drop column v; alter table t add column v text default 'new'",
    "begin; alter table t rename column id to tmp; alter table t rename column n to id; alter table t rename column tmp to n; commit",
];

#[test]
fn what_strangers_wrote_before_they_were_kept_out_shuts_the_switch() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
    case.rows("update t set v = 'theirs' where id = 5; delete from other");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    let status = daemon.until(|status| status["validation"]["verdict"].is_string());
    assert_eq!(status["validation"]["verdict"], "differs", "{status:#}");
    daemon.refuses("/v1/phase", r#"{"to":"switch"}"#, "gates_closed");
    let repaired = daemon.compared(r#"{"repair": true}"#);
    assert_eq!(repaired["verdict"], "equal", "{repaired:#}");
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    assert_eq!(case.rows("select v from t where id = 5"), [[Some("v5".to_owned())]]);
}

#[test]
fn whoever_keeps_a_table_is_named_and_keeps_nothing_waiting() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let held = HeldSession::open(&case.target.url);
    held.run("begin; update other set v = 'theirs'");
    let refused = daemon.refuses("/v1/phase", r#"{"to":"validate"}"#, "lock_timeout");
    assert!(refused["sentence"].as_str().is_some_and(|told| told.contains("public.")), "{refused:#}");
    case.app("update t set v = 'followed' where id = 7");
    until("it is followed meanwhile", || {
        case.rows("select v from t where id = 7") == [[Some("followed".to_owned())]]
    });
    held.run("rollback");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| status["phase"] == "validate");
}

#[test]
fn rows_of_a_table_that_was_made_anew_are_mended_before_the_writes_move() {
    let case = Case::new(SOURCE);
    // Nobody compares anything by himself.
    let mut daemon = case.daemon(&["--set", "validate.on=false"]);
    daemon.until(|status| status["phase"] == "dual-write");
    let was_looked = "select 1 from liteferry.captured where made is null";
    daemon.until(|_| case.rows(was_looked).is_empty());
    psql(&case.target.url, REMADE[0]);
    let mended = "select count(*) from t where n = id and v = 'v' || id";
    until("the rows are what SQLite holds", || case.rows(mended) == [[Some("1000".to_owned())]]);
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    psql(&case.target.url, REMADE[1]);
    // At once: whoever moves the writes now moves them with everything, or not at all.
    let refusal = daemon.refusal("/v1/phase", r#"{"to":"switch"}"#);
    assert!(refusal.is_some(), "{}", daemon.log());
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    assert_eq!(case.rows(mended), [[Some("1000".to_owned())]]);
}

/// What takes a table or a column away, and what puts it back.
const GONE: [(&str, &str); 4] = [
    ("alter table other rename to elsewhere", "alter table elsewhere rename to other"),
    ("drop table other", "create table other (id bigint primary key, v text)"),
    ("alter table t rename column v to w", "alter table t rename column w to v"),
    ("alter table t drop column v", "alter table t add column v text"),
];

#[test]
fn what_is_gone_from_postgres_shuts_the_switch_by_name_until_it_is_back() {
    let case = Case::new(SOURCE);
    let mut daemon = case.validated(&["--set", "validate.on=false"]);
    for (taken, back) in GONE {
        psql(&case.target.url, taken);
        let refused = daemon.refuses("/v1/phase", r#"{"to":"switch"}"#, "schema_drift");
        assert!(
            refused["sentence"].as_str().is_some_and(|told| told.contains("find public.")),
            "{refused:#}"
        );
        psql(&case.target.url, back);
        daemon
            .until(|status| status["run"]["state"] == "running" && status["gates"]["switch"]["open"] == true);
    }
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    let there =
        "select (select count(*) from t where v = 'v' || id), (select count(*) from other where v = 'a')";
    assert_eq!(case.rows(there), [[Some("1000".to_owned()), Some("1".to_owned())]], "{}", daemon.log());
}

/// Nothing is written that would tell.
#[test]
fn what_is_gone_from_postgres_after_the_switch_is_told_at_once() {
    let case = Case::new(SOURCE);
    let mut daemon = case.validated(&["--set", "validate.on=false"]);
    switch(&mut daemon);
    for (taken, back) in GONE {
        case.rows(taken);
        assert_eq!(daemon.halted(), "schema_drift", "{taken}");
        case.rows(back);
        daemon.until(|status| {
            status["run"]["state"] == "running" && status["gates"]["rollback"]["open"] == true
        });
    }
}

#[test]
fn rows_of_a_table_that_was_made_anew_after_the_switch_come_back() {
    for remade in REMADE {
        let case = Case::new(SOURCE);
        let mut daemon = case.validated(&["--set", "validate.on=false"]);
        daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
        daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
        psql(&case.target.url, remade);
        // Nobody who goes back at once leaves them behind.
        if let Some(refused) = daemon.refusal("/v1/phase", r#"{"to":"dual-write"}"#) {
            println!("{refused:#}");
            daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
        }
        daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
        let sum = "select sum(id * n), sum(length(v)), sum(price * id) from t";
        let there: Vec<f64> =
            case.rows(sum)[0].iter().flatten().map(|sum| sum.parse().expect("a sum")).collect();
        let read = |row: &rusqlite::Row<'_>| Ok(vec![row.get(0)?, row.get(1)?, row.get(2)?]);
        let back: Vec<f64> = application(&case.source.path)
            .query_row("select sum(id * n) * 1.0, sum(length(v)) * 1.0, sum(price * id) from t", [], read)
            .expect("a row");
        assert_eq!(back, there, "{remade}");
        case.is_equal();
    }
}

#[test]
fn what_is_done_to_a_table_and_changes_no_row_disturbs_nobody() {
    let case = Case::new(SOURCE);
    let mut daemon = case.validated(&[]);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    case.rows("vacuum full t");
    case.rows("alter table t add column more text; truncate other; cluster t using t_pkey");
    daemon.until(|_| {
        case.rows("select 1 from liteferry.captured where not made -> 'columns' ? 'more' and id = 1")
            .is_empty()
    });
    // As an application's next release has it: it defines the column anew, and leaves its rows as they are.
    let defined = "select max(xmin::text::bigint)::text from pg_attribute where attrelid = 't'::regclass and attname in ('v', 'price')";
    case.rows("alter table t alter column v set default 'none'");
    case.rows("alter table t alter column price set not null, alter column v set statistics 500");
    let defined = &case.rows(defined)[0][0];
    daemon.until(|_| {
        let seen =
            "select split_part(made -> 'columns' ->> 'price', ' ', 4) from liteferry.captured where id = 1";
        case.rows(seen)[0][0] == *defined
    });
    let note = "select 1 from liteferry.journal where what = 'made anew'";
    assert!(case.rows(note).is_empty(), "{}", daemon.log());
}

const TWO_ROWS: &str = "pragma journal_mode = wal; create table t (id integer primary key, v text);
    insert into t values (1, 'a'), (150, 'b')";
/// Nobody compares anything by himself.
const OF_PARTS: [&str; 4] = ["--set", "target.mode=existing", "--set", "validate.on=false"];

/// Two rows, in a table of these parts.
fn of_parts(sql: &str) -> Case {
    let case = Case::new(TWO_ROWS);
    psql(&case.target.url, sql);
    case
}

fn of_two_partitions() -> Case {
    of_parts(
        "create table t (id bigint primary key, v text) partition by range (id);
         create table low partition of t for values from (0) to (100); create table high partition of t for values from (100) to (200)",
    )
}

/// Waits until SQLite has these keys and no others.
#[track_caller]
fn until_held(case: &Case, wanted: &str) {
    let ids = "select group_concat(id, ' ') from (select id from t order by id)";
    until(&format!("SQLite has {wanted}"), || {
        let found: Option<String> =
            application(&case.source.path).query_row(ids, [], |row| row.get(0)).expect("a row");
        found.as_deref() == Some(wanted)
    });
}

#[track_caller]
fn switch(daemon: &mut Daemon) {
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
}

fn until_guarded(case: &Case, part: &str, triggers: &str) {
    let there =
        format!("select count(*) from pg_trigger where tgrelid = '{part}'::regclass and not tgisinternal");
    until("the new part has what it lacks", || case.rows(&there) == [[Some(triggers.to_owned())]]);
}

#[test]
fn rows_of_a_part_that_comes_or_goes_are_missed() {
    let case = of_two_partitions();
    let mut daemon = case.validated(&OF_PARTS);
    switch(&mut daemon);
    case.rows(
        "create table higher partition of t for values from (200) to (300); insert into t values (250, 'c')",
    );
    let held = |wanted: &str| until_held(&case, wanted);
    held("1 150 250");
    let note = "select 1 from liteferry.journal where what in ('made anew', 'put back')";
    until_guarded(&case, "higher", "3");
    assert!(case.rows(note).is_empty(), "an empty part brings nothing\n{}", daemon.log());
    case.rows("truncate higher");
    held("1 150");
    // Before anybody has looked at it.
    case.rows(
        "begin; create table highest partition of t for values from (300) to (400); insert into t values (350, 'd'); commit; truncate highest",
    );
    held("1 150");
    daemon.until(|_| !case.rows(note).is_empty());
    daemon.until(|status| status["gates"]["rollback"]["open"] == true);
    case.rows("alter table t detach partition low");
    held("150");
    case.rows(
        "insert into low values (2, 'd'); alter table t attach partition low for values from (0) to (100)",
    );
    held("1 2 150");
}

#[test]
fn a_part_that_is_made_while_strangers_are_kept_out_keeps_them_out_too() {
    let case = of_two_partitions();
    let mut daemon = case.validated(&OF_PARTS);
    case.rows("create table higher partition of t for values from (200) to (300)");
    until_guarded(&case, "higher", "3");
    assert!(try_psql(&case.target.url, "insert into higher values (250, 'theirs')").is_err());
    let note = "select 1 from liteferry.journal where what = 'put back'";
    assert!(case.rows(note).is_empty(), "{}", daemon.log());
    // Whoever is quicker is found.
    case.rows("create table highest partition of t for values from (300) to (400); insert into highest values (350, 'theirs')");
    daemon.until(|_| !case.rows(note).is_empty());
    switch(&mut daemon);
    assert_eq!(case.rows("select id from t order by id").len(), 2);
    case.rows("insert into t values (351, 'ours')");
    until_held(&case, "1 150 351");
}

#[test]
fn rows_of_children_by_plain_inheritance_come_back() {
    let case = of_parts("create table t (id bigint primary key, v text); create table early () inherits (t)");
    let mut daemon = case.validated(&OF_PARTS);
    assert!(try_psql(&case.target.url, "insert into early values (2, 'theirs')").is_err());
    switch(&mut daemon);
    case.rows("insert into early values (2, 'ours'); update t set v = 'A' where id = 1");
    until_held(&case, "1 2 150");
    case.rows("create table late () inherits (t)");
    until_guarded(&case, "late", "3");
    case.rows("insert into late values (3, 'ours'); truncate early");
    until_held(&case, "1 3 150");
    case.rows("alter table late no inherit t");
    until_held(&case, "1 150");
    case.rows("create table later (id bigint not null, v text); insert into later values (4, 'theirs'); alter table later inherit t");
    until_held(&case, "1 4 150");
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn a_column_that_would_round_halts_by_name_until_it_does_not() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.until(|_| case.rows("select 1 from liteferry.captured where made is null").is_empty());
    psql(&case.target.url, "alter table t alter column price type numeric(10, 1)");
    assert_eq!(daemon.halted(), "schema_drift");
    let reason = |status: &Value| status["run"]["reason"]["sentence"].to_string();
    let told = daemon.status().as_ref().map(reason).unwrap_or_default();
    assert!(told.contains("public.t.price") && told.contains("numeric(10,1)"), "{told}");
    psql(&case.target.url, "alter table t alter column price type numeric");
    daemon.until(|_| case.rows("select 1 from liteferry.captured where suspect").is_empty());
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn a_rule_halts_by_name_until_it_is_gone() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(&case.target.url, "create rule stray as on insert to t do also update other set v = 'by rule'");
    assert_eq!(daemon.halted(), "schema_drift");
    case.app("insert into t values (2000, 1, 'new', 1)");
    psql(&case.target.url, "alter table t disable rule stray");
    daemon.drained(&case.source);
    assert_eq!(case.rows("select v from other"), [[Some("a".to_owned())]]);
    psql(&case.target.url, "create rule swallows as on insert to other do instead nothing");
    case.app("insert into other values (2, 'b')");
    assert_eq!(daemon.halted(), "schema_drift");
    assert!(try_psql(&case.target.url, "drop rule swallows on other").is_ok());
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn a_column_that_is_dropped_after_the_switch_keeps_its_values_in_sqlite_until_they_are_back() {
    let case = Case::new(SOURCE);
    let mut daemon = case.validated(&[]);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    case.rows("alter table t drop column v; insert into t values (5000, 1, 1)");
    daemon.until(|status| {
        let told = status["run"]["reason"]["remedy"].as_str().unwrap_or_default();
        status["run"]["reason"]["code"] == "schema_drift" && told.contains("in one transaction")
    });
    let kept = || -> i64 {
        let sql = "select count(*) from t where v = 'v' || id";
        application(&case.source.path).query_row(sql, [], |row| row.get(0)).expect("a row")
    };
    assert_eq!(kept(), 1000);
    case.rows("begin; alter table t add column v text; update t set v = 'v' || id; commit");
    daemon.until(|status| status["run"]["state"] == "running" && status["gates"]["rollback"]["open"] == true);
    until("all values are there", || kept() == 1001);
}

/// What is written through it to another table is noted by nobody.
#[test]
fn a_view_in_the_place_of_a_table_halts_by_name_until_it_is_gone() {
    let case = Case::new(TWO_ROWS);
    let mut daemon = case.validated(&["--set", "validate.on=false"]);
    switch(&mut daemon);
    case.rows(
        "begin; create table t2 (like t including all); insert into t2 select * from t; alter table t rename to t_old;
         create view t as select * from t2; insert into t values (2, 'through it'); commit",
    );
    assert_eq!(daemon.halted(), "schema_drift");
    case.rows("begin; drop view t; alter table t2 rename to t; commit");
    until_held(&case, "1 2 150");
}

/// It is asked every two seconds, and while the application waits. A server that has not counted liteferry's own tables yet, as it never does
/// for a few, must not be led to look at each of them for each of the others.
#[test]
fn a_look_at_many_tables_looks_at_each_once_whatever_the_server_expects() {
    const TABLES: usize = 150;
    let case = Case::new(SOURCE);
    case.rows(&format!(
        "create schema liteferry;
        create table liteferry.captured (migration_id bigint, id bigint, made jsonb) with (autovacuum_enabled = off);
        insert into liteferry.captured select 1, n from generate_series(1, {TABLES}) as n;
        do $$ begin for n in 1..{TABLES} loop execute format('create table public.m%s (id bigint, v text)', n); end loop; end $$"
    ));
    let ids: Vec<String> = (1..=TABLES).map(|id| id.to_string()).collect();
    let names: Vec<String> = ids.iter().map(|id| format!("public.m{id}")).collect();
    let look = include_str!("../../src/postgres/sql/made.sql");
    let found = case.rows(&format!(
        "set plan_cache_mode = force_generic_plan;
        prepare look (bigint[], text[], bigint) as {look};
        begin;
        execute look ('{{{}}}', '{{{}}}', 1);
        select pg_stat_get_xact_numscans('pg_attribute_relid_attnum_index'::regclass);
        commit",
        ids.join(","),
        names.join(",")
    ));
    let (looks, tables) = found.split_last().expect("something was found");
    assert_eq!(tables.len(), TABLES);
    let looks: usize = looks[0].as_deref().and_then(|looks| looks.parse().ok()).expect("a number");
    assert!((TABLES..3 * TABLES).contains(&looks), "{looks}");
}
