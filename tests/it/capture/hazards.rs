//! What the obvious triggers do not see, one case a hazard: setup, then statements of the application.

use super::replica::{By, Replica, captured, has_rowid, origin, route, schema, writer};
use crate::support::sqlite;
use liteferry::model::cell::CellBuf;
use liteferry::model::finding::Severity;
use liteferry::model::name::ident;
use liteferry::plan::capture::{CaptureKey, capture_table, key_of, preflight};
use liteferry::sqlite::capture::arm;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::functions::{Context, FunctionFlags};

/// Under every key that the table can have: the declared one, and the rowid where there is one.
#[track_caller]
fn follows(setup: &str, statements: &[&str]) {
    let rowid = |table: &_| if has_rowid(table) { By::Rowid } else { By::PrimaryKey };
    for pragma in ["recursive_triggers = off", "recursive_triggers = on", "foreign_keys = on"] {
        for mut replica in [Replica::new(setup), Replica::by(setup, &rowid)] {
            replica.run(&format!("pragma {pragma}"));
            for sql in statements {
                replica.run(sql);
            }
        }
    }
}

#[test]
fn rows_that_replace_deletes_are_seen() {
    follows(
        "create table t(id integer primary key, u text); create unique index i on t(lower(u)) where u <> '';
         insert into t values (1, 'Bob'), (2, ''), (3, '')",
        &[
            "replace into t values (9, 'bOB')",
            "replace into t values (10, '')",
            "update or replace t set u = 'BOB' where id = 2",
        ],
    );
    follows(
        "create table t(id integer primary key, u text collate nocase unique on conflict replace, v);
         insert into t values (1, 'a', 1), (2, 'b', 2)",
        &[
            "insert into t(u) values ('A')",
            "update t set u = 'a' where id = 2",
            "update or ignore t set u = 'B'",
        ],
    );
    follows(
        "create table t(k text primary key, v); insert into t(rowid, k, v) values (5, 'five', 1), (6, 'six', 2)",
        &[
            "replace into t(rowid, k, v) values (5, 'other', 3)",
            "update or replace t set rowid = 5 where k = 'six'",
            "update or replace t set k = 'x', rowid = 9",
        ],
    );
    follows(
        "create table t(id integer primary key, u, live); create unique index i on t(u) where live and t.u > 0;
         insert into t values (1, 7, 1), (2, 7, 0), (3, 7, 0)",
        &["update or replace t set live = 1 where id = 2", "replace into t values (8, 7, 1)"],
    );
    follows(
        "create table t(id integer primary key, a, b, c text collate nocase, unique (a, b)); create unique index i on t(c collate \
         binary); create unique index j on t(c collate rtrim, b); insert into t values (1, 1, 2, 'x'), (2, 1, 3, 'X'), (3, null, null, 'y')",
        &[
            "replace into t(a, b) values (1, 2)",
            "replace into t(c, b) values ('X  ', 3)",
            "replace into t(a, b, c) values (null, 9, 'y')",
        ],
    );
    follows(
        "create table t(k text collate nocase primary key, v) without rowid; insert into t values ('abc', 1), ('d', 2)",
        &["replace into t values ('ABC', 2)", "update or replace t set k = 'D' where k = 'abc'"],
    );
    follows(
        "create table t(k primary key, v); insert into t values (1, 1), ('1', 2), (x'31', 3)",
        &[
            "replace into t values (1.0, 4)",
            "update t set k = 1 where k = 1",
            "update or replace t set k = 1.0 where k = '1'",
        ],
    );
}

/// An expression in an index needs no parentheses there.
#[test]
fn an_expression_of_any_binding_power_is_probed_whole() {
    for expression in [
        "a or b",
        "a is b",
        "a = b",
        "not a",
        "a in (1, 2)",
        "case a when 1 then b end",
        "a between 1 and b",
        "-a",
        "a -> b",
    ] {
        follows(
            &format!(
                "create table t(id integer primary key, a, b); insert into t values (1, 0, 2); create unique index i on t({expression})"
            ),
            &[
                "replace into t(a, b) values (1, 1)",
                "replace into t(a, b) values (0, 2)",
                "update or replace t set a = b",
                "replace into t(a, b) values (0, 0)",
            ],
        );
    }
}

#[test]
fn an_expression_that_compares_sees_the_affinity_of_its_columns() {
    for expression in [
        "a is b",
        "case when n = '0' then a end",
        "case a when 1 then b end",
        "a in (1, 2)",
        "n between '0' and b",
    ] {
        follows(
            &format!(
                "create table t(id integer primary key, a text, b numeric, n int); create unique index i on t({expression});
                 insert or ignore into t(a, b, n) values ('1', 1, 0), ('2', 3, 1)"
            ),
            &[
                "replace into t(a, b, n) values ('2', 2, 0)",
                "replace into t(a, b, n) values ('1', 5, 0)",
                "update or replace t set n = 0",
                "replace into t(a, b, n) values (x'31', 'x', '')",
                "replace into t(a, b, n) values (x'31', 'x', 'y')",
            ],
        );
    }
    follows(
        "create table t(id integer primary key, a text collate nocase not null default 'D', b); create unique index i on t(a = 'd', b);
         insert into t(a, b) values ('D', 1), ('x', 1)",
        &["replace into t(a, b) values (null, 1)", "update or replace t set a = null"],
    );
    follows(
        "create table t(id integer primary key, a text not null default 1, b int, g as (a = b) unique);
         insert or ignore into t(a, b) values ('1', 1), ('2', 3)",
        &[
            "replace into t(a, b) values (null, 1)",
            "replace into t(a, b) values (null, 2)",
            "replace into t(a, b) values ('7', 7)",
        ],
    );
}

#[test]
fn a_default_that_replaces_null_is_seen() {
    follows(
        "create table t(id integer primary key, c text not null default 'dd' unique); insert into t values (1, 'dd'), (2, 'x')",
        &["insert or replace into t(c) values (null)", "update or replace t set c = null where c = 'x'"],
    );
    follows(
        "create table t(id integer primary key, r real not null default 1); create unique index i on t(lower(r)); insert into t values (1, 1)",
        &["replace into t(r) values (null)"],
    );
    follows(
        "create table t(id integer primary key, n int not null default '7', w not null default word, f real not null default (1 + 1));
         create unique index i on t(n || 'x'); create unique index j on t(w); create unique index l on t(f);
         insert into t values (1, 7, 'a', 0), (2, 8, 'word', 1), (3, 9, 'c', 2)",
        &["insert or replace into t(n, w, f) values (null, 'z', 5)", "replace into t(n, w, f) values (1, null, null)"],
    );
    follows(
        "create table t(id integer primary key, c text not null on conflict replace default 'D', g text as (lower(c)) unique,
         h as (g || '!') stored unique); insert into t values (1, 'd'), (2, 'e')",
        &["insert into t(c) values (null)", "update t set c = null where id = 2", "replace into t(c) values ('E')"],
    );
    follows(
        "create table t(k text primary key not null default 'd', v); insert into t values ('a', 1), ('d', 2)",
        &[
            "insert or replace into t(k, v) values (null, 3)",
            "insert into t(k) values ('b')",
            "update or replace t set k = null where k = 'a'",
        ],
    );
    // What a default that is computed becomes in its column is seen afterwards only.
    follows(
        "create table t(k text primary key not null default (abs(-7)), v); insert into t values ('a', 1), ('7', 2)",
        &["update or replace t set k = null where k = 'a'", "replace into t values (null, 3)"],
    );
    follows(
        "create table t(a not null default 5 primary key, b as (a + 1) unique) without rowid; insert into t values (1), (5)",
        &["update or replace t set a = null where a = 1", "replace into t values (null)"],
    );
}

#[test]
fn no_conflict_policy_drops_a_log_row_or_fails_the_application() {
    let table = "create table t(k text primary key, v); insert into t values ('a', 0)";
    follows(
        table,
        &[
            "insert or ignore into t values (null, 1)",
            "insert or ignore into t values (null, 1), ('a', 2), ('b', 3)",
            "update or fail t set v = 2",
            "update or rollback t set v = 3",
            "update or abort t set v = 4",
            "update or ignore t set v = 5, k = 'b'",
            "insert or fail into t values ('c', 1), ('c', 2), ('d', 3)",
            "insert or rollback into t values ('e', 1), ('e', 2)",
            "begin; insert into t values ('f', 1); insert or rollback into t values ('f', 1)",
        ],
    );
}

#[test]
fn triggers_of_the_application_that_raise_cannot_hide_an_update_a_delete_or_a_known_key() {
    let cut = |event: &str, raise: &str| {
        format!("create trigger app after {event} on t begin select raise({raise}); end")
    };
    let statements = [
        "insert or fail into t values ('n', 1), ('m', 2)",
        "update or fail t set v = 9",
        "delete from t where k = 'a'",
    ];
    for temp in ["", "temp"] {
        for raise in ["ignore", "fail, 'no'"] {
            for event in ["insert", "update", "delete"] {
                let setup =
                    "create table t(k text primary key not null, v); insert into t values ('a', 1), ('b', 2)";
                let mut replica = Replica::new(setup);
                replica.run(&cut(event, raise).replace("create trigger", &format!("create {temp} trigger")));
                for sql in statements {
                    replica.run(sql);
                }
            }
        }
    }
    let told = |setup: &str, sql: &[&str]| {
        let mut replica = Replica::new(setup);
        sql.iter().for_each(|sql| replica.run(sql));
    };
    // An id of SQLite's choice is known after the change only; there ours runs first, being the latest.
    let ids = "create table t(id integer primary key, v); create trigger app after insert on t begin select raise(ignore); end";
    told(
        ids,
        &["insert into t(v) values (1)", "insert into t values (7, 1)", "insert into t default values"],
    );
    let keyless =
        "create table t(v); create trigger app after insert on t begin select raise(fail, 'no'); end";
    told(keyless, &["insert into t(v) values (1)", "insert into t(rowid, v) values (7, 1)"]);
}

#[test]
fn the_order_of_the_log_does_not_matter() {
    follows(
        "create table t(id integer primary key, v); create table u(id integer primary key, v);
         create trigger a after insert on t when new.v = 1 begin delete from t where id = new.id; end;
         create trigger b after insert on t when new.v = 2 begin update t set id = new.id + 100 where id = new.id; end;
         create trigger c after update on t begin insert or replace into u values (new.id, old.v); end",
        &["insert into t(v) values (1)", "insert into t(v) values (2)", "update t set v = v + 1", "delete from t"],
    );
}

#[test]
fn what_fires_as_it_should_is_followed() {
    follows(
        "create table p(id integer primary key, u unique); create table c(id integer primary key,
         p references p(u) on delete cascade on update cascade, s references c(id) on delete set null);
         insert into p values (1, 'a'), (2, 'b'); insert into c values (1, 'a', null), (2, 'a', 1), (3, 'b', 2)",
        &["replace into p values (9, 'a')", "update p set u = 'z' where u = 'b'", "delete from p", "delete from c where id = 1"],
    );
    follows(
        "create table t(id integer primary key, u int unique, v any default 1) strict; insert into t values (1, 1, 1)",
        &[
            "insert into t values (2, 1, 5) on conflict(u) do update set id = 7, v = excluded.v",
            "insert into t values (7, 2, 5) on conflict(id) do update set v = 'x' on conflict(u) do nothing",
            "insert into t default values",
            "update t set v = s.n from (select 7 as i, 99 as n) as s where id = s.i returning id",
            "insert into t(u) select value from json_each('[5, 6, 7]')",
            "savepoint a; delete from t; rollback to a; update t set u = u + 10; release a",
            "delete from t",
        ],
    );
    follows(
        "create table t(a, b, primary key (a, b)) without rowid; create view v as select * from t;
         create trigger i instead of insert on v begin replace into t values (new.b, new.a); end; insert into t values (1, 2)",
        &["insert into v values (2, 1)", "insert into v values (3, 1.0)", "update t set a = 1.0", "delete from t"],
    );
}

#[test]
fn a_changed_key_is_logged_as_it_was_and_as_it_is() {
    follows(
        "create table t(k text collate nocase primary key, v); insert into t values ('abc', 1)",
        &[
            "update t set k = 'ABC'",
            "update t set k = x'414243'",
            "update t set k = null",
            "update t set k = 'n'",
        ],
    );
    follows(
        "create table t(k primary key, v); insert into t values (1, 1)",
        &[
            "update t set k = 1.0",
            "update t set k = 0.0",
            "update t set k = -0.0",
            "update t set k = 0",
            "update t set k = '0'",
        ],
    );
    for name in ["rowid", "_rowid_", "oid", "id"] {
        follows(
            "create table t(id integer primary key, v); insert into t values (1, 1), (2, 2)",
            &[&format!("update t set {name} = {name} + 10")],
        );
    }
}

#[test]
fn rows_without_a_key_are_told_by_their_rowid() {
    follows(
        "create table t(id text primary key, v); insert into t values (null, 1), (null, 2), ('a', 3)",
        &[
            "update t set v = 9 where v = 1",
            "insert into t values (null, 4)",
            "update t set id = null",
            "update t set rowid = rowid + 10 where v = 2",
            "delete from t where v = 2",
            "replace into t(rowid, id, v) values (14, null, 0)",
        ],
    );
    follows(
        "create table t(rowid, v); create table s(_rowid_, rowid, v); insert into t values ('a', 1); insert into s values (1, 1, 1)",
        &[
            "update t set rowid = 'b'",
            "update t set _rowid_ = 9",
            "update s set oid = 5, rowid = 6",
            "insert into s(oid) values (8)",
        ],
    );
    let file = sqlite("create table t(_rowid_, rowid, oid)");
    let schema = schema(&file.path);
    assert_eq!(key_of(&route(&schema.tables[0], By::Rowid), &schema.tables[0]), None);
}

#[test]
fn an_integer_primary_key_that_is_not_the_rowid_is_no_rowid() {
    for columns in
        ["id integer primary key desc, v", "id int primary key, v", "id integer, v, primary key (id, v)"]
    {
        let mut replica =
            Replica::new(&format!("create table t({columns}); insert into t(rowid, id, v) values (5, 1, 1)"));
        assert!(matches!(replica.captured("t").key, CaptureKey::Columns { .. }), "{columns}");
        replica.run("insert or replace into t(rowid, id, v) values (5, 2, 1)");
        replica.run("update t set rowid = 1, id = 3");
    }
}

#[test]
fn vacuum_does_not_number_rows_anew() {
    let mut replica = Replica::new(
        "create table h(a); insert into h values (1), (2), (3); create table i(a); create index x on i(a)",
    );
    assert!(replica.captured("h").pin.is_some() && replica.captured("i").pin.is_none());
    replica.run("delete from h where a = 1");
    replica.app.execute_batch("vacuum").expect("the application may");
    replica.app.execute_batch("update h set a = 9 where a = 3").expect("the application may");
    replica.plain.execute_batch("update h set a = 9 where a = 3").expect("the application may");
    replica.follow();
}

#[test]
fn names_are_quoted_and_a_table_called_new_is_not_the_trigger_row() {
    for name in
        ["new", "old", "x", "NEW", "a\"b", "select", "it's", "ä ö", "_liteferry_", "t.u", "with\nbreak"]
    {
        let quoted = ident(name);
        for (column, other) in [("new", "old"), ("x", "select"), ("k0", "it's \"")] {
            let (column, other) = (ident(column), ident(other));
            let setup = format!(
                "create table {quoted}(id integer primary key, {column} text unique, {other});
                 create unique index i on {quoted}(lower({other})) where {quoted}.{column} <> 'q' and {other} is not null;
                 insert into {quoted} values (1, 'a', 'A'), (2, 'b', 'B'), (3, 'c', 'C'), (4, 'q', 'D')"
            );
            let mut replica = Replica::new(&setup);
            replica.run_only(&format!("replace into {quoted} values (9, 'a', 'b')"));
            assert!(replica.backlog() <= 6, "{name}: {}", replica.backlog());
            replica.follow();
            replica.run(&format!("update or replace {quoted} set {other} = 'c' where id = 9"));
            replica.run(&format!("delete from {quoted}"));
        }
    }
}

#[test]
fn every_probe_is_a_search_in_its_index() {
    let file = sqlite(
        "create table t(id integer primary key, a text, b text collate nocase, c not null default 'd', g as (lower(c)), p);
         create unique index i1 on t(a); create unique index i2 on t(b); create unique index i3 on t(b collate binary);
         create unique index i4 on t(lower(a), b) where p > 0; create unique index i5 on t(g); create unique index i6 on t(c, p desc);
         create unique index i7 on t((a || b) collate nocase) where t.p is null; create unique index i8 on t(lower(a collate nocase));
         create table w(k text collate nocase, l, u unique, primary key (k, l)) without rowid",
    );
    let tables = captured(&file.path, &|_| By::PrimaryKey);
    arm(&writer(&file.path), &origin(), &tables, &|| {}).expect("capture is armed");
    let app = Connection::open(&file.path).expect("the file opens");
    app.set_db_config(DbConfig::SQLITE_DBCONFIG_TRIGGER_EQP, true).expect("the setting is known");
    for (sql, probes) in [
        ("insert into t default values", 8),
        ("update t set p = 1 where id = 1", 8),
        ("insert into w values (1, 2, 3)", 2),
        ("update w set u = 1 where k = 1 and l = 2", 2),
    ] {
        let mut statement =
            app.prepare(&format!("explain query plan {sql}")).expect("the statement compiles");
        let plan = statement.query_map([], |row| row.get::<_, String>(3)).expect("the plan can be read");
        let plan: Vec<String> = plan.map(|line| line.expect("a line is text")).collect();
        let read = |word: &str| plan.iter().filter(|line| line.starts_with(word)).count();
        assert!(
            read("SCAN t") + read("SCAN x") + read("SCAN w") == 0 && read("SEARCH") >= probes,
            "{sql}: {plan:#?}"
        );
    }
}

#[test]
fn what_only_the_application_can_write_is_captured() {
    let file = sqlite(
        "create table t(id integer primary key, name text not null collate nocase, s text); create unique index i on t(name);
         create unique index j on t(lower(s)); pragma writable_schema = on;
         update sqlite_schema set sql = replace(replace(sql, 'nocase', 'unicase'), 'lower(', 'title_sort(')",
    );
    let tables = captured(&file.path, &|_| By::PrimaryKey);
    arm(&writer(&file.path), &origin(), &tables, &|| {}).expect("capture is armed");
    let app = Connection::open(&file.path).expect("the file opens");
    let folded = |one: &str, other: &str| one.to_lowercase().cmp(&other.to_lowercase());
    app.create_collation("unicase", folded).expect("a collation is taken");
    let sorted = |call: &Context<'_>| call.get::<String>(0);
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    app.create_scalar_function("title_sort", 1, flags, sorted).expect("a function is taken");
    app.execute_batch(
        "insert into t values (1, 'A', 'x'), (2, 'B', 'y'); delete from _liteferry_change; replace into t values (3, 'a', 'y')",
    )
    .expect("the application writes");
    let mut statement = app.prepare("select distinct k0 from _liteferry_change order by 1").expect("ours");
    let keys: Vec<i64> =
        statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("keys");
    assert_eq!(keys, [1, 2, 3], "the new row, and both that it took away");
}

#[test]
fn an_index_over_an_expression_of_an_id_to_be_chosen_is_refused() {
    for index in [
        "create unique index i on t(id % 10)",
        "create unique index i on t(g)",
        "create unique index i on t(h)",
    ] {
        let file = sqlite(&format!(
            "create table t(id integer primary key, v, g as (id + 1), h as (g + v)); {index}"
        ));
        let schema = schema(&file.path);
        let key = CaptureKey::Rowid { name: "_rowid_".to_owned() };
        let findings = capture_table(&schema, &schema.tables[0], key, 1).expect_err(index);
        assert_eq!(findings[0].code, "capture_unique_expression_rowid");
        assert_eq!(findings[0].severity, Severity::Blocker);
    }
    // The id itself is in the index: two rows never meet there.
    let mut replica = Replica::new(
        "create table t(id integer primary key, v, g as (id + 1)); create unique index i on t(id, v)",
    );
    replica.run("replace into t(v) values (1)");
}

#[test]
fn preflight_names_what_is_in_the_way() {
    let file = sqlite(
        "create table t(id integer primary key); create table _LITEFERRY_change(a); create view _liteferry_1_bu as select 1;
         create table _liteferry_changes(a); create trigger r after insert on t begin select raise ( IGNORE); end;
         create trigger s before insert on t begin select raise(ignore); end",
    );
    let findings = preflight(&schema(&file.path));
    let told: Vec<(&str, &str)> =
        findings.iter().map(|finding| (finding.code, finding.subject.as_str())).collect();
    assert_eq!(
        told,
        [
            ("capture_name_taken", "_LITEFERRY_change"),
            ("capture_name_taken", "_liteferry_1_bu"),
            ("capture_trigger_raises", "t")
        ]
    );
}

#[test]
fn odd_values_of_keys_are_logged_as_they_are() {
    let mut replica = Replica::new("create table t(k primary key, v)");
    replica.run("insert into t values (x'00ff', 1), (cast(x'6100' as text), 2), (cast(x'ff' as text), 3), (0.1 + 0.2, 4), (9e999, 5)");
    replica.run("update t set v = v + 1");
    replica.run_only("delete from t where v = 5");
    assert_eq!(replica.logged(replica.captured("t")), [[CellBuf::Real(0.1 + 0.2), CellBuf::Integer(4)]]);
    replica.follow();
}
