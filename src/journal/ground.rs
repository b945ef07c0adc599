//! The schema `liteferry` itself, which is made and brought up to date before anything is remembered in it.

use super::store::Store;
use crate::model::fault::Fault;
use crate::postgres::fault::{of_control, of_migration};
use sqlx::Row;
use sqlx::migrate::{MigrateError, Migrator};

impl Store {
    /// Whether the target has ever seen us; reads only.
    pub async fn exists(&self) -> Result<bool, Fault> {
        sqlx::query("select to_regclass('liteferry.verdict') is not null")
            .fetch_one(&self.pool)
            .await
            .map(|row| row.get(0))
            .map_err(|error| of_control(error, "look for liteferry's schema"))
    }

    /// Creates or upgrades the schema `liteferry`.
    pub async fn upgrade(&self) -> Result<(), Fault> {
        let mut migrator = sqlx::migrate!("src/journal/migrations");
        if self.is_upgraded(&migrator).await? {
            return Ok(());
        }
        // Only where it is missing: `if not exists` would still ask for the right to create schemas.
        sqlx::raw_sql("do $$ begin if to_regnamespace('liteferry') is null then create schema liteferry; end if; end $$")
            .execute(&self.pool)
            .await
            .map_err(|error| begun_elsewhere(error, "create schema liteferry"))?;
        // A session lock would not exclude anybody behind a transaction pooler; one copy at a time is seen to by the ranges.
        migrator.set_locking(false);
        migrator.dangerous_set_table_name("liteferry.schema_version");
        let doing = "upgrade schema liteferry";
        let upgraded = self.pool.on_one(doing, async |connection| match migrator.run(connection).await {
            Ok(()) => Ok(()),
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                if is(&error, &[TABLE_IS_THERE]) && !self.was_ever_ours().await? {
                    return Err(strangers_schema(doing));
                }
                Err(begun_elsewhere(error, doing))
            }
            Err(other) => Err(of_migration(other, doing)),
        });
        upgraded.await
    }

    /// An event trigger, or a right that is missing, forbids even statements that would change nothing.
    async fn is_upgraded(&self, migrator: &Migrator) -> Result<bool, Fault> {
        if !self.exists().await? {
            return Ok(false);
        }
        let made = sqlx::query_as::<_, (i64, Vec<u8>)>(
            "select version, checksum from liteferry.schema_version where success order by version",
        )
        .fetch_all(&self.pool)
        .await;
        match made {
            Ok(made) => {
                let steps = migrator.iter().map(|step| (step.version, step.checksum.to_vec()));
                Ok(made.into_iter().eq(steps))
            }
            // What stands in the way of that is told by who upgrades.
            Err(error) if error.as_database_error().is_some() => Ok(false),
            Err(error) => Err(of_control(error, "look whose the schema liteferry is")),
        }
    }

    /// Whoever makes the schema at this moment has committed a version together with the first tables.
    async fn was_ever_ours(&self) -> Result<bool, Fault> {
        sqlx::query("select exists (select from liteferry.schema_version)")
            .fetch_one(&self.pool)
            .await
            .map(|row| row.get(0))
            .map_err(|error| of_control(error, "look whose the schema liteferry is"))
    }
}

/// Copies into two schemas of a database make the one schema that remembers both; who comes second finds it half made.
fn begun_elsewhere(error: sqlx::Error, doing: &str) -> Fault {
    if is(&error, &["23505", "42P06", TABLE_IS_THERE]) {
        return Fault::fatal("another_owner", doing).with_remedy(
            "another liteferry begins a copy into this database at this moment: run the command again",
        );
    }
    of_control(error, doing)
}

const TABLE_IS_THERE: &str = "42P07";

fn is(error: &sqlx::Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(|answer| answer.code());
    code.is_some_and(|code| codes.contains(&&*code))
}

fn strangers_schema(doing: &str) -> Fault {
    Fault::fatal("state_schema", doing).with_remedy(
        "something else has a schema liteferry in this database, with tables of its own: rename it (alter schema liteferry rename to …), \
         or take another database",
    )
}
