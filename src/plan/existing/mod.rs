//! `existing` mode: the schema that the application's own migrations made in PostgreSQL is law, and values adapt to it.
//!
//! Everything that stands against it is said at once, each finding with what mends it. Never proposes a change to the target as
//! done, and never leaves out a table, a column or a value in silence.

pub mod bookkeeping;
mod columns;
mod definition;
mod keys;
mod long;
pub mod mapping;
mod outside;
mod preflight;
mod proposal;
mod sequences;
mod suspend;

#[cfg(test)]
mod fixture;

pub use keys::{KeyAtHand, key_at_hand, misfits_of_key, rowid_at_hand};
pub use outside::keys_from_outside;
pub use suspend::{needs_replica_sessions, suspended_beyond, suspended_now};

use super::conflicts::conflicts;
use super::overrides::{ExistingRows, Overrides};
use super::route::{ColumnRoute, Identity, Route};
use super::survey::Survey;
use super::{Mode, Plan, TablePlan, TableRole, uncomputable};
use crate::model::catalog::{Catalog, Identity as Numbered, PgTable};
use crate::model::finding::{Finding, listed};
use crate::model::name::ident;
use crate::model::schema::{LeftOut, LeftOutKind, SqliteSchema, SqliteTable};
use bookkeeping::Bookkeeping;
use columns::{AdaptedColumn, adapt};
use mapping::{MappedTable, Mapping, map_tables};
pub(super) use proposal::is_plain;

/// Everything that a decision may rest on.
#[derive(Clone, Copy)]
struct Ground<'a> {
    schema: &'a SqliteSchema,
    survey: Option<&'a Survey>,
    catalog: &'a Catalog,
    overrides: &'a Overrides,
}

/// A table of the plan beside what it was made from.
struct Planned<'a> {
    mapped: &'a MappedTable<'a>,
    plan: TablePlan,
}

pub fn plan(
    schema: &SqliteSchema,
    survey: Option<&Survey>,
    catalog: &Catalog,
    overrides: &Overrides,
) -> Plan {
    let mapping = map_tables(schema, catalog, overrides);
    let ground = Ground { schema, survey, catalog, overrides };
    let mut findings = preflight::server(catalog);
    findings.extend(left_behind(&mapping, ground));
    let (incomparable, tables): (Vec<&MappedTable<'_>>, Vec<&MappedTable<'_>>) =
        mapping.tables.iter().partition(|mapped| incomparable(mapped.source).is_some());
    findings.extend(incomparable.into_iter().filter_map(|mapped| incomparable_finding(mapped.source)));
    let mut zone_assumed = Vec::new();
    let planned: Vec<Planned<'_>> = tables
        .into_iter()
        .map(|mapped| {
            let Judged { plan, findings: more, zone_assumed: zones } = table(mapped, ground);
            findings.extend(more);
            zone_assumed.extend(zones);
            Planned { mapped, plan }
        })
        .collect();
    let copied: Vec<&MappedTable<'_>> = planned
        .iter()
        .filter(|planned| planned.plan.role == TableRole::Copied)
        .map(|planned| planned.mapped)
        .collect();
    let targets: Vec<&PgTable> = copied.iter().map(|mapped| mapped.target).collect();
    findings.extend(preflight::seen_twice(&targets, catalog));
    findings.extend(zone_finding(&zone_assumed, overrides));
    findings.extend(rows_already_there(&targets, overrides.existing_rows));
    let suspension = suspend::suspension(&targets, catalog, overrides.existing_rows);
    findings.extend(suspension.findings);
    let sequences = sequences::sequences(&copied, ground);
    findings.extend(sequences.findings);
    Plan {
        mode: Mode::Existing,
        schema: catalog.schema.clone(),
        tables: planned.into_iter().map(|planned| planned.plan).collect(),
        views: Vec::new(),
        sequences: sequences.plans,
        suspended: suspension.suspended,
        existing_rows: overrides.existing_rows,
        renamed: Vec::new(),
        findings,
    }
}

/// A migration tool's record that is another one on each engine.
fn incomparable(source: &SqliteTable) -> Option<Bookkeeping> {
    bookkeeping::bookkeeping(source).filter(|found| found.compare.is_empty())
}

fn incomparable_finding(source: &SqliteTable) -> Option<Finding> {
    let tool = incomparable(source)?.tool;
    let text =
        format!("{tool} keeps a record here that differs between engines: neither compared nor written");
    Some(Finding::note("bookkeeping", &source.name, text))
}

struct Judged {
    plan: TablePlan,
    findings: Vec<Finding>,
    zone_assumed: Vec<String>,
}

fn table(mapped: &MappedTable<'_>, ground: Ground<'_>) -> Judged {
    let surveyed = ground.survey.and_then(|survey| survey.tables.get(&mapped.source.name));
    let kept_by = bookkeeping::bookkeeping(mapped.source);
    let role = if kept_by.is_some() { TableRole::Compared } else { TableRole::Copied };
    let only = kept_by.as_ref().map(|found| found.compare.as_slice());
    let mut adapted = adapt(mapped, surveyed, ground.overrides, only);
    let mut findings = preflight::table(mapped, role, ground.catalog, ground.overrides.existing_rows);
    if role == TableRole::Copied {
        findings.extend(long::too_long_for_indexes(mapped, surveyed));
    }
    findings.append(&mut adapted.findings);
    let identity = match &kept_by {
        Some(found) => {
            let text =
                format!("{} keeps its own record of migrations here: compared, never written", found.tool);
            findings.push(Finding::note("bookkeeping", &mapped.source.name, text));
            Identity::WholeRow
        }
        None => {
            let key = keys::key(mapped, &adapted.columns);
            findings.extend(keys::unproven(mapped, &adapted.columns));
            findings.extend(numbered(mapped, &adapted.columns, &key, ground.overrides.existing_rows));
            findings.extend(unmergeable(mapped, &key, ground.overrides.existing_rows));
            match ground.overrides.existing_rows {
                // Empty, or else it blocks: its rows are put in as they come.
                ExistingRows::Merge if !key.arbiter => Identity::WholeRow,
                ExistingRows::Refuse | ExistingRows::Replace | ExistingRows::Merge => key.identity,
            }
        }
    };
    let scan = keys::scan_order(mapped, &adapted.columns);
    let rowid = mapped.rowid.map(|column| ColumnRoute::of_rowid(column.name.clone()));
    let route = Route {
        source: mapped.source.name.clone(),
        target: mapped.target.name.clone(),
        columns: adapted.columns.into_iter().map(|column| column.route).chain(rowid).collect(),
        scan,
        identity,
    };
    let plan = TablePlan {
        route,
        role,
        rows: surveyed.map_or(0, |table| table.rows),
        fills: Vec::new(),
        create: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        rules: Vec::new(),
        notes: adapted.notes,
    };
    Judged { plan, findings, zone_assumed: adapted.zone_assumed }
}

/// Merging needs a key by which `on conflict` finds the row that is already there.
fn unmergeable(mapped: &MappedTable<'_>, key: &keys::Key, existing_rows: ExistingRows) -> Option<Finding> {
    match existing_rows {
        ExistingRows::Refuse | ExistingRows::Replace => None,
        ExistingRows::Merge if key.arbiter || !mapped.target.has_rows => None,
        ExistingRows::Merge => {
            let text = "rows cannot be merged: the two sides share no key that both keep unique and check row by row";
            let remedy = "[target] existing_rows = \"replace\", or empty this table first";
            Some(
                Finding::blocker("merge_without_key", mapped.target.name.to_string(), text)
                    .with_remedy(remedy),
            )
        }
    }
}

/// A column that the target always numbers itself can be given a value with a new row, but not overwritten.
fn numbered(
    mapped: &MappedTable<'_>,
    columns: &[AdaptedColumn],
    key: &keys::Key,
    existing_rows: ExistingRows,
) -> Option<Finding> {
    let is_key = |index: &usize| match &key.identity {
        Identity::Columns(key) => key.contains(index),
        Identity::WholeRow => false,
    };
    let beside = (0..columns.len()).filter(|index| !is_key(index));
    let always = |name: &String| {
        mapped.target.columns.iter().any(|column| column.name == *name && column.identity == Numbered::Always)
    };
    let name = beside.map(|index| &columns[index].route.target).find(|name| always(name))?;
    (existing_rows == ExistingRows::Merge && mapped.target.has_rows).then(|| {
        let table = mapped.target.name.sql();
        let remedy = format!("alter table {table} alter column {} set generated by default;", ident(name));
        let text =
            "rows cannot be merged: the target always numbers this column itself, and it is not the key";
        Finding::blocker("merge_identity_always", format!("{}.{name}", mapped.target.name), text)
            .with_remedy(remedy)
    })
}

/// What of the source has no table to go to, and what of the target no row comes to.
fn left_behind(mapping: &Mapping<'_>, ground: Ground<'_>) -> Vec<Finding> {
    let rows = |table: &SqliteTable| {
        ground.survey.and_then(|survey| survey.tables.get(&table.name)).map(|found| found.rows)
    };
    let (bookkeeping, missing): (Vec<&SqliteTable>, Vec<&SqliteTable>) =
        mapping.missing.iter().copied().partition(|table| bookkeeping::bookkeeping(table).is_some());
    let (elsewhere, bookkeeping): (Vec<&SqliteTable>, Vec<&SqliteTable>) =
        bookkeeping.into_iter().partition(|table| incomparable(table).is_some());
    let (empty, full): (Vec<&SqliteTable>, Vec<&SqliteTable>) =
        missing.into_iter().partition(|table| rows(table) == Some(0));
    let mut findings = Vec::new();
    findings.extend(without_table(mapping, (&full, &empty), ground));
    if !bookkeeping.is_empty() {
        let text =
            format!("the target has no such record of migrations to compare with: {}", names(&bookkeeping));
        findings.push(Finding::warning("bookkeeping_missing", &ground.catalog.schema, text));
    }
    findings.extend(elsewhere.into_iter().filter_map(incomparable_finding));
    if !mapping.excluded.is_empty() {
        let text = format!("the settings leave out: {}", names(&mapping.excluded));
        findings.push(Finding::warning("table_excluded", &ground.catalog.schema, text));
    }
    // Of those that the settings leave out it has been said.
    let is_excluded =
        |name: &str| mapping.excluded.iter().any(|source| source.name.eq_ignore_ascii_case(name));
    let unmapped = mapping.unmapped.iter().map(|table| table.name.name.as_str());
    let names: Vec<&str> = unmapped.filter(|name| !is_excluded(name)).collect();
    if !names.is_empty() {
        let text = format!(
            "the source has no table for these of the target, which stay as they are: {}",
            names.join(", ")
        );
        findings.push(Finding::note("target_table_unmapped", &ground.catalog.schema, text));
    }
    findings.extend(ground.schema.left_out.iter().filter_map(not_mapped));
    findings.extend(conflicts(ground.schema, ground.overrides));
    findings
}

fn not_mapped(left_out: &LeftOut) -> Option<Finding> {
    match &left_out.kind {
        LeftOutKind::Uncomputable { why } => Some(uncomputable(&left_out.name, why)),
        LeftOutKind::Virtual { module } => {
            let text = format!("it is a virtual table of {module} and is not copied");
            let remedy = "let the application build its search index again";
            Some(Finding::warning("virtual_table", &left_out.name, text).with_remedy(remedy))
        }
        LeftOutKind::Shadow => None,
    }
}

/// The schemas of the two engines may bear different numbers.
fn of_the_schema(full: &[&str]) -> String {
    let words = ["version", "migrat", "schema"];
    let is_likely = |name: &&&str| words.iter().any(|word| name.to_ascii_lowercase().contains(word));
    let likely: Vec<String> = full.iter().filter(is_likely).map(|name| format!("{name:?}")).collect();
    let such =
        if likely.is_empty() { String::new() } else { format!(" = [{}], if that is one", likely.join(", ")) };
    format!(
        "a table in which the application records the version of its schema keeps what its migrations wrote there if it is left out: \
         [tables] exclude{such}"
    )
}

fn rows_already_there(targets: &[&PgTable], existing_rows: ExistingRows) -> Option<Finding> {
    let full: Vec<&str> =
        targets.iter().filter(|table| table.has_rows).map(|table| table.name.name.as_str()).collect();
    if full.is_empty() {
        return None;
    }
    let list = full.join(", ");
    Some(match existing_rows {
        ExistingRows::Refuse => {
            let text =
                format!("these tables already hold rows, and their keys may clash with the source's: {list}");
            let remedy = "[target] existing_rows = \"replace\" removes the rows of every table that is copied, right for a fresh \
                          schema that its migrations have filled; \"merge\" lets source rows overwrite those with the same key \
                          and keeps the others; \"refuse\" stops here, so that you can empty the tables yourself";
            Finding::blocker("target_not_empty", "existing_rows", text).with_remedy(remedy)
        }
        ExistingRows::Replace => {
            let text = format!("the rows of these tables are removed first: {list}");
            Finding::warning("rows_replaced", "existing_rows", text).with_remedy(of_the_schema(&full))
        }
        ExistingRows::Merge => {
            let text = format!("source rows overwrite those with the same key, and others stay: {list}");
            Finding::warning("rows_merged", "existing_rows", text).with_remedy(of_the_schema(&full))
        }
    })
}

fn zone_finding(columns: &[String], overrides: &Overrides) -> Option<Finding> {
    (!columns.is_empty()).then(|| {
        let (zone, columns) = (overrides.source_tz, columns.join(", "));
        let text =
            format!("times without an offset, in SQLite or in PostgreSQL, are read as {zone} in: {columns}");
        let remedy = "state the zone the application writes in: [types] source_tz, or for one column \
                      [types.column.\"table.column\"] tz";
        Finding::note("zone_assumed", "source_tz", text).with_remedy(remedy)
    })
}

/// A schema in which nothing was made has one thing said of it, whatever its tables would hold.
fn without_table(
    mapping: &Mapping<'_>,
    (full, empty): (&[&SqliteTable], &[&SqliteTable]),
    ground: Ground<'_>,
) -> Vec<Finding> {
    let schema = &ground.catalog.schema;
    let listed = |tables: &[&SqliteTable]| listed(tables.iter().map(|table| table.name.clone()));
    let all = [full, empty].concat();
    let is_told = !full.is_empty() && ground.catalog.schema_exists;
    if is_told && mapping.tables.is_empty() && all.len() > 1 {
        let text = format!("the target has none of the source's {} tables: {}", all.len(), listed(&all));
        let remedy = "run the application's migrations against the target first, or say in which schema they made their tables: \
                      target.schema";
        return vec![Finding::blocker("table_missing", schema, text).with_remedy(remedy)];
    }
    let mut findings = Vec::new();
    if is_told {
        let text = format!("the target has no table for: {}", listed(full));
        let remedy = format!(
            "run the application's migrations against the target, or leave them out: [tables] exclude = [{}]",
            full.iter().map(|table| format!("\"{}\"", table.name)).collect::<Vec<_>>().join(", ")
        );
        findings.push(Finding::blocker("table_missing", schema, text).with_remedy(remedy));
    }
    if !empty.is_empty() {
        let text = format!("the target has no table for these, which are empty: {}", listed(empty));
        findings.push(Finding::warning("table_missing", schema, text));
    }
    findings
}

fn names(tables: &[&SqliteTable]) -> String {
    tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::fixture::{
        Case, column, expect, expect_codes, foreign_key, keyed, schema, source, target, with_key,
    };
    use super::*;
    use crate::canon::Form;
    use crate::model::cell::Cell;
    use crate::model::finding::Severity::{Blocker, Note, Warning};
    use crate::model::name::PgName;
    use crate::model::types::Type;
    use crate::plan::route::ScanOrder;

    #[test]
    fn equal_schemas_cross_without_a_finding() {
        let plan = Case::new().plan();
        expect_codes(&plan, &[]);
        let route = &plan.tables[0].route;
        assert_eq!(plan.tables[0].role, TableRole::Copied);
        assert_eq!(plan.tables[0].rows, 1);
        assert_eq!(route.identity, Identity::Columns(vec![0]));
        assert_eq!(route.scan, ScanOrder::Rowid { name: "rowid".into(), column: Some(0) });
        assert!(route.columns[0].not_null && !route.columns[1].not_null);
        assert_eq!((route.columns[1].type_oid, route.columns[1].codec.form), (25, Form::Native));
        assert!(plan.suspended.is_empty() && plan.sequences.is_empty());
    }

    #[test]
    fn tables_without_a_counterpart_are_named_all_at_once() {
        let mut case = Case::new();
        case.schema.tables.extend(["lost", "gone", "empty"].map(|name| source(name, &[("a", "TEXT")])));
        case.schema.tables.push(source("alembic_version", &[("version_num", "TEXT")]));
        let hashed = [("id", "INTEGER"), ("hash", "TEXT"), ("created_at", "numeric")];
        case.schema.tables.push(source("__drizzle_migrations", &hashed));
        case.schema.tables.push(source("skipped", &[]));
        case.overrides.exclude = vec!["skip*".into()];
        case.catalog.tables.extend(["skipped", "only_here"].map(|name| target(name, vec![])));
        case.catalog.tables.push(target("only_here_2026", vec![]));
        case.catalog.tables.last_mut().unwrap().is_partition = true;
        case.schema.left_out = vec![
            LeftOut { name: "docs".into(), kind: LeftOutKind::Virtual { module: "fts5".into() } },
            LeftOut { name: "docs_data".into(), kind: LeftOutKind::Shadow },
        ];
        let row: &[&[Cell<'_>]] = &[&[Cell::Text(b"a")]];
        let plan = case.plan_with(&[("lost", row), ("gone", row)]);
        expect(&plan, Blocker, "table_missing", "lost, gone");
        expect(&plan, Blocker, "table_missing", "exclude = [\"lost\", \"gone\"]");
        let empty = plan
            .findings
            .iter()
            .find(|finding| finding.code == "table_missing" && finding.severity == Warning);
        assert!(empty.unwrap().text.ends_with(": empty"));
        expect(&plan, Warning, "bookkeeping_missing", "compare with: alembic_version / ");
        // Drizzle keeps it in a schema of its own.
        expect(&plan, Note, "bookkeeping", "Drizzle");
        expect(&plan, Warning, "table_excluded", "skipped");
        expect(&plan, Note, "target_table_unmapped", "as they are: only_here / ");
        expect(&plan, Warning, "virtual_table", "fts5");
        assert!(plan.findings.iter().all(|finding| !finding.subject.is_empty()), "{:?}", plan.findings);
        expect(&case.plan_unread(), Blocker, "table_missing", "lost, gone, empty");
    }

    #[test]
    fn many_tables_without_a_counterpart_are_counted() {
        let mut case = Case::new();
        case.schema.tables = (1..=12).map(|n| source(&format!("t{n}"), &[("a", "TEXT")])).collect();
        let row: &[&[Cell<'_>]] = &[&[Cell::Text(b"a")]];
        let rows =
            [("t1", row), ("t2", row), ("t3", row), ("t4", row), ("t5", row), ("t6", row), ("t7", row)];
        case.catalog.tables = vec![target("t1", vec![column("a", Type::Text)])];
        let plan = case.plan_with(&rows);
        expect(&plan, Blocker, "table_missing", "no table for: t2, t3, t4, t5, t6 and 1 more / ");
        expect(&plan, Blocker, "table_missing", "exclude = [\"t2\", \"t3\", \"t4\", \"t5\", \"t6\", \"t7\"]");
        // Nothing was made there at all: that is one thing to say.
        case.catalog.tables = vec![target("other", vec![column("a", Type::Text)])];
        let plan = case.plan_with(&rows);
        let missing = plan.findings.iter().filter(|finding| finding.code == "table_missing");
        let told: Vec<_> = missing.map(|finding| (finding.severity, finding.text.as_str())).collect();
        assert_eq!(
            told,
            [(Blocker, "the target has none of the source's 12 tables: t1, t2, t3, t4, t5 and 7 more")]
        );
        expect(&plan, Blocker, "table_missing", "target.schema");
    }

    #[test]
    fn bookkeeping_is_compared_by_its_migrations_and_never_written() {
        let columns = [("id", "INTEGER"), ("app", "TEXT"), ("name", "TEXT"), ("applied", "datetime")];
        let mut case = Case::new();
        case.schema = schema(vec![keyed("django_migrations", &columns)]);
        let types = [Type::Int8, Type::Varchar(Some(255)), Type::Varchar(Some(255)), Type::Timestamptz(6)];
        let columns = columns.iter().zip(types).map(|((name, _), ty)| column(name, ty)).collect();
        let mut table = with_key(target("django_migrations", columns), &["id"]);
        table.columns[0].sequence = Some(PgName::new("public", "django_migrations_id_seq"));
        table.constraints.push(foreign_key("django_migrations", "fk", "elsewhere"));
        table.missing_privileges = vec!["INSERT"];
        table.has_rows = true;
        case.catalog.tables = vec![table];
        let plan = case.plan_with(&[]);
        expect_codes(&plan, &["bookkeeping"]);
        let planned = &plan.tables[0];
        assert_eq!(planned.role, TableRole::Compared);
        let names: Vec<&str> = planned.route.columns.iter().map(|column| column.target.as_str()).collect();
        assert_eq!(names, ["app", "name"]);
        assert_eq!(planned.route.identity, Identity::WholeRow);
        assert!(plan.suspended.is_empty() && plan.sequences.is_empty());
        case.catalog.tables[0].missing_privileges = vec!["SELECT"];
        expect(&case.plan_with(&[]), Blocker, "privilege_missing", "grant select");
    }

    #[test]
    fn a_record_that_differs_between_engines_is_left_alone() {
        let mut case = Case::new();
        let names = ["version", "file"];
        case.schema.tables.push(source("applied_schema_deltas", &names.map(|name| (name, "TEXT"))));
        let columns = names.map(|name| column(name, Type::Text)).to_vec();
        case.catalog.tables.push(target("applied_schema_deltas", columns));
        let plan = case.plan();
        expect_codes(&plan, &["bookkeeping"]);
        expect(&plan, Note, "bookkeeping", "Synapse");
        assert_eq!(plan.tables.len(), 1);
    }

    #[test]
    fn rows_already_there_wait_for_a_decision() {
        let mut case = Case::new();
        case.table().has_rows = true;
        let plan = case.plan();
        expect(&plan, Blocker, "target_not_empty", "source's: t");
        for choice in ["\"replace\" removes", "\"merge\" lets", "\"refuse\" stops"] {
            expect(&plan, Blocker, "target_not_empty", choice);
        }
        case.overrides.existing_rows = ExistingRows::Replace;
        let plan = case.plan();
        expect_codes(&plan, &["rows_replaced"]);
        assert!(plan.findings[0].remedy.ends_with("left out: [tables] exclude"), "{:?}", plan.findings);
        let likely = of_the_schema(&["orders", "db_Version"]);
        assert!(likely.ends_with("exclude = [\"db_Version\"], if that is one"), "{likely}");
        assert_eq!(plan.existing_rows, ExistingRows::Replace);
        case.overrides.existing_rows = ExistingRows::Merge;
        expect_codes(&case.plan(), &["rows_merged"]);
        case.table().constraints[0].deferrable = true;
        expect(&case.plan(), Blocker, "merge_without_key", "replace");
    }
}
