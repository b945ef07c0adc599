//! Rows of SQLite that refer to nothing: they break a foreign key that PostgreSQL enforces, and SQLite does not by itself. What is found
//! before anything began is a warning; while changes are followed, the gate `constraints` counts in PostgreSQL.

use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::plan::reference::Reference;
use crate::plan::route::Route;
use crate::plan::{Mode, Plan, Statement};
use crate::sqlite::orphans::{Counted, count};
use crate::sqlite::source::SqliteSource;
use std::time::{Duration, Instant};

/// Rows are counted up to here.
const ROWS_MAX: u32 = 1_000;
/// Looking at all keys takes no longer: each look is one read transaction, and the survey has read everything already.
const LOOK_MAX: Duration = Duration::from_secs(5);

pub async fn look(
    (source, read_time): (&SqliteSource, Duration),
    plan: &Plan,
) -> Result<Vec<Finding>, Fault> {
    let routes: Vec<&Route> = plan.tables.iter().map(|table| &table.route).collect();
    let until = Instant::now() + LOOK_MAX;
    let (mut findings, mut unread) = (Vec::new(), 0_u64);
    for statement in keys(plan) {
        let reference = Reference::of(&statement.sql).and_then(|key| key.in_source(&routes));
        let Some(reference) = reference else { continue };
        let (sql, left) = (reference.orphans_sql(ROWS_MAX), until.saturating_duration_since(Instant::now()));
        match source.read(move |db| count(db, &sql, left.min(read_time))).await? {
            Counted::Rows(0) => {}
            Counted::Rows(rows) => findings.push(broken(plan.mode, &reference, rows)),
            Counted::Unknown => unread += 1,
        }
    }
    let text = || {
        format!(
            "whether rows break {unread} of the foreign keys takes longer to find out than is looked here"
        )
    };
    findings.extend((unread > 0).then(|| {
        Finding::note("foreign_key_unread", "foreign keys", text())
            .with_remedy("`run` finds it out in PostgreSQL, beside its work: the gate `constraints` says")
    }));
    Ok(findings)
}

/// Those that PostgreSQL gets at the end of a copy, or at the switch.
fn keys(plan: &Plan) -> impl Iterator<Item = &Statement> {
    let ours = plan.tables.iter().flat_map(|table| &table.foreign_keys);
    ours.chain(plan.suspended.iter().map(|suspended| &suspended.restore))
}

fn broken(mode: Mode, reference: &Reference<String>, rows: u64) -> Finding {
    let subject = format!("{}.{}", reference.table, reference.columns.join(", "));
    let least = if rows < u64::from(ROWS_MAX) { "" } else { "at least " };
    let text =
        format!("rows refer to none of {}, and break the foreign key: {least}{rows}", reference.parent);
    let left_out = match mode {
        Mode::Create => " where the application never kept to it, leave it out (tables.no_foreign_key);",
        Mode::Existing => "",
    };
    Finding::warning("foreign_key_broken", subject, text).with_remedy(format!(
        "mend them in SQLite;{left_out} or take it NOT VALID: `copy` does, a switch with switch.broken_keys = \"not-valid\""
    ))
}
