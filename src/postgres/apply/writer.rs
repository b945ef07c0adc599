//! A session that writes batches, with what it has prepared and what it knows of each table. Outside of a batch it is in no transaction.

use super::pipeline::Answering;
use super::small::Hand;
use super::sql::{self, ADVANCE_VALUES, Stage};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::model::name::literal;
use crate::plan::route::Route;
use crate::postgres::connect::Session;
use crate::postgres::fault;
use crate::postgres::ledger;
use crate::postgres::patience::{self, answered};
use crate::postgres::types;
use futures_util::future::FutureExt;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::types::ToSql;
use tokio_postgres::{SimpleQueryMessage, Statement};

/// The migration that is written to, and the word that its row must bear for us to write.
#[derive(Clone, Debug)]
pub struct Ownership {
    pub migration: i64,
    pub owner: String,
}

/// Where a batch takes the target.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub from: Position,
    pub to: Position,
    /// The newest change that its rows may be of.
    pub newest: Position,
}

pub struct Writer {
    /// Shared with the answers that are still to come.
    pub session: Arc<Session>,
    pub ownership: Ownership,
    /// The `synchronous_commit` that the session came with.
    waiting: String,
    pub delete_entries: Statement,
    pub insert_entry: Statement,
    advance: Statement,
    /// By the table's name in the source.
    tables: HashMap<String, Table>,
    stages: u32,
    /// How long one statement of the batch at hand may go without an answer.
    pub patience: Duration,
}

/// What the session knows of a table.
pub struct Table {
    pub route: Arc<Route>,
    pub delete: Statement,
    pub insert: Statement,
    number: u32,
    /// An index leads from the key to the row.
    indexed: bool,
    /// To one row at most.
    unique: bool,
    /// Its stage has been made.
    pub staged: bool,
    /// Takes away the stage of the route that it had before.
    outdated: Option<String>,
    /// The ledger may hold something of it. Nobody else writes entries of a table while it is followed.
    pub ledger: bool,
}

impl Table {
    pub fn stage(&self) -> Stage<'_> {
        Stage { route: &self.route, number: self.number }
    }

    pub fn make_stage(&self) -> String {
        let made = self.stage().make();
        self.outdated.iter().map(|unmake| format!("{unmake}; ")).chain([made]).collect()
    }

    pub fn stage_is_made(&mut self) {
        (self.staged, self.outdated) = (true, None);
    }
}

/// A catalog's own answer: whether an index of the whole table begins with a key column.
const INDEXED: &str = "select exists (
    select from pg_catalog.pg_index as i
    join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = $1::text::regclass and i.indisvalid and i.indpred is null and a.attname = any($2))";

/// Whether an index leads from a key to one row at most.
pub const UNIQUE: &str = "select exists (
    select from pg_catalog.pg_index as i
    where i.indrelid = $1::text::regclass and i.indisvalid and i.indisunique and i.indpred is null and i.indexprs is null
    and not exists (
        select from pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) as part
        join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = part
        where a.attname <> all($2)))";

pub const ADVANCE: &str = "update liteferry.follow set epoch = $3, seq = $4, nonce = $5, owner_seen = now(), seen_seq = $9, seen_nonce = $10
    where migration_id = $1 and owner = $2 and epoch = $6 and seq = $7 and nonce = $8
    and current_setting('default_transaction_read_only') = 'off'";

/// Of each session that writes batches. A plan made while a table was small would go on reading all of it after it has grown; each has
/// an index that finds its keys. A batch does not wait for the target's disk, unless the connection's options say so: one that is lost
/// takes its position with it and is applied again from the source, which forgets nothing before `settle`.
pub const SETTINGS: &str = "set lock_timeout = '5s'; set statement_timeout = '60s'; \
    set idle_in_transaction_session_timeout = '30s'; \
    set enable_seqscan = off; select set_config('synchronous_commit', 'off', false) from pg_catalog.pg_settings \
    where name = 'synchronous_commit' and source <> 'client'";

/// A batch is sent behind its BEGIN without a wait for the answer: were that refused or cancelled, each statement would commit by itself,
/// so that outside of a transaction nothing may be written. An idle transaction holds the position against everybody: it is ended some
/// time after this process is out of reach.
const NOTHING_ALONE: &str = "set default_transaction_read_only = on";

/// Begins every transaction of the session's that writes. The setting is then again what the server says beneath the session's own default:
/// whatever moves or tells a position asks it, for one that was turned read-only since is obeyed.
pub const BEGIN: &str = "begin read write; set local default_transaction_read_only to default; \
    set local liteferry.writer = 'liteferry'; set constraints all immediate";

/// The parameters of `ADVANCE`.
pub fn advance_values<'v>(
    Ownership { migration, owner }: &'v Ownership,
    Step { from, to, newest }: &'v Step,
) -> [&'v (dyn ToSql + Sync); ADVANCE_VALUES] {
    [
        migration,
        owner,
        &to.epoch,
        &to.seq,
        &to.nonce,
        &from.epoch,
        &from.seq,
        &from.nonce,
        &newest.seq,
        &newest.nonce,
    ]
}

pub async fn has_index(session: &Session, query: &str, route: &Route) -> Result<bool, Fault> {
    let answer = session.query_one(query, &[&route.target.sql(), &sql::key_names(route)]).await;
    Ok(answer.map_err(|error| fault::of(error, "look for an index on the key"))?.get(0))
}

impl Writer {
    pub async fn new(session: Session, ownership: Ownership) -> Result<Writer, Fault> {
        let doing = "set up a session that writes batches";
        let as_it_came = "select current_setting('synchronous_commit'), pg_is_in_recovery()";
        let as_it_came = session.query_one(as_it_came, &[]).await.map_err(|error| fault::of(error, doing))?;
        if as_it_came.get(1) {
            return Err(fault::read_only(doing));
        }
        let waiting = as_it_came.get(0);
        let settings = format!("{NOTHING_ALONE}; {SETTINGS}");
        session.batch_execute(&settings).await.map_err(|error| fault::of(error, doing))?;
        let prepare = async |sql: &str| {
            session.prepare(sql).await.map_err(|error| fault::of(error, "prepare to write batches"))
        };
        let advance = prepare(ADVANCE).await?;
        let delete_entries = prepare(ledger::DELETE).await?;
        let insert_entry = prepare(ledger::INSERT).await?;
        let tables = HashMap::new();
        let patience = patience::SMALL;
        Ok(Writer {
            session: Arc::new(session),
            ownership,
            waiting,
            delete_entries,
            insert_entry,
            advance,
            tables,
            stages: 0,
            patience,
        })
    }

    /// Whether another batch may be sent by it.
    pub fn is_of_use(&self) -> bool {
        !self.session.is_closed()
    }

    /// The answer to a statement, which is not waited for without an end.
    pub async fn answer<T>(
        &self,
        doing: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        let answer = async { answer.await.map_err(|error| fault::of(error, doing)) };
        answered(self.patience, doing, answer).await
    }

    pub async fn run(&self, sql: &str, doing: &str) -> Result<(), Fault> {
        self.answer(doing, self.session.batch_execute(sql)).await
    }

    pub fn hand(&self) -> Hand<'_> {
        Hand { session: &self.session, ownership: &self.ownership, forget: &self.delete_entries }
    }

    /// Moves the position on if it stands where it should and is ours; gives the number of rows moved.
    pub fn advance(&self, step: Step) -> Answering {
        let (session, statement) = (Arc::clone(&self.session), self.advance.clone());
        let ownership = self.ownership.clone();
        let answering = async move { session.execute(&statement, &advance_values(&ownership, &step)).await };
        answering.boxed()
    }

    /// Begins a transaction, or ends it.
    pub fn turn(&self, sql: &'static str) -> Answering {
        let session = Arc::clone(&self.session);
        async move { session.batch_execute(sql).await.map(|()| 0) }.boxed()
    }

    /// A commit that waits for the disk, as the session came, has waited for all commits before it. Gives the number of
    /// positions that are ours: none has made it wait where it is no more.
    pub async fn settle(&self) -> Result<u64, tokio_postgres::Error> {
        let Ownership { migration, owner } = &self.ownership;
        let sql = format!(
            "{BEGIN}; set local synchronous_commit = {}; \
             update liteferry.follow set owner_seen = now() where migration_id = {migration} and owner = {} \
             and current_setting('default_transaction_read_only') = 'off'; commit",
            literal(&self.waiting),
            literal(owner)
        );
        let rows = |answer: &SimpleQueryMessage| match answer {
            SimpleQueryMessage::CommandComplete(rows) => *rows,
            _ => 0,
        };
        Ok(self.session.simple_query(&sql).await?.iter().map(rows).sum())
    }

    /// Gets to know a table, the first time or after its route has changed.
    pub async fn learn(&mut self, route: &Arc<Route>) -> Result<(), Fault> {
        let known = self.tables.get(&route.source);
        if known.is_some_and(|known| Arc::ptr_eq(&known.route, route)) {
            return Ok(());
        }
        let doing = format!("prepare to write table {}", route.target);
        let outdated = known.and_then(|known| match known.staged {
            true => Some(known.stage().unmake()),
            false => known.outdated.clone(),
        });
        let delete = self.answer(&doing, self.session.prepare(&sql::delete(route))).await?;
        let insert = self.answer(&doing, self.session.prepare(&sql::insert(route))).await?;
        // Its parameters are of the types that the columns have now, and stay so.
        let target = route.target.sql();
        answered(self.patience, &doing, types::confirm(&self.session, &target, route, &doing)).await?;
        let of_table: [&(dyn ToSql + Sync); 2] = [&self.ownership.migration, &route.source];
        let ledger = self.answer(&doing, self.session.query_one(ledger::HOLDS, &of_table)).await?.get(0);
        self.stages += 1;
        let (route, number) = (Arc::clone(route), self.stages);
        let name = route.source.clone();
        let (indexed, unique, staged) = (false, false, false);
        let table = Table { route, delete, insert, number, indexed, unique, staged, outdated, ledger };
        self.tables.insert(name, table);
        Ok(())
    }

    /// Of the stage that was made for the table: it keeps them, whatever becomes of the table's own.
    pub async fn confirm_stage(&self, route: &Route, doing: &str) -> Result<(), Fault> {
        let stage = self.table(route).stage().rows();
        answered(self.patience, doing, types::confirm(&self.session, &stage, route, doing)).await
    }

    /// Whether a row is found by its key without a look at all others. Indexes may be built last, so a no is asked for again.
    pub async fn finds_by_key(&mut self, route: &Arc<Route>) -> Result<bool, Fault> {
        self.learn(route).await?;
        if !self.table(route).indexed {
            self.table_mut(route).indexed = has_index(&self.session, INDEXED, route).await?;
        }
        Ok(self.table(route).indexed)
    }

    /// Whether no other row is looked at on the way.
    pub async fn finds_one_by_key(&mut self, route: &Arc<Route>) -> Result<bool, Fault> {
        self.learn(route).await?;
        if !self.table(route).unique {
            self.table_mut(route).unique = has_index(&self.session, UNIQUE, route).await?;
        }
        Ok(self.table(route).unique)
    }

    /// A table that the session has got to know.
    pub fn table(&self, route: &Route) -> &Table {
        self.tables.get(&route.source).expect("a table is learnt before it is written")
    }

    pub fn table_mut(&mut self, route: &Route) -> &mut Table {
        self.tables.get_mut(&route.source).expect("a table is learnt before it is written")
    }
}
