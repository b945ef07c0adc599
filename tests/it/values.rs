//! Values as one library or another writes them into SQLite, in columns that the same library makes in PostgreSQL.

use crate::existing::{copied, lines};

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
