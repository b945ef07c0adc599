//! Constant defaults: folded as SQLite folds them, then stored as its column affinity stores them.

use crate::model::cell::CellBuf;
use crate::model::schema::Affinity;
use crate::plan::parse::{self, Refusal};
use sqlite3_parser::ast::{Expr, Operator, UnaryOperator};

/// The value of an expression without columns, functions or time. A word that is no keyword is a string, quoted or not.
pub(super) fn fold(expr: &Expr<'_>) -> Option<CellBuf> {
    if let Some(cell) = parse::constant(expr) {
        return Some(cell);
    }
    match parse::bare(expr) {
        Expr::Id(id) => Some(word(id.0)),
        Expr::Name(name) => Some(word(name.0)),
        Expr::Unary(UnaryOperator::Positive, inner) => fold(inner),
        Expr::Unary(UnaryOperator::Negative, inner) => match fold(inner)? {
            CellBuf::Integer(value) => value.checked_neg().map(CellBuf::Integer),
            CellBuf::Null | CellBuf::Real(_) | CellBuf::Text(_) | CellBuf::Blob(_) => None,
        },
        Expr::Unary(UnaryOperator::Not, inner) => match fold(inner)? {
            CellBuf::Integer(value) => Some(CellBuf::Integer(i64::from(value == 0))),
            CellBuf::Null | CellBuf::Real(_) | CellBuf::Text(_) | CellBuf::Blob(_) => None,
        },
        Expr::Binary(left, operator, right) => calculated(fold(left)?, *operator, fold(right)?),
        _ => None,
    }
}

/// What the column stores when it is given this value.
pub(super) fn stored(cell: CellBuf, affinity: Affinity) -> Result<CellBuf, Refusal> {
    Ok(match (affinity, cell) {
        (Affinity::Text, CellBuf::Integer(value)) => CellBuf::Text(value.to_string().into_bytes()),
        (Affinity::Text, CellBuf::Real(value)) => CellBuf::Text(real_text(value)?.into_bytes()),
        (Affinity::Integer | Affinity::Numeric, CellBuf::Real(value)) => integral(value),
        (Affinity::Integer | Affinity::Numeric, CellBuf::Text(bytes)) => match parse::number_in(&bytes) {
            Some(CellBuf::Real(value)) => integral(value),
            Some(number) => number,
            None => CellBuf::Text(bytes),
        },
        (Affinity::Real, CellBuf::Integer(value)) => CellBuf::Real(nearest(value)),
        // A column of REALs stores integral ones as integers, and so forgets the sign of zero.
        (Affinity::Real, CellBuf::Real(0.0)) => CellBuf::Real(0.0),
        (Affinity::Real, CellBuf::Text(bytes)) => match parse::number_in(&bytes) {
            Some(CellBuf::Integer(value)) => CellBuf::Real(nearest(value)),
            Some(number) => number,
            None => CellBuf::Text(bytes),
        },
        (_, cell) => cell,
    })
}

fn word(word: &str) -> CellBuf {
    match parse::truth_word(word) {
        Some(truth) => CellBuf::Integer(i64::from(truth)),
        None => CellBuf::Text(parse::unquoted(word).into_bytes()),
    }
}

fn calculated(left: CellBuf, operator: Operator, right: CellBuf) -> Option<CellBuf> {
    match (left, right) {
        (CellBuf::Integer(a), CellBuf::Integer(b)) if let Some(truth) = compared(a, operator, b) => {
            Some(CellBuf::Integer(i64::from(truth)))
        }
        (CellBuf::Integer(a), CellBuf::Integer(b)) => match operator {
            Operator::BitwiseAnd => Some(a & b),
            Operator::BitwiseOr => Some(a | b),
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::Divide => a.checked_div(b),
            Operator::Modulus => a.checked_rem(b),
            _ => None,
        }
        .map(CellBuf::Integer),
        (CellBuf::Text(a), CellBuf::Text(b)) if operator == Operator::Concat => {
            Some(CellBuf::Text([a, b].concat()))
        }
        _ => None,
    }
}

/// SQLAlchemy writes its truths so: `(1=1)`, `(1=0)`.
fn compared(a: i64, operator: Operator, b: i64) -> Option<bool> {
    Some(match operator {
        Operator::Equals | Operator::Is => a == b,
        Operator::NotEquals | Operator::IsNot => a != b,
        Operator::Less => a < b,
        Operator::LessEquals => a <= b,
        Operator::Greater => a > b,
        Operator::GreaterEquals => a >= b,
        Operator::And => a != 0 && b != 0,
        Operator::Or => a != 0 || b != 0,
        _ => return None,
    })
}

/// An integral REAL is stored as INTEGER by the numeric affinities, strictly between the ends of 64 bits.
fn integral(value: f64) -> CellBuf {
    #[allow(clippy::cast_possible_truncation)] // Only a value that comes back the same is taken.
    let integer = value as i64;
    let strict = integer != i64::MIN && integer != i64::MAX;
    if strict && nearest(integer) == value { CellBuf::Integer(integer) } else { CellBuf::Real(value) }
}

#[allow(clippy::cast_precision_loss)] // SQLite rounds to the nearest REAL here, and so does this.
fn nearest(value: i64) -> f64 {
    value as f64
}

/// The spelling on which all of SQLite's versions agree: at most 15 digits and no exponent.
fn real_text(value: f64) -> Result<String, Refusal> {
    let text = format!("{value:?}");
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if (1e-4..1e15).contains(&value.abs()) && digits <= 15 {
        Ok(text)
    } else {
        Err(Refusal::new("a REAL in a column of text", "SQLite's versions spell it differently"))
    }
}
