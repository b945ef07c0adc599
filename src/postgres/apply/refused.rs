//! Staged rows that the target refuses: found by halving, and put into the ledger whole. None is left out in silence.

use super::pipeline::What;
use super::staged::{Gathered, RELEASE, ROLL_BACK, SAVEPOINT, copy};
use super::writer::Writer;
use crate::model::cell::{Cell, CellBuf, Class};
use crate::model::fault::{Fault, FaultClass};
use crate::plan::route::Route;
use crate::postgres::copy::copy_one_out;
use crate::postgres::halves::Halves;
use crate::postgres::ledger::{self, Refused};
use crate::postgres::load::reason_of;
use crate::postgres::patience::answered;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_postgres::types::ToSql;

/// Gives the numbers of rows inserted and refused. The stage is gone afterwards.
pub async fn insert_by_halves(writer: &Writer, gathered: &Gathered) -> Result<(u64, u64), Fault> {
    let (route, doing) = (&gathered.route, What::InsertRow(Arc::clone(&gathered.route)).doing());
    let (session, stage) = (&writer.session, writer.table(route).stage());
    writer.run(&stage.number_rows(), &doing).await?;
    let numbers = writer.answer(&doing, session.query_one(&stage.numbers(), &[])).await?;
    let number = |index| usize::try_from(numbers.get::<_, i64>(index)).expect("rows are counted from one");
    let mut halves = Halves::of(number(0)..number(1));
    let (mut inserted, mut refused) = (0, 0);
    while let Some(rows) = halves.next() {
        writer.run(SAVEPOINT, &doing).await?;
        match writer.answer(&doing, session.execute(&stage.insert_some(&rows), &[])).await {
            Ok(some) => {
                writer.run(RELEASE, &doing).await?;
                inserted += some;
            }
            Err(fault) if fault.class == FaultClass::Data => {
                writer.run(ROLL_BACK, &doing).await?;
                if let Some(row) = halves.refused(rows) {
                    hold(writer, gathered, (row, reason_of(&fault))).await?;
                    refused += 1;
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    writer.run(&stage.unmake(), &doing).await?;
    Ok((inserted, refused))
}

/// Puts a refused row's cells into the ledger.
async fn hold(writer: &Writer, gathered: &Gathered, (row, reason): (usize, String)) -> Result<(), Fault> {
    let doing = What::WriteEntry.doing();
    let (route, migration) = (&gathered.route, writer.ownership.migration);
    let sql = writer.table(route).stage().copy_row_out(row);
    let read = copy_one_out(&writer.session, &sql, &doing);
    let tuple = answered(writer.patience, &doing, read).await?;
    let name = ledger::name_of(route, &tuple)?;
    let misfits = misfits_of(writer, route, &name).await?;
    // The row stands there once: what its cells alone called for goes.
    let names = vec![&name];
    let entries: [&(dyn ToSql + Sync); 3] = [&migration, &route.source, &names];
    writer.answer(&doing, writer.session.execute(ledger::DELETE, &entries)).await?;
    let refused = Refused { tuple: &tuple, misfits, name, reason };
    let entries = ledger::refused_entries(migration, route, &refused)?;
    copy(writer, ledger::COPY, &entries.arena, &doing).await?;
    Ok(())
}

/// The cells that the ledger has of a row already.
async fn misfits_of(writer: &Writer, route: &Route, name: &str) -> Result<BTreeMap<usize, CellBuf>, Fault> {
    let doing = "read a refused row's ledger entries";
    let of_row: [&(dyn ToSql + Sync); 3] = [&writer.ownership.migration, &route.source, &name];
    let found = writer.answer(doing, writer.session.query(ledger::OF_ROW, &of_row)).await?;
    let entry = |row: &tokio_postgres::Row| {
        let (column, class, raw): (&str, &str, &[u8]) = (row.get(0), row.get(1), row.get(2));
        let column = route.columns.iter().position(|known| known.target == column)?;
        Some((column, Cell::from_raw(Class::from_word(class)?, raw)?.to_buf()))
    };
    let entries: Option<BTreeMap<usize, CellBuf>> = found.iter().map(entry).collect();
    entries.ok_or_else(|| Fault::fatal("canon_broken", doing))
}
