//! `check`: the dry run. Reads both sides, prints how everything would cross; writes nothing.

use super::output::{complain, say};
use super::progress::Progress;
use super::run::journal_rule;
use super::session::{Opened, open};
use super::{Ending, Failure, Shared, print};
use crate::engine::archive::{place, unwritable_yet};
use crate::engine::begun::{Begun, under_way};
use crate::engine::bookkept::differing_records;
use crate::engine::copy::{emptying, standing_in_the_way};
use crate::engine::daemon::moved::moved_before;
use crate::engine::daemon::{findings_of_run, records_in_the_way};
use crate::engine::prepare::{Prepared, Values, prepare};
use crate::engine::report::findings_to_json;
use crate::flow::progress::Unwatched;
use crate::model::catalog::Catalog;
use crate::model::finding::{Finding, Severity};
use crate::model::name::literal;
use crate::phase::Phase;
use crate::plan::looser::uniques_refused_back;
use crate::plan::narrower::classes_refused_back;
use crate::plan::numbers::Numbers;
use crate::plan::open_to_null::{nulls_collide_back, nulls_refused_back};
use crate::plan::unspelt::unspelt;
use crate::plan::{Mode, Plan, SequencePlan, SequenceSource, Statement, TablePlan, TableRole};
use crate::sqlite::apply::uncomputed;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print every statement that would be run on the target
    #[arg(long)]
    sql: bool,
    /// Plan from the schema alone, without reading the values
    #[arg(long)]
    no_scan: bool,
}

pub async fn check(shared: &Shared, args: &CheckArgs) -> Result<Ending, Failure> {
    let values = if args.no_scan { Values::Unseen } else { Values::Surveyed };
    let opened = open(shared, values).await?;
    let begun = under_way(&opened.request).await?;
    let request = begun.as_ref().map_or_else(|| opened.request.clone(), |begun| begun.holds(&opened.request));
    let progress = Progress::new();
    let prepared = prepare(&request, &progress).await;
    progress.finish();
    let mut prepared = prepared?;
    let differing = differing_records(&request, &prepared, &Unwatched).await?;
    prepared.plan.findings.extend(differing);
    let blocking_run = find(&opened, &mut prepared, begun.as_ref()).await?;
    if shared.json {
        say(&format!("{:#}\n", to_json(&prepared, &blocking_run)))?;
    } else if args.sql {
        say(&sql(&prepared.plan, &prepared.catalog))?;
    } else {
        say(&format!("{}{}", print::plan(&prepared.plan), print::findings(&prepared.plan.findings)))?;
    }
    let blockers = prepared.plan.blockers().count();
    if args.sql && blockers > 0 && !shared.json {
        complain(&print::findings(&prepared.plan.findings));
    } else if !shared.json && !args.sql {
        let verdict = match begun.as_ref().filter(|_| blockers == 0) {
            Some(begun) => goes_on(begun.phase()),
            None => verdict(blockers),
        };
        say(&format!("{verdict}\n{}", refusal_of_run(&blocking_run)))?;
    }
    opened.close().await?;
    Ok(if blockers == 0 { Ending::Well } else { Ending::Badly })
}

/// Adds to the plan's findings what is known of the target and of the way back, and gives what keeps `run` alone from starting.
async fn find(
    opened: &Opened,
    prepared: &mut Prepared,
    begun: Option<&Begun>,
) -> Result<Vec<Finding>, Failure> {
    let mut of_run = findings_of_run(prepared, journal_rule(&opened.settings)).await?;
    of_run.extend(records_in_the_way(&opened.request).await?);
    let archive = opened.settings.cleanup.archive.as_deref();
    of_run.extend(moved_before(&opened.request, prepared, archive));
    of_run.extend(unwritable_yet(&place(prepared.source.file().path(), archive)));
    let in_the_way = standing_in_the_way(prepared);
    prepared.plan.findings.extend(in_the_way);
    let (mut blocking_run, of_run): (Vec<Finding>, Vec<Finding>) = of_run
        .into_iter()
        .filter(|finding| !prepared.plan.findings.contains(finding))
        .partition(|finding| finding.severity == Severity::Blocker);
    // A copy has no way back; who plans to follow wants to know what would not come home as it was spelt.
    let copied = prepared.plan.tables.iter().filter(|table| table.role == TableRole::Copied);
    let foreign = copied.flat_map(|TablePlan { route, .. }| {
        let source = prepared.schema.table(&route.source);
        let nulls =
            source.map(|source| [nulls_refused_back(route, source), nulls_collide_back(route, source)]);
        let target = prepared.catalog.tables.iter().find(|table| table.name == route.target);
        let target = target.filter(|_| prepared.plan.mode == Mode::Existing);
        let uniques =
            source.zip(target).and_then(|(source, target)| uniques_refused_back(route, source, target));
        let classes = source.and_then(|source| classes_refused_back(route, source));
        unspelt(route).into_iter().chain(classes).chain(nulls.into_iter().flatten().flatten()).chain(uniques)
    });
    let mut foreign: Vec<Finding> = foreign.collect();
    foreign.extend(uncomputed_back(prepared)?);
    let findings = &mut prepared.plan.findings;
    findings.extend(of_run.into_iter().chain(foreign));
    if let Some(begun) = begun {
        // The tables and rows that are there are the migration's own.
        findings.retain(|finding| finding.code != "target_not_empty");
        blocking_run.retain(|finding| finding.code != "target_not_empty");
        findings.extend(begun.without_effect(&opened.request));
    }
    Ok(blocking_run)
}

/// What SQLite would fail to compute of what the application may write after the switch.
fn uncomputed_back(prepared: &Prepared) -> Result<Vec<Finding>, Failure> {
    let mut found = Vec::new();
    for table in prepared.plan.tables.iter().filter(|table| table.role == TableRole::Copied) {
        let Some(source) = prepared.schema.table(&table.route.source) else { continue };
        let target = prepared.catalog.tables.iter().find(|target| target.name == table.route.target);
        let odd = uncomputed(prepared.source.file(), (&table.route, source))?;
        found.extend(odd.and_then(|odd| odd.finding(target)));
    }
    Ok(found)
}

fn verdict(blockers: usize) -> String {
    match blockers {
        0 => "\nready: nothing stands in the way of `liteferry copy`".to_owned(),
        1 => "\nnot ready: 1 blocker".to_owned(),
        more => format!("\nnot ready: {more} blockers"),
    }
}

fn goes_on(phase: Phase) -> String {
    format!(
        "\nunder way: the target holds a migration of this database, in phase {}; `liteferry run` goes on with it, `liteferry copy` is refused",
        phase.word()
    )
}

/// What keeps changes from being followed, and is nothing to a copy.
fn refusal_of_run(blocking: &[Finding]) -> String {
    match blocking {
        [] => String::new(),
        _ => format!("\n`liteferry run` would be refused for more than that:\n{}", print::findings(blocking)),
    }
}

/// Every statement in the order in which it would run; chunks of rows go between the first and the second part.
fn sql(plan: &Plan, catalog: &Catalog) -> String {
    let mut out = String::new();
    let mut put = |text: &str| {
        out.push_str(text.trim_end_matches(';'));
        out.push_str(if text.starts_with("--") { "\n" } else { ";\n" });
    };
    put("-- first of all, schema \"liteferry\" for progress, ledger and verdicts");
    plan.tables.iter().flat_map(|table| &table.create).for_each(|statement| put(&statement.sql));
    plan.suspended.iter().for_each(|suspended| put(&suspended.suspend));
    if let Some(statement) = emptying(plan, catalog) {
        put(&statement.sql);
    }
    put("-- the rows are loaded here");
    let parts: [fn(&TablePlan) -> &Vec<Statement>; 3] =
        [|table| &table.indexes, |table| &table.checks, |table| &table.foreign_keys];
    for part in parts {
        plan.tables.iter().flat_map(part).for_each(|statement| put(&statement.sql));
    }
    plan.suspended.iter().rev().for_each(|suspended| put(&suspended.restore.sql));
    plan.views.iter().for_each(|statement| put(&statement.sql));
    plan.sequences.iter().for_each(|sequence| put(&sequence_sql(sequence)));
    plan.tables.iter().for_each(|table| put(&format!("analyze {}", table.route.target.sql())));
    out
}

/// What `postgres/finish` does in steps; a sequence is never set back.
fn sequence_sql(plan: &SequencePlan) -> String {
    let floor = plan.floor.map_or_else(|| "null".to_owned(), |floor| floor.to_string());
    match (&plan.source, &plan.sequence) {
        (SequenceSource::Column(numbers), sequence) => {
            let Numbers { table, column, .. } = numbers;
            let name = sequence.as_ref().map_or_else(
                || format!("pg_get_serial_sequence({}, {})", literal(&table.sql()), literal(column)),
                |sequence| literal(&sequence.sql()),
            );
            let largest = format!("({})", numbers.largest_sql());
            format!("select setval({name}, nullif(greatest({largest}, {floor}, 0), 0))")
        }
        (SequenceSource::Setting, Some(sequence)) => {
            format!("select setval({}, {floor})", literal(&sequence.sql()))
        }
        (SequenceSource::Setting, None) => "-- a setting names a sequence that is not there".to_owned(),
    }
}

fn to_json(prepared: &Prepared, blocking_run: &[Finding]) -> Value {
    let plan = &prepared.plan;
    json!({
        "source": prepared.source.file().path().display().to_string(),
        "tables": plan.tables.iter().map(table_to_json).collect::<Vec<_>>(),
        "views": plan.views.iter().map(|view| view.what.clone()).collect::<Vec<_>>(),
        "renamed": plan.renamed.iter().map(|renamed| json!({
            "kind": renamed.kind, "table": renamed.table, "source": renamed.source, "target": renamed.target,
        })).collect::<Vec<_>>(),
        "sql": sql(plan, &prepared.catalog),
        "findings": findings_to_json(&plan.findings),
        "blockers": plan.blockers().count(),
        "blockers_of_run": findings_to_json(blocking_run),
    })
}

fn table_to_json(table: &TablePlan) -> Value {
    let columns = table.route.columns.iter().map(|column| {
        json!({
            "source": column.source,
            "target": column.target,
            "type": column.type_sql,
            "form": column.codec.form.to_string(),
            "zone": column.codec.zone.to_string(),
        })
    });
    json!({
        "table": table.route.source,
        "target": table.route.target.to_string(),
        "rows": table.rows,
        "columns": columns.collect::<Vec<_>>(),
        "notes": table.notes,
    })
}
