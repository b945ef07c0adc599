//! One table as a batch reads it: its rows by keys, and its entries in the ledger that no longer tell the truth.

use super::{Shared, rows_of};
use crate::model::cell::{Cell, Class};
use crate::model::chunk::tuple_cells;
use crate::model::fault::Fault;
use crate::model::name::{ident, ident_list};
use crate::plan::reverse::canary_route;
use crate::plan::route::{Identity, Route};
use crate::postgres::apply::Raw;
use crate::postgres::connect::Session;
use crate::postgres::fault;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What was learnt of a table at the batch's first key of it.
pub struct Table {
    pub route: Arc<Route>,
    /// Rows by arrays of their key's parts.
    pub by_keys: String,
    pub all: String,
    /// The ledger may hold something of it.
    pub ledger: bool,
}

/// A key as its trigger noted it.
pub struct Noted {
    /// By column: type id and canonical bytes.
    pub parts: Vec<(u32, Vec<u8>)>,
}

/// One line of the ledger.
pub struct Entry {
    pub id: i64,
    pub column: String,
    class: String,
    raw: Vec<u8>,
    /// The row stood in the ledger alone.
    pub held: bool,
}

const TYPES: &str =
    "select format_type(a.atttypid, a.atttypmod) from unnest($2::text[]) with ordinality as k (name, at)
    join pg_attribute a on a.attrelid = $1::text::regclass and a.attname = k.name order by k.at";
const ENTRIES: &str = "select key, id, column_name, class, raw, standing = 'row-held' from liteferry.ledger
    where migration_id = $1 and source_table = $2 and key = any($3)";
const HOLDS: &str =
    "select exists (select from liteferry.ledger where migration_id = $1 and source_table = $2)";
const HELD: &str = "select distinct key from liteferry.ledger
    where migration_id = $1 and source_table = $2 and standing = 'row-held'";
const DROP_KEPT: &str =
    "delete from liteferry.ledger where migration_id = $1 and source_table = $2 and standing <> 'row-held'";

impl Table {
    pub async fn learn(shared: &Shared, session: &Session, route: &Arc<Route>) -> Result<Table, Fault> {
        let doing = format!("prepare to read table {}", route.target);
        let failed = |error| fault::of(error, &doing);
        let columns = key_columns(route);
        let names: Vec<&str> = columns.iter().map(|at| route.columns[*at].target.as_str()).collect();
        let types: Vec<String> = if route.target == canary_route().target {
            vec!["bigint".to_owned()]
        } else {
            let types = session.prepared(TYPES).await.map_err(failed)?;
            let rows = session.query(&types, &[&route.target.sql(), &names]).await.map_err(failed)?;
            rows.iter().map(|row| row.get(0)).collect()
        };
        if types.len() != names.len() {
            return Err(Fault::fatal("schema_drift", doing)
                .with_remedy("a key column of the table is gone from PostgreSQL: put it back"));
        }
        let of_table: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&shared.migration, &route.source];
        let holds = session.prepared(HOLDS).await.map_err(failed)?;
        let ledger = session.query_one(&holds, &of_table).await.map_err(failed)?.get(0);
        let rows = rows_of(route, shared.migration);
        let record = format!("select record_send(row({}))", qualified(route));
        let arrays: Vec<String> =
            types.iter().enumerate().map(|(at, ty)| format!("${}::{ty}[]", at + 1)).collect();
        let parts: Vec<String> = (0..names.len()).map(|at| format!("k{at}")).collect();
        let same: Vec<String> =
            names.iter().zip(&parts).map(|(name, part)| format!("t.{} = k.{part}", ident(name))).collect();
        let by_keys = format!(
            "{record} from unnest({}) as k ({}) join {rows} as t on {}",
            arrays.join(", "),
            ident_list(parts.iter().map(String::as_str)),
            same.join(" and ")
        );
        Ok(Table { route: Arc::clone(route), by_keys, all: format!("{record} from {rows} as t"), ledger })
    }

    /// The ledger's lines of some keys, by key.
    pub async fn entries(
        &self,
        shared: &Shared,
        session: &Session,
        keys: &[String],
    ) -> Result<HashMap<String, Vec<Entry>>, Fault> {
        let mut found: HashMap<String, Vec<Entry>> = HashMap::new();
        if !self.ledger {
            return Ok(found);
        }
        let failed = |error| fault::of(error, "read the ledger");
        let entries = session.prepared(ENTRIES).await.map_err(failed)?;
        let rows = session.query(&entries, &[&shared.migration, &self.route.source, &keys]).await;
        for row in rows.map_err(failed)? {
            let entry = Entry {
                id: row.get(1),
                column: row.get(2),
                class: row.get(3),
                raw: row.get(4),
                held: row.get(5),
            };
            found.entry(row.get(0)).or_default().push(entry);
        }
        Ok(found)
    }

    /// Lets go of all entries of an emptied table but those of rows that it never held, whose keys are given.
    pub async fn empty_ledger(&self, shared: &Shared, session: &Session) -> Result<HashSet<String>, Fault> {
        if !self.ledger {
            return Ok(HashSet::new());
        }
        let failed = |error| fault::of(error, "empty the ledger of an emptied table");
        let of_table: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&shared.migration, &self.route.source];
        session.execute(DROP_KEPT, &of_table).await.map_err(failed)?;
        let held = session.query(HELD, &of_table).await.map_err(failed)?;
        Ok(held.iter().map(|row| row.get(0)).collect())
    }
}

impl Entry {
    /// Whether it still tells what SQLite holds: the row stands here as the entry's cell crosses.
    pub fn is_true(&self, route: &Route, tuple: &[u8]) -> bool {
        let Some(at) = route.columns.iter().position(|column| column.target == self.column) else {
            return false;
        };
        let cell = Class::from_word(&self.class).and_then(|class| Cell::from_raw(class, &self.raw));
        let bytes = tuple_cells(tuple).nth(at).flatten();
        !self.held
            && cell.is_some_and(|cell| route.columns[at].codec.crosses_to(cell, bytes, &mut Vec::new()))
    }
}

impl Noted {
    /// `None` where it is not what a trigger of ours wrote for this key.
    pub fn from_record(record: &[u8], parts: usize) -> Option<Noted> {
        let (count, mut rest) = record.split_first_chunk::<4>()?;
        if usize::try_from(u32::from_be_bytes(*count)) != Ok(parts) {
            return None;
        }
        let mut found = Vec::with_capacity(parts);
        for _ in 0..parts {
            let (oid, tail) = rest.split_first_chunk::<4>()?;
            let (length, tail) = tail.split_first_chunk::<4>()?;
            let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
            let (bytes, tail) = tail.split_at_checked(length)?;
            found.push((u32::from_be_bytes(*oid), bytes.to_vec()));
            rest = tail;
        }
        rest.is_empty().then_some(Noted { parts: found })
    }

    /// As its trigger would note it.
    pub fn to_record(&self) -> Vec<u8> {
        let length = |bytes: usize| u32::try_from(bytes).expect("a key is short").to_be_bytes();
        let mut record = length(self.parts.len()).to_vec();
        for (oid, bytes) in &self.parts {
            record.extend_from_slice(&oid.to_be_bytes());
            record.extend_from_slice(&length(bytes.len()));
            record.extend_from_slice(bytes);
        }
        record
    }
}

/// One part of many keys, as an array that the server takes in binary.
pub fn array_of(keys: &[Noted], part: usize) -> Vec<u8> {
    let count = u32::try_from(keys.len()).expect("a page of keys is short");
    let oid = keys.first().map_or(0, |key| key.parts[part].0);
    let mut out: Vec<u8> = [1u32, 0, oid, count, 1].iter().flat_map(|word| word.to_be_bytes()).collect();
    for key in keys {
        let bytes = &key.parts[part].1;
        let length = u32::try_from(bytes.len()).expect("a key is short");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

pub fn params(arrays: &[Vec<u8>]) -> Vec<Raw<'_>> {
    arrays.iter().map(|array| Raw(Some(array))).collect()
}

pub fn key_columns(route: &Route) -> &[usize] {
    match &route.identity {
        Identity::Columns(key) => key,
        Identity::WholeRow => panic!("table {} has no key and is not followed row by row", route.target),
    }
}

fn qualified(route: &Route) -> String {
    let names: Vec<String> =
        route.columns.iter().map(|column| format!("t.{}", ident(&column.target))).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_key_is_read_and_asked_for_again() {
        let record =
            [&[0, 0, 0, 2][..], &[0, 0, 0, 20, 0, 0, 0, 1, 7], &[0, 0, 0, 25, 0, 0, 0, 2, b'a', b'b']]
                .concat();
        let noted = Noted::from_record(&record, 2).expect("a key of two parts");
        assert_eq!(noted.parts, [(20, vec![7]), (25, b"ab".to_vec())]);
        assert_eq!(noted.to_record(), record);
        assert!(Noted::from_record(&record, 1).is_none() && Noted::from_record(&record[..9], 2).is_none());
        assert_eq!(
            array_of(&[noted], 1),
            [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2][..], b"ab"].concat()
        );
    }
}
