//! Few changes: one statement a key and a row, all of them sent without a wait for an answer. What cannot be sent ahead, or was refused so, is
//! written here: the answers are looked at before anything is committed.

use super::pipeline::{Answering, Pipeline, Raw, What};
use super::writer::{BEGIN, Ownership, Step, Table, Writer};
use crate::link::{Applied, Changed};
use crate::model::chunk::tuple_cells;
use crate::model::fault::Fault;
use crate::postgres::connect::Session;
use crate::postgres::{fault, ledger};
use futures_util::future::FutureExt;
use std::sync::Arc;
use tokio_postgres::Statement;

/// Beyond either bound, changes are staged.
pub const KEYS_MAX: usize = 1024;
pub const BYTES_MAX: usize = 1 << 20;

/// Whether few changes are kept back for the small path.
pub fn is_small(portion: &[Changed]) -> bool {
    if portion.iter().any(|changed| changed.emptied.is_some()) {
        return false;
    }
    keys_of(portion) <= KEYS_MAX && bytes_of(portion) <= BYTES_MAX
}

pub fn keys_of(portion: &[Changed]) -> usize {
    portion.iter().map(|changed| changed.names.len()).sum()
}

pub fn bytes_of(portion: &[Changed]) -> usize {
    portion.iter().map(|changed| changed.keys.arena.len() + changed.rows.bytes()).sum()
}

/// Whether all tables find their rows by key: else each key would cost a look at the whole table, and staged changes cost one.
pub async fn is_cheap(writer: &mut Writer, portion: &[Changed]) -> Result<bool, Fault> {
    for changed in portion {
        if !writer.finds_by_key(&changed.route).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub const WRITE: &str = "write a batch";
pub const COMMIT: &str = "commit a batch";

/// Begins a transaction, whose bounds and costs are the session's, and writes the portion and the position in it. The writer has got to
/// know all its tables.
pub async fn write(writer: &mut Writer, step: Step, portion: &[Changed]) -> Result<Applied, Fault> {
    let migration = writer.ownership.migration;
    let mut entries = Vec::with_capacity(portion.len());
    for changed in portion {
        entries.push(ledger::entries(migration, &changed.route, &changed.rows, &[])?);
    }
    write_all(writer, step, portion, &entries).await?;
    for (changed, entries) in portion.iter().zip(&entries) {
        writer.table_mut(&changed.route).ledger |= !entries.ends.is_empty();
    }
    Ok(applied(portion))
}

pub fn applied(portion: &[Changed]) -> Applied {
    portion.iter().fold(Applied::default(), |sum, changed| {
        let (keys, rows) = (count(changed.keys.ends.len()), count(changed.rows.rows()));
        Applied {
            written: sum.written + rows,
            deleted: sum.deleted + keys.saturating_sub(rows),
            held: sum.held + changed.rows.held,
        }
    })
}

async fn write_all(
    writer: &Writer,
    step: Step,
    portion: &[Changed],
    entries: &[ledger::Entries],
) -> Result<(), Fault> {
    let mut pipeline = Pipeline::default();
    pipeline.send(What::Begin, writer.turn(BEGIN)).await;
    pipeline.send(What::Advance, writer.advance(step)).await;
    let rows = |changed: &Changed| {
        let Table { delete, insert, ledger, .. } = writer.table(&changed.route);
        Rows { delete, insert, may_be_held: *ledger }
    };
    replace(&mut pipeline, &writer.hand(), portion, rows).await;
    for entry in entries.iter().flat_map(|entries| tuples(&entries.arena, &entries.ends)) {
        pipeline.send(What::WriteEntry, writer.hand().execute(&writer.insert_entry, entry)).await;
    }
    pipeline.answers(fault::of).await
}

/// A session that writes.
pub struct Hand<'h> {
    pub session: &'h Arc<Session>,
    pub ownership: &'h Ownership,
    /// Takes entries out of the ledger.
    pub forget: &'h Statement,
}

/// What writes the rows of one table.
pub struct Rows<'s> {
    pub delete: &'s Statement,
    pub insert: &'s Statement,
    /// In the ledger.
    pub may_be_held: bool,
}

/// All deletes come before all inserts: a unique value may move from one row to another.
pub async fn replace<'s>(
    pipeline: &mut Pipeline,
    hand: &Hand<'_>,
    portion: &[Changed],
    rows: impl Fn(&Changed) -> Rows<'s>,
) {
    for changed in portion.iter().filter(|changed| rows(changed).may_be_held) {
        pipeline.send(What::ForgetEntries, hand.forget_entries(changed)).await;
    }
    for changed in portion {
        let Rows { delete, .. } = rows(changed);
        for key in tuples(&changed.keys.arena, &changed.keys.ends) {
            pipeline.send(What::Delete(Arc::clone(&changed.route)), hand.execute(delete, key)).await;
        }
    }
    for changed in portion {
        let Rows { insert, .. } = rows(changed);
        for row in tuples(&changed.rows.arena, &changed.rows.row_ends) {
            pipeline.send(What::InsertRow(Arc::clone(&changed.route)), hand.execute(insert, row)).await;
        }
    }
}

impl Hand<'_> {
    /// Takes out what the ledger holds of the changed keys.
    pub fn forget_entries(&self, changed: &Changed) -> Answering {
        let (session, statement) = (Arc::clone(self.session), self.forget.clone());
        let (migration, table) = (self.ownership.migration, changed.route.source.clone());
        let names = changed.names.clone();
        async move { session.execute(&statement, &[&migration, &table, &names]).await }.boxed()
    }

    fn execute(&self, statement: &Statement, tuple: &[u8]) -> Answering {
        let (session, statement, tuple) = (Arc::clone(self.session), statement.clone(), tuple.to_vec());
        let answering = async move {
            let cells: Vec<Raw<'_>> = tuple_cells(&tuple).map(Raw).collect();
            session.execute_raw(&statement, cells).await
        };
        answering.boxed()
    }
}

pub fn tuples<'a>(arena: &'a [u8], ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| &arena[start..*end])
}

fn count(count: usize) -> u64 {
    u64::try_from(count).expect("a count fits")
}
