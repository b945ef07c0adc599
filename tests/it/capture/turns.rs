//! Capture of many tables: it is put in and taken out in turns, between which the application writes, changes its schema, and dies.

use super::replica::{By, captured, origin, writer};
use crate::support::{TempDb, sqlite};
use liteferry::plan::capture::CaptureTable;
use liteferry::sqlite::capture::{self, Origin, arm, census, detach, installed, rearm};
use rusqlite::Connection;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// So many tables that no machine is done with them in one turn.
const TABLES: usize = 200;

fn ground() -> (TempDb, Vec<CaptureTable>) {
    let one = |at: usize| format!("create table t{at} (id integer primary key, v unique);");
    let file = sqlite(&format!("pragma journal_mode = wal; {}", (0..TABLES).map(one).collect::<String>()));
    let tables = captured(&file.path, &|_| By::PrimaryKey);
    (file, tables)
}

/// An application that never waits for a lock.
fn impatient(file: &TempDb) -> Connection {
    let app = Connection::open(&file.path).expect("the file opens");
    app.busy_timeout(std::time::Duration::ZERO).expect("it can be set");
    app
}

fn is_whole(db: &Connection, tables: &[CaptureTable]) -> bool {
    census(db, tables).expect("it can be looked at").is_whole()
}

#[test]
fn the_application_writes_between_the_turns() {
    let (file, tables) = ground();
    let (db, app, turns) = (writer(&file.path), impatient(&file), Cell::new(0));
    let write = || {
        turns.set(turns.get() + 1);
        app.execute("insert into t0 (v) values (?1)", [turns.get()]).expect("nobody holds the lock");
    };
    let first = arm(&db, &origin(), &tables, &write).expect("capture is armed");
    assert!(turns.get() > 0, "all in one turn");
    assert!(is_whole(&db, &tables));
    let logged = "select count(*) from _liteferry_change where tbl > 0 and seq < ?1";
    let logged: i64 = db.query_row(logged, [first.seq], |row| row.get(0)).expect("it can be counted");
    assert_eq!(logged, turns.get(), "the first table was captured from the first turn on");

    let armed = turns.get();
    let names = detach(&db, &write).expect("it is taken out");
    assert!(turns.get() > armed, "all out in one turn");
    assert!(names.len() > TABLES && installed(&db).expect("it can be looked at").is_empty());
}

#[test]
fn what_is_undone_between_the_turns_is_done_again() {
    let (file, tables) = ground();
    let (db, app) = (writer(&file.path), impatient(&file));
    let rebuild = || {
        let sql = "begin; create table new (id integer primary key, v unique, w); drop table t0;
            alter table new rename to t0; commit";
        app.execute_batch(sql).expect("nobody holds the lock");
    };
    arm(&db, &origin(), &tables, &rebuild).expect("capture is armed");
    assert!(is_whole(&db, &tables));
}

#[test]
fn capture_that_somebody_takes_out_between_the_turns_is_not_put_in_by_halves() {
    let (file, tables) = ground();
    let db = writer(&file.path);
    let taken_out = || drop(detach(&writer(&file.path), &|| {}).expect("it is taken out"));
    let refused = arm(&db, &origin(), &tables, &taken_out).expect_err("its log is gone");
    assert_eq!(refused.code, "capture_log_lost");
    assert!(installed(&db).expect("it can be looked at").is_empty());
}

#[test]
fn another_migration_s_log_is_not_written_to() {
    let (file, tables) = ground();
    let (db, others) = (writer(&file.path), Origin { migration: "f".repeat(32), epoch: 1 });
    let theirs = Cell::new(true);
    let taken_over = || {
        if theirs.take() {
            let other = writer(&file.path);
            detach(&other, &|| {}).expect("it is taken out");
            arm(&other, &others, &tables[..1], &|| {}).expect("capture is armed");
        }
    };
    let refused = arm(&db, &origin(), &tables, &taken_over).expect_err("the log is another's");
    assert_eq!(refused.code, "capture_log_lost");
    assert_eq!(capture::origin(&db).expect("it can be asked"), Some(others.clone()));
}

/// As a daemon would that finds triggers gone.
#[test]
fn what_is_taken_out_in_turns_nobody_puts_in_again() {
    let (file, tables) = ground();
    let db = writer(&file.path);
    arm(&db, &origin(), &tables, &|| {}).expect("capture is armed");
    let first = Cell::new(true);
    let put_in = || {
        if first.take() {
            let refused = rearm(&writer(&file.path), &tables, &|| {}).expect_err("it is given up");
            assert_eq!(refused.code, "capture_log_lost");
        }
    };
    detach(&db, &put_in).expect("it is taken out");
    assert!(!first.get() && installed(&db).expect("it can be looked at").is_empty());
}

/// Both find nothing there, and wait for the application.
#[test]
fn of_two_that_arm_at_once_the_second_leaves_the_first_alone() {
    let (file, tables) = ground();
    let origins = ["e", "f"].map(|letter| Origin { migration: letter.repeat(32), epoch: 1 });
    let app = impatient(&file);
    app.execute_batch("begin immediate; insert into t0 (v) values (1)").expect("nobody holds the lock");
    let armed: Vec<_> = std::thread::scope(|scope| {
        let tables = &tables[..1];
        let path = &file.path;
        let arming =
            origins.each_ref().map(|origin| scope.spawn(move || arm(&writer(path), origin, tables, &|| {})));
        std::thread::sleep(std::time::Duration::from_millis(300));
        app.execute_batch("commit").expect("it commits");
        arming.map(|one| one.join().expect("no thread panics")).into()
    });
    let first = armed.iter().position(Result::is_ok).expect("one of them is the first");
    let refused = armed[1 - first].as_ref().expect_err("one of them is the second");
    assert_eq!(refused.code, "capture_other_migration");
    let db = writer(&file.path);
    assert_eq!(capture::origin(&db).expect("it can be asked"), Some(origins[first].clone()));
    assert!(is_whole(&db, &tables[..1]));
}

#[test]
fn a_database_that_is_moved_away_between_the_turns_is_not_made_anew() {
    let (file, tables) = ground();
    let move_away = || {
        // The second turn finds it gone already.
        let _gone = std::fs::rename(&file.path, file.path.with_extension("away"));
    };
    arm(&writer(&file.path), &origin(), &tables, &move_away).expect_err("the database is gone");
    assert!(!file.path.exists());
}

#[test]
fn arming_that_broke_off_goes_on_where_it_was() {
    let (file, tables) = ground();
    let killed = || panic!("killed between two turns");
    let broken = catch_unwind(AssertUnwindSafe(|| arm(&writer(&file.path), &origin(), &tables, &killed)));
    assert!(broken.is_err());
    let db = writer(&file.path);
    let there = installed(&db).expect("it can be looked at").len();
    let first = arm(&db, &origin(), &tables, &|| {}).expect("capture is armed");
    assert_eq!(first.epoch, 1, "the same log");
    assert!(is_whole(&db, &tables));
    let whole = installed(&db).expect("it can be looked at").len();
    assert!(there > 2 && there < whole, "{there} of {whole}");
}
