//! What of the application's own schema stands in the way of capture, told before anything is installed.

use super::names;
use super::probe::unread_finding;
use super::triggers::{Inserts, Updates};
use crate::model::finding::Finding;
use crate::model::name::{folded, ident};
use crate::model::schema::{SqliteSchema, SqliteTable, SqliteTrigger};
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
    taken.chain(unread).chain(raising).collect()
}

/// Whether an insert's own AFTER trigger may be kept from running.
pub(super) fn cuts_inserts_off(schema: &SqliteSchema, table: &SqliteTable) -> Inserts {
    let mut of_table = schema.triggers.iter().filter(|trigger| folded(&trigger.table) == folded(&table.name));
    let cuts = of_table.any(|trigger| follows_inserts(trigger) && raises(&trigger.sql));
    if cuts { Inserts::CutOff } else { Inserts::Followed }
}

/// Whether a trigger of the application runs before updates of the table; what it does is not read out of its text.
pub(super) fn precedes_updates(schema: &SqliteSchema, table: &SqliteTable) -> Updates {
    let mut of_table = schema.triggers.iter().filter(|trigger| folded(&trigger.table) == folded(&table.name));
    let precedes = of_table.any(|trigger| {
        let arena = Bump::new();
        let Ok((time, event)) = parse::trigger(&arena, &trigger.sql) else { return true };
        time == TriggerTime::Before && matches!(event, TriggerEvent::Update | TriggerEvent::UpdateOf(_))
    });
    if precedes { Updates::Preceded } else { Updates::AsTold }
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
