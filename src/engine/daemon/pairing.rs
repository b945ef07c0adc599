//! Pairs of the way back: SQLite as a batch has left it, and PostgreSQL in the snapshot that the batch was read in. They are compared
//! while batch follows batch.
//!
//! SQLite's half is opened before anything else is written there, and PostgreSQL's before the batch is forgotten. What keeps a pair from
//! being made never keeps the changes from coming back.

use super::back::Back;
use super::verify::Pair;
use super::verifying::{Subject, Timetable, Verifying};
use crate::engine::report::Verdict;
use crate::flow::follow::Step;
use crate::flow::validate::Extra;
use crate::link::Extent;
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::plan::overrides::ExistingRows;
use crate::postgres::pair::PgHalf;
use crate::sqlite::connect::journal_mode;
use crate::sqlite::pair::SqliteHalf;
use crate::telemetry::labels::Direction;
use std::time::{Duration, Instant};

/// In a rollback journal a reader keeps us from writing what comes back.
const AGE_MAX_BESIDE_A_JOURNAL: Duration = Duration::from_secs(1);

impl Back<'_> {
    pub fn verifying(&self) -> Result<Verifying, Fault> {
        let timetable = self.timetable()?;
        Ok(Verifying::new(timetable, self.subject(), &self.suspects, self.desk.voice))
    }

    fn timetable(&self) -> Result<Timetable, Fault> {
        let set = self.desk.job.validation;
        let pair_age_max = match journal_mode(&self.file.open_reader()?)?.as_str() {
            "wal" => set.pair_age_max,
            _ => set.pair_age_max.min(AGE_MAX_BESIDE_A_JOURNAL),
        };
        Ok(Timetable { pair_age_max, ..set })
    }

    fn subject(&self) -> Subject {
        let request = &self.desk.job.request;
        Subject {
            file: self.file.clone(),
            tables: self.tables.clone(),
            target: self.target.clone(),
            migration: self.desk.migration,
            store: self.desk.store.clone(),
            described: request.address.describe(),
            direction: Direction::Reverse,
            extra: match request.overrides.existing_rows {
                ExistingRows::Merge => Extra::AllowedInSource,
                ExistingRows::Refuse | ExistingRows::Replace => Extra::Counts,
            },
        }
    }

    /// Whether there is a verdict that nobody has looked at yet; what it says of SQLite's schema, after changes of which nobody saw the
    /// rows, is taken up.
    pub async fn has_compared(&mut self, verifying: &mut Verifying) -> Result<bool, Fault> {
        let is_new = verifying.has_concluded();
        let last = self.desk.voice.board.look(Instant::now()).status.validation.last.filter(|_| is_new);
        match last.map(|last| last.verdict) {
            None => {}
            Some(Verdict::Differs) => self.untouched.differed(),
            Some(_) => self.untouched.was_equal(&self.desk).await?,
        }
        Ok(is_new)
    }

    /// Of a batch that SQLite has taken and PostgreSQL has not forgotten. A part of a backlog brings SQLite to no state of PostgreSQL's.
    pub async fn pair_after(&mut self, step: &Step, verifying: &mut Verifying) -> Result<(), Fault> {
        match step.extent {
            Extent::Part => return Ok(()),
            Extent::Whole => {}
        }
        self.untouched.is_to_be_compared(&self.file)?;
        let made = async {
            let snapshot = self.changes.share(step.to.seq).await?;
            let postgres = PgHalf::sharing(&self.target, self.desk.migration, &snapshot).await?;
            Ok(Some(Pair { sqlite: SqliteHalf::brought_to(&self.file, step.to).await?, postgres }))
        };
        take_up(made.await, step.to, verifying)
    }

    /// Where nothing is written. If something came after all, the next batch has its pair.
    pub async fn pair_at_rest(&mut self, at: Position, verifying: &mut Verifying) -> Result<(), Fault> {
        self.untouched.is_to_be_compared(&self.file)?;
        let made = async {
            let Some(postgres) = PgHalf::at_rest(&self.target, self.desk.migration, at).await? else {
                return Ok(None);
            };
            Ok(Some(Pair { sqlite: SqliteHalf::brought_to(&self.file, at).await?, postgres }))
        };
        take_up(made.await, at, verifying)
    }
}

fn take_up(made: Result<Option<Pair>, Fault>, at: Position, verifying: &mut Verifying) -> Result<(), Fault> {
    match made {
        Ok(None) => Ok(()),
        Ok(Some(pair)) => {
            verifying.compare(pair, at);
            Ok(())
        }
        Err(fault) => verifying.interrupted(fault),
    }
}
