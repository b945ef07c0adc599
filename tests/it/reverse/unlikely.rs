//! What rarely comes between on the way back: each is told by its code, and nothing is lost by it.

use super::ground::Pair;
use super::history::waiting_for;
use crate::support::held::HeldSession;
use crate::support::until;
use liteferry::flow::backfill::OnMisfit;
use liteferry::link::{Captured, Take};
use liteferry::model::fault::FaultClass;
use liteferry::sqlite::control;

#[test]
fn a_database_in_which_the_way_back_was_never_opened_is_no_end_of_it() {
    let pair = Pair::created("create table t (id integer primary key)");
    let mut way = pair.way();
    let db = pair.sqlite();
    let before = "reverse_epoch = null, reverse_mark = null, reverse_nonce = null, reverse_before = null";
    db.execute_batch(&format!("update _liteferry_control set {before}")).expect("written");
    for fault in [way.resume().map(drop), control::reverse_begins(&db).map(drop)] {
        let fault = fault.expect_err("nowhere to go on from");
        assert_eq!((fault.code, fault.class), ("reverse_unopened", FaultClass::Fatal));
        assert!(fault.remedy.contains("detach --open-sqlite"), "{}", fault.remedy);
    }
}

#[test]
fn a_batch_whose_reading_was_broken_off_is_read_again() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    let mut way = pair.way_in_portions_of(1);
    pair.app("insert into t select n, 'a' from generate_series(1, 50) n");
    let batch = way.runtime.block_on(way.changes.changes(way.at, Take::All));
    let batch = batch.expect("it is begun").expect("something waits");
    let reached = batch.to.seq;
    // Nobody takes what is read any more.
    drop(batch);
    let fault = way.runtime.block_on(way.changes.share(reached)).expect_err("its snapshot is gone");
    assert_eq!((fault.code, fault.class), ("reverse_unread", FaultClass::Transient));
    way.resume().expect("SQLite stands somewhere");
    way.drain();
    assert_eq!(pair.here("select count(*) from t"), ["50"]);
}

#[test]
fn a_batch_is_given_up_where_one_table_after_the_other_gets_its_first_change() {
    let tables = ["a", "b", "c", "d", "e", "f"];
    let made = tables.map(|table| format!("create table {table} (id integer primary key)"));
    let pair = Pair::created(&made.join("; "));
    let mut way = pair.way();
    let held = |table: &str| {
        pair.app(&format!("insert into {table} values (1)"));
        let session = HeldSession::open(&pair.db.url);
        session.run(&format!("begin; lock table {table} in access exclusive mode"));
        session
    };
    let first = held("a");
    let fault = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut holder = first;
            for next in tables.windows(2) {
                until("a batch waits for the table", || pair.there(&waiting_for(next[0])) == ["1"]);
                let behind = held(next[1]);
                holder.run("commit");
                holder = behind;
            }
        });
        way.step(Take::All, OnMisfit::Ledger).expect_err("there is always one more")
    });
    assert_eq!((fault.code, fault.class), ("reverse_unsteady", FaultClass::Transient), "{fault:?}");
    way.resume().expect("SQLite stands somewhere");
    way.drain();
    for table in tables {
        assert_eq!(pair.here(&format!("select id from {table}")), ["1"]);
    }
}
