//! Keys of which the statement gives a part, and a trigger of the application another.

use super::replica::{By, Replica, has_rowid};

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
