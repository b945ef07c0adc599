//! Setup: makes the plan, records the migration in the target, and arms capture in the source.
//!
//! The target is written first: a daemon that dies in between finds its migration there and arms capture then. Nothing is written
//! on either side while the plan has a blocker.

use super::agree;
use super::blocking::{ARM_WAIT, blocking};
use super::job::{Job, JournalRule};
use super::moved::moved_before;
use super::schema_moved::{is_of_schema, schema_moved};
use super::shelf::told_at_start;
use super::tables::{Tables, numbered_as_recorded};
use super::voice::Voice;
use crate::engine::begun::terms;
use crate::engine::bookkept::differing_records;
use crate::engine::copy::{
    emptying, has_blocker, load_role, routes, schema_statement, standing_in_the_way, unrounded,
};
use crate::engine::prepare::{INDEX_REMEDY, Prepared, Request, prepare};
use crate::journal::follow::{Follow, FollowBeginning, Planned, Stage};
use crate::journal::store::{Beginning, Migration, Store};
use crate::link::{Source, Span};
use crate::model::fault::Fault;
use crate::model::finding::{Finding, Severity, said_once, subjects};
use crate::model::history::Position;
use crate::model::name::{ident, ident_list};
use crate::model::schema::{SqliteSchema, SqliteTable, Storage};
use crate::phase::Phase;
use crate::plan::capture::{CaptureTable, capture_table, key_of, preflight};
use crate::plan::existing::{KeyAtHand, key_at_hand, keys_from_outside, misfits_of_key, rowid_at_hand};
use crate::plan::route::{Identity, Route};
use crate::plan::{Mode, Plan, Statement, TableRole};
use crate::postgres::catalog::catalog;
use crate::postgres::connect::{connect, pool_of_one};
use crate::sqlite::apply::{Unwritable, unwritable};
use crate::sqlite::capture::{self, Origin};
use crate::sqlite::connect::{SqliteFile, journal_mode};
use crate::sqlite::control::{WITHOUT_A_WAY_BACK, is_closed};
use crate::sqlite::history::{OF_ANOTHER, SchemaSeen};
use crate::sqlite::misplaced::Misplaced;
use crate::sqlite::source::SqliteSource;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub enum Begun {
    Migration(Migration),
    Blocked(Vec<Finding>),
}

/// What the target's records say of its schema.
enum Recorded {
    Nothing,
    Ours(Migration, Follow),
    Foreign(Finding),
}

async fn recorded(request: &Request, store: &Store) -> Result<Recorded, Fault> {
    let Some(migration) = store.find(&request.schema).await? else { return Ok(Recorded::Nothing) };
    if migration.source_path != request.source_path() {
        let text = format!("the schema holds the migration of {}", migration.source_path);
        let finding = Finding::blocker("other_source", &request.schema, text);
        let remedy = "choose another target.schema; or, if it is that file that was moved here, put it back in its place, or bind-mount its \
                      directory there: a symbolic link will not do";
        return Ok(Recorded::Foreign(finding.with_remedy(remedy)));
    }
    let Some(follow) = store.follow(migration.id).await? else {
        let text = "the schema holds a one-shot copy, which no capture stands behind";
        let remedy = "choose another target.schema; or, where liteferry has nothing else in this database, \
                      `drop schema liteferry cascade` and drop or empty the tables that were copied";
        let finding = Finding::blocker("copy_in_the_way", &request.schema, text);
        return Ok(Recorded::Foreign(finding.with_remedy(remedy)));
    };
    Ok(Recorded::Ours(migration, follow))
}

/// The migration that the target's schema holds, if it is one that follows this source.
pub async fn known(job: &Job, store: &Store) -> Result<Option<Migration>, Fault> {
    if !store.exists().await? {
        return Ok(None);
    }
    store.upgrade().await?;
    match recorded(&job.request, store).await? {
        Recorded::Nothing => Ok(None),
        Recorded::Ours(migration, _) => Ok(Some(migration)),
        Recorded::Foreign(finding) => Err(refused(&finding)),
    }
}

fn refused(finding: &Finding) -> Fault {
    let doing = format!("follow the source: {}", finding.text);
    Fault::fatal(finding.code, doing).with_remedy(finding.remedy.clone())
}

/// What the records of either side have against a daemon on this pair.
pub async fn records_in_the_way(request: &Request) -> Result<Option<Finding>, Fault> {
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let store = Store::new(pool_of_one(&request.address).await?);
    if !store.exists().await? {
        return captured_for_another(&file, None);
    }
    match recorded(request, &store).await? {
        Recorded::Nothing => captured_for_another(&file, None),
        Recorded::Ours(_, follow) => captured_for_another(&file, Some(&follow.token)),
        Recorded::Foreign(finding) => Ok(Some(finding)),
    }
}

fn captured_for_another(file: &SqliteFile, ours: Option<&str>) -> Result<Option<Finding>, Fault> {
    let db = file.open_reader()?;
    let origin = capture::origin(&db)?;
    let closed = is_closed(&db)?;
    Ok(origin.filter(|origin| ours != Some(&origin.migration)).map(|_| {
        let text = "the source is captured for a migration that this target knows nothing of";
        let remedy = match closed {
            true => format!(
                "its writes went to PostgreSQL: name the target that knows of it; {WITHOUT_A_WAY_BACK}"
            ),
            false => "name the target that does; or, if that one is given up, run `liteferry detach` first"
                .to_owned(),
        };
        Finding::blocker("capture_other_migration", file.path().display().to_string(), text)
            .with_remedy(remedy)
    }))
}

/// The followed tables, for whoever writes there.
pub(super) async fn written(request: &Request, store: &Store, migration: i64) -> Result<Tables, Fault> {
    let now = catalog(&connect(&request.address).await?, &request.schema).await?;
    let routed = routes(&now, store, migration).await?;
    unrounded(&now, &routed)?;
    Ok(numbered_as_recorded(&routed, &store.captured(migration).await?))
}

/// The target held the migration when this process took it up: whoever took it away has not asked for another.
pub fn gone(request: &Request) -> Fault {
    let closed = SqliteFile::examine(&request.source, request.busy_timeout)
        .and_then(|file| is_closed(&file.open_reader()?));
    let or = match closed {
        Ok(false) => "or begin anew, with an empty target, after `liteferry detach`",
        // What is not known for sure must not have anybody empty the only database that holds the application's rows.
        Ok(true) | Err(_) => WITHOUT_A_WAY_BACK,
    };
    Fault::fatal("follow_missing", "find the migration in the target").with_remedy(format!(
        "the schema liteferry is gone from PostgreSQL, and with it what was applied: restore the whole database; {or}"
    ))
}

pub async fn begin(job: &Job, store: &Store, voice: &Voice) -> Result<Begun, Fault> {
    let request = &job.request;
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    // Before the schema is read: a change in between shows as one that came after.
    let seen = SchemaSeen::in_db(&file.open_reader()?)?;
    if let Some(finding) = captured_for_another(&file, None)? {
        return Err(refused(&finding));
    }
    match begin_from(job, store, voice, seen.digest()).await {
        Err(fault) if is_of_schema(&fault) && SchemaSeen::in_db(&file.open_reader()?)? != seen => {
            Err(schema_moved(fault))
        }
        begun => begun,
    }
}

async fn begin_from(job: &Job, store: &Store, voice: &Voice, source_schema: &str) -> Result<Begun, Fault> {
    let request = &job.request;
    let prepared = prepare(request, voice).await?;
    let mut findings = findings_of_run(&prepared, job.journal).await?;
    findings.extend(moved_before(request, &prepared, job.switch.archive.as_deref()));
    findings.extend(told_at_start(job).await);
    findings.extend(differing_records(request, &prepared, voice).await?);
    tell(&findings);
    if has_blocker(&findings) {
        return Ok(Begun::Blocked(findings));
    }
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
    let (source_path, planned, terms) = (request.source_path(), planned(&prepared.plan), terms(request));
    let (first, last) = (schema_statement(&prepared), emptying(&prepared.plan, &prepared.catalog));
    let numbered = numbered(&prepared.plan);
    let captured: Vec<(i64, String)> =
        numbered.iter().map(|(id, route)| (*id, route.source.clone())).collect();
    let beginning = Beginning {
        source_path: &source_path,
        fingerprint: "",
        plan: &prepared.plan,
        first: first.as_slice(),
        last: last.as_slice(),
        spans: &spans,
        follow: Some(FollowBeginning {
            source_schema,
            role: load_role(&prepared),
            captured: &captured,
            planned: &planned,
            terms: &terms,
        }),
    };
    store.begin(&beginning).await?;
    store.note("begun", &format!("the migration of {source_path} into schema {}", request.schema)).await?;
    voice.board.update(std::time::Instant::now(), |status| status.source.up = true);
    let begun = store.find(&request.schema).await?;
    begun.map(Begun::Migration).ok_or_else(|| {
        Fault::fatal("state_unreadable", "find the migration just recorded")
            .with_remedy("something removed it from schema liteferry: start the daemon again")
    })
}

/// Each as `check` says it. A blocker is told as what it is, right after this.
fn tell(findings: &[Finding]) {
    for alike in said_once(findings) {
        let Finding { code, text, remedy, severity, .. } = alike[0];
        match severity {
            Severity::Warning => tracing::warn!(code, subject = subjects(&alike), remedy, "{text}"),
            Severity::Note | Severity::Blocker => tracing::info!(code, subject = subjects(&alike), "{text}"),
        }
    }
}

/// What there is to say before anything is followed: all that a copy says, and what following asks beyond that.
pub async fn findings_of_run(prepared: &Prepared, rule: JournalRule) -> Result<Vec<Finding>, Fault> {
    let mut findings = prepared.plan.findings.clone();
    findings.extend(standing_in_the_way(prepared));
    findings.extend(keys_from_outside(&prepared.plan, &prepared.catalog));
    agree::will_be_filled(&mut findings, &prepared.schema);
    findings.extend(journal_finding(rule, prepared).await?);
    findings.extend(capture_findings(prepared));
    let unwritable = unwritable(prepared.source.file(), numbered(&prepared.plan).values())?;
    findings.extend(unwritable.iter().map(Unwritable::finding));
    findings.extend(misplaced_findings(prepared));
    Ok(findings)
}

/// Trees that hold rows where only the application finds them: a changed row is looked for by its key, and what comes back is put where
/// SQLite would have it. A table that cannot be read either is told of by the plan.
fn misplaced_findings(prepared: &Prepared) -> Vec<Finding> {
    let is_key = |tree: &Misplaced| {
        prepared.plan.tables.iter().filter(|table| table.route.source == tree.table).any(|table| {
            let Identity::Columns(columns) = &table.route.identity else { return false };
            columns.iter().any(|at| tree.first.is_some() && table.route.columns[*at].source == tree.first)
        })
    };
    let finding = |tree: &Misplaced| match is_key(tree) {
        true => {
            let text = format!("{}; a changed row could not be found again by its key", tree.why());
            Finding::blocker("index_misplaced", &tree.table, text)
        }
        false => {
            let text = format!(
                "{}; after the switch nothing could come back into it, and its gate (reverse_tables) stays shut",
                tree.why()
            );
            Finding::warning("index_misplaced", &tree.table, text)
        }
    };
    let others = prepared.misplaced.iter().filter(|tree| tree.index.is_some());
    others.map(|tree| finding(tree).with_remedy(INDEX_REMEDY)).collect()
}

/// What stands in the way of capturing the tables of a plan.
pub fn capture_findings(prepared: &Prepared) -> Vec<Finding> {
    let (_, mut findings) = captures(&prepared.schema, &numbered(&prepared.plan));
    findings.iter_mut().for_each(|finding| name_key_at_hand(finding, prepared));
    findings
}

/// Tables that are followed, by the number that their triggers know them by.
fn numbered(plan: &Plan) -> BTreeMap<i64, Arc<Route>> {
    let copied = plan.tables.iter().filter(|table| table.role == TableRole::Copied);
    (1..).zip(copied).map(|(id, table)| (id, Arc::new(table.route.clone()))).collect()
}

/// The capture of every followed table, and what stands in its way.
pub fn captures(
    schema: &SqliteSchema,
    tables: &BTreeMap<i64, Arc<Route>>,
) -> (Vec<CaptureTable>, Vec<Finding>) {
    let (mut captures, mut findings) = (Vec::new(), preflight(schema));
    for (id, route) in tables {
        let Some(table) = schema.tables.iter().find(|table| table.name == route.source) else { continue };
        let captured = key_of(route, table).map(|key| capture_table(schema, table, key, *id));
        match captured {
            Some(Ok(capture)) => captures.push(capture),
            Some(Err(blockers)) => findings.extend(blockers),
            None => findings.push(no_key(table)),
        }
    }
    (captures, findings)
}

pub const NO_SHARED_KEY: &str = "both sides share no key by which a changed row could be found again";

fn no_key(table: &SqliteTable) -> Finding {
    let by_rowid = match table.storage {
        Storage::Rowid { rowid: Some(_), .. } => {
            "; or let liteferry make the tables (target.mode = \"create\"), which then keeps SQLite's rowid as this one's key"
        }
        Storage::Rowid { rowid: None, .. } | Storage::WithoutRowid { .. } => "",
    };
    let remedy = format!(
        "add a primary key or a unique constraint over NOT NULL columns on both sides, or leave the table out by tables.exclude{by_rowid}"
    );
    Finding::blocker("capture_no_key", table.name.clone(), NO_SHARED_KEY).with_remedy(remedy)
}

/// What gives PostgreSQL's table the key that SQLite has already, or lets all values of the one that it has cross, or else a column for
/// the rowid.
fn name_key_at_hand(finding: &mut Finding, prepared: &Prepared) {
    let tables = prepared.plan.tables.iter().map(|table| &table.route);
    let route =
        tables.into_iter().find(|route| finding.code == "capture_no_key" && route.source == finding.subject);
    let sides = route.and_then(|route| {
        let target = prepared.catalog.tables.iter().find(|table| table.name == route.target)?;
        Some((prepared.schema.table(&route.source)?, target, route))
    });
    let Some((source, target, route)) = sides else { return };
    let misfits = misfits_of_key(source, target, route, &prepared.plan.findings);
    if !misfits.is_empty() {
        let columns = misfits.iter().map(|misfit| misfit.subject.as_str()).collect::<Vec<_>>().join(", ");
        let why = format!(": values of {columns}, which both sides keep unique, do not all cross exactly");
        finding.text.push_str(&why);
    }
    let widening =
        misfits.iter().map(|misfit| misfit.remedy.clone()).filter(|remedy| remedy.starts_with("alter "));
    let surveyed = prepared.survey.as_ref().and_then(|survey| survey.tables.get(&source.name));
    let of_source = key_at_hand(source, target, surveyed);
    let of_rowid = rowid_at_hand(source, target, prepared.plan.existing_rows).map(|statement| {
        format!("{statement} (a column for SQLite's rowid, to be dropped again after the cleanup)")
    });
    let left_out = match of_rowid {
        Some(_) => "leave the table out by tables.exclude".to_owned(),
        None => std::mem::take(&mut finding.remedy),
    };
    // What holds for good comes after what is dropped again, where nobody but the application knows whether it may hold.
    let is_sure = of_source.as_ref().is_some_and(|key| key.open_to_null.is_empty());
    let of_source = of_source.map(|key| of_source_sql(&key));
    let keys = if is_sure { [of_source, of_rowid] } else { [of_rowid, of_source] };
    finding.remedy =
        widening.chain(keys.into_iter().flatten()).chain([left_out]).collect::<Vec<_>>().join("; or ");
}

fn of_source_sql(key: &KeyAtHand) -> String {
    let statement = &key.statement;
    if key.open_to_null.is_empty() {
        return format!("{statement} (the key that SQLite has)");
    }
    let columns = key.open_to_null.join(", ");
    format!(
        "{statement} (the key that SQLite has, if the application never writes NULL into {columns}: PostgreSQL would refuse it from then on)"
    )
}

async fn journal_finding(rule: JournalRule, prepared: &Prepared) -> Result<Option<Finding>, Fault> {
    let mode = prepared.source.read(journal_mode).await?;
    if mode == "wal" || rule == JournalRule::Any {
        return Ok(None);
    }
    Ok(Some(
        Finding::blocker(
            "source_journal_mode",
            prepared.source.file().path().display().to_string(),
            format!("the source is in journal mode {mode}, in which every reader makes writers wait"),
        )
        .with_remedy(
            "run `pragma journal_mode = wal` on it once (it stays), or accept the waits with source.journal = \"any\"",
        ),
    ))
}

/// What is still to be done after the load, by stage.
fn planned(plan: &Plan) -> Vec<Planned> {
    let mut planned = Vec::new();
    for (number, table) in (1..).zip(&plan.tables) {
        let at = |stage, statement: &Statement| Planned {
            stage,
            table: Some(table.route.source.clone()),
            statement: statement.clone(),
        };
        let helper = match plan.mode {
            Mode::Create => key_helper(number, &table.route),
            Mode::Existing => None,
        };
        // Read by rowid and found by rowid, a row is never loaded twice: its key holds from the first chunk on.
        let primary = usize::from(helper.is_none() && plan.mode == Mode::Create);
        let (keys, indexes) = table.indexes.split_at(primary.min(table.indexes.len()));
        planned.extend(keys.iter().map(|statement| at(Stage::Key, statement)));
        planned.extend(indexes.iter().map(|statement| at(Stage::Index, statement)));
        if let Some((create, drop)) = helper {
            planned.push(at(Stage::Key, &create));
            planned.push(at(Stage::Last, &drop));
        }
        planned.extend(table.checks.iter().map(|statement| at(Stage::Last, statement)));
        planned.extend(table.foreign_keys.iter().map(|statement| at(Stage::Switch, statement)));
    }
    planned.extend(plan.views.iter().map(|statement| Planned {
        stage: Stage::Last,
        table: None,
        statement: statement.clone(),
    }));
    planned
}

/// While chunks are read a row may move behind the reader and be loaded under one key twice. Until the first catching up has settled
/// that, rows are found by an index that is not unique.
fn key_helper(number: i64, route: &Route) -> Option<(Statement, Statement)> {
    let Identity::Columns(columns) = &route.identity else { return None };
    if route.rowid_identity().is_some() {
        return None;
    }
    let name = format!("liteferry_key_{number}");
    let (target, first) = (route.target.sql(), ident(&route.columns[columns[0]].target));
    let list = ident_list(columns.iter().map(|column| route.columns[*column].target.as_str()));
    let create = Statement {
        what: format!("helper index {name}"),
        sql: format!("create index {} on {target} ({list})", ident(&name)),
        // Values too long for a tree.
        fallback: Some(format!("create index {} on {target} using hash ({first})", ident(&name))),
        required: false,
    };
    let drop = Statement {
        what: format!("end of helper index {name}"),
        sql: format!("drop index if exists {}.{}", ident(&route.target.schema), ident(&name)),
        fallback: None,
        required: true,
    };
    Some((create, drop))
}

/// Forgets the source's log and begins another: from there on nothing is missed, and what came before is found by comparing.
pub async fn begin_new_history(
    (job, voice): (&Job, &Voice),
    store: &Store,
    (migration, owner): (i64, &str),
) -> Result<(), Fault> {
    let Some(recorded) = store.follow(migration).await?.filter(|recorded| recorded.phase > Phase::Setup)
    else {
        return Ok(());
    };
    if recorded.phase > Phase::Switch {
        // By then SQLite may bear no guard of ours, and no sign of having been closed.
        return Err(Fault::fatal("writes_in_postgres", "begin a new history").with_remedy(
            "the migration has ended, or ends: the application's writes belong to PostgreSQL for good, and SQLite's rows are those of the cleanup. \
             Start it without --resync; what is over needs no daemon",
        ));
    }
    let file = SqliteFile::examine(&job.request.source, job.request.busy_timeout)?;
    let source = SqliteSource::new(file.clone(), job.request.limit);
    let tables = super::tables::as_recorded(store, migration).await?;
    let (captures, _) = captures(&source.introspect().await?, &tables);
    let origin = Origin { migration: recorded.token, epoch: recorded.at.epoch + 1 };
    let in_postgres = recorded.phase > Phase::Validate;
    let voice = voice.clone();
    let armed = blocking("arm capture", move || {
        let turned = || voice.board.tick(Instant::now());
        let db = file.open_writer(ARM_WAIT)?;
        let closed = is_closed(&db)?;
        if in_postgres && closed {
            return Err(Fault::fatal("writes_in_postgres", "begin a new history").with_remedy(
                "the application's writes belong to PostgreSQL, and SQLite would be opened beside it: `liteferry rollback` first, or \
                 `liteferry rollback --without-target` if PostgreSQL's writes are to be given up",
            ));
        }
        match capture::origin(&db)? {
            Some(other) if other.migration != origin.migration => {
                Err(Fault::fatal("other_migration", "begin a new history").with_remedy(OF_ANOTHER))
            }
            Some(_) | None => {
                capture::detach(&db, &turned)?;
                capture::arm(&db, &origin, &captures, &turned)
            }
        }
    });
    store.begin_history((migration, owner), armed.await?).await?;
    store.note("resync", "a new history began; every table is compared").await
}

/// Arms capture, and gives the position from which on nothing is missed.
pub async fn arm(
    file: SqliteFile,
    origin: Origin,
    captures: Vec<CaptureTable>,
    voice: &Voice,
) -> Result<Position, Fault> {
    let voice = voice.clone();
    blocking("arm capture", move || {
        let turned = || voice.board.tick(Instant::now());
        capture::arm(&file.open_writer(ARM_WAIT)?, &origin, &captures, &turned)
    })
    .await
}
