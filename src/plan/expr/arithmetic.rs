//! Calculation with integers, bits and `||`.
//!
//! Where SQLite overflows into a REAL, divides by zero into NULL or reads a number out of text, PostgreSQL raises an error: a
//! calculation is translated where none of that can happen.

use super::ExprType;
use super::term::{Term, Width};
use crate::model::cell::CellBuf;
use crate::plan::parse::Refusal;
use sqlite3_parser::ast::Operator;

type Range = (i128, i128);

pub(super) fn negative(term: Term) -> Result<Term, Refusal> {
    let term = term.into_integer("a sign")?.widened();
    let (low, high) = term.reach();
    let range = within_bigint("a sign", (-high, -low))?;
    Ok(Term::integer(format!("(- {})", term.sql), range, Width::Bigint))
}

pub(super) fn complement(term: Term) -> Result<Term, Refusal> {
    let term = term.into_integer("~")?.widened();
    let (low, high) = term.reach();
    Ok(Term::integer(format!("(~ {})", term.sql), (!high, !low), Width::Bigint))
}

pub(super) fn calculation(left: Term, operator: Operator, right: Term) -> Result<Term, Refusal> {
    let construct = format!("the operator {}", symbol(operator));
    let (left, right) = (left.into_integer(&construct)?, right.into_integer(&construct)?);
    let range = match operator {
        Operator::Divide | Operator::Modulus => quotient(&construct, operator, &left, &right)?,
        _ => {
            let ((a, b), (c, d)) = (left.reach(), right.reach());
            match operator {
                Operator::Add => (a + c, b + d),
                Operator::Subtract => (a - d, b - c),
                _ => products([a, b], [c, d]).ok_or_else(|| overflow(&construct))?,
            }
        }
    };
    let range = within_bigint(&construct, range)?;
    Ok(Term::integer(joined(left, symbol(operator), right), range, Width::Bigint))
}

pub(super) fn bitwise(left: Term, operator: Operator, right: Term) -> Result<Term, Refusal> {
    let construct = format!("the operator {}", symbol(operator));
    let (left, right) = (left.into_integer(&construct)?.widened(), right.into_integer(&construct)?);
    match operator {
        Operator::LeftShift | Operator::RightShift => match right.cell() {
            Some(CellBuf::Integer(0..=63)) => {}
            _ => {
                return Err(Refusal::new(
                    construct,
                    "only shifts by a constant of 0 to 63 bits mean the same",
                ));
            }
        },
        _ => {}
    }
    let sql = format!("({} {} {})", left.sql, symbol(operator), right.sql);
    Ok(Term::computed(sql, ExprType::Integer))
}

pub(super) fn concatenation(left: Term, right: Term) -> Result<Term, Refusal> {
    let (left, right) = (left.into_text("||")?, right.into_text("||")?);
    Ok(Term::computed(format!("({} || {})", left.sql, right.sql), ExprType::Text))
}

/// The divisor must be a constant that is not zero; -1 overflows for one dividend, which the survey must exclude.
fn quotient(construct: &str, operator: Operator, left: &Term, right: &Term) -> Result<Range, Refusal> {
    let divisor = match right.cell() {
        Some(CellBuf::Integer(divisor)) if *divisor != 0 => i128::from(*divisor),
        _ => {
            return Err(Refusal::new(
                construct,
                "division by zero gives NULL in SQLite and an error in PostgreSQL; only constant divisors are safe",
            ));
        }
    };
    let (low, high) = left.reach();
    Ok(match operator {
        Operator::Modulus => (-divisor.abs(), divisor.abs()),
        _ => {
            let ends = [low / divisor, high / divisor];
            (ends[0].min(ends[1]), ends[0].max(ends[1]))
        }
    })
}

fn products([a, b]: [i128; 2], [c, d]: [i128; 2]) -> Option<Range> {
    let all = [a.checked_mul(c)?, a.checked_mul(d)?, b.checked_mul(c)?, b.checked_mul(d)?];
    Some((*all.iter().min()?, *all.iter().max()?))
}

fn joined(left: Term, symbol: &str, right: Term) -> String {
    let left =
        if left.width == Width::Narrow && right.width == Width::Narrow { left.widened() } else { left };
    format!("({} {symbol} {})", left.sql, right.sql)
}

fn within_bigint(construct: &str, range: Range) -> Result<Range, Refusal> {
    let fits = |value: i128| i64::try_from(value).is_ok();
    if fits(range.0) && fits(range.1) { Ok(range) } else { Err(overflow(construct)) }
}

fn overflow(construct: &str) -> Refusal {
    Refusal::new(
        construct,
        "by the values' range it may overflow, into a REAL in SQLite and an error in PostgreSQL",
    )
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulus => "%",
        Operator::BitwiseAnd => "&",
        Operator::BitwiseOr => "|",
        Operator::LeftShift => "<<",
        Operator::RightShift => ">>",
        Operator::Concat => "||",
        Operator::And | Operator::Or | Operator::Equals | Operator::NotEquals | Operator::Is => {
            unreachable!("no calculation")
        }
        Operator::IsNot | Operator::Less | Operator::LessEquals | Operator::Greater => {
            unreachable!("no calculation")
        }
        Operator::GreaterEquals | Operator::ArrowRight | Operator::ArrowRightShift => {
            unreachable!("no calculation")
        }
    }
}
