//! Foreign keys that wait for the switch while the application renames, adds and drops what they name.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{liteferry, psql};
use serde_json::Value;

const SOURCE: &str = "pragma journal_mode = wal;
    create table customer (id integer primary key, code text unique not null);
    create table item (id integer primary key, name text);
    create table line (id integer primary key, customer_id integer references customer (id) on delete cascade,
                       code text references customer (code), item_id integer references item (id));
    create table loose (id integer primary key, item_id integer references item (id));
    insert into customer values (1, 'a'); insert into item values (1, 'x');
    insert into line values (1, 1, 'a', 1); insert into loose values (1, 1)";

fn keys(case: &Case) -> Vec<String> {
    let sql = "select conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint
        where contype = 'f' and connamespace = 'public'::regnamespace order by 1";
    let keys = case.rows(sql).into_iter().filter_map(|mut row| row.pop().flatten());
    keys.map(|key| key.trim_end_matches(" NOT VALID").to_owned()).collect()
}

#[track_caller]
fn ordered(daemon: &mut Daemon, body: &str) {
    daemon.obeys("/v1/phase", body);
}

#[track_caller]
fn switched(daemon: &mut Daemon) {
    ordered(daemon, r#"{"to":"validate"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    ordered(daemon, r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["run"]["state"] == "running");
}

/// The daemon has understood the schema as it is then, and has found both sides equal under it.
#[track_caller]
fn carried_over(case: &Case, daemon: &mut Daemon, sql: &str) {
    let understood = || case.rows("select source_schema from liteferry.follow");
    let before = understood();
    case.app(&format!("pragma foreign_keys = off; {sql}"));
    daemon.until(|_| understood() != before);
    daemon.until(|_| case.rows("select 1 from liteferry.captured where suspect").is_empty());
    case.app("update line set code = code");
    daemon.drained(&case.source);
}

#[test]
fn planned_foreign_keys_follow_what_they_name() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    carried_over(
        &case,
        &mut daemon,
        "begin; alter table customer rename to client; alter table line rename column customer_id to client_id;
         alter table loose add column client_id integer references client (id); commit",
    );
    carried_over(&case, &mut daemon, "alter table client rename column code to short");
    // As Django and Alembic do; the key to items goes.
    carried_over(
        &case,
        &mut daemon,
        "begin; create table new_line (id integer primary key, client_id integer references client (id) on delete cascade,
                                       code text references client (short), item_id integer);
         insert into new_line select * from line; drop table line; alter table new_line rename to line; commit",
    );
    switched(&mut daemon);
    assert_eq!(
        keys(&case),
        [
            "line FOREIGN KEY (client_id) REFERENCES client(id) ON DELETE CASCADE",
            "line FOREIGN KEY (code) REFERENCES client(short)",
            "loose FOREIGN KEY (client_id) REFERENCES client(id)",
            "loose FOREIGN KEY (item_id) REFERENCES item(id)",
        ]
    );
    // After a rollback they wait again, for the same names and for others.
    daemon.until(|status| status["reverse"]["changes"] == 0);
    ordered(&mut daemon, r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    let sql = "begin; alter table item rename to article; alter table line add column note text; drop table loose; commit";
    carried_over(&case, &mut daemon, sql);
    case.is_equal();
    switched(&mut daemon);
    assert_eq!(
        keys(&case),
        [
            "line FOREIGN KEY (client_id) REFERENCES client(id) ON DELETE CASCADE",
            "line FOREIGN KEY (code) REFERENCES client(short)",
        ]
    );
}

#[test]
fn a_foreign_key_of_a_table_that_is_left_out_is_validated_after_the_switch_or_named_by_the_cleanup() {
    let case = Case::new(
        "pragma journal_mode = wal; create table kind (id integer primary key, name text); insert into kind values (1, 'a'), (2, 'b');
         create table entry (id integer primary key, kind integer references kind (id))",
    );
    case.rows(
        "create table kind (id bigint primary key, name text); insert into kind values (7, 'x');
         create table entry (id bigint primary key, kind bigint constraint holds references kind (id));
         create table beside (id bigint primary key, kind bigint constraint broken references kind (id) deferrable initially deferred)",
    );
    let settings = [
        "target.mode=existing",
        "tables.exclude=entry",
        "switch.broken_keys=not-valid",
        "target.existing_rows=replace",
    ]
    .map(|setting| ["--set", setting]);
    let mut daemon = case.daemon(&settings.concat());
    daemon.until(|status| status["phase"] == "dual-write");
    case.rows("insert into entry values (1, 1), (2, null); insert into beside values (1, 2)");
    case.app("delete from kind where id = 2");
    switched(&mut daemon);
    let validated = "select conname::text from pg_constraint where contype = 'f' and convalidated and connamespace = 'public'::regnamespace";
    daemon.until(|_| case.rows(validated) == [[Some("holds".to_owned())]]);
    ordered(&mut daemon, r#"{"to":"cleanup","confirm":"source.db"}"#);
    daemon.until(|status| status["phase"] == "done");
    assert_eq!(case.rows(validated), [[Some("holds".to_owned())]]);
    let (_, report) = daemon.get("/v1/validation").expect("the daemon answers");
    assert!(report.contains("public\\\".\\\"beside\\\": NOT VALID"), "{report}");
}

#[test]
fn rows_of_tables_that_are_not_followed_outlive_what_is_written_to_those_they_point_at() {
    let case = Case::new(
        "pragma journal_mode = wal; create table kind (id integer primary key, name text);
         insert into kind values (1, 'a'), (2, 'b'), (3, 'c')",
    );
    case.rows(
        "create schema other; create table kind (id bigint primary key, name text);
         create table beside (id bigint primary key, kind bigint constraint refuses references kind (id));
         create table other.beyond (id bigint primary key, kind bigint constraint cascades references kind (id) on delete cascade)",
    );
    let mut daemon = case.daemon(&["--set", "target.mode=existing", "--set", "switch.broken_keys=not-valid"]);
    daemon.until(|status| status["phase"] == "dual-write");
    let outside = "select (select count(*) from beside), (select count(*) from other.beyond)";
    let hold = |rows: &str| assert_eq!(case.rows(outside), [[Some(rows.to_owned()), Some(rows.to_owned())]]);
    let keys = "select conname::text from pg_constraint where contype = 'f' and conname in ('refuses', 'cascades') order by 1";
    daemon.until(|_| case.rows(keys).is_empty());
    case.rows("insert into beside values (1, 1), (2, 2); insert into other.beyond values (1, 1), (2, 2)");
    case.app("update kind set name = name || '!'");
    daemon.drained(&case.source);
    hold("2");

    switched(&mut daemon);
    daemon.until(|_| case.rows(keys).len() == 2);
    case.rows("insert into beside values (3, 3); insert into other.beyond values (3, 3)");
    daemon.until(|status| status["gates"]["rollback"]["open"] == true);
    ordered(&mut daemon, r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    daemon.until(|_| case.rows(keys).is_empty());
    case.app("update kind set name = name || '?'; delete from kind where id = 3");
    daemon.drained(&case.source);
    hold("3");
    case.is_equal();

    switched(&mut daemon);
    let broken = "select conname::text from pg_constraint where conname in ('refuses', 'cascades') and not convalidated order by 1";
    daemon.until(|_| case.rows(broken).len() == 2);
    hold("3");
}

/// What another's table would do to the following, or the following to it, is said before anything begins, with the statement that helps.
#[test]
fn a_foreign_key_of_somebody_elses_table_is_told_beforehand() {
    let case = Case::new(
        "pragma journal_mode = wal; create table kind (id integer primary key, name text); insert into kind values (1, 'a'), (2, 'b')",
    );
    let role = format!("mover_{}", case.target.name);
    psql(
        &case.target.url,
        &format!(
            "create role {role} login; grant create on database {} to {role}; create schema other;
             create table kind (id bigint primary key, name text); alter table kind owner to {role};
             create table beside (id bigint primary key, kind bigint constraint refuses references kind (id));
             create table other.beyond (id bigint primary key, kind bigint constraint cascades references kind (id) on delete cascade)",
            case.target.name
        ),
    );
    let (scheme, rest) = case.target.url.split_once("://").expect("a URL");
    let (_, rest) = rest.split_once('@').expect("a URL with a user");
    let url = format!("{scheme}://{role}@{rest}");
    let file = case.source.path.display().to_string();
    let existing = ["--set", "target.mode=existing"];
    let sides = ["--source", &file, "--target", &url];
    let told = liteferry(&[&["check"], &existing[..], &sides].concat()).exits_with(0).stdout;
    let take_away = "alter table \"other\".\"beyond\" drop constraint \"cascades\";";
    for says in [
        "[not_owner] other.beyond: this table is not followed",
        "`on delete cascade` would change rows",
        take_away,
        "[not_owner] public.beside: this table is not followed",
        "`liteferry run` would be refused",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    assert_eq!(Daemon::start(&case.source, &url, &existing).exit(), Some(1));
    case.rows(take_away);
    let mut daemon = Daemon::start(&case.source, &url, &existing);
    daemon.until(|status| status["phase"] == "dual-write");
    assert!(
        daemon.log().contains("public.beside") && daemon.log().contains("drop constraint"),
        "{}",
        daemon.log()
    );
    // Put back too early.
    case.rows("alter table other.beyond add constraint cascades foreign key (kind) references kind (id) on delete cascade");
    case.rows("insert into other.beyond values (1, 1)");
    assert_eq!(daemon.halted(), "schema_drift");
    case.app("update kind set name = name || '!'");
    case.rows(take_away);
    daemon.drained(&case.source);
    assert_eq!(case.rows("select count(*)::text from other.beyond"), [[Some("1".to_owned())]]);
    switched(&mut daemon);
}

/// A row that a table which is not followed points at, and that is gone in SQLite.
#[test]
fn a_foreign_key_of_a_table_that_is_not_followed_shuts_the_gate_where_it_is_broken_and_what_is_advised_opens_it()
 {
    let case = Case::new(
        "pragma journal_mode = wal; create table kind (id integer primary key, name text); insert into kind values (1, 'a'), (2, 'b')",
    );
    case.rows(
        "create schema other; create table kind (id bigint primary key, name text);
         create table other.beyond (id bigint primary key, kind bigint constraint outer_key references kind (id))",
    );
    let mut daemon = case.daemon(&["--set", "target.mode=existing"]);
    daemon.until(|status| status["phase"] == "dual-write");
    let keys = "select 1 from pg_constraint where conname = 'outer_key'";
    daemon.until(|_| case.rows(keys).is_empty());
    case.rows("insert into other.beyond values (1, 1), (2, 2)");
    case.app("delete from kind where id = 2");
    ordered(&mut daemon, r#"{"to":"validate"}"#);
    let gate = daemon.wait_for(|daemon| {
        let gates: Value = serde_json::from_str(&daemon.get("/v1/gates?to=switch")?.1).ok()?;
        let gate = gates["gates"].as_array()?.iter().find(|gate| gate["name"] == "constraints")?.clone();
        gate["reading"].as_str()?.contains("outer_key").then_some(gate)
    });
    assert_eq!(gate["ok"], false, "{gate:#}");
    let remedy = gate["remedy"].as_str().expect("it says what to do");
    assert!(
        remedy.contains("mend or delete them there") && !remedy.contains("Mend these rows in SQLite"),
        "{remedy}"
    );
    case.rows("delete from other.beyond where id = 2");
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    ordered(&mut daemon, r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && !case.rows(keys).is_empty());
}
