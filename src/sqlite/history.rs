//! One history: is this still the file, the change table and the schema that the target's position was taken from?
//!
//! Asked inside the read transaction of every batch, because the answer holds for that snapshot alone. What is not proved is
//! refused by name; nothing is guessed.

use super::connect::{SqliteFile, schema_version};
use super::fault::from_sqlite;
use super::glimpse::Glimpse;
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::path::Path;

/// Which file lies under the path, by the kernel's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub fn of(path: &Path) -> Result<FileIdentity, Fault> {
        let Glimpse { device, inode, .. } = Glimpse::of(path).map_err(|error| lost_sight(path, error))?;
        Ok(FileIdentity { device, inode })
    }

    /// A file that was renamed over ours goes unnoticed by a connection, which keeps reading the old one. So does a link that was turned. One
    /// that leads nowhere is no matter: nobody finds another file by it.
    pub fn confirm(self, file: &SqliteFile) -> Result<(), Fault> {
        let gone = |path: &Path| Fault::fatal("file_replaced", format!("go on reading {}", path.display()));
        if FileIdentity::of(file.path())? != self {
            return Err(gone(file.path()).with_remedy(
                "another file lies in its place (a restored backup, a rebuilt database): run it with --resync, which compares both sides \
                 and carries over what differs",
            ));
        }
        match file.links().map(|links| (links, FileIdentity::of(links))) {
            Some((links, Ok(there))) if there != self => Err(gone(links).with_remedy(format!(
                "a symbolic link was turned, and another file is found by that name than {}: turn it back. If the application has written to \
                 the other file, stop it, put that one in the old one's place, and run it with --resync",
                file.path().display()
            ))),
            _ => Ok(()),
        }
    }
}

/// Whoever is told that a file is missing restores a backup: a directory that is closed to us, or a disk that fails, is not said so.
fn lost_sight(path: &Path, error: std::io::Error) -> Fault {
    let (class, code, remedy) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => (
            FaultClass::Fatal,
            "source_missing",
            "put the database file back and start again: the target stands where it was",
        ),
        ErrorKind::PermissionDenied => (
            FaultClass::Fatal,
            "source_permission",
            "a directory above the database is closed to the user that runs us: open it, and the daemon goes on by itself; the target stands where it was",
        ),
        _ => (FaultClass::Transient, "source_disk", "the path cannot be looked up: see the cause"),
    };
    Fault::new(class, code, format!("find {}", path.display())).with_remedy(remedy).with_source(error)
}

/// Refuses a snapshot that does not continue the history of `from`; gives its newest position. What `from` names was once read there.
pub fn confirm(db: &Connection, token: &str, from: Position) -> Result<Position, Fault> {
    let doing = || format!("find change {}, which the target has seen, in the source", from.seq);
    let failed = |error| from_sqlite(doing(), error);
    let origin: Option<(String, i64)> = db
        .prepare_cached("select migration, epoch from main._liteferry_control")
        .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .optional()
        .or_else(absent)
        .map_err(failed)?;
    let Some((migration, epoch)) = origin else {
        return Err(Fault::fatal("capture_missing", doing()).with_remedy(
            "liteferry's tables are gone from the source (a backup from before, or `detach`): run it with --resync",
        ));
    };
    if migration != token {
        return Err(Fault::fatal("other_migration", doing()).with_remedy(OF_ANOTHER));
    }
    let newest = newest(db, epoch).map_err(|error| of_log(doing(), error))?;
    let at = match newest.filter(|newest| newest.seq == from.seq) {
        None => position_upto(db, epoch, from.seq).map_err(failed)?.filter(|at| at.seq == from.seq),
        at => at,
    };
    match (newest, at) {
        (Some(newest), Some(at)) if at == from => Ok(newest),
        (Some(newest), None) if newest.seq > from.seq && oldest(db).map_err(failed)? > Some(from.seq) => {
            Err(Fault::fatal("log_gap", doing()).with_remedy(
                "the change table no longer reaches back to where the target stands: run it with --resync",
            ))
        }
        (newest, None) if newest.is_none_or(|newest| newest.seq < from.seq) => {
            Err(Fault::fatal("seq_regressed", doing()).with_remedy(
                "the source has fewer changes than the target has applied (a restored backup, a power cut): run it with --resync",
            ))
        }
        (_, _) => Err(Fault::fatal("history_fork", doing()).with_remedy(
            "the source took another way since then (a restored backup was written to): run it with --resync",
        )),
    }
}

/// Told of a file whose control row is another migration's.
pub const OF_ANOTHER: &str = "the source is captured for another target: name that target; or put the right file back, if another migration's was put \
    in its place; or, to make this target equal to this file, `liteferry detach` and then run it with --resync";

fn newest(db: &Connection, epoch: i64) -> rusqlite::Result<Option<Position>> {
    position_upto(db, epoch, i64::MAX)
}

/// The last change up to and with `seq`.
pub fn position_upto(db: &Connection, epoch: i64, seq: i64) -> rusqlite::Result<Option<Position>> {
    let sql = "select seq, nonce from main._liteferry_change where seq <= ?1 order by seq desc limit 1";
    let read = |row: &rusqlite::Row<'_>| Ok(Position { epoch, seq: row.get(0)?, nonce: nonce(row)? });
    db.prepare_cached(sql)?.query_row([seq], read).optional()
}

/// As `random()` of the application's connection drew it: one that has PostgreSQL's function of that name (Tryton) gives floats.
fn nonce(row: &rusqlite::Row<'_>) -> rusqlite::Result<i64> {
    match row.get_ref(1)? {
        ValueRef::Real(drawn) => Ok(drawn.to_bits().cast_signed()),
        _ => row.get(1),
    }
}

fn oldest(db: &Connection) -> rusqlite::Result<Option<i64>> {
    db.query_row("select min(seq) from main._liteferry_change", [], |row| row.get(0))
}

fn absent<T>(error: rusqlite::Error) -> rusqlite::Result<Option<T>> {
    if is_absent(&error) { Ok(None) } else { Err(error) }
}

fn is_absent(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(_, Some(message)) if message.starts_with("no such table"))
}

/// The fault behind a statement on the change table.
pub(super) fn of_log(doing: impl Into<String>, error: rusqlite::Error) -> Fault {
    if is_absent(&error) { log_lost(doing) } else { from_sqlite(doing, error) }
}

/// The triggers outlive the table that they write to.
pub(super) fn log_lost(doing: impl Into<String>) -> Fault {
    Fault::fatal("capture_log_lost", doing).with_remedy(
        "somebody removed liteferry's change table, its rows or the control row: what changed since then is not known, and while the \
         triggers stand without their table the application cannot write. Run it with --resync, which makes all of it anew and \
         compares both sides; or `liteferry detach`, which takes the triggers out too and ends the migration",
    )
}

/// Whether the schema went from one of SQLite's versions of it to the other in one step at the most, so that the text tells all of it. A
/// second step may undo the first in the text, and not in the rows: a column that is dropped and added again. VACUUM is a step of no text.
pub fn is_one_step(from: i64, to: i64) -> bool {
    matches!(to.wrapping_sub(from), 0 | 1)
}

/// Digest of everything that the application's schema says; what is ours, and the statistics that SQLite keeps for itself, apart.
pub fn schema_digest(db: &Connection) -> Result<String, Fault> {
    let failed = |error| from_sqlite("read the schema", error);
    let sql = "select type, name, tbl_name, coalesce(sql, '') from main.sqlite_schema
               where name not like 'sqlite\\_stat%' escape '\\' and name not like '\\_liteferry%' escape '\\' and name <> 'sqlite_sequence'
               order by type, name";
    let mut statement = db.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut hasher = Sha256::new();
    while let Some(row) = rows.next().map_err(failed)? {
        for at in 0..4 {
            let text = row.get_ref(at).map_err(failed)?;
            let bytes = text.as_bytes().unwrap_or_default();
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        }
    }
    Ok(format!("{:x}", hasher.finalize()))
}

/// A schema as it was seen. Its text alone does not tell it from another one: a table that is dropped and made again has the text that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaSeen {
    version: i64,
    digest: String,
}

impl SchemaSeen {
    pub fn in_db(db: &Connection) -> Result<SchemaSeen, Fault> {
        Ok(SchemaSeen { version: schema_version(db)?, digest: schema_digest(db)? })
    }

    pub fn version(&self) -> i64 {
        self.version
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_directory_is_not_called_a_missing_file() {
        let check = |kind: ErrorKind, code: &str, class: FaultClass| {
            let fault = lost_sight(Path::new("/srv/app.db"), kind.into());
            assert_eq!((fault.code, fault.class), (code, class));
        };
        check(ErrorKind::NotFound, "source_missing", FaultClass::Fatal);
        check(ErrorKind::PermissionDenied, "source_permission", FaultClass::Fatal);
        check(ErrorKind::StaleNetworkFileHandle, "source_disk", FaultClass::Transient);
    }
}
