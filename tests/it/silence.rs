//! Connections whose bytes are swallowed on the way, sessions that end alone, targets that fall back in the middle of a step: the daemon
//! waits for nothing without an end, and takes nothing of it for done.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held::HeldSession;
use crate::support::swallow::Swallower;
use crate::support::{PATIENCE, application, database, postgres_major, psql};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, u text unique); insert into t values (1, 'a'), (3, 'c')";
/// An index is not begun before the lock is free.
const SLOW_INDEX: &str = "create function wait() returns event_trigger language plpgsql as
        $$ begin if current_query() ilike '%unique%' and current_query() not ilike '%liteferry.%' then perform pg_advisory_xact_lock(7); end if; end $$;
    create event trigger wait on ddl_command_start when tag in ('CREATE INDEX', 'ALTER TABLE') execute function wait()";
const WAITING: &str =
    "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";

const CLAIMS: &str = "from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";

#[track_caller]
fn wait(daemon: &Daemon, what: &str, ready: impl Fn() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < *PATIENCE, "waited in vain: {what}\n{}", daemon.log());
        sleep(Duration::from_millis(100));
    }
}

fn is_followed(daemon: &Daemon, case: &Case) -> bool {
    is_caught_up(daemon, case) && daemon.status().is_some_and(|status| status["phase"] == "dual-write")
}

fn is_caught_up(daemon: &Daemon, case: &Case) -> bool {
    // There is no such table before capture is armed.
    let newest = application(&case.source.path)
        .query_row("select max(seq) from _liteferry_change", [], |row| row.get(0))
        .unwrap_or(i64::MAX);
    daemon.status().is_some_and(|status| {
        status["run"]["state"] == "running" && status["target"]["position"]["seq"].as_i64() >= Some(newest)
    })
}

/// `block` stops the daemon at some work until `release`; meanwhile all its links are swallowed.
fn swallowed_while(block: &str, release: &str) {
    let case = Case::new(SOURCE);
    psql(&case.target.url, SLOW_INDEX);
    let blocker = HeldSession::open(&case.target.url);
    blocker.run(block);
    let proxy = Swallower::before(&case.target);
    let daemon = Daemon::start(&case.source, &proxy.url(&case.target), &["--set", "validate.every=1h"]);
    wait(&daemon, "work that waits", || !case.rows(WAITING).is_empty());
    proxy.swallow();
    blocker.run(release);
    wait(&daemon, "the work is done after all", || is_followed(&daemon, &case));
    case.app("insert into t values (9, 'z')");
    wait(&daemon, "what came later", || is_followed(&daemon, &case));
    let unique = case.rows("select 1 from pg_index where indisunique and indrelid = 't'::regclass");
    assert_eq!(unique.len(), 2, "{}", daemon.log());
    case.is_equal();
}

/// A guardian that had the daemon restarted would have the index begun anew each time.
#[test]
fn an_index_that_takes_long_is_no_standstill() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, SLOW_INDEX);
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("select pg_advisory_lock(7)");
    let daemon = case.daemon(&[]);
    wait(&daemon, "an index that waits", || !case.rows(WAITING).is_empty());
    let age = || daemon.status().and_then(|status| status["tick_age_seconds"].as_u64());
    for _ in 0..6 {
        sleep(Duration::from_secs(1));
        assert!(age().is_some_and(|age| age < 4), "{}", daemon.log());
    }
    blocker.run("select pg_advisory_unlock(7)");
    wait(&daemon, "following", || is_followed(&daemon, &case));
}

/// As at the peak of an application that holds every connection there is.
#[test]
fn an_index_goes_on_while_nobody_can_connect_to_ask_for_it() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, SLOW_INDEX);
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("select pg_advisory_lock(7)");
    let daemon = case.daemon(&[]);
    let name = &case.target.name;
    let admin = case.target.url.replace(name, "postgres");
    let waiting =
        format!("select pid from pg_stat_activity where datname = '{name}' and wait_event_type = 'Lock'");
    wait(&daemon, "an index that waits", || !psql(&admin, &waiting).is_empty());
    let before = psql(&admin, &waiting);
    psql(&admin, &format!("alter database {name} allow_connections false"));
    // Longer than it takes to look.
    sleep(Duration::from_secs(12));
    psql(&admin, &format!("alter database {name} allow_connections true"));
    assert_eq!(psql(&admin, &waiting), before, "{}", daemon.log());
    blocker.run("select pg_advisory_unlock(7)");
    wait(&daemon, "following", || is_followed(&daemon, &case));
}

#[test]
fn an_index_whose_answer_is_swallowed_is_not_waited_for_for_ever() {
    swallowed_while("select pg_advisory_lock(7)", "select pg_advisory_unlock(7)");
}

#[test]
fn a_load_whose_answer_is_swallowed_is_not_waited_for_for_ever() {
    // The load's own transaction begins by looking at constraints; whatever writes the ranges waits here.
    let lock = "create function stop() returns event_trigger language plpgsql as $$ begin
            if exists (select from pg_event_trigger_ddl_commands() where object_identity = 'public.t') then
                create trigger slow before insert on public.t for each statement execute function public.slow(); end if; end $$;
        create function slow() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(8); return null; end $$;
        create event trigger stop on ddl_command_end when tag in ('CREATE TABLE') execute function stop();
        select pg_advisory_lock(8)";
    swallowed_while(lock, "select pg_advisory_unlock(8)");
}

#[test]
fn a_daemon_that_has_nothing_to_do_notices_that_its_links_are_dead() {
    let case = Case::new(SOURCE);
    let proxy = Swallower::before(&case.target);
    let mut daemon = Daemon::start(&case.source, &proxy.url(&case.target), &[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let claim = format!("select pid {CLAIMS}");
    let held = case.rows(&claim);
    proxy.swallow();
    // Which of its links tells first is as it happens.
    wait(&daemon, "a word of it", || daemon.log().contains("interrupted, goes on by itself"));
    case.app("insert into t values (9, 'z')");
    wait(&daemon, "what came later", || is_followed(&daemon, &case));
    // The server heard of nothing: what it still held for us is ended, or nobody could follow.
    assert!(case.rows(&claim) != held && case.rows(&claim).len() == 1, "{held:?}");
    case.is_equal();
}

#[test]
fn a_comparison_whose_answer_is_swallowed_begins_anew() {
    let case = Case::new(SOURCE);
    let proxy = Swallower::before(&case.target);
    let mut daemon = Daemon::start(&case.source, &proxy.url(&case.target), &["--set", "validate.every=10s"]);
    daemon.until(|status| status["phase"] == "dual-write");
    let ended = || daemon.log().matches("validation ended").count();
    wait(&daemon, "a first comparison", || ended() > 0);
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("begin; lock table t in access exclusive mode");
    wait(&daemon, "a comparison that waits", || !case.rows(WAITING).is_empty());
    let before = ended();
    proxy.swallow();
    blocker.run("rollback");
    wait(&daemon, "another comparison", || ended() > before);
    case.app("insert into t values (9, 'z')");
    wait(&daemon, "what came later", || is_followed(&daemon, &case));
}

#[test]
fn a_question_of_the_control_path_has_an_end() {
    use liteferry::journal::store::Store;
    use liteferry::postgres::connect::pool;
    use liteferry::postgres::url::Target;
    let target = database();
    let proxy = Swallower::before(&target);
    let address = Target::parse(&proxy.url(&target), &|_| None).expect("a URL");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let store = runtime.block_on(async { Store::new(pool(&address).await.expect("the server answers")) });
    runtime.block_on(store.upgrade()).expect("the schema is made");
    let blocker = HeldSession::open(&target.url);
    blocker.run("begin; lock table liteferry.journal in access exclusive mode");
    let asked = runtime.spawn(async move { store.note("what", "detail").await });
    while psql(&target.url, WAITING).is_empty() {
        sleep(Duration::from_millis(50));
    }
    proxy.swallow();
    blocker.run("rollback");
    let ended = runtime.block_on(async { tokio::time::timeout(*PATIENCE, asked).await });
    let fault = ended.expect("an end").expect("no panic").expect_err("no answer");
    assert_eq!(fault.code, "postgres_unreachable", "{fault:?}");
}

#[test]
fn a_claim_that_was_lost_alone_is_taken_again() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let claim = case.rows(&format!("select pid {CLAIMS}"));
    assert_eq!(claim.len(), 1);
    psql(&case.target.url, &format!("select pg_terminate_backend(pid) {CLAIMS}"));
    wait(&daemon, "another claim", || {
        let now = case.rows(&format!("select pid {CLAIMS}"));
        now.len() == 1 && now != claim
    });
    assert!(daemon.log().contains("claim_lost"), "{}", daemon.log());
    assert_eq!(case.daemon(&[]).exit(), Some(3), "a second daemon is kept away again");
    case.app("insert into t values (9, 'z')");
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn what_time_an_application_is_allowed_is_not_what_we_are_allowed() {
    let many = "with recursive i (n) as (select 4 union all select n + 1 from i where n < 20000)
        insert into t select n, 'value ' || n from i";
    let case = Case::new(&format!("{SOURCE}; {many}"));
    let name = &case.target.name;
    let mut short = vec!["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    short.extend((postgres_major() >= 14).then_some("idle_session_timeout"));
    short.extend((postgres_major() >= 17).then_some("transaction_timeout"));
    // Its own session would not live to set the next one. Of an idle one PostgreSQL counts from the login on: none is to be lost on a slow machine
    // before it can say a word.
    let set = |setting: &&str| {
        let allowed = if *setting == "idle_session_timeout" { "250ms" } else { "20ms" };
        format!("alter database {name} set {setting} = '{allowed}'")
    };
    psql(&case.target.url, &short.iter().map(set).collect::<Vec<_>>().join(";"));
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["validation"]["verdict"] == "equal");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    let log = daemon.log();
    assert!(!log.contains("idle_timeout") && !log.contains("interrupted"), "{log}");
}

/// Two daemons that are each cut off for a moment would hand it to one another for ever.
#[test]
fn a_daemon_that_lost_the_migration_does_not_take_it_back_from_one_that_is_cut_off() {
    let case = Case::new(SOURCE);
    let mut first = case.daemon(&[]);
    first.until(|status| status["phase"] == "dual-write");
    let owner = || case.rows("select owner from liteferry.follow");
    let before = owner();
    first.signal("-STOP");
    let cut_off = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    psql(&case.target.url, cut_off);
    let mut second = case.daemon(&[]);
    wait(&second, "the second daemon has it", || owner() != before);
    second.until(|status| status["run"]["state"] == "running");
    second.signal("-STOP");
    psql(&case.target.url, cut_off);
    first.signal("-CONT");
    assert_eq!(first.exit(), Some(3));
    second.signal("-CONT");
    case.app("insert into t values (9, 'z')");
    second.drained(&case.source);
    case.is_equal();
}

/// The word that it was given is in the answer that is swallowed: the migration bears one that it never heard of.
#[test]
fn a_daemon_that_took_the_migration_and_did_not_hear_of_it_goes_on() {
    let case = Case::new(SOURCE);
    let proxy = Swallower::before(&case.target);
    let mut daemon = Daemon::start(&case.source, &proxy.url(&case.target), &[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("begin; select from liteferry.follow for update");
    psql(&case.target.url, &format!("select pg_terminate_backend(pid) {CLAIMS}"));
    let taking = format!("{WAITING} and query ilike '%owner_name =%'");
    wait(&daemon, "it takes the migration again", || !case.rows(&taking).is_empty());
    let owner = || case.rows("select owner from liteferry.follow");
    let before = owner();
    proxy.swallow();
    blocker.run("rollback");
    wait(&daemon, "the server has given it", || owner() != before);
    case.app("insert into t values (9, 'z')");
    wait(&daemon, "what came later", || is_followed(&daemon, &case));
    case.is_equal();
}

#[test]
fn an_index_that_a_target_refused_after_it_fell_back_is_made_all_the_same() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, SLOW_INDEX);
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("select pg_advisory_lock(7)");
    let mut daemon = case.daemon(&[]);
    let index = format!("{WAITING} and query ilike '%unique%'");
    wait(&daemon, "an index that waits", || !case.rows(&index).is_empty());
    // As if another catching up had gone further, and a failover had taken half of it back: two rows of different times, and a position
    // that the index was not begun at. Of the row that is wrong a change is still to come.
    case.app("update t set u = 'b' where id = 1; insert into t values (2, 'a')");
    let db = application(&case.source.path);
    let sql = "select min(seq), nonce from _liteferry_change where seq > 1";
    let (seq, nonce): (i64, i64) =
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a line");
    drop(db);
    case.app("update t set u = 'c2' where id = 1; delete from t where id = 2; insert into t values (2, 'a')");
    let fallen =
        format!("insert into t values (2, 'a'); update liteferry.follow set seq = {seq}, nonce = {nonce}");
    psql(&case.target.url, &fallen);
    blocker.run("select pg_advisory_unlock(7)");
    wait(&daemon, "the refusal is met", || daemon.log().contains("position_moved"));
    wait(&daemon, "following", || is_followed(&daemon, &case));
    let unique = case.rows("select 1 from pg_index where indisunique and indrelid = 't'::regclass");
    assert_eq!(unique.len(), 2, "{}", daemon.log());
    assert!(case.rows("select 1 from liteferry.step where outcome <> 'done'").is_empty());
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn an_order_given_while_tables_are_brought_together_is_carried_out_afterwards() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&["--set", "validate.on=false"]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();
    psql(&case.target.url, "update t set u = 'edited by hand' where id = 3");
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("begin; lock table t in access exclusive mode");
    let mut daemon = case.daemon(&["--set", "validate.on=false", "--resync"]);
    wait(&daemon, "a comparison that waits", || !case.rows(WAITING).is_empty());
    let (status, answer) = daemon.post("/v1/validation", "{}");
    assert_eq!(status, 202, "{answer}");
    assert!(
        case.rows("select 1 from liteferry.captured where suspect").len() == 1,
        "they are not together yet"
    );
    blocker.run("rollback");
    let validated = daemon.until(|status| status["validation"]["verdict"] == "equal");
    assert_eq!(validated["run"]["state"], "running", "{validated:#}");
    assert!(case.rows("select 1 from liteferry.captured where suspect").is_empty());
    let noted = case.rows("select detail from liteferry.journal where what = 'validation'");
    assert_eq!(noted.len(), 1, "{noted:?}");
    case.is_equal();
}

/// As a table that translates addresses forgets one connection, and keeps the others: the claim's own says nothing of it.
fn goes_on_past(words: &'static str, phase: &str) {
    let case = Case::new(SOURCE);
    let proxy = Swallower::before(&case.target);
    let daemon = match phase {
        "setup" => {
            proxy.swallow_at(words);
            Daemon::start(&case.source, &proxy.url(&case.target), &[])
        }
        _ => {
            let mut daemon = Daemon::start(&case.source, &proxy.url(&case.target), &[]);
            daemon.until(|status| status["validation"]["verdict"] == "equal");
            if phase == "validate" {
                daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
                daemon.until(|status| status["gates"]["switch"]["open"] == true);
            }
            proxy.swallow_at(words);
            daemon
        }
    };
    if phase == "dual-write" {
        let (status, answer) = daemon.post("/v1/phase", r#"{"to":"validate"}"#);
        assert_eq!(status, 202, "{answer}");
    }
    wait(&daemon, "the link is swallowed", || proxy.has_swallowed());
    let began = Instant::now();
    wait(&daemon, "a word of it", || daemon.log().contains("answer_missing"));
    assert!(began.elapsed() < Duration::from_secs(45), "{}", daemon.log());
    wait(&daemon, "it goes on", || is_caught_up(&daemon, &case));
    case.app("insert into t values (9, 'z')");
    wait(&daemon, "what came later", || is_caught_up(&daemon, &case));
    case.is_equal();
}

#[test]
fn a_setup_goes_on_past_a_link_that_was_swallowed_at_a_look_at_the_catalog() {
    goes_on_past("-- Every name in schema", "setup");
}

#[test]
fn the_way_back_is_laid_past_a_link_that_was_swallowed_at_it() {
    goes_on_past("create trigger liteferry_capture", "dual-write");
}

#[test]
fn following_goes_on_past_a_link_that_was_swallowed_at_a_look_at_the_triggers() {
    goes_on_past("-- The triggers of migration", "validate");
}

#[test]
fn a_setup_whose_links_are_all_swallowed_is_not_waited_for_for_ever() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, SLOW_TABLE);
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("select pg_advisory_lock(9)");
    let proxy = Swallower::before(&case.target);
    let daemon = Daemon::start(&case.source, &proxy.url(&case.target), &[]);
    wait(&daemon, "a table that waits", || !case.rows(WAITING).is_empty());
    proxy.swallow();
    blocker.run("select pg_advisory_unlock(9)");
    // Which of its links tells first is as it happens.
    wait(&daemon, "a word of it", || daemon.log().contains("interrupted, goes on by itself"));
    wait(&daemon, "following", || is_followed(&daemon, &case));
    case.is_equal();
}

/// A table is not made before the lock is free.
const SLOW_TABLE: &str = "create function wait() returns event_trigger language plpgsql as
        $$ begin if current_query() ilike '%public%' then perform pg_advisory_xact_lock(9); end if; end $$;
    create event trigger wait on ddl_command_start when tag in ('CREATE TABLE') execute function wait()";

/// However long it takes.
#[test]
fn a_statement_that_the_server_is_at_is_not_cut_short() {
    use liteferry::postgres::connect::connect;
    use liteferry::postgres::url::Target;
    let target = database();
    let address = Target::parse(&target.url, &|_| None).expect("a URL");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let session = connect(&address).await.expect("the server answers");
        let row = session.query_one("select 7 from pg_sleep(26)", &[]).await.expect("it is not ended");
        assert_eq!(row.get::<_, i32>(0), 7);
    });
}

/// A guardian that had the daemon restarted would gain nothing by it, and nobody would learn what it waits for.
#[test]
fn a_lock_that_is_held_for_long_is_named_and_is_no_standstill() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["validation"]["verdict"] == "equal");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("begin; lock table t in access exclusive mode");
    case.app("insert into t values (9, 'z')");
    let named = || daemon.log().matches("code=\"lock_timeout\"").count();
    let began = Instant::now();
    while named() < 2 {
        assert!(began.elapsed() < Duration::from_secs(45), "{}", daemon.log());
        let (healthy, told) = daemon.get("/healthz").expect("it answers");
        assert_eq!(healthy, 200, "{told}\n{}", daemon.log());
        sleep(Duration::from_millis(200));
    }
    blocker.run("rollback");
    wait(&daemon, "what waited", || is_caught_up(&daemon, &case));
    case.is_equal();
}
