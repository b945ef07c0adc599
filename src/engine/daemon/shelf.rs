//! The directory that the archive goes to, looked at beside the work: it may be on another machine's disk, which may hang, and nothing
//! else waits for that.

use super::job::Job;
use crate::engine::archive::{place, unwritable_yet};
use crate::model::finding::Finding;
use crate::phase::gate::Place;
use crate::postgres::task::Task;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What a look at a disk that is at hand takes at most.
const BLINK: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(5);
/// A start waits no longer for it than this.
const START: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Shelf {
    looking: Option<Task<Option<Place>>>,
    seen: Option<(Instant, Place)>,
}

impl Shelf {
    /// What was last seen, unless a look has been under way for longer than a moment: then nobody knows. No two of them run at once.
    pub async fn look(&mut self, source: &Path, archive: Option<&Path>) -> Option<Place> {
        let is_due = self.seen.as_ref().is_none_or(|(at, _)| at.elapsed() >= REST);
        if is_due && self.looking.is_none() {
            self.looking = Some(Task::begin(looked(source.to_owned(), archive.map(Path::to_owned))));
        }
        if let Some(looking) = &mut self.looking {
            let ended = timeout(BLINK, looking).await.ok()?;
            self.looking = None;
            self.seen = ended.ok().flatten().map(|place| (Instant::now(), place));
        }
        self.seen.as_ref().map(|(_, place)| place.clone())
    }
}

/// What there is to say of it at a start. Of a disk that hangs the gate tells, and where the database itself is gone that is said alone.
pub async fn told_at_start(job: &Job) -> Option<Finding> {
    let source = PathBuf::from(job.request.source_path());
    if !source.exists() {
        return None;
    }
    let looked = looked(source, job.switch.archive.clone());
    unwritable_yet(&timeout(START, looked).await.ok()??)
}

async fn looked(source: PathBuf, archive: Option<PathBuf>) -> Option<Place> {
    tokio::task::spawn_blocking(move || place(&source, archive.as_deref())).await.ok()
}
