//! The writes move to PostgreSQL, and back: what each side takes, what each side holds, and that nothing is lost on the way.

use crate::follow::Case;
use crate::support::begins::Begins;
use crate::support::daemon::Daemon;
use crate::support::{application, finished, postgres_major, try_psql};
use serde_json::{Value, json};
use std::time::Duration;

const SHOP: &str = "pragma journal_mode = wal;
    create table customer (id integer primary key autoincrement, email text unique not null, name text);
    create table item (code text not null primary key, price real, stock int) without rowid;
    create table line (order_id int not null references customer (id) on delete cascade, item text not null, n int, primary key (order_id, item));
    insert into customer values (1, 'ann@x', 'Ann'), (2, 'bob@x', 'Bob'), (30, 'gone', null);
    delete from customer where id = 30;
    insert into item values ('a', 1.5, 3), ('b', -0.0, null);
    insert into line values (1, 'a', 2), (1, 'b', 1);";

impl Case {
    /// Follows, and has compared everything.
    pub fn validated(&self, more: &[&str]) -> Daemon {
        let mut daemon = self.daemon(more);
        daemon.until(|status| status["phase"] == "dual-write");
        daemon.validate();
        daemon
    }

    fn takes_sqlite(&self, sql: &str) -> Result<(), String> {
        application(&self.source.path).execute_batch(sql).map_err(|error| error.to_string())
    }
}

impl Daemon {
    fn validate(&mut self) {
        self.obeys("/v1/phase", r#"{"to":"validate"}"#);
        self.until(|status| {
            status["validation"]["verdict"].is_string() && status["gates"]["switch"]["open"] == true
        });
    }

    /// From validate, with the way back open.
    fn switch(&mut self) {
        self.obeys("/v1/phase", r#"{"to":"switch"}"#);
        self.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    }
}

#[test]
fn the_writes_move_to_postgres_and_back_and_nothing_is_lost() {
    let case = Case::new(SHOP);
    let mut daemon = case.validated(&[]);
    // Somebody replicates the whole database: PostgreSQL then refuses to delete from what has no replica identity, ours too.
    case.rows("create publication everything for all tables");
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["routing"]["writes"] == "postgres");
    let refused = case.takes_sqlite("insert into customer (email) values ('late')").unwrap_err();
    assert!(refused.contains("the writes have moved to PostgreSQL"), "{refused}");
    // The first row of each table gets a fresh key, of which its session is told whichever way it asks, and the constraints are awake.
    let rows = case
        .rows("insert into customer (email, name) values ('dora@x', 'Dora') returning id; select lastval()");
    assert_eq!(rows, [[Some("31".to_owned())], [Some("31".to_owned())]]);
    case.rows("update item set price = 9.25 where code = 'b'; insert into item values ('c', 0.1, 7), ('z', '-0', 0); delete from customer where id = 1");
    assert_eq!(case.rows("select count(*) from line"), [[Some("0".to_owned())]], "ON DELETE CASCADE is back");
    daemon.until(|status| status["reverse"]["changes"] == 0);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    let status =
        daemon.until(|status| status["phase"] == "dual-write" && status["routing"]["writes"] == "sqlite");
    assert_eq!(status["reverse"], Value::Null, "a way back that is over is not behind: {status:#}");
    case.takes_sqlite(
        "insert into customer (email) values ('eve@x'); update item set stock = 1 where code = 'c'",
    )
    .unwrap();
    daemon.drained(&case.source);
    let db = application(&case.source.path);
    let held: String = db
        .query_row(
            "select group_concat(id || ' ' || email, ';') from (select * from customer order by id)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(held, "2 bob@x;31 dora@x;32 eve@x");
    let price: f64 = db.query_row("select price from item where code = 'b'", [], |row| row.get(0)).unwrap();
    assert_eq!(price, 9.25);
    case.is_equal();
    // PostgreSQL takes no writes of the application any more.
    let refused = crate::support::refused_by(&case.target.url, "insert into item values ('x', 1, 1)");
    assert!(refused.contains("takes no writes"), "{refused}");
}

/// In a hurry: nothing has been compared, and nobody has looked for orphans.
#[test]
fn a_switch_right_behind_validate_is_not_refused_for_what_nobody_has_looked_at() {
    let case = Case::new(SHOP);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let typed = |args: &[&str]| finished(daemon.client(args).output().expect("it runs"));
    typed(&["phase", "validate", "--wait"]).exits_with(0);
    let gates = typed(&["gates", "--to", "switch", "--json"]).json();
    let unknown = |gate: &&Value| gate["known"] != true;
    let all = gates["gates"].as_array().expect("a list");
    assert_eq!(all.iter().find(unknown), None, "{gates:#}");
    typed(&["phase", "switch", "--yes", "--wait"]).exits_with(0);
    let gates = typed(&["gates", "--to", "dual-write", "--json"]).exits_with(0).json();
    assert_eq!(gates["open"], true, "{gates:#}");
}

/// Words for them come to SQLite; what PostgreSQL alone can spell must be there after any number of crossings.
#[test]
fn values_that_sqlite_cannot_spell_outlive_a_rollback() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, d date, n numeric, f real, note text);
         insert into t values (1, '2024-01-02', 1.5, 0.5, 'a'), (2, '2024-01-03', 2.5, 1.5, 'b')",
    );
    let mut daemon = case.validated(&[]);
    daemon.switch();
    // No `numeric` is infinite before.
    let beyond = if postgres_major() < 14 { "NaN" } else { "Infinity" };
    case.rows(&format!(
        "insert into t values (10, 'infinity', 'NaN', 'NaN', 'c'), (11, '-infinity', 12345678901234567890.12, 'Infinity', 'd'),
             (12, '0044-03-15 BC', '{beyond}', 3.5, 'e'); update t set d = 'infinity' where id = 2"
    ));
    daemon.until(|status| status["reverse"]["changes"] == 0);
    let values = "select id, d, n, f from t order by id";
    let before = case.rows(values);
    for written in ["'f'", "'g'"] {
        daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
        daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
        // Whatever else of their rows is written.
        case.app(&format!("update t set note = {written}"));
        daemon.drained(&case.source);
        assert_eq!(case.rows(values), before);
        let repaired = daemon.compared(r#"{"repair": true}"#);
        assert_eq!(
            (&repaired["verdict"], &repaired["read_again"]),
            (&json!("equal"), &json!(0)),
            "{repaired:#}"
        );
        case.is_equal();
        daemon.validate();
        daemon.switch();
        assert_eq!(case.rows(values), before);
    }
}

/// What is to be read again is named in the change table.
#[test]
fn a_rollback_reads_again_what_came_back_and_not_all_that_the_ledger_has() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, d date, note text);
         insert into t values (1, '2024-01-02', 'a'), (2, '2024-01-03', 'b')",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app(
        "with n(id) as (select 1000 union all select id + 1 from n where id < 2999)
         insert into t select id, '2024-01-04', 'zero' || char(0) || id from n",
    );
    daemon.drained(&case.source);
    assert_eq!(case.rows("select count(*) from liteferry.ledger"), [[Some("2000".to_owned())]]);
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.obeys("/v1/ledger/all", r#"{"action":"accept"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    daemon.switch();
    case.rows("update t set d = '0044-03-15 BC' where id = 2");
    daemon.until(|status| status["reverse"]["changes"] == 0);
    let newest = |db: &rusqlite::Connection| -> i64 {
        db.query_row("select max(seq) from _liteferry_change", [], |row| row.get(0)).unwrap()
    };
    let db = application(&case.source.path);
    let before = newest(&db);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    daemon.drained(&case.source);
    case.is_equal();
    let named: i64 = db
        .query_row(
            "select count(distinct k0) from _liteferry_change where seq > ?1 and tbl <> 0",
            [before],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(named, 1, "of {} lines", newest(&db) - before);
}

/// One of its cells alone says nothing of a row that PostgreSQL does not hold.
#[test]
fn a_row_that_is_held_back_is_accepted_as_a_whole() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, note text not null, more text);
         insert into t values (1, 'a', 'b')",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("insert into t values (2, 'zero' || char(0), 'x'), (3, 'zero' || char(0), null)");
    daemon.drained(&case.source);
    let open = "select key, count(*) from liteferry.ledger where accepted is null and standing = 'row-held' group by 1 order by 1";
    let told = |key: &str| vec![Some(key.to_owned()), Some("3".to_owned())];
    assert_eq!(case.rows(open), [told("[2]"), told("[3]")]);
    let entry = case.rows("select max(id) from liteferry.ledger where key = '[2]'").remove(0).remove(0);
    daemon.obeys(&format!("/v1/ledger/{}", entry.expect("it is held back")), r#"{"action":"accept"}"#);
    assert_eq!(case.rows(open), [told("[3]")]);
}

#[test]
fn a_switch_waits_for_no_entry_of_a_reason_that_is_accepted_beforehand() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, at datetime, note text);
         insert into t values (1, '2024-01-02 03:04:05.123456', 'a'), (2, '2024-01-02 03:04:06.123456', 'b')",
    );
    let mut daemon = case.daemon(&["--set", "misfits.accept=precision"]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("insert into t values (3, '2024-01-02 03:04:07.123456789', 'zero' || char(0))");
    daemon.drained(&case.source);
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    let gates = finished(daemon.client(&["gates", "--to", "switch", "--json"]).output().unwrap()).json();
    let gate = gates["gates"].as_array().unwrap().iter().find(|gate| gate["name"] == "ledger").unwrap();
    assert_eq!(gate["reading"], "1 entry open");
    case.app("update t set note = 'c' where id = 3");
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    let ledger = case.rows("select reason, standing, accepted from liteferry.ledger");
    assert_eq!(ledger, [[Some("precision".to_owned()), Some("kept".to_owned()), None]]);
    daemon.switch();
    case.rows("update t set note = 'd' where id = 3");
    let db = application(&case.source.path);
    let at = || {
        db.query_row("select at from t where id = 3 and note = 'd'", [], |row| row.get::<_, String>(0)).ok()
    };
    assert_eq!(daemon.wait_for(|_| at()), "2024-01-02 03:04:07.123456789");
}

#[test]
fn a_row_that_is_held_back_whole_is_accepted_by_no_reason() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (at datetime primary key, note text);
         insert into t values ('2024-01-02 03:04:05.123456', 'a'), ('2024-01-02 03:04:06.123456', 'b')",
    );
    let mut daemon = case.validated(&["--set", "misfits.accept=precision"]);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    case.app("insert into t values ('2024-01-02 03:04:07.123456789', 'c')");
    daemon.until(|status| status["gates"]["switch"]["closed"] == serde_json::json!(["ledger"]));
    let held = "select distinct reason, standing from liteferry.ledger";
    assert_eq!(case.rows(held), [[Some("precision".to_owned()), Some("row-held".to_owned())]]);
    daemon.refuses("/v1/phase", r#"{"to":"switch"}"#, "gates_closed");
}

/// Somebody's hand in the change table: what it names next is further off than a batch goes.
#[test]
fn a_switch_that_cannot_bring_the_target_to_the_last_change_does_not_happen() {
    let case = Case::new(SHOP);
    let mut daemon = case.validated(&["--set", "follow.max_batch=100"]);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    case.app(
        "begin; with recursive number (n) as (select 1 union all select n + 1 from number where n < 150)
             insert into line select 2, n, n from number;
         delete from _liteferry_change where seq in (select seq from _liteferry_change order by seq desc limit 149 offset 1);
         commit",
    );
    let told = daemon.client(&["phase", "switch", "--yes", "--wait", "--json"]).output().unwrap();
    let told = finished(told).exits_with(1).json();
    assert_eq!(told["answer"]["refused"]["code"], "not_drained", "{told:#}");
    assert_eq!(told["phase"], "validate");
    case.takes_sqlite("update customer set name = 'still here'").expect("nothing happened");
}

/// The writer has one table in hand and waits for one that is locked for the rollback, which waits for the writer's.
#[test]
fn a_rollback_lets_a_writer_of_several_tables_end_what_it_has_begun() {
    let case = Case::new(
        "pragma journal_mode = wal; create table a (id integer primary key, n int);
         create table z (id integer primary key, n int); insert into a values (1, 0); insert into z values (1, 0)",
    );
    let mut daemon = case.validated(&[]);
    daemon.switch();
    let url = case.target.url.clone();
    let writer = std::thread::spawn(move || {
        let sql = "begin; update z set n = n + 1; select pg_sleep(0.2); update a set n = n + 1; commit";
        loop {
            if let Err(refused) = try_psql(&url, sql) {
                return refused;
            }
        }
    });
    daemon.wait_for(|_| (case.rows("select n from a") != [[Some("0".to_owned())]]).then_some(()));
    finished(daemon.client(&["rollback", "--yes", "--wait"]).output().unwrap()).exits_with(0);
    let refused = writer.join().unwrap();
    assert!(refused.contains("takes no writes here"), "{refused}");
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn the_log_stays_bounded_while_postgres_is_written_beside_a_connection_that_the_application_leaves_open() {
    let case = Case::new(SHOP);
    let mut daemon = case.validated(&[]);
    let left_open = rusqlite::Connection::open(&case.source.path).unwrap();
    left_open.query_row("select count(*) from item", [], |_| Ok(())).unwrap();
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    let name =
        "select string_agg(md5(n::text || clock_timestamp()::text), '') from generate_series(1, 300000) n";
    let applied = |status: &Value| status["reverse"]["applied"].as_u64();
    for _ in 0..8 {
        let before = applied(&daemon.until(|status| applied(status).is_some()));
        case.rows(&format!("update customer set name = ({name}) where id = 2"));
        daemon.until(|status| applied(status) > before);
    }
    let log = std::fs::metadata(case.source.path.with_extension("db-wal")).unwrap().len();
    assert!(log < 48 << 20, "{log} bytes of log after 75 MiB of writes");
    drop(left_open);
}

#[test]
fn constraints_that_rows_hold_to_are_validated_after_the_switch() {
    let case = Case::new(SHOP);
    let mut daemon = case.validated(&[]);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    let validated = "select conname from pg_constraint where contype = 'f' and convalidated and conrelid = 'line'::regclass";
    daemon.until(|status| status["phase"] == "switch" && case.rows(validated).len() == 1);
    // A cleanup that comes before they were proved leaves none behind.
    case.rows(
        "do $$ declare c record; begin
             select conname, pg_get_constraintdef(oid) as def into c from pg_constraint where contype = 'f' and conrelid = 'line'::regclass;
             execute format('alter table line drop constraint %I', c.conname);
             execute format('alter table line add constraint %I %s not valid', c.conname, c.def);
         end $$",
    );
    assert!(case.rows(validated).is_empty());
    let confirm = r#"{"to":"cleanup","confirm":"source.db"}"#;
    daemon.obeys("/v1/phase", confirm);
    daemon.until(|status| status["phase"] == "done");
    assert_eq!(case.rows(validated).len(), 1, "{}", daemon.log());
}

#[test]
fn rows_that_break_a_foreign_key_close_a_gate() {
    let case = Case::new(&format!("{SHOP} insert into line values (77, 'a', 1);"));
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    let shut = |status: &Value| {
        status["gates"]["switch"]["closed"]
            .as_array()
            .is_some_and(|gates| gates.iter().any(|gate| gate == "constraints"))
    };
    daemon.until(shut);
    daemon.refuses("/v1/phase", r#"{"to":"switch"}"#, "gates_closed");
    case.app("delete from line where order_id = 77");
    daemon.until(|status| !shut(status));
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
}

/// Each table changed lately is compared under the fence: were one asked about after the other, this many would outlast the deadline.
#[test]
fn a_switch_far_away_waits_for_its_answers_together() {
    const TABLES: u32 = 60;
    let each = |sql: fn(u32) -> String| (0..TABLES).map(sql).collect::<String>();
    let tables = each(|n| format!("create table t{n} (id integer primary key, v text);"));
    let case = Case::new(&format!("pragma journal_mode = wal; {tables}"));
    let begins = Begins::before(&case.target.url);
    let set = ["--set", "switch.deadline_ms=2000", "--set", "switch.pause_budget_ms=1900"];
    let mut daemon = Daemon::start(&case.source, &begins.url(&case.target.name), &set);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app(&each(|n| format!("insert into t{n} values (1, 'a');")));
    // A pause is foretold from what the last batches took.
    for id in 2..10 {
        daemon.drained(&case.source);
        case.app(&format!("insert into t0 values ({id}, 'b')"));
    }
    daemon.validate();
    begins.delay_answers(Duration::from_millis(15));
    let refused = daemon.refusal("/v1/phase", r#"{"to":"switch"}"#);
    assert!(refused.is_none(), "{refused:?}");
    case.takes_sqlite("insert into t0 values (99, 'late')").unwrap_err();
}
