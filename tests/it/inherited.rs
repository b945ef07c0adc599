//! Tables of the target that share their rows by inheritance or as parts of one another.

use crate::follow::Case;
use crate::support::{application, database, liteferry, psql, sqlite, try_psql};

/// What is read or deleted in the one is the other's too.
#[test]
fn tables_that_share_their_rows_in_postgres_are_refused_by_name_and_told_apart() {
    let source = sqlite(
        "create table place (id integer primary key, name text); insert into place values (1, 'a');
         create table shop (id integer primary key, name text, floor integer); insert into shop values (1, 'x', 1), (2, 'y', 2);
         create table log (id integer primary key, v text); insert into log values (1, 'a');
         create table log_old (id integer primary key, v text); insert into log_old values (2, 'b')",
    );
    let target = database();
    psql(
        &target.url,
        "create table place (id bigint primary key, name text); create table between () inherits (place);
         create table shop (floor integer, primary key (id)) inherits (between);
         create table log (id bigint primary key, v text) partition by range (id);
         create table log_old partition of log default",
    );
    let file = source.path.display().to_string();
    let sides = ["--set", "target.mode=existing", "--source", &file, "--target", &target.url];
    let told = liteferry(&[&["check"], &sides[..]].concat()).exits_with(1).stdout;
    let apart = "alter table \"public\".\"shop\" no inherit \"public\".\"between\";";
    for says in [
        "[target_inherited] public.shop: this table inherits from public.place",
        apart,
        "[target_inherited] public.log_old: this table is a part of public.log",
        "[tables] exclude = [\"log_old\"]",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    psql(&target.url, apart);
    let report = liteferry(&[&["copy", "--json", "--set", "tables.exclude=log_old"], &sides[..]].concat());
    assert_eq!(report.exits_with(0).json()["verdict"], "equal");
}

/// A statement that names the table above fires no trigger of a statement on the one below it.
#[test]
fn what_is_written_by_the_name_of_a_table_above_is_refused_before_the_switch_and_comes_back_after_it() {
    for tables in [
        "create table above (id bigint, v text); create table a (primary key (id)) inherits (above)",
        "create table above (id bigint primary key, v text) partition by range (id); create table a partition of above default",
        "create table above (id bigint primary key, v text) partition by range (id);
         create table a partition of above default partition by hash (id);
         create table part partition of a for values with (modulus 1, remainder 0)",
    ] {
        let case = Case::new(
            "pragma journal_mode = wal; create table a (id integer primary key, v text); insert into a values (1, 'x'), (2, 'y')",
        );
        psql(&case.target.url, tables);
        let mut daemon = case.validated(&["--set", "target.mode=existing"]);
        for stray in
            ["update above set v = 'theirs' where id = 1", "delete from above where id = 2", "truncate above"]
        {
            let told = try_psql(&case.target.url, stray).expect_err("it is guarded");
            assert!(told.contains("takes no writes here yet"), "{stray}: {told}");
        }
        case.app("update a set v = 'followed' where id = 2");
        daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
        daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
        case.rows("update above set v = 'ours' where id = 1; delete from above where id = 2");
        daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
        daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let there: (i64, String) =
            application(&case.source.path).query_row("select id, v from a", [], read).expect("one row");
        assert_eq!(there, (1, "ours".to_owned()), "{tables}\n{}", daemon.log());
        case.is_equal();
    }
}

/// One that shows the other's rows has two of one key, which never come to be equal to SQLite's.
#[test]
fn tables_that_are_tied_together_after_the_switch_halt_the_way_back_until_they_are_told_apart() {
    let case = Case::new(
        "pragma journal_mode = wal; create table a (id integer primary key, v text); insert into a values (1, 'a');
         create table b (id integer primary key, v text); insert into b values (1, 'b'), (5, 'five')",
    );
    psql(
        &case.target.url,
        "create table a (id bigint primary key, v text); create table b (id bigint primary key, v text)",
    );
    let mut daemon = case.switched(&["--set", "target.mode=existing"]);
    case.rows("alter table b inherit a; update a set v = v || '!'");
    let status = daemon.until(|status| status["run"]["state"] == "halted");
    assert_eq!(status["run"]["reason"]["code"], "schema_drift", "{status:#}");
    let told = status["run"]["reason"]["sentence"].as_str().expect("a sentence");
    assert!(told.contains("public.b, which is made a part of public.a (inheritance)"), "{told}");
    case.rows("alter table b no inherit a; update a set v = 'ours' where id = 1");
    daemon.until(|status| status["run"]["state"] == "running" && status["gates"]["rollback"]["open"] == true);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    let held = "select (select group_concat(id || v) from a) || ';' || (select group_concat(id || v) from b)";
    let held: String = application(&case.source.path).query_row(held, [], |row| row.get(0)).expect("a row");
    assert_eq!(held, "1ours;1b!,5five!");
    case.is_equal();
}
