//! Rows that the ledger has entries of, named in the change table once more: where a column has become another, what it could not hold
//! may fit now.
//!
//! Naming a row too often does no harm, so that this is done before whatever calls for it is recorded.

use super::blocking::blocking;
use crate::journal::follow::Which;
use crate::journal::store::Store;
use crate::model::cell::CellBuf;
use crate::model::fault::Fault;
use crate::model::key::cells_of_key;
use crate::sqlite::capture;
use crate::sqlite::connect::SqliteFile;
use std::collections::BTreeSet;
use std::time::Duration;

/// Names every row of a table, known to its triggers by its number, that the ledger has such an entry of.
pub async fn ledger_of(
    store: &Store,
    file: &SqliteFile,
    (migration, id): (i64, i64),
    (table, which): (&str, Which<'_>),
) -> Result<(), Fault> {
    let mut after = 0;
    loop {
        let named = store.ledger_names(migration, (table, which), after).await?;
        let Some((last, _)) = named.last() else { return Ok(()) };
        after = *last;
        let names: BTreeSet<&str> = named.iter().map(|(_, name)| name.as_str()).collect();
        // An entry under another name than a key's is of a table that had none.
        let keys: Vec<Vec<CellBuf>> = names.into_iter().filter_map(cells_of_key).collect();
        name_again(file, id, keys).await?;
    }
}

/// Names rows of a table in SQLite's change table, by their keys.
pub async fn name_again(file: &SqliteFile, id: i64, keys: Vec<Vec<CellBuf>>) -> Result<(), Fault> {
    let file = file.clone();
    blocking(NAMING, move || capture::touch(&file.open_writer(TOUCH_WAIT)?, id, &keys)).await
}

pub const NAMING: &str = "name rows again";
pub const TOUCH_WAIT: Duration = Duration::from_secs(10);
