//! The source in memory: committed versions, a change log written with them, and what of both would survive a power cut.

use crate::bug::Bug;
use crate::dice::Dice;
use crate::oracle::Oracle;
use crate::rows::Tables;
use crate::writer::{Values, write};
use liteferry::model::fault::Fault;
use liteferry::model::history::Position;
use std::sync::Arc;

/// One line of the change log. The first is the marker that arming writes: it names no row.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub at: Position,
    pub key: Option<(usize, i64)>,
}

/// A committed state.
#[derive(Clone, Debug)]
struct Version {
    tables: Arc<Tables>,
    /// The log's first and last line.
    oldest: i64,
    newest: i64,
}

pub struct SourceSide {
    /// Of this history, pruned ones too; a line's `seq` is its place, counted from one.
    lines: Vec<Change>,
    versions: Vec<Version>,
    /// The version that a power cut leaves.
    durable: usize,
}

/// What a reader sees, for as long as it likes.
pub struct Snapshot {
    pub tables: Arc<Tables>,
    pub newest: Position,
    pub lines: Vec<Change>,
}

const EPOCH: i64 = 1;

impl SourceSide {
    pub fn new(tables: Tables) -> SourceSide {
        let version = Version { tables: Arc::new(tables), oldest: 1, newest: 0 };
        SourceSide { lines: Vec::new(), versions: vec![version], durable: 0 }
    }

    /// Writes the marker. There is no history before it to go back to.
    pub fn arm(&mut self, nonce: i64, oracle: &mut Oracle) {
        let tables = Arc::clone(&self.now().tables);
        self.commit(tables, vec![(None, nonce)], oracle);
        self.versions.remove(0);
        oracle.hardened(std::iter::once(self.newest()));
    }

    pub fn turn(&mut self, dice: &mut Dice, values: Values, oracle: &mut Oracle) {
        let mut tables = Tables::clone(&self.now().tables);
        let touched = write(&mut tables, dice, values);
        if !touched.is_empty() {
            let lines = touched.into_iter().map(|key| (Some(key), dice.nonce())).collect();
            self.commit(Arc::new(tables), lines, oracle);
        }
    }

    fn commit(&mut self, tables: Arc<Tables>, lines: Vec<(Option<(usize, i64)>, i64)>, oracle: &mut Oracle) {
        for (key, nonce) in lines {
            let before = self.lines.last().map(|change| change.at);
            let seq = before.map_or(1, |at| at.seq + 1);
            let at = Position { epoch: EPOCH, seq, nonce };
            self.lines.push(Change { at, key });
            oracle.written(before, at);
        }
        oracle.committed(self.newest_line(), Arc::clone(&tables));
        let oldest = self.now().oldest;
        self.versions.push(Version { tables, oldest, newest: self.newest_line().seq });
    }

    fn now(&self) -> &Version {
        self.versions.last().expect("there is always a version")
    }

    pub fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.now().tables)
    }

    fn newest_line(&self) -> Position {
        self.lines.last().expect("arming wrote a line").at
    }

    pub fn newest(&self) -> Position {
        self.newest_line()
    }

    pub fn position_at(&self, seq: i64) -> Option<Position> {
        let place = usize::try_from(seq - 1).ok()?;
        self.lines.get(place).map(|change| change.at)
    }

    /// Whether a position lies in this history, whatever was pruned of it.
    pub fn knows(&self, at: Position) -> bool {
        self.position_at(at.seq) == Some(at)
    }

    /// As the engine asks it: a snapshot that continues the history of `from`, or a refusal by name.
    pub fn snapshot(&self, from: Position, bug: Option<Bug>) -> Result<Snapshot, Fault> {
        self.confirm(from, bug)?;
        let lines = self.lines.iter().filter(|change| change.at.seq > from.seq);
        Ok(Snapshot { tables: self.tables(), newest: self.newest(), lines: lines.copied().collect() })
    }

    pub fn confirm(&self, from: Position, bug: Option<Bug>) -> Result<(), Fault> {
        let refuse = |code| Err(Fault::fatal(code, "find what the target has seen in the source"));
        let now = self.now();
        let kept = now.oldest <= now.newest;
        let there = self.position_at(from.seq).filter(|at| kept && at.seq >= now.oldest);
        match there {
            Some(at) if at == from || bug == Some(Bug::IgnoresNonce) => Ok(()),
            Some(_) => refuse("history_fork"),
            None if self.newest().seq < from.seq => refuse("seq_regressed"),
            None => refuse("log_gap"),
        }
    }

    pub fn harden(&mut self, oracle: &mut Oracle) {
        self.harden_to(self.versions.len() - 1, oracle);
    }

    /// A checkpoint of the system's own: some commits more are on disk.
    pub fn harden_some(&mut self, dice: &mut Dice, oracle: &mut Oracle) {
        self.harden_to(self.durable + dice.index(self.versions.len() - self.durable), oracle);
    }

    fn harden_to(&mut self, version: usize, oracle: &mut Oracle) {
        let lines = |version: usize| {
            usize::try_from(self.versions[version].newest).expect("a sequence begins at one")
        };
        let fresh = &self.lines[lines(self.durable)..lines(version)];
        oracle.hardened(fresh.iter().map(|change| change.at));
        self.durable = version;
    }

    /// What was not on disk is gone. Tells whether changes were.
    pub fn cut_power(&mut self) -> bool {
        let before = self.newest();
        self.cut_to(self.durable);
        self.newest() != before
    }

    /// An earlier state is put in the place of this one, orderly.
    pub fn restore(&mut self, dice: &mut Dice, oracle: &mut Oracle) {
        self.harden(oracle);
        let back = dice.index(self.versions.len().min(12));
        self.cut_to(self.versions.len() - 1 - back);
        self.durable = self.versions.len() - 1;
    }

    fn cut_to(&mut self, version: usize) {
        self.versions.truncate(version + 1);
        let newest = usize::try_from(self.now().newest).expect("a sequence begins at one");
        self.lines.truncate(newest);
    }

    /// Lets go of lines up to and with `seq`, the newest of all apart.
    pub fn prune(&mut self, seq: i64, bug: Option<Bug>) {
        let Version { tables, oldest, newest } = self.now().clone();
        let last = if bug == Some(Bug::PrunesNewest) { newest } else { newest - 1 };
        let oldest = oldest.max(seq.min(last) + 1);
        self.versions.push(Version { tables, oldest, newest });
    }
}
