//! `copy`: one shot, resumable, with its proof.

use super::progress::Progress;
use super::session::open;
use super::{Ending, Failure, Shared, print};
use crate::engine::copy::{Copied, Earlier, Listing, copy as copy_all};
use crate::engine::prepare::Values;
use crate::engine::report::{Report, findings_to_json};
use crate::journal::store::State;
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Write the report as JSON into FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Drop what an earlier copy into the same schema made, and begin anew
    #[arg(long)]
    restart: bool,
}

pub async fn copy(shared: &Shared, args: &CopyArgs) -> Result<Ending, Failure> {
    let opened = open(shared, Values::Surveyed).await?;
    let earlier = if args.restart { Earlier::Forget } else { Earlier::Resume };
    let listing = Listing(usize::try_from(opened.settings.validate.rows_listed_max).expect("32 bits fit"));
    let progress = Progress::new();
    let copied = copy_all(&opened.request, (earlier, listing), &progress).await;
    progress.finish();
    let ending = tell(shared, copied?, args.report.as_deref())?;
    opened.close().await?;
    Ok(ending)
}

/// Prints how a copy or a validation ended, and writes its report.
pub fn tell(shared: &Shared, copied: Copied, file: Option<&Path>) -> Result<Ending, Failure> {
    match copied {
        Copied::Blocked(findings) => {
            tell_blocked(shared, &findings);
            Ok(Ending::Badly)
        }
        Copied::Done { report, earlier } => {
            tell_done(shared, &report, earlier);
            if let Some(file) = file {
                write_report(file, &report)?;
            }
            Ok(if report.success() { Ending::Well } else { Ending::Badly })
        }
    }
}

fn tell_blocked(shared: &Shared, findings: &[Finding]) {
    if shared.json {
        println!("{:#}", json!({ "success": false, "findings": findings_to_json(findings) }));
    } else {
        print!("{}", print::findings(findings));
        println!("\nnothing was written");
    }
}

fn tell_done(shared: &Shared, report: &Report, earlier: Option<State>) {
    if shared.json {
        println!("{:#}", report.to_json());
        return;
    }
    match earlier {
        Some(State::Complete) => println!("the copy was complete already; this is its proof as of now\n"),
        Some(State::Loading | State::Finishing) => println!("went on with the earlier copy\n"),
        None => {}
    }
    print!("{}{}", print::report(report), print::findings(&report.findings));
}

fn write_report(file: &Path, report: &Report) -> Result<(), Failure> {
    std::fs::write(file, format!("{:#}\n", report.to_json())).map_err(|error| {
        let fault = Fault::fatal("report_unwritable", format!("write the report to {}", file.display()));
        Failure::Fault(
            fault.with_source(error).with_remedy("name a file in a directory that you may write to"),
        )
    })
}
