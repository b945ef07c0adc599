//! Validation finds every planted difference, names its row and column, and sees nothing where nothing is.

use crate::support::{TestDatabase, database, liteferry, psql, sqlite};
use serde_json::Value;

const SOURCE: &str = "
    create table item (id integer primary key, name text, price numeric, ratio real, note text);
    insert into item values (1, 'one', 1.5, 1.5, null), (2, 'two', 2, 0.0, ''), (3, 'three', 3, 3.5, 'x'), (4, 'four', 4, 4.5, 'y');
    create table pair (a text, b integer, v, primary key (a, b)) without rowid;
    insert into pair values ('k', 1, 10), ('k', 2, 20), ('l', 1, 30);
    create table bag (a int, b text);
    insert into bag values (1, 'dup'), (1, 'dup'), (2, null);
";

struct Copied {
    source: String,
    target: TestDatabase,
    _file: crate::support::TempDb,
}

fn copied() -> Copied {
    let file = sqlite(SOURCE);
    let target = database();
    let source = file.path.display().to_string();
    liteferry(&["copy", "--source", &source, "--target", &target.url]).exits_with(0);
    Copied { source, target, _file: file }
}

impl Copied {
    fn validate(&self, status: i32) -> Value {
        liteferry(&["validate", "--json", "--source", &self.source, "--target", &self.target.url])
            .exits_with(status)
            .json()
    }
}

/// Plants a difference and says what must be found: table, then kind, key and columns of each difference.
fn check(plant: &str, table: &str, expected: &[(&str, &str, &[&str])]) {
    let copied = copied();
    assert_eq!(copied.validate(0)["verdict"], "equal", "before: {plant}");
    psql(&copied.target.url, plant);
    let report = copied.validate(1);
    assert_eq!(report["success"], false, "{plant}");
    for verdict in report["tables"].as_array().expect("tables") {
        let differs = verdict["table"] == table;
        assert_eq!(verdict["equal"], !differs, "{plant}: {verdict:#}");
        assert_eq!(verdict["digest_source"] == verdict["digest_target"], !differs, "{plant}: {verdict:#}");
        if differs {
            let found: Vec<(String, String, Vec<String>)> = verdict["differences"]
                .as_array()
                .expect("differences")
                .iter()
                .map(|found| {
                    let text = |key: &str| found[key].as_str().expect("a text").to_owned();
                    let columns = found["columns"].as_array().expect("columns");
                    let columns =
                        columns.iter().map(|name| name.as_str().expect("a name").to_owned()).collect();
                    (text("kind"), text("key"), columns)
                })
                .collect();
            let expected: Vec<(String, String, Vec<String>)> = expected
                .iter()
                .map(|(kind, key, columns)| {
                    (
                        (*kind).to_owned(),
                        (*key).to_owned(),
                        columns.iter().map(|name| (*name).to_owned()).collect(),
                    )
                })
                .collect();
            assert_eq!(found, expected, "{plant}");
        }
    }
}

#[test]
fn a_changed_cell_is_found() {
    check("update item set name = 'onE' where id = 1", "item", &[("different", "[1]", &["name"])]);
}

#[test]
fn a_missing_row_is_found() {
    check("delete from item where id = 2", "item", &[("missing", "[2]", &[])]);
}

#[test]
fn an_extra_row_is_found() {
    check("insert into item (id) values (9)", "item", &[("extra", "[9]", &[])]);
}

#[test]
fn swapped_values_are_found() {
    check(
        "update item set name = case id when 3 then 'four' else 'three' end where id in (3, 4)",
        "item",
        &[("different", "[3]", &["name"]), ("different", "[4]", &["name"])],
    );
}

#[test]
fn a_number_that_is_equal_but_written_otherwise_is_found() {
    check("update item set price = 2.00 where id = 2", "item", &[("different", "[2]", &["price"])]);
}

#[test]
fn the_sign_of_zero_is_found() {
    check("update item set ratio = '-0' where id = 2", "item", &[("different", "[2]", &["ratio"])]);
}

#[test]
fn null_and_empty_are_told_apart() {
    check("update item set note = '' where id = 1", "item", &[("different", "[1]", &["note"])]);
    check("update item set note = null where id = 2", "item", &[("different", "[2]", &["note"])]);
}

#[test]
fn a_difference_under_a_composite_key_names_the_key() {
    check("update pair set v = 21 where a = 'k' and b = 2", "pair", &[("different", "[\"k\",2]", &["v"])]);
}

#[test]
fn a_row_without_a_key_that_stands_once_too_often_is_found() {
    check("insert into bag (a, b) values (1, 'dup')", "bag", &[("extra", "[4]", &[])]);
}

#[test]
fn a_forged_ledger_is_found() {
    let file = sqlite(
        "create table t (id integer primary key, v text); insert into t values (1, 'a' || char(0)), (2, 'b'), (3, 'c')",
    );
    let target = database();
    let source = file.path.display().to_string();
    let args = ["--json", "--source", &source, "--target", &target.url];
    let copied = liteferry(&[&["copy"], &args[..]].concat()).exits_with(0).json();
    assert_eq!(copied["verdict"], "equal + ledger");
    psql(&target.url, "update liteferry.ledger set raw = '\\x62'");
    let report = liteferry(&[&["validate"], &args[..]].concat()).exits_with(1).json();
    assert_eq!(report["tables"][0]["equal"], false);
}

#[test]
fn validate_looks_at_one_table_when_asked() {
    let copied = copied();
    psql(&copied.target.url, "delete from item where id = 2");
    let of = |table: &str| {
        liteferry(&["validate", "--table", table, "--source", &copied.source, "--target", &copied.target.url])
    };
    of("pair").exits_with(0);
    of("ITEM").exits_with(1);
    assert!(of("nothing").exits_with(1).stderr.contains("no_such_table"));
}

#[test]
fn a_target_that_somebody_else_filled_is_compared_too() {
    let file =
        sqlite("create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b')");
    let target = database();
    let source = file.path.display().to_string();
    psql(
        &target.url,
        "create table t (id bigint primary key, v text); insert into t values (1, 'a'), (2, 'b')",
    );
    liteferry(&["validate", "--source", &source, "--target", &target.url]).exits_with(0);
    psql(&target.url, "update t set v = 'B' where id = 2");
    liteferry(&["validate", "--source", &source, "--target", &target.url]).exits_with(1);
}

#[test]
fn a_generated_column_is_computed_again_by_what_the_finding_says() {
    let source = sqlite(
        "create table t (id integer primary key, a integer, b text, twice int generated always as (a * 2) stored,
             word text as (b || '!') virtual, again int as (twice + 1), day text as (date(b)));
         insert into t (id, a, b) values (1, 7, 'é'), (2, -1, null), (3, null, '')",
    );
    let target = database();
    let file = source.path.display().to_string();
    let sides = ["--json", "--source", &file, "--target", &target.url];
    let report = liteferry(&[&["copy"], &sides[..]].concat()).exits_with(0).json();
    let told = report["findings"].as_array().expect("findings are a list").iter();
    let told = told.filter(|finding| finding["code"] == "generated_plain");
    let remedies: Vec<&str> = told.filter_map(|finding| finding["remedy"].as_str()).collect();
    assert_eq!(remedies.len(), 4, "{report:#}");
    let statements: Vec<&str> = remedies
        .iter()
        .filter_map(|remedy| remedy[remedy.find("alter table")?..].split(';').next())
        .collect();
    assert_eq!(statements.len(), 2, "date() and a column of a generated one are not promised: {remedies:#?}");
    statements.iter().for_each(|statement| drop(psql(&target.url, statement)));
    let again = liteferry(&[&["validate"], &sides[..]].concat()).exits_with(0).json();
    assert_eq!(again["verdict"], "equal", "{again:#}");
    let fresh = psql(&target.url, "insert into t (a, b) values (4, 'x') returning id, twice, word");
    assert_eq!(fresh, [["4", "8", "x!"].map(|cell| Some(cell.to_owned()))]);
}
