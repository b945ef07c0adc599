//! The ledger's statements and entries: cells that the target does not give back byte for byte, and whole rows that it refused.
//!
//! Entries are COPY BINARY tuples, whichever way they are written. Nothing here reads a table of the application.

use crate::canon::Reason;
use crate::model::cell::{Cell, CellBuf};
use crate::model::chunk::{Chunk, Misfit, Standing, tuple_cells};
use crate::model::fault::Fault;
use crate::model::key::key_json;
use crate::plan::route::{Identity, Route};
use std::collections::{BTreeMap, HashSet};

pub const COPY: &str = "copy liteferry.ledger (migration_id, source_table, key, column_name, class, raw, reason, standing) \
     from stdin (format binary)";

/// One entry, with the fields of its tuple as parameters.
pub const INSERT: &str = "insert into liteferry.ledger (migration_id, source_table, key, column_name, class, raw, reason, standing) \
     values ($1, $2, $3, $4, $5, $6, $7, $8)";

pub const DELETE: &str =
    "delete from liteferry.ledger where migration_id = $1 and source_table = $2 and key = any($3)";

pub const NEWEST: &str =
    "select coalesce(max(id), 0) from liteferry.ledger where migration_id = $1 and source_table = $2";

/// Of entries up to one, those that no later one says again.
pub const DELETE_OUTDATED: &str = "delete from liteferry.ledger as old where migration_id = $1 and source_table = $2 and id <= $3
    and not exists (select from liteferry.ledger as new where new.migration_id = $1 and new.source_table = $2 and new.id > $3
        and (new.key, new.column_name, new.class, new.raw, new.reason, new.standing)
            = (old.key, old.column_name, old.class, old.raw, old.reason, old.standing))";

/// Of later entries, those that one of the others says already.
pub const DELETE_REPEATED: &str = "delete from liteferry.ledger as new where migration_id = $1 and source_table = $2 and id > $3
    and exists (select from liteferry.ledger as old where old.migration_id = $1 and old.source_table = $2 and old.id <= $3
        and (new.key, new.column_name, new.class, new.raw, new.reason, new.standing)
            = (old.key, old.column_name, old.class, old.raw, old.reason, old.standing))";

pub const HOLDS: &str =
    "select exists (select from liteferry.ledger where migration_id = $1 and source_table = $2)";

/// The cells of a row that has crossed which the target does not give back.
pub const OF_ROW: &str = "select column_name, class, raw from liteferry.ledger \
     where migration_id = $1 and source_table = $2 and key = $3 and standing <> 'row-held'";

/// Entries as tuples, laid out as in a chunk.
#[derive(Debug, Default)]
pub struct Entries {
    pub arena: Vec<u8>,
    pub ends: Vec<usize>,
}

/// A row that the target refused, as it was sent, and what tells its cells where their canonical form does not.
#[derive(Debug)]
pub struct Refused<'a> {
    pub tuple: &'a [u8],
    /// By column: the cells of the row that are misfits too.
    pub misfits: BTreeMap<usize, CellBuf>,
    /// What the ledger calls the row.
    pub name: String,
    pub reason: String,
}

/// A row of a chunk that the target refused, and what the ledger says of it.
#[derive(Debug)]
pub struct RefusedRow {
    pub row: usize,
    pub reason: String,
}

/// Those the packer made, and all cells of the rows that the target refused, which stand there once whatever the packer made of
/// them.
pub fn entries(
    migration: i64,
    route: &Route,
    chunk: &Chunk,
    refused: &[RefusedRow],
) -> Result<Entries, Fault> {
    let mut out = Entries::default();
    let held: HashSet<usize> = refused.iter().map(|refused| refused.row).collect();
    for misfit in chunk.misfits.iter().filter(|misfit| misfit.row.is_none_or(|row| !held.contains(&row))) {
        put_entry(&mut out, migration, route, (misfit, misfit.reason));
    }
    for refused in refused {
        put_refused(&mut out, migration, route, &refused_of(route, chunk, refused)?)?;
    }
    Ok(out)
}

/// All cells of one refused row.
pub fn refused_entries(migration: i64, route: &Route, refused: &Refused<'_>) -> Result<Entries, Fault> {
    let mut out = Entries::default();
    put_refused(&mut out, migration, route, refused)?;
    Ok(out)
}

/// What the ledger calls a row that has crossed: its key has done so exactly.
pub fn name_of(route: &Route, tuple: &[u8]) -> Result<String, Fault> {
    name_from(route, &cells_of(route, tuple, &BTreeMap::new())?)
}

fn refused_of<'c>(route: &Route, chunk: &'c Chunk, refused: &RefusedRow) -> Result<Refused<'c>, Fault> {
    let row = refused.row;
    let tuple = chunk.row(row);
    let mut misfits = BTreeMap::new();
    for misfit in chunk.misfits.iter().filter(|misfit| misfit.row == Some(row)) {
        let cell = Cell::from_raw(misfit.class, &misfit.raw).ok_or_else(broken)?;
        misfits.entry(misfit.column).or_insert(cell.to_buf());
    }
    let name = match &route.identity {
        Identity::Columns(_) => name_from(route, &cells_of(route, tuple, &misfits)?)?,
        Identity::WholeRow => chunk.row_names[row].clone(),
    };
    Ok(Refused { tuple, misfits, name, reason: refused.reason.clone() })
}

/// A row's cells as the source holds them: decoded from the tuple where they crossed exactly, else from its misfits. A cell that
/// neither tells is `None`.
fn cells_of(
    route: &Route,
    tuple: &[u8],
    misfits: &BTreeMap<usize, CellBuf>,
) -> Result<Vec<Option<CellBuf>>, Fault> {
    let cell = |(column, bytes): (usize, Option<&[u8]>)| match (misfits.get(&column), bytes) {
        (Some(misfit), _) => Some(misfit.clone()),
        (None, None) => Some(CellBuf::Null),
        (None, Some(bytes)) => {
            let codec = &route.columns.get(column)?.codec;
            codec.decode(bytes, &mut Vec::new()).ok().map(Cell::to_buf)
        }
    };
    let cells: Vec<_> = tuple_cells(tuple).enumerate().map(cell).collect();
    if cells.len() == route.columns.len() { Ok(cells) } else { Err(broken()) }
}

fn name_from(route: &Route, cells: &[Option<CellBuf>]) -> Result<String, Fault> {
    let Identity::Columns(key) = &route.identity else { return Err(broken()) };
    let key: Option<Vec<&CellBuf>> = key.iter().map(|column| cells[*column].as_ref()).collect();
    Ok(key_json(key.ok_or_else(broken)?.into_iter().map(CellBuf::as_cell)))
}

fn put_refused(out: &mut Entries, migration: i64, route: &Route, refused: &Refused<'_>) -> Result<(), Fault> {
    for (column, cell) in cells_of(route, refused.tuple, &refused.misfits)?.into_iter().enumerate() {
        let cell = cell.ok_or_else(broken)?;
        let mut raw = Vec::new();
        cell.as_cell().put_raw(&mut raw);
        let misfit = Misfit {
            row: None,
            key: refused.name.clone(),
            column,
            class: cell.as_cell().class(),
            raw,
            reason: Reason::Refused.word(),
            standing: Standing::RowHeld,
        };
        put_entry(out, migration, route, (&misfit, &refused.reason));
    }
    Ok(())
}

fn broken() -> Fault {
    Fault::fatal("canon_broken", "decode a row of our own")
}

fn put_entry(out: &mut Entries, migration: i64, route: &Route, (misfit, reason): (&Misfit, &str)) {
    let fields: [&[u8]; 8] = [
        &migration.to_be_bytes(),
        route.source.as_bytes(),
        misfit.key.as_bytes(),
        route.columns[misfit.column].target.as_bytes(),
        misfit.class.word().as_bytes(),
        &misfit.raw,
        reason.as_bytes(),
        misfit.standing.word().as_bytes(),
    ];
    out.arena.extend_from_slice(&8u16.to_be_bytes());
    for field in fields {
        let length = i32::try_from(field.len()).expect("a cell is shorter than 2 GiB");
        out.arena.extend_from_slice(&length.to_be_bytes());
        out.arena.extend_from_slice(field);
    }
    out.ends.push(out.arena.len());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::samples::route;

    #[test]
    fn a_tuple_that_is_not_what_its_route_promised_makes_no_entry() {
        let seven = [&8i32.to_be_bytes()[..], &7i64.to_be_bytes()].concat();
        let tuple = |cells: &[&[u8]]| {
            [&u16::try_from(cells.len()).unwrap().to_be_bytes(), &cells.concat()[..]].concat()
        };
        let short = [&4i32.to_be_bytes()[..], &7i32.to_be_bytes()].concat();
        for (cells, expected) in [
            (&[&seven[..], &seven][..], None),
            (&[&seven], Some("canon_broken")),
            (&[&seven, &seven, &seven], Some("canon_broken")),
            (&[&seven, &short], Some("canon_broken")),
        ] {
            let tuple = tuple(cells);
            let (misfits, reason) = (BTreeMap::new(), "refused:23505".to_owned());
            let refused = Refused { tuple: &tuple, misfits, name: "[7]".into(), reason };
            let route = route(&["k", "v"], Identity::Columns(vec![0]));
            let made = refused_entries(1, &route, &refused);
            assert_eq!(
                made.map(|entries| entries.ends.len()).map_err(|fault| fault.code),
                expected.map_or(Ok(2), Err)
            );
        }
    }
}
