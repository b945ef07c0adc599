//! Rows that the target refused, read back from the ledger and packed again as the source packs them.
//!
//! The proof needs them: such a row is not missing, and the ledger has it whole instead of what its cells alone would call for.

use super::connect::Session;
use super::fault;
use crate::diff::compare::Seen;
use crate::diff::digest::{RowHasher, ledger_digest};
use crate::link::{Refused, Span};
use crate::model::cell::{Cell, CellBuf, Class};
use crate::model::chunk::Chunk;
use crate::model::fault::Fault;
use crate::plan::packer::Packer;
use crate::plan::route::Route;
use futures_util::TryStreamExt;
use std::pin::pin;
use tokio_postgres::Row;

const REFUSED: &str = include_str!("sql/refused.sql");

pub async fn refused(session: &Session, migration: i64, route: &Route, span: Span) -> Result<Refused, Fault> {
    let hasher = RowHasher::new(route.columns.iter().map(|column| column.type_oid).collect());
    let mut refused = Refused::default();
    for_each_row(session, (migration, route, span), |name, chunk| {
        let tuple = chunk.row(0);
        let digest = hasher.digest(tuple);
        refused.rows.push(Seen { key: route.identity.key_of(tuple, digest), digest, shown: name.to_owned() });
        for misfit in &mut chunk.misfits {
            name.clone_into(&mut misfit.key);
            refused.called_for.add(ledger_digest(&route.columns[misfit.column].target, misfit));
        }
    })
    .await?;
    Ok(refused)
}

/// Calls `visit` with each row's name in the ledger and the row, packed alone.
async fn for_each_row(
    session: &Session,
    (migration, route, span): (i64, &Route, Span),
    mut visit: impl FnMut(&str, &mut Chunk),
) -> Result<(), Fault> {
    let doing = format!("read the refused rows of table {}", route.source);
    let failed = |error| fault::of(error, &doing);
    let statement = session.prepare(REFUSED).await.map_err(failed)?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&migration, &route.source, &span.from, &span.to];
    let stream = session.query_raw(&statement, parameters).await.map_err(failed)?;
    let mut stream = pin!(stream);
    let (packer, mut chunk, mut cells) = (Packer::new(route), Chunk::default(), Vec::new());
    while let Some(row) = stream.try_next().await.map_err(failed)? {
        cells.push(next_cell(route, cells.len(), &row).ok_or_else(|| forged(&doing))?);
        if cells.len() < route.columns.len() {
            continue;
        }
        chunk.clear();
        packer.pack(|at| cells[at].as_cell(), Vec::new, &mut chunk);
        if chunk.rows() != 1 {
            return Err(forged(&doing));
        }
        visit(row.get(0), &mut chunk);
        cells.clear();
    }
    if cells.is_empty() { Ok(()) } else { Err(forged(&doing)) }
}

/// The cell of the column whose turn it is.
fn next_cell(route: &Route, column: usize, row: &Row) -> Option<CellBuf> {
    let named = row.get::<_, &str>(1) == route.columns[column].target;
    let class = Class::from_word(row.get(2)).filter(|_| named)?;
    Cell::from_raw(class, row.get(3)).map(Cell::to_buf)
}

fn forged(doing: &str) -> Fault {
    Fault::fatal("state_unreadable", doing.to_owned()).with_remedy(
        "the table's refused rows do not stand whole in liteferry.ledger: somebody changed it; copy again with --restart",
    )
}
