//! A daemon that is started again under other settings: it goes on as the migration began, and says which of them have no effect.

use crate::follow::Case;
use crate::support::{liteferry, psql, until};
use serde_json::Value;

const SOURCE: &str = "
    pragma journal_mode = wal;
    create table place (id integer primary key, code text not null unique);
    create table visit (id integer primary key, note text);
    insert into place values (1, 'a'), (2, 'b');
    insert into visit values (1, 'once');";

/// Its key is another than SQLite's, and it has what SQLite knows nothing of.
const TARGET: &str = "
    create table place (code text primary key, id bigint not null, rank int not null default 7, check (rank < 9));
    create table visit (id bigint primary key, note varchar(50));";

#[test]
fn the_applications_own_tables_stay_its_own_where_the_mode_was_forgotten() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, TARGET);
    let mut daemon = case.daemon(&["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();

    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["run"]["state"] == "running");
    psql(&case.target.url, "alter table place add column name text");
    case.app("alter table place add column name text; insert into place values (3, 'c', 'new')");
    daemon.drained(&case.source);
    let rows = psql(&case.target.url, "select rank::text, name from place where code = 'c'");
    assert_eq!(rows, [[Some("7".to_owned()), Some("new".to_owned())]]);
    let log = daemon.log();
    assert!(log.contains("\"existing\" when the migration began, and \"create\" now"), "{log}");
    daemon.stop();
}

#[test]
fn a_database_that_is_named_twice_is_asked_back() {
    let sides = ["--source", "app.db", "--target", "postgres://one/app"];
    let check = |more: &[&str], code: i32| {
        let args = [&["config", "check"], &sides[..], more].concat();
        liteferry(&args).exits_with(code).stderr
    };
    let told = check(&["--set", "target.url=postgres://two/app", "--set", "source.path=other.db"], 78);
    assert!(told.contains("target.url: is given twice, by --target"), "{told}");
    assert!(told.contains("source.path: is given twice, by --source"), "{told}");
    check(&["--set", "target.url=postgres://one/app"], 0);
}

#[test]
fn settings_that_come_too_late_are_named() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&["--set", "types.column.\"visit.note\".form=empty-null"]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();

    let sides = ["--json", "--source", &case.source.path.display().to_string(), "--target", &case.target.url];
    let named = |set: &[&str]| -> Vec<String> {
        let set = set.iter().flat_map(|set| ["--set", set]);
        let args: Vec<&str> = ["check"].into_iter().chain(sides).chain(set).collect();
        let told = liteferry(&args).exits_with(0).json();
        let findings = told["findings"].as_array().expect("a list").clone();
        let of_settings = |finding: &&Value| finding["code"] == "setting_without_effect";
        findings.iter().filter(of_settings).map(|finding| finding["subject"].to_string()).collect()
    };
    let as_begun = "types.column.\"visit.note\".form=empty-null";
    assert_eq!(named(&[as_begun]), [""; 0]);
    assert_eq!(named(&[]), [r#""types.column.\"visit.note\".form""#]);
    assert_eq!(named(&[as_begun, "target.existing_rows=replace", "misfits.policy=halt"]), [""; 0]);
    assert_eq!(
        named(&[as_begun, "target.existing_rows=merge", "tables.exclude=visit", "types.numeric=float8"]),
        [r#""target.existing_rows""#, r#""types.numeric""#, r#""tables""#]
    );
}

#[test]
fn a_foreign_key_that_was_left_out_and_is_not_any_more_is_named() {
    let case = Case::new(
        "pragma journal_mode = wal; create table a (id integer primary key);
         create table c (id integer primary key, a_id integer references a (id)); insert into c values (1, 0)",
    );
    let mut daemon = case.daemon(&["--set", "tables.no_foreign_key=c.a_id"]);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();
    for (set, is_named) in [("tables.no_foreign_key=c.a_id", false), ("tables.no_foreign_key=", true)] {
        let mut daemon = case.daemon(&["--set", set]);
        daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
        let named = daemon.log().contains("setting=\"tables.no_foreign_key\"");
        assert_eq!(named, is_named, "{set}\n{}", daemon.log());
        daemon.stop();
    }
}

#[test]
fn a_table_that_is_left_out_no_more_is_followed_from_the_next_start_on() {
    let sql = "pragma journal_mode = wal; create table a (id integer primary key, v text unique);
        create table b (id integer primary key, a_id integer references a (id)); insert into a values (1, 'x');
        insert into b values (1, 1), (2, 1)";
    let made = "create table a (id bigint primary key, v text unique);
        create table b (id bigint primary key, a_id bigint references a (id))";
    for (mode, before, after) in [
        ("target.mode=create", "tables.exclude=b", "tables.exclude="),
        ("target.mode=create", "tables.include=a", "tables.include=a,b"),
        ("target.mode=existing", "tables.exclude=b", "tables.exclude="),
    ] {
        let case = Case::new(sql);
        if mode.ends_with("existing") {
            psql(&case.target.url, made);
        }
        let mut daemon = case.daemon(&["--set", mode, "--set", before]);
        daemon.until(|status| status["phase"] == "dual-write");
        daemon.stop();
        case.app("insert into b values (3, 1)");
        let mut daemon = case.daemon(&["--set", mode, "--set", after]);
        let rows = || psql(&case.target.url, "select 1 from pg_tables where tablename = 'b'").len();
        until("it is there", || rows() == 1 && case.rows("select 1 from b").len() == 3);
        case.app("insert into b values (4, 1)");
        daemon.drained(&case.source);
        daemon.stop();
        case.is_equal();
        // Nothing is left to be taken up.
        let mut daemon = case.daemon(&["--set", mode, "--set", after]);
        daemon.until(|status| status["validation"]["verdict"] == "equal");
        assert!(!daemon.log().contains("no more"), "{}", daemon.log());
    }
}

/// Numbers that come into a column of texts, when all of them count the same.
#[test]
fn a_form_that_is_stated_for_what_the_ledger_holds_is_taken_up_and_told_so() {
    let case = Case::new(
        "pragma journal_mode = wal;
         create table visit (id integer primary key, at datetime default current_timestamp);
         insert into visit (id) values (1), (2), (3), (4)",
    );
    psql(&case.target.url, "create table visit (id bigint primary key, at timestamptz)");
    let mut daemon = case.daemon(&["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("insert into visit values (5, 1719829203456)");
    daemon.until(|status| status["ledger"]["rows"] == 1);
    daemon.stop();

    let form = "types.column.\"visit.at\".form=epoch-ms";
    let daemon = case.daemon(&["--set", "target.mode=existing", "--set", form]);
    let read = "select 1 from visit where id = 5 and at = '2024-07-01 10:20:03.456+00'";
    until("the number is read", || !case.rows(read).is_empty());
    let log = daemon.log();
    assert!(log.contains("is read by it within seconds where the ledger holds values"), "{log}");
    daemon.stop();
}

/// The schemas may be of two ages: said before anything is carried over.
#[test]
fn migrations_that_one_side_alone_has_recorded_are_told_beforehand() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'x');
         create table django_migrations (id integer primary key autoincrement, app varchar(255) not null, name varchar(255) not null,
             applied datetime not null);
         insert into django_migrations (app, name, applied) values ('a', '0001', '2024-01-01 00:00:00'), ('a', '0002', '2024-01-01 00:00:00')",
    );
    psql(
        &case.target.url,
        "create table t (id int primary key, v text);
         create table django_migrations (id bigserial primary key, app varchar(255) not null, name varchar(255) not null,
             applied timestamptz not null);
         insert into django_migrations (app, name, applied) values ('a', '0001', now()), ('a', '0003', now())",
    );
    let existing = ["--set", "target.mode=existing"];
    let file = case.source.path.display().to_string();
    let sides = ["--source", &file, "--target", &case.target.url];
    let told = liteferry(&[&["check"], &existing[..], &sides].concat()).exits_with(0).stdout;
    let says = "1 migrations are recorded only in SQLite, 1 only in PostgreSQL";
    assert_eq!(told.matches(says).count(), 1, "{told}");
    let mut daemon = case.daemon(&existing);
    daemon.until(|status| status["phase"] == "dual-write");
    assert!(daemon.log().contains(says), "{}", daemon.log());
}

/// The patterns say what begins to be followed, and end nothing.
#[test]
fn a_followed_table_that_is_left_out_since_is_followed_on_in_either_mode() {
    let sql = "pragma journal_mode = wal; create table a (id integer primary key, v text);
        create table b (id integer primary key, v text); insert into a values (1, 'x'); insert into b values (1, 'x')";
    let made =
        "create table a (id bigint primary key, v text); create table b (id bigint primary key, v text)";
    for mode in ["target.mode=create", "target.mode=existing"] {
        let case = Case::new(sql);
        if mode.ends_with("existing") {
            psql(&case.target.url, made);
        }
        let mut daemon = case.daemon(&["--set", mode]);
        daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
        daemon.stop();
        let mut daemon = case.daemon(&["--set", mode, "--set", "tables.exclude=b"]);
        daemon.until(|status| status["phase"].is_string() && status["validation"]["verdict"] == "equal");
        assert!(daemon.log().contains("and so still: b"), "{}", daemon.log());
        assert!(!daemon.log().contains("not what it was"), "{}", daemon.log());
        // Its own migrations are followed on too.
        if mode.ends_with("existing") {
            psql(&case.target.url, "alter table b add column w text");
        }
        case.app("alter table b add column w text; insert into b values (2, 'y', 'w')");
        daemon.drained(&case.source);
        assert_eq!(case.rows("select w from b where id = 2"), [[Some("w".to_owned())]], "{}", daemon.log());
    }
}

#[test]
fn names_that_mean_nothing_are_told_at_each_start() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, TARGET);
    psql(&case.target.url, "create sequence loose");
    let existing = ["--set", "target.mode=existing"];
    let mut daemon = case.daemon(&existing);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();
    for (set, told) in [
        ("tables.exclude=visits", "tables.exclude could mean by \"visits\""),
        ("types.column.\"visit.nota\".form=native", "types.column could mean by \"visit.nota\""),
        ("sequences.lose=place.id", "sequences could mean by \"lose\""),
        ("sequences.loose=place.no", "place.no"),
        ("sequences.loose=place.id", ""),
        ("sequences.loose=7", ""),
    ] {
        let mut daemon = case.daemon(&[&existing[..], &["--set", set]].concat());
        daemon.until(|status| status["phase"].is_string() && status["validation"]["verdict"] == "equal");
        let log = daemon.log();
        match told {
            "" => assert!(!log.contains("setting_unmatched"), "{set}\n{log}"),
            told => assert!(log.contains("setting_unmatched") && log.contains(told), "{set}\n{log}"),
        }
        daemon.stop();
    }
}

/// What the choice of tables and columns would begin or end waits for the writes to be back.
#[test]
fn a_choice_of_tables_that_is_changed_after_the_switch_is_told_to_wait() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, TARGET);
    let existing = ["--set", "target.mode=existing"];
    let mut daemon = case.validated(&[&existing[..], &["--set", "tables.exclude=visit"]].concat());
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch");
    daemon.stop();
    let mut daemon = case.daemon(&[&existing[..], &["--set", "tables.exclude=place.code"]].concat());
    daemon.until(|status| status["phase"].is_string() && status["validation"]["verdict"] == "equal");
    let log = daemon.log();
    assert!(log.contains("once the writes are back in SQLite: visit"), "{log}");
    assert!(log.contains("until the writes are back in SQLite: place.code"), "{log}");
}
