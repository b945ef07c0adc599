//! A copy of the source by SQLite's own backup: whole and at one state, whoever reads or writes meanwhile.

use super::capture::detach;
use super::connect::SqliteFile;
use super::fault::from_sqlite;
use crate::model::fault::Fault;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
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
        match backup.step(PAGES_PER_STEP).map_err(failed)? {
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

pub fn unwritable(path: &Path, error: io::Error) -> Fault {
    Fault::fatal("archive_unwritable", format!("write the archive {}", path.display()))
        .with_remedy(
            "Make room there, or name another directory by cleanup.archive, and start the daemon again.",
        )
        .with_source(error)
}

/// The copy is the application's alone: it can be written by whoever unpacks it.
pub fn take_ours_out(copy: &Path) -> Result<(), Fault> {
    let doing = || format!("take what is ours out of the copy {}", copy.display());
    let db = Connection::open(copy).map_err(|error| from_sqlite(doing(), error))?;
    detach(&db)?;
    // One file, without a log beside it.
    db.pragma_update(None, "journal_mode", "delete").map_err(|error| from_sqlite(doing(), error))
}

/// Whether the file is a whole database.
pub fn check(path: &Path) -> Result<(), Fault> {
    let doing = || format!("look through the copy {}", path.display());
    let failed = |error| from_sqlite(doing(), error);
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let found: String = db.query_row("pragma quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found == "ok" {
        return Ok(());
    }
    Err(Fault::fatal("archive_corrupt", doing()).with_remedy(
        "SQLite finds the copy damaged, and with it most likely the source. Nothing was removed: look at the source with `pragma integrity_check`, \
         mend it (`reindex`, where only indexes are named), and start the daemon again",
    ))
}
