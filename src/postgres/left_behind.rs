//! Tables beside those that are carried: what is written to them after the switch does not come back. It looks without a lock, at what
//! PostgreSQL knows of them by heart.

use super::connect::Session;
use super::fault;
use super::patience::{self, answered};
use crate::model::fault::Fault;
use crate::model::name::PgName;

const LEFT_BEHIND: &str = include_str!("sql/left_behind.sql");

pub async fn left_behind<'t>(
    session: &Session,
    carried: impl Iterator<Item = &'t PgName>,
) -> Result<Vec<PgName>, Fault> {
    let doing = "look for tables whose rows do not come back";
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        carried.map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let asked = async {
        let statement = session.prepared(LEFT_BEHIND).await.map_err(|error| fault::of(error, doing))?;
        session.query(&statement, &[&schemas, &names]).await.map_err(|error| fault::of(error, doing))
    };
    let rows = answered(patience::SMALL, doing, asked).await?;
    Ok(rows.iter().map(|row| PgName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect())
}
