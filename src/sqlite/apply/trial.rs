//! What SQLite computes of a row (columns, indexes, their conditions) may fail for a text to which the target has no objection. Which columns
//! that is true of is found by trying one, on a table of the same declaration that lies in memory. The source is only read.

use super::writing::UNCHECKED;
use crate::model::catalog::{ConstraintKind, PgTable};
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::model::schema::{Affinity, IndexTerm, SqliteColumn, SqliteIndex, SqliteTable};
use crate::model::types::Type;
use crate::plan::route::{ColumnRoute, Route};
use crate::sqlite::connect::{SqliteFile, in_memory};
use crate::sqlite::fault::from_sqlite;
use rusqlite::{Connection, ffi, params_from_iter};

/// Columns of which SQLite computes something, and fails where they hold any odd text.
#[derive(Debug)]
pub struct Uncomputed<'r> {
    route: &'r Route,
    columns: Vec<&'r str>,
}

/// As no function reads that asks for a form.
const ODD: &str = "{odd";
/// Whatever else the row must have: JSON, and a number where the column takes no text.
const PLAIN: [&str; 2] = ["{}", "1"];

pub fn uncomputed<'r>(
    file: &SqliteFile,
    (route, source): (&'r Route, &SqliteTable),
) -> Result<Option<Uncomputed<'r>>, Fault> {
    let is_text = |column: &&ColumnRoute| {
        matches!(column.codec.ty, Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext)
    };
    let texts = || route.columns.iter().filter(is_text);
    if !computes(source) || texts().next().is_none() {
        return Ok(None);
    }
    let failed = |error| from_sqlite(format!("try rows of table {}", source.name), error);
    let declared = declared(file, source)?;
    let Some(db) = alike(&declared).map_err(failed)? else { return Ok(None) };
    let fails =
        |odd: Option<&str>| [Rest::Plain, Rest::Null].iter().any(|rest| fails(&db, source, odd, rest));
    if fails(None) {
        return Ok(None);
    }
    let odd = texts().filter(|column| column.source.as_deref().is_some_and(|name| fails(Some(name))));
    let columns: Vec<&str> = odd.map(|column| column.target.as_str()).collect();
    Ok((!columns.is_empty()).then_some(Uncomputed { route, columns }))
}

fn computes(source: &SqliteTable) -> bool {
    let of_an_expression = |index: &SqliteIndex| {
        index.predicate.is_some()
            || index.parts.iter().any(|part| matches!(part.term, IndexTerm::Expression(_)))
    };
    source.columns.iter().any(|column| column.generated.is_some())
        || source.indexes.iter().any(of_an_expression)
}

/// The table's text, and then those of its indexes.
fn declared(file: &SqliteFile, source: &SqliteTable) -> Result<Vec<String>, Fault> {
    let failed = |error| from_sqlite(format!("read the declaration of table {}", source.name), error);
    let db = file.open_unaided_reader()?;
    let sql = "select sql from main.sqlite_schema where tbl_name = ?1 collate nocase and type in ('table', 'index') \
               and sql is not null order by type = 'index'";
    let mut statement = db.prepare(sql).map_err(failed)?;
    let texts = statement.query_map([&source.name], |row| row.get(0)).map_err(failed)?;
    texts.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// Nothing where the table takes what only the application has; an index that does is left out.
fn alike(declared: &[String]) -> rusqlite::Result<Option<Connection>> {
    let db = in_memory()?;
    db.execute_batch(UNCHECKED)?;
    let Some((table, indexes)) = declared.split_first() else { return Ok(None) };
    // One statement and no more: the texts are a stranger's.
    if db.execute(table, []).is_err() {
        return Ok(None);
    }
    for index in indexes {
        let _left_out = db.execute(index, []);
    }
    Ok(Some(db))
}

/// What stands in the columns that are not tried.
enum Rest {
    Plain,
    /// Where the column takes it.
    Null,
}

/// Whether a function refuses the row. What a constraint refuses is told elsewhere.
fn fails(db: &Connection, source: &SqliteTable, odd: Option<&str>, rest: &Rest) -> bool {
    let columns: Vec<&SqliteColumn> =
        source.columns.iter().filter(|column| column.generated.is_none()).collect();
    let value = |column: &&SqliteColumn| match (column.affinity, rest) {
        _ if odd == Some(column.name.as_str()) => Some(ODD),
        (_, Rest::Null) if !column.not_null => None,
        (Affinity::Text | Affinity::Blob, _) => Some(PLAIN[0]),
        (Affinity::Integer | Affinity::Real | Affinity::Numeric, _) => Some(PLAIN[1]),
    };
    let names: Vec<String> = columns.iter().map(|column| ident(&column.name)).collect();
    let places = vec!["?"; columns.len()].join(", ");
    let (table, names) = (ident(&source.name), names.join(", "));
    let sql = format!("insert or replace into main.{table} ({names}) values ({places}) returning *");
    let tried = db.prepare_cached(&sql).and_then(|mut statement| {
        let mut rows = statement.query(params_from_iter(columns.iter().map(value)))?;
        while rows.next()?.is_some() {}
        Ok(())
    });
    let code = tried.err().and_then(|error| error.sqlite_error().map(|error| error.extended_code));
    code == Some(ffi::SQLITE_ERROR)
}

impl Uncomputed<'_> {
    /// `target`: the table as it is, where it is not ours to make.
    pub fn finding(&self, target: Option<&PgTable>) -> Option<Finding> {
        let is_kept_out = |column: &&str| {
            let checks = target.iter().flat_map(|table| &table.constraints);
            checks.filter(|check| check.kind == ConstraintKind::Check).any(|check| {
                check.columns.iter().any(|name| name == *column)
                    && check.definition.to_ascii_lowercase().contains("json")
            })
        };
        let columns: Vec<&str> = self.columns.iter().copied().filter(|column| !is_kept_out(column)).collect();
        if columns.is_empty() {
            return None;
        }
        let text = format!(
            "SQLite computes an index or a column of these, which fails for some texts that the target takes (json_extract of what is no JSON, \
             say): {}; one that is written there after the switch halts the way back",
            columns.join(", ")
        );
        let check = |column: &&str| {
            let name = ident(column);
            format!("add check ({name} is null or {name}::json is not null) not valid")
        };
        let checks: Vec<String> = columns.iter().map(check).collect();
        let remedy = format!(
            "if they hold JSON, have PostgreSQL ask for it too, once it is switched to: alter table {} {};",
            self.route.target.sql(),
            checks.join(", ")
        );
        Some(Finding::warning("reverse_computed", &self.route.source, text).with_remedy(remedy))
    }
}
