//! `status`: what the running daemon says of itself.

use super::client::{Client, HALTED};
use super::gates::UNREAD;
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

/// Of a daemon that was started while PostgreSQL is away.
const UNREAD_PHASE: &str = "not known yet: the target's records have not been read";

fn told(status: &Value, tables: &Value) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
    let up = |side: &Value| if side["up"] == true { "" } else { ", not reached" };
    let (source, target, lag) = (&status["source"], &status["target"], &status["lag"]);
    let phase = &status["phase"];
    row("phase", if phase.is_null() { UNREAD_PHASE.to_owned() } else { cell(phase) });
    row("state", cell(&status["run"]["state"]));
    let reason = &status["run"]["reason"];
    if !reason.is_null() {
        row("because", format!("{} [{}]", cell(&reason["sentence"]), cell(&reason["code"])));
        row("what to do", cell(&reason["remedy"]));
    }
    if let Some(copied) = copied(status) {
        row("copied", copied);
    }
    ways(status, &mut row);
    row("source", format!("{}{}", cell(&source["path"]), up(source)));
    row("target", format!("{}, schema {}{}", cell(&target["address"]), cell(&target["schema"]), up(target)));
    // Nobody measures it then: what was known last is not so now.
    if status["run"]["state"] != HALTED && status["phase"] != "done" {
        let behind = lag["seconds"].as_f64().map_or_else(
            || "not known yet".to_owned(),
            |seconds| format!("{}, {seconds:.1} s", counted(&lag["changes"], "change")),
        );
        row("behind", behind);
    }
    row("position", format!("{} of {}", cell(&target["position"]["seq"]), cell(&source["seq"])));
    let (wal, log) = (counted(&source["wal_bytes"], "byte"), counted(&source["log_rows"], "line"));
    row("in the source", format!("{wal} of WAL, {log} of the change table"));
    row("validation", validation(&status["validation"]));
    row("up", format!("{} s, version {}", status["uptime_seconds"], cell(&status["version"])));
    let width = rows.iter().map(|row| row[0].len()).max().unwrap_or(0);
    let head: String =
        rows.iter().map(|row| format!("{:width$}  {}\n", row[0], print::shown(&row[1]))).collect();
    let fields = ["id", "source", "target", "state", "rows"];
    let listed = cells(tables, &fields);
    if listed.is_empty() { head } else { format!("{head}\n{}", table(&fields, &listed)) }
}

/// How far the backfill has come, while it is under way.
fn copied(status: &Value) -> Option<String> {
    let backfill = status["backfill"].as_object().filter(|_| status["phase"] == "backfill")?;
    let tables = || backfill["tables"].as_object().into_iter().flat_map(|tables| tables.values());
    let sum = |field: &str| tables().filter_map(|table| table[field].as_u64()).sum::<u64>();
    let left = backfill["eta_seconds"].as_f64().map(|seconds| format!(", {seconds:.0} s left"));
    Some(format!("{} of some {} rows{}", sum("rows"), sum("total"), left.unwrap_or_default()))
}

/// Where the application writes and reads, and where the migration can go from here.
fn ways(status: &Value, row: &mut impl FnMut(&str, String)) {
    let (machine, reverse, pause) = (&status["machine"], &status["reverse"], &status["pause"]);
    if let Some(crossing) = machine["crossing"].as_str() {
        row("under way", crossing.to_owned());
    }
    if !status["routing"].is_null() {
        row("writes", format!("in {}", cell(&status["routing"]["writes"])));
    }
    if machine["reads"].as_u64().is_some_and(|reads| reads > 0) {
        row("reads", format!("{} % in postgres", machine["reads"]));
    }
    if !reverse.is_null() {
        let canary = if reverse["canary"] == true { "" } else { ", its canary has not come round" };
        let lag = reverse["lag_seconds"].as_f64().unwrap_or(0.0);
        row("way back", format!("{}, {lag:.1} s behind{canary}", counted(&reverse["changes"], "change")));
    }
    let goals =
        [("validate", "validate"), ("switch", "switch"), ("rollback", "dual-write"), ("cleanup", "cleanup")];
    for (command, goal) in goals {
        // What leads to where the migration is already is always possible, and tells nothing; from its end nothing leads on.
        if status["phase"] == goal || status["phase"] == "done" {
            continue;
        }
        let gates = &status["gates"][command];
        let closed = gates["closed"].as_array().map_or(&[][..], Vec::as_slice);
        let impossible = gates["because"]["code"] == "not_in_this_phase";
        if gates["open"] == true {
            row(command, "open".to_owned());
        } else if gates["because"]["code"] == UNREAD {
            row(command, "not known yet: its gates have not been looked at".to_owned());
        } else if !closed.is_empty() && !impossible {
            let names: Vec<String> = closed.iter().map(cell).collect();
            row(command, format!("{} of {} gates closed: {}", names.len(), gates["of"], names.join(", ")));
        }
    }
    if status["rollback"]["possible"] == false {
        row("rollback", format!("not possible: {}", cell(&status["rollback"]["reason"])));
    }
    for (name, told) in [("expected_seconds", "expected"), ("measured_seconds", "was")] {
        if let Some(seconds) = pause[name].as_f64() {
            row("write pause", format!("{told} {:.0} ms", seconds * 1000.0));
        }
    }
    let answer = &status["answer"];
    if !answer.is_null() {
        let became = match answer["refused"]["sentence"].as_str() {
            Some(sentence) => format!("refused: {sentence}"),
            None => "done".to_owned(),
        };
        row("last order", format!("{}, {became}", answer["order"]));
    }
}

fn validation(validation: &Value) -> String {
    let state = cell(&validation["state"]);
    if validation["verdict"].is_null() {
        return format!("{state}, no verdict yet");
    }
    let age = validation["age_seconds"].as_f64().unwrap_or(0.0);
    let (verdict, differences) = (cell(&validation["verdict"]), &validation["differences"]);
    let against = match validation["direction"].as_str() {
        Some("reverse") => "SQLite against PostgreSQL, its source: ",
        Some(_) | None => "",
    };
    format!("{state}, {age:.0} s ago: {against}{verdict}, {}", counted(differences, "difference"))
}

fn counted(number: &Value, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_without_a_verdict_and_one_with_are_told() {
        assert_eq!(validation(&json!({ "state": "idle", "verdict": null })), "idle, no verdict yet");
        let ended = json!({ "state": "running", "verdict": "equal", "age_seconds": 9.6, "differences": 0 });
        let differs = json!({ "state": "idle", "verdict": "differs", "age_seconds": 1, "differences": 1 });
        assert_eq!(validation(&differs), "idle, 1 s ago: differs, 1 difference");
        assert_eq!(validation(&ended), "running, 10 s ago: equal, 0 differences");
        let back = json!({ "state": "idle", "direction": "reverse", "verdict": "differs", "age_seconds": 2, "differences": 1 });
        assert_eq!(
            validation(&back),
            "idle, 2 s ago: SQLite against PostgreSQL, its source: differs, 1 difference"
        );
        let unread = super::told(&json!({ "phase": null }), &json!([]));
        assert!(unread.starts_with(&format!("phase          {UNREAD_PHASE}\n")), "{unread}");
        let told = told(&json!({ "phase": "a\u{1b}b", "run": { "reason": { "code": "x" } } }), &json!([]));
        assert!(told.contains("\nbehind "), "{told}");
        let halted = super::told(&json!({ "run": { "state": "halted" } }), &json!([]));
        assert!(!halted.contains("\nbehind "), "{halted}");
        assert!(told.starts_with("phase          a\\u{1b}b\n") && told.contains("[x]"), "{told}");
    }

    #[test]
    fn a_backfill_tells_how_far_it_has_come() {
        let tables = json!({ "a": { "rows": 5, "total": 10 }, "b": { "rows": 1, "total": null } });
        let status = |phase: &str, eta: Value| json!({ "phase": phase, "backfill": { "tables": tables, "eta_seconds": eta } });
        assert_eq!(copied(&status("backfill", json!(61.4))).as_deref(), Some("6 of some 10 rows, 61 s left"));
        assert_eq!(copied(&status("backfill", Value::Null)).as_deref(), Some("6 of some 10 rows"));
        assert_eq!(copied(&status("dual-write", Value::Null)), None);
    }

    #[test]
    fn the_way_is_told_as_far_as_it_is_known() {
        let told = |status: Value| {
            let mut rows = Vec::new();
            ways(&status, &mut |name, text| rows.push(format!("{name}: {text}")));
            rows
        };
        assert_eq!(told(json!({})), [""; 0]);
        assert_eq!(told(json!({ "phase": "done", "gates": { "cleanup": { "open": true } } })), [""; 0]);
        let closed =
            json!({ "open": false, "because": { "code": "gates_closed" }, "closed": ["lag"], "of": 12 });
        let far =
            json!({ "open": false, "because": { "code": "not_in_this_phase" }, "closed": ["a"], "of": 2 });
        let status = json!({
            "phase": "validate",
            "machine": { "crossing": "switch", "paused": false, "reads": 10 },
            "routing": { "writes": "sqlite" },
            "reverse": { "changes": 3, "lag_seconds": 0.26, "canary": false },
            "gates": {
                "switch": closed,
                "cleanup": far,
                "rollback": { "open": false, "because": { "code": "gates_unread" }, "closed": [] },
                "validate": { "open": true, "closed": [] },
            },
            "rollback": { "possible": false, "reason": "no canary" },
            "pause": { "expected_seconds": 0.04, "measured_seconds": null },
            "answer": { "order": 4, "refused": { "sentence": "a gate is closed: lag" } },
        });
        assert_eq!(
            told(status),
            [
                "under way: switch",
                "writes: in sqlite",
                "reads: 10 % in postgres",
                "way back: 3 changes, 0.3 s behind, its canary has not come round",
                "switch: 1 of 12 gates closed: lag",
                "rollback: not known yet: its gates have not been looked at",
                "rollback: not possible: no canary",
                "write pause: expected 40 ms",
                "last order: 4, refused: a gate is closed: lag",
            ]
        );
    }
}
