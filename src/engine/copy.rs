//! Copy: the one shot, for those who can stop writing. And validate: the same proof by itself.

use super::begun::as_begun;
use super::bookkept::record_differs;
use super::computed::computed;
use super::earlier::{Earlier, known_migration, plan_changed};
use super::finish::{finish, settle};
use super::prepare::{Prepared, Request, prepare};
use super::refused::refused_rows;
use super::report::{Report, Stopwatch};
use super::retry::persist;
use super::witness::WriteWitness;
use crate::flow::backfill::backfill;
use crate::flow::progress::{Event, Watch};
use crate::flow::validate::{Extra, Scope, TableVerdict, validate};
use crate::journal::record::route_to_json;
use crate::journal::store::{Beginning, State, Store};
use crate::link::{Link, Source, Span};
use crate::model::catalog::{Catalog, PgColumn, PgTable};
use crate::model::fault::Fault;
use crate::model::finding::{Finding, Severity};
use crate::model::name::{PgName, ident};
use crate::plan::existing::needs_replica_sessions;
use crate::plan::overrides::ExistingRows;
use crate::plan::route::{ColumnRoute, Route};
use crate::plan::{Mode, Plan, Statement, TablePlan, TableRole};
use crate::postgres::catalog::catalog;
use crate::postgres::claim::{KILLED, claim};
use crate::postgres::connect::{connect, pool};
use crate::postgres::target::{LoadRole, PgTarget};
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::scan::count_rows;
use crate::sqlite::source::SqliteSource;
use crate::telemetry::labels::Direction;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::SystemTime;

/// How a copy ended.
pub enum Copied {
    /// The plan has blockers; nothing was written.
    Blocked(Vec<Finding>),
    Done {
        report: Report,
        earlier: Option<State>,
    },
}

/// A table's route, and whether its rows are ours to write.
#[derive(Clone)]
pub(super) struct Routed {
    pub(super) route: Arc<Route>,
    pub(super) role: TableRole,
}

/// How many listed differences a table's report holds.
#[derive(Clone, Copy, Debug)]
pub struct Listing(pub usize);

pub async fn copy(
    request: &Request,
    (earlier, listing): (Earlier, Listing),
    watch: &dyn Watch,
) -> Result<Copied, Fault> {
    let store = Store::new(pool(&request.address).await?);
    let claim = claim(&request.address, &request.schema, KILLED).await?;
    let copied = copy_claimed(request, &store, (earlier, listing), watch).await;
    claim.end().await;
    copied
}

async fn copy_claimed(
    request: &Request,
    store: &Store,
    (earlier, listing): (Earlier, Listing),
    watch: &dyn Watch,
) -> Result<Copied, Fault> {
    let (started, mut stopwatch) = (SystemTime::now(), Stopwatch::start());
    let witness = WriteWitness::open(request)?;
    let known = known_migration(store, request, earlier).await?;
    let prepared = persist(watch, async |watch: &dyn Watch| prepare(request, watch).await).await?;
    stopwatch.lap("plan");
    let mut findings = prepared.plan.findings.clone();
    if known.is_none() {
        findings.extend(standing_in_the_way(&prepared));
    }
    let fingerprint = fingerprint(&prepared.plan);
    let (migration, state) = match &known {
        _ if findings.iter().any(|finding| finding.code == READ_ONLY) => {
            return Ok(Copied::Blocked(findings));
        }
        Some(known) if known.state == State::Complete => (known.id, State::Complete),
        Some(known) if known.fingerprint == fingerprint => (known.id, known.state),
        Some(_) => return Err(plan_changed()),
        None if has_blocker(&findings) => return Ok(Copied::Blocked(findings)),
        None => (begin(request, store, &prepared, &fingerprint).await?, State::Loading),
    };
    let target = target_of(request, migration, load_role(&prepared));
    let link = Link { source: prepared.source.clone(), target };
    let now = persist(watch, async |_| catalog_of(request).await).await?;
    let routes = routes(&now, store, migration).await?;
    stopwatch.lap("setup");
    if state == State::Loading {
        load(&link, store, (migration, &routes), request, watch).await?;
    }
    stopwatch.lap("load");
    if state != State::Complete {
        let of_it = (migration, &prepared.plan);
        let made = async |watch: &dyn Watch| finish(&link.target, store, of_it, request.workers, watch).await;
        findings.extend(persist(watch, made).await?);
    }
    stopwatch.lap("index");
    if state != State::Complete {
        findings.extend(persist(watch, async |_| settle(&link.target, &prepared.plan).await).await?);
    }
    stopwatch.lap("settle");
    let (tables, noticed) = prove(request, &link, &routes, listing, watch).await?;
    findings.extend(noticed);
    findings.extend(persist(watch, async |_| refused_rows(store, migration).await).await?);
    stopwatch.lap("validate");
    let report = Report {
        direction: Direction::Forward,
        source: prepared.source.file().path().display().to_string(),
        target: request.address.describe(),
        started,
        finished: SystemTime::now(),
        tables,
        findings,
        phases: stopwatch.phases,
        source_changed: witness.saw_a_write()?,
    };
    record_verdict(store, migration, &report, watch).await?;
    if report.success() && state != State::Complete {
        persist(watch, async |_| store.complete(migration).await).await?;
    }
    Ok(Copied::Done { report, earlier: known.map(|known| known.state) })
}

async fn catalog_of(request: &Request) -> Result<Catalog, Fault> {
    catalog(&connect(&request.address).await?, &request.schema).await
}

fn target_of(request: &Request, migration: i64, role: LoadRole) -> PgTarget {
    PgTarget::new(Arc::clone(&request.address), Some(migration), role, request.overrides.existing_rows)
}

/// Compares both sides of an earlier copy, or of a target that somebody else filled.
pub async fn validate_alone(
    request: &Request,
    listing: Listing,
    tables: &[String],
    watch: &dyn Watch,
) -> Result<Copied, Fault> {
    let (started, mut stopwatch) = (SystemTime::now(), Stopwatch::start());
    let witness = WriteWitness::open(request)?;
    let store = Store::new(pool(&request.address).await?);
    let known = if store.exists().await? { store.find(&request.schema).await? } else { None };
    let request = &as_begun(request, &store, known.as_ref()).await?;
    let (source, mut routes, migration, mut findings) = match &known {
        Some(known) => {
            let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
            let source = SqliteSource::new(file, request.limit);
            let now = persist(watch, async |_| catalog_of(request).await).await?;
            let routes = routes(&now, &store, known.id).await?;
            let computed = routes.iter().flat_map(|routed| computed(&routed.route, &now)).collect();
            (source, routes, Some(known.id), computed)
        }
        None => {
            let as_existing = Request { mode: Mode::Existing, ..request.clone() };
            let prepared =
                persist(watch, async |watch: &dyn Watch| prepare(&as_existing, watch).await).await?;
            let in_the_way = |finding: &Finding| !ONLY_WRITING.contains(&finding.code);
            let findings: Vec<Finding> = prepared.plan.findings.into_iter().filter(in_the_way).collect();
            if has_blocker(&findings) {
                return Ok(Copied::Blocked(findings));
            }
            let routed = |table: TablePlan| Routed { route: Arc::new(table.route), role: table.role };
            let routes = prepared.plan.tables.into_iter().map(routed).collect();
            (prepared.source, routes, None, findings)
        }
    };
    keep_named(&mut routes, tables)?;
    let target = PgTarget::new(
        Arc::clone(&request.address),
        migration,
        LoadRole::Origin,
        request.overrides.existing_rows,
    );
    let link = Link { source, target };
    stopwatch.lap("plan");
    let (verdicts, noticed) = prove(request, &link, &routes, listing, watch).await?;
    findings.extend(noticed);
    if let Some(migration) = migration {
        findings.extend(persist(watch, async |_| refused_rows(&store, migration).await).await?);
    }
    stopwatch.lap("validate");
    let report = Report {
        direction: Direction::Forward,
        source: link.source.file().path().display().to_string(),
        target: request.address.describe(),
        started,
        finished: SystemTime::now(),
        tables: verdicts,
        findings,
        phases: stopwatch.phases,
        source_changed: witness.saw_a_write()?,
    };
    if let Some(migration) = migration {
        record_verdict(&store, migration, &report, watch).await?;
    }
    Ok(Copied::Done { report, earlier: known.map(|known| known.state) })
}

/// Leaves only the tables that were asked for, where some were.
fn keep_named(routes: &mut Vec<Routed>, tables: &[String]) -> Result<(), Fault> {
    if tables.is_empty() {
        return Ok(());
    }
    let is_named = |routed: &Routed, wanted: &String| routed.route.source.eq_ignore_ascii_case(wanted);
    for wanted in tables {
        if !routes.iter().any(|routed| is_named(routed, wanted)) {
            return Err(Fault::fatal("no_such_table", format!("validate table {wanted}"))
                .with_remedy("name a table as SQLite does; `liteferry check` lists them"));
        }
    }
    routes.retain(|routed| tables.iter().any(|wanted| is_named(routed, wanted)));
    Ok(())
}

/// What stands in the way of writing only: a comparison writes nothing, and rows in the target are what it is about.
const ONLY_WRITING: [&str; 3] = ["target_not_empty", "target_privilege", READ_ONLY];

/// Nothing of a copy can go on there, not even the record that it has ended.
const READ_ONLY: &str = "target_read_only";

pub(super) fn has_blocker(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Blocker)
}

/// `create` mode: relations of the target that bear the names of those to be created.
pub fn standing_in_the_way(prepared: &Prepared) -> Option<Finding> {
    if prepared.plan.mode == Mode::Existing {
        return None;
    }
    let taken = taken_of(&prepared.plan, |name| {
        prepared.catalog.relation_names.iter().any(|relation| relation == name)
    });
    if taken.is_empty() {
        return None;
    }
    let text = format!("the target already has {}", taken.join(", "));
    Some(
        Finding::blocker("target_not_empty", prepared.plan.schema.clone(), text).with_remedy(
            "drop them, choose an empty target.schema, or use target.mode = \"existing\" to fill the tables that are there",
        ),
    )
}

/// What bears a name of the schema: tables, their indexes and keys, views. Left out one by one, they would be missed later. Those of a table
/// that is in the way itself go with it, and hundreds of them would hide its name.
fn taken_of(plan: &Plan, is_taken: impl Fn(&str) -> bool) -> Vec<String> {
    let name = |table: &TablePlan| table.route.target.name.clone();
    let (there, free): (Vec<_>, Vec<_>) = plan.tables.iter().partition(|table| is_taken(&name(table)));
    let statements = free.iter().flat_map(|table| &table.indexes).chain(&plan.views);
    let made = statements.filter_map(Statement::made).filter(|made| is_taken(made));
    there.into_iter().map(name).chain(made).collect()
}

pub(super) fn load_role(prepared: &Prepared) -> LoadRole {
    match prepared.plan.mode {
        Mode::Existing if needs_replica_sessions(&prepared.plan, &prepared.catalog) => LoadRole::Replica,
        Mode::Existing | Mode::Create => LoadRole::Origin,
    }
}

/// What a resumed copy must find unchanged: statements, routes and how each column crosses.
fn fingerprint(plan: &Plan) -> String {
    let mut hasher = Sha256::new();
    hasher.update(plan.existing_rows.word());
    for table in &plan.tables {
        hasher.update(route_to_json(&table.route).to_string());
        for statement in table.create.iter().chain(table.after_load()) {
            hasher.update(&statement.sql);
        }
    }
    format!("{:x}", hasher.finalize())
}

async fn begin(
    request: &Request,
    store: &Store,
    prepared: &Prepared,
    fingerprint: &str,
) -> Result<i64, Fault> {
    store.upgrade().await?;
    let mut spans: Vec<Vec<Span>> = Vec::new();
    for table in &prepared.plan.tables {
        spans.push(match table.role {
            TableRole::Compared => Vec::new(),
            TableRole::Copied => {
                prepared.source.spans(&Arc::new(table.route.clone()), request.workers * 4).await?
            }
        });
    }
    let source_path = request.source_path();
    let (first, last) = (schema_statement(prepared), emptying(&prepared.plan, &prepared.catalog));
    let beginning = Beginning {
        source_path: &source_path,
        fingerprint,
        plan: &prepared.plan,
        first: first.as_slice(),
        last: last.as_slice(),
        spans: &spans,
        follow: None,
    };
    let id = store.begin(&beginning).await?;
    store.note("begun", &format!("the copy of {source_path} into schema {}", request.schema)).await?;
    Ok(id)
}

pub(super) fn schema_statement(prepared: &Prepared) -> Option<Statement> {
    let schema = &prepared.plan.schema;
    (!prepared.catalog.schema_exists && prepared.plan.mode == Mode::Create).then(|| Statement {
        what: format!("schema \"{schema}\""),
        sql: format!("create schema {}", ident(schema)),
        fallback: None,
        required: true,
    })
}

/// Rows that stand in the tables to be filled, removed as one set so that no order between them matters. An empty table is
/// named only where its foreign key points into the set: without need it would bring in the keys that point at itself.
pub fn emptying(plan: &Plan, catalog: &Catalog) -> Option<Statement> {
    let filled = plan.tables.iter().filter(|table| table.role == TableRole::Copied);
    let filled: Vec<&PgTable> = filled
        .filter_map(|table| catalog.tables.iter().find(|found| found.name == table.route.target))
        .collect();
    let mut emptied: Vec<&PgName> =
        filled.iter().filter(|table| table.has_rows).map(|table| &table.name).collect();
    let points_at = |table: &PgTable, emptied: &[&PgName]| {
        table
            .constraints
            .iter()
            .filter_map(|constraint| constraint.parent.as_ref())
            .any(|parent| emptied.contains(&parent))
    };
    while let Some(table) =
        filled.iter().find(|table| !emptied.contains(&&table.name) && points_at(table, &emptied))
    {
        emptied.push(&table.name);
    }
    let names: Vec<String> = emptied.iter().map(|name| name.sql()).collect();
    let replaces =
        plan.mode == Mode::Existing && plan.existing_rows == ExistingRows::Replace && !names.is_empty();
    replaces.then(|| Statement {
        what: "room for the source's rows".into(),
        sql: format!("truncate table {}", names.join(", ")),
        fallback: None,
        required: true,
    })
}

/// The routes as they were recorded, with the type ids that the target's columns have now.
pub(super) async fn routes(now: &Catalog, store: &Store, migration: i64) -> Result<Vec<Routed>, Fault> {
    let mut routes = Vec::new();
    for (mut route, role) in store.routes(migration).await? {
        let table = now.table(&route.target.name).ok_or_else(|| drifted(&route.target.to_string()))?;
        for column in &mut route.columns {
            let there = table.columns.iter().find(|there| there.name == column.target);
            let named = || format!("{}.{}", table.name, column.target);
            let there = there.ok_or_else(|| drifted(&named()))?;
            if !there.ty.travels_as(&column.codec.ty) {
                return Err(retyped(&named(), column, there));
            }
            column.type_oid = there.type_oid;
        }
        routes.push(Routed { route: Arc::new(route), role });
    }
    Ok(routes)
}

/// Refuses a column that would round what is written to it, where it was planned not to. For whoever reads it, it is what it is.
pub(super) fn unrounded(now: &Catalog, routes: &[Routed]) -> Result<(), Fault> {
    for Routed { route, .. } in routes {
        let Some(table) = now.table(&route.target.name) else { continue };
        for column in &route.columns {
            let there = table.columns.iter().find(|there| there.name == column.target);
            if let Some(there) = there.filter(|there| there.ty.rounds(&column.codec.ty)) {
                return Err(retyped(&format!("{}.{}", table.name, column.target), column, there));
            }
        }
    }
    Ok(())
}

fn retyped(named: &str, column: &ColumnRoute, there: &PgColumn) -> Fault {
    let (was, is) = (&column.type_sql, &there.type_name);
    drifted(&format!("{named} of type {was}, which is {is} now,"))
}

fn drifted(what: &str) -> Fault {
    Fault::fatal("schema_drift", format!("find {what} in the target")).with_remedy(
        "the target's tables were changed since the copy began: put the change back. Where rows were lost with it, `run` fills them in by \
         `liteferry validate --repair`; a one-shot copy begins anew with --restart",
    )
}

async fn load(
    link: &Link<SqliteSource, PgTarget>,
    store: &Store,
    (migration, routes): (i64, &[Routed]),
    request: &Request,
    watch: &dyn Watch,
) -> Result<(), Fault> {
    let routes: Vec<Arc<Route>> = routes.iter().map(|routed| Arc::clone(&routed.route)).collect();
    for state in store.ranges(migration, &routes).await? {
        let table = &state.range.route.source;
        watch.see(Event::Loaded { table, rows: state.rows + state.held, bytes: 0 });
    }
    persist(watch, async |watch| {
        // What the target holds is asked anew: nothing else tells what became of a commit, or what a server that crashed has forgotten.
        while !store.loaded(migration).await? {
            let states = store.ranges(migration, &routes).await?;
            let open = states.into_iter().filter(|state| !state.done).map(|state| state.range).collect();
            backfill(link, open, (request.workers, request.on_misfit), watch).await?;
        }
        Ok(())
    })
    .await
}

async fn record_verdict(
    store: &Store,
    migration: i64,
    report: &Report,
    watch: &dyn Watch,
) -> Result<(), Fault> {
    let text = report.to_json().to_string();
    let record = async |_: &dyn Watch| match store.record_verdict(migration, &text).await {
        // A standby is as good to compare with; it only remembers nothing.
        Err(fault) if fault.code == "read_only" => {
            tracing::warn!(
                code = fault.code,
                "the target takes no writes: the verdict is not recorded there"
            );
            Ok(())
        }
        recorded => recorded,
    };
    persist(watch, record).await
}

/// Compares all tables; differences in a migration tool's bookkeeping are findings, not part of the verdict.
async fn prove(
    request: &Request,
    link: &Link<SqliteSource, PgTarget>,
    routes: &[Routed],
    Listing(listed_max): Listing,
    watch: &dyn Watch,
) -> Result<(Vec<TableVerdict>, Vec<Finding>), Fault> {
    let mut tables = Vec::new();
    for Routed { route, .. } in routes {
        let name = route.source.clone();
        let rows = link.source.read(move |db| count_rows(db, &name)).await?;
        tables.push((Arc::clone(route), rows));
    }
    let extra = match request.overrides.existing_rows {
        ExistingRows::Merge => Extra::Allowed,
        ExistingRows::Refuse | ExistingRows::Replace => Extra::Counts,
    };
    let scope = Scope { workers: request.workers, listed_max, extra };
    let (mut verdicts, mut findings) = (Vec::new(), Vec::new());
    let compared: Vec<Vec<TableVerdict>> = stream::iter(&tables)
        .map(|table| {
            persist(watch, async |watch: &dyn Watch| {
                validate(link, std::slice::from_ref(table), scope, watch).await
            })
        })
        .buffered(scope.workers.max(1))
        .try_collect()
        .await?;
    for (verdict, Routed { role, .. }) in compared.into_iter().flatten().zip(routes) {
        match role {
            TableRole::Copied => verdicts.push(verdict),
            TableRole::Compared => findings.extend(record_differs(&verdict)),
        }
    }
    Ok((verdicts, findings))
}
