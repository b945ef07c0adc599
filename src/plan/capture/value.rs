//! What a column of the new row will hold, told before the row is written.
//!
//! A BEFORE trigger sees NULL where REPLACE is about to put a default in its place, and generated columns computed from that NULL. So
//! such values are spelled out here; all others are `new.c`. That has no affinity, which matters where an expression compares: then a
//! second reading gives each column's affinity back.

use crate::model::cell::CellBuf;
use crate::model::name::{ident, literal};
use crate::model::schema::{Affinity, SqliteColumn, SqliteTable};
use crate::plan::default::stored_constant;
use crate::plan::parse::unquoted;
use sqlite3_parser::lexer::Scanner;
use sqlite3_parser::lexer::sql::{TokenType, Tokenizer};

/// How an expression sees the columns of the new row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The values as they are, without affinity.
    Bare,
    /// With the affinity of their columns; a value that its column could not convert is changed by this.
    Cast,
}

/// SQL for the value that the column will have.
pub(super) fn of_column(table: &SqliteTable, column: usize, reading: Reading) -> String {
    match &table.columns[column].generated {
        // The sign takes the affinity off, so that the compared column's own is applied, as when the value is stored.
        Some(generated) if is_recomputed(table, column) => {
            format!("+{}", of_expression(table, &generated.expression, reading))
        }
        Some(_) | None => of_base_column(table, column),
    }
}

/// SQL for the value of an expression over the new row.
pub(super) fn of_expression(table: &SqliteTable, expression: &str, reading: Reading) -> String {
    let (mut row, mut layers) = (Vec::new(), Vec::new());
    let mut open = mentioned(table, expression);
    while let Some(column) = open.pop() {
        if row.contains(&column) || layers.contains(&column) {
            continue;
        }
        match &table.columns[column].generated {
            Some(generated) if is_recomputed(table, column) => {
                layers.push(column);
                open.extend(mentioned(table, &generated.expression));
            }
            Some(_) | None => row.push(column),
        }
    }
    let name = |column: usize| ident(&table.columns[column].name);
    let value = |column: usize| cast(table, column, of_base_column(table, column), reading);
    let cells: Vec<String> =
        row.into_iter().map(|column| format!("{} as {}", value(column), name(column))).collect();
    let mut from = format!("select {}", if cells.is_empty() { "0".to_owned() } else { cells.join(",") });
    for column in ordered(table, layers) {
        let generated = table.columns[column].generated.as_ref();
        let expression = generated.map_or("null", |generated| generated.expression.as_str());
        let value = cast(table, column, format!("({expression})"), reading);
        from = format!("select *,{value} as {} from ({from})", name(column));
    }
    format!("(select {expression} from ({from}))")
}

/// Whether the expression, or one of a generated column in it, compares: only then an affinity can make a difference.
pub(super) fn compares(table: &SqliteTable, expression: &str) -> bool {
    let generated =
        reached(table, expression).into_iter().filter_map(|column| table.columns[column].generated.as_ref());
    let mut texts = generated.map(|generated| generated.expression.as_str()).chain([expression]);
    texts.any(|text| tokens(text).iter().any(|(kind, _)| COMPARISONS.contains(kind)))
}

/// Whether a BEFORE trigger may see another value in the column than is stored.
pub(super) fn is_replaced(table: &SqliteTable, column: usize) -> bool {
    replacement(table, column).is_some() || is_recomputed(table, column)
}

/// Whether the column's default may differ from one evaluation to the next: older libraries evaluate it once for the trigger and once
/// for the row.
pub(super) fn has_default_of_chance(table: &SqliteTable, column: usize) -> bool {
    let column = &table.columns[column];
    column.default.as_deref().is_some_and(|raw| stored_constant(raw, column.affinity).is_none())
}

/// Columns whose names stand in the expression. A name may stand there by chance, as a type's or a function's.
pub(super) fn mentioned(table: &SqliteTable, expression: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for word in words(expression) {
        match table.column(&word) {
            Some(column) if !found.contains(&column) => found.push(column),
            Some(_) | None => {}
        }
    }
    found
}

/// Whether the value of the expression depends on the column, through generated columns too.
pub(super) fn depends_on(table: &SqliteTable, expression: &str, column: usize) -> bool {
    reached(table, expression).contains(&column)
}

/// Columns that the expression is made of, those behind generated ones included.
fn reached(table: &SqliteTable, expression: &str) -> Vec<usize> {
    let mut reached = mentioned(table, expression);
    let mut at = 0;
    while let Some(&next) = reached.get(at) {
        if let Some(generated) = &table.columns[next].generated {
            for inner in mentioned(table, &generated.expression) {
                if !reached.contains(&inner) {
                    reached.push(inner);
                }
            }
        }
        at += 1;
    }
    reached
}

/// What is computed here instead of `new.c` would else lose the column's collation too.
fn cast(table: &SqliteTable, column: usize, value: String, reading: Reading) -> String {
    let SqliteColumn { affinity, collation, .. } = &table.columns[column];
    let cast = match (reading, affinity) {
        (Reading::Bare, _) | (Reading::Cast, Affinity::Blob) => value,
        (Reading::Cast, Affinity::Text) => format!("cast({value} as text)"),
        (Reading::Cast, Affinity::Integer | Affinity::Numeric) => format!("cast({value} as numeric)"),
        (Reading::Cast, Affinity::Real) => format!("cast({value} as real)"),
    };
    if is_replaced(table, column) && !collation.eq_ignore_ascii_case("binary") {
        format!("{cast} collate {}", ident(collation))
    } else {
        cast
    }
}

fn of_base_column(table: &SqliteTable, column: usize) -> String {
    let value = format!("new.{}", ident(&table.columns[column].name));
    match replacement(table, column) {
        Some(default) => format!("ifnull({value},{default})"),
        None => value,
    }
}

/// What REPLACE puts in the place of NULL.
fn replacement(table: &SqliteTable, column: usize) -> Option<String> {
    let column = &table.columns[column];
    let raw = column.default.as_deref().filter(|_| column.not_null && column.generated.is_none())?;
    match stored_constant(raw, column.affinity) {
        Some(CellBuf::Null) => None,
        Some(CellBuf::Integer(value)) => Some(value.to_string()),
        Some(CellBuf::Text(bytes)) => Some(literal(&String::from_utf8_lossy(&bytes))),
        // An integer given for a REAL would else stay one. The line break ends a comment that the text may close with.
        Some(CellBuf::Real(_)) => Some(format!("cast({raw}\n as real)")),
        Some(CellBuf::Blob(_)) | None => Some(format!("({raw}\n)")),
    }
}

/// A generated column that is made of a value which REPLACE puts in.
fn is_recomputed(table: &SqliteTable, column: usize) -> bool {
    let Some(generated) = &table.columns[column].generated else { return false };
    let mut replaced = (0..table.columns.len()).filter(|base| replacement(table, *base).is_some());
    replaced.any(|base| depends_on(table, &generated.expression, base))
}

/// What a column is made of comes before it.
fn ordered(table: &SqliteTable, mut columns: Vec<usize>) -> Vec<usize> {
    let mut done = Vec::new();
    while !columns.is_empty() {
        let is_ready = |column: &usize| {
            let generated = table.columns[*column].generated.as_ref();
            let inner = generated.map_or_else(Vec::new, |generated| mentioned(table, &generated.expression));
            !inner.iter().any(|inner| inner != column && columns.contains(inner))
        };
        // Names that stand there by chance may close a circle: any of it is then as good.
        let next = columns.iter().position(is_ready).unwrap_or(0);
        done.push(columns.remove(next));
    }
    done
}

/// Every word of the text that may be a name.
fn words(text: &str) -> Vec<String> {
    let is_name = |kind: &TokenType| !matches!(kind, TokenType::TK_STRING | TokenType::TK_BLOB);
    tokens(text).into_iter().filter(|(kind, _)| is_name(kind)).map(|(_, word)| unquoted(word)).collect()
}

/// After what cannot be read there is none.
fn tokens(text: &str) -> Vec<(TokenType, &str)> {
    let mut scanner = Scanner::new(Tokenizer::new());
    let mut tokens = Vec::new();
    while let Ok((start, Some((_, kind)), end)) = scanner.scan(text.as_bytes()) {
        tokens.extend(text.get(start..end).map(|word| (kind, word)));
    }
    tokens
}

const COMPARISONS: [TokenType; 10] = [
    TokenType::TK_EQ,
    TokenType::TK_NE,
    TokenType::TK_LT,
    TokenType::TK_LE,
    TokenType::TK_GT,
    TokenType::TK_GE,
    TokenType::TK_IS,
    TokenType::TK_IN,
    TokenType::TK_BETWEEN,
    TokenType::TK_CASE,
];
