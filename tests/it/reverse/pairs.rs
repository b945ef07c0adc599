//! SQLite compared with PostgreSQL while PostgreSQL is written: one state on both sides, values that SQLite spells otherwise, and rows that
//! were changed behind the way back.

use super::ground::{Differing, Pair, Way};
use super::{FAMILIES, SHOP};
use crate::support::until;
use liteferry::flow::validate::{Difference, Extra, TableVerdict};
use std::collections::BTreeMap;

type Verdicts = BTreeMap<String, (TableVerdict, Differing)>;

/// What is listed of every table, in the order of the tables.
fn listed(verdicts: &Verdicts) -> Vec<String> {
    let of = |(verdict, _): &(TableVerdict, Differing)| {
        let counted = verdict.missing + verdict.extra + verdict.different;
        assert_eq!(usize::try_from(counted), Ok(verdict.listed.len()));
        let line = |found: &Difference| {
            format!(
                "{} {} {} {}",
                verdict.route.source,
                found.kind.word(),
                found.key,
                found.columns.join(",")
            )
        };
        verdict.listed.iter().map(line).collect::<Vec<_>>()
    };
    verdicts.values().flat_map(of).collect()
}

fn compared(way: &mut Way, pair: &Pair) -> Verdicts {
    let link = way.halves_at_rest(pair).expect("nothing waits");
    way.compare(pair, &link).expect("both sides are read")
}

#[test]
fn both_sides_are_seen_in_one_state_however_the_writing_goes_on() {
    let pair = Pair::mapped(&format!("pragma journal_mode = wal; {}", FAMILIES.0), FAMILIES.1);
    let mut way = pair.way();
    pair.app(
        "insert into t (id, s, n) select i, 'row ' || i, i / 8.0 from generate_series(10, 400) i;
         update t set b = false, ts = '0044-03-15 BC', r = 'NaN' where id = 1; delete from t where id = 3",
    );
    way.commit_only().expect("SQLite has taken it");
    // PostgreSQL has moved on, and what it shows now is not what SQLite has taken.
    pair.app("update t set s = 'later' where id % 2 = 0; delete from t where id > 390; insert into t (id) values (1000)");
    let link = way.halves(&pair);
    way.go_on();
    way.drain();
    // And SQLite has, too.
    let verdicts = way.compare(&pair, &link).expect("both sides are read");
    assert_eq!(listed(&verdicts), [""; 0]);
    let (verdict, _) = &verdicts["t"];
    assert_eq!((verdict.source_rows, verdict.target_rows), (393, 393));
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
    pair.app("update t set s = 'waits' where id = 10");
    assert!(way.halves_at_rest(&pair).is_none(), "something waits, and only a batch has a pair");
}

#[test]
fn rows_that_were_changed_behind_the_way_back_are_found_and_read_again() {
    let pair = Pair::created(SHOP);
    let mut way = pair.way();
    pair.app("insert into customer (id, email, name) values (4, 'dora@x', 'Dora')");
    way.drain();
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
    let spoil = "update customer set name = 'spoiled' where id = 2; delete from customer where id = 4;
        insert into customer (id, email) values (77, 'nobody@x'); update tag set n = 9 where name = 'abc';
        update item set price = 9 where code = 'a' and no = 2; update kept set v = x'01' where k = 'z'";
    pair.sqlite().execute_batch(spoil).expect("nothing guards these");
    let verdicts = compared(&mut way, &pair);
    assert_eq!(
        listed(&verdicts),
        [
            // By the application's own trigger.
            "audit extra [4] ",
            "customer different [2] name",
            "customer missing [4] ",
            "customer extra [77] ",
            "item different [\"a\",2] price,half",
            "kept different [\"z\"] v",
            "tag different [\"abc\"] n",
        ]
    );
    for (_, differing) in verdicts.values() {
        way.read_again(&pair, differing);
    }
    way.drain();
    let verdicts = compared(&mut way, &pair);
    assert_eq!(listed(&verdicts), [""; 0]);
    assert!(verdicts.values().all(|(verdict, _)| verdict.digest_source == verdict.digest_target));
    let names = pair.here("select id, name from customer order by id");
    assert_eq!(names, ["1|Ann", "2|Bob", "3|NULL", "4|Dora"]);
}

#[test]
fn a_value_that_sqlite_spells_in_a_way_of_its_own_is_no_difference() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, at text not null, n numeric, r real);
         create table k (at text not null primary key, v text);
         create table u (id integer primary key, word text, d date not null);
         insert into t values (1, '2024-01-02 03:04:05', 1.5, 0.5); insert into k values ('2024-01-02 03:04:05', 'a');
         insert into u values (1, 'x', '2024-01-02'), (2, 'x', '2024-01-03'), (3, 'y', 'soon'), (4, ' z', '2024-01-04')",
        "create table t (id bigint primary key, at timestamp not null, n numeric, r double precision);
         create table k (at timestamp primary key, v text);
         create table u (id bigint primary key, word text unique, d date not null)",
    );
    let mut way = pair.way();
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0], "refused and held rows stand in the ledger");
    pair.app(
        "insert into t select i, '0044-03-15 BC', 12345678901234567890.12, case i % 2 when 0 then 'NaN' else '-0' end::float8
             from generate_series(2, 1500) i;
         insert into k values ('0044-03-15 BC', 'b'), ('0043-03-15 BC', 'c')",
    );
    way.drain();
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
    let spoil = "update t set at = '2024-01-02 03:04:05' where id = 7; update k set v = 'd' where at = '0044-03-15 00:00:00 BC'";
    pair.sqlite().execute_batch(spoil).expect("nothing guards these");
    let verdicts = compared(&mut way, &pair);
    let found: Vec<(&str, u64)> = verdicts
        .iter()
        .map(|(table, (verdict, _))| (table.as_str(), verdict.missing + verdict.extra + verdict.different))
        .collect();
    assert_eq!(found, [("k", 1), ("t", 1), ("u", 0)]);
    for (_, differing) in verdicts.values() {
        way.read_again(&pair, differing);
    }
    way.drain();
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
}

#[test]
fn rows_that_postgres_had_before_the_migration_are_no_difference_where_it_keeps_them() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, v text); insert into t values (1, 'a')",
        "create table t (id bigint primary key, v text)",
    );
    let mut way = pair.way();
    // As if it had been there: nothing has noted it.
    pair.app("insert into t values (2, 'of its own'); delete from liteferry.reverse_change");
    pair.sqlite().execute_batch("insert into t values (3, 'extra')").expect("nothing guards it");
    let link = way.halves_at_rest(&pair).expect("nothing waits");
    let found = |extra| listed(&way.compare_but(&pair, &link, extra).expect("both sides are read"));
    assert_eq!(found(Extra::Counts), ["t missing [2] ", "t extra [3] "]);
    assert_eq!(found(Extra::AllowedInSource), ["t extra [3] "]);
}

#[test]
fn a_table_that_was_emptied_after_its_snapshot_is_not_taken_for_an_empty_one() {
    let pair = Pair::created(SHOP);
    let mut way = pair.way();
    pair.app("update customer set name = 'new' where id = 1");
    way.commit_only().expect("SQLite has taken it");
    let link = way.halves(&pair);
    pair.app("truncate tag");
    let fault = way.compare(&pair, &link).expect_err("it no longer shows what it held");
    assert_eq!(fault.code, "pair_outdated");
    drop(link);
    way.go_on();
    way.drain();
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
}

#[test]
fn a_part_of_a_table_that_was_emptied_is_seen_too() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, v text); insert into t values (1, 'a'), (20, 'b')",
        "create table t (id bigint primary key, v text) partition by range (id);
         create table low partition of t for values from (0) to (10); create table high partition of t for values from (10) to (100)",
    );
    let mut way = pair.way();
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
    let link = way.halves_at_rest(&pair).expect("nothing waits");
    pair.app("truncate high");
    let fault = way.compare(&pair, &link).expect_err("it no longer shows what it held");
    assert_eq!(fault.code, "pair_outdated");
    drop(link);
    way.drain();
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
    assert_eq!(pair.here("select id, v from t"), ["1|a"]);
}

#[test]
fn whoever_alters_a_table_is_not_kept_waiting_by_a_comparison() {
    let pair = Pair::created(SHOP);
    let mut way = pair.way();
    let link = way.halves_at_rest(&pair).expect("nothing waits");
    way.compare(&pair, &link).expect("both sides are read");
    assert!(!way.wait(link.source.is_in_the_way()).expect("it can tell"));
    let url = pair.db.url.clone();
    let altering =
        std::thread::spawn(move || crate::support::psql(&url, "alter table kept add column more text"));
    until("somebody waits", || way.wait(link.source.is_in_the_way()).expect("it can tell"));
    let fault = way.wait(link.source.stood_in_the_way());
    assert_eq!(fault.code, "pair_in_the_way");
    drop(link);
    altering.join().expect("the table is altered");
}

/// MediaWiki's blocks without an end, in a column that takes no NULL.
#[test]
fn an_infinite_time_crosses_both_ways() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, until blob not null, day text, seen blob); create table u (id integer primary key, at integer);
         insert into t values (1, '20240102030405', '2024-01-02', 'infinity'), (2, 'infinity', '-infinity', 'infinity'); insert into u values (1, 1700000000)",
        "create table t (id bigint primary key, until timestamptz not null, day date, seen timestamptz);
         create table u (id bigint primary key, at timestamptz)",
    );
    let mut way = pair.way();
    let ledger = "select source_table || key || column_name || reason from liteferry.ledger order by 1";
    assert!(pair.there(ledger).is_empty());
    assert_eq!(
        pair.there("select id || ' ' || until || ' ' || day || ' ' || seen from t where id = 2"),
        ["2 infinity -infinity infinity"]
    );
    pair.app(
        "insert into t values (3, '-infinity', 'infinity', '2024-01-02 03:04:05');
         update t set until = 'infinity' where id = 1; insert into u values (2, 'infinity')",
    );
    way.drain();
    assert_eq!(
        pair.here("select id, until, day, seen from t order by id"),
        [
            "1|infinity|2024-01-02|infinity",
            "2|infinity|-infinity|infinity",
            // As the columns like it are spelled.
            "3|-infinity|infinity|20240102030405",
        ]
    );
    // Among numbers a word is a stranger.
    assert_eq!(pair.there(ledger), ["u[2]atreverse-spelling"]);
    pair.app("delete from u where id = 2");
    way.drain();
    pair.is_equal();
}

/// FreeRADIUS' addresses: NOT NULL and empty in SQLite, `inet` that takes NULL in PostgreSQL.
#[test]
fn the_empty_text_crosses_as_null_and_comes_back_where_the_operator_says_so() {
    let forms = ["types.column.\"t.ip\".form=empty-null", "types.column.\"t.day\".form=empty-null"];
    let pair = Pair::mapped_with(
        &forms,
        (
            "create table t (id integer primary key, ip varchar(15) not null default '', day text, note text);
             insert into t values (1, '', '', ''), (2, '10.0.0.1', '2024-01-02', ''), (3, '', null, null)",
            "create table t (id bigint primary key, ip inet, day date, note text)",
        ),
    );
    let ledger = "select key || column_name || class || standing from liteferry.ledger order by 1";
    // NULL itself is the stranger now.
    assert_eq!(pair.there(ledger), ["[3]daynullnull"]);
    let there = "select id || coalesce(ip::text, '-') || coalesce(day::text, '-') || coalesce(note, '-') from t order by id";
    assert_eq!(pair.there(there), ["1--", "210.0.0.1/322024-01-02", "3---"]);
    let mut way = pair.way();
    pair.app(
        "insert into t values (4, null, null, null); update t set ip = null, note = 'x' where id = 2;
         update t set note = 'y' where id = 3; update t set ip = '10.0.0.9' where id = 1",
    );
    way.drain();
    assert_eq!(
        pair.here("select id, quote(ip), quote(day), quote(note) from t order by id"),
        [
            "1|'10.0.0.9'|''|''",
            "2|''|'2024-01-02'|'x'",
            // What stood for that NULL is what stood there.
            "3|''|NULL|'y'",
            "4|''|''|NULL",
        ]
    );
    assert_eq!(pair.there(ledger), ["[3]daynullnull"]);
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
}

/// SQLObject's bytes: base64 in a text column of SQLite, themselves in PostgreSQL.
#[test]
fn bytes_cross_from_their_code_and_come_back_as_it_where_the_operator_says_so() {
    let pair = Pair::mapped_with(
        &["types.column.\"t.d\".form=base64"],
        (
            "create table t (id integer primary key, d text);
             insert into t values (1, 'aGVsbG8='), (2, ''), (3, null), (4, 'AP8='), (5, 'aGVs\n'), (6, 'hi!'), (7, x'00ff')",
            "create table t (id bigint primary key, d bytea)",
        ),
    );
    let ledger = "select key || class || reason || ' ' || standing from liteferry.ledger where source_table = 't' order by 1";
    let strangers = ["[5]textspelling kept", "[6]textnot-base64 null", "[7]blobclass kept"];
    assert_eq!(pair.there(ledger), strangers);
    let there = "select id || coalesce(d::text, '-') from t order by id";
    let held = ["1\\x68656c6c6f", "2\\x", "3-", "4\\x00ff", "5\\x68656c", "6-", "7\\x00ff"];
    assert_eq!(pair.there(there), held);
    let mut way = pair.way();
    pair.app("update t set id = id; insert into t values (8, '\\x'), (9, '\\xfbffbf'); update t set d = d || '\\x01' where id = 4");
    way.drain();
    assert_eq!(
        pair.here("select id, quote(d) from t order by id"),
        [
            "1|'aGVsbG8='",
            "2|''",
            "3|NULL",
            "4|'AP8B'",
            "5|'aGVs\n'",
            "6|'hi!'",
            "7|X'00FF'",
            "8|''",
            "9|'+/+/'"
        ]
    );
    assert_eq!(pair.there(ledger), strangers);
    assert_eq!(listed(&compared(&mut way, &pair)), [""; 0]);
}
