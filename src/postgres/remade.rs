//! Tables of the target that somebody made anew, or a column of them: `alter column … using`, a column that was dropped and added again, a
//! part that was detached. Their rows are others then, and no trigger has fired. None fires for a table or a column that is gone either.

use super::connect::Session;
use super::fault;
use super::patience::{self, answered};
use crate::model::fault::Fault;
use crate::model::name::PgName;
use crate::plan::route::Route;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// A table that is not made of what it was.
pub struct Made {
    pub id: i64,
    /// Whether its rows may be others, or have a column less; else one came.
    pub remade: bool,
    now: String,
}

const MADE: &str = include_str!("sql/made.sql");
const NOTE: &str = "update liteferry.captured c set made = now.made::jsonb, suspect = c.suspect or now.remade
    from unnest($2::bigint[], $3::text[], $4::bool[]) as now (id, made, remade)
    where c.migration_id = $1 and c.id = now.id";
const LOOK: &str = "look what the target's tables are made of";

/// Nothing is locked, and nothing written. A table that is gone, or bears another name, is the fault.
pub async fn made_otherwise(
    session: &Session,
    migration: i64,
    tables: &BTreeMap<i64, Arc<Route>>,
) -> Result<Vec<Made>, Fault> {
    let (ids, names): (Vec<i64>, Vec<String>) =
        tables.iter().map(|(id, route)| (*id, route.target.sql())).unzip();
    let asked = async {
        let of: &[(&(dyn ToSql + Sync), Type)] =
            &[(&ids, Type::INT8_ARRAY), (&names, Type::TEXT_ARRAY), (&migration, Type::INT8)];
        session.query_typed(MADE, of).await.map_err(|error| fault::of(error, LOOK))
    };
    let rows = answered(patience::SMALL, LOOK, asked).await?;
    let made = |row: &Row| {
        let id: i64 = row.get(0);
        let now: Option<String> = row.get(1);
        let now = now.ok_or_else(|| is_gone(&tables[&id].target))?;
        Ok(Made { id, now, remade: row.get(2) })
    };
    rows.iter().map(made).collect()
}

fn is_gone(table: &PgName) -> Fault {
    Fault::fatal("schema_drift", format!("find {table} in the target")).with_remedy(
        "somebody dropped the table, or gave it another name: put it back under the name that it had. What its rows lack then is found by comparing",
    )
}

/// From now on they are taken as they were found; the rows of those that were made anew are to be compared.
pub async fn note_made(session: &Session, migration: i64, made: &[Made]) -> Result<(), Fault> {
    let ids: Vec<i64> = made.iter().map(|one| one.id).collect();
    let now: Vec<&str> = made.iter().map(|one| one.now.as_str()).collect();
    let remade: Vec<bool> = made.iter().map(|one| one.remade).collect();
    let noted = async {
        session
            .execute(NOTE, &[&migration, &ids, &now, &remade])
            .await
            .map(drop)
            .map_err(|error| fault::of(error, "note what the target's tables are made of"))
    };
    answered(patience::SMALL, LOOK, noted).await
}
