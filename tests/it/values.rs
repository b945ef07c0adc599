//! Values as one library or another writes them into SQLite, in columns that the same library makes in PostgreSQL.

use crate::existing::{copied, lines};
use crate::support::{database, liteferry, sqlite};

#[test]
fn decimals_and_unsigned_integers_as_ef_core_keeps_them_cross() {
    let source = "create table t (id integer primary key, price text not null, rate text not null, hash integer not null);
        insert into t values (1, '10.5', '1', -1), (2, '3.0', '1.25', 7), (3, '-0.01', '10', -9223372036854775808)";
    let target =
        "create table t (id bigint primary key, price numeric(18,2) not null, rate numeric(10,4) not null,
        hash numeric(20,0) not null)";
    let (report, target) = copied(source, target, &[]);
    assert_eq!(report["verdict"], "equal", "{report:#}");
    let rows = lines(&target.url, "select * from t order by id", "|");
    assert_eq!(
        rows,
        ["1|10.50|1.0000|18446744073709551615", "2|3.00|1.2500|7", "3|-0.01|10.0000|9223372036854775808"]
    );
}

/// As microseconds the first are exact and of the year 55840, and the second are as nanoseconds of 1990.
#[test]
fn nanoseconds_and_ticks_are_read_as_the_times_that_they_count() {
    let source = "create table t (id integer primary key, ns integer, ticks integer);
        insert into t values (1, 1700000000123456789, 638500000001234567), (2, 1700000001000000001, 638500000002000000),
            (3, 1700000002123456788, 638500000003000000)";
    let target = "create table t (id bigint primary key, ns timestamptz, ticks timestamp)";
    let (report, target) = copied(source, target, &[]);
    assert_eq!(report["ledger_rows"], 4, "{report:#}");
    let rows = lines(&target.url, "select ns at time zone 'UTC', ticks from t order by id", "|");
    assert_eq!(
        rows,
        [
            "2023-11-14 22:13:20.123456|2024-04-29 15:06:40.123456",
            "2023-11-14 22:13:21|2024-04-29 15:06:40.2",
            "2023-11-14 22:13:22.123456|2024-04-29 15:06:40.3"
        ]
    );
    let ledger = lines(&target.url, "select column_name, reason from liteferry.ledger order by id", " ");
    assert_eq!(ledger, ["ns precision", "ticks precision", "ns precision", "ns precision"]);
}

/// The bytes 00 93 FF E9 and 41, which Perl hands to SQLite as the letters of a text.
#[test]
fn bytes_that_perl_writes_as_letters_are_bytes_there() {
    let source = "create table t (id integer primary key, d blob);
        insert into t values (1, cast(x'00c293c3bfc3a9' as text)), (2, 'A'), (3, x'00ff')";
    let (report, target) = copied(source, "create table t (id bigint primary key, d bytea)", &[]);
    assert_eq!(report["ledger_rows"], 1, "what is bytes already: {report:#}");
    let rows = lines(&target.url, "select id, d from t order by id", "|");
    assert_eq!(rows, ["1|\\x0093ffe9", "2|\\x41", "3|\\x00ff"]);
}

/// There nothing tells of an application that counts without a sign.
#[test]
fn integers_below_zero_are_that_in_create_mode() {
    let (file, target) = (
        sqlite("create table t (id integer primary key, n integer); insert into t values (1, -1)"),
        database(),
    );
    let file = file.path.display().to_string();
    let pinned = ["--set", "types.column.\"t.n\".type=numeric(20,0)"];
    liteferry(&[&["copy"], &pinned[..], &["--source", &file, "--target", &target.url]].concat())
        .exits_with(0);
    assert_eq!(lines(&target.url, "select n from t", "|"), ["-1"]);
}
