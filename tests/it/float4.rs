//! Columns that are `real` in a schema of the application's own: a number crosses as the application writes it, there and back.

use crate::follow::Case;
use crate::support::{application, psql, until};
use serde_json::json;

/// What a program computes in doubles, and what one writes that widens a float of its own.
const PRICES: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, doubles float, floats float, numbers numeric, empty float);
    insert into t values (1, 99.99, 99.98999786376953, 0.1, null), (2, 1.5, 0.10000000149011612, 3, null),
        (3, 1e-5, 0.5, 99.99, null), (4, 16777216.0, 16777216.0, 16777216, null)";
const TABLE: &str =
    "create table t (id bigint primary key, doubles real, floats real, numbers real, empty real)";

#[test]
fn a_number_crosses_to_real_and_back_as_it_was_written() {
    let case = Case::new(PRICES);
    psql(&case.target.url, TABLE);
    let mut daemon = case.validated(&["--set", "target.mode=existing"]);
    assert_eq!(daemon.status().expect("it answers")["ledger"]["rows"], 0);
    assert_eq!(case.rows("select doubles, floats from t where id = 1"), [[text("99.99"), text("99.99")]]);

    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    case.rows(
        "insert into t values (10, 99.99, 99.99, 99.99, 99.99); update t set doubles = 0.3 where id = 2",
    );
    let db = application(&case.source.path);
    let here = |sql: &str| db.query_row(&format!("select count(*) from t where {sql}"), [], |row| row.get(0));
    until("the new row and the changed one are back", || here("id = 10 or doubles < 0.4") == Ok(3));
    for (sql, rows) in [
        ("doubles = 99.99", 2),
        ("doubles = 0.3", 1),
        ("floats = 99.98999786376953", 2),
        ("numbers = 99.99", 2),
        ("empty = 99.99", 1),
    ] {
        assert_eq!(here(sql), Ok(rows), "{sql}");
    }
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    // More digits than a real has: its neighbour is there, and the ledger has what was written.
    case.app("update t set doubles = 0.1 + 0.2 where id = 10; update t set empty = 0.7 where id = 1");
    daemon.drained(&case.source);
    let compared = daemon.compared("{}");
    assert_eq!(compared["verdict"], json!("equal + ledger"), "{compared:#}");
    let held = "select string_agg(column_name || ' ' || reason, ',') from liteferry.ledger";
    assert_eq!(case.rows(held), [[text("doubles rounded")]]);
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}
