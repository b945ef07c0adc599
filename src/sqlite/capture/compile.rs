//! Whether the application's statements still compile once our triggers are in.
//!
//! SQLite looks into a trigger's body only when a statement would fire it. Were a name in ours not understood, every write of the
//! application to that table would fail; so each kind of write is compiled here, never run, before the triggers are committed.

use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::sqlite::fault::from_sqlite;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// What a connection of the application has, and ours has not.
const SETTINGS: [DbConfig; 2] =
    [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW];

/// Which kinds of writes compile: a trigger of the application may need a function that only the application has, and then nothing
/// can be told here.
pub(super) struct Compiled([bool; 3]);

impl Compiled {
    pub fn of(db: &Connection, table: &str) -> Result<Compiled, Fault> {
        let doing = || format!("compile writes to {}", ident(table));
        for setting in SETTINGS {
            db.set_db_config(setting, true).map_err(|error| from_sqlite(doing(), error))?;
        }
        let compiled = statements(db, table).map(|sql| db.prepare(&sql).is_ok());
        for setting in SETTINGS {
            db.set_db_config(setting, false).map_err(|error| from_sqlite(doing(), error))?;
        }
        Ok(Compiled(compiled))
    }

    pub fn still_compiles(&self, db: &Connection, table: &str) -> Result<(), Fault> {
        let after = Compiled::of(db, table)?;
        if self.0.iter().zip(after.0).all(|(before, after)| after || !before) {
            return Ok(());
        }
        Err(Fault::fatal("capture_refused", format!("put triggers on {}", ident(table))).with_remedy(
            "With them the application could no longer write to the table, so they were not installed. A defect of liteferry: please \
             report the table's declaration and its unique indexes.",
        ))
    }
}

fn statements(db: &Connection, table: &str) -> [String; 3] {
    let name = ident(table);
    let column = db
        .query_row("select name from pragma_table_info(?1, 'main') limit 1", [table], |row| row.get(0))
        .unwrap_or_else(|_| "rowid".to_owned());
    let column = ident(&column);
    [
        format!("insert into main.{name} default values"),
        format!("update main.{name} set {column} = {column}"),
        format!("delete from main.{name}"),
    ]
}
