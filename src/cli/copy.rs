//! `copy`: one shot, resumable, with its proof.

use super::confirm::confirm;
use super::output::say;
use super::progress::Progress;
use super::session::open;
use super::{Ending, Failure, Shared, print};
use crate::engine::copy::{Copied, Listing, copy as copy_all};
use crate::engine::daemon::moved::copied_over;
use crate::engine::earlier::{Earlier, finished};
use crate::engine::prepare::Values;
use crate::engine::report::{Report, findings_to_json};
use crate::journal::store::State;
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use clap::Args;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Write the report as JSON into FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Drop what an earlier copy into the same schema made, and begin anew
    #[arg(long)]
    restart: bool,
    /// Where nobody is to be asked before the tables of a finished copy are dropped
    #[arg(long, requires = "restart")]
    yes: bool,
}

pub async fn copy(shared: &Shared, args: &CopyArgs) -> Result<Ending, Failure> {
    let file = args.report.as_deref().map(ReportFile::create).transpose()?;
    let opened = open(shared, Values::Surveyed).await?;
    let archive = opened.settings.cleanup.archive.as_deref();
    if let Some(moved) = copied_over(&opened.request, archive).await? {
        tell_blocked(shared, &[moved])?;
        opened.close().await?;
        return Ok(Ending::Badly);
    }
    let earlier = if args.restart { Earlier::Forget } else { Earlier::Resume };
    if args.restart && !args.yes && finished(&opened.request).await? {
        // By now they may be the application's.
        confirm(&format!(
            "drop the tables of the finished copy in schema {}, with whatever was written to them since, and copy anew",
            opened.request.schema
        ))
        .await?;
    }
    let listing = Listing(usize::try_from(opened.settings.validate.rows_listed_max).expect("32 bits fit"));
    let progress = Progress::new();
    let copied = copy_all(&opened.request, (earlier, listing), &progress).await;
    progress.finish();
    let ending = tell(shared, copied?, file)?;
    opened.close().await?;
    Ok(ending)
}

/// Prints how a copy or a validation ended, and writes its report.
pub fn tell(shared: &Shared, copied: Copied, file: Option<ReportFile>) -> Result<Ending, Failure> {
    match copied {
        Copied::Blocked(findings) => {
            tell_blocked(shared, &findings)?;
            Ok(Ending::Badly)
        }
        Copied::Done { report, earlier } => {
            // The file first: it must not want for a terminal that takes no more.
            if let Some(file) = file {
                file.write(&report.to_json())?;
            }
            tell_done(shared, &report, earlier)?;
            Ok(if report.success() { Ending::Well } else { Ending::Badly })
        }
    }
}

/// Prints why nothing was begun.
pub fn tell_blocked(shared: &Shared, findings: &[Finding]) -> Result<(), Fault> {
    if shared.json {
        let blocked = json!({ "success": false, "findings": findings_to_json(findings) });
        return say(&format!("{blocked:#}\n"));
    }
    say(&format!("{}\nnothing was written\n", print::findings(findings)))
}

fn tell_done(shared: &Shared, report: &Report, earlier: Option<State>) -> Result<(), Fault> {
    if shared.json {
        return say(&format!("{:#}\n", report.to_json()));
    }
    let before = match earlier {
        Some(State::Complete) => "the copy was complete already; this is its proof as of now\n\n",
        Some(State::Loading | State::Finishing) => "went on with the earlier copy\n\n",
        None => "",
    };
    say(&format!("{before}{}{}", print::report(&report.to_json()), print::findings(&report.findings)))
}

/// Where the report goes. Made before the work: a place that takes none is told of at once, and the report of an earlier run cannot pass
/// for one of this run.
pub struct ReportFile {
    path: PathBuf,
    file: File,
}

impl ReportFile {
    pub fn create(path: &Path) -> Result<ReportFile, Fault> {
        let file = File::create(path).map_err(|error| unwritable(path, error))?;
        Ok(ReportFile { path: path.to_owned(), file })
    }

    pub fn write(mut self, report: &Value) -> Result<(), Fault> {
        let text = format!("{report:#}\n");
        self.file.write_all(text.as_bytes()).map_err(|error| unwritable(&self.path, error))
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Fault {
    Fault::fatal("report_unwritable", format!("write the report to {}", path.display()))
        .with_source(error)
        .with_remedy("name a file in a directory that you may write to")
}
