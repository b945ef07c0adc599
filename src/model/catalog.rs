//! What a PostgreSQL database holds, as its catalog tells it. Read by `postgres/catalog`, judged by `plan`.

use super::name::PgName;
use super::types::Type;

#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// `server_version_num`, for example 150018.
    pub version_num: u32,
    pub server_encoding: String,
    pub database: String,
    pub role: String,
    pub superuser: bool,
    /// Whether the role may `set session_replication_role`.
    pub may_set_replication_role: bool,
    pub may_create_in_schema: bool,
    pub schema_exists: bool,
    /// Whether the role may make what liteferry remembers a copy by, in a schema of that name.
    pub may_keep_state: bool,
    pub read_only: bool,
    /// Names of event triggers that fire for our statements too.
    pub event_triggers: Vec<String>,
    /// The schema of the extension citext, as SQL names it, where it is there.
    pub citext_schema: Option<String>,
    /// `schema` names the one that tables are created in or mapped to.
    pub schema: String,
    /// Every table, partitioned table and view of that schema.
    pub tables: Vec<PgTable>,
    /// Every relation name of that schema (tables, indexes, sequences, views, types of tables).
    pub relation_names: Vec<String>,
    pub sequences: Vec<PgSequence>,
    /// Foreign keys of other schemas' tables that point into this schema.
    pub foreign_keys_from_outside: Vec<PgConstraint>,
}

#[derive(Clone, Debug)]
pub struct PgTable {
    pub name: PgName,
    pub kind: RelationKind,
    /// Its rows come and go by the table that it is a part of.
    pub is_partition: bool,
    /// Tables of its schema in which its rows are seen too: what it inherits from, or is a partition of.
    pub parents: Vec<String>,
    pub owned: bool,
    pub columns: Vec<PgColumn>,
    pub constraints: Vec<PgConstraint>,
    pub indexes: Vec<PgIndex>,
    pub triggers: Vec<PgTrigger>,
    /// Names of rewrite rules other than a view's own.
    pub rules: Vec<String>,
    /// Quoted names of the table, or of parts of it, that are empty after a crash.
    pub unlogged: Vec<String>,
    /// Quoted names of the table, or of parts of it, that are published without a replica identity.
    pub unidentified: Vec<String>,
    /// Row security is on and holds for the role.
    pub row_security: bool,
    pub row_security_forced: bool,
    /// Of SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES: those that the role lacks.
    pub missing_privileges: Vec<&'static str>,
    pub has_rows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    Partitioned,
    View,
    MaterializedView,
    Foreign,
}

#[derive(Clone, Debug)]
pub struct PgColumn {
    pub name: String,
    pub ty: Type,
    /// The column's own type id (a domain's, an enum's, an array's): `record_send` shows this one.
    pub type_oid: u32,
    /// `format_type`, for people.
    pub type_name: String,
    /// Schema-qualified domain name, where the type is one.
    pub domain: Option<String>,
    pub domain_has_checks: bool,
    pub not_null: bool,
    /// `pg_get_expr` of the default or of the generation expression.
    pub default: Option<String>,
    pub identity: Identity,
    pub generated: bool,
    /// False for a column whose collation is nondeterministic.
    pub collation_deterministic: bool,
    /// The sequence that fills the column: owned, identity, found in a `nextval` default, or named after it and put to no other use.
    pub sequence: Option<PgName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    No,
    Always,
    ByDefault,
}

#[derive(Clone, Debug)]
pub struct PgConstraint {
    pub table: PgName,
    /// Whether the table is the role's.
    pub owned: bool,
    pub name: String,
    pub kind: ConstraintKind,
    /// `pg_get_constraintdef`.
    pub definition: String,
    /// `comment on constraint`: it goes when the constraint is dropped.
    pub comment: Option<String>,
    /// Columns by name, in key order.
    pub columns: Vec<String>,
    /// For a foreign key: the table it points to.
    pub parent: Option<PgName>,
    pub deferrable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    Primary,
    Unique,
    Check,
    Foreign,
    Exclusion,
    /// Constraint triggers and whatever later versions add.
    Other,
}

#[derive(Clone, Debug)]
pub struct PgIndex {
    pub name: PgName,
    pub unique: bool,
    pub primary: bool,
    /// `pg_get_indexdef`.
    pub definition: String,
    /// Plain key columns by name; `None` where a part is an expression.
    pub columns: Option<Vec<String>>,
    pub partial: bool,
    pub valid: bool,
    pub nulls_not_distinct: bool,
}

#[derive(Clone, Debug)]
pub struct PgTrigger {
    pub name: String,
    pub before: bool,
    /// `tgenabled`: O, D, R or A.
    pub enabled: char,
}

#[derive(Clone, Debug)]
pub struct PgSequence {
    pub name: PgName,
    pub last_value: Option<i64>,
    pub max: i64,
    pub increment: i64,
    /// Of SELECT and UPDATE, which setting it needs: those that the role lacks.
    pub missing_privileges: Vec<String>,
    /// The column that owns or uses it, and holds its numbers.
    pub column: Option<(PgName, String)>,
    /// A column that puts its numbers into something else, `'INV-' || nextval(…)`: its values do not tell how far it is.
    pub part_of: Option<(PgName, String)>,
}

impl PgColumn {
    /// Whether the largest value tells how far a sequence is.
    pub fn is_number(&self) -> bool {
        matches!(
            self.ty,
            Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric(_) | Type::Float4 | Type::Float8
        )
    }
}

impl Catalog {
    pub fn table(&self, name: &str) -> Option<&PgTable> {
        self.tables.iter().find(|table| table.name.name == name)
    }
}
