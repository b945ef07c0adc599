//! SQLite's result codes as faults: one table says the class, the stable code and the remedy of each.
//!
//! No cell's value may reach a fault: SQLite's own message is kept only where it can speak of nothing but the schema.

use crate::model::fault::FaultClass::{Fatal, Transient};
use crate::model::fault::{Fault, FaultClass, out_of_files};
use rusqlite::{Error, ffi};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::raw::c_int;

/// What SQLite answered, without anything that a cell could have put there.
#[derive(Debug)]
struct Answer {
    /// The extended result code; zero where the driver itself refused.
    code: c_int,
    text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (SQLite result code {})", self.text, self.code)
    }
}

impl std::error::Error for Answer {}

struct Rule {
    /// A primary or an extended result code; extended ones are looked up first.
    result: c_int,
    class: FaultClass,
    code: &'static str,
    remedy: &'static str,
}

const fn rule(result: c_int, class: FaultClass, code: &'static str, remedy: &'static str) -> Rule {
    Rule { result, class, code, remedy }
}

const BUSY: &str = "Another connection holds a lock on the database for longer than source.busy_timeout_ms. Look for a long \
    transaction, or for an application with locking_mode=EXCLUSIVE, which lets nobody else in.";
const CORRUPT: &str =
    "Run `pragma integrity_check` with the sqlite3 shell on a copy and repair or restore the database first.";
const NOT_SQLITE: &str =
    "The file is not a SQLite database, or it is encrypted (SQLCipher, SEE): decrypt it first.";
const HOT_JOURNAL: &str = "A crashed application left a journal that must be rolled back, and we may not write here. Start the \
    application once, or give us write permission on the file and its directory.";
const PERMISSION: &str = "Run as the owner of the database, with write permission on the file, its directory, and the -wal and \
    -shm files beside it.";
const CANNOT_OPEN: &str = "Check that the file still exists, that its owner runs us, that the directory is writable for it and has \
    room for the -wal and -shm files, and that file descriptors are left.";
const DISK: &str = "The disk below the database is full or failing: see the kernel's log and `df`.";
const MEMORY: &str = "Give the process more memory, or fewer workers.";
const FILESYSTEM: &str = "File locks do not work on this file system: move the database to a local disk.";
const REPLACED: &str = "The database file was moved or replaced while it was open: start again.";
const TRY_AGAIN: &str = "The schema changed or the work was interrupted meanwhile: it is tried again.";
const SQL: &str = "The schema may need a collation, function or module that the application registers itself: see the message.";
const MOVED: &str = "The application changed its schema meanwhile: try again. Where that does not help, the schema names what is not there: see the message.";
/// What is said of a table or column that was there when the schema was read.
const GONE: [&str; 2] = ["no such column: ", "no such table: "];
const TOO_BIG: &str = "A value or a statement exceeds what SQLite can return: shorten it at the source.";
const REPORT: &str = "This should not happen: please report it with the message above.";

const RULES: &[Rule] = &[
    rule(ffi::SQLITE_BUSY, Transient, "source_busy", BUSY),
    rule(ffi::SQLITE_LOCKED, Transient, "source_busy", BUSY),
    rule(ffi::SQLITE_PROTOCOL, Transient, "source_busy", BUSY),
    rule(ffi::SQLITE_CORRUPT, Fatal, "source_corrupt", CORRUPT),
    rule(ffi::SQLITE_FORMAT, Fatal, "source_corrupt", CORRUPT),
    rule(ffi::SQLITE_IOERR_DATA, Fatal, "source_corrupt", CORRUPT),
    rule(ffi::SQLITE_IOERR_CORRUPTFS, Fatal, "source_corrupt", CORRUPT),
    rule(ffi::SQLITE_NOTADB, Fatal, "source_not_sqlite", NOT_SQLITE),
    rule(ffi::SQLITE_READONLY_ROLLBACK, Fatal, "source_hot_journal", HOT_JOURNAL),
    rule(ffi::SQLITE_READONLY_RECOVERY, Fatal, "source_hot_journal", HOT_JOURNAL),
    rule(ffi::SQLITE_READONLY_DBMOVED, Fatal, "source_replaced", REPLACED),
    rule(ffi::SQLITE_READONLY, Fatal, "source_permission", PERMISSION),
    rule(ffi::SQLITE_PERM, Fatal, "source_permission", PERMISSION),
    rule(ffi::SQLITE_AUTH, Fatal, "source_permission", PERMISSION),
    rule(ffi::SQLITE_IOERR_DELETE, Fatal, "source_permission", PERMISSION),
    rule(ffi::SQLITE_CANTOPEN, Fatal, "source_cannot_open", CANNOT_OPEN),
    rule(ffi::SQLITE_FULL, Transient, "source_disk", DISK),
    rule(ffi::SQLITE_IOERR, Transient, "source_disk", DISK),
    rule(ffi::SQLITE_IOERR_NOMEM, Transient, "source_memory", MEMORY),
    rule(ffi::SQLITE_NOMEM, Transient, "source_memory", MEMORY),
    rule(ffi::SQLITE_IOERR_LOCK, Fatal, "source_filesystem", FILESYSTEM),
    rule(ffi::SQLITE_NOLFS, Fatal, "source_filesystem", FILESYSTEM),
    rule(ffi::SQLITE_SCHEMA, Transient, "source_schema_changed", TRY_AGAIN),
    rule(ffi::SQLITE_INTERRUPT, Transient, "source_interrupted", TRY_AGAIN),
    rule(ffi::SQLITE_ABORT, Transient, "source_interrupted", TRY_AGAIN),
    rule(ffi::SQLITE_ERROR, Fatal, "source_sql", SQL),
    rule(ffi::SQLITE_TOOBIG, Fatal, "source_too_big", TOO_BIG),
];

const UNEXPECTED: Rule = rule(0, Fatal, "source_unexpected", REPORT);
const NOT_UTF8: Rule = rule(
    0,
    Fatal,
    "source_text_not_utf8",
    "A name in the schema is not UTF-8: rename it at the source, or exclude what bears it.",
);

/// A name in the schema that is not UTF-8, as far as it can be shown.
#[derive(Debug)]
pub struct NameNotUtf8(pub String);

impl fmt::Display for NameNotUtf8 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the name {:?} is not UTF-8", self.0)
    }
}

impl std::error::Error for NameNotUtf8 {}

/// Of files that SQLite could not open it does not say why. What keeps every file from being opened is seen at any other.
const OF_ANY_FILE: [&str; 2] = ["source_cannot_open", "source_disk"];

/// No file is left to open, whatever the error at hand says.
pub fn no_file_left(doing: impl Into<String>) -> Option<Fault> {
    File::open("/dev/null").err().and_then(|error| out_of_files(doing, &error))
}

/// What the system answered about a file beside the database.
pub fn from_disk(doing: &str, remedy: &str, error: io::Error) -> Fault {
    out_of_files(doing, &error)
        .unwrap_or_else(|| Fault::new(Transient, "source_disk", doing).with_remedy(remedy).with_source(error))
}

/// `doing` is a bare verb phrase, as in every fault.
pub fn from_sqlite(doing: impl Into<String>, error: Error) -> Fault {
    let fault = of_answer(doing, error);
    let of_any = OF_ANY_FILE.contains(&fault.code);
    of_any.then(|| no_file_left(fault.doing.as_str())).flatten().unwrap_or(fault)
}

fn of_answer(doing: impl Into<String>, error: Error) -> Fault {
    let (rule, answer) = match &error {
        Error::SqliteFailure(failure, message) => {
            (rule_of(failure.extended_code), answer(failure.extended_code, message.as_deref()))
        }
        Error::SqlInputError { error: failure, msg, .. } => {
            (rule_of(failure.extended_code), answer(failure.extended_code, Some(msg)))
        }
        Error::FromSqlConversionFailure(_, _, cause) if cause.is::<NameNotUtf8>() => {
            (&NOT_UTF8, Answer { code: 0, text: cause.to_string() })
        }
        // The driver's own refusals may print a value: only their kind is told.
        other => {
            (rule_of(refused_code(other)), Answer { code: refused_code(other), text: kind_of(other).into() })
        }
    };
    let is_gone = rule.code == "source_sql" && GONE.iter().any(|gone| answer.text.starts_with(gone));
    let remedy = if is_gone { MOVED } else { rule.remedy };
    Fault::new(rule.class, rule.code, doing).with_remedy(remedy).with_source(answer)
}

/// Only the catalog is read with types in mind: what does not fit there is damage.
fn refused_code(error: &Error) -> c_int {
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::Utf8Error(..)
        | Error::QueryReturnedNoRows => ffi::SQLITE_CORRUPT,
        Error::NulError(_) | Error::InvalidPath(_) => ffi::SQLITE_CANTOPEN,
        _ => ffi::SQLITE_MISUSE,
    }
}

fn rule_of(extended: c_int) -> &'static Rule {
    let find = |result: c_int| RULES.iter().find(|rule| rule.result == result);
    // The low byte of an extended code is the primary one.
    find(extended).or_else(|| find(extended & 0xff)).unwrap_or(&UNEXPECTED)
}

fn answer(code: c_int, message: Option<&str>) -> Answer {
    let speaks_of_schema = |message: &&str| match code & 0xff {
        // Functions in generated columns and indexes quote what they were given.
        ffi::SQLITE_ERROR => SCHEMA_MESSAGES.iter().any(|start| message.starts_with(start)),
        ffi::SQLITE_CONSTRAINT | ffi::SQLITE_MISMATCH => false,
        _ => true,
    };
    let text = match message.filter(speaks_of_schema) {
        Some(message) => message.to_owned(),
        None => ffi::code_to_str(code).to_owned(),
    };
    Answer { code, text }
}

/// How SQLite's messages begin that are about names, never about values.
const SCHEMA_MESSAGES: &[&str] = &[
    "no such ",
    "unknown function",
    "unsafe use of ",
    "unable to open database",
    "error in ",
    "access to view ",
    "cannot start a transaction",
];

fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) => {
            "a value of another class was read"
        }
        Error::Utf8Error(..) => "text is not UTF-8",
        Error::IntegralValueOutOfRange(..) => "an integer is out of range",
        Error::NulError(_) => "a name holds a NUL",
        Error::InvalidPath(_) => "the path holds a NUL",
        Error::QueryReturnedNoRows => "no row came back",
        _ => "the driver refused the call",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn failure(code: c_int, message: &str) -> Fault {
        from_sqlite("read rows", Error::SqliteFailure(ffi::Error::new(code), Some(message.to_owned())))
    }

    #[test]
    fn every_result_code_has_its_class_and_code() {
        let cases = [
            (ffi::SQLITE_BUSY, Transient, "source_busy"),
            (ffi::SQLITE_BUSY_SNAPSHOT, Transient, "source_busy"),
            (ffi::SQLITE_BUSY_RECOVERY, Transient, "source_busy"),
            (ffi::SQLITE_LOCKED, Transient, "source_busy"),
            (ffi::SQLITE_PROTOCOL, Transient, "source_busy"),
            (ffi::SQLITE_CORRUPT, Fatal, "source_corrupt"),
            (ffi::SQLITE_CORRUPT_INDEX, Fatal, "source_corrupt"),
            (ffi::SQLITE_IOERR_CORRUPTFS, Fatal, "source_corrupt"),
            (ffi::SQLITE_NOTADB, Fatal, "source_not_sqlite"),
            (ffi::SQLITE_READONLY, Fatal, "source_permission"),
            (ffi::SQLITE_READONLY_ROLLBACK, Fatal, "source_hot_journal"),
            (ffi::SQLITE_READONLY_RECOVERY, Fatal, "source_hot_journal"),
            (ffi::SQLITE_READONLY_DIRECTORY, Fatal, "source_permission"),
            (ffi::SQLITE_READONLY_DBMOVED, Fatal, "source_replaced"),
            (ffi::SQLITE_PERM, Fatal, "source_permission"),
            (ffi::SQLITE_AUTH, Fatal, "source_permission"),
            (ffi::SQLITE_CANTOPEN, Fatal, "source_cannot_open"),
            (ffi::SQLITE_CANTOPEN_ISDIR, Fatal, "source_cannot_open"),
            (ffi::SQLITE_FULL, Transient, "source_disk"),
            (ffi::SQLITE_IOERR, Transient, "source_disk"),
            (ffi::SQLITE_IOERR_READ, Transient, "source_disk"),
            (ffi::SQLITE_IOERR_SHMMAP, Transient, "source_disk"),
            (ffi::SQLITE_IOERR_NOMEM, Transient, "source_memory"),
            (ffi::SQLITE_IOERR_LOCK, Fatal, "source_filesystem"),
            (ffi::SQLITE_NOMEM, Transient, "source_memory"),
            (ffi::SQLITE_NOLFS, Fatal, "source_filesystem"),
            (ffi::SQLITE_SCHEMA, Transient, "source_schema_changed"),
            (ffi::SQLITE_INTERRUPT, Transient, "source_interrupted"),
            (ffi::SQLITE_ERROR, Fatal, "source_sql"),
            (ffi::SQLITE_ERROR_MISSING_COLLSEQ, Fatal, "source_sql"),
            (ffi::SQLITE_TOOBIG, Fatal, "source_too_big"),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Fatal, "source_unexpected"),
            (ffi::SQLITE_MISUSE, Fatal, "source_unexpected"),
        ];
        for (result, class, code) in cases {
            let fault = failure(result, "");
            assert_eq!((fault.class, fault.code), (class, code), "{result}");
            assert!(!fault.remedy.is_empty(), "{result}");
        }
    }

    #[test]
    fn what_is_gone_asks_for_no_collation() {
        assert_eq!(failure(ffi::SQLITE_ERROR, "no such column: x.v").remedy, MOVED);
        assert_eq!(failure(ffi::SQLITE_ERROR, "no such collation sequence: german").remedy, SQL);
    }

    #[test]
    fn messages_that_could_quote_a_cell_are_dropped() {
        let told = |code, message| failure(code, message).source.unwrap().to_string();
        assert!(!told(ffi::SQLITE_ERROR, "bad JSON path: 'secret'").contains("secret"));
        assert!(told(ffi::SQLITE_ERROR, "no such collation sequence: german").contains("german"));
        assert!(told(ffi::SQLITE_CORRUPT, "malformed database schema (t)").contains("(t)"));
        let range = from_sqlite("read rows", Error::IntegralValueOutOfRange(0, 31_337));
        assert!(!range.source.unwrap().to_string().contains("31337"));
    }
}
