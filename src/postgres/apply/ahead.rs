//! Batches that are sent ahead: none waits for the answers to those before it, and its COMMIT for no answer of its own.
//!
//! Most are one row: one statement, which moves the position and is a transaction by itself. Statement by statement PostgreSQL answers each by
//! itself, and it and this process take turns at the processor. A few rows are statements between a BEGIN and a COMMIT, which fail by
//! themselves wherever an answer would not be as it must be, or the BEGIN was refused. What is refused is written by the other session, whose
//! answers are looked at first.

use super::lane::Lane;
use super::pipeline::{Answering, Pipeline, Raw, What};
use super::small::{Hand, Rows, applied, replace, tuples};
use super::sql;
use super::writer::{ADVANCE, Ownership, SETTINGS, Step, Table, UNIQUE, Writer, advance_values, has_index};
use crate::link::{Changed, Outcome};
use crate::model::chunk::tuple_cells;
use crate::model::fault::Fault;
use crate::plan::route::Route;
use crate::postgres::connect::Session;
use crate::postgres::patience::{self, answered};
use crate::postgres::{fault, ledger};
use futures_util::future::FutureExt;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

pub struct Ahead {
    session: Arc<Session>,
    pub lane: Lane,
    ownership: Ownership,
    advance: Statement,
    forget: Statement,
    /// By the table's name in the source.
    tables: HashMap<String, Known>,
}

struct Known {
    route: Arc<Route>,
    /// Nothing where a rule of the table's forbids them.
    statements: Option<Statements>,
}

struct Statements {
    delete: Statement,
    insert: Statement,
    /// All of a batch of one row. Nothing where more than one may have its key.
    single: Option<Single>,
}

struct Single {
    /// Writes the row that a key names.
    put: Statement,
    /// Takes it away.
    take: Statement,
}

/// A batch is sent behind its BEGIN without a wait for the answer: were that refused or cancelled, each statement would commit by itself.
/// They do nothing where its word is not there.
const BEGIN: &str = "begin; set local liteferry.batch = 'begun'; set constraints all immediate";

impl Ahead {
    /// Everything that the session does is ours, and the tables' triggers are to know.
    pub async fn new(session: Session, ownership: Ownership) -> Result<Ahead, Fault> {
        let doing = "set up a session that sends batches ahead";
        let settings = format!("set liteferry.writer = 'liteferry'; set liteferry.batch = ''; {SETTINGS}");
        let prepared = async {
            session.batch_execute(&settings).await?;
            let advance = session.prepare(&sql::surely(ADVANCE)).await?;
            Ok((advance, session.prepare(&sql::if_begun(ledger::DELETE)).await?))
        };
        let (advance, forget) = prepared.await.map_err(|error| fault::of(error, doing))?;
        let (session, tables) = (Arc::new(session), HashMap::new());
        Ok(Ahead { session, lane: Lane::new(), ownership, advance, forget, tables })
    }

    pub fn is_of_use(&self) -> bool {
        !self.session.is_closed() && !self.lane.is_silent()
    }

    /// Returns once the server has done all that was sent to it. It is at fault where it is then in a transaction that has failed, which only
    /// a COMMIT ends that a single row does not have.
    pub async fn clear(&self) -> Result<(), Fault> {
        let doing = "wait for batches that were sent ahead";
        let asked =
            async { self.session.batch_execute("select").await.map_err(|error| fault::of(error, doing)) };
        answered(patience::SMALL, doing, asked).await?;
        self.lane.has_answered();
        Ok(())
    }

    /// Whether the portion can be sent, whose tables the other session knows.
    pub async fn can_send(&mut self, writer: &Writer, portion: &[Changed]) -> Result<bool, Fault> {
        for changed in portion {
            let is_sure = changed.rows.misfits.is_empty();
            if !(is_sure && self.learn(writer.table(&changed.route)).await?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn learn(&mut self, table: &Table) -> Result<bool, Fault> {
        let route = &table.route;
        if let Some(known) = self.tables.get(&route.source)
            && Arc::ptr_eq(&known.route, route)
        {
            return Ok(known.statements.is_some());
        }
        let doing = format!("prepare to send rows of table {} ahead", route.target);
        let statements = answered(patience::SMALL, &doing, self.prepare(table, &doing)).await?;
        let can = statements.is_some();
        self.tables.insert(route.source.clone(), Known { route: Arc::clone(route), statements });
        Ok(can)
    }

    /// In their bytes they must take what the other session's statements do, which was confirmed.
    async fn prepare(&self, table: &Table, doing: &str) -> Result<Option<Statements>, Fault> {
        let unless_refused = async |sql: String, cells: &[_]| match self.session.prepare(&sql).await {
            Ok(statement) => Ok(Some(statement).filter(|statement| statement.params().ends_with(cells))),
            Err(error) if fault::is_refusal(&error) => Ok(None),
            Err(error) => Err(fault::of(error, doing)),
        };
        let (route, key, row) = (&table.route, table.delete.params(), table.insert.params());
        let delete = unless_refused(sql::if_begun(&sql::delete(route)), key).await?;
        let insert = unless_refused(sql::surely(&sql::insert(route)), row).await?;
        let (Some(delete), Some(insert)) = (delete, insert) else { return Ok(None) };
        // It looks at the table as it was before it waited for its turn. Whatever of ours writes rows moves the position with them, and it
        // is refused; somebody else's row stands in the way of the new one where an index does not let both be.
        let single = if has_index(&self.session, UNIQUE, route).await? {
            let put = unless_refused(sql::put_single(ADVANCE, route), &[key, row].concat()).await?;
            let take = unless_refused(sql::take_single(ADVANCE, route), key).await?;
            put.zip(take).map(|(put, take)| Single { put, take })
        } else {
            None
        };
        Ok(Some(Statements { delete, insert, single }))
    }

    /// Sends the portion, and what commits it as soon as the source has made it durable. Where the outcome is `BATCH_REFUSED` the portion is
    /// durable and not written, and `clear` tells whether the session is of use. After any other fault it is not to be used again.
    pub async fn send(
        &self,
        (writer, step): (&Writer, Step),
        portion: &[Changed],
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Outcome, Fault> {
        let room = self.lane.take(portion).await?;
        let mut pipeline = Pipeline::default();
        match self.single(writer, portion) {
            Some((changed, single)) => {
                durable.await?;
                let what = What::Single(Arc::clone(&changed.route));
                pipeline.send(what, self.write_single(step, changed, single)).await;
            }
            None => {
                pipeline.send(What::Begin, self.turn(BEGIN)).await;
                pipeline.send(What::Advance, self.advance(step)).await;
                let hand = Hand { session: &self.session, ownership: &self.ownership, forget: &self.forget };
                let rows = |changed: &Changed| {
                    let Statements { delete, insert, .. } = self.statements(&changed.route);
                    Rows { delete, insert, may_be_held: writer.table(&changed.route).ledger }
                };
                replace(&mut pipeline, &hand, portion, rows).await;
                durable.await?;
                pipeline.send(What::Commit, self.turn("commit")).await;
            }
        }
        Ok(self.lane.outcome(pipeline, room, applied(portion)))
    }

    fn statements(&self, route: &Route) -> &Statements {
        let known = self.tables.get(&route.source).and_then(|known| known.statements.as_ref());
        known.expect("a table is learnt before it is written")
    }

    /// The one change that is all of a batch.
    fn single<'p>(&self, writer: &Writer, portion: &'p [Changed]) -> Option<(&'p Changed, &Single)> {
        let [changed] = portion else { return None };
        let is_single = changed.names.len() == 1
            && changed.keys.ends.len() == 1
            && changed.rows.rows() <= 1
            && changed.rows.held == 0
            && !writer.table(&changed.route).ledger;
        let single = self.statements(&changed.route).single.as_ref();
        single.filter(|_| is_single).map(|single| (changed, single))
    }

    fn write_single(&self, step: Step, changed: &Changed, single: &Single) -> Answering {
        let row = tuples(&changed.rows.arena, &changed.rows.row_ends).next();
        let statement = if row.is_some() { &single.put } else { &single.take }.clone();
        let key = tuples(&changed.keys.arena, &changed.keys.ends).next();
        let tuples: Vec<Vec<u8>> = key.into_iter().chain(row).map(<[u8]>::to_vec).collect();
        let (session, ownership) = (Arc::clone(&self.session), self.ownership.clone());
        let answering = async move {
            let cells: Vec<Raw<'_>> = tuples.iter().flat_map(|tuple| tuple_cells(tuple)).map(Raw).collect();
            let mut values = advance_values(&ownership, &step).to_vec();
            values.extend(cells.iter().map(|cell| cell as &(dyn ToSql + Sync)));
            session.execute(&statement, &values).await
        };
        answering.boxed()
    }

    fn advance(&self, step: Step) -> Answering {
        let (session, statement) = (Arc::clone(&self.session), self.advance.clone());
        let ownership = self.ownership.clone();
        async move { session.execute(&statement, &advance_values(&ownership, &step)).await }.boxed()
    }

    fn turn(&self, sql: &'static str) -> Answering {
        let session = Arc::clone(&self.session);
        async move { session.batch_execute(sql).await.map(|()| 0) }.boxed()
    }
}
