//! Columns that SQLite computes whenever they are read, by a function that only the application has: nobody else can read them. They
//! hold nothing of their own, so they are taken out of what is known of their table; what else depends on them is named as unread.

use super::pragma::Catalog;
use crate::model::fault::Fault;
use crate::model::schema::{IndexTerm, LeftOut, LeftOutKind, SqliteSchema, SqliteTable, Storage};

pub(super) fn leave_out(
    catalog: Catalog<'_>,
    table: &mut SqliteTable,
    schema: &mut SqliteSchema,
) -> Result<(), Fault> {
    let mut gone = Vec::new();
    for (at, column) in table.columns.iter().enumerate() {
        if column.generated.as_ref().is_none_or(|generated| generated.stored) {
            continue;
        }
        if let Some(why) = catalog.unread_because(&table.name, &column.name)? {
            let name = format!("{}.{}", table.name, column.name);
            schema.left_out.push(LeftOut { name, kind: LeftOutKind::Uncomputable { why } });
            gone.push(at);
        }
    }
    if !gone.is_empty() {
        schema.unread.extend(without(table, &gone));
    }
    Ok(())
}

/// Takes columns out, and gives the names of the indexes that went with them.
fn without(table: &mut SqliteTable, gone: &[usize]) -> Vec<String> {
    let place = |at: usize| {
        let before = gone.iter().filter(|other| **other < at).count();
        (!gone.contains(&at)).then(|| at - before)
    };
    let kept = |at: usize| place(at).expect("no computed column is part of a primary key");
    let mut unread = Vec::new();
    table.indexes.retain_mut(|index| {
        let stays = index.parts.iter_mut().all(|part| match &mut part.term {
            IndexTerm::Column(column) => place(*column).map(|at| *column = at).is_some(),
            IndexTerm::Rowid | IndexTerm::Expression(_) => true,
        });
        if !stays {
            unread.push(index.name.clone());
        }
        stays
    });
    table.foreign_keys.retain_mut(|key| {
        key.columns.iter_mut().all(|column| place(*column).map(|at| *column = at).is_some())
    });
    table.primary_key.iter_mut().for_each(|column| *column = kept(*column));
    match &mut table.storage {
        Storage::Rowid { alias, .. } => *alias = alias.map(kept),
        Storage::WithoutRowid { order } => order.iter_mut().for_each(|key| key.column = kept(key.column)),
    }
    let mut at = 0..;
    table.columns.retain(|_| at.next().is_some_and(|at| !gone.contains(&at)));
    unread
}
