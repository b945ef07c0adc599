//! The target in memory: what is committed, and transactions whose end nobody knows yet. A commit that was sent may land until
//! somebody needs what it holds locked; only then is it decided. What was sent whole before it was begun holds nothing until its turn comes.

use crate::bug::Bug;
use crate::dice::Dice;
use crate::oracle::Oracle;
use crate::rows::{Image, TABLES};
use crate::work::{Refusal, Work};
use liteferry::link::Span;
use liteferry::model::cell::CellBuf;
use liteferry::model::history::Position;
use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::sync::Arc;

/// A range as the target records it.
#[derive(Clone, Debug)]
pub struct RangeState {
    pub table: usize,
    pub span: Span,
    pub after: Vec<CellBuf>,
    pub seen: Option<Position>,
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Backfill,
    Following,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// The index is built later.
    Unchecked,
    Enforced,
}

/// What the last batch promised: whether the rows are those of one state of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    Parts,
    Snapshot,
}

/// Everything that is committed.
#[derive(Clone, Debug)]
pub struct Committed {
    pub image: Image,
    pub ranges: Vec<RangeState>,
    pub position: Position,
    /// The newest change that rows of the last batch may be of.
    pub seen: Position,
    pub owner: u64,
    pub stage: Stage,
    pub unique: Unique,
    pub shows: Shows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    Position,
    Range(usize),
}

struct Transaction {
    lock: Lock,
    work: Work,
    sent: bool,
    /// The session that it was sent by, behind all that was sent by it before, if it waits to be begun.
    posted: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Landed,
    Lost,
    Refused,
}

pub struct TargetSide {
    now: Arc<Committed>,
    /// States that a standby may still be in, oldest first.
    past: VecDeque<Arc<Committed>>,
    transactions: BTreeMap<u64, Transaction>,
    ended: BTreeMap<u64, End>,
    next: u64,
    sessions: u64,
    /// Which server the sessions were opened on.
    pub server: u64,
}

/// A lock is held by a session that has not sent its commit.
#[derive(Clone, Copy, Debug)]
pub struct Held;

/// A standby lags at most so many commits.
pub const STANDBY_LAG_MAX: usize = 4;
const IDS_PER_SPAN: i64 = 7;

impl TargetSide {
    pub fn new(position: Position, spans: usize) -> TargetSide {
        let ranges = (0..TABLES).flat_map(|table| ranges_of(table, spans)).collect();
        let now = Committed {
            image: Image::default(),
            ranges,
            position,
            seen: position,
            owner: 0,
            stage: Stage::Backfill,
            unique: Unique::Unchecked,
            shows: Shows::Parts,
        };
        TargetSide {
            now: Arc::new(now),
            past: VecDeque::new(),
            transactions: BTreeMap::new(),
            ended: BTreeMap::new(),
            next: 0,
            sessions: 0,
            server: 0,
        }
    }

    pub fn now(&self) -> &Committed {
        &self.now
    }

    /// Changes that rows may be of, and that the source must know.
    pub fn seen(&self) -> Vec<Position> {
        let of_ranges = self.now.ranges.iter().filter_map(|range| range.seen);
        let joined = self.now.stage == Stage::Following;
        of_ranges.filter(|_| !joined).chain([self.now.seen]).collect()
    }

    /// A statement that commits by itself.
    pub fn update(&mut self, change: impl FnOnce(&mut Committed)) {
        let mut next = Committed::clone(&self.now);
        change(&mut next);
        self.advance(next);
    }

    fn advance(&mut self, next: Committed) {
        self.past.push_back(std::mem::replace(&mut self.now, Arc::new(next)));
        if self.past.len() > STANDBY_LAG_MAX {
            self.past.pop_front();
        }
    }

    /// Waits for whoever has sent a commit and holds the lock: it is decided now what became of it.
    pub fn wait_for(
        &mut self,
        lock: Lock,
        (dice, bug): (&mut Dice, Option<Bug>),
        oracle: &mut Oracle,
    ) -> Result<(), Held> {
        if let Some(id) = self.holder(lock) {
            if !self.transactions[&id].sent {
                return Err(Held);
            }
            oracle.saw("a commit in doubt that others waited for");
            let end = if dice.chance(50) { End::Landed } else { End::Lost };
            self.end(id, end, bug, oracle);
        }
        // Whose turn comes first is chance: what was posted before may be begun after.
        for id in self.posted(|held, _| held.lock == lock) {
            if dice.chance(50) {
                let end = if dice.chance(80) { End::Landed } else { End::Lost };
                self.end(id, end, bug, oracle);
            }
        }
        Ok(())
    }

    fn holder(&self, lock: Lock) -> Option<u64> {
        let holds = |held: &Transaction| held.lock == lock && held.posted.is_none();
        self.transactions.iter().find(|(_, held)| holds(held)).map(|(id, _)| *id)
    }

    fn posted(&self, which: impl Fn(&Transaction, u64) -> bool) -> Vec<u64> {
        let posted = self.transactions.iter().filter(|(id, held)| held.posted.is_some() && which(held, **id));
        posted.map(|(id, _)| *id).collect()
    }

    pub fn open_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    /// Takes a transaction with its commit, to be begun behind all that was posted by the session before.
    pub fn post(&mut self, session: u64, lock: Lock, work: Work) -> u64 {
        self.next += 1;
        let transaction = Transaction { lock, work, sent: true, posted: Some(session) };
        self.transactions.insert(self.next, transaction);
        self.next
    }

    /// How many transactions of a session wait to be begun.
    pub fn waiting(&self, session: u64) -> usize {
        self.posted(|held, _| held.posted == Some(session)).len()
    }

    /// Whatever a session is asked comes behind what it was sent before.
    pub fn go_through(&mut self, session: u64, bug: Option<Bug>, oracle: &mut Oracle) -> Result<(), Held> {
        for id in self.posted(|held, _| held.posted == Some(session)) {
            self.end(id, End::Landed, bug, oracle);
        }
        if self.waiting(session) == 0 { Ok(()) } else { Err(Held) }
    }

    /// Begins a transaction that does this work, if it can be done here and now.
    pub fn begin(&mut self, lock: Lock, work: Work, bug: Option<Bug>) -> Result<u64, Refusal> {
        work.perform(&self.now, bug)?;
        self.next += 1;
        self.transactions.insert(self.next, Transaction { lock, work, sent: false, posted: None });
        Ok(self.next)
    }

    /// Tells whether the transaction was still there.
    pub fn send(&mut self, id: u64) -> bool {
        let Some(transaction) = self.transactions.get_mut(&id) else { return false };
        transaction.sent = true;
        true
    }

    /// How a transaction ended, if it has.
    pub fn ended(&self, id: u64) -> Option<End> {
        self.ended.get(&id).copied()
    }

    /// A posted transaction whose lock is held stays in doubt. What was posted before it by its session is ended first; and where it is lost on
    /// the way, so is what came behind it.
    pub fn end(&mut self, id: u64, end: End, bug: Option<Bug>, oracle: &mut Oracle) {
        let Some(Transaction { lock, posted, .. }) = self.transactions.get(&id) else { return };
        let Some(session) = *posted else { return self.end_one(id, end, bug, oracle) };
        let of_session = |held: &Transaction| held.posted == Some(session);
        if end == End::Lost {
            for lost in self.posted(|held, other| of_session(held) && other >= id) {
                self.end_one(lost, End::Lost, bug, oracle);
            }
        } else if self.holder(*lock).is_none() {
            for begun in self.posted(|held, other| of_session(held) && other <= id) {
                self.end_one(begun, End::Landed, bug, oracle);
            }
        }
    }

    fn end_one(&mut self, id: u64, end: End, bug: Option<Bug>, oracle: &mut Oracle) {
        let Some(transaction) = self.transactions.remove(&id) else { return };
        let done = match end {
            End::Landed => transaction.work.perform(&self.now, bug).ok(),
            End::Lost | End::Refused => None,
        };
        let end = match (end, transaction.posted, &done) {
            (_, _, Some(_)) => End::Landed,
            (End::Landed, Some(_), None) => End::Refused,
            // Under a lock that holds, what could be begun can be ended.
            (_, _, None) => End::Lost,
        };
        self.ended.insert(id, end);
        if let Some(next) = done {
            let before = Arc::clone(&self.now);
            self.advance(next);
            oracle.landed(&transaction.work, &before, &self.now);
        }
    }

    /// The session went away: what it has not sent is rolled back.
    pub fn abandon(&mut self, id: u64) {
        if self.transactions.get(&id).is_some_and(|transaction| !transaction.sent) {
            self.transactions.remove(&id);
        }
    }

    /// Commits in doubt, to be decided by chance.
    pub fn in_doubt(&self) -> Vec<u64> {
        self.transactions.iter().filter(|(_, held)| held.sent).map(|(id, _)| *id).collect()
    }

    /// No standby lags behind.
    pub fn sync_standby(&mut self) {
        self.past.clear();
    }

    /// A standby takes over, with what it has. Tells whether commits are lost.
    pub fn fail_over(&mut self, dice: &mut Dice) -> bool {
        self.server += 1;
        for (id, _) in take(&mut self.transactions) {
            self.ended.insert(id, End::Lost);
        }
        let lost = dice.index(self.past.len() + 1);
        for _ in 0..lost {
            self.now = self.past.pop_back().expect("no more are lost than there were");
        }
        self.past.clear();
        lost > 0
    }
}

fn ranges_of(table: usize, spans: usize) -> impl Iterator<Item = RangeState> {
    (0..spans).map(move |place| {
        let cut = |place: usize| i64::try_from(place).expect("few spans") * IDS_PER_SPAN;
        let from = (place > 0).then(|| cut(place) + 1);
        let to = (place + 1 < spans).then(|| cut(place + 1));
        RangeState { table, span: Span { from, to }, after: Vec::new(), seen: None, done: false }
    })
}
