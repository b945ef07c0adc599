//! Schema changes while running: what the application's own migrations did to the source, carried over to what is followed.
//!
//! Every followed table is told apart as it stands now: as it was, altered, gone, or new. The target and our records change in one
//! transaction; then capture is armed again; then every table whose rows may have changed unseen (its triggers were gone, a column
//! came with a default) is compared, and what differs is read again. What cannot be carried over halts by name.

use super::blocking::{ARM_WAIT, blocking};
use super::job::Job;
use super::likeness::{holds_ties, is_same, key_names, refusing_null, same_scan};
use super::setup::{NO_SHARED_KEY, capture_findings, captures};
use super::voice::Voice;
use super::{agree, reread};
use crate::canon::Form;
use crate::engine::copy::load_role;
use crate::engine::prepare::{Partly, Prepared, Request, prepare};
use crate::flow::progress::Unwatched;
use crate::journal::follow::{Follow, Which};
use crate::journal::reshape::{Reshaping, TableChange};
use crate::journal::store::Store;
use crate::model::fault::{Fault, FaultClass};
use crate::model::finding::{Finding, Severity};
use crate::model::name::ident;
use crate::model::schema::{SqliteSchema, SqliteTable};
use crate::phase::Phase;
use crate::plan::create;
use crate::plan::referring::{Referring, referring};
use crate::plan::renamed::renamed;
use crate::plan::route::{ColumnRoute, Identity, Route, ScanOrder};
use crate::plan::rules::{Rule, Turnover, declared, turnover};
use crate::plan::{Mode, Statement, Suspended, TablePlan, TableRole};
use crate::postgres::target::LoadRole;
use crate::sqlite::capture;
use crate::sqlite::connect::schema_version;
use crate::sqlite::control::is_closed;
use crate::sqlite::history::{is_one_step, schema_digest};
use crate::sqlite::source::SqliteSource;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// What is followed, as recorded.
pub struct Followed<'a> {
    pub migration: i64,
    pub owner: &'a str,
    pub recorded: &'a Follow,
    pub tables: BTreeMap<i64, Arc<Route>>,
}

/// Looks whether the source is what the records say, and brings records, target and capture up to it where it is not.
pub async fn settle(
    job: &Job,
    store: &Store,
    source: &SqliteSource,
    followed: Followed<'_>,
    voice: &Voice,
) -> Result<(), Fault> {
    // The version first: a change in between shows as one that came after.
    let (version, before) = source.read(|db| Ok((schema_version(db)?, schema_digest(db)?))).await?;
    let schema = source.introspect().await?;
    let (now, _) = captures(&schema, &followed.tables);
    let expected = now.clone();
    let census = source.read(move |db| capture::census(db, &expected)).await?;
    let anew = agree::planned_anew(&job.request).await?;
    let adrift = anew.as_ref().map(|anew| agree::adrift(&anew.plan, &followed.tables)).unwrap_or_default();
    let is_another = before != followed.recorded.source_schema;
    let is_plain = followed.recorded.source_version.map_or(!is_another, |known| is_one_step(known, version));
    let is_same_source = !is_another && is_plain && census.is_whole();
    let is_as_it_was = is_same_source && adrift.is_empty();
    let taken_up = match is_as_it_was && !source.read(is_closed).await? {
        true => agree::taken_up(&job.request, (&schema, anew.as_ref()), &followed.tables).await?,
        false => BTreeSet::new(),
    };
    if is_as_it_was && taken_up.is_empty() {
        return understood(store, &followed, version).await;
    }
    let unseen: BTreeSet<i64> =
        followed.tables.keys().copied().filter(|id| !is_plain || !census.is_intact(*id)).collect();
    let Changes { tables: changes, suspended, role } =
        changes(job, (&schema, anew.as_ref(), &adrift), &followed).await?;
    let rules = store.rules(followed.migration).await?;
    let Surroundings { referring, turnovers } =
        surroundings_now(&job.request, (&schema, &rules), &followed, (&changes, &unseen));
    match (is_same_source, adrift.is_empty()) {
        (false, _) => tracing::warn!("the schema is not what it was; the change is carried over"),
        (true, false) => tell_of_target(&adrift),
        (true, true) => {
            tracing::info!(tables = ?taken_up, "tables that the settings leave out no more are followed from now on");
        }
    }
    // A verdict was about the schema that it saw.
    voice.board.update(Instant::now(), |status| status.validation.schema_holds = false);
    reread_altered(store, source, followed.migration, &changes).await?;
    note(store, (&changes, &turnovers), (!is_plain).then_some(LEAPT)).await?;
    let reshaping = Reshaping {
        migration: followed.migration,
        owner: followed.owner,
        source_schema: &before,
        changes: &changes,
        suspended: &suspended,
        role,
        referring: &referring,
        turnovers: &turnovers,
        suspect: &unseen,
    };
    store.reshape(&reshaping).await?;
    arm_again(job, store, (source, voice), (&followed, &schema)).await?;
    // Read before the tables are compared: what comes in between is seen by the comparison.
    let (version, now) = source.read(|db| Ok((schema_version(db)?, schema_digest(db)?))).await?;
    if now != before {
        return Err(Fault::new(FaultClass::Transient, "source_schema_changed", "carry a schema change over")
            .with_remedy("the schema changed once more meanwhile; it is looked at anew by itself"));
    }
    voice.board.tick(Instant::now());
    understood(store, &followed, version).await
}

async fn reread_altered(
    store: &Store,
    source: &SqliteSource,
    migration: i64,
    changes: &[TableChange],
) -> Result<(), Fault> {
    for change in changes {
        if let TableChange::Altered { id, route, .. } = change {
            let of = (route.source.as_str(), Which::All);
            reread::ledger_of(store, source.file(), (migration, *id), of).await?;
        }
    }
    Ok(())
}

fn tell_of_target(tables: &BTreeSet<String>) {
    tracing::warn!(
        ?tables,
        "PostgreSQL's tables, or the columns that the settings leave out of them, are not what they were; it is carried over"
    );
}

async fn note(
    store: &Store,
    (changes, turnovers): (&[TableChange], &[Turnover]),
    unseen: Option<&str>,
) -> Result<(), Fault> {
    for (what, table) in changes.iter().map(|change| (change.word(), change.table())) {
        tracing::warn!(table, change = what, "a table of the source changed");
        store.note("schema", &format!("{what}: {table}")).await?;
    }
    for (what, word) in turnovers.iter().flat_map(Turnover::told) {
        tracing::info!(what, change = word, "an index or a constraint of the source changed");
        store.note("schema", &format!("{word}: {what}")).await?;
    }
    match unseen {
        Some(unseen) => store.note("schema", unseen).await,
        None => Ok(()),
    }
}

async fn understood(store: &Store, followed: &Followed<'_>, version: i64) -> Result<(), Fault> {
    if followed.recorded.source_version == Some(version) {
        return Ok(());
    }
    store.understood((followed.migration, followed.owner), version).await
}

pub(super) const LEAPT: &str = "changed more than once unseen: every table is compared";

/// What each table has apart from its columns, in `create` mode. In `existing` mode the application's own migrations see to it.
#[derive(Default)]
struct Surroundings {
    /// Foreign keys that wait for the switch, of every table that changed or refers to one that did.
    referring: Vec<Referring>,
    turnovers: Vec<Turnover>,
}

fn surroundings_now(
    request: &Request,
    (schema, rules): (&SqliteSchema, &BTreeMap<String, Vec<Rule>>),
    followed: &Followed<'_>,
    (changes, unseen): (&[TableChange], &BTreeSet<i64>),
) -> Surroundings {
    if request.mode == Mode::Existing {
        return Surroundings::default();
    }
    let mut routes: BTreeMap<&str, &Route> =
        followed.tables.values().map(|route| (route.source.as_str(), route.as_ref())).collect();
    let mut known = routes.clone();
    for change in changes {
        match change {
            TableChange::Gone { table, .. } => {
                routes.remove(table.as_str());
                known.remove(table.as_str());
            }
            TableChange::Altered { route, .. } | TableChange::New { route, .. } => {
                routes.insert(&route.source, route);
            }
        }
    }
    let rebuilt = unseen.iter().filter_map(|id| Some(followed.tables.get(id)?.source.clone()));
    let changed = changes.iter().map(|change| change.table().to_owned()).chain(rebuilt).collect();
    let all: Vec<&Route> = routes.values().copied().collect();
    let plan = create::as_followed(schema, (&request.schema, &request.overrides), &all);
    let turned = |table: &TablePlan| {
        let name = table.route.source.as_str();
        let (before, now) = (known.get(name)?, routes.get(name)?);
        let declared = schema.tables.iter().find(|declared| declared.name == name)?;
        let recorded = rules.get(name).map(Vec::as_slice).unwrap_or_default();
        let is_named_so = now.target == table.route.target && crosses_under(now, &table.route);
        is_named_so.then(|| turnover(recorded, table, &words_before(before, declared, &table.route)))?
    };
    Surroundings {
        referring: referring(schema, (&plan, &all), &changed),
        turnovers: plan.tables.iter().filter_map(turned).collect(),
    }
}

/// Whether each column has the name in the target that it would be given today.
fn crosses_under(route: &Route, fresh: &Route) -> bool {
    let called = |column: &ColumnRoute| {
        fresh.columns.iter().any(|it| it.source == column.source && it.target == column.target)
    };
    route.columns.iter().all(called)
}

/// The words of a table's rules under the names that its columns had before.
fn words_before(before: &Route, table: &SqliteTable, fresh: &Route) -> Vec<String> {
    let (now, _) = renamed(before, table, fresh);
    let names = now.columns.iter().zip(&before.columns);
    let names: BTreeMap<&str, &str> =
        names.filter_map(|(now, was)| Some((now.source.as_deref()?, was.source.as_deref()?))).collect();
    declared(table, |name| names.get(name).copied().unwrap_or(name).to_owned())
}

async fn arm_again(
    job: &Job,
    store: &Store,
    (source, voice): (&SqliteSource, &Voice),
    (followed, schema): (&Followed<'_>, &SqliteSchema),
) -> Result<(), Fault> {
    let tables = super::tables::followed(&job.request, store, followed.migration).await?;
    let (captures, findings) = captures(schema, &tables);
    refuse_blockers(&findings)?;
    let (file, voice) = (source.file().clone(), voice.clone());
    blocking("arm capture again", move || {
        let turned = || voice.board.tick(Instant::now());
        capture::rearm(&file.open_writer(ARM_WAIT)?, &captures, &turned)
    })
    .await
}

/// What became of the followed tables, and which came anew.
struct Changes {
    tables: Vec<TableChange>,
    /// Constraints and triggers that the application's migrations have brought to the target.
    suspended: Vec<Suspended>,
    role: LoadRole,
}

async fn changes(
    job: &Job,
    (schema, anew, adrift): (&SqliteSchema, Option<&Prepared>, &BTreeSet<String>),
    followed: &Followed<'_>,
) -> Result<Changes, Fault> {
    let is_as_it_was = |table: &SqliteTable| {
        let known = followed.tables.values().find(|route| route.source == table.name);
        known.is_some_and(|route| is_same(job.request.mode, route, table)) && !adrift.contains(&table.name)
    };
    let other: BTreeSet<String> =
        schema.tables.iter().filter(|table| !is_as_it_was(table)).map(|table| table.name.clone()).collect();
    let mut changes: Vec<TableChange> = followed
        .tables
        .iter()
        .filter(|(_, route)| schema.tables.iter().all(|table| table.name != route.source))
        .map(|(id, route)| gone(*id, route, job.request.mode))
        .collect();
    let (mut suspended, mut role) = (Vec::new(), followed.recorded.role);
    if !other.is_empty() {
        // Seen before any row is read: this is asked again and again until both sides agree.
        if let Some(anew) = anew {
            refuse_blockers(agree::first_apart(&anew.plan, &other))?;
            refuse_blockers(agree::first_full(anew, &followed.tables, &other).as_ref())?;
        }
        let as_before = followed.tables.values().filter(|route| !other.contains(&route.source));
        let partly = Partly { surveyed: other.clone(), followed: as_before.cloned().collect() };
        let request = Request { partly: Some(partly), ..job.request.clone() };
        let prepared = prepare(&request, &Unwatched).await?;
        let fresh: Vec<&TablePlan> =
            prepared.plan.tables.iter().filter(|table| other.contains(&table.route.source)).collect();
        let about = |finding: &&Finding| {
            fresh.iter().any(|table| agree::is_about(finding, table)) || other.contains(&finding.subject)
        };
        let findings = [&prepared.plan.findings[..], &capture_findings(&prepared)].concat();
        refuse_blockers(findings.iter().filter(about))?;
        told_apart(fresh.iter().copied(), (followed, schema), job.request.mode, &mut changes);
        let disturbs = |suspended: &&Suspended| {
            fresh.iter().any(|table| table.role == TableRole::Copied && table.route.target == suspended.table)
        };
        suspended = prepared.plan.suspended.iter().filter(disturbs).cloned().collect();
        if load_role(&prepared) == LoadRole::Replica {
            role = LoadRole::Replica;
        }
    }
    Ok(Changes { tables: changes, suspended, role })
}

fn refuse_blockers<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Result<(), Fault> {
    let Some(blocker) = findings.into_iter().find(|finding| finding.severity == Severity::Blocker) else {
        return Ok(());
    };
    let doing = format!("carry the schema change of {} over: {}", blocker.subject, blocker.text);
    // A key of both sides whose values do not cross yet: the application's migration gives the target's its new type too.
    let is_of_old_type = blocker.text.strip_prefix(NO_SHARED_KEY).is_some_and(|why| !why.is_empty());
    let may_come = agree::is_apart(blocker) && blocker.code != "table_missing" || is_of_old_type;
    let remedy = match may_come {
        true => format!(
            "run the application's migration against the side that has not had it: what was written meanwhile waits, and it goes on by \
             itself. Where there is none: {}",
            blocker.remedy
        ),
        false => blocker.remedy.clone(),
    };
    Err(Fault::fatal("schema_change_refused", doing).with_remedy(remedy))
}

fn told_apart<'p>(
    fresh: impl Iterator<Item = &'p TablePlan>,
    (followed, schema): (&Followed<'_>, &SqliteSchema),
    mode: Mode,
    changes: &mut Vec<TableChange>,
) {
    let mut next = followed.tables.keys().max().copied().unwrap_or(0);
    for table in fresh.filter(|table| table.role == TableRole::Copied) {
        let known = followed.tables.iter().find(|(_, route)| route.source == table.route.source);
        if let Some((id, route)) = known {
            let found = schema.tables.iter().find(|found| found.name == route.source);
            // Keys and indexes that are still to be made bear the old names.
            let is_made = followed.recorded.phase > Phase::Backfill;
            let (now, names) = match (mode, found.filter(|_| is_made)) {
                (Mode::Create, Some(found)) => renamed(route, found, &table.route),
                // The application's own migrations rename the target's columns.
                (Mode::Existing, _) | (Mode::Create, None) => (Route::clone(route), Vec::new()),
            };
            // What is loaded by ranges is loaded on in the order that they were cut in.
            let is_read_on = is_made || found.is_some_and(|found| same_scan(&now, found));
            let is_held = match mode {
                Mode::Create => found.is_none_or(|found| holds_ties(&now, found, &table.route)),
                Mode::Existing => true,
            };
            if key_names(&now) == key_names(&table.route) && is_held && is_read_on {
                changes.push(altered(*id, (&now, names), table, mode));
                continue;
            }
            changes.push(gone(*id, route, mode));
        }
        next += 1;
        changes.push(new_table(next, table));
    }
}

fn names(route: &Route) -> BTreeSet<Option<&str>> {
    route.columns.iter().map(|column| column.source.as_deref()).collect()
}

fn gone(id: i64, route: &Arc<Route>, mode: Mode) -> TableChange {
    let statements = match mode {
        Mode::Create => {
            vec![Statement::required(
                format!("end of table {}", route.target),
                format!("drop table {}", route.target.sql()),
            )]
        }
        // The application's own migrations see to its tables.
        Mode::Existing => Vec::new(),
    };
    TableChange::Gone { id, table: route.source.clone(), statements }
}

fn new_table(id: i64, table: &TablePlan) -> TableChange {
    let statements = table.create.iter().chain(&table.indexes).chain(&table.checks).cloned().collect();
    TableChange::New { id, route: table.route.clone(), statements, rules: table.rules.clone() }
}

/// A column of another affinity holds its values in another class from now on (`text` that was made `integer`): it is read, and written back,
/// as one whose values are not known.
fn of_affinity_now(column: &ColumnRoute, fresh: &Route) -> ColumnRoute {
    let mut now = column.clone();
    let planned = fresh.columns.iter().find(|planned| planned.source == column.source);
    if let Some(planned) = planned.filter(|planned| planned.affinity != column.affinity) {
        now.affinity = planned.affinity;
        now.codec.came_back = None;
        now.codec.form = match planned.codec.ty == now.codec.ty {
            true => planned.codec.form,
            false => Form::usual(&now.codec.ty, planned.affinity),
        };
    }
    now
}

/// The columns that stay cross as they did; those that came cross as planned now, and may be empty until they are filled.
fn altered(id: i64, (route, names): (&Route, Vec<Statement>), fresh: &TablePlan, mode: Mode) -> TableChange {
    match mode {
        Mode::Create => altered_as_planned(id, (route, names), fresh),
        // The target's columns are law, and they may have changed too.
        Mode::Existing => TableChange::Altered {
            id,
            route: fresh.route.clone().as_came_back_to(route),
            statements: Vec::new(),
        },
    }
}

fn altered_as_planned(
    id: i64,
    (route, mut statements): (&Route, Vec<Statement>),
    fresh: &TablePlan,
) -> TableChange {
    let target = route.target.sql();
    let stays = |column: &&ColumnRoute| names(&fresh.route).contains(&column.source.as_deref());
    let mut columns: Vec<ColumnRoute> =
        route.columns.iter().filter(stays).map(|column| of_affinity_now(column, &fresh.route)).collect();
    for left in route.columns.iter().filter(|column| !stays(column)) {
        let (name, what) = (ident(&left.target), format!("end of column {}.{}", route.target, left.target));
        statements.push(Statement::required(what, format!("alter table {target} drop column {name}")));
    }
    let takes_null = |source: &Option<String>| {
        fresh.route.columns.iter().any(|column| column.source == *source && !column.not_null)
    };
    let relaxed: BTreeSet<String> = refusing_null(route)
        .filter(|column| takes_null(&column.source))
        .map(|column| column.target.clone())
        .collect();
    for column in columns.iter_mut().filter(|column| relaxed.contains(&column.target)) {
        column.not_null = false;
        statements.push(Statement::required(
            format!("NULLs of column {}.{}", route.target, column.target),
            format!("alter table {target} alter column {} drop not null", ident(&column.target)),
        ));
    }
    for (at, column) in fresh.route.columns.iter().enumerate() {
        if names(route).contains(&column.source.as_deref()) {
            continue;
        }
        let name = ident(&column.target);
        let fill = fresh.fills.get(at).map_or("", String::as_str);
        statements.push(Statement::required(
            format!("column {}.{}", route.target, column.target),
            format!("alter table {target} add column {name} {}{fill}", column.type_sql),
        ));
        columns.push(ColumnRoute { not_null: false, ..column.clone() });
    }
    let place = |source: Option<&str>| {
        let found = columns.iter().position(|column| column.source.as_deref() == source);
        found.expect("the key's columns are the same")
    };
    let identity = key_names(route).expect("a followed table has a key");
    let identity = Identity::Columns(identity.into_iter().map(place).collect());
    let scan = match &fresh.route.scan {
        ScanOrder::Rowid { name, column } => {
            let carries = column.map(|column| place(fresh.route.columns[column].source.as_deref()));
            ScanOrder::Rowid { name: name.clone(), column: carries }
        }
        other => other.clone(),
    };
    let route = Route { columns, identity, scan, ..route.clone() };
    TableChange::Altered { id, route, statements }
}
