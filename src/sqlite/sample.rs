//! The demo's sample database: written anew, never over a file that is there.

use super::fault::from_sqlite;
use crate::model::fault::Fault;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Writes the sample into a new file.
pub fn write_sample(path: &Path) -> Result<(), Fault> {
    let write = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let db = Connection::open_with_flags(path, flags)?;
        db.execute_batch("pragma journal_mode = wal; begin;")?;
        db.execute_batch(include_str!("sample.sql"))?;
        db.execute_batch("commit;")
    };
    if path.exists() {
        return Err(Fault::fatal("sample_exists", format!("write the sample database {}", path.display()))
            .with_remedy("remove the file, or run the demo in another directory"));
    }
    write().map_err(|error| from_sqlite("write the sample database", error))
}
