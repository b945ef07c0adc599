//! The claim: while one copy works on a target schema, no other begins, resumes or drops it.
//!
//! A lock that a transaction holds, so that it holds through a pooler too. It is the first fence only: should the server end the
//! session, the ranges' compare-and-set still keeps two copies apart.

use super::connect::{Session, connect};
use super::fault;
use super::patience::{self, answered};
use super::url::Target;
use crate::model::fault::{Fault, FaultClass};
use crate::model::name::literal;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_postgres::SimpleQueryMessage;

/// Held until dropped, and given up with the process however that ends.
#[derive(Debug)]
pub struct Claim {
    session: Session,
    backend: i32,
}

impl Claim {
    /// As people write it: 15.8.
    pub fn server_version(&self) -> String {
        let number = self.session.version_num();
        format!("{}.{}", number / 10_000, number % 10_000)
    }

    /// The server's name for the session that holds it.
    pub fn backend(&self) -> i32 {
        self.backend
    }

    /// Gives it up by word: of a session that only goes away the server would complain in its log.
    pub async fn end(self) {
        self.session.close().await;
    }

    /// Returns once the session that holds it has ended, or answers no more: the work must not go on as if nobody could come.
    pub async fn lost(&self) -> Fault {
        let doing = "keep the target claimed";
        loop {
            sleep(LOOK_AFTER).await;
            let asked = async {
                self.session.simple_query("").await.map(drop).map_err(|error| fault::of(error, doing))
            };
            if let Err(fault) = answered(patience::SMALL, doing, asked).await {
                return Fault::new(FaultClass::Transient, "claim_lost", doing)
                    .with_remedy(
                        "the session that kept others away has ended; the target is claimed anew by itself",
                    )
                    .with_source(fault);
            }
        }
    }
}

/// Ends the session of ours that holds a claim, where it still does: something on the way keeps it open, though it answers us no more.
pub async fn end_held(target: &Target, schema: &str, backend: i32) -> Result<(), Fault> {
    let doing = "end a session of ours that answers no more";
    let sql =
        "select pg_terminate_backend(pid) from pg_locks, hashtextextended('liteferry ' || $1::text, 0) as key
               where locktype = 'advisory' and pid = $2 and granted and objsubid = 1
               and classid = ((key >> 32) & 4294967295)::oid and objid = (key & 4294967295)::oid";
    let ended = async {
        let session = connect(target).await?;
        session.query(sql, &[&schema, &backend]).await.map_err(|error| fault::of(error, doing))?;
        session.close().await;
        Ok(())
    };
    answered(patience::SMALL, doing, ended).await
}

/// The session of a process that was killed a moment ago is not gone in the same moment.
pub const KILLED: Duration = Duration::from_secs(3);
/// One whose machine is gone is given up by the server after its keepalives.
pub const VANISHED: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// The server notices within some seconds when the machine of the one who holds the claim is gone.
const BEGIN: &str = "begin; set local idle_in_transaction_session_timeout = 0;
    set local tcp_keepalives_idle = 5; set local tcp_keepalives_interval = 3; set local tcp_keepalives_count = 2";

/// Claims a schema of the target for one copy.
pub async fn claim(target: &Target, schema: &str, wait_max: Duration) -> Result<Claim, Fault> {
    let doing = || format!("claim schema {schema} of the target");
    let session = connect(target).await?;
    let begun = async { session.batch_execute(BEGIN).await.map_err(|error| fault::of(error, doing())) };
    answered(patience::SMALL, &doing(), begun).await?;
    let deadline = Instant::now() + wait_max;
    loop {
        if let Some(backend) = answered(patience::SMALL, &doing(), take(&session, schema)).await? {
            return Ok(Claim { session, backend });
        }
        if Instant::now() > deadline {
            return Err(Fault::fatal("another_owner", doing()).with_remedy(
                "another liteferry copies into this schema: let it finish or stop it, then run the command again; pg_stat_activity shows its sessions",
            ));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Takes the lock, if nobody has it, and gives the server's name for the session. Not by a prepared statement: the portal of one keeps its
/// snapshot for as long as the transaction lives, and no vacuum of the database would take out a row that died since.
async fn take(session: &Session, schema: &str) -> Result<Option<i32>, Fault> {
    let doing = "claim a schema of the target";
    let sql = format!(
        "select pg_backend_pid() where pg_try_advisory_xact_lock(hashtextextended('liteferry ' || {}, 0))",
        literal(schema)
    );
    let answers = session.simple_query(&sql).await.map_err(|error| fault::of(error, doing))?;
    let held = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(held.map(|backend| backend.parse().expect("the server numbers its sessions")))
}
