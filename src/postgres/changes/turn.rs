//! How a batch begins and how it ends. While changes come one after the other, the end of one batch's reading and the beginning of the
//! next are one question: the tables that changed lately are locked, and a short batch's keys come along with where SQLite stands. What
//! SQLite has taken is forgotten by another session, once it is on SQLite's disk, while the next batch's rows are read.

use super::{Asked, Head, Reader, Shared, Shown, fork, places};
use crate::link::{Extent, Take};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::postgres::connect::Session;
use crate::postgres::fault;
use crate::postgres::patience::{self, answered};
use futures_util::future::{join, join3};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

/// A changed key as its table's trigger noted it; none where the table was emptied.
pub type Key = (i64, Option<Vec<u8>>);

pub struct Begun {
    pub reader: Reader,
    pub head: Head,
    /// Those of a short batch, each once and in order.
    pub keys: Option<Vec<Key>>,
    /// What SQLite has taken and is to be forgotten before it takes this batch.
    pub owed: Option<Head>,
}

/// What SQLite has taken, and what that was read with.
pub struct Taken {
    pub reader: Reader,
    pub head: Head,
}

/// Tables to lock before a batch's snapshot is taken.
enum Lock {
    /// They changed lately, and need not have changed again: none of them is waited for.
    Lately(BTreeSet<i64>),
    Changed(BTreeSet<i64>),
}

/// What one snapshot shows at first.
struct Glance {
    stands: Position,
    drawn: i64,
    /// By number: all, or one more than a short batch has.
    noted: Vec<Line>,
}

/// When a forgetting is on PostgreSQL's disk.
#[derive(Clone, Copy, Debug)]
pub enum Flush {
    /// With all that was committed before it.
    Now,
    /// Before SQLite commits the next batch; one that is lost is made good.
    Later,
}

struct Line {
    id: i64,
    born: i64,
    key: Key,
}

const LOOK: &str = "select r.epoch, r.mark, r.nonce,
    array(select distinct tbl from liteferry.reverse_change c where c.migration_id = r.migration_id)
    from liteferry.reverse r where r.migration_id = $1";

const STANDS: &str =
    "select epoch, mark, nonce, ('x' || substr(md5(gen_random_uuid()::text), 1, 16))::bit(64)::bigint,
        set_config('synchronous_commit', 'off', true), set_config('statement_timeout', '15min', true),
        set_config('idle_in_transaction_session_timeout', '15min', true)
    from liteferry.reverse where migration_id = $1";

/// A number is the time, which two may share.
const NOTED: &str = "select id, xmin::text::bigint, tbl, key from liteferry.reverse_change
    where migration_id = $1 order by id limit $2";

const EXTENT: &str = include_str!("../sql/reverse_extent.sql");

const ADVANCE: &str = "update liteferry.reverse set epoch = $2, mark = $3, nonce = $4
    where migration_id = $1 and epoch = $5 and mark = $6 and nonce = $7";

/// In the batch's own snapshot: what was noted since is not seen, whatever its number, and stays.
const FORGET: &str = "with moved as (
        update liteferry.reverse set epoch = $2, mark = $3, nonce = $4
        where migration_id = $1 and epoch = $5 and mark = $6 and nonce = $7 returning 1)
    delete from liteferry.reverse_change where migration_id = $1 and id <= $8 and exists (select from moved)";

/// Line by line, whatever is seen now: all lines of one transaction were shown, or none was.
const FORGET_SHOWN: &str = "with moved as (
        update liteferry.reverse set epoch = $2, mark = $3, nonce = $4
        where migration_id = $1 and epoch = $5 and mark = $6 and nonce = $7
        returning set_config('synchronous_commit', $10, true))
    delete from liteferry.reverse_change c using unnest($8::bigint[], $9::bigint[]) as shown (id, born)
    where c.migration_id = $1 and c.id = shown.id and c.xmin = shown.born::text::xid and exists (select from moved)";

/// TRUNCATE empties a table for snapshots that are older than it, too: the tables are locked before the snapshot is taken.
const BEGIN: &str = "begin isolation level repeatable read; set local lock_timeout = '5s'";

/// Another table may get its first change between the look and the snapshot.
const LOOKS_MAX: u32 = 6;

/// Changes of a batch whose keys are read at once.
const SHORT_MAX: usize = 1000;

/// Tables that changed lately are locked before it is known whether they changed again, so many at most.
const LATELY_MAX: usize = 32;
const LATELY: Duration = Duration::from_millis(100);

pub const READ: &str = "read what PostgreSQL has changed";
pub const END: &str = "forget what SQLite has taken";

impl Shared {
    /// Nothing where nothing has changed: all that SQLite has taken is forgotten then, and the reader given back, with what it has learnt.
    pub async fn begin(
        &self,
        (taken, idle): (Option<Taken>, &mut Option<Reader>),
        (from, before): (Position, Option<i64>),
        take: Take,
    ) -> Result<Option<Begun>, Fault> {
        let (mut reader, mut owed) = match taken {
            Some(Taken { reader, head }) => (reader, Some(head)),
            None => (self.reader(idle).await?, None),
        };
        let is_warm = owed.is_some() || reader.read.elapsed() < LATELY;
        let mut next = (is_warm && !reader.lately.is_empty()).then(|| Lock::Lately(reader.lately.clone()));
        for _ in 0..LOOKS_MAX {
            let lock = match next.take() {
                Some(lock) => lock,
                None => {
                    reader.rest().await?;
                    self.settle_owed(&mut owed, Flush::Later).await?;
                    let changed = self.look(&reader.session, (from, before)).await?;
                    if changed.is_empty() {
                        *idle = Some(reader);
                        return Ok(None);
                    }
                    Lock::Changed(changed)
                }
            };
            let most = SHORT_MAX + 1 + owed.as_ref().map_or(0, Head::lines);
            let Some(glance) = self.glance(&mut reader, &lock, most).await? else {
                reader.lately.clear();
                continue;
            };
            let stands = owed.as_ref().map_or(from, |head| head.from);
            if glance.stands != stands {
                reader.roll_back().await?;
                match lock {
                    Lock::Changed(_) => return Err(fork()),
                    Lock::Lately(_) => continue,
                }
            }
            let noted = not_of(owed.as_ref(), glance.noted);
            if noted.is_empty() {
                // While changes come one after the other, the next has come by then.
                next = owed.is_some().then_some(lock);
                let (rolled_back, settled) =
                    join(reader.roll_back(), self.settle_owed(&mut owed, Flush::Later)).await;
                rolled_back.and(settled)?;
                if next.is_some() {
                    continue;
                }
                *idle = Some(reader);
                return Ok(None);
            }
            // All that a snapshot shows is forgotten in that snapshot: it must not show what was taken before.
            if noted.len() > SHORT_MAX && owed.is_some() {
                reader.roll_back().await?;
                self.settle_owed(&mut owed, Flush::Later).await?;
                next = Some(lock);
                continue;
            }
            let to = Position { epoch: from.epoch, seq: from.seq + 1, nonce: glance.drawn };
            let extent = self.extent(&reader.session, (from, to), noted, take);
            let (head, keys) = answered(patience::LONG, READ, extent).await?;
            if head.tables.is_subset(lock.tables()) {
                reader.read_lately(&head.tables);
                return Ok(Some(Begun { reader, head, keys, owed }));
            }
            reader.roll_back().await?;
            // What changed lately and not again is no longer asked for: it may be locked by somebody, or gone.
            next = Some(Lock::Changed(head.tables));
        }
        Err(Fault::new(FaultClass::Transient, "reverse_unsteady", READ)
            .with_remedy("more and more tables get changes while they are looked at; it is tried again"))
    }

    async fn reader(&self, idle: &mut Option<Reader>) -> Result<Reader, Fault> {
        match idle.take().filter(|reader| !reader.session.is_closed()) {
            Some(reader) => Ok(reader),
            None => Ok(Reader::on(self.target.session().await?)),
        }
    }

    async fn settle_owed(&self, owed: &mut Option<Head>, flush: Flush) -> Result<(), Fault> {
        match owed.take() {
            Some(head) => self.settle(&head, flush).await,
            None => Ok(()),
        }
    }

    /// Which tables have changed.
    async fn look(
        &self,
        session: &Session,
        (from, before): (Position, Option<i64>),
    ) -> Result<BTreeSet<i64>, Fault> {
        let failed = |error| fault::of(error, READ);
        let looked = async {
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
        };
        answered(patience::SMALL, READ, looked).await
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
        moved.map(drop).map_err(|error| fault::of(error, "tell PostgreSQL where SQLite stands"))
    }

    /// Its snapshot is taken once the locks are held: the server takes one statement after the other. Nothing where tables that changed
    /// lately cannot be locked at once: one may be gone, or kept by somebody, and need not have changed again; who waited for it, with
    /// others locked, could be a migration's deadlock.
    async fn glance(&self, reader: &mut Reader, lock: &Lock, most: usize) -> Result<Option<Glance>, Fault> {
        let failed = |error| fault::of(error, READ);
        let glanced = async {
            let end = reader.end().await?;
            let session = &reader.session;
            let stands = session.prepared(STANDS).await.map_err(failed)?;
            let noted = session.prepared(NOTED).await.map_err(failed)?;
            let begin = format!("{end}{BEGIN}; {}", self.locks(lock));
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let (of_migration, of_noted): (Asked<'_, 1>, Asked<'_, 2>) =
                ([&self.migration], [&self.migration, &most]);
            let (begun, stands, noted) = join3(
                session.batch_execute(&begin),
                session.query_opt(&stands, &of_migration),
                session.query(&noted, &of_noted),
            )
            .await;
            match (begun, lock) {
                (Ok(()), _) => {}
                (Err(error), Lock::Lately(_)) if error.as_db_error().is_some() => {
                    reader.roll_back().await?;
                    return Ok(None);
                }
                (Err(error), _) => return Err(failed(error)),
            }
            reader.begun = true;
            let row = stands.map_err(failed)?.ok_or_else(fork)?;
            let line = |row: &tokio_postgres::Row| Line {
                id: row.get(0),
                born: row.get(1),
                key: (row.get(2), row.get(3)),
            };
            Ok(Some(Glance {
                stands: Position { epoch: row.get(0), seq: row.get(1), nonce: row.get(2) },
                drawn: row.get(3),
                noted: noted.map_err(failed)?.iter().map(line).collect(),
            }))
        };
        answered(patience::SMALL, READ, glanced).await
    }

    /// How far the batch goes, which tables must be locked for it, and its keys if it is short.
    async fn extent(
        &self,
        session: &Session,
        (from, to): (Position, Position),
        noted: Vec<Line>,
        take: Take,
    ) -> Result<(Head, Option<Vec<Key>>), Fault> {
        let most = match take {
            Take::All => u64::MAX,
            Take::UpTo(changes) => changes.max(1),
        };
        let changes = u64::try_from(noted.len()).expect("a count fits");
        if noted.len() <= SHORT_MAX && changes <= most {
            let last = noted.last().map_or(0, |line| line.id);
            let (ids, born) = noted.iter().map(|line| (line.id, line.born)).unzip();
            let keys: BTreeSet<Key> = noted.into_iter().map(|line| line.key).collect();
            let tables = keys.iter().map(|(table, _)| *table).collect();
            let shown = Some(Shown { ids, born });
            let head = Head { from, to, extent: Extent::Whole, changes, last, tables, shown };
            return Ok((head, Some(keys.into_iter().collect())));
        }
        let failed = |error| fault::of(error, READ);
        let limit = i64::try_from(most).ok();
        let extent = session.prepared(EXTENT).await.map_err(failed)?;
        let row = session.query_one(&extent, &[&self.migration, &limit]).await.map_err(failed)?;
        let changes = row.get::<_, i64>(0).unsigned_abs();
        let (last, tables) = (row.get(1), row.get::<_, Vec<i64>>(2).into_iter().collect());
        let extent = if row.get(3) { Extent::Part } else { Extent::Whole };
        Ok((Head { from, to, extent, changes, last, tables, shown: None }, None))
    }

    /// Tables that are followed no more are not read.
    fn locks(&self, lock: &Lock) -> String {
        let routes = lock.tables().iter().filter_map(|id| self.tables.get(id));
        let names: Vec<String> = routes.map(|route| route.target.sql()).collect();
        if names.is_empty() {
            return String::new();
        }
        let wait = match lock {
            Lock::Lately(_) => " nowait",
            Lock::Changed(_) => "",
        };
        format!("lock table {} in access share mode{wait}", names.join(", "))
    }

    /// Forgets a short batch, once SQLite has it on disk.
    pub async fn settle(&self, head: &Head, flush: Flush) -> Result<(), Fault> {
        self.on_disk.holds(head.to.seq).await?;
        let shown = head.shown.as_ref().expect("the lines of a short batch are known");
        let failed = |error| fault::of_commit(error, END);
        let settling = async {
            let session = self.target.session().await?;
            let forget = session.prepared(FORGET_SHOWN).await.map_err(failed)?;
            let [migration, places @ ..] = places(&self.migration, &head.to, &head.from);
            let [epoch, mark, nonce, was_epoch, was_mark, was_nonce] = places;
            let waits = match flush {
                Flush::Now => "on",
                Flush::Later => "off",
            };
            let (ids, born) = (&shown.ids, &shown.born);
            let asked: Asked<'_, 10> =
                [migration, epoch, mark, nonce, was_epoch, was_mark, was_nonce, ids, born, &waits];
            let forgotten = session.execute(&forget, &asked).await.map_err(failed)?;
            self.target.give_back(session);
            head.is_forgotten(forgotten)
        };
        answered(patience::SMALL, END, settling).await
    }

    /// Ends a batch and forgets it, once SQLite has it on disk: a long one in its own snapshot.
    pub async fn end(&self, Taken { mut reader, head }: Taken) -> Result<Reader, Fault> {
        if head.shown.is_some() {
            reader.rest().await?;
            self.settle(&head, Flush::Later).await?;
            return Ok(reader);
        }
        self.on_disk.holds(head.to.seq).await?;
        let session = &reader.session;
        let ending = async {
            session.prepared(FORGET).await.map_err(|error| fault::of(error, END))?;
            let (forgotten, committed) =
                join(self.forget(session, &head), session.batch_execute("commit")).await;
            forgotten?;
            committed.map_err(|error| fault::of_commit(error, END))
        };
        answered(head.patience(), END, ending).await?;
        (reader.begun, reader.wrote) = (false, false);
        Ok(reader)
    }

    /// In the batch's own transaction; the statement is prepared.
    async fn forget(&self, session: &Session, head: &Head) -> Result<(), Fault> {
        let failed = |error| fault::of(error, END);
        let forget = session.prepared(FORGET).await.map_err(failed)?;
        let [migration, places @ ..] = places(&self.migration, &head.to, &head.from);
        let [epoch, mark, nonce, was_epoch, was_mark, was_nonce] = places;
        let asked: Asked<'_, 8> = [migration, epoch, mark, nonce, was_epoch, was_mark, was_nonce, &head.last];
        head.is_forgotten(session.execute(&forget, &asked).await.map_err(failed)?)
    }
}

impl Lock {
    fn tables(&self) -> &BTreeSet<i64> {
        match self {
            Lock::Lately(tables) | Lock::Changed(tables) => tables,
        }
    }
}

impl Reader {
    fn on(session: Session) -> Reader {
        let (learnt, lately) = (BTreeMap::new(), BTreeSet::new());
        Reader { session, begun: false, wrote: false, learnt, lately, read: Instant::now() }
    }

    fn read_lately(&mut self, tables: &BTreeSet<i64>) {
        self.lately.extend(tables);
        if self.lately.len() > LATELY_MAX {
            self.lately.clone_from(tables);
        }
        self.read = Instant::now();
    }

    /// What ends the batch before in the same question as the next begins with. What was written to the ledger is committed first: whether
    /// that went well is not to be told from whether the next could begin.
    async fn end(&mut self) -> Result<&'static str, Fault> {
        let end = match (self.begun, self.wrote) {
            (false, _) => "",
            (true, false) => "commit; ",
            (true, true) => {
                let committed = self.session.batch_execute("commit").await;
                committed.map_err(|error| fault::of_commit(error, READ))?;
                ""
            }
        };
        (self.begun, self.wrote) = (false, false);
        Ok(end)
    }

    /// Ends the batch before.
    async fn rest(&mut self) -> Result<(), Fault> {
        if !self.begun {
            return Ok(());
        }
        let end = self.end().await?;
        let ended = self.session.batch_execute(end).await;
        ended.map_err(|error| fault::of(error, READ))
    }

    async fn roll_back(&mut self) -> Result<(), Fault> {
        let rolled_back = self.session.batch_execute("rollback").await;
        self.begun = false;
        rolled_back.map_err(|error| fault::of(error, READ))
    }
}

/// Lines that the batch before has not shown.
fn not_of(before: Option<&Head>, noted: Vec<Line>) -> Vec<Line> {
    let Some(shown) = before.and_then(|head| head.shown.as_ref()) else { return noted };
    let shown: HashSet<(i64, i64)> = shown.ids.iter().copied().zip(shown.born.iter().copied()).collect();
    noted.into_iter().filter(|line| !shown.contains(&(line.id, line.born))).collect()
}
