//! The names of what we put into the application's database, and how ours is told from a stranger's.
//!
//! A name alone proves nothing: what bears one of ours is ours only if it also looks as we make it.

use super::guard::is_our_guard;
use crate::model::name::folded;
use crate::model::schema::{IndexOrigin, SqliteIndex, SqliteSchema, SqliteTable, SqliteTrigger};

pub const CHANGE: &str = "_liteferry_change";
pub const CONTROL: &str = "_liteferry_control";
const PREFIX: &str = "_liteferry_";
const PIN_PREFIX: &str = "_liteferry_pin_";

pub(super) fn trigger_name(id: i64, when: &str) -> String {
    format!("{PREFIX}{id}_{when}")
}

pub(super) fn pin_name(id: i64) -> String {
    format!("{PIN_PREFIX}{id}")
}

/// Whether the name begins as all of ours do. SQLite folds ASCII letters, and tables, indexes and triggers share one space of names.
pub fn has_our_prefix(name: &str) -> bool {
    folded(name).starts_with(PREFIX)
}

/// Whether a trigger of this name and text is one of ours. After an old library's RENAME its body may speak of another table.
pub fn is_our_trigger(name: &str, sql: &str) -> bool {
    let name = folded(name);
    let parts = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
    let ours = parts.is_some_and(|(id, when)| is_number(id) && TRIGGERS.contains(&when));
    ours && sql.contains(CHANGE)
}

/// Whether an index of this name and text is a pin of ours.
pub fn is_our_pin(name: &str, sql: &str) -> bool {
    is_named_as_a_pin(name) && sql.ends_with(PIN_TAIL)
}

/// Of something that is known to be ours.
pub fn is_named_as_a_pin(name: &str) -> bool {
    folded(name).strip_prefix(PIN_PREFIX).is_some_and(is_number)
}

/// Whether a table of this name, with these columns, is the log or the control table.
pub fn is_our_table<'a>(name: &str, columns: impl IntoIterator<Item = &'a str>) -> bool {
    let columns: Vec<&str> = columns.into_iter().collect();
    match folded(name).as_str() {
        CHANGE => {
            let keys = columns.get(LOG_COLUMNS.len()..).unwrap_or_default();
            columns.starts_with(&LOG_COLUMNS)
                && !keys.is_empty()
                && keys.iter().enumerate().all(|(at, name)| *name == format!("k{at}"))
        }
        CONTROL => {
            let later = columns.get(CONTROL_COLUMNS.len()..).unwrap_or_default();
            columns.starts_with(&CONTROL_COLUMNS)
                && later.len() <= CONTROL_LATER.len()
                && later.iter().zip(CONTROL_LATER).all(|(name, (ours, _))| *name == ours)
        }
        _ => false,
    }
}

/// Takes our own objects out of a schema, so that what is left is the application's.
pub fn remove_ours(schema: &mut SqliteSchema) {
    schema.tables.retain(|table| !is_ours(table));
    for table in &mut schema.tables {
        table.indexes.retain(|index| !is_pin(index));
    }
    let is_ours = |trigger: &SqliteTrigger| {
        is_our_trigger(&trigger.name, &trigger.sql) || is_our_guard(&trigger.name, &trigger.sql)
    };
    schema.triggers.retain(|trigger| !is_ours(trigger));
}

/// Names of ours that something else bears.
pub(super) fn taken(schema: &SqliteSchema) -> Vec<String> {
    let tables = schema.tables.iter().filter(|table| !is_ours(table)).map(|table| &table.name);
    let indexes = schema.tables.iter().flat_map(|table| &table.indexes);
    let indexes = indexes.filter(|index| !is_pin(index)).map(|index| &index.name);
    let stranger = |trigger: &&SqliteTrigger| {
        !is_our_trigger(&trigger.name, &trigger.sql) && !is_our_guard(&trigger.name, &trigger.sql)
    };
    let triggers = schema.triggers.iter().filter(stranger).map(|trigger| &trigger.name);
    let views = schema.views.iter().map(|view| &view.name);
    let left_out = schema.left_out.iter().map(|table| &table.name);
    let all = tables.chain(indexes).chain(triggers).chain(views).chain(left_out);
    all.filter(|name| is_reserved(name)).cloned().collect()
}

pub(super) const PIN_TAIL: &str = " where 0";
pub(super) const LOG_COLUMNS: [&str; 3] = ["seq", "tbl", "nonce"];
pub(super) const CONTROL_COLUMNS: [&str; 3] = ["one", "migration", "epoch"];
/// With their declarations, as they are added one by one to a table that an older version made.
pub(super) const CONTROL_LATER: [(&str, &str); 7] = [
    // Which side takes the application's writes: sqlite or postgres.
    ("writes", "text not null default 'sqlite'"),
    // The last change that SQLite took before its writes were closed.
    ("closed", "integer"),
    // Where SQLite stands in the history of PostgreSQL's changes, and what was drawn for the batch before.
    ("reverse_epoch", "integer"),
    ("reverse_mark", "integer"),
    ("reverse_nonce", "integer"),
    ("reverse_before", "integer"),
    // A word of PostgreSQL's that came the whole way.
    ("canary", "text"),
];
const TRIGGERS: [&str; 5] = ["bi", "ai", "bu", "au", "bd"];

fn is_ours(table: &SqliteTable) -> bool {
    is_our_table(&table.name, table.columns.iter().map(|column| column.name.as_str()))
}

/// Its text is not at hand here, but its predicate is.
fn is_pin(index: &SqliteIndex) -> bool {
    let pin =
        index.origin == IndexOrigin::Created && !index.unique && index.predicate.as_deref() == Some("0");
    pin && folded(&index.name).strip_prefix(PIN_PREFIX).is_some_and(is_number)
}

fn is_reserved(name: &str) -> bool {
    let name = folded(name);
    let ours = |rest: &str| {
        rest == "change"
            || rest == "control"
            || rest.strip_prefix("pin_").is_some_and(is_number)
            || rest.starts_with("guard_")
            || rest.split_once('_').is_some_and(|(id, when)| is_number(id) && TRIGGERS.contains(&when))
    };
    name.strip_prefix(PREFIX).is_some_and(ours)
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
