//! SIGHUP: the level of the logs changes while the daemon runs, and settings that are wrong change nothing.

use crate::support::daemon::Daemon;
use crate::support::{PATIENCE, command, database, sqlite};
use std::fs::{OpenOptions, write};
use std::io::Write;
use std::process::{Command, Stdio};
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
    daemon.obeys("/v1/phase", r#"{"to": "validate"}"#);
    assert!(!daemon.log().contains("phase=\"validate\""), "{}", daemon.log());
    set("info");
    daemon.signal("-HUP");
    until(&daemon, "level=INFO");
    daemon.obeys("/v1/phase", r#"{"to": "dual-write"}"#);
    daemon.obeys("/v1/phase", r#"{"to": "validate"}"#);
    until(&daemon, "phase=\"validate\"");
    assert_eq!(daemon.stop(), Some(0));
}

/// The password is read before anything else is done: a pipe in its place tells when that is.
#[test]
fn a_daemon_that_has_hardly_begun_ends_well_when_it_is_asked_to() {
    let source = sqlite("pragma journal_mode = wal; create table t (id integer primary key)");
    let target = database();
    let pipe = source.path.with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo can be run").success());
    let (path, file) = (source.path.display(), format!("target.password_file={}", pipe.display()));
    let mut child = command(&["run", "--source", &path.to_string(), "--target", &target.url]);
    child
        .args(["--set", &file, "--set", "http.listen=127.0.0.1:0"])
        .current_dir(pipe.parent().expect("a directory"));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be started");
    // Returns once somebody reads.
    let mut password = OpenOptions::new().write(true).open(&pipe).expect("the pipe is read");
    for signal in ["-HUP", "-TERM"] {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill can be run").success());
    }
    // Nobody may be there to read it.
    let _written = password.write_all(b"secret\n");
    drop(password);
    assert_eq!(child.wait().expect("it is our child").code(), Some(0));
}

#[track_caller]
fn until(daemon: &Daemon, text: &str) {
    let began = Instant::now();
    while !daemon.log().contains(text) {
        assert!(began.elapsed() < *PATIENCE, "not told: {text}\n{}", daemon.log());
        sleep(Duration::from_millis(20));
    }
}
