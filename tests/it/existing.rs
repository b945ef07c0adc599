//! `existing` mode over databases of the corpus: schemas as applications' migrations write them, and what each cell becomes there.

use crate::support::{TestDatabase, corpus, database, liteferry, psql, sqlite};
use serde_json::Value;

const REPLACE: &[&str] =
    &["--json", "--set", "target.mode=existing", "--set", "target.existing_rows=replace"];

/// A database of the corpus and the PostgreSQL schema it goes into.
struct Crossing {
    /// How the file's name begins.
    case: &'static str,
    target: &'static str,
    settings: &'static [&'static str],
    /// `table.column key class reason standing`, in the order of the columns' names and then of the keys.
    ledger: &'static [&'static str],
    /// Queries on the target, and their rows with `|` between the cells.
    values: &'static [(&'static str, &'static [&'static str])],
}

#[track_caller]
fn check(crossing: &Crossing) {
    let case =
        corpus().into_iter().find(|case| case.name.starts_with(crossing.case)).expect("the case is there");
    let (file, target) = (sqlite(&case.sql), database());
    psql(&target.url, crossing.target);
    psql(&target.url, &format!("alter database {} set timezone = 'UTC'", target.name));
    let before = structure(&target);
    let source = file.path.display().to_string();
    let sides = ["--source", &source, "--target", &target.url];
    let run = |command: &str| {
        let args = [&[command], REPLACE, &sides[..], crossing.settings].concat();
        liteferry(&args).exits_with(0).json()
    };
    run("check");
    for report in [run("copy"), run("validate")] {
        assert_eq!(report["verdict"], "equal + ledger", "{report:#}");
        assert_eq!(report["ledger_rows"], crossing.ledger.len(), "{report:#}");
    }
    let ledger =
        "select source_table || '.' || column_name, key, class, reason, standing from liteferry.ledger
                  order by source_table, column_name, key";
    assert_eq!(lines(&target.url, ledger, " "), crossing.ledger, "{}", case.name);
    for (query, rows) in crossing.values {
        assert_eq!(lines(&target.url, query, "|"), *rows, "{query}");
    }
    assert_eq!(structure(&target), before, "what was suspended is given back word for word");
}

pub fn lines(url: &str, query: &str, between: &str) -> Vec<String> {
    let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".into());
    psql(url, query).iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(between)).collect()
}

/// Every constraint, index, trigger and default, with its comment.
fn structure(target: &TestDatabase) -> Vec<String> {
    let query = "
        select conrelid::regclass::text, conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')
        from pg_constraint where connamespace = 'public'::regnamespace
        union all
        select indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid), null
        from pg_index join pg_class c on c.oid = indrelid where c.relnamespace = 'public'::regnamespace
        union all
        select tgrelid::regclass::text, tgname, pg_get_triggerdef(t.oid), tgenabled::text
        from pg_trigger t join pg_class c on c.oid = tgrelid
        where c.relnamespace = 'public'::regnamespace and not tgisinternal
        union all
        select adrelid::regclass::text, adnum::text, pg_get_expr(adbin, adrelid), null
        from pg_attrdef join pg_class c on c.oid = adrelid where c.relnamespace = 'public'::regnamespace
        order by 1, 2, 3";
    lines(&target.url, query, " ")
}

#[test]
fn cells_of_another_class_than_their_column_go_to_the_ledger_one_by_one() {
    check(&Crossing {
        case: "02",
        target:
            "create table mixed (id bigint primary key, a integer, b text, c bytea, d timestamptz, e boolean,
                                     f integer, g double precision)",
        settings: &[],
        ledger: &[
            "mixed.a [3] text not-a-number null",
            "mixed.a [4] text not-a-number null",
            "mixed.a [5] blob class null",
            "mixed.b [3] blob class kept",
            "mixed.b [5] blob not-text null",
            "mixed.c [3] text class kept",
            "mixed.c [4] integer class kept",
            "mixed.c [5] real class kept",
            "mixed.d [2] integer no-unit null",
            "mixed.d [3] integer no-unit null",
            "mixed.d [4] real no-unit null",
            "mixed.d [5] text not-a-timestamp null",
            "mixed.e [3] text class kept",
            "mixed.e [4] text class kept",
            "mixed.e [5] text not-a-boolean null",
            "mixed.f [3] real fraction null",
            "mixed.f [5] real out-of-range null",
            "mixed.g [3] text not-a-number null",
            "mixed.g [4] text not-a-number null",
            "mixed.g [5] blob class null",
        ],
        values: &[(
            "select * from mixed order by id",
            &[
                "1|1|x|\\x00|2024-01-01 00:00:00+00|t|1|1.5",
                "2|2|5|\\x|NULL|f|2|2",
                "3|NULL|blob|\\x7465787420696e20626c6f62|NULL|t|NULL|NULL",
                "4|NULL|1.5|\\x37|NULL|t|1000|NULL",
                "5|NULL|NULL|\\x322e35|NULL|NULL|NULL|NULL",
                "6|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
            ],
        )],
    });
}

#[test]
fn decimals_beyond_their_column_are_rounded_or_held_and_the_original_is_kept() {
    check(&Crossing {
        case: "05",
        target: "create table money (id bigint primary key, amt numeric(10,2), price numeric(20,6), dec_txt numeric(38,10),
                                     d206 numeric(20,6))",
        settings: &[],
        ledger: &[
            "money.amt [2] real out-of-range null",
            "money.amt [3] real rounded kept",
            "money.amt [5] text not-a-number null",
            "money.amt [7] real out-of-range null",
            "money.d206 [5] text not-a-number null",
            "money.d206 [7] integer out-of-range null",
            "money.dec_txt [1] text spelling kept",
            "money.dec_txt [2] text out-of-range null",
            "money.dec_txt [4] text spelling kept",
            "money.dec_txt [5] text not-a-number null",
            "money.dec_txt [6] text rounded kept",
            "money.dec_txt [7] text not-a-number null",
            "money.price [2] real out-of-range null",
            "money.price [5] text not-a-number null",
            "money.price [6] real rounded kept",
        ],
        values: &[(
            "select * from money order by id",
            &[
                "1|10.10|10.100000|10.1000000000|1.100000",
                "2|NULL|NULL|NULL|12345678901234.123000",
                "3|1.01|1.005000|1.0050000000|0.100000",
                "4|10.00|10.000000|10.0000000000|0.000000",
                "5|NULL|NULL|NULL|NULL",
                "6|0.10|0.000000|0.0000000000|100.000000",
                "7|NULL|-99999999.995000|NULL|NULL",
            ],
        )],
    });
}

#[test]
fn words_for_true_and_false_are_read_and_nothing_else_is() {
    check(&Crossing {
        case: "09",
        target: "create table b (id bigint generated always as identity primary key, v boolean, t boolean,
                                 d0 boolean not null default false, dq boolean default false, df boolean default false,
                                 dt boolean default true, dx boolean default true, bit boolean);
                 create table bclean (id bigserial primary key, v boolean default true, w boolean);
                 create unique index bclean_part on bclean (w) where v",
        settings: &[],
        ledger: &[
            "b.t [10] text class kept",
            "b.t [13] integer not-a-boolean null",
            "b.t [14] integer not-a-boolean null",
            "b.t [15] real not-a-boolean null",
            "b.t [16] text not-a-boolean null",
            "b.t [18] blob not-a-boolean null",
            "b.t [4] text class kept",
            "b.t [5] text class kept",
            "b.t [6] text class kept",
            "b.t [7] text class kept",
            "b.t [8] text class kept",
            "b.t [9] text class kept",
            "b.v [10] text class kept",
            "b.v [13] integer not-a-boolean null",
            "b.v [14] integer not-a-boolean null",
            "b.v [15] real not-a-boolean null",
            "b.v [16] text not-a-boolean null",
            "b.v [17] text not-a-boolean null",
            "b.v [18] blob not-a-boolean null",
            "b.v [4] text class kept",
            "b.v [5] text class kept",
            "b.v [6] text class kept",
            "b.v [7] text class kept",
            "b.v [8] text class kept",
            "b.v [9] text class kept",
        ],
        values: &[
            (
                "select string_agg(coalesce(v::text, '-'), ' ' order by id), string_agg(coalesce(t::text, '-'), ' ' order by id) from b",
                &["false true - true false true false true false true true true - - - - - -|\
                   false true - true false true false true false false false false - - - - true -"],
            ),
            ("select * from bclean order by id", &["1|t|f", "2|f|t", "3|NULL|NULL"]),
            ("insert into b default values returning id", &["19"]),
            ("insert into bclean default values returning id", &["4"]),
        ],
    });
}

#[test]
fn json_that_jsonb_cannot_hold_goes_to_the_ledger_and_json_keeps_its_text() {
    check(&Crossing {
        case: "10",
        target: "create table js (id bigint primary key, j jsonb, jn json)",
        settings: &[],
        ledger: &[
            "js.j [10] text not-json null",
            "js.j [11] text out-of-range null",
            "js.j [12] blob class kept",
            "js.j [13] text duplicate-keys kept",
            "js.j [15] blob class kept",
            "js.j [5] text not-json null",
            "js.j [6] text not-json null",
            "js.j [7] text not-json null",
            "js.j [8] text not-json null",
            "js.j [9] text not-json null",
            "js.jn [10] text not-json null",
            "js.jn [15] blob class kept",
            "js.jn [7] text not-json null",
            "js.jn [9] text not-json null",
        ],
        values: &[(
            "select * from js where j is not null or jn is not null order by id",
            &[
                "1|{\"a\": [1, 2.50, null, true], \"b\": 1, \"é\": \"é\"}|5",
                "2|\"str\"|\"str\"",
                "3|null|null",
                "4|12345678901234567890123.4500|1.2345678901234568e+22",
                "5|NULL|1",
                "6|NULL|100",
                "8|NULL|true",
                "11|NULL|0",
                "12|{\"a\": 1}|NULL",
                "13|{\"a\": 2}|0",
                "14|[]|[]",
                "15|{\"a\": 1}|{}",
            ],
        )],
    });
}

const DJANGO: &str = "
    create table x_cat (id bigint generated by default as identity primary key, name varchar(10) not null);
    create table x_all (
        id bigint generated by default as identity primary key, b boolean default true not null, nb boolean,
        si smallint not null, psi smallint not null check (psi >= 0), i integer not null, bi bigint not null,
        f double precision, d numeric(20,6), da date, dtm timestamptz default statement_timestamp(), t time, du interval,
        u uuid, j jsonb, bn bytea, c varchar(5) not null, tx text not null unique, ip inet, fk_id bigint,
        gen varchar(5) generated always as (lower(c)) stored, constraint ck_si check (si >= 0));
    comment on constraint ck_si on x_all is 'it''s small';
    create index x_all_tx_like on x_all (tx text_pattern_ops);
    create unique index ux_part on x_all (i) where b;
    create unique index ux_low on x_all (lower(c), i);
    alter table x_all add constraint x_all_fk foreign key (fk_id) references x_cat (id) deferrable initially deferred;
    create table django_content_type (
        id integer generated by default as identity primary key, app_label varchar(100) not null,
        model varchar(100) not null, constraint django_content_type_uniq unique (app_label, model));
    insert into django_content_type (app_label, model) values ('auth', 'user'), ('x', 'all'), ('x', 'cat');
    create table django_migrations (
        id bigint generated by default as identity primary key, app varchar(255) not null, name varchar(255) not null,
        applied timestamptz not null);
    insert into django_migrations (app, name, applied) values ('x', '0001_initial', '2020-01-01 00:00:00+00');
    create function touch() returns trigger language plpgsql as $$ begin new.tx := 'touched'; return new; end $$;
    create trigger touch before insert on x_all for each row execute function touch();
    create table audit (note text);
    create function note() returns trigger language plpgsql as
        $$ begin insert into audit values (new.name); return null; end $$;
    create trigger note after insert on x_cat for each row execute function note();
    alter table x_cat enable always trigger note;
";

#[test]
fn a_schema_of_django_takes_every_field_and_keeps_its_own_record_of_migrations() {
    check(&Crossing {
        case: "26",
        target: DJANGO,
        settings: &[],
        ledger: &["x_all.c [3] text too-long kept", "x_all.d [2] integer out-of-range null"],
        values: &[
            (
                "select id, b, nb, si, psi, i, bi, f, d, da, dtm, t, fk_id, gen from x_all order by id",
                &[
                    "1|t|NULL|1|1|1|1|1.5|12345678901234.123000|2024-02-29|2024-02-29 13:14:15.123456+00|13:14:15.123456|1|ab",
                    "2|f|f|2|2|2|2|1e+300|NULL|0001-01-01|2024-02-29 13:14:15+00|00:00:00|NULL|cd",
                    "3|t|t|3|3|3|9223372036854775807|Infinity|3.000000|9999-12-31|9999-12-30 23:59:59.999999+00|\
                     23:59:59.000001|NULL|toolo",
                    "4|t|NULL|4|4|4|4|NULL|0.100000|NULL|NULL|NULL|1|",
                ],
            ),
            (
                "select du, u, j, bn, c, tx, ip from x_all order by id",
                &[
                    "1 day 02:00:00.000005|12345678-1234-5678-1234-567812345678|{\"a\": [1, 2.5, null, true], \"é\": \"€\"}|\
                     \\x0001ff|Ab|one|10.0.0.1",
                    "-2 days +23:59:59.999999|01234567-89ab-cdef-0123-456789abcdef|\"str\"|\\x|CD|two|::ffff:10.0.0.1",
                    "99999 days|NULL|5|NULL|toolo|three|fe80::1",
                    "NULL|NULL|null|NULL|||NULL",
                ],
            ),
            ("select * from django_content_type order by id", &["7|x|all", "9|auth|user"]),
            ("select name, applied from django_migrations", &["0001_initial|2020-01-01 00:00:00+00"]),
            ("select note from audit", &[]),
            ("insert into django_content_type (app_label, model) values ('n', 'n') returning id", &["10"]),
            (
                "insert into x_all (si, psi, i, bi, c, tx) values (9, 9, 9, 9, 'n', 'n') returning id, tx",
                &["5|touched"],
            ),
        ],
    });
}

const OTHERS: &str = "
    create table rails (id bigserial primary key, b boolean default false, old_b boolean default false, d numeric(20,6),
        t time(6), dt timestamp(6), bl bytea, j json, created_at timestamp(6) not null);
    create table lar (id bigserial primary key, b boolean not null default false, d numeric, da date, dt timestamp(0),
        t time(0), u uuid, j json, e varchar(255) check (e::text in ('a', 'b')), bl bytea, y integer,
        g integer generated always as (y * 2) stored, created_at timestamp(0), deleted_at timestamp(0));
    create table gorm (id bigserial primary key, b boolean default true, t timestamptz, tp timestamptz, dur bigint,
        f32 real, u64 bigint, deleted_at timestamptz);
    create index idx_gorm_deleted_at on gorm (deleted_at);
    create table jdbc (id integer primary key, ts timestamptz, jdbc_date date, tm time(3), ldt timestamp, b boolean);
    create table ef (\"Id\" uuid not null constraint \"PK_ef\" primary key, \"Price\" numeric not null,
        \"At\" timestamp not null, \"AtO\" timestamptz not null, \"Span\" interval not null, \"D\" date, \"T\" time,
        \"Flag\" boolean not null, \"U64\" numeric(20,0) not null);
";

#[test]
fn schemas_of_rails_laravel_gorm_hibernate_and_ef_core_read_their_own_spellings() {
    check(&Crossing {
        case: "29",
        target: OTHERS,
        settings: &["--set", "types.source_tz=Europe/Paris"],
        ledger: &[
            "ef.At [\"12345678-9ABC-4DEF-8123-456789ABCDEF\"] text precision kept",
            "ef.AtO [\"12345678-9ABC-4DEF-8123-456789ABCDEF\"] text precision kept",
            "ef.Span [\"12345678-9ABC-4DEF-8123-456789ABCDEF\"] text precision kept",
            "ef.T [\"12345678-9ABC-4DEF-8123-456789ABCDEF\"] text precision kept",
            "gorm.f32 [3] real rounded kept",
            "gorm.t [1] text precision kept",
            "gorm.t [3] text precision kept",
            "gorm.tp [3] text precision kept",
        ],
        values: &[
            (
                "select * from rails order by id",
                &[
                    "1|t|t|12345678901234.123000|13:14:15.123456|2024-02-29 13:14:15.123456|\\x00ff|{\"a\":[1,\"é\"]}|\
                     2026-11-21 00:10:49.006113",
                    "2|f|f|3.000000|00:00:00|2024-01-01 00:00:00|NULL|NULL|2026-11-21 00:10:49",
                ],
            ),
            (
                "select * from lar",
                &[
                    "1|t|12345678901234.123|2024-02-29|2024-02-29 13:14:15|01:02:03|12345678-1234-5678-1234-567812345678|\
                   {\"a\":\"\\u00e9\"}|a|\\x00ff|2024|4048|2026-11-21 00:12:46|NULL",
                ],
            ),
            (
                "select id, b, t, tp, dur, f32, u64, deleted_at from gorm order by id",
                &[
                    "1|t|2024-02-29 11:14:15.123456+00|2024-02-29 13:14:15+00|1000000000|0.1|9223372036854775807|NULL",
                    "2|f|0001-01-01 00:00:00+00|NULL|0|0|0|2024-02-29 13:14:15.1+00",
                    "3|t|2023-10-04 09:27:15.36573+00|2026-07-26 08:17:47.112233+00|-1|1.6777216e+07|0|NULL",
                ],
            ),
            (
                "select * from jdbc",
                &["1|2024-02-29 12:14:15.123+00|2024-02-29|13:14:15|2024-02-29 13:14:15.123456|t"],
            ),
            (
                "select * from ef",
                &[
                    "12345678-9abc-4def-8123-456789abcdef|79228162514264337593543950335.0|2024-02-29 13:14:15.123456|\
                   2024-02-29 11:14:15.123456+00|1 day 02:03:04|2024-02-29|13:14:15.123456|t|18446744073709551615",
                ],
            ),
        ],
    });
}

/// Copies `source` into `target` and gives the report beside the two sides.
pub fn copied(source: &str, target: &str, settings: &[&str]) -> (Value, TestDatabase) {
    let (file, database) = (sqlite(source), database());
    psql(&database.url, target);
    let source = file.path.display().to_string();
    let sides = ["--source", &source, "--target", &database.url];
    let args = |command| [&[command], REPLACE, settings, &sides[..]].concat();
    let report = liteferry(&args("copy")).exits_with(0).json();
    let again = liteferry(&args("validate")).exits_with(0).json();
    assert_eq!(again["verdict"], report["verdict"], "{again:#}");
    (report, database)
}

#[test]
fn one_column_of_texts_and_numbers_loses_none_once_their_unit_is_said() {
    let source = "create table t (id integer primary key, at datetime);
        insert into t values (1, '2023-11-14 22:13:20'), (2, '2023-11-14 22:13:21'), (3, 1700000002123)";
    let target = "create table t (id serial primary key, at timestamptz(3))";
    let (file, database) = (sqlite(source), database());
    psql(&database.url, target);
    let file = file.path.display().to_string();
    let sides = ["--source", &file, "--target", &database.url];
    let plan = liteferry(&[&["check"], REPLACE, &sides[..]].concat()).exits_with(0).json();
    let remedy = plan["findings"][0]["remedy"].as_str().expect("the first finding has a remedy");
    assert!(remedy.starts_with(r#"[types.column."t.at"] form = "epoch-ms""#), "{plan:#}");

    let (report, told) = copied(source, target, &["--set", "types.column.\"t.at\".form=epoch-ms"]);
    assert_eq!(report["ledger_rows"], 2, "{report:#}");
    let rows = lines(&told.url, "select at at time zone 'UTC' from t order by id", "|");
    assert_eq!(rows, ["2023-11-14 22:13:20", "2023-11-14 22:13:21", "2023-11-14 22:13:22.123"]);
    let ledger =
        lines(&told.url, "select key, class, reason, standing from liteferry.ledger order by key", " ");
    assert_eq!(ledger, ["[1] text class kept", "[2] text class kept"]);
}

#[test]
fn arrays_enums_and_intervals_as_sqlalchemy_keeps_them_cross() {
    let source = r#"create table t (id integer primary key, e varchar(5), ints json, texts json, span datetime);
        insert into t values (1, 'green', '[1, 2, -3]', '["x", "y \"q\"", "a,b", "", "null"]', '1970-01-04 05:00:00.000007'),
            (2, 'red', '[]', '[]', '1969-12-31 23:59:59.999999')"#;
    let target = "create type color as enum ('red', 'green');
        create table t (id serial primary key, e color, ints integer[], texts text[], span interval)";
    let (report, target) = copied(source, target, &[]);
    assert_eq!(report["verdict"], "equal", "{report:#}");
    let rows = lines(&target.url, "select * from t order by id", "|");
    assert_eq!(
        rows,
        [
            r#"1|green|{1,2,-3}|{x,"y \"q\"","a,b","","null"}|3 days 05:00:00.000007"#,
            "2|red|{}|{}|-1 days +23:59:59.999999"
        ]
    );
}

#[test]
fn arrays_as_javascript_joins_them_cross() {
    let source = "create table t (id integer primary key, texts text, ints text, odd text);
        insert into t values (1, 'x,y z', '1,-2', '[\"a\"]'), (2, '', '', 'a,b'), (3, 'ü', null, '[\"b\"]')";
    let target = "create table t (id serial primary key, texts text[], ints integer[], odd text[])";
    let (report, target) = copied(source, target, &[]);
    assert_eq!(report["ledger_rows"], 1, "what is no JSON among JSON: {report:#}");
    let rows = lines(&target.url, "select * from t order by id", "|");
    assert_eq!(rows, [r#"1|{x,"y z"}|{1,-2}|{a}"#, "2|{}|{}|NULL", "3|{ü}|NULL|{b}"]);
}

#[test]
fn columns_that_the_target_computes_are_told_by_copy_and_by_validate() {
    let file = sqlite(
        "create table t (id integer primary key, v text, low text); insert into t values (1, 'A', 'a')",
    );
    let target = database();
    psql(
        &target.url,
        "create table t (id bigint primary key, v text, low text generated always as (lower(v)) stored,
                         len integer generated always as (length(v)) stored)",
    );
    let source = file.path.display().to_string();
    for command in ["copy", "validate"] {
        let settings: &[&str] = if command == "copy" { REPLACE } else { &["--json"] };
        let args = [&[command], settings, &["--source", &source, "--target", &target.url]].concat();
        let report = liteferry(&args).exits_with(0).json();
        let findings = report["findings"].as_array().expect("findings");
        let told = findings.iter().filter(|finding| finding["code"] == "column_computed");
        let mut told: Vec<&str> = told.filter_map(|finding| finding["subject"].as_str()).collect();
        told.sort_unstable();
        assert_eq!(told, ["t.len", "t.low"], "{command}: {report:#}");
    }
}

#[test]
fn checks_come_back_as_the_expressions_they_were() {
    let source = "create table t (id integer primary key, s varchar(9), l varchar(9), n int);
        insert into t values (1, 'active', 'it''s](', 1), (2, 'gone', null, 2)";
    let target = r#"create table t (id serial primary key, s varchar(9) constraint "st]ate" check (s in ('active', 'gone')),
            l varchar(9) check (l in ('it''s](', E'\\', null)), n int check (n in (1, 2)),
            check (s not in ('x', 'y') or n > 0 or l in (s, 'q')), check (s = any (array['active', 'gone'])),
            check (lower(s) in ('active', 'gone')), check (not s = any ('{a,b}'::varchar[])));
        comment on constraint "st]ate" on t is 'kept'"#;
    let made = database();
    psql(&made.url, target);
    let (report, target) = copied(source, target, &[]);
    assert_eq!(report["verdict"], "equal", "{report:#}");
    assert_eq!(structure(&target), structure(&made));
}
