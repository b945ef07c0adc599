//! What somebody put on the target's tables while they are followed, though it was taken away for that time: foreign keys, triggers, CHECKs.
//!
//! A foreign key refuses rows for their order, and may delete others; a trigger may change anything. Neither is ever taken for the fault of a
//! row. It looks, and changes nothing.

use super::connect::Session;
use super::fault::{self, refusal};
use super::patience::{self, answered};
use crate::model::fault::{Fault, FaultClass};
use crate::model::name::PgName;
use crate::plan::reverse::TRIGGERS;
use crate::plan::route::Route;
use std::fmt;
use tokio_postgres::types::ToSql;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    pub table: PgName,
    pub kind: String,
    pub name: String,
}

/// Which of the tables' own rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// They were taken away with the rest.
    Disturb,
    /// They were made with the tables.
    Stay,
}

/// How the sessions that write stand to triggers and foreign keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    Origin,
    Replica,
    /// As this session does.
    Here,
}

pub const TARGET_DISTURBED: &str = "target_disturbed";
const NEWCOMERS: &str = include_str!("sql/newcomers.sql");

pub async fn newcomers(
    session: &Session,
    tables: &[String],
    (writers, checks): (Writers, Checks),
) -> Result<Vec<Newcomer>, Fault> {
    let doing = "look for what disturbs the target's tables";
    let role = match writers {
        Writers::Origin => Some("origin"),
        Writers::Replica => Some("replica"),
        Writers::Here => None,
    };
    let (checks, ours) = (checks == Checks::Disturb, TRIGGERS.as_slice());
    let parameters: [&(dyn ToSql + Sync); 4] = [&tables, &role, &checks, &ours];
    let asked = async {
        let statement = session.prepared(NEWCOMERS).await.map_err(|error| fault::of(error, doing))?;
        session.query(&statement, &parameters).await.map_err(|error| fault::of(error, doing))
    };
    let rows = answered(patience::SMALL, doing, asked).await?;
    let newcomer = |row: &tokio_postgres::Row| Newcomer {
        table: PgName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        kind: row.get(2),
        name: row.get(3),
    };
    Ok(rows.iter().map(newcomer).collect())
}

/// Whether a refusal speaks of the row. Where it speaks of the table instead, as it was made beside us, it is told as that fault. `session` is
/// the one that was refused, in a state to be asked.
pub async fn is_the_rows_own(session: &Session, route: &Route, refused: &Fault) -> Result<(), Fault> {
    let Some(refusal) = refusal(refused) else { return Ok(()) };
    let of_route = |name: &String| route.columns.iter().any(|column| column.target == *name);
    if refusal.sqlstate == NOT_NULL
        && let Some(column) = refusal.column.as_ref().filter(|column| !of_route(column))
    {
        let doing = format!("write table {}, whose column {column} the source does not have", route.target);
        return Err(Fault::fatal("schema_drift", doing).with_remedy(
            "the column was made beside liteferry, takes no NULL and has no default: give it a default, let it take NULL, or drop it; what was \
             written meanwhile waits, and it goes on by itself",
        ));
    }
    if refusal.sqlstate != FOREIGN_KEY && !refusal.sqlstate.starts_with(RAISED) {
        return Ok(());
    }
    let found = newcomers(session, &[route.target.sql()], (Writers::Here, Checks::Stay)).await?;
    found.first().map_or(Ok(()), |first| Err(disturbed(first)))
}

const NOT_NULL: &str = "23502";
const FOREIGN_KEY: &str = "23503";
/// By a function of PL/pgSQL.
const RAISED: &str = "P0";

/// Of a table that is not followed.
pub const FROM_OUTSIDE: &str = "foreign key from outside";
/// From another table that is followed.
pub const INHERITANCE: &str = "inheritance";

pub fn disturbed(by: &Newcomer) -> Fault {
    if by.kind == FROM_OUTSIDE {
        let doing = format!("follow into a table that {by} points at");
        return Fault::new(FaultClass::Transient, TARGET_DISTURBED, doing).with_remedy(
            "`run` takes it away until the switch: it would refuse rows that go, or take its own along",
        );
    }
    let doing = format!("follow into a table that bears {by}");
    if !["trigger", "foreign key", "constraint"].contains(&by.kind.as_str()) {
        return Fault::new(FaultClass::Transient, TARGET_DISTURBED, doing)
            .with_remedy("it was put there beside liteferry: `run` halts by its name, and says what to do, until it is gone");
    }
    Fault::new(FaultClass::Transient, TARGET_DISTURBED, doing).with_remedy(
        "it was put there beside liteferry: `run` takes it away until the switch, like those that stood there at the beginning; for a `copy` \
         take it away by hand",
    )
}

impl fmt::Display for Newcomer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.as_str() {
            INHERITANCE => {
                write!(out, "rows of {}, which is made a part of {} (inheritance)", self.table, self.name)
            }
            kind => write!(out, "{kind} \"{}\" of {}", self.name, self.table),
        }
    }
}
