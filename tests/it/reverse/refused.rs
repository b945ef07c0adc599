//! Rows that PostgreSQL takes and SQLite does not: named, and brought back once they are changed.

use super::ground::Pair;
use liteferry::flow::backfill::OnMisfit;
use liteferry::link::Take;

#[test]
fn what_sqlite_refuses_halts_by_name_and_goes_on_when_it_is_mended() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, u text collate nocase unique, n int not null check (n > 0)) strict;
         insert into t values (1, 'a', 1)",
        "create table t (id bigint primary key, u text, n integer)",
    );
    let mut way = pair.way();
    for (wrong, why, right) in [
        (
            "insert into t values (2, 'A', 2)",
            "row 2 of table t: another row",
            "update t set u = 'b' where id = 2",
        ),
        (
            "update t set n = null where id = 1",
            "row 1 of table t: n takes no NULL",
            "update t set n = -5 where id = 1",
        ),
    ] {
        pair.app(wrong);
        let refused = way.step(Take::All, OnMisfit::Ledger).expect_err(wrong);
        assert_eq!(refused.code, "reverse_refused");
        assert!(refused.to_string().contains(why), "{refused}");
        way.resume().expect("SQLite stands where it stood");
        pair.app(right);
        way.drain();
    }
    // A CHECK that PostgreSQL does not have must not cost a row.
    assert_eq!(pair.here("select * from t order by id"), ["1|a|-5", "2|b|2"]);
}

/// What SQLite computes of a row may fail, as json_extract does of what is no JSON.
#[test]
fn a_row_of_which_sqlite_cannot_compute_something_halts_by_name() {
    let pair = Pair::mapped(
        "create table indexed (id integer primary key, j text, n integer);
         create index by_a on indexed (json_extract(j, '$.a')); create index by_n on indexed (abs(n));
         create table stored (id integer primary key, j text, a as (j ->> 'a') stored);
         create table computed (id integer primary key, j text, a as (j ->> 'a'));
         insert into indexed values (1, '{\"a\": 1}', 1); insert into stored values (1, '{\"a\": 1}'); insert into computed values (1, '{\"a\": 1}')",
        "create table indexed (id bigint primary key, j text, n bigint); create table stored (id bigint primary key, j text, a text);
         create table computed (id bigint primary key, j text, a text)",
    );
    let mut way = pair.way();
    for table in ["indexed", "stored", "computed"] {
        for wrong in ["insert into {} (id, j) values (2, 'none')", "update {} set j = 'none' where id = 1"] {
            pair.app(&wrong.replace("{}", table));
            let refused = way.step(Take::All, OnMisfit::Ledger).expect_err(wrong);
            assert_eq!(refused.code, "reverse_refused", "{refused}");
            assert!(refused.to_string().contains(table), "{refused}");
            assert!(!refused.to_string().contains("none"), "{refused}");
            way.resume().expect("SQLite stands where it stood");
            pair.app(&format!("update {table} set j = '[]' where j = 'none'"));
            way.drain();
        }
        let rows = pair.here(&format!("select * from {table} order by id"));
        assert!(rows.iter().all(|row| row.contains("[]")), "{rows:?}");
        assert_eq!(rows.len(), 2);
    }
    pair.app("update indexed set n = -9223372036854775808 where id = 1");
    let refused = way.step(Take::All, OnMisfit::Ledger).expect_err("abs has no such number");
    assert_eq!(refused.code, "reverse_refused", "{refused}");
}

/// What no number names may be somebody's address: no log tells it.
#[test]
fn a_refused_row_is_named_by_its_numbers_alone() {
    let pair = Pair::mapped(
        "create table t (a integer, b integer, n integer not null, primary key (a, b)) without rowid;
         create table u (a integer, who text, n integer not null, primary key (a, who)); insert into t values (1, 2, 3); insert into u values (1, 'me', 3)",
        "create table t (a bigint, b integer, n integer, primary key (a, b)); create table u (a bigint, who text, n integer, primary key (a, who))",
    );
    let mut way = pair.way();
    for (table, told) in [("t", "write back row 1, 2 of table t: n"), ("u", "write back a row of table u: n")]
    {
        pair.app(&format!("update {table} set n = null"));
        let refused = way.step(Take::All, OnMisfit::Ledger).expect_err(table);
        assert!(refused.to_string().contains(told), "{refused}");
        way.resume().expect("SQLite stands where it stood");
        // As docs/OPERATE.md tells to look for it.
        let key = if table == "t" { "a, b" } else { "a, who" };
        let waits = format!("record_send(row({key})) in (select key from liteferry.reverse_change)");
        assert_eq!(pair.there(&format!("select n is null from {table} where {waits}")), ["t"]);
        pair.app(&format!("update {table} set n = 4"));
        way.drain();
    }
}

#[test]
fn a_key_that_sqlite_has_no_number_for_halts_by_name() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, v text); create table u (id integer primary key, v text);
         insert into t values (1, 'a'); insert into u values (1, 'a')",
        "create table t (id numeric primary key, v text); create table u (id text primary key, v text)",
    );
    let mut way = pair.way();
    for (wrong, right) in [
        ("insert into t values (1.5, 'x')", "update t set id = 2 where id = 1.5"),
        ("update u set id = 'word'", "update u set id = '2'"),
    ] {
        pair.app(wrong);
        let refused = way.step(Take::All, OnMisfit::Ledger).expect_err(wrong);
        assert_eq!(refused.code, "reverse_refused", "{refused}");
        assert!(refused.to_string().contains("key"), "{refused}");
        way.resume().expect("SQLite stands where it stood");
        pair.app(right);
        way.drain();
    }
    assert_eq!(pair.here("select * from t order by id"), ["1|a", "2|x"]);
    assert_eq!(pair.here("select * from u"), ["2|a"]);
}
