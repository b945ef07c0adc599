//! How far the columns are that sequences go on after, where all rows have to be read for it: read beside the following, and with what has
//! passed since it began still true when the writes move.
//!
//! Nothing waits for a reading longer than a blink, and no two of them run at once.

use super::orphans::BLINK;
use crate::model::fault::Fault;
use crate::plan::numbers::{Heights as Known, Numbers, Reached};
use crate::postgres::apply::PgApplier;
use crate::postgres::connect::connect;
use crate::postgres::fault::refusal;
use crate::postgres::finish::reached;
use crate::postgres::patience::{self, answered};
use crate::postgres::task::Task;
use crate::postgres::url::Target;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;

#[derive(Default)]
pub struct Heights {
    wanted: Vec<Numbers>,
    read: Option<Vec<(Numbers, Reached)>>,
    reading: Option<Reading>,
    rest_until: Option<Instant>,
}

struct Reading {
    began: Instant,
    task: Task<Result<Vec<(Numbers, Reached)>, Fault>>,
}

/// So many times the last reading's length lies before the next.
const REST_BY_LENGTH: u32 = 9;

impl Heights {
    /// A number that was read, or has passed, may be of a row that is gone again: where it stands in the way, all is read once more.
    pub fn doubt(&mut self) {
        if self.rest_until.is_none_or(|until| until <= Instant::now()) {
            self.read = None;
        }
    }

    /// Whether a reading has ended that nobody has taken in.
    pub fn have_come(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.task.is_finished())
    }

    /// How far these columns are, as far as PostgreSQL tells; nothing while they are being read.
    pub async fn look(
        &mut self,
        wanted: Vec<Numbers>,
        applier: &mut PgApplier,
        address: &Arc<Target>,
    ) -> Result<Option<Vec<(Numbers, Reached)>>, Fault> {
        if self.wanted != wanted {
            *self = Heights { wanted, ..Heights::default() };
        }
        if self.wanted.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if self.read.is_none() && self.reading.is_none() {
            // From before the first row is read nothing passes unseen.
            applier.watch(self.wanted.clone()).await?;
            let read = read(Arc::clone(address), self.wanted.clone());
            self.reading = Some(Reading { began: Instant::now(), task: Task::begin(read) });
        }
        self.gather().await?;
        Ok(self.now(applier))
    }

    /// With what has passed until now.
    pub fn now(&self, applier: &PgApplier) -> Option<Vec<(Numbers, Reached)>> {
        let passed: &Known = applier.passed();
        let and_passed = |(numbers, reached): &(Numbers, Reached)| {
            let since = passed.iter().find(|(known, _)| known == numbers).map(|(_, since)| *since);
            (numbers.clone(), reached.and(since.unwrap_or_default()))
        };
        Some(self.read.as_ref()?.iter().map(and_passed).collect())
    }

    async fn gather(&mut self) -> Result<(), Fault> {
        let Some(reading) = &mut self.reading else { return Ok(()) };
        let Ok(ended) = timeout(BLINK, &mut reading.task).await else { return Ok(()) };
        self.rest_until = Some(Instant::now() + reading.began.elapsed() * REST_BY_LENGTH);
        self.reading = None;
        let stopped = |error| Fault::fatal("stopped", READ).with_source(error);
        self.read = Some(ended.unwrap_or_else(|error| Err(stopped(error)))?);
        Ok(())
    }
}

const READ: &str = "read how far the columns are that sequences go on after";

/// However long it takes. A column that PostgreSQL does not let us read is left to whoever asks for it by itself, and is told why.
pub async fn read(address: Arc<Target>, wanted: Vec<Numbers>) -> Result<Vec<(Numbers, Reached)>, Fault> {
    let session = connect(&address).await?;
    let mut found = Vec::with_capacity(wanted.len());
    for numbers in wanted {
        match answered(patience::LONG, READ, reached(&session, &numbers)).await {
            Ok(reached) => found.push((numbers, reached)),
            Err(fault) if refusal(&fault).is_some() => {}
            Err(fault) => return Err(fault),
        }
    }
    session.close().await;
    Ok(found)
}
