//! What the target's own objects and administrators stand in the way with: each is named, and the daemon goes on by itself once it is gone.

use super::{SHOP, halts, refused};
use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{liteferry, until};

#[track_caller]
fn goes_on(daemon: &mut Daemon, case: &Case) {
    daemon.until(|status| status["run"]["state"] == "running");
    daemon.drained(&case.source);
}

fn sentence(daemon: &Daemon) -> String {
    daemon.status().expect("it listens")["run"]["reason"]["sentence"].to_string()
}

#[test]
fn what_stands_in_a_schema_changes_way_is_named_and_its_end_is_seen() {
    let case = Case::new(SHOP);
    let mut daemon = case.following();
    case.rows("create view theirs as select id, name from item");
    case.app("alter table item drop column name; insert into item values (3)");
    halts(&mut daemon, "still_depended_on", &["what the message names", "goes on by itself"]);
    assert!(sentence(&daemon).contains("view public.theirs depends on column name"), "{}", sentence(&daemon));
    case.rows("create or replace view theirs as select id, null::text collate \"C\" as name from item");
    goes_on(&mut daemon, &case);

    case.rows("create table fresh (theirs int)");
    case.app("create table fresh (id integer primary key); insert into fresh values (1)");
    halts(&mut daemon, "name_taken", &["Drop or rename", "goes on by itself"]);
    case.rows("alter table fresh rename to theirs_before");
    goes_on(&mut daemon, &case);
    case.is_equal();
}

/// As Debezium publishes, where nobody tells it otherwise.
#[test]
fn a_table_that_is_published_without_a_replica_identity_is_named_and_followed_once_it_has_one() {
    let case = Case::new(SHOP);
    case.rows("create table item (id bigint not null unique, name text)");
    case.rows("create table line (item bigint, place bigint, n bigint, primary key (item, place))");
    let mut daemon = case.daemon(&["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.rows("create publication whole for all tables");
    case.app("update item set name = 'c' where id = 1");
    halts(&mut daemon, "state_refused", &["replica identity", "goes on by itself"]);
    assert!(sentence(&daemon).contains("does not have a replica identity"), "{}", sentence(&daemon));
    case.rows("alter table item replica identity full");
    goes_on(&mut daemon, &case);
    case.is_equal();
}

/// Both at once for the daemon, of which nothing else looks at the target meanwhile.
#[track_caller]
fn meets(daemon: &mut Daemon, case: &Case, target: &str, source: &str) {
    let suspects = "select from liteferry.captured where suspect";
    daemon.until(|status| {
        let validation = &status["validation"];
        let is_idle = validation["state"] == "idle" && validation["verdict"] == "equal";
        is_idle && case.rows(suspects).is_empty()
    });
    daemon.obeys("/v1/pause", "{}");
    daemon.until(|status| status["run"]["state"] == "paused");
    case.rows(target);
    case.app(source);
    daemon.obeys("/v1/resume", "{}");
}

#[test]
fn a_schema_that_is_put_back_is_gone_on_with_and_one_that_is_lost_is_begun_anew() {
    let case = Case::new(SHOP);
    let own = ["--set", "target.schema=own"];
    let mut daemon = case.daemon(&own);
    meets(
        &mut daemon,
        &case,
        "alter schema own rename to elsewhere",
        "create table fresh (id integer primary key)",
    );
    let remedy = ["Put the schema back", "liteferry detach", "drop schema liteferry cascade"];
    halts(&mut daemon, "no_such_schema", &remedy);
    case.rows("alter schema elsewhere rename to own");
    goes_on(&mut daemon, &case);

    meets(&mut daemon, &case, "drop schema own cascade", "create table later (id integer primary key)");
    halts(&mut daemon, "no_such_schema", &remedy);
    assert_eq!(daemon.stop(), Some(0));
    case.typed(&["detach", "--yes"]).exits_with(0);
    case.rows("drop schema liteferry cascade");
    let mut daemon = case.daemon(&own);
    daemon.until(|status| status["validation"]["verdict"] == "equal");
    assert_eq!(case.rows("select count(*) from own.item")[0][0].as_deref(), Some("2"));
}

#[test]
fn a_function_of_the_targets_that_fails_is_not_called_a_defect_of_ours_and_its_rows_are_kept() {
    let case = Case::new(SHOP);
    let picky = |body: &str| {
        format!(
            "create or replace function picky(v text) returns boolean language plpgsql as $$ begin {body}; return true; end $$;"
        )
    };
    case.rows(&format!(
        "create table seen (letter int); create view few as select * from seen where letter < 98 with check option;
         {} create domain word as text check (picky(value)); create table item (id bigint primary key, name word);
         create table line (item bigint, place bigint, n bigint, primary key (item, place))",
        picky("execute 'selec 1'")
    ));
    let copy = ["copy", "--set", "target.mode=existing"];
    refused(case.typed(&copy), "statement_refused", "A function of the target's own may say so");
    case.rows(&picky("insert into public.few values (ascii(v))"));
    let told = case.typed(&copy).exits_with(0);
    assert!(told.stderr.contains("view_check_refused"), "{told:#?}");
    assert!(
        told.stdout.contains("SQLSTATE 44000") && told.stdout.contains("existing_rows = \"replace\" too"),
        "{told:#?}"
    );
    case.rows(&picky("null"));
    let told = case.typed(&[&copy[..], &["--restart", "--set", "target.existing_rows=replace"]].concat());
    assert!(!told.exits_with(0).stdout.contains("SQLSTATE"));
    assert_eq!(case.rows("select count(*) from item")[0][0].as_deref(), Some("2"));
}

#[test]
fn a_value_that_is_too_deep_waits_in_the_ledger_until_the_server_takes_it() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, j text); insert into t values (1, '[1]')",
    );
    case.rows("create table t (id bigint primary key, j jsonb)");
    let existing = ["--set", "target.mode=existing"];
    let mut daemon = case.daemon(&existing);
    daemon.until(|status| status["phase"] == "dual-write");
    // A session keeps what it began with, so the daemon begins anew.
    assert_eq!(daemon.stop(), Some(0));
    case.rows(&format!("alter database {} set max_stack_depth = '100kB'", case.target.name));
    let mut daemon = case.daemon(&existing);
    case.app(&format!("insert into t values (2, '{}{}')", "[".repeat(3_000), "]".repeat(3_000)));
    let refused = "select distinct reason from liteferry.ledger";
    daemon.wait_for(|_| (case.rows(refused) == [[Some("refused:54001".to_owned())]]).then_some(()));
    assert!(daemon.log().contains("value_too_deep"), "{}", daemon.log());
    assert!(daemon.log().contains("liteferry ledger retry all"), "{}", daemon.log());

    assert_eq!(daemon.stop(), Some(0));
    case.rows(&format!("alter database {} reset max_stack_depth", case.target.name));
    let mut daemon = case.daemon(&existing);
    daemon.until(|status| status["run"]["state"] == "running");
    daemon.obeys("/v1/ledger/all", r#"{"action":"retry"}"#);
    daemon.drained(&case.source);
    until("the ledger is empty", || case.rows(refused).is_empty());
    case.is_equal();
}

#[test]
fn a_role_that_was_dropped_under_its_session_is_named() {
    use liteferry::postgres::catalog::catalog;
    use liteferry::postgres::connect::connect;
    use liteferry::postgres::url::Target;
    let case = Case::new(SHOP);
    let role = format!("short_lived_{}", case.target.name);
    case.rows(&format!("create role {role} login"));
    let url = case.target.url.replace("://postgres@", &format!("://{role}@"));
    let address = Target::parse(&url, &|_| None).expect("a URL");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let session = runtime.block_on(connect(&address)).expect("the role may log in");
    case.rows(&format!("drop role {role}"));
    let fault = runtime.block_on(catalog(&session, "public")).expect_err("there is no such role");
    assert_eq!(fault.code, "role_missing", "{fault:?}");
    assert!(fault.remedy.contains("create it again, or connect as another"), "{fault:?}");
    let source = case.source.path.display().to_string();
    refused(liteferry(&["check", "--source", &source, "--target", &url]), "login_refused", "the role exists");
    case.typed(&["check"]).exits_with(0);
}
