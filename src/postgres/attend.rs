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
/// A server that tells nothing of its sessions is believed to be at work. One that waits for a next statement is so too, if it has had one
/// since the last look: over a long way most of the time goes by between them.
const AT_WORK: &str = "select state is null or state not like 'idle%', state_change::text
    from pg_stat_activity where pid = $1";
pub const IN_THE_WAY: &str = "select exists (
    select from pg_locks where not granted and locktype = 'relation' and $1 = any (pg_blocking_pids(pid)))";
const END_IN_THE_WAY: &str = "select pg_cancel_backend($1) where exists (
    select from pg_locks where not granted and locktype = 'relation' and $1 = any (pg_blocking_pids(pid)))";
const LOOK_IN_THE_WAY: Duration = Duration::from_secs(1);

impl Attended {
    pub fn at(address: &Arc<Address>, backend: i32) -> Attended {
        Attended { address: Arc::clone(address), backend }
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
        let (mut work, mut last) = (pin!(work), Seen::AtWork);
        loop {
            if let Ok(done) = timeout(LOOK_EVERY, work.as_mut()).await {
                return done;
            }
            // Work that ends while its server is asked about is not lost: it is looked at again first.
            let seen = match answered(patience::SMALL, doing, self.look(doing)).await {
                Ok(seen) => seen,
                // Who has no connection left for a look is there, and has said nothing of the work.
                Err(fault) if is_from_server(&fault) => {
                    tracing::debug!(code = fault.code, "whether the server is at it is not known");
                    continue;
                }
                Err(fault) => Seen::Away(fault),
            };
            // An answer may be on its way at the moment of one look, and one connection more may fail by chance.
            last = match (seen, last) {
                (Seen::Away(fault), Seen::Away(_)) => return Err(fault),
                (Seen::Idle(since), Seen::Idle(before)) if since == before => {
                    return Err(Fault::new(FaultClass::Unknown, ANSWER_MISSING, doing).with_remedy(
                        "the server is done, or never heard of it: something between here and PostgreSQL swallows bytes; it is tried \
                         again on another connection",
                    ));
                }
                (seen, _) => seen,
            };
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

    async fn look(&self, doing: &str) -> Result<Seen, Fault> {
        let session = connect(&self.address).await?;
        let row = session.query_opt(AT_WORK, &[&self.backend]).await;
        let row = row.map_err(|error| fault::of(error, doing))?;
        session.close().await;
        let is_at_work = row.as_ref().is_some_and(|row| row.get(0));
        let since = row.and_then(|row| row.get(1));
        Ok(if is_at_work { Seen::AtWork } else { Seen::Idle(since) })
    }
}

/// What another connection sees of the work.
enum Seen {
    AtWork,
    /// Since then the server has nothing to do for us; nothing where it has no such session any more.
    Idle(Option<String>),
    Away(Fault),
}

fn is_from_server(fault: &Fault) -> bool {
    fault.source.as_ref().is_some_and(|source| source.is::<Refusal>())
}
