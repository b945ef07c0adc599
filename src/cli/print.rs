//! What a person reads: findings, plans and reports on standard output; and how a failure is told.

use crate::engine::report::{Report, Verdict};
use crate::flow::validate::TableVerdict;
use crate::model::fault::Fault;
use crate::model::finding::{Finding, Severity};
use crate::plan::{Plan, TableRole};
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
        for (index, finding) in of_it.iter().enumerate() {
            line(
                &mut out,
                &format!("  [{}] {}: {}", finding.code, shown(&finding.subject), shown(&finding.text)),
            );
            // Of findings that are mended alike the last one says how, for all.
            let is_said_later = of_it
                .get(index + 1)
                .is_some_and(|next| next.code == finding.code && next.remedy == finding.remedy);
            if !finding.remedy.is_empty() && !is_said_later {
                line(&mut out, &format!("      → {}", shown(&finding.remedy)));
            }
        }
    }
    out
}

/// Cells that stand in the ledger by themselves, and rows that stand there whole.
fn ledger(report: &Report) -> String {
    let sum = |of: fn(&TableVerdict) -> u64| report.tables.iter().map(of).sum::<u64>();
    let (cells, rows) = (sum(|table| table.ledger), sum(|table| table.refused));
    let counted = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    match (cells, rows) {
        (_, 0) => counted(cells, "cell"),
        (0, _) => counted(rows, "refused row"),
        (_, _) => format!("{} and {}", counted(cells, "cell"), counted(rows, "refused row")),
    }
}

pub fn report(report: &Report) -> String {
    let mut out = String::new();
    let width = report
        .tables
        .iter()
        .map(|table| shown(&table.route.source).chars().count())
        .max()
        .unwrap_or(0)
        .clamp(5, 48);
    line(
        &mut out,
        &format!(
            "{:width$}  {:>12}  {:>12}  {:>8}  verdict",
            "table", "source rows", "target rows", "ledger"
        ),
    );
    for table in &report.tables {
        let verdict = if table.equal() {
            if table.ledger + table.refused > 0 { "equal + ledger".to_owned() } else { "equal".to_owned() }
        } else {
            format!("{} missing, {} extra, {} different", table.missing, table.extra, table.different)
        };
        let name = shown(&table.route.source);
        let (rows, ledger) = (table.source_rows, table.ledger + table.refused);
        line(
            &mut out,
            &format!("{name:width$}  {rows:>12}  {:>12}  {ledger:>8}  {verdict}", table.target_rows),
        );
        for difference in table.listed.iter().take(SHOWN_DIFFERENCES) {
            let columns = if difference.columns.is_empty() {
                String::new()
            } else {
                format!(" in {}", difference.columns.join(", "))
            };
            let key: String = shown(&difference.key).chars().take(SHOWN_KEY_CHARS).collect();
            line(&mut out, &format!("    {} row {key}{}", difference.kind.word(), shown(&columns)));
        }
        if table.listed.len() > SHOWN_DIFFERENCES {
            line(&mut out, "    … more in the report (--report FILE)");
        }
        if !table.ledger_agrees {
            line(&mut out, "    the ledger does not hold what the source's cells call for");
        }
    }
    if report.source_changed {
        line(
            &mut out,
            "\nSomebody wrote to the source meanwhile. Rows written after they were read are not in the target:",
        );
        line(&mut out, "stop the application and run the copy again, with --restart if rows differ.");
    }
    let seconds = report.finished.duration_since(report.started).unwrap_or_default().as_secs_f64();
    let ledger = match report.verdict() {
        Verdict::EqualWithLedger => format!(" ({} in liteferry.ledger)", ledger(report)),
        Verdict::Equal | Verdict::Differs => String::new(),
    };
    line(&mut out, &format!("\nverdict: {}{ledger}, {seconds:.1} s", report.verdict().words()));
    out
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
        let told = findings(&[note("a", "mend"), note("b", "mend"), note("c", "leave"), note("d", "")]);
        assert_eq!(
            told,
            "\n4 notes:\n  [odd] a: is odd\n  [odd] b: is odd\n      → mend\n  [odd] c: is odd\n      → leave\n  [odd] d: is odd\n"
        );
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
