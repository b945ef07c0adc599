//! `validate`: compares every row of both sides; writes nothing but the verdict.

use super::copy::{ReportFile, tell};
use super::progress::Progress;
use super::session::open;
use super::{Ending, Failure, Shared};
use crate::engine::copy::{Listing, validate_alone};
use crate::engine::prepare::Values;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Only this table; may be given more than once
    #[arg(long, value_name = "T")]
    table: Vec<String>,
    /// Write the report as JSON into FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub async fn validate(shared: &Shared, args: &ValidateArgs) -> Result<Ending, Failure> {
    let file = args.report.as_deref().map(ReportFile::create).transpose()?;
    let opened = open(shared, Values::Surveyed).await?;
    let listing = Listing(usize::try_from(opened.settings.validate.rows_listed_max).expect("32 bits fit"));
    let progress = Progress::new();
    let validated = validate_alone(&opened.request, listing, &args.table, &progress).await;
    progress.finish();
    let ending = tell(shared, validated?, file)?;
    opened.close().await?;
    Ok(ending)
}
