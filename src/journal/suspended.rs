//! Constraints and triggers that were taken away from the target's tables, and the statements that give them back: word for word, but for
//! the names of tables and columns that the application has renamed since. What belonged to a table or a column that is gone is not given
//! back.
//!
//! It never guesses: where names and numbers contradict each other, the statement is taken as it was written down.

use super::store::{Store, run, unreadable};
use crate::model::fault::Fault;
use crate::model::name::PgName;
use crate::plan::{Statement, Suspended};
use crate::postgres::fault::of_control;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row, Transaction};

const RECORD: &str = include_str!("sql/suspend.sql");
const READ: &str = include_str!("sql/suspended.sql");

impl Store {
    /// What was taken away from the target and is to be given back, in the order of giving.
    pub async fn suspended(&self, migration: i64) -> Result<Vec<Statement>, Fault> {
        let rows = sqlx::query(READ)
            .bind(migration)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read the suspended constraints"))?;
        let given: Result<Vec<Option<Statement>>, sqlx::Error> = rows.iter().map(given_back).collect();
        Ok(given.map_err(|_| unreadable("suspended constraint"))?.into_iter().flatten().collect())
    }
}

/// Takes a constraint away and remembers how to give it back, in the same transaction.
pub(super) async fn suspend(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    ordinal: usize,
    suspended: &Suspended,
) -> Result<(), Fault> {
    sqlx::query(RECORD)
        .bind(migration)
        .bind(i32::try_from(ordinal).expect("a database has fewer than 2^31 constraints"))
        .bind(&suspended.restore.what)
        .bind(&suspended.suspend)
        .bind(&suspended.restore.sql)
        .bind(&suspended.restore.fallback)
        .bind(suspended.table.sql())
        .bind(&suspended.constraint)
        .execute(&mut **tx)
        .await
        .map_err(|error| of_control(error, "record a suspended constraint"))?;
    run(tx, &suspended.suspend, &format!("suspend {} on {}", suspended.name, suspended.table)).await
}

/// The same for one that came later, which may bear the name of one that the application has dropped since.
pub(super) async fn suspend_also(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    suspended: &Suspended,
) -> Result<(), Fault> {
    let failed = |error| of_control(error, "record a suspended constraint");
    sqlx::query("delete from liteferry.suspended where migration_id = $1 and what = $2")
        .bind(migration)
        .bind(&suspended.restore.what)
        .execute(&mut **tx)
        .await
        .map_err(failed)?;
    let sql = "select coalesce(max(ordinal) + 1, 0) from liteferry.suspended where migration_id = $1";
    let next: i32 = sqlx::query(sql).bind(migration).fetch_one(&mut **tx).await.map_err(failed)?.get(0);
    suspend(tx, migration, usize::try_from(next).expect("ordinals count from zero"), suspended).await
}

fn given_back(row: &PgRow) -> Result<Option<Statement>, sqlx::Error> {
    let stands: bool = row.try_get("stands")?;
    if !stands {
        return Ok(None);
    }
    let text = |name: &str| row.try_get::<Option<String>, _>(name);
    let (namespace, relation) = (text("nspname")?, text("relname")?);
    let now = namespace.zip(relation).map(|(schema, name)| PgName::new(&schema, &name).sql());
    let table = text("known_as")?.zip(now);
    let head = text("head")?.zip(text("head_now")?);
    let renamed = |sql: String| renamed(sql, table.as_ref(), head.as_ref());
    Ok(Some(Statement {
        what: row.try_get("what")?,
        sql: renamed(row.try_get("restore")?),
        fallback: text("fallback")?.map(renamed),
        required: false,
    }))
}

/// Pairs of what was and what is. A statement names its table behind `alter table`, and once more where a comment comes back with it.
fn renamed(sql: String, table: Option<&(String, String)>, head: Option<&(String, String)>) -> String {
    let mut sql = sql;
    if let Some((was, is)) = table.filter(|(was, is)| was != is) {
        sql = sql.replacen(&format!("alter table {was} "), &format!("alter table {is} "), 1);
        sql = sql.replacen(&format!(" on {was} is "), &format!(" on {is} is "), 1);
    }
    match head.filter(|(was, is)| was != is) {
        Some((was, is)) => sql.replacen(was, is, 1),
        None => sql,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_follows_its_tables_and_columns_by_name() {
        let pair = |was: &str, is: &str| (was.to_owned(), is.to_owned());
        let (a, b) = ("\"public\".\"a\"", "\"public\".\"b\"");
        let sql = format!(
            "alter table {a} add constraint \"x\" FOREIGN KEY (p) REFERENCES public.q(id) ON DELETE CASCADE not valid; \
             comment on constraint \"x\" on {a} is 'of {a}'"
        );
        let head =
            pair("FOREIGN KEY (p) REFERENCES public.q(id)", "FOREIGN KEY (o) REFERENCES public.r(key)");
        let same = (pair(a, a), pair("x", "x"));
        assert_eq!(renamed(sql.clone(), None, None), sql);
        assert_eq!(renamed(sql.clone(), Some(&same.0), Some(&same.1)), sql);
        assert_eq!(
            renamed(sql, Some(&pair(a, b)), Some(&head)),
            format!(
                "alter table {b} add constraint \"x\" FOREIGN KEY (o) REFERENCES public.r(key) ON DELETE CASCADE not valid; \
                 comment on constraint \"x\" on {b} is 'of {a}'"
            )
        );
    }
}
