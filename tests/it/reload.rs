//! SIGHUP: the level of the logs changes while the daemon runs, and settings that are wrong change nothing.

use crate::support::daemon::Daemon;
use crate::support::{database, sqlite};
use std::fs::write;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_hangup_takes_the_level_of_the_logs_and_survives_settings_that_are_wrong() {
    let source = sqlite("pragma journal_mode = wal; create table t (id integer primary key)");
    let target = database();
    let file = source.path.with_extension("toml");
    let set = |level: &str| write(&file, format!("[log]\nlevel = \"{level}\"\n")).expect("it can be written");
    set("info");
    let mut daemon = Daemon::start(&source, &target.url, &["--config", &file.display().to_string()]);
    daemon.until(|status| status["phase"] == "dual-write");

    set("loud");
    daemon.signal("-HUP");
    until(&daemon, "the old ones hold");
    set("warn");
    daemon.signal("-HUP");
    until(&daemon, "level=WARN");
    daemon.command("/v1/phase", r#"{"to": "validate"}"#);
    assert!(!daemon.log().contains("phase=\"validate\""), "{}", daemon.log());
    set("info");
    daemon.signal("-HUP");
    until(&daemon, "level=INFO");
    daemon.command("/v1/phase", r#"{"to": "dual-write"}"#);
    daemon.command("/v1/phase", r#"{"to": "validate"}"#);
    until(&daemon, "phase=\"validate\"");
    assert_eq!(daemon.stop().0, Some(0));
}

#[track_caller]
fn until(daemon: &Daemon, text: &str) {
    let began = Instant::now();
    while !daemon.log().contains(text) {
        assert!(began.elapsed() < Duration::from_secs(60), "not told: {text}\n{}", daemon.log());
        sleep(Duration::from_millis(20));
    }
}
