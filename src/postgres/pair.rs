//! The target's half of a pair: one snapshot, taken before the next batch commits, compared with the source at the same position.

use super::attend::Attended;
use super::connect::Session;
use super::digest;
use super::fault;
use super::patience::{self, answered};
use super::refused::refused;
use super::target::PgTarget;
use crate::diff::RowDigest;
use crate::diff::compare::Seen;
use crate::link::{Comparable, Refused, Span, Sums, Wanted};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::plan::route::Route;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Ends its snapshot when it is dropped.
pub struct PairedTarget {
    session: Session,
    migration: i64,
    attended: Attended,
}

impl PairedTarget {
    /// Opens the snapshot, and makes sure that it stands where the source's half does.
    pub async fn open(target: &PgTarget, migration: i64, at: Position) -> Result<PairedTarget, Fault> {
        // The following waits for it.
        answered(patience::SMALL, "open a snapshot of the target", PairedTarget::begin(target, migration, at))
            .await
    }

    async fn begin(target: &PgTarget, migration: i64, at: Position) -> Result<PairedTarget, Fault> {
        let doing = "open a snapshot of the target";
        let session = target.session().await?;
        session
            .batch_execute(
                "begin isolation level repeatable read, read only; set local statement_timeout = 0",
            )
            .await
            .map_err(|error| fault::of(error, doing))?;
        let sql = "select epoch, seq, nonce from liteferry.follow where migration_id = $1";
        let row = session.query_one(sql, &[&migration]).await.map_err(|error| fault::of(error, doing))?;
        let found = Position { epoch: row.get(0), seq: row.get(1), nonce: row.get(2) };
        if found != at {
            return Err(Fault::new(FaultClass::Transient, "pair_missed", doing).with_remedy(
                "the target moved on before its snapshot was taken; another pair is made by itself",
            ));
        }
        let attended = Attended::of(target.address(), &session, doing).await?;
        Ok(PairedTarget { session, migration, attended })
    }
}

const COMPARING: &str = "compare rows of the target";

impl Comparable for PairedTarget {
    async fn sums(
        &self,
        route: &Arc<Route>,
        (span, buckets): (Span, usize),
        _told: Option<mpsc::Sender<u64>>,
    ) -> Result<Sums, Fault> {
        let work = async {
            let rows = digest::sums(&self.session, route, span, buckets).await?;
            let ledger = digest::ledger_sum(&self.session, self.migration, route, span).await?;
            Ok(Sums { rows, ledger: Some(ledger) })
        };
        self.attended.work(COMPARING, work).await
    }

    async fn rows(&self, route: &Arc<Route>, wanted: &Wanted) -> Result<Vec<Seen>, Fault> {
        self.attended.work(COMPARING, digest::rows(&self.session, route, wanted)).await
    }

    async fn refused(&self, route: &Arc<Route>, span: Span) -> Result<Refused, Fault> {
        self.attended.work(COMPARING, refused(&self.session, self.migration, route, span)).await
    }

    async fn tuples(
        &self,
        route: &Arc<Route>,
        span: Span,
        digests: &[RowDigest],
    ) -> Result<Vec<(RowDigest, Vec<u8>)>, Fault> {
        self.attended.work(COMPARING, digest::tuples(&self.session, route, (span, digests))).await
    }
}
