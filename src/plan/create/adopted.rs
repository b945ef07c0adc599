//! Columns without values that refer to another table: they are typed as what they refer to. Nothing else is known of them, and a foreign
//! key holds only between types that PostgreSQL compares.
//!
//! It never touches a column that holds a value, whose type was set, or whose declared type promises one by itself.

use super::Ground;
use super::foreign_keys::{is_comparable, parent_columns};
use crate::model::schema::SqliteTable;
use crate::plan::typing::{self, Decision};
use std::collections::BTreeSet;

/// A table and a column, by their places.
type Place = (usize, usize);

struct Reference {
    child: Place,
    parent: Place,
}

/// `decisions` stand in the order of `tables`.
pub(super) fn adopt(tables: &[&SqliteTable], decisions: &mut [Vec<Decision>], ground: Ground<'_>) {
    let references = references(tables);
    let mut adopted: BTreeSet<Place> = BTreeSet::new();
    // What is referred to may refer on: each round settles one link of such a chain, and no column more than once.
    loop {
        let before = adopted.len();
        for Reference { child, parent } in &references {
            let (of_child, of_parent) = (&decisions[child.0][child.1], &decisions[parent.0][parent.1]);
            if adopted.contains(child) || is_comparable(&of_child.codec.ty, &of_parent.codec.ty) {
                continue;
            }
            let table = tables[child.0];
            let surveyed =
                ground.survey.and_then(|survey| survey.tables.get(&table.name)?.columns.get(child.1));
            let model = (&of_parent.codec, tables[parent.0].columns[parent.1].affinity);
            if let Some(decision) = typing::referring((table, child.1), surveyed, model, ground.overrides) {
                decisions[child.0][child.1] = decision;
                adopted.insert(*child);
            }
        }
        if adopted.len() == before {
            return;
        }
    }
}

fn references(tables: &[&SqliteTable]) -> Vec<Reference> {
    let mut references = Vec::new();
    for (child, table) in tables.iter().enumerate() {
        for key in &table.foreign_keys {
            let named = |table: &&SqliteTable| table.name.eq_ignore_ascii_case(&key.parent);
            let Some(parent) = tables.iter().position(named) else { continue };
            let Ok(columns) = parent_columns(tables[parent], key) else { continue };
            let pairs = key.columns.iter().zip(columns);
            references
                .extend(pairs.map(|(from, to)| Reference { child: (child, *from), parent: (parent, to) }));
        }
    }
    references
}
