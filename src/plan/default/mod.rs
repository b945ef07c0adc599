//! Column defaults: what the application gets for a column that it leaves out, after the switch as before it.
//!
//! A constant becomes the literal that the column's own codec makes of it; a known generator (the time, a random number, a uuid)
//! becomes PostgreSQL's. A default that is neither is refused, and the column then has none: never a default that means something else.

mod chance;
mod clock;
mod constant;
mod literal;

use super::parse::{self, Refusal};
use crate::canon::{Codec, Fit, Reason};
use crate::model::cell::{Cell, CellBuf};
use crate::model::schema::Affinity;
use crate::model::types::Type;
use sqlite3_parser::Bump;
use sqlite3_parser::ast::Expr;

/// The column whose default it is.
#[derive(Clone, Copy, Debug)]
pub struct DefaultTarget<'a> {
    /// SQLite applies it to the default before it stores it.
    pub affinity: Affinity,
    pub codec: &'a Codec,
}

/// The text after DEFAULT in the target; `None` where the default is NULL.
pub fn translate_default(raw: &str, target: DefaultTarget<'_>) -> Result<Option<String>, Refusal> {
    let arena = Bump::new();
    let expr = parse::expression(&arena, raw)?;
    if let Some(cell) = constant::fold(expr) {
        return constant_default(cell, target);
    }
    if let Some(clock) = clock::recognised(expr)? {
        return clock.sql(target).map(Some);
    }
    if let Some(chance) = chance::recognised(expr) {
        return chance.sql(target).map(Some);
    }
    Err(Refusal::new("an expression", "it is none of the defaults that PostgreSQL is known to give alike"))
}

/// A constant default as its column stores it; `None` where it is no constant, or where SQLite's versions store it differently.
pub(super) fn stored_constant(raw: &str, affinity: Affinity) -> Option<CellBuf> {
    let arena = Bump::new();
    let cell = constant::fold(parse::expression(&arena, raw).ok()?)?;
    constant::stored(cell, affinity).ok()
}

fn constant_default(cell: CellBuf, target: DefaultTarget<'_>) -> Result<Option<String>, Refusal> {
    let stored = constant::stored(cell, target.affinity)?;
    if let (Type::Bytea, CellBuf::Integer(_) | CellBuf::Real(_)) = (&target.codec.ty, &stored) {
        return Err(misplaced("a number", target));
    }
    let mut bytes = Vec::new();
    match fit(target.codec, stored.as_cell(), &mut bytes)? {
        Holds::Null => Ok(None),
        Holds::Value => literal::of(&target.codec.ty, &bytes).map(Some),
    }
}

enum Holds {
    Null,
    Value,
}

/// Whether the target column holds the value, be it in another spelling; its canonical bytes are appended.
fn fit(codec: &Codec, cell: Cell<'_>, bytes: &mut Vec<u8>) -> Result<Holds, Refusal> {
    match codec.encode(cell, bytes) {
        Fit::Null => Ok(Holds::Null),
        Fit::Exact | Fit::Kept(Reason::Class | Reason::Spelling) => Ok(Holds::Value),
        Fit::Kept(reason) | Fit::Lost(reason) => Err(Refusal::new(
            "a default that does not fit its column",
            format!("the column becomes {}: {}", codec.ty.sql(), reason.word()),
        )),
    }
}

/// A default that makes a value of some class, beside a column that cannot take it.
fn misplaced(what: &str, target: DefaultTarget<'_>) -> Refusal {
    Refusal::new(what, format!("a column of type {} does not take it", target.codec.ty.sql()))
}

/// One spelling for expressions that differ in spaces, letter case and parentheses alone; empty where it holds anything unusual.
fn spelled(expr: &Expr<'_>) -> String {
    use sqlite3_parser::ast::{Literal, Operator};
    match parse::bare(expr) {
        Expr::Literal(Literal::Numeric(digits)) => (*digits).to_owned(),
        Expr::Literal(Literal::String(text)) if text.eq_ignore_ascii_case("'now'") => "'now'".to_owned(),
        Expr::Literal(Literal::String(text)) => (*text).to_owned(),
        Expr::Binary(left, operator, right) => {
            let symbol = match operator {
                Operator::Add => "+",
                Operator::Subtract => "-",
                Operator::Multiply => "*",
                Operator::Modulus => "%",
                Operator::Concat => "||",
                _ => return String::new(),
            };
            format!("({}{symbol}{})", spelled(left), spelled(right))
        }
        Expr::Cast { expr, type_name: Some(ty) } if Affinity::of_declared(ty.name) == Affinity::Integer => {
            format!("int({})", spelled(expr))
        }
        Expr::FunctionCall { name, distinctness: None, args, order_by: None, filter_over: None } => {
            let args: Vec<String> = args.unwrap_or_default().iter().map(spelled).collect();
            format!("{}({})", name.0.to_ascii_lowercase(), args.join(","))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
