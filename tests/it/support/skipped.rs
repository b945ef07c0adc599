//! Tests that cannot be made on this machine: each says so where nobody overhears it, or fails where everything is to be tried.
//!
//! What a test prints is shown only where it fails, and a test that did nothing counts as one that held.

use std::io::Write;

/// `LITEFERRY_TESTS=all`: on this machine no test may be left out.
const ASKED_FOR: &str = "LITEFERRY_TESTS";

#[track_caller]
pub fn skipped(why: &str) {
    let all_asked_for = std::env::var(ASKED_FOR).is_ok_and(|asked| asked == "all");
    assert!(!all_asked_for, "{ASKED_FOR}=all, and {why}");
    let current = std::thread::current();
    let test = current.name().unwrap_or("a test");
    // In one piece, and past what keeps the output of tests that hold.
    let line = format!("\nSKIPPED {test}: {why}\n");
    let _closed = std::io::stderr().write_all(line.as_bytes());
}
