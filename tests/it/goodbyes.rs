//! What PostgreSQL's own log says of us on a way without mishap: nothing that whoever watches it would be called for.

use crate::follow::Case;
use crate::support::{OwnServer, TestDatabase, liteferry, sqlite};
use std::fs;

const ROWS: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, u text unique); insert into t values (1, 'a'), (3, 'c')";

#[test]
fn no_session_leaves_the_server_without_a_goodbye() {
    let server = OwnServer::new();
    let target = TestDatabase { url: server.url("postgres"), name: "postgres".into() };
    let case = Case { source: sqlite(ROWS), target };
    let sides = [
        "--source",
        &case.source.path.display().to_string(),
        "--target",
        &case.target.url,
        "--set",
        "target.schema=copied",
    ];
    for command in ["check", "copy", "validate"] {
        liteferry(&[&[command], &sides[..]].concat()).exits_with(0);
    }
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["validation"]["verdict"] == "equal");
    case.app("insert into t values (4, 'd')");
    for (to, phase) in [("validate", "validate"), ("switch", "switch"), ("dual-write", "dual-write")] {
        daemon.obeys("/v1/phase", &format!(r#"{{"to":"{to}"}}"#));
        daemon.until(|status| status["phase"] == phase && status["validation"]["verdict"] == "equal");
    }
    assert_eq!(daemon.stop(), Some(0));

    let log = fs::read_to_string(server.dir().join("postgres.log")).expect("the server writes a log");
    let said: Vec<&str> = log.lines().filter(|line| line.contains("client connection")).collect();
    assert!(said.is_empty(), "{said:#?}");
}
