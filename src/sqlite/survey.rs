//! The survey's reading: one pass over a table's values, span by span, side by side.

use super::fault::from_sqlite;
use super::halves::Encoding;
use super::scan::{Reading, Turns, cell, damaged, for_each_row_in_turns};
use crate::link::Span;
use crate::model::cell::Cell;
use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::model::schema::SqliteTable;
use crate::plan::survey::TableSurvey;
use rusqlite::{Connection, Row};

/// A span this small is not worth a thread of its own.
const ROWS_PER_SPAN_MIN: u64 = 50_000;

/// Reads a span of a table into `found`, whose columns stand in the table's order with their learners in place.
pub fn survey_span(
    db: &Connection,
    table: &SqliteTable,
    (span, mut found): (Span, TableSurvey),
    turns: &Turns<'_>,
) -> Result<TableSurvey, Fault> {
    let reading = Reading::of_table(table, Encoding::of(db)?);
    for_each_row_in_turns(db, &reading, span, turns, |row| observe(row, table, &mut found))?;
    Ok(found)
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
    let failed = |error| from_sqlite(format!("find the ends of table {table}"), error);
    let ends: (Option<i64>, Option<i64>) =
        db.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let (Some(min), Some(max)) = ends else { return Ok(vec![Span::default()]) };
    if min > max {
        return Err(failed(damaged("the largest rowid is below the smallest")));
    }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::survey::ColumnSurvey;
    use crate::sqlite::introspect::introspect;
    use std::cell::RefCell;
    use std::time::Duration;

    /// The rows of each turn, where every row ends its own.
    fn turns(schema: &str, span: Span) -> Vec<u64> {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(schema).unwrap();
        let table = introspect(&db).unwrap().tables.remove(0);
        let rows = RefCell::new(Vec::new());
        let ended = |read| rows.borrow_mut().push(read);
        let blank = TableSurvey {
            columns: vec![ColumnSurvey::default(); table.columns.len()],
            ..TableSurvey::default()
        };
        let turns = Turns { read_time: Duration::ZERO, ended: &ended };
        let found = survey_span(&db, &table, (span, blank), &turns).unwrap();
        assert_eq!(found.rows, rows.borrow().iter().sum::<u64>(), "{schema}");
        rows.into_inner()
    }

    #[test]
    fn every_table_with_an_order_is_surveyed_in_turns() {
        let all = Span::default();
        let rows = "insert into t values ('b', 1, 0), ('a', 2, 0), ('a', 1, 0), ('B', 1, 0)";
        for declared in [
            "create table t (a text, b integer, c, primary key (a desc, b)) without rowid",
            "create table t (a text, b integer, c)",
            // No name reaches the rowid of these.
            "create table t (rowid text not null, oid integer not null, _rowid_, unique (rowid, oid desc))",
            "create table t (rowid text not null, oid integer not null, _rowid_, primary key (oid, rowid))",
        ] {
            assert_eq!(turns(&format!("{declared}; {rows}"), all), [1, 1, 1, 1, 0], "{declared}");
        }
        for declared in [
            "create table t (rowid text, oid integer, _rowid_)",
            "create table t (rowid text, oid integer not null, _rowid_, unique (rowid, oid))",
            "create table t (rowid text not null, oid, _rowid_); create unique index u on t (rowid) where oid > 0 and rowid <> 'a'",
        ] {
            assert_eq!(turns(&format!("{declared}; {rows}"), all), [4], "{declared}");
        }
        let names: Vec<String> = (0..2000).map(|at| format!("c{at}")).collect();
        let widest =
            format!("create table t ({}); insert into t (c0) values (1), (2), (3), (4)", names.join(", "));
        assert_eq!(turns(&widest, all), [4], "there is no room for its rowid");
        assert_eq!(turns(&widest, Span { from: Some(2), to: Some(3) }), [2]);
        let between = Span { from: Some(2), to: Some(3) };
        assert_eq!(turns(&format!("create table t (a text, b integer, c); {rows}"), between), [1, 1, 0]);
    }

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
