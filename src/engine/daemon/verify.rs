//! Live validation: every row of both sides compared while the application writes and the following goes on.
//!
//! ```text
//!  follow:   … batch ─ commit ─┬─ batch ─ commit ─ batch ─ …
//!                              │ source's snapshot held, target's snapshot taken: one state, seen from both sides
//!  verify:                     └──── stretches compared until the pair is old; what is left waits for the next pair
//! ```
//!
//! A row that differs is mended by naming its key in the change table, so that the following reads it again like any changed row;
//! a mended table is unverified until it has been read equal again.

use crate::flow::validate::{Comparison, Mender, Scope, TableVerdict};
use crate::link::{Link, Span};
use crate::model::cell::CellBuf;
use crate::model::fault::Fault;
use crate::plan::route::{Identity, Route};
use crate::postgres::pair::PairedTarget;
use crate::sqlite::capture;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::pair::PairedSource;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What is done about rows that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    LeaveAsIs,
    ReadAgain,
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
    pub async fn go_on(
        mut self,
        pair: Link<PairedSource, PairedTarget>,
        file: SqliteFile,
        age_max: Duration,
    ) -> Result<Progress, Fault> {
        let began = Instant::now();
        let scope = self.scope;
        loop {
            let mut now = match self.now.take() {
                Some(now) => now,
                None => match self.tables.pop_front() {
                    Some((id, route)) => {
                        let rows = pair.source.count(&route).await?;
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
                None => stretches(&pair.source, now.comparison.route()).await?,
            };
            let mut mender = Toucher { file: &file, id: now.id, repair: self.repair };
            while let Some(span) = spans.pop_front() {
                now.comparison.compare(&pair, span, scope, &mut mender).await?;
                if began.elapsed() >= age_max && !spans.is_empty() {
                    now.spans = Some(spans);
                    self.now = Some(now);
                    return Ok(Progress::Paused(self));
                }
            }
            self.verdicts.push(now.comparison.end());
            if began.elapsed() >= age_max && !self.tables.is_empty() {
                return Ok(Progress::Paused(self));
            }
        }
    }
}

async fn stretches(source: &PairedSource, route: &Arc<Route>) -> Result<VecDeque<Span>, Fault> {
    let rows = source.count(route).await?;
    let want = usize::try_from(rows / ROWS_PER_STRETCH + 1).unwrap_or(usize::MAX);
    Ok(source.spans(route, want).await?.into())
}

/// Names differing rows in the change table.
pub struct Toucher<'a> {
    pub file: &'a SqliteFile,
    pub id: i64,
    pub repair: Repair,
}

impl Mender for Toucher<'_> {
    async fn differing(&mut self, route: &Arc<Route>, keys: Vec<Vec<u8>>) -> Result<(), Fault> {
        match self.repair {
            Repair::LeaveAsIs => return Ok(()),
            Repair::ReadAgain => {}
        }
        let keys: Vec<Vec<CellBuf>> =
            keys.iter().map(|key| cells_of(route, key)).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Ok(());
        }
        tracing::warn!(table = route.source, rows = keys.len(), "rows that differ are read again");
        let (file, id) = (self.file.clone(), self.id);
        let touched =
            tokio::task::spawn_blocking(move || capture::touch(&file.open_writer(TOUCH_WAIT)?, id, &keys));
        touched
            .await
            .unwrap_or_else(|error| Err(Fault::fatal("stopped", "name rows again").with_source(error)))
    }
}

const TOUCH_WAIT: Duration = Duration::from_secs(10);

/// The source's own cells of a key that both sides match rows by.
fn cells_of(route: &Route, key: &[u8]) -> Result<Vec<CellBuf>, Fault> {
    let Identity::Columns(columns) = &route.identity else {
        unreachable!("a table without a key is refused before it is captured")
    };
    let broken = || Fault::fatal("canon_broken", format!("read back a key of table {}", route.source));
    let mut rest = key;
    columns
        .iter()
        .map(|column| {
            let (length, tail) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
            let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| broken())?;
            let (bytes, tail) = tail.split_at_checked(length).ok_or_else(broken)?;
            rest = tail;
            let mut scratch = Vec::new();
            let cell = route.columns[*column].codec.decode(bytes, &mut scratch).map_err(|_| broken())?;
            Ok(cell.to_buf())
        })
        .collect()
}
