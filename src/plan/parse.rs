//! SQLite's SQL text to a tree, by SQLite's own grammar, and the tree's words to what they mean.
//!
//! It never translates, and never guesses at text that the grammar does not take.

use crate::model::cell::CellBuf;
use sqlite3_parser::ast::{
    Cmd, Expr, IndexedColumn, Literal, OneSelect, ResultColumn, Select, Stmt, TriggerEvent, TriggerTime,
    UnaryOperator,
};
use sqlite3_parser::lexer::sql::Parser;
use sqlite3_parser::{Bump, FallibleIterator};

/// Why something of the source has no counterpart: what it is, and what would differ. Both are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{construct}: {reason}")]
pub struct Refusal {
    pub construct: String,
    pub reason: String,
}

/// The parts of a CREATE VIEW that its meaning depends on.
pub(super) struct ViewText<'a> {
    pub columns: Option<&'a [IndexedColumn<'a>]>,
    pub select: &'a Select<'a>,
}

/// One expression, as it stands in a CHECK, a default or an index.
pub(super) fn expression<'a>(arena: &'a Bump, text: &str) -> Result<&'a Expr<'a>, Refusal> {
    // The line break ends a comment that the text may close with.
    let Stmt::Select(select) = statement(arena, &format!("select (\n{text}\n)"))? else {
        return Err(unread("it is no expression"));
    };
    let body = match select {
        Select { with: None, body, order_by: None, limit: None } if body.compounds.is_none() => body,
        Select { .. } => return Err(unread("it is more than one expression")),
    };
    match &body.select {
        OneSelect::Select {
            distinctness: None,
            columns: [ResultColumn::Expr(whole, None)],
            from: None,
            where_clause: None,
            group_by: None,
            having: None,
            window_clause: None,
        } => Ok(bare(whole)),
        OneSelect::Select { .. } | OneSelect::Values(_) => Err(unread("it is more than one expression")),
    }
}

pub(super) fn view<'a>(arena: &'a Bump, sql: &str) -> Result<ViewText<'a>, Refusal> {
    match statement(arena, sql)? {
        Stmt::CreateView { columns, select, .. } => Ok(ViewText { columns, select }),
        _ => Err(unread("it is no view")),
    }
}

/// When a trigger fires, and on what.
pub(super) fn trigger<'a>(
    arena: &'a Bump,
    sql: &str,
) -> Result<(TriggerTime, &'a TriggerEvent<'a>), Refusal> {
    match statement(arena, sql)? {
        Stmt::CreateTrigger { time, event, .. } => {
            Ok((time.unwrap_or(TriggerTime::Before), arena.alloc(event)))
        }
        _ => Err(unread("it is no trigger")),
    }
}

/// The expression without the parentheses around it, which mean nothing to SQLite.
pub(super) fn bare<'e, 'a>(expr: &'e Expr<'a>) -> &'e Expr<'a> {
    match expr {
        Expr::Parenthesized(inner) if inner.len() == 1 => bare(&inner[0]),
        other => other,
    }
}

/// A name or string without its quotes, whichever of SQLite's four kinds they are.
pub(super) fn unquoted(word: &str) -> String {
    let Some(quote) = word.chars().next().filter(|first| matches!(first, '"' | '\'' | '`' | '[')) else {
        return word.to_owned();
    };
    let inner = word.get(1..word.len() - 1).unwrap_or_default();
    if quote == '[' {
        inner.to_owned()
    } else {
        inner.replace(&format!("{quote}{quote}"), &quote.to_string())
    }
}

/// Whether a word that names no column is a string to SQLite.
pub(super) fn is_double_quoted(word: &str) -> bool {
    word.starts_with('"')
}

/// TRUE and FALSE, which are names to the grammar, and only without quotes.
pub(super) fn truth_word(word: &str) -> Option<bool> {
    match word {
        _ if word.eq_ignore_ascii_case("true") => Some(true),
        _ if word.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// What a literal is worth, signs before it included; `None` where it is no literal or no constant.
pub(super) fn constant(expr: &Expr<'_>) -> Option<CellBuf> {
    match bare(expr) {
        Expr::Literal(literal) => literal_cell(literal),
        Expr::Unary(UnaryOperator::Positive, inner) => constant(inner),
        Expr::Unary(UnaryOperator::Negative, inner) => negated(inner),
        _ => None,
    }
}

/// The number that a text is to a numeric affinity; `None` where it is no number as a whole.
pub fn number_in(bytes: &[u8]) -> Option<CellBuf> {
    let text = std::str::from_utf8(bytes).ok()?.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    if let Ok(value) = text.parse() {
        return Some(CellBuf::Integer(value));
    }
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse().ok().filter(|_| digits && plain).map(CellBuf::Real)
}

fn literal_cell(literal: &Literal<'_>) -> Option<CellBuf> {
    match literal {
        Literal::Null => Some(CellBuf::Null),
        Literal::Numeric(digits) => number(digits),
        Literal::String(quoted) => Some(CellBuf::Text(unquoted(quoted).into_bytes())),
        Literal::Blob(digits) => blob(digits).map(CellBuf::Blob),
        Literal::Keyword(_) | Literal::CurrentDate | Literal::CurrentTime | Literal::CurrentTimestamp => None,
    }
}

fn negated(expr: &Expr<'_>) -> Option<CellBuf> {
    // 2^63 alone is a REAL; with a sign before it, it is the smallest INTEGER.
    if let Expr::Literal(Literal::Numeric(digits)) = bare(expr)
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && let Ok(value) = format!("-{digits}").parse()
    {
        return Some(CellBuf::Integer(value));
    }
    match constant(expr)? {
        CellBuf::Null => Some(CellBuf::Null),
        CellBuf::Integer(value) => value.checked_neg().map(CellBuf::Integer),
        CellBuf::Real(value) => Some(CellBuf::Real(-value)),
        CellBuf::Text(_) | CellBuf::Blob(_) => None,
    }
}

/// A number as SQLite reads it in SQL text: too many digits for 64 bits make a REAL, hexadecimal ones wrap.
fn number(digits: &str) -> Option<CellBuf> {
    let digits = digits.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().map(|value| CellBuf::Integer(value.cast_signed()));
    }
    let integer = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    match integer {
        Some(value) => Some(CellBuf::Integer(value)),
        None => digits.parse().ok().map(CellBuf::Real),
    }
}

fn blob(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn statement<'a>(arena: &'a Bump, sql: &str) -> Result<Stmt<'a>, Refusal> {
    let mut parser = Parser::new(arena, arena.alloc_str(sql).as_bytes());
    let first = parser.next().map_err(|error| unread(&error.to_string()))?;
    let more = parser.next().map_err(|error| unread(&error.to_string()))?;
    match (first, more) {
        (Some(Cmd::Stmt(statement)), None) => Ok(statement),
        _ => Err(unread("it is not one statement")),
    }
}

fn unread(why: &str) -> Refusal {
    Refusal::new("SQL text that was not understood", why)
}

impl Refusal {
    pub(super) fn new(construct: impl Into<String>, reason: impl Into<String>) -> Refusal {
        Refusal { construct: construct.into(), reason: reason.into() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<CellBuf> {
        constant(expression(&Bump::new(), text).unwrap())
    }

    #[test]
    fn literals_are_read_as_sqlite_reads_them() {
        let text = |text: &str| Some(CellBuf::Text(text.as_bytes().to_vec()));
        let cases = [
            ("+5", Some(CellBuf::Integer(5))),
            ("0x10", Some(CellBuf::Integer(16))),
            ("0xFFFFFFFFFFFFFFFF", Some(CellBuf::Integer(-1))),
            ("1_000", Some(CellBuf::Integer(1000))),
            ("9223372036854775808", Some(CellBuf::Real(9_223_372_036_854_775_808.0))),
            ("-9223372036854775808", Some(CellBuf::Integer(i64::MIN))),
            ("- -3", Some(CellBuf::Integer(3))),
            (".5", Some(CellBuf::Real(0.5))),
            ("(('it''s'))", text("it's")),
            ("x'00Ff'", Some(CellBuf::Blob(vec![0, 255]))),
            ("null -- nothing", Some(CellBuf::Null)),
            ("\"dq\"", None),
            ("current_timestamp", None),
        ];
        for (sql, expected) in cases {
            assert_eq!(read(sql), expected, "{sql}");
        }
    }

    #[test]
    fn all_four_quotes_are_taken_off() {
        for word in ["\"a\"\"b\"", "`a\"b`", "[a\"b]", "'a\"b'"] {
            assert_eq!(unquoted(word), "a\"b");
        }
        assert_eq!(unquoted("plain"), "plain");
        assert_eq!(unquoted("\"\""), "");
    }

    #[test]
    fn text_that_is_no_single_expression_is_refused() {
        for text in [
            "",
            "1, 2) from (select 1",
            "1) union select (2",
            "1) as x where (1",
            "1 +",
            "'open",
            "1); select (2",
        ] {
            assert!(expression(&Bump::new(), text).is_err() || read(text).is_none(), "{text}");
        }
        assert!(view(&Bump::new(), "select 1").is_err());
        assert!(view(&Bump::new(), "create view v(a) as select 1").is_ok());
    }
}
