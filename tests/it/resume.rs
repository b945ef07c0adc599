//! A copy that is killed goes on where it stopped; one that is finished is not done again.

use crate::support::held_ddl::HeldDdl;
use crate::support::{command, database, liteferry, psql, sqlite, until};
use std::process::Stdio;

const MANY: &str = "
    create table t (id integer primary key, k integer not null, v text);
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 120000)
        insert into t select i, i % 7, 'value ' || i from n;
    create unique index t_v on t (v);
    create table w (a text, b integer, v text, primary key (a desc, b)) without rowid;
    insert into w select 'k' || (id % 50), id, v from t where id <= 30000;
    create table bare (rowid text, oid text, _rowid_ text);
    insert into bare select v, k, id from t where id <= 20000;
";

fn rows_so_far(url: &str) -> i64 {
    let there = psql(url, "select to_regclass('liteferry.range') is not null")[0][0].as_deref() == Some("t");
    if !there {
        return 0;
    }
    let rows = psql(url, "select coalesce(sum(rows), 0) from liteferry.range");
    rows[0][0].as_deref().and_then(|rows| rows.parse().ok()).expect("a number")
}

/// Starts a copy that cannot come to its end, and kills it once it has committed more than `rows` rows.
fn kill_after(source: &str, url: &str, rows: i64) {
    let mut command = command(&["copy", "--source", source, "--target", url]);
    command.args(["--set", "backfill.chunk_bytes=65536", "--set", "backfill.workers=2"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    until("so many rows are loaded", || rows_so_far(url) > rows);
    assert_eq!(child.try_wait().expect("a child can be asked"), None, "it has ended");
    child.kill().expect("a child of ours can be killed");
    child.wait().expect("a killed child ends");
}

#[test]
fn a_killed_copy_goes_on_and_ends_equal() {
    let file = sqlite(MANY);
    let target = database();
    let source = file.path.display().to_string();
    let held = HeldDdl::unique_indexes(&target.url);
    for rows in [0, 30_000, 90_000, 160_000] {
        kill_after(&source, &target.url, rows);
    }
    held.clear_away();
    let report =
        liteferry(&["copy", "--json", "--source", &source, "--target", &target.url]).exits_with(0).json();
    assert_eq!(report["verdict"], "equal", "{report:#}");
    assert_eq!(report["total_target"], 170_000);
    let indexes = psql(&target.url, "select count(*) from pg_indexes where tablename = 't'");
    assert_eq!(indexes[0][0].as_deref(), Some("2"));
}

#[test]
fn the_same_command_twice_proves_the_first() {
    let file = sqlite("create table t (id integer primary key, v text); insert into t values (1, 'a')");
    let target = database();
    let source = file.path.display().to_string();
    let args = ["copy", "--source", &source, "--target", &target.url];
    liteferry(&args).exits_with(0);
    let second = liteferry(&args).exits_with(0);
    assert!(second.stdout.contains("complete already"), "{}", second.stdout);
    psql(&target.url, "update t set v = 'b'");
    liteferry(&args).exits_with(1);
    let asked = liteferry(&[&args[..], &["--restart"]].concat()).exits_with(1);
    assert!(asked.stderr.contains("not_confirmed"), "{}", asked.stderr);
    let kept = psql(&target.url, "select v from t");
    assert_eq!(
        kept[0][0].as_deref(),
        Some("b"),
        "what was written to a finished copy is not dropped unasked"
    );
    liteferry(&[&args[..], &["--restart", "--yes"]].concat()).exits_with(0);
    assert_eq!(psql(&target.url, "select v from t")[0][0].as_deref(), Some("a"));
}

#[test]
fn an_unfinished_copy_is_not_gone_on_with_under_another_plan() {
    let file = sqlite(MANY);
    let target = database();
    let source = file.path.display().to_string();
    let held = HeldDdl::unique_indexes(&target.url);
    kill_after(&source, &target.url, 0);
    held.clear_away();
    rusqlite::Connection::open(&file.path)
        .expect("opened")
        .execute_batch("alter table t add column extra text")
        .expect("altered");
    let refused = liteferry(&["copy", "--source", &source, "--target", &target.url]).exits_with(1);
    assert!(refused.stderr.contains("plan_changed"), "{}", refused.stderr);
    liteferry(&["copy", "--restart", "--source", &source, "--target", &target.url]).exits_with(0);
}
