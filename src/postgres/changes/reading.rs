//! Reads a batch: folds noted keys, finds the rows they name, and gives both out portion by portion. It writes nothing but the
//! ledger, in the batch's own transaction.

use super::table::{Entry, Noted, Table, array_of, key_columns, params};
use super::turn::Key;
use super::{Reader, Shared};
use crate::canon::{Back, Reason};
use crate::link::{Changed, Piece, Pieces, Portion};
use crate::model::cell::CellBuf;
use crate::model::chunk::{Chunk, Keys, Misfit, Standing, tuple_cells};
use crate::model::fault::Fault;
use crate::model::key::key_json;
use crate::plan::route::Route;
use crate::postgres::copy::copy_in;
use crate::postgres::digest::{record_to_tuple, record_types};
use crate::postgres::fault;
use crate::postgres::ledger;
use crate::postgres::types;
use futures_util::TryStreamExt;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use tokio_postgres::Row;

pub struct Reading<'s> {
    shared: &'s Shared,
    pub reader: Reader,
    portions: Pieces,
    /// Read whole because it was emptied.
    emptied: Option<i64>,
    /// What goes out next.
    gathered: Portion,
    bytes: usize,
    /// Lines for the ledger, which wait for the end of the answer that is being read.
    entries: Vec<u8>,
}

/// Why a batch is read no further.
enum End {
    /// Nobody wants the rest.
    GivenUp,
    Failed(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Failed(fault)
    }
}

const READ_KEYS: &str = "read which keys have changed";
const KEYS_PER_PAGE: u32 = 1000;
const ROWS_PER_PAGE: u32 = 1000;
const FORGET: &str = "delete from liteferry.ledger where id = any($1)";

impl<'s> Reading<'s> {
    pub fn new(shared: &'s Shared, reader: Reader, portions: Pieces) -> Reading<'s> {
        let (gathered, entries) = (Portion::new(), Vec::new());
        Reading { shared, reader, portions, emptied: None, gathered, bytes: 0, entries }
    }

    /// Reads all that the snapshot shows up to the number `last`: the rows of these keys, where they are known. False if the batch is not
    /// whole.
    pub async fn read_to(&mut self, last: i64, keys: Option<Vec<Key>>) -> bool {
        let read = match keys {
            Some(keys) => self.read_known(&keys).await,
            None => self.read(last).await,
        };
        match read {
            Ok(()) => self.portions.send(Ok(Piece::End)).await.is_ok(),
            Err(End::GivenUp) => false,
            Err(End::Failed(fault)) => {
                let _given_up = self.portions.send(Err(fault)).await;
                false
            }
        }
    }

    async fn read_known(&mut self, keys: &[Key]) -> Result<(), End> {
        for of_table in keys.chunk_by(|one, next| one.0 == next.0) {
            let keys = of_table.iter().map(|(_, key)| key.as_deref()).collect();
            self.read_keys(of_table[0].0, keys).await?;
        }
        self.flush().await
    }

    async fn read(&mut self, last: i64) -> Result<(), End> {
        let failed = |error| End::Failed(fault::of(error, READ_KEYS));
        // A cursor's query takes no parameters.
        let declare = format!(
            "declare liteferry_keys no scroll cursor for \
             select tbl, key from liteferry.reverse_change where migration_id = {} and id <= {last} \
             group by tbl, key order by tbl, key nulls first",
            self.shared.migration
        );
        self.reader.session.batch_execute(&declare).await.map_err(failed)?;
        let fetch = format!("fetch forward {KEYS_PER_PAGE} from liteferry_keys");
        loop {
            let page = self.reader.session.query(&fetch, &[]).await.map_err(failed)?;
            if page.is_empty() {
                break;
            }
            self.read_page(&page).await?;
        }
        self.reader.session.batch_execute("close liteferry_keys").await.map_err(failed)?;
        self.flush().await
    }

    async fn read_page(&mut self, page: &[Row]) -> Result<(), End> {
        for of_table in page.chunk_by(|one, next| one.get::<_, i64>(0) == next.get::<_, i64>(0)) {
            let keys = of_table.iter().map(|row| row.get::<_, Option<&[u8]>>(1)).collect();
            self.read_keys(of_table[0].get(0), keys).await?;
        }
        Ok(())
    }

    async fn read_keys(&mut self, id: i64, keys: Vec<Option<&[u8]>>) -> Result<(), End> {
        // Of tables that are followed no more, keys may be left over.
        let Some(route) = self.shared.tables.get(&id) else { return Ok(()) };
        let session = &self.reader.session;
        if !self.reader.learnt.contains_key(&id) {
            self.reader.learnt.insert(id, Table::learn(self.shared, session, route).await?);
        }
        // It stands first among a table's keys; what is there now is then read whole.
        if keys.contains(&None) {
            self.emptied = Some(id);
            return self.read_emptied(id).await;
        }
        if self.emptied == Some(id) {
            return Ok(());
        }
        let parts = key_columns(route).len();
        let noted: Option<Vec<Noted>> =
            keys.into_iter().flatten().map(|key| Noted::from_record(key, parts)).collect();
        let broken = || {
            Fault::fatal("canon_broken", format!("read back noted keys of table {}", route.target))
                .with_remedy("the table's key is not the one that was noted: put its trigger in again")
        };
        self.read_rows(id, noted.ok_or_else(broken)?).await
    }

    /// The rows of some keys, and which keys have none.
    async fn read_rows(&mut self, id: i64, noted: Vec<Noted>) -> Result<(), End> {
        let table = &self.reader.learnt[&id];
        let route = Arc::clone(&table.route);
        let doing = format!("read changed rows of table {}", route.target);
        let names = noted.iter().map(|key| name_of(&route, key)).collect::<Vec<_>>();
        let entries = table.entries(self.shared, &self.reader.session, &names).await?;
        let mut asked: HashMap<Vec<u8>, usize> =
            noted.iter().enumerate().map(|(at, key)| (key_of(key), at)).collect();
        let columns = key_columns(&route).len();
        let arrays: Vec<Vec<u8>> = (0..columns).map(|part| array_of(&noted, part)).collect();
        let failed = |error| End::Failed(fault::of(error, &doing));
        let by_keys = self.reader.session.prepared(&table.by_keys).await.map_err(failed)?;
        let stream = self.reader.session.query_raw(&by_keys, params(&arrays)).await.map_err(failed)?;
        let mut stream = pin!(stream);
        let (mut changed, mut stale) = (empty(&route), Vec::new());
        while let Some(row) = stream.try_next().await.map_err(failed)? {
            let tuple = tuple_of(row.get(0), &route, &doing)?;
            let key = route.identity.key_of(&tuple, crate::diff::RowDigest(0, 0));
            // Equal to PostgreSQL, but not the key that was asked for, is another row's.
            let Some(at) = asked.remove(&key) else { continue };
            let of_row = entries.get(&names[at]).into_iter().flatten();
            let (kept, untrue): (Vec<&Entry>, Vec<&Entry>) =
                of_row.partition(|entry| entry.is_true(&route, &tuple));
            add_row(&mut changed, &tuple, names[at].clone(), &kept);
            put_key(&mut changed.keys, &noted[at]);
            stale.extend(untrue.iter().map(|entry| entry.id));
            if changed.rows.bytes() >= self.shared.portion_bytes {
                self.gather(id, std::mem::replace(&mut changed, empty(&route)))?;
                self.flush().await?;
            }
        }
        let mut gone: Vec<usize> = asked.into_values().collect();
        gone.sort_unstable();
        for at in gone {
            let of_row: &[Entry] = entries.get(&names[at]).map_or(&[], Vec::as_slice);
            // A row that never stood here cannot have gone.
            if of_row.iter().any(|entry| entry.held) {
                continue;
            }
            stale.extend(of_row.iter().map(|entry| entry.id));
            changed.names.push(names[at].clone());
            put_key(&mut changed.keys, &noted[at]);
        }
        self.gather(id, changed)?;
        self.settle(&stale).await
    }

    async fn read_emptied(&mut self, id: i64) -> Result<(), End> {
        let table = &self.reader.learnt[&id];
        let route = Arc::clone(&table.route);
        let doing = format!("read emptied table {}", route.target);
        let held = table.empty_ledger(self.shared, &self.reader.session).await?;
        let mut changed = Changed { emptied: Some(held), ..empty(&route) };
        let failed = |error| End::Failed(fault::of(error, &doing));
        let declare = format!(
            "set local enable_seqscan = on; declare liteferry_rows no scroll cursor for {}; set local enable_seqscan = off",
            table.all
        );
        self.reader.session.batch_execute(&declare).await.map_err(failed)?;
        let fetch = format!("fetch forward {ROWS_PER_PAGE} from liteferry_rows");
        loop {
            let stream = self.reader.session.query_raw(&fetch, params(&[])).await.map_err(failed)?;
            let (mut stream, mut rows) = (pin!(stream), 0);
            while let Some(row) = stream.try_next().await.map_err(failed)? {
                rows += 1;
                let tuple = tuple_of(row.get(0), &route, &doing)?;
                let key = noted_in(&route, &tuple).ok_or_else(|| broken(&doing))?;
                add_row(&mut changed, &tuple, name_of(&route, &key), &[]);
                put_key(&mut changed.keys, &key);
                if changed.rows.bytes() >= self.shared.portion_bytes {
                    self.gather(id, std::mem::replace(&mut changed, empty(&route)))?;
                    self.flush().await?;
                }
            }
            self.gather(id, std::mem::replace(&mut changed, empty(&route)))?;
            self.settle(&[]).await?;
            if rows == 0 {
                break;
            }
        }
        self.reader.session.batch_execute("close liteferry_rows").await.map_err(failed)
    }

    fn gather(&mut self, id: i64, changed: Changed) -> Result<(), Fault> {
        if changed.names.is_empty() && changed.emptied.is_none() {
            return Ok(());
        }
        if !changed.rows.misfits.is_empty() {
            let entries = ledger::entries(self.shared.migration, &changed.route, &changed.rows, &[])?;
            self.entries.extend_from_slice(&entries.arena);
            self.reader.learnt.entry(id).and_modify(|table| table.ledger = true);
        }
        self.bytes += changed.rows.bytes() + changed.keys.arena.len();
        self.gathered.push(changed);
        Ok(())
    }

    /// Between two questions: the session reads one answer at a time.
    async fn settle(&mut self, stale: &[i64]) -> Result<(), End> {
        let doing = "write the ledger";
        if !stale.is_empty() {
            let forgotten = self.reader.session.execute(FORGET, &[&stale]).await;
            forgotten.map_err(|error| fault::of(error, doing))?;
        }
        if !self.entries.is_empty() {
            copy_in(&self.reader.session, ledger::COPY, &self.entries, doing).await?;
            self.entries.clear();
        }
        if self.bytes >= self.shared.portion_bytes { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), End> {
        self.bytes = 0;
        let portion = std::mem::take(&mut self.gathered);
        if portion.is_empty() {
            return Ok(());
        }
        self.portions.send(Ok(Piece::Portion(portion))).await.map_err(|_| End::GivenUp)
    }
}

fn empty(route: &Arc<Route>) -> Changed {
    Changed {
        route: Arc::clone(route),
        keys: Keys::default(),
        names: Vec::new(),
        rows: Chunk::default(),
        emptied: None,
    }
}

/// A value that its column in SQLite does not spell is a misfit, with the cell that stands for it; unless SQLite holds a cell, in the
/// ledger too, that crosses to it.
fn add_row(changed: &mut Changed, tuple: &[u8], name: String, kept: &[&Entry]) {
    let row = changed.rows.rows();
    changed.rows.arena.extend_from_slice(tuple);
    changed.rows.row_ends.push(changed.rows.arena.len());
    let mut scratch = Vec::new();
    for (column, (described, bytes)) in changed.route.columns.iter().zip(tuple_cells(tuple)).enumerate() {
        let Some(bytes) = bytes else { continue };
        let back = match key_columns(&changed.route).contains(&column) {
            true => described.codec.back(described.affinity, bytes, &mut scratch),
            false => described.codec.back_in_row(described.affinity, bytes, &mut scratch),
        };
        let Back::Foreign(cell) = back else { continue };
        if kept.iter().any(|entry| entry.column == described.target) {
            continue;
        }
        let mut raw = Vec::new();
        cell.as_cell().put_raw(&mut raw);
        changed.rows.push_misfit(Misfit {
            row: Some(row),
            key: name.clone(),
            column,
            class: cell.as_cell().class(),
            raw,
            reason: Reason::Unspelt.word(),
            standing: Standing::Kept,
        });
    }
    changed.names.push(name);
}

/// Bytes of another type would be read as this one's.
fn tuple_of(record: &[u8], route: &Route, doing: &str) -> Result<Vec<u8>, Fault> {
    types::confirm_row(record_types(record), route, doing)?;
    record_to_tuple(record).ok_or_else(|| broken(doing))
}

fn put_key(keys: &mut Keys, key: &Noted) {
    let count = u16::try_from(key.parts.len()).expect("a key has few columns");
    keys.arena.extend_from_slice(&count.to_be_bytes());
    for (_, bytes) in &key.parts {
        let length = i32::try_from(bytes.len()).expect("a key is short");
        keys.arena.extend_from_slice(&length.to_be_bytes());
        keys.arena.extend_from_slice(bytes);
    }
    keys.ends.push(keys.arena.len());
}

/// As `Identity::key_of` has it.
fn key_of(key: &Noted) -> Vec<u8> {
    let mut out = Vec::new();
    for (_, bytes) in &key.parts {
        out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

fn noted_in(route: &Route, tuple: &[u8]) -> Option<Noted> {
    let cells: Vec<Option<&[u8]>> = tuple_cells(tuple).collect();
    let part = |column: &usize| Some((route.columns[*column].type_oid, (*cells.get(*column)?)?.to_vec()));
    key_columns(route).iter().map(part).collect::<Option<Vec<_>>>().map(|parts| Noted { parts })
}

/// What the ledger calls the row: its key as SQLite holds it.
fn name_of(route: &Route, key: &Noted) -> String {
    let cells: Vec<CellBuf> = key_columns(route)
        .iter()
        .zip(&key.parts)
        .map(|(column, (_, bytes))| {
            let described = &route.columns[*column];
            match described.codec.back(described.affinity, bytes, &mut Vec::new()) {
                Back::Spelt(cell) => cell.to_buf(),
                Back::Foreign(cell) => cell,
            }
        })
        .collect();
    key_json(cells.iter().map(CellBuf::as_cell))
}

fn broken(doing: &str) -> Fault {
    Fault::fatal("digest_broken", doing)
}
