//! ORDER BY and LIMIT. SQLite sorts NULLs first and text by its collation; a LIMIT needs an order that is the same in both.

use super::compound::{Body, Kind};
use super::{named_output, output_of};
use crate::model::cell::CellBuf;
use crate::model::types::Type;
use crate::plan::expr::{Collation, Collator, ExprType, Purpose, Scope, Term, Translator};
use crate::plan::parse::{self, Refusal};
use sqlite3_parser::ast::{Expr, Limit, NullsOrder, SortOrder, SortedColumn};

/// One key of ORDER BY.
struct Key {
    sql: String,
    /// The value that it tells apart, as SQL; nothing where a collation takes several for one.
    term: Option<String>,
    /// Whether every row has another value there.
    unique: bool,
}

/// What the keys tell apart together.
#[derive(Default)]
struct Told {
    unique: bool,
    terms: Vec<Option<String>>,
}

impl Told {
    /// Whether rows that the keys do not tell apart are the same in all their columns.
    fn all_of(&self, body: &Body) -> bool {
        let told =
            |term: &Term| term.cell().is_some() || self.terms.iter().flatten().any(|told| *told == term.sql);
        self.unique || body.outputs.iter().all(|output| told(&output.term))
    }
}

pub(super) fn clause(
    keys: &[SortedColumn<'_>],
    body: &Body,
    limit: Option<&Limit<'_>>,
) -> Result<String, Refusal> {
    let mut list = Vec::new();
    let mut told = Told::default();
    for key in keys {
        let Key { sql, term, unique } = read(&key.expr, body, Cut::of(limit))?;
        told.unique |= unique;
        told.terms.push(term);
        let (direction, nulls) = match key.order {
            None | Some(SortOrder::Asc) => ("asc", "first"),
            Some(SortOrder::Desc) => ("desc", "last"),
        };
        let nulls = match key.nulls {
            None => nulls,
            Some(NullsOrder::First) => "first",
            Some(NullsOrder::Last) => "last",
        };
        list.push(format!("{sql} {direction} nulls {nulls}"));
    }
    if limit.is_some() && !list.is_empty() && !told.all_of(body) {
        return Err(Refusal::new(
            "LIMIT",
            "rows that ORDER BY does not tell apart may stand at the cut; order by a primary key at last",
        ));
    }
    let order = if list.is_empty() { String::new() } else { format!(" order by {}", list.join(", ")) };
    Ok(format!("{order}{}", limit_sql(limit, keys)?))
}

/// Whether rows are cut off after they are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    None,
    Limit,
}

impl Cut {
    fn of(limit: Option<&Limit<'_>>) -> Cut {
        if limit.is_some() { Cut::Limit } else { Cut::None }
    }
}

fn read(key: &Expr<'_>, body: &Body, cut: Cut) -> Result<Key, Refusal> {
    let (inner, explicit) = match parse::bare(key) {
        Expr::Collate(inner, name) => (*inner, Some(Collator::named(&parse::unquoted(name))?)),
        other => (other, None),
    };
    let none = Scope::default();
    let scope = match &body.kind {
        Kind::Plain(scope) => scope,
        Kind::Outputs => &none,
    };
    let translator = Translator::new(scope, Purpose::Query);
    // An output's name goes before a column's here.
    let place = match inner {
        Expr::Id(id) => named_output(&parse::unquoted(id.0), &body.outputs),
        _ => output_of(&translator, inner, &body.outputs),
    };
    let term = match place {
        Some(place) => body.outputs[place].term.clone(),
        None => translator.value(inner)?,
    };
    let term = match explicit {
        Some(collator) => Term { collation: Collation::Explicit(collator), ..term },
        None => term,
    };
    sortable(&term, cut)?;
    let binary = term.collation.collator() == Collator::Binary || term.ty != ExprType::Text;
    let column = match place {
        Some(place) => Some(&body.outputs[place].column),
        None => translator.column(inner),
    };
    let unique = binary && column.is_some_and(|column| column.unique);
    let told = binary.then(|| term.sql.clone());
    let sql = match (place, &body.kind) {
        (Some(place), Kind::Outputs) if binary => (place + 1).to_string(),
        (_, Kind::Outputs) => {
            return Err(Refusal::new(
                "ORDER BY",
                "after UNION or DISTINCT only the result's own columns order it, as they are",
            ));
        }
        (Some(place), Kind::Plain(_)) if term.cell().is_some() => (place + 1).to_string(),
        (None, Kind::Plain(_)) if term.cell().is_some() => {
            return Err(Refusal::new("ORDER BY", "it names a constant"));
        }
        (_, Kind::Plain(_)) => term.indexed()?,
    };
    Ok(Key { sql, term: told, unique })
}

/// Times and uuids sort as their texts do where all are spelled alike; that is enough for a display, not to cut rows off.
fn sortable(term: &Term, cut: Cut) -> Result<(), Refusal> {
    let refusal = || Refusal::new("ORDER BY", format!("{} may be ordered differently", term.described()));
    match &term.ty {
        ExprType::Boolean | ExprType::Integer | ExprType::Float | ExprType::Numeric => Ok(()),
        ExprType::Text | ExprType::Bytea => Ok(()),
        ExprType::Column(
            Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) | Type::Uuid,
        ) if cut == Cut::None => Ok(()),
        ExprType::Column(_) | ExprType::Null => Err(refusal()),
    }
}

fn limit_sql(limit: Option<&Limit<'_>>, keys: &[SortedColumn<'_>]) -> Result<String, Refusal> {
    let Some(limit) = limit else { return Ok(String::new()) };
    if keys.is_empty() {
        return Err(Refusal::new("LIMIT without ORDER BY", "which rows it leaves is up to chance"));
    }
    if limit.offset.is_some() {
        // The tree does not tell `LIMIT a, b` from `LIMIT a OFFSET b`.
        return Err(Refusal::new(
            "LIMIT with an offset",
            "whether it was written with a comma or OFFSET is not read",
        ));
    }
    match parse::constant(&limit.expr) {
        Some(CellBuf::Integer(number @ 0..)) => Ok(format!(" limit {number}")),
        _ => Err(Refusal::new("LIMIT", "it is not a constant number of rows")),
    }
}
