//! Builders of SQLite schemas, surveys and routes for tests. Never part of the program.

use crate::canon::{Codec, Form, Zone};
use crate::model::cell::Cell;
use crate::model::name::PgName;
use crate::model::schema::{
    Affinity, IndexOrigin, IndexPart, IndexTerm, SqliteColumn, SqliteIndex, SqliteSchema, SqliteTable,
    Storage,
};
use crate::model::types::Type;
use crate::plan::overrides::Overrides;
use crate::plan::route::{ColumnRoute, Identity, Route, ScanOrder};
use crate::plan::survey::{ColumnSurvey, Survey, TableSurvey};
use crate::plan::typing;

/// From `t` to `s.T`: whole numbers, under the same names.
pub fn route(columns: &[&str], identity: Identity) -> Route {
    let column = |name: &&str| ColumnRoute {
        source: Some((*name).to_owned()),
        affinity: Affinity::Integer,
        target: (*name).to_owned(),
        type_oid: 20,
        type_sql: "bigint".to_owned(),
        codec: Codec::new(Type::Int8, Form::Native, Zone::Utc),
        not_null: false,
    };
    Route {
        source: "t".to_owned(),
        target: PgName::new("s", "T"),
        columns: columns.iter().map(column).collect(),
        scan: ScanOrder::Whole,
        identity,
    }
}

/// A rowid table without a key; each column is `name declared type`.
pub fn table(name: &str, columns: &[&str]) -> SqliteTable {
    SqliteTable {
        name: name.to_owned(),
        storage: Storage::Rowid { alias: None, rowid: Some("_rowid_") },
        strict: false,
        autoincrement: false,
        columns: columns.iter().map(|text| column(text)).collect(),
        primary_key: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        on_conflict: Vec::new(),
    }
}

/// A table whose first column is a true INTEGER PRIMARY KEY.
pub fn keyed(name: &str, columns: &[&str]) -> SqliteTable {
    let mut table = table(name, columns);
    table.storage = Storage::Rowid { alias: Some(0), rowid: Some("_rowid_") };
    table.primary_key = vec![0];
    table
}

pub fn column(text: &str) -> SqliteColumn {
    let (name, declared) = text.split_once(' ').unwrap_or((text, ""));
    SqliteColumn {
        name: name.to_owned(),
        declared: declared.to_owned(),
        affinity: Affinity::of_declared(declared),
        not_null: false,
        default: None,
        collation: "BINARY".to_owned(),
        generated: None,
    }
}

pub fn part(column: usize) -> IndexPart {
    IndexPart { term: IndexTerm::Column(column), collation: "BINARY".to_owned(), descending: false }
}

pub fn index(name: &str, origin: IndexOrigin, parts: Vec<IndexPart>) -> SqliteIndex {
    let unique = origin != IndexOrigin::Created;
    SqliteIndex { name: name.to_owned(), unique, origin, predicate: None, parts }
}

pub fn schema(tables: Vec<SqliteTable>) -> SqliteSchema {
    SqliteSchema { encoding: "UTF-8".to_owned(), tables, ..SqliteSchema::default() }
}

/// What the survey of one column comes to.
pub fn column_survey(
    table: &SqliteTable,
    column: usize,
    cells: &[Cell<'_>],
    overrides: &Overrides,
) -> ColumnSurvey {
    let mut survey = ColumnSurvey::with_learners(typing::candidates(table, column, overrides));
    for cell in cells {
        survey.observe(*cell);
    }
    survey
}

/// Surveys every table's rows; a table that is not named here has none.
pub fn survey(schema: &SqliteSchema, rows: &[(&str, &[&[Cell<'_>]])], overrides: &Overrides) -> Survey {
    let mut survey = Survey::default();
    for table in &schema.tables {
        let rows = rows.iter().find(|(name, _)| *name == table.name).map_or(&[][..], |(_, rows)| *rows);
        survey.tables.insert(table.name.clone(), table_survey(table, rows, overrides));
    }
    survey
}

fn table_survey(table: &SqliteTable, rows: &[&[Cell<'_>]], overrides: &Overrides) -> TableSurvey {
    let column = |index: usize| {
        let cells: Vec<Cell<'_>> = rows.iter().map(|row| row[index]).collect();
        column_survey(table, index, &cells, overrides)
    };
    let is_keyless = |row: &&&[Cell<'_>]| table.primary_key.iter().any(|index| row[*index].is_null());
    TableSurvey {
        rows: rows.len() as u64,
        key_nulls: rows.iter().filter(is_keyless).count() as u64,
        row_bytes_max: 0,
        columns: (0..table.columns.len()).map(column).collect(),
    }
}
