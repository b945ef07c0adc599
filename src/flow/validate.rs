//! Validate: proves that both sides hold the same rows, or says which rows and columns differ.
//!
//! Sums of row digests are compared first; only rows of buckets that differ are looked at one by one.

use super::progress::{Event, Watch};
use crate::diff::compare::{Pairing, Seen, differing_columns, pair};
use crate::diff::{Buckets, RowDigest, Sum};
use crate::link::{Comparable, Link, Source, Span, Sums, Wanted};
use crate::model::fault::Fault;
use crate::plan::route::Route;
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What one table's comparison found.
#[derive(Clone, Debug)]
pub struct TableVerdict {
    pub route: Arc<Route>,
    pub source_rows: u64,
    pub target_rows: u64,
    pub digest_source: String,
    pub digest_target: String,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    /// Entries of the table in the ledger, refused rows apart; of a target that keeps none, those that its cells call for.
    pub ledger: u64,
    /// Rows that one side refused; they stand in the ledger whole.
    pub refused: u64,
    /// Whether the ledger holds exactly what the source's cells call for, where both tell.
    pub ledger_agrees: bool,
    /// The first differences, at most as many as were asked for.
    pub listed: Vec<Difference>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub kind: DifferenceKind,
    /// The row's key as JSON.
    pub key: String,
    /// Target columns that differ; empty where a whole row is missing or extra.
    pub columns: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    Missing,
    Extra,
    Different,
}

impl DifferenceKind {
    pub fn word(self) -> &'static str {
        match self {
            DifferenceKind::Missing => "missing",
            DifferenceKind::Extra => "extra",
            DifferenceKind::Different => "different",
        }
    }
}

/// How much is asked of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Tables compared side by side.
    pub workers: usize,
    /// Differences listed by key, for each table.
    pub listed_max: usize,
    pub extra: Extra,
}

/// Whether rows that only one side has are differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    Counts,
    /// The target keeps rows of its own (`existing_rows = merge`).
    Allowed,
    /// On the way back it is the source that has them.
    AllowedInSource,
}

/// Rows of both sides held in memory at once, while differences are looked for.
const ROWS_PER_LOOK: u64 = 100_000;

impl TableVerdict {
    pub fn equal(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.different == 0 && self.ledger_agrees
    }
}

/// Compares every table; `rows` estimates each one's size.
pub async fn validate<S: Source + Comparable, T: Comparable>(
    link: &Link<S, T>,
    tables: &[(Arc<Route>, u64)],
    scope: Scope,
    watch: &dyn Watch,
) -> Result<Vec<TableVerdict>, Fault> {
    stream::iter(tables)
        .map(|(route, rows)| compare_table(link, route, *rows, scope, watch))
        .buffered(scope.workers.max(1))
        .try_collect()
        .await
}

async fn compare_table<S: Source + Comparable, T: Comparable>(
    link: &Link<S, T>,
    route: &Arc<Route>,
    rows: u64,
    scope: Scope,
    watch: &dyn Watch,
) -> Result<TableVerdict, Fault> {
    let mut comparison = Comparison::new(route, rows);
    let (source, target) = both_sums(link, route, (comparison.buckets(), scope.workers), watch).await?;
    comparison.settle(link, (Span::default(), &source, &target), scope, &mut LeftAsIs).await?;
    Ok(comparison.end())
}

/// Told of the rows that differ, a bounded number at a time, by the key that both sides match rows by.
pub trait Mender: Send {
    fn differing(
        &mut self,
        route: &Arc<Route>,
        keys: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Told that the ledger is not what the cells of a span call for; of which rows, sums do not tell.
    fn ledger_differing(
        &mut self,
        _route: &Arc<Route>,
        _span: Span,
    ) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }
}

/// Mends nothing.
#[derive(Clone, Copy, Debug)]
pub struct LeftAsIs;

impl Mender for LeftAsIs {
    async fn differing(&mut self, _route: &Arc<Route>, _keys: Vec<Vec<u8>>) -> Result<(), Fault> {
        Ok(())
    }
}

/// The comparison of one table, whole or stretch by stretch. Both sides of a stretch are read at one position; another stretch may be
/// read at another.
#[derive(Debug)]
pub struct Comparison {
    verdict: TableVerdict,
    source: Sums,
    target: Sums,
}

impl Comparison {
    /// `rows` estimates the table's size.
    pub fn new(route: &Arc<Route>, rows: u64) -> Comparison {
        let blank = || Sums { rows: Buckets::new(Buckets::count_for(rows)), ledger: Some(Sum::default()) };
        let verdict = TableVerdict {
            route: Arc::clone(route),
            source_rows: 0,
            target_rows: 0,
            digest_source: String::new(),
            digest_target: String::new(),
            missing: 0,
            extra: 0,
            different: 0,
            ledger: 0,
            refused: 0,
            ledger_agrees: true,
            listed: Vec::new(),
        };
        Comparison { verdict, source: blank(), target: blank() }
    }

    pub fn route(&self) -> &Arc<Route> {
        &self.verdict.route
    }

    /// Compares one stretch, and every row of it where the sums differ.
    pub async fn compare<S: Comparable, T: Comparable>(
        &mut self,
        link: &Link<S, T>,
        span: Span,
        scope: Scope,
        mender: &mut impl Mender,
    ) -> Result<(), Fault> {
        let (route, of) = (Arc::clone(self.route()), (span, self.buckets()));
        let sums = try_join(link.source.sums(&route, of, None), link.target.sums(&route, of, None));
        let (source, target) = sums.await?;
        self.settle(link, (span, &source, &target), scope, mender).await
    }

    pub fn end(mut self) -> TableVerdict {
        self.verdict.source_rows = self.source.rows.rows();
        self.verdict.target_rows = self.target.rows.rows();
        self.verdict.digest_source = self.source.rows.sha256();
        self.verdict.digest_target = self.target.rows.sha256();
        self.verdict.ledger = self.target.ledger.map_or(0, |ledger| ledger.rows);
        self.verdict
    }

    fn buckets(&self) -> usize {
        self.source.rows.count()
    }

    /// Adds a stretch to the verdict, row by row where its sums differ.
    async fn settle<S: Comparable, T: Comparable>(
        &mut self,
        link: &Link<S, T>,
        (span, source, target): (Span, &Sums, &Sums),
        scope: Scope,
        mender: &mut impl Mender,
    ) -> Result<(), Fault> {
        self.source.merge(source);
        self.target.merge(target);
        let differing = source.rows.differing(&target.rows);
        // A side that keeps no ledger has nothing to agree with.
        let ledgers = source.ledger.zip(target.ledger);
        if differing.is_empty() && ledgers.is_none_or(|(called_for, held)| called_for == held) {
            return Ok(());
        }
        let route = Arc::clone(self.route());
        let (by_source, by_target) =
            try_join(link.source.refused(&route, span), link.target.refused(&route, span)).await?;
        let agrees = ledgers.is_none_or(|(called_for, mut held)| {
            held.merge(by_target.called_for);
            called_for == held
        });
        if !agrees {
            self.verdict.ledger_agrees = false;
            mender.ledger_differing(&route, span).await?;
        }
        let mut refused = RefusedRows {
            by_source: Unclaimed::of(by_source.rows),
            by_target: Unclaimed::of(by_target.rows),
        };
        let buckets = self.buckets();
        let rows = source.rows.rows().max(target.rows.rows()).max(1);
        let per_bucket = rows.div_ceil(u64::try_from(buckets).expect("few buckets"));
        let at_once = usize::try_from((ROWS_PER_LOOK / per_bucket).max(1)).unwrap_or(usize::MAX);
        for group in differing.chunks(at_once) {
            let mut wanted = Wanted { span, buckets: vec![false; buckets] };
            group.iter().for_each(|bucket| wanted.buckets[*bucket] = true);
            let keys = look(link, &wanted, &mut refused, scope, &mut self.verdict).await?;
            mender.differing(&route, keys).await?;
        }
        Ok(())
    }
}

/// Rows that either side refused of the other's. Only a side with a ledger has any.
struct RefusedRows {
    by_source: Unclaimed,
    by_target: Unclaimed,
}

/// Refused rows that no row of the other side has accounted for yet. Rows without a name are told apart by what they hold, and counted: a
/// row that was lost is not one that was refused.
struct Unclaimed {
    rows: HashMap<(String, RowDigest), u64>,
}

impl RefusedRows {
    /// Takes away what is no difference, for one side refused it or keeps rows of its own; gives how many rows were refused.
    fn claim(&mut self, found: &mut Pairing, extra: Extra) -> u64 {
        let before = found.missing.len() + found.extra.len() + found.different.len();
        found.missing.retain(|row| !self.by_target.take(row));
        found.extra.retain(|row| !self.by_source.take(row));
        match extra {
            Extra::Counts => {}
            // Where a row of its own was not to be overwritten, it kept it.
            Extra::Allowed => found.different.retain(|(source, _)| !self.by_target.take(source)),
            Extra::AllowedInSource => found.different.retain(|(_, target)| !self.by_source.take(target)),
        }
        let claimed = before - found.missing.len() - found.extra.len() - found.different.len();
        match extra {
            Extra::Counts => {}
            Extra::Allowed => found.extra.clear(),
            Extra::AllowedInSource => found.missing.clear(),
        }
        count(claimed)
    }
}

impl Unclaimed {
    fn of(refused: Vec<Seen>) -> Unclaimed {
        let mut rows = HashMap::new();
        for row in refused {
            *rows.entry((row.shown, row.digest)).or_default() += 1;
        }
        Unclaimed { rows }
    }

    fn take(&mut self, row: &Seen) -> bool {
        match self.rows.get_mut(&(row.shown.clone(), row.digest)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// Spans are cut finer than there are workers, so that a large table shows its progress.
const SPANS_PER_WORKER: usize = 8;

async fn both_sums<S: Source + Comparable, T: Comparable>(
    link: &Link<S, T>,
    route: &Arc<Route>,
    (buckets, workers): (usize, usize),
    watch: &dyn Watch,
) -> Result<(Sums, Sums), Fault> {
    let spans = match route.rowid_identity() {
        Some(_) => link.source.spans(route, workers.max(1) * SPANS_PER_WORKER).await?,
        None => vec![Span::default()],
    };
    let (told, mut turns) = mpsc::channel(1);
    let blank = || Sums { rows: Buckets::new(buckets), ledger: Some(Sum::default()) };
    let read = async move {
        stream::iter(spans)
            .map(|span| {
                let of_source = link.source.sums(route, (span, buckets), Some(told.clone()));
                try_join(of_source, link.target.sums(route, (span, buckets), None))
            })
            .buffer_unordered(workers.max(1))
            .try_fold((blank(), blank()), |(mut source, mut target), (more_source, more_target)| {
                source.merge(&more_source);
                target.merge(&more_target);
                async { Ok((source, target)) }
            })
            .await
    };
    let watched = async {
        while let Some(rows) = turns.recv().await {
            watch.see(Event::Compared { table: &route.source, rows });
        }
        Ok(())
    };
    let (sums, ()) = try_join(read, watched).await?;
    Ok(sums)
}

/// Reads the rows of some buckets on both sides and adds what differs to the verdict; gives the keys of the rows that do.
async fn look<S: Comparable, T: Comparable>(
    link: &Link<S, T>,
    wanted: &Wanted,
    refused: &mut RefusedRows,
    scope: Scope,
    verdict: &mut TableVerdict,
) -> Result<Vec<Vec<u8>>, Fault> {
    let route = Arc::clone(&verdict.route);
    let (source, target) =
        try_join(link.source.rows(&route, wanted), link.target.rows(&route, wanted)).await?;
    let mut found = pair(source, target);
    verdict.refused += refused.claim(&mut found, scope.extra);
    let alone = found.missing.iter().chain(&found.extra);
    let unlike = alone.chain(found.different.iter().map(|(source, _)| source));
    let keys: Vec<Vec<u8>> = unlike.map(|row| row.key.clone()).collect();
    let held = link.target.stands_for(&link.source, &route, &keys).await?;
    // The two halves of such a row may be looked at one after the other, and then each stands alone.
    found.missing.retain(|row| !held.contains(&row.key));
    found.extra.retain(|row| !held.contains(&row.key));
    found.different.retain(|(source, _)| !held.contains(&source.key));
    verdict.missing += count(found.missing.len());
    verdict.extra += count(found.extra.len());
    verdict.different += count(found.different.len());
    let listed = |kind, seen: &Seen| Difference { kind, key: seen.shown.clone(), columns: Vec::new() };
    let room = |verdict: &TableVerdict| scope.listed_max.saturating_sub(verdict.listed.len());
    let columns =
        columns_of(link, (&route, wanted.span), &found.different[..found.different.len().min(room(verdict))])
            .await?;
    verdict.listed.extend(columns);
    let free = room(verdict);
    verdict.listed.extend(found.missing.iter().take(free).map(|row| listed(DifferenceKind::Missing, row)));
    let free = room(verdict);
    verdict.listed.extend(found.extra.iter().take(free).map(|row| listed(DifferenceKind::Extra, row)));
    let missing_or_extra = found.missing.into_iter().chain(found.extra).map(|row| row.key);
    Ok(missing_or_extra.chain(found.different.into_iter().map(|(source, _)| source.key)).collect())
}

/// Names the columns in which rows differ.
async fn columns_of<S: Comparable, T: Comparable>(
    link: &Link<S, T>,
    (route, span): (&Arc<Route>, Span),
    different: &[(Seen, Seen)],
) -> Result<Vec<Difference>, Fault> {
    if different.is_empty() {
        return Ok(Vec::new());
    }
    let sources: Vec<RowDigest> = different.iter().map(|(source, _)| source.digest).collect();
    let targets: Vec<RowDigest> = different.iter().map(|(_, target)| target.digest).collect();
    let (sources, targets) =
        try_join(link.source.tuples(route, span, &sources), link.target.tuples(route, span, &targets))
            .await?;
    let (sources, targets): (HashMap<_, _>, HashMap<_, _>) =
        (sources.into_iter().collect(), targets.into_iter().collect());
    let difference = |(source, target): &(Seen, Seen)| {
        // A row that was changed again since it was seen is listed without its columns.
        let columns = match (sources.get(&source.digest), targets.get(&target.digest)) {
            (Some(a), Some(b)) => differing_columns(a, b),
            _ => Vec::new(),
        };
        let columns = columns.into_iter().map(|column| route.columns[column].target.clone()).collect();
        Difference { kind: DifferenceKind::Different, key: source.shown.clone(), columns }
    };
    Ok(different.iter().map(difference).collect())
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).expect("a count fits")
}
