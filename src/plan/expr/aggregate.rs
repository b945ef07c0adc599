//! Aggregates in views: those whose result does not depend on the order of the rows.

use super::functions::Call;
use super::term::{Collation, Collator, Origin, Term, Width};
use super::translator::Translator;
use super::{ExprType, Purpose};
use crate::model::types::Type;
use crate::plan::parse::Refusal;
use sqlite3_parser::ast::FunctionTail;

/// A call of a function that is an aggregate with these arguments; nothing where it is none.
pub(super) fn call(translator: &Translator<'_>, call: &Call<'_, '_>) -> Result<Option<Term>, Refusal> {
    let [arg] = call.args else { return Ok(None) };
    if !matches!(call.name.as_str(), "count" | "sum" | "min" | "max" | "avg") {
        return Ok(None);
    }
    if call.ordered {
        return Err(call.refusal("the order of its rows is stated"));
    }
    let term = translator.value(arg)?;
    let filter = filter(translator, &call.label(), call.tail)?;
    match call.name.as_str() {
        "count" => count(call, &term, &filter),
        _ if call.distinct => Err(call.refusal("DISTINCT is translated in count() alone")),
        "sum" => sum(call, term, &filter),
        "avg" => average(call, term, &filter),
        _ => extreme(call, term, &filter),
    }
    .map(Some)
}

pub(super) fn count_rows(
    translator: &Translator<'_>,
    name: &str,
    tail: Option<&FunctionTail<'_>>,
) -> Result<Term, Refusal> {
    if !name.eq_ignore_ascii_case("count") || translator.purpose != Purpose::Query {
        return Err(Refusal::new(
            format!("{name}(*)"),
            "it is an aggregate, which has no meaning for a single row",
        ));
    }
    let filter = filter(translator, "count(*)", tail)?;
    Ok(Term::integer(format!("count(*){filter}"), (0, i128::from(i64::MAX)), Width::Bigint))
}

/// Whether values that are equal in one database are equal in the other, so that they fall into the same groups.
pub(in crate::plan) fn groups_alike(term: &Term) -> bool {
    match &term.ty {
        ExprType::Text => matches!(
            term.collation,
            Collation::None | Collation::Of(Collator::Binary) | Collation::Explicit(Collator::Binary)
        ),
        ExprType::Boolean | ExprType::Integer | ExprType::Float | ExprType::Bytea => true,
        ExprType::Numeric => term.is_exact(),
        ExprType::Column(ty) => {
            matches!(ty, Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) | Type::Uuid)
        }
        ExprType::Null => false,
    }
}

fn count(call: &Call<'_, '_>, term: &Term, filter: &str) -> Result<Term, Refusal> {
    if call.distinct && !groups_alike(term) {
        return Err(call.refusal("which values are the same is not certain"));
    }
    let distinct = if call.distinct { "distinct " } else { "" };
    let sql = format!("count({distinct}{}){filter}", term.sql);
    Ok(Term::integer(sql, (0, i128::from(i64::MAX)), Width::Bigint))
}

/// Both databases raise an error where the sum is beyond 64 bits.
fn sum(call: &Call<'_, '_>, term: Term, filter: &str) -> Result<Term, Refusal> {
    let term = integers(call, term)?;
    Ok(Term::computed(format!("((sum({}){filter})::bigint)", term.sql), ExprType::Integer))
}

fn average(call: &Call<'_, '_>, term: Term, filter: &str) -> Result<Term, Refusal> {
    let sql = integers(call, term)?.sql;
    let average = format!("((sum({sql}){filter})::double precision / (count({sql}){filter}))");
    Ok(Term::computed(average, ExprType::Float))
}

fn integers(call: &Call<'_, '_>, term: Term) -> Result<Term, Refusal> {
    match term.ty {
        ExprType::Float | ExprType::Numeric => {
            Err(call.refusal("a sum of REALs depends on the order of the rows and on how it is rounded"))
        }
        ExprType::Boolean
        | ExprType::Integer
        | ExprType::Text
        | ExprType::Bytea
        | ExprType::Null
        | ExprType::Column(_) => term.into_integer(&call.label()),
    }
}

fn extreme(call: &Call<'_, '_>, term: Term, filter: &str) -> Result<Term, Refusal> {
    let term = match &term.ty {
        ExprType::Boolean => term.into_integer(&call.label())?,
        ExprType::Integer | ExprType::Float | ExprType::Numeric => term,
        ExprType::Text if groups_alike(&term) => Term { sql: term.clone().indexed()?, ..term },
        ExprType::Text | ExprType::Bytea | ExprType::Null | ExprType::Column(_) => {
            return Err(call.refusal("the two databases may order these values differently"));
        }
    };
    let sql = format!("({}({}){filter})", call.name, term.sql);
    Ok(Term { sql, collation: Collation::None, affinity: None, origin: Origin::Computed, ..term })
}

fn filter(
    translator: &Translator<'_>,
    construct: &str,
    tail: Option<&FunctionTail<'_>>,
) -> Result<String, Refusal> {
    let Some(tail) = tail else { return Ok(String::new()) };
    match (tail.over_clause, tail.filter_clause) {
        (Some(_), _) => Err(Refusal::new(construct, "window functions are not translated")),
        (None, Some(condition)) => Ok(format!(" filter (where {})", translator.condition(condition)?)),
        (None, None) => Ok(String::new()),
    }
}
