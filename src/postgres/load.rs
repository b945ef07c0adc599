//! Loads chunks by binary COPY: rows, ledger entries and the range's progress commit together.
//!
//! A chunk goes out in one piece. One that the target refuses is halved until the rows it refuses stand alone; those go to the ledger
//! whole. One that is too much for it is halved as well. Nothing is skipped.

use super::connect::Session;
use super::copy::copy_in;
use super::fault;
use super::halves::Halves;
use super::ledger::{self, RefusedRow};
use super::merge::{self, Merge};
use super::newcomers::is_the_rows_own;
use super::patience::{self, ANSWER_MISSING, answered};
use super::types;
use crate::canon::{Reason, RefusedBy};
use crate::link::{Loaded, Loader, Range};
use crate::model::chunk::Chunk;
use crate::model::fault::{Fault, FaultClass};
use crate::model::name::ident_list;
use crate::model::position;
use crate::plan::overrides::ExistingRows;
use crate::plan::route::Route;
use futures_util::future::join3;
use std::sync::Arc;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use tracing::warn;

/// How rows come into a table.
#[derive(Clone)]
enum Put {
    Copy(Statement),
    Merge(Arc<Merge>),
}

/// One connection that loads, one chunk at a time.
pub struct PgLoader {
    session: Session,
    migration: i64,
    existing_rows: ExistingRows,
    progress: Statement,
    /// Of the table that was loaded last.
    put: Option<(Arc<Route>, Put)>,
}

impl PgLoader {
    pub async fn new(
        session: Session,
        migration: i64,
        existing_rows: ExistingRows,
    ) -> Result<PgLoader, Fault> {
        let prepared = session.prepare(PROGRESS).await;
        let progress = prepared.map_err(|error| fault::of(error, "prepare the record of progress"))?;
        Ok(PgLoader { session, migration, existing_rows, progress, put: None })
    }

    async fn put_of(&mut self, route: &Arc<Route>) -> Result<Put, Fault> {
        if let Some((known, put)) = &self.put
            && Arc::ptr_eq(known, route)
        {
            return Ok(put.clone());
        }
        let put = if self.existing_rows.merges(route) {
            Put::Merge(Arc::new(Merge::of(route)))
        } else {
            let doing = format!("prepare the load of table {}", route.target);
            let sql = copy_sql(route);
            let prepared =
                async { self.session.prepare(&sql).await.map_err(|error| fault::of(error, &doing)) };
            Put::Copy(answered(patience::SMALL, &doing, prepared).await?)
        };
        self.put = Some((Arc::clone(route), put.clone()));
        Ok(put)
    }

    async fn run(&self, sql: &str, doing: &str) -> Result<(), Fault> {
        let ran = async { self.session.batch_execute(sql).await.map_err(|error| fault::of(error, doing)) };
        answered(patience::SMALL, doing, ran).await
    }

    async fn put(&self, put: &Put, rows: &[u8], doing: &str) -> Result<u64, Fault> {
        answered(patience::for_bytes(rows.len()), doing, self.put_at_once(put, rows, doing)).await
    }

    async fn put_at_once(&self, put: &Put, rows: &[u8], doing: &str) -> Result<u64, Fault> {
        let merge = match put {
            Put::Copy(copy) => return copy_in(&self.session, copy, rows, doing).await,
            Put::Merge(merge) => merge,
        };
        self.run(&merge.stage, doing).await?;
        copy_in(&self.session, &merge.copy, rows, doing).await?;
        let written =
            self.session.query_one(&merge.write, &[]).await.map_err(|error| fault::of(error, doing))?;
        self.run(merge::DROP, doing).await?;
        Ok(u64::try_from(written.get::<_, i64>(0)).expect("a count is not negative"))
    }

    /// Sends the progress and the rows without a wait in between. A refusal of any row refuses all of it.
    async fn load_at_once(&self, range: &Range, chunk: &Chunk, put: &Put) -> Result<Loaded, Fault> {
        let loaded = Loaded { rows: u64::try_from(chunk.rows()).expect("a count fits"), held: chunk.held };
        let doing = format!("load table {}", range.route.target);
        // Waited for: outside of a transaction each of what follows would commit by itself.
        self.run(BEGIN, "begin a load").await?;
        let recorded = self.record_progress(range, chunk, loaded);
        // Asked behind the rows, it is answered with them.
        let confirmed = self.confirm_types(range, chunk, &doing);
        let put = self.put(put, &chunk.arena, &doing);
        let (recorded, put, confirmed) = join3(recorded, put, confirmed).await;
        recorded?;
        if put? != loaded.rows {
            return Err(rows_swallowed(doing));
        }
        confirmed?;
        self.write_ledger(&range.route, chunk, &[]).await?;
        Ok(loaded)
    }

    /// The rows that were put keep the table as it is until they are committed.
    async fn confirm_types(&self, range: &Range, chunk: &Chunk, doing: &str) -> Result<(), Fault> {
        let (route, target) = (&range.route, range.route.target.sql());
        let confirmed = types::confirm(&self.session, &target, route, doing);
        answered(patience::for_bytes(chunk.arena.len()), doing, confirmed).await
    }

    /// In a transaction of its own, row by row, what the target takes; the others go to the ledger.
    async fn load_by_halves(&self, range: &Range, chunk: &Chunk, put: &Put) -> Result<Loaded, Fault> {
        self.run(BEGIN, "begin a load").await?;
        let refused = self.put_by_halves(&range.route, chunk, put).await?;
        self.confirm_types(range, chunk, "load rows one by one").await?;
        self.write_ledger(&range.route, chunk, &refused).await?;
        let refused = u64::try_from(refused.len()).expect("a count fits");
        let loaded = Loaded {
            rows: u64::try_from(chunk.rows()).expect("a count fits") - refused,
            held: chunk.held + refused,
        };
        self.record_progress(range, chunk, loaded).await?;
        Ok(loaded)
    }

    async fn put_by_halves(&self, route: &Route, chunk: &Chunk, put: &Put) -> Result<Vec<RefusedRow>, Fault> {
        let doing = format!("load table {}", route.target);
        let mut refused = Vec::new();
        let mut halves = Halves::of(0..chunk.rows());
        while let Some(rows) = halves.next() {
            self.run("savepoint liteferry_rows", &doing).await?;
            match self.put(put, &chunk.arena[chunk.span(rows.clone())], &doing).await {
                Ok(loaded) => {
                    let sent = u64::try_from(rows.len()).expect("a count fits");
                    if loaded != sent {
                        return Err(rows_swallowed(doing));
                    }
                    self.run("release liteferry_rows", &doing).await?;
                }
                Err(error) if error.class == FaultClass::Data => {
                    self.run("rollback to liteferry_rows", &doing).await?;
                    if let Some(row) = halves.refused(rows) {
                        if refused.is_empty() {
                            is_the_rows_own(&self.session, route, &error).await?;
                            tell_refusal(route, &error);
                        }
                        refused.push(RefusedRow { row, reason: reason_of(&error) });
                    }
                }
                // Fewer at once may be taken; a row that is too much by itself is a fault, and no refusal of the row.
                Err(error) if is_too_much(&error) && rows.len() > 1 => {
                    self.run("rollback to liteferry_rows", &doing).await?;
                    halves.refused(rows);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    async fn write_ledger(&self, route: &Route, chunk: &Chunk, refused: &[RefusedRow]) -> Result<(), Fault> {
        let entries = ledger::entries(self.migration, route, chunk, refused)?;
        if entries.ends.is_empty() {
            return Ok(());
        }
        let doing = "write the ledger";
        let written = copy_in(&self.session, ledger::COPY, &entries.arena, doing);
        answered(patience::for_bytes(entries.arena.len()), doing, written).await.map(drop)
    }

    /// Compare-and-set: a range that another copy has moved is not ours any more.
    async fn record_progress(&self, range: &Range, chunk: &Chunk, loaded: Loaded) -> Result<(), Fault> {
        let doing = "record the range's progress";
        let count = |count: u64| i64::try_from(count).expect("a chunk's rows fit");
        let (from, to) = (position::to_bytes(&range.after), position::to_bytes(&chunk.last_key));
        let (rows, held) = (count(loaded.rows), count(loaded.held));
        let (seq, nonce) = chunk.newest.map(|newest| (newest.seq, newest.nonce)).unzip();
        let values: [&(dyn ToSql + Sync); 8] =
            [&range.id, &from, &to, &rows, &held, &chunk.ends_range, &seq, &nonce];
        let recorded = async {
            let recorded = self.session.execute(&self.progress, &values).await;
            recorded.map_err(|error| fault::of(error, doing))
        };
        if answered(patience::SMALL, doing, recorded).await? == 1 {
            return Ok(());
        }
        Err(Fault::fatal("another_owner", doing).with_remedy(
            "another liteferry copies into this target: stop one of them, then run the command again",
        ))
    }

    /// Commits what was loaded, or leaves nothing of it.
    async fn end(&self, loaded: Result<Loaded, Fault>) -> Result<Loaded, Fault> {
        match &loaded {
            Ok(_) => {
                let doing = "commit a load";
                let committed = async {
                    let committed = self.session.batch_execute("commit").await;
                    committed.map_err(|error| fault::of_commit(error, doing))
                };
                answered(patience::SMALL, doing, committed).await?;
            }
            // A session that has nothing to say is not asked once more.
            Err(error) if error.code == ANSWER_MISSING => {}
            Err(_) => {
                // The connection may be the thing that broke; the error that matters is the first one.
                let _rolled_back = self.run("rollback", "roll back a load").await;
            }
        }
        loaded
    }
}

impl Loader for PgLoader {
    async fn load(&mut self, range: &Range, chunk: &Chunk) -> Result<Loaded, Fault> {
        let put = self.put_of(&range.route).await?;
        let loaded = self.load_at_once(range, chunk, &put).await;
        match self.end(loaded).await {
            Err(error) if error.class == FaultClass::Data || is_too_much(&error) => {
                let loaded = self.load_by_halves(range, chunk, &put).await;
                self.end(loaded).await
            }
            ended => ended,
        }
    }
}

const PROGRESS: &str =
    "update liteferry.range set position = $3, rows = rows + $4, held = held + $5, done = $6,
        seen_seq = $7, seen_nonce = $8
    where id = $1 and position = $2 and not done";
/// A unique constraint that is checked only at the commit would refuse the whole chunk there, and not say which row.
/// One that lost us holds its range for no longer than a moment.
const BEGIN: &str = "begin; set local liteferry.writer = 'liteferry'; set local idle_in_transaction_session_timeout = '60s'; \
    set constraints all immediate";

/// What the server broke off for its size or its time, and its transaction with it.
fn is_too_much(fault: &Fault) -> bool {
    ["statement_cancelled", "out_of_memory"].contains(&fault.code)
}

pub(super) fn copy_sql(route: &Route) -> String {
    let columns = ident_list(route.columns.iter().map(|column| column.target.as_str()));
    format!("copy {} ({columns}) from stdin (format binary)", route.target.sql())
}

/// Fewer rows stand in the table than were sent, though nothing was refused.
pub(super) fn rows_swallowed(doing: String) -> Fault {
    Fault::fatal("rows_swallowed", doing)
        .with_remedy("a trigger or rule on the target table drops rows: disable it for the migration")
}

/// Said of the first row of many: why the target would not have it.
pub(super) fn tell_refusal(route: &Route, fault: &Fault) {
    let refusal = fault.source.as_deref().map(ToString::to_string).unwrap_or_default();
    let remedy = "mend the rows or the rule; then `liteferry ledger retry all` has a daemon write them anew";
    warn!(table = %route.target, code = fault.code, refusal, remedy, "row refused, more may follow");
}

/// By which rule the target refused a row, as the ledger says it.
pub(super) fn reason_of(fault: &Fault) -> String {
    let by = |refusal: &fault::Refusal| RefusedBy {
        sqlstate: refusal.sqlstate.clone(),
        name: refusal.constraint.as_ref().or(refusal.column.as_ref()).cloned(),
    };
    fault::refusal(fault).map_or_else(|| Reason::Refused.word().to_owned(), |refusal| by(refusal).to_string())
}
