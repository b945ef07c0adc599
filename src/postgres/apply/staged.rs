//! Many changes: they gather in temporary tables, portion by portion, and are written from there table by table.
//!
//! What this process holds of a batch does not grow with it. It neither commits nor, but for savepoints, rolls back.

use super::pipeline::What;
use super::refused;
use super::renewal::{self, Renewal};
use super::small::tuples;
use super::writer::{BEGIN, Step, Writer};
use crate::link::{Applied, Changed, Extent, PART_REFUSED};
use crate::model::chunk::{Chunk, Keys};
use crate::model::fault::{Fault, FaultClass};
use crate::plan::route::Route;
use crate::postgres::copy::copy_in;
use crate::postgres::halves::Halves;
use crate::postgres::ledger::{self, RefusedRow};
use crate::postgres::load::{copy_sql, reason_of, rows_swallowed, tell_refusal};
use crate::postgres::newcomers::is_the_rows_own;
use crate::postgres::patience::{self, answered};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

/// A batch under way: a transaction and what it has gathered. Should it fail, the session goes with it, because its temporary
/// tables may be gone.
pub struct Staging {
    pub writer: Writer,
    tables: Vec<Gathered>,
    held: u64,
    /// Rows of tables that were emptied: they are where they belong.
    written: u64,
    renewals: Vec<Renewal>,
    /// Rows that not even the stage would have.
    refused: u64,
    /// What the statements that write it all work on.
    bytes: usize,
}

/// What has been staged of one table.
pub struct Gathered {
    pub route: Arc<Route>,
    /// What its keys hash to, so far as they are kept.
    seen: HashSet<u64>,
    /// A key may be there twice: within one portion none is.
    repeated: bool,
    keys: u64,
    rows: u64,
    /// It was emptied, and its rows go where they belong at once.
    renewed: bool,
}

/// Keys of one table whose hashes are kept: some MiB.
const SEEN_MAX: usize = 1 << 18;

impl Gathered {
    /// Keys with one hash are taken for one key that comes again: that costs a look, and nothing else.
    fn note(&mut self, keys: &Keys) {
        self.repeated |= self.seen.len() + keys.ends.len() > SEEN_MAX;
        if self.repeated {
            self.seen = HashSet::new();
            return;
        }
        for key in tuples(&keys.arena, &keys.ends) {
            let mut hasher = DefaultHasher::new();
            hasher.write(key);
            self.repeated |= !self.seen.insert(hasher.finish());
        }
    }
}

/// Between portions the source is read, and the last statements work on all that has gathered.
const BOUNDS: &str = "set local statement_timeout = '15min'; set local enable_seqscan to default; \
    set local idle_in_transaction_session_timeout = '60s'";

impl Staging {
    pub async fn begin(writer: Writer) -> Result<Staging, Fault> {
        writer.run(&format!("{BEGIN}; {BOUNDS}"), &What::Begin.doing()).await?;
        Ok(Staging {
            writer,
            tables: Vec::new(),
            held: 0,
            written: 0,
            renewals: Vec::new(),
            refused: 0,
            bytes: 0,
        })
    }

    pub async fn put(&mut self, portion: &[Changed]) -> Result<(), Fault> {
        for changed in portion {
            self.bytes += changed.keys.arena.len() + changed.rows.bytes();
            self.writer.patience = patience::for_bytes(self.bytes);
            self.put_table(changed).await?;
        }
        Ok(())
    }

    async fn put_table(&mut self, changed: &Changed) -> Result<(), Fault> {
        let (route, doing) = (&changed.route, format!("stage changes of table {}", changed.route.target));
        let index = self.gathered(route).await?;
        if changed.emptied.is_some() {
            self.renewals.push(renewal::begin(&self.writer, route).await?);
            self.tables[index].renewed = true;
        }
        if self.tables[index].renewed {
            return self.put_renewed(changed).await;
        }
        let writer = &self.writer;
        let stage = writer.table(route).stage();
        let keys = copy(writer, &stage.copy_keys(), &changed.keys.arena, &doing).await?;
        let refused = copy_rows(writer, route, (&stage.copy_rows(), &changed.rows), &doing).await?;
        let entries = ledger::entries(writer.ownership.migration, route, &changed.rows, &refused)?;
        self.write_ledger(changed, &entries).await?;
        let refused = u64::try_from(refused.len()).expect("a count fits");
        let gathered = &mut self.tables[index];
        gathered.note(&changed.keys);
        gathered.keys += keys;
        gathered.rows += u64::try_from(changed.rows.rows()).expect("a count fits") - refused;
        self.refused += refused;
        self.held += changed.rows.held + refused;
        Ok(())
    }

    /// Rows of a table that was emptied need no stage: nothing stands in their way.
    async fn put_renewed(&mut self, changed: &Changed) -> Result<(), Fault> {
        let (route, doing) = (&changed.route, format!("copy table {} anew", changed.route.target));
        let refused = copy_rows(&self.writer, route, (&copy_sql(route), &changed.rows), &doing).await?;
        let entries = ledger::entries(self.writer.ownership.migration, route, &changed.rows, &refused)?;
        self.write_ledger(changed, &entries).await?;
        let refused = u64::try_from(refused.len()).expect("a count fits");
        self.written += u64::try_from(changed.rows.rows()).expect("a count fits") - refused;
        self.held += changed.rows.held + refused;
        Ok(())
    }

    /// The place of a table among those gathered, with a stage made for it.
    async fn gathered(&mut self, route: &Arc<Route>) -> Result<usize, Fault> {
        if let Some(index) = self.tables.iter().position(|gathered| Arc::ptr_eq(&gathered.route, route)) {
            return Ok(index);
        }
        self.writer.learn(route).await?;
        let table = self.writer.table(route);
        if !table.staged {
            let doing = format!("make a stage for table {}", route.target);
            self.writer.run(&table.make_stage(), &doing).await?;
            self.writer.confirm_stage(route, &doing).await?;
            self.writer.table_mut(route).stage_is_made();
        }
        let route = Arc::clone(route);
        self.tables.push(Gathered {
            route,
            seen: HashSet::new(),
            repeated: false,
            keys: 0,
            rows: 0,
            renewed: false,
        });
        Ok(self.tables.len() - 1)
    }

    async fn write_ledger(&mut self, changed: &Changed, entries: &ledger::Entries) -> Result<(), Fault> {
        let doing = What::WriteEntry.doing();
        if self.writer.table(&changed.route).ledger {
            self.writer.answer(&doing, self.writer.hand().forget_entries(changed)).await?;
        }
        if !entries.ends.is_empty() {
            copy(&self.writer, ledger::COPY, &entries.arena, &doing).await?;
            self.writer.table_mut(&changed.route).ledger = true;
        }
        Ok(())
    }

    /// Writes all that has gathered, and the position. All deletes come before all inserts.
    pub async fn write(&mut self, step: &Step, extent: Extent) -> Result<Applied, Fault> {
        let moved = self.writer.answer(&What::Advance.doing(), self.writer.advance(*step)).await?;
        What::Advance.check(moved)?;
        if self.refused > 0 && extent == Extent::Part {
            return Err(part_refused("stage changed rows"));
        }
        for gathered in &self.tables {
            let by_index = self.writer.finds_one_by_key(&gathered.route).await?;
            let stage = self.writer.table(&gathered.route).stage();
            let sql = if by_index { stage.delete_by_index() } else { stage.delete() };
            self.writer.run(&sql, &What::Delete(Arc::clone(&gathered.route)).doing()).await?;
        }
        let mut applied = Applied { written: self.written, held: self.held, ..Applied::default() };
        for index in 0..self.tables.len() {
            self.drop_repeated(index).await?;
            let Gathered { keys, rows, .. } = self.tables[index];
            let refused = self.insert(index, extent).await?;
            applied.written += rows - refused;
            applied.deleted += keys.saturating_sub(rows);
            applied.held += refused;
        }
        for renewal in &self.renewals {
            renewal.end(&self.writer).await?;
        }
        Ok(applied)
    }

    /// Two portions may both hold a key, and then the same row.
    async fn drop_repeated(&mut self, index: usize) -> Result<(), Fault> {
        let gathered = &mut self.tables[index];
        if !gathered.repeated {
            return Ok(());
        }
        let doing = format!("sort out changes of table {}", gathered.route.target);
        let (writer, stage) = (&self.writer, self.writer.table(&gathered.route).stage());
        let keys = writer.answer(&doing, writer.session.query_one(&stage.count_keys(), &[])).await?;
        gathered.keys = u64::try_from(keys.get::<_, i64>(0)).expect("a count is not negative");
        gathered.rows -=
            writer.answer(&doing, writer.session.execute(&stage.drop_repeated_rows(), &[])).await?;
        Ok(())
    }

    /// Inserts a table's rows; gives the number of those that went to the ledger instead.
    async fn insert(&mut self, index: usize, extent: Extent) -> Result<u64, Fault> {
        let gathered = &self.tables[index];
        if gathered.rows == 0 {
            return Ok(0);
        }
        let (route, doing) = (&gathered.route, What::InsertRow(Arc::clone(&gathered.route)).doing());
        let (writer, stage) = (&self.writer, self.writer.table(route).stage());
        writer.run(SAVEPOINT, &doing).await?;
        match writer.answer(&doing, writer.session.execute(&stage.insert_all(), &[])).await {
            Ok(inserted) if inserted == gathered.rows => {
                writer.run(RELEASE, &doing).await?;
                Ok(0)
            }
            Ok(_) => Err(rows_swallowed(doing)),
            Err(fault) if fault.class == FaultClass::Data => match extent {
                Extent::Part => Err(part_refused(&doing).with_source(fault)),
                Extent::Whole => {
                    writer.run(ROLL_BACK, &doing).await?;
                    is_the_rows_own(&writer.session, route, &fault).await?;
                    tell_refusal(route, &fault);
                    let (inserted, refused) = refused::insert_by_halves(writer, gathered).await?;
                    if inserted + refused != gathered.rows {
                        return Err(rows_swallowed(doing));
                    }
                    let route = Arc::clone(route);
                    let table = self.writer.table_mut(&route);
                    (table.staged, table.ledger) = (false, true);
                    Ok(refused)
                }
            },
            Err(fault) => Err(fault),
        }
    }
}

pub const SAVEPOINT: &str = "savepoint liteferry_rows";
pub const RELEASE: &str = "release liteferry_rows";
pub const ROLL_BACK: &str = "rollback to liteferry_rows";

/// Rows of different times stand side by side in a part of a backlog, so that a refusal proves nothing against a row.
pub fn part_refused(doing: &str) -> Fault {
    Fault::new(FaultClass::Data, PART_REFUSED, doing)
        .with_remedy("The changes are applied again together with all that followed them.")
}

/// Copies a portion's rows; gives those that are refused: by a stage for the types of their values.
async fn copy_rows(
    writer: &Writer,
    route: &Route,
    (sql, rows): (&str, &Chunk),
    doing: &str,
) -> Result<Vec<RefusedRow>, Fault> {
    let mut refused = Vec::new();
    let mut halves = Halves::of(0..rows.rows());
    while let Some(some) = halves.next() {
        writer.run(SAVEPOINT, doing).await?;
        let tuples = &rows.arena[rows.span(some.clone())];
        match copy(writer, sql, tuples, doing).await {
            Ok(copied) if usize::try_from(copied) == Ok(some.len()) => writer.run(RELEASE, doing).await?,
            Ok(_) => return Err(rows_swallowed(doing.to_owned())),
            Err(fault) if fault.class == FaultClass::Data => {
                writer.run(ROLL_BACK, doing).await?;
                if let Some(row) = halves.refused(some) {
                    if refused.is_empty() {
                        is_the_rows_own(&writer.session, route, &fault).await?;
                        tell_refusal(route, &fault);
                    }
                    refused.push(RefusedRow { row, reason: reason_of(&fault) });
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(refused)
}

pub async fn copy(writer: &Writer, sql: &str, tuples: &[u8], doing: &str) -> Result<u64, Fault> {
    answered(writer.patience, doing, copy_in(&writer.session, sql, tuples, doing)).await
}
