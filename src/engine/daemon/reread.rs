//! Rows that the ledger has entries of, named in the change table once more: where a column has become another, what it could not hold
//! may fit now.
//!
//! Naming a row too often does no harm, so that this is done before whatever calls for it is recorded.

use crate::journal::follow::Which;
use crate::journal::store::Store;
use crate::model::cell::CellBuf;
use crate::model::fault::Fault;
use crate::sqlite::capture;
use crate::sqlite::connect::SqliteFile;
use serde_json::Value;
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
        let keys: Vec<Vec<CellBuf>> = names.into_iter().filter_map(cells_of).collect();
        let file = file.clone();
        let touched =
            tokio::task::spawn_blocking(move || capture::touch(&file.open_writer(TOUCH_WAIT)?, id, &keys));
        touched
            .await
            .unwrap_or_else(|error| Err(Fault::fatal("stopped", "name rows again").with_source(error)))?;
    }
}

const TOUCH_WAIT: Duration = Duration::from_secs(10);

/// A key's cells, from its name as `key_json` writes it.
fn cells_of(name: &str) -> Option<Vec<CellBuf>> {
    let cells: Vec<Value> = serde_json::from_str(name).ok()?;
    cells.iter().map(cell_of).collect()
}

fn cell_of(cell: &Value) -> Option<CellBuf> {
    match cell {
        Value::Null => Some(CellBuf::Null),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Some(CellBuf::Integer(integer)),
            None => number.as_f64().map(CellBuf::Real),
        },
        Value::String(text) => Some(CellBuf::Text(text.clone().into_bytes())),
        Value::Object(fields) => match fields.iter().next()? {
            (class, Value::String(shown)) if class == "real" => shown.parse().ok().map(CellBuf::Real),
            (class, Value::String(hex)) if class == "text" => bytes_of(hex).map(CellBuf::Text),
            (class, Value::String(hex)) if class == "blob" => bytes_of(hex).map(CellBuf::Blob),
            _ => None,
        },
        Value::Bool(_) | Value::Array(_) => None,
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::key_json;

    #[test]
    fn a_key_is_read_back_from_its_name() {
        let key = vec![
            CellBuf::Integer(i64::MIN),
            CellBuf::Integer(7),
            CellBuf::Real(7.0),
            CellBuf::Real(-0.0),
            CellBuf::Real(1e300),
            CellBuf::Real(5e-324),
            CellBuf::Real(f64::INFINITY),
            CellBuf::Text("a\"\n\u{0}\\".into()),
            CellBuf::Text(b"\xff".to_vec()),
            CellBuf::Blob(vec![0, 255]),
            CellBuf::Blob(Vec::new()),
            CellBuf::Null,
        ];
        let name = key_json(key.iter().map(CellBuf::as_cell));
        assert_eq!(cells_of(&name), Some(key));
        assert_eq!(cells_of("no key"), None);
    }
}
