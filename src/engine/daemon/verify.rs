//! Live validation: every row of both sides compared while the application writes and the following goes on.
//!
//! ```text
//!  follow:   … batch ─ commit ─┬─ batch ─ commit ─ batch ─ …
//!                              │ a snapshot of each side: one state, seen from both
//!  verify:                     └──── stretches compared until the pair is old; what is left waits for the next pair
//! ```
//!
//! A row that differs is mended by naming its key where the following looks for changes, so that it is read again from the source like
//! any changed row; a mended table is unverified until it has been read equal again. On the way back PostgreSQL is the source.

use super::owed::{Naming, Owed};
use super::toucher::{Log, Toucher};
use crate::engine::order::Repair;
use crate::flow::validate::{Comparison, Scope, TableVerdict};
use crate::link::{Comparable, Link, Span};
use crate::model::fault::Fault;
use crate::plan::route::Route;
use crate::postgres::pair::PgHalf;
use crate::sqlite::pair::SqliteHalf;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// One state, held open on both sides.
#[derive(Clone)]
pub struct Pair {
    pub sqlite: SqliteHalf,
    pub postgres: PgHalf,
}

impl Pair {
    async fn end(self) {
        drop(self.sqlite);
        self.postgres.end().await;
    }
}

/// A validation under way, between pairs or with one.
pub struct Validation {
    pub started: SystemTime,
    pub repair: Repair,
    tables: VecDeque<(i64, Arc<Route>)>,
    now: Option<Now>,
    verdicts: Vec<TableVerdict>,
    scope: Scope,
}

/// The table that is being compared.
struct Now {
    id: i64,
    comparison: Comparison,
    /// What is left of it; not known before its first pair.
    spans: Option<VecDeque<Span>>,
}

/// How far a pair has brought a validation.
pub enum Progress {
    /// The pair is old; more is to be compared.
    Paused(Validation),
    Done(Vec<TableVerdict>, Validation),
}

/// Rows of a stretch: small enough for a pair's time to be kept, large enough for its queries to be worth it.
const ROWS_PER_STRETCH: u64 = 200_000;

impl Validation {
    pub fn of(tables: &BTreeMap<i64, Arc<Route>>, (scope, repair): (Scope, Repair)) -> Validation {
        Validation {
            started: SystemTime::now(),
            repair,
            tables: tables.iter().map(|(id, route)| (*id, Arc::clone(route))).collect(),
            now: None,
            verdicts: Vec::new(),
            scope,
        }
    }

    /// Compares what is left, stretch by stretch, until the pair is `age_max` old.
    /// What is to be read again is named meanwhile, or, beside a rollback journal, once the pair has ended.
    pub async fn go_on(self, pair: Pair, log: Log, age_max: Duration) -> Result<Progress, Fault> {
        let Pair { sqlite, postgres } = pair.clone();
        let mut naming = match log {
            Log::Sqlite(..) if !sqlite.lets_others_write().await? => Naming::Owed(Owed::default()),
            Log::Sqlite(..) | Log::Postgres(..) => Naming::AtOnce,
        };
        let compared = async {
            let with = (&pair, &log, &mut naming);
            match log {
                Log::Sqlite(..) => {
                    self.compare(Link { source: sqlite, target: postgres }, with, age_max).await
                }
                Log::Postgres(..) => {
                    self.compare(Link { source: postgres, target: sqlite }, with, age_max).await
                }
            }
        };
        // Tables that have been read are held on to: who empties or alters one must not wait for all that is left.
        let progress = tokio::select! {
            compared = compared => compared,
            fault = pair.postgres.stood_in_the_way() => Err(fault),
        }?;
        pair.end().await;
        match naming {
            Naming::AtOnce => {}
            Naming::Owed(owed) => owed.name(&log).await?,
        }
        Ok(progress)
    }

    /// SQLite tells where its tables can be cut, whichever side it is.
    async fn compare<S: Comparable, T: Comparable>(
        mut self,
        link: Link<S, T>,
        (pair, log, naming): (&Pair, &Log, &mut Naming),
        age_max: Duration,
    ) -> Result<Progress, Fault> {
        let began = Instant::now();
        let scope = self.scope;
        let cuts = &pair.sqlite;
        loop {
            let mut now = match self.now.take() {
                Some(now) => now,
                None => match self.tables.pop_front() {
                    Some((id, route)) => {
                        let rows = cuts.count(&route).await?;
                        Now { id, comparison: Comparison::new(&route, rows), spans: None }
                    }
                    None => {
                        let verdicts = std::mem::take(&mut self.verdicts);
                        return Ok(Progress::Done(verdicts, self));
                    }
                },
            };
            let mut spans = match now.spans.take() {
                Some(spans) => spans,
                None => stretches(cuts, now.comparison.route()).await?,
            };
            let mut toucher = Toucher::of(log, now.id, self.repair);
            let mut ends = false;
            while let Some(span) = spans.pop_front() {
                now.comparison.compare(&link, span, scope, &mut naming.mender(&mut toucher)).await?;
                ends = began.elapsed() >= age_max
                    || naming.is_owed_much()
                    || pair.postgres.is_in_the_way().await?;
                if ends && !spans.is_empty() {
                    now.spans = Some(spans);
                    self.now = Some(now);
                    return Ok(Progress::Paused(self));
                }
            }
            self.verdicts.push(now.comparison.end());
            if ends && !self.tables.is_empty() {
                return Ok(Progress::Paused(self));
            }
        }
    }
}

async fn stretches(cuts: &SqliteHalf, route: &Arc<Route>) -> Result<VecDeque<Span>, Fault> {
    let rows = cuts.count(route).await?;
    let want = usize::try_from(rows / ROWS_PER_STRETCH + 1).unwrap_or(usize::MAX);
    Ok(cuts.spans(route, want).await?.into())
}
