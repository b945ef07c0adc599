//! The tables that a migration follows, by the numbers that its change table knows them by.

use crate::engine::copy::{Routed, routes};
use crate::engine::prepare::Request;
use crate::journal::store::Store;
use crate::model::fault::Fault;
use crate::plan::route::Route;
use crate::postgres::catalog::catalog;
use crate::postgres::connect::connect;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) type Tables = BTreeMap<i64, Arc<Route>>;

pub(super) async fn followed(request: &Request, store: &Store, migration: i64) -> Result<Tables, Fault> {
    let now = catalog(&connect(&request.address).await?, &request.schema).await?;
    Ok(numbered_as_recorded(&routes(&now, store, migration).await?, &store.captured(migration).await?))
}

/// The same, before anybody has looked whether the target still holds what they name: they name no type by its number.
pub(super) async fn as_recorded(store: &Store, migration: i64) -> Result<Tables, Fault> {
    let routes = store.routes(migration).await?;
    let routed: Vec<Routed> =
        routes.into_iter().map(|(route, role)| Routed { route: Arc::new(route), role }).collect();
    Ok(numbered_as_recorded(&routed, &store.captured(migration).await?))
}

pub(super) fn suspects(tables: &Tables, suspect: &BTreeMap<i64, String>) -> Tables {
    suspect.keys().filter_map(|id| Some((*id, Arc::clone(tables.get(id)?)))).collect()
}

/// Tables that are followed, by the number that their triggers know them by.
pub fn numbered_as_recorded(routes: &[Routed], captured: &BTreeMap<i64, String>) -> Tables {
    let route_of =
        |table: &String| routes.iter().map(|routed| &routed.route).find(|route| route.source == *table);
    captured.iter().filter_map(|(id, table)| Some((*id, Arc::clone(route_of(table)?)))).collect()
}
