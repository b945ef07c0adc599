//! Durability of what was read: PostgreSQL must never hold a row that a power cut could make SQLite forget.
//!
//! An application that runs WAL with `synchronous = NORMAL` leaves its commits in the page cache. Syncing the -wal file through a
//! descriptor of our own makes them last, and takes no lock. The database file itself is never opened here.

use crate::model::fault::{Fault, FaultClass};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub struct Hardener {
    wal: PathBuf,
    directory: PathBuf,
    /// The -wal file whose name is known to be on disk; a new one is lost with its name.
    named: AtomicU64,
}

impl Hardener {
    pub fn new(database: &Path) -> Hardener {
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        let directory = database.parent().unwrap_or(Path::new("/")).to_owned();
        Hardener { wal: PathBuf::from(wal), directory, named: AtomicU64::new(0) }
    }

    pub fn wal_bytes(&self) -> u64 {
        self.wal.metadata().map_or(0, |metadata| metadata.len())
    }

    pub fn wal(&self) -> &Path {
        &self.wal
    }

    /// Returns once everything committed before the call is on disk.
    pub fn harden(&self) -> Result<(), Fault> {
        let failed = |error| {
            Fault::new(FaultClass::Transient, "source_disk", "make the source's changes durable")
                .with_remedy("see the cause: the file system of the source refuses to sync")
                .with_source(error)
        };
        match File::open(&self.wal) {
            Ok(wal) => {
                wal.sync_data().map_err(failed)?;
                let inode = wal.metadata().map_err(failed)?.ino();
                if self.named.load(Ordering::Relaxed) != inode {
                    self.sync_directory().map_err(failed)?;
                    self.named.store(inode, Ordering::Relaxed);
                }
                Ok(())
            }
            // With a rollback journal a commit is the journal's removal, and that is an entry of the directory.
            Err(error) if error.kind() == ErrorKind::NotFound => self.sync_directory().map_err(failed),
            Err(error) => Err(failed(error)),
        }
    }

    fn sync_directory(&self) -> std::io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}
