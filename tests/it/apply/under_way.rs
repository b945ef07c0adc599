//! Batches that are sent while the answers to those before them are still to come: each commits where the one before it did, or not at all.

use super::PAIRS;
use super::ground::{Applying, Sides, at};
use crate::follow::Case;
use crate::support::begins::Begins;
use crate::support::daemon::Daemon;
use crate::support::{application, until};
use liteferry::link::{BATCH_REFUSED, Extent, Outcome, Portion, Sending};
use liteferry::model::fault::{Fault, FaultClass};
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

const ROWS: &str = "select t::text from t order by id";

/// A side far away whose answers are kept from here on; the target stands at 2.
fn far(sides: &Sides) -> (Begins, Applying) {
    let begins = Begins::before(sides.url());
    let mut applier = sides.applier_through(&begins.url(sides.database()));
    applier.apply((1, 2), vec![all(sides)], Extent::Whole).expect("the tables are known from here on");
    begins.keep_answers();
    (begins, applier)
}

fn all(sides: &Sides) -> Portion {
    vec![sides.changed("t", "1, 2, 3")]
}

/// From there to the next, with what is there now.
fn send(sides: &Sides, applier: &mut Applying, from: i64) -> Outcome {
    let terms = (Extent::Whole, Sending::Ahead);
    applier.send((from, from + 1), vec![all(sides)], terms, ready(Ok(()))).expect("it is sent")
}

/// Waits for the outcomes, while answers are let through once so many COMMITs have come by.
fn answers(begins: &Begins, applier: &Applying, outcomes: Vec<Outcome>) -> Vec<Result<(), &'static str>> {
    let commits = 1 + outcomes.len();
    scope(|scope| {
        scope.spawn(move || {
            until("the last is sent before the first is answered", || begins.commits() == commits);
            begins.let_answers_through();
        });
        let answer = |outcome| applier.answer(outcome).map(drop).map_err(|fault| fault.code);
        outcomes.into_iter().map(answer).collect()
    })
}

#[test]
fn batches_are_sent_one_behind_the_other_and_answered_in_their_order() {
    let sides = Sides::copied(PAIRS);
    let (begins, mut applier) = far(&sides);
    let outcomes: Vec<Outcome> = (2..6)
        .map(|from| {
            sides.write("update t set n = n + 1; update t set v = v || 'x' where id = 2");
            send(&sides, &mut applier, from)
        })
        .collect();
    assert_eq!(answers(&begins, &applier, outcomes), [Ok(()); 4]);
    assert_eq!(applier.position().expect("a position"), at(6));
    sides.equal();
}

#[test]
fn a_batch_that_is_refused_takes_those_behind_it_along() {
    let sides = Sides::copied(PAIRS);
    sides.target("alter table t add check (n <> 13)");
    let (begins, mut applier) = far(&sides);
    let before = sides.rows(ROWS);
    sides.write("update t set n = 13 where id = 1");
    let first = send(&sides, &mut applier, 2);
    sides.write("update t set n = 7; delete from t where id = 2");
    let second = send(&sides, &mut applier, 3);
    assert_eq!(answers(&begins, &applier, vec![first, second]), [Err(BATCH_REFUSED); 2]);
    assert_eq!(applier.position().expect("the session is of use"), at(2));
    assert_eq!(sides.rows(ROWS), before);
    // The one in the middle alone.
    sides.write("update t set n = 8");
    let first = send(&sides, &mut applier, 2);
    sides.write("update t set n = 13 where id = 3");
    let second = send(&sides, &mut applier, 3);
    sides.write("update t set n = 9");
    let third = send(&sides, &mut applier, 4);
    let answers: Vec<_> = [first, second, third]
        .into_iter()
        .map(|outcome| applier.answer(outcome).map(drop).map_err(|fault| fault.code))
        .collect();
    assert_eq!(answers, [Ok(()), Err(BATCH_REFUSED), Err(BATCH_REFUSED)]);
    assert_eq!(applier.position().expect("a position"), at(3));
    applier.apply((3, 5), vec![all(&sides)], Extent::Whole).expect("it is taken again");
    sides.equal();
}

/// Wherever the line is cut, the target stands where one of the batches ends, with the rows of that batch.
#[test]
fn what_became_of_batches_without_an_answer_is_looked_up() {
    let sides = Sides::copied(PAIRS);
    let (begins, mut applier) = far(&sides);
    let mut states = vec![sides.rows("select n::text from t order by id")];
    let mut outcomes = Vec::new();
    for from in 2..7 {
        sides.write(&format!("update t set n = {from}"));
        outcomes.push(send(&sides, &mut applier, from));
        states.push(vec![from.to_string(); 3]);
    }
    let faults: Vec<FaultClass> = scope(|scope| {
        scope.spawn(|| {
            until("the first is under way", || begins.commits() > 2);
            begins.cut();
        });
        let fault = |outcome| applier.answer(outcome).expect_err("no answer comes").class;
        outcomes.into_iter().map(fault).collect()
    });
    assert_eq!(faults, [FaultClass::Unknown; 5]);
    // Of those that the server has heard, some may still have to wait for their turn.
    let reached = loop {
        let reached = applier.position().expect("a position on another session");
        let batch = applier.apply((reached.seq, reached.seq + 1), vec![], Extent::Whole);
        match batch {
            Ok(_) => break reached.seq,
            Err(fault) => assert_eq!(fault.class, FaultClass::Unknown, "{fault:?}"),
        }
    };
    let state = usize::try_from(reached - 2).expect("it stands behind the first");
    assert_eq!(sides.rows("select n::text from t order by id"), states[state]);
    applier.apply((reached + 1, reached + 2), vec![all(&sides)], Extent::Whole).expect("it goes on");
    sides.equal();
}

#[test]
fn a_batch_waits_for_the_sources_disk_behind_another_too() {
    let sides = Sides::copied(PAIRS);
    let (begins, mut applier) = far(&sides);
    sides.write("update t set n = 2");
    let first = send(&sides, &mut applier, 2);
    let now = sides.rows("select 2::text from t");
    sides.write("update t set n = 3");
    let lost = ready(Err(Fault::new(FaultClass::Transient, "source_disk", "sync")));
    let terms = (Extent::Whole, Sending::Ahead);
    let second = applier.send((3, 4), vec![all(&sides)], terms, lost);
    assert_eq!(second.err().map(|fault| fault.code), Some("source_disk"));
    assert_eq!(answers(&begins, &applier, vec![first]), [Ok(())]);
    assert_eq!(applier.position().expect("a position"), at(3));
    assert_eq!(sides.rows("select n::text from t order by id"), now);
    applier.apply((3, 4), vec![all(&sides)], Extent::Whole).expect("its disk is well again");
    sides.equal();
}

/// Far from PostgreSQL: each pair is made of one state all the same, and what is refused is taken again.
#[test]
fn a_daemon_far_away_sends_on_and_compares_one_state() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v integer unique); insert into t values (1, 1)",
    );
    let begins = Begins::before(&case.target.url);
    let url = begins.url(&case.target.name);
    let mut daemon = Daemon::start(&case.source, &url, &["--set", "validate.every=1s"]);
    daemon.until(|status| status["phase"] == "dual-write");
    begins.delay_answers(Duration::from_millis(2));
    let verdicts = || case.rows("select success::text from liteferry.verdict");
    let (already, is_over) = (verdicts().len(), AtomicBool::new(false));
    scope(|scope| {
        scope.spawn(|| {
            let db = application(&case.source.path);
            for value in (2..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                // Never so seldom that nothing comes before an answer.
                let write =
                    format!("insert into t (v) values ({value}); delete from t where id = {value} / 2");
                db.execute_batch(&write).expect("the application writes");
                sleep(Duration::from_micros(300));
            }
        });
        until("both sides have been compared three times", || verdicts().len() >= already + 3);
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(verdicts().iter().all(|success| success[0].as_deref() == Some("true")), "{:?}", verdicts());
    let mut value = 1_000_000;
    until("a second batch is sent before the first is answered", || {
        let mut write = || {
            value += 2;
            // One row alone needs no COMMIT.
            case.app(&format!("insert into t (v) values ({value}), ({value} + 1)"));
            sleep(Duration::from_millis(5));
        };
        (0..20).for_each(|_| write());
        daemon.drained(&case.source);
        let before = begins.commits();
        begins.keep_answers();
        (0..20).for_each(|_| write());
        let sent = begins.commits() - before;
        let lag = daemon.status().and_then(|status| status["lag"]["changes"].as_u64());
        begins.let_answers_through();
        // Each has a write of two rows at the least.
        assert!(sent < 2 || lag >= u64::try_from(2 * sent).ok(), "{sent} are sent, {lag:?} wait");
        sent > 1
    });
    case.rows("alter table t add check (v > 0)");
    for value in 1..100 {
        case.app(&format!(
            "insert into t (v) values ({})",
            if value % 7 == 0 { -value } else { 100_000 + value }
        ));
    }
    case.app("update t set v = -v where v < 0");
    daemon.drained(&case.source);
    case.is_equal();
    assert!(!daemon.log().contains("interrupted"), "{}", daemon.log());
}
