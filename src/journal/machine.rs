//! The machine's state, as it is recorded: moved by compare-and-set, in one transaction with the line of the journal that tells who
//! moved it and why.

use super::follow::still_ours;
use super::store::{Store, unreadable};
use crate::model::fault::Fault;
use crate::phase::Phase;
use crate::phase::machine::{Crossing, Percent, State};
use crate::postgres::fault::of_control;
use crate::postgres::patience;
use sqlx::Row;

/// A move of the machine, as the journal tells it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub what: &'a str,
    pub detail: &'a str,
    pub actor: &'a str,
    pub reason: &'a str,
}

/// What is recorded of the way: the machine's state, and the epoch of the routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub state: State,
    pub routing_epoch: i64,
}

impl Store {
    pub async fn machine(&self, migration: i64) -> Result<Recorded, Fault> {
        let sql = "select phase, crossing, paused, reads_percent, routing_epoch from liteferry.follow where migration_id = $1";
        let row = sqlx::query(sql)
            .bind(migration)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| of_control(error, "read the phase"))?;
        let (phase, crossing): (String, Option<String>) = (row.get(0), row.get(1));
        let reads = u8::try_from(row.get::<i16, _>(3)).ok().and_then(Percent::new);
        let crossing = crossing.map(|word| Crossing::from_word(&word).ok_or(word)).transpose();
        let (Some(phase), Ok(crossing), Some(reads)) = (Phase::from_word(&phase), crossing, reads) else {
            return Err(unreadable("phase"));
        };
        let state = State { phase, crossing, paused: row.get(2), reads };
        // Where no event leads, somebody else has written.
        if !state.is_legal() {
            return Err(unreadable("phase"));
        }
        Ok(Recorded { state, routing_epoch: row.get(4) })
    }

    /// Moves the machine from `before` to `after`, if it is still ours and still there.
    pub async fn enter(
        &self,
        (migration, owner): (i64, &str),
        (before, after): (State, State),
        entry: Entry<'_>,
    ) -> Result<(), Fault> {
        let doing = "record the phase";
        let failed = |error| of_control(error, doing);
        // Two small statements, under way while the writes may be waiting: nobody is asked how they fare.
        let entered = patience::answered(patience::SMALL, doing, async {
            let mut tx = self.pool.begin().await.map_err(failed)?;
            let done = sqlx::query(ENTER)
                .bind(migration)
                .bind(owner)
                .bind(before.phase.word())
                .bind(before.crossing.map(Crossing::word))
                .bind(after.phase.word())
                .bind(after.crossing.map(Crossing::word))
                .bind(after.paused)
                .bind(i16::from(after.reads.get()))
                .execute(&mut *tx)
                .await
                .map_err(failed)?;
            still_ours(done.rows_affected(), doing)?;
            sqlx::query(JOURNAL)
                .bind(migration)
                .bind(entry.what)
                .bind(entry.detail)
                .bind(entry.actor)
                .bind(entry.reason)
                .bind(before.words())
                .bind(after.words())
                .execute(&mut *tx)
                .await
                .map_err(failed)?;
            tx.commit().await.map_err(failed)
        });
        entered.await
    }
}

impl Store {
    /// Adds to what a cleanup takes out of SQLite, if the migration is still ours, and gives all of it.
    pub async fn takes_out(
        &self,
        (migration, owner): (i64, &str),
        names: &[String],
    ) -> Result<Vec<String>, Fault> {
        let doing = "record what is taken out of SQLite";
        let sql = "update liteferry.follow
                   set taken_out = taken_out || array(select name from unnest($3) with ordinality as n (name, at)
                                                      where name <> all (taken_out) order by at)
                   where migration_id = $1 and owner = $2 returning taken_out";
        let row = sqlx::query(sql)
            .bind(migration)
            .bind(owner)
            .bind(names)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| of_control(error, doing))?;
        still_ours(u64::from(row.is_some()), doing)?;
        Ok(row.map(|row| row.get(0)).unwrap_or_default())
    }
}

/// Parameters: migration, owner, phase and crossing before, phase, crossing, pause and reads after.
pub const ENTER: &str = "update liteferry.follow set phase = $5, crossing = $6, paused = $7, reads_percent = $8 \
     where migration_id = $1 and owner = $2 and phase = $3 and crossing is not distinct from $4";

/// Parameters: migration, what, detail, actor, reason, before, after.
pub const JOURNAL: &str = "insert into liteferry.journal (migration_id, what, detail, actor, reason, before, after) \
     values ($1, $2, $3, $4, $5, $6, $7)";
