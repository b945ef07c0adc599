//! The source's half of a pair: one snapshot, held open, compared with the target at the same position.

use super::changes::Held;
use super::digest;
use super::scan::{Turns, count_rows};
use super::survey::spans;
use crate::diff::RowDigest;
use crate::diff::compare::Seen;
use crate::link::{Comparable, Refused, Span, Sums, Wanted};
use crate::model::fault::Fault;
use crate::plan::route::{Route, ScanOrder};
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Ends its snapshot when it is dropped.
#[derive(Clone)]
pub struct PairedSource {
    db: Arc<Mutex<Connection>>,
}

impl PairedSource {
    pub fn new(held: Held) -> PairedSource {
        PairedSource { db: Arc::new(Mutex::new(held.db)) }
    }

    /// Stretches of a table that each take a short while; one where it cannot be cut.
    pub async fn spans(&self, route: &Arc<Route>, want: usize) -> Result<Vec<Span>, Fault> {
        match (&route.scan, route.rowid_identity()) {
            (ScanOrder::Rowid { name, .. }, Some(_)) => {
                let (table, rowid) = (route.source.clone(), name.clone());
                self.read(move |db| spans(db, &table, &rowid, want)).await
            }
            (_, _) => Ok(vec![Span::default()]),
        }
    }

    pub async fn count(&self, route: &Arc<Route>) -> Result<u64, Fault> {
        let table = route.source.clone();
        self.read(move |db| count_rows(db, &table)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let db = Arc::clone(&self.db);
        let task =
            tokio::task::spawn_blocking(move || work(&db.lock().unwrap_or_else(PoisonError::into_inner)));
        task.await
            .unwrap_or_else(|error| Err(Fault::fatal("stopped", "read a held snapshot").with_source(error)))
    }
}

/// The snapshot is held on purpose: whoever holds it bounds the time.
const IN_ONE_TURN: Duration = Duration::MAX;

impl Comparable for PairedSource {
    async fn sums(
        &self,
        route: &Arc<Route>,
        (span, buckets): (Span, usize),
        _told: Option<mpsc::Sender<u64>>,
    ) -> Result<Sums, Fault> {
        let route = Arc::clone(route);
        self.read(move |db| {
            digest::sums(db, &route, (span, buckets), &Turns { read_time: IN_ONE_TURN, ended: &|_| {} })
        })
        .await
    }

    async fn rows(&self, route: &Arc<Route>, wanted: &Wanted) -> Result<Vec<Seen>, Fault> {
        let (route, wanted) = (Arc::clone(route), wanted.clone());
        self.read(move |db| digest::rows(db, &route, &wanted, IN_ONE_TURN)).await
    }

    /// A source refuses no rows.
    async fn refused(&self, _route: &Arc<Route>, _span: Span) -> Result<Refused, Fault> {
        Ok(Refused::default())
    }

    async fn tuples(
        &self,
        route: &Arc<Route>,
        span: Span,
        digests: &[RowDigest],
    ) -> Result<Vec<(RowDigest, Vec<u8>)>, Fault> {
        let (route, digests) = (Arc::clone(route), digests.to_vec());
        self.read(move |db| digest::tuples(db, &route, (span, &digests), IN_ONE_TURN)).await
    }
}
