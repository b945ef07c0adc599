//! Takes applied changes out of the change table, where that is in nobody's way.

use super::Shared;
use crate::model::fault::Fault;
use crate::sqlite::capture;
use crate::sqlite::connect::journal_mode;
use crate::sqlite::fault::{from_disk, from_sqlite};
use crate::sqlite::readers::others_read;
use std::time::{Duration, Instant};

/// How long it gives way to readers.
const MANNERS: Duration = Duration::from_mins(1);
/// It is worth no wait, and comes again.
const PRUNE_WAIT: Duration = Duration::from_millis(50);
const PRUNE_ROWS: u32 = 500;
const PRUNE_TURNS: u32 = 10;
/// The application's own writers come in between.
const PRUNE_PAUSE: Duration = Duration::from_millis(5);

impl Shared {
    pub(super) fn forget(&self, seq: i64) -> Result<(), Fault> {
        let may_commit = || Ok(!self.is_kept_from_writing()?);
        if !may_commit()? {
            return Ok(());
        }
        let db = self.file.open_writer(PRUNE_WAIT)?;
        // Nobody waits for the disk with us: what a power cut gives back is forgotten once more.
        if journal_mode(&db)? == "wal" {
            db.execute_batch("pragma synchronous = normal")
                .map_err(|error| from_sqlite("prune the change table", error))?;
        }
        for _ in 0..PRUNE_TURNS {
            let pruned = capture::prune(&db, seq, PRUNE_ROWS, may_commit)?;
            if pruned.is_none_or(|rows| rows < usize::try_from(PRUNE_ROWS).expect("a small number")) {
                break;
            }
            std::thread::sleep(PRUNE_PAUSE);
        }
        Ok(())
    }

    /// A reader may be about to write, and would be refused for our commit. Where there is always one, others write beside him.
    fn is_kept_from_writing(&self) -> Result<bool, Fault> {
        let is_read = others_read(self.file.path())
            .map_err(|error| from_disk("look who reads the database", "see the cause", error))?;
        let mut state = self.state();
        state.read_since = is_read.then(|| state.read_since.unwrap_or_else(Instant::now));
        Ok(state.read_since.is_some_and(|since| since.elapsed() < MANNERS))
    }
}
