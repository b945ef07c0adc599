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
mod turn;

use super::connect::Session;
use super::fault;
use super::patience::{self, answered};
use super::target::PgTarget;
use super::task::Task;
use crate::link::{Batch, Captured, Extent, OnDisk, Portions, Take};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::{Position, Reached};
use crate::model::name::PgName;
use crate::plan::reverse::{CANARY, canary_route};
use crate::plan::route::{Identity, Route};
use reading::Reading;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use sweep::Sweep;
use table::Table;
use tokio::sync::Mutex;
use turn::{Begun, Ended};

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
    /// What SQLite has.
    on_disk: OnDisk,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Between two batches.
    idle: Option<Reader>,
    /// Where SQLite is known to stand.
    reached: Option<Reached>,
    /// What becomes of hardening the batch that was asked for last.
    hardened: Option<Task<Result<(), Fault>>>,
    sweep: Sweep,
}

/// A batch that is not yet forgotten.
struct Open {
    head: Head,
    turn: Turn,
}

/// A reader's turn: its transaction is open until the batch is forgotten.
enum Turn {
    /// Gives the reader back, unless the batch is given up.
    Reading(Task<Option<Reader>>),
    /// To its end.
    Read(Box<Reader>),
    GivenUp,
}

/// A session, and what was learnt of the tables that it read.
struct Reader {
    session: Session,
    learnt: BTreeMap<i64, Table>,
}

impl Turn {
    /// The session, once all is read.
    async fn read(&mut self) -> Option<&Session> {
        if let Turn::Reading(task) = self {
            let read = task.await;
            *self = read.ok().flatten().map_or(Turn::GivenUp, |reader| Turn::Read(Box::new(reader)));
        }
        match self {
            Turn::Read(reader) => Some(&reader.session),
            Turn::Reading(_) | Turn::GivenUp => None,
        }
    }
}

impl Open {
    async fn ended(mut self) -> Result<Ended, Fault> {
        self.turn.read().await;
        match self.turn {
            Turn::Read(reader) => Ok(Ended { reader: *reader, head: self.head }),
            Turn::Reading(_) | Turn::GivenUp => Err(unread(turn::END)),
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
    /// Tables that have changed.
    tables: BTreeSet<i64>,
    /// These, and some that changed in batches right before it.
    lately: BTreeSet<i64>,
}

impl Head {
    /// For work on all its changes.
    fn patience(&self) -> Duration {
        let changes = usize::try_from(self.changes).unwrap_or(usize::MAX);
        patience::for_bytes(changes.saturating_mul(ROW_BYTES))
    }
}

/// How far SQLite is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Noted changes that wait, several of one key counted each.
    pub rows: u64,
    /// How long the first of them has waited.
    pub oldest: Duration,
}

const LAG: &str =
    "select count(*), coalesce((extract(epoch from clock_timestamp() - min(at)) * 1000)::bigint, 0)
    from liteferry.reverse_change where migration_id = $1";
/// A transaction by itself, whose commit waits for the disk.
const HARDEN: &str =
    "select set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'liteferry', '')";
const NOTE: &str =
    "insert into liteferry.reverse_change (migration_id, tbl, key) select $1, $2, unnest($3::bytea[])";

impl PgChanges {
    /// `tables` by the numbers that their triggers know them by; `portion_bytes` bounds what is held in memory at once.
    pub fn new(
        target: PgTarget,
        (migration, mut tables): (i64, BTreeMap<i64, Arc<Route>>),
        portion_bytes: usize,
        on_disk: OnDisk,
    ) -> PgChanges {
        tables.insert(CANARY, Arc::new(canary_route()));
        let shared = Shared { target, migration, tables, portion_bytes, on_disk };
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
                open.ok_or_else(|| unread(doing))?.turn.read().await.ok_or_else(|| unread(doing))?;
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

impl State {
    /// SQLite has taken it: nothing of it is forgotten before that is on SQLite's disk.
    async fn end(&mut self, open: Open, on_disk: &OnDisk) -> Result<Ended, Fault> {
        on_disk.holds(open.head.to.seq).await?;
        self.reached = Some(Reached { at: open.head.to, before: Some(open.head.from.nonce) });
        open.ended().await
    }
}

impl Captured for PgChanges {
    async fn changes(&self, from: Position, take: Take) -> Result<Option<Batch>, Fault> {
        let mut state = self.state.lock().await;
        let ended = match state.open.take().filter(|open| open.head.to == from) {
            Some(open) => Some(state.end(open, &self.shared.on_disk).await?),
            None => None,
        };
        let before = state.reached.filter(|reached| reached.at == from).and_then(|reached| reached.before);
        let (deleted, patience) =
            ended.as_ref().map_or((0, Duration::ZERO), |ended| (ended.head.changes, ended.head.patience()));
        let beginning = self.shared.begin((ended, &mut state.idle), (from, before), take);
        let begun = answered(patience + patience::SMALL * 2, turn::READ, beginning).await?;
        state.sweep.deleted(deleted, &self.shared.target);
        let Some(Begun { reader, head, keys }) = begun else { return Ok(None) };
        let (sender, portions) = Portions::channel(1);
        let (shared, last) = (Arc::clone(&self.shared), head.last);
        let reading = Task::begin(async move {
            let mut reading = Reading::new(&shared, reader, sender);
            reading.read_to(last, keys).await.then_some(reading.reader)
        });
        let Head { to, extent, changes, .. } = head;
        state.open = Some(Open { head, turn: Turn::Reading(reading) });
        // All that this snapshot shows has been committed: the disk works while it is read.
        let disk = Arc::clone(&self.shared);
        state.hardened = Some(Task::begin(async move { disk.harden().await }));
        // Rows are as the batch's own end shows them: nothing newer is seen of a source that cannot go back unnoticed.
        Ok(Some(Batch { from, to, extent, changes, newest: to, portions }))
    }

    async fn harden(&self) -> Result<(), Fault> {
        let begun = self.state.lock().await.hardened.take();
        if let Some(begun) = begun
            && let Ok(hardened) = begun.await
        {
            return hardened;
        }
        self.shared.harden().await
    }

    /// Forgets the batch that brought SQLite to `seq`, whole.
    async fn forget(&self, seq: i64) -> Result<(), Fault> {
        let mut state = self.state.lock().await;
        match state.open.take() {
            Some(open) if open.head.to.seq == seq => {
                let ended = state.end(open, &self.shared.on_disk).await?;
                let changes = ended.head.changes;
                state.idle = Some(self.shared.end(ended).await?);
                state.sweep.deleted(changes, &self.shared.target);
                Ok(())
            }
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
        let hardened = async {
            let failed = |error| fault::of(error, doing);
            let harden = session.prepared(HARDEN).await.map_err(failed)?;
            session.execute(&harden, &[]).await.map(drop).map_err(failed)
        };
        answered(patience::SMALL, doing, hardened).await?;
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
