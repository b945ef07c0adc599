//! `journal`: what was done to migrations into this target, as the running daemon reads it.

use super::client::Client;
use super::output::say;
use super::session::load_settings;
use super::table::{cells, table};
use super::{Ending, Failure, Shared};
use crate::engine::records::ENTRIES_MAX;
use clap::Args;

#[derive(Debug, Args)]
pub struct JournalArgs {
    /// How many entries, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(ENTRIES_MAX)))]
    limit: u32,
}

pub async fn journal(shared: &Shared, args: &JournalArgs) -> Result<Ending, Failure> {
    let client = Client::new(&load_settings(shared)?);
    let found = client.get(&format!("/v1/journal?limit={}", args.limit)).await?;
    if shared.json {
        say(&format!("{found:#}\n"))?;
        return Ok(Ending::Well);
    }
    let fields = ["at", "what", "actor", "before", "after", "reason", "detail"];
    let mut rows = cells(&found["entries"], &fields);
    // As one reads: down to the present.
    rows.reverse();
    say(&table(&fields, &rows))?;
    Ok(Ending::Well)
}
