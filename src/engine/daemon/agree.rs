//! Whether the target's own tables are still what the routes were made for: `existing` mode, where the application's migrations change
//! both sides, one after the other.
//!
//! It looks at both schemas and at no row, so that it may be asked again and again. It changes nothing.

use crate::engine::prepare::{Prepared, Request, Values, prepare};
use crate::flow::progress::Unwatched;
use crate::model::fault::Fault;
use crate::model::finding::{Finding, Severity};
use crate::model::name::PgName;
use crate::model::schema::{Affinity, SqliteSchema};
use crate::model::types::Type;
use crate::plan::overrides::ExistingRows;
use crate::plan::route::{ColumnRoute, Route};
use crate::plan::{Mode, Plan, TablePlan, TableRole};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one side has and the other lacks; each holds whatever the values are.
const APART: [&str; 3] = ["table_missing", "column_missing", "column_without_source"];

/// The plan as both schemas call for it now, values unseen. Nothing in `create` mode, where the target's schema is ours.
pub async fn planned_anew(request: &Request) -> Result<Option<Prepared>, Fault> {
    match request.mode {
        Mode::Create => Ok(None),
        Mode::Existing => {
            let unseen = Request { values: Values::Unseen, ..request.clone() };
            prepare(&unseen, &Unwatched).await.map(Some)
        }
    }
}

/// The followed tables, by their source's name, whose target is not what their routes say.
pub fn adrift(plan: &Plan, tables: &BTreeMap<i64, Arc<Route>>) -> BTreeSet<String> {
    let apart = |route: &Route| {
        let Some(fresh) = plan.tables.iter().find(|table| table.route.source == route.source) else {
            return true;
        };
        let disturbed = plan.suspended.iter().any(|suspended| suspended.table == route.target);
        let missing = plan.findings.iter().any(|finding| is_apart(finding) && is_about(finding, fresh));
        disturbed || missing || crossings(&fresh.route) != crossings(route)
    };
    tables.values().filter(|route| apart(route)).map(|route| route.source.clone()).collect()
}

/// Tables that nothing of ours has followed, and that the settings no longer leave out.
pub async fn taken_up(
    request: &Request,
    (schema, anew): (&SqliteSchema, Option<&Prepared>),
    tables: &BTreeMap<i64, Arc<Route>>,
) -> Result<BTreeSet<String>, Fault> {
    let is_new = |name: &String| {
        request.overrides.includes(name) && tables.values().all(|route| route.source != *name)
    };
    // Seldom one: most of them nobody could follow.
    if !schema.tables.iter().any(|table| is_new(&table.name)) {
        return Ok(BTreeSet::new());
    }
    let made;
    let plan = match anew {
        Some(anew) => &anew.plan,
        None => {
            made = prepare(&Request { values: Values::Unseen, ..request.clone() }, &Unwatched).await?;
            &made.plan
        }
    };
    let copied = plan.tables.iter().filter(|table| table.role == TableRole::Copied);
    Ok(copied.map(|table| table.route.source.clone()).filter(is_new).collect())
}

/// Source and target of each column, and what each of the two holds.
fn crossings(route: &Route) -> BTreeMap<(Option<&str>, &str), (Affinity, &Type, bool)> {
    let crossing = |column| {
        let ColumnRoute { source, affinity, target, codec, not_null, .. }: &ColumnRoute = column;
        ((source.as_deref(), target.as_str()), (*affinity, &codec.ty, *not_null))
    };
    route.columns.iter().map(crossing).collect()
}

pub fn is_apart(finding: &Finding) -> bool {
    finding.severity == Severity::Blocker && APART.contains(&finding.code)
}

/// Findings name a table, or a column of it, as the source or as the target calls it.
pub fn is_about(finding: &Finding, table: &TablePlan) -> bool {
    let Route { source, target, .. } = &table.route;
    [source, &target.name, &target.to_string()].into_iter().any(|name| {
        finding
            .subject
            .strip_prefix(name.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// What the application's migrations have brought to one side and not yet to the other, of these tables and of those that are missing.
pub fn first_apart<'p>(plan: &'p Plan, of: &BTreeSet<String>) -> Option<&'p Finding> {
    let about = |finding: &Finding| {
        let mut tables = plan.tables.iter().filter(|table| of.contains(&table.route.source));
        finding.code == "table_missing" || tables.any(|table| is_about(finding, table))
    };
    plan.findings.iter().find(|finding| is_apart(finding) && about(finding))
}

/// A table that is new to us, and yet holds rows in the target that nobody said what to do about.
pub fn first_full(
    prepared: &Prepared,
    followed: &BTreeMap<i64, Arc<Route>>,
    of: &BTreeSet<String>,
) -> Option<Finding> {
    let at = |name: &PgName| prepared.catalog.tables.iter().find(|found| found.name == *name);
    let is_new = |table: &TablePlan| followed.values().all(|route| route.source != table.route.source);
    // What was there under another name, and is there no more on either side, was renamed on both.
    let renamed = |table: &TablePlan| {
        followed.values().any(|route| {
            let gone = prepared.schema.tables.iter().all(|found| found.name != route.source);
            gone && at(&route.target).is_none() && crossings(route) == crossings(&table.route)
        })
    };
    // The migrations' own record is only compared, and each side has written its own.
    let full = |table: &&TablePlan| {
        table.role == TableRole::Copied
            && of.contains(&table.route.source)
            && is_new(table)
            && at(&table.route.target).is_some_and(|target| target.has_rows)
            && !renamed(table)
    };
    let table = match prepared.plan.existing_rows {
        ExistingRows::Replace | ExistingRows::Merge => return None,
        ExistingRows::Refuse => prepared.plan.tables.iter().find(full)?,
    };
    let text = format!("table {} of the target holds rows already", table.route.target);
    Some(Finding::blocker("target_not_empty", &table.route.source, text).with_remedy(
        "empty it; or have its rows removed: target.existing_rows = \"replace\", and start the daemon again",
    ))
}

/// A table or column that holds nothing as yet will hold something while it is followed.
pub fn will_be_filled(findings: &mut [Finding], schema: &SqliteSchema) {
    let computed = |subject: &str| {
        schema.tables.iter().any(|table| {
            let mut columns = table.columns.iter().filter(|column| column.generated.is_some());
            columns.any(|column| subject == format!("{}.{}", table.name, column.name))
        })
    };
    for finding in findings.iter_mut().filter(|finding| APART.contains(&finding.code)) {
        if finding.severity == Severity::Warning && !computed(&finding.subject) {
            finding.severity = Severity::Blocker;
            if finding.remedy.is_empty() {
                "run the application's migrations against the target, or leave it out: tables.exclude"
                    .clone_into(&mut finding.remedy);
            }
        }
    }
}
