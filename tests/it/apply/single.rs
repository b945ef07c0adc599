//! A batch of one row is one statement by the session that sends batches ahead; whatever that cannot do is done as for any batch.

use super::ground::{Applying, Sides, at};
use super::{MANY, PAIRS};
use crate::support::begins::Begins;
use liteferry::link::{Applied, BATCH_REFUSED, Extent, Outcome, Sending};
use liteferry::model::fault::{Fault, FaultClass};
use std::future::ready;
use std::thread::{scope, sleep};
use std::time::Duration;

const ROWS: &str = "select t::text from t order by id";

fn one(sides: &Sides, applier: &mut Applying, from: i64, (table, key): (&str, &str)) -> Applied {
    let portion = vec![sides.changed(table, key)];
    applier.apply((from, from + 1), vec![portion], Extent::Whole).expect("a row is written")
}

fn sent(sides: &Sides, applier: &mut Applying, from: i64, keys: &str) -> Outcome {
    let portion = vec![sides.changed("t", keys)];
    let terms = (Extent::Whole, Sending::Ahead);
    applier.send((from, from + 1), vec![portion], terms, ready(Ok(()))).expect("it is sent")
}

#[test]
fn rows_of_every_kind_are_written_without_a_commit() {
    let odd = "create table \"o'd d\"\"\" (\"k e\"\"y\" text primary key, \"$1\" real, b blob, d date, g integer as (length(b)) stored);
        insert into \"o'd d\"\"\" values ('ä', 0.1, x'00', '2024-02-29'), ('', -0.0, null, null)";
    let sides = Sides::copied(&format!("{PAIRS}; {odd}"));
    let begins = Begins::before(sides.url());
    let mut applier = sides.applier_through(&begins.url(sides.database()));
    let turns = [
        ("insert into t values (9, null, -1.5)", ("t", "9")),
        ("update t set v = 'z', n = 1e100 where id = 2", ("t", "2")),
        ("delete from t where id = 1", ("t", "1")),
        ("insert into t values (-9223372036854775808, 'a', null)", ("t", "-9223372036854775808")),
        ("update p set v = null where b = 1", ("p", "('x', 1)")),
        ("delete from p where b = 2", ("p", "('x', 2)")),
        (
            "insert into \"o'd d\"\"\" values ('it''s', 1e-310, zeroblob(9999), '0001-01-01')",
            ("o'd d\"", "'it''s'"),
        ),
        ("update \"o'd d\"\"\" set b = x'ff00', \"$1\" = null where \"k e\"\"y\" = ''", ("o'd d\"", "''")),
        ("delete from \"o'd d\"\"\" where \"k e\"\"y\" = 'ä'", ("o'd d\"", "'ä'")),
        // Nothing is there, and nothing was.
        ("", ("t", "77")),
    ];
    for (from, (sql, row)) in (1..).zip(turns) {
        sides.write(sql);
        let applied = one(&sides, &mut applier, from, row);
        assert_eq!(applied.written + applied.deleted, 1, "{sql}");
        sides.equal();
    }
    assert_eq!(begins.commits(), 0);
    assert_eq!(applier.position().expect("a position"), at(11));
    sides.write("update t set n = n + 1");
    applier
        .apply((11, 12), vec![vec![sides.changed("t", "select id from t")]], Extent::Whole)
        .expect("many are");
    assert_eq!(begins.commits(), 1);
    sides.equal();
}

/// A check, a key that another row has to give up, and one that PostgreSQL looks at no sooner than at the end.
#[test]
fn what_is_refused_is_taken_again_as_a_batch() {
    let sides = Sides::copied(PAIRS);
    sides.target("alter table t add check (n <> 13)");
    let mut applier = sides.applier("me");
    sides.write("update t set n = 13 where id = 1");
    assert_eq!(one(&sides, &mut applier, 1, ("t", "1")).held, 1);
    assert_eq!(sides.rows("select distinct key from liteferry.ledger"), ["[1]"]);
    assert_eq!(sides.rows("select id::text from t order by id"), ["2", "3"]);
    // The ledger's entry leaves with it.
    sides.write("update t set n = 14 where id = 1");
    one(&sides, &mut applier, 2, ("t", "1"));
    assert_eq!(sides.rows("select key from liteferry.ledger"), [""; 0]);
    sides.target("alter table t drop constraint t_v_key, add unique (v) deferrable initially deferred");
    sides.write("update t set v = null where id = 2; update t set v = 'b' where id = 3");
    let portion = vec![sides.changed("t", "3")];
    let outcome = applier.send((3, 4), vec![portion], (Extent::Part, Sending::Ahead), ready(Ok(())));
    let refused = applier.answer(outcome.expect("it is sent")).expect_err("row 2 has it still");
    assert_eq!(refused.code, BATCH_REFUSED);
    assert_eq!(applier.position().expect("the sessions are of use"), at(3));
    let both = vec![sides.changed("t", "2, 3")];
    applier.apply((3, 4), vec![both], Extent::Whole).expect("both are written");
    sides.equal();
}

#[test]
fn a_row_that_the_target_swallows_is_missed() {
    let sides = Sides::copied(PAIRS);
    sides.target(
        "create function skip() returns trigger language plpgsql as 'begin return null; end';
         create trigger skip before insert on t for each row execute function skip()",
    );
    let mut applier = sides.applier("me");
    let before = sides.rows(ROWS);
    sides.write("update t set n = 99 where id = 1");
    let portion = vec![sides.changed("t", "1")];
    let fault = applier.apply((1, 2), vec![portion], Extent::Whole).expect_err("the row is gone");
    assert_eq!(fault.code, "rows_swallowed");
    assert_eq!((sides.rows(ROWS), applier.position().expect("a position")), (before, at(1)));
}

#[test]
fn a_position_elsewhere_a_source_that_is_not_durable_and_another_owner_stop_it() {
    for write in ["update t set n = 99 where id = 1", "delete from t where id = 1"] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        let before = sides.rows(ROWS);
        sides.write(write);
        let row = || vec![vec![sides.changed("t", "1")]];
        let lost = ready(Err(Fault::new(FaultClass::Transient, "source_disk", "sync")));
        let fault = applier.apply_with((1, 2), row(), Extent::Whole, lost).expect_err("nothing is durable");
        assert_eq!(fault.code, "source_disk");
        for elsewhere in ["epoch = 2", "epoch = 1, seq = 2", "seq = 1, nonce = -1"] {
            sides.target(&format!("update liteferry.follow set {elsewhere}"));
            let fault = applier.apply((1, 2), row(), Extent::Whole).expect_err("the target stands elsewhere");
            assert_eq!((fault.class, fault.code), (FaultClass::Unknown, "position_moved"), "{elsewhere}");
        }
        sides.target("update liteferry.follow set nonce = 10, owner = 'other'");
        let fault = applier.apply((1, 2), row(), Extent::Whole).expect_err("it belongs to another");
        assert_eq!((fault.class, fault.code), (FaultClass::Fatal, "another_owner"));
        assert_eq!(sides.rows(ROWS), before);
        sides.target("update liteferry.follow set owner = 'me'");
        applier.apply((1, 2), row(), Extent::Whole).expect("all is as it was");
        sides.equal();
    }
}

/// What the other session writes waits until all that was sent ahead is written, however late that arrives.
#[test]
fn rows_and_batches_are_written_in_their_order() {
    for keys in ["1, 2, 3", "select id from t"] {
        let sides = Sides::copied(PAIRS);
        let begins = Begins::before(sides.url());
        let mut applier = sides.applier_through(&begins.url(sides.database()));
        sides.write("update t set n = 1");
        one(&sides, &mut applier, 1, ("t", "1"));
        begins.keep_what_is_sent_ahead();
        let first = sent(&sides, &mut applier, 2, "2");
        let second = sent(&sides, &mut applier, 3, "3");
        if keys != "1, 2, 3" {
            sides.add_rows("t", MANY);
        }
        sides.write("update t set n = 2");
        let third = scope(|scope| {
            scope.spawn(|| {
                sleep(Duration::from_millis(200));
                begins.let_through_what_is_sent_ahead();
            });
            sent(&sides, &mut applier, 4, keys)
        });
        // Not all of these have been heard.
        sides.write("delete from t where id = 2");
        let fourth = sent(&sides, &mut applier, 5, "2");
        for outcome in [first, second, third, fourth] {
            applier.answer(outcome).expect("each begins where the one before it ends");
        }
        assert_eq!(applier.position().expect("a position"), at(6));
        sides.equal();
    }
}

/// Nobody waits for the answers any more: where the target stands is not said before they have been given.
#[test]
fn what_was_sent_and_forgotten_is_waited_for() {
    let sides = Sides::copied(PAIRS);
    let begins = Begins::before(sides.url());
    let mut applier = sides.applier_through(&begins.url(sides.database()));
    sides.write("update t set n = 9");
    one(&sides, &mut applier, 1, ("t", "1"));
    begins.keep_what_is_sent_ahead();
    drop([sent(&sides, &mut applier, 2, "2"), sent(&sides, &mut applier, 3, "3")]);
    let stands = scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(200));
            begins.let_through_what_is_sent_ahead();
        });
        applier.position().expect("a position")
    });
    assert_eq!(stands, at(4));
    sides.equal();
}

#[test]
fn what_became_of_a_row_whose_session_ended_is_looked_up() {
    const SESSION: &str = "from pg_stat_activity
        where datname = current_database() and query like 'with moved%' and pid <> pg_backend_pid()";
    let sides = Sides::copied(PAIRS);
    let mut applier = sides.applier("me");
    sides.write("update t set n = 7 where id = 2");
    one(&sides, &mut applier, 1, ("t", "2"));
    sides.target(&format!("select pg_terminate_backend(pid) {SESSION}"));
    sides.until(&format!("select count(*) {SESSION}"), "0");
    sides.write("update t set n = 8 where id = 2");
    let outcome = sent(&sides, &mut applier, 2, "2");
    assert_eq!(applier.answer(outcome).expect_err("no answer comes").class, FaultClass::Unknown);
    assert_eq!(applier.position().expect("another session"), at(2));
    one(&sides, &mut applier, 2, ("t", "2"));
    sides.equal();
}
