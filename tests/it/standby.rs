//! A hot standby as the target: nothing can be copied into it, and all can be compared with it.

use crate::support::{OwnServer, liteferry, psql, sqlite, until};

#[test]
fn a_standby_takes_no_copy_and_proves_as_well_as_its_primary() {
    let file = sqlite(
        "create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b' || char(0));
         create table w (a text primary key, v) without rowid; insert into w values ('k', 1.5)",
    );
    let source = file.path.display().to_string();
    let mut primary = OwnServer::new();
    let standby = primary.standby();
    let (of_primary, of_standby) = (primary.url("postgres"), standby.url("postgres"));
    let run = |command, url: &str| liteferry(&[command, "--source", &source, "--target", url]);
    let caught_up = || wait_for(&of_standby, &psql(&of_primary, "select pg_current_wal_lsn()")[0][0]);
    assert_eq!(psql(&of_standby, "select pg_is_in_recovery()")[0][0].as_deref(), Some("t"));

    // Before anything is there, beside a finished copy, and beside one that could go on elsewhere.
    for state in ["", "complete", "loading"] {
        if !state.is_empty() {
            psql(&of_primary, &format!("update liteferry.migration set state = '{state}'"));
            caught_up();
        }
        let refused = run("copy", &of_standby).exits_with(1);
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(told.contains("[target_read_only]") && told.contains('→'), "{told}");
        run("copy", &of_primary).exits_with(0);
        caught_up();
    }

    let proof = run("validate", &of_standby).exits_with(0);
    assert!(proof.stdout.contains("verdict: equal + ledger"), "{}", proof.stdout);
    psql(&of_primary, "update t set v = 'x' where id = 1");
    caught_up();
    run("validate", &of_standby).exits_with(1);
}

/// Waits until the standby has replayed what the primary has written.
fn wait_for(standby: &str, written: &Option<String>) {
    let written = written.as_deref().expect("a primary has a position");
    let replayed = format!("select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
    until("the standby has replayed it", || psql(standby, &replayed)[0][0].as_deref() == Some("t"));
}
