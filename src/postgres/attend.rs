//! Waiting for work whose length nobody knows, such as an index: for as long as the server is at it.
//!
//! The statement's own connection tells nothing while the server works, and nothing either when its bytes are swallowed on the way; so
//! it is another connection that asks.

use super::connect::{Session, connect};
use super::fault::{self, Refusal};
use super::patience::{self, ANSWER_MISSING, answered};
use super::url::Target as Address;
use crate::model::fault::{Fault, FaultClass};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_postgres::SimpleQueryMessage;

/// A transaction of ours, as the server knows it. It holds behind a pooler for as long as the transaction does.
#[derive(Clone, Debug)]
pub struct Attended {
    address: Arc<Address>,
    backend: i32,
}

const LOOK_EVERY: Duration = Duration::from_secs(8);
/// An answer may be on its way at the moment of one look.
const IDLE_LOOKS_MAX: u32 = 2;
/// A server that tells nothing of its sessions is believed to be at work.
const AT_WORK: &str = "select exists (select from pg_stat_activity where pid = $1
    and (state is null or state not like 'idle%'))";
pub const IN_THE_WAY: &str = "select exists (
    select from pg_locks where not granted and locktype = 'relation' and $1 = any (pg_blocking_pids(pid)))";
const END_IN_THE_WAY: &str = "select pg_cancel_backend($1) where exists (
    select from pg_locks where not granted and locktype = 'relation' and $1 = any (pg_blocking_pids(pid)))";
const LOOK_IN_THE_WAY: Duration = Duration::from_secs(1);

impl Attended {
    /// `session` is in a transaction.
    pub async fn of(address: &Arc<Address>, session: &Session, doing: &str) -> Result<Attended, Fault> {
        let asked = async {
            let answer = session.query_one("select pg_backend_pid()", &[]).await;
            answer.map_err(|error| fault::of(error, doing))
        };
        let backend = answered(patience::SMALL, doing, asked).await?.get(0);
        Ok(Attended { address: Arc::clone(address), backend })
    }

    /// Begins a transaction with these statements: that and its backend are one question.
    pub async fn begin(
        address: &Arc<Address>,
        session: &Session,
        (begin, doing): (&str, &str),
    ) -> Result<Attended, Fault> {
        let asked = async {
            let answers = session.simple_query(&format!("{begin}; select pg_backend_pid()")).await;
            answers.map_err(|error| fault::of(error, doing))
        };
        let answers = answered(patience::SMALL, doing, asked).await?;
        let backend = answers.iter().rev().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        let backend = backend.expect("the last statement answers with a number");
        Ok(Attended { address: Arc::clone(address), backend })
    }

    /// The transaction's work, given up once the server is found not to be at it.
    pub async fn work<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let (mut work, mut idle) = (pin!(work), 0);
        loop {
            if let Ok(done) = timeout(LOOK_EVERY, work.as_mut()).await {
                return done;
            }
            // Work that ends while its server is asked about is not lost: it is looked at again first.
            let at_work = match answered(patience::SMALL, doing, self.is_at_work(doing)).await {
                // Who has no connection left for a look is there, and has said nothing of the work.
                Err(fault) if is_from_server(&fault) => {
                    tracing::debug!(code = fault.code, "whether the server is at it is not known");
                    continue;
                }
                looked => looked?,
            };
            idle = if at_work { 0 } else { idle + 1 };
            if idle >= IDLE_LOOKS_MAX {
                return Err(Fault::new(FaultClass::Unknown, ANSWER_MISSING, doing).with_remedy(
                    "the server is done, or never heard of it: something between here and PostgreSQL swallows bytes; it is tried again \
                     on another connection",
                ));
            }
        }
    }

    pub fn backend(&self) -> i32 {
        self.backend
    }

    /// Returns once somebody was found waiting for a lock of the transaction's at two looks; its statement has then been ended, and its
    /// locks go with its session. A look that fails says nothing.
    pub async fn stood_in_the_way(&self, doing: &str) {
        let mut statement = IN_THE_WAY;
        loop {
            sleep(LOOK_IN_THE_WAY).await;
            let look = answered(patience::SMALL, doing, self.look_in_the_way(statement, doing)).await;
            statement = match look {
                Ok(true) if statement == END_IN_THE_WAY => return,
                Ok(true) => END_IN_THE_WAY,
                Ok(false) => IN_THE_WAY,
                Err(fault) => {
                    tracing::debug!(code = fault.code, "whether somebody waits for us is not known");
                    IN_THE_WAY
                }
            };
        }
    }

    async fn look_in_the_way(&self, statement: &str, doing: &str) -> Result<bool, Fault> {
        let session = connect(&self.address).await?;
        let row = session.query_opt(statement, &[&self.backend]).await;
        let found = row.map_err(|error| fault::of(error, doing))?.is_some_and(|row| row.get(0));
        session.close().await;
        Ok(found)
    }

    async fn is_at_work(&self, doing: &str) -> Result<bool, Fault> {
        let session = connect(&self.address).await?;
        let answer = session.query_one(AT_WORK, &[&self.backend]).await;
        let at_work = answer.map_err(|error| fault::of(error, doing))?.get(0);
        session.close().await;
        Ok(at_work)
    }
}

fn is_from_server(fault: &Fault) -> bool {
    fault.source.as_ref().is_some_and(|source| source.is::<Refusal>())
}
