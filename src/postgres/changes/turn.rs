//! How a batch begins and how it ends. While changes come one after the other, the end of one batch and the beginning of the next are one
//! question: what SQLite has taken is forgotten and committed, the tables that changed lately are locked, and a short batch's keys come
//! along with where SQLite stands.

use super::{Asked, Head, Reader, Shared, fork, places};
use crate::link::{Extent, Take};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::postgres::connect::Session;
use crate::postgres::fault;
use crate::postgres::patience::answered;
use futures_util::future::{OptionFuture, join, join4};
use std::collections::{BTreeMap, BTreeSet};

/// A changed key as its table's trigger noted it; none where the table was emptied.
pub type Key = (i64, Option<Vec<u8>>);

pub struct Begun {
    pub reader: Reader,
    pub head: Head,
    /// Those of a short batch, each once and in order.
    pub keys: Option<Vec<Key>>,
}

/// What SQLite has on disk, and what that was read with.
pub struct Ended {
    pub reader: Reader,
    pub head: Head,
}

/// What one snapshot shows at first.
struct Glance {
    stands: Position,
    drawn: i64,
    /// By number: all, or one more than a short batch has.
    noted: Vec<(i64, Key)>,
}

const LOOK: &str = "select r.epoch, r.mark, r.nonce,
    array(select distinct tbl from liteferry.reverse_change c where c.migration_id = r.migration_id)
    from liteferry.reverse r where r.migration_id = $1";

/// The row is locked against whoever else might forget. What is forgotten need not wait for the disk: before SQLite commits the next
/// batch it is there, and one that is lost is made good.
const STANDS: &str = "select epoch, mark, nonce, hashtextextended(gen_random_uuid()::text, 0),
        set_config('synchronous_commit', 'off', true)
    from liteferry.reverse where migration_id = $1 for update";

const NOTED: &str =
    "select id, tbl, key from liteferry.reverse_change where migration_id = $1 order by id limit $2";

const EXTENT: &str = include_str!("../sql/reverse_extent.sql");

/// After a failover the server is on another timeline than the way back began on. Every table may differ then, by as much as was lost.
const FAILED_OVER: &str = "with failed_over as (
        update liteferry.reverse set timeline = liteferry.timeline()
        where migration_id = $1 and timeline <> liteferry.timeline() returning migration_id)
    update liteferry.captured c set suspect = true from failed_over f where c.migration_id = f.migration_id";

const ADVANCE: &str = "update liteferry.reverse set epoch = $2, mark = $3, nonce = $4
    where migration_id = $1 and epoch = $5 and mark = $6 and nonce = $7";

/// In the batch's own snapshot: what was noted since is not seen, whatever its number, and stays.
const FORGET: &str = "with moved as (
        update liteferry.reverse set epoch = $2, mark = $3, nonce = $4
        where migration_id = $1 and epoch = $5 and mark = $6 and nonce = $7 returning 1)
    delete from liteferry.reverse_change where migration_id = $1 and id <= $8 and exists (select from moved)";

/// TRUNCATE empties a table for snapshots that are older than it, too: the tables are locked before the snapshot is taken.
const BEGIN: &str = "begin isolation level repeatable read";

/// To plan a batch's statements anew takes nearly as long as to execute them. A plan is kept, and one that was made while the queue was
/// empty would go on reading all of it after it has grown; each has an index.
const SESSION: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set lock_timeout = '5s'; \
    set statement_timeout = '15min'; set idle_in_transaction_session_timeout = '15min'";

/// Another table may get its first change between the look and the snapshot.
const LOOKS_MAX: u32 = 5;

/// Changes of a batch whose keys are read at once.
const SHORT_MAX: usize = 1000;

/// Tables that changed lately are locked before it is known whether they changed again, so many at most.
const LATELY_MAX: usize = 32;

pub const READ: &str = "read what PostgreSQL has changed";
pub const END: &str = "forget what SQLite has taken";

impl Shared {
    /// Nothing where nothing has changed: the reader is given back, with what it has learnt.
    pub async fn begin(
        &self,
        (ended, idle): (Option<Ended>, &mut Option<Reader>),
        (from, before): (Position, Option<i64>),
        take: Take,
    ) -> Result<Option<Begun>, Fault> {
        let failed = |error| fault::of(error, READ);
        let (reader, mut ended, mut lately) = match ended {
            Some(Ended { reader, mut head }) => {
                let lately = std::mem::take(&mut head.lately);
                (reader, Some(head), lately)
            }
            None => {
                let reader = match idle.take().filter(|reader| !reader.session.is_closed()) {
                    Some(reader) => reader,
                    None => {
                        let session = self.target.session().await?;
                        session.batch_execute(SESSION).await.map_err(failed)?;
                        Reader { session, learnt: BTreeMap::new() }
                    }
                };
                let changed = self.look(&reader.session, (from, before)).await?;
                if changed.is_empty() {
                    *idle = Some(reader);
                    return Ok(None);
                }
                (reader, None, changed)
            }
        };
        let mut locked = lately.clone();
        for _ in 0..LOOKS_MAX {
            let Some(glance) = self.glance(&reader.session, ended.take().as_ref(), &locked).await? else {
                lately.clear();
                locked = self.look(&reader.session, (from, before)).await?;
                if locked.is_empty() {
                    *idle = Some(reader);
                    return Ok(None);
                }
                continue;
            };
            if glance.stands != from {
                return Err(fork());
            }
            let to = Position { epoch: from.epoch, seq: from.seq + 1, nonce: glance.drawn };
            let (mut head, keys) = self.extent(&reader.session, (from, to), glance.noted, take).await?;
            if head.changes > 0 && head.tables.is_subset(&locked) {
                lately.extend(&head.tables);
                head.lately = if lately.len() > LATELY_MAX { locked } else { lately };
                return Ok(Some(Begun { reader, head, keys }));
            }
            reader.session.batch_execute("rollback").await.map_err(failed)?;
            if head.changes == 0 {
                *idle = Some(reader);
                return Ok(None);
            }
            // What changed lately and not again is no longer asked for: it may be locked by somebody, or gone.
            locked = head.tables;
        }
        Err(Fault::new(FaultClass::Transient, "reverse_unsteady", READ)
            .with_remedy("more and more tables get changes while they are looked at; it is tried again"))
    }

    /// Which tables have changed.
    async fn look(
        &self,
        session: &Session,
        (from, before): (Position, Option<i64>),
    ) -> Result<BTreeSet<i64>, Fault> {
        let failed = |error| fault::of(error, READ);
        let look = session.prepared(LOOK).await.map_err(failed)?;
        let mut stood = None;
        loop {
            let row = session.query_opt(&look, &[&self.migration]).await.map_err(failed)?;
            let row = row.ok_or_else(fork)?;
            let stands = Position { epoch: row.get(0), seq: row.get(1), nonce: row.get(2) };
            if stands == from {
                return Ok(row.get::<_, Vec<i64>>(3).into_iter().collect());
            }
            // A forgetting whose answer was lost may have been made meanwhile.
            if stood.replace(stands) == Some(stands) {
                return Err(fork());
            }
            self.catch_up(session, stands, (from, before)).await?;
        }
    }

    /// The forgetting of SQLite's last batch was lost, and no more than that: what it took is read again. This is settled before SQLite
    /// takes another batch, for it tells of one batch alone. In a failover the changes that it took may have been lost as well.
    async fn catch_up(
        &self,
        session: &Session,
        stood: Position,
        (from, before): (Position, Option<i64>),
    ) -> Result<(), Fault> {
        if stood.epoch != from.epoch || stood.seq + 1 != from.seq || before != Some(stood.nonce) {
            return Err(fork());
        }
        let failed_over = session.execute(FAILED_OVER, &[&self.migration]).await;
        if failed_over.map_err(|error| fault::of(error, READ))? > 0 {
            return Err(Fault::new(FaultClass::Transient, "reverse_failed_over", READ).with_remedy(
                "PostgreSQL has failed over since, and may have lost what SQLite took last: all tables are compared, and SQLite is made equal \
                 to PostgreSQL",
            ));
        }
        let moved = session.execute(ADVANCE, &places(&self.migration, &from, &stood)).await;
        moved.map(drop).map_err(|error| fault::of(error, "tell PostgreSQL where SQLite stands"))
    }

    /// Its snapshot is taken once the locks are held: the server takes one statement after the other. Nothing where tables that changed
    /// lately cannot be locked at once: one may be gone, or kept by somebody, and need not have changed again; who waited for it, with
    /// others locked, could be a migration's deadlock. Whether the batch before was committed is then looked at anew, too.
    async fn glance(
        &self,
        session: &Session,
        ended: Option<&Head>,
        locked: &BTreeSet<i64>,
    ) -> Result<Option<Glance>, Fault> {
        let failed = |error| fault::of(error, READ);
        let stands = session.prepared(STANDS).await.map_err(failed)?;
        let noted = session.prepared(NOTED).await.map_err(failed)?;
        if ended.is_some() {
            session.prepared(FORGET).await.map_err(failed)?;
        }
        let (commit, wait) = if ended.is_some() { ("commit; ", " nowait") } else { ("", "") };
        let begin = format!("{commit}{BEGIN}; {}", self.locks(locked, wait));
        let most = i64::try_from(SHORT_MAX + 1).unwrap_or(i64::MAX);
        let (of_migration, of_noted): (Asked<'_, 1>, Asked<'_, 2>) =
            ([&self.migration], [&self.migration, &most]);
        let (forgotten, begun, stands, noted) = join4(
            OptionFuture::from(ended.map(|head| self.forget(session, head))),
            session.batch_execute(&begin),
            session.query_opt(&stands, &of_migration),
            session.query(&noted, &of_noted),
        )
        .await;
        forgotten.transpose()?;
        if ended.is_some() && begun.as_ref().is_err_and(|error| error.as_db_error().is_some()) {
            session.batch_execute("rollback").await.map_err(failed)?;
            return Ok(None);
        }
        begun.map_err(|error| match ended {
            Some(_) => fault::of_commit(error, END),
            None => failed(error),
        })?;
        let row = stands.map_err(failed)?.ok_or_else(fork)?;
        let noted = noted.map_err(failed)?;
        Ok(Some(Glance {
            stands: Position { epoch: row.get(0), seq: row.get(1), nonce: row.get(2) },
            drawn: row.get(3),
            noted: noted.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect(),
        }))
    }

    /// How far the batch goes, which tables must be locked for it, and its keys if it is short.
    async fn extent(
        &self,
        session: &Session,
        (from, to): (Position, Position),
        noted: Vec<(i64, Key)>,
        take: Take,
    ) -> Result<(Head, Option<Vec<Key>>), Fault> {
        let most = match take {
            Take::All => u64::MAX,
            Take::UpTo(changes) | Take::Renewing(changes) => changes.max(1),
        };
        let changes = u64::try_from(noted.len()).expect("a count fits");
        if noted.len() <= SHORT_MAX && changes <= most {
            let last = noted.last().map_or(0, |(number, _)| *number);
            let keys: BTreeSet<Key> = noted.into_iter().map(|(_, key)| key).collect();
            let tables = keys.iter().map(|(table, _)| *table).collect();
            let lately = BTreeSet::new();
            let head = Head { from, to, extent: Extent::Whole, changes, last, tables, lately };
            return Ok((head, Some(keys.into_iter().collect())));
        }
        let failed = |error| fault::of(error, READ);
        let limit = i64::try_from(most).ok();
        let extent = session.prepared(EXTENT).await.map_err(failed)?;
        let row = session.query_one(&extent, &[&self.migration, &limit]).await.map_err(failed)?;
        let changes = row.get::<_, i64>(0).unsigned_abs();
        let (last, tables) = (row.get(1), row.get::<_, Vec<i64>>(2).into_iter().collect());
        let extent = if row.get(3) { Extent::Part } else { Extent::Whole };
        Ok((Head { from, to, extent, changes, last, tables, lately: BTreeSet::new() }, None))
    }

    /// Tables that are followed no more are not read.
    fn locks(&self, tables: &BTreeSet<i64>, wait: &str) -> String {
        let routes = tables.iter().filter_map(|id| self.tables.get(id));
        let names: Vec<String> = routes.map(|route| route.target.sql()).collect();
        if names.is_empty() {
            return String::new();
        }
        format!("lock table {} in access share mode{wait}", names.join(", "))
    }

    /// Forgets the batch, and nothing else.
    pub async fn end(&self, Ended { reader, head }: Ended) -> Result<Reader, Fault> {
        let session = &reader.session;
        let ending = async {
            session.prepared(FORGET).await.map_err(|error| fault::of(error, END))?;
            let (forgotten, committed) =
                join(self.forget(session, &head), session.batch_execute("commit")).await;
            forgotten?;
            committed.map_err(|error| fault::of_commit(error, END))
        };
        answered(head.patience(), END, ending).await?;
        Ok(reader)
    }

    /// In the batch's own transaction; the statement is prepared.
    async fn forget(&self, session: &Session, head: &Head) -> Result<(), Fault> {
        let failed = |error| fault::of(error, END);
        let forget = session.prepared(FORGET).await.map_err(failed)?;
        let [migration, places @ ..] = places(&self.migration, &head.to, &head.from);
        let [epoch, mark, nonce, was_epoch, was_mark, was_nonce] = places;
        let asked: Asked<'_, 8> = [migration, epoch, mark, nonce, was_epoch, was_mark, was_nonce, &head.last];
        match session.execute(&forget, &asked).await.map_err(failed)? {
            forgotten if forgotten == head.changes => Ok(()),
            _ => Err(fork()),
        }
    }
}
