//! `existing` mode: a table without a key, of which PostgreSQL's has been given a column for SQLite's rowid.

use crate::follow::Case;
use crate::reshaped::changed;
use crate::support::{application, database, liteferry, psql, sqlite, until};
use serde_json::Value;

const EXISTING: &[&str] = &["--set", "target.mode=existing"];

/// As Rails makes a join table: no key, and nothing that keeps a pair from being there twice.
const JOINED: &str = "pragma journal_mode = wal;
    create table part (id integer primary key, name text);
    create table wheel (id integer primary key, name text);
    create table parts_wheels (part_id integer not null, wheel_id integer not null);
    create index by_part on parts_wheels (part_id);
    insert into part values (1, 'one'), (2, 'two'); insert into wheel values (1, 'red'), (2, 'blue');
    insert into parts_wheels values (1, 1), (1, 1), (1, 2), (2, 2), (2, 2), (2, 2);
    delete from parts_wheels where rowid = 2;";

const JOINED_IN_POSTGRES: &str = "create table part (id bigint primary key, name text);
    create table wheel (id bigint primary key, name text);
    create table parts_wheels (part_id bigint not null references part, wheel_id bigint not null references wheel);
    create index by_part on parts_wheels (part_id);";

impl Case {
    fn joined() -> Case {
        let case = Case::new(JOINED);
        case.rows(JOINED_IN_POSTGRES);
        case
    }

    fn blockers_of_run(&self, more: &[&str]) -> Vec<Value> {
        let source = self.source.path.display().to_string();
        let sides = ["check", "--json", "--source", &source, "--target", &self.target.url];
        let told = liteferry(&[&sides[..], EXISTING, more].concat()).exits_with(0).json();
        told["blockers_of_run"].as_array().expect("a list").clone()
    }

    /// Does what the remedy says first.
    fn give_column(&self) {
        let told = self.blockers_of_run(&[]);
        assert_eq!((told.len(), &told[0]["code"]), (1, &"capture_no_key".into()), "{told:#?}");
        let remedy = told[0]["remedy"].as_str().expect("a remedy is text");
        let (statement, rest) = remedy.split_once(';').expect("a statement");
        assert!(rest.starts_with(" (a column for SQLite's rowid"), "{remedy}");
        self.rows(statement);
    }

    fn pairs_of_both_sides(&self) -> [Vec<String>; 2] {
        let in_sqlite = "select rowid || ': ' || part_id || ' ' || wheel_id from parts_wheels order by rowid";
        let db = application(&self.source.path);
        let mut statement = db.prepare(in_sqlite).expect("the table is there");
        let rows = statement.query_map([], |row| row.get(0)).expect("it can be read");
        let in_postgres = "select _liteferry_rowid || ': ' || part_id || ' ' || wheel_id from parts_wheels order by _liteferry_rowid";
        let of_postgres = self.rows(in_postgres).concat().into_iter().flatten();
        [rows.collect::<Result<_, _>>().expect("it can be read"), of_postgres.collect()]
    }

    #[track_caller]
    fn has_pairs(&self, wanted: &[&str]) {
        let [sqlite, postgres] = self.pairs_of_both_sides();
        assert_eq!(sqlite, wanted);
        assert_eq!(postgres, wanted);
    }
}

#[test]
fn rows_that_are_equal_stay_apart_there_and_back() {
    let case = Case::joined();
    case.give_column();
    assert_eq!(case.blockers_of_run(&[]), Vec::<Value>::new());
    let mut daemon = case.validated(EXISTING);
    case.has_pairs(&["1: 1 1", "3: 1 2", "4: 2 2", "5: 2 2", "6: 2 2"]);
    case.app(
        "insert into parts_wheels values (1, 1); delete from parts_wheels where rowid = 5;
         update parts_wheels set wheel_id = 1 where rowid = 6; vacuum",
    );
    daemon.until(|status| status["target"]["position"]["seq"] == 4);
    case.has_pairs(&["1: 1 1", "3: 1 2", "4: 2 2", "6: 2 1", "7: 1 1"]);
    daemon.obeys("/v1/phase", r#"{"to": "switch"}"#);
    daemon.until(|status| status["phase"] == "switch");
    // The application knows of no such column.
    case.rows(
        "insert into parts_wheels values (2, 1), (2, 1);
         delete from parts_wheels where ctid = (select min(ctid) from parts_wheels where (part_id, wheel_id) = (1, 1));
         update parts_wheels set part_id = 1 where (part_id, wheel_id) = (2, 2)",
    );
    let in_postgres = case.pairs_of_both_sides()[1].clone();
    assert_eq!(in_postgres.len(), 6, "{in_postgres:?}");
    assert!(
        in_postgres[4..].iter().all(|pair| pair.ends_with(": 2 1")),
        "numbered behind all: {in_postgres:?}"
    );
    daemon.until(|status| status["gates"]["rollback"]["open"] == true && status["reverse"]["changes"] == 0);
    daemon.obeys("/v1/phase", r#"{"to": "dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write");
    case.has_pairs(&in_postgres.iter().map(String::as_str).collect::<Vec<_>>());
    case.app("delete from parts_wheels where part_id = 1; insert into parts_wheels values (1, 2)");
    daemon.drained(&case.source);
    let [sqlite, postgres] = case.pairs_of_both_sides();
    assert_eq!(sqlite, postgres);
    case.is_equal();
}

#[test]
fn a_table_without_a_key_that_comes_later_waits_for_its_column() {
    let case = Case::joined();
    case.give_column();
    let mut daemon = case.daemon(EXISTING);
    daemon.until(|status| status["phase"] == "dual-write");
    let loose = "create table loose (a text, b text)";
    case.rows(loose);
    case.app(&format!("{loose}; insert into loose values ('x', null), ('x', null)"));
    let halted = daemon.until(|status| status["run"]["state"] == "halted");
    let reason = &halted["run"]["reason"];
    assert_eq!(reason["code"], "schema_change_refused", "{reason:#}");
    let (statement, _) =
        reason["remedy"].as_str().and_then(|remedy| remedy.split_once(';')).expect("a statement");
    case.rows(statement);
    daemon.until(|status| status["run"]["state"] == "running");
    case.app("update loose set b = 'y' where rowid = 2; alter table parts_wheels add column n integer");
    case.rows("alter table parts_wheels add column n integer");
    case.app("update parts_wheels set n = 5 where rowid = 4");
    until("all has come", || {
        case.rows("select 1 from loose where _liteferry_rowid = 2 and b = 'y'").len()
            + case.rows("select 1 from parts_wheels where _liteferry_rowid = 4 and n = 5").len()
            == 2
    });
    daemon.drained(&case.source);
    case.is_equal();
    assert_eq!(changed(&daemon), ["loose", "parts_wheels"]);
}

/// What the operator put there, the operator takes away: the report has the statement.
#[test]
fn a_cleanup_tells_how_the_column_goes_away_again() {
    let case = Case::joined();
    case.give_column();
    let mut daemon = case.validated(EXISTING);
    daemon.obeys("/v1/phase", r#"{"to": "switch"}"#);
    daemon.until(|status| status["phase"] == "switch");
    let file = case.source.path.with_file_name("final.json").display().to_string();
    let cleanup = daemon.client(&["cleanup", "--yes", "--report", &file]).status();
    assert!(cleanup.expect("the program can be started").success());
    let report = std::fs::read_to_string(file).expect("the report was written");
    let report: Value = serde_json::from_str(&report).expect("it is JSON");
    let left = report["left_in_postgres"].as_array().expect("a list");
    assert_eq!(left.len(), 2, "{left:#?}");
    let statement = left[1].as_str().and_then(|told| told.split('`').nth(1)).expect("a statement");
    case.rows(statement);
    let columns = "select attname from pg_attribute where attrelid = 'parts_wheels'::regclass and attnum > 0 and not attisdropped";
    assert_eq!(case.rows(columns).concat(), [Some("part_id".to_owned()), Some("wheel_id".to_owned())]);
}

/// One that is not kept unique is no key, and rows of others may have any number.
#[test]
fn a_column_that_may_not_carry_the_rowid_is_left_to_its_default() {
    let case = Case::joined();
    case.rows("alter table parts_wheels add _liteferry_rowid int generated by default as identity");
    let told = case.blockers_of_run(&[]);
    let remedy = told[0]["remedy"].as_str().expect("a remedy is text");
    let (statement, _) = remedy.split_once(';').expect("a statement");
    let merge = ["--set", "target.existing_rows=merge"];
    let merged = case.blockers_of_run(&merge);
    assert!(!merged[0]["remedy"].as_str().expect("text").contains("rowid\""), "{merged:#?}");
    case.rows(statement);
    assert_eq!(case.blockers_of_run(&[]), Vec::<Value>::new());
    assert_eq!(case.blockers_of_run(&merge)[0]["code"], "capture_no_key");
    for spoilt in [
        "alter _liteferry_rowid drop identity, alter _liteferry_rowid drop not null",
        "alter _liteferry_rowid set default 1, alter _liteferry_rowid set not null, drop constraint parts_wheels__liteferry_rowid_key",
    ] {
        case.rows(&format!("alter table parts_wheels {spoilt}"));
        assert_eq!(case.blockers_of_run(&[])[0]["code"], "capture_no_key", "{spoilt}");
    }
}

#[test]
fn a_key_of_both_sides_whose_values_do_not_all_cross_is_told_with_what_lets_them() {
    let case = Case::new(
        "pragma journal_mode = wal; create table k (key text primary key, v);
         insert into k values ('short', 1), ('far too long', 2);",
    );
    case.rows("create table k (key varchar(5) primary key, v bigint)");
    let told = case.blockers_of_run(&[]);
    assert_eq!(told[0]["code"], "capture_no_key", "{told:#?}");
    let [text, remedy] = ["text", "remedy"].map(|of| told[0][of].as_str().expect("it is text"));
    assert!(
        text.ends_with("values of k.key, which both sides keep unique, do not all cross exactly"),
        "{text}"
    );
    let (statement, rest) = remedy.split_once(';').expect("a statement");
    assert_eq!(statement, "alter table \"public\".\"k\" alter column \"key\" type text");
    assert!(rest.contains("_liteferry_rowid"), "{remedy}");
    case.rows(statement);
    assert!(case.blockers_of_run(&[]).is_empty());
}

/// Roundcube's dictionary, whose NULL stands for all users: nothing of it is there before the first word is learnt.
#[test]
fn a_key_that_both_sides_let_be_null_is_told_after_the_column_for_the_rowid() {
    let dictionary =
        "create table d (user_id integer, language varchar(16) not null, unique (user_id, language))";
    let file = sqlite(&format!("pragma journal_mode = wal; {dictionary}"));
    let target = database();
    psql(&target.url, dictionary);
    let source = file.path.display().to_string();
    let args = ["check", "--json", "--source", &source, "--target", &target.url];
    let told = liteferry(&[&args[..], &["--set", "target.mode=existing"]].concat()).exits_with(0).json();
    let remedy = told["blockers_of_run"][0]["remedy"].as_str().expect("a remedy is text");
    let remedies: Vec<&str> = remedy.split("; or ").collect();
    let [by_rowid, by_key, _] = remedies[..] else { panic!("{remedy}") };
    assert!(by_rowid.contains("add column \"_liteferry_rowid\""), "{remedy}");
    assert!(
        by_key.starts_with("alter table \"public\".\"d\" alter column \"user_id\" set not null;"),
        "{remedy}"
    );
    assert!(
        by_key.contains("if the application never writes NULL into user_id: PostgreSQL would"),
        "{remedy}"
    );
}
