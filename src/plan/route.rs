//! A route: how one table crosses. All that engines and flows need to know of it.

use crate::canon::{Codec, Form, Zone};
use crate::diff::RowDigest;
use crate::model::chunk::tuple_cells;
use crate::model::name::PgName;
use crate::model::schema::{
    Affinity, IndexPart, IndexTerm, KeyOrder, SqliteIndex, SqliteTable, Storage, is_built_in,
};
use crate::model::types::Type;

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
    /// By rowid, under the name SQL reaches it by. `column`: the route's column that carries the rowid into the target (an INTEGER
    /// PRIMARY KEY, or the rowid kept in a column of our own), if one does.
    Rowid { name: String, column: Option<usize> },
    /// By the key of a WITHOUT ROWID table: indexes into the source table's columns with collation and direction, names beside.
    Key { names: Vec<String>, order: Vec<KeyOrder> },
    /// No key that tells how far a reading has come (a table whose three rowid names are columns, a key in an order that only the
    /// application knows): one chunk, one pass.
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

impl ColumnRoute {
    /// The rowid, in a column of our own.
    pub fn of_rowid(target: String) -> ColumnRoute {
        let codec = Codec::new(Type::Int8, Form::Native, Zone::default());
        ColumnRoute {
            source: None,
            affinity: Affinity::Integer,
            target,
            type_oid: codec.ty.builtin_oid().unwrap_or(0),
            type_sql: codec.ty.sql(),
            codec,
            not_null: true,
        }
    }
}

impl Route {
    /// The columns read as they were, where values have come back into them.
    #[must_use]
    pub fn as_came_back_to(mut self, before: &Route) -> Route {
        for column in &mut self.columns {
            let known = before.columns.iter().find(|known| known.source == column.source);
            if let Some(known) = known.filter(|known| known.affinity == column.affinity) {
                column.codec = column.codec.clone().as_came_back_to(&known.codec);
            }
        }
        self
    }

    /// The column by which both sides can be asked for a stretch of the table: it carries the rowid, and is the row's whole identity.
    pub fn rowid_identity(&self) -> Option<usize> {
        let ScanOrder::Rowid { column: Some(column), .. } = self.scan else { return None };
        (self.identity == Identity::Columns(vec![column])).then_some(column)
    }
}

impl ScanOrder {
    /// What the declaration alone vouches for, whatever the values. It carries no rowid into the target.
    pub fn declared(table: &SqliteTable) -> ScanOrder {
        let by_rowid = |name: &str| ScanOrder::Rowid { name: name.to_owned(), column: None };
        match &table.storage {
            Storage::Rowid { rowid: Some(name), .. } => by_rowid(name),
            Storage::Rowid { rowid: None, alias: Some(alias) } => by_rowid(&table.columns[*alias].name),
            Storage::Rowid { rowid: None, alias: None } => table
                .indexes
                .iter()
                .find_map(|index| certain_order(table, index))
                .map_or(ScanOrder::Whole, |order| ScanOrder::by_key(table, order)),
            Storage::WithoutRowid { order } => ScanOrder::by_key(table, order.clone()),
        }
    }

    /// What comes after a value under a collation of the application's own is not known: such a table is read in one pass.
    pub fn by_key(table: &SqliteTable, order: Vec<KeyOrder>) -> ScanOrder {
        if !order.iter().all(|key| is_built_in(&key.collation)) {
            return ScanOrder::Whole;
        }
        let names = order.iter().map(|key| table.columns[key.column].name.clone()).collect();
        ScanOrder::Key { names, order }
    }
}

/// The order of an index in which every row has one place: unique, over all rows, without NULL, compared as SQLite itself compares.
fn certain_order(table: &SqliteTable, index: &SqliteIndex) -> Option<Vec<KeyOrder>> {
    let of_part = |part: &IndexPart| match part.term {
        IndexTerm::Column(column) if table.columns[column].not_null && is_built_in(&part.collation) => {
            Some(KeyOrder { column, collation: part.collation.clone(), descending: part.descending })
        }
        IndexTerm::Column(_) | IndexTerm::Rowid | IndexTerm::Expression(_) => None,
    };
    let certain = index.unique && index.predicate.is_none();
    if certain { index.parts.iter().map(of_part).collect() } else { None }
}

impl Identity {
    /// The canonical bytes of the key columns, or of the digest where the row is its own identity: what both sides match rows by.
    pub fn key_of(&self, tuple: &[u8], digest: RowDigest) -> Vec<u8> {
        match self {
            Identity::WholeRow => [digest.0.to_be_bytes(), digest.1.to_be_bytes()].concat(),
            Identity::Columns(columns) => {
                let cells: Vec<Option<&[u8]>> = tuple_cells(tuple).collect();
                let mut key = Vec::new();
                for column in columns {
                    let bytes = cells[*column].unwrap_or_default();
                    key.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
                    key.extend_from_slice(bytes);
                }
                key
            }
        }
    }

    /// The key columns' canonical bytes, out of such a key. `None` where it is none of so many columns.
    pub fn parts_of(key: &[u8], columns: usize) -> Option<Vec<&[u8]>> {
        let (mut parts, mut rest) = (Vec::with_capacity(columns), key);
        for _ in 0..columns {
            let (length, tail) = rest.split_first_chunk::<8>()?;
            let (part, tail) = tail.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
            parts.push(part);
            rest = tail;
        }
        rest.is_empty().then_some(parts)
    }
}
