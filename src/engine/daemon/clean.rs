//! The cleanup: SQLite is archived, and what is ours is taken out of both sides. Each step may be taken twice.
//!
//! What must not go stays: ledger and journal, which say what of the source the target does not give back, and who did what.

use super::back::prove_constraints;
use super::blocking::blocking;
use super::desk::{Desk, Told};
use super::job::Next;
use super::tables::followed;
use crate::crash;
use crate::engine::archive::{Archive, archive, archived_as, report_path};
use crate::engine::report::timestamp;
use crate::model::fault::Fault;
use crate::model::name::{PgName, ident};
use crate::phase::machine::Event;
use crate::plan::Mode;
use crate::plan::route::Route;
use crate::postgres::capture::remove;
use crate::postgres::connect::{Session, connect};
use crate::postgres::fault;
use crate::postgres::finish::{Unproved, unproved};
use crate::postgres::make_way::make_way;
use crate::postgres::target::{LoadRole, PgTarget};
use crate::sqlite::capture::{detach, installed};
use crate::sqlite::connect::SqliteFile;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A trigger is taken off under a lock for which everybody waits who comes after us: while the application holds the table for long, it is
/// tried again later. That is before PostgreSQL looks for a deadlock, after a second, and ends a transaction of the application.
const BEGIN: &str = "begin; set local lock_timeout = '500ms'";

const DETACH_WAIT: Duration = Duration::from_secs(10);

pub async fn clean_up(desk: &mut Desk<'_>) -> Result<Next, Fault> {
    let started = SystemTime::now();
    crash::passed("cleanup", "begun");
    let request = &desk.job.request;
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let archived = make_archive(desk, &file).await?;
    crash::passed("cleanup", "archive");
    desk.voice.board.tick(Instant::now());
    let taken_out = take_out_of_sqlite(desk, &file).await?;
    crash::passed("cleanup", "sqlite");
    let tables = followed(request, desk.store, desk.migration).await?;
    prove_what_is_left(desk, &tables).await;
    let session = connect(&request.address).await?;
    let doing = "take what is ours out of PostgreSQL";
    make_way(&session, &tables).await?;
    session.batch_execute(BEGIN).await.map_err(|error| fault::of(error, doing))?;
    remove(&session, desk.migration).await?;
    session.batch_execute("commit").await.map_err(|error| fault::of_commit(error, doing))?;
    crash::passed("cleanup", "postgres");
    let mut left = left_in_postgres(request.mode, &tables);
    left.extend(not_valid(&session, &tables).await?);
    let report = final_report(desk, (&archived, &taken_out, &left), started).await?;
    write_report(&archived.path, &report).await?;
    show(desk, report);
    crash::passed("cleanup", "report");
    let told = Told::by_itself("cleanup");
    let detail = format!("archived as {} (SHA-256 {})", archived.path.display(), archived.sha256);
    desk.happened(Event::CleanedUp, told.entry(&detail)).await?;
    Ok(Next::Again)
}

/// Gives the names of all that was taken out, by this cleanup or by the one that it goes on with.
async fn take_out_of_sqlite(desk: &Desk<'_>, file: &SqliteFile) -> Result<Vec<String>, Fault> {
    let doing = "take what is ours out of SQLite";
    let source = file.clone();
    let there = blocking(doing, move || installed(&source.open_reader()?)).await?;
    // Nothing of ours comes to SQLite any more once a cleanup has begun: what is there now is what goes.
    let all = desk.store.takes_out((desk.migration, &desk.owner), &there).await?;
    let source = file.clone();
    let voice = desk.voice.clone();
    let turned = move || voice.board.tick(Instant::now());
    blocking(doing, move || detach(&source.open_writer(DETACH_WAIT)?, &turned)).await?;
    Ok(all)
}

/// What came back unproven is proved before nobody looks any more.
async fn prove_what_is_left(desk: &Desk<'_>, tables: &BTreeMap<i64, Arc<Route>>) {
    let request = &desk.job.request;
    let target = PgTarget::new(
        Arc::clone(&request.address),
        Some(desk.migration),
        LoadRole::Origin,
        request.overrides.existing_rows,
    );
    desk.voice.attended(prove_constraints(target, tables.clone())).await;
}

async fn make_archive(desk: &Desk<'_>, file: &SqliteFile) -> Result<Archive, Fault> {
    let path = archive_path(desk, file.path());
    let file = file.clone();
    let voice = desk.voice.clone();
    blocking("archive SQLite", move || archive(&file, &path, &|| voice.board.tick(Instant::now()))).await
}

/// One name for one migration: a cleanup that is taken up again finds what it has made.
fn archive_path(desk: &Desk<'_>, source: &Path) -> PathBuf {
    let (dir, start) = archived_as(source, desk.job.switch.archive.as_deref());
    let token = desk.token.get(..8).unwrap_or(&desk.token);
    dir.join(format!("{start}{token}.zst"))
}

/// What was moved, how it was last proved, and what of ours is left. Where nothing was ever compared there is no table to tell of.
async fn final_report(
    desk: &Desk<'_>,
    (archived, taken_out, left): (&Archive, &[String], &[String]),
    started: SystemTime,
) -> Result<Value, Fault> {
    let request = &desk.job.request;
    let verdict = desk.store.last_verdict(desk.migration).await?.unwrap_or_default();
    let of_verdict = |field: &str, none: Value| match &verdict[field] {
        Value::Null => none,
        told => told.clone(),
    };
    Ok(json!({
        "source": desk.voice.board.look(Instant::now()).status.source.path.display().to_string(),
        "target": request.address.describe(),
        "started": timestamp(started),
        "finished": timestamp(SystemTime::now()),
        "tables": of_verdict("tables", json!([])),
        "total_source": of_verdict("total_source", json!(0)),
        "total_target": of_verdict("total_target", json!(0)),
        "ledger_rows": of_verdict("ledger_rows", json!(0)),
        "success": of_verdict("success", json!(true)),
        "validation": verdict,
        "archive": { "path": archived.path.display().to_string(), "sha256": archived.sha256, "bytes": archived.bytes },
        "removed_from_sqlite": taken_out,
        "left_in_postgres": left,
    }))
}

/// Columns for the rowid are what the tables have for a key in `create` mode. In the application's own schema nobody needs them any more.
fn left_in_postgres(mode: Mode, tables: &BTreeMap<i64, Arc<Route>>) -> Vec<String> {
    let ours = "schema liteferry: journal and ledger. `drop schema liteferry cascade` removes them, and with the ledger what the target \
                does not give back.";
    let column = |route: &Arc<Route>| {
        let rowid = ident(&route.columns.iter().find(|column| column.source.is_none())?.target);
        let table = route.target.sql();
        Some(format!(
            "column {rowid} of table {table}: SQLite's rowids. `alter table {table} drop column {rowid}` removes it."
        ))
    };
    let columns = match mode {
        Mode::Create => Vec::new(),
        Mode::Existing => tables.values().filter_map(column).collect(),
    };
    [ours.to_owned()].into_iter().chain(columns).collect()
}

/// What rows break was not proved.
async fn not_valid(session: &Session, tables: &BTreeMap<i64, Arc<Route>>) -> Result<Vec<String>, Fault> {
    let names: Vec<PgName> = tables.values().map(|route| route.target.clone()).collect();
    let tell = |constraint: Unproved| {
        let (table, name) = (constraint.table.sql(), ident(&constraint.name));
        format!(
            "constraint {name} of table {table}: NOT VALID, it does not hold for every row. Mend the rows, then `alter table {table} validate \
             constraint {name}`."
        )
    };
    Ok(unproved(session, &names).await?.into_iter().map(tell).collect())
}

async fn write_report(archive: &Path, report: &Value) -> Result<(), Fault> {
    let path = report_path(archive);
    let text = format!("{report:#}\n");
    let doing = format!("write the report {}", path.display());
    blocking(&doing.clone(), move || {
        std::fs::write(&path, text)
            .map_err(|error| Fault::fatal("report_unwritable", doing).with_source(error))
    })
    .await
}

/// It is the last verdict, and more.
fn show(desk: &Desk<'_>, report: Value) {
    desk.voice.board.update(Instant::now(), |status| status.validation.report = Some(Arc::new(report)));
}

/// Of a cleanup that ended before this process began. A report that somebody has taken away is not missed.
pub async fn show_again(desk: &Desk<'_>) {
    // The source itself may have been moved away since.
    let source = desk.voice.board.look(Instant::now()).status.source.path;
    let path = report_path(&archive_path(desk, &source));
    let read = tokio::task::spawn_blocking(move || std::fs::read(path).ok());
    if let Ok(Some(text)) = read.await
        && let Ok(report) = serde_json::from_slice(&text)
    {
        show(desk, report);
    }
}
