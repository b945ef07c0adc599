//! Which column a sequence that nobody owns looks to number, by its name alone. A guess: it is told, and nothing is set by it.

use crate::model::catalog::{Identity, PgColumn, PgSequence};
use crate::plan::numbers::Written;

/// A table that rows go into, as SQLite names it.
pub struct Numbered<'a> {
    pub name: &'a str,
    /// In SQLite's order, each with the target's column that it fills.
    pub columns: Vec<(&'a str, Option<&'a PgColumn>)>,
    /// The column that is SQLite's rowid.
    pub key: Option<usize>,
}

/// The place of a table, and of one of its columns that holds whole numbers, or texts under the very name. `others`: all sequences of the target.
pub fn feeder(sequence: &str, tables: &[Numbered<'_>], others: &[PgSequence]) -> Option<(usize, usize)> {
    let stem = stem_of(sequence);
    let bare = |name: &str| name.trim_start_matches('_').to_owned();
    named(&stem, tables, str::to_owned)
        .or_else(|| named(&bare(&stem), tables, bare))
        .or_else(|| shortened(&stem, tables, others))
}

/// `<table>_<column>_seq`, `events_stream_seq` for `events.stream_ordering`, `receipts_sequence` for the first number of
/// `receipts_linearized`, `issue_ids` for `issue.id`. The longest table name wins.
fn named(stem: &str, tables: &[Numbered<'_>], spelled: impl Fn(&str) -> String) -> Option<(usize, usize)> {
    let candidates = tables.iter().enumerate().filter_map(|(place, numbered)| {
        let table = spelled(&numbered.name.to_ascii_lowercase());
        let singular = table.strip_suffix('s').unwrap_or(&table);
        let rest = [&table, singular].iter().find_map(|name| stem.strip_prefix(name));
        let index = match rest {
            Some("") => numbered.first(|_| true),
            Some(rest) => {
                let rest = rest.strip_prefix('_').map(|rest| if rest == "ids" { "id" } else { rest })?;
                numbered
                    .first(|column| column == rest)
                    .or_else(|| numbered.first(|column| column.starts_with(rest) || stem.ends_with(column)))
                    .or_else(|| numbered.key.filter(|key| rest == "id" && numbered.is_integer(*key)))
                    .or_else(|| numbered.text(rest))
            }
            None => {
                table.strip_prefix(stem)?.strip_prefix('_')?;
                numbered.first(|_| true)
            }
        }?;
        let shared = if rest.is_some() { singular.len() } else { 0 };
        Some((shared, (place, index)))
    });
    let best = candidates.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, found)| found)
}

/// The key of a table whose name the sequence's shortens (`pwreset_seq` for `passwordreset`, `audit_seq` for `pidea_audit`): one that
/// SQLite numbers, and that nothing of the target does. Of several tables the one whose name says the least besides.
fn shortened(stem: &str, tables: &[Numbered<'_>], others: &[PgSequence]) -> Option<(usize, usize)> {
    let has_own = |table: &str| others.iter().any(|other| stem_of(&other.name.name) == table);
    let candidates = tables.iter().enumerate().filter_map(|(place, numbered)| {
        let table = numbered.name.to_ascii_lowercase();
        let key = numbered.key.filter(|_| is_short_for(stem, &table) && !has_own(&table))?;
        let target = numbered.columns[key].1?;
        (target.ty.is_integer() && !is_numbered(target)).then_some((table.len(), (place, key)))
    });
    let mut candidates: Vec<_> = candidates.collect();
    candidates.sort_by_key(|(length, _)| *length);
    match candidates.as_slice() {
        [(shortest, _), (next, _), ..] if shortest == next => None,
        [(_, found), ..] => Some(*found),
        [] => None,
    }
}

fn is_numbered(column: &PgColumn) -> bool {
    column.sequence.is_some() || column.default.is_some() || column.identity != Identity::No
}

fn stem_of(sequence: &str) -> String {
    let sequence = sequence.to_ascii_lowercase();
    let stem = ["_sequence", "_seq"].iter().find_map(|suffix| sequence.strip_suffix(suffix));
    stem.unwrap_or(&sequence).to_owned()
}

/// One of its words, or its letters with some left out, the first one not among them.
fn is_short_for(stem: &str, table: &str) -> bool {
    if stem.len() >= 3 && table.split('_').any(|word| word == stem) {
        return true;
    }
    let mut letters = table.chars();
    let is_within = stem.chars().all(|wanted| letters.any(|letter| letter == wanted));
    is_within && stem.chars().next() == table.chars().next() && stem.len() * 5 >= table.len() * 2
}

impl Numbered<'_> {
    fn first(&self, is_meant: impl Fn(&str) -> bool) -> Option<usize> {
        let is_it =
            |place: &usize| self.is_integer(*place) && is_meant(&self.columns[*place].0.to_ascii_lowercase());
        (0..self.columns.len()).find(is_it)
    }

    fn text(&self, name: &str) -> Option<usize> {
        let is_text = |target: &PgColumn| Written::in_type(&target.ty) == Some(Written::InDigits);
        let is_it = |(column, target): &(&str, Option<&PgColumn>)| {
            column.eq_ignore_ascii_case(name) && target.is_some_and(is_text)
        };
        self.columns.iter().position(is_it)
    }

    fn is_integer(&self, column: usize) -> bool {
        self.columns[column].1.is_some_and(|target| target.ty.is_integer())
    }
}
