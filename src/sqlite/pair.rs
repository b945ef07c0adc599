//! SQLite's half of a pair: one snapshot, held open, compared with PostgreSQL in the very same state.

use super::apply;
use super::changes::Held;
use super::connect::{SqliteFile, journal_mode};
use super::control;
use super::digest;
use super::fault::from_sqlite;
use super::scan::{Turns, count_rows};
use super::survey::spans;
use crate::diff::RowDigest;
use crate::diff::compare::Seen;
use crate::link::{Comparable, Refused, Span, Sums, Wanted};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::plan::route::{Route, ScanOrder};
use rusqlite::{Connection, InterruptHandle};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Ends its snapshot when the last of its copies is dropped, also in the middle of a reading: where the application keeps a rollback journal
/// a reader that nobody wants any more would keep writers waiting.
#[derive(Clone)]
pub struct SqliteHalf(Arc<Open>);

struct Open {
    db: Arc<Mutex<Connection>>,
    reading: InterruptHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reading.interrupt();
    }
}

impl SqliteHalf {
    pub fn new(held: Held) -> SqliteHalf {
        let reading = held.db.get_interrupt_handle();
        SqliteHalf(Arc::new(Open { db: Arc::new(Mutex::new(held.db)), reading }))
    }

    /// As the way back has just left it. Nobody but us writes there, and it is we who wait: only a second daemon could have moved on.
    pub async fn brought_to(file: &SqliteFile, at: Position) -> Result<SqliteHalf, Fault> {
        let doing = "open a snapshot of SQLite";
        let file = file.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let db = file.open_reader()?;
            db.execute_batch("begin").map_err(|error| from_sqlite(doing, error))?;
            match control::reverse_begins(&db)? {
                found if found == at => Ok(SqliteHalf::new(Held { at, db })),
                _ => Err(Fault::fatal("reverse_history_fork", doing).with_remedy(control::FORK)),
            }
        });
        opened.await.unwrap_or_else(|error| Err(Fault::fatal("stopped", doing).with_source(error)))
    }

    /// Whether somebody can commit while it is held. Nobody changes the mode meanwhile.
    pub async fn lets_others_write(&self) -> Result<bool, Fault> {
        self.read(|db| Ok(journal_mode(db)? == "wal")).await
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
        let db = Arc::clone(&self.0.db);
        let task =
            tokio::task::spawn_blocking(move || work(&db.lock().unwrap_or_else(PoisonError::into_inner)));
        task.await
            .unwrap_or_else(|error| Err(Fault::fatal("stopped", "read a held snapshot").with_source(error)))
    }
}

/// Rows that are asked for by key at once.
const KEYS_PER_LOOK: usize = 1_000;

/// The snapshot is held on purpose: whoever holds it bounds the time.
const IN_ONE_TURN: Duration = Duration::MAX;

impl Comparable for SqliteHalf {
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

    /// SQLite keeps no ledger.
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

    async fn stands_for<S: Comparable>(
        &self,
        source: &S,
        route: &Arc<Route>,
        keys: &[Vec<u8>],
    ) -> Result<HashSet<Vec<u8>>, Fault> {
        let mut standing = HashSet::new();
        for keys in keys.chunks(KEYS_PER_LOOK) {
            let there = source.at_keys(route, keys).await?;
            if there.is_empty() {
                continue;
            }
            let route = Arc::clone(route);
            standing.extend(self.read(move |db| apply::standing(db, &route, there)).await?);
        }
        Ok(standing)
    }
}
