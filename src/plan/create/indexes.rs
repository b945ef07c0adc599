//! Indexes and unique constraints, built after the load.
//!
//! An index is created as SQLite has it (its terms, collations, directions, predicate, and NULLs, where there may be some, before
//! everything else) or not at all; what is unique in SQLite is unique here by the same comparison, or the report says that it is not.

use super::draft::Draft;
use super::keys::INDEX_COLUMNS_MAX;
use super::scope;
use crate::model::finding::Finding;
use crate::model::name::{ident, ident_list};
use crate::model::schema::{IndexOrigin, IndexPart, IndexTerm, SqliteIndex};
use crate::model::types::Type;
use crate::plan::Statement;
use crate::plan::expr::{self, ExprType, Purpose};
use crate::plan::naming::Names;
use crate::plan::parse::Refusal;
use crate::plan::rules;
use std::fmt;

/// One term of an index in PostgreSQL.
struct Term {
    /// With its collation, without its direction.
    sql: String,
    direction: &'static str,
    /// Equal for equal values and short, where the value itself can be too long for an entry.
    digest: Option<String>,
    /// The source column, where the term is one.
    column: Option<usize>,
}

/// An index ready to be spelled.
struct Index {
    name: String,
    unique: bool,
    terms: Vec<Term>,
    predicate: Option<String>,
}

pub(super) fn add_all(draft: &mut Draft<'_>, names: &mut Names) {
    let source = draft.source;
    let mut spelled: Vec<(String, &str, Option<String>)> = Vec::new();
    for index in source.indexes.iter().filter(|index| index.origin != IndexOrigin::PrimaryKey) {
        let body = rules::body(source, index, str::to_owned);
        let made_as = match spelled.iter().find(|(known, ..)| *known == body) {
            Some((_, twin, made_as)) => {
                report_twin(draft, index, twin);
                made_as.clone()
            }
            None => {
                let made = draft.indexes.len();
                match index.origin {
                    IndexOrigin::Created => add_created(draft, names, index),
                    IndexOrigin::Unique | IndexOrigin::PrimaryKey => add_unique(draft, names, &index.parts),
                }
                draft.indexes.get(made).map(|statement| statement.what.clone())
            }
        };
        draft.made_as.push(made_as.clone());
        spelled.push((body, &index.name, made_as));
    }
}

/// A UNIQUE constraint of the source. Where all its columns compare by their bytes it stays a constraint, which foreign keys can
/// point to; otherwise it becomes a unique index.
pub(super) fn add_unique(draft: &mut Draft<'_>, names: &mut Names, parts: &[IndexPart]) {
    let columns: Vec<usize> = parts.iter().filter_map(column_of).collect();
    let listed = columns.iter().map(|column| draft.columns.names[*column].as_str()).collect::<Vec<_>>();
    let what = format!("unique ({})", listed.join(", "));
    let wish = format!("{}_{}_key", draft.target.name, listed.join("_"));
    let list = ident_list(listed);
    let terms = match terms(draft, parts) {
        Ok(terms) => terms,
        Err(refusal) => return draft.drop_with("unique_dropped", &what, &unique_in_sqlite(&refusal)),
    };
    let name = names.invent(&wish);
    let index = Index { name, unique: true, terms, predicate: None };
    if !is_plain(draft, parts) || draft.is_long(&columns) {
        return add(draft, &index, &what);
    }
    draft.constraint_names.claim(&index.name);
    let statement = Statement {
        what: format!("constraint {} on {}", ident(&index.name), ident(&draft.target.name)),
        sql: draft.alter(&format!("add constraint {} unique ({list})", ident(&index.name))),
        fallback: digested(draft, &index),
        required: false,
    };
    draft.note(format!("{what}: kept"));
    draft.unique.push(columns);
    draft.indexes.push(statement);
}

/// What tells rows apart where a key's values turn out too long for an index entry: a unique index of their digests.
pub(super) fn digest_key(draft: &Draft<'_>, name: &str, columns: &[usize]) -> Option<String> {
    let plain = |column: &usize| IndexPart {
        term: IndexTerm::Column(*column),
        collation: "BINARY".to_owned(),
        descending: false,
    };
    let parts: Vec<IndexPart> = columns.iter().map(plain).collect();
    let terms = terms(draft, &parts).ok()?;
    digested(draft, &Index { name: name.to_owned(), unique: true, terms, predicate: None })
}

/// Whether all parts are columns that SQLite compares by their bytes, as the target's type does.
pub(super) fn is_plain(draft: &Draft<'_>, parts: &[IndexPart]) -> bool {
    parts.len() <= INDEX_COLUMNS_MAX
        && parts.iter().all(|part| {
            let binary = part.collation.eq_ignore_ascii_case("binary");
            column_of(part)
                .is_some_and(|column| has_order(draft.ty(column)) && (binary || !draft.is_textual(column)))
        })
}

/// Whether the type has the order that a btree index needs.
pub(super) fn has_order(ty: &Type) -> bool {
    match ty {
        Type::Json | Type::Other(_) => false,
        Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 => true,
        Type::Numeric(_) | Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext => true,
        Type::Bytea | Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) => true,
        Type::Interval(_) | Type::Uuid | Type::Jsonb | Type::Inet | Type::Cidr | Type::Macaddr => true,
        Type::Oid | Type::Enum(_) | Type::Array { .. } => true,
    }
}

fn add_created(draft: &mut Draft<'_>, names: &Names, source: &SqliteIndex) {
    let what = format!("index {}", ident(&source.name));
    let translated = terms(draft, &source.parts).and_then(|terms| Ok((terms, predicate(draft, source)?)));
    match translated {
        Ok((terms, predicate)) => {
            let index = Index { name: names.of(&source.name), unique: source.unique, terms, predicate };
            add(draft, &index, &what);
            let columns: Option<Vec<usize>> = source.parts.iter().map(column_of).collect();
            if let Some(columns) = columns
                && source.unique
                && index.predicate.is_none()
                && is_plain(draft, &source.parts)
                && !draft.is_long(&columns)
            {
                draft.unique.push(columns);
            }
        }
        Err(refusal) if source.unique => {
            draft.drop_with("index_dropped", &what, &unique_in_sqlite(&refusal));
        }
        Err(refusal) => draft.drop_with("index_dropped", &what, &refusal.to_string()),
    }
}

/// Whoever reads why it is missing is to know what that leads to.
fn unique_in_sqlite(why: &impl fmt::Display) -> String {
    format!(
        "{why}; SQLite goes on keeping rows unique by it, so that a second one which is written to PostgreSQL after the switch halts the way back"
    )
}

fn add(draft: &mut Draft<'_>, index: &Index, what: &str) {
    if index.terms.len() > INDEX_COLUMNS_MAX {
        let why = format!("it has {} columns and PostgreSQL takes {INDEX_COLUMNS_MAX}", index.terms.len());
        let why = if index.unique { unique_in_sqlite(&why) } else { why };
        return draft.drop_with("index_too_wide", what, &why);
    }
    let columns: Vec<usize> = index.terms.iter().filter_map(|term| term.column).collect();
    let by_value = by_value(draft, index);
    let by_digest = if index.unique { digested(draft, index) } else { hashed(draft, index) };
    let (sql, fallback, how) = match (draft.is_long(&columns), by_digest) {
        (false, by_digest) => (by_value, by_digest, "kept"),
        (true, Some(by_digest)) if index.unique => {
            (by_digest, None, "unique by digest, its values being too long for an index entry")
        }
        (true, Some(by_digest)) => {
            (by_digest, None, "a hash index, its values being too long for an index entry")
        }
        (true, None) => {
            let why = "its values are too long for an index entry";
            let why = if index.unique { unique_in_sqlite(&why) } else { why.to_owned() };
            return draft.drop_with("index_too_long", what, &why);
        }
    };
    draft.note(format!("{what}: {how}"));
    let statement = Statement {
        what: format!("index {} on {}", ident(&index.name), ident(&draft.target.name)),
        sql,
        fallback,
        required: false,
    };
    draft.indexes.push(statement);
}

fn by_value(draft: &Draft<'_>, index: &Index) -> String {
    let terms = index.terms.iter().map(|term| format!("{}{}", term.sql, term.direction));
    spell(draft, index, &format!("({})", terms.collect::<Vec<_>>().join(", ")))
}

/// A unique index whose long values are told apart by their digests.
fn digested(draft: &Draft<'_>, index: &Index) -> Option<String> {
    index.terms.iter().find(|term| term.digest.is_some())?;
    let terms = index.terms.iter().map(|term| term.digest.as_ref().unwrap_or(&term.sql).clone());
    Some(spell(draft, index, &format!("({})", terms.collect::<Vec<_>>().join(", "))))
}

/// A hash index takes values of any length, but a single term.
fn hashed(draft: &Draft<'_>, index: &Index) -> Option<String> {
    match index.terms.as_slice() {
        [Term { sql, digest: Some(_), .. }] => Some(spell(draft, index, &format!("using hash ({sql})"))),
        _ => None,
    }
}

fn spell(draft: &Draft<'_>, index: &Index, terms: &str) -> String {
    let unique = if index.unique { "unique " } else { "" };
    let predicate =
        index.predicate.as_ref().map(|predicate| format!(" where {predicate}")).unwrap_or_default();
    format!("create {unique}index {} on {} {terms}{predicate}", ident(&index.name), draft.target.sql())
}

fn terms(draft: &Draft<'_>, parts: &[IndexPart]) -> Result<Vec<Term>, Refusal> {
    parts.iter().map(|part| term(draft, part)).collect()
}

fn term(draft: &Draft<'_>, part: &IndexPart) -> Result<Term, Refusal> {
    let holds_no_null = match part.term {
        IndexTerm::Column(column) => draft.is_not_null(column),
        IndexTerm::Rowid => true,
        IndexTerm::Expression(_) => false,
    };
    // SQLite sorts NULL before everything. Where none can be, an index that says so would serve no `order by` that does not.
    let direction = match (part.descending, holds_no_null) {
        (false, true) => "",
        (true, true) => " desc",
        (false, false) => " asc nulls first",
        (true, false) => " desc nulls last",
    };
    let binary = part.collation.eq_ignore_ascii_case("binary");
    match &part.term {
        IndexTerm::Column(column) => {
            let sql = column_sql(draft, *column, &part.collation)?;
            let digest = draft.varies(*column).then(|| digest(draft, *column, &sql));
            Ok(Term { sql, direction, digest, column: Some(*column) })
        }
        IndexTerm::Rowid => {
            let sql = draft.rowid_sql().ok_or_else(|| Refusal {
                construct: "the rowid".to_owned(),
                reason: "no column of the target carries it".to_owned(),
            })?;
            Ok(Term { sql, direction, digest: None, column: None })
        }
        IndexTerm::Expression(text) => {
            let translated = expr::translate(text, &scope::of(draft), Purpose::IndexTerm)?;
            let textual = translated.ty == ExprType::Text;
            let collated = textual && !binary;
            let sql =
                if collated { expr::collated(&translated.sql, &part.collation)? } else { translated.sql };
            let digest = textual.then(|| format!("(md5({sql}))"));
            Ok(Term { sql: format!("({sql})"), direction, digest, column: None })
        }
    }
}

/// A column as an index compares it under one of SQLite's collations.
fn column_sql(draft: &Draft<'_>, column: usize, collation: &str) -> Result<String, Refusal> {
    let sql = draft.column_sql(column);
    let binary = collation.eq_ignore_ascii_case("binary");
    match draft.ty(column) {
        Type::Json => expr::collated(&format!("({sql}::text)"), collation),
        Type::Bytea | Type::Enum(_) if draft.is_textual(column) && !binary => Err(Refusal {
            construct: format!("collation {collation}"),
            reason: format!("{sql} is not text in PostgreSQL"),
        }),
        _ if draft.is_textual(column) && !binary => expr::collated(&sql, collation),
        _ => Ok(sql),
    }
}

/// `md5` and `sha256` are what PostgreSQL holds to be immutable for text and for bytes.
fn digest(draft: &Draft<'_>, column: usize, sql: &str) -> String {
    match draft.ty(column) {
        Type::Bytea => format!("(sha256({sql}))"),
        Type::Jsonb | Type::Array { .. } => sql.to_owned(),
        _ => format!("(md5({sql}))"),
    }
}

fn predicate(draft: &Draft<'_>, index: &SqliteIndex) -> Result<Option<String>, Refusal> {
    let Some(text) = &index.predicate else { return Ok(None) };
    Ok(Some(expr::translate(text, &scope::of(draft), Purpose::Predicate)?.sql))
}

fn report_twin(draft: &mut Draft<'_>, index: &SqliteIndex, twin: &str) {
    let text = format!("it is the same as {}: one of them is created", ident(twin));
    draft.note(format!("index {}: {text}", ident(&index.name)));
    draft.findings.push(Finding::note("index_redundant", index.name.clone(), text));
}

fn column_of(part: &IndexPart) -> Option<usize> {
    match part.term {
        IndexTerm::Column(column) => Some(column),
        IndexTerm::Rowid | IndexTerm::Expression(_) => None,
    }
}
