//! Waking up: somebody may have written to the source.
//!
//! The kernel tells of every write into the directory; a poll is the net below it, for file systems that tell nothing. An event may
//! come before its commit can be seen, so each is followed by a few looks. Files are looked at by `stat` alone.

use super::fault::no_file_left;
use super::glimpse::Glimpse;
use crate::model::fault::Fault;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

pub struct Wake {
    files: [PathBuf; 2],
    poll: Duration,
    written: Arc<Written>,
    /// Looks that are still due after the last event.
    due: Vec<Instant>,
    told: bool,
    /// Looks since the last event that found nothing.
    early: u8,
    /// When the look at hand began, at the earliest.
    began: Instant,
    /// When the last look that found something began.
    found_from: Option<Instant>,
    /// A look that an event asked for has found nothing since something was found.
    in_vain: bool,
    /// So many commits more are taken for ones that the disk keeps for a while.
    late: u8,
    _watcher: RecommendedWatcher,
}

/// What the kernel tells.
#[derive(Default)]
struct Written {
    news: Notify,
    last: Mutex<Option<Instant>>,
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
/// A commit is several writes and as many events, the last of which may be told after a look has found it.
const TELLING_LASTS: Duration = Duration::from_micros(100);
const LOOKS_AFTER: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(5), Duration::from_millis(25)];

const WATCH: &str = "watch the directory of the source";
const MORE_WATCHERS: &str = "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches by sysctl: the daemon then goes on by itself";

impl Wake {
    pub fn watch(files: [PathBuf; 2], poll: Duration) -> Result<Wake, Fault> {
        let written = Arc::new(Written::default());
        let tell = Arc::clone(&written);
        let names: Vec<OsString> = names_of(&files[0]);
        // Too many watchers, and too many files, are one error.
        let failed = |error| {
            no_file_left(WATCH).unwrap_or_else(|| {
                Fault::fatal("watch_failed", WATCH).with_remedy(MORE_WATCHERS).with_source(error)
            })
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) if !concerns(&event, &names) => {}
            // Where events were lost, whatever they were, a look is due.
            Ok(_) | Err(_) => tell.tell(),
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
            began: Instant::now(),
            found_from: None,
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
        let is_written = timeout(bound, self.written.news.notified()).await.is_ok();
        self.told = is_written || next.is_some();
        if is_written {
            self.early = 0;
            let now = Instant::now();
            self.due = LOOKS_AFTER.iter().map(|after| now + *after).collect();
        }
        self.began = Instant::now();
    }

    /// Whether it was the file system that told of what is there now: it will tell of what comes next.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// A look found something. Where those before it did not, though an event had come, the commit came late.
    pub fn found(&mut self) {
        let came_late = self.in_vain && self.early != 1;
        self.late = if came_late { LATE_AFTER_ONE } else { self.late.saturating_sub(1) };
        (self.in_vain, self.found_from) = (false, Some(self.began));
    }

    /// A look found nothing. It may have come before its commit: another one is worth the while at once, and where commits have been found
    /// late a few times more, with the disk; only of a -wal file, which is what such a commit waits for. What tells of the commit that was
    /// found last tells of nothing else.
    pub fn found_nothing(&mut self) -> Option<Early> {
        let is_of_the_last = self.is_of_the_last();
        self.in_vain |= !is_of_the_last;
        self.early = self.early.saturating_add(1);
        self.began = Instant::now();
        let early = match self.early {
            1 => Some(Early::LookAgain),
            2..=EARLY_LOOKS => (self.late > 0 && !is_of_the_last).then_some(Early::WaitWithTheDisk),
            _ => {
                self.late = self.late.saturating_sub(u8::from(self.early == EARLY_LOOKS + 1));
                None
            }
        };
        early.filter(|_| Glimpse::of(&self.files[1]).is_ok())
    }

    fn is_of_the_last(&self) -> bool {
        let is_before = |from: Instant| self.written.last().is_none_or(|told| told < from + TELLING_LASTS);
        self.found_from.is_some_and(is_before)
    }

    pub fn look(&self) -> Look {
        Look([0, 1].map(|at| {
            self.files[at]
                .metadata()
                .map_or((0, 0, 0, 0), |found| (found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
        }))
    }
}

impl Written {
    fn tell(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.news.notify_one();
    }

    fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
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
    use tempfile::TempDir;

    struct Case {
        wake: Wake,
        files: [PathBuf; 2],
        _folder: TempDir,
    }

    impl Case {
        fn new() -> Case {
            let folder = tempfile::tempdir().unwrap();
            let files = ["app.db", "app.db-wal"].map(|name| folder.path().join(name));
            let wake = Wake::watch(files.clone(), Duration::from_secs(60)).unwrap();
            Case { wake, files, _folder: folder }
        }

        async fn write(&mut self, which: usize) {
            self.wake.due.clear();
            fs::write(&self.files[which], "a page").unwrap();
            self.wake.wait().await;
            // A write is several events, of which this was the first. However late the others came, all tell of what is found now.
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.tell(Duration::ZERO);
        }

        /// The last event was told so long after the look at hand began.
        fn tell(&mut self, after: Duration) {
            let told = self.wake.began + after;
            *self.wake.written.last.lock().unwrap() = Some(told);
        }

        fn early(&mut self) -> Vec<Early> {
            (0..9).filter_map(|_| self.wake.found_nothing()).collect()
        }

        async fn comes_late(&mut self) {
            self.write(1).await;
            self.early();
            self.wake.found();
        }
    }

    const ONCE: [Early; 1] = [Early::LookAgain];

    fn all() -> Vec<Early> {
        [&ONCE[..], &[Early::WaitWithTheDisk; EARLY_LOOKS as usize - 1]].concat()
    }

    #[tokio::test]
    async fn a_look_after_an_event_was_early_a_few_times_where_commits_come_late() {
        let mut case = Case::new();
        case.write(0).await;
        assert_eq!(case.early(), [], "no -wal is there");
        case.wake.found();
        case.write(0).await;
        assert_eq!(case.early(), [], "nor now, and it came late");
        case.write(1).await;
        assert_eq!(case.early(), all());
        assert_eq!(case.early(), [], "nothing has happened since");
        for _ in 2..LATE_AFTER_ONE {
            case.write(1).await;
            assert_eq!(case.early(), all());
        }
        case.write(1).await;
        assert_eq!(case.early(), ONCE, "all that is written is nothing to us");
        case.comes_late().await;
        for _ in 0..LATE_AFTER_ONE {
            case.write(1).await;
            case.wake.found();
        }
        case.write(1).await;
        assert_eq!(case.early(), ONCE, "they come at once now");
    }

    #[tokio::test]
    async fn what_tells_of_a_commit_that_was_found_is_no_sign_of_a_late_one() {
        let mut case = Case::new();
        for _ in 0..3 {
            case.write(1).await;
            case.wake.found();
            assert_eq!(case.early(), ONCE);
        }
        case.write(1).await;
        assert_eq!(case.early(), ONCE, "none has come late");
        case.wake.found();
        for (after, expected) in
            [(Duration::ZERO, ONCE.to_vec()), (TELLING_LASTS / 2, ONCE.to_vec()), (TELLING_LASTS, all())]
        {
            case.write(1).await;
            case.wake.found();
            case.tell(after);
            assert_eq!(case.early(), expected, "one has, and this was told {after:?} after the look");
        }
        case.write(1).await;
        assert_eq!(case.early(), all());
    }

    #[tokio::test]
    async fn a_commit_that_the_second_look_finds_waited_for_no_disk() {
        let mut case = Case::new();
        for _ in 0..3 {
            case.write(1).await;
            assert_eq!(case.wake.found_nothing(), Some(Early::LookAgain));
            case.wake.found();
        }
        case.write(1).await;
        assert_eq!(case.early(), ONCE);
    }
}
