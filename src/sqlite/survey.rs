//! The survey's reading: one pass over a table's values, span by span, side by side.

use super::fault::from_sqlite;
use super::scan::cell;
use crate::link::Span;
use crate::model::cell::Cell;
use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::model::schema::{SqliteTable, Storage};
use crate::plan::survey::TableSurvey;
use rusqlite::{Connection, Row};
use std::time::{Duration, Instant};

/// A span this small is not worth a thread of its own.
const ROWS_PER_SPAN_MIN: u64 = 50_000;

/// What SQLite lets a statement return. A table of so many columns leaves no room for the rowid, and is read in one go.
const RESULT_COLUMNS_MAX: usize = 2000;

/// Reads a span of a table into `found`, whose columns stand in the table's order with their learners in place, in as many read
/// transactions as keep each below `read_time`. A table without a rowid is read in one.
pub fn survey_span(
    db: &Connection,
    table: &SqliteTable,
    (span, mut found): (Span, TableSurvey),
    read_time: Duration,
) -> Result<TableSurvey, Fault> {
    let doing = || format!("survey table {}", table.name);
    let Storage::Rowid { rowid: Some(rowid), .. } = &table.storage else {
        let sql = format!("select {} from main.{} as x", columns(table), ident(&table.name));
        read(db, &sql, &[], (table, read_time), &mut found).map_err(|error| from_sqlite(doing(), error))?;
        return Ok(found);
    };
    let position = match table.columns.len() {
        0..RESULT_COLUMNS_MAX => format!(", x.{rowid}"),
        _ => String::new(),
    };
    let sql = format!(
        "select {}{position} from main.{} as x where x.{rowid} >= ?1 and x.{rowid} <= ?2 order by x.{rowid}",
        columns(table),
        ident(&table.name),
    );
    let (mut from, to) = (span.from.unwrap_or(i64::MIN), span.to.unwrap_or(i64::MAX));
    loop {
        let reached = read(db, &sql, &[from, to], (table, read_time), &mut found)
            .map_err(|error| from_sqlite(doing(), error))?;
        match reached.and_then(|last| last.checked_add(1)) {
            Some(next) if next <= to => from = next,
            _ => return Ok(found),
        }
    }
}

fn columns(table: &SqliteTable) -> String {
    let names: Vec<String> =
        table.columns.iter().map(|column| format!("x.{}", ident(&column.name))).collect();
    names.join(", ")
}

/// Where the reading stopped before its end, if it did: the rowid of the last row read.
fn read(
    db: &Connection,
    sql: &str,
    bounds: &[i64],
    (table, read_time): (&SqliteTable, Duration),
    found: &mut TableSurvey,
) -> rusqlite::Result<Option<i64>> {
    let started = Instant::now();
    let mut statement = db.prepare(sql)?;
    let tells_position = statement.column_count() > table.columns.len();
    let mut rows = statement.query(rusqlite::params_from_iter(bounds))?;
    while let Some(row) = rows.next()? {
        observe(row, table, found);
        if tells_position && started.elapsed() >= read_time {
            return row.get(table.columns.len()).map(Some);
        }
    }
    Ok(None)
}

fn observe(row: &Row<'_>, table: &SqliteTable, found: &mut TableSurvey) {
    let mut bytes = 0;
    for (at, column) in found.columns.iter_mut().enumerate() {
        let value = cell(row, at);
        bytes += match value {
            Cell::Text(text) | Cell::Blob(text) => text.len() as u64,
            Cell::Null | Cell::Integer(_) | Cell::Real(_) => 8,
        };
        column.observe(value);
    }
    found.rows += 1;
    found.row_bytes_max = found.row_bytes_max.max(bytes);
    found.key_nulls += u64::from(table.primary_key.iter().any(|at| cell(row, *at).is_null()));
}

/// Cuts a table into at most `want` spans of equal width between its smallest and largest rowid.
pub fn spans(db: &Connection, table: &str, rowid: &str, want: usize) -> Result<Vec<Span>, Fault> {
    // Two subqueries: SQLite answers each from an end of the tree, but would read the whole table for both at once.
    let name = ident(table);
    let sql =
        format!("select (select min({rowid}) from main.{name}), (select max({rowid}) from main.{name})");
    let ends: (Option<i64>, Option<i64>) = db
        .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(|error| from_sqlite(format!("find the ends of table {table}"), error))?;
    let (Some(min), Some(max)) = ends else { return Ok(vec![Span::default()]) };
    let rows_at_most = u64::try_from(i128::from(max) - i128::from(min) + 1).unwrap_or(u64::MAX);
    let worthwhile = usize::try_from(rows_at_most / ROWS_PER_SPAN_MIN + 1).unwrap_or(usize::MAX);
    Ok(cut(min, max, want.min(worthwhile)))
}

/// The first span is open below and the last above: rows that come in later belong to them.
fn cut(min: i64, max: i64, want: usize) -> Vec<Span> {
    let width = i128::from(max) - i128::from(min) + 1;
    let parts = i128::try_from(want.max(1)).expect("a small number").min(width);
    let edge = |part: i128| {
        i64::try_from(i128::from(min) + width * part / parts)
            .expect("an edge inside the table lies between two rowids")
    };
    (0..parts)
        .map(|part| Span {
            from: (part > 0).then(|| edge(part)),
            to: (part + 1 < parts).then(|| edge(part + 1) - 1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_every_rowid_once() {
        for (min, max, want) in [(1, 10, 3), (i64::MIN, i64::MAX, 4), (5, 5, 8), (-3, 2, 2)] {
            let spans = cut(min, max, want);
            assert!(spans.len() <= want);
            assert_eq!((spans[0].from, spans[spans.len() - 1].to), (None, None));
            for pair in spans.windows(2) {
                assert_eq!(pair[0].to.map(|to| to + 1), pair[1].from, "{min} {max} {want}");
            }
        }
    }
}
