//! Links that are swallowed while rows are on their way: PostgreSQL waits for the rest of them, with all that they have locked, and whoever tries
//! again must not wait behind itself.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held::HeldSession;
use crate::support::swallow::Swallower;
use crate::support::{application, command, finished, liteferry, psql, until};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, u text unique); insert into t values (1, 'a'), (3, 'what is lost')";
/// Once an attempt is given up, the next one is not behind it: two bounds of a lock after one of an answer.
const SOON: Duration = Duration::from_secs(75);

fn is_caught_up(daemon: &Daemon, case: &Case) -> bool {
    let newest = application(&case.source.path)
        .query_row("select max(seq) from _liteferry_change", [], |row| row.get(0))
        .unwrap_or(i64::MAX);
    daemon.status().is_some_and(|status| {
        status["run"]["state"] == "running"
            && status["phase"] == "dual-write"
            && status["target"]["position"]["seq"].as_i64() >= Some(newest)
    })
}

#[test]
fn a_load_that_is_swallowed_among_its_rows_is_not_in_its_own_way() {
    let case = Case::new(SOURCE);
    let proxy = Swallower::before(&case.target);
    proxy.swallow_at("what is lost");
    let daemon = Daemon::start(&case.source, &proxy.url(&case.target), &[]);
    until("the rows are swallowed", || proxy.has_swallowed());
    let began = Instant::now();
    until("it follows", || is_caught_up(&daemon, &case));
    assert!(began.elapsed() < SOON, "{:?}\n{}", began.elapsed(), daemon.log());
    case.is_equal();
}

/// Its transaction is one of many statements, of which none is waited for by itself.
#[test]
fn a_copy_whose_beginning_is_swallowed_ends_soon_and_says_why() {
    for words in ["create table liteferry.range", "insert into liteferry.route"] {
        let case = Case::new(SOURCE);
        let proxy = Swallower::before(&case.target);
        proxy.swallow_at(words);
        let (source, target) = (case.source.path.display().to_string(), proxy.url(&case.target));
        let began = Instant::now();
        let copied = liteferry(&["copy", "--source", &source, "--target", &target]);
        assert!(proxy.has_swallowed(), "{words}");
        let said = &copied.stderr;
        assert!(began.elapsed() < SOON && said.contains("[answer_missing]"), "{:?}: {said}", began.elapsed());
        assert_eq!(copied.status, Some(1));
        // What it held is nobody's any more.
        let copied = liteferry(&["copy", "--source", &source, "--target", &target]);
        assert_eq!(copied.status, Some(0), "{}", copied.stderr);
    }
}

/// Whoever copies by hand expects that a lock is waited for, and wants to know whose it is.
#[test]
fn a_copy_waits_for_a_lock_and_says_whose_it_is() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, "create table t (id bigint primary key, u text unique, check (u <> 'none'))");
    let blocker = HeldSession::open(&case.target.url);
    blocker.run("set application_name = 'a migration'; begin; lock table t in access exclusive mode");
    let mut copy = command(&["copy", "--set", "target.mode=existing", "--source"]);
    copy.arg(&case.source.path).args(["--target", &case.target.url]);
    let copy =
        copy.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
    // Longer than one of its statements waits.
    sleep(Duration::from_secs(20));
    blocker.run("rollback");
    let copied = finished(copy.wait_with_output().expect("it ends"));
    assert_eq!(copied.status, Some(0), "{}", copied.stderr);
    assert!(copied.stderr.contains("a migration") && copied.stderr.contains("public.t"), "{}", copied.stderr);
}
