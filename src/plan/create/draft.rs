//! A table on its way into the plan: the source's declaration, what was decided of it, and the statements gathered so far.

use super::keys::{Keys, Primary};
use crate::canon::Form;
use crate::model::cell::Class;
use crate::model::finding::Finding;
use crate::model::name::{PgName, ident};
use crate::model::schema::SqliteTable;
use crate::model::types::Type;
use crate::plan::Statement;
use crate::plan::naming::{ColumnNames, Namespace};
use crate::plan::route::Identity;
use crate::plan::survey::{ColumnSurvey, TableSurvey};
use crate::plan::typing::Decision;

pub(super) struct Draft<'a> {
    pub source: &'a SqliteTable,
    pub survey: Option<&'a TableSurvey>,
    pub target: PgName,
    pub columns: ColumnNames,
    pub decisions: Vec<Decision>,
    pub keys: Keys,
    /// The sequence of the identity column, where the table has one.
    pub sequence: Option<Sequence>,
    /// Sets of columns that a foreign key may point to.
    pub unique: Vec<Vec<usize>>,
    /// The names of the table's own constraints.
    pub constraint_names: Namespace,
    pub fills: Vec<String>,
    pub create: Vec<Statement>,
    pub indexes: Vec<Statement>,
    pub checks: Vec<Statement>,
    pub foreign_keys: Vec<Statement>,
    /// By what was made of each rule of the source's, in the order of their words.
    pub made_as: Vec<Option<String>>,
    pub notes: Vec<String>,
    pub findings: Vec<Finding>,
}

/// An identity column and the name of the sequence that fills it.
pub(super) struct Sequence {
    pub column: String,
    pub name: String,
}

/// Bytes of a value from which on a btree entry (2704 at most, compressed) is no longer certain to hold it.
pub(super) const KEY_BYTES_MAX: u64 = 2000;

impl Draft<'_> {
    pub fn column_sql(&self, column: usize) -> String {
        ident(&self.columns.names[column])
    }

    /// The target column that carries the rowid.
    pub fn rowid_sql(&self) -> Option<String> {
        match (self.source.rowid_alias(), &self.keys.primary) {
            (Some(alias), _) => Some(self.column_sql(alias)),
            (None, Primary::Rowid) => Some(ident(&self.columns.rowid)),
            (None, Primary::Columns(_) | Primary::None) => None,
        }
    }

    pub fn ty(&self, column: usize) -> &Type {
        &self.decisions[column].codec.ty
    }

    pub fn column_survey(&self, column: usize) -> Option<&ColumnSurvey> {
        self.survey?.columns.get(column)
    }

    /// Whether the target column refuses NULL: declared or part of the identity, and no value seen would be NULL there.
    pub fn is_not_null(&self, column: usize) -> bool {
        let identifies = match &self.keys.identity {
            Identity::Columns(columns) => columns.contains(&column),
            Identity::WholeRow => false,
        };
        (identifies || self.source.columns[column].not_null) && self.nulls_to_come(column) == 0
    }

    /// Cells in whose place the target will hold NULL, at most, of those seen.
    pub fn nulls_to_come(&self, column: usize) -> u64 {
        let nulls = self.column_survey(column).map_or(0, |survey| survey.count(Class::Null));
        nulls + self.decisions[column].lost
    }

    /// Whether a value was seen that a btree entry may not hold together with the others.
    pub fn is_long(&self, columns: &[usize]) -> bool {
        let bytes = |column: &usize| self.column_survey(*column).map_or(0, |survey| survey.bytes_max);
        columns.iter().filter(|column| self.varies(**column)).map(bytes).sum::<u64>() > KEY_BYTES_MAX
    }

    /// Whether the column's values can be of any length.
    pub fn varies(&self, column: usize) -> bool {
        match self.ty(column) {
            Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext | Type::Bytea => true,
            Type::Json | Type::Jsonb | Type::Array { .. } | Type::Other(_) => true,
            Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 => false,
            Type::Numeric(_) | Type::Date | Type::Time(_) | Type::Timestamp(_) => false,
            Type::Timestamptz(_) | Type::Interval(_) | Type::Uuid | Type::Oid | Type::Enum(_) => false,
            Type::Inet | Type::Cidr | Type::Macaddr => false,
        }
    }

    /// Whether SQLite's collations have a say in the column: it holds texts.
    pub fn is_textual(&self, column: usize) -> bool {
        match self.ty(column) {
            Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext | Type::Json | Type::Enum(_) => {
                true
            }
            Type::Bytea => self.decisions[column].codec.form == Form::OtherClass,
            Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 => false,
            Type::Numeric(_) | Type::Date | Type::Time(_) | Type::Timestamp(_) => false,
            Type::Timestamptz(_) | Type::Interval(_) | Type::Uuid | Type::Oid | Type::Jsonb => false,
            Type::Inet | Type::Cidr | Type::Macaddr | Type::Array { .. } | Type::Other(_) => false,
        }
    }

    pub fn note(&mut self, line: impl Into<String>) {
        self.notes.push(line.into());
    }

    /// Something of the source that the target will do without.
    pub fn drop_with(&mut self, code: &'static str, what: &str, why: &str) {
        self.notes.push(format!("{what}: dropped, {why}"));
        let subject = format!("{} {what}", self.source.name);
        let finding = Finding::warning(code, subject, format!("it is not created: {why}"));
        self.findings
            .push(finding.with_remedy("create what the application needs of it by hand after the copy"));
    }

    pub fn alter(&self, action: &str) -> String {
        format!("alter table {} {action}", self.target.sql())
    }
}
