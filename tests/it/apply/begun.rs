//! A batch is sent behind its BEGIN without a wait for the answer: whatever becomes of that, nothing is written outside of a transaction.

use super::ground::{Sides, at};
use super::{MANY, PAIRS};
use crate::support::begins::Begins;
use crate::support::{OwnServer, TestDatabase, psql, until};
use liteferry::link::{Changed, Extent, Sending};
use liteferry::model::fault::{Fault, FaultClass};
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

const ROWS: &str = "select t::text from t order by id";
const LEDGER: &str = "select key || reason from liteferry.ledger order by 1";

fn of_server(server: &OwnServer) -> TestDatabase {
    TestDatabase { url: server.url("postgres"), name: "postgres".into() }
}

/// In the place of a BEGIN stands `instead`; the batch fails as `expected`, and is applied by the session afterwards. It deletes and inserts,
/// and the ledger holds something of it before and after.
#[track_caller]
fn check(instead: &'static str, expected: (FaultClass, &str)) {
    for more in [0, MANY] {
        let sides = Sides::copied(PAIRS);
        let begins = Begins::before(sides.url());
        let mut applier = sides.applier_through(&begins.url(sides.database()));
        sides.write("update t set v = x'00ff' where id = 2");
        let odd = vec![vec![sides.changed("t", "2")]];
        applier.apply((1, 2), odd, Extent::Whole).expect("a batch is applied");
        sides.write("update t set v = 'z' where id = 2; update t set v = x'01' where id = 3; delete from t where id = 1");
        sides.add_rows("t", more);
        let all = || vec![vec![sides.changed("t", "select id from t union select 1")]];
        let (before, ledger) = (sides.rows(ROWS), sides.rows(LEDGER));
        begins.replace_next(instead);
        let fault = applier.apply((2, 3), all(), Extent::Whole).expect_err("it was not begun");
        assert!(begins.is_replaced());
        assert_eq!((fault.class, fault.code), expected, "{fault:?}");
        assert_eq!((sides.rows(ROWS), sides.rows(LEDGER)), (before, ledger));
        assert_eq!(applier.position().expect("a position"), at(2));
        applier.apply((2, 3), all(), Extent::Whole).expect("now it is begun");
        sides.equal();
    }
}

#[test]
fn a_batch_whose_begin_is_cancelled_writes_nothing_and_is_applied_afterwards() {
    check(
        "select pg_cancel_backend(pg_backend_pid()), pg_sleep(9)",
        (FaultClass::Transient, "statement_cancelled"),
    );
}

#[test]
fn outside_of_a_transaction_nothing_is_written() {
    check("select", (FaultClass::Transient, "read_only"));
}

#[test]
fn few_changes_are_one_round_trip() {
    let sides = Sides::copied(PAIRS);
    let begins = Begins::before(sides.url());
    let mut applier = sides.applier_through(&begins.url(sides.database()));
    let all =
        || vec![vec![sides.changed("t", "select id from t union select 1"), sides.changed("p", "('x', 1)")]];
    applier.apply((1, 2), all(), Extent::Whole).expect("both tables are known from here on");
    begins.hold_back_answers();
    sides.write("delete from t where id = 1; update t set n = 99; update p set v = 'two' where b = 1");
    applier.apply((2, 3), all(), Extent::Whole).expect("the commit waits for no answer");
    sides.equal();
}

/// Nobody hears of it before the commit is on its way.
#[test]
fn a_few_changes_that_were_not_begun_are_begun_once_more_if_the_source_is_durable() {
    for instead in ["select", "select pg_cancel_backend(pg_backend_pid()), pg_sleep(9)"] {
        let sides = Sides::copied(PAIRS);
        let begins = Begins::before(sides.url());
        let mut applier = sides.applier_through(&begins.url(sides.database()));
        sides.write("update t set n = 99; delete from t where id = 1");
        let all = || vec![vec![sides.changed("t", "select id from t union select 1")]];
        let before = sides.rows(ROWS);
        let lost = async {
            while !begins.is_replaced() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(Fault::new(FaultClass::Transient, "source_disk", "sync"))
        };
        begins.replace_next(instead);
        let fault = applier.apply_with((1, 2), all(), Extent::Whole, lost).expect_err("nothing is durable");
        assert!(begins.is_replaced());
        assert_eq!((fault.code, sides.rows(ROWS)), ("source_disk", before));
        assert_eq!(applier.position().expect("a position"), at(1));
        begins.replace_next(instead);
        applier.apply((1, 2), all(), Extent::Whole).expect("it is begun in the end");
        assert!(begins.is_replaced());
        sides.equal();
    }
}

/// A single row is no COMMIT: it would be refused for as long as the session is kept.
#[test]
fn a_commit_that_is_refused_holds_up_nothing_behind_it() {
    let sides = Sides::copied(PAIRS);
    let begins = Begins::before(sides.url());
    let mut applier = sides.applier_through(&begins.url(sides.database()));
    begins.replace_next_commit("select pg_cancel_backend(pg_backend_pid()), pg_sleep(9)");
    sides.write("update t set n = 99");
    let all = vec![vec![sides.changed("t", "1, 2, 3")]];
    applier.apply((1, 2), all, Extent::Whole).expect("it is written by the other session");
    for from in 2..5 {
        sides.write(&format!("update t set n = {from} where id = 1"));
        let terms = (Extent::Whole, Sending::Ahead);
        let row = vec![vec![sides.changed("t", "1")]];
        let outcome = applier.send((from, from + 1), row, terms, ready(Ok(()))).expect("it is sent");
        applier.answer(outcome).expect("it is not refused");
    }
    sides.equal();
}

/// In one statement with others, which could tell that it failed, a rule's table takes no row.
#[test]
fn a_table_with_a_rule_is_written_all_the_same() {
    const RULE: &str = "create rule told as on insert to t do also notify told";
    for made_before in [true, false] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        for turn in 1..4 {
            if made_before == (turn == 1) {
                sides.target(&RULE.replace("rule", "or replace rule"));
            }
            sides.write("update t set n = n + 1");
            let portion = vec![sides.changed("t", "select id from t")];
            applier.apply((turn, turn + 1), vec![portion], Extent::Whole).expect("it is written");
            sides.equal();
        }
    }
}

/// As services do whose disk is nearly full.
#[test]
fn a_server_that_turns_read_only_under_a_session_is_obeyed() {
    let server = OwnServer::new();
    let sides = Sides::copied_into(PAIRS, of_server(&server));
    sides.write("update t set n = 99");
    let few = || vec![vec![sides.changed("t", "select id from t where id < 1000")]];
    let many = || vec![vec![sides.changed("t", "select id from t")]];
    sides.add_rows("t", MANY);
    let before = sides.rows(ROWS);
    let mut applier = sides.applier("me");
    assert_eq!(applier.position().expect("a position"), at(1));
    let turn = |to: &str, now: &str| {
        let turned = format!("alter system {to} default_transaction_read_only");
        let turned = if to == "set" { format!("{turned} = on") } else { turned };
        psql(sides.url(), &turned);
        psql(sides.url(), "select pg_reload_conf()");
        sides.until("show default_transaction_read_only", now);
    };
    turn("set", "on");
    for portions in [few(), many(), vec![]] {
        let fault = applier.apply((1, 2), portions, Extent::Whole).expect_err("it takes no writes");
        assert_eq!((fault.class, fault.code), (FaultClass::Transient, "read_only"), "{fault:?}");
    }
    assert_eq!(applier.position().expect_err("no lock is to be had").code, "read_only");
    assert_eq!(applier.settle().expect_err("nothing is written").code, "read_only");
    assert_eq!(sides.rows(ROWS), before);
    turn("reset", "off");
    applier.apply((1, 2), many(), Extent::Whole).expect("it takes writes again");
    applier.settle().expect("it takes writes again");
    sides.equal();
}

#[test]
fn a_standby_is_waited_for_by_name() {
    let mut primary = OwnServer::new();
    let sides = Sides::copied_into(PAIRS, of_server(&primary));
    let standby = primary.standby();
    let mut applier = sides.applier_through(&standby.url("postgres"));
    let written = psql(sides.url(), "select pg_current_wal_lsn()")[0][0].clone().expect("a place");
    let replayed = format!("select pg_last_wal_replay_lsn() >= '{written}'");
    until("the standby has all", || psql(&standby.url("postgres"), &replayed)[0][0].as_deref() == Some("t"));
    let fault = applier.position().expect_err("it takes no writes");
    assert_eq!((fault.class, fault.code), (FaultClass::Transient, "read_only"), "{fault:?}");
}

#[test]
fn a_table_on_another_route_is_staged_anew() {
    let sides = Sides::copied(PAIRS);
    let mut applier = sides.applier("me");
    let stages = "select count(*) from pg_class where relname like 'liteferry\\_rows%'";
    for (seq, more) in [(1, MANY), (2, 0), (3, MANY), (4, MANY)] {
        sides.write("delete from t where id > 1000; update t set n = n + 1");
        sides.add_rows("t", more);
        let portion = vec![anew(sides.changed("t", "select id from t"))];
        applier.apply((seq, seq + 1), vec![portion], Extent::Whole).expect("a batch is applied");
        assert_eq!(sides.rows(stages), ["1"]);
    }
}

fn anew(changed: Changed) -> Changed {
    Changed { route: Arc::new((*changed.route).clone()), ..changed }
}
