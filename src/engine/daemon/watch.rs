//! How far a backfill is, on the board.

use super::voice::Voice;
use crate::engine::status::{Backfill, Run, TableProgress, TableState};
use crate::flow::progress::{Event, Watch};
use crate::journal::store::RangeState;
use crate::model::fault::Fault;
use crate::phase::RunState;
use crate::sqlite::scan::count_rows;
use crate::sqlite::source::SqliteSource;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Shows a backfill on the board.
pub struct BackfillWatch<'a> {
    voice: &'a Voice,
    began: Instant,
    rows_before: u64,
}

impl<'a> BackfillWatch<'a> {
    pub async fn begin(
        voice: &'a Voice,
        ranges: &[RangeState],
        source: &SqliteSource,
    ) -> Result<BackfillWatch<'a>, Fault> {
        let mut tables: BTreeMap<String, TableProgress> = BTreeMap::new();
        for state in ranges {
            let name = &state.range.route.source;
            if !tables.contains_key(name) {
                let counted = name.clone();
                let total = source.read(move |db| count_rows(db, &counted)).await?;
                voice.board.tick(Instant::now());
                let blank = TableProgress { rows: 0, total, state: TableState::Waiting };
                tables.insert(name.clone(), blank);
            }
            let table = tables.get_mut(name).expect("it was just put there");
            table.rows += state.rows + state.held;
        }
        let rows_before = tables.values().map(|table| table.rows).sum();
        voice.metrics.copy_estimated(tables.iter().map(|(name, table)| (name.as_str(), table.total)));
        voice.board.update(Instant::now(), |status| {
            status.backfill = Backfill { tables, eta: None };
            status.run = Run::plain(RunState::Running);
        });
        Ok(BackfillWatch { voice, began: Instant::now(), rows_before })
    }

    pub fn end(&self) {
        self.voice.board.update(Instant::now(), |status| {
            status.backfill.eta = None;
            for table in status.backfill.tables.values_mut() {
                table.state = TableState::Copied;
            }
        });
    }

    fn eta(&self, backfill: &Backfill) -> Option<Duration> {
        let (rows, total) = backfill
            .tables
            .values()
            .fold((0, 0), |(rows, total), table| (rows + table.rows, total + table.total));
        let done = u32::try_from(rows.saturating_sub(self.rows_before)).ok().filter(|done| *done > 0)?;
        let left = u32::try_from(total.saturating_sub(rows)).ok()?;
        self.began.elapsed().checked_mul(left).map(|time| time / done)
    }
}

impl Watch for BackfillWatch<'_> {
    fn see(&self, event: Event<'_>) {
        let now = Instant::now();
        self.voice.board.tick(now);
        let Event::Loaded { table, rows, bytes } = event else { return };
        self.voice.metrics.copied(table, rows, bytes);
        self.voice.board.update(now, |status| {
            if let Some(progress) = status.backfill.tables.get_mut(table) {
                progress.rows += rows;
                progress.state = TableState::Copying;
            }
            status.backfill.eta = self.eta(&status.backfill);
        });
    }
}
