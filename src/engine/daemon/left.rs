//! What a rollback would leave in PostgreSQL: rows of tables that SQLite does not have. An application that makes tables as it goes is told
//! before it goes back.

use crate::model::fault::Fault;
use crate::model::name::PgName;
use crate::plan::route::Route;
use crate::postgres::left_behind::left_behind;
use crate::postgres::target::PgTarget;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Left {
    looked: Option<Instant>,
    pub tables: Vec<PgName>,
}

impl Left {
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
        let found = left_behind(&session, carried.values().map(|route| &route.target)).await?;
        target.give_back(session);
        for table in found.iter().filter(|table| !self.tables.contains(table)) {
            tracing::warn!(%table, "SQLite does not have the table: its rows would stay in PostgreSQL at a rollback");
        }
        self.tables = found;
        Ok(())
    }
}
