//! The plan: SQLite's schema and values (and the target's schema, and the operator's overrides) to what is created and how each
//! column crosses. Layer 1. Pure: it reads no database and writes none.

pub mod capture;
mod conflicts;
mod costs;
pub mod create;
pub mod default;
pub mod existing;
pub mod expr;
mod family;
mod feeder;
pub mod habit;
pub mod handover;
pub mod looser;
mod naming;
pub mod narrower;
pub mod numbers;
pub mod open_to_null;
pub mod overrides;
pub mod packer;
mod parse;
pub mod reference;
pub mod referring;
pub mod renamed;
pub mod reverse;
pub mod route;
pub mod rules;
#[cfg(test)]
pub(crate) mod samples;
mod spelling;
pub mod survey;
pub mod typing;
pub mod unmatched;
pub mod unspelt;
pub mod version;
pub mod view;
pub mod widen;

pub use parse::number_in;

use crate::model::finding::{Finding, Severity};
use crate::model::name::PgName;
use numbers::Numbers;
use overrides::ExistingRows;
use route::Route;
use rules::Rule;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// We translate the schema.
    Create,
    /// The target's schema is law; values adapt to it.
    Existing,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Mode::Create => "create",
            Mode::Existing => "existing",
        }
    }
}

#[derive(Debug)]
pub struct Plan {
    pub mode: Mode,
    /// The target's schema.
    pub schema: String,
    pub tables: Vec<TablePlan>,
    /// After everything else; one that is refused is reported, never fatal.
    pub views: Vec<Statement>,
    pub sequences: Vec<SequencePlan>,
    /// What of the target is taken away before the load and given back after it, in this order.
    pub suspended: Vec<Suspended>,
    /// `existing` mode: what becomes of rows that are already there.
    pub existing_rows: ExistingRows,
    pub renamed: Vec<Renamed>,
    pub findings: Vec<Finding>,
}

#[derive(Debug)]
pub struct TablePlan {
    pub route: Route,
    pub role: TableRole,
    /// Rows seen by the survey, or SQLite's estimate without one.
    pub rows: u64,
    /// By the route's columns, what their definition says after the type: a default, an identity, or nothing.
    pub fills: Vec<String>,
    /// Before the load, in order (`create` mode: CREATE TABLE; empty in `existing` mode).
    pub create: Vec<Statement>,
    /// After the load: primary key, unique constraints, indexes. Independent of each other, so they run in parallel.
    pub indexes: Vec<Statement>,
    /// After the indexes of all tables.
    pub checks: Vec<Statement>,
    /// After the checks of all tables; while changes are followed, not before the switch: rows come in no order they could hold in.
    pub foreign_keys: Vec<Statement>,
    /// What of the indexes and checks is the source's own (`create` mode).
    pub rules: Vec<Rule>,
    /// How each column, index, constraint and default crosses, one line each, for people.
    pub notes: Vec<String>,
}

impl TablePlan {
    pub fn after_load(&self) -> impl Iterator<Item = &Statement> {
        self.indexes.iter().chain(&self.checks).chain(&self.foreign_keys)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRole {
    Copied,
    /// A migration tool's own bookkeeping: compared, never written.
    Compared,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it makes, for progress and findings: `index "ix_a" on "t"`.
    pub what: String,
    pub sql: String,
    /// Tried where the data refuses `sql`: a constraint NOT VALID, a hash index for values too long.
    pub fallback: Option<String>,
    /// Whether a refusal of both ends the migration, or is a warning.
    pub required: bool,
}

/// The name of what a statement says that it makes.
fn name_of(made: &str) -> Option<String> {
    let (_, rest) = made.split_once('"')?;
    let whole = rest.replace("\"\"", "\u{0}");
    let (name, _) = whole.split_once('"')?;
    Some(name.replace('\u{0}', "\""))
}

impl Statement {
    /// Whatever refuses it ends the migration.
    pub fn required(what: String, sql: String) -> Statement {
        Statement { what, sql, fallback: None, required: true }
    }

    /// The name of what it makes.
    pub fn made(&self) -> Option<String> {
        name_of(&self.what)
    }

    /// What is being done while it runs.
    pub fn making(&self) -> String {
        format!("make {}", self.what)
    }
}

/// A sequence to be set after the load so that no value is issued twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequencePlan {
    pub source: SequenceSource,
    /// `None`: the one that `pg_get_serial_sequence` finds for the column.
    pub sequence: Option<PgName>,
    /// SQLite's own counter (`sqlite_sequence.seq`) or the operator's setting; the sequence never falls below it.
    pub floor: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequenceSource {
    /// The largest number in a target column.
    Column(Numbers),
    /// Set by the operator; owned by no column.
    Setting,
}

/// A constraint or trigger of the target that would disturb the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspended {
    pub table: PgName,
    pub name: String,
    /// The same where it is a constraint; nothing where it is a trigger.
    pub constraint: Option<String>,
    pub suspend: String,
    pub restore: Statement,
}

/// A name that PostgreSQL could not take as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// `table`, `column`, `index`, `constraint` or `view`.
    pub kind: &'static str,
    /// The table a column belongs to; empty otherwise.
    pub table: String,
    pub source: String,
    pub target: String,
}

impl Plan {
    pub fn blockers(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Blocker)
    }
}

/// A column that SQLite computes whenever it is read, and cannot compute for us.
fn uncomputable(column: &str, why: &str) -> Finding {
    let text = format!(
        "only the application can compute this column ({why}): it is left out, and what it is computed from is copied"
    );
    let remedy = "let the application fill such a column in PostgreSQL, if it needs one";
    Finding::warning("column_uncomputable", column, text).with_remedy(remedy)
}
