//! Comparisons: `=`, `<`, IS, BETWEEN, IN, and `typeof` against words.
//!
//! SQLite orders values of every class and converts by affinity first; PostgreSQL compares within one type. A comparison is
//! translated where both sides are surely of the class that goes with one type, so that neither rule ever comes into play.

use super::ExprType;
use super::term::{Collation, Collator, EXACT_MAX, Origin, Term};
use super::translator::Translator;
use crate::model::cell::{CellBuf, Class};
use crate::model::schema::Affinity;
use crate::model::types::Type;
use crate::plan::parse::{self, Refusal};
use sqlite3_parser::ast::{Expr, Literal, Operator};

pub(super) fn binary(
    translator: &Translator<'_>,
    left: &Expr<'_>,
    operator: Operator,
    right: &Expr<'_>,
) -> Result<Term, Refusal> {
    if let Operator::Is | Operator::IsNot = operator
        && let Some(test) = is_test(translator, left, operator, right)?
    {
        return Ok(test);
    }
    if let Some(subject) = typeof_subject(left)
        && let Some(CellBuf::Text(word)) = parse::constant(right)
    {
        let among = |wanted| class_among(translator, subject, &[word.as_slice()], wanted);
        match operator {
            Operator::Equals | Operator::Is => return among(Membership::Inside),
            Operator::NotEquals | Operator::IsNot => return among(Membership::Outside),
            _ => {}
        }
    }
    compared(translator.operand(left)?, operator, translator.operand(right)?)
}

pub(super) fn between(
    translator: &Translator<'_>,
    subject: &Expr<'_>,
    [low, high]: [&Expr<'_>; 2],
) -> Result<Term, Refusal> {
    let subject = translator.operand(subject)?;
    let low = compared(subject.clone(), Operator::GreaterEquals, translator.operand(low)?)?;
    let high = compared(subject, Operator::LessEquals, translator.operand(high)?)?;
    Ok(Term::truth(format!("({} and {})", low.sql, high.sql)))
}

pub(super) fn in_list(
    translator: &Translator<'_>,
    subject: &Expr<'_>,
    list: &[Expr<'_>],
) -> Result<Term, Refusal> {
    if list.is_empty() {
        return Err(Refusal::new("IN ()", "PostgreSQL has no empty list"));
    }
    let cells: Option<Vec<CellBuf>> = list.iter().map(|item| constant_of(translator, item)).collect();
    let cells = cells.ok_or_else(|| {
        Refusal::new("IN with values that are not constants", "they compare by other rules")
    })?;
    if let Some(subject) = typeof_subject(subject) {
        let words: Option<Vec<&[u8]>> = cells.iter().map(text_bytes).collect();
        if let Some(words) = words {
            return class_among(translator, subject, &words, Membership::Inside);
        }
    }
    let subject = translator.operand(subject)?;
    if let ExprType::Column(_) = subject.ty {
        return Err(opaque(&subject));
    }
    // Collations have no say among numbers and blobs.
    let collator = if subject.ty == ExprType::Text { subject.collation.collator() } else { Collator::Binary };
    let mut items = Vec::new();
    for cell in cells {
        items.push(match cell {
            CellBuf::Null => "null".to_owned(),
            cell => collator.side(&adapted(cell, &subject)?)?,
        });
    }
    let side = collator.side(&subject)?;
    Ok(Term::truth(format!("({side} in ({}))", items.join(", "))))
}

pub(super) fn is_null(translator: &Translator<'_>, subject: &Expr<'_>) -> Result<Term, Refusal> {
    Ok(Term::truth(format!("({} is null)", translator.operand(subject)?.sql)))
}

/// Two terms under one operator; the operand of a constant takes the constant's part.
pub(super) fn compared(left: Term, operator: Operator, right: Term) -> Result<Term, Refusal> {
    let collator = Collation::between(&left.collation, &right.collation);
    let (left, right) = match (left.cell().cloned(), right.cell().cloned()) {
        (Some(_), Some(_)) => both_constant(left, right)?,
        (None, Some(cell)) => {
            let right = adapted(cell, &left)?;
            (left, right)
        }
        (Some(cell), None) => (adapted(cell, &right)?, right),
        (None, None) => matched(left, right, operator)?,
    };
    if let Some(term) = plain_truth(&left, operator, &right) {
        return Ok(term);
    }
    let (left_sql, right_sql) = if left.ty == ExprType::Text {
        (collator.side(&left)?, collator.side(&right)?)
    } else {
        (left.sql.clone(), right.sql.clone())
    };
    let has_column = [&left, &right].iter().any(|term| matches!(term.origin, Origin::Column(_)));
    if left.ty == ExprType::Text && orders(operator) && !has_column {
        return Ok(Term::truth(format!("({left_sql}::text collate \"C\" {} {right_sql})", symbol(operator))));
    }
    Ok(Term::truth(format!("({left_sql} {} {right_sql})", symbol(operator))))
}

/// IS NULL, and IS TRUE or FALSE, which ask for truth and not for equality.
fn is_test(
    translator: &Translator<'_>,
    left: &Expr<'_>,
    operator: Operator,
    right: &Expr<'_>,
) -> Result<Option<Term>, Refusal> {
    let word = if operator == Operator::Is { "is" } else { "is not" };
    match parse::bare(right) {
        Expr::Literal(Literal::Null) => {
            let subject = translator.operand(left)?;
            Ok(Some(Term::truth(format!("({} {word} null)", subject.sql))))
        }
        Expr::Id(id) if parse::truth_word(id.0).is_some() && constant_of(translator, right).is_some() => {
            let condition = translator.condition(left)?;
            Ok(Some(Term::truth(format!("({condition} {word} {})", id.0.to_ascii_lowercase()))))
        }
        _ => Ok(None),
    }
}

/// A literal, or TRUE and FALSE and a double-quoted word where they are no columns.
fn constant_of(translator: &Translator<'_>, expr: &Expr<'_>) -> Option<CellBuf> {
    translator.value(expr).ok()?.cell().cloned()
}

fn both_constant(left: Term, right: Term) -> Result<(Term, Term), Refusal> {
    if left.ty == ExprType::Integer && right.ty == ExprType::Integer {
        return Ok((left, right));
    }
    Err(Refusal::new("a comparison of two constants", "it says nothing about the row"))
}

/// The constant as SQLite would see it beside this term, written as the term's type.
fn adapted(cell: CellBuf, term: &Term) -> Result<Term, Refusal> {
    let numeric = matches!(term.affinity, Some(Affinity::Integer | Affinity::Real | Affinity::Numeric));
    let cell = match cell {
        CellBuf::Text(bytes) if numeric => parse::number_in(&bytes).unwrap_or(CellBuf::Text(bytes)),
        CellBuf::Integer(value) if term.affinity == Some(Affinity::Text) => {
            CellBuf::Text(value.to_string().into_bytes())
        }
        other => other,
    };
    let across = |what: &str| {
        Refusal::new(
            format!("a comparison of {} with {what}", term.described()),
            "SQLite orders values across types, PostgreSQL compares within one type",
        )
    };
    match (&term.ty, &cell) {
        (_, CellBuf::Null) => Err(Refusal::new("a comparison with NULL", "it is never true")),
        (ExprType::Boolean, CellBuf::Integer(value @ (0 | 1))) => {
            Ok(Term { sql: (*value == 1).to_string(), ..Term::constant(CellBuf::Integer(*value))? })
        }
        (ExprType::Boolean, _) => Err(across("another value than 0 and 1")),
        (ExprType::Integer, CellBuf::Integer(_)) => Term::constant(cell),
        (ExprType::Integer | ExprType::Float | ExprType::Numeric, CellBuf::Integer(_) | CellBuf::Real(_)) => {
            number(&cell, &term.ty)
        }
        (ExprType::Text, CellBuf::Text(_)) | (ExprType::Bytea, CellBuf::Blob(_)) => Term::constant(cell),
        (ExprType::Column(_), _) => Err(opaque(term)),
        (ExprType::Integer | ExprType::Float | ExprType::Numeric, _) => Err(across("text or a blob")),
        (ExprType::Text, _) => Err(across("a number or a blob")),
        (ExprType::Bytea, _) => Err(across("a value that is no blob")),
        (ExprType::Null, _) => Err(across("a constant")),
    }
}

/// A number beside a number. Up to 2^53 the shortest decimal of a REAL sorts among decimals and integers as the REAL itself does.
fn number(cell: &CellBuf, beside: &ExprType) -> Result<Term, Refusal> {
    if let (ExprType::Float, CellBuf::Real(_)) = (beside, cell) {
        return Term::constant(cell.clone());
    }
    let beyond = || {
        Refusal::new(
            "a comparison with a very large number",
            "REALs beyond 2^53 are not told from their neighbours alike",
        )
    };
    #[allow(clippy::cast_precision_loss)] // 2^53 itself is a double.
    let (value, limit) = match cell {
        CellBuf::Integer(value) if value.unsigned_abs() <= EXACT_MAX.unsigned_abs() => {
            (*value as f64, EXACT_MAX as f64)
        }
        CellBuf::Real(value) => (*value, EXACT_MAX as f64),
        CellBuf::Integer(_) | CellBuf::Null | CellBuf::Text(_) | CellBuf::Blob(_) => return Err(beyond()),
    };
    if value.abs() > limit {
        return Err(beyond());
    }
    let sql = if value < 0.0 { format!("({value})") } else { value.abs().to_string() };
    Ok(Term { sql, ..Term::constant(cell.clone())? })
}

/// Two terms that are no constants.
fn matched(left: Term, right: Term, operator: Operator) -> Result<(Term, Term), Refusal> {
    match (&left.ty, &right.ty) {
        (ExprType::Boolean, ExprType::Integer) => Ok((left.into_integer("a comparison")?, right)),
        (ExprType::Integer, ExprType::Boolean) => Ok((left, right.into_integer("a comparison")?)),
        (ExprType::Boolean, ExprType::Boolean) | (ExprType::Integer, ExprType::Integer) => Ok((left, right)),
        (ExprType::Float, ExprType::Float) | (ExprType::Bytea, ExprType::Bytea) => Ok((left, right)),
        (ExprType::Numeric, ExprType::Numeric) if left.is_exact() && right.is_exact() => Ok((left, right)),
        (ExprType::Text, ExprType::Text) if is_numeric(&left) == is_numeric(&right) => Ok((left, right)),
        (ExprType::Column(a), ExprType::Column(b))
            if a == b && same_spelling(&left, &right) && !orders(operator) =>
        {
            Ok((left, right))
        }
        (ExprType::Column(_), _) => Err(opaque(&left)),
        (_, ExprType::Column(_)) => Err(opaque(&right)),
        _ => Err(Refusal::new(
            format!("a comparison of {} with {}", left.described(), right.described()),
            "SQLite orders values across types and converts by affinity, PostgreSQL compares within one type",
        )),
    }
}

fn is_numeric(term: &Term) -> bool {
    matches!(term.affinity, Some(Affinity::Integer | Affinity::Real | Affinity::Numeric))
}

/// Columns that become one type and are spelled alike are equal in PostgreSQL exactly where their cells are.
fn same_spelling(left: &Term, right: &Term) -> bool {
    let equal_by_bytes = matches!(
        left.ty,
        ExprType::Column(Type::Uuid | Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_))
    );
    let binary = Collation::between(&left.collation, &right.collation) == Collator::Binary;
    equal_by_bytes
        && binary
        && matches!(left.origin, Origin::Column(_))
        && left.origin == right.origin
        && left.class == Some(Class::Text)
        && right.class == left.class
}

/// `active = 1` is `active`, and `active = 0` its negation.
fn plain_truth(left: &Term, operator: Operator, right: &Term) -> Option<Term> {
    let Some(CellBuf::Integer(value)) = right.cell().filter(|_| left.ty == ExprType::Boolean) else {
        return None;
    };
    match (operator, value) {
        (Operator::Equals, 1) | (Operator::NotEquals, 0) => Some(Term::truth(left.sql.clone())),
        (Operator::Equals, 0) | (Operator::NotEquals, 1) => Some(Term::truth(format!("(not {})", left.sql))),
        _ => None,
    }
}

/// The argument of a `typeof()`.
pub(super) fn typeof_subject<'e, 'a>(expr: &'e Expr<'a>) -> Option<&'e Expr<'a>> {
    match parse::bare(expr) {
        Expr::FunctionCall { name, args: Some([subject]), .. } if name.0.eq_ignore_ascii_case("typeof") => {
            Some(subject)
        }
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    Inside,
    Outside,
}

/// Whether the class of a value is among these words, where its type leaves only one class or NULL.
fn class_among(
    translator: &Translator<'_>,
    subject: &Expr<'_>,
    words: &[&[u8]],
    wanted: Membership,
) -> Result<Term, Refusal> {
    let negated = wanted == Membership::Outside;
    let (term, among, null) = class_words(translator, subject, words)?;
    Ok(match (among != negated, null != negated) {
        (true, true) => Term::truth("true".into()),
        (false, false) => Term::truth("false".into()),
        (true, false) => Term::truth(format!("({} is not null)", term.sql)),
        (false, true) => Term::truth(format!("({} is null)", term.sql)),
    })
}

/// Whether the one class of the values is among the words, and whether `null` is.
pub(super) fn class_words(
    translator: &Translator<'_>,
    subject: &Expr<'_>,
    words: &[&[u8]],
) -> Result<(Term, bool, bool), Refusal> {
    let term = translator.value(subject)?;
    let class = term.class.ok_or_else(|| {
        Refusal::new(
            "typeof()",
            format!("{} may be of more than one storage class in SQLite", term.described()),
        )
    })?;
    let holds = |class: Class| words.contains(&class.word().as_bytes());
    Ok((term, holds(class), holds(Class::Null)))
}

fn text_bytes(cell: &CellBuf) -> Option<&[u8]> {
    match cell {
        CellBuf::Text(bytes) => Some(bytes),
        CellBuf::Null | CellBuf::Integer(_) | CellBuf::Real(_) | CellBuf::Blob(_) => None,
    }
}

fn opaque(term: &Term) -> Refusal {
    Refusal::new(
        format!("a comparison with {}", term.described()),
        "SQLite compares the cells as they are spelled, PostgreSQL what they mean",
    )
}

fn orders(operator: Operator) -> bool {
    matches!(operator, Operator::Less | Operator::LessEquals | Operator::Greater | Operator::GreaterEquals)
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Equals => "=",
        Operator::NotEquals => "<>",
        Operator::Less => "<",
        Operator::LessEquals => "<=",
        Operator::Greater => ">",
        Operator::GreaterEquals => ">=",
        Operator::Is => "is not distinct from",
        Operator::IsNot => "is distinct from",
        Operator::Add | Operator::And | Operator::ArrowRight | Operator::ArrowRightShift => {
            unreachable!("no comparison")
        }
        Operator::BitwiseAnd | Operator::BitwiseOr | Operator::Concat | Operator::Divide => {
            unreachable!("no comparison")
        }
        Operator::LeftShift | Operator::Modulus | Operator::Multiply | Operator::Or => {
            unreachable!("no comparison")
        }
        Operator::RightShift | Operator::Subtract => unreachable!("no comparison"),
    }
}
