//! The records that a migration tool keeps on both sides: where they differ, so may the schemas.

use super::prepare::{Prepared, Request};
use crate::flow::progress::Watch;
use crate::flow::validate::{Extra, Scope, TableVerdict, validate};
use crate::link::Link;
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::plan::TableRole;
use crate::postgres::target::{LoadRole, PgTarget};
use crate::sqlite::scan::count_rows;
use std::sync::Arc;

/// Before anything is written. Nothing where the plan is blocked, which may be what keeps a record from being read.
pub async fn differing_records(
    request: &Request,
    prepared: &Prepared,
    watch: &dyn Watch,
) -> Result<Vec<Finding>, Fault> {
    if prepared.survey.is_none() || prepared.plan.blockers().next().is_some() {
        return Ok(Vec::new());
    }
    let target =
        PgTarget::new(Arc::clone(&request.address), None, LoadRole::Origin, request.overrides.existing_rows);
    let link = Link { source: prepared.source.clone(), target };
    let scope = Scope { workers: 1, listed_max: 0, extra: Extra::Counts };
    let mut findings = Vec::new();
    for table in prepared.plan.tables.iter().filter(|table| table.role == TableRole::Compared) {
        let name = table.route.source.clone();
        let rows = link.source.read(move |db| count_rows(db, &name)).await?;
        let compared = (Arc::new(table.route.clone()), rows);
        let verdicts = validate(&link, std::slice::from_ref(&compared), scope, watch).await?;
        findings.extend(verdicts.iter().filter_map(record_differs));
    }
    Ok(findings)
}

pub fn record_differs(verdict: &TableVerdict) -> Option<Finding> {
    let (missing, extra) = (verdict.missing, verdict.extra);
    let text = format!("{missing} migrations are recorded only in SQLite, {extra} only in PostgreSQL");
    let found = Finding::warning("bookkeeping_differs", verdict.route.source.clone(), text)
        .with_remedy("see that both schemas were made by the same version of the application");
    (!verdict.equal()).then_some(found)
}
