//! Naming: every name of the source as PostgreSQL can take it, in the letters that are wanted, and what had to be renamed.
//!
//! The outcome depends on the names alone, never on values or on the order of a hash map. It must never leave a name to
//! PostgreSQL's silent truncation, and never give two relations of a schema the same name.

use super::Renamed;
use super::overrides::Letters;
use crate::model::name::PG_NAME_BYTES_MAX;
use crate::model::schema::{SqliteSchema, SqliteTable};
use std::collections::{BTreeMap, BTreeSet};

/// Columns that every PostgreSQL table has already.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// What carries SQLite's rowid where a table has no key of its own.
pub const ROWID_COLUMN: &str = "_liteferry_rowid";

/// `_` and eight hexadecimal digits.
const HASH_BYTES: usize = 9;

/// Names of which no two may be equal: a schema's relations, a table's columns, a table's constraints.
#[derive(Clone, Debug)]
pub struct Namespace {
    letters: Letters,
    taken: BTreeSet<String>,
}

/// What every table, view and created index of the source is called in the target.
#[derive(Debug)]
pub struct Names {
    relations: Namespace,
    /// By the folded name in SQLite, where tables, views and indexes share one namespace.
    by_source: BTreeMap<String, String>,
    renamed: Vec<Renamed>,
}

/// A table's columns, in order, and the column that carries the rowid where one is needed.
#[derive(Debug)]
pub struct ColumnNames {
    pub names: Vec<String>,
    pub rowid: String,
}

impl Names {
    /// Names that can stay as they are come first, so that a renamed one never takes another's place.
    pub fn of_schema(schema: &SqliteSchema, letters: Letters) -> Names {
        let sources = relations_of(schema);
        let mut names =
            Names { relations: Namespace::new(letters), by_source: BTreeMap::new(), renamed: Vec::new() };
        let (kept, changed): (Vec<_>, Vec<_>) =
            sources.into_iter().partition(|(_, name)| fitted(name) == *name);
        for (kind, source) in kept.into_iter().chain(changed) {
            let target = names.relations.claim(source);
            names.record(kind, "", source, &target);
            names.by_source.insert(source.to_ascii_lowercase(), target);
        }
        names
    }

    /// The name of a table, view or created index of the source.
    pub fn of(&self, source: &str) -> String {
        let known = self.by_source.get(&source.to_ascii_lowercase());
        known.cloned().unwrap_or_else(|| fitted(&self.letters().of(source)))
    }

    fn letters(&self) -> Letters {
        self.relations.letters
    }

    /// For names that are apart from the relations'.
    pub fn space(&self) -> Namespace {
        Namespace::new(self.letters())
    }

    /// A name of our own making for an index, a sequence or a type: the wished one, or the next free.
    pub fn invent(&mut self, wish: &str) -> String {
        self.relations.claim(wish)
    }

    pub fn columns(&mut self, table: &SqliteTable) -> ColumnNames {
        let (mut space, letters) = (self.space(), self.letters());
        let usable = |name: &str| !SYSTEM_COLUMNS.contains(&name) && fitted(name) == name;
        let wished: Vec<String> = table.columns.iter().map(|column| letters.of(&column.name)).collect();
        space.taken.extend(wished.iter().filter(|name| usable(name)).cloned());
        let mut names = Vec::with_capacity(wished.len());
        for (column, wish) in table.columns.iter().zip(wished) {
            let name = if usable(&wish) {
                wish
            } else if SYSTEM_COLUMNS.contains(&wish.as_str()) {
                space.claim(&format!("_{wish}"))
            } else {
                space.claim(&wish)
            };
            self.record("column", &table.name, &column.name, &name);
            names.push(name);
        }
        ColumnNames { names, rowid: space.claim(ROWID_COLUMN) }
    }

    /// Of other letters the settings tell.
    fn record(&mut self, kind: &'static str, table: &str, source: &str, target: &str) {
        if self.letters().of(source) != target {
            self.renamed.push(Renamed {
                kind,
                table: table.to_owned(),
                source: source.to_owned(),
                target: target.to_owned(),
            });
        }
    }

    pub fn into_renamed(self) -> Vec<Renamed> {
        self.renamed
    }
}

impl Namespace {
    fn new(letters: Letters) -> Namespace {
        Namespace { letters, taken: BTreeSet::new() }
    }

    /// The wished name made to fit, or with the smallest number behind it that is still free.
    pub fn claim(&mut self, wish: &str) -> String {
        let wish = self.letters.of(wish);
        let mut name = fitted(&wish);
        let mut number = 1_u32;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = fitted(&format!("{wish}_{number}"));
        }
        name
    }
}

/// The name as PostgreSQL can hold it: not empty, and no longer than 63 bytes. What is cut off stays in a hash of the whole.
pub fn fitted(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    if name.len() <= PG_NAME_BYTES_MAX {
        return name.to_owned();
    }
    let cut = name.floor_char_boundary(PG_NAME_BYTES_MAX - HASH_BYTES);
    format!("{}_{:08x}", &name[..cut], fnv1a(name.as_bytes()))
}

fn relations_of(schema: &SqliteSchema) -> Vec<(&'static str, &str)> {
    use crate::model::schema::IndexOrigin;
    let tables = schema.tables.iter().map(|table| ("table", table.name.as_str()));
    let views = schema.views.iter().map(|view| ("view", view.name.as_str()));
    let indexes = schema.tables.iter().flat_map(|table| &table.indexes);
    let created = indexes.filter(|index| index.origin == IndexOrigin::Created);
    tables.chain(views).chain(created.map(|index| ("index", index.name.as_str()))).collect()
}

/// Small, stable for ever, and spread well enough for names; collisions are counted up by `claim`.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples;

    #[test]
    fn names_are_cut_on_a_character_and_keep_a_hash_of_the_whole() {
        let long = "abcdefghij".repeat(7);
        for (name, expected_bytes) in [(long.clone(), 63), ("é".repeat(40), 63), ("x".repeat(63), 63)] {
            let short = fitted(&name);
            assert_eq!(short.len(), expected_bytes, "{short}");
            assert_eq!(short == name, name.len() <= PG_NAME_BYTES_MAX);
        }
        assert_ne!(fitted(&format!("{long}_c1")), fitted(&format!("{long}_c2")));
        assert_eq!(fitted(""), "_");
        assert_eq!(fitted("OrderItem"), "OrderItem");
    }

    #[test]
    fn system_columns_and_empty_names_are_renamed_without_collisions() {
        let mut names = Names::of_schema(&SqliteSchema::default(), Letters::Keep);
        let table = samples::table("t", &["ctid INT", "_ctid INT", " INT", "_ INT", "oid INT", "Xmin INT"]);
        let columns = names.columns(&table);
        assert_eq!(columns.names, ["_ctid_2", "_ctid", "_2", "_", "oid", "Xmin"]);
        assert_eq!(columns.rowid, "_liteferry_rowid");
        assert_eq!(names.into_renamed().len(), 2);
    }

    #[test]
    fn a_name_of_our_own_steps_aside_for_tables_and_indexes() {
        let schema = SqliteSchema {
            tables: ["idxtab", "idxtab_pkey", "idxtab_a_key"]
                .map(|name| samples::table(name, &["id INT"]))
                .into(),
            ..SqliteSchema::default()
        };
        let mut names = Names::of_schema(&schema, Letters::Keep);
        assert_eq!(names.invent("idxtab_pkey"), "idxtab_pkey_2");
        assert_eq!(names.invent("idxtab_pkey"), "idxtab_pkey_3");
        assert_eq!(names.of("IDXTAB"), "idxtab");
        assert_eq!(names.invent("idxtab_b_key"), "idxtab_b_key");
    }
}
