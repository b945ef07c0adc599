//! Whether both databases hold the same, told by means of its own: every row of every table is read on both sides as values and
//! compared as such. Nothing of what liteferry compares by is used here.

use crate::schema::{Kind, TABLES, Table};
use crate::server::{Row, Server};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::fmt::Write;
use std::path::Path;

/// Compares all tables; gives the number of rows, or what differs.
pub fn compare(source: &Path, server: &Server, database: &str) -> Result<usize, String> {
    let db = Connection::open(source).expect("SQLite opens the source");
    let (mut rows, mut complaint) = (0, String::new());
    for table in &TABLES {
        let mut here = of_sqlite(&db, table);
        let mut there = of_postgres(server, database, table)?;
        here.sort();
        there.sort();
        rows += here.len();
        if here != there {
            writeln!(complaint, "table {}: {} rows here, {} there", table.name, here.len(), there.len())
                .expect("text");
            tell(&mut complaint, "only in SQLite", &here, &there);
            tell(&mut complaint, "only in PostgreSQL", &there, &here);
        }
    }
    if complaint.is_empty() { Ok(rows) } else { Err(complaint) }
}

fn tell(complaint: &mut String, what: &str, these: &[Row], those: &[Row]) {
    let shorten = |row: &Row| -> Row {
        row.iter().map(|cell| cell.as_ref().map(|cell| cell.chars().take(40).collect())).collect()
    };
    for row in these.iter().filter(|row| those.binary_search(row).is_err()).take(5) {
        writeln!(complaint, "  {what}: {:?}", shorten(row)).expect("text grows");
    }
}

fn of_sqlite(db: &Connection, table: &Table) -> Vec<Row> {
    let sql = format!("select {} from {}", columns(table), table.name);
    let mut statement = db.prepare(&sql).expect("SQLite has the table");
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Row> {
        table.columns.iter().enumerate().map(|(at, (_, kind))| Ok(cell(row.get_ref(at)?, *kind))).collect()
    };
    let rows = statement.query_map([], read).expect("SQLite reads");
    rows.collect::<Result<_, _>>().expect("SQLite reads to the end")
}

/// The class of a value must be its column's; the workload writes no other.
fn cell(value: ValueRef<'_>, kind: Kind) -> Option<String> {
    match (value, kind) {
        (ValueRef::Null, _) => None,
        (ValueRef::Integer(value), Kind::Id | Kind::Integer) => Some(value.to_string()),
        (ValueRef::Real(value), Kind::Real) => Some(bits(value)),
        (ValueRef::Text(value), Kind::Word | Kind::Text) => {
            Some(std::str::from_utf8(value).expect("texts are UTF-8").to_owned())
        }
        (ValueRef::Blob(value), Kind::Blob) => {
            Some(value.iter().fold(String::from("\\x"), |text, byte| text + &format!("{byte:02x}")))
        }
        (value, kind) => panic!("the workload wrote {value:?} where {kind:?} belongs"),
    }
}

fn of_postgres(server: &Server, database: &str, table: &Table) -> Result<Vec<Row>, String> {
    let sql = format!("set extra_float_digits = 3; select {} from public.{}", columns(table), table.name);
    let rows = server.query(database, &sql).map_err(|error| format!("{}: {error:?}", table.name))?;
    let normal = |cell: Option<String>, kind: Kind| match kind {
        Kind::Real => cell.map(|text| bits(text.parse().expect("PostgreSQL prints a number"))),
        Kind::Id | Kind::Integer | Kind::Word | Kind::Text | Kind::Blob => cell,
    };
    let row =
        |row: Row| row.into_iter().zip(table.columns).map(|(cell, (_, kind))| normal(cell, *kind)).collect();
    Ok(rows.into_iter().map(row).collect())
}

fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn columns(table: &Table) -> String {
    table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_difference_of_any_kind_is_seen() {
    assert_ne!(cell(ValueRef::Real(0.1 + 0.2), Kind::Real), Some(bits(0.3)));
    assert_ne!(cell(ValueRef::Text(b""), Kind::Text), cell(ValueRef::Null, Kind::Text));
    assert_eq!(cell(ValueRef::Blob(&[0, 255]), Kind::Blob).as_deref(), Some("\\x00ff"));
    let rows = |words: &[&str]| words.iter().map(|word| vec![Some((*word).to_owned())]).collect::<Vec<_>>();
    let mut complaint = String::new();
    tell(&mut complaint, "missing", &rows(&["a", "b"]), &rows(&["a"]));
    assert_eq!(complaint, "  missing: [Some(\"b\")]\n");
}
