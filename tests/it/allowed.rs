//! A process that the system allows too little: one line says of what, nothing panics, and a daemon goes on by itself once it has enough.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{finished, psql};
use rusqlite::Connection;
use std::process::Command;

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, v text); insert into t values (1, 'a')";

/// Of files that are open already none is closed.
const FEW: &str = "8";

#[test]
fn a_process_that_is_allowed_too_little_says_of_what() {
    let case = Case::new(SOURCE);
    let source = case.source.path.display().to_string();
    for (command, limit, code) in [
        ("run", "ulimit -n 60", "files_used_up"),
        ("run", "ulimit -n 5", "files_used_up"),
        ("check", "ulimit -n 20", "files_used_up"),
        ("status", "ulimit -n 10", "files_used_up"),
        ("run", "ulimit -v 100000", "memory_limited"),
    ] {
        let mut limited = Command::new("sh");
        limited.args([
            "-c",
            &format!("{limit}; exec \"$0\" \"$@\""),
            env!("CARGO_BIN_EXE_liteferry"),
            command,
        ]);
        limited.args(["--source", &source, "--target", &case.target.url]);
        let refused = finished(limited.output().expect("a shell can be started")).exits_with(1);
        let named = refused.stderr.lines().filter(|line| line.contains(&format!("[{code}]"))).count();
        assert_eq!((named, refused.stderr.contains("panicked")), (1, false), "{limit}: {refused:#?}");
        assert!(refused.stderr.contains('→'), "it says what to do: {refused:#?}");
    }
}

/// The lower of the two limits, which systemd leaves at 1024, is the process's own to raise.
#[test]
fn what_a_process_may_allow_itself_it_does() {
    let case = Case::new(SOURCE);
    let mut daemon = Daemon::start_under(&["prlimit", "--nofile=20:4096"], &case.source, &case.target.url);
    daemon.until(|status| status["phase"] == "dual-write");
}

fn allow(daemon: &Daemon, files: &str) {
    let id = daemon.id().to_string();
    let set = Command::new("prlimit").args([&format!("--nofile={files}:4096"), "--pid", &id]).status();
    assert!(set.expect("prlimit can be run").success());
}

#[test]
fn a_daemon_that_runs_out_of_files_waits_until_it_has_some() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    // SQLite, which says no more than that it cannot open a file.
    daemon.at_rest(&case.source);
    allow(&daemon, FEW);
    let application = Connection::open(&case.source.path).expect("it opens");
    application.execute_batch("insert into t values (2, 'b')").expect("the application writes");
    let told =
        |daemon: &mut Daemon| daemon.wait_for(|daemon| daemon.log().contains("files_used_up").then_some(()));
    told(&mut daemon);
    allow(&daemon, "1024");
    daemon.drained(&case.source);
    // PostgreSQL, whose connections are made anew.
    allow(&daemon, FEW);
    psql(
        &case.target.url,
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()",
    );
    told(&mut daemon);
    application.execute_batch("insert into t values (3, 'c')").expect("the application writes");
    allow(&daemon, "1024");
    daemon.drained(&case.source);
    case.is_equal();
    assert!(!daemon.log().contains("halted"), "{}", daemon.log());
}
