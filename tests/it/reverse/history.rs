//! Late commits, crashes between the two commits, and histories that are not each other's.

use super::ground::{BEGIN, Pair, TOKEN};
use crate::support::disk::LateDisk;
use crate::support::held::HeldSession;
use crate::support::{OwnServer, TestDatabase, application, until};
use liteferry::flow::backfill::OnMisfit;
use liteferry::link::{OnDisk, Take};
use liteferry::model::fault::{Fault, FaultClass};
use liteferry::sqlite::apply::SqliteApplier;
use liteferry::sqlite::capture::{self, Origin};
use liteferry::sqlite::connect::SqliteFile;
use liteferry::sqlite::control;
use liteferry::sqlite::history::schema_digest;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Numbers are drawn before commits: the lower one comes last, when the higher one is long forgotten.
#[test]
fn a_commit_that_comes_late_with_a_low_number_is_not_missed() {
    let pair = Pair::created(
        "create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b')",
    );
    let mut way = pair.way();
    pair.with_session(async |slow| {
        let run = async |sql: &str| slow.batch_execute(sql).await.expect("it is run");
        run("begin; update public.t set v = 'late' where id = 1").await;
        std::thread::scope(|scope| {
            scope.spawn(|| pair.app("update t set v = 'early' where id = 2"));
        });
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(way.drain().len(), 1));
        });
        assert_eq!(pair.here("select v from t order by id"), ["a", "early"]);
        run("commit").await;
        Ok(())
    });
    assert_eq!(way.drain().len(), 1);
    assert_eq!(pair.here("select v from t order by id"), ["late", "early"]);
    assert_eq!(pair.waiting(), "0");
}

#[test]
fn what_commits_while_a_batch_is_taken_is_not_forgotten_with_it() {
    let pair =
        Pair::created("create table t (id integer primary key, v text); insert into t values (1, 'a')");
    let mut way = pair.way();
    pair.with_session(async |session| {
        let run = async |sql: &str| session.batch_execute(sql).await.expect("it is run");
        run("begin; update public.t set v = 'late' where id = 1").await;
        let taken = || {
            pair.app("insert into t values (2, 'b')");
            way.commit_only().expect("SQLite has taken it");
        };
        std::thread::scope(|scope| drop(scope.spawn(taken)));
        run("commit").await;
        Ok(())
    });
    pair.app("update t set v = 'c' where id = 2");
    way.go_on();
    assert_eq!(pair.waiting(), "2", "one with a lower number, one with a higher");
    way.drain();
    assert_eq!(pair.here("select v from t order by id"), ["late", "c"]);
}

#[test]
fn a_forgetting_that_was_lost_is_made_up_for_and_nothing_is_lost_or_doubled() {
    let pair = Pair::created(
        "create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b')",
    );
    pair.app("update t set v = 'c' where id = 1; delete from t where id = 2; insert into t values (3, 'd')");
    let mut way = pair.way_in_portions_of(1);
    way.abandon();
    drop(way);
    assert_eq!(pair.here("select v from t order by id"), ["a", "b"], "SQLite has rolled back");
    for _ in 0..2 {
        let mut way = pair.way();
        let at = way.at.seq;
        way.commit_only().expect("SQLite has taken it");
        drop(way);
        assert_eq!(pair.way().at.seq, at + 1);
        assert_ne!(pair.waiting(), "0");
        pair.app("update t set v = v || '!' where id = 1");
    }
    let mut way = pair.way();
    way.drain();
    assert_eq!(pair.here("select id, v from t order by id"), ["1|c!!", "3|d"]);
    assert_eq!(pair.there("select mark from liteferry.reverse"), [way.at.seq.to_string()]);
    pair.is_equal();
}

#[test]
fn two_histories_are_not_taken_for_one() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    let mut way = pair.way();
    pair.app("insert into t values (1, 'a')");
    way.drain();
    let at = way.at;
    let stand_at = |epoch: i64, mark: i64, nonce: i64| {
        pair.app(&format!("update liteferry.reverse set epoch = {epoch}, mark = {mark}, nonce = {nonce}"));
    };
    for (epoch, mark, nonce) in [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, -1, 0)] {
        stand_at(at.epoch + epoch, at.seq + mark, at.nonce ^ nonce);
        let fault = way.step(Take::All, OnMisfit::Ledger).expect_err("another history");
        assert_eq!(fault.code, "reverse_history_fork", "{epoch} {mark} {nonce}");
    }
    stand_at(at.epoch, at.seq, at.nonce);
    pair.app("insert into t values (2, 'b')");
    // A backup of SQLite from before.
    pair.sqlite().execute_batch("update _liteferry_control set reverse_nonce = 1").expect("written");
    assert_eq!(way.step(Take::All, OnMisfit::Ledger).expect_err("a fork").code, "reverse_history_fork");
    way.resume().expect("it stands somewhere");
    assert_eq!(way.step(Take::All, OnMisfit::Ledger).expect_err("a fork").code, "reverse_history_fork");
}

/// Tables that changed lately are locked before it is known whether they changed again.
#[test]
fn a_table_that_is_dropped_after_it_has_changed_is_in_nobodys_way() {
    let pair = Pair::created(
        "create table t (id integer primary key, v text); create table u (id integer primary key)",
    );
    let mut way = pair.way();
    let mut step = || way.step(Take::UpTo(10), OnMisfit::Ledger).expect("a batch is taken");
    pair.app("insert into u values (1)");
    assert_eq!(step().expect("one waits").changes, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| pair.app("drop table u; insert into t values (1, 'a')"));
        let waiting = "select count(*) from pg_locks where relation = 'u'::regclass and not granted";
        until("it waits for the batch to end", || pair.there(waiting) == ["1"]);
        // Right behind it.
        until("its row has come", || step().is_some());
    });
    assert!(step().is_none());
    assert_eq!(pair.here("select v from t"), ["a"]);
    assert_eq!(pair.waiting(), "0");
}

/// Who waited for one of them with another locked would be a migration's deadlock.
#[test]
fn tables_that_changed_lately_are_locked_only_where_nobody_else_has_them() {
    let pair = Pair::created(
        "create table t (id integer primary key); create table u (id integer primary key);
         create table w (id integer primary key)",
    );
    let mut way = pair.way();
    pair.app("insert into u values (1); insert into w values (1)");
    way.step(Take::All, OnMisfit::Ledger).expect("a batch is taken").expect("one waits");
    pair.app("insert into t values (1)");
    let migration = HeldSession::open(&pair.db.url);
    std::thread::scope(|scope| {
        let migrating = scope.spawn(|| {
            migration.run("begin; set local deadlock_timeout = '1ms'; lock table w in access exclusive mode");
            migration.run("lock table u in access exclusive mode; commit");
        });
        until("it waits for the batch to end", || pair.there(&waiting_for("w")) == ["1"]);
        way.step(Take::All, OnMisfit::Ledger).expect("a batch is taken").expect("one waits");
        migrating.join().expect("nobody is in its way");
    });
    assert_eq!(pair.here("select id from t"), ["1"]);
}

#[test]
fn a_table_that_changed_lately_may_go_while_one_that_has_changed_is_waited_for() {
    let pair =
        Pair::created("create table t (id integer primary key); create table u (id integer primary key)");
    let mut way = pair.way();
    pair.app("insert into u values (1)");
    way.step(Take::All, OnMisfit::Ledger).expect("a batch is taken").expect("one waits");
    pair.app("insert into t values (1)");
    let migration = HeldSession::open(&pair.db.url);
    migration.run("begin; lock table t in access exclusive mode");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until("a batch waits for the table", || pair.there(&waiting_for("t")) == ["1"]);
            migration.run("drop table u; commit");
        });
        until("its row has come", || match way.step(Take::All, OnMisfit::Ledger) {
            Ok(step) => step.is_some(),
            Err(late) => {
                assert_eq!(late.code, "lock_timeout");
                way.resume().expect("SQLite stands somewhere");
                false
            }
        });
    });
    assert_eq!(pair.here("select id from t"), ["1"]);
}

pub fn waiting_for(table: &str) -> String {
    format!("select count(*) from pg_locks where relation = '{table}'::regclass and not granted")
}

/// As by a deadline, when all but SQLite's lock was there. Another applier may have looked where SQLite stands.
#[test]
fn a_commit_that_nobody_waits_for_any_more_is_not_made() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    pair.app("insert into t values (1, 'a')");
    let mut way = pair.way();
    let somebody = pair.sqlite();
    let (tell, told) = tokio::sync::oneshot::channel();
    let durable = async { tell.send(()).map_err(|()| unreachable!("it is heard")) };
    let given_up = async { told.await.expect("it is durable") };
    somebody.execute_batch("begin immediate").expect("locked");
    assert!(way.commit_unless(durable, given_up).is_none());
    somebody.execute_batch("rollback").expect("the lock is let go");
    // Longer than it sleeps between two looks at the lock.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(pair.here("select v from t"), [""; 0]);
    way.drain();
    assert_eq!(pair.here("select v from t"), ["a"]);
}

/// To a snapshot that is older than a TRUNCATE its table is empty all the same.
#[test]
fn a_table_whose_turn_has_not_come_yet_is_kept_from_being_emptied() {
    let pair = Pair::created(
        "create table t (id integer primary key, v text); create table u (id integer primary key)",
    );
    pair.app("insert into u values (1); insert into t select n, repeat('x', 100) from generate_series(1, 100) as n");
    pair.way_in_portions_of(1000).begin_beside(|| {
        let locks = "select mode from pg_locks where relation = 'public.u'::regclass";
        assert_eq!(pair.there(locks), ["AccessShareLock"]);
    });
}

/// An application that does not wait for PostgreSQL's disk shows what a crash takes from it.
#[test]
fn sqlite_takes_nothing_before_the_disk_of_postgres_has_it() {
    let mut server = OwnServer::new();
    server.restart_with([("wal_writer_delay", "10s".to_owned()), ("full_page_writes", "off".to_owned())]);
    let db = TestDatabase { url: server.url("postgres"), name: "postgres".into() };
    let pair = Pair::created_in("create table t (id integer primary key)", db);
    let mut crash = || {
        server.stop_immediately();
        server.start();
        pair.there("select id from t")
    };
    // A page of the log that is full is written at once: it begins anew.
    let insert = || {
        pair.app("select pg_switch_wal()");
        pair.app("set synchronous_commit = off; insert into t values (1)");
    };
    insert();
    assert_eq!(crash(), [""; 0]);
    insert();
    pair.way().commit_only().expect("SQLite has taken it");
    assert_eq!((crash(), pair.here("select id from t")), (vec!["1".to_owned()], vec!["1".to_owned()]));
}

/// A number is the time, and two transactions may note changes at one time: the later one's is none of the batch's.
#[test]
fn a_change_that_shares_its_number_with_a_taken_one_is_not_forgotten_with_it() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    let mut way = pair.way();
    pair.app("insert into t values (1, 'a')");
    way.commit_only().expect("SQLite has taken it");
    pair.app("insert into t values (2, 'b')");
    pair.app("update liteferry.reverse_change set id = least.id
        from (select min(id) as id from liteferry.reverse_change) as least where reverse_change.id > least.id");
    way.go_on();
    assert_eq!(pair.waiting(), "1");
    way.drain();
    assert_eq!(
        (pair.here("select v from t order by id").concat(), pair.waiting()),
        ("ab".into(), "0".into())
    );
}

/// What comes next is read meanwhile, but not committed.
#[test]
fn postgres_forgets_nothing_before_sqlites_disk_has_it() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    let (tell, on_disk) = OnDisk::channel();
    let mut way = pair.way_told_by(Some(on_disk), 1 << 20);
    let mark = || pair.there("select mark from liteferry.reverse").concat();
    pair.app("insert into t values (1, 'a')");
    assert!(way.step(Take::All, OnMisfit::Ledger).expect("it is taken").is_some());
    pair.app("insert into t values (2, 'b')");
    let (before, at) = (mark(), way.at.seq);
    let settled = way.read_next_beside(|| {
        assert_eq!((mark(), pair.waiting()), (before, "2".into()));
        tell.send(Ok(at)).expect("it is heard");
    });
    settled.expect("the disk has it");
    assert_eq!((mark(), pair.waiting()), (at.to_string(), "1".into()));
}

#[test]
fn what_sqlites_disk_refuses_is_not_forgotten() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    let (tell, on_disk) = OnDisk::channel();
    let mut way = pair.way_told_by(Some(on_disk), 1 << 20);
    pair.app("insert into t values (1, 'a')");
    assert!(way.step(Take::All, OnMisfit::Ledger).expect("it is taken").is_some());
    let refused = way.forget_beside(|| {
        assert_eq!(pair.waiting(), "1");
        let fault = Fault::new(FaultClass::Transient, "source_disk", "sync");
        tell.send(Err(Arc::new(fault))).expect("it is heard");
    });
    assert_eq!((refused.expect_err("the disk has it not").code, pair.waiting()), ("source_disk", "1".into()));
}

/// A process that was killed right after its commit left it in memory alone. PostgreSQL is told where SQLite stands, and forgets.
#[test]
fn where_sqlite_stands_is_on_its_disk_once_that_is_told() {
    let Some(disk) = LateDisk::mount() else { return };
    let path = disk.path().join("source.db");
    let app = application(&path);
    app.execute_batch("pragma journal_mode = wal; create table t (id integer primary key)").expect("made");
    let file = SqliteFile::examine(&path, Duration::from_secs(5)).expect("the source is usable");
    let source = file.open_writer(Duration::from_secs(5)).expect("it can be written");
    capture::arm(&source, &Origin { migration: TOKEN.into(), epoch: 1 }, &[], &|| {})
        .expect("capture is armed");
    control::begin_reverse(&source, BEGIN).expect("the way back is opened");
    let schema = schema_digest(&source).expect("it has a schema");
    let mark = "select reverse_mark from _liteferry_control";
    app.execute_batch("pragma synchronous = off").expect("set");
    let on_disk = || application(&disk.cut().path().join("source.db")).query_row(mark, [], |row| row.get(0));
    let mut committed = 6;
    // Somebody may have every disk of the machine written at any time.
    until("a commit is in memory alone", || {
        committed += 1;
        app.execute("update _liteferry_control set reverse_mark = ?1", [committed]).expect("committed");
        on_disk() != Ok(committed)
    });
    let (mut applier, _) = SqliteApplier::new(file, TOKEN.into(), schema).expect("it can be written");
    let reached =
        Runtime::new().expect("a runtime").block_on(applier.reached()).expect("SQLite stands somewhere");
    assert_eq!((reached.at.seq, on_disk()), (committed, Ok(committed)));
}
