//! Places where a test may end or freeze this process: the moments at which a crossing or a cleanup can be left half done.
//!
//! They exist in debug builds alone; in the program that is shipped `passed` does nothing.

/// Every point, as `work step`. The tests go through the list, and each must be reached.
pub const POINTS: [&str; 21] = [
    "switch begun",
    "switch fence",
    "switch drain",
    "switch check",
    "switch prepare",
    "switch decide",
    "switch open",
    "switch told",
    "rollback begun",
    "rollback fence",
    "rollback drain",
    "rollback check",
    "rollback prepare",
    "rollback decide",
    "rollback open",
    "rollback told",
    "cleanup begun",
    "cleanup archive",
    "cleanup sqlite",
    "cleanup postgres",
    "cleanup report",
];

/// The process ends here as by a crash.
pub const ABORT: &str = "LITEFERRY_CRASH_AT";
/// The process stops here until it is sent SIGCONT.
pub const FREEZE: &str = "LITEFERRY_FREEZE_AT";

/// The step of the work is done.
#[cfg(debug_assertions)]
pub fn passed(work: &str, step: &str) {
    let point = format!("{work} {step}");
    assert!(POINTS.contains(&point.as_str()), "{point} stands in the list of points");
    let is_asked = |variable: &str| std::env::var(variable).is_ok_and(|asked| asked == point);
    if is_asked(ABORT) {
        std::process::abort();
    }
    if is_asked(FREEZE) {
        let own = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-STOP", &own]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "a process may stop itself");
    }
}

#[cfg(not(debug_assertions))]
pub fn passed(_work: &str, _step: &str) {}
