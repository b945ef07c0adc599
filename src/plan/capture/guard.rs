//! Guards: triggers that refuse every write of the application to a captured table, once its writes belong to PostgreSQL.
//!
//! Plain words that the oldest library parses. They abort the statement and leave the application's transaction standing.

use super::names::is_number;
use super::triggers::Inserts;
use super::{CHANGE, CaptureTable, Trigger};
use crate::model::name::{folded, ident};

/// What the application's statement fails with. An expression would need a newer library.
pub const REFUSAL: &str = "liteferry: the writes have moved to PostgreSQL";

const GUARD_PREFIX: &str = "_liteferry_guard_";
const LOG_GUARD: &str = "_liteferry_guard_log";

/// No row changes without a line in the log: what refuses the line refuses the write, and one trigger is made soon, however many tables
/// there are. Only where a trigger of the application may keep the line of a new row from being written has the table a guard of its own.
pub fn guards(tables: &[CaptureTable]) -> Vec<Trigger> {
    let cut_off = tables.iter().filter(|table| table.inserts == Inserts::CutOff);
    let of_tables = cut_off.map(|table| guard(format!("{GUARD_PREFIX}{}_i", table.id), &table.table));
    [guard(LOG_GUARD.to_owned(), CHANGE)].into_iter().chain(of_tables).collect()
}

fn guard(name: String, table: &str) -> Trigger {
    let sql = format!(
        "create trigger {name} before insert on {} begin select raise(abort,'{REFUSAL}'); end",
        ident(table)
    );
    Trigger { name, sql }
}

/// Whether a trigger of this name and text is a guard of ours, on whatever table it stands now. Earlier versions gave each table three.
pub fn is_our_guard(name: &str, sql: &str) -> bool {
    let name = folded(name);
    let parts = name.strip_prefix(GUARD_PREFIX).and_then(|rest| rest.split_once('_'));
    let of_table = parts.is_some_and(|(id, letter)| is_number(id) && ["i", "u", "d"].contains(&letter));
    (of_table || name == LOG_GUARD) && sql.contains(REFUSAL)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::capture::{CaptureKey, capture_table, log_table_sql};
    use crate::sqlite::introspect::introspect;

    /// Every table of the schema, captured by its rowid or by its column `code`.
    fn captured(db: &rusqlite::Connection) -> Vec<CaptureTable> {
        let schema = introspect(db).unwrap();
        let capture = |(at, table): (usize, &crate::model::schema::SqliteTable)| {
            let key = match table.column("code") {
                Some(_) => CaptureKey::Columns { names: vec!["code".into()], rowid: None },
                None => CaptureKey::Rowid { name: "rowid".into() },
            };
            capture_table(&schema, table, key, i64::try_from(at).unwrap() + 1).unwrap()
        };
        schema.tables.iter().enumerate().map(capture).collect()
    }

    #[test]
    fn a_guard_is_known_again() {
        let made = guard("_liteferry_guard_7_i".into(), "o\"dd");
        assert_eq!(
            made.sql,
            "create trigger _liteferry_guard_7_i before insert on \"o\"\"dd\" begin select raise(abort,'liteferry: the writes have \
             moved to PostgreSQL'); end"
        );
        for known in ["_liteferry_guard_7_i", "_LITEFERRY_guard_7_d", "_liteferry_guard_log"] {
            assert!(is_our_guard(known, &made.sql), "{known}");
        }
        for (name, sql) in [
            ("_liteferry_guard_x_i", made.sql.as_str()),
            ("_liteferry_guard_7_x", made.sql.as_str()),
            ("_liteferry_guard_logs", made.sql.as_str()),
            (
                "_liteferry_guard_7_i",
                "create trigger _liteferry_guard_7_i before insert on t begin select 1; end",
            ),
            ("guard_7_i", made.sql.as_str()),
        ] {
            assert!(!is_our_guard(name, sql), "{name}: {sql}");
        }
    }

    #[test]
    fn every_write_is_refused_and_the_transaction_goes_on() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(
            "create table t (id integer primary key, v unique); insert into t values (1, 1);
             create table plain (id integer primary key, v); insert into plain values (1, 1);
             create table k (code text not null primary key, v) without rowid; insert into k values ('a', 1);
             create table cut (id integer primary key, v); insert into cut values (1, 1);
             create trigger theirs after insert on cut begin select raise(ignore); end",
        )
        .unwrap();
        let tables = captured(&db);
        db.execute_batch(&log_table_sql(1)).unwrap();
        for trigger in tables.iter().flat_map(|table| &table.triggers).chain(&guards(&tables)) {
            db.execute_batch(&trigger.sql).unwrap();
        }
        assert_eq!(guards(&tables).len(), 2, "one for all, and one where a trigger cuts inserts off");
        db.execute_batch("begin").unwrap();
        for sql in [
            "insert into t values (2, 2)",
            "insert into t (v) values (2)",
            "insert or ignore into t values (null, 2)",
            "insert or fail into t values (null, 2)",
            "replace into t values (1, 2)",
            "replace into t values (2, 1)",
            "insert into t values (1, 2) on conflict (id) do update set v = 2",
            "insert into t select id + 1, v + 1 from t",
            "update t set v = 3",
            "update or ignore t set id = 2",
            "delete from t",
            "insert into k values ('b', 2)",
            "insert or replace into k values ('a', 2)",
            "update k set v = 2",
            "delete from k where code = 'a'",
            "insert into plain values (2, 2)",
            "insert or ignore into plain (v) values (2)",
            "replace into plain values (1, 2)",
            "update plain set v = 2",
            "delete from plain",
            "insert into cut (v) values (2)",
            "update cut set v = 2",
            "delete from cut",
        ] {
            let refused = db.execute(sql, []).unwrap_err().to_string();
            assert!(refused.contains(REFUSAL), "{sql}: {refused}");
        }
        // Nothing would have changed.
        assert_eq!(db.execute("insert or ignore into plain values (1, 2)", []).unwrap(), 0);
        assert!(!db.is_autocommit());
        let rows = "select (select group_concat(id || v) from t) || (select group_concat(code || v) from k) || (select group_concat(id || v) from cut) || (select id || v from plain)";
        assert_eq!(db.query_row(rows, [], |row| row.get::<_, String>(0)).unwrap(), "11a11111");
    }
}
