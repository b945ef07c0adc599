//! Random hostile databases: a seed tells everything about one. What SQLite itself refuses is left out; it asserts nothing.

mod names;
pub mod random;
mod tables;
mod values;

use crate::support::{TempDb, sqlite};
use liteferry::model::cell::CellBuf;
use liteferry::model::name::{ident, literal};
use names::Names;
use random::Random;
use rusqlite::Connection;
use tables::Table;
use values::{Bound, Kind};

pub fn source(seed: u64) -> TempDb {
    let mut random = Random::new(seed);
    let encoding = *random.pick(&["UTF-8", "UTF-8", "UTF-8", "UTF-8", "UTF-16le", "UTF-16be"]);
    let source = sqlite(&format!("pragma encoding = '{encoding}'; create table t (a); drop table t"));
    let db = Connection::open(&source.path).expect("SQLite opens its file");
    // No transaction around it all: a counter at its end rolls back more than its own statement.
    db.execute_batch("pragma synchronous = off; pragma journal_mode = memory; pragma foreign_keys = off")
        .expect("SQLite knows the pragmas");
    fill(&db, &mut random);
    source
}

fn fill(db: &Connection, random: &mut Random) {
    let mut names = Names::default();
    let wanted: Vec<String> = (0..=random.below(6)).map(|_| names.invent(random, "t")).collect();
    let others = [wanted.clone(), vec!["dangling".to_owned()]].concat();
    let mut made: Vec<Table> = Vec::new();
    for name in &wanted {
        let tries = (0..8).map(|_| tables::table(random, name, &others));
        let table = tries.into_iter().find(|table| db.execute_batch(&table.create).is_ok());
        made.extend(table);
    }
    for table in &made {
        let early = random.in_hundred(50);
        if early {
            add_indexes(db, random, table, &mut names);
        }
        add_rows(db, random, table);
        if !early {
            add_indexes(db, random, table, &mut names);
        }
        alter(db, random, table);
        disturb_counter(db, random, table);
    }
    for table in &made {
        let name = names.invent(random, "v");
        attempt(db, &tables::view(random, table, &name));
        let name = names.invent(random, "trigger");
        attempt(
            db,
            &format!(
                "CREATE TRIGGER {} AFTER INSERT ON {} BEGIN SELECT 1; END",
                ident(&name),
                ident(&table.name)
            ),
        );
    }
}

/// What SQLite refuses is no database that anybody has.
fn attempt(db: &Connection, sql: &str) -> bool {
    db.execute_batch(sql).is_ok()
}

fn add_indexes(db: &Connection, random: &mut Random, table: &Table, names: &mut Names) {
    for _ in 0..random.below(4) {
        let name = names.invent(random, "ix");
        attempt(db, &tables::index(random, table, &name));
    }
}

fn add_rows(db: &Connection, random: &mut Random, table: &Table) {
    let columns: Vec<&tables::Column> = table.columns.iter().filter(|column| !column.generated).collect();
    let listed: Vec<String> = columns.iter().map(|column| ident(&column.name)).collect();
    let raw_text = random.in_hundred(10);
    let mut last: Option<Vec<CellBuf>> = None;
    for _ in 0..*random.pick(&[0, 1, 5, 20, 60]) {
        let fresh: Vec<CellBuf> = columns.iter().map(|column| cell(random, column)).collect();
        let cells = match last.take() {
            Some(same) if random.in_hundred(10) => same,
            _ => fresh,
        };
        let marks: Vec<String> = (1..=cells.len())
            .map(|at| match &cells[at - 1] {
                // In a UTF-16 database these bytes are code units, well-formed or not.
                CellBuf::Blob(_) if raw_text => format!("cast(?{at} as text)"),
                _ => format!("?{at}"),
            })
            .collect();
        let sql = format!(
            "insert into {}({}) values ({})",
            ident(&table.name),
            listed.join(", "),
            marks.join(", ")
        );
        let Ok(mut statement) = db.prepare(&sql) else { return };
        let bound = rusqlite::params_from_iter(cells.iter().map(Bound));
        if statement.execute(bound).is_ok() {
            last = Some(cells);
        }
    }
    if random.in_hundred(30) {
        attempt(db, &format!("insert into {} default values", ident(&table.name)));
    }
    if random.in_hundred(20) {
        attempt(db, &format!("delete from {} where rowid % 3 = 0", ident(&table.name)));
    }
}

fn cell(random: &mut Random, column: &tables::Column) -> CellBuf {
    if random.in_hundred(column.nulls) && random.in_hundred(60) {
        return CellBuf::Null;
    }
    let kind = if random.in_hundred(column.misfits) { Kind::Any } else { column.kind };
    kind.value(random)
}

/// Columns that came later, and names that the stored text of the table spells in another way.
fn alter(db: &Connection, random: &mut Random, table: &Table) {
    let name = ident(&table.name);
    let first = ident(&table.columns[0].name);
    let changes = [
        format!("alter table {name} add column late_number integer default 5"),
        format!("alter table {name} add column late_text text not null default 'x' collate nocase"),
        format!("alter table {name} add column late_made as ({first} || '!')"),
        format!("alter table {name} rename column {first} to renamed_column"),
    ];
    for change in &changes {
        if random.in_hundred(10) {
            attempt(db, change);
        }
    }
}

/// A counter ahead of the rows, behind them, or no number at all.
fn disturb_counter(db: &Connection, random: &mut Random, table: &Table) {
    if !table.autoincrement || random.in_hundred(50) {
        return;
    }
    let value = *random.pick(&["100000", "-5", "'text'", "1.5", "null", "9223372036854775807"]);
    attempt(db, &format!("update sqlite_sequence set seq = {value} where name = {}", literal(&table.name)));
}
