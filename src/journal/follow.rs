//! What is remembered of a migration that follows its source: whose it is, where it stands, what is captured, what is still to be
//! done. The position itself is moved by the applier alone, with the rows it stands for.

use super::store::{Store, unreadable};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::phase::Phase;
use crate::plan::Statement;
use crate::postgres::fault::of_control;
use crate::postgres::target::LoadRole;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row, Transaction};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Stands in the source too.
    pub token: String,
    pub at: Position,
    pub phase: Phase,
    /// Digest of the source's schema as it was last understood.
    pub source_schema: String,
    /// SQLite's `schema_version` then.
    pub source_version: Option<i64>,
    pub role: LoadRole,
}

/// That a migration is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The name that we bear as its owner.
    pub owner: String,
    /// Since when, by PostgreSQL's clock, in microseconds since 1970.
    pub at_us: i64,
}

/// When a statement of the plan is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// After the backfill: by what rows are found, while the target is not yet at a state of the source.
    Key,
    /// Once the target stands at a state of the source, where what is unique there is unique here.
    Index,
    /// After all indexes.
    Last,
    /// Not before the switch.
    Switch,
}

/// A statement of the plan, and the source's table that it is about.
#[derive(Clone, Debug)]
pub struct Planned {
    pub stage: Stage,
    pub table: Option<String>,
    pub statement: Statement,
}

/// What a migration that is to be followed begins with, beside its tables.
#[derive(Debug)]
pub struct FollowBeginning<'a> {
    /// Digest of the source's schema that the plan was made from.
    pub source_schema: &'a str,
    pub role: LoadRole,
    /// Tables by the number that their triggers will know them by.
    pub captured: &'a [(i64, String)],
    pub planned: &'a [Planned],
    /// Settings that decided the plan.
    pub terms: &'a BTreeMap<String, String>,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Stage::Key => "key",
            Stage::Index => "index",
            Stage::Last => "last",
            Stage::Switch => "switch",
        }
    }
}

pub(super) async fn begin(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    beginning: &FollowBeginning<'_>,
) -> Result<(), Fault> {
    let failed = |error| of_control(error, "record what is to be followed");
    sqlx::query(
        "insert into liteferry.follow (migration_id, token, epoch, seq, nonce, phase, source_schema, replica_sessions, settings)
         values ($1, replace(gen_random_uuid()::text, '-', ''), 0, 0, 0, $2, $3, $4, $5::jsonb)",
    )
    .bind(migration)
    .bind(Phase::Setup.word())
    .bind(beginning.source_schema)
    .bind(beginning.role == LoadRole::Replica)
    .bind(serde_json::json!(beginning.terms).to_string())
    .execute(&mut **tx)
    .await
    .map_err(failed)?;
    let (ids, tables): (Vec<i64>, Vec<&str>) =
        beginning.captured.iter().map(|(id, table)| (*id, table.as_str())).unzip();
    sqlx::query(
        "insert into liteferry.captured (migration_id, id, source_table)
         select $1, id, source from unnest($2::bigint[], $3::text[]) as c (id, source)",
    )
    .bind(migration)
    .bind(&ids)
    .bind(&tables)
    .execute(&mut **tx)
    .await
    .map_err(failed)?;
    record_planned(tx, migration, beginning.planned).await.map_err(failed)
}

async fn record_planned(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    planned: &[Planned],
) -> Result<(), sqlx::Error> {
    let stages: Vec<&str> = planned.iter().map(|planned| planned.stage.word()).collect();
    let statements = || planned.iter().map(|planned| &planned.statement);
    let whats: Vec<&str> = statements().map(|statement| statement.what.as_str()).collect();
    let sqls: Vec<&str> = statements().map(|statement| statement.sql.as_str()).collect();
    let fallbacks: Vec<Option<&str>> = statements().map(|statement| statement.fallback.as_deref()).collect();
    let required: Vec<bool> = statements().map(|statement| statement.required).collect();
    let tables: Vec<Option<&str>> = planned.iter().map(|planned| planned.table.as_deref()).collect();
    sqlx::query(
        "insert into liteferry.planned (migration_id, ordinal, stage, what, sql, fallback, required, source_table)
         select $1, at - 1, stage, what, sql, fallback, required, source
         from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::text[])
              with ordinality as p (stage, what, sql, fallback, required, source, at)",
    )
    .bind(migration)
    .bind(&stages)
    .bind(&whats)
    .bind(&sqls)
    .bind(&fallbacks)
    .bind(&required)
    .bind(&tables)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Entries of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    All,
    /// Of these columns, as the target calls them, and of the negative zeros of PostgreSQL that came back as the zero that SQLite has.
    OfColumns(&'a [String]),
}

/// What of a column's values the ledger has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its own cells, at least one.
    Cells,
    /// Nothing but whole rows, for the sake of some column of theirs.
    Rows,
}

impl Store {
    /// Whether the migration follows its source, and where it stands. Nothing for a one-shot copy.
    pub async fn follow(&self, migration: i64) -> Result<Option<Follow>, Fault> {
        let sql = "select token, epoch, seq, nonce, phase, source_schema, replica_sessions, source_version
                   from liteferry.follow where migration_id = $1";
        let row = sqlx::query(sql)
            .bind(migration)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| of_control(error, "read where the migration stands"))?;
        row.map(|row| follow_of(&row).ok_or_else(|| unreadable("position"))).transpose()
    }

    /// The settings that decided the plan. Nothing where an earlier version began the migration, whose records a check leaves as they are.
    pub async fn terms(&self, migration: i64) -> Result<Option<BTreeMap<String, String>>, Fault> {
        let sql = "select to_jsonb(follow) ->> 'settings' from liteferry.follow where migration_id = $1";
        let row = sqlx::query(sql)
            .bind(migration)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| of_control(error, "read what the migration began with"))?;
        let terms: Option<String> = row.get(0);
        terms.map(|terms| serde_json::from_str(&terms).map_err(|_| unreadable("settings"))).transpose()
    }

    /// A name that nobody has borne as an owner.
    pub async fn unheard_name(&self) -> Result<String, Fault> {
        let asked = sqlx::query("select gen_random_uuid()::text").fetch_one(&self.pool).await;
        asked.map(|row| row.get(0)).map_err(|error| of_control(error, "make a name for an owner"))
    }

    /// Makes the migration ours under `owner`; whoever had it finds out at the next write. Not where another daemon has taken it since we
    /// had it: one that took it earlier is what a target that lost commits remembers. `before` is how we had it, and the names
    /// that we have asked for since: the answer that gave us one may have been lost on the way.
    pub async fn take_over(
        &self,
        migration: i64,
        (owner, name): (&str, &str),
        before: Option<(&Taken, &[String])>,
    ) -> Result<Taken, Fault> {
        let doing = "take the migration over";
        let sql = "update liteferry.follow set owner = $5, owner_name = $2, owner_seen = now()
                   where migration_id = $1
                   and ($4::bigint is null or owner = any($3) or owner_seen <= timestamptz 'epoch' + $4::bigint * interval '1 microsecond')
                   returning owner, (extract(epoch from owner_seen) * 1000000)::bigint";
        let ours = before
            .map_or_else(Vec::new, |(taken, asked)| [std::slice::from_ref(&taken.owner), asked].concat());
        let row = sqlx::query(sql)
            .bind(migration)
            .bind(name)
            .bind(ours)
            .bind(before.map(|(taken, _)| taken.at_us))
            .bind(owner)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| of_control(error, doing))?;
        still_ours(u64::from(row.is_some()), doing)?;
        let row = row.expect("a row was counted");
        Ok(Taken { owner: row.get(0), at_us: row.get(1) })
    }

    pub async fn is_owned(&self, migration: i64, owner: &str) -> Result<bool, Fault> {
        sqlx::query("select 1 from liteferry.follow where migration_id = $1 and owner = $2")
            .bind(migration)
            .bind(owner)
            .fetch_optional(&self.pool)
            .await
            .map(|row| row.is_some())
            .map_err(|error| of_control(error, "read whose the migration is"))
    }

    /// Capture is armed: from this position on nothing is missed.
    pub async fn armed(&self, (migration, owner): (i64, &str), at: Position) -> Result<(), Fault> {
        let doing = "record that capture is armed";
        let sql = "update liteferry.follow set epoch = $3, seq = $4, nonce = $5, seen_seq = $4, seen_nonce = $5, phase = $6
                   where migration_id = $1 and owner = $2";
        let done = sqlx::query(sql)
            .bind(migration)
            .bind(owner)
            .bind(at.epoch)
            .bind(at.seq)
            .bind(at.nonce)
            .bind(Phase::Backfill.word())
            .execute(&self.pool)
            .await
            .map_err(|error| of_control(error, doing))?;
        still_ours(done.rows_affected(), doing)
    }

    /// A new history of the source: where it begins, and that no table is known to be equal.
    pub async fn begin_history(&self, (migration, owner): (i64, &str), at: Position) -> Result<(), Fault> {
        let doing = "record a new history";
        let failed = |error| of_control(error, doing);
        let recorded = self.pool.transact(doing, async |tx| {
            let sql =
                "update liteferry.follow set epoch = $3, seq = $4, nonce = $5, seen_seq = $4, seen_nonce = $5
                       where migration_id = $1 and owner = $2";
            let done = sqlx::query(sql)
                .bind(migration)
                .bind(owner)
                .bind(at.epoch)
                .bind(at.seq)
                .bind(at.nonce)
                .execute(&mut **tx)
                .await
                .map_err(failed)?;
            still_ours(done.rows_affected(), doing)?;
            for sql in [
                "update liteferry.captured set suspect = true where migration_id = $1",
                "update liteferry.range set seen_seq = null, seen_nonce = null where migration_id = $1",
            ] {
                sqlx::query(sql).bind(migration).execute(&mut **tx).await.map_err(failed)?;
            }
            Ok(())
        });
        recorded.await
    }

    /// The newest changes that rows of the target may be of: of its last batch, and of each range while their chunks are not yet
    /// joined to one state. The source must know them all.
    pub async fn seen(&self, migration: i64) -> Result<Vec<Position>, Fault> {
        let sql = "select epoch, seen_seq, seen_nonce from liteferry.follow where migration_id = $1
                   union
                   select f.epoch, r.seen_seq, r.seen_nonce from liteferry.range as r join liteferry.follow as f using (migration_id)
                   where migration_id = $1 and f.phase = $2";
        let rows = sqlx::query(sql)
            .bind(migration)
            .bind(Phase::Backfill.word())
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read what the target has seen of the source"))?;
        Ok(rows.iter().filter_map(|row| seen_of(row, 0)).collect())
    }

    /// The backfill is complete, if the target still holds all of it; tells whether it does. One that fell back to an earlier state would
    /// otherwise never be given what it lost.
    pub async fn backfilled(&self, (migration, owner): (i64, &str), at: Position) -> Result<bool, Fault> {
        let sql = "update liteferry.follow set phase = $6
                   where migration_id = $1 and owner = $2 and epoch = $3 and seq = $4 and nonce = $5
                   and not exists (select from liteferry.range where migration_id = $1 and not done)";
        let done = sqlx::query(sql)
            .bind(migration)
            .bind(owner)
            .bind(at.epoch)
            .bind(at.seq)
            .bind(at.nonce)
            .bind(Phase::DualWrite.word())
            .execute(&self.pool)
            .await
            .map_err(|error| of_control(error, "record that the backfill is complete"))?;
        Ok(done.rows_affected() == 1)
    }

    pub async fn captured(&self, migration: i64) -> Result<BTreeMap<i64, String>, Fault> {
        let rows = sqlx::query("select id, source_table from liteferry.captured where migration_id = $1")
            .bind(migration)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read which tables are captured"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    pub async fn planned(&self, migration: i64, stage: Stage) -> Result<Vec<Statement>, Fault> {
        let sql = "select what, sql, fallback, required from liteferry.planned
                   where migration_id = $1 and stage = $2 order by ordinal";
        let rows = sqlx::query(sql)
            .bind(migration)
            .bind(stage.word())
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read the planned statements"))?;
        let statement = |row: &PgRow| Statement {
            what: row.get(0),
            sql: row.get(1),
            fallback: row.get(2),
            required: row.get(3),
        };
        Ok(rows.iter().map(statement).collect())
    }

    /// Names of rows that the ledger has an entry of, each with its entry's number, in the order of these from after `after` on. A row with
    /// several entries is named as often.
    pub async fn ledger_names(
        &self,
        migration: i64,
        (table, which): (&str, Which<'_>),
        after: i64,
    ) -> Result<Vec<(i64, String)>, Fault> {
        let sql = "select id, key from liteferry.ledger
                   where migration_id = $1 and source_table = $2 and id > $3
                         and ($4::text[] is null or column_name = any ($4)
                              or reason = 'reverse-spelling' and class = 'real' and raw = '\\x0000000000000000')
                   order by id limit 1000";
        let columns = match which {
            Which::All => None,
            Which::OfColumns(columns) => Some(columns),
        };
        let rows = sqlx::query(sql)
            .bind(migration)
            .bind(table)
            .bind(after)
            .bind(columns)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read which rows the ledger has entries of"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Columns of a table, as the target calls them, that the ledger has values of which their type does not hold.
    pub async fn ledger_columns(&self, migration: i64, table: &str) -> Result<Vec<(String, Held)>, Fault> {
        let sql = "select column_name, bool_and(standing = 'row-held') from liteferry.ledger
                   where migration_id = $1 and source_table = $2 and accepted is null
                         and reason not in ('no-key', 'not-null', 'reverse-spelling') and reason not like 'refused%'
                   group by 1 order by 1";
        let rows = sqlx::query(sql)
            .bind(migration)
            .bind(table)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read which columns the ledger has entries of"))?;
        let held = |row: &PgRow| if row.get(1) { Held::Rows } else { Held::Cells };
        Ok(rows.iter().map(|row| (row.get(0), held(row))).collect())
    }

    /// Entries in the ledger by table and reason.
    pub async fn ledger_rows(&self, migration: i64) -> Result<Vec<(String, String, u64)>, Fault> {
        let sql = "select source_table, split_part(reason, ':', 1), count(*) from liteferry.ledger
                   where migration_id = $1 group by 1, 2 order by 1, 2";
        let rows = sqlx::query(sql)
            .bind(migration)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "count the ledger"))?;
        let count = |row: &PgRow| (row.get(0), row.get(1), row.get::<i64, _>(2).unsigned_abs());
        Ok(rows.iter().map(count).collect())
    }
}

fn follow_of(row: &PgRow) -> Option<Follow> {
    let phase: String = row.get(4);
    Some(Follow {
        token: row.get(0),
        at: Position { epoch: row.get(1), seq: row.get(2), nonce: row.get(3) },
        phase: Phase::from_word(&phase)?,
        source_schema: row.get(5),
        role: if row.get(6) { LoadRole::Replica } else { LoadRole::Origin },
        source_version: row.get(7),
    })
}

/// A position in three columns from `first` on, where it is known.
pub(super) fn seen_of(row: &PgRow, first: usize) -> Option<Position> {
    let (epoch, seq, nonce): (Option<i64>, Option<i64>, Option<i64>) =
        (row.get(first), row.get(first + 1), row.get(first + 2));
    Some(Position { epoch: epoch?, seq: seq?, nonce: nonce? })
}

/// What came with a schema change.
pub(super) async fn plan_also(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    (stage, table, statement): (Stage, &str, &Statement),
) -> Result<(), Fault> {
    let sql = "insert into liteferry.planned
               select $1, coalesce(max(ordinal), 0) + 1, $2, $3, $4, $5, $6, $7 from liteferry.planned where migration_id = $1";
    sqlx::query(sql)
        .bind(migration)
        .bind(stage.word())
        .bind(&statement.what)
        .bind(&statement.sql)
        .bind(&statement.fallback)
        .bind(statement.required)
        .bind(table)
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(|error| of_control(error, "record what is to be done"))
}

pub(super) fn still_ours(rows: u64, doing: &str) -> Result<(), Fault> {
    if rows == 1 {
        return Ok(());
    }
    Err(Fault::fatal("another_owner", doing).with_remedy(
        "another liteferry has taken this migration over: leave it to that one, or stop it and start this one again",
    ))
}
