//! Retry: the one place that decides which faults are waited out, for how long, and when an attempt is given up.
//!
//! It never decides what became of a commit: whatever is attempted again begins by reading what the target holds.

use crate::flow::progress::{Event, Watch};
use crate::model::fault::{Fault, FaultClass};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

struct Patience {
    pause_first: Duration,
    pause_max: Duration,
    without_progress_max: Duration,
}

/// Long enough for a server to restart and recover; short enough to tell a person that it does not.
const PATIENCE: Patience = Patience {
    pause_first: Duration::from_millis(200),
    pause_max: Duration::from_secs(5),
    without_progress_max: Duration::from_secs(60),
};

/// Attempts again, with back-off, what failed by a fault that passes, until it succeeds or nothing has moved for a minute.
/// The attempt tells the watch it is given of what it does: that is the progress.
pub async fn persist<T>(
    watch: &dyn Watch,
    attempt: impl AsyncFnMut(&dyn Watch) -> Result<T, Fault>,
) -> Result<T, Fault> {
    persist_for(&PATIENCE, watch, attempt).await
}

async fn persist_for<T>(
    patience: &Patience,
    watch: &dyn Watch,
    mut attempt: impl AsyncFnMut(&dyn Watch) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let tally = Tally { watch, kept: AtomicU64::new(0), read: AtomicU64::new(0) };
    let (mut seen, mut furthest) = (0, 0);
    let (mut pause, mut stuck_since) = (patience.pause_first, None);
    loop {
        tally.read.store(0, Ordering::Relaxed);
        let fault = match attempt(&tally).await {
            Ok(done) => return Ok(done),
            Err(fault) => fault,
        };
        let (kept, read) = (tally.kept.load(Ordering::Relaxed), tally.read.load(Ordering::Relaxed));
        if kept > seen || read > furthest {
            (seen, furthest, pause, stuck_since) = (kept, read.max(furthest), patience.pause_first, None);
        }
        let since: Instant = *stuck_since.get_or_insert_with(Instant::now);
        if !passes(&fault) || since.elapsed() >= patience.without_progress_max {
            return Err(fault);
        }
        let pause_ms = u64::try_from(pause.as_millis()).expect("a pause is short");
        tracing::warn!(code = fault.code, doing = fault.doing, pause_ms, "interrupted, tried again");
        sleep(pause).await;
        pause = (pause * 2).min(patience.pause_max);
    }
}

/// What a daemon does about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes by itself: try again, with growing pauses, for as long as it takes.
    WaitOut,
    /// A person is needed; the daemon stays up and says so.
    Halt,
    /// The same, but what is needed is done elsewhere, by the application's migrations or the server's administrator: it is looked at
    /// again after so long.
    HaltFor(Duration),
    /// Another daemon has the work.
    Leave,
}

/// Both sides' schemas do not agree, or not yet.
const SCHEMAS_APART: [&str; 7] = [
    "schema_change_refused",
    "schema_drift",
    "binary_format_refused",
    "privilege_missing",
    "still_depended_on",
    "no_such_schema",
    "name_taken",
];
/// What the kernel denies, and whoever may change that does without us.
const DENIED: [&str; 2] = ["watch_failed", "source_permission"];
/// A look costs both catalogs, and no row; at what the kernel denies it costs less.
const LOOK_AT_SCHEMAS: Duration = Duration::from_secs(2);

/// The server does not let us in, or to a table, or not as whom we come, or is not known to be the one that was named. Passwords, authorities and keys
/// are read anew each time.
const SHUT_OUT: [&str; 16] = [
    "state_refused",
    "login_refused",
    "wrong_password",
    "password_missing",
    "password_unguarded",
    "password_file_unreadable",
    "password_file_exposed",
    "role_missing",
    "no_such_database",
    "tls_identity",
    "tls_expired",
    "tls_refused",
    "tls_file_unreadable",
    "tls_key_exposed",
    "tls_ca_missing",
    "tls_unavailable",
];
/// Seldom enough for whoever counts what is refused.
const KNOCK_AGAIN: Duration = Duration::from_secs(10);

/// A rule of the target's that refuses what no ledger can take is somebody's to drop; whether that was done, only trying tells.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// The row is the application's in PostgreSQL, which may well change it the next moment.
const REFUSED_BY_SQLITE: &str = "reverse_refused";

/// What is in the way of an archive goes without us. A look costs a copy of the source, as far as there is room for it.
const NO_ARCHIVE: &str = "archive_unwritable";
const COPY_AGAIN: Duration = Duration::from_secs(60);

pub fn decide(fault: &Fault) -> Verdict {
    match fault.class {
        _ if fault.code == "another_owner" => Verdict::Leave,
        _ if SCHEMAS_APART.contains(&fault.code) => Verdict::HaltFor(LOOK_AT_SCHEMAS),
        _ if DENIED.contains(&fault.code) => Verdict::HaltFor(LOOK_AT_SCHEMAS),
        _ if SHUT_OUT.contains(&fault.code) => Verdict::HaltFor(KNOCK_AGAIN),
        _ if fault.code == REFUSED_BY_SQLITE => Verdict::HaltFor(TRY_AGAIN),
        _ if fault.code == NO_ARCHIVE => Verdict::HaltFor(COPY_AGAIN),
        FaultClass::Transient | FaultClass::Unknown => Verdict::WaitOut,
        FaultClass::Data => Verdict::HaltFor(TRY_AGAIN),
        FaultClass::Fatal => Verdict::Halt,
    }
}

/// What a smaller batch may get through with: it holds fewer locks, for a shorter time, and less memory.
const TOO_MUCH: [&str; 7] = [
    "deadlock",
    "idle_timeout",
    "lock_timeout",
    "out_of_memory",
    "serialization_failure",
    "statement_cancelled",
    "transaction_timeout",
];

/// Whether the same work is better done in smaller pieces the next time.
pub fn less_may_do(fault: &Fault) -> bool {
    TOO_MUCH.contains(&fault.code)
}

/// The pauses between attempts of a daemon, which never gives up.
#[derive(Debug)]
pub struct Backoff {
    pause: Duration,
    progress: u64,
    dice: u64,
}

const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// A fault that has ended is noticed soon enough for the lag to be gone within half a minute of its end.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Into so many parts the last quarter of a pause is cut, of which chance takes some away.
const PARTS: u32 = 1 << 10;

impl Backoff {
    /// `seed` is each process's own: daemons that lost one server do not come back to it in step.
    pub fn new(seed: u64) -> Backoff {
        Backoff { pause: PAUSE_FIRST, progress: 0, dice: seed | 1 }
    }

    /// How long to wait now; short again whenever something has moved since the last time.
    pub fn pause(&mut self, progress: u64) -> Duration {
        if progress != self.progress {
            (self.pause, self.progress) = (PAUSE_FIRST, progress);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause - pause / 4 / PARTS * self.roll()
    }

    /// Marsaglia's xorshift, below `PARTS`.
    fn roll(&mut self) -> u32 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        u32::try_from(self.dice >> 54).expect("ten bits fit")
    }
}

fn passes(fault: &Fault) -> bool {
    match fault.class {
        FaultClass::Transient | FaultClass::Unknown => true,
        FaultClass::Data | FaultClass::Fatal => false,
    }
}

/// Passes events on and counts them.
struct Tally<'w> {
    watch: &'w dyn Watch,
    /// What the next attempt will find done.
    kept: AtomicU64,
    /// Rows that this attempt has surveyed or compared. The next one begins with the first of them, and reads those of one side whatever the other does:
    /// only more than any attempt before is progress.
    read: AtomicU64,
}

impl Watch for Tally<'_> {
    fn see(&self, event: Event<'_>) {
        match event {
            Event::Surveyed { rows, .. } | Event::Compared { rows, .. } => {
                self.read.fetch_add(rows, Ordering::Relaxed)
            }
            Event::Loaded { .. } | Event::Stepped { .. } => self.kept.fetch_add(1, Ordering::Relaxed),
        };
        self.watch.see(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::progress::Unwatched;

    fn fault(class: FaultClass) -> Fault {
        Fault::new(class, "connection_lost", "test")
    }

    /// However busy the machine is.
    const LONG: Patience = Patience {
        pause_first: Duration::from_millis(1),
        pause_max: Duration::from_millis(4),
        without_progress_max: Duration::from_secs(300),
    };
    const SHORT: Patience = Patience { without_progress_max: Duration::from_millis(500), ..LONG };

    /// Fails so many times, telling of progress or not; gives whether it succeeded at last, and the attempts made.
    fn check(
        patience: &Patience,
        (class, failures): (FaultClass, u32),
        event: Option<Event<'static>>,
    ) -> (bool, u32) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime can be made").block_on(async {
            let mut attempts = 0;
            let outcome = persist_for(patience, &Unwatched, async |watch: &dyn Watch| {
                attempts += 1;
                if let Some(event) = event {
                    watch.see(event);
                }
                if attempts > failures { Ok(()) } else { Err(fault(class)) }
            })
            .await;
            (outcome.is_ok(), attempts)
        })
    }

    #[test]
    fn what_passes_is_waited_out_and_what_does_not_is_told_at_once() {
        assert_eq!(check(&LONG, (FaultClass::Transient, 3), None), (true, 4));
        assert_eq!(check(&LONG, (FaultClass::Unknown, 1), None), (true, 2));
        assert_eq!(check(&LONG, (FaultClass::Fatal, 1), None), (false, 1));
        assert_eq!(check(&LONG, (FaultClass::Data, 1), None), (false, 1));
    }

    #[test]
    fn what_is_mended_elsewhere_is_looked_at_again() {
        for code in [
            "name_taken",
            "still_depended_on",
            "no_such_schema",
            "source_permission",
            "watch_failed",
            "tls_unavailable",
            "tls_ca_missing",
            "role_missing",
            "reverse_refused",
            "archive_unwritable",
        ] {
            let verdict = decide(&Fault::fatal(code, "test"));
            assert!(matches!(verdict, Verdict::HaltFor(_)), "{code}: {verdict:?}");
        }
        assert_eq!(decide(&Fault::fatal("canon_broken", "test")), Verdict::Halt);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_are_nobody_elses() {
        let (mut ours, mut others) = (Backoff::new(1), Backoff::new(2));
        let mut nominal = PAUSE_FIRST;
        let mut apart = 0;
        for _ in 0..20 {
            let (pause, other) = (ours.pause(7), others.pause(7));
            assert!(pause <= nominal && pause >= nominal / 4 * 3, "{pause:?} of {nominal:?}");
            apart += u32::from(pause != other);
            nominal = (nominal * 2).min(PAUSE_MAX);
        }
        assert!(apart > 10, "{apart}");
        assert!(ours.pause(8) <= PAUSE_FIRST, "something has moved");
    }

    #[test]
    fn a_fault_that_stays_is_told_in_the_end_unless_something_moves() {
        assert!(!check(&SHORT, (FaultClass::Transient, u32::MAX), None).0);
        let moved = Some(Event::Stepped { what: "an index" });
        // Twice as long in all.
        assert_eq!(check(&SHORT, (FaultClass::Transient, 1_000), moved), (true, 1_001));
    }

    #[test]
    fn rows_that_are_read_again_by_each_attempt_are_no_progress() {
        let again = Some(Event::Compared { table: "t", rows: 7 });
        assert!(!check(&SHORT, (FaultClass::Transient, u32::MAX), again).0);
    }
}
