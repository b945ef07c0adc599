//! What a rollback would leave in PostgreSQL, rows of tables that are not carried, and what it would give the application in an unusual
//! form. An application that makes tables as it goes is told before it goes back, and so is one that wrote what SQLite cannot spell.

use crate::journal::store::Store;
use crate::model::fault::Fault;
use crate::model::name::PgName;
use crate::plan::existing::bookkeeping::bookkeeping;
use crate::plan::route::Route;
use crate::postgres::left_behind::left_behind;
use crate::postgres::target::PgTarget;
use crate::sqlite::source::SqliteSource;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The whole ledger is counted for it, and what comes back waits meanwhile: so many times as long as that takes.
const COUNT_EVERY: Duration = Duration::from_secs(5);
const COUNT_EVERY_BY_LENGTH: u32 = 100;

pub struct Left {
    looked: Option<Instant>,
    count_from: Instant,
    /// Tables in which a migration tool keeps what it has done: SQLite has its own, and nothing of the target's is missed there.
    records: Vec<String>,
    pub tables: Vec<PgName>,
    pub spelt_otherwise: Vec<(String, u64)>,
}

impl Left {
    pub async fn beside(source: &SqliteSource) -> Result<Left, Fault> {
        let tables = source.introspect().await?.tables;
        let records = tables.into_iter().filter(|table| bookkeeping(table).is_some()).map(|table| table.name);
        Ok(Left {
            looked: None,
            count_from: Instant::now(),
            records: records.collect(),
            tables: Vec::new(),
            spelt_otherwise: Vec::new(),
        })
    }

    pub async fn look(
        &mut self,
        target: &PgTarget,
        carried: &BTreeMap<i64, Arc<Route>>,
    ) -> Result<(), Fault> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let session = target.session().await?;
        let mut found = left_behind(&session, carried.values().map(|route| &route.target)).await?;
        target.give_back(session);
        found.retain(|table| !self.records.iter().any(|record| record.eq_ignore_ascii_case(&table.name)));
        for table in found.iter().filter(|table| !self.tables.contains(table)) {
            tracing::warn!(%table, "nothing of the table comes back: its rows would stay in PostgreSQL at a rollback");
        }
        self.tables = found;
        Ok(())
    }

    pub async fn look_at_spellings(&mut self, store: &Store, migration: i64) -> Result<(), Fault> {
        let began = Instant::now();
        if began >= self.count_from {
            self.spelt_otherwise = store.spelt_otherwise(migration).await?;
            self.count_from = Instant::now() + COUNT_EVERY.max(began.elapsed() * COUNT_EVERY_BY_LENGTH);
        }
        Ok(())
    }
}
