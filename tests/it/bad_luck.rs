//! What goes wrong around a running daemon: it says which, loses nothing, and goes on by itself once it is mended.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::psql;
use crate::support::skipped::skipped;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, v text); insert into t values (1, 'a')";

fn reason(daemon: &mut Daemon, code: &str) {
    daemon.until(|status| status["run"]["reason"]["code"] == code);
}

#[test]
fn a_source_that_is_locked_for_good_at_the_start_is_waited_for_by_name() {
    let case = Case::new(SOURCE);
    let application = Connection::open(&case.source.path).expect("it opens");
    application
        .execute_batch("pragma locking_mode = exclusive; begin exclusive; update t set v = 'b'")
        .expect("locked");
    let mut daemon = case.daemon(&["--set", "source.busy_timeout_ms=200"]);
    daemon.until(|status| {
        let run = &status["run"];
        run["reason"]["code"] == "source_busy"
            && run["state"] == "degraded"
            && status["source"]["up"] == false
    });
    application.execute_batch("commit").expect("written");
    drop(application);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.drained(&case.source);
    case.is_equal();
}

/// What nobody can write back grows old all the same.
#[test]
fn the_way_back_tells_how_far_it_is_behind_while_sqlite_is_locked() {
    let case = Case::new(SOURCE);
    let mut daemon = case.switched(&["--set", "validate.on=false", "--set", "switch.validation_max_age=7d"]);
    let somebody = Connection::open(&case.source.path).expect("it opens");
    somebody.execute_batch("begin exclusive").expect("locked");
    psql(&case.target.url, "insert into t values (2, 'b')");
    daemon.until(|status| {
        let reverse = &status["reverse"];
        status["run"]["reason"]["code"] == "source_busy"
            && reverse["changes"].as_u64() > Some(0)
            && reverse["lag_seconds"].as_f64() > Some(1.0)
    });
    somebody.execute_batch("rollback").expect("let go");
    daemon.until(|status| status["run"]["state"] == "running" && status["reverse"]["changes"] == 0);
    case.is_equal();
}

#[test]
fn a_target_that_turns_read_only_is_waited_for_by_name() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let sessions = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let turn = |to: &str| {
        let name = &case.target.name;
        psql(&case.target.url, &format!("begin read write; alter database {name} {to}; commit; {sessions}"));
    };
    turn("set default_transaction_read_only = on");
    case.app("update t set v = 'while it took no writes'");
    daemon.until_told_by("read_only", || drop(psql(&case.target.url, sessions)));
    reason(&mut daemon, "read_only");
    turn("reset default_transaction_read_only");
    daemon.drained(&case.source);
    case.is_equal();
}

/// A server that breaks off whatever writes more than so many rows at once stands for one without the time or the memory.
#[test]
fn what_is_too_much_at_once_is_taken_in_smaller_pieces() {
    let case = Case::new(
        "pragma journal_mode = wal; create table u (id integer primary key, v text); create table t (id integer primary key, v text);
         with n(id) as (select 1 union all select id + 1 from n where id < 500) insert into t select id, 'v' || id from n",
    );
    // A count of the statement's rows, or of the transaction's, under the time at which that began.
    let most = |name: &str, began: &str, rows: u32| {
        format!(
            "create sequence {name}_refused;
             create function {name}(text) returns text language plpgsql immutable as $$
             declare began text := {began}; counted text[] := string_to_array(current_setting('test.{name}', true), '|');
                     rows int := case when counted[1] = began then counted[2]::int else 0 end + 1;
             begin
                 if rows > {rows} then
                     perform nextval('public.{name}_refused');
                     raise exception using errcode = '57014';
                 end if;
                 perform set_config('test.{name}', began || '|' || rows, false);
                 return $1;
             end $$;"
        )
    };
    let (at_once, together) =
        (most("at_once", "statement_timestamp()::text", 100), most("together", "now()::text", 10));
    psql(
        &case.target.url,
        &format!(
            "{at_once} {together}
             create table t (id bigint primary key, v text, c text generated always as (public.at_once(v)) stored);
             create table u (id bigint primary key, v text, c text generated always as (public.together(v)) stored)"
        ),
    );
    let mut daemon = case.daemon(&["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("with n(id) as (select 1 union all select id + 1 from n where id < 40) insert into u select id, 'v' from n");
    daemon.drained(&case.source);
    for (table, rows) in [("t", "500"), ("u", "40")] {
        assert_eq!(case.rows(&format!("select count(*) from {table}")), [[Some(rows.to_owned())]]);
    }
    assert_eq!(case.rows("select count(*) from liteferry.ledger"), [[Some("0".to_owned())]]);
    for function in ["at_once", "together"] {
        let refused = case.rows(&format!("select is_called and last_value > 1 from {function}_refused"));
        assert_eq!(refused, [[Some("t".to_owned())]], "{function}");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_right_that_is_taken_away_is_named_and_its_return_noticed() {
    let case = Case::new(SOURCE);
    let (role, name) = (format!("mover_{}", case.target.name), &case.target.name);
    psql(
        &case.target.url,
        &format!(
            "create role {role} login; grant create on database {name} to {role}; grant create on schema public to {role}"
        ),
    );
    let url = case.target.url.replace("postgres://postgres@", &format!("postgres://{role}@"));
    let mut daemon = Daemon::start(&case.source, &url, &[]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(&case.target.url, &format!("revoke insert on t from {role}"));
    case.app("insert into t values (2, 'b')");
    assert_eq!(daemon.halted(), "privilege_missing");
    assert!(daemon.log().contains("public.t"), "{}", daemon.log());
    psql(&case.target.url, &format!("grant insert on t to {role}"));
    daemon.drained(&case.source);
    let sessions = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'");
    psql(&case.target.url, &format!("alter role {role} nologin"));
    // Again and again, for one may be on its way in.
    daemon.until_told_by("login_refused", || drop(psql(&case.target.url, &sessions)));
    assert_eq!(daemon.halted(), "login_refused");
    psql(&case.target.url, &format!("alter role {role} login"));
    case.app("insert into t values (3, 'c')");
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn an_existing_schema_whose_right_is_taken_away_is_named_too() {
    let case = Case::new(SOURCE);
    let role = format!("filler_{}", case.target.name);
    let name = &case.target.name;
    psql(
        &case.target.url,
        &format!(
            "create table t (id bigint primary key, v text); create role {role} login; grant create on database {name} to {role};
             grant select, insert, update, delete on t to {role}"
        ),
    );
    let url = case.target.url.replace("postgres://postgres@", &format!("postgres://{role}@"));
    let mut daemon = Daemon::start(&case.source, &url, &["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    psql(&case.target.url, &format!("revoke delete on t from {role}"));
    case.app("delete from t");
    assert_eq!(daemon.halted(), "privilege_missing");
    psql(&case.target.url, &format!("grant delete on t to {role}"));
    daemon.drained(&case.source);
    case.is_equal();
}

/// Needs `libfaketime`; without it there is nothing to jump with.
#[test]
fn a_clock_that_jumps_disturbs_nothing() {
    let Some(library) = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| format!("/usr/lib/{machine}/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|library| Path::new(library).exists())
    else {
        return skipped("libfaketime is not installed");
    };
    let case = Case::new(SOURCE);
    let clock = case.source.path.with_extension("clock");
    // At once: nobody may read half of it.
    let set = |by: &str| {
        let next = clock.with_extension("next");
        std::fs::write(&next, by).and_then(|()| std::fs::rename(&next, &clock)).expect("the clock is set");
    };
    set("+0");
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("a plain path")),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut daemon =
        Daemon::start_told(&case.source, &case.target.url, &["--set", "validate.every=10s"], &environment);
    daemon.until(|status| status["phase"] == "dual-write");
    for (number, by) in ["-10d", "+0", "+10y", "-1h", "+0"].into_iter().enumerate() {
        set(by);
        case.app(&format!("insert into t values ({}, 'x')", 10 + number));
        let status = daemon.drained(&case.source);
        assert!(status["lag"]["seconds"].as_f64() < Some(30.0), "{by}: {status:#}");
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    case.is_equal();
}
