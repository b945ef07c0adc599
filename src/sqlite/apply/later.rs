//! Rows laid aside until the others are written: in a temporary table, on disk if they are many.

use crate::model::cell::CellBuf;
use crate::model::fault::Fault;
use crate::model::position::{from_bytes, to_bytes};
use crate::sqlite::fault::from_sqlite;
use rusqlite::Connection;

#[derive(Default)]
pub struct Later {
    /// As most batches lay no row aside, the table is then not even asked.
    laid_aside: bool,
}

impl Later {
    pub fn on(db: &Connection) -> Result<Later, Fault> {
        let sql = "create temp table liteferry_later(n integer primary key, place integer, address blob, cells blob)";
        db.execute_batch(sql)
            .map(|()| Later::default())
            .map_err(|error| from_sqlite("make room for rows laid aside", error))
    }

    pub fn clear(&mut self, db: &Connection) -> Result<(), Fault> {
        if !std::mem::take(&mut self.laid_aside) {
            return Ok(());
        }
        let sql = "delete from temp.liteferry_later";
        db.execute_batch(sql).map_err(|error| from_sqlite("make room for rows laid aside", error))
    }

    /// `place` tells the table, `address` the row that stands there now.
    pub fn lay_aside(
        &mut self,
        db: &Connection,
        place: usize,
        address: Option<&[CellBuf]>,
        cells: &[CellBuf],
    ) -> Result<(), Fault> {
        let sql = "insert into temp.liteferry_later(place, address, cells) values (?1, ?2, ?3)";
        let place = i64::try_from(place).expect("tables are few");
        self.laid_aside = true;
        db.prepare_cached(sql)
            .and_then(|mut statement| statement.execute((place, address.map(to_bytes), to_bytes(cells))))
            .map(drop)
            .map_err(|error| from_sqlite("lay a row aside", error))
    }

    pub fn each(
        &self,
        db: &Connection,
        mut visit: impl FnMut(usize, Option<Vec<CellBuf>>, Vec<CellBuf>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if !self.laid_aside {
            return Ok(());
        }
        let failed = |error| from_sqlite("read rows laid aside", error);
        let sql = "select place, address, cells from temp.liteferry_later order by n";
        let mut statement = db.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let place: i64 = row.get(0).map_err(failed)?;
            let address: Option<Vec<u8>> = row.get(1).map_err(failed)?;
            let cells: Vec<u8> = row.get(2).map_err(failed)?;
            let read = |bytes: &[u8]| from_bytes(bytes).expect("it was written by us");
            let place = usize::try_from(place).expect("it was written by us");
            visit(place, address.as_deref().map(read), read(&cells))?;
        }
        Ok(())
    }
}
