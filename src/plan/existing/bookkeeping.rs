//! The tables in which migration tools write down what they have done: compared, never written.
//!
//! Each side's tool keeps its own: writing SQLite's into PostgreSQL would claim migrations that never ran there. A table is
//! taken for bookkeeping by its name and its columns together, so that an application's own `migrations` is still copied.

use crate::model::schema::SqliteTable;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookkeeping {
    /// Whose table it is, for people.
    pub tool: &'static str,
    /// The columns that name a migration, as SQLite spells them. Ids, times and checksums differ between the sides for no
    /// reason worth knowing. None: the tool writes different things on different engines, and there is nothing to compare.
    pub compare: Vec<String>,
}

/// A tool's table: all of `compare` must be there, and nothing beyond `compare` and `beside`.
struct Shape {
    table: &'static str,
    named: Named,
    tool: &'static str,
    compare: &'static [&'static str],
    beside: &'static [&'static str],
}

/// Whether the tool's table bears its name, or one that has it somewhere, where applications are used to choose their own.
#[derive(Clone, Copy)]
enum Named {
    So,
    Like,
}

pub fn bookkeeping(table: &SqliteTable) -> Option<Bookkeeping> {
    let shape = SHAPES.iter().find(|shape| shape.fits(table))?;
    let spelled =
        |name: &&str| table.column(name).map(|index| table.columns[index].name.clone()).unwrap_or_default();
    Some(Bookkeeping { tool: shape.tool, compare: shape.compare.iter().map(spelled).collect() })
}

impl Shape {
    fn fits(&self, table: &SqliteTable) -> bool {
        let known = |name: &str| {
            self.compare.iter().chain(self.beside).any(|expected| expected.eq_ignore_ascii_case(name))
        };
        let is_named = match self.named {
            Named::So => table.name.eq_ignore_ascii_case(self.table),
            Named::Like => table.name.to_ascii_lowercase().contains(self.table),
        };
        is_named
            && self.compare.iter().all(|name| table.column(name).is_some())
            && table.columns.iter().all(|column| known(&column.name))
    }
}

const fn shape(
    table: &'static str,
    tool: &'static str,
    compare: &'static [&'static str],
    beside: &'static [&'static str],
) -> Shape {
    Shape { table, named: Named::So, tool, compare, beside }
}

const fn shape_like(
    table: &'static str,
    tool: &'static str,
    compare: &'static [&'static str],
    beside: &'static [&'static str],
) -> Shape {
    Shape { named: Named::Like, ..shape(table, tool, compare, beside) }
}

const SHAPES: &[Shape] = &[
    shape("django_migrations", "Django", &["app", "name"], &["id", "applied"]),
    shape("south_migrationhistory", "South", &["app_name", "migration"], &["id", "applied"]),
    shape_like("alembic_version", "Alembic", &["version_num"], &[]),
    shape("migrate_version", "sqlalchemy-migrate", &["repository_id", "version"], &["repository_path"]),
    shape("aerich", "Aerich", &["app", "version"], &["id", "content"]),
    shape("migratehistory", "peewee_migrate", &["name"], &["id", "migrated_at"]),
    // Rails, Ecto, dbmate and golang-migrate.
    shape("schema_migrations", "Rails", &["version"], &["inserted_at", "dirty"]),
    // The environment, and a digest of the file that the schema was loaded from.
    shape("ar_internal_metadata", "Rails", &[], &["key", "value", "created_at", "updated_at"]),
    shape(
        "_prisma_migrations",
        "Prisma",
        &["migration_name"],
        &["id", "checksum", "finished_at", "logs", "rolled_back_at", "started_at", "applied_steps_count"],
    ),
    // Digests of files that are another one for each engine.
    shape("__drizzle_migrations", "Drizzle", &[], &["id", "hash", "created_at"]),
    // Written for one engine, under the time at which that was done.
    shape("payload_migrations", "Payload", &[], &["id", "name", "batch", "updated_at", "created_at"]),
    shape_like("knex_migrations", "Knex", &["name"], &["id", "batch", "migration_time"]),
    shape_like("knex_migrations", "Knex", &["is_locked"], &["index"]),
    shape("directus_migrations", "Directus", &["version", "name"], &["timestamp"]),
    shape("SequelizeMeta", "Sequelize", &["name"], &["createdAt", "updatedAt"]),
    shape("kysely_migration", "Kysely", &["name"], &["timestamp"]),
    shape("kysely_migration_lock", "Kysely", &["id", "is_locked"], &[]),
    shape("mikro_orm_migrations", "MikroORM", &["name"], &["id", "executed_at"]),
    shape("adonis_schema", "AdonisJS", &["name"], &["id", "batch", "migration_time"]),
    shape("adonis_schema_versions", "AdonisJS", &["version"], &[]),
    shape("migrations", "Laravel", &["migration"], &["id", "batch"]),
    shape("migrations", "TypeORM", &["timestamp", "name"], &["id"]),
    shape("doctrine_migration_versions", "Doctrine", &["version"], &["executed_at", "execution_time"]),
    shape("phinxlog", "Phinx", &["version"], &["migration_name", "start_time", "end_time", "breakpoint"]),
    shape("migration", "Yii", &["version"], &["apply_time"]),
    shape("flyway_schema_history", "Flyway", &["version", "script"], FLYWAY),
    shape("schema_version", "Flyway", &["version", "script"], FLYWAY),
    shape("databasechangelog", "Liquibase", &["id", "author", "filename"], LIQUIBASE),
    shape("databasechangeloglock", "Liquibase", &["id"], &["locked", "lockgranted", "lockedby"]),
    shape("goose_db_version", "goose", &["version_id", "is_applied"], &["id", "tstamp"]),
    shape("gorp_migrations", "sql-migrate", &["id"], &["applied_at"]),
    shape("bun_migrations", "Bun", &["name"], &["id", "group_id", "migrated_at"]),
    shape("bun_migration_locks", "Bun", &["table_name"], &["id"]),
    shape("migration_log", "Grafana", &["migration_id"], &["id", "sql", "success", "error", "timestamp"]),
    shape("schema_version", "Synapse", &["version"], &["lock", "upgraded"]),
    shape("schema_compat_version", "Synapse", &["compat_version"], &["lock"]),
    // Files of one engine and files of both; `schema_version` tells what has been reached.
    shape("applied_schema_deltas", "Synapse", &[], &["version", "file"]),
    shape("applied_module_schemas", "Synapse", &["module_name", "file"], &[]),
    // The number of SQLite's schema is another than that of PostgreSQL's.
    shape("coreinfo", "Quassel", &[], &["key", "value"]),
    shape("__EFMigrationsHistory", "Entity Framework", &["MigrationId"], &["ProductVersion"]),
    shape("VersionInfo", "FluentMigrator", &["Version"], &["AppliedOn", "Description"]),
    shape("__diesel_schema_migrations", "Diesel", &["version"], &["run_on"]),
    shape(
        "_sqlx_migrations",
        "sqlx",
        &["version"],
        &["description", "installed_on", "success", "checksum", "execution_time"],
    ),
    shape("seaql_migrations", "SeaORM", &["version"], &["applied_at"]),
    shape("refinery_schema_history", "refinery", &["version", "name"], &["applied_on", "checksum"]),
];

const FLYWAY: &[&str] = &[
    "installed_rank",
    "version_rank",
    "description",
    "type",
    "checksum",
    "installed_by",
    "installed_on",
    "execution_time",
    "success",
];

const LIQUIBASE: &[&str] = &[
    "dateexecuted",
    "orderexecuted",
    "exectype",
    "md5sum",
    "description",
    "comments",
    "tag",
    "liquibase",
    "contexts",
    "labels",
    "deployment_id",
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::existing::fixture::source;

    fn check(table: &str, columns: &[&str], expected: Option<(&str, &[&str])>) {
        let columns: Vec<(&str, &str)> = columns.iter().map(|name| (*name, "TEXT")).collect();
        let found = bookkeeping(&source(table, &columns));
        let found = found.map(|found| (found.tool, found.compare));
        let expected =
            expected.map(|(tool, names)| (tool, names.iter().map(|&name| name.to_owned()).collect()));
        assert_eq!(found, expected, "{table}");
    }

    #[test]
    fn bookkeeping_is_told_by_name_and_columns_together() {
        check("django_migrations", &["id", "app", "name", "applied"], Some(("Django", &["app", "name"])));
        check("alembic_version", &["version_num"], Some(("Alembic", &["version_num"])));
        check("migrations", &["id", "migration", "batch"], Some(("Laravel", &["migration"])));
        check("migrations", &["id", "timestamp", "name"], Some(("TypeORM", &["timestamp", "name"])));
        check("migrations", &["id", "bird", "from", "to"], None);
        check("schema_version", &["lock", "version", "upgraded"], Some(("Synapse", &["version"])));
        check("applied_schema_deltas", &["version", "file"], Some(("Synapse", &[])));
        check("ar_internal_metadata", &["key", "value", "created_at", "updated_at"], Some(("Rails", &[])));
        check("alembic_version", &["version_num", "price"], None);
        check("sequelizemeta", &["Name"], Some(("Sequelize", &["Name"])));
        check("coreinfo", &["key", "value"], Some(("Quassel", &[])));
        check("birds", &["version"], None);
        // NocoDB's, and Airflow's for its provider.
        let of_knex = ["id", "name", "batch", "migration_time"];
        check("xc_knex_migrationsv2", &of_knex, Some(("Knex", &["name"])));
        check("xc_knex_migrationsv2_lock", &["index", "is_locked"], Some(("Knex", &["is_locked"])));
        check("alembic_version_fab", &["version_num"], Some(("Alembic", &["version_num"])));
        let of_payload = ["id", "name", "batch", "updated_at", "created_at"];
        check("payload_migrations", &of_payload, Some(("Payload", &[])));
        check("migration", &["version", "apply_time"], Some(("Yii", &["version"])));
        check("migration", &["version", "apply_time", "bird"], None);
        check("old_django_migrations", &["id", "app", "name", "applied"], None);
    }
}
