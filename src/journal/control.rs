//! The control path's connections, whose answers are never waited for without an end: a connection whose bytes are swallowed on the
//! way looks alive to both ends.
//!
//! Every statement that is run on `Control` itself is bounded here, and a transaction of one or two by whoever begins it. One of many, or of
//! statements that nobody knows the length of, lasts for as long as the server is at it.

use crate::model::fault::Fault;
use crate::postgres::attend::Attended;
use crate::postgres::connect::Pool;
use crate::postgres::fault::of_control;
use crate::postgres::patience;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, Postgres, SqlStr, Transaction};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

#[derive(Clone, Debug)]
pub(super) struct Control(Pool);

/// Small statements, which may have to wait for a commit of ours that is in doubt.
const ANSWER: Duration = patience::SMALL;

impl Control {
    pub(super) fn new(pool: Pool) -> Control {
        Control(pool)
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        timeout(ANSWER, Box::pin(self.0.connections.begin())).await.unwrap_or_else(|_| Err(late()))
    }

    /// Does this in a transaction and commits it.
    pub(super) async fn transact<T>(
        &self,
        doing: &str,
        work: impl AsyncFnOnce(&mut Transaction<'static, Postgres>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let failed = |error| of_control(error, doing);
        let mut tx = self.begin().await.map_err(failed)?;
        let attended = self.attended(&mut tx).await.map_err(failed)?;
        let worked = async {
            let done = work(&mut tx).await?;
            tx.commit().await.map_err(failed)?;
            Ok(done)
        };
        attended.work(doing, Box::pin(worked)).await
    }

    /// Does this on one connection, which may begin and end transactions of its own.
    pub(super) async fn on_one<T>(
        &self,
        doing: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let failed = |error| of_control(error, doing);
        let acquired = timeout(ANSWER, Box::pin(self.0.connections.acquire())).await;
        let mut connection = acquired.unwrap_or_else(|_| Err(late())).map_err(failed)?;
        let attended = self.attended(&mut connection).await.map_err(failed)?;
        attended.work(doing, Box::pin(work(&mut connection))).await
    }

    async fn attended(&self, connection: &mut PgConnection) -> Result<Attended, Error> {
        let asked = sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection);
        let backend = timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(late()))?;
        Ok(Attended::at(&self.0.address, backend))
    }
}

fn late() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
}

impl<'c> Executor<'c> for &'c Control {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let until = Instant::now() + ANSWER;
        let answers = self.0.connections.fetch_many(query);
        let next = move |mut answers: BoxStream<'e, _>| async move {
            let answer = timeout_at(until, answers.try_next()).await.unwrap_or_else(|_| Err(late()))?;
            Ok(answer.map(|answer| (answer, answers)))
        };
        stream::try_unfold(answers, next).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answer = self.0.connections.fetch_optional(query);
        Box::pin(async move { timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(late())) })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        let answer = self.0.connections.prepare_with(sql, parameters);
        Box::pin(async move { timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(late())) })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        let answer = self.0.connections.describe(sql);
        Box::pin(async move { timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(late())) })
    }
}
