//! CHECKs that the target's types guarantee by themselves.

use super::ExprType;
use super::compare::{class_words, typeof_subject};
use super::translator::{Translator, operands};
use crate::model::cell::CellBuf;
use crate::model::types::Type;
use crate::plan::parse::{self, Refusal};
use sqlite3_parser::ast::{Expr, Operator};

/// Whether a condition is true or NULL for every row that the target can hold. (`json_valid(NULL)` is NULL since SQLite 3.45.)
pub(super) fn never_false(translator: &Translator<'_>, expr: &Expr<'_>) -> Result<bool, Refusal> {
    match parse::bare(expr) {
        Expr::Binary(_, chain @ (Operator::And | Operator::Or), _) => {
            let mut parts = operands(expr, *chain).into_iter().map(|part| never_false(translator, part));
            if *chain == Operator::And { all(&mut parts) } else { any(&mut parts) }
        }
        Expr::FunctionCall { name, args: Some([subject]), .. }
            if name.0.eq_ignore_ascii_case("json_valid") =>
        {
            let subject = translator.value(subject)?;
            Ok(matches!(subject.ty, ExprType::Column(Type::Json | Type::Jsonb)))
        }
        Expr::InList { lhs, not: false, rhs: Some(list) } => list_holds_all(translator, lhs, list),
        _ => Ok(false),
    }
}

/// Both truth values in a list beside a boolean column; the one class and `null` beside a `typeof`.
fn list_holds_all(
    translator: &Translator<'_>,
    subject: &Expr<'_>,
    list: &[Expr<'_>],
) -> Result<bool, Refusal> {
    let cells: Vec<CellBuf> =
        list.iter().filter_map(|item| translator.value(item).ok()?.cell().cloned()).collect();
    if let Some(subject) = typeof_subject(subject) {
        let words: Vec<&[u8]> = cells.iter().filter_map(word).collect();
        let (_, class, null) = class_words(translator, subject, &words)?;
        return Ok(class && null);
    }
    let holds = |truth: i64| cells.contains(&CellBuf::Integer(truth));
    Ok(translator.value(subject)?.ty == ExprType::Boolean && holds(0) && holds(1))
}

fn word(cell: &CellBuf) -> Option<&[u8]> {
    match cell {
        CellBuf::Text(bytes) => Some(bytes),
        CellBuf::Null | CellBuf::Integer(_) | CellBuf::Real(_) | CellBuf::Blob(_) => None,
    }
}

fn all(parts: &mut dyn Iterator<Item = Result<bool, Refusal>>) -> Result<bool, Refusal> {
    for part in parts {
        if !part? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any(parts: &mut dyn Iterator<Item = Result<bool, Refusal>>) -> Result<bool, Refusal> {
    for part in parts {
        if part? {
            return Ok(true);
        }
    }
    Ok(false)
}
