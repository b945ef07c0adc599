//! Servers that are too old, or do not answer in time.

use super::{SHOP, refused};
use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held::HeldSession;
use crate::support::swallow::socket_of;
use crate::support::{OwnServer, finished, liteferry, sqlite};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::thread::spawn;

/// Passes bytes on, and puts other words of the same length in the place of some.
fn rewording(mut from: impl Read, mut to: impl Write, words: &[(Vec<u8>, Vec<u8>)]) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        for (word, other) in words {
            while let Some(at) = bytes[..count].windows(word.len()).position(|found| found == word) {
                bytes[at..at + word.len()].copy_from_slice(other);
            }
        }
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

/// The port of one whose answers are the server's with other words.
fn answering(case: &Case, words: Vec<(Vec<u8>, Vec<u8>)>, unknown: Vec<(Vec<u8>, Vec<u8>)>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let socket = socket_of(&case.target.url);
    spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = UnixStream::connect(&socket).expect("the server listens");
            let (back, answers) =
                (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
            let (words, unknown) = (words.clone(), unknown.clone());
            spawn(move || rewording(client, server, &unknown));
            spawn(move || rewording(answers, back, &words));
        }
    });
    port
}

/// The port of one that says of itself that it is as old as this, and knows no more than it would.
fn older(case: &Case, announced: &'static str, number: &'static str) -> u16 {
    let now = case.rows("select current_setting('server_version'), current_setting('server_version_num')");
    let now = now[0].iter().map(|text| text.clone().expect("a setting")).collect::<Vec<_>>();
    let parameter = |text: &str| [b"server_version\0", text.as_bytes()].concat();
    let words = vec![
        (parameter(&now[0][..announced.len()]), parameter(announced)),
        (now[1].clone().into_bytes(), number.as_bytes().to_vec()),
    ];
    // Of before the parameter was there.
    let unknown = vec![(b"set jit = off".to_vec(), b"set jot = off".to_vec())];
    answering(case, words, if number < "110000" { unknown } else { Vec::new() })
}

#[test]
fn a_server_that_is_too_old_is_told_so_whatever_else_it_does_not_know() {
    let case = Case::new(SHOP);
    let source = case.source.path.display().to_string();
    for (announced, number, version) in [("12", "120022", "version 12"), ("10", "100023", "version 10")] {
        let port = older(&case, announced, number);
        let url = format!("postgres://postgres@127.0.0.1:{port}/{}", case.target.name);
        let told = liteferry(&["check", "--source", &source, "--target", &url]);
        refused(told, "postgres_too_old", &format!("{version}; liteferry needs PostgreSQL 13 or newer"));
    }
    case.typed(&["check"]).exits_with(0);
}

#[test]
fn an_answer_that_can_be_no_digest_is_not_compared() {
    let case = Case::new(SHOP);
    case.typed(&["copy"]).exits_with(0);
    let digest =
        "select hashtextextended(encode(record_send(row(item, place, n)), 'hex') collate \"C\", 0) from line";
    let digest = case.rows(digest)[0][0].clone().expect("one row's");
    let words = vec![(digest.clone().into_bytes(), vec![b'x'; digest.len()])];
    let port = answering(&case, words, Vec::new());
    let url = format!("postgres://postgres@127.0.0.1:{port}/{}", case.target.name);
    let source = case.source.path.display().to_string();
    let told = liteferry(&["validate", "--source", &source, "--target", &url]);
    let told = told.exits_with(1).stderr;
    assert!(told.contains("cannot digest table public.line [digest_broken]"), "{told}");
    case.typed(&["validate"]).exits_with(0);
}

#[test]
fn records_that_cannot_be_read_in_time_are_had_by_asking_again() {
    let case = Case::new(SHOP);
    let daemon = case.following();
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("begin; lock table liteferry.journal in access exclusive mode");
    let (status, told) = daemon.get("/v1/journal").expect("it answers");
    assert_eq!(status, 503, "{told}");
    assert!(told.contains("target_slow") && told.contains("ask again"), "{told}");
    blocker.run("rollback");
    let (status, told) = daemon.get("/v1/journal").expect("it answers");
    assert_eq!(status, 200, "{told}");
}

#[test]
fn where_a_migration_stands_is_not_told_before_it_was_read() {
    let mut server = OwnServer::new();
    let file = sqlite(SHOP);
    let url = server.url("postgres");
    let follows = |status: &Value| status["phase"] == "dual-write" && status["run"]["state"] == "running";
    let mut daemon = Daemon::start(&file, &url, &[]);
    daemon.until(follows);
    daemon.stop();
    server.stop_immediately();

    let mut daemon = Daemon::start(&file, &url, &[]);
    let status = daemon.until(|status| status["run"]["state"] == "degraded");
    assert_eq!((&status["phase"], &status["routing"]), (&Value::Null, &Value::Null));
    let code = &status["run"]["reason"]["code"];
    assert_eq!(&status["gates"]["switch"]["because"]["code"], code, "{status:#}");
    let metrics = daemon.get("/metrics").expect("it answers").1;
    assert!(metrics.contains("\nliteferry_phase{phase=\"setup\"} 0\n"), "{metrics}");
    assert!(!metrics.lines().any(|line| line.starts_with("liteferry_phase{") && line.ends_with(" 1")));
    assert!(!metrics.contains("liteferry_phase_seconds_total{"), "{metrics}");
    for path in ["/readyz", "/v1/gates?to=switch"] {
        let told = daemon.get(path).expect("it answers").1;
        assert!(!told.contains("setup"), "{path}: {told}");
    }
    let told = finished(daemon.client(&["status"]).output().expect("it runs")).stdout;
    assert!(told.contains("not known yet") && !told.contains("setup"), "{told}");

    server.start();
    daemon.until(follows);
}

#[test]
fn a_table_that_somebody_locks_is_named_with_who_does() {
    let case = Case::new(SHOP);
    case.rows("create table item (id bigint primary key)");
    let holder = HeldSession::open(&case.target.url);
    holder.run("set application_name = 'nightly'; begin; lock table item in access exclusive mode");
    let told = case.typed(&["check"]).exits_with(1).stderr;
    let (log, end) = told.split_once("liteferry: ").expect("it ends with the fault");
    assert_eq!(log.matches("held_by").count(), 1, "{told}");
    for word in ["[lock_timeout]", "a lock on public.item", "nightly"] {
        assert!(end.contains(word), "{word}: {told}");
    }
}

/// The records know the database by its path from the root.
#[test]
fn a_database_that_is_gone_is_missing_by_whatever_path_it_is_named() {
    let case = Case::new(SHOP);
    let (kept, away) = (case.source.path.with_extension("kept"), case.source.path.with_extension("away"));
    std::fs::rename(&case.source.path, &kept).unwrap();
    std::os::unix::fs::symlink(&kept, &case.source.path).unwrap();
    assert_eq!(case.following().stop(), Some(0));
    std::fs::rename(&kept, &away).unwrap();
    let mut daemon = case.daemon(&[]);
    assert_eq!(daemon.halted(), "source_missing");
    assert_eq!(daemon.stop(), Some(0));
    std::fs::rename(&away, &kept).unwrap();
    case.following();
}
