//! A schema change of the source, recorded together with what it does to the target's tables.

use super::follow::Stage;
use super::record;
use super::store::{Store, run};
use super::suspended;
use crate::model::fault::Fault;
use crate::plan::referring::Referring;
use crate::plan::route::Route;
use crate::plan::rules::{Rule, Turnover};
use crate::plan::{Statement, Suspended};
use crate::postgres::fault::of_control;
use crate::postgres::target::LoadRole;
use sqlx::{Postgres, Row, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// What became of one table.
#[derive(Clone, Debug)]
pub enum TableChange {
    Gone { id: i64, table: String, statements: Vec<Statement> },
    Altered { id: i64, route: Route, statements: Vec<Statement> },
    New { id: i64, route: Route, statements: Vec<Statement>, rules: Vec<Rule> },
}

#[derive(Debug)]
pub struct Reshaping<'a> {
    pub migration: i64,
    pub owner: &'a str,
    /// Digest of the source's schema as it is understood now.
    pub source_schema: &'a str,
    pub changes: &'a [TableChange],
    /// Constraints and triggers to be taken away until the switch.
    pub suspended: &'a [Suspended],
    pub role: LoadRole,
    /// What tables refer to from now on, to be made at the switch.
    pub referring: &'a [Referring],
    /// What becomes of indexes and constraints of tables that stay.
    pub turnovers: &'a [Turnover],
    /// Tables whose rows may have changed unseen.
    pub suspect: &'a BTreeSet<i64>,
}

impl TableChange {
    pub fn word(&self) -> &'static str {
        match self {
            TableChange::Gone { .. } => "gone",
            TableChange::Altered { .. } => "altered",
            TableChange::New { .. } => "new",
        }
    }

    pub fn table(&self) -> &str {
        match self {
            TableChange::Gone { table, .. } => table,
            TableChange::Altered { route, .. } | TableChange::New { route, .. } => &route.source,
        }
    }

    fn statements(&self) -> &[Statement] {
        match self {
            TableChange::Gone { statements, .. }
            | TableChange::Altered { statements, .. }
            | TableChange::New { statements, .. } => statements,
        }
    }
}

impl Store {
    /// Carries a schema change over, all of it or nothing.
    pub async fn reshape(&self, reshaping: &Reshaping<'_>) -> Result<(), Fault> {
        let doing = "carry a schema change over";
        self.pool.transact(doing, async |tx| reshape_in(tx, reshaping, doing).await).await
    }

    /// What came of the source's schema up to this version is carried over, or is recorded as what is to be compared.
    pub async fn understood(&self, (migration, owner): (i64, &str), version: i64) -> Result<(), Fault> {
        let doing = "record which version of the source's schema is understood";
        let sql = "update liteferry.follow set source_version = $3 where migration_id = $1 and owner = $2";
        let query = sqlx::query(sql).bind(migration).bind(owner).bind(version);
        let done = query.execute(&self.pool).await.map_err(|error| of_control(error, doing))?;
        super::follow::still_ours(done.rows_affected(), doing)
    }

    /// Any table may differ in ways that no captured change tells.
    pub async fn suspect_all(&self, (migration, owner): (i64, &str)) -> Result<(), Fault> {
        let doing = "record that every table is to be compared";
        let sql = "update liteferry.captured c set suspect = true
                   from liteferry.follow f where f.migration_id = $1 and f.owner = $2 and c.migration_id = f.migration_id";
        let query = sqlx::query(sql).bind(migration).bind(owner);
        let done = query.execute(&self.pool).await.map_err(|error| of_control(error, doing))?;
        super::follow::still_ours(done.rows_affected().min(1), doing)
    }

    /// Takes away what somebody has put on the target's tables, and remembers how to give it back; `suspects` may differ by its doing.
    pub async fn suspend_newcomers(
        &self,
        (migration, owner): (i64, &str),
        newcomers: &[Suspended],
        (suspects, told): (&[i64], &str),
    ) -> Result<(), Fault> {
        let doing = "take away what was put on the target's tables";
        let failed = |error| of_control(error, doing);
        let taken = self.pool.transact(doing, async |tx| {
            let sql = "select 1 from liteferry.follow where migration_id = $1 and owner = $2 for update";
            let ours = sqlx::query(sql).bind(migration).bind(owner).fetch_optional(&mut **tx).await;
            super::follow::still_ours(u64::from(ours.map_err(failed)?.is_some()), doing)?;
            // Whoever holds the table is waited for with it, and not with all that comes after us; and not until PostgreSQL looks for a
            // deadlock, after a second, and ends a transaction of the application.
            run(tx, "set local lock_timeout = '500ms'", doing).await?;
            for one in newcomers {
                suspended::suspend_also(tx, migration, one).await?;
            }
            for id in suspects {
                suspect(tx, migration, *id).await?;
            }
            let sql =
                "insert into liteferry.journal (migration_id, what, detail) values ($1, 'suspended', $2)";
            let detail = format!("put there beside liteferry, taken away until the switch: {told}");
            sqlx::query(sql).bind(migration).bind(detail).execute(&mut **tx).await.map_err(failed)?;
            Ok(())
        });
        taken.await
    }

    /// Tables that may differ in ways no captured change tells.
    pub async fn suspects(&self, migration: i64) -> Result<BTreeMap<i64, String>, Fault> {
        let rows = sqlx::query(
            "select id, source_table from liteferry.captured where migration_id = $1 and suspect",
        )
        .bind(migration)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| of_control(error, "read which tables are suspect"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// They were read equal.
    pub async fn clear_suspects(&self, migration: i64, tables: &[i64]) -> Result<(), Fault> {
        sqlx::query("update liteferry.captured set suspect = false where migration_id = $1 and id = any($2)")
            .bind(migration)
            .bind(tables)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(|error| of_control(error, "record that tables are equal"))
    }
}

async fn reshape_in(
    tx: &mut Transaction<'static, Postgres>,
    reshaping: &Reshaping<'_>,
    doing: &str,
) -> Result<(), Fault> {
    let sql = "update liteferry.follow set source_schema = $3, replica_sessions = $4 where migration_id = $1 and owner = $2";
    let ours = sqlx::query(sql)
        .bind(reshaping.migration)
        .bind(reshaping.owner)
        .bind(reshaping.source_schema)
        .bind(reshaping.role == LoadRole::Replica)
        .execute(&mut **tx)
        .await
        .map_err(|error| of_control(error, doing))?;
    super::follow::still_ours(ours.rows_affected(), doing)?;
    for change in reshaping.changes {
        for statement in change.statements() {
            run(tx, &statement.sql, &statement.making()).await?;
        }
        record_change(tx, reshaping.migration, change).await?;
    }
    for one in reshaping.suspended {
        suspended::suspend_also(tx, reshaping.migration, one).await?;
    }
    for turnover in reshaping.turnovers {
        super::rules::turn_over(tx, reshaping.migration, turnover).await?;
    }
    for one in reshaping.referring {
        refer(tx, reshaping.migration, one).await?;
    }
    for id in reshaping.suspect {
        suspect(tx, reshaping.migration, *id).await?;
    }
    Ok(())
}

async fn record_change(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    change: &TableChange,
) -> Result<(), Fault> {
    match change {
        TableChange::Gone { id, table, .. } => {
            sqlx::query("delete from liteferry.captured where migration_id = $1 and id = $2")
                .bind(migration)
                .bind(id)
                .execute(&mut **tx)
                .await
                .map_err(recording)?;
            super::rules::forget(tx, migration, table).await?;
            for sql in [
                "delete from liteferry.route where migration_id = $1 and source_table = $2",
                "delete from liteferry.ledger where migration_id = $1 and source_table = $2",
                "delete from liteferry.range where migration_id = $1 and source_table = $2",
                "delete from liteferry.planned where migration_id = $1 and source_table = $2",
            ] {
                sqlx::query(sql).bind(migration).bind(table).execute(&mut **tx).await.map_err(recording)?;
            }
            Ok(())
        }
        TableChange::Altered { id, route, .. } => {
            record_route(tx, migration, route).await?;
            // What its statements have made of it is no stranger's doing.
            let sql = "update liteferry.captured set suspect = true, made = null where migration_id = $1 and id = $2";
            let query = sqlx::query(sql).bind(migration).bind(id);
            query.execute(&mut **tx).await.map_err(recording).map(drop)
        }
        TableChange::New { id, route, rules, .. } => {
            super::rules::record(tx, migration, [(route.source.as_str(), rules.as_slice())]).await?;
            let sql = "insert into liteferry.route (migration_id, ordinal, source_table, compared, route)
                       values ($1, (select coalesce(max(ordinal), 0) + 1 from liteferry.route where migration_id = $1),
                               $2, false, $3::jsonb)";
            let text = record::route_to_json(route).to_string();
            let query = sqlx::query(sql).bind(migration).bind(&route.source).bind(text);
            query.execute(&mut **tx).await.map_err(recording)?;
            let sql = "insert into liteferry.captured (migration_id, id, source_table, suspect) values ($1, $2, $3, true)";
            let query = sqlx::query(sql).bind(migration).bind(id).bind(&route.source);
            query.execute(&mut **tx).await.map_err(recording).map(drop)
        }
    }
}

/// How a table crosses from now on.
pub(super) async fn record_route(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    route: &Route,
) -> Result<(), Fault> {
    let sql = "update liteferry.route set route = $3::jsonb where migration_id = $1 and source_table = $2";
    let text = record::route_to_json(route).to_string();
    let query = sqlx::query(sql).bind(migration).bind(&route.source).bind(text);
    query.execute(&mut **tx).await.map(drop).map_err(recording)
}

/// The foreign keys that wait for the switch, in the place of those that waited; a key that came back once, and was suspended again, is
/// one of these too.
async fn refer(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    referring: &Referring,
) -> Result<(), Fault> {
    for (sql, table) in [
        (
            "delete from liteferry.planned where migration_id = $1 and stage = 'switch' and source_table = $2",
            referring.table.clone(),
        ),
        (
            "delete from liteferry.suspended where migration_id = $1 and relation_name = $2 and parent is not null",
            referring.target.sql(),
        ),
    ] {
        sqlx::query(sql).bind(migration).bind(table).execute(&mut **tx).await.map_err(recording)?;
    }
    for statement in &referring.foreign_keys {
        super::follow::plan_also(tx, migration, (Stage::Switch, &referring.table, statement)).await?;
    }
    Ok(())
}

pub(super) async fn suspect(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    id: i64,
) -> Result<(), Fault> {
    sqlx::query("update liteferry.captured set suspect = true where migration_id = $1 and id = $2")
        .bind(migration)
        .bind(id)
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(recording)
}

fn recording(error: sqlx::Error) -> Fault {
    of_control(error, "record a schema change")
}
