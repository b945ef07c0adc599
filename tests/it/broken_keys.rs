//! Foreign keys that rows of SQLite break: told before anything begins, and moved over as the operator decides.

use crate::existing::lines;
use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{TestDatabase, database, liteferry, psql, sqlite, try_psql};
use serde_json::Value;

/// Bacula's way: 0 for none. One of the lines is an orphan by accident.
const SOURCE: &str = "pragma journal_mode = wal;
    create table pool (id integer primary key, next_id integer not null references pool (id), name text);
    create table line (id integer primary key, pool_id integer references pool);
    insert into pool values (1, 0, 'full'), (2, 1, 'differential'), (3, 0, 'none');
    insert into line values (1, 1), (2, 77), (3, null)";

const NEVER_KEPT: [&str; 2] = ["--set", "tables.no_foreign_key=Pool.*_id"];

fn told(file: &str, target: &TestDatabase, more: &[&str]) -> Vec<String> {
    let plan = liteferry(&[&["check", "--source", file, "--target", &target.url], more].concat())
        .exits_with(0)
        .json();
    let findings = plan["findings"].as_array().expect("a list").iter();
    let of_keys = findings
        .filter(|finding| finding["code"].as_str().is_some_and(|code| code.starts_with("foreign_key_")));
    of_keys.map(|finding| format!("{}: {}", finding["subject"], finding["text"])).collect()
}

fn keys(case: &Case) -> Vec<String> {
    let sql =
        "select conrelid::regclass || case when convalidated then '' else ' not valid' end from pg_constraint
        where contype = 'f' and connamespace = 'public'::regnamespace order by 1";
    lines(&case.target.url, sql, "|")
}

fn is_shut(status: &Value) -> bool {
    let closed = status["gates"]["switch"]["closed"].as_array();
    closed.is_some_and(|gates| gates.iter().any(|gate| gate == "constraints"))
}

#[track_caller]
fn switched(daemon: &mut Daemon) {
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["run"]["state"] == "running");
}

#[test]
fn rows_that_break_a_key_are_told_before_anything_begins() {
    let (source, target) = (sqlite(SOURCE), database());
    let file = source.path.display().to_string();
    let line = r#""line.pool_id": "rows refer to none of pool, and break the foreign key: 1""#;
    let pool = r#""pool.next_id": "rows refer to none of pool, and break the foreign key: 2""#;
    assert_eq!(told(&file, &target, &["--json"]), [pool, line]);
    assert_eq!(told(&file, &target, &[&NEVER_KEPT[..], &["--json"]].concat()), [line]);
    psql(
        &target.url,
        "create table pool (id bigint primary key, next_id bigint not null, name text);
         create table line (id bigint primary key, \"pool_id\" bigint references pool)",
    );
    assert_eq!(told(&file, &target, &["--set", "target.mode=existing", "--json"]), [line]);
}

#[test]
fn a_key_that_was_never_kept_is_left_out_of_a_migration_under_way_too() {
    let case = Case::new(SOURCE);
    case.app("delete from line where id = 2");
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(is_shut);
    daemon.stop();
    let mut daemon = case.daemon(&NEVER_KEPT);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    switched(&mut daemon);
    daemon.until(|_| keys(&case) == ["line"]);
    case.rows("insert into pool values (4, 0, 'new')");
    daemon.until(|status| status["reverse"]["changes"] == 0 && status["gates"]["rollback"]["open"] == true);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    case.app("pragma foreign_keys = off; update pool set next_id = 88 where id = 4");
    daemon.drained(&case.source);
    assert_eq!(lines(&case.target.url, "select next_id from pool where id = 4", "|"), ["88"]);
}

#[test]
fn a_broken_key_comes_back_not_valid_where_the_operator_says_so() {
    let case = Case::new(SOURCE);
    let mut daemon = case.validated(&["--set", "switch.broken_keys=not-valid"]);
    switched(&mut daemon);
    daemon.until(|_| keys(&case) == ["line not valid", "pool not valid"]);
    case.rows("update line set id = 20 where id = 2");
    let refused = try_psql(&case.target.url, "insert into line values (5, 78)").unwrap_err();
    assert!(refused.contains("E23503"), "{refused}");
    let file = case.source.path.with_file_name("final.json").display().to_string();
    let cleanup = daemon.client(&["cleanup", "--yes", "--report", &file]).status();
    assert!(cleanup.expect("the program can be started").success());
    let report = std::fs::read_to_string(file).expect("the report was written");
    assert!(
        report
            .contains("constraint \\\"line_pool_id_fkey\\\" of table \\\"public\\\".\\\"line\\\": NOT VALID"),
        "{report}"
    );
}

#[test]
fn a_copy_makes_no_key_that_is_left_out() {
    let case = Case::new(SOURCE);
    let file = case.source.path.display().to_string();
    let copy = ["copy", "--source", &file, "--target", &case.target.url];
    liteferry(&[&copy[..], &NEVER_KEPT].concat()).exits_with(0);
    assert_eq!(keys(&case), ["line not valid"]);
}

/// SQLite reads MATCH FULL and does not do it: a row with NULL in one column alone breaks PostgreSQL's key.
#[test]
fn a_key_that_wants_all_of_its_columns_or_none_is_looked_at_so() {
    let case = Case::new(
        "pragma journal_mode = wal; create table place (x integer, y text, primary key (x, y));
         create table visit (id integer primary key, x integer, y text, foreign key (x, y) references place match full);
         insert into place values (1, 'a'); insert into visit values (1, 1, 'a'), (2, 1, null), (3, null, 'q'), (4, null, null)",
    );
    psql(
        &case.target.url,
        "create table place (x bigint, y text, primary key (x, y));
         create table visit (id bigint primary key, x bigint, y text, foreign key (x, y) references place match full)",
    );
    let file = case.source.path.display().to_string();
    assert_eq!(
        told(&file, &case.target, &["--set", "target.mode=existing", "--json"]),
        [r#""visit.x, y": "rows refer to none of place, and break the foreign key: 2""#]
    );
    let mut daemon = case.daemon(&["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(is_shut);
    case.app("update visit set x = 1, y = 'a' where id = 2; delete from visit where id = 3");
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    switched(&mut daemon);
    daemon.until(|_| keys(&case) == ["visit"]);
}

#[test]
fn an_empty_text_that_stands_for_null_breaks_no_key() {
    let source = sqlite(
        "create table owner (ip varchar(15) primary key); create table visit (id integer primary key, ip varchar(15) references owner (ip));
         insert into owner values ('10.0.0.1'); insert into visit values (1, '10.0.0.1'), (2, ''), (3, '10.0.0.9')",
    );
    let target = database();
    psql(
        &target.url,
        "create table owner (ip inet primary key); create table visit (id bigint primary key, ip inet references owner)",
    );
    let file = source.path.display().to_string();
    let existing = ["--set", "target.mode=existing", "--json"];
    let form = ["--set", "types.column.\"visit.ip\".form=empty-null"];
    let line =
        |rows| format!(r#""visit.ip": "rows refer to none of owner, and break the foreign key: {rows}""#);
    assert_eq!(told(&file, &target, &existing), [line(2)]);
    assert_eq!(told(&file, &target, &[&existing[..], &form].concat()), [line(1)]);
}
