//! `create` mode: SQLite's schema, what the survey saw and what the operator set, to the tables that PostgreSQL gets.
//!
//! What cannot be carried over is left out with a finding that says so; nothing is approximated. It never decides from a
//! declared name alone, and never fails: a plan that cannot be carried out has blockers.

mod adopted;
mod checks;
mod collations;
mod ddl;
mod draft;
mod foreign_keys;
mod generated;
mod indexes;
mod keys;
mod migrations;
mod rest;
mod scope;
mod sequences;
mod views;
mod width;

use super::naming::Names;
use super::overrides::Overrides;
use super::route::{ColumnRoute, Route};
use super::rules::{self, Rule};
use super::survey::Survey;
use super::typing::{self, Decision};
use super::{Mode, Plan, TablePlan, TableRole};
use crate::model::finding::Finding;
use crate::model::name::PgName;
use crate::model::schema::{SqliteSchema, SqliteTable};
use crate::model::types::Type;
use draft::Draft;
use keys::Primary;

/// Everything that a decision may rest on.
#[derive(Clone, Copy)]
struct Ground<'a> {
    schema: &'a SqliteSchema,
    survey: Option<&'a Survey>,
    target_schema: &'a str,
    overrides: &'a Overrides,
}

/// The plan for a target schema that holds none of the tables yet. Without a survey every column gets the type that its declared
/// family stores without fail.
pub fn plan(
    schema: &SqliteSchema,
    survey: Option<&Survey>,
    target_schema: &str,
    overrides: &Overrides,
) -> Plan {
    let ground = Ground { schema, survey, target_schema, overrides };
    let mut names = Names::of_schema(schema, overrides.letters);
    let mut findings = rest::findings(ground);
    findings.extend(migrations::findings(ground));
    let included: Vec<&SqliteTable> =
        schema.tables.iter().filter(|table| overrides.includes(&table.name)).collect();
    let mut decisions: Vec<Vec<Decision>> = included.iter().map(|table| decisions(table, ground)).collect();
    adopted::adopt(&included, &mut decisions, ground);
    let decided = included.into_iter().zip(decisions);
    let mut drafts: Vec<Draft<'_>> =
        decided.map(|(table, decisions)| draft((table, decisions), ground, &mut names)).collect();
    for draft in &mut drafts {
        ddl::add_table(draft, &mut names);
    }
    for draft in &mut drafts {
        keys::add_statements(draft, &mut names);
        indexes::add_all(draft, &mut names);
        checks::add_all(draft);
        generated::add_all(draft);
        width::judge(draft);
        collations::tell(draft);
    }
    foreign_keys::add_all(&mut drafts, ground);
    let sequences = sequences::plan(&mut drafts, ground, &mut findings);
    let views = views::translated(&drafts, ground, &names, &mut findings);
    for draft in &mut drafts {
        findings.append(&mut draft.findings);
    }
    let renamed = names.into_renamed();
    findings.extend(rest::renamed(&renamed));
    Plan {
        mode: Mode::Create,
        schema: target_schema.to_owned(),
        tables: drafts.into_iter().map(finished).collect(),
        views,
        sequences,
        suspended: Vec::new(),
        existing_rows: overrides.existing_rows,
        renamed,
        findings,
    }
}

/// The plan for tables that are followed: each column is what it crosses as, whatever its values would call for now.
pub fn as_followed(
    schema: &SqliteSchema,
    (target_schema, overrides): (&str, &Overrides),
    routes: &[&Route],
) -> Plan {
    let stated = overrides.as_it_stands(routes.iter().copied());
    let survey = Survey::as_it_crosses(schema, routes.iter().copied());
    plan(schema, Some(&survey), target_schema, &stated)
}

fn decisions(source: &SqliteTable, ground: Ground<'_>) -> Vec<Decision> {
    let survey = ground.survey.and_then(|survey| survey.tables.get(&source.name));
    let decide = |column: usize| {
        let seen = survey.and_then(|survey| survey.columns.get(column));
        let mut decision = typing::decide(source, column, seen, ground.overrides);
        if let (Type::Citext, Some(schema)) = (&decision.codec.ty, &ground.overrides.citext_schema) {
            decision.type_sql = format!("{schema}.citext");
        }
        decision
    };
    (0..source.columns.len()).map(decide).collect()
}

fn draft<'a>(
    (source, mut decisions): (&'a SqliteTable, Vec<Decision>),
    ground: Ground<'a>,
    names: &mut Names,
) -> Draft<'a> {
    let survey = ground.survey.and_then(|survey| survey.tables.get(&source.name));
    let findings: Vec<Finding> =
        decisions.iter_mut().flat_map(|decision| std::mem::take(&mut decision.findings)).collect();
    Draft {
        source,
        survey,
        target: PgName::new(ground.target_schema, names.of(&source.name)),
        columns: names.columns(source),
        keys: keys::of(source, survey, &decisions),
        decisions,
        sequence: None,
        unique: Vec::new(),
        constraint_names: names.space(),
        fills: Vec::new(),
        create: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        made_as: Vec::new(),
        notes: Vec::new(),
        findings,
    }
}

fn finished(draft: Draft<'_>) -> TablePlan {
    let mut columns: Vec<ColumnRoute> =
        (0..draft.source.columns.len()).map(|column| column_route(&draft, column)).collect();
    if draft.keys.primary == Primary::Rowid {
        columns.push(ColumnRoute::of_rowid(draft.columns.rowid.clone()));
    }
    let declared = rules::declared(draft.source, str::to_owned);
    let rules = declared.into_iter().zip(draft.made_as).map(|(declared, made_as)| Rule { declared, made_as });
    TablePlan {
        rules: rules.collect(),
        route: Route {
            source: draft.source.name.clone(),
            target: draft.target,
            columns,
            scan: draft.keys.scan,
            identity: draft.keys.identity,
        },
        role: TableRole::Copied,
        rows: draft.survey.map_or(0, |survey| survey.rows),
        fills: draft.fills,
        create: draft.create,
        indexes: draft.indexes,
        checks: draft.checks,
        foreign_keys: draft.foreign_keys,
        notes: draft.notes,
    }
}

fn column_route(draft: &Draft<'_>, column: usize) -> ColumnRoute {
    let decision = &draft.decisions[column];
    ColumnRoute {
        source: Some(draft.source.columns[column].name.clone()),
        affinity: draft.source.columns[column].affinity,
        target: draft.columns.names[column].clone(),
        type_oid: decision.codec.ty.builtin_oid().unwrap_or(0),
        type_sql: decision.type_sql.clone(),
        codec: decision.codec.clone(),
        not_null: draft.is_not_null(column),
    }
}

#[cfg(test)]
mod tests;
