//! A daemon that is started again when its work is done and its records are gone.

use crate::existing::lines;
use crate::follow::Case;
use crate::support::{liteferry, sqlite};

const REPLACING: [&str; 4] = ["--set", "target.mode=existing", "--set", "target.existing_rows=replace"];

#[test]
fn what_was_moved_and_cleaned_up_is_not_moved_again_over_newer_rows() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'old')",
    );
    case.rows("create table t (id bigint primary key, v text); insert into t values (9, 'test data')");
    let mut daemon = case.validated(&REPLACING);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    assert!(daemon.client(&["cleanup", "--yes", "--wait"]).status().expect("it can be started").success());
    daemon.until(|status| status["phase"] == "done");
    daemon.stop();
    case.rows("drop schema liteferry cascade; update t set v = 'new'");

    assert_eq!(case.daemon(&REPLACING).exit(), Some(1), "it is refused");
    assert_eq!(lines(&case.target.url, "select v from t", "|"), ["new"]);
    let source = case.source.path.display().to_string();
    let sides = [&["--source", &source, "--target", &case.target.url], &REPLACING[..]].concat();
    let told = liteferry(&[&["check", "--json"], &sides[..]].concat()).exits_with(0).json();
    assert_eq!(told["blockers_of_run"][0]["code"], "moved_before", "{told:#}");

    let copied = liteferry(&[&["copy", "--json"], &sides[..]].concat()).exits_with(1).json();
    assert_eq!(copied["findings"][0]["code"], "moved_before", "{copied:#}");
    assert_eq!(lines(&case.target.url, "select v from t", "|"), ["new"]);

    // Who means it moves the report away.
    let remedy = told["blockers_of_run"][0]["remedy"].as_str().expect("text");
    let report =
        remedy.rsplit_once("move ").and_then(|(_, rest)| rest.strip_suffix(" away")).expect("a path");
    std::fs::remove_file(report).expect("it is there");
    let mut daemon = case.daemon(&REPLACING);
    daemon.until(|status| status["phase"] == "dual-write");
    assert_eq!(lines(&case.target.url, "select v from t", "|"), ["old"]);
}

/// As a unit does that still says so since a backup was restored once.
#[test]
fn a_resync_of_what_was_cleaned_up_leaves_postgres_as_it_is() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'old')",
    );
    let mut daemon = case.validated(&[]);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    assert!(daemon.client(&["cleanup", "--yes", "--wait"]).status().expect("it can be started").success());
    daemon.until(|status| status["phase"] == "done");
    daemon.stop();
    case.rows("update t set v = 'new'; insert into t values (2, 'newer')");

    let mut daemon = case.daemon(&["--resync"]);
    assert_eq!(daemon.halted(), "writes_in_postgres");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(lines(&case.target.url, "select v from t order by id", "|"), ["new", "newer"]);
    case.app("update t set v = 'nobody sees it'");
    let sides = ["--source", &case.source.path.display().to_string(), "--target", &case.target.url];
    let told = liteferry(&[&["validate", "--repair"], &sides[..]].concat()).exits_with(1);
    assert!(told.stderr.contains("repair_way_back"), "{told:?}");
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "done" && status["run"]["state"] == "running");
}

/// Tenants, say: each has a directory, all have one for archives, and each a schema of the same target.
#[test]
fn another_database_of_the_same_name_was_not_moved_before() {
    let sql = "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'old')";
    let (first, archives) = (Case::new(sql), tempfile::tempdir().expect("a directory can be made"));
    let second = sqlite(sql);
    first.rows("create table t (id bigint primary key, v text); create schema two; create table two.t (id bigint primary key, v text); insert into two.t values (9, 'seed')");
    assert_eq!(first.source.path.file_name(), second.path.file_name());
    let archive = format!("cleanup.archive={}", archives.path().display());
    let settings = [&REPLACING[..], &["--set", &archive]].concat();
    let mut daemon = first.validated(&settings);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    assert!(daemon.client(&["cleanup", "--yes", "--wait"]).status().expect("it can be started").success());
    daemon.until(|status| status["phase"] == "done");
    daemon.stop();

    let source = second.path.display().to_string();
    let sides =
        [&["--source", &source, "--target", &first.target.url, "--set", "target.schema=two"], &settings[..]];
    let told = liteferry(&[&["check", "--json"], &sides.concat()[..]].concat()).exits_with(0).json();
    assert_eq!(told["blockers_of_run"], serde_json::json!([]), "{told:#}");
}
