//! The application: transactions of a few changes, in which unique values swap, move and come back under other keys.

use crate::dice::Dice;
use crate::rows::{Row, TABLES, Tables};
use liteferry::model::cell::CellBuf;

const IDS: i64 = 20;
const TAGS: i64 = 30;
const CHANGES_MAX: u64 = 4;

/// Which rows there may be that the target cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Fitting,
    AnyKind,
}

pub fn first_rows(dice: &mut Dice, values: Values) -> Tables {
    let mut tables = Tables::default();
    for _ in 0..dice.below(24) {
        insert(&mut tables, dice, values);
    }
    tables
}

/// One transaction: the changed rows, by table and key, in the order in which triggers would note them.
pub fn write(tables: &mut Tables, dice: &mut Dice, values: Values) -> Vec<(usize, i64)> {
    let mut touched = Vec::new();
    for _ in 0..=dice.below(CHANGES_MAX) {
        touched.extend(match dice.below(8) {
            0 | 1 => insert(tables, dice, values),
            2 => delete(tables, dice),
            3 | 4 => rewrite(tables, dice, values),
            5 | 6 => swap_tags(tables, dice),
            _ => change_key(tables, dice),
        });
    }
    touched
}

fn insert(tables: &mut Tables, dice: &mut Dice, values: Values) -> Vec<(usize, i64)> {
    let (table, id) = (dice.index(TABLES), dice.between(1, IDS));
    if tables[table].contains_key(&id) {
        return Vec::new();
    }
    let row = Row { tag: free_tag(tables, dice, values), note: note(dice, values) };
    tables[table].insert(id, row);
    vec![(table, id)]
}

fn delete(tables: &mut Tables, dice: &mut Dice) -> Vec<(usize, i64)> {
    let Some((table, id)) = some_row(tables, dice) else { return Vec::new() };
    tables[table].remove(&id);
    vec![(table, id)]
}

fn rewrite(tables: &mut Tables, dice: &mut Dice, values: Values) -> Vec<(usize, i64)> {
    let Some((table, id)) = some_row(tables, dice) else { return Vec::new() };
    let tag = dice.chance(50).then(|| free_tag(tables, dice, values));
    let note = note(dice, values);
    let row = tables[table].get_mut(&id).expect("the row was just found");
    row.note = note;
    if let Some(tag) = tag {
        row.tag = tag;
    }
    vec![(table, id)]
}

fn swap_tags(tables: &mut Tables, dice: &mut Dice) -> Vec<(usize, i64)> {
    let ids: Vec<i64> = tables[0].keys().copied().collect();
    if ids.len() < 2 {
        return Vec::new();
    }
    let (one, other) = (ids[dice.index(ids.len())], ids[dice.index(ids.len())]);
    let (a, b) = (tables[0][&one].tag.clone(), tables[0][&other].tag.clone());
    tables[0].get_mut(&one).expect("the row is there").tag = b;
    tables[0].get_mut(&other).expect("the row is there").tag = a;
    vec![(0, one), (0, other)]
}

/// The same row under another key: both keys are noted.
fn change_key(tables: &mut Tables, dice: &mut Dice) -> Vec<(usize, i64)> {
    let Some((table, id)) = some_row(tables, dice) else { return Vec::new() };
    let moved = dice.between(1, IDS);
    if tables[table].contains_key(&moved) {
        return Vec::new();
    }
    let row = tables[table].remove(&id).expect("the row was just found");
    tables[table].insert(moved, row);
    vec![(table, id), (table, moved)]
}

fn some_row(tables: &Tables, dice: &mut Dice) -> Option<(usize, i64)> {
    let table = dice.index(TABLES);
    let count = tables[table].len();
    let id = tables[table].keys().nth(dice.index(count.max(1)))?;
    Some((table, *id))
}

/// A tag that no row of the first table has, so that it may stand in either.
fn free_tag(tables: &Tables, dice: &mut Dice, values: Values) -> CellBuf {
    let number = dice.between(1, TAGS);
    let tag = match values {
        Values::AnyKind if dice.chance(10) => CellBuf::Text(format!("x{number}").into_bytes()),
        Values::AnyKind | Values::Fitting => CellBuf::Integer(number),
    };
    if tables[0].values().any(|row| row.tag == tag) { CellBuf::Null } else { tag }
}

fn note(dice: &mut Dice, values: Values) -> CellBuf {
    let number = dice.below(1_000_000);
    match values {
        Values::AnyKind if dice.chance(6) => CellBuf::Text(format!("{number}\0").into_bytes()),
        Values::AnyKind | Values::Fitting => CellBuf::Text(number.to_string().into_bytes()),
    }
}
