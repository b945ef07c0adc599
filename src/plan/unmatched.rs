//! Names in the settings that the source does not bear. A misspelt one would leave a table behind, or read a column otherwise than was
//! meant, and both sides would be proven equal all the same.
//!
//! It must never block: a table that the settings name may be gone by now, or come later.

use super::Mode;
use super::overrides::Overrides;
use crate::model::finding::Finding;
use crate::model::name::folded;
use crate::model::schema::SqliteSchema;

pub fn findings(schema: &SqliteSchema, overrides: &Overrides, mode: Mode) -> Vec<Finding> {
    let tables: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
    let is_table = |pattern: &str| {
        let left_out = schema.left_out.iter().map(|left_out| left_out.name.as_str());
        tables.iter().copied().chain(left_out).any(|name| Overrides::is_named(pattern, name))
    };
    // Only `existing` mode leaves single columns out.
    let is_column =
        |pattern: &str| mode == Mode::Existing && columns(schema).any(|name| alike(&name, pattern));
    let included = overrides.include.iter().filter(|pattern| !is_table(pattern));
    let excluded = overrides.exclude.iter().filter(|pattern| !is_table(pattern) && !is_column(pattern));
    let is_key = |pattern: &str| keys(schema).any(|name| Overrides::is_named(pattern, &name));
    let unkept = overrides.no_foreign_key.iter().filter(|pattern| !is_key(pattern));
    let unkept = unkept.map(|pattern| {
        finding("tables.no_foreign_key", pattern, &keys(schema).collect::<Vec<_>>().join(", "))
    });
    let stated = overrides.columns.keys().filter(|stated| !columns(schema).any(|name| name == **stated));
    let patterns = included
        .map(|pattern| ("tables.include", pattern))
        .chain(excluded.map(|pattern| ("tables.exclude", pattern)))
        .map(|(setting, pattern)| finding(setting, pattern, &tables.join(", ")));
    let columns = stated.map(|name| finding("types.column", name, &nearest(schema, name)));
    patterns.chain(unkept).chain(columns).collect()
}

fn finding(setting: &str, name: &str, known: &str) -> Finding {
    let text = format!("the source has nothing that {setting} could mean by \"{name}\": it has no effect");
    let remedy = match known {
        "" => format!("correct it, or take it out of {setting}"),
        known => format!("correct it, or take it out of {setting}; the source has {}", shortened(known)),
    };
    Finding::warning("setting_unmatched", name, text).with_remedy(remedy)
}

fn columns(schema: &SqliteSchema) -> impl Iterator<Item = String> {
    schema
        .tables
        .iter()
        .flat_map(|table| table.columns.iter().map(|column| format!("{}.{}", table.name, column.name)))
}

/// Columns that refer to another table.
fn keys(schema: &SqliteSchema) -> impl Iterator<Item = String> {
    schema.tables.iter().flat_map(|table| {
        let columns = table.foreign_keys.iter().flat_map(|key| &key.columns);
        columns.map(|column| format!("{}.{}", table.name, table.columns[*column].name))
    })
}

/// The columns of the table that is meant; where there is none, the tables.
fn nearest(schema: &SqliteSchema, name: &str) -> String {
    let meant =
        |table: &&str| name.get(..=table.len()).is_some_and(|start| alike(start, &format!("{table}.")));
    let tables: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
    let Some(table) = tables.iter().copied().find(meant) else { return tables.join(", ") };
    let of_it = |column: &String| column.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
    columns(schema).filter(of_it).collect::<Vec<_>>().join(", ")
}

fn alike(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

const KNOWN_CHARS_MAX: usize = 300;

fn shortened(known: &str) -> String {
    match known.char_indices().nth(KNOWN_CHARS_MAX) {
        Some((at, _)) => format!("{} …", &known[..at]),
        None => known.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::{LeftOut, LeftOutKind};
    use crate::plan::overrides::ColumnOverride;
    use crate::plan::samples::{keyed, schema};

    #[test]
    fn a_name_that_the_source_does_not_bear_is_told_with_those_it_has() {
        let mut source = schema(vec![keyed("Orders", &["id INTEGER", "placed_at DATETIME"])]);
        source.left_out = vec![LeftOut { name: "fts_data".to_owned(), kind: LeftOutKind::Shadow }];
        let check = |setting: &str, name: &str, mode: Mode, expected: Option<&str>| {
            let mut overrides = Overrides::default();
            match setting {
                "include" => overrides.include.push(name.to_owned()),
                "exclude" => overrides.exclude.push(name.to_owned()),
                _ => drop(overrides.columns.insert(name.to_owned(), ColumnOverride::default())),
            }
            let told = findings(&source, &overrides, mode);
            let told = told.first().map(|finding| (finding.code, finding.remedy.as_str()));
            match (told, expected) {
                (None, None) => {}
                (Some(("setting_unmatched", remedy)), Some(known)) => {
                    assert!(remedy.ends_with(known), "{setting} {name}: {remedy}");
                }
                (told, _) => panic!("{setting} {name} {mode:?}: {told:?}"),
            }
        };
        for mode in [Mode::Create, Mode::Existing] {
            check("include", "orders", mode, None);
            check("include", "ord*", mode, None);
            check("include", "oders", mode, Some("the source has Orders"));
            check("exclude", "fts_*", mode, None);
            check("exclude", "log_*", mode, Some("the source has Orders"));
            check("column", "Orders.placed_at", mode, None);
            check("column", "Orders.placed", mode, Some("has Orders.id, Orders.placed_at"));
            check("column", "orders.placed_at", mode, Some("has Orders.id, Orders.placed_at"));
            check("column", "Order.placed_at", mode, Some("the source has Orders"));
        }
        check("exclude", "orders.placed_at", Mode::Existing, None);
        check("exclude", "orders.placed_at", Mode::Create, Some("the source has Orders"));
    }
}
