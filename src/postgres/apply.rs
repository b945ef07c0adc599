//! The writer of followed changes: batch by batch, each in one transaction together with the position that it reaches.
//!
//! It never commits before the source has made durable what it read, never moves a position that is not its own or not where the
//! batch begins, and never takes a commit whose answer was lost for done or undone. A call that is dropped half-way takes its session
//! with it, and the server rolls back.

mod ahead;
mod heights;
mod lane;
mod pipeline;
mod refused;
mod renewal;
mod small;
mod sql;
mod staged;
mod writer;

pub(super) use pipeline::Raw;
pub use writer::Ownership;

use super::fault::{self, READ_ONLY};
use super::patience::{self, ANSWER_MISSING, answered};
use super::target::PgTarget;
use crate::link::{Applied, Applier, Extent, Outcome, POSITION_MOVED, Portion, Sending};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::plan::numbers::{Heights, Numbers};
use ahead::Ahead;
use futures_util::future::{join, ready};
use heights::Passing;
use pipeline::What;
use staged::{Staging, part_refused};
use std::future::Future;
use tokio::try_join;
use tokio_postgres::types::{ToSql, Type};
use writer::{BEGIN, Step, Writer};

pub struct PgApplier {
    target: PgTarget,
    ownership: Ownership,
    /// Outside of any transaction.
    writer: Option<Writer>,
    /// Another session, for most batches; nothing where none was to be had.
    ahead: Option<Ahead>,
    batch: Option<Batch>,
    passing: Passing,
}

struct Batch {
    step: Step,
    work: Work,
}

enum Work {
    /// Nothing has been sent yet: most batches are one small portion, and one round trip takes it all.
    Kept(Portion),
    Staged(Box<Staging>),
}

const POSITION: &str =
    "select owner, epoch, seq, nonce, current_setting('default_transaction_read_only') = 'on'
    from liteferry.follow where migration_id = $1 for update";

impl PgApplier {
    pub fn new(target: PgTarget, ownership: Ownership) -> PgApplier {
        PgApplier { target, ownership, writer: None, ahead: None, batch: None, passing: Passing::default() }
    }

    /// Begins to note which numbers pass. Whatever passed before is committed once this returns, or never will be.
    pub async fn watch(&mut self, numbers: Vec<Numbers>) -> Result<(), Fault> {
        self.passing = Passing::begin(numbers);
        self.position().await.map(|_| ())
    }

    /// What has passed since, by column.
    pub fn passed(&self) -> &Heights {
        self.passing.so_far()
    }

    /// The session at hand, or another where it has ended.
    async fn take_writer(&mut self) -> Result<Writer, Fault> {
        let is_whole = self.ahead.as_ref().is_none_or(Ahead::is_of_use);
        match self.writer.take().filter(|writer| is_whole && writer.is_of_use()) {
            Some(mut writer) => {
                writer.patience = patience::SMALL;
                Ok(writer)
            }
            None => {
                self.ahead = None;
                let made =
                    async { Writer::new(self.target.writing_session().await?, self.ownership.clone()).await };
                let writer = answered(patience::SMALL, "open a session that writes batches", made).await?;
                let made =
                    async { Ahead::new(self.target.writing_session().await?, self.ownership.clone()).await };
                match answered(patience::SMALL, "open a session that sends batches ahead", made).await {
                    Ok(ahead) => self.ahead = Some(ahead),
                    // A server may have no connection left: all can be done without it.
                    Err(fault) => tracing::debug!(%fault, "no batch is sent ahead"),
                }
                Ok(writer)
            }
        }
    }

    /// Returns once the server has done what was sent ahead.
    async fn in_turn(&mut self) {
        let Some(ahead) = self.ahead.as_ref().filter(|ahead| !ahead.lane.is_clear()) else { return };
        if let Err(fault) = ahead.clear().await {
            // What it still does is refused where the position has moved on.
            tracing::debug!(%fault, "the session that sends batches ahead is given up");
            ahead.lane.give_up();
        }
    }

    /// Returns once the target has on disk what has been committed so far.
    pub async fn settle(&mut self) -> Result<(), Fault> {
        let doing = "see applied changes safe on the target's disk";
        self.in_turn().await;
        let writer = self.take_writer().await?;
        let settled = writer.answer(doing, writer.settle()).await?;
        self.writer = Some(writer);
        match What::Advance.check(settled) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.explain(fault).await),
        }
    }

    async fn commit_small(
        &mut self,
        step: Step,
        portion: Portion,
        (extent, sending): (Extent, Sending),
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Outcome, Fault> {
        let mut writer = self.take_writer().await?;
        let is_cheap = small::is_cheap(&mut writer, &portion).await?;
        if is_cheap
            && sending == Sending::Ahead
            && let Some(ahead) = &mut self.ahead
            && ahead.can_send(&writer, &portion).await?
        {
            let sent = ahead.send((&writer, step), &portion, durable).await;
            if sent.is_err() {
                // It may be in a transaction, which ends with it.
                ahead.lane.give_up();
            }
            self.writer = Some(writer);
            return sent;
        }
        self.in_turn().await;
        if !is_cheap {
            let mut staging = Staging::begin(writer).await?;
            staging.put(&portion).await?;
            return Box::pin(self.commit_staged(step, staging, extent, durable)).await.map(Outcome::Known);
        }
        let committing = self.commit_when_written(writer, step, (portion, extent), durable);
        Box::pin(committing).await.map(Outcome::Known)
    }

    async fn commit_when_written(
        &mut self,
        mut writer: Writer,
        step: Step,
        (portion, extent): (Portion, Extent),
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Applied, Fault> {
        let writing = small::write(&mut writer, step, &portion);
        let writing = answered(patience::for_bytes(small::BYTES_MAX), small::WRITE, writing);
        let (written, hardened) = join(writing, durable).await;
        if written.as_ref().is_err_and(|fault| fault.code == ANSWER_MISSING) {
            return written;
        }
        let refusal = match written {
            Err(fault) if fault.class == FaultClass::Data => fault,
            written => return self.end(writer, written.and_then(|applied| hardened.map(|()| applied))).await,
        };
        match extent {
            Extent::Part => {
                let fault = part_refused("apply a part of the backlog").with_source(refusal);
                self.end(writer, Err(fault)).await
            }
            Extent::Whole if hardened.is_err() => {
                self.end(writer, hardened.map(|()| Applied::default())).await
            }
            Extent::Whole => {
                roll_back(&writer).await?;
                let mut staging = Staging::begin(writer).await?;
                staging.put(&portion).await?;
                self.commit_staged(step, staging, extent, ready(Ok(()))).await
            }
        }
    }

    async fn commit_staged(
        &mut self,
        step: Step,
        mut staging: Staging,
        extent: Extent,
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Applied, Fault> {
        let (written, hardened) = join(staging.write(&step, extent), durable).await;
        match written {
            Ok(applied) => {
                hardened?;
                self.end(staging.writer, Ok(applied)).await
            }
            Err(fault) => {
                drop(staging);
                Err(self.explain(fault).await)
            }
        }
    }

    /// Ends a transaction: commits it where all went well, else rolls it back. A session whose commit was not answered is not used again.
    async fn end(&mut self, writer: Writer, outcome: Result<Applied, Fault>) -> Result<Applied, Fault> {
        match outcome {
            Ok(applied) => {
                let doing = small::COMMIT;
                let committing = async {
                    let committed = writer.session.batch_execute("commit").await;
                    committed.map_err(|error| fault::of_commit(error, doing))
                };
                answered(patience::SMALL, doing, committing).await?;
                self.writer = Some(writer);
                Ok(applied)
            }
            Err(fault) => {
                // The connection may be the thing that broke; the error that matters is the first one.
                if roll_back(&writer).await.is_ok() {
                    self.writer = Some(writer);
                }
                Err(self.explain(fault).await)
            }
        }
    }

    /// A position that has moved may have been moved by another owner, and one that does not move may stand where nothing may be written.
    async fn explain(&mut self, fault: Fault) -> Fault {
        if fault.code != POSITION_MOVED {
            return fault;
        }
        match self.position().await {
            Err(found) if found.class == FaultClass::Fatal || found.code == READ_ONLY => found,
            Ok(_) | Err(_) => fault,
        }
    }
}

impl Applier for PgApplier {
    async fn position(&mut self) -> Result<Position, Fault> {
        let doing = "read where the target stands";
        self.batch = None;
        self.in_turn().await;
        let writer = self.take_writer().await?;
        // A commit in doubt still holds the row; a plain look would show what was before it.
        let migration = [(&self.ownership.migration as &(dyn ToSql + Sync), Type::INT8)];
        let ((), found, ()) = try_join!(
            biased;
            writer.run(BEGIN, doing),
            writer.answer(doing, writer.session.query_typed(POSITION, &migration)),
            roll_back(&writer),
        )?;
        self.writer = Some(writer);
        let Some(row) = found.first() else {
            return Err(Fault::fatal("follow_missing", doing)
                .with_remedy("schema liteferry in the target was emptied or restored: begin the copy anew, or restore the target whole"));
        };
        if row.get::<_, &str>(0) != self.ownership.owner {
            return Err(Fault::fatal("another_owner", doing).with_remedy(
                "another liteferry has taken this migration over: stop one of the two, then start the other again",
            ));
        }
        if row.get(4) {
            return Err(fault::read_only(doing));
        }
        Ok(Position { epoch: row.get(1), seq: row.get(2), nonce: row.get(3) })
    }

    async fn open(&mut self, from: Position, to: Position, newest: Position) -> Result<(), Fault> {
        self.batch = None;
        self.writer = Some(self.take_writer().await?);
        self.batch = Some(Batch { step: Step { from, to, newest }, work: Work::Kept(Portion::new()) });
        Ok(())
    }

    async fn put(&mut self, portion: Portion) -> Result<(), Fault> {
        self.passing.note(&portion);
        let Batch { step, work } = self.batch.take().expect("a batch is opened before it is put into");
        let work = match work {
            Work::Kept(kept) if kept.is_empty() && small::is_small(&portion) => Work::Kept(portion),
            Work::Kept(kept) => {
                self.in_turn().await;
                let mut staging = Staging::begin(self.take_writer().await?).await?;
                staging.put(&kept).await?;
                staging.put(&portion).await?;
                Work::Staged(Box::new(staging))
            }
            Work::Staged(mut staging) => {
                staging.put(&portion).await?;
                Work::Staged(staging)
            }
        };
        self.batch = Some(Batch { step, work });
        Ok(())
    }

    async fn commit(
        &mut self,
        extent: Extent,
        sending: Sending,
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Outcome, Fault> {
        let Batch { step, work } = self.batch.take().expect("a batch is opened before it is committed");
        match work {
            Work::Kept(portion) => self.commit_small(step, portion, (extent, sending), durable).await,
            Work::Staged(staging) => {
                Box::pin(self.commit_staged(step, *staging, extent, durable)).await.map(Outcome::Known)
            }
        }
    }
}

async fn roll_back(writer: &Writer) -> Result<(), Fault> {
    writer.run("rollback", "roll back a batch").await
}
