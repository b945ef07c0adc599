//! What the target remembers, for whoever asks beside the daemon: the journal and the ledger.
//!
//! It has one connection of its own and a bound on every wait, so that no reader is in the way of the following, and a target that is
//! away keeps no reader waiting. It writes nothing.

use crate::journal::look::{Entry, Note};
use crate::journal::store::Store;
use crate::model::fault::{Fault, FaultClass};
use crate::postgres::connect::pool_of_one;
use crate::postgres::url::Target as Address;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

#[derive(Debug)]
pub struct Records {
    address: Arc<Address>,
    schema: String,
    /// Nothing before the first question, and after one that failed: by then another host may be the one to ask.
    store: Mutex<Option<Store>>,
}

/// Entries of one answer.
pub const ENTRIES_MAX: u32 = 1_000;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

impl Records {
    /// `schema` is the one that the migration fills.
    pub fn new(address: Arc<Address>, schema: String) -> Records {
        Records { address, schema, store: Mutex::new(None) }
    }

    pub async fn journal(&self, limit: u32) -> Result<Value, Fault> {
        self.ask(async |store: &Store| {
            let notes = if store.exists().await? { store.notes(limit).await? } else { Vec::new() };
            Ok(json!({ "entries": notes.iter().map(note_to_json).collect::<Vec<_>>() }))
        })
        .await
    }

    pub async fn ledger(&self, limit: u32, table: Option<&str>) -> Result<Value, Fault> {
        self.ask(async |store: &Store| {
            let known = if store.exists().await? { store.find(&self.schema).await? } else { None };
            let entries = match known {
                Some(migration) => store.entries(migration.id, table, limit).await?,
                None => Vec::new(),
            };
            Ok(json!({ "entries": entries.iter().map(entry_to_json).collect::<Vec<_>>() }))
        })
        .await
    }

    async fn ask(&self, question: impl AsyncFnOnce(&Store) -> Result<Value, Fault>) -> Result<Value, Fault> {
        let asked = async {
            let mut slot = self.store.lock().await;
            // Put back only after an answer: a connection that was left in the middle of one is not used again.
            let store = match slot.take() {
                Some(store) => store,
                None => Store::new(pool_of_one(&self.address).await?),
            };
            let answer = question(&store).await?;
            *slot = Some(store);
            Ok(answer)
        };
        timeout(ANSWER_TIME_MAX, asked).await.unwrap_or_else(|_| {
            Err(Fault::new(FaultClass::Transient, "target_slow", "read what the target remembers")
                .with_remedy("the target did not answer in 5 s: ask again"))
        })
    }
}

fn note_to_json(note: &Note) -> Value {
    let given = |text: &String| if text.is_empty() { Value::Null } else { json!(text) };
    json!({
        "id": note.id,
        "at": note.at,
        "what": note.what,
        "detail": note.detail,
        "actor": given(&note.actor),
        "reason": given(&note.reason),
        "before": given(&note.before),
        "after": given(&note.after),
    })
}

fn entry_to_json(entry: &Entry) -> Value {
    json!({
        "id": entry.id,
        "table": entry.table,
        "key": entry.key,
        "column": entry.column,
        "class": entry.class,
        "reason": entry.reason,
        "standing": entry.standing,
        "recorded": entry.recorded,
        "accepted": entry.accepted,
    })
}
