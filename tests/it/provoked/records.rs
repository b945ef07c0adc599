//! Records that do not fit: another migration's file, a repair before its time, an order that a halt comes between.

use super::{SHOP, halts, refused};
use crate::follow::Case;
use crate::support::held::HeldSession;
use crate::support::{application, finished, until};
use liteferry::link::Target as _;
use liteferry::model::history::Position;
use liteferry::plan::overrides::ExistingRows;
use liteferry::postgres::pair::PgHalf;
use liteferry::postgres::target::{LoadRole, PgTarget};
use liteferry::postgres::url::Target;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_file_of_another_migration_is_put_right_by_either_remedy() {
    let (ours, theirs) = (Case::new(SHOP), Case::new(SHOP));
    for case in [&ours, &theirs] {
        let mut daemon = case.following();
        daemon.drained(&case.source);
        assert_eq!(daemon.stop(), Some(0));
    }
    theirs.app("insert into item values (5, 'theirs')");
    let (right, wrong) = (ours.backup(), theirs.backup());
    ours.restore(&wrong);
    let remedy = ["put the right file back", "liteferry detach", "--resync"];
    let mut daemon = ours.daemon(&[]);
    halts(&mut daemon, "other_migration", &remedy);
    assert_eq!(daemon.stop(), Some(0));
    let mut daemon = ours.daemon(&["--resync"]);
    halts(&mut daemon, "other_migration", &remedy);
    assert_eq!(daemon.stop(), Some(0));
    refused(ours.typed(&["validate", "--repair"]), "other_migration", "put the right file back");

    ours.restore(&right);
    let mut daemon = ours.following();
    ours.app("insert into item values (3, 'ours')");
    daemon.drained(&ours.source);
    ours.is_equal();
    assert_eq!(daemon.stop(), Some(0));

    ours.restore(&wrong);
    ours.typed(&["detach", "--yes"]).exits_with(0);
    let mut daemon = ours.daemon(&["--resync"]);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
    assert_eq!(ours.rows("select name from item where id = 5")[0][0].as_deref(), Some("theirs"));
    ours.is_equal();
}

#[test]
fn a_repair_waits_for_the_backfill_to_end() {
    let case = Case::new(SHOP);
    case.rows("create table item (id bigint primary key, name text); create table line (item bigint, place bigint, n bigint, primary key (item, place))");
    let existing = ["--set", "target.mode=existing"];
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("begin; lock table item in share mode");
    let mut daemon = case.daemon(&existing);
    daemon.until(|status| status["phase"] == "backfill");
    daemon.kill();
    let repair = [&["validate", "--repair"], &existing[..]].concat();
    refused(case.typed(&repair), "repair_too_early", "let `liteferry run` end it");
    blocker.run("rollback");
    let mut daemon = case.daemon(&existing);
    daemon.until(|status| status["phase"] == "dual-write");
    assert_eq!(daemon.stop(), Some(0));
    case.typed(&repair).exits_with(0);
}

#[test]
fn rows_that_differ_at_the_switch_are_mended_as_it_says() {
    let case = Case::new(SHOP);
    let mut daemon = case.validated(&[]);
    case.app("insert into item values (3, 'c')");
    until("the row is there", || !case.rows("select from item where id = 3").is_empty());
    // Past the guards, as a superuser may.
    case.rows(
        "begin; create temp table firing as select tgname, tgenabled from pg_trigger where tgrelid = 'item'::regclass;
         alter table item disable trigger user; update item set name = 'theirs' where id = 3;
         do $$ declare it record; begin for it in select * from firing where tgenabled <> 'D' loop
             execute format('alter table item enable %s trigger %I', case it.tgenabled when 'A' then 'always' when 'R' then 'replica' else '' end, it.tgname);
         end loop; end $$; commit",
    );
    let told = daemon.refuses("/v1/phase", r#"{"to":"switch"}"#, "sides_differ");
    assert!(
        told["remedy"].as_str().is_some_and(|told| told.contains("liteferry validate --repair")),
        "{told:#}"
    );
    case.app("insert into item values (4, 'SQLite takes writes')");
    let mut repair = daemon.client(&["validate", "--repair"]);
    repair.arg("--source").arg(&case.source.path).args(["--target", &case.target.url]);
    finished(repair.output().expect("it can be started")).exits_with(0);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch");
    assert_eq!(case.rows("select name from item where id = 3")[0][0].as_deref(), Some("c"));
}

#[test]
fn whoever_waits_for_a_daemon_that_halts_is_told_its_reason() {
    let case = Case::new(SHOP);
    let mut daemon = case.validated(&[]);
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("begin; lock table item in access exclusive mode");
    let source = case.source.path.display().to_string();
    let mut asked = daemon.client(&["validate", "--source", &source, "--target", &case.target.url]);
    let asked = std::thread::spawn(move || finished(asked.output().expect("it can be started")));
    until("the comparison waits", || {
        !case.rows("select 1 from pg_locks where relation = 'item'::regclass and not granted").is_empty()
    });
    case.app("drop table _liteferry_change");
    daemon.until(|status| status["run"]["state"] == "halted");
    let told = asked.join().expect("it ends");
    assert!(told.stderr.contains("capture_log_lost"), "{told:#?}");
    refused(told, "daemon_halted", "--resync");
}

/// As one that stood still while another daemon led the writes over would meet it.
#[test]
fn sqlite_that_was_closed_meanwhile_is_not_fenced_again() {
    use liteferry::sqlite::capture::fence::Fence;
    use liteferry::sqlite::connect::SqliteFile;
    let case = Case::new(SHOP);
    let daemon = case.led_over();
    let token: String = application(&case.source.path)
        .query_row("select migration from _liteferry_control", [], |row| row.get(0))
        .expect("the control row is there");
    let file = SqliteFile::examine(&case.source.path, Duration::from_secs(5)).expect("the file is sound");
    let fault = Fence::take(&file, &token, Duration::from_secs(5)).expect_err("it is closed");
    assert_eq!(fault.code, "source_closed", "{fault:?}");
    assert!(fault.remedy.contains("start the daemon again"), "{fault:?}");
    assert_eq!(daemon.stop(), Some(0));
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "switch" && status["run"]["state"] == "running");
}

#[test]
fn an_entry_of_a_table_that_is_followed_no_more_keeps_no_other_from_being_read_again() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, n integer); insert into t values (1, 1)",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("insert into t values (2, 'two')");
    daemon.drained(&case.source);
    case.rows(
        "insert into liteferry.ledger (id, migration_id, source_table, key, column_name, class, raw, reason, standing)
         overriding system value select 900, migration_id, 'gone', key, column_name, class, raw, reason, standing from liteferry.ledger",
    );
    let one = daemon.refusal("/v1/ledger/900", r#"{"action":"retry"}"#);
    assert_eq!(one.expect("there is nothing to read")["code"], "no_such_entry");
    assert_eq!(daemon.refusal("/v1/ledger/all", r#"{"action":"retry"}"#), None);
    assert!(!daemon.log().contains("interrupted"), "{}", daemon.log());
}

#[test]
fn a_snapshot_is_half_of_a_pair_only_where_the_target_stands_there_and_a_target_without_records_is_not_written()
 {
    let case = Case::new(SHOP);
    let mut daemon = case.following();
    daemon.drained(&case.source);
    daemon.stop();
    let stands = case.rows("select migration_id, epoch, seq, nonce from liteferry.follow");
    let number =
        |at: usize| stands[0][at].as_deref().and_then(|text| text.parse::<i64>().ok()).expect("a number");
    let (migration, at) = (number(0), Position { epoch: number(1), seq: number(2), nonce: number(3) });
    let address = Arc::new(Target::parse(&case.target.url, &|_| None).expect("a URL"));
    let target =
        |migration| PgTarget::new(Arc::clone(&address), migration, LoadRole::Origin, ExistingRows::Refuse);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let half = async |at| PgHalf::of_target(&target(Some(migration)), migration, at).await.err();
        assert!(half(at).await.is_none());
        for other in [Position { seq: at.seq - 1, ..at }, Position { nonce: at.nonce ^ 1, ..at }] {
            assert_eq!(half(other).await.expect("it stands elsewhere").code, "pair_missed");
        }
        assert!(target(Some(migration)).loader().await.is_ok());
        assert_eq!(target(None).loader().await.err().expect("nowhere to record it").code, "no_migration");
    });
}
