//! Which target table and column each source table and column goes to, by name.
//!
//! A name stands for itself, else for the only one that differs in the case of ASCII letters alone. Never by position and
//! never by likeness: what has no single counterpart is reported as unmatched.

use super::keys;
use super::proposal::is_unsigned;
use crate::canon::Hints;
use crate::canon::form::{Form, Unit};
use crate::canon::learn::Learner;
use crate::model::catalog::{Catalog, PgColumn, PgTable, RelationKind};
use crate::model::name::folded;
use crate::model::schema::{SqliteColumn, SqliteSchema, SqliteTable};
use crate::plan::overrides::Overrides;

#[derive(Debug)]
pub struct Mapping<'a> {
    pub tables: Vec<MappedTable<'a>>,
    /// Source tables that the settings include and the target lacks.
    pub missing: Vec<&'a SqliteTable>,
    /// Source tables that the settings leave out.
    pub excluded: Vec<&'a SqliteTable>,
    /// Target tables that no source table goes to.
    pub unmapped: Vec<&'a PgTable>,
}

#[derive(Debug)]
pub struct MappedTable<'a> {
    pub source: &'a SqliteTable,
    pub target: &'a PgTable,
    /// One for each column of the source, in its order.
    pub columns: Vec<MappedColumn<'a>>,
    /// The target's column that carries SQLite's rowid: the key of a table that has no other.
    pub rowid: Option<&'a PgColumn>,
    /// Target columns that no source column fills.
    pub unfilled: Vec<&'a PgColumn>,
}

#[derive(Debug)]
pub struct MappedColumn<'a> {
    pub source: &'a SqliteColumn,
    pub counterpart: Counterpart<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Counterpart<'a> {
    Column(&'a PgColumn),
    Missing,
    /// Left out by `[tables] exclude = ["table.column"]`.
    Excluded,
}

pub fn map_tables<'a>(schema: &'a SqliteSchema, catalog: &'a Catalog, overrides: &Overrides) -> Mapping<'a> {
    let (included, excluded): (Vec<_>, Vec<_>) =
        schema.tables.iter().partition(|table| overrides.includes(&table.name));
    let mut tables = Vec::new();
    let mut missing = Vec::new();
    for source in included {
        match by_name(&catalog.tables, &source.name, |table| &table.name.name) {
            Some(target) => tables.push(map_columns(source, target, overrides)),
            None => missing.push(source),
        }
    }
    let is_mapped = |target: &PgTable| tables.iter().any(|mapped| mapped.target.name == target.name);
    let is_view =
        |target: &PgTable| matches!(target.kind, RelationKind::View | RelationKind::MaterializedView);
    let is_told = |target: &&PgTable| !target.is_partition && !is_view(target) && !is_mapped(target);
    let unmapped = catalog.tables.iter().filter(is_told).collect();
    Mapping { tables, missing, excluded, unmapped }
}

/// What learns, while the survey passes, how `source` spells the values that `target` is to hold: one learner, of the
/// target's type.
pub fn learners(
    table: &str,
    source: &SqliteColumn,
    target: &PgColumn,
    overrides: &Overrides,
) -> Vec<Learner> {
    let mut learner = Learner::new(target.ty.clone(), hints(table, source, overrides));
    if is_unsigned(&target.ty, source.affinity) {
        learner.take_habit(Form::Unsigned);
    }
    vec![learner]
}

impl<'a> Mapping<'a> {
    /// What the survey has to read: mapped tables with the learners of their columns, and missing ones without, because an
    /// empty table that is missing does no harm.
    pub fn learners(&self, overrides: &Overrides) -> Vec<(&'a SqliteTable, Vec<Vec<Learner>>)> {
        let mapped = self.tables.iter().map(|mapped| (mapped.source, mapped.learners(overrides)));
        let nothing = |table: &SqliteTable| table.columns.iter().map(|_| Vec::new()).collect();
        mapped.chain(self.missing.iter().map(|table| (*table, nothing(table)))).collect()
    }
}

impl MappedTable<'_> {
    /// The learners of every source column, in order, as the survey wants them; none where nothing travels.
    pub fn learners(&self, overrides: &Overrides) -> Vec<Vec<Learner>> {
        let of_column = |column: &MappedColumn<'_>| match column.counterpart {
            Counterpart::Column(target) if !target.generated => {
                learners(&self.source.name, column.source, target, overrides)
            }
            Counterpart::Column(_) | Counterpart::Missing | Counterpart::Excluded => Vec::new(),
        };
        self.columns.iter().map(of_column).collect()
    }
}

fn map_columns<'a>(source: &'a SqliteTable, target: &'a PgTable, overrides: &Overrides) -> MappedTable<'a> {
    let counterpart = |column: &SqliteColumn| {
        if excludes_column(overrides, &source.name, &column.name) {
            return Counterpart::Excluded;
        }
        let found = by_name(&target.columns, &column.name, |candidate| &candidate.name);
        found.map_or(Counterpart::Missing, Counterpart::Column)
    };
    let columns: Vec<MappedColumn<'_>> = source
        .columns
        .iter()
        .map(|column| MappedColumn { source: column, counterpart: counterpart(column) })
        .collect();
    let is_filled = |candidate: &PgColumn| {
        columns.iter().any(|column| match column.counterpart {
            Counterpart::Column(filled) => filled.name == candidate.name,
            Counterpart::Missing | Counterpart::Excluded => false,
        })
    };
    let (rowid, unfilled) =
        target.columns.iter().filter(|candidate| !is_filled(candidate)).partition::<Vec<&PgColumn>, _>(
            |candidate| keys::carries_rowid(candidate, source, target, overrides.existing_rows),
        );
    MappedTable { source, target, columns, rowid: rowid.first().copied(), unfilled }
}

/// A column is excluded by its full name only: a pattern meant for tables must not drop columns.
fn excludes_column(overrides: &Overrides, table: &str, column: &str) -> bool {
    let full = format!("{table}.{column}");
    overrides.exclude.iter().any(|pattern| pattern.eq_ignore_ascii_case(&full))
}

fn by_name<'a, T>(candidates: &'a [T], name: &str, name_of: impl Fn(&T) -> &String) -> Option<&'a T> {
    if let Some(exact) = candidates.iter().find(|candidate| name_of(candidate) == name) {
        return Some(exact);
    }
    let wanted = folded(name);
    let mut alike = candidates.iter().filter(|candidate| folded(name_of(candidate)) == wanted);
    let first = alike.next()?;
    alike.next().is_none().then_some(first)
}

/// The unit that a declaration says outright (Piccolo's `SECONDS`).
pub(super) fn unit_named(source: &SqliteColumn) -> Option<Unit> {
    match source.declared.to_ascii_lowercase().as_str() {
        "seconds" => Some(Unit::Seconds),
        "milliseconds" => Some(Unit::Millis),
        "microseconds" => Some(Unit::Micros),
        "nanoseconds" => Some(Unit::Nanos),
        _ => None,
    }
}

fn hints(table: &str, source: &SqliteColumn, overrides: &Overrides) -> Hints {
    let pinned = overrides.column(table, &source.name);
    Hints {
        affinity: source.affinity,
        zone: pinned.and_then(|column| column.zone).unwrap_or(overrides.source_tz),
        form: pinned.and_then(|column| column.form),
        unit: unit_named(source).or(overrides.unit),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{catalog, column, schema, source, target};
    use super::*;
    use crate::model::types::Type;

    fn names<'a>(mapped: &MappedTable<'a>) -> Vec<Option<&'a str>> {
        let name = |column: &MappedColumn<'a>| match column.counterpart {
            Counterpart::Column(target) => Some(target.name.as_str()),
            Counterpart::Missing | Counterpart::Excluded => None,
        };
        mapped.columns.iter().map(name).collect()
    }

    #[test]
    fn a_name_maps_to_itself_else_to_the_only_one_alike() {
        for (name, candidates, expected) in [
            ("users", &["users", "Users"][..], Some("users")),
            ("Users", &["users"], Some("users")),
            ("USERS", &["users", "Users"], None),
            ("École", &["école"], None),
            ("users", &["user"], None),
        ] {
            let schema = schema(vec![source(name, &[("id", "INTEGER")])]);
            let tables = candidates.iter().map(|name| target(name, vec![column("id", Type::Int8)])).collect();
            let catalog = catalog(tables);
            let mapping = map_tables(&schema, &catalog, &Overrides::default());
            let found = mapping.tables.first().map(|mapped| mapped.target.name.name.as_str());
            assert_eq!(found, expected, "{name}");
            assert_eq!(mapping.missing.len(), usize::from(expected.is_none()), "{name}");
            assert_eq!(mapping.unmapped.len(), candidates.len() - usize::from(expected.is_some()), "{name}");
        }
    }

    #[test]
    fn columns_map_by_name_and_not_by_position() {
        let schema = schema(vec![source("t", &[("b", "TEXT"), ("A", "INTEGER"), ("old", ""), ("gone", "")])]);
        let columns = ["a", "b", "old", "extra"].map(|name| column(name, Type::Text)).to_vec();
        let catalog = catalog(vec![target("t", columns)]);
        let overrides = Overrides { exclude: vec!["T.old".into()], ..Overrides::default() };
        let mapping = map_tables(&schema, &catalog, &overrides);
        let mapped = &mapping.tables[0];
        assert_eq!(names(mapped), [Some("b"), Some("a"), None, None]);
        assert!(matches!(mapped.columns[2].counterpart, Counterpart::Excluded));
        assert!(matches!(mapped.columns[3].counterpart, Counterpart::Missing));
        let unfilled: Vec<&str> = mapped.unfilled.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(unfilled, ["old", "extra"]);
        let (_, learners) = &mapping.learners(&overrides)[0];
        let learners: Vec<usize> = learners.iter().map(Vec::len).collect();
        assert_eq!(learners, [1, 1, 0, 0]);
    }

    #[test]
    fn tables_that_the_settings_leave_out_are_named() {
        let schema = schema(vec![source("a", &[]), source("b", &[])]);
        let catalog = catalog(vec![target("a", vec![]), target("b", vec![])]);
        let overrides = Overrides { exclude: vec!["b".into()], ..Overrides::default() };
        let mapping = map_tables(&schema, &catalog, &overrides);
        assert_eq!(mapping.excluded[0].name, "b");
        assert_eq!(mapping.unmapped[0].name.name, "b");
    }

    #[test]
    fn a_view_of_the_target_is_no_table_that_the_source_lacks() {
        let schema = schema(vec![source("a", &[])]);
        let kinds = [RelationKind::View, RelationKind::MaterializedView, RelationKind::Foreign];
        let beside = ["v", "m", "f"]
            .into_iter()
            .zip(kinds)
            .map(|(name, kind)| PgTable { kind, ..target(name, vec![]) });
        let catalog = catalog([target("a", vec![])].into_iter().chain(beside).collect());
        let mapping = map_tables(&schema, &catalog, &Overrides::default());
        let unmapped: Vec<&str> = mapping.unmapped.iter().map(|table| table.name.name.as_str()).collect();
        assert_eq!(unmapped, ["f"]);
    }

    #[test]
    fn a_declaration_that_names_a_unit_is_believed_before_the_settings() {
        let schema = source("t", &[("lag", "SECONDS"), ("took", "bigint")]);
        let overrides = Overrides { unit: Some(Unit::Millis), ..Overrides::default() };
        let units = schema.columns.iter().map(|column| hints("t", column, &overrides).unit);
        assert!(units.eq([Some(Unit::Seconds), Some(Unit::Millis)]));
    }
}
