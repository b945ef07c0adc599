//! Faults as an operator meets them, provoked on real databases: the code, the exit, and a remedy that does what it says.

mod archive;
mod place;
mod records;
mod server;
mod target;

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{Output, application, finished, liteferry, until};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const SHOP: &str = "pragma journal_mode = wal;
    create table item (id integer primary key, name text);
    create table line (item int not null, place int not null, n int, primary key (item, place));
    insert into item values (1, 'a'), (2, 'b');
    insert into line values (1, 1, 5);";

impl Case {
    fn typed(&self, args: &[&str]) -> Output {
        let source = self.source.path.display().to_string();
        let state = format!("state.dir={source}.state");
        let sides = ["--source", &source, "--target", &self.target.url, "--set", &state];
        liteferry(&[args, &sides].concat())
    }

    /// Whether the application may write to every table.
    fn writes(&self, id: i64) -> Result<(), String> {
        let sql = format!("insert into item values ({id}, 'new'); insert into line values ({id}, 1, 1)");
        application(&self.source.path).execute_batch(&sql).map_err(|error| error.to_string())
    }

    fn following(&self) -> Daemon {
        let mut daemon = self.daemon(&[]);
        daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
        daemon
    }

    fn led_over(&self) -> Daemon {
        let mut daemon = self.validated(&[]);
        daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
        daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
        daemon
    }
}

/// A halt, with all the words of its remedy.
#[track_caller]
fn halts(daemon: &mut Daemon, code: &str, remedy: &[&str]) {
    let status = daemon.until(|status| status["run"]["state"] == "halted");
    let reason = &status["run"]["reason"];
    assert_eq!(reason["code"], code, "{reason:#}");
    let told = reason["remedy"].as_str().expect("a remedy is text");
    remedy.iter().for_each(|word| assert!(told.contains(word), "{word}: {told}"));
}

#[track_caller]
fn refused(output: Output, code: &str, remedy: &str) {
    let told = output.exits_with(1).stderr;
    assert!(told.contains(&format!("[{code}]")), "wanted {code}: {told}");
    let told = told.split_once("→").expect("there is a remedy").1;
    assert!(told.contains(remedy), "wanted {remedy}: {told}");
}

#[test]
fn a_change_table_that_was_dropped_is_named_and_both_remedies_work() {
    let case = Case::new(SHOP);
    let mut daemon = case.following();
    case.app("drop table _liteferry_change");
    halts(&mut daemon, "capture_log_lost", &["--resync", "liteferry detach", "cannot write"]);
    assert!(case.writes(3).unwrap_err().contains("_liteferry_change"), "the triggers outlive it");
    assert_eq!(daemon.stop(), Some(0));
    // A repair without the daemon, and a daemon that is started anew, find the same.
    case.rows("delete from item where id = 2");
    refused(case.typed(&["validate", "--repair"]), "capture_log_lost", "--resync");
    let mut daemon = case.daemon(&[]);
    halts(&mut daemon, "capture_log_lost", &["--resync"]);
    assert_eq!(daemon.stop(), Some(0));

    let mut daemon = case.daemon(&["--resync"]);
    case.resynced(&mut daemon);
    case.writes(4).unwrap();
    daemon.drained(&case.source);
    case.is_equal();

    case.app("drop table _liteferry_change");
    halts(&mut daemon, "capture_log_lost", &["detach"]);
    daemon.kill();
    case.typed(&["detach", "--yes"]).exits_with(0);
    case.writes(5).unwrap();
}

#[test]
fn a_change_table_that_was_dropped_after_the_switch_is_there_again_after_the_rollback() {
    let case = Case::new(SHOP);
    let mut daemon = case.led_over();
    case.app("drop table _liteferry_change");
    case.rows("insert into item values (7, 'theirs')");
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write" && status["routing"]["writes"] == "sqlite");
    case.writes(8).unwrap();
    daemon.drained(&case.source);
    case.is_equal();
}

#[test]
fn who_is_not_let_in_is_told_that_the_role_may_be_missing() {
    let case = Case::new(SHOP);
    let (_, place) = case.target.url.split_once('@').expect("a role is named");
    let nobody = format!("postgres://nobody_here@{place}");
    let source = case.source.path.display().to_string();
    refused(
        liteferry(&["copy", "--source", &source, "--target", &nobody]),
        "login_refused",
        "the role exists and may log in",
    );
}

#[test]
fn a_schema_of_somebody_elses_that_bears_our_name_is_not_taken_for_a_rival() {
    let case = Case::new(SHOP);
    case.rows("create schema liteferry; create table liteferry.migration (x int)");
    for _ in 0..2 {
        refused(case.typed(&["copy"]), "state_schema", "alter schema liteferry rename to");
    }
    case.rows("alter schema liteferry rename to theirs");
    case.typed(&["copy"]).exits_with(0);
    let later =
        "insert into liteferry.schema_version (version, description, success, checksum, execution_time)
                 values (999, 'later', true, '', 0)";
    case.rows(later);
    refused(case.typed(&["copy", "--restart", "--yes"]), "journal_version", "made by another version");
}

#[test]
fn what_is_wrong_with_files_is_told_before_anything_is_touched() {
    let case = Case::new(SHOP);
    let source = case.source.path.display().to_string();
    let run = |settings: &str| case.typed(&["run", "--set", "http.listen=127.0.0.1:0", "--set", settings]);
    let token = format!("{source}.token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).unwrap();
    refused(run(&format!("http.token_file={token}")), "token_file_exposed", "chmod 0600");

    let below_a_file = ["run", "--source", &source, "--target", &case.target.url, "--set"];
    let state = format!("state.dir={source}/state");
    let told = liteferry(&[&below_a_file[..], &[&state, "--set", "http.listen=127.0.0.1:0"]].concat());
    refused(told, "state_dir_unusable", "may make or write to");

    let second = case.source.path.with_extension("second");
    std::fs::hard_link(&case.source.path, &second).unwrap();
    refused(case.typed(&["copy"]), "source_hard_links", "all names but one");
    std::fs::remove_file(second).unwrap();

    let other = Case::new(SHOP);
    case.typed(&["copy"]).exits_with(0);
    let source = other.source.path.display().to_string();
    let copied = liteferry(&["copy", "--source", &source, "--target", &case.target.url]);
    refused(copied, "other_source", "choose another target.schema");
}

/// The codes of what keeps a daemon from following, as `check` tells them.
fn blocking_run(case: &Case) -> Vec<String> {
    let told = case.typed(&["check", "--json"]).json();
    let blockers = told["blockers_of_run"].as_array().expect("a list").iter();
    blockers.map(|blocker| blocker["code"].as_str().expect("a code is text").to_owned()).collect()
}

#[test]
fn a_copy_in_the_way_of_a_daemon_is_taken_away_as_it_says() {
    let case = Case::new(SHOP);
    case.typed(&["copy"]).exits_with(0);
    let mut daemon = case.daemon(&[]);
    halts(&mut daemon, "copy_in_the_way", &["another target.schema", "drop schema liteferry cascade"]);
    assert_eq!(daemon.stop(), Some(0));
    assert!(blocking_run(&case).contains(&"copy_in_the_way".to_owned()));
    case.rows("drop schema liteferry cascade; drop table item, line");
    let daemon = case.following();
    assert_eq!(daemon.stop(), Some(0));

    // What is captured for one target is not begun into another.
    let elsewhere = Case { source: case.source, target: crate::support::database() };
    assert_eq!(blocking_run(&elsewhere), ["capture_other_migration"]);
    let mut daemon = elsewhere.daemon(&[]);
    halts(&mut daemon, "capture_other_migration", &["liteferry detach"]);
    assert_eq!(daemon.stop(), Some(0));
    elsewhere.typed(&["detach", "--yes"]).exits_with(0);
    assert_eq!(blocking_run(&elsewhere), Vec::<String>::new());
    elsewhere.following();
}

#[test]
fn a_copy_never_takes_the_place_of_what_a_daemon_follows() {
    let case = Case::new(SHOP);
    let copies = || [case.typed(&["copy"]), case.typed(&["copy", "--restart"])];
    let daemon = case.following();
    assert_eq!(daemon.stop(), Some(0));
    copies()
        .into_iter()
        .for_each(|copy| refused(copy, "migration_in_the_way", "`liteferry run` goes on with it"));

    let daemon = case.led_over();
    case.rows("insert into item values (7, 'theirs')");
    assert_eq!(daemon.stop(), Some(0));
    copies().into_iter().for_each(|copy| refused(copy, "migration_in_the_way", "would be lost"));
    assert_eq!(case.rows("select name from item where id = 7").len(), 1);
}

#[test]
fn after_the_switch_nothing_opens_sqlite_beside_postgres() {
    let case = Case::new(SHOP);
    let before = case.backup();
    let daemon = case.led_over();
    refused(case.typed(&["detach", "--yes"]), "writes_in_postgres", "liteferry rollback");
    let without = ["rollback", "--without-target", "--yes"];
    let source = case.source.path.display().to_string();
    let mut beside =
        daemon.client(&[&without[..], &["--source", &source, "--target", &case.target.url]].concat());
    refused(finished(beside.output().unwrap()), "daemon_running", "stop it first");
    assert_eq!(daemon.stop(), Some(0));
    refused(case.typed(&["validate", "--repair"]), "repair_way_back", "start `liteferry run`");
    let mut daemon = case.daemon(&["--resync"]);
    halts(&mut daemon, "writes_in_postgres", &["liteferry rollback"]);
    assert_eq!(daemon.stop(), Some(0));
    assert!(case.writes(9).unwrap_err().contains("moved to PostgreSQL"));

    // The file from before, in which nothing stands of liteferry.
    case.restore(&before);
    let mut daemon = case.daemon(&[]);
    halts(&mut daemon, "capture_missing", &["--resync"]);
    assert_eq!(daemon.stop(), Some(0));
}

/// Migrations that come one after the other: what was there as the daemon looked is gone as it reads.
#[test]
fn a_schema_that_never_stands_still_is_followed_once_it_does() {
    let case = Case::new(SHOP);
    let mut daemon = case.following();
    let (db, began, mut turn) = (application(&case.source.path), Instant::now(), 0);
    let mut name = "item".to_owned();
    while began.elapsed() < Duration::from_secs(3) {
        turn += 1;
        let next = format!("item_{turn}");
        let moved =
            format!("alter table {name} rename to {next}; insert into {next} values ({turn} + 100, 'new')");
        db.execute_batch(&moved).expect("no migration of the application's fails");
        name = next;
    }
    daemon.until(|status| status["run"]["state"] == "running" && status["lag"]["changes"] == 0);
    let there = format!("select from pg_class where relname = '{name}'");
    until("the table bears its last name", || !case.rows(&there).is_empty());
    daemon.drained(&case.source);
    let rows = case.rows(&format!("select id from {name}"));
    assert_eq!(rows.len(), turn + 2);
    assert_eq!(daemon.stop(), Some(0));
}

/// A migration of the application's that cannot be carried over halts; what it writes afterwards waits, and is said to.
#[test]
fn what_waits_behind_a_migration_that_halted_is_told() {
    let case = Case::new(SHOP);
    let mut daemon = case.following();
    case.rows("create view names as select name from item");
    case.app("alter table item drop column name");
    halts(&mut daemon, "still_depended_on", &["names"]);
    case.app("insert into item (id) values (10), (11), (12)");
    let told = daemon.until(|status| status["lag"]["changes"] == 3);
    assert!(told["lag"]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{told:#}");
    case.rows("drop view names");
    daemon.until(|status| status["run"]["state"] == "running" && status["lag"]["changes"] == 0);
}

#[test]
fn a_way_back_that_halted_goes_on_or_is_given_up_as_its_remedy_says() {
    let case = Case::new(SHOP);
    let mut daemon = case.led_over();
    case.app("alter table item add column extra");
    case.rows("insert into item values (7, 'theirs')");
    let remedy = ["put it back", "detach --open-sqlite", "drop schema liteferry cascade"];
    halts(&mut daemon, "reverse_schema_moved", &remedy);
    let name = case.source.path.file_name().unwrap().to_string_lossy().into_owned();
    let (status, told) = daemon.post("/v1/phase", &format!(r#"{{"to":"cleanup","confirm":"{name}"}}"#));
    assert_eq!((status, &told["code"]), (409, &"reverse_schema_moved".into()), "{told:#}");
    assert_eq!(daemon.stop(), Some(0));

    case.app("alter table item drop column extra");
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["run"]["state"] == "running" && status["reverse"]["changes"] == 0);
    let held = "select count(*) from item where id = 7";
    let back = || application(&case.source.path).query_row(held, [], |row| row.get(0)) == Ok(1);
    until("the row is back", back);

    case.app("alter table item add column extra");
    case.rows("insert into item values (8, 'theirs')");
    halts(&mut daemon, "reverse_schema_moved", &remedy);
    assert_eq!(daemon.stop(), Some(0));
    case.typed(&["detach", "--open-sqlite", "--yes"]).exits_with(0);
    case.rows("drop schema liteferry cascade; insert into item values (9, 'ours alone')");
    let ours = "select count(*) from pg_trigger where tgname like '%liteferry%'";
    assert_eq!(case.rows(ours), [[Some("0".to_owned())]]);
}

#[test]
fn sqlite_that_was_opened_without_postgres_is_what_postgres_is_made_equal_to() {
    let case = Case::new(SHOP);
    let daemon = case.led_over();
    assert_eq!(daemon.stop(), Some(0));
    case.typed(&["rollback", "--without-target", "--yes"]).exits_with(0);
    case.writes(3).unwrap();
    case.rows("insert into item values (30, 'given up')");
    let mut daemon = case.daemon(&[]);
    halts(
        &mut daemon,
        "source_opened",
        &["liteferry run --resync", "PostgreSQL equal to it", "a failover that lost it"],
    );
    assert_eq!(daemon.stop(), Some(0));
    let mut daemon = case.daemon(&["--resync"]);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
    case.writes(4).unwrap();
    daemon.drained(&case.source);
    case.is_equal();
}
