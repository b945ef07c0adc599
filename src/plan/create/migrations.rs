//! Applications whose own migrations could make PostgreSQL's schema: told, because a translated one is not what they expect.
//!
//! It decides nothing: the tables are translated and copied like any other.

use super::Ground;
use crate::model::finding::Finding;
use crate::plan::existing::bookkeeping::bookkeeping;
use std::collections::BTreeMap;

/// One finding a tool, about the first of its tables.
pub(super) fn findings(ground: Ground<'_>) -> Vec<Finding> {
    let included = ground.schema.tables.iter().filter(|table| ground.overrides.includes(&table.name));
    let mut tools = BTreeMap::new();
    for table in included {
        if let Some(found) = bookkeeping(table) {
            tools.entry(found.tool).or_insert(&table.name);
        }
    }
    tools.into_iter().map(|(tool, table)| finding(tool, table)).collect()
}

fn finding(tool: &str, table: &str) -> Finding {
    let text = format!(
        "{tool} made this schema and can make PostgreSQL's too, with the types that the application expects there; those of a \
         translated schema may differ (bigint for integer or interval, text for uuid or an empty column), and statements that rely on \
         them fail after the switch"
    );
    let remedy = "run the application's migrations against an empty database and fill that: [target] mode = \"existing\", \
                  existing_rows = \"replace\"";
    Finding::warning("migrations_at_hand", table, text).with_remedy(remedy)
}
