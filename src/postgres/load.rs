//! Loads chunks by binary COPY: rows, ledger entries and the range's progress commit together.
//!
//! A chunk that the target refuses is halved until the rows it refuses stand alone; those go to the ledger whole. Nothing is skipped.

use super::connect::Session;
use super::fault;
use super::merge::{self, Merge};
use crate::canon::{Reason, RefusedBy};
use crate::link::{Loaded, Loader, Range};
use crate::model::cell::{Cell, CellBuf, Class};
use crate::model::chunk::{Chunk, Misfit, Standing, tuple_cells};
use crate::model::fault::{Fault, FaultClass};
use crate::model::key::key_json;
use crate::model::name::ident_list;
use crate::model::position;
use crate::plan::overrides::ExistingRows;
use crate::plan::route::{Identity, Route};
use bytes::Bytes;
use futures_util::SinkExt;
use std::collections::HashSet;
use std::pin::pin;
use tracing::warn;

const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COPY_TRAILER: &[u8] = &[0xff, 0xff];

/// How rows come into a table.
enum Put {
    Copy(String),
    Merge(Merge),
}

/// A row of a chunk that the target refused, and what the ledger says of it.
struct RefusedRow {
    row: usize,
    reason: String,
}

/// One connection that loads, one chunk at a time.
pub struct PgLoader {
    session: Session,
    migration: i64,
    existing_rows: ExistingRows,
}

impl PgLoader {
    pub fn new(session: Session, migration: i64, existing_rows: ExistingRows) -> PgLoader {
        PgLoader { session, migration, existing_rows }
    }

    async fn run(&self, sql: &str, doing: &str) -> Result<(), Fault> {
        self.session.batch_execute(sql).await.map_err(|error| fault::of(error, doing))
    }

    async fn copy(&self, sql: &str, rows: &[u8], doing: &str) -> Result<u64, Fault> {
        let sink = self.session.copy_in::<_, Bytes>(sql).await.map_err(|error| fault::of(error, doing))?;
        let mut sink = pin!(sink);
        for part in [COPY_HEADER, rows, COPY_TRAILER] {
            for piece in part.chunks(COPY_PIECE_BYTES) {
                sink.send(Bytes::copy_from_slice(piece)).await.map_err(|error| fault::of(error, doing))?;
            }
        }
        sink.finish().await.map_err(|error| fault::of(error, doing))
    }

    async fn put(&self, put: &Put, rows: &[u8], doing: &str) -> Result<u64, Fault> {
        let merge = match put {
            Put::Copy(sql) => return self.copy(sql, rows, doing).await,
            Put::Merge(merge) => merge,
        };
        self.run(&merge.stage, doing).await?;
        self.copy(&merge.copy, rows, doing).await?;
        let written =
            self.session.query_one(&merge.write, &[]).await.map_err(|error| fault::of(error, doing))?;
        self.run(merge::DROP, doing).await?;
        Ok(u64::try_from(written.get::<_, i64>(0)).expect("a count is not negative"))
    }

    /// Loads a chunk inside an open transaction, all of it or, row by row, what the target takes.
    async fn copy_chunk(&self, route: &Route, chunk: &Chunk) -> Result<Vec<RefusedRow>, Fault> {
        let put = if self.existing_rows.merges(route) {
            Put::Merge(Merge::of(route))
        } else {
            Put::Copy(copy_sql(route))
        };
        let doing = format!("load table {}", route.target);
        let mut refused = Vec::new();
        let mut todo = Vec::from([(0, chunk.rows())]);
        while let Some((from, to)) = todo.pop() {
            let rows = from..to;
            if rows.is_empty() {
                continue;
            }
            self.run("savepoint liteferry_rows", &doing).await?;
            match self.put(&put, &chunk.arena[chunk.span(rows.clone())], &doing).await {
                Ok(loaded) => {
                    let sent = u64::try_from(rows.len()).expect("a count fits");
                    if loaded != sent {
                        return Err(Fault::fatal("rows_swallowed", doing).with_remedy(
                            "a trigger or rule on the target table drops rows: disable it for the migration",
                        ));
                    }
                    self.run("release liteferry_rows", &doing).await?;
                }
                Err(error) if error.class == FaultClass::Data => {
                    self.run("rollback to liteferry_rows", &doing).await?;
                    if rows.len() == 1 {
                        if refused.is_empty() {
                            let refusal =
                                error.source.as_deref().map(ToString::to_string).unwrap_or_default();
                            warn!(table = %route.target, code = error.code, refusal, "row refused, more may follow");
                        }
                        refused.push(RefusedRow { row: rows.start, reason: reason_of(&error) });
                        continue;
                    }
                    let middle = rows.start + rows.len() / 2;
                    todo.push((middle, rows.end));
                    todo.push((rows.start, middle));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    async fn load_in_transaction(&self, range: &Range, chunk: &Chunk) -> Result<Loaded, Fault> {
        let refused = self.copy_chunk(&range.route, chunk).await?;
        let entries = ledger_rows(self.migration, &range.route, chunk, &refused)?;
        if !entries.is_empty() {
            self.copy(LEDGER_SQL, &entries, "write the ledger").await?;
        }
        let refused = u64::try_from(refused.len()).expect("a count fits");
        let loaded = Loaded {
            rows: u64::try_from(chunk.rows()).expect("a count fits") - refused,
            held: chunk.held + refused,
        };
        self.record_progress(range, chunk, loaded).await?;
        Ok(loaded)
    }

    /// Compare-and-set: a range that another copy has moved is not ours any more.
    async fn record_progress(&self, range: &Range, chunk: &Chunk, loaded: Loaded) -> Result<(), Fault> {
        let doing = "record the range's progress";
        let count = |count: u64| i64::try_from(count).expect("a chunk's rows fit");
        let moved = self
            .session
            .execute(
                "update liteferry.range set position = $3, rows = rows + $4, held = held + $5, done = $6
                 where id = $1 and position = $2 and not done",
                &[
                    &range.id,
                    &position::to_bytes(&range.after),
                    &position::to_bytes(&chunk.last_key),
                    &count(loaded.rows),
                    &count(loaded.held),
                    &chunk.ends_range,
                ],
            )
            .await
            .map_err(|error| fault::of(error, doing))?;
        if moved == 1 {
            return Ok(());
        }
        Err(Fault::fatal("another_owner", doing).with_remedy(
            "another liteferry copies into this target: stop one of them, then run the command again",
        ))
    }
}

impl Loader for PgLoader {
    async fn load(&mut self, range: &Range, chunk: &Chunk) -> Result<Loaded, Fault> {
        self.run(BEGIN, "begin a load").await?;
        match self.load_in_transaction(range, chunk).await {
            Ok(loaded) => {
                self.session
                    .batch_execute("commit")
                    .await
                    .map_err(|error| fault::of_commit(error, "commit a load"))?;
                Ok(loaded)
            }
            Err(error) => {
                // The connection may be the thing that broke; the error that matters is the first one.
                let _rolled_back = self.run("rollback", "roll back a load").await;
                Err(error)
            }
        }
    }
}

/// A unique constraint that is checked only at the commit would refuse the whole chunk there, and not say which row.
const BEGIN: &str = "begin; set constraints all immediate";

const COPY_PIECE_BYTES: usize = 64 * 1024;

const LEDGER_SQL: &str = "copy liteferry.ledger (migration_id, source_table, key, column_name, class, raw, reason, standing) \
     from stdin (format binary)";

fn copy_sql(route: &Route) -> String {
    let columns = ident_list(route.columns.iter().map(|column| column.target.as_str()));
    format!("copy {} ({columns}) from stdin (format binary)", route.target.sql())
}

fn reason_of(fault: &Fault) -> String {
    let by = |refusal: &fault::Refusal| RefusedBy {
        sqlstate: refusal.sqlstate.clone(),
        name: refusal.constraint.as_ref().or(refusal.column.as_ref()).cloned(),
    };
    fault::refusal(fault).map_or_else(|| Reason::Refused.word().to_owned(), |refusal| by(refusal).to_string())
}

/// Ledger entries as COPY BINARY tuples: those the packer made, and all cells of the rows that the target refused, which stand there
/// once whatever the packer made of them.
fn ledger_rows(
    migration: i64,
    route: &Route,
    chunk: &Chunk,
    refused: &[RefusedRow],
) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let held: HashSet<usize> = refused.iter().map(|refused| refused.row).collect();
    for misfit in chunk.misfits.iter().filter(|misfit| misfit.row.is_none_or(|row| !held.contains(&row))) {
        put_entry(&mut out, migration, route, (misfit, misfit.reason));
    }
    for RefusedRow { row, reason } in refused {
        for misfit in refused_cells(route, chunk, *row)? {
            put_entry(&mut out, migration, route, (&misfit, reason));
        }
    }
    Ok(out)
}

/// A refused row's cells as the source holds them: decoded from the tuple where they crossed exactly, else from its misfits.
fn refused_cells(route: &Route, chunk: &Chunk, row: usize) -> Result<Vec<Misfit>, Fault> {
    let mut cells: Vec<CellBuf> = Vec::new();
    for (column, bytes) in tuple_cells(chunk.row(row)).enumerate() {
        let known = chunk.misfits.iter().find(|misfit| misfit.row == Some(row) && misfit.column == column);
        let cell = match (known, bytes) {
            (Some(misfit), _) => Cell::from_raw(misfit.class, &misfit.raw).map(Cell::to_buf),
            (None, None) => Some(CellBuf::Null),
            (None, Some(bytes)) => {
                let mut scratch = Vec::new();
                route.columns[column].codec.decode(bytes, &mut scratch).ok().map(Cell::to_buf)
            }
        };
        cells.push(cell.ok_or_else(|| Fault::fatal("canon_broken", "decode a row of our own"))?);
    }
    let key = match &route.identity {
        Identity::Columns(columns) => key_json(columns.iter().map(|column| cells[*column].as_cell())),
        Identity::WholeRow => chunk.row_names[row].clone(),
    };
    Ok(cells
        .iter()
        .enumerate()
        .map(|(column, cell)| {
            let mut raw = Vec::new();
            cell.as_cell().put_raw(&mut raw);
            let class: Class = cell.as_cell().class();
            Misfit {
                row: None,
                key: key.clone(),
                column,
                class,
                raw,
                reason: Reason::Refused.word(),
                standing: Standing::RowHeld,
            }
        })
        .collect())
}

fn put_entry(out: &mut Vec<u8>, migration: i64, route: &Route, (misfit, reason): (&Misfit, &str)) {
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
    out.extend_from_slice(&8u16.to_be_bytes());
    for field in fields {
        let length = i32::try_from(field.len()).expect("a cell is shorter than 2 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(field);
    }
}
