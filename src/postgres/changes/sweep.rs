//! The queue's dead rows. Each batch deletes what it took, and PostgreSQL's own vacuum comes once a minute at most: until then every look at
//! the queue would read them all. Nothing depends on it, and nobody waits for it.

use crate::model::fault::Fault;
use crate::postgres::fault;
use crate::postgres::patience::{self, answered};
use crate::postgres::target::PgTarget;
use crate::postgres::task::Task;

#[derive(Default)]
pub struct Sweep {
    /// Rows that were deleted since the last sweep began.
    dead: u64,
    running: Option<Task<()>>,
}

/// About forty pages.
const DEAD_MAX: u64 = 5_000;

/// To give the file's end back would lock out whoever notes a change.
const VACUUM: &str = "vacuum (truncate false) liteferry.reverse_change";

impl Sweep {
    pub fn deleted(&mut self, rows: u64, target: &PgTarget) {
        self.dead += rows;
        let rests = self.running.as_ref().is_none_or(|running| running.is_finished());
        if self.dead < DEAD_MAX || !rests {
            return;
        }
        self.dead = 0;
        let target = target.clone();
        self.running = Some(Task::begin(async move {
            if let Err(fault) = vacuum(&target).await {
                tracing::warn!(code = fault.code, "the queue of the way back is not swept: {fault}");
            }
        }));
    }
}

async fn vacuum(target: &PgTarget) -> Result<(), Fault> {
    let doing = "sweep the queue of the way back";
    let swept = async {
        let session = target.session().await?;
        session.batch_execute(VACUUM).await.map_err(|error| fault::of(error, doing))?;
        target.give_back(session);
        Ok(())
    };
    answered(patience::LONG, doing, swept).await
}
