//! `ledger`: which cells the target does not give back as they were, as the running daemon reads it, and what is to become of one of
//! them. Never their values.

use super::client::Client;
use super::commands::{Stay, give};
use super::output::say;
use super::session::load_settings;
use super::table::{cells, table};
use super::{Ending, Failure, Shared};
use crate::engine::records::ENTRIES_MAX;
use clap::{Args, Subcommand};
use serde_json::json;
use url::form_urlencoded::Serializer;

#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// How many entries, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(ENTRIES_MAX)))]
    limit: u32,
    /// Only of this table
    #[arg(long, value_name = "T")]
    table: Option<String>,
    #[command(subcommand)]
    settle: Option<Settle>,
}

#[derive(Debug, Subcommand)]
enum Settle {
    /// Have the row of an entry read again from the source
    Retry(Entry),
    /// Take what the target holds for right
    Accept(Entry),
}

#[derive(Debug, Args)]
struct Entry {
    /// The number of the entry, or `all`
    #[arg(value_parser = which)]
    id: String,
    /// Stay until it is done or refused
    #[arg(long)]
    wait: bool,
}

fn which(text: &str) -> Result<String, String> {
    let is_number = text.parse::<u32>().is_ok_and(|number| number > 0);
    if text == "all" || is_number {
        Ok(text.to_owned())
    } else {
        Err("the number of an entry, or `all`".to_owned())
    }
}

pub async fn ledger(shared: &Shared, args: &LedgerArgs) -> Result<Ending, Failure> {
    let client = Client::new(&load_settings(shared)?);
    if let Some(settle) = &args.settle {
        let (action, Entry { id, wait }) = match settle {
            Settle::Retry(entry) => ("retry", entry),
            Settle::Accept(entry) => ("accept", entry),
        };
        let order = (&*format!("/v1/ledger/{id}"), json!({ "action": action }));
        return give(shared, &client, order, Stay::from(wait)).await;
    }
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &args.limit.to_string());
    if let Some(table) = &args.table {
        query.append_pair("table", table);
    }
    let found = client.get(&format!("/v1/ledger?{}", query.finish())).await?;
    if shared.json {
        say(&format!("{found:#}\n"))?;
        return Ok(Ending::Well);
    }
    let fields = ["id", "table", "key", "column", "class", "standing", "recorded", "accepted", "reason"];
    say(&table(&fields, &cells(&found["entries"], &fields)))?;
    Ok(Ending::Well)
}
