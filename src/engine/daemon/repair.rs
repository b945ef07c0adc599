//! Repair while no daemon runs: compares both sides and names the keys of the rows that differ in the change table.
//!
//! It writes nothing into the target but the verdict: the daemon carries the rows over when it runs again.

use super::tables::followed;
use super::toucher::{Log, Toucher};
use crate::engine::begun::as_begun;
use crate::engine::copy::Listing;
use crate::engine::order::Repair;
use crate::engine::prepare::Request;
use crate::engine::report::Report;
use crate::flow::progress::{Event, Watch};
use crate::flow::validate::{Comparison, Extra, Scope};
use crate::journal::follow::Follow;
use crate::journal::store::{Migration, Store};
use crate::link::{Link, Span};
use crate::model::fault::Fault;
use crate::phase::Phase;
use crate::plan::route::Route;
use crate::postgres::connect::pool;
use crate::postgres::target::PgTarget;
use crate::sqlite::capture;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::history::OF_ANOTHER;
use crate::sqlite::scan::count_rows;
use crate::sqlite::source::SqliteSource;
use crate::telemetry::labels::Direction;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

const DOING: &str = "repair what differs";

/// `tables` are those to be looked at; all where there are none.
pub async fn repair(
    request: &Request,
    Listing(listed_max): Listing,
    tables: &[String],
    watch: &dyn Watch,
) -> Result<Report, Fault> {
    let (started, began) = (SystemTime::now(), Instant::now());
    let store = Store::new(pool(&request.address).await?);
    let (migration, recorded) = known(request, &store).await?;
    let request = &as_begun(request, &store, Some(&migration)).await?;
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let source = SqliteSource::new(file.clone(), request.limit);
    captured_for(&source, &recorded).await?;
    let routes = named(followed(request, &store, migration.id).await?, tables)?;
    let overrides = request.overrides.existing_rows;
    let target = PgTarget::new(Arc::clone(&request.address), Some(migration.id), recorded.role, overrides);
    let link = Link { source, target };
    let scope = Scope { workers: 1, listed_max, extra: Extra::Counts };
    let log = Log::Sqlite(file.clone(), store.clone(), migration.id);
    let mut verdicts = Vec::new();
    for (id, route) in routes {
        let name = route.source.clone();
        let rows = link.source.read(move |db| count_rows(db, &name)).await?;
        let mut comparison = Comparison::new(&route, rows);
        let mut mender = Toucher::of(&log, id, Repair::ReadAgain);
        comparison.compare(&link, Span::default(), scope, &mut mender).await?;
        watch.see(Event::Compared { table: &route.source, rows });
        verdicts.push(comparison.end());
    }
    let report = Report {
        direction: Direction::Forward,
        source: file.path().display().to_string(),
        target: request.address.describe(),
        started,
        finished: SystemTime::now(),
        tables: verdicts,
        findings: Vec::new(),
        phases: vec![("validate", began.elapsed())],
        // Whatever is written meanwhile is captured.
        source_changed: false,
    };
    store.record_verdict(migration.id, &report.to_json().to_string()).await?;
    Ok(report)
}

/// The migration that follows this source, once it has reached the state that rows are followed from.
async fn known(request: &Request, store: &Store) -> Result<(Migration, Follow), Fault> {
    let refused = |code, remedy: &str| Err(Fault::fatal(code, DOING).with_remedy(remedy));
    let migration = if store.exists().await? { store.find(&request.schema).await? } else { None };
    let follow = match &migration {
        Some(migration) => store.follow(migration.id).await?,
        None => None,
    };
    let (Some(migration), Some(follow)) = (migration, follow) else {
        return refused(
            "repair_not_followed",
            "no daemon follows this source into that schema, so nothing would carry the rows over: copy anew with \
             `liteferry copy --restart`, or follow the source with `liteferry run`",
        );
    };
    if migration.source_path != request.source_path() {
        return refused("other_source", "the schema holds the migration of another file: see source.path");
    }
    if follow.phase > Phase::Switch {
        return refused(
            "repair_way_back",
            "the migration has ended, or ends: PostgreSQL alone is written, SQLite's rows are those of the cleanup, and neither is mended by the \
             other",
        );
    }
    if !follow.phase.replicates() {
        return refused(
            "repair_too_early",
            "the backfill has not ended, and what it has not loaded yet is no difference: let `liteferry run` end it",
        );
    }
    if follow.phase >= Phase::Switch {
        return refused(
            "repair_way_back",
            "the application writes to PostgreSQL, so that rows of SQLite are what is mended, and the daemon alone can tell what it has \
             yet to bring there: start `liteferry run`, and give the order again",
        );
    }
    Ok((migration, follow))
}

/// Names in a change table that is not ours, or not of this migration, would be read by nobody or by the wrong one.
async fn captured_for(source: &SqliteSource, recorded: &Follow) -> Result<(), Fault> {
    match source.read(capture::origin).await? {
        Some(origin) if origin.migration == recorded.token => Ok(()),
        Some(_) => Err(Fault::fatal("other_migration", DOING).with_remedy(OF_ANOTHER)),
        None => Err(Fault::fatal("capture_missing", DOING).with_remedy(
            "liteferry's tables are gone from the source, so what was written since then is unknown: `liteferry run --resync` compares \
             both sides and carries over what differs",
        )),
    }
}

fn named(
    mut routes: BTreeMap<i64, Arc<Route>>,
    tables: &[String],
) -> Result<BTreeMap<i64, Arc<Route>>, Fault> {
    let is_named = |route: &Route, wanted: &String| route.source.eq_ignore_ascii_case(wanted);
    if let Some(wanted) = tables.iter().find(|wanted| !routes.values().any(|route| is_named(route, wanted))) {
        return Err(Fault::fatal("no_such_table", format!("repair table {wanted}"))
            .with_remedy("name a table as SQLite does; `liteferry check` lists them"));
    }
    routes.retain(|_, route| tables.is_empty() || tables.iter().any(|wanted| is_named(route, wanted)));
    Ok(routes)
}
