//! PostgreSQL's half of a pair: one snapshot, compared with SQLite as it stands in the very same state.
//!
//! ```text
//!  forward   batch committed here ─▶ snapshot taken before the next one commits
//!  back      batch read in a snapshot ─▶ the same snapshot shared, before the batch is forgotten
//!            nothing waits to be read ─▶ a snapshot that shows so
//! ```

use super::attend::{Attended, IN_THE_WAY};
use super::compare;
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
use crate::model::name::literal;
use crate::plan::route::{Identity, Route};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Its snapshot ends when the last of its copies is dropped, at the latest.
#[derive(Clone)]
pub struct PgHalf(Arc<Open>);

struct Open {
    session: Session,
    target: PgTarget,
    migration: i64,
    attended: Attended,
    ledger: Ledger,
}

/// Whether the ledger is compared too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ledger {
    /// It must hold what SQLite's cells call for.
    Compared,
    /// A batch of the way back writes it too, where its own snapshot does not show it; and it tells what PostgreSQL did not take of
    /// SQLite's, which is asked again when SQLite is the source.
    LeftOut,
}

const OPEN: &str = "open a snapshot of PostgreSQL";
const END: &str = "end a snapshot of PostgreSQL";
const BEGIN: &str = "begin isolation level repeatable read, read only; set local statement_timeout = 0";
const FOLLOWED_TO: &str = "select epoch, seq, nonce from liteferry.follow where migration_id = $1";
const READ_TO: &str = "select epoch, mark, nonce from liteferry.reverse r where migration_id = $1
    and not exists (select from liteferry.reverse_change c where c.migration_id = r.migration_id)";

impl PgHalf {
    /// Of the target, which SQLite's state at `at` was brought to. The following waits for it.
    pub async fn of_target(target: &PgTarget, migration: i64, at: Position) -> Result<PgHalf, Fault> {
        let (half, found) =
            PgHalf::begin(target, (migration, Ledger::Compared), (BEGIN, FOLLOWED_TO)).await?;
        if found == Some(at) {
            return Ok(half);
        }
        half.end().await;
        Err(Fault::new(FaultClass::Transient, "pair_missed", OPEN)
            .with_remedy("the target moved on before its snapshot was taken; another pair is made by itself"))
    }

    /// Of the source of the way back, whose whole state at `at` SQLite has taken. Nothing if something waits there.
    pub async fn at_rest(target: &PgTarget, migration: i64, at: Position) -> Result<Option<PgHalf>, Fault> {
        let (half, found) = PgHalf::begin(target, (migration, Ledger::LeftOut), (BEGIN, READ_TO)).await?;
        if found == Some(at) {
            return Ok(Some(half));
        }
        half.end().await;
        Ok(None)
    }

    /// The same in the snapshot of a batch that is not forgotten yet.
    pub async fn sharing(target: &PgTarget, migration: i64, snapshot: &str) -> Result<PgHalf, Fault> {
        let begin = format!("{BEGIN}; set transaction snapshot {}", literal(snapshot));
        // What it shows of the positions is older than the batch.
        let (half, _) = PgHalf::begin(target, (migration, Ledger::LeftOut), (&begin, FOLLOWED_TO)).await?;
        Ok(half)
    }

    async fn begin(
        target: &PgTarget,
        (migration, ledger): (i64, Ledger),
        (begin, position): (&str, &str),
    ) -> Result<(PgHalf, Option<Position>), Fault> {
        let begun = async {
            let session = target.session().await?;
            let attended = Attended::begin(target.address(), &session, (begin, OPEN)).await?;
            let rows = session.query_typed(position, &[(&migration, Type::INT8)]).await;
            let rows = rows.map_err(|error| fault::of(error, OPEN))?;
            let position = |row: &Row| Position { epoch: row.get(0), seq: row.get(1), nonce: row.get(2) };
            let found = rows.first().map(position);
            let target = target.clone();
            Ok((PgHalf(Arc::new(Open { session, target, migration, attended, ledger })), found))
        };
        answered(patience::SMALL, OPEN, begun).await
    }

    /// Ends the snapshot, unless there is another copy of it. Of a session that only goes away the server would complain in its log.
    pub async fn end(self) {
        let Some(Open { session, target, .. }) = Arc::into_inner(self.0) else { return };
        let ended = async { session.batch_execute("rollback").await.map_err(|error| fault::of(error, END)) };
        match answered(patience::SMALL, END, ended).await {
            Ok(()) => target.give_back(session),
            Err(fault) => tracing::debug!(%fault, "a snapshot has ended with its connection"),
        }
    }

    /// Whether somebody waits for a table that the snapshot holds on to.
    pub async fn is_in_the_way(&self) -> Result<bool, Fault> {
        let asked = async {
            let failed = |error| fault::of(error, COMPARING);
            let look = self.0.session.prepared(IN_THE_WAY).await.map_err(failed)?;
            let row = self.0.session.query_one(&look, &[&self.0.attended.backend()]).await;
            Ok(row.map_err(failed)?.get(0))
        };
        answered(patience::SMALL, COMPARING, asked).await
    }

    /// Returns once somebody has waited for such a table for long; what was being read is broken off.
    pub async fn stood_in_the_way(&self) -> Fault {
        self.0.attended.stood_in_the_way(COMPARING).await;
        Fault::new(FaultClass::Transient, "pair_in_the_way", COMPARING).with_remedy(
            "somebody waited for a table of the snapshot; what is left is compared anew by itself",
        )
    }

    /// Whoever empties or rewrites a table empties it for snapshots that are older, too. From its first reading on the table is ours until
    /// the snapshot ends; what was done to it before that shows in its file.
    async fn is_as_it_was(&self, route: &Route) -> Result<(), Fault> {
        let doing = format!("read table {} in a snapshot", route.target);
        let failed = |error| fault::of(error, &doing);
        let look = self.0.session.prepared(REWRITTEN).await.map_err(failed)?;
        let row = self.0.session.query_one(&look, &[&route.target.sql()]).await;
        match row.map_err(failed)?.get(0) {
            false => Ok(()),
            true => Err(Fault::new(FaultClass::Transient, "pair_outdated", doing).with_remedy(
                "the table was emptied or rewritten since its snapshot was taken; it is compared anew by itself",
            )),
        }
    }
}

/// The catalog as the snapshot shows it beside the files that stand there now.
const REWRITTEN: &str = include_str!("sql/rewritten.sql");
const COMPARING: &str = "compare rows of PostgreSQL";

impl Comparable for PgHalf {
    async fn sums(
        &self,
        route: &Arc<Route>,
        (span, buckets): (Span, usize),
        _told: Option<mpsc::Sender<u64>>,
    ) -> Result<Sums, Fault> {
        let work = async {
            let rows = digest::sums(&self.0.session, route, span, buckets).await?;
            self.is_as_it_was(route).await?;
            let ledger = match self.0.ledger {
                Ledger::Compared => {
                    Some(digest::ledger_sum(&self.0.session, self.0.migration, route, span).await?)
                }
                Ledger::LeftOut => None,
            };
            Ok(Sums { rows, ledger })
        };
        self.0.attended.work(COMPARING, work).await
    }

    async fn rows(&self, route: &Arc<Route>, wanted: &Wanted) -> Result<Vec<Seen>, Fault> {
        self.0.attended.work(COMPARING, digest::rows(&self.0.session, route, wanted)).await
    }

    async fn refused(&self, route: &Arc<Route>, span: Span) -> Result<Refused, Fault> {
        self.0.attended.work(COMPARING, refused(&self.0.session, self.0.migration, route, span)).await
    }

    async fn tuples(
        &self,
        route: &Arc<Route>,
        span: Span,
        digests: &[RowDigest],
    ) -> Result<Vec<(RowDigest, Vec<u8>)>, Fault> {
        self.0.attended.work(COMPARING, digest::tuples(&self.0.session, route, (span, digests))).await
    }

    async fn at_keys(
        &self,
        route: &Arc<Route>,
        keys: &[Vec<u8>],
    ) -> Result<HashMap<Vec<u8>, Vec<u8>>, Fault> {
        let Identity::Columns(columns) = &route.identity else { return Ok(HashMap::new()) };
        let parts = keys.iter().map(|key| Identity::parts_of(key, columns.len()));
        let parts = parts.map(|parts| parts.expect("keys are of the route's columns")).collect();
        self.0.attended.work(COMPARING, compare::at_keys(&self.0.session, route, parts)).await
    }
}
