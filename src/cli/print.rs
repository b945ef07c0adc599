//! What a person reads: findings, plans and reports on standard output; and how a failure is told.

use crate::engine::report::Verdict;
use crate::model::fault::Fault;
use crate::model::finding::{Finding, Severity, said_once, subjects};
use crate::plan::{Plan, TableRole};
use serde_json::Value;
use std::error::Error;
use std::fmt::Write;

/// Differences shown per table; the report file holds more.
const SHOWN_DIFFERENCES: usize = 10;
/// Notes shown in one block.
const SHOWN_KEY_CHARS: usize = 60;

pub fn plan(plan: &Plan) -> String {
    let mut out = String::new();
    for table in &plan.tables {
        let role = match table.role {
            TableRole::Copied => "",
            TableRole::Compared => "  (compared only)",
        };
        let (source, target) = (shown(&table.route.source), shown(&table.route.target.to_string()));
        line(&mut out, &format!("{source} → {target}  {} rows{role}", table.rows));
        for note in &table.notes {
            line(&mut out, &format!("    {}", shown(note)));
        }
    }
    for renamed in &plan.renamed {
        let of =
            if renamed.table.is_empty() { String::new() } else { format!(" of {}", shown(&renamed.table)) };
        line(
            &mut out,
            &format!("renamed: {} {}{of} → {}", renamed.kind, shown(&renamed.source), shown(&renamed.target)),
        );
    }
    out
}

pub fn findings(findings: &[Finding]) -> String {
    let mut out = String::new();
    for severity in [Severity::Blocker, Severity::Warning, Severity::Note] {
        let of_it: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == severity).collect();
        if of_it.is_empty() {
            continue;
        }
        line(
            &mut out,
            &format!("\n{} {}{}:", of_it.len(), severity.word(), if of_it.len() == 1 { "" } else { "s" }),
        );
        let told = said_once(of_it.iter().copied());
        for (index, alike) in told.iter().enumerate() {
            let first = alike[0];
            line(
                &mut out,
                &format!("  [{}] {}: {}", first.code, shown(&subjects(alike)), shown(&first.text)),
            );
            // Of findings that are mended alike the last one says how, for all.
            let is_said_later = told
                .get(index + 1)
                .is_some_and(|next| next[0].code == first.code && next[0].remedy == first.remedy);
            if !first.remedy.is_empty() && !is_said_later {
                line(&mut out, &format!("      → {}", shown(&first.remedy)));
            }
        }
    }
    out
}

/// A report as `Report::to_json` writes it, wherever it was made.
pub fn report(report: &Value) -> String {
    let mut out = String::new();
    if report["direction"] == "reverse" {
        line(&mut out, "SQLite against PostgreSQL, which is written and so the source:\n");
    }
    let tables = list(&report["tables"]);
    let width = tables.iter().map(|table| shown(text(&table["table"])).chars().count()).max().unwrap_or(0);
    let width = width.clamp(5, 48);
    line(
        &mut out,
        &format!(
            "{:width$}  {:>12}  {:>12}  {:>8}  verdict",
            "table", "source rows", "target rows", "ledger"
        ),
    );
    for table in tables {
        put_table(&mut out, table, width);
    }
    if report["source_changed"] == true {
        line(
            &mut out,
            "\nSomebody wrote to the source meanwhile. Rows written after they were read are not in the target:",
        );
        line(&mut out, "stop the application and run the copy again, with --restart if rows differ.");
    }
    let parts = report["seconds"].as_object();
    let seconds: f64 = parts.map_or(0.0, |parts| parts.values().filter_map(Value::as_f64).sum());
    let verdict = text(&report["verdict"]);
    let held = if verdict == Verdict::EqualWithLedger.words() {
        format!(" ({} in liteferry.ledger)", ledger(tables))
    } else {
        String::new()
    };
    line(&mut out, &format!("\nverdict: {verdict}{held}, {seconds:.1} s"));
    out
}

fn put_table(out: &mut String, table: &Value, width: usize) {
    let count = |name: &str| table[name].as_u64().unwrap_or(0);
    let ledger = count("ledger") + count("refused");
    let verdict = match (table["equal"] == true, ledger) {
        (true, 0) => "equal".to_owned(),
        (true, _) => "equal + ledger".to_owned(),
        (false, _) => {
            let (missing, extra, different) = (count("missing"), count("extra"), count("different"));
            format!("{missing} missing, {extra} extra, {different} different")
        }
    };
    let (name, source, target) = (shown(text(&table["table"])), count("source_rows"), count("target_rows"));
    line(out, &format!("{name:width$}  {source:>12}  {target:>12}  {ledger:>8}  {verdict}"));
    let differences = list(&table["differences"]);
    for difference in differences.iter().take(SHOWN_DIFFERENCES) {
        let columns: Vec<&str> = list(&difference["columns"]).iter().map(text).collect();
        let columns = if columns.is_empty() { String::new() } else { format!(" in {}", columns.join(", ")) };
        let key: String = shown(text(&difference["key"])).chars().take(SHOWN_KEY_CHARS).collect();
        line(out, &format!("    {} row {key}{}", text(&difference["kind"]), shown(&columns)));
    }
    if differences.len() > SHOWN_DIFFERENCES {
        line(out, "    … more in the report (--report FILE)");
    }
    for error in list(&table["errors"]) {
        line(out, &format!("    {}", shown(text(error))));
    }
}

/// Cells that stand in the ledger by themselves, and rows that stand there whole.
fn ledger(tables: &[Value]) -> String {
    let sum = |of: &str| tables.iter().filter_map(|table| table[of].as_u64()).sum::<u64>();
    let (cells, rows) = (sum("ledger"), sum("refused"));
    let counted = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    match (cells, rows) {
        (_, 0) => counted(cells, "cell"),
        (0, _) => counted(rows, "refused row"),
        (_, _) => format!("{} and {}", counted(cells, "cell"), counted(rows, "refused row")),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What, why, and what to do next, in that order.
pub fn fault(fault: &Fault) -> String {
    let mut out = format!("liteferry: {}", shown(&fault.to_string()));
    let mut source = fault.source();
    while let Some(error) = source {
        write!(out, "\n  because {}", shown(&error.to_string())).expect("a string takes all");
        source = error.source();
    }
    if !fault.remedy.is_empty() {
        write!(out, "\n  → {}", shown(&fault.remedy)).expect("a string takes all");
    }
    out
}

/// Names are a stranger's text: control characters would move the cursor or end the line.
pub fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|letter| {
            if letter.is_control() { letter.escape_default().collect::<Vec<_>>() } else { vec![letter] }
        })
        .collect()
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_move_the_cursor() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn findings_that_are_mended_alike_say_how_once() {
        let note = |subject: &str, remedy: &str| Finding::note("odd", subject, "is odd").with_remedy(remedy);
        let even = Finding::note("odd", "e", "is even").with_remedy("leave");
        let told = findings(&[note("a", "mend"), note("b", "mend"), note("c", "leave"), even, note("d", "")]);
        assert_eq!(
            told,
            "\n5 notes:\n  [odd] a, b: is odd\n      → mend\n  [odd] c: is odd\n  [odd] e: is even\n      → leave\n  [odd] d: is odd\n"
        );
    }

    #[test]
    fn what_is_told_of_many_in_the_same_words_is_told_once() {
        let note = |subject: &str, text: &str| Finding::note("odd", subject, text);
        let told = findings(&[note("a", "is odd"), note("b", "is even"), note("c\n", "is odd")]);
        assert_eq!(told, "\n3 notes:\n  [odd] a, c\\n: is odd\n  [odd] b: is even\n");
        let many: Vec<Finding> = (0..52).map(|at| note(&format!("t{at}"), "is odd")).collect();
        assert!(findings(&many).ends_with(", t49 and 2 more (`--json` names all): is odd\n"));
    }

    #[test]
    fn a_fault_says_what_why_and_what_next() {
        let told = fault(
            &Fault::fatal("source_missing", "open app.db")
                .with_remedy("check source.path")
                .with_source("no such file"),
        );
        assert_eq!(
            told,
            "liteferry: cannot open app.db [source_missing]\n  because no such file\n  → check source.path"
        );
    }
}
