//! Random schemas under random statements, followed after every transaction. `LITEFERRY_SEEDS` says how many are tried,
//! `LITEFERRY_SEED` which is the first, and alone without the other.

use super::replica::{By, Replica, has_rowid};
use crate::generate::random::Random;
use liteferry::model::schema::SqliteTable;
use std::cell::RefCell;

const SEEDS: u64 = 60;
const STATEMENTS: usize = 40;

#[test]
fn whatever_an_application_does_is_followed() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (first, seeds) = match (number("LITEFERRY_SEED"), number("LITEFERRY_SEEDS")) {
        (Some(first), seeds) => (first, seeds.unwrap_or(1)),
        (None, seeds) => (1, seeds.unwrap_or(SEEDS)),
    };
    let fails = |seed: &u64| std::panic::catch_unwind(|| torture(*seed)).is_err();
    let failed: Vec<u64> = (first..first + seeds).filter(fails).collect();
    assert!(failed.is_empty(), "run each with LITEFERRY_SEED: {failed:?}");
}

fn torture(seed: u64) {
    let mut random = Random::new(seed);
    let setup = Schema::new(&mut random).sql(&mut random);
    let choices = RefCell::new(Random::new(seed.wrapping_add(1)));
    let choice = |table: &SqliteTable| match choices.borrow_mut().below(3) {
        0 if has_rowid(table) => By::Rowid,
        1 if table.column("n").is_some() => By::Columns(&["n"]),
        _ => By::PrimaryKey,
    };
    let mut replica = Replica::by(&setup, &choice);
    replica.give_twin_triggers();
    let pragmas =
        ["recursive_triggers = on", "recursive_triggers = off", "foreign_keys = on", "foreign_keys = off"];
    for _ in 0..STATEMENTS {
        if random.in_hundred(10) && replica.app.is_autocommit() {
            replica.run(&format!("pragma {}", random.pick(&pragmas)));
        }
        let sql = match random.below(20) {
            0 => "begin".to_owned(),
            1 => "commit".to_owned(),
            2 => "rollback".to_owned(),
            3 => "savepoint s".to_owned(),
            4 => "rollback to s".to_owned(),
            5 => "release s".to_owned(),
            _ => statement(&mut random),
        };
        replica.run(&sql);
    }
    if !replica.app.is_autocommit() {
        replica.run("commit");
    }
    if replica.app.is_autocommit() {
        replica.run("delete from t0; update t1 set a = 1");
    }
}

/// Tables t0, t1, t2 have the columns a, b, c and some of id, k, n, g, h.
struct Schema {
    tables: Vec<String>,
    rest: Vec<String>,
}

impl Schema {
    fn new(random: &mut Random) -> Schema {
        let mut schema = Schema { tables: Vec::new(), rest: Vec::new() };
        for at in 0..3 {
            schema.add_table(at, random);
        }
        for at in 0..random.below(4) {
            let trigger = trigger(at, random);
            schema.rest.push(trigger);
        }
        schema
    }

    fn sql(&self, random: &mut Random) -> String {
        let mut parts = self.tables.clone();
        for _ in 0..12 {
            let table = random.below(3);
            let row = row(random);
            parts.push(format!("insert or ignore into t{table}(a, b, c) values {row}"));
        }
        parts.extend(self.rest.iter().cloned());
        format!("begin;\n{};\ncommit", parts.join(";\n"))
    }

    fn add_table(&mut self, at: usize, random: &mut Random) {
        let affinity = ["", "int", "text", "real", "numeric", "text collate nocase", "text collate rtrim"];
        let (key, tail, by_id) = match random.below(8) {
            0 | 1 => ("id integer primary key, ", "", true),
            2 => ("id integer primary key autoincrement, ", "", true),
            3 => ("k text collate nocase primary key default (lower(hex(randomblob(1)))), ", "", false),
            4 => ("k primary key, ", "", false),
            5 => ("", ", primary key (a, b)", false),
            6 => ("k text not null default 'd' primary key, ", "", false),
            _ => ("", "", false),
        };
        let mut columns: Vec<String> = ["a", "b", "c"]
            .iter()
            .map(|name| format!("{name} {}{}", random.pick(&affinity), column_tail(random)))
            .collect();
        if random.in_hundred(30) {
            columns.push("n text not null default 'n' unique".to_owned());
        }
        if random.in_hundred(40) {
            columns.push("g as (lower(b))".to_owned());
            columns.push("h as (g || c) stored".to_owned());
        }
        if random.in_hundred(40) && at > 0 {
            let action = ["cascade", "set null", "set default", "no action"];
            let (delete, update) = (*random.pick(&action), *random.pick(&action));
            columns.push(format!("p references t{}(f) on delete {delete} on update {update}", at - 1));
        }
        columns.push("f unique".to_owned());
        let keyed = !key.is_empty() || !tail.is_empty();
        let options = if keyed && !key.contains("randomblob") && random.in_hundred(25) && !by_id {
            " without rowid"
        } else {
            ""
        };
        let columns = columns.join(", ");
        // A default of chance would make the twin another database.
        let key = key.replace(" default (lower(hex(randomblob(1))))", "");
        self.tables.push(format!("create table t{at}({key}{columns}{tail}){options}"));
        for number in 0..random.below(4) {
            let index = index(at, number, &columns, random);
            self.tables.push(index);
        }
    }
}

fn column_tail(random: &mut Random) -> &'static str {
    match random.below(10) {
        0 => " unique",
        1 => " unique on conflict replace",
        2 => " unique on conflict ignore",
        3 => " not null default 1",
        4 => " not null on conflict replace default 'A'",
        5 => " not null default (1 + 1) unique",
        6 => " default b",
        _ => "",
    }
}

fn index(at: usize, number: usize, columns: &str, random: &mut Random) -> String {
    let mut terms = vec![
        "a",
        "b",
        "c",
        "a collate nocase",
        "lower(b)",
        "a || b",
        "(c collate nocase)",
        "abs(a)",
        "a is b",
        "b or c",
        "case when b = '1' then a end",
        "a in (b, c)",
        "f, b",
        "a, c desc",
    ];
    if columns.contains("g as") {
        terms.extend(["g", "h", "g, a", "h collate nocase", "g || 'x'"]);
    }
    let condition = match random.below(6) {
        0 => " where a > 0".to_owned(),
        1 => " where b is not null".to_owned(),
        2 => " where c <> '' and a".to_owned(),
        3 => format!(" where t{at}.b = 'a'"),
        _ => String::new(),
    };
    format!("create unique index i{at}_{number} on t{at}({}){condition}", random.pick(&terms))
}

fn trigger(at: usize, random: &mut Random) -> String {
    let (on, other) = (random.below(3), random.below(3));
    let time = *random.pick(&["before", "after"]);
    let event = *random.pick(&["insert", "update", "delete", "update of b"]);
    let row = if event == "delete" { "old" } else { "new" };
    // What a BEFORE trigger does to the very table is undefined in SQLite.
    let other = if time == "before" && other == on { (on + 1) % 3 } else { other };
    let body = match random.below(7) {
        0 => format!("insert or replace into t{other}(a, b) values ({row}.b, {row}.a)"),
        1 => format!("update or ignore t{other} set c = {row}.a where a is {row}.b"),
        2 => format!("delete from t{other} where b is {row}.c"),
        3 => format!("update or replace t{other} set a = {row}.c where b is {row}.a"),
        4 if time == "before" || event != "insert" => "select raise(ignore)".to_owned(),
        5 if time == "before" || event != "insert" => "select raise(fail, 'no')".to_owned(),
        _ => "select raise(abort, 'no')".to_owned(),
    };
    let when = if body.starts_with("select") {
        format!(" when {row}.a = 1")
    } else {
        format!(" when {row}.c = 'a'")
    };
    format!("create trigger app{at} {time} {event} on t{on}{when} begin {body}; end")
}

fn statement(random: &mut Random) -> String {
    let table = random.below(3);
    let policy = *random.pick(&[
        "",
        "",
        " or replace",
        " or replace",
        " or ignore",
        " or fail",
        " or abort",
        " or rollback",
    ]);
    let column = *random.pick(&["a", "b", "c", "f", "n", "k", "id", "rowid", "_rowid_", "p"]);
    let (given, other) = (value(random), value(random));
    // A rowid that is no integer fails half-way, and only a statement with triggers is then undone whole.
    let swapped = *random.pick(&["a", "c", "f", "n", "k"]);
    let filter = match random.below(4) {
        0 => String::new(),
        1 => format!(" where a is {other}"),
        2 => format!(" where {column} is {other}"),
        _ => format!(" where b is {other} or c is not {other}"),
    };
    match random.below(11) {
        0..3 => {
            let rows: Vec<String> = (0..=random.below(3)).map(|_| row(random)).collect();
            format!("insert{policy} into t{table}(a, b, c) values {}", rows.join(", "))
        }
        3 | 4 => format!("insert{policy} into t{table}({column}, b, f) values ({given}, {other}, {other})"),
        5 => format!(
            "insert into t{table}(a, b, f) values ({given}, {other}, {given}) on conflict do update set c = excluded.a, {column} = {other}"
        ),
        6 => {
            format!("insert{policy} into t{table}(a, b, c) select b, c, a from t{} limit 3", random.below(3))
        }
        7 | 8 => format!("update{policy} t{table} set {column} = {given}{filter}"),
        9 => format!("update{policy} t{table} set {swapped} = b, b = {swapped}{filter}"),
        _ => format!("delete from t{table}{filter}"),
    }
}

fn row(random: &mut Random) -> String {
    format!("({}, {}, {})", value(random), value(random), value(random))
}

fn value(random: &mut Random) -> &'static str {
    random.pick::<&str>(&VALUES)
}

const VALUES: [&str; 17] = [
    "null", "0", "1", "2", "3", "1.0", "2.5", "-0.0", "'a'", "'A'", "'b'", "'B '", "'1'", "x'61'", "''", "7",
    "-1",
];
