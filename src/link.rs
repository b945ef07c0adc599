//! The roles of an engine, apart from which engine plays them. Layer 2.
//!
//! Flows are written over these traits and never name an engine.

use crate::diff::compare::Seen;
use crate::diff::{Buckets, RowDigest, Sum};
use crate::model::cell::CellBuf;
use crate::model::chunk::{Chunk, Keys};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::plan::route::Route;
use futures_util::future::BoxFuture;
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, watch};

/// A source and a target, each playing its role.
#[derive(Debug)]
pub struct Link<S, T> {
    pub source: S,
    pub target: T,
}

/// A stretch of a table by its rowid, both ends included; an open end reaches to the table's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

/// A stretch of one table that is loaded chunk by chunk, with its progress kept in the target.
#[derive(Clone, Debug)]
pub struct Range {
    pub id: i64,
    pub route: Arc<Route>,
    pub span: Span,
    /// The last row's scan key that the target holds.
    pub after: Vec<CellBuf>,
    /// The newest change that its last chunk's snapshot showed, where the source is followed.
    pub seen: Option<Position>,
}

/// What became of a chunk in the target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loaded {
    pub rows: u64,
    /// Rows held back in the ledger, by us or by the target's refusal.
    pub held: u64,
}

/// A table's digest on one side.
#[derive(Clone, Debug)]
pub struct Sums {
    pub rows: Buckets,
    /// Ledger entries: on the source those that its cells call for, on the target those that stand in the ledger,
    /// refused rows apart.
    /// `None`: this side keeps no ledger, so there is nothing to compare.
    pub ledger: Option<Sum>,
}

impl Sums {
    pub fn merge(&mut self, other: &Sums) {
        self.rows.merge(&other.rows);
        self.ledger = match (self.ledger, other.ledger) {
            (Some(mut ledger), Some(more)) => {
                ledger.merge(more);
                Some(ledger)
            }
            _ => None,
        };
    }
}

/// Rows of the other side that the side with the ledger itself refused: they stand in the ledger whole, and nowhere else here.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub rows: Vec<Seen>,
    /// Ledger entries that the rows' cells call for on the other side. The ledger has such a row whole instead.
    pub called_for: Sum,
}

/// Buckets of a stretch of a table whose rows are wanted one by one.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub span: Span,
    pub buckets: Vec<bool>,
}

impl Wanted {
    pub fn holds(&self, digest: RowDigest) -> bool {
        self.buckets[Buckets::bucket_of(digest, self.buckets.len())]
    }
}

pub trait Source: Send + Sync {
    /// Cuts a table into at most `want` spans that can be read side by side.
    fn spans(&self, route: &Arc<Route>, want: usize)
    -> impl Future<Output = Result<Vec<Span>, Fault>> + Send;

    /// Reads a range from where it stands to its end, chunk by chunk, each chunk in its own short read transaction. Where changes
    /// are followed afterwards, a chunk is given out once it would survive a power cut. Ends early, without a fault, when the receiver is
    /// gone.
    fn scan(
        &self,
        range: Range,
        chunks: mpsc::Sender<Chunk>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

pub trait Target: Send + Sync {
    type Loader: Loader;

    /// A connection of its own for loading.
    fn loader(&self) -> impl Future<Output = Result<Self::Loader, Fault>> + Send;
}

pub trait Loader: Send {
    /// Puts a chunk's rows, its ledger entries and the range's progress into the target in one transaction.
    fn load(&mut self, range: &Range, chunk: &Chunk) -> impl Future<Output = Result<Loaded, Fault>> + Send;
}

pub trait Comparable: Send + Sync {
    /// The digests of a span, in so many buckets, and of its rows' ledger entries. A side that reads in turns tells `told` how many
    /// rows each had.
    fn sums(
        &self,
        route: &Arc<Route>,
        span: (Span, usize),
        told: Option<mpsc::Sender<u64>>,
    ) -> impl Future<Output = Result<Sums, Fault>> + Send;

    /// The rows of the wanted buckets, by identity: the canonical tuple of the key columns, or of the whole row's digest where the
    /// table has no key.
    fn rows(
        &self,
        route: &Arc<Route>,
        wanted: &Wanted,
    ) -> impl Future<Output = Result<Vec<Seen>, Fault>> + Send;

    /// None of a side that keeps no ledger.
    fn refused(&self, route: &Arc<Route>, span: Span) -> impl Future<Output = Result<Refused, Fault>> + Send;

    /// Which of the source's rows, by key, this target holds although its own row, as it crosses, is another or none: it has written
    /// them in a spelling that is not the column's. None of a target that spells every value in one way.
    fn stands_for<S: Comparable>(
        &self,
        _source: &S,
        _route: &Arc<Route>,
        _keys: &[Vec<u8>],
    ) -> impl Future<Output = Result<HashSet<Vec<u8>>, Fault>> + Send {
        async { Ok(HashSet::new()) }
    }

    /// The tuples of the rows that have these keys, by key, for a target that asks what it stands for. None of a side that faces no such
    /// target.
    fn at_keys(
        &self,
        _route: &Arc<Route>,
        _keys: &[Vec<u8>],
    ) -> impl Future<Output = Result<HashMap<Vec<u8>, Vec<u8>>, Fault>> + Send {
        async { Ok(HashMap::new()) }
    }

    /// The whole tuples of the rows with these digests, in canonical form.
    fn tuples(
        &self,
        route: &Arc<Route>,
        span: Span,
        digests: &[RowDigest],
    ) -> impl Future<Output = Result<Vec<(RowDigest, Vec<u8>)>, Fault>> + Send;
}

/// Changed keys of one table, and the rows that they name in the source's present state.
#[derive(Clone, Debug)]
pub struct Changed {
    pub route: Arc<Route>,
    /// The changed keys as tuples of the identity's columns, those apart that do not cross exactly: such a key's row is held back, and
    /// what stands in the target under the closest key may be another's.
    pub keys: Keys,
    /// Every changed key as the ledger names it.
    pub names: Vec<String>,
    /// The rows that are there; a key without one is gone.
    pub rows: Chunk,
    /// Said once, before any key of the table, where the source emptied it: every row of the target goes but those that stood in the
    /// ledger alone, which are named. Rows that are there again follow.
    pub emptied: Option<HashSet<String>>,
}

/// A part of a batch that is held in memory at once. Within one portion no key is twice; two portions may both hold a key, and
/// then the same row, for a batch is read in one snapshot.
pub type Portion = Vec<Changed>;

/// How much of the backlog a batch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// At most so many changes.
    UpTo(u64),
    /// The same; or all, if most that waits is of tables of which much has changed. Those are emptied, and their rows are given without
    /// keys.
    Renewing(u64),
    /// All that the snapshot shows.
    All,
}

/// Whether a batch brings the target to a state that the source was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It ends at the snapshot's newest change.
    Whole,
    /// More is waiting: until that is applied too, rows of different times stand side by side.
    Part,
}

/// What changed in the source after a position, read in one snapshot.
#[derive(Debug)]
pub struct Batch {
    pub from: Position,
    pub to: Position,
    pub extent: Extent,
    /// Lines of the change table, several for one key counted each.
    pub changes: u64,
    /// The snapshot's newest change: the rows are as they were then.
    pub newest: Position,
    pub portions: Portions,
}

/// A batch's portions on their way, or what ended the reading of them.
pub type Pieces = mpsc::Sender<Result<Piece, Fault>>;

/// What a batch's reader gives out.
#[derive(Debug)]
pub enum Piece {
    Portion(Portion),
    /// There are no more. A reader that goes away without a word has died, and its batch is not whole.
    End,
}

#[derive(Debug)]
pub struct Portions(mpsc::Receiver<Result<Piece, Fault>>);

impl Portions {
    /// So many portions wait at most.
    pub fn channel(waiting_max: usize) -> (Pieces, Portions) {
        let (pieces, portions) = mpsc::channel(waiting_max);
        (pieces, Portions(portions))
    }

    /// The next portion; nothing once all were given out.
    pub async fn next(&mut self) -> Result<Option<Portion>, Fault> {
        match self.0.recv().await {
            Some(Ok(Piece::Portion(portion))) => Ok(Some(portion)),
            Some(Ok(Piece::End)) => Ok(None),
            Some(Err(fault)) => Err(fault),
            None => Err(Fault::fatal("stopped", "read a batch to its end").with_remedy(
                "the source's reader died: start the daemon again, and report what its log says",
            )),
        }
    }
}

/// A source whose changes are captured.
pub trait Captured: Send + Sync {
    /// What changed after `from`, which must be a point of the source's own history; nothing where nothing did.
    fn changes(
        &self,
        from: Position,
        take: Take,
    ) -> impl Future<Output = Result<Option<Batch>, Fault>> + Send;

    /// Begins to read what the next call of `changes` will ask for, while the target still writes what was read before.
    fn read_ahead(&self, _from: Position, _take: Take) {}

    /// Returns once everything read so far would survive a power cut.
    fn harden(&self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Lets go of some of the changes up to and with `seq`, oldest first, the newest of all apart, in a few short turns.
    fn forget(&self, seq: i64) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// What a batch did to the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub written: u64,
    /// Keys that the target holds no row of any more, whether or not it held one before.
    pub deleted: u64,
    /// Rows that went to the ledger, held back by us or refused by the target.
    pub held: u64,
}

/// What becomes of a batch of which nothing is left to send. The answers come in the order of the batches, and each is waited for from when it
/// is asked for. Dropped, it is in doubt like a batch whose answer was lost.
pub enum Outcome {
    /// The answer has come already.
    Known(Applied),
    Awaited(BoxFuture<'static, Result<Applied, Fault>>),
}

impl Future for Outcome {
    type Output = Result<Applied, Fault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Outcome::Known(applied) => Poll::Ready(Ok(*applied)),
            Outcome::Awaited(answer) => answer.as_mut().poll(context),
        }
    }
}

/// When a batch's commit is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Before anything is answered, where the target can refuse the whole batch by itself: the fault's code is then `BATCH_REFUSED`.
    Ahead,
    /// Once all the rest of the batch has been answered.
    Answered,
}

/// One writer of changes into a target: `open`, any number of `put`, `commit`. After a fault the batch is gone and `position` tells
/// what became of it. The next batch may be opened before the outcome of this one is known: it begins where this one ends, or not at all.
pub trait Applier: Send {
    /// Where the target stands, once no transaction is in doubt.
    fn position(&mut self) -> impl Future<Output = Result<Position, Fault>> + Send;

    /// `newest` is the newest change that the batch's rows may be of: until it is reached too, a source that no longer knows it is not
    /// the one that the rows were read from.
    fn open(
        &mut self,
        from: Position,
        to: Position,
        newest: Position,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    fn put(&mut self, portion: Portion) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Commits rows, ledger and position together, once `durable` has ended well, and returns when nothing is left to send. Rows that the
    /// target refuses go to the ledger if the batch is whole; of a part it cannot be told whether they are at fault or only early, and the
    /// fault's code is `PART_REFUSED`.
    fn commit(
        &mut self,
        extent: Extent,
        sending: Sending,
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> impl Future<Output = Result<Outcome, Fault>> + Send;
}

/// The target does not stand where the batch begins.
pub const POSITION_MOVED: &str = "position_moved";

/// The target has refused a batch whose commit was sent ahead, and nothing of it stands there. Which row it was, and why, is found by taking
/// its changes again, with the commit behind all answers. Whatever was sent behind it is refused too.
pub const BATCH_REFUSED: &str = "batch_refused";

pub const PART_REFUSED: &str = "part_refused";

/// A table that was to be emptied cannot be at present: its changes are taken key by key.
pub const RENEWAL_REFUSED: &str = "renewal_refused";

/// How much of what a target has committed is on its disk, or what keeps it from there: told to a source that forgets nothing before.
#[derive(Clone, Debug)]
pub struct OnDisk(watch::Receiver<Result<i64, Arc<Fault>>>);

impl OnDisk {
    pub fn channel() -> (watch::Sender<Result<i64, Arc<Fault>>>, OnDisk) {
        let (tell, told) = watch::channel(Ok(i64::MIN));
        (tell, OnDisk(told))
    }

    /// Returns once the batch that reaches `seq` would survive a power cut.
    pub async fn holds(&self, seq: i64) -> Result<(), Fault> {
        let doing = "wait for what was committed to be on disk";
        let is_known = |told: &Result<i64, _>| told.as_ref().is_ok_and(|held| *held >= seq) || told.is_err();
        match self.0.clone().wait_for(is_known).await.as_deref() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(fault)) => Err(Fault::new(fault.class, fault.code, doing)
                .with_remedy(fault.remedy.clone())
                .with_source(Arc::clone(fault))),
            Err(gone) => Err(Fault::fatal("stopped", doing).with_source(gone.clone())),
        }
    }
}
