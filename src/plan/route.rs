//! A route: how one table crosses. All that engines and flows need to know of it.

use crate::canon::Codec;
use crate::model::name::PgName;
use crate::model::schema::{Affinity, KeyOrder};

#[derive(Clone, Debug)]
pub struct Route {
    /// The table's name in SQLite.
    pub source: String,
    pub target: PgName,
    /// In the order in which values travel. Generated columns of an existing target are not among them.
    pub columns: Vec<ColumnRoute>,
    pub scan: ScanOrder,
    pub identity: Identity,
}

#[derive(Clone, Debug)]
pub struct ColumnRoute {
    /// The column's name in SQLite; `None` for the rowid itself, kept in a column of our own.
    pub source: Option<String>,
    pub affinity: Affinity,
    pub target: String,
    /// The target column's own type id, as `record_send` shows it. Zero until the table exists.
    pub type_oid: u32,
    /// SQL spelling of the target type.
    pub type_sql: String,
    pub codec: Codec,
    /// A misfit without a neighbour holds the whole row back, because the target refuses NULL here.
    pub not_null: bool,
}

/// In which order the source reads a table, and so where a chunk may end and the next begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanOrder {
    /// By rowid, under the name SQL reaches it by.
    Rowid { name: String },
    /// By the key of a WITHOUT ROWID table: indexes into the source table's columns with collation and direction, names beside.
    Key { names: Vec<String>, order: Vec<KeyOrder> },
    /// No key at all (a table whose three rowid names are columns): one chunk, one pass.
    Whole,
}

/// By what a row is told from another when both sides are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Indexes into `Route::columns`; unique and never NULL on both sides. A single bigint column allows ranges.
    Columns(Vec<usize>),
    /// The row itself: rows are compared as a multiset.
    WholeRow,
}
