//! Rows of a batch, compared with what stands in the target now. It reads only.

use super::apply::Raw;
use super::connect::Session;
use super::digest::record_to_tuple;
use super::fault;
use crate::diff::RowDigest;
use crate::link::Changed;
use crate::model::chunk::tuple_cells;
use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::plan::route::{Identity, Route};
use futures_util::future::try_join_all;
use std::collections::{BTreeSet, HashMap, HashSet};
use tokio_postgres::types::ToSql;

const HELD: &str = "select key from liteferry.ledger where migration_id = $1 and source_table = $2 and key = any($3) and standing = 'row-held'";

/// How many of the changed keys do not stand in the target as they do in the source. A row that the ledger holds whole stands nowhere else.
pub async fn differing(session: &Session, migration: i64, changed: &Changed) -> Result<u64, Fault> {
    let route = &changed.route;
    let doing = format!("read the last changes of table {}", route.target);
    let failed = |error| fault::of(error, &doing);
    let keys = spans(&changed.keys.ends).map(|(from, to)| &changed.keys.arena[from..to]);
    let keys = keys.map(|key| tuple_cells(key).map(Option::unwrap_or_default).collect()).collect();
    let mut there = at_keys(session, route, keys).await?;
    let (mut differing, mut missing) = (0, 0);
    for at in 0..changed.rows.rows() {
        let tuple = changed.rows.row(at);
        match there.remove(&key_of(route, tuple)) {
            Some(found) if found == tuple => {}
            Some(_) => differing += 1,
            None => missing += 1,
        }
    }
    let held: BTreeSet<String> = if missing == 0 {
        BTreeSet::new()
    } else {
        let rows = session.query(HELD, &[&migration, &route.source, &changed.names]).await.map_err(failed)?;
        rows.iter().map(|row| row.get(0)).collect()
    };
    // What is left in the target is gone in the source.
    let left = u64::try_from(there.len()).expect("a count fits");
    Ok(differing + left + u64::saturating_sub(missing, u64::try_from(held.len()).expect("a count fits")))
}

/// The rows that have these keys, each given by its columns' canonical bytes.
pub async fn at_keys(
    session: &Session,
    route: &Route,
    keys: Vec<Vec<&[u8]>>,
) -> Result<HashMap<Vec<u8>, Vec<u8>>, Fault> {
    let doing = format!("read rows of table {} by key", route.target);
    let failed = |error| fault::of(error, &doing);
    let statement = session.prepare(&by_key(route)).await.map_err(failed)?;
    let asked_for: HashSet<Vec<u8>> = keys.iter().map(|key| of_parts(key)).collect();
    let cells: Vec<Vec<Raw<'_>>> =
        keys.iter().map(|key| key.iter().map(|part| Raw(Some(part))).collect()).collect();
    let places: Vec<Vec<&(dyn ToSql + Sync)>> =
        cells.iter().map(|cells| cells.iter().map(|cell| cell as &(dyn ToSql + Sync)).collect()).collect();
    // All are asked before the first is answered.
    let asked = places.iter().map(|places| session.query(&statement, places));
    let answers = try_join_all(asked).await.map_err(failed)?;
    let mut there = HashMap::new();
    for row in answers.iter().flatten() {
        let broken = || Fault::fatal("canon_broken", doing.clone());
        let tuple = record_to_tuple(row.get(0)).ok_or_else(broken)?;
        // Equal to PostgreSQL, but not the key that was asked for, is another row's.
        let key = key_of(route, &tuple);
        if asked_for.contains(&key) {
            there.insert(key, tuple);
        }
    }
    Ok(there)
}

fn key_of(route: &Route, tuple: &[u8]) -> Vec<u8> {
    route.identity.key_of(tuple, RowDigest(0, 0))
}

/// As the identity names a row, of the key alone.
fn of_parts(key: &[&[u8]]) -> Vec<u8> {
    let mut name = Vec::new();
    for bytes in key {
        name.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        name.extend_from_slice(bytes);
    }
    name
}

fn by_key(route: &Route) -> String {
    let Identity::Columns(key) = &route.identity else {
        unreachable!("a table without a key is refused before it is captured")
    };
    let names: Vec<String> =
        route.columns.iter().map(|column| format!("t.{}", ident(&column.target))).collect();
    let same: Vec<String> =
        (1..).zip(key).map(|(place, column)| format!("{} = ${place}", names[*column])).collect();
    format!(
        "select record_send(row({})) from {} as t where {}",
        names.join(", "),
        route.target.sql(),
        same.join(" and ")
    )
}

fn spans(ends: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let begins = std::iter::once(0).chain(ends.iter().copied());
    begins.zip(ends.iter().copied())
}
