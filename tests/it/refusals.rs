//! Bad input: a clear error with a stable code and a remedy, nothing half-done, nothing lost.

use crate::support::{Output, database, liteferry, psql, sqlite};
use std::path::Path;

const TABLE: &str = "create table t (id integer primary key, v text); insert into t values (1, 'a')";

#[track_caller]
fn check(output: &Output, status: i32, code: &str) {
    let told = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.status, Some(status), "{told}");
    assert!(told.contains(&format!("[{code}]")), "wanted {code}: {told}");
    assert!(told.contains('→'), "no remedy: {told}");
    assert!(!told.contains("panicked"), "{told}");
}

fn copy(source: &Path, target: &str) -> Output {
    liteferry(&["copy", "--source", &source.display().to_string(), "--target", target])
}

#[test]
fn a_source_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let target = database();
    let garbage = dir.path().join("garbage.db");
    std::fs::write(&garbage, [0xa5; 8192]).expect("written");
    check(&copy(&garbage, &target.url), 1, "source_not_sqlite");
    check(&copy(&dir.path().join("missing.db"), &target.url), 1, "source_missing");
    check(&copy(dir.path(), &target.url), 1, "source_not_a_file");
    assert_eq!(
        psql(&target.url, "select count(*) from pg_namespace where nspname = 'liteferry'")[0][0].as_deref(),
        Some("0")
    );
}

#[test]
fn a_truncated_source_is_refused() {
    let file = sqlite(&format!(
        "{TABLE}; with recursive n(i) as (select 2 union all select i + 1 from n where i < 5000) insert into t select i, hex(randomblob(50)) from n"
    ));
    let whole = std::fs::read(&file.path).expect("read");
    std::fs::write(&file.path, &whole[..whole.len() / 2]).expect("written");
    let target = database();
    check(&copy(&file.path, &target.url), 1, "source_corrupt");
    assert_eq!(psql(&target.url, "select to_regclass('public.t')")[0][0], None);
}

#[test]
fn an_empty_database_is_equal_to_nothing() {
    let file = sqlite("");
    let target = database();
    let output = copy(&file.path, &target.url).exits_with(0);
    assert!(output.stdout.contains("verdict: equal"), "{}", output.stdout);
}

#[test]
fn a_source_locked_for_good_is_refused_in_time() {
    let file = sqlite(TABLE);
    let target = database();
    let blocker = rusqlite::Connection::open(&file.path).expect("opened");
    blocker.execute_batch("begin exclusive").expect("locked");
    let source = file.path.display().to_string();
    let output = liteferry(&[
        "copy",
        "--source",
        &source,
        "--target",
        &target.url,
        "--set",
        "source.busy_timeout_ms=100",
    ]);
    check(&output, 1, "source_busy");
}

#[test]
fn a_target_that_cannot_be_reached_is_refused() {
    let file = sqlite(TABLE);
    check(&copy(&file.path, "postgres://nobody@127.0.0.1:1/db"), 1, "postgres_unreachable");
    let target = database();
    let elsewhere = target.url.replace(&target.name, "no_such_database_here");
    check(&copy(&file.path, &elsewhere), 1, "no_such_database");
}

#[test]
fn a_target_in_another_encoding_is_refused() {
    let file = sqlite(TABLE);
    let target = database();
    psql(
        &target.url,
        &format!("create database {}_latin1 template template0 encoding 'LATIN1' locale 'C'", target.name),
    );
    let latin1 = target.url.replace(&target.name, &format!("{}_latin1", target.name));
    check(&copy(&file.path, &latin1), 1, "target_encoding");
}

#[test]
fn a_target_that_takes_no_writes_is_refused() {
    let file = sqlite(TABLE);
    let target = database();
    psql(&target.url, &format!("alter database {} set default_transaction_read_only = on", target.name));
    let output = copy(&file.path, &target.url);
    let told = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.status, Some(1), "{told}");
    assert!(told.contains("read_only"), "{told}");
}

#[test]
fn a_target_with_a_table_of_that_name_is_refused_and_left_alone() {
    let file = sqlite(TABLE);
    let target = database();
    psql(&target.url, "create table t (mine int); insert into t values (7)");
    check(&copy(&file.path, &target.url), 1, "target_not_empty");
    assert_eq!(psql(&target.url, "select mine from t")[0][0].as_deref(), Some("7"));
}

#[test]
fn a_table_too_wide_is_refused() {
    let columns: Vec<String> = (0..1601).map(|column| format!("c{column} int")).collect();
    let file = sqlite(&format!("create table wide ({})", columns.join(", ")));
    let target = database();
    check(&copy(&file.path, &target.url), 1, "too_many_columns");
}

#[test]
fn a_misfit_halts_where_the_settings_say_so() {
    let file = sqlite(
        "create table t (id integer primary key, v text); insert into t values (1, 'secret' || char(0))",
    );
    let target = database();
    let source = file.path.display().to_string();
    let output =
        liteferry(&["copy", "--source", &source, "--target", &target.url, "--set", "misfits.policy=halt"]);
    check(&output, 1, "misfit");
    assert!(!output.stderr.contains("secret"), "{}", output.stderr);
}

#[test]
fn settings_that_are_wrong_are_all_named() {
    let output = liteferry(&["copy", "--set", "backfill.workers=none", "--set", "target.moon=1"]);
    assert_eq!(output.status, Some(78), "{output:?}");
    assert!(
        output.stderr.contains("backfill.workers") && output.stderr.contains("target.moon"),
        "{}",
        output.stderr
    );
    assert_eq!(liteferry(&["frobnicate"]).status, Some(2));
}
