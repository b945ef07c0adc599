//! How long applied changes stay in the source's change table, and that they go however often the daemon is started.

use crate::follow::Case;
use rusqlite::Connection;

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
