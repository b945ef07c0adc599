//! Foreign keys that wait for the switch in `create` mode, as the application's schema has them now: its migrations rename, add and drop
//! tables and columns while the keys wait.
//!
//! Pure. It changes no key of a table that neither changed itself nor refers to one that did.

use super::route::Route;
use super::{Plan, Statement, TablePlan};
use crate::model::name::PgName;
use crate::model::schema::{SqliteSchema, SqliteTable};
use std::collections::BTreeSet;

/// What a table refers to from now on, instead of all that it referred to.
#[derive(Clone, Debug)]
pub struct Referring {
    /// Its name in SQLite.
    pub table: String,
    pub target: PgName,
    pub foreign_keys: Vec<Statement>,
}

/// `plan`: of the schema as it is followed now, by these routes. `changed`: tables, by their names before and after, that are not what they
/// were.
pub fn referring(
    schema: &SqliteSchema,
    (plan, routes): (&Plan, &[&Route]),
    changed: &BTreeSet<String>,
) -> Vec<Referring> {
    let is_changed = |name: &str| changed.iter().any(|changed| changed.eq_ignore_ascii_case(name));
    let concerned = |table: &&SqliteTable| {
        is_changed(&table.name) || table.foreign_keys.iter().any(|key| is_changed(&key.parent))
    };
    let concerned: BTreeSet<&str> =
        schema.tables.iter().filter(concerned).map(|table| table.name.as_str()).collect();
    // A name that this schema would not be given today is none that its statements could use.
    let stands = |table: &TablePlan| {
        let of_table = |route: &&&Route| route.source == table.route.source;
        routes.iter().find(of_table).is_some_and(|route| route.target == table.route.target)
    };
    let concerned = plan.tables.iter().filter(|table| concerned.contains(table.route.source.as_str()));
    concerned
        .filter(|table| stands(table))
        .map(|table| Referring {
            table: table.route.source.clone(),
            target: table.route.target.clone(),
            foreign_keys: table.foreign_keys.clone(),
        })
        .collect()
}
