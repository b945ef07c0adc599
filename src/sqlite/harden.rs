//! Durability of what was read: PostgreSQL must never hold a row that a power cut could make SQLite forget.
//!
//! An application that runs WAL with `synchronous = NORMAL` leaves its commits in the page cache. Syncing the -wal file through a
//! descriptor of our own makes them last, and takes no lock. The database file itself is never opened here.

use super::fault::from_disk;
use super::glimpse::Glimpse;
use crate::model::fault::Fault;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Hardener {
    wal: PathBuf,
    directory: PathBuf,
    /// The -wal file that was synced last, with its name: a new one is lost with that. To open it each time would be an event of its
    /// directory, and whoever waits there for a write would be woken.
    synced: Mutex<Option<Arc<Wal>>>,
    quick: AtomicBool,
}

/// What takes no longer is sooner done than another thread has begun it.
const QUICK: Duration = Duration::from_millis(1);

const REFUSES_TO_SYNC: &str = "see the cause: the file system of the source refuses to sync";

#[derive(Debug)]
struct Wal {
    file: File,
    inode: u64,
}

impl Hardener {
    pub fn new(database: &Path) -> Hardener {
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        let directory = database.parent().unwrap_or(Path::new("/")).to_owned();
        Hardener {
            wal: PathBuf::from(wal),
            directory,
            synced: Mutex::default(),
            quick: AtomicBool::default(),
        }
    }

    pub fn wal_bytes(&self) -> u64 {
        Glimpse::of(&self.wal).map_or(0, |wal| wal.bytes)
    }

    pub fn wal(&self) -> &Path {
        &self.wal
    }

    /// Whether the disk was quick the last time.
    pub fn is_quick(&self) -> bool {
        self.quick.load(Ordering::Relaxed)
    }

    /// Returns once everything committed before the call is on disk.
    pub fn harden(&self) -> Result<(), Fault> {
        let began = Instant::now();
        self.sync()?;
        self.quick.store(began.elapsed() <= QUICK, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> Result<(), Fault> {
        let failed = |error| from_disk("make the source's changes durable", REFUSES_TO_SYNC, error);
        match Glimpse::of(&self.wal) {
            Ok(found) => self.sync_wal(found.inode).map_err(failed),
            // With a rollback journal a commit is the journal's removal, and that is an entry of the directory.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *self.synced() = None;
                self.sync_directory().map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn sync_wal(&self, inode: u64) -> io::Result<()> {
        let known = self.synced().clone().filter(|wal| wal.inode == inode);
        if let Some(wal) = known {
            return wal.file.sync_data();
        }
        let file = File::open(&self.wal)?;
        file.sync_data()?;
        self.sync_directory()?;
        let inode = file.metadata()?.ino();
        *self.synced() = Some(Arc::new(Wal { file, inode }));
        Ok(())
    }

    fn synced(&self) -> MutexGuard<'_, Option<Arc<Wal>>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}
