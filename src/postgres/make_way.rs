//! Tables that somebody holds against us. An autovacuum keeps triggers from being set on its table, for hours where that is large. PostgreSQL
//! ends it for whoever has waited for `deadlock_timeout`, a second; we wait less for our locks, for the application's writers wait behind
//! us. So it is waited for in a mode behind which no writer waits.
//!
//! It ends nothing that a person has begun: that is named.

use super::connect::Session;
use super::fault;
use super::patience::{self, answered};
use crate::model::fault::{Fault, FaultClass};
use crate::model::name::PgName;
use crate::plan::route::Route;
use std::collections::BTreeMap;
use std::sync::Arc;

const HOLDERS: &str = include_str!("sql/holders.sql");
/// Longer than PostgreSQL takes to look, and the autovacuum to end.
const MORE_MS: i64 = 500;
/// A server that is set to look more seldom than that is not waited for.
const WAIT_MAX_MS: i64 = 3_000;

struct Holder {
    table: PgName,
    /// None for a prepared transaction.
    pid: Option<i32>,
    like_a_vacuum: bool,
    called: String,
    prepared: Option<String>,
    patience_ms: i64,
    /// No vacuum that begins by itself, then: nobody ends it.
    a_clients: bool,
}

/// Whether the fault is that a lock was not to be had in time.
pub fn has_missed(fault: &Fault) -> bool {
    ["lock_timeout", "statement_cancelled", "deadlock"].contains(&fault.code)
}

/// Has autovacuums of these tables end. What is like one and does not give way is named by the fault. No transaction is open.
pub async fn make_way(session: &Session, tables: &BTreeMap<i64, Arc<Route>>) -> Result<(), Fault> {
    let mut before = holders(session, tables).await?;
    before.retain(|holder| holder.like_a_vacuum);
    for holder in before.iter().filter(|holder| !holder.a_clients) {
        let wait = holder.patience_ms.saturating_add(MORE_MS).min(WAIT_MAX_MS);
        outwait(session, &holder.table, wait).await?;
    }
    if before.is_empty() {
        return Ok(());
    }
    let stays = |holder: &Holder| before.iter().any(|was| was.pid == holder.pid && was.table == holder.table);
    match holders(session, tables).await?.iter().find(|holder| stays(holder)) {
        None => Ok(()),
        Some(holder) => Err(named(holder)),
    }
}

/// What a lock that was missed after that is told as: whoever still holds one of these tables, where anybody does.
pub async fn who_holds(session: &Session, tables: &BTreeMap<i64, Arc<Route>>, fault: Fault) -> Fault {
    if !has_missed(&fault) {
        return fault;
    }
    match holders(session, tables).await {
        Ok(holders) => holders.first().map_or(fault, named),
        Err(_) => fault,
    }
}

async fn holders(session: &Session, tables: &BTreeMap<i64, Arc<Route>>) -> Result<Vec<Holder>, Fault> {
    let names: Vec<String> = tables.values().map(|route| route.target.sql()).collect();
    let doing = "look who holds the target's tables";
    let asked = async { session.query(HOLDERS, &[&names]).await.map_err(|error| fault::of(error, doing)) };
    let holder = |row: &tokio_postgres::Row| Holder {
        table: PgName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        pid: row.get(2),
        like_a_vacuum: row.get(3),
        called: row.get(4),
        prepared: row.get(5),
        patience_ms: row.get(6),
        a_clients: row.get(7),
    };
    Ok(answered(patience::SMALL, doing, asked).await?.iter().map(holder).collect())
}

/// Waits for the table in the vacuum's own mode, and leaves it again. That it is not to be had shows at the next look.
async fn outwait(session: &Session, table: &PgName, wait_ms: i64) -> Result<(), Fault> {
    let doing = "wait for an autovacuum to end";
    let wait = format!(
        "begin; set local lock_timeout = '{wait_ms}ms'; set local statement_timeout = 0; lock table only {} in share update exclusive mode",
        table.sql()
    );
    let waited = async {
        let locked = session.batch_execute(&wait).await.map_err(|error| fault::of(error, doing));
        session.batch_execute("rollback").await.map_err(|error| fault::of(error, doing))?;
        match locked {
            Err(fault) if !has_missed(&fault) => Err(fault),
            _ => Ok(()),
        }
    };
    answered(patience::SMALL, doing, waited).await
}

fn named(holder: &Holder) -> Fault {
    let Holder { table, called, .. } = holder;
    let called = if called.is_empty() { String::new() } else { format!(" ({called})") };
    let remedy = match (holder.pid, holder.like_a_vacuum) {
        (None, _) => {
            let gid = holder.prepared.as_deref().unwrap_or_default();
            format!(
                "a prepared transaction ({gid:?}, see pg_prepared_xacts) holds the table: whoever prepared it has yet to say `commit prepared` \
                 or `rollback prepared`"
            )
        }
        (Some(pid), true) => format!(
            "session {pid}{called} holds the table and does not give way: a VACUUM, an ANALYZE or a `create index concurrently` that somebody \
             began, or an autovacuum against wraparound: wait for its end, or end it"
        ),
        (Some(pid), false) => format!(
            "session {pid}{called} holds the table in a transaction that it does not end: end it, or wait until it does"
        ),
    };
    Fault::new(FaultClass::Transient, "lock_timeout", format!("lock table {table}")).with_remedy(remedy)
}
