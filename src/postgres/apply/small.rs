//! Few changes: one statement a key and a row, all of them sent without a wait for an answer.
//!
//! Most batches are one round trip: their statements fail by themselves wherever an answer would not be as it must be, so that the COMMIT
//! may follow before any answer has come (`commit`). What is refused so, or cannot be sent so, is written once more by statements whose
//! answers are looked at before anything is committed (`write`).

use super::pipeline::{Pipeline, Raw, What};
use super::writer::{BEGIN, Step, Table, Writer};
use crate::link::{Applied, Changed};
use crate::model::chunk::tuple_cells;
use crate::model::fault::{Fault, FaultClass};
use crate::postgres::patience::{self, answered};
use crate::postgres::{fault, ledger};
use futures_util::future::join;
use std::future::Future;
use tokio_postgres::Statement;

/// Beyond either bound, changes are staged.
const KEYS_MAX: usize = 1024;
pub const BYTES_MAX: usize = 1 << 20;

/// Whether few changes are kept back for the small path.
pub fn is_small(portion: &[Changed]) -> bool {
    if portion.iter().any(|changed| changed.emptied.is_some()) {
        return false;
    }
    let keys: usize = portion.iter().map(|changed| changed.names.len()).sum();
    let bytes: usize = portion.iter().map(|changed| changed.keys.arena.len() + changed.rows.bytes()).sum();
    keys <= KEYS_MAX && bytes <= BYTES_MAX
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

/// Whether the statements of the whole portion can tell by themselves that they have failed.
pub fn is_sure(writer: &Writer, portion: &[Changed]) -> bool {
    portion.iter().all(|changed| {
        changed.rows.misfits.is_empty() && writer.table(&changed.route).surely_insert.is_some()
    })
}

/// Writes the portion and commits as soon as the source has made it durable. Nothing where the target has refused it: the session is in
/// no transaction then, and the portion is durable. After a fault the session is not to be used again.
pub async fn commit(
    writer: &Writer,
    step: &Step,
    portion: &[Changed],
    durable: impl Future<Output = Result<(), Fault>> + Send,
) -> Result<Option<Applied>, Fault> {
    let mut pipeline = Pipeline::default();
    pipeline.add(What::Begin, begin(writer));
    pipeline.add(What::Advance, writer.surely_advance(step));
    replace(&mut pipeline, writer, portion, |table| table.surely_insert.as_ref().expect("it is sure"));
    // Behind an answer that was lost, the commit may have been heard.
    let writing = answered(patience::for_bytes(BYTES_MAX), WRITE, pipeline.run(fault::of_commit));
    let committing = async {
        durable.await?;
        answered(patience::SMALL, COMMIT, async {
            let committed = writer.session.batch_execute("commit").await;
            committed.map_err(|error| fault::of_commit(error, COMMIT))
        })
        .await
    };
    match join(writing, committing).await {
        (Ok(()), Ok(())) => Ok(Some(applied(portion))),
        (Err(fault), Ok(())) if fault.class != FaultClass::Unknown => {
            tracing::debug!(%fault, "a batch is written once more, statement by statement");
            Ok(None)
        }
        (_, Err(fault)) | (Err(fault), Ok(())) => Err(fault),
    }
}

pub const WRITE: &str = "write a batch";
pub const COMMIT: &str = "commit a batch";

/// Begins a transaction, whose bounds and costs are the session's, and writes the portion and the position in it. The writer has got to
/// know all its tables.
pub async fn write(writer: &mut Writer, step: &Step, portion: &[Changed]) -> Result<Applied, Fault> {
    let migration = writer.ownership.migration;
    let mut entries = Vec::with_capacity(portion.len());
    for changed in portion {
        entries.push(ledger::entries(migration, &changed.route, &changed.rows, &[])?);
    }
    send(writer, step, portion, &entries).await?;
    for (changed, entries) in portion.iter().zip(&entries) {
        writer.table_mut(&changed.route).ledger |= !entries.ends.is_empty();
    }
    Ok(applied(portion))
}

fn applied(portion: &[Changed]) -> Applied {
    portion.iter().fold(Applied::default(), |sum, changed| {
        let (keys, rows) = (count(changed.keys.ends.len()), count(changed.rows.rows()));
        Applied {
            written: sum.written + rows,
            deleted: sum.deleted + keys.saturating_sub(rows),
            held: sum.held + changed.rows.held,
        }
    })
}

async fn send(
    writer: &Writer,
    step: &Step,
    portion: &[Changed],
    entries: &[ledger::Entries],
) -> Result<(), Fault> {
    let mut pipeline = Pipeline::default();
    pipeline.add(What::Begin, begin(writer));
    pipeline.add(What::Advance, writer.advance(step));
    replace(&mut pipeline, writer, portion, |table| &table.insert);
    for entry in entries.iter().flat_map(|entries| tuples(&entries.arena, &entries.ends)) {
        pipeline.add(What::WriteEntry, execute(writer, &writer.insert_entry, entry));
    }
    pipeline.run(fault::of).await
}

/// All deletes come before all inserts: a unique value may move from one row to another.
fn replace<'a>(
    pipeline: &mut Pipeline<'a>,
    writer: &'a Writer,
    portion: &'a [Changed],
    insert: impl Fn(&'a Table) -> &'a Statement,
) {
    for changed in portion.iter().filter(|changed| writer.table(&changed.route).ledger) {
        pipeline.add(What::ForgetEntries, forget_entries(writer, changed));
    }
    for changed in portion {
        let delete = &writer.table(&changed.route).delete;
        for key in tuples(&changed.keys.arena, &changed.keys.ends) {
            pipeline.add(What::Delete(&changed.route), execute(writer, delete, key));
        }
    }
    for changed in portion {
        let insert = insert(writer.table(&changed.route));
        for row in tuples(&changed.rows.arena, &changed.rows.row_ends) {
            pipeline.add(What::InsertRow(&changed.route), execute(writer, insert, row));
        }
    }
}

async fn begin(writer: &Writer) -> Result<u64, tokio_postgres::Error> {
    writer.session.batch_execute(BEGIN).await.map(|()| 0)
}

/// Takes out what the ledger holds of the changed keys.
pub async fn forget_entries(writer: &Writer, changed: &Changed) -> Result<u64, tokio_postgres::Error> {
    let migration = &writer.ownership.migration;
    let (table, names) = (&changed.route.source, &changed.names);
    writer.session.execute(&writer.delete_entries, &[migration, table, names]).await
}

async fn execute(writer: &Writer, statement: &Statement, tuple: &[u8]) -> Result<u64, tokio_postgres::Error> {
    let cells: Vec<Raw<'_>> = tuple_cells(tuple).map(Raw).collect();
    writer.session.execute_raw(statement, cells).await
}

pub fn tuples<'a>(arena: &'a [u8], ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| &arena[start..*end])
}

fn count(count: usize) -> u64 {
    u64::try_from(count).expect("a count fits")
}
