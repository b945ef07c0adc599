//! Schema changes that leave the schema's text as it was, or name nothing that our triggers know, and rows that are not what they were.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::held_ddl::HeldDdl;
use crate::support::{application, until};

const SOURCE: &str = "pragma journal_mode = wal;
    create table item (id integer primary key, a integer, b integer, c integer default 5);
    insert into item values (1, 10, 20, 30), (2, 11, 21, 31), (3, 12, 22, 32);
    create table other (id integer primary key, v text); insert into other values (1, 'x')";

/// What an application does in one transaction, so that nobody can look in between.
const CHANGES: &[(&str, &str)] = &[
    (
        "a column is dropped and added again",
        "alter table item drop column c; alter table item add column c integer default 5",
    ),
    (
        "a column is dropped and added again, of another type",
        "alter table item drop column c; alter table item add column c text",
    ),
    (
        "two columns change their names",
        "alter table item rename column a to tmp; alter table item rename column b to a; alter table item rename column tmp to b",
    ),
    (
        "a unique index comes, has a row replaced and goes",
        "create unique index once on item (b); replace into item values (9, 1, 20, 1); drop index once",
    ),
];

#[test]
fn rows_that_a_schema_change_changes_unseen_are_carried_over() {
    for (what, sql) in CHANGES {
        let case = Case::new(SOURCE);
        let mut daemon = case.daemon(&["--set", "validate.on=false"]);
        daemon.until(|status| status["phase"] == "dual-write");
        case.app(&format!("begin; {sql}; commit"));
        until(what, || {
            daemon.drained(&case.source);
            case.validate().status == Some(0)
        });
        until("no table is suspect", || {
            case.rows("select 1 from liteferry.captured where suspect").is_empty()
        });
        assert_eq!(daemon.stop(), Some(0));
        case.app(&format!("begin; {}; commit", CHANGES[0].1));
        let mut daemon = case.daemon(&["--set", "validate.on=false"]);
        until("it is seen by the next daemon too", || {
            daemon.drained(&case.source);
            case.validate().status == Some(0)
        });
    }
}

/// An application that makes and drops scratch tables in its own database.
#[test]
fn what_has_everything_compared_again_and_again_is_told_once() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&["--set", "validate.on=false"]);
    daemon.until(|status| status["phase"] == "dual-write");
    for _ in 0..3 {
        case.app("begin; create table scratch (a); drop table scratch; update item set a = a + 1; commit");
        daemon.drained(&case.source);
        until("everything is compared", || {
            let source = application(&case.source.path);
            let version = source.query_row("pragma schema_version", [], |row| row.get::<_, i64>(0));
            let version = version.expect("a number");
            let seen = case.rows(&format!("select 1 from liteferry.follow where source_version = {version}"));
            !seen.is_empty() && case.rows("select 1 from liteferry.captured where suspect").is_empty()
        });
    }
    case.is_equal();
    let told = case.rows("select count(*) from liteferry.journal where what = 'schema'");
    assert_eq!(told, [[Some("1".to_owned())]]);
}

/// PostgreSQL's rows are not to be read anew for our own sake.
#[test]
fn our_own_guards_have_nothing_compared() {
    let case = Case::new(SOURCE);
    let mut daemon = case.switched(&[]);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.drained(&case.source);
    case.app("update item set a = 5");
    daemon.drained(&case.source);
    case.is_equal();
    assert!(case.rows("select 1 from liteferry.journal where what = 'schema'").is_empty());
}

/// SQLite's rows are gone with a table that nothing guards, and put back as it was it is empty: going back to that would be a loss.
#[test]
fn rows_that_went_with_a_schema_change_after_the_switch_come_back_before_the_rollback() {
    const BACK: &str = r#"{"to":"dual-write"}"#;
    for (what, sql) in [
        (
            "a table",
            "drop table item; create table item (id integer primary key, a integer, b integer, c integer default 5)",
        ),
        ("a column", CHANGES[0].1),
        (
            "a column, after which the text is another",
            "alter table item drop column a; alter table item add column a integer",
        ),
    ] {
        let case = Case::new(SOURCE);
        let off = ["--set", "validate.on=false", "--set", "switch.validation_max_age=7d"];
        let mut daemon = case.switched(&[]);
        assert_eq!(daemon.stop(), Some(0));
        daemon = case.daemon(&off);
        daemon.until(|status| status["gates"]["rollback"]["open"] == true);
        case.app(&format!("begin; {sql}; commit"));
        let refused = daemon.refuses("/v1/phase", BACK, "reverse_schema_moved");
        assert!(refused.to_string().contains("validate --repair"), "{what}: {refused:#}");
        if what.contains("another") {
            continue;
        }
        let before = daemon.compared(r#"{"repair": true}"#);
        assert_eq!(before["verdict"], "equal", "{what}: {before:#}");
        daemon.obeys("/v1/phase", BACK);
        daemon.drained(&case.source);
        case.is_equal();
        assert_eq!(
            case.rows("select a, b, c from item where id = 1"),
            [["10", "20", "30"].map(|v| Some(v.to_owned()))],
            "{what}"
        );
    }
}

/// Everything was compared, and the switch is about to begin: the application does something more first.
fn switch_behind(case: &Case, sql: &str) -> Daemon {
    let (begun, may_end) = (case.source.path.with_extension("begun"), case.source.path.with_extension("end"));
    let hook = format!(
        "hooks.before_switch=touch '{}'; while [ ! -e '{}' ]; do sleep 0.05; done",
        begun.display(),
        may_end.display()
    );
    let daemon = case.validated(&["--set", &hook]);
    let (status, told) = daemon.post("/v1/phase", r#"{"to":"switch"}"#);
    assert_eq!(status, 202, "{told:#}");
    until("the switch is about to begin", || begun.exists());
    case.app(sql);
    std::fs::write(&may_end, "").expect("the file can be made");
    daemon
}

#[test]
fn a_switch_is_refused_for_a_schema_that_was_changed_and_changed_back_at_the_last_moment() {
    let case = Case::new(SOURCE);
    let mut daemon = switch_behind(&case, &format!("begin; {}; commit", CHANGES[0].1));
    let fives = [["5"; 3].map(|five| Some(five.to_owned()))];
    until("the rows are compared", || case.rows("select min(c), max(c), 5 from item") == fives);
    daemon.until(|status| status["phase"] == "validate" && status["gates"]["switch"]["open"] == true);
    case.is_equal();
}

#[test]
fn a_vacuum_at_the_last_moment_does_not_stand_in_the_way_back() {
    let case = Case::new(SOURCE);
    let mut daemon = switch_behind(&case, "vacuum");
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    let (status, told) = daemon.post("/v1/phase", r#"{"to":"dual-write"}"#);
    assert_eq!(status, 202, "{told:#}");
    daemon.until(|status| status["phase"] == "dual-write" || !status["answer"]["refused"].is_null());
    assert!(!daemon.log().contains("reverse_schema_moved"), "{}", daemon.log());
    daemon.drained(&case.source);
    case.is_equal();
}

/// Each table whose inserts a trigger of the application cuts off gets a guard of its own.
#[test]
fn our_own_guards_are_no_change_of_the_schema() {
    let cut = |table: &str| {
        format!(
            "create table {table} (id integer primary key, v text); create trigger cut_{table} after insert on {table} when new.id = 13 begin select raise(ignore); end;"
        )
    };
    let case = Case::new(&format!("pragma journal_mode = wal; {} {}", cut("one"), cut("other")));
    let off = ["--set", "validate.on=false", "--set", "switch.validation_max_age=7d"];
    let mut daemon = case.switched(&off);
    daemon.until(|status| status["gates"]["rollback"]["open"] == true);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
}

#[test]
fn a_vacuum_has_nothing_compared() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&["--set", "validate.on=false"]);
    daemon.until(|status| status["phase"] == "dual-write");
    let version = "select source_version from liteferry.follow";
    for _ in 0..3 {
        let before = case.rows(version);
        case.app("vacuum");
        until("the daemon has seen it", || case.rows(version) != before);
    }
    assert_eq!(daemon.stop(), Some(0));
    let mut daemon = case.daemon(&["--set", "validate.on=false"]);
    daemon.drained(&case.source);
    assert!(case.rows("select 1 from liteferry.journal where what = 'schema'").is_empty());
}

/// A table that is made anew need not be read in the order that it was read in.
#[test]
fn a_table_that_is_made_anew_may_lose_its_rowid_or_come_to_one() {
    let case = Case::new(
        "pragma journal_mode = wal; create table item (id integer primary key, v text);
         insert into item values (7, 'a'), (14, 'b'), (21, 'c')",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
    for (at, declared) in [
        "(id integer primary key, v text) without rowid",
        "(v text, id integer, primary key (id desc)) without rowid",
        "(id bigint not null primary key, v text)",
        "(id integer primary key, v text)",
    ]
    .iter()
    .enumerate()
    {
        case.app(&format!(
            "begin; create table anew {declared}; insert into anew (id, v) select id, v from item order by v desc; drop table item;
             alter table anew rename to item; commit; insert into item (id, v) values ({at}, 'new'); replace into item (id, v) values (14, '{at}')"
        ));
        until(declared, || {
            daemon.drained(&case.source);
            case.rows("select 1 from liteferry.captured where suspect").is_empty()
                && case.validate().status == Some(0)
        });
        assert!(case.rows("select 1 from liteferry.ledger").is_empty(), "{declared}");
        case.app("update item set v = v || '!' where id = 21; delete from item where id = 7");
        daemon.drained(&case.source);
        case.is_equal();
    }
}

/// What came before is being carried over just then, and triggers are made for a table that is another one by now.
#[test]
fn a_table_that_is_made_anew_while_a_change_of_it_is_carried_over_is_looked_at_again() {
    let source =
        "pragma journal_mode = wal; create table item (id integer primary key, a integer, b integer unique);
        insert into item values (1, 10, 20), (2, 11, 21)";
    for anew in ["(id integer primary key, a integer)", "(code text primary key, a integer) without rowid"] {
        let case = Case::new(source);
        let mut daemon = case.daemon(&["--set", "validate.on=false"]);
        daemon.until(|status| status["phase"] == "dual-write");
        let held = HeldDdl::of(&case.target.url, "%add column%");
        case.app("alter table item add column c text");
        held.is_met();
        case.app(&format!(
            "begin; drop table item; create table item {anew}; insert into item values (7, 8); commit"
        ));
        held.let_go();
        until("it is followed as it is now", || {
            daemon.drained(&case.source);
            case.validate().status == Some(0)
        });
    }
}

/// A table that is rebuilt, as Django and Alembic change a column's type: what PostgreSQL takes after the switch is what SQLite keeps of it.
#[test]
fn a_column_that_became_one_of_another_class_takes_what_comes_back() {
    for (was, is, written) in [
        ("text", "integer", ["8", "9"]),
        ("integer", "text", ["8", "9"]),
        ("real", "integer", ["8", "9"]),
        ("numeric", "text", ["8", "9.5"]),
    ] {
        let what = format!("{was} becomes {is}");
        let case = Case::new(&format!(
            "pragma journal_mode = wal; create table item (id integer primary key, a {was}); insert into item values (1, 11), (2, 12);
             create table word (k text not null primary key, v text); insert into word values ('a', 'x')"
        ));
        let mut daemon = case.daemon(&["--set", "validate.on=false"]);
        daemon.until(|status| status["phase"] == "dual-write");
        case.app(&format!(
            "begin; create table new__item (id integer primary key, a {is}); insert into new__item select * from item;
             drop table item; alter table new__item rename to item;
             drop table word; create table word (k integer primary key, v text); insert into word values (5, 'y'); commit"
        ));
        let suspects = "select 1 from liteferry.captured where suspect";
        until(&what, || {
            daemon.drained(&case.source);
            case.rows(suspects).is_empty() && case.validate().status == Some(0)
        });
        assert_eq!(daemon.stop(), Some(0));
        let ledger = "select key, class, reason from liteferry.ledger";
        assert!(case.rows(ledger).is_empty(), "{what}: {:?}", case.rows(ledger));
        assert_eq!(case.rows("select k from word"), [[Some("5".to_owned())]], "{what}");
        let mut daemon = case.switched(&["--set", "validate.every=7d"]);
        for (id, value) in (3..).zip(written) {
            case.rows(&format!("insert into item values ({id}, '{value}')"));
        }
        until(&what, || {
            let db = application(&case.source.path);
            db.query_row("select count(*) from item", [], |row| row.get::<_, i64>(0)) == Ok(4)
        });
        daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
        daemon.drained(&case.source);
        case.is_equal();
        assert!(case.rows(ledger).is_empty(), "{what}: {:?}", case.rows(ledger));
    }
}
