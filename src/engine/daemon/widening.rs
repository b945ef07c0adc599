//! Wider columns, where the operator wants them (`misfits.policy = "widen"`): a column of our own making to which values came that its type
//! does not hold gets the type that the copy would have chosen for all of them, and its cells leave the ledger.
//!
//! PostgreSQL rewrites the table under a lock that keeps its readers waiting: so this is done while SQLite is the side that is written, of
//! tables that are not too large, without waiting long for the lock, and never beside a comparison or an attempt to move the writes. What
//! it cannot do it says, and leaves the cells in the ledger.

use super::life::Life;
use super::relearn::Seen;
use crate::journal::follow::Held;
use crate::journal::reshape::TableChange;
use crate::model::fault::{Fault, FaultClass};
use crate::plan::route::Route;
use crate::plan::widen::{Ground, Stays, Wider, wider};
use crate::postgres::make_way::{has_missed, make_way, who_holds};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a look at the types has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Widened {
    Nothing,
    /// Routes are others now.
    Anew,
    /// What stands in the way passes by itself.
    Later,
}

impl Life<'_> {
    pub(super) async fn widen(&self, seen: &Seen) -> Result<Widened, Fault> {
        let Some(rows_max) = self.job.request.widening.rows_max() else { return Ok(Widened::Nothing) };
        let mut widened = Widened::Nothing;
        for (id, route) in self.seen(seen, rows_max) {
            let columns = self.columns_in_doubt(route).await?;
            let (wider, stay) = self.wider_table(seen, (route, &columns));
            for stays in &stay {
                self.tell_it_stays(&route.source, &stays.to_string()).await?;
            }
            let Some(wider) = wider else { continue };
            let altering = wider.statement.making();
            match self.take_wider_from_a_vacuum(id, wider).await {
                Ok(()) => widened = Widened::Anew,
                // Nothing happened: it was one transaction.
                Err(fault) if fault.doing == altering => {
                    if self.put_off(&route.source, fault).await? && widened == Widened::Nothing {
                        widened = Widened::Later;
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(widened)
    }

    fn wider_table(
        &self,
        seen: &Seen,
        (route, columns): (&Route, &BTreeSet<String>),
    ) -> (Option<Wider>, Vec<Stays>) {
        let routes: Vec<&Route> = self.tables.values().map(AsRef::as_ref).collect();
        let request = &self.job.request;
        let ground = Ground {
            schema: &seen.prepared.schema,
            survey: seen.survey(),
            target_schema: &request.schema,
            overrides: &request.overrides,
            routes: &routes,
        };
        wider(ground, route, columns)
    }

    /// A row is held whole for a column that refuses NULL, or for its key.
    async fn columns_in_doubt(&self, route: &Route) -> Result<BTreeSet<String>, Fault> {
        let refuses_null =
            |name: &str| route.columns.iter().any(|column| column.target == name && column.not_null);
        let held = self.store.ledger_columns(self.migration, &route.source).await?;
        let doubtful = held.into_iter().filter(|(name, held)| *held == Held::Cells || refuses_null(name));
        Ok(doubtful.map(|(name, _)| name).collect())
    }

    /// An autovacuum, which keeps the table for hours where it is large, gives way; of all others it is told who does not.
    async fn take_wider_from_a_vacuum(&self, id: i64, wider: Wider) -> Result<(), Fault> {
        let (altering, table) =
            (wider.statement.making(), BTreeMap::from([(id, Arc::clone(&self.tables[&id]))]));
        match self.take_wider(id, wider.clone()).await {
            Err(fault) if has_missed(&fault) => {}
            done => return done,
        }
        let session = self.link.target.session().await?;
        let again = match make_way(&session, &table).await {
            Ok(()) => self.take_wider(id, wider).await,
            held => held,
        };
        let Err(fault) = again else {
            self.link.target.give_back(session);
            return Ok(());
        };
        let fault = who_holds(&session, &table, fault).await;
        // It stays the statement that was put off.
        Err(if has_missed(&fault) { Fault { doing: altering, ..fault } } else { fault })
    }

    async fn take_wider(&self, id: i64, wider: Wider) -> Result<(), Fault> {
        let Wider { route, statement, said } = wider;
        let table = route.source.clone();
        tracing::info!(table, columns = said.join("; "), "columns become wider; the table is rewritten");
        let changes = [TableChange::Altered { id, route, statements: vec![statement] }];
        self.voice.attended(self.take_changes(&changes)).await?;
        for line in &said {
            self.store.note("widened", &format!("{table}.{line}")).await?;
        }
        Ok(())
    }

    /// Whether what PostgreSQL said to the statement passes by itself: somebody holds the table, or there is no room to rewrite it.
    async fn put_off(&self, table: &str, fault: Fault) -> Result<bool, Fault> {
        match fault.class {
            FaultClass::Transient => {
                tracing::warn!(
                    table,
                    code = fault.code,
                    why = fault.remedy,
                    "no wider columns yet: tried again"
                );
                Ok(true)
            }
            FaultClass::Data | FaultClass::Fatal => {
                let cause = fault.source.as_ref().map(ToString::to_string).unwrap_or_default();
                self.tell_it_stays(table, &format!("PostgreSQL refuses it: {cause}")).await?;
                Ok(false)
            }
            FaultClass::Unknown => Err(fault),
        }
    }

    async fn tell_it_stays(&self, table: &str, why: &str) -> Result<(), Fault> {
        tracing::warn!(table, why, "a column is not made wider; what it does not hold stays in the ledger");
        self.store.note_once("not widened", &format!("{table}.{why}")).await
    }
}
