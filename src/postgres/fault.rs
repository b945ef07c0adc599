//! Both drivers' errors turned into faults: class, stable code, remedy, and as much of the server's words as holds no value.
//!
//! HINT and CONTEXT never leave this file, nor does a driver's error itself: its text would carry all of them. Of all DETAILs only that of
//! what is depended on does, which is made of names.

use super::plain::Asked;
use super::sqlstate::{message_may_be_shown, policy_for};
use crate::model::fault::{Fault, FaultClass, out_of_files};
use rustls::CertificateError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use std::error::Error;
use std::fmt;
use std::io;
use tokio_postgres::error::{DbError, Severity};

/// What the server said, less everything that may hold a value. Stands as the source of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub sqlstate: String,
    /// Only where it cannot repeat a value.
    pub message: Option<String>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
    /// The one of a trigger that refused, by its own words or by what it ran.
    pub function: Option<String>,
    pub session: Session,
}

/// What an answer leaves of the session that it came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    Open,
    Ended,
}

/// A driver's complaint, in words without values.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Complaint(String);

const UNREACHABLE: &str = "Start PostgreSQL there, or correct the host and port in target.url.";
const SOCKET_DENIED: &str =
    "The user that liteferry runs as may not open the server's socket; check the directory's rights.";
const RECONNECTS: &str =
    "The connection is made anew; look at the network and the server's log if it stays so.";
const NO_PASSWORD: &str =
    "The server asks for a password: give it in PGPASSWORD, PGPASSFILE or target.password_file.";
const LOGIN: &str =
    "Check the method that pg_hba.conf asks for and channel_binding; an impostor would look like this too.";
const UNGUARDED: &str = "Give the server TLS, or have it ask for scram-sha-256 in pg_hba.conf (and set the password anew under password_encryption = \
                         'scram-sha-256'); or, where the way there is safe, say target.unguarded_password = \"allow\".";
const NO_TLS: &str =
    "Set ssl = on in the server's postgresql.conf; or say tls = \"disable\" where the way there is safe.";
const IDENTITY: &str = "Name the authority that signed the server's certificate in sslrootcert (target.ca_file), and reach the \
                        server by a name that its certificate holds.";
const CLOCK: &str =
    "Renew the server's certificate; or set this machine's clock, if it is the clock that is wrong.";
const TLS_TERMS: &str = "The server may want a client certificate, or another client certificate than this (sslcert, sslkey); or it speaks no TLS newer than 1.1.";
pub const READ_ONLY: &str = "read_only";
const REPORT: &str = "This should not happen: please report it, with the versions of both programs.";
const SESSION_FAILED: &str = "The server fails to open or keep a session, as it does on a full disk; its log says why. The work goes on once it can.";
const MIGRATIONS: &str = "The schema liteferry in the target was made by another version: use that version, or run its cleanup first.";

/// The fault behind an error of the data path.
pub fn of(error: tokio_postgres::Error, doing: impl Into<String>) -> Fault {
    let doing = doing.into();
    if let Some(answer) = error.as_db_error() {
        return of_refusal(Refusal::of_data_path(answer), doing);
    }
    // The driver keeps its kinds to itself: their fixed texts are all that tells them apart.
    let kind = error.to_string();
    let Some(cause) = error.into_source() else {
        return match kind.as_str() {
            "connection closed" | "timeout waiting for server" => lost(doing, Complaint(kind)),
            _ => misuse(doing, kind),
        };
    };
    match (kind.as_str(), cause.downcast_ref::<io::Error>()) {
        ("error performing TLS handshake", _) => of_tls(&*cause, doing),
        ("error connecting to server" | "error communicating with the server", Some(io)) => of_io(io, doing),
        ("authentication error", _) => Fault::fatal("login_refused", doing)
            .with_remedy(LOGIN)
            .with_source(Complaint(tame(&cause.to_string()))),
        ("invalid configuration", _) if cause.to_string() == "password missing" => {
            Fault::fatal("password_missing", doing).with_remedy(NO_PASSWORD)
        }
        _ => misuse(doing, kind),
    }
}

/// Whether the server has plainly said no. FATAL is no answer: a backend that is terminated while it waits for a standby has committed
/// already.
pub fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|answer| answer.parsed_severity() == Some(Severity::Error))
}

/// The fault of a commit: where the server did not plainly say no, what became of it is unknown.
pub fn of_commit(error: tokio_postgres::Error, doing: impl Into<String>) -> Fault {
    let refused = is_refusal(&error);
    let fault = of(error, doing);
    if refused {
        return fault;
    }
    let remedy = policy_for("08007").remedy.to_owned();
    Fault { class: FaultClass::Unknown, code: "commit_unknown", remedy, ..fault }
}

/// The server takes no writes, and was not asked to.
pub fn read_only(doing: impl Into<String>) -> Fault {
    let policy = policy_for("25006");
    Fault::new(policy.class, READ_ONLY, doing).with_remedy(policy.remedy)
}

/// The fault behind an error of the control path.
pub fn of_control(error: sqlx::Error, doing: impl Into<String>) -> Fault {
    let doing = doing.into();
    match error {
        sqlx::Error::Database(answer) => match answer.try_downcast::<PgDatabaseError>() {
            Ok(answer) => of_refusal(Refusal::of_control_path(&answer), doing),
            Err(_) => misuse(doing, "another engine's error".into()),
        },
        sqlx::Error::Io(io) => of_io(&io, doing),
        sqlx::Error::Tls(cause) => of_tls(&*cause, doing),
        sqlx::Error::PoolTimedOut => lost(doing, Complaint("no connection in time".into())),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            lost(doing, Complaint("the pool was closed".into()))
        }
        sqlx::Error::Migrate(error) => of_migration(*error, doing),
        sqlx::Error::RowNotFound => misuse(doing, "a row that must be there is not".into()),
        sqlx::Error::ColumnDecode { index, .. } => {
            misuse(doing, format!("column {index} is of another type"))
        }
        // The texts of the others may repeat what the server sent.
        _ => misuse(doing, "the driver could not go on".into()),
    }
}

/// The fault behind a failed migration of our own schema.
pub fn of_migration(error: MigrateError, doing: impl Into<String>) -> Fault {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => of_control(error, doing),
        other => Fault::fatal("journal_version", doing)
            .with_remedy(MIGRATIONS)
            .with_source(Complaint(other.to_string())),
    }
}

/// What the server said, where it was the server that refused.
pub fn refusal(fault: &Fault) -> Option<&Refusal> {
    fault.source.as_ref()?.downcast_ref()
}

/// An address that does not answer: `cause` says how.
pub fn unreachable(doing: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
    Fault::new(FaultClass::Transient, "postgres_unreachable", doing)
        .with_remedy(UNREACHABLE)
        .with_source(cause)
}

fn of_refusal(refusal: Refusal, doing: String) -> Fault {
    // An internal error that ends a session, as a rule before it has begun, says nothing of what was asked.
    if refusal.session == Session::Ended && refusal.sqlstate == "XX000" {
        return Fault::new(FaultClass::Transient, "session_failed", doing)
            .with_remedy(SESSION_FAILED)
            .with_source(refusal);
    }
    let policy = policy_for(&refusal.sqlstate);
    Fault::new(policy.class, policy.code, doing).with_remedy(policy.remedy).with_source(refusal)
}

fn of_io(error: &io::Error, doing: String) -> Fault {
    use io::ErrorKind;
    if let Some(tls) = rustls_error(error) {
        return of_rustls(tls, doing);
    }
    if let Some(fault) = out_of_files(doing.as_str(), error) {
        return fault;
    }
    let complaint = Complaint(tame(&error.to_string()));
    if error.get_ref().is_some_and(|inner| inner.is::<Asked>()) {
        return Fault::fatal("password_unguarded", doing).with_remedy(UNGUARDED).with_source(complaint);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::NotFound
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable
        | ErrorKind::TimedOut => unreachable(doing, complaint),
        ErrorKind::PermissionDenied => {
            Fault::fatal("socket_denied", doing).with_remedy(SOCKET_DENIED).with_source(complaint)
        }
        _ => lost(doing, complaint),
    }
}

fn of_tls(cause: &(dyn Error + 'static), doing: String) -> Fault {
    if let Some(error) = rustls_error(cause) {
        return of_rustls(error, doing);
    }
    let complaint = Complaint(tame(&cause.to_string()));
    if cause.is::<io::Error>() {
        return lost(doing, complaint);
    }
    Fault::fatal("tls_unavailable", doing).with_remedy(NO_TLS).with_source(complaint)
}

/// A certificate that is not trusted stays so: never retried.
fn of_rustls(error: &rustls::Error, doing: String) -> Fault {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let complaint = Complaint(tame(&error.to_string()));
    let (code, remedy) = match error {
        rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
        ) => ("tls_expired", CLOCK),
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            ("tls_identity", IDENTITY)
        }
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) => ("tls_refused", TLS_TERMS),
        _ => return lost(doing, complaint),
    };
    Fault::fatal(code, doing).with_remedy(remedy).with_source(complaint)
}

fn lost(doing: String, complaint: Complaint) -> Fault {
    Fault::new(FaultClass::Transient, "connection_lost", doing).with_remedy(RECONNECTS).with_source(complaint)
}

fn misuse(doing: String, complaint: String) -> Fault {
    Fault::fatal("driver_failed", doing).with_remedy(REPORT).with_source(Complaint(complaint))
}

/// TLS errors travel inside I/O errors, which hide what they hold from `source`.
fn rustls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Text from outside on one line, without terminal escapes.
fn tame(text: &str) -> String {
    text.chars().map(|next| if next.is_control() { ' ' } else { next }).collect()
}

const DEPENDED_ON: &str = "2BP01";

/// One answer of the server, by either driver.
struct Answer<'a> {
    sqlstate: &'a str,
    message: &'a str,
    detail: Option<&'a str>,
    /// Where in server-side code, or on which line of a COPY, it arose. Such code words its messages freely.
    context: Option<&'a str>,
    names: [Option<&'a str>; 4],
    session: Session,
}

impl Refusal {
    fn of_data_path(answer: &DbError) -> Refusal {
        Refusal::new(&Answer {
            sqlstate: answer.code().code(),
            message: answer.message(),
            detail: answer.detail(),
            context: answer.where_(),
            names: [answer.schema(), answer.table(), answer.column(), answer.constraint()],
            session: match answer.parsed_severity() {
                Some(Severity::Fatal | Severity::Panic) => Session::Ended,
                Some(_) | None => Session::Open,
            },
        })
    }

    fn of_control_path(answer: &PgDatabaseError) -> Refusal {
        Refusal::new(&Answer {
            sqlstate: answer.code(),
            message: answer.message(),
            detail: answer.detail(),
            context: answer.r#where(),
            names: [answer.schema(), answer.table(), answer.column(), answer.constraint()],
            session: match answer.severity() {
                PgSeverity::Fatal | PgSeverity::Panic => Session::Ended,
                _ => Session::Open,
            },
        })
    }

    fn new(answer: &Answer<'_>) -> Refusal {
        let [schema, table, column, constraint] = answer.names.map(|name| name.map(tame));
        let shown = answer.context.is_none() && message_may_be_shown(answer.sqlstate);
        let dependents = answer.detail.filter(|_| answer.sqlstate == DEPENDED_ON);
        let message = shown.then(|| match dependents {
            Some(names) => tame(&format!("{}: {}", answer.message, names.replace('\n', ", "))),
            None => tame(answer.message),
        });
        let (sqlstate, session) = (tame(answer.sqlstate), answer.session);
        let function = answer.context.and_then(outermost_function);
        Refusal { sqlstate, message, schema, table, column, constraint, function, session }
    }
}

impl Refusal {
    /// A CHECK that refuses bears a name, and whoever raises the same names no table.
    fn is_of_no_partition(&self) -> bool {
        let nobody = self.constraint.is_none() && self.function.is_none();
        self.sqlstate == CHECK_VIOLATION && self.table.is_some() && nobody
    }
}

const CHECK_VIOLATION: &str = "23514";

/// The function that a trigger called, by the last line that PostgreSQL itself says of it; what it ran may hold values.
fn outermost_function(context: &str) -> Option<String> {
    let is_of_copy = |line: &&str| line.starts_with("COPY ");
    let last = context.lines().rev().find(|line| !is_of_copy(line))?;
    let (name, place) = last.strip_prefix("PL/pgSQL function ")?.split_once('(')?;
    let is_name =
        |name: &str| name.chars().all(|letter| letter.is_alphanumeric() || "_.$\"".contains(letter));
    (is_name(name) && place.contains(") line ")).then(|| tame(name))
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(out, "{message} (SQLSTATE {})", self.sqlstate)?,
            None if self.is_of_no_partition() => {
                write!(out, "no partition takes the row (SQLSTATE {})", self.sqlstate)?;
            }
            None => write!(out, "SQLSTATE {}", self.sqlstate)?,
        }
        let places = [("constraint", &self.constraint), ("column", &self.column), ("table", &self.table)];
        for (word, name) in places {
            if let Some(name) = name {
                write!(out, ", {word} \"{name}\"")?;
            }
        }
        if let Some(function) = &self.function {
            write!(out, ", function {function}")?;
        }
        Ok(())
    }
}

impl Error for Refusal {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(sqlstate: &str, context: Option<&str>, expected: &str) {
        let answer = Answer {
            sqlstate,
            message: "the canary\u{1b}[31m\nsings",
            detail: Some("view v\ndepends"),
            context,
            names: [Some("s"), Some("t"), None, Some("t_pkey")],
            session: Session::Open,
        };
        let refusal = Refusal::new(&answer);
        assert_eq!(refusal.to_string(), expected);
        let fault = of_refusal(refusal.clone(), "load chunk".into());
        assert_eq!(super::refusal(&fault), Some(&refusal));
    }

    #[test]
    fn what_only_the_driver_can_have_done_is_told_as_that() {
        for error in [sqlx::Error::RowNotFound, sqlx::Error::ColumnNotFound("seq".into())] {
            let fault = of_control(error, "read where the migration stands");
            assert_eq!((fault.code, fault.remedy.as_str()), ("driver_failed", REPORT));
        }
    }

    #[test]
    fn values_stay_out_of_what_is_told() {
        let bare = |sqlstate| format!("SQLSTATE {sqlstate}, constraint \"t_pkey\", table \"t\"");
        let told = |sqlstate| {
            format!("the canary [31m sings (SQLSTATE {sqlstate}), constraint \"t_pkey\", table \"t\"")
        };
        check("23505", None, &bare("23505"));
        check("22P02", None, &bare("22P02"));
        let by = |sqlstate| bare(sqlstate) + ", function f";
        check("P0001", Some("PL/pgSQL function f() line 1 at RAISE"), &by("P0001"));
        check(
            "P0001",
            Some(
                "SQL statement \"the canary\"\nPL/pgSQL function f(text) line 2 at SQL statement\nCOPY t, line 1: \"the canary\"",
            ),
            &by("P0001"),
        );
        check("P0001", Some("SQL statement \"\nPL/pgSQL function the canary(\""), &bare("P0001"));
        check("42501", None, &told("42501"));
        check("2BP01", None, &told("2BP01").replace("sings", "sings: view v, depends"));
        check("2BP01", Some("PL/pgSQL function f() line 1 at SQL statement"), &by("2BP01"));
        check("57014", Some("PL/pgSQL function f() line 1 at RAISE"), &by("57014"));
    }

    #[test]
    fn an_internal_error_that_ends_the_session_is_waited_out() {
        let fault = |sqlstate, session| {
            let answer =
                Answer { sqlstate, message: "", detail: None, context: None, names: [None; 4], session };
            let fault = of_refusal(Refusal::new(&answer), "connect".into());
            (fault.class, fault.code)
        };
        assert_eq!(fault("XX000", Session::Ended), (FaultClass::Transient, "session_failed"));
        assert_eq!(fault("XX000", Session::Open), (FaultClass::Fatal, "server_fault"));
        assert_eq!(fault("XX001", Session::Ended), (FaultClass::Fatal, "data_corrupted"));
    }

    #[test]
    fn errors_below_sql_have_their_fault() {
        let tls =
            |error| io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(error));
        let io = |kind| io::Error::new(kind, "no");
        for (error, class, code) in [
            (io(io::ErrorKind::ConnectionRefused), FaultClass::Transient, "postgres_unreachable"),
            (io(io::ErrorKind::NotFound), FaultClass::Transient, "postgres_unreachable"),
            (io(io::ErrorKind::PermissionDenied), FaultClass::Fatal, "socket_denied"),
            (io(io::ErrorKind::ConnectionReset), FaultClass::Transient, "connection_lost"),
            (io(io::ErrorKind::UnexpectedEof), FaultClass::Transient, "connection_lost"),
            (io::Error::from_raw_os_error(24), FaultClass::Transient, "files_used_up"),
            (io::Error::other(Asked::Md5), FaultClass::Fatal, "password_unguarded"),
            (tls(CertificateError::UnknownIssuer), FaultClass::Fatal, "tls_identity"),
            (tls(CertificateError::NotValidForName), FaultClass::Fatal, "tls_identity"),
            (tls(CertificateError::Expired), FaultClass::Fatal, "tls_expired"),
        ] {
            let fault = of_io(&error, "connect".into());
            assert_eq!((fault.class, fault.code), (class, code), "{error:?}");
            assert!(fault.remedy.ends_with('.'));
        }
        let fault = of_control(sqlx::Error::PoolTimedOut, "ask");
        assert_eq!((fault.class, fault.code), (FaultClass::Transient, "connection_lost"));
    }
}
