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
    /// Looks since the last event that found nothing.
    early: u8,
    /// A look has found nothing since something was found.
    in_vain: bool,
    /// So many commits more are taken for ones that the disk keeps for a while.
    late: u8,
    _watcher: RecommendedWatcher,
}

/// How the files looked: what changes with every commit, within the clock tick of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look([(u64, i64, i64, u64); 2]);

/// What is worth the while after a look that came before its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// A commit that waits for no disk is over by now.
    LookAgain,
    /// With `synchronous = FULL` nobody sees a commit before the application has waited for the disk: wait with it.
    WaitWithTheDisk,
}

/// A commit is visible only some time after its event, and no other follows.
const EARLY_LOOKS: u8 = 5;
/// One that was found late tells of how the application commits.
const LATE_AFTER_ONE: u8 = 16;
const LOOKS_AFTER: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(5), Duration::from_millis(25)];

impl Wake {
    pub fn watch(files: [PathBuf; 2], poll: Duration) -> Result<Wake, Fault> {
        let written = Arc::new(Notify::new());
        let tell = Arc::clone(&written);
        let names: Vec<OsString> = names_of(&files[0]);
        let failed = |error| {
            Fault::fatal("watch_failed", "watch the directory of the source")
                .with_remedy("raise fs.inotify.max_user_instances and fs.inotify.max_user_watches by sysctl: the daemon then goes on by itself")
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
        Ok(Wake {
            files,
            poll,
            written,
            due: Vec::new(),
            told: false,
            early: 0,
            in_vain: false,
            late: 0,
            _watcher: watcher,
        })
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
            self.early = 0;
            let now = Instant::now();
            self.due = LOOKS_AFTER.iter().map(|after| now + *after).collect();
        }
    }

    /// Whether it was the file system that told of what is there now: it will tell of what comes next.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// A look found something. Where one before it did not, though an event had come, the commit came late.
    pub fn found(&mut self) {
        self.late = if self.in_vain { LATE_AFTER_ONE } else { self.late.saturating_sub(1) };
        self.in_vain = false;
    }

    /// A look found nothing. It may have come before its commit: a few times after an event, where commits have been found late, and only
    /// of a -wal file, which is what such a commit waits for.
    pub fn found_nothing(&mut self) -> Option<Early> {
        self.in_vain = true;
        self.early = self.early.saturating_add(1);
        if self.early > EARLY_LOOKS {
            self.late = self.late.saturating_sub(u8::from(self.early == EARLY_LOOKS + 1));
            return None;
        }
        let early = if self.early == 1 { Early::LookAgain } else { Early::WaitWithTheDisk };
        (self.late > 0 && self.files[1].exists()).then_some(early)
    }

    pub fn look(&self) -> Look {
        Look([0, 1].map(|at| {
            self.files[at]
                .metadata()
                .map_or((0, 0, 0, 0), |found| (found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
        }))
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
    async fn a_look_after_an_event_was_early_a_few_times_where_commits_come_late() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["app.db", "app.db-wal"].map(|name| folder.path().join(name));
        let mut wake = Wake::watch(files.clone(), Duration::from_secs(60)).unwrap();
        let early = |wake: &mut Wake| (0..9).filter_map(|_| wake.found_nothing()).collect::<Vec<_>>();
        let all = [&[Early::LookAgain][..], &[Early::WaitWithTheDisk; EARLY_LOOKS as usize - 1]].concat();
        let write = async |wake: &mut Wake, file: &PathBuf| {
            // Looks that are due after an earlier event are no event.
            wake.due.clear();
            fs::write(file, "a page").unwrap();
            wake.wait().await;
        };
        write(&mut wake, &files[0]).await;
        assert_eq!(early(&mut wake), [], "none has come late");
        wake.found();
        write(&mut wake, &files[0]).await;
        assert_eq!(early(&mut wake), [], "no -wal is there");
        wake.found();
        write(&mut wake, &files[1]).await;
        assert_eq!(early(&mut wake), all);
        assert_eq!(early(&mut wake), [], "nothing has happened since");
        for _ in 1..LATE_AFTER_ONE {
            write(&mut wake, &files[1]).await;
            assert_eq!(early(&mut wake), all);
        }
        write(&mut wake, &files[1]).await;
        assert_eq!(early(&mut wake), [], "all that is written is nothing to us");
        for _ in 0..=LATE_AFTER_ONE {
            write(&mut wake, &files[1]).await;
            wake.found();
        }
        assert_eq!(early(&mut wake), [], "they come at once now");
    }
}
