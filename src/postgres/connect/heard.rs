//! A statement that lasts is asked after by another connection: one whose bytes are swallowed on the way would be waited for without
//! an end, for both of its ends look alive. As long as the server is at it nothing is cut short, however long it takes.
//!
//! Every statement of a session comes by here, so that none of them needs a bound of its own against that. Rows that are taken one by one
//! are not waited for here: the server may be done long before we are.

use super::{Session, connect};
use crate::model::fault::Fault;
use crate::postgres::fault::{self, Refusal};
use crate::postgres::patience::{self, ANSWER_MISSING, answered};
use std::future::Future;
use std::pin::pin;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row, SimpleQueryMessage, Statement, ToStatement};
use tracing::warn;

/// At the second look that finds nothing the connection is given up.
const LOOK_EVERY: Duration = Duration::from_secs(8);

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Session {
    pub async fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<Vec<Row>, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.heard(self.client.query(statement, parameters)).await
    }

    pub async fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<Row, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.heard(self.client.query_one(statement, parameters)).await
    }

    pub async fn query_opt<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<Option<Row>, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.heard(self.client.query_opt(statement, parameters)).await
    }

    pub async fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<u64, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.heard(self.client.execute(statement, parameters)).await
    }

    pub async fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        self.heard(self.client.batch_execute(sql)).await
    }

    pub async fn simple_query(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        self.heard(self.client.simple_query(sql)).await
    }

    pub async fn query_typed(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Error> {
        self.heard(self.client.query_typed(sql, parameters)).await
    }

    pub async fn prepare(&self, sql: &str) -> Result<Statement, Error> {
        self.heard(self.client.prepare(sql)).await
    }

    /// Ends the connection once the server is found not to be at the work: whoever waits for it is told that it is closed.
    async fn heard<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (mut work, mut last, mut told) = (pin!(work), Seen::AtWork, false);
        loop {
            if let Ok(done) = timeout(LOOK_EVERY, work.as_mut()).await {
                return done;
            }
            let seen = Box::pin(self.look()).await;
            match (&seen, &last) {
                // An answer may be on its way at the moment of one look.
                (Seen::Silent, Seen::Silent) => {
                    warn!(
                        code = ANSWER_MISSING,
                        "the server is done, or never heard of it: something between here and PostgreSQL swallows bytes, and the \
                         connection is given up"
                    );
                    self.task.cut_off();
                }
                // Before its bound is over, which is not twice as long; of statements that were sent together, once.
                (Seen::Behind(lock), _) if !told && self.is_new(lock) => {
                    told = true;
                    warn!(
                        backend = self.backend,
                        table = lock.table,
                        held_by = lock.holders,
                        "a statement of ours waits for a lock of other sessions; pg_stat_activity tells more of them"
                    );
                }
                _ => {}
            }
            last = seen;
        }
    }

    fn is_new(&self, lock: &Lock) -> bool {
        let mut known = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(lock.clone()).as_ref() != Some(lock)
    }

    /// The same fault; one of a lock says which it is and who holds it, if that was seen.
    pub fn named_by_lock(&self, fault: Fault) -> Fault {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Lock { holders, table }) = behind.as_ref().filter(|_| fault.code == "lock_timeout") else {
            return fault;
        };
        let what = table.as_ref().map_or_else(|| "a lock".to_owned(), |table| format!("a lock on {table}"));
        fault.with_remedy(format!(
            "{what}, which was waited for, is held by session {holders}: have its transaction end (pg_stat_activity tells more), and try again"
        ))
    }

    /// Who has no connection left for a look is there, and has said nothing of the work.
    async fn look(&self) -> Seen {
        let doing = "ask whether the server is at it";
        let asked = async {
            let other = connect(&self.address).await?;
            // Not by the other session's own word for it, which would be asked after in its turn.
            let row = other.client.query_opt(LOOK, &[&self.backend]).await;
            let row = row.map_err(|error| fault::of(error, doing))?;
            other.close().await;
            let seen = |row: Row| match (row.get(0), row.get(1)) {
                (false, _) => Seen::Silent,
                (true, None) => Seen::AtWork,
                (true, Some(holders)) => Seen::Behind(Lock { holders, table: row.get(2) }),
            };
            Ok(row.map_or(Seen::Silent, seen))
        };
        match answered(patience::SMALL, doing, asked).await {
            Ok(seen) => seen,
            Err(fault) if fault.source.as_ref().is_some_and(|source| source.is::<Refusal>()) => Seen::AtWork,
            Err(_) => Seen::Silent,
        }
    }
}

/// What another connection sees of a session.
enum Seen {
    AtWork,
    Behind(Lock),
    Silent,
}

/// What others are to let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Their sessions' numbers, roles and names of themselves.
    holders: String,
    /// Nothing where it is no table's, such as a row's.
    table: Option<String>,
}

/// A server that tells nothing of its sessions is believed to be at work.
const LOOK: &str = "select state is null or state not like 'idle%',
           case when wait_event_type = 'Lock' then
               (select string_agg(format('%s (%s, %s, %s)', blocking.pid, usename, application_name, state), '; ')
                from unnest(pg_blocking_pids(own.pid)) as blocking (pid) left join pg_stat_activity using (pid)) end,
           (select relation::regclass::text from pg_locks
            where pg_locks.pid = own.pid and not granted and relation is not null limit 1)
    from pg_stat_activity as own where own.pid = $1";
