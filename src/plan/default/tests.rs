//! Golden pairs. Each was compared with what SQLite stored and PostgreSQL then held before it was written down here.

use super::*;
use crate::canon::{Form, Zone};
use crate::model::types::Type;

fn translated(declared: &str, ty: &Type, raw: &str) -> Result<Option<String>, Refusal> {
    let affinity = Affinity::of_declared(declared);
    let codec = Codec::new(ty.clone(), Form::usual(ty, affinity), Zone::default());
    translate_default(raw, DefaultTarget { affinity, codec: &codec })
}

fn check(declared: &str, ty: Type, cases: &[(&str, &str)]) {
    for (raw, expected) in cases {
        assert_eq!(translated(declared, &ty, raw), Ok(Some((*expected).to_owned())), "{declared} {raw}");
    }
}

fn refused(declared: &str, ty: Type, cases: &[(&str, &str)]) {
    for (raw, construct) in cases {
        let refusal = translated(declared, &ty, raw).map_err(|refusal| refusal.construct);
        assert_eq!(refusal, Err((*construct).to_owned()), "{declared} {raw}");
    }
}

const NO_FIT: &str = "a default that does not fit its column";
const UNKNOWN: &str = "an expression";

#[test]
fn constants_are_stored_by_the_columns_affinity() {
    check(
        "TEXT",
        Type::Text,
        &[
            ("\"dq literal\"", "'dq literal'"),
            ("'it''s'", "'it''s'"),
            ("''", "''"),
            ("'null'", "'null'"),
            ("'CURRENT_TIMESTAMP'", "'CURRENT_TIMESTAMP'"),
            ("bareword", "'bareword'"),
            ("5", "'5'"),
            ("1e3", "'1000.0'"),
            ("true", "'1'"),
        ],
    );
    check(
        "INT",
        Type::Int8,
        &[
            ("-1", "-1"),
            ("+5", "5"),
            ("0x10", "16"),
            ("'0'", "0"),
            ("\"0\"", "0"),
            ("1+2*3", "7"),
            ("1.0", "1"),
            ("1=1", "1"),
            ("(1 = 0)", "0"),
            ("not 2", "0"),
            ("2 > 1 and 1 is not 3", "1"),
            ("7 & 3 | 8", "11"),
        ],
    );
    refused("INT", Type::Int8, &[("9223372036854775808", NO_FIT), ("'abc'", NO_FIT), ("1.5", NO_FIT)]);
    check("STRING", Type::Text, &[("'007'", "'7'")]);
    check("REAL", Type::Float8, &[(".5", "'0.5'::double precision"), ("-0.0", "'0.0'::double precision")]);
    check(
        "DECIMAL",
        Type::Numeric(None),
        &[("false", "0"), ("'12.50'", "12.5"), ("1e20", "100000000000000000000")],
    );
    for raw in ["null", "(NULL)"] {
        assert_eq!(translated("INT", &Type::Int8, raw), Ok(None));
    }
}

#[test]
fn constants_are_written_as_the_target_type() {
    let truths = [
        ("0", "false"),
        ("'0'", "false"),
        ("'f'", "false"),
        ("FALSE", "false"),
        ("\"true\"", "true"),
        ("1", "true"),
    ];
    check("BOOLEAN", Type::Bool, &truths);
    refused("BOOLEAN", Type::Bool, &[("2", NO_FIT), ("'maybe'", NO_FIT)]);
    check("BLOB", Type::Bytea, &[("x'00ff'", "'\\x00ff'::bytea"), ("'text'", "'\\x74657874'::bytea")]);
    check("JSON", Type::Json, &[("'{}'", "'{}'::json")]);
    check("DATETIME", Type::Timestamp(6), &[("'2024-01-01 00:00:00'", "'2024-01-01 00:00:00'::timestamp")]);
    check(
        "DATETIME",
        Type::Timestamptz(6),
        &[("'2024-01-01 00:00:00'", "'2024-01-01 00:00:00+00'::timestamp with time zone")],
    );
    check("DATE", Type::Date, &[("'2024-02-29'", "'2024-02-29'::date")]);
    refused(
        "DATETIME",
        Type::Timestamp(6),
        &[("'now'", NO_FIT), ("'2024-02-30 00:00:00'", NO_FIT), ("0", NO_FIT)],
    );
}

#[test]
fn the_time_keeps_its_grain() {
    let seconds = "to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')";
    check(
        "TEXT",
        Type::Text,
        &[
            ("CURRENT_TIMESTAMP", seconds),
            ("datetime('now')", seconds),
            ("strftime('%F %T', 'now')", seconds),
            ("datetime('now', 'subsec')", "to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')"),
            // SQLite shows the fraction in the texts of its own formats, and in `%s`.
            ("strftime('%Y-%m-%d %H:%M:%S', 'now', 'subsec')", seconds),
            (
                "strftime('%Y-%m-%dT%H:%M:%fZ', 'NOW')",
                "to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
            ),
            (
                "strftime('%Y-15 %f000', 'now')",
                "to_char(now() at time zone 'UTC', 'YYYY-\"1\"\"5\" SS.MS\"0\"\"0\"\"0\"')",
            ),
            ("strftime('%s','now')", "(floor(extract(epoch from now()))::bigint)::text"),
        ],
    );
    check(
        "DATETIME",
        Type::Timestamp(6),
        &[
            ("current_timestamp", "date_trunc('second', (now() at time zone 'UTC'))"),
            (
                "STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')",
                "date_trunc('milliseconds', (now() at time zone 'UTC'))",
            ),
            (
                "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
                "date_trunc('milliseconds', (now() at time zone 'UTC'))",
            ),
            ("strftime('%Y-%m-%d %H:%M:00', 'now')", "date_trunc('minute', (now() at time zone 'UTC'))"),
        ],
    );
    let own = "a time with digits of its own";
    refused(
        "DATETIME",
        Type::Timestamp(6),
        &[
            ("strftime('%Y-%m-%d 12:00:00', 'now')", own),
            ("strftime('%Y-%m-%d %H:00:%S', 'now')", own),
            ("strftime('%Y-%m-15', 'now')", own),
        ],
    );
    check("DATETIME", Type::Timestamptz(6), &[("CURRENT_TIMESTAMP", "date_trunc('second', now(), 'UTC')")]);
    check("DATE", Type::Date, &[("CURRENT_DATE", "(now() at time zone 'UTC')::date")]);
    check(
        "TIME",
        Type::Time(6),
        &[("current_time", "date_trunc('second', (now() at time zone 'UTC'))::time")],
    );
    let epoch = "floor(extract(epoch from now()))::bigint";
    let millis = "floor(extract(epoch from now()) * 1000)::bigint";
    check(
        "INTEGER",
        Type::Int8,
        &[
            ("unixepoch()", epoch),
            ("strftime('%s','now')", epoch),
            ("cast(strftime('%s', 'now') as int)", epoch),
            ("cast((julianday('now') - 2440587.5)*86400000 as int)", millis),
            ("unixepoch() * 1000", "(floor(extract(epoch from now()))::bigint * 1000)"),
        ],
    );
    let julian = "(extract(epoch from now())::double precision / 86400 + 2440587.5)";
    check("REAL", Type::Float8, &[("julianday('now')", julian)]);
    refused("DATETIME", Type::Text, &[("datetime('now','localtime')", "the current time by 'localtime'")]);
    refused(
        "TEXT",
        Type::Text,
        &[("datetime('now','+1 day')", UNKNOWN), ("strftime('%j','now')", "strftime()")],
    );
    refused("DATE", Type::Date, &[("CURRENT_TIMESTAMP", NO_FIT)]);
}

#[test]
fn the_time_in_utc_is_refused_where_naive_times_are_local() {
    let zone = Zone::Fixed(3600);
    let text = |ty: Type| {
        let codec = Codec::new(ty, Form::Native, zone);
        translate_default("CURRENT_TIMESTAMP", DefaultTarget { affinity: Affinity::Numeric, codec: &codec })
            .is_ok()
    };
    assert!(!text(Type::Timestamptz(6)));
    assert!(text(Type::Timestamp(6)));
}

#[test]
fn uuids_are_told_by_their_shape() {
    let v4 = "lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || substr(lower(hex(randomblob(2))),2) \
              || '-' || substr('89ab',abs(random()) % 4 + 1, 1) || substr(lower(hex(randomblob(2))),2) || '-' || lower(hex(randomblob(6)))";
    let upper = "hex( randomblob(4)) || '-' || hex( randomblob(2)) || '-' || '4' || substr( hex( randomblob(2)), 2) || '-' \
                 || substr('AB89', 1 + (abs(random()) % 4) , 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))";
    check(
        "TEXT",
        Type::Text,
        &[
            (v4, "gen_random_uuid()::text"),
            (upper, "upper(gen_random_uuid()::text)"),
            ("lower(hex(randomblob(16)))", "replace(gen_random_uuid()::text, '-', '')"),
            ("hex(randomblob(16))", "upper(replace(gen_random_uuid()::text, '-', ''))"),
        ],
    );
    check("UUID", Type::Uuid, &[(v4, "gen_random_uuid()")]);
    refused(
        "TEXT",
        Type::Text,
        &[("lower(hex(randomblob(8)))", UNKNOWN), ("hex(randomblob(16)) || 'x'", UNKNOWN)],
    );
    refused("TEXT", Type::Text, &[("json_object('a',1)", UNKNOWN), ("printf('%d', 1)", UNKNOWN)]);
}

#[test]
fn random_numbers_keep_their_range() {
    check(
        "INT",
        Type::Int8,
        &[
            ("random()", "hashtextextended(gen_random_uuid()::text, 0)"),
            ("abs(random()) % 100", "floor(random() * 100)::bigint"),
            ("abs(random()) % 6 + 1", "(floor(random() * 6)::bigint + 1)"),
        ],
    );
    refused("INT", Type::Int4, &[("random()", "a random number")]);
}
