//! Whether another process has a snapshot of the database open. One that reads first and writes later in the same transaction is refused at
//! once, whatever its timeout, where anybody commits in between.

use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Whoever closes a file lets go of all locks that his process has on it, those of SQLite's connections too: what was opened once stays open
/// as long as the file is there.
static OPENED: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

/// Where readers of a WAL database have their locks in its -shm file, by SQLite's file format: `WAL_READ_LOCK(0)` to `(4)`.
const READERS_FROM: u64 = 123;
const READERS: u64 = 5;

/// Nobody beside a rollback journal, where a reader has no snapshot: he keeps others from writing.
pub fn others_read(database: &Path) -> io::Result<bool> {
    let mut name = database.as_os_str().to_owned();
    name.push("-shm");
    let path = PathBuf::from(name);
    let there = match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let mut opened = OPENED.lock().expect("no thread has panicked");
    let is_there = |file: &File| {
        file.metadata().is_ok_and(|file| (file.dev(), file.ino()) == (there.dev(), there.ino()))
    };
    if !opened.get(&path).is_some_and(is_there) {
        // The last connection of all takes the file away. Of one that is not there any more nobody of ours has locks.
        if let Some(other) = opened.insert(path.clone(), File::open(&path)?)
            && other.metadata()?.nlink() > 0
        {
            std::mem::forget(other);
        }
    }
    let asked = Flock { start: READERS_FROM, length: READERS, ..Flock::from(FlockType::WriteLock) };
    Ok(fcntl_getlk(&opened[&path], &asked)?.is_some())
}
