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
