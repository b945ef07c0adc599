//! The store: migrations, ranges, steps, suspended constraints, verdicts.
//!
//! What belongs together is written in one transaction; a range's progress is written by the loader, with the rows it stands for.

use super::control::Control;
use super::follow::{self, FollowBeginning};
use super::record;
use crate::link::{Range, Span};
use crate::model::cell::CellBuf;
use crate::model::fault::Fault;
use crate::model::position;
use crate::plan::route::Route;
use crate::plan::{Mode, Plan, Statement, TableRole};
use crate::postgres::connect::Pool;
use crate::postgres::fault::of_control;
use sqlx::{AssertSqlSafe, Postgres, Row, Transaction};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Store {
    pub(super) pool: Control,
}

/// One migration as the target remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    pub id: i64,
    pub source_path: String,
    pub mode: Mode,
    pub fingerprint: String,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Loading,
    Finishing,
    Complete,
}

/// A migration about to begin.
#[derive(Debug)]
pub struct Beginning<'a> {
    pub source_path: &'a str,
    pub fingerprint: &'a str,
    pub plan: &'a Plan,
    /// Before the tables: a schema to be created.
    pub first: &'a [Statement],
    /// After constraints are suspended: rows to be removed.
    pub last: &'a [Statement],
    /// By index into the plan's tables: the spans its rows are read in.
    pub spans: &'a [Vec<Span>],
    pub follow: Option<FollowBeginning<'a>>,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Loading => "loading",
            State::Finishing => "finishing",
            State::Complete => "complete",
        }
    }

    fn from_word(word: &str) -> Option<State> {
        [State::Loading, State::Finishing, State::Complete].into_iter().find(|state| state.word() == word)
    }
}

impl Store {
    pub fn new(pool: Pool) -> Store {
        Store { pool: Control::new(pool) }
    }

    pub async fn find(&self, target_schema: &str) -> Result<Option<Migration>, Fault> {
        let row = sqlx::query(
            "select id, source_path, mode, fingerprint, state from liteferry.migration where target_schema = $1",
        )
        .bind(target_schema)
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| of_control(error, "look for a migration"))?;
        row.map(|row| {
            let (mode, state): (String, String) = (row.get(2), row.get(4));
            let mode = match mode.as_str() {
                "create" => Mode::Create,
                _ => Mode::Existing,
            };
            let state = State::from_word(&state).ok_or_else(|| unreadable("migration's state"))?;
            Ok(Migration { id: row.get(0), source_path: row.get(1), mode, fingerprint: row.get(3), state })
        })
        .transpose()
    }

    /// Creates the tables and remembers the migration, its routes and its ranges, in one transaction: a killed copy has either begun or
    /// left nothing.
    pub async fn begin(&self, beginning: &Beginning<'_>) -> Result<i64, Fault> {
        let doing = "create the target's tables";
        self.pool.transact(doing, async |tx| self.begin_in(tx, beginning).await).await
    }

    async fn begin_in(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        beginning: &Beginning<'_>,
    ) -> Result<i64, Fault> {
        let plan = beginning.plan;
        let mode = plan.mode.word();
        let id: i64 = sqlx::query(
            "insert into liteferry.migration (source_path, mode, target_schema, fingerprint, version)
             values ($1, $2, $3, $4, $5) returning id",
        )
        .bind(beginning.source_path)
        .bind(mode)
        .bind(&plan.schema)
        .bind(beginning.fingerprint)
        .bind(env!("CARGO_PKG_VERSION"))
        .fetch_one(&mut **tx)
        .await
        .map_err(|error| of_control(error, "record the migration"))?
        .get(0);
        for statement in beginning.first.iter().chain(plan.tables.iter().flat_map(|table| &table.create)) {
            run(tx, &statement.sql, &format!("make {}", statement.what)).await?;
        }
        record_routes(tx, id, plan).await?;
        record_spans(tx, id, beginning).await?;
        record_renamed(tx, id, plan).await?;
        for (ordinal, suspended) in plan.suspended.iter().enumerate() {
            super::suspended::suspend(tx, id, ordinal, suspended).await?;
        }
        for statement in beginning.last {
            run(tx, &statement.sql, &format!("make {}", statement.what)).await?;
        }
        if let Some(follow) = &beginning.follow {
            follow::begin(tx, id, follow).await?;
            let tables = plan.tables.iter();
            let rules = tables.map(|table| (table.route.source.as_str(), table.rules.as_slice()));
            super::rules::record(tx, id, rules).await?;
        }
        Ok(id)
    }

    pub async fn routes(&self, migration: i64) -> Result<Vec<(Route, TableRole)>, Fault> {
        let rows = sqlx::query(
            "select route::text, compared from liteferry.route where migration_id = $1 order by ordinal",
        )
        .bind(migration)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| of_control(error, "read the migration's routes"))?;
        rows.iter()
            .map(|row| {
                let route = record::route_from_text(row.get(0)).ok_or_else(|| unreadable("route"))?;
                Ok((route, if row.get(1) { TableRole::Compared } else { TableRole::Copied }))
            })
            .collect()
    }

    /// The ranges of a migration, with the rows and held rows each has so far. `for update` waits for a commit of our own whose answer was
    /// lost and which the server is still at: a plain read would see the state before it.
    pub async fn ranges(&self, migration: i64, routes: &[Arc<Route>]) -> Result<Vec<RangeState>, Fault> {
        let rows = sqlx::query(
            "select id, source_table, from_rowid, to_rowid, position, rows, held, done,
                    (select epoch from liteferry.follow as f where f.migration_id = r.migration_id), seen_seq, seen_nonce
             from liteferry.range as r where migration_id = $1 order by id for update",
        )
        .bind(migration)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| of_control(error, "read the migration's ranges"))?;
        let range = |row: &sqlx::postgres::PgRow| {
            let (table, reached): (String, Vec<u8>) = (row.get(1), row.get(4));
            let route = routes.iter().find(|route| route.source == table)?;
            let after: Vec<CellBuf> = position::from_bytes(&reached)?;
            let (rows, held): (i64, i64) = (row.get(5), row.get(6));
            Some(RangeState {
                range: Range {
                    id: row.get(0),
                    route: Arc::clone(route),
                    span: Span { from: row.get(2), to: row.get(3) },
                    after,
                    seen: follow::seen_of(row, 8),
                },
                rows: u64::try_from(rows).ok()?,
                held: u64::try_from(held).ok()?,
                done: row.get(7),
            })
        };
        rows.iter().map(|row| range(row).ok_or_else(|| unreadable("range"))).collect()
    }

    /// Every row of a copy is loaded, if the target holds all of it; tells whether it does. With this commit all before it last.
    pub async fn loaded(&self, migration: i64) -> Result<bool, Fault> {
        let doing = "record that every row is loaded";
        let failed = |error| of_control(error, doing);
        let sql = "update liteferry.migration set state = $2
                   where id = $1 and not exists (select from liteferry.range where migration_id = $1 and not done)";
        let done = sqlx::query(sql)
            .bind(migration)
            .bind(State::Finishing.word())
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        if done.rows_affected() == 1 {
            return Ok(true);
        }
        let open = sqlx::query("select from liteferry.range where migration_id = $1 and not done limit 1");
        let open = open.bind(migration).fetch_optional(&self.pool).await.map_err(failed)?;
        // Nothing is to be loaded, and nothing was recorded: there is no such copy any more.
        follow::still_ours(u64::from(open.is_some()), doing).map(|()| false)
    }

    /// Nothing is left to be done.
    pub async fn complete(&self, migration: i64) -> Result<(), Fault> {
        sqlx::query("update liteferry.migration set state = $2, finished = now() where id = $1")
            .bind(migration)
            .bind(State::Complete.word())
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(|error| of_control(error, "record the migration's state"))
    }

    /// Steps already taken after the load, with their outcome and detail.
    pub async fn steps(&self, migration: i64) -> Result<Vec<(String, String, String)>, Fault> {
        let rows = sqlx::query("select what, outcome, detail from liteferry.step where migration_id = $1")
            .bind(migration)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| of_control(error, "read the migration's steps"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
    }

    /// How many rows of each table the target refused, by the ledger's reason.
    pub async fn refusals(&self, migration: i64) -> Result<Vec<Refusal>, Fault> {
        let doing = "count the refused rows";
        // Each of them stands there whole.
        let rows = sqlx::query(
            "select source_table, reason, count(*) / count(distinct column_name) from liteferry.ledger
             where migration_id = $1 and split_part(reason, ':', 1) = 'refused' group by 1, 2 order by 1, 3 desc, 2",
        )
        .bind(migration)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| of_control(error, doing))?;
        let refusal = |row: &sqlx::postgres::PgRow| {
            let rows = u64::try_from(row.get::<i64, _>(2)).expect("a count is not negative");
            Refusal { table: row.get(0), reason: row.get(1), rows }
        };
        Ok(rows.iter().map(refusal).collect())
    }

    pub async fn record_verdict(&self, migration: i64, report: &str) -> Result<(), Fault> {
        sqlx::query("insert into liteferry.verdict (migration_id, success, report) values ($1, ($2::jsonb ->> 'success')::boolean, $2::jsonb)")
            .bind(migration)
            .bind(report)
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(|error| of_control(error, "record the verdict"))
    }

    pub async fn note(&self, what: &str, detail: &str) -> Result<(), Fault> {
        sqlx::query("insert into liteferry.journal (what, detail) values ($1, $2)")
            .bind(what)
            .bind(detail)
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(|error| of_control(error, "write the journal"))
    }

    /// What holds until something changes, and is found anew by each daemon: it stands there once.
    pub async fn note_once(&self, what: &str, detail: &str) -> Result<(), Fault> {
        let sql = "insert into liteferry.journal (what, detail) select $1, $2
                   where not exists (select from liteferry.journal where what = $1 and detail = $2)";
        sqlx::query(sql)
            .bind(what)
            .bind(detail)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(|error| of_control(error, "write the journal"))
    }

    /// Forgets a migration: drops the tables it created (`create` mode) or gives back what it suspended, and its records.
    pub async fn forget(&self, migration: &Migration) -> Result<(), Fault> {
        let doing = "forget the earlier copy";
        let routes = self.routes(migration.id).await?;
        let suspended = self.suspended(migration.id).await?;
        let forgotten = self.pool.transact(doing, async |tx| {
            match migration.mode {
                Mode::Create => {
                    for (route, _) in &routes {
                        run(tx, &format!("drop table if exists {} cascade", route.target.sql()), doing)
                            .await?;
                    }
                }
                Mode::Existing if migration.state == State::Complete => {}
                Mode::Existing => {
                    for statement in &suspended {
                        run(tx, statement.fallback.as_ref().unwrap_or(&statement.sql), doing).await?;
                    }
                }
            }
            sqlx::query("delete from liteferry.migration where id = $1")
                .bind(migration.id)
                .execute(&mut **tx)
                .await
                .map_err(|error| of_control(error, doing))
        });
        forgotten.await.map(drop)
    }
}

/// Rows of a table that the target refused for one reason.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub table: String,
    pub reason: String,
    pub rows: u64,
}

/// A range and how far it has come.
#[derive(Clone, Debug)]
pub struct RangeState {
    pub range: Range,
    pub rows: u64,
    pub held: u64,
    pub done: bool,
}

pub(super) async fn run(tx: &mut Transaction<'_, Postgres>, sql: &str, doing: &str) -> Result<(), Fault> {
    // The text comes from the plan, whose names and literals all went through the quoting functions.
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(|error| of_control(error, doing))
}

/// All of them at once, however many: a round trip each would be most of a large schema's setup.
async fn record_routes(tx: &mut Transaction<'_, Postgres>, migration: i64, plan: &Plan) -> Result<(), Fault> {
    let tables = &plan.tables;
    let sources: Vec<&str> = tables.iter().map(|table| table.route.source.as_str()).collect();
    let compared: Vec<bool> = tables.iter().map(|table| table.role == TableRole::Compared).collect();
    let routes: Vec<String> =
        tables.iter().map(|table| record::route_to_json(&table.route).to_string()).collect();
    sqlx::query(
        "insert into liteferry.route (migration_id, ordinal, source_table, compared, route)
         select $1, at - 1, source, compared, route::jsonb
         from unnest($2::text[], $3::boolean[], $4::text[]) with ordinality as r (source, compared, route, at)",
    )
    .bind(migration)
    .bind(&sources)
    .bind(&compared)
    .bind(&routes)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(|error| of_control(error, "record the routes"))
}

async fn record_spans(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    beginning: &Beginning<'_>,
) -> Result<(), Fault> {
    let (mut tables, mut ordinals, mut from, mut to) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (table, spans) in beginning.plan.tables.iter().zip(beginning.spans) {
        for (ordinal, span) in (0i32..).zip(spans) {
            tables.push(table.route.source.as_str());
            ordinals.push(ordinal);
            from.push(span.from);
            to.push(span.to);
        }
    }
    // Their numbers tell the order in which they are read.
    sqlx::query(
        "insert into liteferry.range (migration_id, source_table, ordinal, from_rowid, to_rowid)
         select $1, source, ordinal, first, last
         from unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[]) with ordinality as s (source, ordinal, first, last, at)
         order by at",
    )
    .bind(migration)
    .bind(&tables)
    .bind(&ordinals)
    .bind(&from)
    .bind(&to)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(|error| of_control(error, "record the ranges"))
}

async fn record_renamed(
    tx: &mut Transaction<'_, Postgres>,
    migration: i64,
    plan: &Plan,
) -> Result<(), Fault> {
    for renamed in &plan.renamed {
        sqlx::query("insert into liteferry.renamed values ($1, $2, $3, $4, $5)")
            .bind(migration)
            .bind(renamed.kind)
            .bind(&renamed.table)
            .bind(&renamed.source)
            .bind(&renamed.target)
            .execute(&mut **tx)
            .await
            .map_err(|error| of_control(error, "record the renamed names"))?;
    }
    Ok(())
}

pub fn unreadable(what: &str) -> Fault {
    Fault::fatal("state_unreadable", format!("read a {what} from schema liteferry"))
        .with_remedy("run the version of liteferry that began this copy, or begin anew with --restart")
}
