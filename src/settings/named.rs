//! The sections whose keys are names from the databases: columns, and sequences.

use super::read::{Reader, list, number, optional, spelled, text_not_empty};
use crate::canon::{Form, Zone};
use crate::plan::overrides::{ColumnOverride, SequenceStart};
use config::{Map, Value, ValueKind};
use std::collections::BTreeMap;

pub fn columns(from: &mut Reader) -> BTreeMap<String, ColumnOverride> {
    let mut columns = BTreeMap::new();
    for (name, value) in from.take_named("types.column") {
        let section = format!("types.column.\"{name}\"");
        let origin = value.origin().unwrap_or_default().to_owned();
        let ValueKind::Table(keys) = value.kind else {
            from.problem(&section, "must be a section with type, form or tz", &origin);
            continue;
        };
        if !name.contains('.') {
            from.problem(&section, "must be named \"table.column\"", &origin);
        }
        columns.insert(name, column(from, &section, keys));
    }
    columns
}

fn column(from: &mut Reader, section: &str, keys: Map<String, Value>) -> ColumnOverride {
    let mut column = ColumnOverride::default();
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in keys {
        let key = format!("{section}.{name}");
        match name.as_str() {
            "type" => column.type_sql = from.read(&key, &value, optional(text_not_empty)),
            "form" => column.form = from.read(&key, &value, optional(spelled::<Form>)),
            "tz" => column.zone = from.read(&key, &value, optional(spelled::<Zone>)),
            _ => from.problem(
                &key,
                "unknown key; a column has type, form, tz",
                value.origin().unwrap_or_default(),
            ),
        }
    }
    column
}

pub fn sequences(from: &mut Reader) -> BTreeMap<String, SequenceStart> {
    let mut sequences = BTreeMap::new();
    for (name, value) in from.take_named("sequences") {
        let start = from.read(&format!("sequences.\"{name}\""), &value, |value| start(value).map(Some));
        sequences.extend(start.map(|start| (name, start)));
    }
    sequences
}

fn start(value: &ValueKind) -> Result<SequenceStart, String> {
    let given = match number(0..=i64::MAX)(value) {
        Ok(floor) => return Ok(SequenceStart::At(floor)),
        Err(_) => list(value).unwrap_or_default(),
    };
    let is_column = |name: &String| {
        name.split_once('.').is_some_and(|(table, column)| !table.is_empty() && !column.is_empty())
    };
    if given.is_empty() || !given.iter().all(is_column) {
        return Err(
            "must be a whole number from 0 on, \"table.column\", or a list of such columns".to_owned()
        );
    }
    Ok(SequenceStart::After(given))
}
