//! Followed changes reach the target whole or not at all, with the position that they belong to. The oracle compares both sides.

mod begun;
mod ground;
mod renewed;
mod single;
mod under_way;

use crate::support::held::HeldSession;
use crate::support::{PATIENCE, psql, until};
use ground::{Sides, Waiting, at};
use liteferry::link::{Extent, PART_REFUSED};
use liteferry::model::fault::{Fault, FaultClass};
use liteferry::postgres::target::LoadRole;
use std::future::ready;
use std::thread::JoinHandle;
use std::time::Instant;

const PAIRS: &str = "create table t (id integer primary key, v text unique, n numeric);
    insert into t values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3);
    create table p (a text, b integer, v text, primary key (a, b)) without rowid;
    insert into p values ('x', 1, 'one'), ('x', 2, 'two')";

/// Keys enough to be staged.
const MANY: usize = 1100;

#[test]
fn rows_are_inserted_updated_and_deleted() {
    let sides = Sides::copied(PAIRS);
    let mut applier = sides.applier("me");
    sides.write(
        "update t set n = 20 where id = 2; delete from t where id = 1; insert into t values (9, null, -1.5);
         update p set v = null where b = 1; update p set b = 7 where b = 2",
    );
    let (t, p) = (sides.changed("t", "1, 2, 9, 17"), sides.changed("p", "('x', 1), ('x', 2), ('x', 7)"));
    let applied = applier.apply((1, 2), vec![vec![t, p]], Extent::Whole).expect("a batch is applied");
    assert_eq!((applied.written, applied.deleted, applied.held), (4, 3, 0));
    sides.equal();
    assert_eq!(applier.position().expect("a position"), at(2));
    let applied = applier.apply((2, 3), vec![], Extent::Whole).expect("a batch of nothing is applied");
    assert_eq!((applied.written, applier.position().expect("a position")), (0, at(3)));
}

#[test]
fn a_unique_value_moves_between_rows_of_a_batch() {
    for more in [0, MANY] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        sides.write("update t set v = null; update t set v = 'b' where id = 1; update t set v = 'c' where id = 2; update t set v = 'a' where id = 3");
        sides.add_rows("t", more);
        let portion = vec![sides.changed("t", "select id from t")];
        applier.apply((1, 2), vec![portion], Extent::Whole).expect("a ring of values is legal");
        sides.equal();
    }
}

#[test]
fn two_portions_may_hold_a_key() {
    let sides = Sides::copied(PAIRS);
    let mut applier = sides.applier("me");
    for turn in 1..4 {
        sides.write("update t set n = n + 1; delete from t where id = 3; update p set v = v || v");
        let portions = vec![
            vec![sides.changed("t", "1, 2, 3"), sides.changed("p", "('x', 1)")],
            vec![sides.changed("p", "('x', 1), ('x', 2)"), sides.changed("t", "2, 3")],
            vec![sides.changed("t", "1")],
        ];
        let applied = applier.apply((turn, turn + 1), portions, Extent::Part).expect("a batch is applied");
        assert_eq!((applied.written, applied.deleted), (4, 1));
        sides.equal();
    }
}

#[test]
fn every_kind_of_value_crosses() {
    let schema = "create table k (id text primary key not null, mood text, list text, tags text, n numeric, j text, at text, b blob, d text);
        insert into k values ('first', 'sad', '[1]', '[\"a\"]', 1.5, '{\"a\":1}', '2020-01-01 00:00:00', x'00', 'abc');
        create table e (mood text primary key not null, v integer); insert into e values ('sad', 1)";
    let target = "create type mood as enum ('sad', 'glad'); create domain word as text check (value <> 'never');
        create table k (id varchar(20) primary key, mood mood, list int[], tags text[], n numeric(9,3), j jsonb, at timestamp, b bytea, d word, serial bigint generated always as identity);
        create table e (mood mood primary key, v bigint)";
    for more in [0, MANY] {
        let sides = Sides::mapped(schema, target);
        let mut applier = sides.applier_in("me", LoadRole::Replica);
        sides.write(
            "update k set mood = 'glad', list = '[1,null,3]', tags = '[\"x\",null]', n = -12345.678, j = '[null]', b = x'', d = '' where id = 'first';
             insert into k values ('second', null, null, null, null, null, null, null, null), ('third', 'sad', '[]', '[]', 0, 'null', '1999-12-31 23:59:59', x'ff', 'never');
             update e set mood = 'glad'",
        );
        sides.write(&format!("with recursive n (i) as (select 1 union all select i + 1 from n where i < {more}) insert into k (id, n) select 'k' || i, i from n where i <= {more}"));
        let portion = vec![sides.changed("k", "select id from k"), sides.changed("e", "'sad', 'glad'")];
        let applied = applier.apply((1, 2), vec![portion], Extent::Whole).expect("a batch is applied");
        assert_eq!(applied.held, 1, "a domain refuses the third row");
        sides.equal();
        assert_eq!(sides.rows("select count(*) from k"), [(2 + more).to_string()]);
    }
}

#[test]
fn a_refused_row_of_a_whole_batch_goes_to_the_ledger_until_it_is_mended() {
    for more in [0, MANY] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        sides.target("alter table t add check (n <> 13); alter table p add check (v <> 'bad')");
        // A numeric cell that is not one is a misfit of ours; the row is refused for another.
        sides.write("update t set n = 13 where id in (1, 3); update t set v = x'31' where id = 3; update p set v = 'bad' where b = 2");
        sides.add_rows("t", more);
        let all = || vec![sides.changed("t", "select id from t"), sides.changed("p", "('x', 2)")];
        let applied = applier.apply((1, 2), vec![all()], Extent::Whole).expect("the others go in");
        assert_eq!((applied.held, applied.written), (3, 1 + u64::try_from(more).expect("a count")));
        sides.equal();
        assert_eq!(
            sides.rows("select distinct source_table || key || reason from liteferry.ledger where standing = 'row-held' order by 1"),
            ["p[\"x\",2]refused:23514:p_v_check", "t[1]refused:23514:t_n_check", "t[3]refused:23514:t_n_check"]
        );
        sides.write("update t set n = 14 where n = 13; update p set v = 'good' where b = 2");
        applier.apply((2, 3), vec![all()], Extent::Whole).expect("mended rows go in");
        sides.equal();
        assert_eq!(sides.rows("select count(*) from liteferry.ledger where standing = 'row-held'"), ["0"]);
        sides.write("delete from t where id = 3");
        applier.apply((3, 4), vec![all(), vec![sides.changed("t", "3")]], Extent::Whole).expect("it goes");
        sides.equal();
        assert_eq!(sides.rows("select count(*) from liteferry.ledger"), ["0"]);
    }
}

#[test]
fn a_misfit_is_told_and_forgotten_with_its_row() {
    for more in [0, MANY] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        sides.write("update t set v = x'00ff' where id = 2");
        sides.add_rows("t", more);
        let all = || vec![sides.changed("t", "select id from t")];
        applier.apply((1, 2), vec![all(), all()], Extent::Whole).expect("a batch is applied");
        sides.equal();
        assert_eq!(sides.rows("select key from liteferry.ledger"), ["[2]"]);
        sides.write("update t set v = 'z' where id = 2");
        // A session that has not written the entry must find it.
        sides.applier("me").apply((2, 3), vec![all()], Extent::Whole).expect("a batch is applied");
        sides.equal();
        assert_eq!(sides.rows("select count(*) from liteferry.ledger"), ["0"]);
    }
}

#[test]
fn a_refused_row_of_a_part_changes_nothing() {
    for more in [0, MANY] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        sides.target("alter table t add check (n <> 13)");
        let before = sides.rows("select t::text from t order by id");
        sides.write("update t set n = 13 where id = 1; update t set n = 7 where id = 2");
        sides.add_rows("t", more);
        let portion = vec![sides.changed("t", "select id from t")];
        let fault = applier.apply((1, 2), vec![portion], Extent::Part).expect_err("it is refused");
        assert_eq!((fault.class, fault.code), (FaultClass::Data, PART_REFUSED));
        assert_eq!(applier.position().expect("a position"), at(1));
        assert_eq!(sides.rows("select t::text from t order by id"), before);
        assert_eq!(sides.rows("select count(*) from liteferry.ledger"), ["0"]);
    }
}

#[test]
fn a_position_that_is_not_ours_or_not_there_stops_the_batch() {
    for more in [0, MANY] {
        let sides = Sides::copied(PAIRS);
        sides.write("update t set n = 99");
        sides.add_rows("t", more);
        let all = || vec![vec![sides.changed("t", "select id from t")]];
        let before = sides.rows("select t::text from t order by id");
        let mut other = sides.applier("other");
        let fault = other.apply((1, 2), all(), Extent::Whole).expect_err("it belongs to another");
        assert_eq!((fault.class, fault.code), (FaultClass::Fatal, "another_owner"));
        assert_eq!(other.position().expect_err("it belongs to another").code, "another_owner");
        let mut applier = sides.applier("me");
        for elsewhere in ["epoch = 2", "epoch = 1, seq = 2", "seq = 1, nonce = -1"] {
            sides.target(&format!("update liteferry.follow set {elsewhere}"));
            let fault = applier.apply((1, 2), all(), Extent::Whole).expect_err("the target stands elsewhere");
            assert_eq!((fault.class, fault.code), (FaultClass::Unknown, "position_moved"), "{elsewhere}");
        }
        assert_eq!(sides.rows("select t::text from t order by id"), before);
        sides.target("delete from liteferry.follow");
        let fault = applier.apply((1, 2), all(), Extent::Whole).expect_err("the target knows nothing");
        assert_eq!(fault.code, "follow_missing");
    }
}

#[test]
fn nothing_is_committed_that_the_source_has_not_made_durable() {
    // All at once; beside a rule, where answers are looked at first; and staged.
    for (rule, more) in [("", 0), ("create rule told as on insert to t do also notify told", 0), ("", MANY)] {
        let sides = Sides::copied(PAIRS);
        sides.target(rule);
        let mut applier = sides.applier("me");
        let before = sides.rows("select t::text from t order by id");
        sides.write("update t set n = 99");
        sides.add_rows("t", more);
        let all = || vec![vec![sides.changed("t", "select id from t")]];
        let lost = ready(Err(Fault::new(FaultClass::Transient, "source_disk", "sync")));
        let fault = applier.apply_with((1, 2), all(), Extent::Whole, lost).expect_err("nothing is durable");
        assert_eq!(fault.code, "source_disk");
        assert_eq!(applier.position().expect("a position"), at(1));
        assert_eq!(sides.rows("select t::text from t order by id"), before);
        // While the source is at it, nobody sees a row of the batch.
        let (url, seen) = (sides.url().to_owned(), before.clone());
        let durable = async move {
            let look = move || psql(&url, "select t::text from t order by id");
            let found = tokio::task::spawn_blocking(look).await.expect("a look");
            let found: Vec<String> = found.into_iter().flatten().flatten().collect();
            assert_eq!(found, seen);
            Ok(())
        };
        applier.apply_with((1, 2), all(), Extent::Whole, durable).expect("a batch is applied");
        sides.equal();
    }
}

#[test]
fn a_session_that_ends_at_any_moment_leaves_all_or_nothing() {
    const END: &str = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and application_name = 'liteferry'";
    for more in [0, MANY] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        sides.write("update t set n = 99");
        sides.add_rows("t", more);
        let all = || vec![vec![sides.changed("t", "select id from t")]];
        // While rows are written, and with nothing left but the commit.
        let url = sides.url().to_owned();
        let ended = async move {
            tokio::task::spawn_blocking(move || psql(&url, END)).await.expect("sessions are ended");
            Ok(())
        };
        let fault = applier.apply_with((1, 2), all(), Extent::Whole, ended).expect_err("the session ended");
        assert!(matches!(fault.class, FaultClass::Transient | FaultClass::Unknown), "{fault:?}");
        assert_eq!(applier.position().expect("a position on another session"), at(1));
        // Between two batches; that it has ended may be found out only by the next that is sent.
        sides.target(END);
        if let Err(fault) = applier.apply((1, 2), all(), Extent::Whole) {
            assert!(matches!(fault.class, FaultClass::Transient | FaultClass::Unknown), "{fault:?}");
            assert_eq!(applier.position().expect("a position on another session"), at(1));
            applier.apply((1, 2), all(), Extent::Whole).expect("another session is made");
        }
        sides.equal();
    }
}

#[test]
fn the_position_waits_for_a_commit_in_doubt() {
    let sides = Sides::copied(PAIRS);
    let mut applier = sides.applier("me");
    let url = sides.url().to_owned();
    let in_doubt = HeldSession::open(&url);
    in_doubt.run("begin; update liteferry.follow set seq = 2, nonce = 20");
    let doubt = std::thread::spawn(move || {
        let waits =
            "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        until("somebody waits for it", || !psql(&url, waits).is_empty());
        in_doubt.run("commit");
    });
    assert_eq!(applier.position().expect("a position"), at(2));
    doubt.join().expect("the other thread ends well");
}

#[test]
fn rows_that_a_trigger_swallows_are_missed() {
    for more in [0, MANY] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        sides.target(
            "create function swallow() returns trigger language plpgsql as 'begin return null; end';
             create trigger swallow before insert on t for each row when (new.id = 2) execute function swallow()",
        );
        sides.write("update t set n = 99");
        sides.add_rows("t", more);
        let portion = vec![sides.changed("t", "select id from t")];
        let fault = applier.apply((1, 2), vec![portion], Extent::Whole).expect_err("a row is missed");
        assert_eq!((fault.class, fault.code), (FaultClass::Fatal, "rows_swallowed"));
        assert_eq!(applier.position().expect("a position"), at(1));
    }
}

#[test]
fn as_a_replica_triggers_and_foreign_keys_sleep() {
    let sides = Sides::mapped(
        "create table parent (id integer primary key, v text); insert into parent values (1, 'a');
         create table child (id integer primary key, p integer); insert into child values (1, 1)",
        "create table parent (id bigint primary key, v text);
         create table child (id bigint primary key, p bigint references parent on delete cascade);
         create function meddle() returns trigger language plpgsql as $$ begin new.v := 'meddled'; return new; end $$;
         create trigger meddle before insert on parent for each row execute function meddle()",
    );
    let mut applier = sides.applier_in("me", LoadRole::Replica);
    sides.write("update parent set v = 'b'; update child set p = 77");
    for (from, more) in [(1, 0), (2, MANY)] {
        sides.add_rows("parent", more);
        let portion = vec![sides.changed("child", "1"), sides.changed("parent", "select id from parent")];
        applier.apply((from, from + 1), vec![portion], Extent::Whole).expect("a batch is applied");
        sides.equal();
    }
}

#[test]
fn a_table_without_an_index_is_written_by_hash_and_loses_its_duplicates() {
    let sides = Sides::copied(
        "create table t (id integer primary key, v text, n numeric); insert into t values (1, 'a', 1)",
    );
    sides.target("alter table t drop constraint t_pkey; insert into t select * from t");
    sides.write("delete from t");
    sides.add_rows("t", 100_000);
    sides.target("insert into t select i, 'old', 0 from generate_series(1001, 101000) i");
    let mut applier = sides.applier("me");
    let stretch = |start: usize| format!("select id from t where id > {start} and id <= {}", start + 10_000);
    let keys = (0..11).map(|part| stretch(1000 + part * 10_000)).chain(["1".into()]);
    let portions: Vec<_> = keys.map(|keys| vec![sides.changed("t", &keys)]).collect();
    let started = Instant::now();
    let applied = applier.apply((1, 2), portions, Extent::Part).expect("a batch is applied");
    let took = started.elapsed();
    println!("100,000 rows over 100,000 old ones without an index: {took:?}");
    assert_eq!(applied.written, 100_000);
    sides.equal();
    assert!(took < *PATIENCE, "a nested loop would not have ended");
}

#[test]
fn few_changes_of_a_table_without_an_index_cost_one_look_at_it() {
    let sides =
        Sides::copied("create table t (id integer primary key, v text); insert into t values (1, 'a')");
    sides.target("alter table t drop constraint t_pkey");
    sides.add_rows("t", 5000);
    // A session of its own each time: before version 15 the counts of a session that idles are not seen until it ends.
    let apply = |seq: i64, keys: &str| {
        let portion = vec![sides.changed("t", keys)];
        sides.applier("me").apply((seq, seq + 1), vec![portion], Extent::Whole).expect("a batch is applied");
        sides.equal();
    };
    apply(1, "select id from t");
    let few = "select id from t limit 200";
    apply(2, few);
    let of_t = "from pg_stat_user_tables where relname = 't'";
    sides.until(&format!("select n_tup_del >= 200 {of_t}"), "t");
    assert_eq!(sides.rows(&format!("select seq_scan < 100 {of_t}")), ["t"]);
    // With an index, keys are looked up one by one.
    sides.target("alter table t add primary key (id)");
    apply(3, few);
    sides.until(&format!("select idx_scan >= 200 {of_t}"), "t");
}

/// What is staged has no statistics, and the planner would rather read the whole table.
#[test]
fn many_changes_of_a_large_table_are_found_by_their_keys() {
    let sides = Sides::copied(
        "create table t (id integer primary key, v text);
         with recursive n (i) as (select 2000001 union all select i + 1 from n where i < 2060000) insert into t select i, 'old' from n",
    );
    sides.add_rows("t", MANY);
    let (of_t, changed) =
        ("from pg_stat_user_tables where relname = 't'", "select id from t where id < 2000000");
    let scans = || sides.rows(&format!("select seq_scan {of_t}"));
    for (seq, deleted) in [(1, 0), (2, MANY)] {
        let before = scans();
        let portion = vec![sides.changed("t", changed)];
        let mut applier = sides.applier("me");
        applier.apply((seq, seq + 1), vec![portion], Extent::Whole).expect("a batch is applied");
        drop(applier);
        sides.until(&format!("select n_tup_ins >= {} {of_t}", 60_000 + deleted + MANY), "t");
        sides.until(&format!("select n_tup_del = {deleted} {of_t}"), "t");
        assert_eq!(scans(), before, "the table was read through");
    }
    sides.equal();
}

/// A commit that waits for a standby has happened and is not seen: its answer can be lost at leisure.
#[test]
fn a_commit_whose_answer_was_lost_is_looked_up() {
    let server = Waiting::start();
    let sides = Sides::copied_into(PAIRS, server.database("doubt"));
    sides.write("update t set n = 99");
    let mut applier = sides.applier_that_waits("me");
    let ending = ended_while_it_waits(sides.url().to_owned());
    let portion = vec![sides.changed("t", "select id from t")];
    let fault = applier.apply((1, 2), vec![portion], Extent::Whole).expect_err("no answer comes");
    assert_eq!((fault.class, fault.code), (FaultClass::Unknown, "commit_unknown"));
    assert_eq!(applier.position().expect("a position"), at(2));
    assert_eq!(ending.join().expect("the session is ended")[0][0].as_deref(), Some("1"));
    sides.equal();
}

/// What is lost with a target's last moments is applied again; what the source forgets must not be lost.
#[test]
fn a_batch_does_not_wait_for_the_targets_disk_but_settling_does() {
    let server = Waiting::start();
    let sides = Sides::copied_into(PAIRS, server.database("settled"));
    sides.write("update t set n = 99");
    sides.target("alter database settled set synchronous_commit = on");
    let mut applier = sides.applier("me");
    let portion = vec![sides.changed("t", "select id from t")];
    applier.apply((1, 2), vec![portion], Extent::Whole).expect("it does not wait");
    assert_eq!(applier.position().expect("a position"), at(2));
    let ending = ended_while_it_waits(sides.url().to_owned());
    applier.settle().expect_err("it waits for a standby that never comes");
    ending.join().expect("the session is ended");
    sides.equal();
}

/// Ends the session whose commit waits for a standby; gives the position that others see meanwhile.
fn ended_while_it_waits(url: String) -> JoinHandle<Vec<Vec<Option<String>>>> {
    let waits = "from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep'";
    std::thread::spawn(move || {
        until("a commit waits", || !psql(&url, &format!("select {waits}")).is_empty());
        let seen = psql(&url, "select seq from liteferry.follow");
        psql(&url, &format!("select pg_terminate_backend(pid) {waits}"));
        seen
    })
}
