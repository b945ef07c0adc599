//! The application changes its schema under our triggers: which changes they outlive, and that the census sees the others.

use super::replica::{By, Replica, captured, origin, writer};
use crate::support::sqlite;
use liteferry::model::cell::CellBuf;
use liteferry::plan::capture::CaptureTable;
use liteferry::sqlite::capture::{Standing, arm, census, rearm};
use liteferry::sqlite::connect::{SqliteFile, schema_version};
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

const SETUP: &str = "create table t(id integer primary key, u text unique, v default 1, w);
    create unique index i on t(lower(w)) where v > 0; create table h(a, b); insert into t values (1, 'a', 1, 'x'), (2, 'b', 1, 'y')";

fn tables(path: &Path) -> Vec<CaptureTable> {
    captured(path, &|_| By::PrimaryKey)
}

/// How the first table stands, by its old triggers and by those that its new schema needs.
#[track_caller]
fn standing_after(ddl: &str) -> (Standing, Standing) {
    let file = sqlite(SETUP);
    let before = tables(&file.path);
    let db = writer(&file.path);
    arm(&db, &origin(), &before, &|| {}).expect("capture is armed");
    let app = Connection::open(&file.path).expect("the file opens");
    app.execute_batch(ddl).unwrap_or_else(|error| panic!("{error}\n{ddl}"));
    let standing = |tables: &[CaptureTable]| census(&db, tables).expect("a census is taken").captured[0].1;
    let after = tables(&file.path);
    let found = (standing(&before), standing(&after));
    rearm(&db, &after, &|| {}).expect("capture is armed again");
    assert_eq!(standing(&after), Standing::Intact, "{ddl}");
    found
}

#[test]
fn the_census_sees_which_triggers_a_schema_change_took_away() {
    use Standing::{Altered, Intact, Missing};
    let rebuild =
        "create table n(id integer primary key, u text unique, v, w); insert into n select * from t;";
    let cases = [
        ("alter table t add column z default 5", (Intact, Intact)),
        ("create index plain on t(v); drop table h; analyze; vacuum", (Intact, Intact)),
        // SQLite rewrites what is ours, in our own words.
        ("alter table t rename column u to uu", (Altered, Intact)),
        (
            "alter table t rename to \"T 2\"; create table t(id integer primary key, u text unique, v default 1, w); drop table t; \
          alter table \"T 2\" rename to t",
            (Intact, Intact),
        ),
        (&format!("begin; {rebuild} drop table t; alter table n rename to t; commit"), (Missing, Missing)),
        ("create unique index j on t(v, w)", (Intact, Altered)),
        ("drop index i", (Intact, Altered)),
        ("create trigger app after insert on t begin select raise(ignore); end", (Altered, Altered)),
        ("create trigger app before update on t begin select 2; end", (Altered, Altered)),
        ("drop trigger _liteferry_1_bd", (Missing, Missing)),
        (
            "drop trigger _liteferry_1_bd; create trigger _liteferry_1_bd before delete on t begin insert into _liteferry_change(tbl) \
          values (1); end",
            (Altered, Altered),
        ),
    ];
    for (ddl, expected) in cases {
        let (before, after) = standing_after(ddl);
        assert_eq!((before, after), expected, "{ddl}");
    }
}

/// The triggers go with the old table, and their number stays.
#[test]
fn a_rebuild_that_keeps_the_old_table_is_seen() {
    let file = sqlite(SETUP);
    let before = tables(&file.path);
    let db = writer(&file.path);
    arm(&db, &origin(), &before, &|| {}).expect("capture is armed");
    let app = Connection::open(&file.path).expect("the file opens");
    let ddl = "alter table t rename to old_t; create table t(id integer primary key, u text unique, v default 1, w); \
               create unique index i2 on t(lower(w)) where v > 0";
    app.execute_batch(ddl).expect("renamed and made");
    assert_eq!(census(&db, &before).expect("a census is taken").captured[0].1, Standing::Altered);
    rearm(&db, &before, &|| {}).expect("capture is armed again");
    let mut after = before.clone();
    after.retain(|table| table.table == "t");
    assert_eq!(census(&db, &after).expect("a census is taken").captured[0].1, Standing::Intact);
    app.execute_batch("insert into t values (5, 'n', 1, 'n')").expect("writes work");
    assert_eq!(
        app.query_row("select k0 from _liteferry_change order by seq desc", [], |row| row.get::<_, i64>(0)),
        Ok(5)
    );
}

/// The price of a probe, told in the papers: the column that it names can go only after the triggers.
#[test]
fn a_column_of_a_probe_cannot_be_dropped_under_our_triggers() {
    let file = sqlite("create table t(id integer primary key, u); create unique index i on t(u)");
    arm(&writer(&file.path), &origin(), &tables(&file.path), &|| {}).expect("capture is armed");
    let app = Connection::open(&file.path).expect("the file opens");
    app.execute_batch("drop index i").expect("dropped");
    assert!(app.execute_batch("alter table t drop column u").is_err());
    rearm(&writer(&file.path), &tables(&file.path), &|| {}).expect("capture is armed again");
    app.execute_batch("alter table t drop column u").expect("dropped");
}

#[test]
fn a_trigger_that_left_without_a_schema_change_is_missed_all_the_same() {
    let file = sqlite(SETUP);
    let tables = tables(&file.path);
    let db = writer(&file.path);
    arm(&db, &origin(), &tables, &|| {}).expect("capture is armed");
    let version = schema_version(&db).expect("the version is read");
    let app = Connection::open(&file.path).expect("the file opens");
    app.execute_batch(
        "pragma writable_schema = on; delete from sqlite_schema where name = '_liteferry_1_bu'",
    )
    .expect("deleted");
    assert_eq!(schema_version(&db).expect("the version is read"), version);
    let found = census(&db, &tables).expect("a census is taken");
    assert_eq!(found.captured, [(1, Standing::Missing), (2, Standing::Intact)]);
}

#[test]
fn strangers_under_our_prefix_are_named() {
    let file = sqlite(SETUP);
    let all = tables(&file.path);
    let db = writer(&file.path);
    arm(&db, &origin(), &all, &|| {}).expect("capture is armed");
    db.execute_batch("create table _LITEFERRY_note(a)").expect("made");
    let found = census(&db, &all[..1]).expect("a census is taken");
    let left =
        ["_liteferry_2_bu", "_liteferry_2_bd", "_liteferry_2_ai", "_liteferry_pin_2", "_LITEFERRY_note"];
    assert_eq!(found.strangers, left);
    assert_eq!(found.tables, Standing::Intact);
}

#[test]
fn writes_after_a_rename_or_a_new_column_are_followed() {
    for ddl in [
        "alter table t rename column u to uu",
        "alter table t rename column id to ident",
        "alter table t rename column w to ww",
        "alter table t add column z",
        "create index another on t(v)",
    ] {
        let mut replica = Replica::new(SETUP);
        replica.run_only(ddl);
        replica.run_only("delete from t where rowid = 1");
        let more = if ddl.contains("add") { ", 0" } else { "" };
        replica.run_only(&format!("insert or replace into t select 9, 'c', 1, 'Y'{more}"));
        let keys = replica.logged(replica.captured("t"));
        for id in [1, 2, 9] {
            assert!(keys.contains(&vec![CellBuf::Integer(id)]), "{ddl}: {id} {keys:?}");
        }
    }
}

#[test]
fn the_log_that_was_dropped_is_not_made_anew_in_silence() {
    let file = sqlite(SETUP);
    let tables = tables(&file.path);
    let db = writer(&file.path);
    let first = arm(&db, &origin(), &tables, &|| {}).expect("capture is armed");
    let app = Connection::open(&file.path).expect("the file opens");
    app.execute_batch("drop table _liteferry_change").expect("dropped");
    assert!(app.execute_batch("delete from t").is_err());
    assert_eq!(census(&db, &tables).expect("a census is taken").tables, Standing::Missing);
    assert_eq!(rearm(&db, &tables, &|| {}).expect_err("the log is gone").code, "capture_log_lost");
    let again = arm(&db, &origin(), &tables, &|| {}).expect("capture is armed");
    assert_eq!((first.epoch, again.epoch, again.seq), (1, 2, 1));
    let app = Connection::open(&file.path).expect("the file opens");
    app.execute_batch("delete from t; delete from _liteferry_change").expect("writes work again");
    assert_eq!(arm(&db, &origin(), &tables, &|| {}).expect("capture is armed").epoch, 3);
}

/// What other hands do to the file is read by a connection that only reads.
#[test]
fn a_reader_takes_the_census_in_its_own_transaction() {
    let file = sqlite(SETUP);
    let tables = tables(&file.path);
    arm(&writer(&file.path), &origin(), &tables, &|| {}).expect("capture is armed");
    let reader = SqliteFile::examine(&file.path, Duration::from_secs(1))
        .and_then(|file| file.open_reader())
        .expect("it opens");
    reader.execute_batch("begin").expect("a transaction begins");
    assert_eq!(census(&reader, &tables).expect("a census is taken").captured[0].1, Standing::Intact);
    assert!(!reader.is_autocommit());
}
