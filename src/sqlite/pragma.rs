//! What SQLite's own catalog says: rows of `sqlite_schema` and of the PRAGMAs, as they stand.
//!
//! Names are hostile input: they travel as bound parameters, never inside SQL. A name that is not UTF-8 is a fault, because
//! nothing could be called by it; other text that is not UTF-8 is absent. No row of the application's tables is read.

use super::fault::{NameNotUtf8, from_sqlite};
use crate::model::cell::{Cell, CellBuf};
use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::model::schema::{FkAction, IndexOrigin, IndexPart, IndexTerm};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, Error, Params, Row};

/// Reads the catalog of one connection.
#[derive(Clone, Copy)]
pub struct Catalog<'c> {
    pub db: &'c Connection,
}

/// A row of `sqlite_schema`.
pub struct EntryRow {
    pub kind: String,
    pub name: String,
    pub table: String,
    pub sql: Option<String>,
}

/// A row of `PRAGMA table_list`.
pub struct TableRow {
    pub name: String,
    /// `table`, `virtual`, `shadow` or `view`.
    pub kind: String,
    pub without_rowid: bool,
    pub strict: bool,
}

/// A row of `PRAGMA table_xinfo`.
pub struct ColumnRow {
    pub name: String,
    /// Affinity is a matter of ASCII words in it, so that other bytes need not be readable.
    pub declared: String,
    pub not_null: bool,
    pub default: Option<String>,
    /// Place in the primary key, from 1; 0 outside of it.
    pub key: i64,
    /// Whether a generated column is stored.
    pub generated: Option<bool>,
}

/// Rows of `PRAGMA foreign_key_list` with one id.
pub struct ForeignKeyRows {
    pub parent: String,
    pub from: Vec<String>,
    /// Empty where the parent's primary key is meant.
    pub to: Vec<String>,
    pub on_update: FkAction,
    pub on_delete: FkAction,
}

/// A row of `PRAGMA index_list`.
pub struct IndexRow {
    pub name: String,
    pub unique: bool,
    pub origin: IndexOrigin,
    pub partial: bool,
}

/// What `sqlite3_table_column_metadata` alone tells.
pub struct ColumnExtra {
    pub collation: String,
    pub autoincrement: bool,
}

impl Catalog<'_> {
    /// The answer of a PRAGMA that is one word.
    pub fn word(self, pragma: &str) -> Result<String, Fault> {
        self.db
            .pragma_query_value(None, pragma, |row| row.get(0))
            .map_err(|error| from_sqlite(format!("read {pragma}"), error))
    }

    pub fn entries(self) -> Result<Vec<EntryRow>, Fault> {
        let sql = "select type, name, tbl_name, sql from sqlite_schema order by rowid";
        self.rows("read sqlite_schema", sql, [], |row| {
            Ok(EntryRow {
                kind: name(row, 0)?,
                name: name(row, 1)?,
                table: name(row, 2)?,
                sql: text(row, 3)?,
            })
        })
    }

    pub fn tables(self) -> Result<Vec<TableRow>, Fault> {
        self.rows("list tables", "pragma main.table_list", [], |row| {
            Ok(TableRow {
                name: name(row, 1)?,
                kind: name(row, 2)?,
                without_rowid: row.get(4)?,
                strict: row.get(5)?,
            })
        })
    }

    /// In the order of the table, generated ones included.
    pub fn columns(self, table: &str) -> Result<Vec<ColumnRow>, Fault> {
        let sql = "select name, type, \"notnull\", dflt_value, pk, hidden from pragma_table_xinfo(?1, 'main') order by cid";
        self.rows(&format!("read the columns of {table:?}"), sql, [table], |row| {
            Ok(ColumnRow {
                name: name(row, 0)?,
                declared: lossy(row, 1)?,
                not_null: row.get(2)?,
                default: text(row, 3)?,
                key: row.get(4)?,
                generated: match row.get(5)? {
                    2_i64 => Some(false),
                    3 => Some(true),
                    _ => None,
                },
            })
        })
    }

    pub fn column_extra(self, table: &str, column: &str) -> Result<ColumnExtra, Fault> {
        let (_, collation, _, _, autoincrement) = self
            .db
            .column_metadata(Some("main"), table, column)
            .map_err(|error| from_sqlite(format!("describe column {column:?} of {table:?}"), error))?;
        let collation = collation.map_or_else(|| "BINARY".into(), |name| name.to_string_lossy().into_owned());
        Ok(ColumnExtra { collation, autoincrement })
    }

    /// Why SQLite cannot read a column without what the application brings; nothing where it can.
    pub fn unread_because(self, table: &str, column: &str) -> Result<Option<String>, Fault> {
        let sql = format!("select {} from main.{}", ident(column), ident(table));
        let Err(error) = self.db.prepare(&sql) else { return Ok(None) };
        let fault = from_sqlite(format!("read column {column:?} of {table:?}"), error);
        match fault.code {
            "source_sql" => Ok(Some(fault.source.map_or_else(String::new, |source| source.to_string()))),
            _ => Err(fault),
        }
    }

    /// In order of declaration: SQLite counts from the last.
    pub fn foreign_keys(self, table: &str) -> Result<Vec<ForeignKeyRows>, Fault> {
        let sql = "select id, \"table\", \"from\", \"to\", on_update, on_delete from pragma_foreign_key_list(?1, 'main') \
                   order by id desc, seq";
        let rows = self.rows(&format!("read the foreign keys of {table:?}"), sql, [table], |row| {
            let to = if row.get_ref(3)?.data_type() == Type::Null { Vec::new() } else { vec![name(row, 3)?] };
            let rows = ForeignKeyRows {
                parent: name(row, 1)?,
                from: vec![name(row, 2)?],
                to,
                on_update: action(&name(row, 4)?),
                on_delete: action(&name(row, 5)?),
            };
            Ok((row.get::<_, i64>(0)?, rows))
        })?;
        let mut foreign_keys: Vec<(i64, ForeignKeyRows)> = Vec::new();
        for (id, row) in rows {
            match foreign_keys.last_mut() {
                Some((last, rows)) if *last == id => {
                    rows.from.extend(row.from);
                    rows.to.extend(row.to);
                }
                _ => foreign_keys.push((id, row)),
            }
        }
        Ok(foreign_keys.into_iter().map(|(_, rows)| rows).collect())
    }

    /// Oldest first.
    pub fn indexes(self, table: &str) -> Result<Vec<IndexRow>, Fault> {
        let sql =
            "select name, \"unique\", origin, partial from pragma_index_list(?1, 'main') order by seq desc";
        self.rows(&format!("list the indexes of {table:?}"), sql, [table], |row| {
            let origin = match name(row, 2)?.as_str() {
                "pk" => IndexOrigin::PrimaryKey,
                "u" => IndexOrigin::Unique,
                _ => IndexOrigin::Created,
            };
            Ok(IndexRow { name: name(row, 0)?, unique: row.get(1)?, origin, partial: row.get(3)? })
        })
    }

    /// The key parts, their expressions left empty.
    pub fn index_parts(self, index: &str) -> Result<Vec<IndexPart>, Fault> {
        let sql = "select cid, \"desc\", coll from pragma_index_xinfo(?1, 'main') where key order by seqno";
        self.rows(&format!("read index {index:?}"), sql, [index], |row| {
            let cid: i64 = row.get(0)?;
            let term = match usize::try_from(cid) {
                Ok(column) => IndexTerm::Column(column),
                Err(_) if cid == -1 => IndexTerm::Rowid,
                Err(_) => IndexTerm::Expression(String::new()),
            };
            Ok(IndexPart { term, descending: row.get(1)?, collation: name(row, 2)? })
        })
    }

    /// The rows of `sqlite_sequence`. One whose name is no text belongs to no table.
    pub fn sequences(self) -> Result<Vec<(String, CellBuf)>, Fault> {
        let sql = "select name, seq from sqlite_sequence order by rowid";
        let rows = self.rows("read sqlite_sequence", sql, [], |row| {
            let name = row.get_ref(0)?.as_str().ok().map(str::to_owned);
            Ok((name, cell(row.get_ref(1)?).to_buf()))
        })?;
        Ok(rows.into_iter().filter_map(|(name, seq)| Some((name?, seq))).collect())
    }

    fn rows<T>(
        self,
        doing: &str,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Fault> {
        let failed = |error| from_sqlite(doing, error);
        let mut statement = self.db.prepare(sql).map_err(failed)?;
        let rows = statement.query_map(params, read).map_err(failed)?;
        rows.collect::<rusqlite::Result<Vec<T>>>().map_err(failed)
    }
}

fn name(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    let value = row.get_ref(at)?;
    match value {
        ValueRef::Text(bytes) => String::from_utf8(bytes.to_vec()).map_err(|error| {
            let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Error::FromSqlConversionFailure(at, Type::Text, Box::new(NameNotUtf8(shown)))
        }),
        other => Err(Error::InvalidColumnType(at, "name".into(), other.data_type())),
    }
}

fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<String>> {
    Ok(row.get_ref(at)?.as_str().ok().map(str::to_owned))
}

fn lossy(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(at)?.as_bytes().unwrap_or_default()).into_owned())
}

fn cell(value: ValueRef<'_>) -> Cell<'_> {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(value) => Cell::Integer(value),
        ValueRef::Real(value) => Cell::Real(value),
        ValueRef::Text(bytes) => Cell::Text(bytes),
        ValueRef::Blob(bytes) => Cell::Blob(bytes),
    }
}

fn action(word: &str) -> FkAction {
    let all = [FkAction::Restrict, FkAction::Cascade, FkAction::SetNull, FkAction::SetDefault];
    all.into_iter().find(|action| action.sql() == word).unwrap_or(FkAction::NoAction)
}
