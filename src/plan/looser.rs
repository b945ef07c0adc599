//! Rows that SQLite keeps unique and the target does not: the first that the application writes there twice after the switch halts the way
//! back. Told before anybody depends on it, with what has the target refuse it too.

use super::route::{ColumnRoute, Route};
use crate::model::catalog::PgTable;
use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::model::schema::{IndexPart, IndexTerm, SqliteIndex, SqliteTable};
use crate::model::types::Type;

pub fn uniques_refused_back(route: &Route, source: &SqliteTable, target: &PgTable) -> Option<Finding> {
    let uniques = source.indexes.iter().filter(|index| index.unique && index.predicate.is_none());
    let parts = uniques.filter_map(|index| parts(route, source, index)).chain(rowid(route, source));
    let all: Vec<Vec<Part<'_>>> = parts.filter(|parts| !is_kept(parts, target)).collect();
    // What is unique by fewer columns is so by more.
    let is_implied =
        |parts: &&Vec<Part<'_>>| all.iter().any(|fewer| fewer.len() < parts.len() && implies(fewer, parts));
    let loose: Vec<&Vec<Part<'_>>> = all.iter().filter(|parts| !is_implied(parts)).collect();
    let in_words = in_words(source, target);
    if loose.is_empty() && in_words.is_empty() {
        return None;
    }
    let told = |parts: &&Vec<Part<'_>>| format!("({})", joined(parts, |part| part.column.target.clone()));
    let text = format!(
        "SQLite keeps rows unique by what the target does not: {}; a second one that is written there after the switch halts the way back",
        loose.iter().map(told).chain(in_words.iter().cloned()).collect::<Vec<_>>().join(", ")
    );
    let table = route.target.sql();
    let once = |parts: &&Vec<Part<'_>>| {
        format!("create unique index on {table} ({});", joined(parts, |part| part.sql()))
    };
    let once: Vec<String> = loose.iter().map(once).collect();
    let by_hand = match &in_words[..] {
        [] => String::new(),
        words => format!(
            "{}a unique index of the target's own says what {} says",
            if once.is_empty() { "" } else { " " },
            words.join(", ")
        ),
    };
    let remedy = format!("have the target keep them unique too: {}{by_hand}", once.join(" "));
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

/// The column that is the rowid, which no index keeps.
fn rowid<'a>(route: &'a Route, source: &SqliteTable) -> Option<Vec<Part<'a>>> {
    let name = &source.columns[source.rowid_alias()?].name;
    let column = route.columns.iter().find(|column| column.source.as_ref() == Some(name))?;
    Some(vec![Part { column, folded: None }])
}

/// Unique indexes over expressions, or under a condition, in SQLite's words. The target's own are not looked into: one of their kind may well
/// be the same.
fn in_words(source: &SqliteTable, target: &PgTable) -> Vec<String> {
    let is_computed = |index: &SqliteIndex| index.parts.iter().any(|part| part.term.column().is_none());
    let is_like = |index: &SqliteIndex| {
        let uniques = target.indexes.iter().filter(|there| there.unique && there.valid);
        let names: Vec<&str> = index
            .parts
            .iter()
            .filter_map(|part| Some(source.columns[part.term.column()?].name.as_str()))
            .collect();
        uniques.into_iter().any(|there| match &there.columns {
            None => true,
            Some(_) if there.partial => index.predicate.is_some(),
            Some(columns) => {
                columns.iter().all(|column| names.iter().any(|name| name.eq_ignore_ascii_case(column)))
            }
        })
    };
    let words = |index: &SqliteIndex| {
        let part = |part: &IndexPart| match &part.term {
            IndexTerm::Column(column) => source.columns[*column].name.clone(),
            IndexTerm::Rowid => "rowid".to_owned(),
            IndexTerm::Expression(text) => text.clone(),
        };
        let parts: Vec<String> = index.parts.iter().map(part).collect();
        let condition = index.predicate.as_ref().map(|text| format!(" where {text}")).unwrap_or_default();
        format!("({}){condition}", parts.join(", "))
    };
    let loose = source
        .indexes
        .iter()
        .filter(|index| index.unique && (index.predicate.is_some() || is_computed(index)) && !is_like(index));
    loose.map(words).collect()
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
