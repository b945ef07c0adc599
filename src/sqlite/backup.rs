//! A copy of the source by SQLite's own backup: whole and at one state, whoever reads or writes meanwhile.

use super::capture::detach_alone;
use super::connect::SqliteFile;
use super::fault::from_sqlite;
use crate::model::fault::Fault;
use crate::model::name::literal;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

const PAGES_PER_STEP: i32 = 1_000;
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_MAX: u32 = 500;

pub fn copy(file: &SqliteFile, to: &Path, tick: &dyn Fn()) -> Result<(), Fault> {
    let doing = || format!("copy the source to {}", to.display());
    let failed = |error| from_sqlite(doing(), error);
    let source = file.open_reader()?;
    // What an interrupted cleanup has left goes. SQLite takes an empty file for an empty database, and would not say what keeps it from
    // making one.
    File::create(to).map_err(|error| unwritable(to, error))?;
    let mut copy = Connection::open(to).map_err(failed)?;
    let backup = Backup::new(&source, &mut copy).map_err(failed)?;
    let mut busy = 0;
    loop {
        match backup.step(PAGES_PER_STEP).map_err(|error| of_step(to, error, &failed))? {
            StepResult::Done => return Ok(()),
            StepResult::Busy | StepResult::Locked if busy == BUSY_MAX => {
                return Err(Fault::fatal("source_busy", doing())
                    .with_remedy("Something holds the source locked: end it, and start the daemon again."));
            }
            StepResult::Busy | StepResult::Locked => {
                busy += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            _ => tick(),
        }
    }
}

/// The source is only read: it is not its disk that is full.
fn of_step(to: &Path, error: rusqlite::Error, failed: &dyn Fn(rusqlite::Error) -> Fault) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => unwritable(to, io::ErrorKind::StorageFull.into()),
        _ => failed(error),
    }
}

pub fn unwritable(path: &Path, error: io::Error) -> Fault {
    Fault::fatal("archive_unwritable", format!("write the archive {}", path.display()))
        .with_remedy(
            "Make room there: it is tried again every minute. Or name another directory by cleanup.archive, and start the daemon again.",
        )
        .with_source(error)
}

/// The copy is the application's alone: it can be written by whoever unpacks it.
pub fn take_ours_out(copy: &Path) -> Result<(), Fault> {
    let doing = || format!("take what is ours out of the copy {}", copy.display());
    let db = Connection::open(copy).map_err(|error| from_sqlite(doing(), error))?;
    detach_alone(&db)?;
    // One file, without a log beside it.
    db.pragma_update(None, "journal_mode", "delete").map_err(|error| from_sqlite(doing(), error))
}

/// Whether the file is a whole database. What virtual tables make of other tables' rows is none of the question: an index of texts that
/// the application's triggers keep is as old as the switch, and one with a tokenizer of the application's own cannot be opened here.
pub fn check(path: &Path) -> Result<(), Fault> {
    let doing = || format!("look through the copy {}", path.display());
    let failed = |error| from_sqlite(doing(), error);
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let whole = match first_complaint(&db, "1") {
        Ok(None) => true,
        Ok(Some(complaint)) if complaint.starts_with(OF_TREES) => false,
        Ok(Some(_)) | Err(_) => tables_are_whole(&db).map_err(failed)?,
    };
    if whole {
        return Ok(());
    }
    Err(Fault::fatal("archive_corrupt", doing()).with_remedy(
        "SQLite finds the copy damaged, and with it most likely the source. Nothing was removed: look at the source with `pragma integrity_check`, \
         mend it (`reindex`, where only indexes are named), and start the daemon again",
    ))
}

/// How a complaint about pages begins; they are looked at before anything else.
const OF_TREES: &str = "*** in database";

/// Each by itself, for where one is named no other is opened.
fn tables_are_whole(db: &Connection) -> rusqlite::Result<bool> {
    let mut names = db.prepare("select name from sqlite_schema where type = 'table' and rootpage > 0")?;
    let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        if first_complaint(db, &literal(&name))?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn first_complaint(db: &Connection, of: &str) -> rusqlite::Result<Option<String>> {
    let found: String = db.query_row(&format!("pragma quick_check({of})"), [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn checked(sql: &str) -> Result<(), Fault> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("copy.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
        drop(db);
        check(&path)
    }

    #[test]
    fn a_full_text_index_that_is_behind_its_rows_is_no_damage() {
        checked(
            "create table note (id integer primary key, body text); insert into note values (1, 'one'), (2, 'two');
             create virtual table four using fts4(body, content=\"note\"); insert into four(four) values ('rebuild');
             create virtual table five using fts5(body, content=\"note\", content_rowid=\"id\");
             insert into five(five) values ('rebuild');
             update note set body = 'three' where id = 1; insert into note values (4, 'four'); delete from note where id = 2",
        )
        .unwrap();
    }

    #[test]
    fn a_tokenizer_of_the_application_is_no_damage() {
        for (module, tokenizer) in [("fts3", "tokenize=porter"), ("fts5", "tokenize='porter'")] {
            checked(&format!(
                "create virtual table f using {module}(body, {tokenizer}); insert into f values ('one');
                 pragma writable_schema = on; update sqlite_schema set sql = replace(sql, 'porter', 'its own') where name = 'f'"
            ))
            .unwrap();
        }
    }

    #[test]
    fn damage_beside_a_full_text_index_is_found() {
        let stale = "create table note (id integer primary key, body text not null, n integer); insert into note values (1, 'one', 1);
                     create virtual table f using fts4(body, content=\"note\"); insert into f(f) values ('rebuild');
                     create index note_n on note (n); update note set body = 'two'; pragma writable_schema = on;";
        for damage in [
            "insert into sqlite_schema select 'table', 'twin', 'twin', rootpage, 'create table twin(a)' from sqlite_schema where name = 'note'",
            "update sqlite_schema set rootpage = (select rootpage from sqlite_schema where name = 'note') where name = 'note_n'",
            "update sqlite_schema set sql = replace(sql, 'n integer', 'n integer not null') where name = 'note';
             update note set n = null",
        ] {
            assert_eq!(checked(&format!("{stale} {damage}")).unwrap_err().code, "archive_corrupt", "{damage}");
        }
    }
}
