//! The report of `copy` and `validate`: for people's files and for scripts.

use crate::flow::validate::{Difference, TableVerdict};
use crate::model::finding::Finding;
use crate::plan::route::Route;
use crate::telemetry::labels::Direction;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug)]
pub struct Report {
    /// Which side is the source: PostgreSQL on the way back.
    pub direction: Direction,
    /// Like `target` without a password.
    pub source: String,
    pub target: String,
    pub started: SystemTime,
    pub finished: SystemTime,
    pub tables: Vec<TableVerdict>,
    /// What was made in a weaker form, left out, or noticed on the way.
    pub findings: Vec<Finding>,
    /// How long each part took, in order.
    pub phases: Vec<(&'static str, Duration)>,
    /// Somebody wrote to the source while it was read.
    pub source_changed: bool,
}

/// Measures the parts of a command one after the other.
#[derive(Debug)]
pub struct Stopwatch {
    since: Instant,
    pub phases: Vec<(&'static str, Duration)>,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch { since: Instant::now(), phases: Vec::new() }
    }

    /// Ends the running part under this name; the next one begins.
    pub fn lap(&mut self, phase: &'static str) {
        self.phases.push((phase, self.since.elapsed()));
        self.since = Instant::now();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Equal,
    EqualWithLedger,
    Differs,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::EqualWithLedger => "equal + ledger",
            Verdict::Differs => "differs",
        }
    }
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        if !self.tables.iter().all(TableVerdict::equal) {
            Verdict::Differs
        } else if self.ledger_rows() > 0 {
            Verdict::EqualWithLedger
        } else {
            Verdict::Equal
        }
    }

    pub fn success(&self) -> bool {
        self.verdict() != Verdict::Differs
    }

    pub fn ledger_rows(&self) -> u64 {
        self.tables.iter().map(|table| table.ledger + table.refused).sum()
    }

    pub fn to_json(&self) -> Value {
        let total = |rows: fn(&TableVerdict) -> u64| self.tables.iter().map(rows).sum::<u64>();
        json!({
            "direction": self.direction.word(),
            "source": self.source,
            "target": self.target,
            "started": timestamp(self.started),
            "finished": timestamp(self.finished),
            "seconds": self.phases.iter().map(|(phase, took)| ((*phase).to_owned(), json!(took.as_secs_f64()))).collect::<serde_json::Map<_, _>>(),
            "verdict": self.verdict().words(),
            "success": self.success(),
            "source_changed": self.source_changed,
            "total_source": total(|table| table.source_rows),
            "total_target": total(|table| table.target_rows),
            "ledger_rows": self.ledger_rows(),
            "tables": self.tables.iter().map(table_to_json).collect::<Vec<_>>(),
            "findings": findings_to_json(&self.findings),
        })
    }
}

pub fn findings_to_json(findings: &[Finding]) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "severity": finding.severity.word(),
            "code": finding.code,
            "subject": finding.subject,
            "text": finding.text,
            "remedy": finding.remedy,
        })
    };
    findings.iter().map(finding).collect()
}

fn table_to_json(verdict: &TableVerdict) -> Value {
    let route: &Arc<Route> = &verdict.route;
    let difference =
        |found: &Difference| json!({ "kind": found.kind.word(), "key": found.key, "columns": found.columns });
    json!({
        "table": route.source,
        "target_table": route.target.to_string(),
        "source_rows": verdict.source_rows,
        "target_rows": verdict.target_rows,
        "digest_source": verdict.digest_source,
        "digest_target": verdict.digest_target,
        "equal": verdict.equal(),
        "missing": verdict.missing,
        "extra": verdict.extra,
        "different": verdict.different,
        "ledger": verdict.ledger,
        "refused": verdict.refused,
        "errors": errors(verdict),
        "differences": verdict.listed.iter().map(difference).collect::<Vec<_>>(),
    })
}

fn errors(verdict: &TableVerdict) -> Vec<&'static str> {
    if verdict.ledger_agrees {
        Vec::new()
    } else {
        vec!["the ledger does not hold what the source's cells call for"]
    }
}

/// RFC 3339 in UTC, to the second.
pub fn timestamp(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
