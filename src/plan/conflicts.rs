//! What SQLite does in silence with a row that breaks a constraint, because the table's declaration says so: no constraint of PostgreSQL's
//! can say it. Nothing is lost by that in the migration; the application would meet errors after it.

use super::overrides::Overrides;
use crate::model::finding::Finding;
use crate::model::schema::{OnConflict, SqliteSchema, SqliteTable};

pub(super) fn conflicts(schema: &SqliteSchema, overrides: &Overrides) -> impl Iterator<Item = Finding> {
    let included = schema.tables.iter().filter(|table| overrides.includes(&table.name));
    included.filter(|table| !table.on_conflict.is_empty()).map(finding)
}

fn finding(table: &SqliteTable) -> Finding {
    let outcome = |outcome: &OnConflict| match outcome {
        OnConflict::Replace => "a new row takes the place of those in its way (on conflict replace)",
        OnConflict::Ignore => "a row that breaks it is left out without an error (on conflict ignore)",
    };
    let outcomes: Vec<&str> = table.on_conflict.iter().map(outcome).collect();
    let text = format!(
        "where its declaration says so, SQLite settles what breaks a constraint by itself: {}; PostgreSQL refuses such a statement",
        outcomes.join("; ")
    );
    Finding::warning("conflict_clause", &table.name, text).with_remedy(
        "have the application's statements say it themselves: insert … on conflict (…) do update or do nothing, which SQLite knows from 3.24 on",
    )
}
