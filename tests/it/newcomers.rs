//! What somebody puts on PostgreSQL's tables while they are followed: what disturbs is taken away until the switch and given back, what refuses
//! rows sends them to the ledger, what refuses all of them halts by name; and nothing of a row is lost.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held::HeldSession;
use crate::support::held_ddl::HeldDdl;
use crate::support::{OwnServer, TestDatabase, psql, sqlite, until};
use serde_json::Value;

const SOURCE: &str = "pragma journal_mode = wal;
    create table a (id integer primary key, v text);
    create table child (id integer primary key, parent int, v text);
    create table parent (id integer primary key, v text);
    insert into a values (1, 'a');
    insert into parent values (1, 'one'), (2, 'two');
    insert into child values (10, 1, 'x'), (11, 1, 'y'), (20, 2, 'z')";

const KEY: &str =
    "alter table child add constraint newcomer foreign key (parent) references parent on delete cascade";
const STANDS: &str = "select 1 from pg_constraint where conname = 'newcomer'";
const KEPT: &str = "select 1 from liteferry.suspended where restore like '%newcomer%'";
const SUSPECTS: &str = "select 1 from liteferry.captured where suspect";
const LEDGER: &str = "select distinct source_table, reason from liteferry.ledger order by 1, 2";

impl Case {
    /// It is away, the words that give it back are kept, and what it may have done is mended.
    #[track_caller]
    fn is_without_it(&self, daemon: &mut Daemon) {
        daemon.until(|_| self.rows(STANDS).is_empty() && !self.rows(KEPT).is_empty());
        daemon.until(|_| self.rows(SUSPECTS).is_empty());
        daemon.drained(&self.source);
        self.is_equal();
        assert!(self.rows(LEDGER).is_empty(), "{:?}\n{}", self.rows(LEDGER), daemon.log());
    }
}

#[test]
fn a_foreign_key_that_cascades_is_taken_away_until_the_switch_and_what_it_deleted_comes_again() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(&case.target.url, KEY);
    case.app("update parent set v = v || '!'");
    case.is_without_it(&mut daemon);
    let told = case.rows("select detail from liteferry.journal where what = 'suspended'");
    assert!(
        told[0][0].as_deref().is_some_and(|told| told.contains("\"newcomer\" of public.child")),
        "{told:?}"
    );
    let metrics = daemon.get("/metrics").expect("it answers").1;
    assert!(metrics.contains("code=\"target_disturbed\""), "{metrics}");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch");
    case.rows("delete from parent where id = 1");
    assert_eq!(case.rows("select count(*) from child"), [[Some("1".to_owned())]], "it cascades again");
}

/// Nobody looks for it by himself any more, and the rows that it deletes are none of those that changed last.
#[test]
fn what_is_put_on_a_table_as_the_switch_begins_keeps_the_writes_where_they_are() {
    let case = Case::new(SOURCE);
    let [begun, go] = ["begun", "go"].map(|name| case.source.path.with_file_name(name));
    let hook = format!("touch '{}'; until [ -e '{}' ]; do sleep 0.02; done", begun.display(), go.display());
    let hook = format!("hooks.before_switch={hook}");
    let mut daemon = case.validated(&["--set", &hook, "--set", "hooks.timeout_ms=600000"]);
    let order = daemon.post("/v1/phase", r#"{"to":"switch"}"#).1["order"].as_i64();
    until("the switch has begun", || begun.exists());
    psql(&case.target.url, KEY);
    case.app("update parent set v = v || '!'");
    std::fs::write(&go, "").expect("the hook is let go of");
    let refused = daemon.until(|status| status["answer"]["order"].as_i64() >= order);
    assert_eq!(refused["answer"]["refused"]["code"], "target_disturbed", "{refused:#}");
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["run"]["state"] == "running");
    assert_eq!(case.rows("select count(*) from child"), [[Some("3".to_owned())]], "{}", daemon.log());
    assert!(!case.rows(STANDS).is_empty(), "it is given back");
}

/// Somebody has one of two tables and asks for the other, which was taken hold of first.
#[test]
fn what_is_taken_away_from_two_tables_ends_in_no_deadlock() {
    let case = Case::new(SOURCE);
    // A little less than it takes by default, so that there is no doubt who is first.
    let sooner = "do $$ begin execute format('alter database %I set deadlock_timeout = %L', current_database(), '800ms'); end $$";
    psql(&case.target.url, sooner);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let somebody = HeldSession::open(&case.target.url);
    somebody.run("set deadlock_timeout = '60s'; begin; select from child");
    let trigger =
        "create function newcomer() returns trigger language plpgsql as $$ begin return new; end $$;
         create trigger newcomer before insert on a for each row execute function newcomer()";
    psql(&case.target.url, &format!("{trigger}; {KEY}"));
    let held = "select 1 from pg_locks where relation = 'a'::regclass and mode = 'ShareRowExclusiveLock' and granted";
    daemon.until(|_| !case.rows(held).is_empty());
    somebody.run("lock table a in row exclusive mode; commit");
    case.is_without_it(&mut daemon);
    let metrics = daemon.get("/metrics").expect("it answers").1;
    assert!(metrics.contains("code=\"lock_timeout\"") && !metrics.contains("code=\"deadlock\""), "{metrics}");
}

#[test]
fn a_trigger_that_changes_or_refuses_rows_is_taken_away_and_its_rows_come_again() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    for (at, body) in
        ["new.v := 'meddled'", "raise exception 'not here'", "delete from public.a"].into_iter().enumerate()
    {
        psql(
            &case.target.url,
            &format!(
                "create function newcomer{at}() returns trigger language plpgsql as $$ begin {body}; return new; end $$;
                 create trigger newcomer before insert on parent for each row execute function newcomer{at}()"
            ),
        );
        case.app(&format!("update parent set v = 'as SQLite has it, {at}'"));
        let awake = "select 1 from pg_trigger where tgname = 'newcomer' and tgenabled <> 'D'";
        daemon.until(|_| case.rows(awake).is_empty());
        case.is_without_it(&mut daemon);
        // It is somebody's to drop; the words that would wake it go with it.
        psql(&case.target.url, "drop trigger newcomer on parent; delete from liteferry.suspended");
    }
}

#[test]
fn a_foreign_key_that_comes_while_rows_are_loaded_sends_none_to_the_ledger() {
    let case = Case::new(SOURCE);
    let held = HeldDdl::loads_of(&case.target.url, "public.a");
    let mut daemon = case.daemon(&["--set", "backfill.workers=1"]);
    held.is_met();
    // The keys of the tables that are loaded come after their rows.
    psql(
        &case.target.url,
        "create table elsewhere (id bigint primary key);
         alter table child add constraint newcomer foreign key (parent) references elsewhere",
    );
    held.let_go();
    daemon.until(|status| status["phase"] == "dual-write");
    case.is_without_it(&mut daemon);
}

#[test]
fn a_rule_that_refuses_rows_keeps_them_in_the_ledger_until_it_is_gone_and_they_are_asked_for() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(
        &case.target.url,
        "alter table parent alter column v set not null; create unique index newcomer on child (v);
         alter table a add constraint newcomer check (v <> 'b')",
    );
    case.app("update parent set v = null where id = 1; update child set v = 'same'; update a set v = 'b'");
    daemon.drained(&case.source);
    let held = |table: &str, reason: &str| vec![Some(table.to_owned()), Some(reason.to_owned())];
    let expected = [
        held("a", "refused:23514:newcomer"),
        held("child", "refused:23505:newcomer"),
        held("parent", "refused:23502:v"),
    ];
    assert_eq!(case.rows(LEDGER), expected, "{}", daemon.log());
    case.is_equal();
    for name in ["newcomer", "parent"] {
        assert!(daemon.log().contains(name), "{}", daemon.log());
    }
    psql(
        &case.target.url,
        "alter table parent alter column v drop not null; drop index newcomer; alter table a drop constraint newcomer",
    );
    daemon.obeys("/v1/ledger/all", r#"{"action": "retry"}"#);
    daemon.drained(&case.source);
    daemon.until(|_| case.rows(LEDGER).is_empty());
    case.is_equal();
}

#[test]
fn a_column_that_no_row_can_fill_halts_by_name_until_it_is_gone() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(
        &case.target.url,
        "alter table a add column needed int not null default 1; alter table a alter column needed drop default",
    );
    case.app("insert into a values (2, 'b')");
    assert_eq!(daemon.halted(), "schema_drift");
    let told = daemon.status().map(|status| status["run"]["reason"].to_string()).unwrap_or_default();
    assert!(told.contains("public.a") && told.contains("column needed"), "{told}");
    psql(&case.target.url, "alter table a alter column needed drop not null");
    daemon.drained(&case.source);
    case.is_equal();
    assert!(case.rows(LEDGER).is_empty(), "{}", daemon.log());
}

#[test]
fn what_is_not_ours_to_take_away_halts_by_name_until_somebody_does() {
    let case = Case::new(SOURCE);
    let (role, name) = (format!("guest_{}", case.target.name), &case.target.name);
    psql(
        &case.target.url,
        &format!(
            "create table a (id bigint primary key, v text); create table parent (id bigint primary key, v text);
             create table child (id bigint primary key, parent int, v text); create role {role} login; grant create on database {name} to {role};
             grant select, insert, update, delete on a, parent, child to {role}"
        ),
    );
    let url = case.target.url.replace("postgres://postgres@", &format!("postgres://{role}@"));
    let mut daemon = Daemon::start(&case.source, &url, &["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(&case.target.url, KEY);
    assert_eq!(daemon.halted(), "schema_drift");
    let reason = |status: &Value| status["run"]["reason"].to_string();
    let told = daemon.status().as_ref().map(reason).unwrap_or_default();
    assert!(told.contains("newcomer") && told.contains("public.child"), "{told}");
    case.app("insert into child values (30, 3, 'before its parent'); insert into parent values (3, 'three')");
    psql(&case.target.url, "alter table child drop constraint newcomer");
    daemon.drained(&case.source);
    case.is_equal();
}

/// What it applies row by row fires no trigger of a statement.
#[test]
fn a_subscription_halts_by_name_and_what_it_brought_is_taken_away() {
    let mut server = OwnServer::new();
    server.restart_with([("wal_level", "logical".to_owned())]);
    let url = server.url("postgres");
    psql(&url, "create database publisher");
    let publisher = format!("{}publisher", url.strip_suffix("postgres").expect("its own database"));
    let published = "create table t (id bigint primary key, v text); create publication p for table t";
    psql(&publisher, published);
    psql(&publisher, "select pg_create_logical_replication_slot('s', 'pgoutput')");
    let source = sqlite(
        "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'ours')",
    );
    let case = Case { source, target: TestDatabase { url, name: "postgres".to_owned() } };
    let mut daemon = case.validated(&[]);
    let subscribe = format!(
        "create subscription s connection 'host={} user=postgres dbname=publisher' publication p
         with (create_slot = false, slot_name = 's', copy_data = false)",
        server.socket_dir().display()
    );
    psql(&case.target.url, &subscribe);
    psql(&publisher, "insert into t values (2, 'theirs')");
    until("it came past the guards", || !case.rows("select 1 from t where id = 2").is_empty());
    assert_eq!(daemon.halted(), "schema_drift");
    let status = daemon.status().expect("it listens");
    let told = status["run"]["reason"]["sentence"].as_str().unwrap_or_default();
    assert!(told.contains("subscription \"s\""), "{status:#}");
    psql(&case.target.url, "alter subscription s disable");
    daemon.until(|status| status["run"]["state"] == "running");
    until("it is taken away again", || case.rows("select 1 from t where id = 2").is_empty());
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    assert_eq!(case.rows("select v from t"), [[Some("ours".to_owned())]]);
}

/// What the one table had deleted would be the other's.
#[test]
fn a_table_that_is_made_a_part_of_another_one_halts_by_name_until_it_is_none() {
    let case = Case::new(
        "pragma journal_mode = wal; create table a (id integer primary key, v text); create table b (id integer primary key, v text);
         insert into a values (1, 'a'); insert into b values (1, 'b'), (2, 'b')",
    );
    let tables =
        "create table a (id bigint primary key, v text); create table b (id bigint primary key, v text)";
    psql(&case.target.url, tables);
    let mut daemon = case.daemon(&["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    // A change that meets it before it was seen.
    let meets = "alter table b inherit a; delete from b where id = 1";
    psql(&case.target.url, meets);
    assert_eq!(daemon.halted(), "schema_drift");
    let reason = |status: &Value| status["run"]["reason"].to_string();
    let told = daemon.status().as_ref().map(reason).unwrap_or_default();
    assert!(told.contains("rows of public.b") && told.contains("no inherit"), "{told}");
    case.app("update a set v = 'A'; insert into a values (2, 'a'); insert into b values (3, 'b')");
    psql(&case.target.url, "alter table b no inherit a");
    daemon.until(|_| case.rows(SUSPECTS).is_empty());
    daemon.drained(&case.source);
    case.is_equal();
    assert!(case.rows(LEDGER).is_empty(), "{}", daemon.log());
}

/// What it says itself may hold values, and is told nowhere.
#[test]
fn the_function_of_a_trigger_that_refuses_is_named() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let refuses = "create function keeps_shut() returns event_trigger language plpgsql as $$ begin raise exception 'secret'; end $$;
         create event trigger shut on ddl_command_start execute function keeps_shut()";
    psql(&case.target.url, refuses);
    let refused = daemon.refuses("/v1/phase", r#"{"to":"validate"}"#, "trigger_refused").to_string();
    assert!(refused.contains("function public.keeps_shut") && !refused.contains("secret"), "{refused}");
    psql(&case.target.url, "drop event trigger shut");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
}

/// The look at the target's tables takes its time: somebody holds what it reads.
#[test]
fn no_change_waits_until_it_is_known_whether_there_is_a_newcomer() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("insert into a values (2, 'known to the session that writes')");
    daemon.drained(&case.source);
    let holder = HeldSession::open(&case.target.url);
    holder.run("begin; lock table pg_catalog.pg_inherits in access exclusive mode");
    let waiting = "select 1 from pg_locks where relation = 'pg_inherits'::regclass and not granted";
    until("somebody looks", || !case.rows(waiting).is_empty());
    case.app("insert into a values (3, 'meanwhile')");
    until("it has come, or nobody waits", || {
        !case.rows("select 1 from a where id = 3").is_empty() || case.rows(waiting).is_empty()
    });
    assert!(!case.rows(waiting).is_empty(), "it came only after the look was over");
    holder.run("rollback");
    daemon.drained(&case.source);
    assert_eq!(daemon.stop(), Some(0));
}
