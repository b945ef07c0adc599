//! What of the application's own schema stands in the way of capture, told before anything is installed.

use super::names;
use super::probe::unread_finding;
use super::triggers::{Inserts, Updates};
use crate::model::finding::Finding;
use crate::model::name::{folded, ident};
use crate::model::schema::{
    Deferrable, IndexTerm, SqliteForeignKey, SqliteIndex, SqliteSchema, SqliteTable, SqliteTrigger,
};
use crate::plan::parse;
use sqlite3_parser::Bump;
use sqlite3_parser::ast::{TriggerEvent, TriggerTime};

/// Findings about the database as a whole; those about one table's indexes come with its capture.
pub fn preflight(schema: &SqliteSchema) -> Vec<Finding> {
    let taken = names::taken(schema).into_iter().map(|name| {
        Finding::blocker(
            "capture_name_taken",
            &name,
            "something that is not ours bears a name that capture needs",
        )
        .with_remedy(format!("Rename or drop {}.", ident(&name)))
    });
    let unread = schema.unread.iter().filter(|name| is_index(schema, name));
    let unread = unread.map(|name| unread_finding(name, name));
    let raising = schema.triggers.iter().filter(|trigger| follows_inserts(trigger) && raises(&trigger.sql));
    let raising = raising.map(|trigger| {
        let text = format!(
            "trigger {} may end a statement after the row is written (raise ignore or fail); should it run before ours, a new row \
             with an id of SQLite's choice goes unseen until the next validation",
            ident(&trigger.name)
        );
        Finding::warning("capture_trigger_raises", &trigger.table, text)
            .with_remedy("Let it raise in a BEFORE trigger, or with ABORT.")
    });
    let mixing = schema.triggers.iter().filter_map(|trigger| mixing(schema, trigger));
    let keys = schema.tables.iter().flat_map(|child| child.foreign_keys.iter().map(move |key| (child, key)));
    let mismatched = keys.filter_map(|(child, key)| mismatched(schema, child, key));
    taken.chain(unread).chain(raising).chain(mixing).chain(mismatched).collect()
}

/// With `foreign_keys` on, SQLite passes over a key that misses its parent's when one row is inserted into the parent, which can break none.
/// A statement that fires triggers may write several rows to it, and is refused.
fn mismatched(schema: &SqliteSchema, child: &SqliteTable, key: &SqliteForeignKey) -> Option<Finding> {
    let parent = schema.table(&key.parent)?;
    let refused_already = key.deferrable == Deferrable::InitiallyDeferred || parent.name == child.name;
    if refused_already || is_kept_unique(parent, key) {
        return None;
    }
    let text = format!(
        "a foreign key of {} refers to columns of it that nothing keeps unique: where the application has foreign keys on, SQLite refuses each \
         insert (foreign key mismatch) as soon as a trigger stands on the table, and until then only those of several rows",
        ident(&child.name)
    );
    let remedy = "Nothing, where the application leaves `pragma foreign_keys` off; else make a unique index over these columns, or \
                  take the foreign key away, before `run`.";
    Some(Finding::warning("capture_foreign_key_mismatch", &parent.name, text).with_remedy(remedy))
}

/// As SQLite looks for what a foreign key refers to.
fn is_kept_unique(parent: &SqliteTable, key: &SqliteForeignKey) -> bool {
    if key.parent_columns.is_empty() {
        return !parent.primary_key.is_empty() && parent.primary_key.len() == key.columns.len();
    }
    let wanted: Option<Vec<usize>> = key.parent_columns.iter().map(|name| parent.column(name)).collect();
    let Some(wanted) = wanted else { return false };
    let serves = |index: &SqliteIndex| {
        let is_wanted = |term: &IndexTerm, collation: &str| match term {
            IndexTerm::Column(column) => {
                wanted.contains(column) && parent.columns[*column].collation.eq_ignore_ascii_case(collation)
            }
            IndexTerm::Rowid | IndexTerm::Expression(_) => false,
        };
        let parts = index.parts.iter();
        let all =
            parts.len() == wanted.len() && parts.clone().all(|part| is_wanted(&part.term, &part.collation));
        index.unique && index.predicate.is_none() && all
    };
    let is_rowid = wanted.len() == 1 && parent.rowid_alias() == Some(wanted[0]);
    is_rowid || parent.indexes.iter().any(serves)
}

/// Whether an insert's own AFTER trigger may be kept from running.
pub(super) fn cuts_inserts_off(schema: &SqliteSchema, table: &SqliteTable) -> Inserts {
    let mut of_table = schema.triggers.iter().filter(|trigger| folded(&trigger.table) == folded(&table.name));
    let cuts = of_table.any(|trigger| follows_inserts(trigger) && raises(&trigger.sql));
    if cuts { Inserts::CutOff } else { Inserts::Followed }
}

/// An update takes the columns that it does not name as its BEFORE triggers leave them. Where such a trigger writes its own row, a unique
/// index over several columns can meet a row that no trigger could look for: it knows the statement's values, or those of the write in
/// between, never both.
fn mixing(schema: &SqliteSchema, trigger: &SqliteTrigger) -> Option<Finding> {
    let table = schema.table(&trigger.table)?;
    let index = table.indexes.iter().find(|index| index.unique && mixes(table, index))?;
    if !precedes(trigger) || !writes(&trigger.sql, &table.name) {
        return None;
    }
    let text = format!(
        "trigger {} writes to the table before an update of it: should that be an UPDATE OR REPLACE, or the index one that replaces, the row \
         that it deletes through {} goes unseen until the next validation",
        ident(&trigger.name),
        ident(&index.name)
    );
    let remedy = "Nothing, where the application replaces no rows by updates of this table; else let the trigger run AFTER the update.";
    Some(Finding::warning("capture_trigger_mixes", &table.name, text).with_remedy(remedy))
}

/// Whether a row's place in the index depends on more than one column. Through the key a row is met whose key is the new row's, and that
/// is logged once it is written; two rows of one rowid are one row.
fn mixes(table: &SqliteTable, index: &SqliteIndex) -> bool {
    let column = |term: &IndexTerm| match term {
        IndexTerm::Column(column) => Some(*column),
        IndexTerm::Rowid | IndexTerm::Expression(_) => None,
    };
    let columns: Vec<Option<usize>> = index.parts.iter().map(|part| column(&part.term)).collect();
    let plain: Vec<usize> = columns.iter().copied().flatten().collect();
    let is_computed = |at: &usize| table.columns[*at].generated.is_some();
    let holds_rowid = index.parts.iter().any(|part| matches!(part.term, IndexTerm::Rowid))
        || table.rowid_alias().is_some_and(|alias| plain.contains(&alias));
    let depends_on_several =
        columns.len() > 1 || plain.len() < columns.len() || plain.iter().any(is_computed);
    depends_on_several && !holds_rowid && plain != table.primary_key
}

/// Whether the trigger's body may write to the table, as far as its words tell.
fn writes(sql: &str, table: &str) -> bool {
    let sql = folded(sql);
    let body = sql.split_once("begin").map_or(sql.as_str(), |(_, body)| body);
    body.contains(&folded(table)) && (body.contains("update") || body.contains("replace"))
}

/// Whether a trigger of the application runs before updates of the table; what it does is not read out of its text.
pub(super) fn precedes_updates(schema: &SqliteSchema, table: &SqliteTable) -> Updates {
    let mut of_table = schema.triggers.iter().filter(|trigger| folded(&trigger.table) == folded(&table.name));
    if of_table.any(precedes) { Updates::Preceded } else { Updates::AsTold }
}

fn precedes(trigger: &SqliteTrigger) -> bool {
    let arena = Bump::new();
    let Ok((time, event)) = parse::trigger(&arena, &trigger.sql) else { return true };
    time == TriggerTime::Before && matches!(event, TriggerEvent::Update | TriggerEvent::UpdateOf(_))
}

/// Updates and deletes are logged before they happen; only a new row's key may have to wait. A text that cannot be read may fire at
/// any time.
fn follows_inserts(trigger: &SqliteTrigger) -> bool {
    let arena = Bump::new();
    let Ok((time, event)) = parse::trigger(&arena, &trigger.sql) else { return true };
    let after = match time {
        TriggerTime::After => true,
        TriggerTime::Before | TriggerTime::InsteadOf => false,
    };
    match event {
        TriggerEvent::Insert => after,
        TriggerEvent::Delete | TriggerEvent::Update | TriggerEvent::UpdateOf(_) => false,
    }
}

/// Whether `raise(ignore)` or `raise(fail, …)` stands in the text, be it in a comment.
fn raises(sql: &str) -> bool {
    let bare: String = folded(sql).chars().filter(|letter| !letter.is_whitespace()).collect();
    bare.contains("raise(ignore") || bare.contains("raise(fail")
}

/// What could not be read is named only: it is an index if it is nothing else.
fn is_index(schema: &SqliteSchema, name: &str) -> bool {
    schema.table(name).is_none()
        && !schema.views.iter().any(|view| view.name == name)
        && !schema.triggers.iter().any(|trigger| trigger.name == name)
        && !schema.left_out.iter().any(|table| table.name == name)
}
