//! What was done and seen, counted, for the report at the end.

use crate::fault::{Effect, Fault};
use crate::writer::Tally;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

#[derive(Default)]
pub struct Figures {
    faults: BTreeMap<Fault, Count>,
    comparisons: usize,
    rows: usize,
    pub looks: u64,
    /// Tables that a backlog was most of.
    pub anew: usize,
    pub audited: BTreeSet<u64>,
    /// By campaign; the last count of each holds.
    moves: BTreeMap<u64, usize>,
    tallies: BTreeMap<(u64, usize), Tally>,
}

#[derive(Default)]
struct Count {
    struck: usize,
    early: usize,
    mid_transaction: usize,
    in_doubt: usize,
    missed: usize,
    recoveries: Vec<Duration>,
}

impl Figures {
    pub fn struck(&mut self, fault: Fault, effect: Effect, truth: bool) {
        let count = self.faults.entry(fault).or_default();
        count.struck += 1;
        count.early += usize::from(truth);
        match effect {
            Effect::Done => {}
            Effect::MidTransaction => count.mid_transaction += 1,
            Effect::CommitInDoubt => count.in_doubt += 1,
            Effect::Missed => count.missed += 1,
        }
    }

    pub fn recovered(&mut self, fault: Fault, after: Duration) {
        self.faults.entry(fault).or_default().recoveries.push(after);
    }

    pub fn compared(&mut self, rows: usize, (campaign, moves): (u64, usize), tallies: &[Tally]) {
        self.comparisons += 1;
        self.rows += rows;
        self.moves.insert(campaign, moves);
        for (writer, tally) in tallies.iter().enumerate() {
            self.tallies.insert((campaign, writer), *tally);
        }
    }

    /// Faults that are known to have hit: in a transaction, in the backfill, or by what was waited for.
    pub fn hits(&self) -> usize {
        self.faults.values().map(|count| count.struck - count.missed).sum()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:16} {:>6} {:>8} {:>6} {:>8} {:>6} {:>9} {:>10}",
            "fault", "struck", "backfill", "mid-tx", "in doubt", "missed", "median ms", "longest ms"
        )?;
        for (fault, count) in &self.faults {
            let mut recoveries = count.recoveries.clone();
            recoveries.sort();
            let at = |index: usize| {
                recoveries.get(index).map_or("-".into(), |after| after.as_millis().to_string())
            };
            let (median, longest) = (at(recoveries.len() / 2), at(recoveries.len().saturating_sub(1)));
            let Count { struck, early, mid_transaction, in_doubt, missed, .. } = count;
            let fault = format!("{fault:?}");
            writeln!(
                out,
                "{fault:16} {struck:>6} {early:>8} {mid_transaction:>6} {in_doubt:>8} {missed:>6} {median:>9} {longest:>10}"
            )?;
        }
        let sum = |part: fn(&Tally) -> u64| self.tallies.values().map(part).sum::<u64>();
        writeln!(
            out,
            "statements {} (refused {}), transactions {}",
            sum(|t| t.statements),
            sum(|t| t.refused),
            sum(|t| t.transactions)
        )?;
        writeln!(
            out,
            "positions left exactly once {}, tables begun to be copied anew {}",
            self.moves.values().sum::<usize>(),
            self.anew
        )?;
        writeln!(
            out,
            "full comparisons {} of {} rows in all, looks at a running target {}",
            self.comparisons, self.rows, self.looks
        )
    }
}
