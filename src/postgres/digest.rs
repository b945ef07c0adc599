//! Digests of a table as the target holds it, computed by the server from its own binary send functions.

use super::connect::Session;
use super::fault;
use crate::diff::compare::Seen;
use crate::diff::{Buckets, RowDigest, Sum};
use crate::link::{Span, Wanted};
use crate::model::cell::{Cell, CellBuf};
use crate::model::chunk::tuple_cells;
use crate::model::fault::Fault;
use crate::model::key::key_json;
use crate::model::name::{ident, ident_list};
use crate::plan::route::{Identity, Route};
use futures_util::TryStreamExt;
use std::pin::pin;

const LEDGER_SUM: &str = include_str!("sql/ledger_sum.sql");

pub async fn sums(session: &Session, route: &Route, span: Span, buckets: usize) -> Result<Buckets, Fault> {
    let doing = format!("digest table {}", route.target);
    let mask = buckets - 1;
    let sql = format!(
        "select a & {mask}, count(*), sum(a)::text, sum(b)::text from ({}) as digest group by 1",
        digests_sql(route, span, &[]),
    );
    let mut found = Buckets::new(buckets);
    for row in session.query(&sql, &[]).await.map_err(|error| fault::of(error, &doing))? {
        let (bucket, rows): (i64, i64) = (row.get(0), row.get(1));
        let broken = || Fault::fatal("digest_broken", doing.clone());
        let sum = Sum {
            rows: u64::try_from(rows).map_err(|_| broken())?,
            first: row.get::<_, &str>(2).parse().map_err(|_| broken())?,
            second: row.get::<_, &str>(3).parse().map_err(|_| broken())?,
        };
        found.set(usize::try_from(bucket).map_err(|_| broken())?, sum);
    }
    Ok(found)
}

pub async fn ledger_sum(session: &Session, migration: i64, route: &Route, span: Span) -> Result<Sum, Fault> {
    let doing = format!("digest the ledger of table {}", route.source);
    let failed = |error| fault::of(error, &doing);
    let statement = session.prepared(LEDGER_SUM).await.map_err(failed)?;
    let row = session.query_one(&statement, &[&migration, &route.source, &span.from, &span.to]).await;
    let row = row.map_err(failed)?;
    let broken = || Fault::fatal("digest_broken", doing.clone());
    Ok(Sum {
        rows: u64::try_from(row.get::<_, i64>(0)).map_err(|_| broken())?,
        first: row.get::<_, &str>(1).parse().map_err(|_| broken())?,
        second: row.get::<_, &str>(2).parse().map_err(|_| broken())?,
    })
}

pub async fn rows(session: &Session, route: &Route, wanted: &Wanted) -> Result<Vec<Seen>, Fault> {
    let doing = format!("list rows of table {}", route.target);
    let buckets: Vec<i64> =
        (0i64..).zip(&wanted.buckets).filter_map(|(bucket, is)| is.then_some(bucket)).collect();
    let mask = wanted.buckets.len() - 1;
    let sql = format!(
        "select a, b, r from ({}) as digest where (a & {mask}) = any($1)",
        digests_sql(route, wanted.span, &["r"]),
    );
    let mut found = Vec::new();
    let stream = session.query_raw(&sql, [&buckets]).await.map_err(|error| fault::of(error, &doing))?;
    let mut stream = pin!(stream);
    while let Some(row) = stream.try_next().await.map_err(|error| fault::of(error, &doing))? {
        let digest = RowDigest(row.get(0), row.get(1));
        let tuple =
            record_to_tuple(row.get(2)).ok_or_else(|| Fault::fatal("digest_broken", doing.clone()))?;
        found.push(Seen {
            key: route.identity.key_of(&tuple, digest),
            digest,
            shown: shown_key(route, &tuple),
        });
    }
    Ok(found)
}

pub async fn tuples(
    session: &Session,
    route: &Route,
    (span, digests): (Span, &[RowDigest]),
) -> Result<Vec<(RowDigest, Vec<u8>)>, Fault> {
    let doing = format!("read rows of table {}", route.target);
    let firsts: Vec<i64> = digests.iter().map(|digest| digest.0).collect();
    let sql =
        format!("select a, b, r from ({}) as digest where a = any($1)", digests_sql(route, span, &["r"]),);
    let rows = session.query(&sql, &[&firsts]).await.map_err(|error| fault::of(error, &doing))?;
    rows.iter()
        .map(|row| {
            let tuple =
                record_to_tuple(row.get(2)).ok_or_else(|| Fault::fatal("digest_broken", doing.clone()))?;
            Ok((RowDigest(row.get(0), row.get(1)), tuple))
        })
        .collect()
}

/// Two hashes a row, of the hex of its record. The subqueries keep the record from being built more than once.
fn digests_sql(route: &Route, span: Span, also: &[&str]) -> String {
    let columns = ident_list(route.columns.iter().map(|column| column.target.as_str()));
    let also: String = also.iter().map(|name| format!(", {name}")).collect();
    format!(
        "select hashtextextended(h, 0) as a, hashtextextended(h, 1) as b{also} from (
             select encode(r, 'hex') collate \"C\" as h, r from (
                 select record_send(row({columns})) as r from {}{} offset 0
             ) as record offset 0
         ) as hex offset 0",
        route.target.sql(),
        span_sql(route, span),
    )
}

/// Spans are cut by rowid, so they can only be asked of a table whose single key column holds it.
fn span_sql(route: &Route, span: Span) -> String {
    let Some(key) = route.rowid_identity() else { return String::new() };
    let key = ident(&route.columns[key].target);
    let bound = |sign: &str, value: Option<i64>| value.map(|value| format!("{key} {sign} {value}"));
    let bounds: Vec<String> = [bound(">=", span.from), bound("<=", span.to)].into_iter().flatten().collect();
    if bounds.is_empty() { String::new() } else { format!(" where {}", bounds.join(" and ")) }
}

/// What `record_send` gives, as a COPY tuple: the same without the type ids.
pub(super) fn record_to_tuple(record: &[u8]) -> Option<Vec<u8>> {
    let (count, mut rest) = record.split_first_chunk::<4>()?;
    let count = u16::try_from(u32::from_be_bytes(*count)).ok()?;
    let mut tuple = count.to_be_bytes().to_vec();
    for _ in 0..count {
        let (length, tail) = rest.get(4..)?.split_first_chunk::<4>()?;
        tuple.extend_from_slice(length);
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (cell, tail) = tail.split_at_checked(length)?;
        tuple.extend_from_slice(cell);
        rest = tail;
    }
    Some(tuple)
}

/// The type ids of what `record_send` gives.
pub(super) fn record_types(record: &[u8]) -> impl Iterator<Item = u32> {
    let mut rest = record.get(4..);
    std::iter::from_fn(move || {
        let (oid, tail) = rest?.split_first_chunk()?;
        let (length, tail) = tail.split_first_chunk()?;
        rest = tail.get(usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0)..);
        Some(u32::from_be_bytes(*oid))
    })
}

/// The key as the source would write it; a key that only the target holds may not decode, and is then shown in hex.
fn shown_key(route: &Route, tuple: &[u8]) -> String {
    let cells: Vec<Option<&[u8]>> = tuple_cells(tuple).collect();
    let Identity::Columns(columns) = &route.identity else { return String::from("[]") };
    let decoded = columns.iter().map(|column| {
        let mut scratch = Vec::new();
        let bytes = cells[*column]?;
        Some(route.columns[*column].codec.decode(bytes, &mut scratch).ok()?.to_buf())
    });
    match decoded.collect::<Option<Vec<_>>>() {
        Some(cells) => key_json(cells.iter().map(CellBuf::as_cell)),
        None => key_json(columns.iter().map(|column| cells[*column].map_or(Cell::Null, Cell::Blob))),
    }
}
