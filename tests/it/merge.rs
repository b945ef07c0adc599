//! `existing_rows = merge`: source rows overwrite those with the same key, and all others stay as they are.

use crate::support::{Output, TempDb, TestDatabase, database, liteferry, psql, sqlite};

struct Sides {
    file: TempDb,
    target: TestDatabase,
}

fn sides(source: &str, target: &str) -> Sides {
    let sides = Sides { file: sqlite(source), target: database() };
    psql(&sides.target.url, target);
    sides
}

impl Sides {
    fn run(&self, command: &str) -> Output {
        let source = self.file.path.display().to_string();
        let merge = ["--json", "--set", "target.mode=existing", "--set", "target.existing_rows=merge"];
        liteferry(&[&[command], &merge[..], &["--source", &source, "--target", &self.target.url]].concat())
    }

    fn copied(&self) -> serde_json::Value {
        let report = self.run("copy").exits_with(0).json();
        let again = self.run("validate").exits_with(0).json();
        assert_eq!(again["verdict"], report["verdict"], "{again:#}");
        report
    }

    fn rows(&self, query: &str) -> Vec<String> {
        let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".into());
        let rows = psql(&self.target.url, query);
        rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("|")).collect()
    }
}

#[test]
fn rows_with_the_same_key_are_overwritten_and_others_stay() {
    let sides = sides(
        "create table t (id integer primary key, v text, n numeric);
         insert into t values (1, 'new', 1.5), (3, null, 2), (9, 'nine', 9);
         create table pair (a text, b integer, primary key (a, b)) without rowid;
         insert into pair values ('x', 1), ('y', 2);
         create table fresh (v text); insert into fresh values ('a'), ('a')",
        "create table t (id bigint generated always as identity primary key, only_here text default 'd', n numeric, v varchar(4));
         insert into t (only_here, n, v) values ('one', 7, 'old'), ('two', 7, 'old'), ('three', 7, 'old');
         create table pair (a text, b bigint, primary key (a, b)); insert into pair values ('y', 2), ('z', 3);
         create table fresh (v text)",
    );
    let report = sides.copied();
    assert_eq!(report["verdict"], "equal", "{report:#}");
    let rows = sides.rows("select id, v, n, only_here from t order by id");
    assert_eq!(rows, ["1|new|1.5|one", "2|old|7|two", "3|NULL|2|three", "9|nine|9|d"]);
    assert_eq!(sides.rows("select * from pair order by 1"), ["x|1", "y|2", "z|3"]);
    assert_eq!(sides.rows("insert into t default values returning id"), ["10"]);
    // A merged row that somebody changes is found; a row of the target's own is not missed.
    psql(&sides.target.url, "update t set v = 'x' where id = 2");
    sides.run("validate").exits_with(0);
    psql(&sides.target.url, "update t set v = 'x' where id = 1");
    sides.run("validate").exits_with(1);
}

#[test]
fn a_row_that_the_target_refuses_to_overwrite_stays_and_the_source_row_is_held() {
    let sides = sides(
        "create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b'), (3, 'c')",
        "create table t (id bigint primary key, v text unique); insert into t values (2, 'two'), (7, 'c'), (8, 'b')",
    );
    let report = sides.copied();
    assert_eq!(report["verdict"], "equal + ledger", "{report:#}");
    assert_eq!(report["tables"][0]["refused"], 2);
    assert_eq!(sides.rows("select id, v from t order by id"), ["1|a", "2|two", "7|c", "8|b"]);
    let held = "select key, string_agg(convert_from(raw, 'UTF8'), '') filter (where column_name = 'v') from liteferry.ledger
                where standing = 'row-held' group by key order by key";
    assert_eq!(sides.rows(held), ["[2]|b", "[3]|c"]);
}

#[test]
fn children_point_at_merged_parents_again() {
    let sides = sides(
        "create table p (id integer primary key, v text); insert into p values (1, 'new');
         create table c (id integer primary key, p integer references p); insert into c values (5, 1), (6, 2)",
        "create table p (id bigint primary key, v text); insert into p values (1, 'old'), (2, 'own');
         create table c (id bigint primary key, p bigint references p on delete cascade); insert into c values (4, 2);
         create table other (p bigint references p on delete cascade); insert into other values (1), (2)",
    );
    assert_eq!(sides.copied()["verdict"], "equal");
    assert_eq!(sides.rows("select p from other order by 1"), ["1", "2"]);
    assert_eq!(sides.rows("select id, p from c order by 1"), ["4|2", "5|1", "6|2"]);
    assert_eq!(sides.rows("select count(*) from pg_constraint where contype = 'f' and convalidated and connamespace = 'public'::regnamespace"), ["2"]);
}

#[test]
fn tables_whose_rows_cannot_be_told_apart_are_not_merged() {
    for (key, code) in [
        ("v text primary key deferrable", "merge_without_key"),
        ("v text collate nobody primary key", "merge_without_key"),
        ("v text", "merge_without_key"),
        ("v text primary key, n bigint generated always as identity", "merge_identity_always"),
    ] {
        let sides = sides(
            "create table t (v text primary key not null, n integer); insert into t values ('a', 1)",
            &format!(
                "create collation nobody (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
                 create table t ({key}{}); insert into t (v) values ('b')",
                if key.contains(" n ") { "" } else { ", n bigint" }
            ),
        );
        let told = sides.run("copy").exits_with(1);
        assert!(format!("{}{}", told.stdout, told.stderr).contains(code), "{key}: {told:?}");
        assert_eq!(sides.rows("select v from t"), ["b"]);
    }
}
