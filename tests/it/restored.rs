//! Backups put in the place of either side, whose rows are of other states than the records of the other one say. None goes unnoticed.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{application, database, liteferry, psql, sqlite, try_psql};
use rusqlite::functions::{Context, FunctionFlags};
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;

/// Rows of `first` and `last` that the target's integer columns cannot hold stop a backfill on both sides of `middle`.
const THREE: &str = "pragma journal_mode = wal;
    create table first (id integer primary key, n); insert into first values (1, 'no number');
    create table middle (id integer primary key, n); insert into middle values (1, 1);
    create table last (id integer primary key, n); insert into last values (1, 'no number')";
const TARGET: &str = "create table first (id bigint primary key, n integer);
    create table middle (id bigint primary key, n integer);
    create table last (id bigint primary key, n integer)";
/// One table after the other, until a cell does not fit.
const STRICT: &[&str] =
    &["--set", "target.mode=existing", "--set", "misfits.policy=halt", "--set", "backfill.workers=1"];

#[test]
fn a_backup_that_comes_back_between_two_chunks_of_the_backfill_is_noticed() {
    let case = Case::new(THREE);
    psql(&case.target.url, TARGET);
    let mut daemon = case.daemon(STRICT);
    assert_eq!(daemon.halted(), "misfit");
    daemon.stop();
    let backup = case.backup();
    case.app("insert into middle values (2, 2); update first set n = 1");
    let mut daemon = case.daemon(STRICT);
    assert_eq!(daemon.halted(), "misfit");
    daemon.stop();
    assert_eq!(case.rows("select count(*) from middle")[0][0].as_deref(), Some("2"), "it is loaded");

    case.restore(&backup);
    case.app("update first set n = 1; update last set n = 1");
    for more in ["", "update last set n = 2; update first set n = 2; update last set n = 3"] {
        case.app(more);
        let mut daemon = case.daemon(STRICT);
        let code = daemon.halted();
        assert!(["history_fork", "seq_regressed"].contains(&code.as_str()), "{code}");
        daemon.stop();
    }
    let mut daemon = case.daemon(&[STRICT, &["--resync"]].concat());
    case.resynced(&mut daemon);
    case.is_equal();
}

#[test]
fn a_backup_that_comes_back_between_two_parts_of_a_backlog_is_noticed() {
    // The backlog is little of the table, or it would be copied anew and not be taken in parts.
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, n);
         insert into t values (1, 0), (2, 0);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 500) insert into t select i + 1000, 0 from n",
    );
    psql(&case.target.url, "create table t (id bigint primary key, n integer)");
    let strict = [STRICT, &["--set", "follow.max_batch=100"]].concat();
    let mut daemon = case.daemon(&strict);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.drained(&case.source);
    daemon.stop();
    // A first part of the backlog, all of which the backup knows; behind it a row of the first part again, and one that stops it.
    let busy = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 99)
                insert into t select i + 100, i from n";
    case.app(&format!("update t set n = 1 where id = 1; {busy}"));
    let backup = case.backup();
    case.app("update t set n = 2 where id = 1; update t set n = 'no number' where id = 2");
    let mut daemon = case.daemon(&strict);
    assert_eq!(daemon.halted(), "misfit");
    daemon.stop();
    assert_eq!(case.rows("select n from t where id = 1")[0][0].as_deref(), Some("2"), "a part was applied");

    case.restore(&backup);
    let mut daemon = case.daemon(&strict);
    assert_eq!(daemon.halted(), "seq_regressed");
    daemon.stop();
    case.app(
        "update t set n = 7 where id = 2; update t set n = 8 where id = 2; delete from t where id = 102",
    );
    let mut daemon = case.daemon(&strict);
    assert_eq!(daemon.halted(), "history_fork");
    daemon.stop();
    let mut daemon = case.daemon(&[&strict[..], &["--resync"]].concat());
    case.resynced(&mut daemon);
    case.is_equal();
}

/// An application that speaks PostgreSQL to SQLite (Tryton) has a `random()` of its own, which gives floats: our triggers, that run in its
/// connection, draw theirs from it.
#[test]
fn an_application_with_a_random_of_its_own_is_followed_and_its_backup_noticed() {
    let case = Case::new("pragma journal_mode = wal; create table t (id integer primary key, n integer)");
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let drawn = std::sync::atomic::AtomicU32::new(1);
    let app = application(&case.source.path);
    let next = move |_: &Context<'_>| Ok(1.0 / f64::from(drawn.fetch_add(1, Ordering::Relaxed) + 1));
    app.create_scalar_function("random", 0, FunctionFlags::SQLITE_UTF8, next).expect("a function is taken");
    app.execute_batch("insert into t values (1, 1); update t set n = 2").expect("the application writes");
    daemon.drained(&case.source);
    let backup = case.backup();
    app.execute_batch("update t set n = 3").expect("the application writes");
    daemon.drained(&case.source);
    daemon.stop();
    case.is_equal();

    case.restore(&backup);
    let again = application(&case.source.path);
    again
        .create_scalar_function("random", 0, FunctionFlags::SQLITE_UTF8, |_| Ok(0.75))
        .expect("a function is taken");
    again.execute_batch("update t set n = 4").expect("the application writes");
    let mut daemon = case.daemon(&[]);
    assert_eq!(daemon.halted(), "history_fork");
}

#[test]
fn records_that_are_gone_are_missed_and_nothing_is_begun_in_their_place() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'a')",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    // It may be in the way of what the daemon looks at, and then nothing of it happens.
    daemon.wait_for(|_| try_psql(&case.target.url, "drop schema liteferry cascade; drop table t").ok());
    case.app("insert into t values (2, 'b')");
    daemon.until(|status| status["run"]["reason"]["code"] == "follow_missing");
    daemon.stop();
    let mut daemon = case.daemon(&[]);
    assert_eq!(daemon.halted(), "capture_other_migration");
    let begun = "select to_regnamespace('liteferry'), to_regclass('t')";
    assert_eq!(case.rows(begun), [[None, None]], "nothing was written");
}

const PLAIN: &str = "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b')";

impl Case {
    /// As PostgreSQL's own tools would, while nobody is connected.
    fn copy_target(&self) {
        let name = &self.target.name;
        psql(&self.server(), &format!("create database {name}_copy template {name}"));
    }

    fn restore_target(&self) {
        let name = &self.target.name;
        psql(&self.server(), &format!("drop database {name} with (force)"));
        psql(&self.server(), &format!("create database {name} template {name}_copy"));
    }

    fn server(&self) -> String {
        self.target.url.replace(&self.target.name, "postgres")
    }

    fn in_sqlite(&self, sql: &str) -> Option<String> {
        application(&self.source.path).query_row(sql, [], |row| row.get(0)).expect("a row")
    }
}

impl Daemon {
    fn switched(&mut self) {
        self.obeys("/v1/phase", r#"{"to":"switch"}"#);
        self.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    }
}

#[test]
fn a_backup_from_after_the_switch_is_noticed_once_the_writes_are_back_in_sqlite() {
    // What the file lacks was written to PostgreSQL, or only to SQLite after the rollback.
    for later in ["insert into t values (4, 'postgres')", "select 1"] {
        let case = Case::new(PLAIN);
        let mut daemon = case.validated(&[]);
        daemon.switched();
        case.rows("insert into t values (3, 'postgres')");
        daemon.until(|status| {
            status["reverse"]["applied"].as_u64() > Some(0) && status["reverse"]["changes"] == 0
        });
        daemon.stop();
        let backup = case.backup();
        let mut daemon = case.daemon(&[]);
        daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
        case.rows(later);
        daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
        daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
        case.app("insert into t (v) values ('sqlite again')");
        daemon.drained(&case.source);
        daemon.stop();

        let all = case.rows("select count(*) from t");
        case.restore(&backup);
        let mut daemon = case.daemon(&[]);
        assert_eq!(daemon.halted(), "history_fork");
        let refused = application(&case.source.path).execute("insert into t (v) values ('x')", []);
        assert!(refused.is_err(), "it stays closed");
        daemon.stop();
        assert_eq!(case.rows("select count(*) from t"), all, "nothing happened");
        let mut daemon = case.daemon(&["--resync"]);
        daemon.until(|status| status["validation"]["verdict"] == "equal");
        case.is_equal();
    }
}

#[test]
fn a_postgres_from_before_the_switch_is_not_taken_for_the_one_that_was_written() {
    let case = Case::new(PLAIN);
    let daemon = case.validated(&[]);
    daemon.stop();
    case.copy_target();
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    daemon.switched();
    case.rows("insert into t values (3, 'postgres')");
    daemon
        .until(|status| status["reverse"]["applied"].as_u64() > Some(0) && status["reverse"]["changes"] == 0);
    daemon.stop();

    case.restore_target();
    let mut daemon = case.daemon(&[]);
    assert_eq!(daemon.halted(), "switch_forgotten");
    let routing = daemon.get("/v1/routing").expect("it answers");
    assert!(routing.1.contains("paused"), "nobody is sent there: {}", routing.1);
    let refused = try_psql(&case.target.url, "insert into t values (4, 'x')").expect_err("it stays closed");
    assert!(refused.contains("25006"), "{refused}");
    daemon.stop();
    let mut daemon = case.daemon(&["--resync"]);
    case.resynced(&mut daemon);
    case.is_equal();
    assert_eq!(case.in_sqlite("select v from t where id = 3").as_deref(), Some("postgres"));
}

#[test]
fn a_postgres_that_lost_the_switch_and_nothing_else_is_opened() {
    let case = Case::new(PLAIN);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.drained(&case.source);
    daemon.stop();
    case.copy_target();
    let mut daemon = case.daemon(&[]);
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    case.app("insert into t values (3, 'sqlite')");
    daemon.switched();
    daemon.stop();

    case.restore_target();
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "switch" && status["routing"]["writes"] == "postgres");
    case.rows("insert into t values (4, 'postgres')");
    daemon
        .until(|status| status["reverse"]["applied"].as_u64() > Some(0) && status["reverse"]["changes"] == 0);
    assert_eq!(case.rows("select v from t where id = 3"), [[Some("sqlite".to_owned())]]);
    assert_eq!(case.in_sqlite("select v from t where id = 4").as_deref(), Some("postgres"));
}

#[test]
fn records_that_are_gone_after_the_switch_have_nobody_empty_postgres() {
    let case = Case::new(PLAIN);
    let mut daemon = case.validated(&[]);
    daemon.switched();
    daemon.wait_for(|_| try_psql(&case.target.url, "drop schema liteferry cascade").ok());
    for code in ["follow_missing", "capture_other_migration"] {
        let status = daemon.until(|status| status["run"]["reason"]["code"] == code);
        let remedy = status["run"]["reason"]["remedy"].to_string();
        assert!(remedy.contains("detach --open-sqlite") && !remedy.contains("empty"), "{remedy}");
        daemon.stop();
        daemon = case.daemon(&[]);
    }
    daemon.stop();
    let source = case.source.path.display().to_string();
    liteferry(&["detach", "--open-sqlite", "--yes", "--source", &source]).exits_with(0);
    case.rows("insert into t values (3, 'goes on')");
}

/// As a release does whose directory is what `current` leads to.
#[test]
fn a_link_that_is_turned_to_another_file_is_refused() {
    for turned in ["releases", "source.db"] {
        let mut source = sqlite("pragma journal_mode = wal; create table t (id integer primary key)");
        let dir = source.path.parent().expect("a file lies somewhere").to_owned();
        let at = |name: &str| dir.join(name);
        std::fs::create_dir_all(at("1")).expect("a directory can be made");
        std::fs::rename(&source.path, at("1/source.db")).expect("a file can be moved");
        std::fs::create_dir_all(at("2")).expect("a directory can be made");
        std::fs::copy(at("1/source.db"), at("2/source.db")).expect("a file can be copied");
        let link = |to: &str| {
            let to = if turned == "source.db" { format!("{to}/source.db") } else { to.to_owned() };
            symlink(to, at("link")).expect("a link can be made");
            std::fs::rename(at("link"), at(turned)).expect("and turned");
        };
        link("1");
        source.path = if turned == "source.db" { at(turned) } else { at("releases/source.db") };
        let case = Case { source, target: database() };
        let mut daemon = Daemon::start_in(&dir, &case.source, &case.target.url, &[]);
        daemon.until(|status| status["phase"] == "dual-write");
        case.app("insert into t values (1)");
        daemon.drained(&case.source);

        link("2");
        case.app("insert into t values (2)");
        assert_eq!(daemon.halted(), "file_replaced", "{turned}");
        link("1");
        daemon.stop();
        let mut daemon = Daemon::start_in(&dir, &case.source, &case.target.url, &[]);
        daemon.until(|status| status["phase"] == "dual-write");
        daemon.drained(&case.source);
        case.is_equal();
    }
}
