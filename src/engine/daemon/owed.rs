//! Rows to be read again that are named only once a comparison has let go of SQLite.
//!
//! Beside a rollback journal a commit waits for every reader, and no reader begins while it waits. To name rows beside the pair that they
//! were found in would have our own commit wait for our own snapshot, and the application's readers for both.

use super::toucher::{Log, Toucher};
use crate::engine::order::Repair;
use crate::flow::validate::Mender;
use crate::link::Span;
use crate::model::fault::Fault;
use crate::plan::route::Route;
use std::sync::Arc;

/// When rows are named.
pub enum Naming {
    AtOnce,
    Owed(Owed),
}

/// What is to be named, in the order in which it was found.
#[derive(Default)]
pub struct Owed {
    debts: Vec<(i64, Arc<Route>, Debt)>,
    bytes: usize,
    /// Rows that there was no room for.
    left: usize,
}

enum Debt {
    /// As the mender is told them.
    Keys(Vec<Vec<u8>>),
    /// Of which the ledger does not tell what it should.
    Ledger(Span),
}

/// Where a comparison is to tell what it finds.
pub enum Telling<'a, 'log> {
    AtOnce(&'a mut Toucher<'log>),
    Owed(&'a mut Owed, &'a Toucher<'log>),
}

/// The pair ends, and what is owed is named.
const BYTES_ENOUGH: usize = 8 << 20;
/// One stretch may bring more than enough. Of a table that cannot be cut it may bring any number: what is left then still differs when the
/// table is compared again, as it is after every repair.
const BYTES_MAX: usize = 64 << 20;
/// What a key takes beside its bytes.
const BYTES_PER_KEY: usize = 40;

impl Naming {
    pub fn mender<'a, 'log>(&'a mut self, toucher: &'a mut Toucher<'log>) -> Telling<'a, 'log> {
        match self {
            Naming::AtOnce => Telling::AtOnce(toucher),
            Naming::Owed(owed) => Telling::Owed(owed, toucher),
        }
    }

    pub fn is_owed_much(&self) -> bool {
        match self {
            Naming::AtOnce => false,
            Naming::Owed(owed) => owed.bytes >= BYTES_ENOUGH,
        }
    }
}

impl Owed {
    /// Nothing of ours reads SQLite meanwhile but the following, in short turns.
    pub async fn name(self, log: &Log) -> Result<(), Fault> {
        if self.left > 0 {
            tracing::warn!(
                rows = self.left,
                "more rows differ than are named at once: the next comparison names these"
            );
        }
        let mut toucher = None::<Toucher<'_>>;
        for (id, route, debt) in self.debts {
            let mut of_table = match toucher.take() {
                Some(toucher) if toucher.id == id => toucher,
                Some(_) | None => Toucher::of(log, id, Repair::ReadAgain),
            };
            match debt {
                Debt::Keys(keys) => of_table.differing(&route, keys).await?,
                Debt::Ledger(span) => of_table.ledger_differing(&route, span).await?,
            }
            toucher = Some(of_table);
        }
        Ok(())
    }

    fn keep(&mut self, (id, route): (i64, &Arc<Route>), mut keys: Vec<Vec<u8>>) {
        let mut fits = |key: &Vec<u8>| {
            self.bytes += key.len() + BYTES_PER_KEY;
            self.bytes <= BYTES_MAX
        };
        let kept = keys.iter().take_while(|key| fits(key)).count();
        self.left += keys.len() - kept;
        keys.truncate(kept);
        if !keys.is_empty() {
            self.debts.push((id, Arc::clone(route), Debt::Keys(keys)));
        }
    }
}

impl Mender for Telling<'_, '_> {
    async fn differing(&mut self, route: &Arc<Route>, keys: Vec<Vec<u8>>) -> Result<(), Fault> {
        match self {
            Telling::AtOnce(toucher) => toucher.differing(route, keys).await?,
            Telling::Owed(_, Toucher { repair: Repair::LeaveAsIs, .. }) => {}
            Telling::Owed(owed, toucher) => owed.keep((toucher.id, route), keys),
        }
        Ok(())
    }

    async fn ledger_differing(&mut self, route: &Arc<Route>, span: Span) -> Result<(), Fault> {
        match self {
            Telling::AtOnce(toucher) => toucher.ledger_differing(route, span).await?,
            Telling::Owed(_, Toucher { repair: Repair::LeaveAsIs, .. }) => {}
            Telling::Owed(owed, toucher) => {
                owed.debts.push((toucher.id, Arc::clone(route), Debt::Ledger(span)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::PgName;
    use crate::plan::route::{Identity, ScanOrder};

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let route = Arc::new(Route {
            source: "t".into(),
            target: PgName::new("public", "t"),
            columns: Vec::new(),
            scan: ScanOrder::Whole,
            identity: Identity::Columns(Vec::new()),
        });
        let mut owed = Owed::default();
        let keys = |count: usize| vec![vec![7; (1 << 20) - BYTES_PER_KEY]; count];
        owed.keep((1, &route), Vec::new());
        assert!(owed.debts.is_empty());
        owed.keep((1, &route), keys(60));
        owed.keep((1, &route), keys(7));
        owed.keep((2, &route), keys(2));
        let kept = |debt: &Debt| match debt {
            Debt::Keys(keys) => keys.len(),
            Debt::Ledger(_) => 0,
        };
        let kept: Vec<usize> = owed.debts.iter().map(|(_, _, debt)| kept(debt)).collect();
        assert_eq!((kept, owed.left), (vec![60, 4], 5));
        assert!(Naming::Owed(owed).is_owed_much());
    }
}
