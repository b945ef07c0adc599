//! Keys of which the statement gives a part, and a trigger of the application another.

use super::replica::{By, Replica, has_rowid, schema};
use crate::support::sqlite;
use liteferry::model::finding::Severity;
use liteferry::plan::capture::preflight;

/// SQLite reads the columns that the statement does not name anew.
#[test]
fn a_key_that_a_trigger_changes_beside_the_statement_is_seen() {
    let setup = "create table t(a int not null, b int not null, v text, primary key (a, b)); insert into t values (1, 1, 'q'), (2, 2, 'q');
        create trigger app before update of a on t begin update t set b = b + 100 where a = old.a and b = old.b; end";
    let rowid = |table: &_| if has_rowid(table) { By::Rowid } else { By::PrimaryKey };
    for pragma in ["recursive_triggers = off", "recursive_triggers = on"] {
        for mut replica in [Replica::new(setup), Replica::by(setup, &rowid)] {
            replica.run(&format!("pragma {pragma}"));
            for sql in [
                "update t set a = 9 where a = 1",
                "update t set a = a + 1",
                "update or replace t set a = 5, v = 'x'",
            ] {
                replica.run(sql);
            }
        }
    }
}

/// Who deletes a row there unseen is told of beforehand: no trigger knows the statement's values and those of the write in between.
#[test]
fn a_trigger_that_has_an_update_replace_another_row_than_it_names_is_told() {
    let own = "create trigger own before update of a on t when old.b <> 2 begin update t set b = 2 where id = old.id; end";
    let told = |table: &str, trigger: &str| {
        let file =
            sqlite(&format!("create table t(id integer primary key, a, b, c as (a || b){table}); {trigger}"));
        let findings = preflight(&schema(&file.path));
        findings.into_iter().map(|finding| (finding.code, finding.severity)).collect::<Vec<_>>()
    };
    let mixes = [("capture_trigger_mixes", Severity::Warning)];
    assert_eq!(told(", unique (a, b)", own), mixes);
    assert_eq!(told(", unique (c)", own), mixes);
    assert_eq!(told("); create unique index i on t (a + b", own), mixes);
    assert_eq!(told(", unique (a), unique (b)", own), []);
    assert_eq!(told(", unique (id, b)", own), []);
    assert_eq!(told(", unique (a, b)", &own.replace("before", "after")), []);
    let refuses =
        "create trigger own before update on t begin select raise(abort, 'no') where new.a is null; end";
    assert_eq!(told(", unique (a, b)", refuses), []);
}

/// A trigger takes the insert away from an application that has foreign keys on: SQLite itself says of which tables.
#[test]
fn a_foreign_key_for_which_sqlite_refuses_inserts_once_there_are_triggers_is_told() {
    let wrong = [("capture_foreign_key_mismatch", "p".to_owned(), Severity::Warning)];
    for (refused, tables) in [
        (true, "create table p (id int primary key, tag text); create table c (t references p (tag))"),
        (true, "create table p (id int primary key, tag text); create table c (t references P (nope))"),
        (true, "create table p (a, b, primary key (a, b)); create table c (t references p)"),
        (true, "create table p (a); create table c (t references p)"),
        (
            true,
            "create table p (a); create unique index i on p (a) where a > 1; create table c (t references p (a))",
        ),
        (
            true,
            "create table p (a); create unique index i on p (a collate nocase); create table c (t references p (a))",
        ),
        (
            true,
            "create table p (a); create unique index i on p (lower(a)); create table c (t references p (a))",
        ),
        (true, "create table p (a, b, unique (a, b)); create table c (t references p (a))"),
        (
            false,
            "create table p (id integer primary key, tag text); create table c (t references p, u references P (ID))",
        ),
        (false, "create table p (id text primary key); create table c (t references p)"),
        (false, "create table p (a collate nocase unique); create table c (t references p (A))"),
        (
            false,
            "create table p (a, b, primary key (a, b)) without rowid; create table c (t, u, foreign key (u, t) references p (b, a))",
        ),
        (
            false,
            "create table p (a, b, primary key (b, a)); create table c (t, u, foreign key (t, u) references p)",
        ),
        (
            false,
            "create table p (a); create unique index i on p (a desc); create table c (t references p (a))",
        ),
    ] {
        let file = sqlite(tables);
        let db = rusqlite::Connection::open(&file.path).expect("SQLite opens its file");
        db.execute_batch("pragma foreign_keys = on; insert or ignore into p default values")
            .expect("one row is taken");
        db.execute_batch("create trigger any after insert on p begin select 1; end")
            .expect("a trigger can be made");
        assert_eq!(db.execute_batch("insert or ignore into p default values").is_err(), refused, "{tables}");
        db.execute_batch("drop trigger any").expect("it is there");
        let findings = preflight(&schema(&file.path)).into_iter();
        let told: Vec<_> =
            findings.map(|finding| (finding.code, finding.subject, finding.severity)).collect();
        assert_eq!(told, if refused { &wrong[..] } else { &[] }, "{tables}");
    }
    // No insert was taken before either.
    for tables in [
        "create table p (a); create table c (t references p (a) deferrable initially deferred)",
        "create table p (a, t references p (a))",
    ] {
        let file = sqlite(tables);
        let db = rusqlite::Connection::open(&file.path).expect("SQLite opens its file");
        db.execute_batch("pragma foreign_keys = on").expect("SQLite knows the pragma");
        assert!(db.execute_batch("insert or ignore into p default values").is_err(), "{tables}");
        assert!(preflight(&schema(&file.path)).is_empty(), "{tables}");
    }
}
