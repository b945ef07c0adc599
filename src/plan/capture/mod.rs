//! Capture: which triggers note, in the application's own transaction, the key of every row that a statement changes.
//!
//! Only keys are logged; the row's present state is read later. To log a key too many is harmless, to miss one is not: where a rule
//! is in doubt, it logs. Trigger texts stay short, because every connection of the application parses them, and hold nothing that
//! SQLite 3.7.17 could not parse but the application's own expressions, because one word it cannot read would lock its library out.

mod guard;
mod names;
mod preflight;
mod probe;
mod triggers;
mod value;

pub use guard::{guards, is_our_guard};
pub use names::{
    CHANGE, CONTROL, has_our_prefix, is_named_as_a_pin, is_our_pin, is_our_table, is_our_trigger, remove_ours,
};
pub use preflight::preflight;
pub use triggers::Inserts;

use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::model::schema::{SqliteSchema, SqliteTable, Storage, is_built_in};
use crate::plan::route::{Identity, Route};

/// What one table needs in the application's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureTable {
    /// Stands in the trigger bodies instead of the name: it outlives RENAME TABLE. From 1 on; 0 is nobody's.
    pub id: i64,
    /// The table's name in SQLite.
    pub table: String,
    pub key: CaptureKey,
    pub triggers: Vec<Trigger>,
    pub inserts: Inserts,
    /// An index that never holds a row: VACUUM would else number the rows anew.
    pub pin: Option<Pin>,
}

/// What of a row is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureKey {
    /// The rowid, under the name SQL reaches it by.
    Rowid { name: String },
    /// Columns by their names in SQLite. `rowid` is logged after them where a column may hold NULL, which names no row; it counts
    /// only where one of them is NULL, and may be -1 elsewhere.
    Columns { names: Vec<String>, rowid: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub name: String,
    /// Begins with `create trigger `.
    pub sql: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub name: String,
    /// Begins with `create index `.
    pub sql: String,
}

impl CaptureKey {
    /// How many columns of the log it fills.
    pub fn width(&self) -> usize {
        match self {
            CaptureKey::Rowid { .. } => 1,
            CaptureKey::Columns { names, rowid } => names.len() + usize::from(rowid.is_some()),
        }
    }
}

/// The key by which a table's changes are logged: the one by which the route tells rows apart. `None` where that is the whole row, or
/// where NULLs in the key would leave rows without a name.
pub fn key_of(route: &Route, table: &SqliteTable) -> Option<CaptureKey> {
    let Identity::Columns(columns) = &route.identity else { return None };
    let rowid = rowid_name(table);
    let sources: Option<Vec<usize>> =
        columns.iter().map(|at| table.column(route.columns[*at].source.as_deref()?)).collect();
    let Some(sources) = sources else {
        return rowid.map(|name| CaptureKey::Rowid { name });
    };
    if let [column] = sources[..]
        && table.rowid_alias() == Some(column)
    {
        return rowid.map(|name| CaptureKey::Rowid { name });
    }
    let may_be_null =
        |column: &usize| !table.columns[*column].not_null && table.rowid_alias() != Some(*column);
    let names = sources.iter().map(|column| table.columns[*column].name.clone()).collect();
    if !sources.iter().any(may_be_null) {
        return Some(CaptureKey::Columns { names, rowid: None });
    }
    match table.storage {
        Storage::Rowid { .. } => rowid.map(|rowid| CaptureKey::Columns { names, rowid: Some(rowid) }),
        Storage::WithoutRowid { .. } => None,
    }
}

/// What to put into the database so that no change of the table's rows goes unlogged, or every reason why that cannot be done.
/// `schema` gives the application's triggers; our own objects may be in it.
pub fn capture_table(
    schema: &SqliteSchema,
    table: &SqliteTable,
    key: CaptureKey,
    id: i64,
) -> Result<CaptureTable, Vec<Finding>> {
    let mut blockers = probe::blockers(table);
    blockers.extend(incomparable(table, &key));
    if !blockers.is_empty() {
        return Err(blockers);
    }
    let inserts = preflight::cuts_inserts_off(schema, table);
    let updates = preflight::precedes_updates(schema, table);
    let triggers = triggers::of_table(table, &key, id, (inserts, updates));
    Ok(CaptureTable { id, table: table.name.clone(), triggers, inserts, pin: pin(table, &key, id), key })
}

/// A changed row is looked for by its key, and so as the key's columns compare.
fn incomparable(table: &SqliteTable, key: &CaptureKey) -> Option<Finding> {
    let CaptureKey::Columns { names, .. } = key else { return None };
    let mut columns = names.iter().filter_map(|name| table.column(name)).map(|at| &table.columns[at]);
    let column = columns.find(|column| !is_built_in(&column.collation))?;
    let text = format!(
        "key column {} compares by collation {}, which only the application has: a changed row could not be found again",
        ident(&column.name),
        ident(&column.collation)
    );
    let remedy = "leave the table out by tables.exclude, or give the column a collation of SQLite's own (BINARY, NOCASE, RTRIM)";
    Some(Finding::blocker("capture_collation", &table.name, text).with_remedy(remedy))
}

/// The log. It has no constraint but its rowid: the conflict policy of the application's statement overrides any inside a trigger, so
/// that a constraint would drop log rows or fail the statement. Untyped columns keep every storage class.
pub fn log_table_sql(key_columns: usize) -> String {
    let keys: String = (0..key_columns.max(1)).map(|at| format!(",k{at}")).collect();
    format!("create table {CHANGE}(seq integer primary key,tbl,nonce{keys})")
}

/// One row: whose capture it is, which life of the log, which side takes the writes, and where the way back stands.
pub fn control_table_sql() -> String {
    let later: String =
        names::CONTROL_LATER.iter().map(|(name, declared)| format!(",{name} {declared}")).collect();
    format!(
        "create table {CONTROL}(one integer primary key check (one = 1),migration text not null,epoch integer not null{later})"
    )
}

/// What a control table that has only these columns still lacks.
pub fn control_columns_sql(columns: &[String]) -> Vec<String> {
    let lacking = names::CONTROL_LATER.iter().filter(|(name, _)| columns.iter().all(|column| column != name));
    lacking.map(|(name, declared)| format!("alter table {CONTROL} add column {name} {declared}")).collect()
}

/// Each key column of the log: `k0,k1`.
pub fn log_key_columns(width: usize) -> String {
    (0..width).map(|at| format!("k{at}")).collect::<Vec<_>>().join(",")
}

/// The name by which SQL reaches the rowid, if any.
fn rowid_name(table: &SqliteTable) -> Option<String> {
    match &table.storage {
        Storage::Rowid { rowid: Some(name), .. } => Some((*name).to_owned()),
        Storage::Rowid { rowid: None, alias } => alias.map(|alias| table.columns[alias].name.clone()),
        Storage::WithoutRowid { .. } => None,
    }
}

/// VACUUM keeps rowids where there is an INTEGER PRIMARY KEY or any index.
fn pin(table: &SqliteTable, key: &CaptureKey, id: i64) -> Option<Pin> {
    let by_rowid = match key {
        CaptureKey::Rowid { .. } => true,
        CaptureKey::Columns { rowid, .. } => rowid.is_some(),
    };
    let name = names::pin_name(id);
    let indexed = table.indexes.iter().any(|index| !index.name.eq_ignore_ascii_case(&name));
    if !by_rowid || table.rowid_alias().is_some() || indexed {
        return None;
    }
    let column = table.columns.iter().find(|column| column.generated.is_none())?;
    let (table, column) = (ident(&table.name), ident(&column.name));
    let sql = format!("create index {name} on {table}({column} collate binary){}", names::PIN_TAIL);
    Some(Pin { name, sql })
}

#[cfg(test)]
mod tests;
