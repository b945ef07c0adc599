//! The roles of an engine, apart from which engine plays them. Layer 2.
//!
//! Flows are written over these traits and never name an engine.

use crate::diff::compare::Seen;
use crate::diff::{Buckets, RowDigest, Sum};
use crate::model::cell::CellBuf;
use crate::model::chunk::Chunk;
use crate::model::fault::Fault;
use crate::plan::route::Route;
use std::sync::Arc;
use tokio::sync::mpsc;

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

/// The source's rows that the target itself refused: they stand in the ledger and are not missing.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub rows: Vec<Seen>,
    /// Ledger entries that the rows' cells call for on the source. The ledger has such a row whole instead.
    pub called_for: Sum,
}

/// Buckets of a table whose rows are wanted one by one.
#[derive(Clone, Debug)]
pub struct Wanted {
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

    /// Reads a range from where it stands to its end, chunk by chunk, each chunk in its own short read transaction. Ends early, without
    /// a fault, when the receiver is gone.
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
    /// The digests of a span, in so many buckets. The ledger entries of the whole table are counted by the target with the span that is
    /// open below. A side that reads in turns tells `told` how many rows each had.
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

    fn refused(&self, route: &Arc<Route>) -> impl Future<Output = Result<Refused, Fault>> + Send;

    /// The whole tuples of the rows with these digests, in canonical form.
    fn tuples(
        &self,
        route: &Arc<Route>,
        digests: &[RowDigest],
    ) -> impl Future<Output = Result<Vec<(RowDigest, Vec<u8>)>, Fault>> + Send;
}
