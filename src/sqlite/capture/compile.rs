//! Whether the application's statements still compile once our triggers are in.
//!
//! SQLite looks into a trigger's body only when a statement would fire it. Were a name in ours not understood, every write of the
//! application to that table would fail; so each kind of write is compiled here, never run, before the triggers are committed.

use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::sqlite::connect::stand_in;
use crate::sqlite::fault::from_sqlite;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, Statement};

/// What a connection of the application has, and ours has not.
const SETTINGS: [DbConfig; 2] =
    [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW];

/// Which kinds of writes compile.
pub(super) struct Compiled([Outcome; 3]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Compiles,
    /// A function is missing that only the application has: nothing can be told here.
    Unknown,
    Fails,
}

impl Compiled {
    pub fn of(db: &Connection, table: &str) -> Result<Compiled, Fault> {
        let doing = || format!("compile writes to {}", ident(table));
        // What is compiled is never run, and nothing but what is ours is written here.
        db.collation_needed(stand_in).map_err(|error| from_sqlite(doing(), error))?;
        for setting in SETTINGS {
            db.set_db_config(setting, true).map_err(|error| from_sqlite(doing(), error))?;
        }
        let compiled = statements(db, table).map(|sql| outcome(db.prepare(&sql)));
        for setting in SETTINGS {
            db.set_db_config(setting, false).map_err(|error| from_sqlite(doing(), error))?;
        }
        Ok(Compiled(compiled))
    }

    pub fn still_compiles(&self, db: &Connection, table: &str) -> Result<(), Fault> {
        let after = Compiled::of(db, table)?;
        let breaks =
            |(before, after): (Outcome, Outcome)| before == Outcome::Compiles && after == Outcome::Fails;
        if !self.0.into_iter().zip(after.0).any(breaks) {
            return Ok(());
        }
        Err(Fault::fatal("capture_refused", format!("put triggers on {}", ident(table))).with_remedy(
            "With them the application could no longer write to the table, so they were not installed. A defect of liteferry: please \
             report the table's declaration and its unique indexes.",
        ))
    }
}

fn outcome(prepared: rusqlite::Result<Statement<'_>>) -> Outcome {
    let message = match prepared {
        Ok(_) => return Outcome::Compiles,
        Err(Error::SqlInputError { msg, .. } | Error::SqliteFailure(_, Some(msg))) => msg,
        Err(_) => return Outcome::Fails,
    };
    // Our own words call no function that SQLite itself has not.
    let missing = ["no such function", "unknown function"].iter().any(|start| message.starts_with(start));
    if missing { Outcome::Unknown } else { Outcome::Fails }
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
