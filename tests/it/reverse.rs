//! The way back: what the application writes to PostgreSQL after the switch arrives in SQLite, each value in the class and spelling of
//! its column, once, and nothing else is touched.

pub mod ground;
mod history;
mod objects;
mod pairs;
mod random;
mod refused;
mod told;
mod unlikely;

use crate::support::{PATIENCE, database, liteferry, psql, sqlite};
use ground::Pair;
use liteferry::flow::backfill::OnMisfit;
use liteferry::link::{Extent, Take};
use liteferry::model::fault::{Fault, FaultClass};
use liteferry::postgres::capture as there;
use liteferry::sqlite::control;
use std::time::{Duration, Instant};

/// Every family of types, each spelt in a way of its own.
const FAMILIES: (&str, &str) = (
    "create table t (id integer primary key, b text, i int, r real, n text, d text, ts text, tz text, e int, iv int, u text, ub blob,
         j text, jb text, bl blob, a text, ip text, s varchar(20), m text, c text, al text);
     insert into t values
       (1, 'yes', 7, 1.5, '1.50', '2024-01-02', '2024-01-02T03:04:05.000001', '2024-01-02 03:04:05Z', 1704164645, 1500000,
        'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', x'a0eebc999c0b4ef8bb6d6bb9bd380a11', '{ \"a\" : 1 }', '{\"a\":1}', x'00ff', '[1,2]',
        '10.0.0.1', 'Ann', 'happy', 'Mixed', 'x,y z'),
       (2, 'no', -7, -2.0, '0.25', '1999-12-31', '1999-12-31T23:59:59.999999', '1999-12-31 23:59:59Z', 1, 2000000,
        'B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', x'b0eebc999c0b4ef8bb6d6bb9bd380a11', '[]', '[]', x'', '[]', '::1', '', 'sad', 'x', ''),
       (3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);",
    "create type mood as enum ('happy', 'sad', 'odd');
     create table t (id bigint primary key, b boolean, i integer, r double precision, n numeric(12,2), d date, ts timestamp,
         tz timestamptz, e timestamp, iv interval, u uuid, ub uuid, j json, jb jsonb, bl bytea, a integer[], ip inet, s varchar(20),
         m mood, c text, al text[]);",
);

const QUOTED: &str = "select id, quote(b), quote(i), quote(r), quote(n), quote(d), quote(ts), quote(tz), quote(e), quote(iv), quote(u), quote(ub),
    quote(j), quote(jb), quote(bl), quote(a), quote(ip), quote(s), quote(m), quote(c), quote(al) from t order by id";

#[test]
fn every_type_arrives_in_the_class_and_spelling_of_its_column() {
    let pair = Pair::mapped(FAMILIES.0, FAMILIES.1);
    let before = pair.here(QUOTED);
    pair.app(
        "insert into t values (4, true, 42, 0.1, 3.14, '2030-06-07', '2030-06-07 08:09:10.5', '2030-06-07 08:09:10+00',
            '2030-06-07 08:09:10', '3 seconds', 'c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
            '{\"z\": 1}', '{\"z\": 1}', '\\x01', '{3,4}', '192.168.0.1', 'Bob', 'odd', 'é', '{é,two words}');
         update t set b = false, s = 'new' where id = 1; update t set i = i where id = 2;",
    );
    let mut way = pair.way();
    assert_eq!(way.drain().len(), 1);
    let after = pair.here(QUOTED);
    assert_eq!(
        after[0],
        before[0].replace("'yes'", "'no'").replace("'Ann'", "'new'"),
        "all other cells stay"
    );
    assert_eq!(after[1..3], before[1..3], "a row without a changed cell is not written");
    assert_eq!(
        after[3],
        "4|'yes'|42|0.1|'3.14'|'2030-06-07'|'2030-06-07T08:09:10.500000'|'2030-06-07 08:09:10Z'|1907050150|3000000|\
         'C0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'|X'C0EEBC999C0B4EF8BB6D6BB9BD380A11'|'{\"z\": 1}'|'{\"z\": 1}'|X'01'|'[3,4]'|\
         '192.168.0.1'|'Bob'|'odd'|'é'|'é,two words'"
    );
    pair.is_equal();
    assert_eq!(pair.waiting(), "0");
}

const SHOP: &str = "create table customer (id integer primary key autoincrement, email text unique not null collate nocase, name text, at text);
    create table tag (name text not null primary key collate nocase, n int);
    create table item (code text not null, no int not null, price real, half real as (price / 2), primary key (code, no)) without rowid;
    create table kept (k text not null primary key, v);
    create table doc (id integer primary key, body text not null unique) strict;
    create table audit (id integer primary key, what text);
    create trigger customer_audit after insert on customer begin insert into audit(what) values (new.email); end;
    insert into customer values (1, 'ann@x', 'Ann', '2024-01-02 03:04:05'), (2, 'bob@x', 'Bob', '2024-1-2'), (3, 'cid@x', null, '');
    insert into tag values ('abc', 1), ('def', 2);
    insert into item(code, no, price) values ('a', 1, 1.5), ('a', 2, -2.5), ('b', 1, null);
    insert into kept values ('x', 1), ('y', 'one'), ('z', x'00');
    insert into doc values (1, 'one'), (2, 'two');";

fn rows(pair: &Pair) -> Vec<String> {
    let of = |sql: &str| pair.here(sql);
    [
        of("select 'c', id, quote(email), quote(name), quote(at) from customer order by id"),
        of("select 't', quote(name), n from tag order by n"),
        of("select 'i', code, no, quote(price), quote(half) from item order by code, no"),
        of("select 'k', quote(k), quote(v) from kept order by k"),
        of("select 'd', id, quote(body) from doc order by id"),
    ]
    .concat()
}

#[test]
fn keys_values_and_uniques_move_and_nothing_of_ours_or_the_applications_fires() {
    [1, 1 << 20].into_iter().for_each(moves_in_portions_of);
}

/// In small portions a key that is gone comes after those that are there.
fn moves_in_portions_of(bytes: usize) {
    let pair = Pair::created(SHOP);
    let log = pair.here("select max(seq), count(*) from _liteferry_change");
    let audit = pair.here("select what from audit");
    let mut way = pair.way_in_portions_of(bytes);
    pair.app(
        "update customer set email = 'tmp' where id = 1; update customer set email = 'ann@x' where id = 2;
         update customer set email = 'bob@x' where id = 1;
         update tag set name = 'ABC' where n = 1; delete from tag where n = 2; insert into tag values ('Def', 3);
         update item set price = 9.5, half = 4.75 where code = 'a' and no = 1; update item set no = 7 where code = 'a' and no = 2;
         insert into item values ('c', 1, 3, 1.5); delete from item where code = 'b';
         insert into customer (id, email, name, at) values (9, 'new@x', 'New', 'later'), (50, 'gone@x', null, null);
         delete from customer where id = 50;
         update doc set body = case body when 'one' then 'two' else 'one' end where false;
         delete from doc where id = 1; update doc set body = 'one' where id = 2; insert into doc values (1, 'two');",
    );
    way.drain();
    assert_eq!(
        rows(&pair),
        [
            "c|1|'bob@x'|'Ann'|'2024-01-02 03:04:05'",
            "c|2|'ann@x'|'Bob'|'2024-1-2'",
            "c|3|'cid@x'|NULL|''",
            "c|9|'new@x'|'New'|'later'",
            "t|'ABC'|1",
            "t|'Def'|3",
            "i|a|1|9.5|4.75",
            "i|a|7|-2.5|-1.25",
            "i|c|1|3.0|1.5",
            "k|'x'|1",
            "k|'y'|'one'",
            "k|'z'|X'00'",
            "d|1|'two'",
            "d|2|'one'",
        ]
    );
    pair.is_equal();
    assert_eq!(pair.here("select max(seq), count(*) from _liteferry_change"), log, "no echo");
    assert_eq!(
        pair.here("select what from audit"),
        audit,
        "the application's own trigger has run in its time"
    );
    let next = "insert into customer(email) values ('x') returning id";
    pair.sqlite().execute_batch("drop trigger customer_audit").expect("dropped");
    assert_eq!(pair.here(next), ["51"], "an id that came and went is not given again");
}

#[test]
fn cells_that_stand_in_the_ledger_are_kept_until_they_change() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, d text, n text);
         insert into t values (1, '2024-01-02', 'a'), (2, '0000-00-00', 'b'), (3, 'soon', 'c'), (4, '2024-01-05', 'd');",
        "create table t (id bigint primary key, d date, n text)",
    );
    assert_eq!(pair.there("select key from liteferry.ledger order by key"), ["[2]", "[3]"]);
    let mut way = pair.way();
    pair.app("update t set n = 'B' where id = 2; update t set d = '2025-01-01' where id = 3");
    way.drain();
    let expected = ["1|'2024-01-02'|'a'", "2|'0000-00-00'|'B'", "3|'2025-01-01'|'c'", "4|'2024-01-05'|'d'"];
    assert_eq!(pair.here("select id, quote(d), quote(n) from t order by id"), expected);
    assert_eq!(
        pair.there("select key from liteferry.ledger order by key"),
        ["[2]"],
        "what changed is told no more"
    );
    pair.is_equal();
    pair.app("delete from t where id = 2");
    way.drain();
    assert!(pair.there("select key from liteferry.ledger").is_empty());
    pair.is_equal();
}

#[test]
fn a_column_that_spells_less_than_its_target_holds_is_told_by_check() {
    let source = sqlite(
        "create table t (id integer primary key, n numeric, v text); insert into t values (1, 1.5, 'a');
         create table strict_one (code text not null primary key, a text not null default '', b text not null, c text, d text not null default 'x',
             ip varchar(15) not null default '');
         create table bare (id integer primary key, b text not null, a text not null)",
    );
    let target = database();
    psql(
        &target.url,
        "create table t (id bigint primary key, n numeric, v text);
         create table strict_one (code text primary key, a text, b text not null, c text, d text, ip inet);
         create table bare (id bigint primary key, b text not null default '', a text)",
    );
    let path = source.path.display().to_string();
    let sides = ["--source", &path, "--target", &target.url, "--set", "target.mode=existing", "--json"];
    let told = |command: &str, code: &str, part: &str| {
        let report = liteferry(&[&[command], &sides[..]].concat()).exits_with(0).json();
        let findings = report["findings"].as_array().expect("a list").iter();
        let reverse = findings.filter(|finding| finding["code"] == code);
        reverse.map(|finding| finding[part].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told("check", "reverse_spelling", "subject"), ["t.n"]);
    assert_eq!(told("check", "reverse_nulls", "subject"), ["strict_one", "bare"]);
    assert!(told("check", "reverse_nulls", "text")[0].contains("in the target: a, d, ip;"));
    let remedies = told("check", "reverse_nulls", "remedy");
    assert!(
        remedies[0].contains(
            "\"strict_one\" alter column \"a\" set default '', alter column \"d\" set default 'x';"
        ),
        "{remedies:?}"
    );
    let form = "[types.column.\"strict_one.ip\"] form = \"empty-null\" if SQLite's default, the empty text, stands for NULL;";
    assert!(remedies[0].contains(form), "the type would refuse that default: {remedies:?}");
    assert!(remedies[1].contains("\"bare\" alter column \"a\" set not null;"), "{remedies:?}");
    assert!(remedies.iter().all(|remedy| remedy.contains("itself writes takes a trigger")));
    assert!(told("copy", "reverse_spelling", "subject").is_empty(), "a copy has no way back");
}

#[test]
fn what_the_column_cannot_spell_halts_or_goes_to_the_ledger() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, at text, n numeric); insert into t values (1, '2024-01-02', 1.5)",
        "create table t (id bigint primary key, at timestamp, n numeric)",
    );
    let mut way = pair.way();
    pair.app(
        "insert into t values (2, '12345-01-01', 12345678901234567890.12), (3, '2024-01-03 00:00:00', 2)",
    );
    let fault = way.step(Take::All, OnMisfit::Halt).expect_err("it halts by name");
    assert_eq!(fault.code, "misfit");
    assert!(fault.to_string().contains("t."), "{fault}");
    way.resume().expect("SQLite stands where it stood");
    way.drain();
    let found = pair.here("select id, quote(at), typeof(n), cast(n as text) from t order by id");
    assert_eq!(
        found,
        [
            "1|'2024-01-02'|real|1.5",
            "2|'12345-01-01 00:00:00'|blob|12345678901234567890.12",
            "3|'2024-01-03'|integer|2",
        ]
    );
    let ledger = "select key || column_name || reason from liteferry.ledger order by 1";
    assert_eq!(pair.there(ledger), ["[2]atreverse-spelling", "[2]nreverse-spelling"]);
    pair.app("update t set at = '2024-01-04', n = 4 where id = 2");
    way.drain();
    assert!(pair.there(ledger).is_empty());
    pair.is_equal();
}

#[test]
fn a_truncated_table_is_emptied_and_filled_again() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, d text not null); create table u (id integer primary key);
         insert into t values (1, '2024-01-02'), (2, 'soon'), (3, '2024-01-03'); insert into u values (1)",
        "create table t (id bigint primary key, d date not null); create table u (id bigint primary key)",
    );
    let mut way = pair.way_in_portions_of(1);
    pair.app(
        "insert into u values (2); truncate t, u; insert into t values (3, '2025-01-01'), (5, '2025-01-02')",
    );
    way.drain();
    // The second row never stood in PostgreSQL.
    assert_eq!(pair.here("select id, d from t order by id"), ["2|soon", "3|2025-01-01", "5|2025-01-02"]);
    assert!(pair.here("select cast(id as text) from u").is_empty());
    pair.is_equal();
    pair.app("truncate t");
    way.drain();
    assert_eq!(pair.here("select id, d from t"), ["2|soon"]);
    pair.is_equal();
}

#[test]
fn a_unique_value_moves_between_rows_of_different_portions_and_parts() {
    let pair = Pair::created(
        "create table t (id integer primary key, u int not null unique, v text);
         create table w (k text not null primary key, u int unique on conflict replace, v) without rowid;
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 300) insert into t select i, i, 'v' || i from n;
         insert into w select 'k' || id, u, v from t;",
    );
    pair.app("alter table t drop constraint if exists t_u_key");
    let mut way = pair.way_in_portions_of(1);
    pair.app("begin; update t set u = -u; update t set u = 1 - u; update w set u = -u; update w set u = 1 - u; commit");
    pair.app("update t set u = 1000 + u where id % 2 = 0");
    let mut steps = Vec::new();
    while let Some(step) = way.step(Take::UpTo(100), OnMisfit::Ledger).expect("a batch is taken") {
        steps.push(step.extent);
    }
    assert_eq!(steps.last(), Some(&Extent::Whole));
    assert_eq!(pair.here("select count(*), sum(u = 1 + id or u = 1001 + id) from t"), ["300|300"]);
    assert_eq!(pair.here("select count(*), sum(u = 1 + substr(k, 2)) from w"), ["300|300"]);
    pair.is_equal();
}

/// PostgreSQL's own vacuum would not come in this time: until it does, every look would read what each batch before it left.
#[test]
fn the_queue_is_swept_of_what_was_taken() {
    let pair = Pair::created("create table t (id integer primary key, n int)");
    let mut way = pair.way();
    pair.app("insert into t select i, i from generate_series(1, 5000) i");
    way.drain();
    let vacuums =
        "select vacuum_count > 0 from pg_stat_all_tables where relid = 'liteferry.reverse_change'::regclass";
    let began = Instant::now();
    while pair.there(vacuums) != ["t"] {
        assert!(began.elapsed() < *PATIENCE, "the queue is not swept");
        std::thread::sleep(Duration::from_millis(50));
    }
    pair.is_equal();
}

#[test]
fn nothing_of_the_applications_is_written_while_sqlite_takes_its_writes() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    pair.sqlite().execute_batch("update _liteferry_control set writes = 'sqlite'").expect("written");
    let mut way = pair.way();
    let word = pair.with_session(async |session| there::send_canary(session, pair.migration).await);
    assert_eq!(way.drain().len(), 1);
    let canary = control::read(&pair.sqlite()).expect("read").expect("it is there").canary;
    assert_eq!(canary, Some(word), "the canary goes all the same");
    pair.app("insert into t values (1, 'a')");
    assert_eq!(way.step(Take::All, OnMisfit::Ledger).expect_err("refused").code, "reverse_not_switched");
    assert!(pair.here("select v from t").is_empty());
    let lag = way.lag();
    assert_eq!(lag.rows, 1);
    way.resume().expect("SQLite stands where it stood");
    pair.sqlite().execute_batch("update _liteferry_control set writes = 'postgres'").expect("written");
    way.drain();
    assert_eq!((pair.here("select v from t"), way.lag().rows), (vec!["a".into()], 0));
}

/// Bytes of another type say nothing of what they mean.
#[test]
fn a_column_that_got_another_type_meanwhile_is_not_read_as_what_it_was() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, n integer); insert into t values (1, 5)",
        "create table t (id bigint primary key, n bigint)",
    );
    let mut way = pair.way();
    pair.app("insert into t values (2, 6)");
    way.drain();
    for change in
        ["update t set n = 2.5 where id = 1", "create table a as table t; truncate t; insert into t table a"]
    {
        pair.app(&format!("alter table t alter n type double precision; {change}"));
        assert_eq!(way.step(Take::All, OnMisfit::Ledger).expect_err("it halts").code, "schema_drift");
        assert_eq!(pair.here("select n from t where n <> 2"), ["5", "6"], "as before");
        pair.app("alter table t alter n type bigint using n + 1");
        way.resume().expect("SQLite stands where it stood");
        way.drain();
        pair.app("update t set n = 4 + id");
        way.drain();
    }
    pair.is_equal();
}

/// The canary's way, however long PostgreSQL's disk takes.
#[test]
fn no_writer_of_sqlites_waits_for_the_disk_of_postgres() {
    let pair = Pair::created("pragma journal_mode = wal; create table t (id integer primary key)");
    let application = pair.sqlite();
    application.busy_timeout(Duration::ZERO).expect("set");
    application.execute_batch("update _liteferry_control set writes = 'sqlite'").expect("written");
    let mut way = pair.way();
    pair.with_session(async |session| there::send_canary(session, pair.migration).await);
    let durable = async move {
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            application.execute_batch("begin immediate; rollback").expect("nobody has the lock");
        }
        Ok(())
    };
    way.commit_unless(durable, std::future::pending()).expect("nobody gives up").expect("committed");
}

#[test]
fn what_the_disk_of_postgres_refuses_is_not_committed_in_sqlite() {
    let pair = Pair::created("create table t (id integer primary key)");
    let mut way = pair.way();
    pair.app("insert into t values (1)");
    let full = async { Err(Fault::new(FaultClass::Transient, "disk_full", "flush")) };
    let refused = way.commit_unless(full, std::future::pending()).expect("nobody gives up");
    assert_eq!(refused.expect_err("the disk has it not").code, "disk_full");
    way.resume().expect("SQLite stands where it stood");
    assert_eq!((pair.here("select id from t"), pair.waiting()), (Vec::new(), "1".into()));
}

/// PostgreSQL has gained and lost a row of its own by that key.
#[test]
fn a_row_that_stands_in_the_ledger_alone_stays_in_sqlite() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, d date not null); insert into t values (1, '2024-01-02'), (3, 'soon')",
        "create table t (id bigint primary key, d date not null)",
    );
    pair.app("insert into t values (3, '2024-01-03'); delete from t");
    pair.way().drain();
    assert_eq!(pair.here("select id, d from t"), ["3|soon"]);
}

/// The row is found by its old key, too.
#[test]
fn a_key_that_equals_its_old_self_in_postgres_alone_moves_in_sqlite() {
    let pair = Pair::mapped(
        "create table t (k text not null primary key, v text); insert into t values ('a', '1'), ('b', '2')",
        "create collation public.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create table t (k text collate public.ci primary key, v text)",
    );
    pair.app("update t set k = 'A' where k = 'a'");
    pair.way().drain();
    assert_eq!(pair.here("select k, v from t order by k"), ["A|1", "b|2"]);
}

#[test]
fn a_schema_of_sqlites_that_has_moved_halts_until_it_is_put_back() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    let mut way = pair.way();
    pair.app("insert into t values (1, 'a')");
    way.drain();
    let here = pair.sqlite();
    here.execute_batch("alter table t add column w").expect("added");
    pair.app("insert into t values (2, 'b')");
    for _ in 0..2 {
        let fault = way.step(Take::All, OnMisfit::Ledger).expect_err("it halts");
        assert_eq!((fault.class, fault.code), (FaultClass::Fatal, "reverse_schema_moved"));
        way.resume().expect("SQLite stands where it stood");
    }
    assert_eq!(pair.here("select v from t"), ["a"]);
    here.execute_batch("alter table t drop column w").expect("dropped");
    way.drain();
    assert_eq!(pair.here("select v from t order by id"), ["a", "b"]);
}

#[test]
fn cascades_and_triggers_of_postgres_are_seen() {
    let pair = Pair::mapped(
        "create table parent (id integer primary key, n int); create table child (id integer primary key, parent int references parent, v text);
         insert into parent values (1, 0), (2, 0); insert into child values (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c')",
        "create table parent (id bigint primary key, n integer);
         create table child (id bigint primary key, parent bigint references parent on delete cascade on update cascade, v text);
         create function counted() returns trigger language plpgsql as $$ begin
             update parent set n = n + 1 where id = new.parent; new.v := upper(new.v); return new; end $$;
         create trigger a before insert on child for each row execute function counted()",
    );
    let mut way = pair.way();
    pair.app("delete from parent where id = 1; update parent set id = 20 where id = 2; insert into child values (9, 20, 'x')");
    way.drain();
    assert_eq!(pair.here("select * from parent"), ["20|1"]);
    assert_eq!(pair.here("select * from child order by id"), ["3|20|c", "9|20|X"]);
    pair.is_equal();
}

#[test]
fn a_database_in_utf16_and_one_with_a_rollback_journal_take_the_way_back() {
    for begin in ["pragma encoding = 'UTF-16le'", "pragma journal_mode = delete", "pragma journal_mode = wal"]
    {
        let pair = Pair::created(&format!(
            "{begin}; create table t (k text not null primary key, v text, n); insert into t values ('é', 'ü', 1), ('x', 'y', 1.5)"
        ));
        let mut way = pair.way();
        pair.app("update t set v = '😀' where k = 'é'; insert into t values ('ñ', 'ß', '7'); delete from t where k = 'x'");
        way.drain();
        assert_eq!(pair.here("select k, v from t order by k"), ["é|😀", "ñ|ß"], "{begin}");
        pair.is_equal();
    }
}
