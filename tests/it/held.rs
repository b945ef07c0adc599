//! `existing` mode: rows and constraints that the data breaks. What the target refuses is held row by row, and told.

use crate::existing::{copied, lines};
use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{TestDatabase, database, liteferry, psql, sqlite};

/// The keys of the rows that the target refused.
fn refused(target: &TestDatabase) -> Vec<String> {
    let query = "select distinct key from liteferry.ledger where reason like 'refused:%' and standing = 'row-held' order by key";
    lines(&target.url, query, " ")
}

#[test]
fn rows_that_the_target_refuses_are_held_one_by_one() {
    let values = "insert into t values (1, 'a'), (2, 'b'), (3, 'a'), (4, 'c'), (5, 'B')";
    let source = format!("create table t (id integer primary key, v text); {values}");
    for (target, held) in [
        ("create table t (id bigint primary key, v text unique)", &["[3]"][..]),
        // It is checked only at the commit unless it is asked for earlier.
        ("create table t (id bigint primary key, v text unique deferrable initially deferred)", &["[3]"]),
        (
            "create table t (id bigint primary key, v text); create unique index u on t (lower(v))",
            &["[3]", "[5]"],
        ),
        (
            "create domain low as text check (value = lower(value)); create table t (id bigint primary key, v low)",
            &["[5]"],
        ),
        (
            "create table t (id bigint, v text, primary key (id)) partition by range (id);
             create table t1 partition of t for values from (1) to (4)",
            &["[4]", "[5]"],
        ),
        (
            "create table t (id bigint primary key, v text, w integer generated always as (10 / (id - 2)) stored)",
            &["[2]"],
        ),
        ("create table t (id bigint primary key, v text, exclude using btree (v with =))", &["[3]"]),
    ] {
        let (report, target_database) = copied(&source, target, &[]);
        assert_eq!(report["verdict"], "equal + ledger", "{target}");
        assert_eq!(refused(&target_database), held, "{target}");
        assert_eq!(report["tables"][0]["refused"], held.len(), "{target}");
        let cells = lines(&target_database.url, "select count(*) from liteferry.ledger", " ");
        assert_eq!(cells, [(2 * held.len()).to_string()], "{target}");
    }
}

/// PostgreSQL gives it the number of a CHECK.
#[test]
fn a_row_that_no_partition_takes_is_told_as_that() {
    let schema = "create table t (id bigint, v text, primary key (id)) partition by range (id);
        create table t1 partition of t for values from (1) to (4)";
    let rows = "create table t (id integer primary key, v text); insert into t values (1, 'a'), (5, 'b')";
    let (report, _target) = copied(rows, schema, &[]);
    let findings = report["findings"].as_array().expect("findings");
    let told = findings.iter().find(|finding| finding["code"] == "rows_refused").expect("it is told");
    let text = told["text"].as_str().expect("a text");
    assert!(text.ends_with(": 1 that no partition takes (SQLSTATE 23514, of no CHECK)"), "{text}");
    let (source, target) = (sqlite(rows), database());
    psql(&target.url, schema);
    let file = source.path.display().to_string();
    let sides = ["copy", "--source", &file, "--target", &target.url, "--set", "target.mode=existing"];
    let halted = liteferry(&[&sides[..], &["--set", "misfits.policy=halt"]].concat()).exits_with(1);
    assert!(halted.stderr.contains("no partition takes the row (SQLSTATE 23514)"), "{}", halted.stderr);
}

#[test]
fn values_that_are_too_long_for_an_index_are_told_beforehand() {
    let schema = "create table t (id bigint primary key, v text, w text, u text); create index on t (v); create index on t (w);
        create unique index on t (id, u)";
    let rows = "create table t (id integer primary key, v text, w text, u text);
        insert into t values (1, hex(randomblob(9000)), 'w', 'u'), (2, 'v', 'w', hex(randomblob(9000)))";
    let (source, target) = (sqlite(rows), database());
    psql(&target.url, schema);
    let file = source.path.display().to_string();
    let sides = ["--source", &file, "--target", &target.url, "--set", "target.mode=existing", "--json"];
    let told = || {
        let report = liteferry(&[&["check"], &sides[..]].concat()).exits_with(0).json();
        let findings = report["findings"].as_array().expect("findings").clone();
        let long = findings.into_iter().filter(|finding| finding["code"] == "index_too_long");
        long.map(|finding| finding["remedy"].as_str().expect("a remedy").to_owned()).collect::<Vec<_>>()
    };
    let told_first = told();
    let [_digest, hash] = told_first.as_slice() else { panic!("{told_first:?}") };
    psql(&target.url, hash);
    psql(&target.url, "drop index t_id_u_idx; create unique index on t (id, md5(u))");
    assert_eq!(told(), [""; 0]);
    assert_eq!(liteferry(&[&["copy"], &sides[..]].concat()).exits_with(0).json()["verdict"], "equal");
}

#[test]
fn a_refused_row_stands_in_the_ledger_once_whatever_else_is_wrong_with_it() {
    let values = "insert into t values ('abcd', 'x', 1), ('ab', 'x', 2), ('abcde', 'x', 3)";
    for (names, key, entries) in [
        // The first row has crossed but for its length; without a key its other cells stand beside it.
        (["v", "n", "m"], "", 3 + 2 * 3),
        // No name reaches its rowid, so its rows have none either.
        (["rowid", "oid", "_rowid_"], "", 3 + 2 * 3),
        (["v", "n", "m"], "primary key", 1 + 2 * 3),
    ] {
        let [v, n, m] = names;
        let source = format!("create table t ({v} text, {n} text, {m} integer {key}); {values}");
        let target = format!("create table t ({v} varchar(3), {n} text unique, {m} bigint {key})");
        let (report, target) = copied(&source, &target, &[]);
        assert_eq!(report["verdict"], "equal + ledger", "{report:#}");
        assert_eq!(report["tables"][0]["refused"], 2, "{source}");
        let found = lines(&target.url, "select count(*) from liteferry.ledger", " ");
        assert_eq!(found, [entries.to_string()], "{source}");
        let findings = report["findings"].as_array().expect("findings");
        let told = findings.iter().find(|finding| finding["code"] == "rows_refused").expect("it is told");
        let text = told["text"].as_str().expect("a text");
        assert!(
            text.contains("2 rows") && text.contains(&format!("2 by \"t_{n}_key\" (SQLSTATE 23505)")),
            "{text}"
        );
    }
}

#[test]
fn a_lost_row_is_not_taken_for_one_that_was_refused() {
    // No name reaches the rowid of the second, so the ledger has no name for its rows.
    for [v, n, m] in [["v", "n", "m"], ["rowid", "oid", "_rowid_"]] {
        let file = sqlite(&format!(
            "create table t ({v} text, {n} text, {m} integer);
             insert into t values ('a', 'x', 1), ('a', 'x', 1), ('b', 'y', 3)"
        ));
        let target = database();
        psql(&target.url, &format!("create table t ({v} text, {n} text unique, {m} bigint)"));
        let source = file.path.display().to_string();
        let sides = ["--json", "--source", &source, "--target", &target.url];
        liteferry(&[&["copy", "--set", "target.mode=existing"], &sides[..]].concat()).exits_with(0);
        let proof = || {
            let report = liteferry(&[&["validate"], &sides[..]].concat()).exits_with(1).json();
            let table = &report["tables"][0];
            (table["missing"].as_u64(), table["refused"].as_u64())
        };
        psql(&target.url, "delete from t");
        assert_eq!(proof(), (Some(2), Some(1)), "{v}");
        // Nor does a row count that is not what was refused.
        psql(&target.url, "update liteferry.ledger set raw = '\\x62' where class = 'text'");
        assert_eq!(proof(), (Some(3), Some(0)), "{v}");
    }
}

#[test]
fn a_text_too_long_for_its_index_is_held() {
    let source = "create table t (id integer primary key, v text);
                  insert into t values (1, 'short'), (2, hex(randomblob(20000)))";
    let (report, target) = copied(source, "create table t (id bigint primary key, v text unique)", &[]);
    assert_eq!(report["verdict"], "equal + ledger");
    assert_eq!(refused(&target), ["[2]"]);
}

#[test]
fn a_constraint_that_the_rows_break_comes_back_not_valid_and_is_told() {
    let source = "create table p (id integer primary key); insert into p values (1);
                  create table t (id integer primary key, v int, p int); insert into t values (1, 1, 1), (2, -1, 9)";
    let target = "create table p (id bigint primary key);
                  create table t (id bigint primary key, v int constraint ck check (v > 0),
                                  p bigint constraint fk references p deferrable initially deferred);
                  comment on constraint ck on t is 'positive'";
    let (report, target) = copied(source, target, &[]);
    assert_eq!(report["verdict"], "equal", "{report:#}");
    let told: Vec<&str> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| finding["code"] == "step_fallback")
        .map(|finding| finding["subject"].as_str().expect("a text"))
        .collect();
    assert_eq!(told.len(), 2, "{report:#}");
    let constraints = "select conname, pg_get_constraintdef(oid), obj_description(oid) from pg_constraint
                       where conrelid = 't'::regclass and contype not in ('p', 'n') order by conname";
    assert_eq!(
        lines(&target.url, constraints, "|"),
        [
            "ck|CHECK ((v > 0)) NOT VALID|positive",
            "fk|FOREIGN KEY (p) REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED NOT VALID|NULL"
        ]
    );
    psql(&target.url, "update t set v = 1, p = 1 where id = 2");
    psql(&target.url, "alter table t validate constraint ck; alter table t validate constraint fk");
}

#[test]
fn an_empty_table_that_others_point_at_is_not_emptied() {
    let source = "create table a (id integer primary key); insert into a values (1);
                  create table b (id integer primary key); insert into b values (2)";
    let target = "create table a (id bigint primary key); create table b (id bigint primary key); insert into b values (7);
                  create table child (id bigint primary key, a bigint references a)";
    let (report, _target) = copied(source, target, &[]);
    assert_eq!(report["verdict"], "equal", "{report:#}");
}

#[test]
fn a_row_that_the_target_refuses_halts_where_the_settings_say_so() {
    let source =
        sqlite("create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'a')");
    let target = database();
    psql(&target.url, "create table t (id bigint primary key, v text unique)");
    let source = source.path.display().to_string();
    let settings = ["--set", "target.mode=existing", "--set", "misfits.policy=halt"];
    let sides = ["copy", "--source", &source, "--target", &target.url];
    let output = liteferry(&[&sides[..], &settings[..]].concat()).exits_with(1);
    assert!(output.stderr.contains("[misfit]"), "{}", output.stderr);
    assert_eq!(refused(&target), ["[2]"]);
}

/// Keys that SQLite tells apart and the target's index takes as equal: the row that is there stays, in small batches and in large ones.
#[test]
fn a_row_whose_key_only_the_target_takes_as_equal_overwrites_no_other() {
    let large = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)";
    for (key, here, other) in
        [("text collate public.ci", "Ann", "ann"), ("citext", "Ann", "ann"), ("numeric", "1.0", "1.00")]
    {
        let case = Case::new(&format!(
            "pragma journal_mode = wal; create table t (k text not null primary key, v text); insert into t values ('{here}', 'first')"
        ));
        psql(
            &case.target.url,
            &format!(
                "create collation public.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 create extension citext; create table t (k {key} primary key, v text)"
            ),
        );
        let mut daemon = case.daemon(&["--set", "target.mode=existing"]);
        daemon.until(|status| status["phase"] == "dual-write");
        let held = |daemon: &mut Daemon| {
            daemon.drained(&case.source);
            let rows = lines(&case.target.url, "select k, v from t where v <> 'n' order by 1", "|");
            (rows, refused(&case.target))
        };
        let first = (vec![format!("{here}|first")], vec![format!("[\"{other}\"]")]);
        case.app(&format!("insert into t values ('{other}', 'second')"));
        assert_eq!(held(&mut daemon), first, "{key}");
        case.app(&format!("{large} insert into t select 1000 + i, 'n' from n; update t set v = v || ''"));
        assert_eq!(held(&mut daemon), first, "{key}");
        case.app(&format!("delete from t where k = '{other}'"));
        assert_eq!(held(&mut daemon), (first.0.clone(), Vec::new()), "{key}");
        // One that takes its letters from another is no second.
        case.app(&format!("update t set k = '{other}' where k = '{here}'"));
        assert_eq!(held(&mut daemon), (vec![format!("{other}|first")], Vec::new()), "{key}");
    }
}
