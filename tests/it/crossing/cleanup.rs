//! PostgreSQL and the application die at every point of a cleanup; a cleanup does not keep the application waiting.

use super::{LOOK, Side, Walk, is_settled, points};
use crate::support::held::HeldSession;
use crate::support::{OwnServer, TestDatabase, database, psql};
use liteferry::crash::FREEZE;
use serde_json::Value;
use std::thread::sleep;

const CLEANUP: &str = r#"{"to": "cleanup", "confirm": "source.db"}"#;

#[test]
fn a_cleanup_that_was_left_half_done_with_its_server_is_ended_by_this_daemon_or_the_next() {
    let mut server = OwnServer::new();
    for (at, point) in points("cleanup").enumerate() {
        let lives = at % 2 == 0;
        let name = format!("cleanup{at}");
        psql(&server.url("postgres"), &format!("create database {name}"));
        let any = server.url("postgres");
        let url = format!("{}{name}", any.strip_suffix("postgres").expect("its database ends it"));
        let mut walk = Walk::begin(TestDatabase { url, name });
        walk.stand_in("switch");
        // What is written to SQLite once nothing of ours is left in it, nobody carries over.
        walk.writers.end_one("s");
        walk.writers.in_fresh_processes(&[Side::Postgres]);
        walk.restart(&[(FREEZE, point)]);
        walk.stand_in("switch");
        walk.command(CLEANUP);
        walk.gone();
        walk.writers.kill_processes();
        server.stop_immediately();
        if lives {
            walk.daemon.signal("-CONT");
            server.start();
        } else {
            walk.daemon.kill();
            server.start();
            walk.restart(&[]);
        }
        walk.daemon.wait_for(|daemon| {
            // It comes by the point again.
            if daemon.is_frozen() {
                daemon.signal("-CONT");
            }
            let status = daemon.status()?;
            (status["phase"] == "done" && is_settled(&status)).then_some(())
        });
        assert!(walk.takes(Side::Postgres), "{point}");
        walk.has_all(Side::Postgres, point);
        let dir = walk.case.source.path.parent().expect("a file lies somewhere");
        let files: Vec<String> = std::fs::read_dir(dir)
            .expect("a directory can be read")
            .map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned())
            .collect();
        for ending in [".zst", ".sha256", ".report.json"] {
            assert!(files.iter().any(|file| file.ends_with(ending)), "{point}: {ending} in {files:?}");
        }
        let report = files.iter().find(|file| file.ends_with(".report.json")).expect("it was just found");
        let report = std::fs::read_to_string(dir.join(report)).expect("it can be read");
        let report: Value = serde_json::from_str(&report).expect("it is JSON");
        let removed = report["removed_from_sqlite"].as_array().expect("a list");
        for ours in ["_liteferry_change", "_liteferry_control", "_liteferry_1_ai"] {
            assert!(removed.iter().any(|name| name == ours), "{point}: {report:#}");
        }
        let ours = "select count(*) from pg_trigger where tgrelid = 'log'::regclass";
        assert_eq!(psql(&walk.case.target.url, ours), [[Some("0".to_owned())]], "{point}");
        // Once more is no more.
        let journal = "select id, what, detail from liteferry.journal order by id";
        let told = walk.case.rows(journal);
        walk.daemon.obeys("/v1/phase", CLEANUP);
        assert_eq!(walk.case.rows(journal), told, "{point}");
        walk.writers.end();
    }
}

#[test]
fn a_cleanup_waits_for_the_application_and_does_not_keep_it_waiting() {
    let mut walk = Walk::begin(database());
    walk.stand_in("switch");
    let reading = HeldSession::open(&walk.case.target.url);
    reading.run("begin; select count(*) from log");
    walk.command(CLEANUP);
    walk.daemon.until(|status| status["run"]["reason"]["code"] == "lock_timeout");
    // A wait without a bound would keep them for as long as the reader stays.
    for _ in 0..20 {
        walk.case.rows("set statement_timeout = '60s'; select count(*) from log");
        sleep(LOOK * 5);
    }
    reading.run("commit");
    walk.daemon.until(|status| status["phase"] == "done");
    walk.writers.end();
}
