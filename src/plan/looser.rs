//! Rows that SQLite keeps unique and the target does not: the first that the application writes there twice after the switch halts the way
//! back. Told before anybody depends on it, with what has the target refuse it too.

use super::route::{ColumnRoute, Route};
use crate::model::catalog::PgTable;
use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::model::schema::{IndexPart, SqliteIndex, SqliteTable};
use crate::model::types::Type;

pub fn uniques_refused_back(route: &Route, source: &SqliteTable, target: &PgTable) -> Option<Finding> {
    let uniques = source.indexes.iter().filter(|index| index.unique && index.predicate.is_none());
    let parts = uniques.filter_map(|index| parts(route, source, index));
    let all: Vec<Vec<Part<'_>>> = parts.filter(|parts| !is_kept(parts, target)).collect();
    // What is unique by fewer columns is so by more.
    let is_implied =
        |parts: &&Vec<Part<'_>>| all.iter().any(|fewer| fewer.len() < parts.len() && implies(fewer, parts));
    let loose: Vec<&Vec<Part<'_>>> = all.iter().filter(|parts| !is_implied(parts)).collect();
    if loose.is_empty() {
        return None;
    }
    let told = |parts: &&Vec<Part<'_>>| format!("({})", joined(parts, |part| part.column.target.clone()));
    let text = format!(
        "SQLite keeps rows unique by what the target does not: {}; a second one that is written there after the switch halts the way back",
        loose.iter().map(told).collect::<Vec<_>>().join(", ")
    );
    let table = route.target.sql();
    let once = |parts: &&Vec<Part<'_>>| {
        format!("create unique index on {table} ({});", joined(parts, |part| part.sql()))
    };
    let once: Vec<String> = loose.iter().map(once).collect();
    let remedy = format!("have the target keep them unique too: {}", once.join(" "));
    Some(Finding::warning("reverse_uniques", &route.source, text).with_remedy(remedy))
}

/// A column of a unique index.
struct Part<'a> {
    column: &'a ColumnRoute,
    /// By which SQLite compares it, where that is not its bytes.
    folded: Option<&'a str>,
}

/// Nothing where a part of it does not cross as a column.
fn parts<'a>(route: &'a Route, source: &SqliteTable, index: &'a SqliteIndex) -> Option<Vec<Part<'a>>> {
    let part = |part: &'a IndexPart| {
        let name = &source.columns[part.term.column()?].name;
        let column = route.columns.iter().find(|column| column.source.as_ref() == Some(name))?;
        let is_text =
            matches!(column.codec.ty, Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext);
        let folds = is_text && !part.collation.eq_ignore_ascii_case("binary");
        Some(Part { column, folded: folds.then_some(part.collation.as_str()) })
    };
    index.parts.iter().map(part).collect()
}

/// What an index over an expression keeps apart is not looked into: it may well be this.
fn is_kept(parts: &[Part<'_>], target: &PgTable) -> bool {
    let compares_alike = |part: &Part<'_>| {
        let found = target.columns.iter().find(|column| column.name == part.column.target);
        let folds = found.is_some_and(|column| column.ty == Type::Citext || !column.collation_deterministic);
        part.folded.is_none() || folds
    };
    let names: Vec<&String> = parts.iter().map(|part| &part.column.target).collect();
    let uniques = target.indexes.iter().filter(|index| index.unique && index.valid && !index.partial);
    uniques.into_iter().any(|index| match &index.columns {
        None => true,
        Some(columns) => {
            columns.iter().all(|column| names.contains(&column)) && parts.iter().all(compares_alike)
        }
    })
}

fn implies(fewer: &[Part<'_>], more: &[Part<'_>]) -> bool {
    let tells_no_less = |part: &Part<'_>, other: &Part<'_>| part.folded.is_some() || other.folded.is_none();
    let is_among = |part: &Part<'_>| {
        more.iter().any(|other| other.column.target == part.column.target && tells_no_less(part, other))
    };
    fewer.iter().all(is_among)
}

impl Part<'_> {
    fn sql(&self) -> String {
        let name = ident(&self.column.target);
        match self.folded {
            Some(folded) if folded.eq_ignore_ascii_case("nocase") => {
                format!("lower({name} collate \"C\") collate \"C\"")
            }
            Some(folded) if folded.eq_ignore_ascii_case("rtrim") => format!("rtrim({name}, ' ')"),
            Some(_) | None => name,
        }
    }
}

fn joined(parts: &[Part<'_>], sql: impl Fn(&Part<'_>) -> String) -> String {
    parts.iter().map(sql).collect::<Vec<_>>().join(", ")
}
