//! The gate of rows that break a constraint which comes back at the switch.

use super::{Gate, LOOK_AGAIN, Looked, Reading, Readings, RowsOf, UNKNOWN, Violated, counted, spell};
use crate::model::finding::listed;

pub(super) fn constraints(readings: &Readings) -> Gate {
    let may_be_broken = readings.limits.keys_may_be_broken;
    let limit = if may_be_broken { "any" } else { "no row breaks one" };
    let gate = |reading: String| Reading::new("constraints", reading, limit);
    let Some(Looked { violated, age }) = &readings.constraints else {
        return gate(UNKNOWN.to_owned()).unknown(LOOK_AGAIN);
    };
    let ago = spell(*age);
    if violated.is_empty() {
        return gate(format!("no row broke one {ago} ago")).open();
    }
    let name = |violated: &Violated| format!("{} ({})", violated.constraint, counted(violated.rows, "row"));
    let broken = format!("{}, {ago} ago", listed(violated.iter().map(name)));
    if may_be_broken {
        return gate(format!("{broken}: NOT VALID after the switch")).open();
    }
    let of = |whose: RowsOf| violated.iter().any(|violated| violated.whose == whose);
    let remedies = [(RowsOf::Sqlite, BROKEN_IN_SQLITE), (RowsOf::Target, BROKEN_IN_TARGET)];
    let remedies: Vec<&str> =
        remedies.into_iter().filter(|(whose, _)| of(*whose)).map(|(_, remedy)| remedy).collect();
    gate(broken).shut(remedies.join(" "))
}

const BROKEN_IN_SQLITE: &str = "Mend these rows in SQLite, where the application writes: they are carried over like any change, and looked for again by \
    itself. Where a row that they refer to is there and PostgreSQL lacks it, that one is held back: `liteferry ledger` says why. \
    Or leave them as they are with [switch] broken_keys = \"not-valid\"; in `create` mode a key that the application never kept to \
    (0 for none) is left out by [tables] no_foreign_key.";
const BROKEN_IN_TARGET: &str = "Rows of a table that is not followed are in PostgreSQL alone: mend or delete them there, or put what they refer to into SQLite \
    again; they are looked for again by itself. Or leave them as they are with [switch] broken_keys = \"not-valid\".";
