//! `status`: what the running daemon says of itself.

use super::client::Client;
use super::output::say;
use super::session::load_settings;
use super::table::{cell, cells, table};
use super::{Ending, Failure, Shared, print};
use serde_json::Value;

pub async fn status(shared: &Shared) -> Result<Ending, Failure> {
    let client = Client::new(&load_settings(shared)?);
    let status = client.get("/v1/status").await?;
    let tables = client.get("/v1/tables").await?;
    if shared.json {
        let mut all = status;
        all["tables"] = tables["tables"].clone();
        say(&format!("{all:#}\n"))?;
    } else {
        say(&told(&status, &tables["tables"]))?;
    }
    Ok(Ending::Well)
}

fn told(status: &Value, tables: &Value) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
    let up = |side: &Value| if side["up"] == true { "" } else { ", not reached" };
    let (source, target, lag) = (&status["source"], &status["target"], &status["lag"]);
    row("phase", cell(&status["phase"]));
    row("state", cell(&status["run"]["state"]));
    let reason = &status["run"]["reason"];
    if !reason.is_null() {
        row("because", format!("{} [{}]", cell(&reason["sentence"]), cell(&reason["code"])));
        row("what to do", cell(&reason["remedy"]));
    }
    row("source", format!("{}{}", cell(&source["path"]), up(source)));
    row("target", format!("{}, schema {}{}", cell(&target["address"]), cell(&target["schema"]), up(target)));
    row("behind", format!("{} changes, {:.1} s", lag["changes"], lag["seconds"].as_f64().unwrap_or(0.0)));
    row("position", format!("{} of {}", cell(&target["position"]["seq"]), cell(&source["seq"])));
    let (wal, log) = (&source["wal_bytes"], &source["log_rows"]);
    row("in the source", format!("{wal} bytes of WAL, {log} lines of the change table"));
    row("validation", validation(&status["validation"]));
    row("up", format!("{} s, version {}", status["uptime_seconds"], cell(&status["version"])));
    let width = rows.iter().map(|row| row[0].len()).max().unwrap_or(0);
    let head: String =
        rows.iter().map(|row| format!("{:width$}  {}\n", row[0], print::shown(&row[1]))).collect();
    let fields = ["id", "source", "target", "state", "rows"];
    let listed = cells(tables, &fields);
    if listed.is_empty() { head } else { format!("{head}\n{}", table(&fields, &listed)) }
}

fn validation(validation: &Value) -> String {
    let state = cell(&validation["state"]);
    if validation["verdict"].is_null() {
        return format!("{state}, no verdict yet");
    }
    let age = validation["age_seconds"].as_f64().unwrap_or(0.0);
    let (verdict, differences) = (cell(&validation["verdict"]), &validation["differences"]);
    format!("{state}, {age:.0} s ago: {verdict}, {differences} differences")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_without_a_verdict_and_one_with_are_told() {
        assert_eq!(validation(&json!({ "state": "idle", "verdict": null })), "idle, no verdict yet");
        let ended = json!({ "state": "running", "verdict": "equal", "age_seconds": 9.6, "differences": 0 });
        assert_eq!(validation(&ended), "running, 10 s ago: equal, 0 differences");
        let told = told(&json!({ "phase": "a\u{1b}b", "run": { "reason": { "code": "x" } } }), &json!([]));
        assert!(told.starts_with("phase          a\\u{1b}b\n") && told.contains("[x]"), "{told}");
    }
}
