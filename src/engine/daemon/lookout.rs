//! The lookout: asks beside the following whether anything happened to the target's tables. In a large catalog, or at a distant server, no
//! change has to wait until that is answered.
//!
//! It only asks. What there is to be done is done by whoever follows, who looks for himself.

use super::life::Life;
use super::newcomers::{LOOK_FOR_NEWCOMERS, disturbing};
use super::tables::Tables;
use crate::model::fault::Fault;
use crate::phase::Phase;
use crate::plan::Mode;
use crate::postgres::capture::{Written, touched};
use crate::postgres::remade::made_otherwise;
use crate::postgres::target::{LoadRole, PgTarget};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Whoever drops it asks no more.
pub struct Lookout {
    asked: Instant,
    /// When it was last seen whether there is an answer.
    seen: Instant,
    /// One question at most.
    answer: JoinSet<Result<bool, Fault>>,
}

const SEE_EVERY: Duration = Duration::from_millis(250);

impl Lookout {
    pub fn new(now: Instant) -> Lookout {
        Lookout { asked: now, seen: now, answer: JoinSet::new() }
    }

    pub fn due(&self) -> Instant {
        match self.answer.is_empty() {
            true => self.asked + LOOK_FOR_NEWCOMERS,
            false => self.seen + SEE_EVERY,
        }
    }
}

impl Life<'_> {
    /// Sees whether the answer has come; asks, where none is to come.
    pub(super) async fn keep_lookout(&self, lookout: &mut Lookout) -> Result<(), Fault> {
        lookout.seen = Instant::now();
        match lookout.answer.try_join_next() {
            Some(answer) => {
                let stopped =
                    |error| Fault::fatal("stopped", "look at the target's tables").with_source(error);
                match answer.unwrap_or_else(|error| Err(stopped(error)))? {
                    true => self.look_for_newcomers().await,
                    false => Ok(()),
                }
            }
            None => {
                if lookout.answer.is_empty() {
                    lookout.asked = lookout.seen;
                    lookout.answer.spawn(self.question().answered());
                }
                Ok(())
            }
        }
    }

    fn question(&self) -> Question {
        Question {
            target: self.link.target.clone(),
            migration: self.migration,
            tables: self.tables.clone(),
            role: self.role,
            mode: self.job.request.mode,
            phase: self.desk.state.phase,
        }
    }
}

/// All that it takes to ask.
struct Question {
    target: PgTarget,
    migration: i64,
    tables: Tables,
    role: LoadRole,
    mode: Mode,
    phase: Phase,
}

impl Question {
    /// Whether anything is amiss.
    async fn answered(self) -> Result<bool, Fault> {
        let Question { target, migration, tables, role, mode, phase } = self;
        let session = target.session().await?;
        let is_amiss = !disturbing(&session, &tables, (role, mode)).await?.is_empty()
            || !made_otherwise(&session, migration, &tables).await?.is_empty()
            || phase == Phase::Validate
                && !touched(&session, migration, (&tables, Written::Sqlite)).await?.is_empty();
        target.give_back(session);
        Ok(is_amiss)
    }
}
