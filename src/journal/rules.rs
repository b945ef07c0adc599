//! The rules of followed tables, as recorded, and what becomes of them with the source's.

use super::follow::{Stage, plan_also};
use super::store::{Store, run};
use crate::model::fault::Fault;
use crate::plan::rules::{Rule, Turnover};
use crate::postgres::fault::of_control;
use sqlx::{Postgres, Row, Transaction};
use std::collections::BTreeMap;

impl Store {
    /// By the source's tables.
    pub async fn rules(&self, migration: i64) -> Result<BTreeMap<String, Vec<Rule>>, Fault> {
        let sql = "select source_table, declared, made_as from liteferry.rule where migration_id = $1 order by ordinal";
        let rows = sqlx::query(sql).bind(migration).fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| of_control(error, "read the rules of the followed tables"))?;
        let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
        for row in &rows {
            let rule = Rule { declared: row.get(1), made_as: row.get(2) };
            rules.entry(row.get(0)).or_default().push(rule);
        }
        Ok(rules)
    }
}

pub(super) async fn record<'r>(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    tables: impl IntoIterator<Item = (&'r str, &'r [Rule])>,
) -> Result<(), Fault> {
    let rules: Vec<(&str, &Rule)> =
        tables.into_iter().flat_map(|(table, rules)| rules.iter().map(move |rule| (table, rule))).collect();
    let tables: Vec<&str> = rules.iter().map(|(table, _)| *table).collect();
    let declared: Vec<&str> = rules.iter().map(|(_, rule)| rule.declared.as_str()).collect();
    let made: Vec<Option<&str>> = rules.iter().map(|(_, rule)| rule.made_as.as_deref()).collect();
    sqlx::query(
        "insert into liteferry.rule (migration_id, source_table, ordinal, declared, made_as)
         select $1, source, at, declared, made_as
         from unnest($2::text[], $3::text[], $4::text[]) with ordinality as r (source, declared, made_as, at)",
    )
    .bind(migration)
    .bind(&tables)
    .bind(&declared)
    .bind(&made)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(recording)
}

/// Of a table that is gone. What was made for it went with it, and may be made again for another one.
pub(super) async fn forget(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    table: &str,
) -> Result<(), Fault> {
    for sql in [
        "delete from liteferry.step s using liteferry.rule r where s.migration_id = $1 and r.migration_id = $1
         and r.source_table = $2 and s.what = r.made_as",
        "delete from liteferry.rule where migration_id = $1 and source_table = $2",
    ] {
        sqlx::query(sql).bind(migration).bind(table).execute(&mut **tx).await.map_err(recording)?;
    }
    Ok(())
}

/// Takes away what is gone, and plans what came: it is made once the target stands where the source had it.
pub(super) async fn turn_over(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    turnover: &Turnover,
) -> Result<(), Fault> {
    for statement in turnover.endings() {
        run(tx, &statement.sql, &statement.making()).await?;
    }
    let gone: Vec<&str> = turnover.gone.iter().map(String::as_str).collect();
    for sql in [
        "delete from liteferry.step where migration_id = $1 and what = any ($2)",
        "delete from liteferry.planned where migration_id = $1 and what = any ($2)",
    ] {
        sqlx::query(sql).bind(migration).bind(&gone).execute(&mut **tx).await.map_err(recording)?;
    }
    let came = turnover.indexes.iter().map(|statement| (Stage::Index, statement));
    for (stage, statement) in came.chain(turnover.checks.iter().map(|statement| (Stage::Last, statement))) {
        plan_also(tx, migration, (stage, &turnover.table, statement)).await?;
    }
    let sql = "delete from liteferry.rule where migration_id = $1 and source_table = $2";
    let query = sqlx::query(sql).bind(migration).bind(&turnover.table);
    query.execute(&mut **tx).await.map_err(recording)?;
    record(tx, migration, [(turnover.table.as_str(), turnover.rules.as_slice())]).await
}

fn recording(error: sqlx::Error) -> Fault {
    of_control(error, "record what a table's rules are")
}
