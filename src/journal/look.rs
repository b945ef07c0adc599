//! Looks into journal and ledger for whoever asks. It reads only, and of a cell in the ledger never the value.

use super::store::{Store, unreadable};
use crate::canon::Reason;
use crate::model::fault::Fault;
use crate::postgres::fault::of_control;
use sqlx::Row;
use sqlx::postgres::PgRow;

#[derive(Clone, Debug)]
pub struct Note {
    pub id: i64,
    pub at: String,
    pub what: String,
    pub detail: String,
    /// Who, why, and between which states of the machine: each empty where nobody gave it.
    pub actor: String,
    pub reason: String,
    pub before: String,
    pub after: String,
}

/// One cell that the target does not give back as it was.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: i64,
    pub table: String,
    /// Cut where it is long.
    pub key: String,
    pub column: String,
    pub class: String,
    pub reason: String,
    pub standing: String,
    pub recorded: String,
    pub accepted: bool,
}

/// Entries of the ledger that a switch waits for.
pub struct LedgerOpen {
    pub entries: u64,
    /// Of those that stand as `kept`, the reasons that may be accepted beforehand.
    pub acceptable: Vec<&'static str>,
}

impl Store {
    /// Newest first.
    pub async fn notes(&self, limit: u32) -> Result<Vec<Note>, Fault> {
        let sql = r#"select id, to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), what, left(detail, 4000),
                            actor, left(reason, 1000), before, after
                     from liteferry.journal order by id desc limit $1"#;
        let rows = sqlx::query(sql)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read the journal"))?;
        let note = |row: &PgRow| Note {
            id: row.get(0),
            at: row.get(1),
            what: row.get(2),
            detail: row.get(3),
            actor: row.get(4),
            reason: row.get(5),
            before: row.get(6),
            after: row.get(7),
        };
        Ok(rows.iter().map(note).collect())
    }

    /// The last report of a comparison.
    pub async fn last_verdict(&self, migration: i64) -> Result<Option<serde_json::Value>, Fault> {
        let sql =
            "select report::text from liteferry.verdict where migration_id = $1 order by id desc limit 1";
        let row = sqlx::query(sql)
            .bind(migration)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| of_control(error, "read the last verdict"))?;
        let read = |row: PgRow| serde_json::from_str(&row.get::<String, _>(0));
        row.map(read).transpose().map_err(|_| unreadable("verdict"))
    }

    /// Entries that nobody has accepted, nor `beforehand` all of their reason.
    pub async fn ledger_open(&self, migration: i64, beforehand: &[Reason]) -> Result<LedgerOpen, Fault> {
        let sql = "select count(*), array_agg(distinct reason) filter (where standing = 'kept')
                   from liteferry.ledger where migration_id = $1 and accepted is null
                   and not (standing = 'kept' and reason = any($2))";
        // The cells beside one of a row without a key have crossed.
        let words: Vec<&str> =
            beforehand.iter().chain([&Reason::NoKey]).map(|reason| reason.word()).collect();
        let row = sqlx::query(sql).bind(migration).bind(words).fetch_one(&self.pool).await;
        let row = row.map_err(|error| of_control(error, "count the ledger"))?;
        let kept = row.get::<Option<Vec<String>>, _>(1).unwrap_or_default();
        let acceptable =
            Reason::ACCEPTABLE.into_iter().filter(|reason| kept.iter().any(|word| word == reason.word()));
        Ok(LedgerOpen {
            entries: row.get::<i64, _>(0).unsigned_abs(),
            acceptable: acceptable.map(Reason::word).collect(),
        })
    }

    /// Tells whether there is such an entry. A row that the target does not hold is accepted with all of its cells.
    pub async fn accept_entry(&self, migration: i64, entry: i64) -> Result<bool, Fault> {
        let sql = "update liteferry.ledger l set accepted = coalesce(l.accepted, now())
                   from liteferry.ledger named
                   where named.migration_id = $1 and named.id = $2 and l.migration_id = $1
                     and (l.id = named.id
                          or (l.standing, named.standing) = ('row-held', 'row-held')
                             and (l.source_table, l.key) = (named.source_table, named.key))";
        let done = sqlx::query(sql).bind(migration).bind(entry).execute(&self.pool).await;
        done.map(|done| done.rows_affected() > 0)
            .map_err(|error| of_control(error, "accept an entry of the ledger"))
    }

    pub async fn accept_entries(&self, migration: i64) -> Result<(), Fault> {
        let sql = "update liteferry.ledger set accepted = now() where migration_id = $1 and accepted is null";
        let done = sqlx::query(sql).bind(migration).execute(&self.pool).await;
        done.map(drop).map_err(|error| of_control(error, "accept the ledger's entries"))
    }

    /// Tables and keys that the ledger names, after `after` and at most `limit`, each row once.
    pub async fn entry_keys(
        &self,
        migration: i64,
        after: &(String, String),
        limit: u32,
    ) -> Result<Vec<(String, String)>, Fault> {
        let sql = "select distinct source_table, key from liteferry.ledger
                   where migration_id = $1 and (source_table, key) > ($2, $3) order by 1, 2 limit $4";
        let rows = sqlx::query(sql)
            .bind(migration)
            .bind(&after.0)
            .bind(&after.1)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await;
        rows.map(|rows| rows.iter().map(|row| (row.get(0), row.get(1))).collect())
            .map_err(|error| of_control(error, "read which rows the ledger names"))
    }

    /// Table and key of an entry, as the ledger names them.
    pub async fn entry_key(&self, migration: i64, entry: i64) -> Result<Option<(String, String)>, Fault> {
        let sql = "select source_table, key from liteferry.ledger where migration_id = $1 and id = $2";
        let row = sqlx::query(sql).bind(migration).bind(entry).fetch_optional(&self.pool).await;
        row.map(|row| row.map(|row| (row.get(0), row.get(1))))
            .map_err(|error| of_control(error, "look up an entry of the ledger"))
    }

    /// Newest first; of one table, where one is named.
    pub async fn entries(
        &self,
        migration: i64,
        table: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Entry>, Fault> {
        let sql = r#"select id, source_table, left(key, 1000), column_name, class, reason, standing,
                            to_char(recorded at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), accepted is not null
                     from liteferry.ledger
                     where migration_id = $1 and ($2::text is null or lower(source_table) = lower($2))
                     order by id desc limit $3"#;
        let rows = sqlx::query(sql)
            .bind(migration)
            .bind(table)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read the ledger"))?;
        let entry = |row: &PgRow| Entry {
            id: row.get(0),
            table: row.get(1),
            key: row.get(2),
            column: row.get(3),
            class: row.get(4),
            reason: row.get(5),
            standing: row.get(6),
            recorded: row.get(7),
            accepted: row.get(8),
        };
        Ok(rows.iter().map(entry).collect())
    }
}
