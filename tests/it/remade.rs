//! What is done to PostgreSQL's tables and rows without a write that anybody could have noted: before the guards stand, or by an `alter
//! table`. It is found before the writes move, in either direction, and nothing of a row is lost.

use crate::follow::Case;
use crate::support::held::HeldSession;
use crate::support::until;

const SOURCE: &str = "pragma journal_mode = wal;
    create table t (id integer primary key, n integer not null, v text, price decimal(10, 2));
    create table other (id integer primary key, v text);
    with recursive i (n) as (select 1 union all select n + 1 from i where n < 1000)
        insert into t select n, n, 'v' || n, n * 1.25 from i;
    insert into other values (1, 'a')";

#[test]
fn what_strangers_wrote_before_they_were_kept_out_shuts_the_switch() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
    case.rows("update t set v = 'theirs' where id = 5; delete from other");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    let status = daemon.until(|status| status["validation"]["verdict"].is_string());
    assert_eq!(status["validation"]["verdict"], "differs", "{status:#}");
    daemon.refuses("/v1/phase", r#"{"to":"switch"}"#, "gates_closed");
    let repaired = daemon.compared(r#"{"repair": true}"#);
    assert_eq!(repaired["verdict"], "equal", "{repaired:#}");
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    assert_eq!(case.rows("select v from t where id = 5"), [[Some("v5".to_owned())]]);
}

#[test]
fn whoever_keeps_a_table_is_named_and_keeps_nothing_waiting() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let held = HeldSession::open(&case.target.url);
    held.run("begin; update other set v = 'theirs'");
    let refused = daemon.refuses("/v1/phase", r#"{"to":"validate"}"#, "lock_timeout");
    assert!(refused["sentence"].as_str().is_some_and(|told| told.contains("public.")), "{refused:#}");
    case.app("update t set v = 'followed' where id = 7");
    until("it is followed meanwhile", || {
        case.rows("select v from t where id = 7") == [[Some("followed".to_owned())]]
    });
    held.run("rollback");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| status["phase"] == "validate");
}
