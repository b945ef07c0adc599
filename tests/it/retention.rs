//! How long applied changes stay in the source's change table, and that they go however often the daemon is started.

use crate::follow::Case;
use crate::support::application;
use rusqlite::{Connection, ErrorCode};
use std::thread::sleep;
use std::time::Duration;

impl Case {
    /// Lines of the change table.
    fn waiting(&self) -> i64 {
        let db = Connection::open(&self.source.path).expect("the application opens its database");
        let count = db.query_row("select count(*) from _liteferry_change", [], |row| row.get(0));
        count.expect("capture is armed")
    }
}

#[test]
fn changes_that_are_old_enough_are_forgotten_however_often_it_is_started() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'a')",
    );
    let retention = ["--set", "source.log_retention=1h"];
    let mut daemon = case.daemon(&retention);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app(
        "with recursive many (i) as (select 2 union all select i + 1 from many where i < 2000) insert into t select i, i from many",
    );
    daemon.drained(&case.source);
    assert!(case.waiting() >= 1999, "they stay for an hour");
    daemon.stop();
    case.rows("update liteferry.mark set applied_at = applied_at - interval '61 minutes'");
    let mut daemon = case.daemon(&retention);
    daemon.wait_for(|_| (case.waiting() < 500).then_some(()));
    assert!(case.waiting() > 0, "the last one stays");
    assert_eq!(case.rows("select count(*) from liteferry.mark"), [[Some("1".to_owned())]]);
    case.app("update t set v = 'b' where id = 7");
    daemon.drained(&case.source);
    case.is_equal();
}

/// As Django, Node and others do it: one connection, `begin`, a look, and then the write. Every second time it begins anew at once, which is
/// when the daemon has something to do; a pruning that knew nothing of that would have every second one refused.
#[test]
fn whoever_reads_first_and_writes_later_is_hardly_ever_refused_because_of_a_pruning() {
    let case = Case::new("pragma journal_mode = wal; create table t (id integer primary key, v text)");
    let mut daemon = case.daemon(&["--set", "source.log_retention=1s"]);
    daemon.until(|status| status["phase"] == "dual-write");
    let db = application(&case.source.path);
    let oldest = || db.query_row("select min(seq) from _liteferry_change", [], |row| row.get::<_, i64>(0));
    let (mut seen, mut pruned, mut refused) = (oldest().expect("capture is armed"), 0, 0);
    for turn in 0.. {
        db.execute_batch("begin; select max(id) from t").expect("it reads");
        sleep(Duration::from_millis(10));
        if let Err(error) = db.execute_batch("insert into t (v) values ('x'); commit") {
            assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy), "{error}");
            refused += 1;
            db.execute_batch("rollback").expect("it begins anew");
        }
        let now = oldest().expect("capture is armed");
        pruned += u32::from(std::mem::replace(&mut seen, now) != now);
        if turn % 2 == 0 {
            sleep(Duration::from_millis(10));
        }
        if pruned == 16 {
            break;
        }
        assert!(turn < 5_000, "it was pruned {pruned} times only");
    }
    assert!(refused <= 3, "{refused} of {pruned} prunings had a transaction refused");
    daemon.drained(&case.source);
    case.is_equal();
}
