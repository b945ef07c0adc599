//! The claim: while one copy works on a target schema, no other begins, resumes or drops it.
//!
//! A lock that a transaction holds, so that it holds through a pooler too. It is the first fence only: should the server end the
//! session, the ranges' compare-and-set still keeps two copies apart.

use super::connect::{Session, connect};
use super::fault;
use super::url::Target;
use crate::model::fault::Fault;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Held until dropped, and given up with the process however that ends.
#[derive(Debug)]
pub struct Claim {
    session: Session,
}

impl Claim {
    /// As people write it: 15.8.
    pub fn server_version(&self) -> String {
        let number = self.session.version_num();
        format!("{}.{}", number / 10_000, number % 10_000)
    }
}

/// The session of a process that was killed a moment ago is not gone in the same moment.
pub const KILLED: Duration = Duration::from_secs(3);
/// One whose machine is gone is given up by the server after its keepalives.
pub const VANISHED: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The server notices within some seconds when the machine of the one who holds the claim is gone.
const BEGIN: &str = "begin; set local idle_in_transaction_session_timeout = 0;
    set local tcp_keepalives_idle = 5; set local tcp_keepalives_interval = 3; set local tcp_keepalives_count = 2";

/// Claims a schema of the target for one copy.
pub async fn claim(target: &Target, schema: &str, wait_max: Duration) -> Result<Claim, Fault> {
    let doing = || format!("claim schema {schema} of the target");
    let session = connect(target).await?;
    session.batch_execute(BEGIN).await.map_err(|error| fault::of(error, doing()))?;
    let sql = "select pg_try_advisory_xact_lock(hashtextextended('liteferry ' || $1::text, 0))";
    let deadline = Instant::now() + wait_max;
    loop {
        let row = session.query_one(sql, &[&schema]).await.map_err(|error| fault::of(error, doing()))?;
        if row.get(0) {
            return Ok(Claim { session });
        }
        if Instant::now() > deadline {
            return Err(Fault::fatal("another_owner", doing()).with_remedy(
                "another liteferry copies into this schema: let it finish or stop it, then run the command again; pg_stat_activity shows its sessions",
            ));
        }
        sleep(LOOK_AGAIN).await;
    }
}
