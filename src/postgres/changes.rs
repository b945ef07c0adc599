//! PostgreSQL's noted changes, batch by batch: the keys that one snapshot shows, and the rows they name in it.
//!
//! ```text
//!  changes() ──▶ one transaction, repeatable read: what is noted ──fold──▶ keys ──look up──▶ rows ──▶ the batch's channel
//!                    │ stays open while SQLite takes the batch                            one portion waits at most
//!  share()   ──▶ the same snapshot, for whoever compares what SQLite has taken with it
//!  forget()  ──▶ the same transaction: delete what its snapshot showed, and no row more · where SQLite stands · commit
//! ```
//!
//! Numbers are drawn before their transactions commit, so that a number says nothing of what was seen: only the snapshot does. A batch
//! that is not forgotten is read again, which does no harm, for rows are read as they are and not as they were changed.

mod reading;
mod sweep;
mod table;

use super::connect::Session;
use super::fault;
use super::patience::{self, answered};
use super::target::PgTarget;
use crate::link::{Batch, Captured, Extent, Portions, Take};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::{Position, Reached};
use crate::model::name::PgName;
use crate::plan::reverse::{CANARY, canary_route};
use crate::plan::route::{Identity, Route};
use futures_util::future::join;
use reading::Reading;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use sweep::Sweep;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

pub struct PgChanges {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

struct Shared {
    target: PgTarget,
    migration: i64,
    /// By the number that a table's triggers know it by, the canary among them.
    tables: BTreeMap<i64, Arc<Route>>,
    portion_bytes: usize,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Where SQLite is known to stand.
    reached: Option<Reached>,
    /// What becomes of hardening the batch that was asked for last.
    hardened: Option<Task<Result<(), Fault>>>,
    sweep: Sweep,
}

/// A batch that is not yet forgotten.
struct Open {
    head: Head,
    reader: Reader,
}

/// A batch's session: its transaction is open until the batch is forgotten.
enum Reader {
    /// Gives the session back, unless the batch is given up.
    Reading(Task<Option<Session>>),
    /// To its end.
    Read(Box<Session>),
    GivenUp,
}

/// Ends with whoever holds it.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reader {
    /// The session, once all is read.
    async fn read(&mut self) -> Option<&Session> {
        if let Reader::Reading(task) = self {
            let read = (&mut task.0).await;
            *self = read.ok().flatten().map_or(Reader::GivenUp, |session| Reader::Read(Box::new(session)));
        }
        match self {
            Reader::Read(session) => Some(session),
            Reader::Reading(_) | Reader::GivenUp => None,
        }
    }

    async fn into_session(mut self) -> Option<Session> {
        self.read().await?;
        match self {
            Reader::Read(session) => Some(*session),
            Reader::Reading(_) | Reader::GivenUp => None,
        }
    }
}

/// What a snapshot shows.
#[derive(Clone, Debug)]
struct Head {
    from: Position,
    to: Position,
    extent: Extent,
    changes: u64,
    /// The last number that belongs to the batch.
    last: i64,
}

/// How far SQLite is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Noted changes that wait, several of one key counted each.
    pub rows: u64,
    /// How long the first of them has waited.
    pub oldest: Duration,
}

const HEAD: &str = include_str!("sql/reverse_head.sql");
const LOOK: &str = "select r.epoch, r.mark, r.nonce,
    array(select distinct tbl from liteferry.reverse_change c where c.migration_id = r.migration_id)
    from liteferry.reverse r where r.migration_id = $1";
const LAG: &str =
    "select count(*), coalesce((extract(epoch from clock_timestamp() - min(at)) * 1000)::bigint, 0)
    from liteferry.reverse_change where migration_id = $1";
const ADVANCE: &str = "update liteferry.reverse set epoch = $2, mark = $3, nonce = $4
    where migration_id = $1 and epoch = $5 and mark = $6 and nonce = $7";

const FORGET: &str = "delete from liteferry.reverse_change where migration_id = $1 and id <= $2";

const NOTE: &str =
    "insert into liteferry.reverse_change (migration_id, tbl, key) select $1, $2, unnest($3::bytea[])";

/// TRUNCATE empties a table for snapshots that are older than it, too: the tables are locked before the snapshot is taken. What is
/// forgotten need not wait for the disk: before SQLite commits the next batch it is there, and one that is lost is made good.
const BEGIN: &str = "begin isolation level repeatable read; set local synchronous_commit = off; set local lock_timeout = '5s'; \
    set local statement_timeout = '15min'; set local idle_in_transaction_session_timeout = '15min'";
/// Another table may get its first change between the look and the snapshot.
const LOOKS_MAX: u32 = 5;

impl PgChanges {
    /// `tables` by the numbers that their triggers know them by; `portion_bytes` bounds what is held in memory at once.
    pub fn new(
        target: PgTarget,
        migration: i64,
        mut tables: BTreeMap<i64, Arc<Route>>,
        portion_bytes: usize,
    ) -> PgChanges {
        tables.insert(CANARY, Arc::new(canary_route()));
        let shared = Shared { target, migration, tables, portion_bytes };
        PgChanges { shared: Arc::new(shared), state: Mutex::default() }
    }

    /// Where SQLite stands, read anew after every fault: the forgetting of its last batch may have been lost, and only this tells.
    pub async fn resume(&self, reached: Reached) {
        let mut state = self.state.lock().await;
        state.open = None;
        state.reached = Some(reached);
    }

    /// The snapshot that the batch which brought SQLite to `seq` was read in, for another session to take up before it is forgotten.
    pub async fn share(&self, seq: i64) -> Result<String, Fault> {
        let doing = "share a batch's snapshot";
        let mut state = self.state.lock().await;
        let open = state.open.as_mut().filter(|open| open.head.to.seq == seq);
        let shared = async {
            let session =
                open.ok_or_else(|| unread(doing))?.reader.read().await.ok_or_else(|| unread(doing))?;
            let row = session.query_one("select pg_export_snapshot()", &[]).await;
            Ok(row.map_err(|error| fault::of(error, doing))?.get(0))
        };
        answered(patience::SMALL, doing, shared).await
    }

    pub async fn lag(&self) -> Result<Lag, Fault> {
        let doing = "look how far SQLite is behind";
        let session = self.shared.target.session().await?;
        let row = answered(patience::SMALL, doing, async {
            let row = session.query_one(LAG, &[&self.shared.migration]).await;
            row.map_err(|error| fault::of(error, doing))
        });
        let row = row.await?;
        self.shared.target.give_back(session);
        let oldest = Duration::from_millis(row.get::<_, i64>(1).unsigned_abs());
        Ok(Lag { rows: row.get::<_, i64>(0).unsigned_abs(), oldest })
    }
}

impl Captured for PgChanges {
    async fn changes(&self, from: Position, take: Take) -> Result<Option<Batch>, Fault> {
        let mut state = self.state.lock().await;
        if let Some(open) = state.open.take()
            && open.head.to == from
        {
            self.shared.forget(&mut state, open).await?;
        }
        let before = state.reached.filter(|reached| reached.at == from).and_then(|reached| reached.before);
        let opening = self.shared.open((from, before), take);
        let opened = answered(patience::SMALL * 2, "read what PostgreSQL has changed", opening).await?;
        let Some((session, head)) = opened else { return Ok(None) };
        let (sender, portions) = Portions::channel(1);
        let (shared, noted) = (Arc::clone(&self.shared), (head.last, head.changes));
        let reader = tokio::spawn(async move {
            let mut reading = Reading::new(&shared, &session, sender);
            let whole = reading.read_to(noted).await;
            drop(reading);
            whole.then_some(session)
        });
        let Head { to, extent, changes, .. } = head;
        state.open = Some(Open { head, reader: Reader::Reading(Task(reader)) });
        // All that this snapshot shows has been committed: the disk works while it is read.
        let disk = Arc::clone(&self.shared);
        state.hardened = Some(Task(tokio::spawn(async move { disk.harden().await })));
        // Rows are as the batch's own end shows them: nothing newer is seen of a source that cannot go back unnoticed.
        Ok(Some(Batch { from, to, extent, changes, newest: to, portions }))
    }

    async fn harden(&self) -> Result<(), Fault> {
        let begun = self.state.lock().await.hardened.take();
        if let Some(mut begun) = begun
            && let Ok(hardened) = (&mut begun.0).await
        {
            return hardened;
        }
        self.shared.harden().await
    }

    /// Forgets the batch that brought SQLite to `seq`, whole.
    async fn forget(&self, seq: i64) -> Result<(), Fault> {
        let mut state = self.state.lock().await;
        match state.open.take() {
            Some(open) if open.head.to.seq == seq => self.shared.forget(&mut state, open).await,
            other => {
                state.open = other;
                Ok(())
            }
        }
    }
}

impl Shared {
    /// A session that does not wait for the disk at its commits is waited for here: what one of ours writes to the log comes after all
    /// that was seen, and is on disk when its commit is answered.
    async fn harden(&self) -> Result<(), Fault> {
        let doing = "make PostgreSQL's changes durable";
        let session = self.target.session().await?;
        let sql = "begin; set local synchronous_commit = on; select pg_logical_emit_message(true, 'liteferry', ''); commit";
        let hardened = async { session.batch_execute(sql).await.map_err(|error| fault::of(error, doing)) };
        answered(patience::SMALL, doing, hardened).await?;
        self.target.give_back(session);
        Ok(())
    }

    async fn open(
        &self,
        (from, before): (Position, Option<i64>),
        take: Take,
    ) -> Result<Option<(Session, Head)>, Fault> {
        let doing = "read what PostgreSQL has changed";
        let failed = |error| fault::of(error, doing);
        let session = self.target.session().await?;
        let mut locked = BTreeSet::new();
        for _ in 0..LOOKS_MAX {
            let look = session.prepared(LOOK).await.map_err(failed)?;
            let row = session.query_opt(&look, &[&self.migration]).await.map_err(failed)?;
            let row = row.ok_or_else(fork)?;
            let stood = Position { epoch: row.get(0), seq: row.get(1), nonce: row.get(2) };
            if stood != from {
                self.catch_up(&session, stood, (from, before)).await?;
            }
            let tables: Vec<i64> = row.get(3);
            if tables.is_empty() {
                self.target.give_back(session);
                return Ok(None);
            }
            locked.extend(tables);
            let begin = format!("{BEGIN}; {}", self.locks(&locked));
            let limit = match take {
                Take::All => None,
                Take::UpTo(changes) => Some(i64::try_from(changes.max(1)).unwrap_or(i64::MAX)),
            };
            let head = session.prepared(HEAD).await.map_err(failed)?;
            let asked: Asked<'_, 2> = [&self.migration, &limit];
            // Its snapshot is taken once the locks are held: the server takes one after the other.
            let (begun, row) = join(session.batch_execute(&begin), session.query_opt(&head, &asked)).await;
            begun.map_err(failed)?;
            let row = row.map_err(failed)?;
            let row = row.ok_or_else(fork)?;
            if (Position { epoch: row.get(0), seq: row.get(1), nonce: row.get(2) }) != from {
                return Err(fork());
            }
            let (tables, changes): (Vec<i64>, i64) = (row.get(6), row.get(4));
            if changes > 0 && tables.iter().all(|table| locked.contains(table)) {
                let to = Position { epoch: from.epoch, seq: from.seq + 1, nonce: row.get(3) };
                let extent = if row.get(7) { Extent::Part } else { Extent::Whole };
                let changes = changes.unsigned_abs();
                return Ok(Some((session, Head { from, to, extent, changes, last: row.get(5) })));
            }
            session.batch_execute("rollback").await.map_err(failed)?;
        }
        Err(Fault::new(FaultClass::Transient, "reverse_unsteady", doing)
            .with_remedy("more and more tables get changes while they are looked at; it is tried again"))
    }

    /// The forgetting of SQLite's last batch was lost, and no more than that: what it took is read again. This is settled before SQLite
    /// takes another batch, for it tells of one batch alone.
    async fn catch_up(
        &self,
        session: &Session,
        stood: Position,
        (from, before): (Position, Option<i64>),
    ) -> Result<(), Fault> {
        if stood.epoch != from.epoch || stood.seq + 1 != from.seq || before != Some(stood.nonce) {
            return Err(fork());
        }
        let moved = session.execute(ADVANCE, &places(&self.migration, &from, &stood)).await;
        match moved.map_err(|error| fault::of(error, "tell PostgreSQL where SQLite stands"))? {
            1 => Ok(()),
            _ => Err(fork()),
        }
    }

    /// Tables that are followed no more are not read.
    fn locks(&self, tables: &BTreeSet<i64>) -> String {
        let routes = tables.iter().filter_map(|id| self.tables.get(id));
        let names: Vec<String> = routes.map(|route| route.target.sql()).collect();
        if names.is_empty() {
            return String::new();
        }
        format!("lock table {} in access share mode", names.join(", "))
    }

    async fn forget(&self, state: &mut State, open: Open) -> Result<(), Fault> {
        let doing = "forget what SQLite has taken";
        let Head { from, to, last, changes, .. } = open.head;
        state.reached = Some(Reached { at: to, before: Some(from.nonce) });
        let session = open.reader.into_session().await.ok_or_else(|| unread(doing))?;
        let failed = |error| fault::of(error, doing);
        // In this snapshot: what was noted since is not seen, whatever its number, and stays.
        let forgetting = async {
            let forget = session.prepared(FORGET).await.map_err(failed)?;
            let advance = session.prepared(ADVANCE).await.map_err(failed)?;
            let noted: Asked<'_, 2> = [&self.migration, &last];
            let places = places(&self.migration, &to, &from);
            let (forgotten, moved) =
                join(session.execute(&forget, &noted), session.execute(&advance, &places)).await;
            forgotten.map_err(failed)?;
            if moved.map_err(failed)? != 1 {
                return Err(fork());
            }
            session.batch_execute("commit").await.map_err(|error| fault::of_commit(error, doing))
        };
        let bytes = usize::try_from(changes).unwrap_or(usize::MAX).saturating_mul(ROW_BYTES);
        answered(patience::for_bytes(bytes), doing, forgetting).await?;
        state.sweep.deleted(changes, &self.target);
        self.target.give_back(session);
        Ok(())
    }
}

/// Names rows among the noted changes, so that they are read again like any that was changed. Naming one too often does no harm.
pub async fn name_again(
    target: &PgTarget,
    migration: i64,
    (id, route): (i64, &Route),
    keys: &[Vec<u8>],
) -> Result<(), Fault> {
    let doing = format!("name rows of table {} again", route.target);
    let columns = table::key_columns(route);
    let broken = || Fault::fatal("canon_broken", doing.clone());
    let record = |key: &Vec<u8>| {
        let parts = Identity::parts_of(key, columns.len())?;
        let oids = columns.iter().map(|column| route.columns[*column].type_oid);
        let parts = oids.zip(parts).map(|(oid, part)| (oid, part.to_vec())).collect();
        Some(table::Noted { parts }.to_record())
    };
    let records = keys.iter().map(record).collect::<Option<Vec<_>>>().ok_or_else(broken)?;
    let named = async {
        let session = target.session().await?;
        session
            .execute(NOTE, &[&migration, &id, &records])
            .await
            .map_err(|error| fault::of(error, &doing))?;
        target.give_back(session);
        Ok(())
    };
    answered(patience::for_bytes(records.len().saturating_mul(ROW_BYTES)), &doing, named).await
}

/// What a noted change weighs, roughly.
const ROW_BYTES: usize = 100;

type Asked<'a, const N: usize> = [&'a (dyn tokio_postgres::types::ToSql + Sync); N];

fn places<'a>(migration: &'a i64, to: &'a Position, from: &'a Position) -> Asked<'a, 7> {
    [migration, &to.epoch, &to.seq, &to.nonce, &from.epoch, &from.seq, &from.nonce]
}

fn unread(doing: &str) -> Fault {
    Fault::new(FaultClass::Transient, "reverse_unread", doing)
        .with_remedy("the batch's session has ended; what it read is read again")
}

fn fork() -> Fault {
    Fault::fatal("reverse_history_fork", "read what PostgreSQL has changed").with_remedy(
        "SQLite and PostgreSQL no longer tell the same history of the way back (a restored backup, a failover that lost commits, a \
         second daemon): keep copies of both databases, compare them with liteferry validate, and begin a new migration",
    )
}

/// The canary's table holds one row a migration, and SQLite one alone.
fn rows_of(route: &Route, migration: i64) -> String {
    if route.target == PgName::new("liteferry", "canary") {
        return format!(
            "(select 1::bigint as one, word from liteferry.canary where migration_id = {migration})"
        );
    }
    route.target.sql()
}
