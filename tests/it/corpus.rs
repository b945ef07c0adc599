//! Databases that broke other tools. Each must end equal, or equal with a ledger: there is no third outcome.

use crate::support::{corpus, database, liteferry, psql, sqlite};

#[test]
fn every_database_of_the_corpus_is_copied_and_proved_equal() {
    let cases = corpus();
    assert!(cases.len() >= 16, "the corpus is there");
    for case in cases {
        let (source, target) = (sqlite(&case.sql), database());
        let source = source.path.to_str().expect("temporary paths are UTF-8");
        let sides = ["--source", source, "--target", &target.url, "--json"];
        let run = |command: &str| {
            eprintln!("{}: {command}", case.name);
            liteferry(&[&[command], &sides[..]].concat()).exits_with(0).json()
        };
        run("check");
        let copied = run("copy");
        let validated = run("validate");
        for report in [&copied, &validated] {
            assert_eq!(report["success"], true, "{}: {report:#}", case.name);
            assert_eq!(report["total_source"], copied["total_source"], "{}", case.name);
        }
        let held = psql(&target.url, "select exists (select from liteferry.ledger)");
        assert_eq!(held[0][0].as_deref() == Some("t"), copied["ledger_rows"] != 0, "{}", case.name);
    }
}

#[test]
fn a_row_changed_in_the_target_is_found() {
    let source = sqlite(
        "create table t (id integer primary key, a text); insert into t values (1, 'x'), (2, 'y'), (3, 'z')",
    );
    let target = database();
    let source = source.path.to_str().expect("temporary paths are UTF-8");
    let sides = ["--source", source, "--target", &target.url, "--json"];
    liteferry(&[&["copy"], &sides[..]].concat()).exits_with(0);
    psql(
        &target.url,
        "update t set a = 'other' where id = 2; delete from t where id = 3; insert into t values (9, 'new')",
    );
    let report = liteferry(&[&["validate"], &sides[..]].concat()).exits_with(1).json();
    let table = &report["tables"][0];
    assert_eq!((&report["success"], &table["equal"]), (&false.into(), &false.into()), "{report:#}");
    let counts = ["missing", "extra", "different"].map(|kind| table[kind].clone());
    assert_eq!(counts, [1, 1, 1].map(serde_json::Value::from), "{report:#}");
}
