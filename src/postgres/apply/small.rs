//! Few changes: one statement a key and a row, all of them sent without a wait for an answer.
//!
//! Most batches are one round trip: their statements fail by themselves wherever an answer would not be as it must be, so that the COMMIT
//! may follow before any answer has come (`send`), and the next batch behind it. What is refused so, or cannot be sent so, is written by
//! statements whose answers are looked at before anything is committed (`write`).

use super::pipeline::{Answering, Pipeline, Raw, What};
use super::writer::{BEGIN, Step, Table, Writer};
use crate::link::{Applied, BATCH_REFUSED, Changed, Outcome};
use crate::model::chunk::tuple_cells;
use crate::model::fault::{Fault, FaultClass};
use crate::postgres::patience::{self, answered};
use crate::postgres::{fault, ledger};
use futures_util::future::{FutureExt, join};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Statement;

/// Beyond either bound, changes are staged.
const KEYS_MAX: usize = 1024;
pub const BYTES_MAX: usize = 1 << 20;

/// Whether few changes are kept back for the small path.
pub fn is_small(portion: &[Changed]) -> bool {
    if portion.iter().any(|changed| changed.emptied.is_some()) {
        return false;
    }
    keys_of(portion) <= KEYS_MAX && bytes_of(portion) <= BYTES_MAX
}

fn keys_of(portion: &[Changed]) -> usize {
    portion.iter().map(|changed| changed.names.len()).sum()
}

fn bytes_of(portion: &[Changed]) -> usize {
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

/// Whether the statements of the whole portion can tell by themselves that they have failed.
pub fn is_sure(writer: &Writer, portion: &[Changed]) -> bool {
    portion.iter().all(|changed| {
        changed.rows.misfits.is_empty() && writer.table(&changed.route).surely_insert.is_some()
    })
}

/// What may be under way by one session before its answers have come: as much as one batch that is not staged.
pub struct Room {
    keys: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// Given back when it is dropped.
type Taken = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Room {
    pub fn new() -> Room {
        Room { keys: Arc::new(Semaphore::new(KEYS_MAX)), bytes: Arc::new(Semaphore::new(BYTES_MAX)) }
    }

    /// Waits until enough of what was sent before has been answered.
    async fn take(&self, portion: &[Changed]) -> Result<Taken, Fault> {
        let (keys, bytes) = (keys_of(portion), bytes_of(portion));
        let few = |count: usize| u32::try_from(count).expect("a portion is small");
        let taken = join(
            Arc::clone(&self.keys).acquire_many_owned(few(keys)),
            Arc::clone(&self.bytes).acquire_many_owned(few(bytes)),
        );
        let (keys, bytes) = answered(patience::for_bytes(BYTES_MAX), WRITE, taken.map(Ok)).await?;
        Ok((keys.expect("it is never closed"), bytes.expect("it is never closed")))
    }
}

/// Sends the portion, and its COMMIT as soon as the source has made it durable. Where the outcome is `BATCH_REFUSED` the session is in no
/// transaction, and the portion is durable. After any other fault it is not to be used again.
pub async fn send(
    writer: &Writer,
    step: Step,
    portion: &[Changed],
    durable: impl Future<Output = Result<(), Fault>> + Send,
) -> Result<Outcome, Fault> {
    let room = writer.room.take(portion).await?;
    let mut pipeline = Pipeline::default();
    pipeline.send(What::Begin, writer.turn(BEGIN)).await;
    pipeline.send(What::Advance, writer.surely_advance(step)).await;
    let insert = |table: &Table| table.surely_insert.clone().expect("it is sure");
    replace(&mut pipeline, writer, portion, insert).await;
    durable.await?;
    pipeline.send(What::Commit, writer.turn("commit")).await;
    let (applied, silent) = (applied(portion), Arc::clone(&writer.silent));
    let outcome = async move {
        // Behind an answer that was lost, the commit may have been heard.
        let answers = pipeline.answers(fault::of_commit);
        let answers = answered(patience::for_bytes(BYTES_MAX), WRITE, answers).await;
        drop(room);
        match answers {
            Ok(()) => Ok(applied),
            Err(fault) if fault.class == FaultClass::Unknown => {
                silent.store(true, Ordering::Relaxed);
                Err(fault)
            }
            Err(fault) => Err(Fault::new(FaultClass::Transient, BATCH_REFUSED, WRITE)
                .with_remedy("It is written once more, statement by statement.")
                .with_source(fault)),
        }
    };
    Ok(Outcome::Awaited(outcome.boxed()))
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

async fn write_all(
    writer: &Writer,
    step: Step,
    portion: &[Changed],
    entries: &[ledger::Entries],
) -> Result<(), Fault> {
    let mut pipeline = Pipeline::default();
    pipeline.send(What::Begin, writer.turn(BEGIN)).await;
    pipeline.send(What::Advance, writer.advance(step)).await;
    replace(&mut pipeline, writer, portion, |table| table.insert.clone()).await;
    for entry in entries.iter().flat_map(|entries| tuples(&entries.arena, &entries.ends)) {
        pipeline.send(What::WriteEntry, execute(writer, &writer.insert_entry, entry)).await;
    }
    pipeline.answers(fault::of).await
}

/// All deletes come before all inserts: a unique value may move from one row to another.
async fn replace(
    pipeline: &mut Pipeline,
    writer: &Writer,
    portion: &[Changed],
    insert: impl Fn(&Table) -> Statement,
) {
    for changed in portion.iter().filter(|changed| writer.table(&changed.route).ledger) {
        pipeline.send(What::ForgetEntries, forget_entries(writer, changed)).await;
    }
    for changed in portion {
        let delete = &writer.table(&changed.route).delete;
        for key in tuples(&changed.keys.arena, &changed.keys.ends) {
            let what = What::Delete(Arc::clone(&changed.route));
            pipeline.send(what, execute(writer, delete, key)).await;
        }
    }
    for changed in portion {
        let insert = insert(writer.table(&changed.route));
        for row in tuples(&changed.rows.arena, &changed.rows.row_ends) {
            let what = What::InsertRow(Arc::clone(&changed.route));
            pipeline.send(what, execute(writer, &insert, row)).await;
        }
    }
}

/// Takes out what the ledger holds of the changed keys.
pub fn forget_entries(writer: &Writer, changed: &Changed) -> Answering {
    let (session, statement) = (Arc::clone(&writer.session), writer.delete_entries.clone());
    let (migration, table) = (writer.ownership.migration, changed.route.source.clone());
    let names = changed.names.clone();
    async move { session.execute(&statement, &[&migration, &table, &names]).await }.boxed()
}

fn execute(writer: &Writer, statement: &Statement, tuple: &[u8]) -> Answering {
    let (session, statement, tuple) = (Arc::clone(&writer.session), statement.clone(), tuple.to_vec());
    let answering = async move {
        let cells: Vec<Raw<'_>> = tuple_cells(&tuple).map(Raw).collect();
        session.execute_raw(&statement, cells).await
    };
    answering.boxed()
}

pub fn tuples<'a>(arena: &'a [u8], ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| &arena[start..*end])
}

fn count(count: usize) -> u64 {
    u64::try_from(count).expect("a count fits")
}
