//! The writer of the way back: brings SQLite, batch by batch, to what PostgreSQL holds, each batch in one transaction together with the
//! position that it reaches.
//!
//! A cell that already crosses to what PostgreSQL holds stays as it is, byte for byte; only others are written, spelt as their column
//! spells its values. No trigger fires, no foreign key acts and nothing is logged as a change. It never writes a table of the
//! application's while SQLite takes its writes. Beside a -wal a commit can be read before it is on disk: whoever forgets what SQLite has
//! taken is told when it is.
//!
//! The write lock is held from a batch's first portion to its commit; a large backlog holds it long. After the switch nobody else writes.

mod later;
mod table;
mod trial;
mod writing;

use super::connect::{SqliteFile, schema_version};
use super::control::{self, Control, FORK, WITHOUT_A_WAY_BACK, Writes};
use super::fault::from_sqlite;
use super::harden::Hardener;
use super::history::{FileIdentity, schema_digest};
use crate::link::{Applier, Extent, OnDisk, Outcome, PART_REFUSED, Portion, Sending};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::{Position, Reached};
use crate::plan::capture::CONTROL;
use futures_util::future::{Either, join, ready};
use rusqlite::Connection;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use writing::{REFUSED, Writing};

pub use trial::uncomputed;
pub use writing::{Unwritable, standing, unwritable};

pub struct SqliteApplier {
    file: SqliteFile,
    identity: FileIdentity,
    hardener: Arc<Hardener>,
    /// The migration's token, which the control row bears too.
    token: String,
    /// `schema_digest` of the schema that the routes were made for.
    schema: String,
    /// Which side took the application's writes when it was last looked at.
    writes: Writes,
    /// Outside of any transaction.
    idle: Option<Hand>,
    batch: Option<Batch>,
    on_disk: watch::Sender<Result<i64, Arc<Fault>>>,
}

/// A connection, and the schema version that was last found to be the expected schema.
struct Hand {
    writing: Writing,
    schema_version: Option<i64>,
}

struct Batch {
    from: Position,
    to: Position,
    /// None before the first portion is written: until then the write lock is not asked for.
    hand: Option<Hand>,
    /// What came last: a batch of one portion takes a thread's turn once.
    last: Option<Portion>,
}

/// Readers of the application may be in the way where it keeps a rollback journal.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Four times what the application's own commits would let pile up, so that whoever else sees to the log comes first.
const LOG_PAGES_MAX: i64 = 4000;

impl SqliteApplier {
    /// `schema` is the digest of the schema that the routes were made for.
    pub fn new(file: SqliteFile, token: String, schema: String) -> Result<(SqliteApplier, OnDisk), Fault> {
        let identity = FileIdentity::of(file.path())?;
        let hardener = Arc::new(Hardener::new(file.path()));
        let (on_disk, told) = OnDisk::channel();
        let applier = SqliteApplier {
            file,
            identity,
            hardener,
            token,
            schema,
            writes: Writes::Sqlite,
            idle: None,
            batch: None,
            on_disk,
        };
        Ok((applier, told))
    }

    /// Where SQLite stands, once nothing of ours is under way there. It is on disk: a process that died may have left it in memory, and
    /// PostgreSQL will be told of it.
    pub async fn reached(&mut self) -> Result<Reached, Fault> {
        self.batch = None;
        let (reach, token, hardener) = (self.take_hand()?, self.token.clone(), Arc::clone(&self.hardener));
        let (hand, control) = on_thread(move || {
            let hand = reach.open()?;
            let db = hand.writing.db();
            // An earlier transaction of ours may still be ending on its thread: the lock waits for it.
            run(db, "begin immediate", "look where SQLite stands")?;
            let control = control_of(db, &token);
            run(db, "rollback", "look where SQLite stands")?;
            let control = control?;
            hardener.harden()?;
            Ok((hand, control))
        })
        .await?;
        self.idle = Some(hand);
        self.writes = control.writes;
        let reached = control.reverse.ok_or_else(unopened)?;
        hold(&self.on_disk, reached.at.seq);
        Ok(reached)
    }

    /// Has pages that were written go from the log into the database file, once there are many. After the switch no commit of the
    /// application's does it: beside a connection that it leaves open the log would grow for as long as PostgreSQL is written.
    pub async fn empty_log(&mut self) -> Result<(), Fault> {
        let Some(hand) = self.idle.take() else { return Ok(()) };
        let emptied = on_thread(move || {
            let doing = "empty SQLite's log into the database file";
            if waiting_pages(hand.writing.db(), "noop", doing)? > LOG_PAGES_MAX {
                // Passive: it waits for nobody, and nobody waits for it.
                waiting_pages(hand.writing.db(), "passive", doing)?;
            }
            Ok(hand)
        });
        self.idle = Some(emptied.await?);
        Ok(())
    }

    /// What opens a connection, unless one is open.
    fn take_hand(&mut self) -> Result<Reach, Fault> {
        self.identity.confirm(&self.file)?;
        Ok(Reach { idle: self.idle.take(), file: self.file.clone() })
    }

    /// The batch's own transaction, or what begins it.
    fn take_batch_hand(&mut self, batch: &mut Batch) -> Result<BatchHand, Fault> {
        if let Some(hand) = batch.hand.take() {
            return Ok(BatchHand::Begun(hand));
        }
        let (token, schema) = (self.token.clone(), self.schema.clone());
        Ok(BatchHand::Unbegun { reach: self.take_hand()?, from: batch.from, token, schema })
    }
}

/// A connection that may have to be opened.
struct Reach {
    idle: Option<Hand>,
    file: SqliteFile,
}

impl Reach {
    fn open(self) -> Result<Hand, Fault> {
        let opened =
            || Ok(Hand { writing: Writing::on(self.file.open_writer(LOCK_WAIT)?)?, schema_version: None });
        self.idle.map_or_else(opened, Ok)
    }
}

/// A batch's transaction, on its way to a thread that may block.
enum BatchHand {
    Begun(Hand),
    Unbegun { reach: Reach, from: Position, token: String, schema: String },
}

impl BatchHand {
    /// Begins the transaction unless that is done, and makes sure that it begins where it should.
    fn begun(self) -> Result<Hand, Fault> {
        let (reach, from, token, schema) = match self {
            BatchHand::Begun(hand) => return Ok(hand),
            BatchHand::Unbegun { reach, from, token, schema } => (reach, from, token, schema),
        };
        let (mut hand, doing) = (reach.open()?, "begin a batch on the way back");
        run(hand.writing.db(), "begin immediate", doing)?;
        let control = control_of(hand.writing.db(), &token)?;
        if control.reverse.ok_or_else(unopened)?.at != from {
            return Err(Fault::fatal("reverse_history_fork", doing).with_remedy(FORK));
        }
        hand.confirm_schema(&schema)?;
        hand.writing.begin(control.writes)?;
        Ok(hand)
    }
}

/// SQLite's schema is not what it was when its writes were closed.
pub const SCHEMA_MOVED: &str = "reverse_schema_moved";

impl Hand {
    fn put(&mut self, portion: &Portion) -> Result<(), Fault> {
        portion.iter().try_for_each(|changed| self.writing.put(changed))
    }

    fn confirm_schema(&mut self, expected: &str) -> Result<(), Fault> {
        let db = self.writing.db();
        let version = schema_version(db)?;
        if self.schema_version == Some(version) {
            return Ok(());
        }
        if schema_digest(db)? != expected {
            return Err(Fault::fatal(SCHEMA_MOVED, "write SQLite under the schema it had").with_remedy(format!(
                "somebody changed SQLite's schema after the switch: put it back as it was, start the daemon again, and have what went with it \
                 brought back by `liteferry validate --repair`; {WITHOUT_A_WAY_BACK}"
            )));
        }
        self.writing.forget_tables();
        self.schema_version = Some(version);
        Ok(())
    }
}

impl Applier for SqliteApplier {
    async fn position(&mut self) -> Result<Position, Fault> {
        self.reached().await.map(|reached| reached.at)
    }

    async fn open(&mut self, from: Position, to: Position, _newest: Position) -> Result<(), Fault> {
        self.batch = Some(Batch { from, to, hand: None, last: None });
        Ok(())
    }

    async fn put(&mut self, portion: Portion) -> Result<(), Fault> {
        let mut batch = self.batch.take().expect("a batch is opened before it is put into");
        if let Some(before) = batch.last.replace(portion) {
            let hand = self.take_batch_hand(&mut batch)?;
            let put = on_thread(move || {
                let mut hand = hand.begun()?;
                hand.put(&before)?;
                Ok(hand)
            });
            batch.hand = Some(put.await?);
        }
        self.batch = Some(batch);
        Ok(())
    }

    async fn commit(
        &mut self,
        extent: Extent,
        _sending: Sending,
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Outcome, Fault> {
        let durable = match self.writes {
            Writes::Postgres => Either::Left(durable),
            // The canary's: no writer of the application's waits for PostgreSQL's disk.
            Writes::Sqlite => Either::Right(ready(durable.await)),
        };
        let mut batch = self.batch.take().expect("a batch is opened before it is committed");
        let hand = self.take_batch_hand(&mut batch)?;
        let Batch { from, to, last, .. } = batch;
        let (go_on, may_go_on) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let commit = move |tell: &oneshot::Sender<_>| {
            let mut hand = hand.begun()?;
            hand.put(&last.unwrap_or_default())?;
            let applied = hand.writing.settle()?;
            control::advance(hand.writing.db(), from, to)?;
            // Whoever was to be told may have gone since then, and another applier have looked where SQLite stands.
            if may_go_on.blocking_recv().is_err() || tell.is_closed() {
                return Ok(None);
            }
            run(hand.writing.db(), "commit", "commit a batch on the way back")?;
            Ok(Some((hand, applied)))
        };
        let (hardener, on_disk) = (Arc::clone(&self.hardener), self.on_disk.clone());
        tokio::task::spawn_blocking(move || {
            let committed = commit(&tell);
            let hardens = committed.as_ref().is_ok_and(Option::is_some);
            // Where nobody listens any more, `position` will tell.
            let _gone = tell.send(committed);
            if !hardens {
                return;
            }
            match hardener.harden() {
                Ok(()) => hold(&on_disk, to.seq),
                Err(fault) => drop(on_disk.send_replace(Err(Arc::new(fault)))),
            }
        });
        // It is written while PostgreSQL's disk works. Nobody waits for it where SQLite has refused already.
        let durable = async { durable.await.map(|()| go_on.send(()).unwrap_or(())) };
        let (durable, committed) = join(durable, told).await;
        durable?;
        let (hand, applied) = match committed.unwrap_or_else(|error| Err(stopped(error))) {
            // Of a part it cannot be told whether a row is at fault or only early.
            Err(fault) if fault.code == REFUSED && extent == Extent::Part => {
                return Err(Fault::new(FaultClass::Data, PART_REFUSED, "apply a part of the way back")
                    .with_remedy("The changes are applied again together with all that followed them.")
                    .with_source(fault));
            }
            committed => committed?.expect("it was told that PostgreSQL has it on disk"),
        };
        self.idle = Some(hand);
        Ok(Outcome::Known(applied))
    }
}

/// An earlier batch's disk may answer later than that of a batch that came after.
fn hold(on_disk: &watch::Sender<Result<i64, Arc<Fault>>>, seq: i64) {
    on_disk.send_modify(|held| *held = Ok(held.as_ref().map_or(seq, |before| seq.max(*before))));
}

/// Whether a table is our own and not the application's.
fn is_ours(table: &str) -> bool {
    table == CONTROL
}

fn may_write(table: &str, writes: Writes) -> Result<(), Fault> {
    match writes {
        Writes::Postgres => Ok(()),
        Writes::Sqlite if is_ours(table) => Ok(()),
        Writes::Sqlite => Err(Fault::fatal("reverse_not_switched", format!("write back table {table}")).with_remedy(
            "SQLite takes the application's writes, so nothing of PostgreSQL's may overwrite them: who wrote to PostgreSQL?",
        )),
    }
}

fn control_of(db: &Connection, token: &str) -> Result<Control, Fault> {
    let doing = "find out whose SQLite's control row is";
    let control = control::read(db)?.ok_or_else(|| {
        Fault::fatal("capture_missing", doing).with_remedy(
            "liteferry's tables are gone from SQLite (a backup from before, or `detach`): there is no way back into it",
        )
    })?;
    if control.migration != token {
        return Err(Fault::fatal("other_migration", doing)
            .with_remedy("SQLite belongs to another target's migration: name that target"));
    }
    Ok(control)
}

fn unopened() -> Fault {
    Fault::fatal("reverse_unopened", "find where SQLite stands on the way back")
        .with_remedy(format!("the way back was never opened here: SQLite is a backup from before, perhaps. Put the right file there; {WITHOUT_A_WAY_BACK}"))
}

fn run(db: &Connection, sql: &str, doing: &str) -> Result<(), Fault> {
    db.execute_batch(sql).map_err(|error| from_sqlite(doing, error))
}

/// Pages of the log that are not in the database file yet, after a checkpoint of this mode.
fn waiting_pages(db: &Connection, mode: &str, doing: &str) -> Result<i64, Fault> {
    db.query_row(&format!("pragma wal_checkpoint({mode})"), [], |row| {
        Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)
    })
    .map_err(|error| from_sqlite(doing, error))
}

/// SQLite blocks. What is dropped on the way takes its connection with it, and SQLite rolls back.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(stopped(error)))
}

fn stopped(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::fatal("stopped", "write SQLite").with_source(error)
}
