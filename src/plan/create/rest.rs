//! The rest of a database: what belongs to no table of the plan, and is left out and said so.

use super::Ground;
use crate::model::finding::Finding;
use crate::model::schema::LeftOutKind;
use crate::plan::conflicts::conflicts;
use crate::plan::overrides::Letters;
use crate::plan::{Renamed, uncomputable};
use std::collections::BTreeSet;

/// So many names are told of.
const EXAMPLES: usize = 3;

/// What no table of the plan speaks of.
pub(super) fn findings(ground: Ground<'_>) -> Vec<Finding> {
    let Ground { schema, overrides, .. } = ground;
    let excluded = schema.tables.iter().filter(|table| !overrides.includes(&table.name));
    let excluded =
        excluded.map(|table| Finding::note("table_left_out", &table.name, "the settings leave it out"));
    let left_out = schema.left_out.iter().map(|left_out| match &left_out.kind {
        LeftOutKind::Uncomputable { why } => uncomputable(&left_out.name, why),
        LeftOutKind::Virtual { module } => {
            let text = format!(
                "it is a virtual table of {module}, which PostgreSQL does not have: it is not copied"
            );
            let remedy = "carry its rows over in an ordinary table, or build the feature anew in PostgreSQL";
            Finding::warning("virtual_table", &left_out.name, text).with_remedy(remedy)
        }
        LeftOutKind::Shadow => {
            Finding::note("shadow_table", &left_out.name, "it belongs to a virtual table and is not copied")
        }
    });
    let triggers = schema.triggers.iter().map(|trigger| {
        let text =
            format!("the trigger on {} is not translated; what it wrote is copied as rows", trigger.table);
        let remedy = "write it anew for PostgreSQL if the application relies on it";
        Finding::warning("trigger_not_translated", &trigger.name, text).with_remedy(remedy)
    });
    let unread = schema.unread.iter().map(|name| {
        let text = "something of its declaration could not be read: what depends on that is not created";
        Finding::warning("declaration_unread", name, text).with_remedy("compare it with the target by hand")
    });
    let wide = (!schema.encoding.is_empty() && schema.encoding != "UTF-8").then(|| {
        let text = format!("its texts are {} and cross as UTF-8", schema.encoding);
        Finding::note("encoding_converted", "database", text)
    });
    let told = excluded.chain(left_out).chain(triggers).chain(unread).chain(wide);
    told.chain(conflicts(schema, overrides)).chain(capital(ground)).collect()
}

/// Names that PostgreSQL does not find without quotes.
fn capital(Ground { schema, overrides, .. }: Ground<'_>) -> Option<Finding> {
    let tables = schema.tables.iter().filter(|table| overrides.includes(&table.name));
    let of_tables = tables
        .flat_map(|table| [&table.name].into_iter().chain(table.columns.iter().map(|column| &column.name)));
    let names = of_tables.chain(schema.views.iter().map(|view| &view.name)).map(String::as_str);
    let is_folded = |name: &&str| Letters::Lower.of(name) != **name;
    let found: BTreeSet<&str> =
        names.filter(|_| overrides.letters == Letters::Keep).filter(is_folded).collect();
    (!found.is_empty()).then(|| {
        let text = format!(
            "names with capital letters keep them, and SQL finds them in quotes alone: {} ({})",
            found.len(),
            few(found.iter().map(ToString::to_string))
        );
        let remedy = "nothing, where an ORM writes the SQL, which quotes names; for SQL written by hand: target.names = \"lower\"";
        Finding::note("capital_letters", "database", text).with_remedy(remedy)
    })
}

/// Names that PostgreSQL has no room for, or uses itself. Nothing asks for an index by its name.
pub(super) fn renamed(renamed: &[Renamed]) -> Option<Finding> {
    let told = |name: &Renamed| match name.kind {
        "index" => None,
        "column" => Some(format!("{}.{} → {}", name.table, name.source, name.target)),
        _ => Some(format!("{} → {}", name.source, name.target)),
    };
    let told: Vec<String> = renamed.iter().filter_map(told).collect();
    (!told.is_empty()).then(|| {
        let text = format!(
            "{} of its names are others in PostgreSQL, which cuts off what is longer than 63 bytes and has columns of its own ({})",
            told.len(),
            few(told.iter().cloned())
        );
        let remedy = "let the application's SQL use the new names there, all of which `check` shows and liteferry.renamed keeps, or rename them in \
                      SQLite beforehand";
        Finding::warning("names_changed", "database", text).with_remedy(remedy)
    })
}

fn few(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = if names.len() > EXAMPLES { ", …" } else { "" };
    names.take(EXAMPLES).collect::<Vec<_>>().join(", ") + more
}
