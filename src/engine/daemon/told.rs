//! What whoever starts a daemon again hears of the settings: which of them have no effect on the migration that is under way, and which
//! name what neither side has.
//!
//! It tells, and decides nothing. Where a side does not answer it keeps silent: what follows meets the same, and says so.

use super::agree;
use super::job::Job;
use super::shelf::told_at_start;
use super::tables::{Tables, as_recorded};
use crate::engine::begun::begun;
use crate::engine::prepare::Request;
use crate::journal::store::{Migration, Store};
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::phase::Phase;
use crate::plan::handover::unmeant;
use crate::plan::route::Route;
use crate::plan::unmatched;
use crate::postgres::catalog::catalog;
use crate::postgres::connect::connect;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::source::SqliteSource;

pub async fn tell_settings(job: &Job, store: &Store, migration: &Migration) -> Result<(), Fault> {
    let Some(begun) = begun(store, migration).await? else { return Ok(()) };
    for finding in begun.without_effect(&job.request) {
        tell(&finding, "a setting was changed since the migration began");
    }
    if begun.phase() > Phase::Switch {
        return Ok(());
    }
    if let Some(finding) = told_at_start(job).await {
        tell(&finding, "a directory that is wanted at the end");
    }
    let tables = as_recorded(store, migration.id).await?;
    for finding in
        names_of_nothing(&begun.holds(&job.request), &tables, begun.phase()).await.unwrap_or_default()
    {
        tell(&finding, "a setting has no effect");
    }
    Ok(())
}

fn tell(finding: &Finding, what: &str) {
    let Finding { code, subject, remedy, text, .. } = finding;
    tracing::warn!(code, setting = subject, remedy, "{what}: {text}");
}

async fn names_of_nothing(request: &Request, tables: &Tables, phase: Phase) -> Result<Vec<Finding>, Fault> {
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let schema = SqliteSource::new(file, request.limit).introspect().await?;
    let mut findings = unmatched::findings(&schema, &request.overrides, request.mode);
    let routes = || tables.values().map(|route| -> &Route { route });
    if !request.overrides.sequences.is_empty() {
        let catalog = catalog(&connect(&request.address).await?, &request.schema).await?;
        findings.extend(
            unmeant(routes(), &catalog, &request.overrides)
                .into_iter()
                .map(|(name, why)| sequence(&name, &why)),
        );
    }
    if phase == Phase::Switch {
        let waiting = agree::taken_up(request, (&schema, None), tables).await?;
        if !waiting.is_empty() {
            let named = waiting.into_iter().collect::<Vec<_>>().join(", ");
            let text = format!("left out no more, and followed once the writes are back in SQLite: {named}");
            let remedy = "nothing, if that will do: until a rollback PostgreSQL has of it what the application itself puts there";
            findings.push(Finding::warning("setting_without_effect", "tables", text).with_remedy(remedy));
        }
    }
    Ok(findings)
}

fn sequence(name: &str, why: &str) -> Finding {
    let text = format!("there is nothing that sequences could mean by \"{name}\": {why}");
    let remedy = "correct it, or take it out of [sequences]: the gate `sequences` stays shut";
    Finding::warning("setting_unmatched", name, text).with_remedy(remedy)
}
