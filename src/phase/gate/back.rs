//! The gates of the way back: before the switch whether it is laid, before a rollback whether it is walked to its end. Pure, as all gates
//! are; they never open on what nobody has looked at.

use super::{
    Compared, Gate, LOOK_AGAIN, Reading, Readings, Rows, UNKNOWN, at_most, counted, run_remedy, spell,
};
use crate::model::finding::listed;

pub(super) fn reverse_capture(readings: &Readings) -> Gate {
    let gate = |reading: String| Reading::new("reverse_capture", reading, "in place on every table");
    let Some(tables) = &readings.uncaptured else {
        return gate(UNKNOWN.to_owned()).unknown(LOOK_AGAIN);
    };
    if tables.is_empty() {
        return gate("in place".to_owned()).open();
    }
    gate(format!("missing on {}", listed(tables.iter().cloned()))).shut(
        "Run `liteferry rollback` and then `liteferry phase validate`: it is put in place on the way in.",
    )
}

pub(super) fn reverse_tables(readings: &Readings) -> Gate {
    let gate = |reading: String| Reading::new("reverse_tables", reading, "each can be written back");
    let Some(tables) = &readings.unwritable else {
        return gate(UNKNOWN.to_owned()).unknown(LOOK_AGAIN);
    };
    if tables.is_empty() {
        return gate("each can be written back".to_owned()).open();
    }
    gate(listed(tables.iter().cloned())).shut(
        "Drop the indexes of SQLite that need such a collation or function until the migration is over, or leave the table out by \
         [tables] exclude: nothing could come back into it.",
    )
}

pub(super) fn reverse_canary(readings: &Readings) -> Gate {
    if readings.reverse.canary {
        return Reading::new("reverse_canary", "back in SQLite", "back in SQLite").open();
    }
    Reading::new("reverse_canary", "not back in SQLite", "back in SQLite")
        .shut("Wait a moment; if it stays so, `liteferry status` tells what is wrong with the way back.")
}

/// It is told, and hinders nobody: what the way back cannot spell is kept in a lossless form.
pub(super) fn reverse_columns(readings: &Readings) -> Gate {
    let reading = match readings.one_way_columns.as_slice() {
        [] => "every column has a way back".to_owned(),
        columns => format!("without a faithful way back: {}", listed(columns.iter().cloned())),
    };
    Reading::new("reverse_columns", reading, "told only").open()
}

/// It is told, and hinders nobody: whose tables they are is not known.
pub(super) fn reverse_tables_beside(readings: &Readings) -> Gate {
    let reading = match readings.left_behind.as_slice() {
        [] => "no table holds rows that would stay".to_owned(),
        tables => format!("rows that would stay in PostgreSQL: {}", listed(tables.iter().cloned())),
    };
    Reading::new("reverse_tables_beside", reading, "told only").open()
}

/// It is told, and hinders nobody: no value is lost by it, and only the application knows which it reads.
pub(super) fn reverse_spellings(readings: &Readings) -> Gate {
    let of_column = |(column, values): &(String, u64)| format!("{column} ({})", counted(*values, "value"));
    let reading = match readings.spelt_otherwise.as_slice() {
        [] => "every value is spelt as its column's are".to_owned(),
        columns => format!(
            "SQLite holds values in another spelling than their column's, which the application may not read: {}; `liteferry ledger` lists them",
            listed(columns.iter().map(of_column))
        ),
    };
    Reading::new("reverse_spellings", reading, "told only").open()
}

pub(super) fn reverse_link(readings: &Readings) -> Gate {
    if let Some(remedy) = run_remedy(readings.run) {
        return Reading::new("reverse_link", readings.run.word(), "running").shut(remedy);
    }
    if readings.reverse.running {
        return Reading::new("reverse_link", "running", "running").open();
    }
    Reading::new("reverse_link", "not running", "running")
        .shut("Wait a moment; if it stays so, `liteferry status` tells what is wrong with the way back.")
}

pub(super) fn reverse_lag(readings: &Readings) -> Gate {
    let (lag, limit) = (readings.reverse.lag, readings.limits.lag_max);
    let reading = Reading::new("reverse_lag", spell(lag), at_most(limit));
    if lag <= limit {
        return reading.open();
    }
    reading.shut("Wait until the writes are fewer, or raise [switch] max_lag_ms.")
}

/// Whoever has to go back now does not wait for a comparison: what came back was written from snapshots. But rows that are known to
/// differ would be lost with PostgreSQL, and having them read again opens this.
pub(super) fn reverse_validation(readings: &Readings) -> Gate {
    let gate = |reading: String| Reading::new("reverse_validation", reading, "no row known to differ");
    let Some(Compared { rows, age }) = readings.reverse.compared else {
        return gate("not compared yet".to_owned()).open();
    };
    let ago = spell(age);
    match rows {
        Rows::Equal => gate(format!("equal, {ago} ago")).open(),
        Rows::ReadAgain(rows) => gate(format!("{} read again, {ago} ago", counted(rows, "row"))).open(),
        Rows::Differ(rows) => gate(format!("{} of SQLite differ, {ago} ago", counted(rows, "row"))).shut(
            "Run `liteferry validate`, which lists them, with `--repair`: they are read again from PostgreSQL.",
        ),
    }
}
