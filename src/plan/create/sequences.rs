//! Sequences: from which value each identity column goes on after the load.
//!
//! AUTOINCREMENT promises that no value returns, so SQLite's own counter is a floor. A counter that is no integer is no promise.

use super::Ground;
use super::draft::Draft;
use crate::model::cell::CellBuf;
use crate::model::finding::Finding;
use crate::model::schema::SqliteSchema;
use crate::plan::numbers::{Numbers, Written};
use crate::plan::overrides::SequenceStart;
use crate::plan::{SequencePlan, SequenceSource};

/// One for each identity column; settings that name no sequence of the plan are reported.
pub(super) fn plan(
    drafts: &mut [Draft<'_>],
    ground: Ground<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<SequencePlan> {
    let Ground { schema, overrides, .. } = ground;
    let mut plans = Vec::new();
    for draft in drafts.iter_mut() {
        let Some(sequence) = &draft.sequence else { continue };
        let set = match overrides.sequences.get(&sequence.name) {
            Some(SequenceStart::At(floor)) => Some(*floor),
            Some(SequenceStart::After(_)) | None => None,
        };
        let column = sequence.column.clone();
        let floor = counter(draft, schema).max(set);
        warn_of_exhaustion(draft, floor);
        let source = SequenceSource::Column(Numbers {
            table: draft.target.clone(),
            column,
            written: Written::AsInteger,
        });
        plans.push(SequencePlan { source, sequence: None, floor });
    }
    for (name, start) in &overrides.sequences {
        let known =
            |draft: &Draft<'_>| draft.sequence.as_ref().is_some_and(|sequence| sequence.name == *name);
        let (text, remedy) = match start {
            SequenceStart::At(_) | SequenceStart::After(_) if !drafts.iter().any(known) => (
                "the settings name it, but no table of the plan has such a sequence",
                "correct the name in [sequences], or take it out",
            ),
            SequenceStart::After(_) => (
                "the settings let it go on after columns, but in `create` mode each sequence numbers a column of its own",
                "take it out of [sequences], or give a number there",
            ),
            SequenceStart::At(_) => continue,
        };
        findings.push(Finding::blocker("sequence_unknown", name.clone(), text).with_remedy(remedy));
    }
    plans
}

/// The table's row in `sqlite_sequence`: by its very name, else by one that differs in case alone.
fn counter(draft: &mut Draft<'_>, schema: &SqliteSchema) -> Option<i64> {
    if !draft.source.autoincrement {
        return None;
    }
    let name = &draft.source.name;
    let exact = schema.sequences.iter().find(|(table, _)| table == name);
    let folded = || schema.sequences.iter().find(|(table, _)| table.eq_ignore_ascii_case(name));
    match &exact.or_else(folded)?.1 {
        CellBuf::Integer(value) => Some(*value),
        CellBuf::Null | CellBuf::Real(_) | CellBuf::Text(_) | CellBuf::Blob(_) => {
            let text = "its counter in sqlite_sequence is no integer, so only the rows tell where it goes on";
            draft.findings.push(Finding::note("sequence_not_a_number", name, text));
            None
        }
    }
}

fn warn_of_exhaustion(draft: &mut Draft<'_>, floor: Option<i64>) {
    let alias = draft.source.rowid_alias();
    let largest = alias.and_then(|alias| draft.column_survey(alias)?.integers).map(|(_, max)| max);
    if floor.max(largest) == Some(i64::MAX) {
        let text = "its numbers have reached the largest that 64 bits hold: no further row can be numbered";
        let remedy = "give the highest rows smaller numbers before rows are added";
        let finding = Finding::warning("sequence_exhausted", &draft.source.name, text);
        draft.findings.push(finding.with_remedy(remedy));
    }
}
