//! Whether a session is one of the server's own, or a pooler lends it by the transaction. Asked before anything is set there: what we set would
//! be found by the application, whose sessions come out of the same pool, and make its commits wait for no disk.

use super::fault;
use super::patience::{self, answered};
use super::sqlstate::POOLER;
use crate::model::fault::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::{Client, SimpleQueryMessage};

/// In a pool that others use too, two looks may happen to find what a session of one's own would show.
const LOOKS: usize = 3;

/// Whether sessions were seen to be the server's own. All clones know when one has seen it.
#[derive(Clone, Debug, Default)]
pub struct OwnSessions(Arc<AtomicBool>);

impl OwnSessions {
    pub fn are_proven(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn prove(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Two sessions that are open at the same time have a backend each, and keep it. By no prepared statement: a pooler of today carries these
/// over to whichever backend it lends.
pub async fn refuse(one: &Client, other: &Client) -> Result<(), Fault> {
    let doing = "look whether sessions are the server's own";
    let looked = async {
        let before = (backend(one, doing).await?, backend(other, doing).await?);
        let mut are_own = before.0 != before.1;
        for _ in 1..LOOKS {
            are_own &= before == (backend(one, doing).await?, backend(other, doing).await?);
        }
        if are_own {
            return Ok(());
        }
        Err(Fault::fatal("pooler_detected", doing).with_remedy(POOLER))
    };
    answered(patience::SMALL, doing, looked).await
}

async fn backend(client: &Client, doing: &str) -> Result<Option<String>, Fault> {
    let asked = client.simple_query("select pg_catalog.pg_backend_pid()").await;
    let answers = asked.map_err(|error| fault::of(error, doing))?;
    Ok(answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
