//! The demo's second application: it obeys `/v1/routing`, and remembers every write that it was told is done.
//!
//! This is what an application has to do, in full: ask where it writes, ask again when a write is refused, wait while the writes move.

use super::client::Client;
use super::rehearsal::rehearsal_failed;
use crate::model::fault::Fault;
use crate::postgres::connect::{Session, connect};
use crate::postgres::url::Target;
use rusqlite::Connection;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Where the till may write, and whom it asks.
pub struct Places {
    pub daemon: SocketAddr,
    pub sqlite: PathBuf,
    pub postgres: Arc<Target>,
    pub schema: String,
}

pub struct Till {
    closing: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    task: JoinHandle<Receipts>,
}

/// The numbers of the receipts that a database acknowledged.
#[derive(Debug, Default)]
pub struct Receipts {
    pub in_sqlite: Vec<i64>,
    pub in_postgres: Vec<i64>,
    /// Writes that had to be tried again: the side had closed, or the writes were on their way.
    pub tried_again: u64,
}

/// How long it waits for a lock of SQLite.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const BETWEEN_RECEIPTS: Duration = Duration::from_millis(4);
const WHILE_PAUSED: Duration = Duration::from_millis(5);
/// So often it asks where it writes, if nothing is refused.
const RECEIPTS_PER_ASKING: u64 = 50;

impl Till {
    pub fn open(places: Places) -> Till {
        let (closing, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn(work(places, (Arc::clone(&closing), Arc::clone(&written))));
        Till { closing, written, task }
    }

    /// Receipts so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Gives what was acknowledged, once the last write is over.
    pub async fn close(self) -> Result<Receipts, Fault> {
        self.closing.store(true, Ordering::Relaxed);
        self.task.await.map_err(|error| rehearsal_failed("the till works").with_source(error))
    }
}

async fn work(places: Places, (closing, written): (Arc<AtomicBool>, Arc<AtomicU64>)) -> Receipts {
    let client = Client::at(places.daemon);
    let mut receipts = Receipts::default();
    let (mut postgres, mut writes): (Option<Session>, Value) = (None, Value::Null);
    let mut number = 0;
    while !closing.load(Ordering::Relaxed) {
        // Whoever gets no answer keeps to the last one.
        if let Ok(told) = client.get("/v1/routing").await {
            writes = told["writes"].clone();
        }
        for _ in 0..RECEIPTS_PER_ASKING {
            if closing.load(Ordering::Relaxed) {
                break;
            }
            let done = match writes.as_str() {
                Some("sqlite") => write_sqlite(&places, number).await,
                Some("postgres") => write_postgres(&places, &mut postgres, number).await,
                _ => {
                    tokio::time::sleep(WHILE_PAUSED).await;
                    break;
                }
            };
            if !done {
                receipts.tried_again += 1;
                break;
            }
            match writes.as_str() {
                Some("sqlite") => receipts.in_sqlite.push(number),
                _ => receipts.in_postgres.push(number),
            }
            number += 1;
            written.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(BETWEEN_RECEIPTS).await;
        }
    }
    receipts
}

async fn write_sqlite(places: &Places, number: i64) -> bool {
    let path = places.sqlite.clone();
    let write = move || -> rusqlite::Result<()> {
        let db = Connection::open(path)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.execute("insert into notes (body) values ('receipt ' || ?1)", [number]).map(drop)
    };
    tokio::task::spawn_blocking(write).await.is_ok_and(|written| written.is_ok())
}

async fn write_postgres(places: &Places, session: &mut Option<Session>, number: i64) -> bool {
    if session.is_none() {
        *session = connect(&places.postgres).await.ok();
    }
    let Some(open) = session.as_ref() else { return false };
    let table = crate::model::name::PgName::new(&places.schema, "notes").sql();
    let sql = format!("insert into {table} (body) values ('receipt ' || $1::bigint)");
    let written = open.execute(&sql, &[&number]).await.is_ok();
    if !written {
        *session = None;
    }
    written
}
