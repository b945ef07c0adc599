//! `journal`: what was done to migrations into this target, as the running daemon reads it.

use super::client::Client;
use super::output::say;
use super::session::load_settings;
use super::table::{cell, table};
use super::{Ending, Failure, Shared};
use crate::engine::records::ENTRIES_MAX;
use clap::Args;
use serde_json::Value;

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
    say(&told(&found["entries"]))?;
    Ok(Ending::Well)
}

/// As one reads: down to the present.
fn told(entries: &Value) -> String {
    let entries = entries.as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<Vec<String>> = entries.iter().rev().flat_map(rows).collect();
    table(&["at", "what", "detail"], &rows)
}

/// What was done, and below it what that changed, by whom and why, where the journal knows it.
fn rows(entry: &Value) -> Vec<Vec<String>> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    // To the second: the rest is in `--json`.
    let at: String = text("at").replace('T', " ").chars().take("2026-11-21 10:20:42".len()).collect();
    let mut rows = vec![vec![at, cell(&entry["what"]), cell(&entry["detail"])]];
    let mut more = Vec::new();
    if text("before") != text("after") {
        more.push(format!("{} → {}", text("before"), text("after")));
    }
    if !text("actor").is_empty() && !text("detail").contains(text("actor")) {
        more.push(format!("by {}", text("actor")));
    }
    if !text("reason").is_empty() {
        more.push(format!("because: {}", text("reason")));
    }
    if !more.is_empty() {
        rows.push(vec![String::new(), String::new(), more.join(", ")]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_tells_what_was_changed_by_whom_and_why_where_that_is_known() {
        let entries = json!([
            { "at": "2026-11-21T10:20:42.123Z", "what": "switch", "detail": "begun", "actor": "ann (http)",
              "before": "validate", "after": "validate, switch begun", "reason": "moving day" },
            { "at": "2026-11-21T10:20:35Z", "what": "command", "detail": "pause by ann (http)",
              "actor": "ann (http)", "before": null, "after": null, "reason": null },
        ]);
        assert_eq!(
            told(&entries),
            "at                   what     detail\n\
             2026-11-21 10:20:35  command  pause by ann (http)\n\
             2026-11-21 10:20:42  switch   begun\n\
             \x20                             validate → validate, switch begun, by ann (http), because: moving day\n"
        );
        assert_eq!(told(&json!([])), "at  what  detail\n");
    }
}
