//! A backlog that is most of a table: the table is copied anew. Everything else goes key by key.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held::HeldSession;
use crate::support::{application, until};

/// More than a batch of them changes.
const BATCH: &[&str] = &["--set", "follow.max_batch=300"];
const MANY: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, v text unique, n int, at text);
    with recursive many (i) as (select 1 union all select i + 1 from many where i < 3000)
    insert into t select i, 'v' || i, i, datetime(1600000000 + i, 'unixepoch') from many;
    create table pair (a text, b int, v int, primary key (a, b)) without rowid; insert into pair values ('x', 1, 1), ('x', 2, 2);";
/// Unique values move, rows go and come, and two cells are nothing that their columns hold.
const MOST: &str = "update t set v = 'w' || id, n = n + 1 where id % 10 > 0;
    update t set v = 'v' || (id + 10 - 2 * (id % 10)) where id % 10 > 0; delete from t where id % 100 = 0;
    insert into t values (20001, 'new', 1, null), (20002, null, 'word', 'word');
    insert or replace into t values (5, 'v1', 5, '2020-01-01 00:00:00'); update pair set v = v + 1; insert into pair values ('y', 1, 1)";

impl Case {
    fn follows(&self) -> Daemon {
        let mut daemon = self.daemon(BATCH);
        daemon.until(|status| status["phase"] == "dual-write");
        daemon.drained(&self.source);
        daemon
    }

    /// The files of both tables: another one tells that a table was emptied.
    fn files(&self) -> (Option<String>, Option<String>) {
        let sql = "select pg_relation_filenode('t'), pg_relation_filenode('pair')";
        let row = self.rows(sql).remove(0);
        (row[0].clone(), row[1].clone())
    }

    /// What SQLite answers.
    fn number(&self, sql: &str) -> i64 {
        application(&self.source.path).query_row(sql, [], |row| row.get(0)).expect("SQLite answers")
    }

    /// What is written while no daemon runs is caught up with. Tells whether `t` was copied anew for it.
    fn is_renewed_by(&self, sql: &str) -> bool {
        let before = self.files();
        self.app(sql);
        let mut daemon = self.daemon(BATCH);
        daemon.drained(&self.source);
        let after = self.files();
        assert_eq!(before.1, after.1, "few rows of this one changed");
        before.0 != after.0
    }
}

#[test]
fn most_of_a_table_is_caught_up_with_by_copying_it_anew() {
    let case = Case::new(MANY);
    case.follows().stop();
    assert!(case.is_renewed_by(MOST));
    case.is_equal();
    let few = "update t set n = n + 1 where id % 3 = 0; update pair set v = 9";
    assert!(!case.is_renewed_by(few), "a third of its rows");
    let hot = "update t set n = n - 1 where id < 1000;".repeat(4);
    assert!(!case.is_renewed_by(&hot), "a third of its rows, however often");
    case.is_equal();
}

#[test]
fn a_table_that_somebody_reads_is_not_copied_anew() {
    let case = Case::new(MANY);
    case.follows().stop();
    let reader = HeldSession::open(&case.target.url);
    reader.run("begin; select from t limit 1");
    assert!(!case.is_renewed_by(MOST), "somebody reads it");
    reader.run("commit");
    case.is_equal();
    for (percent, renewed) in [(10, false), (0, true)] {
        let mut daemon = case.follows();
        daemon.obeys("/v1/reads", &format!("{{\"percent\": {percent}}}"));
        daemon.stop();
        assert_eq!(
            case.is_renewed_by("update t set n = n + 1"),
            renewed,
            "the application reads {percent} %"
        );
    }
    case.is_equal();
}

#[test]
fn a_table_with_rows_of_others_is_not_copied_anew() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v int); create table pair (a int primary key)",
    );
    case.rows("create table t (id bigint primary key, v bigint); create table pair (a bigint primary key); insert into t values (-1, 7)");
    let merge = ["--set", "target.mode=existing", "--set", "target.existing_rows=merge"];
    let merge = [&merge[..], BATCH].concat();
    let mut daemon = case.daemon(&merge);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();
    let before = case.files();
    case.app("with recursive many (i) as (select 1 union all select i + 1 from many where i < 3000) insert into t select i, i from many");
    let mut daemon = case.daemon(&merge);
    daemon.drained(&case.source);
    assert_eq!(case.files(), before);
    assert_eq!(case.rows("select count(*) from t"), [[Some("3001".to_owned())]]);
}

/// Whoever reads there for long makes writers wait.
#[test]
fn beside_a_rollback_journal_no_table_is_copied_anew() {
    let case = Case::new(&MANY.replace("journal_mode = wal", "journal_mode = delete"));
    let any = [&["--set", "source.journal=any"], BATCH].concat();
    let mut daemon = case.daemon(&any);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();
    let before = case.files();
    case.app(MOST);
    let mut daemon = case.daemon(&any);
    daemon.drained(&case.source);
    assert_eq!(case.files(), before);
    case.is_equal();
}

/// The snapshot of a comparison would see the table empty.
#[test]
fn a_table_that_is_to_be_compared_is_not_copied_anew() {
    let case = Case::new(
        &MANY.replace("create table t ", "create table a (id integer primary key); create table t "),
    );
    let mut daemon = case.follows();
    daemon.until(|status| status["validation"]["verdict"] == "equal");
    let verdicts = "select count(*) from liteferry.verdict where success";
    let before = (case.files(), case.rows(verdicts));
    let reader = HeldSession::open(&case.target.url);
    reader.run("begin; lock table a in access exclusive mode");
    assert_eq!(daemon.post("/v1/validation", "{}").0, 202);
    let waits = "select from pg_locks where not granted and relation = 'a'::regclass";
    daemon.wait_for(|_| (!case.rows(waits).is_empty()).then_some(()));
    case.app("update t set n = n + 1");
    daemon.drained(&case.source);
    assert_eq!(case.files(), before.0);
    reader.run("commit");
    daemon.wait_for(|_| (case.rows(verdicts) != before.1).then_some(()));
    assert!(case.rows("select report::text from liteferry.verdict where not success").is_empty());
}

/// Guards stand there by then, and the way back lies on it at rest.
#[test]
fn a_guarded_table_is_copied_anew_and_none_of_that_comes_back() {
    let case = Case::new(MANY);
    let mut daemon = case.validated(BATCH);
    let before = case.files();
    case.app("update t set n = n + 1; insert into t values (20001, 'new', 1, null)");
    daemon.until(|status| status["lag"]["changes"] == 0 && case.files() != before);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    case.rows("insert into t values (20002, 'newer', 2, null)");
    until("it has come back", || case.number("select count(*) from t where id = 20002") == 1);
    assert_eq!(case.number("select count(*) from t"), 3002);
}

/// The next part is read while the last one is written, and a unique value is taken before its owner gives it up.
#[test]
fn a_backlog_in_parts_arrives_whole() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v int unique);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000) insert into t select i, i from n",
    );
    let in_parts = ["--set", "validate.on=false", "--set", "follow.max_batch=100"];
    let mut daemon = case.daemon(&in_parts);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();
    case.app("update t set v = v + 10000; update t set v = 3001 - id; delete from t where id % 7 = 0");
    // Whoever reads the table keeps it from being copied anew.
    let reader = HeldSession::open(&case.target.url);
    reader.run("begin; select from t limit 1");
    let mut daemon = case.daemon(&in_parts);
    daemon.drained(&case.source);
    daemon.stop();
    case.is_equal();
}
