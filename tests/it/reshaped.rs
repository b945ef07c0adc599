//! The application migrates its schema in SQLite and in PostgreSQL while the daemon follows into tables that are the application's own:
//! where both sides agree it goes on, and where they do not yet it waits for the other one, by name.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{psql, until};
use serde_json::Value;

const SOURCE: &str = "pragma journal_mode = wal;
    create table customer (id integer primary key, name text);
    create table item (code text not null primary key, price real, stock integer) without rowid;
    create table line (id integer primary key, customer_id integer references customer (id), n integer);
    create table old (id integer primary key, v text);
    create table schema_migrations (version varchar not null primary key); insert into schema_migrations values ('1');
    insert into customer values (1, 'Ann'), (2, 'Bob'); insert into item values ('a', 1.5, 3), ('b', 2.5, null);
    insert into line values (1, 1, 2), (2, 2, 1); insert into old values (1, 'x')";
const TARGET: &str = "create table customer (id bigint primary key, name text);
    create table item (code text primary key, price double precision, stock integer);
    create table line (id bigint primary key, customer_id bigint references customer deferrable initially deferred, n integer);
    create table schema_migrations (version varchar not null primary key); insert into schema_migrations values ('1');
    create table old (id bigint primary key, v text)";
const EXISTING: &[&str] = &["--set", "target.mode=existing"];

/// One migration of the application.
struct Step {
    what: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
    /// Writes that the schema before takes as well as the one after.
    meanwhile: &'static str,
    /// Writes that need the schema after.
    after: &'static str,
    /// Whether there is nothing to wait for once SQLite has it.
    sqlite_alone: Alone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    Waits,
    GoesOn,
}

const STEPS: &[Step] = &[
    Step {
        what: "a column is added",
        sqlite: "alter table customer add column score integer not null default 7",
        postgres: "alter table customer add column score integer not null default 7; alter table customer alter column score drop default",
        meanwhile: "update customer set name = name || '!' where id = 1; insert into customer (id, name) values (10, 'new')",
        after: "update customer set score = 8 where id = 2",
        sqlite_alone: Alone::Waits,
    },
    Step {
        what: "a table is rebuilt with a column more",
        sqlite: "begin; create table new__line (id integer primary key, customer_id integer references customer (id), n integer, note text);
                 insert into new__line (id, customer_id, n) select id, customer_id, n from line; drop table line;
                 alter table new__line rename to line; commit; insert into line values (5, 1, 5, 'unseen by any trigger')",
        postgres: "alter table line add column note text",
        meanwhile: "insert or replace into line (id, customer_id, n) values (2, 1, 9)",
        after: "update line set note = 'seen' where id = 1",
        sqlite_alone: Alone::Waits,
    },
    Step {
        what: "a table is created, with a foreign key",
        sqlite: "create table fresh (id integer primary key, customer_id integer not null references customer (id), t text unique);
                 insert into fresh values (1, 1, 'a')",
        postgres: "create table fresh (id bigint primary key, customer_id bigint not null references customer, t text unique)",
        meanwhile: "update item set price = 9 where code = 'a'",
        after: "insert into fresh values (2, 77, 'the parent comes later'); insert into customer (id, name) values (77, 'late')",
        sqlite_alone: Alone::Waits,
    },
    Step {
        what: "a foreign key is added to a column that comes",
        sqlite: "alter table item add column line_id integer references line (id)",
        postgres: "alter table item add column line_id bigint references line",
        meanwhile: "update item set price = 10 where code = 'b'",
        after: "update item set line_id = 500 where code = 'a'; insert or replace into line (id, n) values (500, 1)",
        sqlite_alone: Alone::Waits,
    },
    Step {
        what: "a column is renamed",
        sqlite: "alter table item rename column stock to pieces",
        postgres: "alter table item rename column stock to pieces",
        meanwhile: "update item set price = 11; insert into item (code) values ('c')",
        after: "update item set pieces = 12",
        sqlite_alone: Alone::Waits,
    },
    Step {
        what: "a column's type is changed, and SQLite's table rebuilt",
        sqlite: "begin; create table _alembic_tmp_item (code text not null primary key, price real, pieces bigint, line_id integer) without rowid;
                 insert into _alembic_tmp_item select * from item; drop table item; alter table _alembic_tmp_item rename to item; commit",
        postgres: "alter table item alter column pieces type bigint",
        meanwhile: "update item set price = 12, pieces = 13",
        after: "update item set pieces = 1099511627776 where code = 'a'",
        sqlite_alone: Alone::GoesOn,
    },
    Step {
        what: "a column is dropped",
        sqlite: "alter table customer drop column score",
        postgres: "alter table customer drop column score",
        meanwhile: "update customer set name = 'changed' where id = 2",
        after: "replace into customer values (11, 'after')",
        sqlite_alone: Alone::Waits,
    },
    Step {
        what: "a table is dropped",
        sqlite: "drop table old",
        postgres: "drop table old",
        meanwhile: "update customer set name = 'more' where id = 1",
        after: "delete from customer where id = 11",
        sqlite_alone: Alone::GoesOn,
    },
    Step {
        what: "a table is renamed",
        sqlite: "alter table line rename to position",
        postgres: "alter table line rename to position",
        meanwhile: "update customer set name = 'again' where id = 1",
        after: "update position set n = 100",
        sqlite_alone: Alone::Waits,
    },
];

/// As SQLite does of itself: rows may come before those that they refer to.
fn app(case: &Case, sql: &str) {
    case.app(&format!("pragma foreign_keys = off; {sql}"));
}

/// A rebuilt table has no triggers, so that nothing tells at once that there is something to see.
fn settled(case: &Case, daemon: &mut Daemon, what: &str) {
    until(what, || {
        daemon.drained(&case.source);
        case.rows("select 1 from liteferry.captured where suspect").is_empty()
            && case.rows("select 1 from liteferry.ledger").is_empty()
            && case.validate().status == Some(0)
    });
}

#[test]
fn a_migration_that_reaches_sqlite_first_waits_for_postgres_by_name() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, TARGET);
    let mut daemon = case.daemon(EXISTING);
    daemon.until(|status| status["phase"] == "dual-write");
    for step in STEPS {
        app(&case, step.sqlite);
        app(&case, if step.what.contains("created") { step.meanwhile } else { step.after });
        if step.sqlite_alone == Alone::Waits {
            let status = daemon.until(|status| status["run"]["state"] == "halted");
            let reason = &status["run"]["reason"]["code"];
            assert_eq!(reason, "schema_change_refused", "{}\n{}", step.what, daemon.log());
            let up = (&status["source"]["up"], &status["target"]["up"]);
            assert_eq!(up, (&Value::Bool(true), &Value::Bool(true)), "{}: {status:#}", step.what);
            let remedy = status["run"]["reason"]["remedy"].to_string();
            assert!(remedy.contains("run the application's migration"), "{}: {remedy}", step.what);
        } else if step.what.contains("dropped") {
            daemon.drained(&case.source);
        }
        psql(&case.target.url, step.postgres);
        app(&case, step.after);
        settled(&case, &mut daemon, step.what);
    }
}

#[test]
fn a_migration_that_reaches_postgres_first_waits_for_sqlite() {
    let case = Case::new(SOURCE);
    psql(&case.target.url, TARGET);
    let mut daemon = case.daemon(EXISTING);
    daemon.until(|status| status["phase"] == "dual-write");
    for step in STEPS {
        psql(&case.target.url, step.postgres);
        app(&case, step.meanwhile);
        // Long enough for the daemon to meet it.
        std::thread::sleep(std::time::Duration::from_millis(700));
        app(&case, step.sqlite);
        app(&case, step.after);
        settled(&case, &mut daemon, step.what);
    }
}

#[test]
fn constraints_come_back_under_the_names_of_today_and_go_with_their_tables() {
    let case = Case::new(&format!(
        "{SOURCE}; create table away (id integer primary key, customer_id integer references customer (id));
         alter table line add column spare_id integer references customer (id)"
    ));
    psql(&case.target.url, TARGET);
    psql(
        &case.target.url,
        "create table away (id bigint primary key, customer_id bigint references customer);
         alter table line add column spare_id bigint references customer;
         alter table line add constraint positive check (n > 0)",
    );
    let mut daemon = case.daemon(EXISTING);
    daemon.until(|status| status["phase"] == "dual-write");
    for (what, sql) in [
        ("child", "alter table line rename to position"),
        ("parent", "alter table customer rename to client"),
        ("column", "alter table position rename column customer_id to client_id"),
        ("end of a table", "drop table away"),
    ] {
        app(&case, sql);
        psql(&case.target.url, sql);
        app(&case, "update item set price = price + 1");
        settled(&case, &mut daemon, what);
    }
    // SQLite drops no column that a foreign key is made of: its table is rebuilt.
    app(&case, "begin; create table new_position (id integer primary key, client_id integer references client (id), n integer);
         insert into new_position select id, client_id, n from position; drop table position;
         alter table new_position rename to position; commit");
    psql(&case.target.url, "alter table position drop column spare_id");
    let spared = "select 1 from liteferry.route where route::text like '%spare_id%'";
    daemon.until(|_| case.rows(spared).is_empty());
    settled(&case, &mut daemon, "end of a column");
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    let constraints = "select conname || ': ' || pg_get_constraintdef(oid) from pg_constraint
        where conrelid = 'position'::regclass and contype in ('c', 'f') order by 1";
    daemon.until(|status| status["phase"] == "switch");
    let found: Vec<String> =
        case.rows(constraints).into_iter().filter_map(|mut row| row.pop().flatten()).collect();
    let found: Vec<&str> = found.iter().map(|text| text.trim_end_matches(" NOT VALID")).collect();
    let key =
        "line_customer_id_fkey: FOREIGN KEY (client_id) REFERENCES client(id) DEFERRABLE INITIALLY DEFERRED";
    assert_eq!(found, [key, "positive: CHECK ((n > 0))"]);
}

#[test]
fn a_table_or_column_without_a_counterpart_is_refused_though_it_is_empty_as_yet() {
    for (source, target, code) in [
        ("create table more (id integer primary key)", "", "table_missing"),
        ("alter table old add column w", "", "column_missing"),
    ] {
        let case = Case::new(SOURCE);
        case.app(source);
        psql(&case.target.url, TARGET);
        psql(&case.target.url, target);
        let path = case.source.path.display().to_string();
        let sides = ["--source", &path, "--target", &case.target.url, "--set", "http.listen=127.0.0.1:0"];
        let refused = crate::support::liteferry(&[&["run"], EXISTING, &sides].concat()).exits_with(1);
        assert!(refused.stdout.contains(code), "{refused:#?}");
    }
}

/// Columns that do not travel, left out by the settings or computed by the target, are no change of their table.
#[test]
fn a_table_of_which_not_all_columns_travel_is_not_told_to_have_changed() {
    let case = Case::new(
        "pragma journal_mode = wal; create table page (id integer primary key, title text, search text, secret text);
         create table other (id integer primary key); insert into page values (1, 'a', null, 's')",
    );
    psql(
        &case.target.url,
        "create table page (id bigint primary key, title text, search text generated always as (upper(title)) stored);
         create table other (id bigint primary key)",
    );
    let excluded = ["--set", "tables.exclude=page.secret"];
    let mut daemon = case.daemon(&[EXISTING, &excluded].concat());
    daemon.until(|status| status["phase"] == "dual-write");
    app(&case, "alter table other add column n integer");
    psql(&case.target.url, "alter table other add column n integer");
    app(&case, "insert into other values (1, 2); update page set title = 'b'");
    until("the new column is followed", || {
        case.rows("select 1 from other where n = 2").len()
            + case.rows("select 1 from page where search = 'B'").len()
            == 2
    });
    daemon.drained(&case.source);
    assert_eq!(changed(&daemon), ["other"]);
    // A column that comes to it is one.
    app(&case, "alter table page add column more text default 'm'");
    psql(&case.target.url, "alter table page add column more text");
    until("it travels", || !case.rows("select 1 from page where more = 'm'").is_empty());
}

/// A table without a primary key (what Rails joins others with) is found by a unique index, and another table's change is none of its own.
#[test]
fn a_table_that_is_found_by_a_unique_index_is_not_told_to_have_changed() {
    let pairs = "create table pair (a integer not null, b integer not null); create unique index pairs on pair (a, b)";
    let case = Case::new(&format!(
        "pragma journal_mode = wal; {pairs}; insert into pair values (1, 2); create table other (id integer primary key)"
    ));
    psql(&case.target.url, &format!("{pairs}; create table other (id bigint primary key)"));
    let mut daemon = case.daemon(EXISTING);
    daemon.until(|status| status["phase"] == "dual-write");
    app(&case, "alter table other add column n integer");
    psql(&case.target.url, "alter table other add column n integer");
    app(&case, "insert into other values (1, 2); insert into pair values (3, 4)");
    until("the new column is followed", || !case.rows("select 1 from other where n = 2").is_empty());
    daemon.drained(&case.source);
    assert_eq!(changed(&daemon), ["other"]);
    // What keeps it unique is a change of its own once it is gone, and nothing finds its rows any more.
    app(&case, "drop index pairs");
    let halted = daemon.until(|status| status["run"]["state"] == "halted");
    assert_eq!(halted["run"]["reason"]["code"], "schema_change_refused", "{halted}");
}

/// The tables that the log calls changed.
pub fn changed(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let told = log.lines().filter(|line| line.contains("of the source changed"));
    let named = told.filter_map(|line| line.split("table=\"").nth(1)?.split('"').next());
    named.map(str::to_owned).collect()
}

/// As Django makes a table anew for `null=True`, beside a rename of that column and one of the table.
#[test]
fn a_column_that_takes_null_from_now_on_does_so_in_postgres() {
    let case = Case::new(
        "pragma journal_mode = wal; create table item (id integer primary key, name text not null, n integer not null default 5);
         insert into item (name) values ('a'), ('b')",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
    let mut anew = |columns: &str, more: &str| {
        case.app(&format!(
            "begin; create table new_item ({columns}); insert into new_item select * from item; drop table item;
             alter table new_item rename to item; {more}; commit"
        ));
        until("it is settled", || {
            daemon.drained(&case.source);
            case.rows("select 1 from liteferry.captured where suspect").is_empty()
                && case.validate().status == Some(0)
        });
        assert!(case.rows("select 1 from liteferry.ledger").is_empty(), "{}", daemon.log());
    };
    anew(
        "id integer primary key, name text not null, n integer",
        "insert into item (name) values ('c'); update item set n = null where id = 1",
    );
    anew(
        "id integer primary key, name text, n integer",
        "alter table item rename column name to title; insert into item (n) values (null)",
    );
    case.is_equal();
    assert_eq!(case.rows("select id, title, n from item order by id").len(), 4);
    assert_eq!(changed(&daemon), ["item", "item"]);
}

/// `create` mode: PostgreSQL has it as a plain column, as it has those that SQLite computed from the start.
#[test]
fn a_column_that_sqlite_computes_from_now_on_comes_to_postgres() {
    let case = Case::new(
        "pragma journal_mode = wal; create table item (id integer primary key, n integer, twice integer as (n * 2));
         insert into item (n) values (1), (2)",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("alter table item add column next integer as (n + 1); insert into item (n) values (7)");
    let came = "select 1 from information_schema.columns where table_name = 'item' and column_name = 'next'";
    until("the column is there", || !case.rows(came).is_empty());
    daemon.drained(&case.source);
    case.app("update item set n = 5 where id = 1");
    daemon.drained(&case.source);
    let rows = case.rows("select n, twice, next from item order by id");
    let rows: Vec<Vec<&str>> =
        rows.iter().map(|row| row.iter().flatten().map(String::as_str).collect()).collect();
    assert_eq!(rows, [["5", "10", "6"], ["2", "4", "3"], ["7", "14", "8"]], "{}", daemon.log());
    case.is_equal();
}

/// Values that PostgreSQL has no room for stand in the ledger, also where its rows look as they looked before.
#[test]
fn what_a_rebuilt_table_has_for_the_ledger_comes_into_it() {
    let case = Case::new(
        "pragma journal_mode = wal; create table k (id integer primary key, v int); insert into k values (1, 1);
         create table n (id integer primary key, v int); insert into n values (1, null), (2, 2)",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
    case.app(
        "begin; drop table k; create table k (id int primary key, v int); insert into k values ('x', 1), ('y', 2);
         create table m (id integer primary key, v text); insert into m select id, coalesce(v, 'none') from n;
         drop table n; alter table m rename to n; commit",
    );
    until("the ledger has what PostgreSQL has not", || {
        daemon.drained(&case.source);
        case.rows("select 1 from liteferry.captured where suspect").is_empty()
            && case.validate().status == Some(0)
    });
    let held = "select source_table, key, column_name, standing from liteferry.ledger order by 1, 2, 3";
    let held: Vec<String> = case
        .rows(held)
        .iter()
        .map(|row| row.iter().flatten().cloned().collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "k [\"x\"] id row-held",
        "k [\"x\"] v row-held",
        "k [\"y\"] id row-held",
        "k [\"y\"] v row-held",
        "n [1] v null",
    ];
    assert_eq!(held[..5], expected, "{held:?}");
}

/// As a migration to UUIDs or slugs has it: no type is made wider for a key, nor for what refers to it.
#[test]
fn a_key_that_becomes_a_text_is_one_in_postgres_with_all_that_refers_to_it() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b');
         create table u (id integer primary key, t integer references t (id)); insert into u values (1, 1), (2, 2)",
    );
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let types = "select string_agg(data_type, ' ' order by table_name) from information_schema.columns
        where table_schema = 'public' and (table_name, column_name) in (('t', 'id'), ('u', 't'))";
    for (key, as_text, as_number, told) in [
        ("text", "'k' || id", "'k' || t", "text text"),
        ("integer", "substr(id, 2)", "substr(t, 2)", "bigint bigint"),
    ] {
        case.app(&format!(
            "pragma foreign_keys = off; begin; create table n (id {key} primary key, v text); insert into n select {as_text}, v from t;
             drop table t; alter table n rename to t; create table n (id integer primary key, t {key} references t (id));
             insert into n select id, {as_number} from u; drop table u; alter table n rename to u; commit"
        ));
        daemon.until(|_| case.rows(types) == [[Some(told.to_owned())]]);
        daemon.until(|_| case.rows("select 1 from liteferry.captured where suspect").is_empty());
        case.app("update t set v = v || '!'");
        daemon.drained(&case.source);
        let rows = "select count(*)::text from u join t on t.id = u.t where v like '%!'";
        assert_eq!(case.rows(rows), [[Some("2".to_owned())]], "{told}");
        assert!(case.rows("select 1 from liteferry.ledger").is_empty(), "{told}");
    }
    case.is_equal();
}

#[test]
fn a_key_that_becomes_a_text_waits_for_the_applications_migration_of_its_own_schema() {
    let case = Case::new(
        "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b')",
    );
    psql(&case.target.url, "create table t (id bigint primary key, v text)");
    let mut daemon = case.daemon(EXISTING);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app(
        "begin; create table n (id text primary key, v text); insert into n select 'k' || id, v from t;
         drop table t; alter table n rename to t; commit",
    );
    assert_eq!(daemon.halted(), "schema_change_refused");
    let status = daemon.status().expect("it answers");
    let remedy = status["run"]["reason"]["remedy"].as_str().expect("it says what to do");
    assert!(
        remedy.starts_with("run the application's migration against the side that has not had it"),
        "{remedy}"
    );
    psql(&case.target.url, "alter table t alter column id type text");
    daemon.until(|_| {
        case.rows("select id from t order by 1") == [[Some("k1".to_owned())], [Some("k2".to_owned())]]
    });
    case.is_equal();
}
