//! What is to be done once after a rollback, before SQLite is followed again: what came back for the application in PostgreSQL is taken
//! away, and what came back to SQLite is read as what it is.
//!
//! It changes no row. Rows whose cells mean something else from here on are named, and read again like any changed row.

use super::crossing::Work;
use super::desk::Desk;
use super::reread;
use super::tables::followed;
use crate::journal::follow::Which;
use crate::model::catalog::PgTable;
use crate::model::fault::Fault;
use crate::model::schema::SqliteSchema;
use crate::plan::existing::suspended_now;
use crate::plan::route::Route;
use crate::postgres::catalog::catalog;
use crate::postgres::connect::connect;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::source::SqliteSource;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Constraints that came back for the application would disturb the apply. A value that SQLite had to be given in another spelling than its
/// column's is read as that value, as long as it stands there: PostgreSQL must not lose what only it could spell. Tables of which SQLite
/// computes a column are compared, and what differs is carried over.
pub async fn suspend_again(desk: &Desk<'_>, work: Work) -> Result<(), Fault> {
    let request = &desk.job.request;
    if work == Work::FinishSwitch || !desk.store.is_restored(desk.migration).await? {
        return Ok(());
    }
    let tables = followed(request, desk.store, desk.migration).await?;
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let schema = SqliteSource::new(file.clone(), request.limit).introspect().await?;
    let suspects: Vec<i64> =
        tables.iter().filter(|(_, route)| is_computed_here(route, &schema)).map(|(id, _)| *id).collect();
    let mut came_back = desk.store.columns_that_came_back(desk.migration).await?;
    let mut routes = Vec::new();
    for (id, route) in &tables {
        let columns = came_back.remove(&route.source).unwrap_or_default();
        // What stands in the ledger for other columns means what it meant. SQLite is the side that is right again, and it has one zero only.
        let read: Vec<String> = columns.iter().cloned().collect();
        let which = Which::OfColumns(&read);
        reread::ledger_of(desk.store, &file, (desk.migration, *id), (&route.source, which)).await?;
        if !columns.is_empty() {
            routes.push(having_come_back(route, &columns));
        }
    }
    let session = connect(&request.address).await?;
    let catalog = catalog(&session, &request.schema).await?;
    let of_route = |route: &Arc<Route>| catalog.tables.iter().find(|table| table.name == route.target);
    let targets: Vec<&PgTable> = tables.values().filter_map(of_route).collect();
    let suspended = suspended_now(&targets, &catalog);
    desk.store.suspend_again((desk.migration, &desk.owner), (&suspended, &routes, &suspects)).await
}

/// Whether a column of it is computed by SQLite and sent to PostgreSQL, where the application's rows had something else in it, or nothing.
fn is_computed_here(route: &Route, schema: &SqliteSchema) -> bool {
    let computed = |name: &String| {
        let mut tables = schema.tables.iter().filter(|table| table.name == route.source);
        tables.any(|table| {
            table.columns.iter().any(|column| column.name == *name && column.generated.is_some())
        })
    };
    route.columns.iter().filter_map(|column| column.source.as_ref()).any(computed)
}

fn having_come_back(route: &Route, columns: &BTreeSet<String>) -> Route {
    let mut route = route.clone();
    for column in route.columns.iter_mut().filter(|column| columns.contains(&column.target)) {
        column.codec = column.codec.clone().having_come_back(column.affinity);
    }
    route
}
