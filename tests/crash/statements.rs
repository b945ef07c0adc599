//! What the application does, drawn from a seed: every construct by which SQLite changes rows, over keys that collide. It knows
//! nothing of what is right; whatever SQLite accepts is.

use crate::random::Random;
use crate::schema::{ACCOUNTS, Kind, TABLES, Table, Writers};

/// One transaction of the application, statement by statement.
pub fn transaction(random: &mut Random) -> Vec<String> {
    match random.below(100) {
        0..30 => transfer(random),
        30..70 => vec![statement(random)],
        70..99 => several(random),
        _ => vec![if random.in_hundred(30) { "vacuum" } else { "analyze" }.to_owned()],
    }
}

/// Balances add up to nothing, and moves to the number of transfers twice, after every commit.
fn transfer(random: &mut Random) -> Vec<String> {
    let account = |random: &mut Random| 1 + random.below(ACCOUNTS);
    let (giver, taker, amount) = (account(random), account(random), random.below(1_000));
    let mut statements = vec![
        "begin immediate".to_owned(),
        format!("update account set balance = balance - {amount}, moves = moves + 1 where id = {giver}"),
        format!("insert into transfer (giver, taker, amount) values ({giver}, {taker}, {amount})"),
        format!("update account set balance = balance + {amount}, moves = moves + 1 where id = {taker}"),
    ];
    if random.in_hundred(20) {
        statements.insert(2, statement(random));
    }
    statements.push(if random.in_hundred(15) { "rollback" } else { "commit" }.to_owned());
    statements
}

fn several(random: &mut Random) -> Vec<String> {
    let mut statements = vec!["begin immediate".to_owned()];
    let savepoint = random.in_hundred(50);
    for at in 0..2 + random.below(12) {
        if savepoint && at == 1 {
            statements.push("savepoint inner".into());
        }
        statements.push(statement(random));
        if savepoint && at == 3 {
            statements.push(if random.in_hundred(50) { "rollback to inner" } else { "release inner" }.into());
        }
    }
    statements.push(if random.in_hundred(20) { "rollback" } else { "commit" }.into());
    statements
}

fn statement(random: &mut Random) -> String {
    let open: Vec<&Table> = TABLES.iter().filter(|table| table.writers != Writers::OwnStatements).collect();
    let table = *random.pick(&open);
    match (table.writers, random.below(100)) {
        (Writers::Rows, 0..60) | (Writers::Anything, 0..25) => update(random, table),
        (Writers::Rows, _) => bulk_row(random, table),
        (_, 25..45) => insert(random, table),
        (_, 45..55) => upsert(random, table),
        (_, 55..70) => change_key(random, table),
        (_, 70..85) => format!("delete from {} where {}", table.name, one(random, table)),
        (_, 85..90) => insert_select(random, table),
        (_, 90..95) => update_many(random, table),
        (_, 95..97) => format!("delete from {}", table.name),
        (_, _) => format!("delete from {0} where rowid in (select rowid from {0} limit 3)", row_table(table)),
    }
}

/// Nothing and REPLACE are what applications say most.
fn conflict(random: &mut Random) -> &'static str {
    let words = ["", "", " or replace", " or replace", " or ignore", " or abort", " or fail", " or rollback"];
    words[random.below(words.len())]
}

fn insert(random: &mut Random, table: &Table) -> String {
    let rows: Vec<String> =
        (0..1 + random.below(3)).map(|_| format!("({})", values(random, table))).collect();
    format!("insert{} into {} values {}", conflict(random), table.name, rows.join(", "))
}

fn upsert(random: &mut Random, table: &Table) -> String {
    let values = values(random, table);
    let (column, value) = assignment(random, table, table.key.max(1));
    let key: Vec<&str> = table.columns[..table.key].iter().map(|(name, _)| *name).collect();
    match (key.is_empty(), random.below(3)) {
        (true, _) => format!("insert into {} values ({values})", table.name),
        (false, 0) => format!("insert into {} values ({values}) on conflict do nothing", table.name),
        (false, _) => format!(
            "insert into {} values ({values}) on conflict ({}) do update set {column} = {value}",
            table.name,
            key.join(", ")
        ),
    }
}

fn update(random: &mut Random, table: &Table) -> String {
    let (column, value) = assignment(random, table, table.key);
    format!("update{} {} set {column} = {value} where {}", conflict(random), table.name, one(random, table))
}

/// Letters change their case, numbers their storage class and back, rows trade keys.
fn change_key(random: &mut Random, table: &Table) -> String {
    let at = random.below(table.key.max(1));
    let (column, kind) = table.columns[at];
    let new = match (kind, random.below(3)) {
        (Kind::Word, 0) => format!("upper({column})"),
        (Kind::Id, 0) => format!("{column} + 1"),
        _ => value(random, kind),
    };
    let column = if kind == Kind::Id && table.key == 1 && random.in_hundred(30) { "_rowid_" } else { column };
    format!("update{} {} set {column} = {new} where {}", conflict(random), table.name, one(random, table))
}

fn update_many(random: &mut Random, table: &Table) -> String {
    let (column, value) = assignment(random, table, table.key.max(1));
    let bound = random.below(60);
    let by = table.columns.iter().find(|(_, kind)| *kind == Kind::Id).map_or("n", |(name, _)| name);
    format!("update{} {} set {column} = {value} where {by} > {bound}", conflict(random), table.name)
}

fn insert_select(random: &mut Random, table: &Table) -> String {
    let columns = table.columns.iter().enumerate().map(|(at, (name, kind))| match kind {
        Kind::Id if at < table.key => format!("{name} + {}", 1 + at),
        Kind::Word if at < table.key => format!("lower({name}) || 'x'"),
        Kind::Id | Kind::Integer | Kind::Real | Kind::Word | Kind::Text | Kind::Blob => (*name).to_owned(),
    });
    let columns: Vec<String> = columns.collect();
    let limit = 1 + random.below(20);
    let kind = if random.in_hundred(50) { "replace" } else { "insert or ignore" };
    // Words that only ever grow would leave no room for collisions.
    let short = table.columns[0];
    let only = if short.1 == Kind::Word { format!(" where length({}) < 3", short.0) } else { String::new() };
    format!("{kind} into {0} select {1} from {0}{only} limit {limit}", table.name, columns.join(", "))
}

fn bulk_row(random: &mut Random, table: &Table) -> String {
    let id = random.below(90_000);
    match random.below(400) {
        // A backlog that is most of the table.
        0 => format!("update {} set k = k + 1", table.name),
        1..100 => format!("delete from {} where id = {id}", table.name),
        100..200 => {
            format!("replace into {} values ({id}, {}, {})", table.name, id % 97, value(random, Kind::Text))
        }
        200..300 => {
            format!("update or replace {} set id = {} where id = {id}", table.name, random.below(90_000))
        }
        _ => {
            format!("update {} set k = k + 1 where id between {id} and {}", table.name, id + random.below(60))
        }
    }
}

/// A table's rows by rowid, where it has one.
fn row_table(table: &Table) -> &str {
    if table.name == "pair" { "loose" } else { table.name }
}

fn one(random: &mut Random, table: &Table) -> String {
    if table.writers == Writers::Rows {
        return format!("id = {}", random.below(90_000));
    }
    let terms = table.columns[..table.key.max(1)].iter();
    let terms = terms.map(|(name, kind)| match kind {
        Kind::Text => {
            format!("{name} in (select {name} from {} limit 1 offset {})", table.name, random.below(9))
        }
        Kind::Id | Kind::Integer | Kind::Real | Kind::Word | Kind::Blob => {
            format!("{name} = {}", value(random, *kind))
        }
    });
    terms.collect::<Vec<_>>().join(" and ")
}

/// A column from `first` on, and what it is set to.
fn assignment(random: &mut Random, table: &Table, first: usize) -> (&'static str, String) {
    let (name, kind) = *random.pick(&table.columns[first..]);
    (name, if name == "touched" || name == "k" { "0".into() } else { maybe(random, kind) })
}

fn values(random: &mut Random, table: &Table) -> String {
    let cells = table.columns.iter().enumerate().map(|(at, (name, kind))| match *name {
        "touched" | "k" => "0".to_owned(),
        // An id of SQLite's choice, now and then.
        _ if at == 0 && *kind == Kind::Id && table.key == 1 && random.in_hundred(15) => "null".to_owned(),
        _ if at < table.key => value(random, *kind),
        _ => maybe(random, *kind),
    });
    cells.collect::<Vec<_>>().join(", ")
}

fn maybe(random: &mut Random, kind: Kind) -> String {
    if random.in_hundred(12) { "null".into() } else { value(random, kind) }
}

fn value(random: &mut Random, kind: Kind) -> String {
    match kind {
        Kind::Id => (1 + random.below(60)).to_string(),
        Kind::Integer => {
            (*random.pick(&["0", "1", "-1", "13", "9223372036854775807", "-9223372036854775808", "77"]))
                .into()
        }
        Kind::Real => {
            (*random.pick(&["0.1 + 0.2", "1.0", "-2.5e300", "9e999", "-9e999", "5e-324", "0.0", "3"])).into()
        }
        Kind::Word => {
            let letters = ["a", "b", "C", "d", "E", "f", "g", "H", "i", "J", "k", "L"];
            format!("'{}{}'", random.pick(&letters), random.pick(&["", "", "a", "B", "''"]))
        }
        Kind::Text => match random.below(6) {
            0 => "''".into(),
            1 => "'refused'".into(),
            2 => "'tab\t newline\n \\ € 😀 '".into(),
            3 => format!("hex(zeroblob({}))", random.below(1_200)),
            _ => format!("'text {}'", random.number()),
        },
        Kind::Blob => match random.below(3) {
            0 => "x''".into(),
            1 => format!("x'00{:08x}ff'", random.number()),
            _ => format!("randomblob({})", random.below(200)),
        },
    }
}
