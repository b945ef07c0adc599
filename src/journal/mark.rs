//! Marks: by when which changes were applied, so that a retention outlives attempts and processes. They are coarse, and few.

use super::store::Store;
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::postgres::fault::of_control;
use sqlx::Row;
use std::time::Duration;

impl Store {
    /// How long ago the changes of a history were applied, up to which number; the oldest first. By the target's own clock: another one
    /// that jumps must not let go of what a failover may want.
    pub async fn marks(&self, migration: i64, epoch: i64) -> Result<Vec<(Duration, i64)>, Fault> {
        let sql =
            "select greatest(extract(epoch from clock_timestamp() - applied_at), 0)::double precision, seq
                   from liteferry.mark where migration_id = $1 and epoch = $2 order by seq";
        let rows = sqlx::query(sql)
            .bind(migration)
            .bind(epoch)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read when changes were applied"))?;
        let age = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Ok(rows.iter().map(|row| (age(row.get(0)), row.get(1))).collect())
    }

    pub async fn mark(&self, migration: i64, at: Position) -> Result<(), Fault> {
        let sql = "insert into liteferry.mark (migration_id, epoch, seq)
                   select $1, $2, $3 where not exists
                       (select from liteferry.mark where migration_id = $1 and epoch = $2 and seq = $3)";
        let query = sqlx::query(sql).bind(migration).bind(at.epoch).bind(at.seq);
        let marked = query.execute(&self.pool).await;
        marked.map(drop).map_err(|error| of_control(error, "record when changes were applied"))
    }

    /// Forgets the marks that are passed by, those of other histories too.
    pub async fn unmark(&self, migration: i64, passed: Position) -> Result<(), Fault> {
        let sql = "delete from liteferry.mark where migration_id = $1 and (epoch <> $2 or seq <= $3)";
        let query = sqlx::query(sql).bind(migration).bind(passed.epoch).bind(passed.seq);
        let unmarked = query.execute(&self.pool).await;
        unmarked.map(drop).map_err(|error| of_control(error, "forget when changes were applied"))
    }
}
