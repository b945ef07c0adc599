//! Has rows that differ read again: their keys are named where the following looks for changes, so that they come like any changed row.

use super::blocking::blocking;
use super::reread::{self, NAMING, TOUCH_WAIT};
use crate::engine::order::Repair;
use crate::flow::validate::Mender;
use crate::journal::follow::Which;
use crate::journal::store::Store;
use crate::link::Span;
use crate::model::cell::CellBuf;
use crate::model::fault::Fault;
use crate::plan::route::{Identity, Route};
use crate::postgres::changes::name_again;
use crate::postgres::target::PgTarget;
use crate::sqlite::capture;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::digest::keys_for_the_ledger;
use std::sync::Arc;
use std::time::Duration;

/// Where the following learns which rows have changed, and so from which side it reads them.
#[derive(Clone)]
pub enum Log {
    /// Beside the ledger of the migration of this number.
    Sqlite(SqliteFile, Store, i64),
    /// Of the migration of this number.
    Postgres(PgTarget, i64),
}

/// Names differing rows of one table, by the number that its triggers know it by.
pub struct Toucher<'a> {
    log: &'a Log,
    pub id: i64,
    pub repair: Repair,
    /// Whether all rows that the ledger has entries of are named already.
    has_named_ledger: bool,
}

impl<'a> Toucher<'a> {
    pub fn of(log: &'a Log, id: i64, repair: Repair) -> Toucher<'a> {
        Toucher { log, id, repair, has_named_ledger: false }
    }
}

impl Mender for Toucher<'_> {
    async fn differing(&mut self, route: &Arc<Route>, keys: Vec<Vec<u8>>) -> Result<(), Fault> {
        match self.repair {
            Repair::LeaveAsIs => return Ok(()),
            Repair::ReadAgain => {}
        }
        if keys.is_empty() {
            return Ok(());
        }
        tracing::warn!(table = route.source, rows = keys.len(), "rows that differ are read again");
        let file = match self.log {
            Log::Sqlite(file, ..) => file,
            Log::Postgres(target, migration) => {
                return name_again(target, *migration, (self.id, route), &keys).await;
            }
        };
        let keys: Vec<Vec<CellBuf>> =
            keys.iter().map(|key| cells_of(route, key)).collect::<Result<_, _>>()?;
        reread::name_again(file, self.id, keys).await
    }

    /// Every row that has cells for the ledger is named, and every row that the ledger has cells of: some too many, which does no harm.
    async fn ledger_differing(&mut self, route: &Arc<Route>, span: Span) -> Result<(), Fault> {
        let (Log::Sqlite(file, store, migration), Repair::ReadAgain) = (self.log, self.repair) else {
            return Ok(());
        };
        let Identity::Columns(columns) = &route.identity else { return Ok(()) };
        tracing::warn!(
            table = route.source,
            "rows are read again of which the ledger does not tell what it should"
        );
        let (id, columns, named) = (self.id, columns.clone(), (file.clone(), Arc::clone(route)));
        blocking(NAMING, move || {
            let (file, route) = named;
            let name = |keys: &[Vec<CellBuf>]| match keys {
                [] => Ok(()),
                keys => capture::touch(&file.open_writer(TOUCH_WAIT)?, id, keys),
            };
            keys_for_the_ledger(&file.open_reader()?, (&route, &columns), (span, READ_TIME), name)
        })
        .await?;
        if !std::mem::replace(&mut self.has_named_ledger, true) {
            reread::ledger_of(store, file, (*migration, id), (&route.source, Which::All)).await?;
        }
        Ok(())
    }
}

/// A longer read would let the application's WAL grow.
const READ_TIME: Duration = Duration::from_millis(500);

/// The source's own cells of a key that both sides match rows by.
fn cells_of(route: &Route, key: &[u8]) -> Result<Vec<CellBuf>, Fault> {
    let Identity::Columns(columns) = &route.identity else {
        unreachable!("a table without a key is refused before it is captured")
    };
    let broken = || Fault::fatal("canon_broken", format!("read back a key of table {}", route.source));
    let parts = Identity::parts_of(key, columns.len()).ok_or_else(broken)?;
    columns
        .iter()
        .zip(parts)
        .map(|(column, bytes)| {
            let mut scratch = Vec::new();
            let cell = route.columns[*column].codec.decode(bytes, &mut scratch).map_err(|_| broken())?;
            Ok(cell.to_buf())
        })
        .collect()
}
