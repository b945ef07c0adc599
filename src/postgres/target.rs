//! PostgreSQL in the roles of a target and of a side to compare, with a stock of sessions.

use super::attend::Attended;
use super::connect::{Session, connect};
use super::digest;
use super::fault;
use super::load::PgLoader;
use super::patience::{self, answered};
use super::refused::refused;
use super::url::Target as Address;
use crate::diff::RowDigest;
use crate::diff::compare::Seen;
use crate::link::{Comparable, POSITION_MOVED, Refused, Span, Sums, Target, Wanted};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::plan::Statement;
use crate::plan::overrides::ExistingRows;
use crate::plan::route::Route;
use futures_util::TryFutureExt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::try_join;
use tokio_postgres::types::{ToSql, Type};

#[derive(Clone)]
pub struct PgTarget {
    address: Arc<Address>,
    /// The migration whose ledger and ranges are meant, where the target knows of one.
    migration: Option<i64>,
    role: LoadRole,
    existing_rows: ExistingRows,
    idle: Arc<Mutex<Vec<Session>>>,
}

/// How loading sessions stand to the target's triggers and foreign keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadRole {
    /// What disturbs has been suspended.
    Origin,
    /// We do not own the tables, but may load as a replica, which leaves triggers and foreign keys asleep.
    Replica,
}

/// What became of a statement after the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The statement was refused and its fallback taken; the text says why.
    Fallback(String),
    /// Both were refused, or there was no fallback; the text says why.
    Dropped(String),
}

/// What a step is taken on. A target that fell back to an earlier state may refuse what the one before it would have taken, and such a
/// refusal is not to be remembered.
#[derive(Clone, Copy, Debug)]
pub enum Ground {
    /// What was loaded.
    Loaded,
    /// A state of the source.
    State(Position),
}

impl Outcome {
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Fallback(_) => "fallback",
            Outcome::Dropped(_) => "dropped",
        }
    }

    pub fn detail(&self) -> &str {
        match self {
            Outcome::Done => "",
            Outcome::Fallback(why) | Outcome::Dropped(why) => why,
        }
    }

    /// What the journal's words meant.
    pub fn from_words(word: &str, detail: String) -> Outcome {
        match word {
            "fallback" => Outcome::Fallback(detail),
            "dropped" => Outcome::Dropped(detail),
            _ => Outcome::Done,
        }
    }
}

impl PgTarget {
    pub fn new(
        address: Arc<Address>,
        migration: Option<i64>,
        role: LoadRole,
        existing_rows: ExistingRows,
    ) -> PgTarget {
        PgTarget { address, migration, role, existing_rows, idle: Arc::new(Mutex::new(Vec::new())) }
    }

    pub(super) fn address(&self) -> &Arc<Address> {
        &self.address
    }

    pub async fn session(&self) -> Result<Session, Fault> {
        // Those that a server took with it when it stopped are let go.
        while let Some(session) = self.pop_idle() {
            if !session.is_closed() {
                return Ok(session);
            }
        }
        connect(&self.address).await
    }

    /// A session in the role that its tables ask for. It is not to be given back: others would write in that role.
    pub(super) async fn writing_session(&self) -> Result<Session, Fault> {
        let session = self.session().await?;
        match self.role {
            LoadRole::Origin => {}
            LoadRole::Replica => session
                .batch_execute("set session_replication_role = replica")
                .await
                .map_err(|error| fault::of(error, "write as a replica"))?,
        }
        Ok(session)
    }

    fn pop_idle(&self) -> Option<Session> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Gives a session back for others; one in doubt is dropped instead.
    pub fn give_back(&self, session: Session) {
        if !session.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
    }

    /// Runs a statement of the plan and records its outcome in one transaction. A step that was taken already, perhaps by a commit of ours
    /// whose answer was lost, is not taken again: its recorded outcome is given.
    pub async fn run_step(&self, statement: &Statement, ground: Ground) -> Result<Outcome, Fault> {
        let session = self.session().await?;
        let mut refusal: Option<Fault> = None;
        for sql in std::iter::once(&statement.sql).chain(&statement.fallback) {
            let outcome = refusal.as_ref().map_or(Outcome::Done, |refusal| Outcome::Fallback(why(refusal)));
            match self.take_step(&session, statement, (sql, outcome)).await {
                Ok(outcome) => {
                    self.give_back(session);
                    return Ok(outcome);
                }
                Err(error) if refused_by_data(&error) => {
                    roll_back(&session).await?;
                    self.still_on(&session, ground).await?;
                    refusal = refusal.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        let refusal = refusal.expect("the loop ends only after a refusal");
        if statement.required {
            return Err(refusal);
        }
        let outcome = self.take_step(&session, statement, ("", Outcome::Dropped(why(&refusal)))).await?;
        self.give_back(session);
        Ok(outcome)
    }

    /// A session stays with its server, so that what holds after a refusal held before it.
    async fn still_on(&self, session: &Session, ground: Ground) -> Result<(), Fault> {
        let Ground::State(at) = ground else { return Ok(()) };
        let doing = "look what a step was refused on";
        let migration = self.of_migration()?;
        let sql =
            "select from liteferry.follow where migration_id = $1 and epoch = $2 and seq = $3 and nonce = $4";
        let looked = async {
            let found = session.query_opt(sql, &[&migration, &at.epoch, &at.seq, &at.nonce]).await;
            found.map_err(|error| fault::of(error, doing))
        };
        match answered(patience::SMALL, doing, looked).await? {
            Some(_) => Ok(()),
            None => Err(Fault::new(FaultClass::Unknown, POSITION_MOVED, doing)
                .with_remedy("the target does not stand where it was left; where it stands is read again")),
        }
    }

    fn of_migration(&self) -> Result<i64, Fault> {
        self.migration
            .ok_or_else(|| Fault::fatal("no_migration", "write into a target that has no migration of ours"))
    }

    /// The record first: inserting it waits for a transaction that is taking the same step, and tells whether it did.
    async fn take_step(
        &self,
        session: &Session,
        statement: &Statement,
        (sql, outcome): (&str, Outcome),
    ) -> Result<Outcome, Fault> {
        let doing = format!("make {}", statement.what);
        let begin = format!(
            "begin; set local maintenance_work_mem = '{INDEX_MEMORY}'; set local idle_in_transaction_session_timeout = '20s'; set local lock_timeout = 0"
        );
        let attended = Attended::begin(&self.address, session, (&begin, &doing)).await?;
        let taken = Box::pin(self.take_step_in_transaction(session, statement, (sql, &outcome)));
        match attended.work(&doing, taken).await? {
            Taken::Now => Ok(outcome),
            Taken::Before(outcome) => Ok(outcome),
        }
    }

    async fn take_step_in_transaction(
        &self,
        session: &Session,
        statement: &Statement,
        (sql, outcome): (&str, &Outcome),
    ) -> Result<Taken, Fault> {
        let (migration, what) = (self.of_migration()?, &statement.what);
        let doing = format!("make {what}");
        let failed = |error| fault::of(error, &doing);
        let record: &[(&(dyn ToSql + Sync), Type)] = &[
            (&migration, Type::INT8),
            (what, Type::TEXT),
            (&outcome.word(), Type::TEXT),
            (&outcome.detail(), Type::TEXT),
        ];
        let recorded = session.query_typed(RECORD_STEP, record).await.map_err(failed)?;
        if recorded.is_empty() {
            roll_back(session).await?;
            let row = session
                .query_one(
                    "select outcome, detail from liteferry.step where migration_id = $1 and what = $2",
                    &[&migration, what],
                )
                .await
                .map_err(failed)?;
            return Ok(Taken::Before(Outcome::from_words(row.get(0), row.get(1))));
        }
        // Sent together, for there may be hundreds of steps, far away: behind a refusal the commit commits nothing.
        let made = try_join!(
            biased;
            session.batch_execute(sql).map_err(failed),
            session.batch_execute("commit").map_err(|error| fault::of_commit(error, &doing)),
        );
        made.map(|_| Taken::Now)
    }
}

const RECORD_STEP: &str = "insert into liteferry.step (migration_id, what, outcome, detail) values ($1, $2, $3, $4) on conflict do nothing returning 1";

/// Whose transaction took a step.
enum Taken {
    Now,
    Before(Outcome),
}

/// A server with less to spare says so, and the index is then built on disk.
const INDEX_MEMORY: &str = "256MB";

async fn roll_back(session: &Session) -> Result<(), Fault> {
    let doing = "roll back a step";
    let rolled_back =
        async { session.batch_execute("rollback").await.map_err(|error| fault::of(error, doing)) };
    answered(patience::SMALL, doing, rolled_back).await
}

/// Values that break a constraint or do not fit an index, or an expression that the server will not have.
fn refused_by_data(error: &Fault) -> bool {
    let of_the_statement =
        ["schema_drift", "unsupported", "limit_exceeded", "statement_refused", "name_taken"];
    error.class == FaultClass::Data || of_the_statement.contains(&error.code)
}

fn why(refusal: &Fault) -> String {
    let mut text = refusal.to_string();
    let mut source = std::error::Error::source(refusal);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl Target for PgTarget {
    type Loader = PgLoader;

    async fn loader(&self) -> Result<PgLoader, Fault> {
        let doing = "set up a loading session";
        let session = answered(patience::SMALL, doing, self.writing_session()).await?;
        // A lost last commit takes its progress with it, so the load need not wait for the disk at each chunk.
        let sql = "set synchronous_commit = off";
        let set = async { session.batch_execute(sql).await.map_err(|error| fault::of(error, doing)) };
        answered(patience::SMALL, doing, set).await?;
        answered(patience::SMALL, doing, PgLoader::new(session, self.of_migration()?, self.existing_rows))
            .await
    }
}

impl Comparable for PgTarget {
    /// The server reads a span at once, so there is nothing to tell meanwhile.
    async fn sums(
        &self,
        route: &Arc<Route>,
        (span, buckets): (Span, usize),
        _told: Option<mpsc::Sender<u64>>,
    ) -> Result<Sums, Fault> {
        let session = self.session().await?;
        let rows = digest::sums(&session, route, span, buckets).await?;
        let ledger = match self.migration {
            None => None,
            Some(migration) => Some(digest::ledger_sum(&session, migration, route, span).await?),
        };
        self.give_back(session);
        Ok(Sums { rows, ledger })
    }

    async fn rows(&self, route: &Arc<Route>, wanted: &Wanted) -> Result<Vec<Seen>, Fault> {
        let session = self.session().await?;
        let rows = digest::rows(&session, route, wanted).await?;
        self.give_back(session);
        Ok(rows)
    }

    async fn refused(&self, route: &Arc<Route>, span: Span) -> Result<Refused, Fault> {
        let session = self.session().await?;
        let refused = match self.migration {
            Some(migration) => refused(&session, migration, route, span).await?,
            None => Refused::default(),
        };
        self.give_back(session);
        Ok(refused)
    }

    async fn tuples(
        &self,
        route: &Arc<Route>,
        span: Span,
        digests: &[RowDigest],
    ) -> Result<Vec<(RowDigest, Vec<u8>)>, Fault> {
        let session = self.session().await?;
        let tuples = digest::tuples(&session, route, (span, digests)).await?;
        self.give_back(session);
        Ok(tuples)
    }
}
