//! What is recorded of a crossing, in the very transaction that makes PostgreSQL ready for the application's writes or closes it.
//!
//! It works in the caller's session and never commits.

use super::follow::still_ours;
use super::machine::{Entry, JOURNAL};
use super::store::{Store, unreadable};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::phase::Phase;
use crate::phase::machine::{Crossing, Event, State, transition};
use crate::plan::route::Route;
use crate::plan::{Statement, Suspended};
use crate::postgres::capture::begin_history;
use crate::postgres::connect::Session;
use crate::postgres::fault::{of, of_control};
use futures_util::TryFutureExt;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use tokio::try_join;
use tokio_postgres::types::{ToSql, Type};

const NOT_PLANNED: &str = "delete from liteferry.planned where migration_id = $1 and stage = 'switch'";
const NOT_SUSPENDED: &str = "delete from liteferry.suspended where migration_id = $1";

/// Whose crossing it is.
#[derive(Clone, Copy, Debug)]
pub struct Crosser<'a> {
    pub migration: i64,
    pub owner: &'a str,
    /// As it was recorded before the crossing was decided.
    pub state: State,
}

/// Keeps the record as it is until the caller's transaction ends, if it is still ours and where we believe it to be.
pub async fn held_still(session: &Session, crosser: Crosser<'_>) -> Result<(), Fault> {
    let doing = "look whose the migration is";
    let sql = "select 1 from liteferry.follow
               where migration_id = $1 and owner = $2 and phase = $3 and crossing is not distinct from $4 for update";
    let (phase, crossing) = (crosser.state.phase.word(), crosser.state.crossing.map(Crossing::word));
    let held = session.query(sql, &[&crosser.migration, &crosser.owner, &phase, &crossing]).await;
    let held = held.map_err(|error| of(error, doing))?;
    still_ours(u64::try_from(held.len()).expect("a count fits"), doing)
}

/// Begins the history of the way back: one that is under way is forgotten with all that waits in it, so that whoever is not the owner any
/// more, or believes to be elsewhere, must not.
pub async fn begin_way_back(session: &Session, crosser: Crosser<'_>, at: Position) -> Result<(), Fault> {
    held_still(session, crosser).await?;
    begin_history(session, crosser.migration, at).await
}

/// The writes belong to PostgreSQL, which holds everything up to `last`; gives the routing's new epoch. What was taken away until now
/// stands there again.
pub async fn switched(
    session: &Session,
    crosser: Crosser<'_>,
    last: Position,
    entry: Entry<'_>,
) -> Result<i64, Fault> {
    let doing = "record the switch";
    let failed = |error| of(error, doing);
    let sql = "update liteferry.follow set phase = $6, crossing = null, reads_percent = 100, restored = true, routing_epoch = routing_epoch + 1, hook_due = 'after_switch'
               where migration_id = $1 and owner = $2 and epoch = $3 and seq = $4 and nonce = $5
                     and phase = $7 and crossing is not distinct from $8 returning routing_epoch";
    let (migration, phase) = (crosser.migration, Phase::Switch.word());
    let (before, crossing) = (crosser.state.phase.word(), crosser.state.crossing.map(Crossing::word));
    let place: &[(&(dyn ToSql + Sync), Type)] = &[
        (&migration, Type::INT8),
        (&crosser.owner, Type::TEXT),
        (&last.epoch, Type::INT8),
        (&last.seq, Type::INT8),
        (&last.nonce, Type::INT8),
        (&phase, Type::TEXT),
        (&before, Type::TEXT),
        (&crossing, Type::TEXT),
    ];
    let whose = &place[..1];
    // The application waits: all are sent before the first is answered.
    let (rows, _, _, ()) = try_join!(
        session.query_typed(sql, place).map_err(failed),
        session.query_typed(NOT_PLANNED, whose).map_err(failed),
        session.query_typed(NOT_SUSPENDED, whose).map_err(failed),
        write_down(session, crosser, Crossing::Switch, entry),
    )?;
    still_ours(u64::try_from(rows.len()).expect("a count fits"), doing)?;
    Ok(rows[0].get(0))
}

/// The writes belong to SQLite again, from `first` on; gives the routing's new epoch.
pub async fn rolled_back(
    session: &Session,
    crosser: Crosser<'_>,
    first: Position,
    entry: Entry<'_>,
) -> Result<i64, Fault> {
    let doing = "record the rollback";
    let sql = "update liteferry.follow set phase = $6, crossing = null, reads_percent = 0, routing_epoch = routing_epoch + 1, hook_due = 'after_rollback',
                      epoch = $3, seq = $4, nonce = $5, seen_seq = $4, seen_nonce = $5
               where migration_id = $1 and owner = $2 and phase = 'switch' and crossing = 'rollback' returning routing_epoch";
    let failed = |error| of(error, doing);
    let (migration, phase) = (crosser.migration, Phase::DualWrite.word());
    let place: &[(&(dyn ToSql + Sync), Type)] = &[
        (&migration, Type::INT8),
        (&crosser.owner, Type::TEXT),
        (&first.epoch, Type::INT8),
        (&first.seq, Type::INT8),
        (&first.nonce, Type::INT8),
        (&phase, Type::TEXT),
    ];
    let unseen = "update liteferry.range set seen_seq = null, seen_nonce = null where migration_id = $1";
    let (rows, _, ()) = try_join!(
        session.query_typed(sql, place).map_err(failed),
        session.query_typed(unseen, &place[..1]).map_err(failed),
        write_down(session, crosser, Crossing::Rollback, entry),
    )?;
    still_ours(u64::try_from(rows.len()).expect("a count fits"), doing)?;
    Ok(rows[0].get(0))
}

async fn write_down(
    session: &Session,
    crosser: Crosser<'_>,
    crossing: Crossing,
    entry: Entry<'_>,
) -> Result<(), Fault> {
    let begun = State { crossing: Some(crossing), ..crosser.state };
    let after =
        transition(begun, Event::Decided(crossing)).expect("a crossing that has begun may be decided");
    let (before, after) = (begun.words(), after.words());
    session
        .query_typed(
            JOURNAL,
            &[
                (&crosser.migration, Type::INT8),
                (&entry.what, Type::TEXT),
                (&entry.detail, Type::TEXT),
                (&entry.actor, Type::TEXT),
                (&entry.reason, Type::TEXT),
                (&before, Type::TEXT),
                (&after, Type::TEXT),
            ],
        )
        .await
        .map(drop)
        .map_err(|error| of(error, "write the journal"))
}

impl Store {
    /// Whether what disturbs the apply has been given back to the target's tables.
    pub async fn is_restored(&self, migration: i64) -> Result<bool, Fault> {
        sqlx::query("select restored from liteferry.follow where migration_id = $1")
            .bind(migration)
            .fetch_one(&self.pool)
            .await
            .map(|row| row.get(0))
            .map_err(|error| of_control(error, "read whether constraints stand"))
    }

    /// Where the way back stands; nothing where its history has not begun.
    pub async fn way_back(&self, migration: i64) -> Result<Option<Position>, Fault> {
        sqlx::query("select epoch, mark, nonce from liteferry.reverse where migration_id = $1")
            .bind(migration)
            .fetch_optional(&self.pool)
            .await
            .map(|row| row.map(|row| Position { epoch: row.get(0), seq: row.get(1), nonce: row.get(2) }))
            .map_err(|error| of_control(error, "read whether the way back is laid"))
    }

    /// The hook that is owed, if the migration is still ours.
    pub async fn hook_due(&self, (migration, owner): (i64, &str)) -> Result<Option<String>, Fault> {
        sqlx::query("select hook_due from liteferry.follow where migration_id = $1 and owner = $2")
            .bind(migration)
            .bind(owner)
            .fetch_optional(&self.pool)
            .await
            .map(|row| row.and_then(|row| row.get(0)))
            .map_err(|error| of_control(error, "read which hook is owed"))
    }

    /// It was called, whatever it answered.
    pub async fn hook_called(&self, (migration, owner): (i64, &str), hook: &str) -> Result<(), Fault> {
        let sql = "update liteferry.follow set hook_due = null where migration_id = $1 and owner = $2 and hook_due = $3";
        sqlx::query(sql)
            .bind(migration)
            .bind(owner)
            .bind(hook)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(|error| of_control(error, "record that the hook was called"))
    }

    /// Constraints and triggers that come back at the switch, in their weakest form: nothing is read for them.
    pub async fn awaiting_switch(&self, migration: i64) -> Result<Vec<Statement>, Fault> {
        let sql = "select what, sql, fallback from liteferry.planned where migration_id = $1 and stage = 'switch' order by ordinal";
        let rows = sqlx::query(sql)
            .bind(migration)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read what comes back at the switch"))?;
        let planned: Result<Vec<Statement>, Fault> = rows
            .iter()
            .map(|row| {
                let read = || -> Result<Statement, sqlx::Error> {
                    Ok(Statement {
                        what: row.try_get(0)?,
                        sql: row.try_get(1)?,
                        fallback: row.try_get(2)?,
                        required: true,
                    })
                };
                read().map_err(|_| unreadable("planned constraint"))
            })
            .collect();
        Ok(planned?.into_iter().chain(self.suspended(migration).await?).collect())
    }

    /// Columns, as the target calls them, into which values came back that their form does not spell, by the source's table. A zero of the
    /// other sign is none of these: SQLite may have no other.
    pub async fn columns_that_came_back(
        &self,
        migration: i64,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, Fault> {
        let sql = "select distinct source_table, column_name from liteferry.ledger
                   where migration_id = $1 and reason = 'reverse-spelling'
                         and not (class = 'real' and raw = '\\x0000000000000000')";
        let rows = sqlx::query(sql)
            .bind(migration)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read into which columns values came back"))?;
        let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in rows {
            columns.entry(row.get(0)).or_default().insert(row.get(1));
        }
        Ok(columns)
    }

    /// Columns of the source's tables, and how many of their values are texts or bytes that came back so because the column's form does not
    /// spell them. A number is one to any reader, whatever digits it has lost.
    pub async fn spelt_otherwise(&self, migration: i64) -> Result<Vec<(String, u64)>, Fault> {
        let sql = "select source_table || '.' || column_name, count(*) from liteferry.ledger
                   where migration_id = $1 and reason = 'reverse-spelling' and class in ('text', 'blob')
                   group by 1 order by 1";
        let rows = sqlx::query(sql)
            .bind(migration)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "count what came back in another spelling"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get::<i64, _>(1).unsigned_abs())).collect())
    }

    /// Takes away again what disturbs the apply, after a rollback, and records how it is given back; and how tables are read from now on.
    pub async fn suspend_again(
        &self,
        (migration, owner): (i64, &str),
        (suspended, routes, suspects): (&[Suspended], &[Route], &[i64]),
    ) -> Result<(), Fault> {
        let doing = "take constraints away again";
        let taken = self.pool.transact(doing, async |tx| {
            for (at, item) in suspended.iter().enumerate() {
                super::suspended::suspend(tx, migration, at, item).await?;
            }
            for route in routes {
                super::reshape::record_route(tx, migration, route).await?;
            }
            for id in suspects {
                super::reshape::suspect(tx, migration, *id).await?;
            }
            // Our own guards came and went.
            let sql = "update liteferry.follow set restored = false, source_version = null where migration_id = $1 and owner = $2";
            let done = sqlx::query(sql).bind(migration).bind(owner).execute(&mut **tx).await;
            still_ours(done.map_err(|error| of_control(error, doing))?.rows_affected(), doing)
        });
        taken.await
    }
}
