//! What the system lets this process have (`ulimit`, a service's `LimitNOFILE` and `TasksMax`), looked at before anything else: with less than
//! the work takes, whatever comes first would fail in its own words, or panic.
//!
//! Each is tried and given back at once. It never takes more than the process was allowed: of its two limits it raises the lower one.

use crate::model::fault::{Fault, out_of_files};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What a command cannot do without.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    pub files: usize,
    pub threads: usize,
}

/// Connections to both sides, their workers', and 64 clients of the listener, which can do with less.
pub const OF_DAEMON: Need = Need { files: 64, threads: 6 };
pub const OF_COMMAND: Need = Need { files: 32, threads: 4 };

/// So many files nobody runs out of. Where the limit that a process may raise by itself is lower, it is raised to this.
const FILES_WANTED: u64 = 1024;
/// Addresses, not bytes in use: with less the threads do not begin.
const ADDRESSES_MIN: u64 = 128 << 20;
const MEMORY: &str = "Let the process have more addresses (`ulimit -v`, a service's LimitAS): what it may use of the memory is better bounded by \
                      the service's MemoryMax.";

const THREADS: &str = "Let the process begin more threads (`ulimit -u`, a service's TasksMax, a container's limit of processes).";

/// Nothing is said where there is enough of everything.
pub fn look(need: Need) -> Result<(), Fault> {
    look_at_addresses()?;
    raise_files();
    open_files(need.files)?;
    begin_threads(need.threads).map_err(|error| {
        Fault::fatal("threads_used_up", format!("begin {} threads", need.threads))
            .with_remedy(THREADS)
            .with_source(error)
    })
}

fn look_at_addresses() -> Result<(), Fault> {
    match getrlimit(Resource::As).current {
        Some(bytes) if bytes < ADDRESSES_MIN => {
            let doing = format!("do with {} MiB of addresses", bytes >> 20);
            Err(Fault::fatal("memory_limited", doing).with_remedy(MEMORY))
        }
        _ => Ok(()),
    }
}

/// What the limit is afterwards only trying tells: where it may not be raised, it stays.
fn raise_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|files| files < FILES_WANTED) {
        limit.current = Some(limit.maximum.map_or(FILES_WANTED, |most| most.min(FILES_WANTED)));
        let _stays = setrlimit(Resource::Nofile, limit);
    }
}

/// Whatever else is wrong with the one file that every system has is no limit.
fn open_files(count: usize) -> Result<(), Fault> {
    let opened: io::Result<Vec<File>> = (0..count).map(|_| File::open("/dev/null")).collect();
    let doing = || format!("open {count} files at a time");
    opened.err().and_then(|error| out_of_files(doing(), &error)).map_or(Ok(()), Err)
}

/// All at the same time: the first waits for the last.
fn begin_threads(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    let shut = gate.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..count {
            thread::Builder::new().spawn_scoped(scope, || {
                drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
            })?;
        }
        drop(shut);
        Ok(())
    })
}
