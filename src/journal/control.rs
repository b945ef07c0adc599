//! The control path's connections, whose answers are never waited for without an end: a connection whose bytes are swallowed on the
//! way looks alive to both ends.
//!
//! Every statement that is run on `Control` itself is bounded here. A transaction's statements are bounded by whoever begins
//! it.

use crate::postgres::patience;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, Postgres, SqlStr, Transaction};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

#[derive(Clone, Debug)]
pub(super) struct Control(PgPool);

/// Small statements, which may have to wait for a commit of ours that is in doubt.
const ANSWER: Duration = patience::SMALL;

impl Control {
    pub(super) fn new(pool: PgPool) -> Control {
        Control(pool)
    }

    /// For what takes a pool and nothing else.
    pub(super) fn pool(&self) -> &PgPool {
        &self.0
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        timeout(ANSWER, Box::pin(self.0.begin())).await.unwrap_or_else(|_| Err(late()))
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
        let answers = self.0.fetch_many(query);
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
        let answer = self.0.fetch_optional(query);
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
        let answer = self.0.prepare_with(sql, parameters);
        Box::pin(async move { timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(late())) })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        let answer = self.0.describe(sql);
        Box::pin(async move { timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(late())) })
    }
}
