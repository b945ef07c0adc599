//! Rows that would break a foreign key which comes back at the switch. On large tables the look takes minutes, so that it has a session and
//! a task of its own; whoever asks is given what the last one found, and how old that is.
//!
//! Nothing waits for a look longer than a blink, and no two of them run at once.

use crate::model::fault::Fault;
use crate::model::name::PgName;
use crate::phase::gate::{Looked, RowsOf, Violated};
use crate::plan::Statement;
use crate::plan::reference::Reference;
use crate::postgres::connect::connect;
use crate::postgres::fault;
use crate::postgres::task::Task;
use crate::postgres::url::Target;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

#[derive(Default)]
pub struct Orphans {
    found: Option<Found>,
    looking: Option<Looking>,
    rest_until: Option<Instant>,
}

struct Found {
    at: Instant,
    violated: Vec<Violated>,
}

struct Looking {
    began: Instant,
    task: Task<Result<Vec<Violated>, Fault>>,
}

/// Rows that break a constraint are counted up to here.
const ORPHANS_MAX: u32 = 1_000;
/// Of small tables the look is over before anybody would notice that it was waited for.
pub(super) const BLINK: Duration = Duration::from_millis(100);
/// Between two looks, and so many times the last one's length, for they cost the target's disk.
const REST: Duration = Duration::from_secs(10);
const REST_BY_LENGTH: u32 = 9;

impl Orphans {
    /// What the last look found.
    pub fn looked(&self) -> Option<Looked> {
        let found = self.found.as_ref()?;
        Some(Looked { violated: found.violated.clone(), age: found.at.elapsed() })
    }

    pub fn is_due(&self) -> bool {
        self.looking.is_none() && self.rest_until.is_none_or(|until| until <= Instant::now())
    }

    pub fn look(&mut self, address: &Arc<Target>, awaiting: Vec<Statement>, followed: Vec<PgName>) {
        let task = Task::begin(look(Arc::clone(address), awaiting, followed));
        self.looking = Some(Looking { began: Instant::now(), task });
    }

    /// Takes in a look that has ended, or does within a blink.
    pub async fn gather(&mut self) {
        let Some(looking) = &mut self.looking else { return };
        let Ok(ended) = timeout(BLINK, &mut looking.task).await else { return };
        let length = looking.began.elapsed();
        self.looking = None;
        self.rest_until = Some(Instant::now() + REST.max(length * REST_BY_LENGTH));
        match ended
            .unwrap_or_else(|error| Err(Fault::fatal("stopped", "look for orphans").with_source(error)))
        {
            Ok(violated) => self.found = Some(Found { at: Instant::now(), violated }),
            // What was seen before stays shown, with its age.
            Err(fault) => {
                tracing::warn!(code = fault.code, doing = fault.doing, "constraints are not looked at")
            }
        }
    }
}

async fn look(
    address: Arc<Target>,
    awaiting: Vec<Statement>,
    followed: Vec<PgName>,
) -> Result<Vec<Violated>, Fault> {
    let session = connect(&address).await?;
    let mut violated = Vec::new();
    for statement in &awaiting {
        let Some(key) = Reference::of(&statement.sql) else { continue };
        let failed = |error| fault::of(error, format!("look for rows that break {}", statement.what));
        let rows: i64 = session.query_one(&key.orphans_sql(ORPHANS_MAX), &[]).await.map_err(failed)?.get(0);
        if rows > 0 {
            let whose = if followed.contains(&key.table) { RowsOf::Sqlite } else { RowsOf::Target };
            violated.push(Violated { constraint: statement.what.clone(), rows: rows.unsigned_abs(), whose });
        }
    }
    session.close().await;
    Ok(violated)
}
