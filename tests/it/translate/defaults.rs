//! Defaults: a row that names none of its columns, inserted on both sides after the copy, holds the same on both.

use super::ground::{Ground, copied};
use crate::support::psql;
use liteferry::canon::{Codec, Fit, Zone};
use liteferry::model::cell::Cell;
use liteferry::model::types::Type;
use liteferry::plan::expr::{Scope, ScopeColumn};
use rusqlite::types::Value;

/// Declared type and a value that is there when the column's type is chosen.
const COLUMNS: [(&str, &str); 22] = [
    ("integer", "1"),
    ("bigint", "null"),
    ("real", "1.5"),
    ("numeric", "2.5"),
    ("decimal(10,2)", "1"),
    ("text", "'x'"),
    ("varchar(5)", "null"),
    ("blob", "x'00'"),
    ("", "'x'"),
    ("", "1"),
    ("boolean", "1"),
    ("boolean", "'t'"),
    ("datetime", "'2024-02-29 13:14:15'"),
    ("datetime", "'2024-02-29T13:14:15.678Z'"),
    ("timestamp", "'2024-02-29 13:14:15+00:00'"),
    ("datetime", "1700000000"),
    ("date", "'2024-02-29'"),
    ("time", "'13:14:15'"),
    ("uuid", "'12345678-1234-5678-1234-567812345678'"),
    ("char(32)", "'12345678123456781234567812345678'"),
    ("json", "'{}'"),
    ("integer", "'mixed'"),
];

const CONSTANTS: [&str; 62] = [
    "0",
    "1",
    "-1",
    "+5",
    "2.5",
    "-0.0",
    "0.0",
    "1.0",
    "1e3",
    "1e20",
    "-1e-7",
    "1e400",
    "-1e400",
    "0.1",
    "99.99",
    "123456789.123",
    "0x10",
    "0xffffffffffffffff",
    "1_000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "''",
    "'abc'",
    "'it''s'",
    "'0'",
    "'1'",
    "'10'",
    "' 10 '",
    "'1.50'",
    "'1e2'",
    "'0x10'",
    "'t'",
    "'f'",
    "'true'",
    "'false'",
    "'now'",
    "'null'",
    "null",
    "true",
    "false",
    "\"dq\"",
    "abc",
    "x'00ff'",
    "x''",
    "(1 + 2 * 3)",
    "(7 / 2)",
    "(-7 % 3)",
    "(1 / 0)",
    "('a' || 'b')",
    "(-(5))",
    "(1.5)",
    "'2024-02-29'",
    "'2024-02-29 13:14:15'",
    "'2024-02-29T13:14:15.678Z'",
    "'0000-00-00'",
    "'13:14:15'",
    "'00000000-0000-0000-0000-000000000000'",
    "'{}'",
    "'[]'",
    "'a\\b'",
];

/// Their values are of the moment or of chance: the two sides agree in what class and shape they are.
const GENERATORS: [&str; 41] = [
    "current_timestamp",
    "current_date",
    "current_time",
    "(datetime('now'))",
    "(datetime())",
    "(date('now'))",
    "(time('now'))",
    "(strftime('%Y-%m-%d %H:%M:%S', 'now'))",
    "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    "(strftime('%Y-%m-%d %H:%M:%f'))",
    "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))",
    "(strftime('%Y-%m-%d %H:00:00', 'now'))",
    "(strftime('%Y-%m-%d 12:00:00', 'now'))",
    "(strftime('%Y-%m-15 00:00', 'now'))",
    "(strftime('%d/%m/%Y', 'now'))",
    "(strftime('%H:%M', 'now'))",
    "(strftime('%Y', 'now'))",
    "(strftime('%s', 'now'))",
    "(cast(strftime('%s', 'now') as integer))",
    "(strftime('%s', 'now') * 1000)",
    "(unixepoch())",
    "(unixepoch('now'))",
    "(unixepoch() * 1000)",
    "(cast(unixepoch('subsec') * 1000 as integer))",
    "(julianday('now'))",
    "(cast((julianday('now') - 2440587.5) * 86400000 as integer))",
    "(cast((julianday('now') - 2440587.5) * 86400.0 as integer))",
    "(datetime('now', 'subsec'))",
    "(datetime('now', 'localtime'))",
    "(strftime('%J', 'now'))",
    "(strftime('%w', 'now'))",
    "(random())",
    "(abs(random()))",
    "(abs(random()) % 10)",
    "(1 + abs(random()) % 10)",
    "(random() % 10)",
    "(randomblob(16))",
    "(lower(hex(randomblob(16))))",
    "(hex(randomblob(16)))",
    "(lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || substr(lower(hex(randomblob(2))),2) || '-' || substr('89ab',abs(random()) % 4 + 1, 1) || substr(lower(hex(randomblob(2))),2) || '-' || lower(hex(randomblob(6))))",
    "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(6))))",
];

/// One column of a table, and its default.
struct Case<'g> {
    table: String,
    column: &'g ScopeColumn,
    what: String,
}

#[test]
fn constant_defaults_store_what_the_copy_of_sqlites_row_would_hold() {
    let ground = with_defaults(&CONSTANTS);
    let scopes = scopes(&ground);
    let cases = insert_defaults(&ground, &scopes, &CONSTANTS);
    assert!(cases.len() > 500, "only {} are translated", cases.len());
    let mut differ = Vec::new();
    for case in &cases {
        let column = &case.column.sql;
        let sent = format!(
            "select case when {column} is not null then encode(substr(record_send(row({column})), 13), 'hex') end
             from {} where id = 2",
            case.table
        );
        let ours = psql(&ground.target.url, &sent)[0][0].clone();
        let theirs = copy_of(case.column, &default_row(&ground, case));
        if ours != theirs {
            differ.push(format!("{}: {theirs:?}, but {ours:?}", case.what));
        }
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), cases.len(), differ.join("\n"));
}

#[test]
fn defaults_of_time_and_chance_have_the_shape_of_sqlites() {
    let ground = with_defaults(&GENERATORS);
    let scopes = scopes(&ground);
    let cases = insert_defaults(&ground, &scopes, &GENERATORS);
    assert!(cases.len() > 100, "only {} are translated", cases.len());
    let mut differ = Vec::new();
    for case in &cases {
        let query = format!("select {} from {} where id = 2", case.column.sql, case.table);
        let mut ours = psql(&ground.target.url, &query)[0][0].clone().unwrap_or_default();
        let mut theirs = default_row(&ground, case);
        if let (Type::Uuid, Value::Text(theirs)) = (&case.column.ty, &mut theirs) {
            *theirs = theirs.replace('-', "").to_lowercase();
            ours = ours.replace('-', "");
        }
        if !alike(&theirs, &ours) {
            differ.push(format!("{}: {theirs:?}, but {ours:?}", case.what));
        }
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), cases.len(), differ.join("\n"));
}

/// A table for each type, a column for each default, and a row of plain values by which the types are chosen.
fn with_defaults(defaults: &[&str]) -> Ground {
    let mut sql = String::new();
    for (place, (declared, value)) in COLUMNS.iter().enumerate() {
        let column = |(number, default): (usize, &&str)| format!("c{number} {declared} default {default}");
        let columns: Vec<String> = defaults.iter().enumerate().map(column).collect();
        sql.push_str(&format!(
            "create table d{place} (id integer primary key, {}); insert into d{place} values (1{});",
            columns.join(", "),
            format!(", {value}").repeat(defaults.len())
        ));
    }
    copied(&sql)
}

fn scopes(ground: &Ground) -> Vec<Scope> {
    (0..COLUMNS.len()).map(|place| ground.scope(&format!("d{place}"))).collect()
}

/// Inserts the rows of defaults; gives the columns whose default was translated.
fn insert_defaults<'g>(ground: &Ground, scopes: &'g [Scope], defaults: &[&str]) -> Vec<Case<'g>> {
    let query = "select table_name || ' ' || column_name from information_schema.columns
                 where table_schema = 'public' and column_default is not null";
    let known: Vec<Option<String>> =
        psql(&ground.target.url, query).into_iter().map(|row| row[0].clone()).collect();
    let mut cases = Vec::new();
    for (place, scope) in scopes.iter().enumerate() {
        let table = format!("d{place}");
        let insert = format!("insert into {table} (id) values (2)");
        ground.source.execute_batch(&insert).expect("SQLite inserts its defaults");
        psql(&ground.target.url, &insert);
        for (column, default) in scope.columns[1..].iter().zip(defaults) {
            let (declared, value) = COLUMNS[place];
            let what = format!("{declared} default {default} beside {value}");
            if known.contains(&Some(format!("{table} {}", column.name))) {
                cases.push(Case { table: table.clone(), column, what });
            }
        }
    }
    cases
}

fn default_row(ground: &Ground, case: &Case<'_>) -> Value {
    let query = format!("select {} from {} where id = 2", case.column.sql, case.table);
    ground.source.query_row(&query, [], |row| row.get(0)).expect("the default row is there")
}

/// What the target holds for a cell that is copied, in hexadecimal.
fn copy_of(column: &ScopeColumn, value: &Value) -> Option<String> {
    let cell = match value {
        Value::Null => Cell::Null,
        Value::Integer(value) => Cell::Integer(*value),
        Value::Real(value) => Cell::Real(*value),
        Value::Text(text) => Cell::Text(text.as_bytes()),
        Value::Blob(bytes) => Cell::Blob(bytes),
    };
    let mut bytes = Vec::new();
    match Codec::new(column.ty.clone(), column.form, Zone::Utc).encode(cell, &mut bytes) {
        Fit::Exact | Fit::Kept(_) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        Fit::Null | Fit::Lost(_) => None,
    }
}

/// Numbers of one size; texts with digits, letters and marks in the same places.
fn alike(theirs: &Value, ours: &str) -> bool {
    #[allow(clippy::cast_precision_loss)] // Their size is compared, not their last digits.
    let number = |theirs: i64| theirs as f64;
    match theirs {
        Value::Integer(theirs) => ours.parse().is_ok_and(|ours| near(number(*theirs), ours)),
        Value::Real(theirs) => ours.parse().is_ok_and(|ours| near(*theirs, ours)),
        Value::Text(theirs) => match (theirs.parse(), ours.parse()) {
            (Ok(theirs), Ok(ours)) => near(theirs, ours),
            _ => {
                let is_moment = theirs.starts_with("20") && theirs.contains('-');
                shape(theirs) == shape(ours)
                    || ours.starts_with(theirs.as_str())
                    || (is_moment && ours.starts_with(&theirs[..10]))
            }
        },
        Value::Blob(theirs) => ours.len() == 2 + 2 * theirs.len(),
        Value::Null => false,
    }
}

/// Drawn from a few, drawn from all, or of the same moment.
fn near(theirs: f64, ours: f64) -> bool {
    let few = |number: f64| (0.0..=10.0).contains(&number);
    let drawn = |number: f64| number.abs() > 1e15;
    (few(theirs) && few(ours))
        || (drawn(theirs) && drawn(ours))
        || (theirs - ours).abs() <= theirs.abs() * 2e-8
}

/// Digits of a uuid are all alike, but for their case.
fn shape(text: &str) -> String {
    let is_hexadecimal =
        text.len() >= 32 && text.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-');
    let place = |letter: char| match letter {
        '0'..='9' => '0',
        'a'..='f' | 'A'..='F' if is_hexadecimal => '0',
        other => other,
    };
    let has_lower = is_hexadecimal && text.chars().any(|letter| letter.is_ascii_lowercase());
    format!("{}{has_lower}", text.chars().map(place).collect::<String>())
}
