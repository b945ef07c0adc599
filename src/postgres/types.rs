//! Whether a table of the target still has the types that its route was made for.
//!
//! Rows come in the bytes of those types. Between types of one length others would be read out of them without complaint, so that none
//! are committed before this was asked.

use super::connect::Session;
use super::fault;
use crate::model::fault::Fault;
use crate::plan::route::{ColumnRoute, Route};
use tokio_postgres::types::Type;

const TYPES: &str = "select attname::text, atttypid from pg_catalog.pg_attribute
    where attrelid = $1::text::regclass and attnum > 0 and not attisdropped";

/// Of the columns of `relation`, the route's target or something with its columns. A lock on it keeps the answer true.
pub async fn confirm(session: &Session, relation: &str, route: &Route, doing: &str) -> Result<(), Fault> {
    let rows = session.query_typed(TYPES, &[(&relation, Type::TEXT)]).await;
    let rows = rows.map_err(|error| fault::of(error, doing))?;
    let now: Vec<(String, u32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let stands = |name: &str, oid: u32| now.iter().any(|(there, ty)| there == name && *ty == oid);
    let mut columns = route.columns.iter();
    match columns.find(|column| column.type_oid != 0 && !stands(&column.target, column.type_oid)) {
        None => Ok(()),
        Some(column) => Err(changed(column, doing)),
    }
}

/// The same of a row, where `of_row` are the types that it came in.
pub fn confirm_row(of_row: impl Iterator<Item = u32>, route: &Route, doing: &str) -> Result<(), Fault> {
    let mut columns = route.columns.iter().zip(of_row);
    match columns.find(|(column, oid)| column.type_oid != 0 && column.type_oid != *oid) {
        None => Ok(()),
        Some((column, _)) => Err(changed(column, doing)),
    }
}

fn changed(column: &ColumnRoute, doing: &str) -> Fault {
    Fault::fatal("schema_drift", doing).with_remedy(format!(
        "the type of its column {} was changed beside liteferry; both sides are looked at anew",
        column.target
    ))
}
