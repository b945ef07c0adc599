//! `validate`: compares every row of both sides. A running daemon is asked to do it; without one, or where it has halted, it is done here, and nothing but the
//! verdict is written, or with `--repair` the keys of rows that differ into the source's change table.

use super::client::{Client, HALTED, for_the_reason};
use super::copy::{ReportFile, tell};
use super::output::{complain, say};
use super::progress::Progress;
use super::session::{Opened, load_settings, open};
use super::{Ending, Failure, Shared, print};
use crate::engine::copy::{Copied, Listing, validate_alone};
use crate::engine::daemon;
use crate::engine::prepare::Values;
use crate::engine::report::Verdict;
use crate::model::fault::Fault;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::sleep;

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Only this table; may be given more than once
    #[arg(long, value_name = "T")]
    table: Vec<String>,
    /// Write the report as JSON into FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Have the rows that differ read again from the source
    #[arg(long)]
    repair: bool,
}

pub async fn validate(shared: &Shared, args: &ValidateArgs) -> Result<Ending, Failure> {
    let file = args.report.as_deref().map(ReportFile::create).transpose()?;
    if let Some(client) = Client::of_migration(&load_settings(shared)?).await? {
        return ordered(shared, args, &client, file).await;
    }
    let opened = open(shared, Values::Surveyed).await?;
    let listing = Listing(usize::try_from(opened.settings.validate.rows_listed_max).expect("32 bits fit"));
    let ending = if args.repair {
        repaired(shared, args, (&opened, listing), file).await?
    } else {
        let progress = Progress::new();
        let validated = validate_alone(&opened.request, listing, &args.table, &progress).await;
        progress.finish();
        tell(shared, validated?, file)?
    };
    opened.close().await?;
    Ok(ending)
}

/// Nobody carries the rows over now: what was found differing does so still.
async fn repaired(
    shared: &Shared,
    args: &ValidateArgs,
    (opened, listing): (&Opened, Listing),
    file: Option<ReportFile>,
) -> Result<Ending, Failure> {
    let progress = Progress::new();
    let repaired = daemon::repair(&opened.request, listing, &args.table, &progress).await;
    progress.finish();
    let report = repaired?;
    let differing: u64 =
        report.tables.iter().map(|table| table.missing + table.extra + table.different).sum();
    let ending = tell(shared, Copied::Done { report, earlier: None }, file)?;
    if differing > 0 {
        complain(&format!(
            "liteferry: rows named in the change table, for the daemon to carry over when it runs: {differing}\n"
        ));
    }
    Ok(ending)
}

const COMPARE: &str = "have both sides compared";
const LOOK_EVERY: Duration = Duration::from_millis(250);
const TELL_EVERY: Duration = Duration::from_secs(5);

async fn ordered(
    shared: &Shared,
    args: &ValidateArgs,
    client: &Client,
    file: Option<ReportFile>,
) -> Result<Ending, Failure> {
    let order = client.post("/v1/validation", &json!({ "repair": args.repair })).await?;
    let found = answer(client, &order).await?;
    if let Some(again) = found["read_again"].as_u64().filter(|again| *again > 0) {
        complain(&format!("liteferry: rows that differed and were read again from the source: {again}\n"));
    }
    let mut report = found["report"].clone();
    keep_named(&mut report, &args.table)?;
    if let Some(file) = file {
        file.write(&report)?;
    }
    say(&if shared.json { format!("{report:#}\n") } else { print::report(&report) })?;
    Ok(if report["success"] == true { Ending::Well } else { Ending::Badly })
}

/// Waits for the verdict that answers the order, as long as the daemon can still give one.
async fn answer(client: &Client, taken: &Value) -> Result<Value, Fault> {
    let (began, mut told) = (Instant::now(), Instant::now());
    let order = taken["order"].as_u64().unwrap_or(0);
    loop {
        let found = client.get("/v1/validation").await?;
        let status = client.get("/v1/status").await?;
        // Its orders are counted anew, and it knows nothing of ours.
        if status["process"] != taken["process"] {
            return Err(Fault::fatal("daemon_restarted", COMPARE)
                .with_remedy("the daemon was started anew and has forgotten the order: give it again"));
        }
        if found["answered"].as_u64().is_some_and(|answered| answered >= order) {
            return match &found["refused"] {
                Value::Null => Ok(found),
                reason => Err(for_the_reason(Fault::fatal("daemon_refused", COMPARE), reason)),
            };
        }
        let run = &status["run"];
        if run["state"] == HALTED {
            return Err(for_the_reason(Fault::fatal("daemon_halted", COMPARE), &run["reason"]));
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let (seconds, state) = (began.elapsed().as_secs(), run["state"].as_str().unwrap_or_default());
            complain(&format!("validate: the daemon ({state}) compares both sides, {seconds} s\n"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Leaves only the tables that were asked for, where some were, and the verdict on them.
fn keep_named(report: &mut Value, named: &[String]) -> Result<(), Fault> {
    if named.is_empty() {
        return Ok(());
    }
    let tables = report["tables"].as_array().cloned().unwrap_or_default();
    let is = |table: &Value, name: &String| {
        table["table"].as_str().is_some_and(|table| table.eq_ignore_ascii_case(name))
    };
    if let Some(name) = named.iter().find(|name| !tables.iter().any(|table| is(table, name))) {
        return Err(Fault::fatal("no_such_table", format!("validate table {name}"))
            .with_remedy("name a table as SQLite does; `liteferry status` lists them"));
    }
    let kept: Vec<Value> =
        tables.into_iter().filter(|table| named.iter().any(|name| is(table, name))).collect();
    let sum = |fields: &[&str]| -> u64 {
        let counts = kept.iter().flat_map(|table| fields.iter().map(|field| table[*field].as_u64()));
        counts.flatten().sum()
    };
    let held = sum(&["ledger", "refused"]);
    let verdict = match (kept.iter().all(|table| table["equal"] == true), held) {
        (false, _) => Verdict::Differs,
        (true, 0) => Verdict::Equal,
        (true, _) => Verdict::EqualWithLedger,
    };
    report["verdict"] = json!(verdict.words());
    report["success"] = json!(verdict != Verdict::Differs);
    report["total_source"] = json!(sum(&["source_rows"]));
    report["total_target"] = json!(sum(&["target_rows"]));
    report["ledger_rows"] = json!(held);
    report["tables"] = json!(kept);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_on_the_named_tables() {
        let table = |name: &str, equal: bool, ledger: u64| json!({ "table": name, "equal": equal, "source_rows": 2, "target_rows": 2, "ledger": ledger, "refused": 0 });
        let whole = json!({ "verdict": "differs", "success": false, "ledger_rows": 1,
            "tables": [table("a", true, 0), table("b", false, 0), table("c", true, 1)] });
        for (named, verdict) in [
            (vec![], Some("differs")),
            (vec!["A"], Some("equal")),
            (vec!["a", "c"], Some("equal + ledger")),
            (vec!["a", "b"], Some("differs")),
            (vec!["a", "d"], None),
        ] {
            let mut report = whole.clone();
            let named: Vec<String> = named.into_iter().map(str::to_owned).collect();
            let kept = keep_named(&mut report, &named);
            assert_eq!(kept.ok().and(report["verdict"].as_str()), verdict, "{named:?}");
            assert_eq!(report["success"], verdict.is_some_and(|verdict| verdict != "differs"), "{named:?}");
        }
    }
}
