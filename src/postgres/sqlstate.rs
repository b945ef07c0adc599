//! What is done about each SQLSTATE: one table, the longest matching prefix decides.
//!
//! Pure. It knows codes and never messages, so nothing of a row can come through here.

use crate::model::fault::FaultClass::{self, Data, Fatal, Transient, Unknown};

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A whole SQLSTATE, or the two letters of its class.
    pub prefix: &'static str,
    pub class: FaultClass,
    /// Our stable, documented word.
    pub code: &'static str,
    pub remedy: &'static str,
}

const fn policy(prefix: &'static str, class: FaultClass, code: &'static str, remedy: &'static str) -> Policy {
    Policy { prefix, class, code, remedy }
}

const COMES_BACK: &str = "PostgreSQL is stopping or starting; the work goes on once it answers again.";
const RECONNECTS: &str =
    "The connection is made anew; look at the network and the server's log if it stays so.";
const LOOKED_UP: &str = "The answer to a commit was lost; what was committed is read on a new connection.";
const IN_THE_WAY: &str = "Another session holds a lock that is needed; see pg_stat_activity and pg_locks.";
const STATE: &str = "What the sentence names does not allow that as it is. A published table needs a primary key or another replica identity: alter \
                     table … replica identity using index …, or full; or take it out of the publication. A daemon then goes on by itself.";
pub const POOLER: &str = "A pooler in transaction or statement mode hands out foreign sessions: connect to PostgreSQL itself, or \
                      to a pool in session mode.";
const LOGIN: &str = "Check that the role exists and may log in, and what pg_hba.conf asks of it from this host: a method, a client \
    certificate, or TLS (sslmode).";
const PASSWORD: &str = "Check the user, and the password in PGPASSWORD, PGPASSFILE or target.password_file.";
const DRIFT: &str =
    "The target's schema is not what the plan was made for; run `liteferry check` to see the difference.";
const FULL: &str = "Free or add space on the disk of PostgreSQL's data directory; the work then goes on.";
const DAMAGED: &str = "PostgreSQL's own files are damaged: stop writing to it, and restore it from a backup.";
const VALUE: &str =
    "The target refused a value; `liteferry check` lists the values that do not fit, with their keys.";
const RULE: &str = "A constraint or trigger of the target refused a row, or an event trigger a statement; the sentence names it. `liteferry check` lists rows of \
                    SQLite that break a foreign key. Where it is a key by which a table that is not followed points at one that is, its owner takes it \
                    away until the writes have moved (alter table … drop constraint …).";
const REPORT: &str =
    "This should not happen: please report it, with the SQLSTATE and the versions of both programs.";
const FORMAT: &str = "Before PostgreSQL 14 a numeric holds no infinity: make the column double precision. Otherwise please report it, with \
                      the SQLSTATE and the versions of both programs.";
const NAME: &str = "Drop or rename what stands under that name; a daemon then goes on by itself. A copy that is yet to begin may take another \
                    target.schema instead.";
const SYNTAX: &str = "A function of the target's own may say so, such as that of an event trigger, a domain or an index: mend it, the server's \
                      log names it. Otherwise please report it, with the versions of both programs.";
const SCHEMA_GONE: &str = "Put the schema back with its tables, under the name that target.schema gives; a daemon then goes on by itself. If it is \
                           lost, `liteferry detach`, run `drop schema liteferry cascade` in PostgreSQL, and begin anew.";
const ASK_DBA: &str =
    "Look up the SQLSTATE in PostgreSQL's manual, appendix A, and the server's log at this moment.";

/// Anything that the table does not name.
const OTHERWISE: Policy = policy("", Fatal, "postgres_refused", ASK_DBA);

/// In the order of the codes; a whole code stands before its class.
const POLICIES: &[Policy] = &[
    policy("08", Transient, "connection_lost", RECONNECTS),
    policy("08007", Unknown, "commit_unknown", LOOKED_UP),
    policy(
        "0A",
        Fatal,
        "unsupported",
        "The server cannot do what is asked; check its version and its extensions.",
    ),
    policy("22", Data, "value_refused", VALUE),
    policy(
        "2200H",
        Fatal,
        "sequence_exhausted",
        "Widen the column to bigint and the sequence by `alter sequence … as bigint`.",
    ),
    policy("22P03", Fatal, "binary_format_refused", FORMAT),
    policy("23", Data, "constraint_refused", RULE),
    policy(
        "25006",
        Transient,
        "read_only",
        "Point the target at the primary server, or end its read-only mode.",
    ),
    policy("25P02", Fatal, "transaction_aborted", REPORT),
    policy("25P03", Transient, "idle_timeout", "The server ended an idle transaction; it is begun anew."),
    policy("25P04", Transient, "transaction_timeout", "Raise or lift transaction_timeout for this role."),
    policy("26000", Fatal, "pooler_detected", POOLER),
    policy("28", Fatal, "login_refused", LOGIN),
    policy("28P01", Fatal, "wrong_password", PASSWORD),
    policy(
        "2BP01",
        Fatal,
        "still_depended_on",
        "Drop what the message names, such as a view, or define it anew without this; a daemon then goes on by itself.",
    ),
    policy("3D000", Fatal, "no_such_database", "Create the database, or correct its name in target.url."),
    policy("3F000", Fatal, "no_such_schema", SCHEMA_GONE),
    policy("40", Transient, "serialization_failure", "The transaction is begun anew."),
    policy("40003", Unknown, "commit_unknown", LOOKED_UP),
    policy("40P01", Transient, "deadlock", IN_THE_WAY),
    policy("42", Fatal, "schema_drift", DRIFT),
    policy(
        "42501",
        Fatal,
        "privilege_missing",
        "Grant what the message names to the role (bypassrls, where it names row-level security, or switch that off); `liteferry check` lists all of it.",
    ),
    policy("42601", Fatal, "statement_refused", SYNTAX),
    policy("42710", Fatal, "name_taken", NAME),
    policy("42723", Fatal, "name_taken", NAME),
    policy(
        "42P04",
        Fatal,
        "name_taken",
        "Drop or rename what stands under that name, or choose another database.",
    ),
    policy("42P05", Fatal, "pooler_detected", POOLER),
    policy("42P06", Fatal, "name_taken", NAME),
    policy("42P07", Fatal, "name_taken", NAME),
    policy(
        "428C9",
        Fatal,
        "generated_always",
        "The column takes no values of ours; plan anew with `liteferry check`.",
    ),
    policy("44000", Data, "view_check_refused", RULE),
    policy(
        "53",
        Transient,
        "out_of_resources",
        "The server is short of a resource; the message says of which.",
    ),
    policy("53100", Transient, "disk_full", FULL),
    policy(
        "53200",
        Transient,
        "out_of_memory",
        "Give the server memory, or lower its work_mem and maintenance_work_mem.",
    ),
    policy(
        "53300",
        Transient,
        "too_many_connections",
        "Raise max_connections or the role's limit, or close other sessions.",
    ),
    policy("54", Fatal, "limit_exceeded", "A limit of PostgreSQL is exceeded; the message says which."),
    policy("54000", Data, "value_too_large", VALUE),
    policy("54001", Data, "value_too_deep", VALUE),
    policy("55000", Fatal, "state_refused", STATE),
    policy("55006", Transient, "object_in_use", IN_THE_WAY),
    policy("55P03", Transient, "lock_timeout", IN_THE_WAY),
    policy("57", Transient, "interrupted", COMES_BACK),
    policy(
        "57014",
        Transient,
        "statement_cancelled",
        "It took longer than statement_timeout, or somebody cancelled it.",
    ),
    policy("57P01", Transient, "postgres_restarting", COMES_BACK),
    policy("57P02", Transient, "postgres_restarting", COMES_BACK),
    policy("57P03", Transient, "postgres_restarting", COMES_BACK),
    policy(
        "57P04",
        Fatal,
        "no_such_database",
        "The database was dropped while in use; restore it, or start anew.",
    ),
    policy("57P05", Transient, "idle_timeout", "The server ended an idle session; it is opened anew."),
    policy("58", Fatal, "server_fault", "The server's own files or system failed it; see its log."),
    policy("58030", Transient, "server_io", "The server cannot read or write its files; see its log."),
    policy("P0", Data, "trigger_refused", RULE),
    policy("XX", Fatal, "server_fault", "The server failed in itself; see its log."),
    policy("XX001", Fatal, "data_corrupted", DAMAGED),
    policy("XX002", Fatal, "data_corrupted", DAMAGED),
];

/// Classes whose messages speak of names and states. Messages of all others may repeat a value.
const SPEAKS_OF_NAMES: [&str; 18] = [
    "08", "0A", "25", "26", "28", "2B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "F0", "XX",
    "3B",
];

pub fn policy_for(sqlstate: &str) -> Policy {
    POLICIES
        .iter()
        .filter(|policy| sqlstate.starts_with(policy.prefix))
        .max_by_key(|policy| policy.prefix.len())
        .copied()
        .unwrap_or(OTHERWISE)
}

/// Whether a message under this code can hold nothing of a row.
pub fn message_may_be_shown(sqlstate: &str) -> bool {
    SPEAKS_OF_NAMES.iter().any(|class| sqlstate.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_policy() {
        for (sqlstate, class, code) in [
            ("08000", Transient, "connection_lost"),
            ("08006", Transient, "connection_lost"),
            ("08007", Unknown, "commit_unknown"),
            ("0A000", Fatal, "unsupported"),
            ("22001", Data, "value_refused"),
            ("22003", Data, "value_refused"),
            ("22021", Data, "value_refused"),
            ("22P02", Data, "value_refused"),
            ("22P03", Fatal, "binary_format_refused"),
            ("2200H", Fatal, "sequence_exhausted"),
            ("23502", Data, "constraint_refused"),
            ("23503", Data, "constraint_refused"),
            ("23505", Data, "constraint_refused"),
            ("23514", Data, "constraint_refused"),
            ("23P01", Data, "constraint_refused"),
            ("25006", Transient, "read_only"),
            ("25P02", Fatal, "transaction_aborted"),
            ("25P03", Transient, "idle_timeout"),
            ("25P04", Transient, "transaction_timeout"),
            ("26000", Fatal, "pooler_detected"),
            ("28000", Fatal, "login_refused"),
            ("28P01", Fatal, "wrong_password"),
            ("2BP01", Fatal, "still_depended_on"),
            ("3D000", Fatal, "no_such_database"),
            ("3F000", Fatal, "no_such_schema"),
            ("40001", Transient, "serialization_failure"),
            ("40003", Unknown, "commit_unknown"),
            ("40P01", Transient, "deadlock"),
            ("42501", Fatal, "privilege_missing"),
            ("42601", Fatal, "statement_refused"),
            ("42703", Fatal, "schema_drift"),
            ("42P01", Fatal, "schema_drift"),
            ("42P05", Fatal, "pooler_detected"),
            ("42P07", Fatal, "name_taken"),
            ("428C9", Fatal, "generated_always"),
            ("44000", Data, "view_check_refused"),
            ("53100", Transient, "disk_full"),
            ("53200", Transient, "out_of_memory"),
            ("53300", Transient, "too_many_connections"),
            ("53400", Transient, "out_of_resources"),
            ("54000", Data, "value_too_large"),
            ("54001", Data, "value_too_deep"),
            ("54011", Fatal, "limit_exceeded"),
            ("55000", Fatal, "state_refused"),
            ("55006", Transient, "object_in_use"),
            ("55P03", Transient, "lock_timeout"),
            ("57014", Transient, "statement_cancelled"),
            ("57P01", Transient, "postgres_restarting"),
            ("57P02", Transient, "postgres_restarting"),
            ("57P03", Transient, "postgres_restarting"),
            ("57P04", Fatal, "no_such_database"),
            ("58030", Transient, "server_io"),
            ("58P01", Fatal, "server_fault"),
            ("P0001", Data, "trigger_refused"),
            ("XX000", Fatal, "server_fault"),
            ("XX001", Fatal, "data_corrupted"),
            ("XX002", Fatal, "data_corrupted"),
            ("HV000", Fatal, "postgres_refused"),
            ("", Fatal, "postgres_refused"),
        ] {
            let policy = policy_for(sqlstate);
            assert_eq!((policy.class, policy.code), (class, code), "{sqlstate}");
        }
    }

    #[test]
    fn every_policy_is_reached_and_says_what_to_do() {
        for policy in POLICIES {
            assert_eq!(policy_for(policy.prefix), *policy, "{}", policy.prefix);
            assert!(policy.remedy.ends_with('.') && policy.code.is_ascii(), "{}", policy.prefix);
        }
    }

    #[test]
    fn messages_that_may_hold_values_are_kept_back() {
        for sqlstate in ["22P02", "23505", "P0001", "44000", "38001", "39000", "21000", "HV000", ""] {
            assert!(!message_may_be_shown(sqlstate), "{sqlstate}");
        }
        assert!(message_may_be_shown("42501"));
    }
}
