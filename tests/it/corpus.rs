//! Databases that broke other tools. Each must end equal, or equal with a ledger: there is no third outcome.

use crate::oracle::Oracle;
use crate::support::{corpus, database, liteferry, postgres_major, psql, sqlite};

/// A table's columns and their types.
const TYPES: &str = "select attrelid::regclass || ': ' || string_agg(attname || ' ' || atttypid::regtype, ', ' order by attnum)
    from pg_attribute where attrelid in (select oid from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace)
    and attnum > 0 group by attrelid order by attrelid::regclass::text";
const INDEXES: &str = "select regexp_replace(indexdef, ' ON .* USING', '') from pg_indexes
    where schemaname = 'public' and not indexdef like '%pkey%' order by indexname";
const KEYS: &str = "select conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'public'::regnamespace and contype <> 'n' order by conrelid::regclass::text, contype";
const DEFAULTS: &str = "select column_name || ' ' || column_default from information_schema.columns
    where table_schema = 'public' and column_default is not null order by ordinal_position, table_name";
const NEXT: &str = "select attrelid::regclass || ' ' || nextval(pg_get_serial_sequence(attrelid::regclass::text, attname))
    from pg_attribute join pg_class c on c.oid = attrelid
    where attidentity <> '' and relnamespace = 'public'::regnamespace and relname <> 'ai_full' order by relname";
const RENAMED: &str =
    "select kind || ' ' || source_name || ' ' || target_name from liteferry.renamed order by 1";
const FINDINGS: &str = "select f ->> 'code' || ' ' || (f ->> 'subject') from liteferry.verdict, jsonb_array_elements(report -> 'findings') f
    where f ->> 'code' not in ('shadow_table', 'key_replaced', 'column_widened', 'capital_letters') order by 1";
const LEDGER: &str = "select source_table || ' ' || column_name || ' ' || reason || ' ' || count(*)
    from liteferry.ledger group by source_table, column_name, reason order by 1";

#[test]
fn every_database_of_the_corpus_is_copied_and_had_back() {
    let cases = corpus();
    assert!(cases.len() >= 16, "the corpus is there");
    for case in cases {
        let (file, target) = (sqlite(&case.sql), database());
        let source = file.path.to_str().expect("temporary paths are UTF-8");
        let sides = ["--source", source, "--target", &target.url, "--json"];
        let run = |command: &str| {
            eprintln!("{}: {command}", case.name);
            liteferry(&[&[command], &sides[..]].concat()).exits_with(0).json()
        };
        run("check");
        let copied = run("copy");
        Oracle::new(&file.path, &target, "public").check();
        let held = psql(&target.url, "select exists (select from liteferry.ledger)");
        assert_eq!(held[0][0].as_deref() == Some("t"), copied["ledger_rows"] != 0, "{}", case.name);
        for (_, query, expected) in EXPECTED.iter().filter(|(number, ..)| case.name.starts_with(number)) {
            let rows = psql(&target.url, query);
            let found: Vec<&str> = rows.iter().map(|row| row[0].as_deref().unwrap_or("null")).collect();
            let expected: Vec<String> = expected.iter().map(|text| spelled(text)).collect();
            assert_eq!(found, expected, "{}: {query}", case.name);
        }
        let validated = run("validate");
        for report in [&copied, &validated] {
            assert_eq!(report["success"], true, "{}: {report:#}", case.name);
            assert_eq!(report["total_source"], copied["total_source"], "{}", case.name);
        }
    }
}

/// An expression as this server prints it: version 13 knows some of them as calls only.
fn spelled(text: &str) -> String {
    const SINCE_14: [(&str, &str); 4] = [
        ("(now() AT TIME ZONE 'UTC'::text)", "timezone('UTC'::text, now())"),
        ("(EXTRACT(epoch FROM now()))::double precision", "date_part('epoch'::text, now())"),
        ("EXTRACT(epoch FROM now())", "date_part('epoch'::text, now())"),
        ("(1000)::numeric", "(1000)::double precision"),
    ];
    if postgres_major() >= 14 {
        return text.to_owned();
    }
    SINCE_14.iter().fold(text.to_owned(), |text, (newer, older)| text.replace(newer, older))
}

/// What the headers of the corpus promise, by the number of the case.
const EXPECTED: &[(&str, &str, &[&str])] = &[
    (
        "01",
        TYPES,
        &[
            "ctas: id bigint, no_type text, strng text, calc double precision, lit text, _liteferry_rowid bigint",
            "paren: a bigint, b bigint, c text, d bigint, e numeric, _liteferry_rowid bigint",
            "zoo: id bigint, no_type text, fp double precision, charint text, strng text, big numeric, nch text, vch text, dbl double precision, dec numeric, anyc text, arr text, bytea_ bytea, vmax text, enm text, weird text, dt timestamp without time zone, ts timestamp with time zone, b text, t1 smallint, neg numeric, mny text, u text, j json, h text",
        ],
    ),
    ("02", TYPES, &["mixed: id bigint, a text, b text, c bytea, d text, e text, f double precision, g text"]),
    ("04", TYPES, &["fl: id bigint, r text, f text, d text, n text, x text"]),
    ("05", TYPES, &["money: id bigint, amt text, price text, dec_txt text, d206 text"]),
    ("06", LEDGER, &["txt v not-text 8"]),
    (
        "09",
        TYPES,
        &[
            "b: id bigint, v text, t text, d0 boolean, dq boolean, df boolean, dt boolean, dx boolean, bit boolean",
            "bclean: id bigint, v boolean, w boolean",
        ],
    ),
    (
        "09",
        INDEXES,
        &[
            "CREATE UNIQUE INDEX bclean_part btree (w NULLS FIRST) WHERE v",
            "CREATE INDEX bclean_part2 btree (w NULLS FIRST) WHERE (v AND (NOT w))",
        ],
    ),
    ("09", DEFAULTS, &["v true", "d0 false", "dq false", "df false", "dt true", "dx true"]),
    ("09", KEYS, &["b PRIMARY KEY (id)", "bclean PRIMARY KEY (id)"]),
    ("10", TYPES, &["js: id bigint, j text, jn text"]),
    (
        "12",
        TYPES,
        &[
            "desc_pk: id text, v text, _liteferry_rowid bigint",
            "int_pk: id text, v text, _liteferry_rowid bigint",
            "late_order: v text, k2 bigint, k1 bigint",
            "no_pk: a bigint, b text, _liteferry_rowid bigint",
            "pk_comp: a text, b bigint, v text, _liteferry_rowid bigint",
            "pk_text: k text, v bigint, _liteferry_rowid bigint",
            "rowid_shadow: rowid text, oid text, _rowid_ text",
            "wr: a text, b double precision, v bytea",
        ],
    ),
    (
        "12",
        KEYS,
        &[
            "desc_pk PRIMARY KEY (_liteferry_rowid)",
            "desc_pk UNIQUE (id)",
            "int_pk PRIMARY KEY (_liteferry_rowid)",
            "int_pk UNIQUE (id)",
            "late_order PRIMARY KEY (k1, k2)",
            "no_pk PRIMARY KEY (_liteferry_rowid)",
            "pk_comp PRIMARY KEY (_liteferry_rowid)",
            "pk_comp UNIQUE (a, b)",
            "pk_text PRIMARY KEY (_liteferry_rowid)",
            "pk_text UNIQUE (k)",
            "wr PRIMARY KEY (b, a)",
        ],
    ),
    ("13", NEXT, &[r#""Mixed Case" 2"#, "ai_empty 8", "ai_gap 101", "ai_never 1", "neg 1", "plain 43"]),
    ("13", FINDINGS, &["sequence_exhausted ai_full", "sequence_exhausted public.ai_full.id"]),
    (
        "15",
        RENAMED,
        &[
            "column  _",
            "column abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij_c1 abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_2d680a6b",
            "column abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij_c1 abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_2d680a6b",
            "column abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij_c2 abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_2e680bfe",
            "column cmax _cmax",
            "column cmin _cmin",
            "column ctid _ctid",
            "column tableoid _tableoid",
            "column xmax _xmax",
            "column xmin _xmin",
            "column éééééééééééééééééééééééééééééééééééééééé1 ééééééééééééééééééééééééééé_d08f3c7c",
            "column éééééééééééééééééééééééééééééééééééééééé2 ééééééééééééééééééééééééééé_d38f4135",
            "index abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij_i1 abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_a959c315",
            "index abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij_i2 abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_a659be5c",
            "table abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij_t1 abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_b5a13914",
            "table abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij_t2 abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_b8a13dcd",
        ],
    ),
    (
        "15",
        KEYS,
        &[
            r#""OrderItem" PRIMARY KEY ("orderId")"#,
            r#""select" PRIMARY KEY ("table")"#,
            r#""sp ace.dot-dash" PRIMARY KEY ("a b")"#,
            r#""tab'quote""dq" PRIMARY KEY (id)"#,
            r#""user" PRIMARY KEY (id)"#,
            r#""Ünïcode" PRIMARY KEY ("ключ")"#,
            "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_b5a13914 PRIMARY KEY (abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_2d680a6b)",
            "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_b8a13dcd FOREIGN KEY (fk) REFERENCES abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_b5a13914(abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_2d680a6b)",
            "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_b8a13dcd PRIMARY KEY (abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd_2d680a6b)",
            "idxtab PRIMARY KEY (id)",
            "idxtab UNIQUE (a)",
            "idxtab_a_key PRIMARY KEY (id)",
            "idxtab_id_seq PRIMARY KEY (id)",
            "idxtab_pkey PRIMARY KEY (id)",
            "sysc PRIMARY KEY (id)",
        ],
    ),
    (
        "17",
        INDEXES,
        &[
            "CREATE UNIQUE INDEX ix_b_key btree (sha256(b))",
            "CREATE INDEX ix_desc btree (a DESC NULLS LAST, d NULLS FIRST)",
            "CREATE INDEX ix_dup1 btree (d NULLS FIRST)",
            r#"CREATE INDEX ix_expr btree (lower((a COLLATE "C")) NULLS FIRST, ((d + 1)) NULLS FIRST, abs(d) NULLS FIRST, length(a) NULLS FIRST, substr(a, 1, 3) NULLS FIRST, ((a || 'x'::text)) NULLS FIRST, COALESCE(a, ''::text) NULLS FIRST, ((d)::text) COLLATE "C" NULLS FIRST, COALESCE(d, (0)::bigint) NULLS FIRST)"#,
            r#"CREATE INDEX ix_glob btree (a NULLS FIRST) WHERE (((a COLLATE "C") ~ '^[A-Z].*$'::text) AND (a IS NOT NULL))"#,
            "CREATE INDEX ix_in btree (d NULLS FIRST) WHERE ((d = ANY (ARRAY[(1)::bigint, (2)::bigint, (3)::bigint])) OR ((d >= 5) AND (d <= 9)))",
            r#"CREATE INDEX ix_like btree (a NULLS FIRST) WHERE (lower((a COLLATE "C")) ~~ 'x%'::text)"#,
            "CREATE INDEX ix_long hash (long_)",
            "CREATE UNIQUE INDEX ix_long__key btree (md5(long_))",
            "CREATE UNIQUE INDEX ix_part btree (d NULLS FIRST) WHERE (active AND (a IS NOT NULL) AND (d <> 1))",
            "CREATE UNIQUE INDEX ix_part2 btree (a NULLS FIRST) WHERE active",
            "CREATE UNIQUE INDEX un_a_b_key btree (a, b)",
            "CREATE UNIQUE INDEX un_b_a_key btree (b, a)",
        ],
    ),
    (
        "17",
        FINDINGS,
        &[
            r#"index_dropped ix index "ix_date""#,
            r#"index_dropped ix index "ix_json""#,
            "index_redundant ix_dup2",
            r#"index_too_wide wideidx index "wideidx_i""#,
        ],
    ),
    (
        "19",
        TYPES,
        &[
            "gen: id bigint, a bigint, b text, j text, v_half bigint, v_dep bigint, s_low text, s_cat text, v_json text, v_date text, s_round double precision, s_null bigint, v_late text",
        ],
    ),
    (
        "20",
        DEFAULTS,
        &[
            "d1 date_trunc('second'::text, (now() AT TIME ZONE 'UTC'::text))",
            "d2 ((now() AT TIME ZONE 'UTC'::text))::date",
            "d3 (date_trunc('second'::text, (now() AT TIME ZONE 'UTC'::text)))::time without time zone",
            "d4 date_trunc('second'::text, (now() AT TIME ZONE 'UTC'::text))",
            "d6 date_trunc('milliseconds'::text, (now() AT TIME ZONE 'UTC'::text))",
            "d7 (floor(EXTRACT(epoch FROM now())))::bigint",
            "d8 (floor(EXTRACT(epoch FROM now())))::bigint",
            "d9 (((EXTRACT(epoch FROM now()))::double precision / (86400)::double precision) + (2440587.5)::double precision)",
            "d10 (floor((EXTRACT(epoch FROM now()) * (1000)::numeric)))::bigint",
            "u1 replace((gen_random_uuid())::text, '-'::text, ''::text)",
            "u2 hashtextextended((gen_random_uuid())::text, (0)::bigint)",
            "u3 (floor((random() * (100)::double precision)))::bigint",
            "u4 (gen_random_uuid())::text",
            "s1 'dq literal'::text",
            "s2 'it''s'::text",
            "s3 ''::text",
            "s4 'null'::text",
            "s7 'CURRENT_TIMESTAMP'::text",
            "s8 'bareword'::text",
            "n1 '-1'::integer",
            "n2 5",
            "n3 16",
            "n4 '1000'::double precision",
            "n5 0",
            "n6 0",
            "n7 0",
            "n8 true",
            "n9 true",
            "n10 7",
            "n11 '9.223372036854776e+18'::double precision",
            "n12 '0.5'::double precision",
            r#"b1 '\x00ff'::bytea"#,
            r#"b2 '\x74657874'::bytea"#,
            "j1 '{}'::json",
        ],
    ),
    (
        "20",
        FINDINGS,
        &[
            "default_dropped df default datetime('now','localtime') of d5",
            "default_dropped df default json_object('a',1) of j2",
        ],
    ),
    (
        "23",
        TYPES,
        &["doc: id bigint, title text, body text", "fts_extra: id bigint", "my_data: id bigint, v text"],
    ),
    (
        "23",
        FINDINGS,
        &[
            "trigger_not_translated doc_ai",
            "virtual_table ft4",
            "virtual_table fts",
            "virtual_table notes",
            "virtual_table rt",
        ],
    ),
    (
        "26",
        TYPES,
        &[
            "django_content_type: id bigint, app_label text, model text",
            "django_migrations: id bigint, app text, name text, applied timestamp without time zone",
            "x_all: id bigint, b boolean, nb boolean, si bigint, psi bigint, i bigint, bi bigint, f double precision, d numeric, da date, dtm timestamp without time zone, t time without time zone, du bigint, u text, j text, bn bytea, c text, tx text, ip text, fk_id bigint, gen text",
            "x_cat: id bigint, name text",
        ],
    ),
    ("29", LEDGER, &[]),
    (
        "31",
        KEYS,
        &[
            "fields PRIMARY KEY (ntid, ord)",
            "notetypes PRIMARY KEY (id)",
            "tags PRIMARY KEY (tag)",
            "uses PRIMARY KEY (id)",
            "words PRIMARY KEY (_liteferry_rowid)",
        ],
    ),
    ("31", INDEXES, &["CREATE INDEX idx_notetypes_usn btree (config)"]),
    (
        "31",
        FINDINGS,
        &[
            "compared_by_bytes fields.name",
            "compared_by_bytes notetypes.name",
            "compared_by_bytes tags.tag",
            "compared_by_bytes uses.seen",
            "compared_by_bytes words.word",
            r#"foreign_key_dropped uses foreign key (word) to "words""#,
            r#"index_dropped fields index "idx_fields_name_ntid""#,
            r#"index_dropped notetypes index "idx_notetypes_name""#,
            "unique_dropped tags unique (tag)",
            "unique_dropped words unique (word)",
        ],
    ),
];

#[test]
fn what_only_the_application_can_write_is_told_beforehand() {
    let case = corpus().into_iter().find(|case| case.name.starts_with("31")).expect("the case is there");
    let (file, target) = (sqlite(&case.sql), database());
    let source = file.path.display().to_string();
    let report =
        liteferry(&["check", "--json", "--source", &source, "--target", &target.url]).exits_with(0).json();
    let findings = report["findings"].as_array().expect("a list");
    let of_code = findings.iter().filter(|finding| finding["code"] == "reverse_unwritable");
    let told: Vec<&str> = of_code.clone().filter_map(|finding| finding["subject"].as_str()).collect();
    assert_eq!(told, ["notetypes", "fields", "tags", "words"]);
    assert!(
        of_code
            .clone()
            .all(|finding| finding["text"].to_string().contains("no such collation sequence: unicase"))
    );
}

#[test]
fn a_table_without_a_key_at_the_limit_of_columns_is_copied_whole() {
    let wide = |columns: usize| {
        let names: Vec<String> = (0..columns).map(|column| format!("c{column} int")).collect();
        sqlite(&format!(
            "create table wide ({}); insert into wide (c0, c1599) values (1, 2), (1, 2), (null, null)",
            names.join(", ")
        ))
    };
    let target = database();
    let file = wide(1600);
    liteferry(&["copy", "--source", &file.path.display().to_string(), "--target", &target.url]).exits_with(0);
    Oracle::new(&file.path, &target, "public").check();
    for columns in [1601, 2000] {
        let (file, target) = (wide(columns), database());
        let source = file.path.display().to_string();
        let report =
            liteferry(&["check", "--json", "--source", &source, "--target", &target.url]).exits_with(1);
        let said = format!("it has {columns} columns and PostgreSQL's tables take 1600");
        assert!(report.stdout.contains(&said), "{}\n{}", report.stdout, report.stderr);
    }
}

#[test]
fn a_row_changed_in_the_target_is_found() {
    let source = sqlite(
        "create table t (id integer primary key, a text); insert into t values (1, 'x'), (2, 'y'), (3, 'z')",
    );
    let target = database();
    let source = source.path.to_str().expect("temporary paths are UTF-8");
    let sides = ["--source", source, "--target", &target.url, "--json"];
    liteferry(&[&["copy"], &sides[..]].concat()).exits_with(0);
    psql(
        &target.url,
        "update t set a = 'other' where id = 2; delete from t where id = 3; insert into t values (9, 'new')",
    );
    let report = liteferry(&[&["validate"], &sides[..]].concat()).exits_with(1).json();
    let table = &report["tables"][0];
    assert_eq!((&report["success"], &table["equal"]), (&false.into(), &false.into()), "{report:#}");
    let counts = ["missing", "extra", "different"].map(|kind| table[kind].clone());
    assert_eq!(counts, [1, 1, 1].map(serde_json::Value::from), "{report:#}");
}
