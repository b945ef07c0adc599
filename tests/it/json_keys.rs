//! A key of JSON, by which SQLite finds a row and PostgreSQL's `json` finds none.

use crate::follow::Case;
use crate::support::{database, liteferry, sqlite};

const SOURCE: &str = "pragma journal_mode = wal;
    create table point (at json, floor int, name text, primary key (at, floor)) without rowid;
    insert into point values ('[1, 2]', 0, 'well'), ('[1,2]', 0, 'gate'), ('{\"x\": 1}', 2, 'hall');
    create table tag (id integer primary key, rowid text, oid text, _rowid_ text, j json);
    create table named (j json not null primary key, v text);
    insert into named values ('\"a\"', 'one');";

#[test]
fn rows_with_a_key_of_json_are_followed() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app(
        "update point set name = 'old gate' where at = '[1,2]'; delete from point where floor = 2;
         insert into point values ('null', 1, 'roof'); update point set at = '[3]' where at = '[1, 2]';
         update named set j = '\"b\"';
         create table later (j json primary key, v text) without rowid; insert into later values ('[]', 'x'), ('{}', 'y')",
    );
    daemon.drained(&case.source);
    case.app("update later set v = 'z' where j = '{}'");
    daemon.drained(&case.source);
    case.is_equal();
    let rows = case.rows("select at::text, name from point order by name collate \"C\"");
    let text = |text: &str| Some(text.to_owned());
    let expected = [("[1,2]", "old gate"), ("null", "roof"), ("[3]", "well")];
    assert_eq!(rows, expected.map(|(at, name)| vec![text(at), text(name)]));
}

/// Asked for all the same, no key is left by which a changed row could be found; a copy needs none.
#[test]
fn a_key_that_is_to_be_json_can_be_copied_and_not_followed() {
    let source = sqlite(
        "create table point (at json primary key, name text) without rowid; insert into point values ('[1]', 'well'), ('[ 1]', 'gate')",
    );
    let target = database();
    let settings = source.path.with_extension("toml");
    std::fs::write(&settings, "[types.column.\"point.at\"]\ntype = \"json\"\n")
        .expect("a file can be written");
    let (path, settings) = (source.path.display().to_string(), settings.display().to_string());
    let sides = ["--source", &path, "--target", &target.url, "--config", &settings];
    let run = liteferry(&[&["run"][..], &sides].concat()).exits_with(1);
    assert!(run.stderr.contains("capture_no_key"), "{}", run.stderr);
    liteferry(&[&["copy"][..], &sides].concat()).exits_with(0);
    liteferry(&[&["validate"][..], &sides].concat()).exits_with(0);
}
