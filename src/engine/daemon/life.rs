//! What following works with for one attempt, from what is recorded.

use super::closer::Closer;
use super::desk::Desk;
use super::drains::Drains;
use super::heights::Heights;
use super::job::Job;
use super::orphans::Orphans;
use super::reshape::{Followed, settle};
use super::schema_moved::{is_of_schema, schema_moved};
use super::setup::{arm, captures, written};
use super::stop::Stopping;
use super::tables::{as_recorded, suspects};
use super::voice::Voice;
use crate::journal::follow::Follow;
use crate::journal::store::{Migration, Store};
use crate::link::Link;
use crate::model::fault::Fault;
use crate::phase::Phase;
use crate::phase::machine::Event;
use crate::plan::route::Route;
use crate::postgres::apply::{Ownership, PgApplier};
use crate::postgres::target::{LoadRole, PgTarget};
use crate::sqlite::capture::Origin;
use crate::sqlite::changes::{Expected, SqliteChanges};
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::history::SchemaSeen;
use crate::sqlite::source::SqliteSource;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What one attempt works with.
pub(super) struct Life<'a> {
    pub job: &'a Job,
    pub store: &'a Store,
    pub voice: &'a Voice,
    pub stopping: Stopping,
    pub migration: i64,
    pub owner: String,
    pub desk: Desk<'a>,
    /// What the gates saw when they were last looked at closely.
    pub closer: Closer,
    pub orphans: Orphans,
    pub heights: Heights,
    pub drains: Drains,
    /// Digest of the source's schema that all of this was made for.
    pub schema: String,
    /// SQLite's version of it, as recorded.
    pub version: Option<i64>,
    /// When it was last told that the schema was changed and changed back.
    pub leapt: Option<Instant>,
    pub tables: BTreeMap<i64, Arc<Route>>,
    /// Tables that may differ in ways no captured change tells.
    pub suspects: BTreeMap<i64, Arc<Route>>,
    pub link: Link<SqliteSource, PgTarget>,
    pub changes: SqliteChanges,
    pub applier: PgApplier,
    /// How the sessions that write stand to the target's triggers and foreign keys.
    pub role: LoadRole,
}

/// Epochs are counted from here; zero is a migration whose capture was never armed.
const FIRST_EPOCH: i64 = 1;

/// A table that was seen a moment ago may be gone when it is read: an application's migrations come one after the other.
pub(super) async fn opened<'a>(
    desk: Desk<'a>,
    from: (&Migration, Follow),
    stopping: Stopping,
) -> Result<Life<'a>, Fault> {
    let request = &desk.job.request;
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let seen = SchemaSeen::in_db(&file.open_reader()?)?;
    match open(desk, from, stopping).await {
        Err(fault) if is_of_schema(&fault) && SchemaSeen::in_db(&file.open_reader()?)? != seen => {
            Err(schema_moved(fault))
        }
        opened => opened,
    }
}

async fn open<'a>(
    mut desk: Desk<'a>,
    (migration, mut recorded): (&Migration, Follow),
    stopping: Stopping,
) -> Result<Life<'a>, Fault> {
    let (job, store, voice, owner) = (desk.job, desk.store, desk.voice, desk.owner.clone());
    let request = &job.request;
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let source = SqliteSource::new(file.clone(), request.limit);
    let mut tables = as_recorded(store, migration.id).await?;
    if recorded.phase == Phase::Setup {
        let (captures, _) = captures(&source.introspect().await?, &tables);
        let origin = Origin { migration: recorded.token.clone(), epoch: FIRST_EPOCH };
        let at = arm(file.clone(), origin, captures, voice).await?;
        store.armed((migration.id, &owner), at).await?;
        desk.has_happened(Event::Armed)?;
    }
    let followed_before =
        Followed { migration: migration.id, owner: &owner, recorded: &recorded, tables: tables.clone() };
    settle(job, store, &source, followed_before, voice).await?;
    if let Some(settled) = store.follow(migration.id).await? {
        recorded = settled;
    }
    tables = written(request, store, migration.id).await?;
    let (captures, _) = captures(&source.introspect().await?, &tables);
    let suspects = suspects(&tables, &store.suspects(migration.id).await?);
    voice.follow_tables(&tables, &suspects);
    let target = PgTarget::new(
        Arc::clone(&request.address),
        Some(migration.id),
        recorded.role,
        request.overrides.existing_rows,
    );
    let expected = Expected {
        token: recorded.token.clone(),
        schema: recorded.source_schema.clone(),
        version: recorded.source_version,
        captures,
        tables: tables.clone(),
    };
    let changes = SqliteChanges::new(file, expected, request.limit.bytes, voice.watch(job.log_rows_warn))?;
    changes.must_show(store.seen(migration.id).await?);
    let source = source.followed(&recorded.token, recorded.at);
    let ownership = Ownership { migration: migration.id, owner: owner.clone() };
    let applier = PgApplier::new(target.clone(), ownership);
    voice.board.update(Instant::now(), |status| status.source.up = true);
    Ok(Life {
        job,
        store,
        voice,
        stopping,
        migration: migration.id,
        owner,
        desk,
        closer: Closer::default(),
        orphans: Orphans::default(),
        heights: Heights::default(),
        drains: Drains::default(),
        schema: recorded.source_schema,
        version: recorded.source_version,
        leapt: None,
        tables,
        suspects,
        link: Link { source, target },
        changes,
        applier,
        role: recorded.role,
    })
}
