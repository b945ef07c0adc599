//! Waking up: somebody may have written to the source.
//!
//! The kernel tells of every write into the directory; a poll is the net below it, for file systems that tell nothing. An event may
//! come before its commit can be seen, so each is followed by a few looks. Files are looked at by `stat` alone.

use crate::model::fault::Fault;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

pub struct Wake {
    files: [PathBuf; 2],
    poll: Duration,
    written: Arc<Notify>,
    /// Looks that are still due after the last event.
    due: Vec<Instant>,
    told: bool,
    /// So many times more may what the last event told of have been looked for too early.
    early: u8,
    _watcher: RecommendedWatcher,
}

/// How the files looked: what changes with every commit, within the clock tick of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look([(u64, i64, i64, u64); 2]);

/// With `synchronous = FULL` a commit is visible only some milliseconds after its event, and no other follows.
const EARLY_LOOKS: u8 = 4;
const LOOKS_AFTER: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(5), Duration::from_millis(25)];

impl Wake {
    pub fn watch(files: [PathBuf; 2], poll: Duration) -> Result<Wake, Fault> {
        let written = Arc::new(Notify::new());
        let tell = Arc::clone(&written);
        let names: Vec<OsString> = names_of(&files[0]);
        let failed = |error| {
            Fault::fatal("watch_failed", "watch the directory of the source")
                .with_remedy("raise fs.inotify.max_user_instances and fs.inotify.max_user_watches")
                .with_source(error)
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) if concerns(&event, &names) => tell.notify_one(),
            Ok(_) => {}
            // Events were lost: whatever they were, a look is due.
            Err(_) => tell.notify_one(),
        })
        .map_err(failed)?;
        let directory = files[0].parent().unwrap_or(Path::new("/"));
        watcher.watch(directory, RecursiveMode::NonRecursive).map_err(failed)?;
        Ok(Wake { files, poll, written, due: Vec::new(), told: false, early: 0, _watcher: watcher })
    }

    /// Returns when a look at the source is worth it: at an event, shortly after one, or when the poll is due.
    pub async fn wait(&mut self) {
        let now = Instant::now();
        self.due.retain(|at| *at > now);
        let next = self.due.iter().min().copied();
        let bound = next.map_or(self.poll, |at| at.duration_since(now).min(self.poll));
        let is_written = timeout(bound, self.written.notified()).await.is_ok();
        self.told = is_written || next.is_some();
        if is_written {
            self.early = EARLY_LOOKS;
            let now = Instant::now();
            self.due = LOOKS_AFTER.iter().map(|after| now + *after).collect();
        }
    }

    /// Whether it was the file system that told of what is there now: it will tell of what comes next.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Whether a look that found nothing may have come before a commit that the disk is still busy with: a few times after an event, and
    /// only of a -wal file, which is what such a commit waits for.
    pub fn was_early(&mut self) -> bool {
        let may_be = self.early > 0 && self.files[1].exists();
        self.early = self.early.saturating_sub(1);
        may_be
    }

    pub fn look(&self) -> Look {
        Look([0, 1].map(|at| {
            self.files[at]
                .metadata()
                .map_or((0, 0, 0, 0), |found| (found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
        }))
    }

    /// Waits until the files look otherwise than they did.
    pub async fn wait_for_change(&mut self, before: Look) {
        while self.look() == before {
            self.wait().await;
        }
    }
}

fn names_of(database: &Path) -> Vec<OsString> {
    let name = database.file_name().unwrap_or_default();
    ["", "-wal", "-journal"]
        .iter()
        .map(|suffix| {
            let mut name = name.to_owned();
            name.push(suffix);
            name
        })
        .collect()
}

/// Reading and opening are events too, our own among them.
fn concerns(event: &Event, names: &[OsString]) -> bool {
    let writes = matches!(
        event.kind,
        EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other
    );
    writes
        && event
            .paths
            .iter()
            .any(|path| path.file_name().is_some_and(|name| names.iter().any(|ours| ours == name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_look_after_an_event_may_have_been_early_a_few_times_where_a_wal_is() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["app.db", "app.db-wal"].map(|name| folder.path().join(name));
        for early_looks in [0, EARLY_LOOKS] {
            if early_looks > 0 {
                fs::write(&files[1], "frames").unwrap();
            }
            let mut wake = Wake::watch(files.clone(), Duration::from_secs(60)).unwrap();
            assert!(!wake.was_early(), "nothing has happened");
            fs::write(&files[0], "a page").unwrap();
            wake.wait().await;
            let early = (0..=EARLY_LOOKS).filter(|_| wake.was_early()).count();
            assert_eq!(early, usize::from(early_looks));
        }
    }
}
