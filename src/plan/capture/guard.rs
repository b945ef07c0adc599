//! Guards: triggers that refuse every write of the application to a table, once its writes belong to PostgreSQL.
//!
//! Plain words that the oldest library parses. They abort the statement and leave the application's transaction standing.

use super::Trigger;
use super::names::is_number;
use crate::model::name::{folded, ident};

/// What the application's statement fails with. An expression would need a newer library.
pub const REFUSAL: &str = "liteferry: the writes have moved to PostgreSQL";

const EVENTS: [(&str, &str); 3] = [("i", "insert"), ("u", "update"), ("d", "delete")];
const GUARD_PREFIX: &str = "_liteferry_guard_";

/// The guards of a table, by the number that its other triggers know it by.
pub fn guards(id: i64, table: &str) -> Vec<Trigger> {
    let guard = |(letter, event): (&str, &str)| {
        let name = format!("{GUARD_PREFIX}{id}_{letter}");
        let body = format!("select raise(abort,'{REFUSAL}');");
        let sql = format!("create trigger {name} before {event} on {} begin {body} end", ident(table));
        Trigger { name, sql }
    };
    EVENTS.map(guard).into()
}

/// Whether a trigger of this name and text is a guard of ours, on whatever table it stands now.
pub fn is_our_guard(name: &str, sql: &str) -> bool {
    let name = folded(name);
    let parts = name.strip_prefix(GUARD_PREFIX).and_then(|rest| rest.split_once('_'));
    let ours =
        parts.is_some_and(|(id, letter)| is_number(id) && EVENTS.iter().any(|(known, _)| *known == letter));
    ours && sql.contains(REFUSAL)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_refuses_and_is_known_again() {
        let made = guards(7, "o\"dd");
        assert_eq!(
            made[0].sql,
            "create trigger _liteferry_guard_7_i before insert on \"o\"\"dd\" begin select raise(abort,'liteferry: the writes have \
             moved to PostgreSQL'); end"
        );
        assert!(made.iter().all(|guard| is_our_guard(&guard.name, &guard.sql)));
        for (name, sql) in [
            ("_liteferry_guard_x_i", made[0].sql.as_str()),
            ("_liteferry_guard_7_x", made[0].sql.as_str()),
            (
                "_liteferry_guard_7_i",
                "create trigger _liteferry_guard_7_i before insert on t begin select 1; end",
            ),
            ("guard_7_i", made[0].sql.as_str()),
        ] {
            assert!(!is_our_guard(name, sql), "{name}: {sql}");
        }
    }

    #[test]
    fn every_write_is_refused_and_the_transaction_goes_on() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch("create table t(id integer primary key, v); insert into t values (1, 1)").unwrap();
        for guard in guards(1, "t") {
            db.execute_batch(&guard.sql).unwrap();
        }
        db.execute_batch("begin").unwrap();
        for sql in [
            "insert into t values (2, 2)",
            "insert or ignore into t values (1, 2)",
            "replace into t values (1, 2)",
            "insert into t values (1, 2) on conflict do nothing",
            "update t set v = 3",
            "delete from t",
        ] {
            let refused = db.execute(sql, []).unwrap_err().to_string();
            assert!(refused.contains(REFUSAL), "{sql}: {refused}");
        }
        assert!(!db.is_autocommit());
        assert_eq!(
            db.query_row("select group_concat(id || v) from t", [], |row| row.get::<_, String>(0)).unwrap(),
            "11"
        );
    }
}
