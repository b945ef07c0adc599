//! Probes: which rows the coming statement may delete without a word.
//!
//! REPLACE deletes every row that the new one collides with, and fires no DELETE trigger for it. So before each INSERT and UPDATE the
//! rows are looked up that hold the new row's place in a unique index, each by a search in that index.

use super::value::{self, Reading};
use super::{CaptureKey, rowid_name};
use crate::model::finding::Finding;
use crate::model::name::{folded, ident};
use crate::model::schema::{Affinity, IndexPart, IndexTerm, SqliteIndex, SqliteTable};

/// `from … where …` of each look-up.
pub(super) fn of_table(table: &SqliteTable, key: &CaptureKey) -> Vec<Probe> {
    let mut probes: Vec<Probe> = by_rowid(table, key).into_iter().collect();
    for index in table.indexes.iter().filter(|index| index.unique) {
        if !holds_rowid(table, index) && !tells_key(table, key, index) {
            probes.push(by_index(table, index, Reading::Bare));
            if index.parts.iter().any(|part| compares(table, part)) {
                probes.push(by_index(table, index, Reading::Cast));
            }
        }
    }
    probes
}

pub(super) struct Probe {
    /// By what the body calls the table's own row.
    pub alias: String,
    pub from: String,
    pub condition: String,
}

/// What the id that SQLite is about to choose decides is not known before the row is written.
pub(super) fn blockers(table: &SqliteTable) -> Vec<Finding> {
    let Some(alias) = table.rowid_alias() else { return unread(table) };
    let chosen = |term: &IndexTerm| match term {
        IndexTerm::Column(column) => {
            generated(table, *column).is_some_and(|expression| value::depends_on(table, expression, alias))
        }
        IndexTerm::Expression(expression) => value::depends_on(table, expression, alias),
        IndexTerm::Rowid => false,
    };
    let mut findings = unread(table);
    for index in table.indexes.iter().filter(|index| index.unique) {
        if index.parts.iter().any(|part| chosen(&part.term)) && !holds_rowid(table, index) {
            let text = format!(
                "unique index {} is over an expression of the INTEGER PRIMARY KEY {}: which row a REPLACE deletes depends on an id \
                 that SQLite has not chosen yet when a trigger could look",
                ident(&index.name),
                ident(&table.columns[alias].name)
            );
            findings.push(
                Finding::blocker("capture_unique_expression_rowid", &table.name, text)
                    .with_remedy("Drop the index for the time of the migration, or exclude the table."),
            );
        }
    }
    findings
}

/// Without its text a generated column of a unique index may depend on anything.
fn unread(table: &SqliteTable) -> Vec<Finding> {
    let is_unread = |part: &IndexPart| match part.term {
        IndexTerm::Column(column) => generated(table, column).is_some_and(str::is_empty),
        IndexTerm::Rowid | IndexTerm::Expression(_) => false,
    };
    let unread = table.indexes.iter().filter(|index| index.unique && index.parts.iter().any(is_unread));
    unread.map(|index| unread_finding(&index.name, &table.name)).collect()
}

pub(super) fn unread_finding(index: &str, subject: &str) -> Finding {
    let text = format!(
        "the declaration behind index {} could not be read, so that the rows which a REPLACE deletes through it would go unseen",
        ident(index)
    );
    Finding::blocker("capture_index_unread", subject, text)
        .with_remedy("Create the table or index anew with a plainer declaration, or exclude the table.")
}

fn generated(table: &SqliteTable, column: usize) -> Option<&str> {
    table.columns[column].generated.as_ref().map(|generated| generated.expression.as_str())
}

/// A row may be given a rowid that another row has, which the logged key does not name.
fn by_rowid(table: &SqliteTable, key: &CaptureKey) -> Option<Probe> {
    let rowid = match key {
        CaptureKey::Rowid { .. } => return None,
        CaptureKey::Columns { .. } => ident(&rowid_name(table)?),
    };
    Some(Probe {
        alias: "x".to_owned(),
        from: format!("{} as x", ident(&table.name)),
        condition: format!("x.{rowid}=new.{rowid}"),
    })
}

fn by_index(table: &SqliteTable, index: &SqliteIndex, reading: Reading) -> Probe {
    let name = ident(&table.name);
    // A table called `new` or `old` would be taken for the row of the trigger.
    let shadows = ["new", "old"].contains(&folded(&table.name).as_str());
    let (alias, from, predicate) = match &index.predicate {
        // Only here may the text call the table by its name.
        Some(predicate) if predicate.contains('.') && shadows => {
            ("x".to_owned(), format!("{name} as x"), None)
        }
        Some(predicate) if predicate.contains('.') => (name.clone(), name, Some(predicate)),
        predicate => ("x".to_owned(), format!("{name} as x"), predicate.as_ref()),
    };
    let mut terms: Vec<String> = index.parts.iter().map(|part| term(table, part, &alias, reading)).collect();
    // Word for word, or the planner would not see that the index holds the row, and read the whole table.
    terms.extend(predicate.map(|predicate| format!("({predicate})")));
    Probe { alias, from, condition: terms.join(" and ") }
}

fn term(table: &SqliteTable, part: &IndexPart, alias: &str, reading: Reading) -> String {
    let collation = ident(&part.collation);
    match &part.term {
        IndexTerm::Column(column) => {
            let (name, declared) = (&table.columns[*column].name, &table.columns[*column].collation);
            let collate = match part.collation.eq_ignore_ascii_case(declared) {
                true => String::new(),
                false => format!(" collate {collation}"),
            };
            format!("{alias}.{}={}{collate}", ident(name), value::of_column(table, *column, reading))
        }
        IndexTerm::Rowid => unreachable!("an index that holds the rowid is not probed"),
        IndexTerm::Expression(expression) => {
            let value = value::of_expression(table, expression, reading);
            // A COLLATE inside the expression would else decide; the index is found behind one on the right only by newer libraries.
            if folded(expression).contains("collate") {
                format!("({expression}) collate {collation}={value}")
            } else {
                format!("({expression})={value} collate {collation}")
            }
        }
    }
}

/// Whether the part's value is computed here from an expression whose outcome an affinity may change.
fn compares(table: &SqliteTable, part: &IndexPart) -> bool {
    match &part.term {
        IndexTerm::Column(column) => {
            value::is_replaced(table, *column)
                && generated(table, *column).is_some_and(|expression| value::compares(table, expression))
        }
        IndexTerm::Expression(expression) => value::compares(table, expression),
        IndexTerm::Rowid => false,
    }
}

/// Two rows with the same rowid are one row.
fn holds_rowid(table: &SqliteTable, index: &SqliteIndex) -> bool {
    let is_rowid = |part: &IndexPart| match part.term {
        IndexTerm::Column(column) => table.rowid_alias() == Some(column),
        IndexTerm::Rowid => true,
        IndexTerm::Expression(_) => false,
    };
    index.parts.iter().any(is_rowid)
}

/// Whether a row that collides in this index has the very key of the new row, to the byte.
fn tells_key(table: &SqliteTable, key: &CaptureKey, index: &SqliteIndex) -> bool {
    let CaptureKey::Columns { names, .. } = key else { return false };
    let is_exact = |name: &String| {
        index.parts.iter().any(|part| match part.term {
            IndexTerm::Column(column) => {
                table.column(name) == Some(column)
                    && table.columns[column].affinity == Affinity::Text
                    && part.collation.eq_ignore_ascii_case("binary")
            }
            IndexTerm::Rowid | IndexTerm::Expression(_) => false,
        })
    };
    names.iter().all(is_exact)
}
