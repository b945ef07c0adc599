//! Builders of schemas and catalogs for the tests of this folder. Never part of the program.

use crate::model::catalog::{
    Catalog, ConstraintKind, Identity, PgColumn, PgConstraint, PgIndex, PgTable, PgTrigger, RelationKind,
};
use crate::model::cell::Cell;
use crate::model::finding::{Finding, Severity};
use crate::model::name::PgName;
use crate::model::schema::{Affinity, SqliteColumn, SqliteSchema, SqliteTable, Storage};
use crate::model::types::Type;
use crate::plan::Plan;
use crate::plan::existing::mapping::map_tables;
use crate::plan::existing::plan;
use crate::plan::overrides::Overrides;
use crate::plan::survey::{ColumnSurvey, Survey, TableSurvey};

pub fn schema(tables: Vec<SqliteTable>) -> SqliteSchema {
    SqliteSchema { encoding: "UTF-8".into(), tables, ..SqliteSchema::default() }
}

/// A rowid table without any key.
pub fn source(name: &str, columns: &[(&str, &str)]) -> SqliteTable {
    let column = |(name, declared): &(&str, &str)| SqliteColumn {
        name: (*name).into(),
        declared: (*declared).into(),
        affinity: Affinity::of_declared(declared),
        not_null: false,
        default: None,
        collation: "BINARY".into(),
        generated: None,
    };
    SqliteTable {
        name: name.into(),
        storage: Storage::Rowid { alias: None, rowid: Some("rowid") },
        strict: false,
        autoincrement: false,
        columns: columns.iter().map(column).collect(),
        primary_key: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        on_conflict: Vec::new(),
    }
}

/// A rowid table whose first column is its INTEGER PRIMARY KEY.
pub fn keyed(name: &str, columns: &[(&str, &str)]) -> SqliteTable {
    SqliteTable {
        storage: Storage::Rowid { alias: Some(0), rowid: Some("rowid") },
        primary_key: vec![0],
        ..source(name, columns)
    }
}

pub fn catalog(tables: Vec<PgTable>) -> Catalog {
    Catalog {
        version_num: 150_018,
        server_encoding: "UTF8".into(),
        database: "app".into(),
        role: "mover".into(),
        may_create_in_schema: true,
        may_keep_state: true,
        schema_exists: true,
        schema: "public".into(),
        tables,
        ..Catalog::default()
    }
}

/// An empty table of ours.
pub fn target(name: &str, columns: Vec<PgColumn>) -> PgTable {
    PgTable {
        name: PgName::new("public", name),
        kind: RelationKind::Table,
        owned: true,
        columns,
        constraints: Vec::new(),
        indexes: Vec::new(),
        triggers: Vec::new(),
        rules: Vec::new(),
        row_security: false,
        is_partition: false,
        parents: Vec::new(),
        row_security_forced: false,
        unlogged: Vec::new(),
        unidentified: Vec::new(),
        missing_privileges: Vec::new(),
        has_rows: false,
    }
}

pub fn column(name: &str, ty: Type) -> PgColumn {
    PgColumn {
        name: name.into(),
        type_oid: ty.builtin_oid().unwrap_or(90_000),
        type_name: ty.sql(),
        ty,
        domain: None,
        domain_has_checks: false,
        not_null: false,
        default: None,
        identity: Identity::No,
        generated: false,
        collation_deterministic: true,
        sequence: None,
    }
}

pub fn constraint(table: &str, name: &str, kind: ConstraintKind, definition: &str) -> PgConstraint {
    PgConstraint {
        table: PgName::new("public", table),
        owned: true,
        name: name.into(),
        kind,
        definition: definition.into(),
        comment: None,
        columns: Vec::new(),
        parent: None,
        deferrable: definition.contains("DEFERRABLE"),
    }
}

/// A primary key, as both a constraint and its index.
pub fn with_key(mut table: PgTable, columns: &[&str]) -> PgTable {
    let names: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    for column in &mut table.columns {
        column.not_null |= names.contains(&column.name);
    }
    let name = format!("{}_pkey", table.name.name);
    let key = constraint(&table.name.name, &name, ConstraintKind::Primary, "PRIMARY KEY");
    table.constraints.push(PgConstraint { columns: names.clone(), ..key });
    table.indexes.push(PgIndex { primary: true, ..unique_index(&name, columns) });
    table
}

pub fn unique_index(name: &str, columns: &[&str]) -> PgIndex {
    PgIndex {
        name: PgName::new("public", name),
        unique: true,
        primary: false,
        definition: String::new(),
        columns: Some(columns.iter().map(|&name| name.to_owned()).collect()),
        partial: false,
        valid: true,
        nulls_not_distinct: false,
    }
}

pub fn foreign_key(table: &str, name: &str, parent: &str) -> PgConstraint {
    let definition = format!("FOREIGN KEY (p) REFERENCES {parent}(id)");
    PgConstraint {
        parent: Some(PgName::new("public", parent)),
        ..constraint(table, name, ConstraintKind::Foreign, &definition)
    }
}

pub fn trigger(name: &str, enabled: char) -> PgTrigger {
    PgTrigger { name: name.into(), before: true, enabled }
}

/// What the survey would find if these were the rows of each table.
pub fn survey(
    schema: &SqliteSchema,
    catalog: &Catalog,
    overrides: &Overrides,
    rows: &[(&str, &[&[Cell<'_>]])],
) -> Survey {
    let mapping = map_tables(schema, catalog, overrides);
    let mut survey = Survey::default();
    for (table, learners) in mapping.learners(overrides) {
        let columns = learners.into_iter().map(ColumnSurvey::with_learners).collect();
        let mut surveyed = TableSurvey { columns, ..TableSurvey::default() };
        for row in rows.iter().filter(|(name, _)| *name == table.name).flat_map(|(_, rows)| *rows) {
            surveyed.rows += 1;
            for (column, cell) in surveyed.columns.iter_mut().zip(*row) {
                column.observe(*cell);
            }
        }
        survey.tables.insert(table.name.clone(), surveyed);
    }
    survey
}

/// `t(id integer primary key, v text)` on both sides, with one row.
pub struct Case {
    pub schema: SqliteSchema,
    pub catalog: Catalog,
    pub overrides: Overrides,
}

impl Case {
    pub fn new() -> Case {
        let columns = vec![column("id", Type::Int8), column("v", Type::Text)];
        Case {
            schema: schema(vec![keyed("t", &[("id", "INTEGER"), ("v", "TEXT")])]),
            catalog: catalog(vec![with_key(target("t", columns), &["id"])]),
            overrides: Overrides::default(),
        }
    }

    /// `t(id integer primary key, v <declared>)` and its target column of type `ty`.
    pub fn with_value(declared: &str, ty: Type) -> Case {
        let mut case = Case::new();
        case.schema = schema(vec![keyed("t", &[("id", "INTEGER"), ("v", declared)])]);
        case.table().columns[1] = column("v", ty);
        case
    }

    pub fn table(&mut self) -> &mut PgTable {
        &mut self.catalog.tables[0]
    }

    pub fn plan(&self) -> Plan {
        self.plan_with(&[("t", &[&[Cell::Integer(1), Cell::Text(b"a")]])])
    }

    pub fn plan_with_value(&self, value: Cell<'_>) -> Plan {
        self.plan_with(&[("t", &[&[Cell::Integer(1), value]])])
    }

    pub fn plan_with(&self, rows: &[(&str, &[&[Cell<'_>]])]) -> Plan {
        let survey = survey(&self.schema, &self.catalog, &self.overrides, rows);
        plan(&self.schema, Some(&survey), &self.catalog, &self.overrides)
    }

    /// One row for each.
    pub fn plan_with_values(&self, values: &[Cell<'_>]) -> Plan {
        let rows: Vec<[Cell<'_>; 2]> =
            (0..).zip(values).map(|(id, value)| [Cell::Integer(id), *value]).collect();
        let rows: Vec<&[Cell<'_>]> = rows.iter().map(<[_; 2]>::as_slice).collect();
        self.plan_with(&[("t", &rows)])
    }

    pub fn plan_unread(&self) -> Plan {
        plan(&self.schema, None, &self.catalog, &self.overrides)
    }
}

fn finding<'a>(plan: &'a Plan, code: &str) -> &'a Finding {
    let found = plan.findings.iter().find(|finding| finding.code == code);
    found.unwrap_or_else(|| panic!("no {code} in {:#?}", plan.findings))
}

/// The finding is there, as grave as expected, and its subject, text or remedy says `says`.
#[track_caller]
pub fn expect(plan: &Plan, severity: Severity, code: &str, says: &str) {
    let found = finding(plan, code);
    assert_eq!(found.severity, severity, "{found:?}");
    let whole = format!("{}: {} / {}", found.subject, found.text, found.remedy);
    assert!(whole.contains(says), "{whole}");
}

#[track_caller]
pub fn expect_codes(plan: &Plan, expected: &[&str]) {
    let codes: Vec<&str> = plan.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, expected, "{:#?}", plan.findings);
}
