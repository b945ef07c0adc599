//! From arming to taking out: what is made, what stays, and that the application's own objects and manners stay as they were.

use super::replica::{By, Replica, captured, origin, rows, writer};
use crate::support::sqlite;
use liteferry::model::cell::CellBuf;
use liteferry::sqlite::capture::{self, Origin, arm, detach, prune, rearm, touch};
use liteferry::sqlite::connect::{SqliteFile, schema_version};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use std::time::{Duration, Instant};

const SETUP: &str = "create table t(id integer primary key, u unique); create table h(a); create table k(a, b, c, primary key (a, b, c))
    without rowid; create index _liteferry_index on h(a); create table _liteferry_table(a); insert into t values (1, 1)";

fn count(db: &Connection, what: &str) -> i64 {
    db.query_row(&format!("select count(*) from {what}"), [], |row| row.get(0)).expect("it can be counted")
}

#[test]
fn arming_twice_keeps_the_log_and_changes_no_schema() {
    let file = sqlite(SETUP);
    let tables = captured(&file.path, &|_| By::PrimaryKey);
    let db = writer(&file.path);
    assert_eq!(capture::origin(&db).expect("it can be asked"), None);
    let first = arm(&db, &origin(), &tables[..2], &|| {}).expect("capture is armed");
    assert_eq!(first.epoch, 1);
    assert_eq!(capture::origin(&db).expect("it can be asked"), Some(origin()));
    let version = schema_version(&db).expect("the version is read");
    let second = arm(&db, &Origin { epoch: 7, ..origin() }, &tables[..2], &|| {}).expect("capture is armed");
    assert_eq!((second.epoch, second.seq), (1, first.seq + 1));
    assert_ne!(first.nonce, second.nonce);
    assert_eq!(schema_version(&db).expect("the version is read"), version);
    // A table with a longer key widens the log, under whose triggers the application goes on.
    arm(&db, &origin(), &tables, &|| {}).expect("capture is armed");
    let app = Connection::open(&file.path).expect("the file opens");
    app.execute_batch("insert into k values (1, 2, 3); insert into t values (2, 2)").expect("writes work");
    let logged = rows(&app, "select k0, k1, k2 from _liteferry_change where tbl > 0");
    let cells = |keys: &[Option<i64>]| {
        keys.iter().map(|key| key.map_or(CellBuf::Null, CellBuf::Integer)).collect::<Vec<_>>()
    };
    assert!(
        logged.contains(&vec![CellBuf::Integer(1), CellBuf::Integer(2), CellBuf::Integer(3)]),
        "{logged:?}"
    );
    assert!(
        logged.iter().any(|row| format!("{row:?}") == format!("{:?}", cells(&[Some(2), None, None]))),
        "{logged:?}"
    );
    // What no table needs any more goes.
    arm(&db, &origin(), &tables[..1], &|| {}).expect("capture is armed");
    assert_eq!(count(&db, "sqlite_schema where type = 'trigger'"), 4);
}

#[test]
fn another_migration_or_a_stranger_is_not_overwritten() {
    let file = sqlite(SETUP);
    let tables = captured(&file.path, &|_| By::PrimaryKey);
    let db = writer(&file.path);
    arm(&db, &origin(), &tables, &|| {}).expect("capture is armed");
    let other = Origin { migration: "f".repeat(32), epoch: 1 };
    assert_eq!(
        arm(&db, &other, &tables, &|| {}).expect_err("it is another's").code,
        "capture_other_migration"
    );
    detach(&db, &|| {}).expect("it is taken out");
    for stranger in [
        "create table _liteferry_change(a)",
        "create table _LITEFERRY_CONTROL(a)",
        "create index _liteferry_1_bu on t(u)",
        "create trigger _liteferry_1_bd before delete on t begin select 1; end",
    ] {
        db.execute_batch(stranger).expect("made");
        assert_eq!(arm(&db, &origin(), &tables, &|| {}).expect_err(stranger).code, "capture_name_taken");
        detach(&db, &|| {}).expect("it is taken out");
        let name = stranger.split(['(', ' ']).nth(2).expect("a name");
        assert_eq!(count(&db, &format!("sqlite_schema where name = '{name}'")), 1, "{name}");
        let kind = stranger.split(' ').nth(1).expect("a kind");
        db.execute_batch(&format!("drop {kind} {name}")).expect("dropped");
    }
}

#[test]
fn detaching_leaves_the_application_as_it_was() {
    for setup in [
        SETUP,
        "pragma journal_mode = wal; create table t(id integer primary key, u unique); create table h(a)",
    ] {
        let file = sqlite(setup);
        let schema =
            |db: &Connection| rows(db, "select type, name, tbl_name, sql from sqlite_schema order by rowid");
        let db = writer(&file.path);
        let before = schema(&db);
        detach(&db, &|| {}).expect("nothing is there to take out");
        arm(&db, &origin(), &captured(&file.path, &|_| By::PrimaryKey), &|| {}).expect("capture is armed");
        assert_ne!(schema(&db), before);
        detach(&db, &|| {}).expect("it is taken out");
        assert_eq!(schema(&db), before);
        detach(&db, &|| {}).expect("nothing is there to take out");
        assert_eq!(rearm(&db, &[], &|| {}).expect_err("nothing is there").code, "capture_log_lost");
    }
}

#[test]
fn pruning_keeps_the_newest_row_and_its_bound() {
    let mut replica = Replica::new("create table t(id integer primary key, v); insert into t values (1, 1)");
    for _ in 0..10 {
        replica.run("update t set v = v + 1");
    }
    let db = writer(replica.path());
    assert_eq!(prune(&db, 3, 100, || Ok(true)).expect("it prunes"), Some(3));
    assert_eq!(prune(&db, i64::MAX, 2, || Ok(true)).expect("it prunes"), Some(2));
    assert_eq!(count(&db, "_liteferry_change where seq < 6"), 0);
    assert_eq!(prune(&db, i64::MAX, 100, || Ok(true)).expect("it prunes"), Some(5));
    assert_eq!(prune(&db, i64::MAX, 100, || Ok(true)).expect("it prunes"), Some(0));
    let newest = replica.position;
    replica.run("update t set v = 0");
    assert!(replica.position.seq == newest.seq + 1 && replica.position.nonce != newest.nonce);
}

#[test]
fn a_touched_key_is_logged_again_in_bounded_transactions() {
    let replica = Replica::new(
        "create table k(a, b, primary key (a, b)) without rowid; create table t(id integer primary key)",
    );
    let db = writer(replica.path());
    let keys: Vec<Vec<CellBuf>> =
        (0..1_200).map(|at| vec![CellBuf::Integer(at), CellBuf::Blob(vec![0, 255])]).collect();
    touch(&db, 1, &keys).expect("they are logged");
    touch(&db, 2, &[vec![CellBuf::Integer(7)]]).expect("it is logged");
    touch(&db, 2, &[]).expect("nothing is logged");
    assert_eq!(replica.logged(replica.captured("k")), keys);
    assert_eq!(replica.logged(replica.captured("t")), [[CellBuf::Integer(7)]]);
    assert_eq!(count(&db, "(select distinct nonce from _liteferry_change where tbl > 0)"), 1_201);
}

#[test]
fn the_writer_gives_up_in_time_and_fires_nothing() {
    let file = sqlite(&format!(
        "{SETUP}; create trigger app after insert on t begin insert into h values (new.id); end"
    ));
    let mut app = Connection::open(&file.path).expect("the file opens");
    let tables = captured(&file.path, &|_| By::PrimaryKey);
    let held = app.transaction_with_behavior(TransactionBehavior::Immediate).expect("the lock is had");
    let db = SqliteFile::examine(&file.path, Duration::from_secs(30))
        .and_then(|file| file.open_writer(Duration::from_millis(100)))
        .expect("it opens");
    let started = Instant::now();
    assert_eq!(arm(&db, &origin(), &tables, &|| {}).expect_err("the lock is held").code, "source_busy");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(100) && waited < Duration::from_secs(25), "{waited:?}");
    held.commit().expect("it commits");
    arm(&db, &origin(), &tables, &|| {}).expect("capture is armed");
    db.execute_batch("insert into t values (5, 5)").expect("the writer can write");
    assert_eq!((count(&db, "h"), count(&db, "_liteferry_change where tbl > 0")), (0, 0));
}

#[test]
fn a_suspicious_application_is_served_like_any_other() {
    let replica = Replica::new(
        "create table t(id integer primary key, u text unique, g as (lower(u))); create unique index i on t(g)",
    );
    let suspicious =
        [(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false), (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)];
    for (setting, on) in suspicious {
        for db in [&replica.app, &replica.plain] {
            db.set_db_config(setting, on).expect("the setting is known");
        }
    }
    let mut replica = replica;
    for sql in [
        "insert into t(u) values ('a')",
        "replace into t(u) values ('A')",
        "update t set u = 'b'",
        "delete from t",
    ] {
        replica.run(sql);
    }
}

#[test]
fn triggers_that_would_break_the_application_are_not_left_behind() {
    let file = sqlite(SETUP);
    let mut tables = captured(&file.path, &|_| By::PrimaryKey);
    tables[0].triggers[0].sql = tables[0].triggers[0].sql.replace("_rowid_", "no_such");
    let db = writer(&file.path);
    assert_eq!(
        arm(&db, &origin(), &tables, &|| {}).expect_err("they do not compile").code,
        "capture_refused"
    );
    assert_eq!(count(&db, "sqlite_schema where name like '\\_liteferry\\_c%' escape '\\'"), 0);
    // A trigger of the application that only it can compile tells nothing of ours.
    db.execute_batch("create trigger app after insert on t begin select only_there(new.id); end")
        .expect("made");
    arm(&db, &origin(), &captured(&file.path, &|_| By::PrimaryKey), &|| {}).expect("capture is armed");
}
