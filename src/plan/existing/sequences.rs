//! Which sequences of the target are to be set after the load, and from what.
//!
//! A sequence must never issue a value again that either side has issued. One that no column owns cannot be set from the
//! data: it is named, with the column it looks to be fed from, and set only where the operator says to what; unless its name
//! is the very one that PostgreSQL would give a column's own.

use super::Ground;
use super::keys::is_integer;
use super::mapping::{Counterpart, MappedTable};
use crate::model::catalog::PgSequence;
use crate::model::cell::CellBuf;
use crate::model::finding::Finding;
use crate::model::name::{PgName, ident};
use crate::model::schema::SqliteSchema;
use crate::plan::overrides::Overrides;
use crate::plan::survey::ColumnSurvey;
use crate::plan::{SequencePlan, SequenceSource};

#[derive(Debug, Default)]
pub(super) struct Sequences {
    pub plans: Vec<SequencePlan>,
    pub findings: Vec<Finding>,
}

/// `copied`: the tables that rows go into.
pub(super) fn sequences(copied: &[&MappedTable<'_>], ground: Ground<'_>) -> Sequences {
    let mut out = Sequences::default();
    for mapped in copied {
        owned(mapped, ground, &mut out);
    }
    for sequence in &ground.catalog.sequences {
        if sequence.column.is_none() {
            unowned(sequence, copied, ground, &mut out);
        }
    }
    for name in ground.overrides.sequences.keys() {
        if !ground.catalog.sequences.iter().any(|sequence| is_named(&sequence.name, name)) {
            let text = "the settings give a value for this sequence, and the target has no such sequence";
            let remedy = "correct its name in [sequences], or take the line out";
            out.findings.push(Finding::blocker("sequence_unknown", name, text).with_remedy(remedy));
        }
    }
    out
}

fn owned(mapped: &MappedTable<'_>, ground: Ground<'_>, out: &mut Sequences) {
    for column in &mapped.target.columns {
        let Some(name) = &column.sequence else { continue };
        let sequence = ground.catalog.sequences.iter().find(|sequence| sequence.name == *name);
        if sequence.is_some_and(|sequence| sequence.increment < 0) {
            let text = format!(
                "this sequence of {}.{} counts downwards and is left alone",
                mapped.target.name, column.name
            );
            let remedy = "set it by hand below the smallest value in use";
            out.findings
                .push(Finding::warning("sequence_descending", name.to_string(), text).with_remedy(remedy));
            continue;
        }
        let source = source_of(mapped, &column.name);
        let counter = source.filter(|index| mapped.source.rowid_alias() == Some(*index));
        let counter = counter.and_then(|_| sqlite_sequence(ground.schema, &mapped.source.name));
        // What the target has issued itself counts too: its rows may be gone, but others may have seen them.
        let issued = sequence.and_then(|sequence| sequence.last_value);
        let floor = counter.max(setting(ground.overrides, name)).max(issued);
        // Below its start a sequence issues nothing, and may refuse to be set.
        let floor = floor.filter(|floor| sequence.is_none_or(|sequence| *floor >= sequence.start));
        let largest =
            source.and_then(|index| surveyed(ground, mapped, index)).and_then(|column| column.integers);
        let reached = floor.max(largest.map(|(_, largest)| largest));
        if let (Some(sequence), Some(reached)) = (sequence, reached)
            && reached >= sequence.max
        {
            let text = format!("values have reached {reached}, and this sequence ends at {}", sequence.max);
            let remedy = format!("alter sequence {} as bigint maxvalue 9223372036854775807;", name.sql());
            out.findings
                .push(Finding::warning("sequence_exhausted", name.to_string(), text).with_remedy(remedy));
        }
        out.findings.extend(sequence.and_then(|sequence| privileges(sequence, ground)));
        let source =
            SequenceSource::Column { table: mapped.target.name.clone(), column: column.name.clone() };
        out.plans.push(SequencePlan { source, sequence: Some(name.clone()), floor });
    }
}

fn unowned(sequence: &PgSequence, copied: &[&MappedTable<'_>], ground: Ground<'_>, out: &mut Sequences) {
    let fills = |mapped: &MappedTable<'_>| {
        mapped.target.columns.iter().any(|column| column.sequence.as_ref() == Some(&sequence.name))
    };
    if copied.iter().any(|mapped| fills(mapped)) {
        let text =
            "no column owns this sequence; it goes on after the values of the column that it is named after";
        out.findings.push(Finding::note("sequence_by_name", sequence.name.to_string(), text));
        return;
    }
    if let Some(floor) = setting(ground.overrides, &sequence.name) {
        out.findings.extend(privileges(sequence, ground));
        let source = SequenceSource::Setting;
        out.plans.push(SequencePlan { source, sequence: Some(sequence.name.clone()), floor: Some(floor) });
        return;
    }
    let name = sequence.name.name.as_str();
    let (hint, value) = match feeder(name, copied) {
        Some((mapped, index)) => suggestion(mapped, index, copied, ground),
        None => (String::new(), "…".to_owned()),
    };
    let text = format!("no column owns this sequence, so it stays where it is{hint}");
    let remedy = format!(
        "[sequences] \"{name}\" = {value}; for `liteferry run` a value that the application will not have reached by the switch"
    );
    out.findings
        .push(Finding::warning("sequence_unowned", sequence.name.to_string(), text).with_remedy(remedy));
}

/// What a sequence looks to number, and a value that is safe for it. Tables may share a sequence, and then call their columns
/// alike: the value is beyond all of those. A column called `id` says nothing of the kind. The smallest value there is stands for
/// a column without numbers.
fn suggestion(
    mapped: &MappedTable<'_>,
    index: usize,
    copied: &[&MappedTable<'_>],
    ground: Ground<'_>,
) -> (String, String) {
    let name = mapped.source.columns[index].name.as_str();
    let hint = format!("; it looks to number {}.{name}", mapped.source.name);
    if ground.survey.is_none() {
        return (hint, "…".to_owned());
    }
    let largest = |mapped: &MappedTable<'_>, index: usize| {
        surveyed(ground, mapped, index).and_then(|column| column.integers).map(|(_, largest)| largest)
    };
    let own = largest(mapped, index);
    let alike = copied.iter().filter(|_| !name.eq_ignore_ascii_case("id"));
    let alike = alike.filter_map(|other| Some((*other, other.source.column(name)?)));
    let beyond = alike.filter_map(|(other, index)| Some((largest(other, index)?, other)));
    let beyond = beyond.max_by_key(|(largest, _)| *largest).filter(|(largest, _)| Some(*largest) > own);
    let now = own.map_or(", where no number is yet".to_owned(), |own| format!(", now at {own}"));
    match beyond {
        Some((largest, other)) => {
            let shared = format!("; {}.{name}, which may share it, is at {largest}", other.source.name);
            (format!("{hint}{now}{shared}"), largest.to_string())
        }
        None => (format!("{hint}{now}"), own.unwrap_or(1).max(1).to_string()),
    }
}

/// Found after the load, this would end the copy at its last step.
fn privileges(sequence: &PgSequence, ground: Ground<'_>) -> Option<Finding> {
    if sequence.missing_privileges.is_empty() {
        return None;
    }
    let missing = sequence.missing_privileges.join(", ").to_ascii_lowercase();
    let role = &ground.catalog.role;
    let text = format!("role {role} lacks {missing}, without which this sequence cannot be set");
    let remedy = format!("grant {missing} on sequence {} to {};", sequence.name.sql(), ident(role));
    Some(Finding::blocker("privilege_missing", sequence.name.to_string(), text).with_remedy(remedy))
}

fn source_of(mapped: &MappedTable<'_>, target: &str) -> Option<usize> {
    mapped.columns.iter().position(|column| match column.counterpart {
        Counterpart::Column(candidate) => candidate.name == target,
        Counterpart::Missing | Counterpart::Excluded => false,
    })
}

fn surveyed<'a>(ground: Ground<'a>, mapped: &MappedTable<'_>, index: usize) -> Option<&'a ColumnSurvey> {
    ground.survey?.tables.get(&mapped.source.name)?.columns.get(index)
}

/// SQLite's counter of an AUTOINCREMENT table. Whoever may write to the table may leave any value there.
fn sqlite_sequence(schema: &SqliteSchema, table: &str) -> Option<i64> {
    let values = schema.sequences.iter().filter(|(name, _)| name.eq_ignore_ascii_case(table));
    let integers = values.filter_map(|(_, value)| match value {
        CellBuf::Integer(value) => Some(*value),
        CellBuf::Null | CellBuf::Real(_) | CellBuf::Text(_) | CellBuf::Blob(_) => None,
    });
    integers.max()
}

fn setting(overrides: &Overrides, name: &PgName) -> Option<i64> {
    overrides.sequences.iter().filter(|(setting, _)| is_named(name, setting)).map(|(_, value)| *value).max()
}

fn is_named(name: &PgName, setting: &str) -> bool {
    name.name == setting || name.to_string() == setting
}

/// The column that a sequence looks to number, by its name: `<table>_<column>_seq`, `events_stream_seq` for
/// `events.stream_ordering`, `receipts_sequence` for the first number of `receipts_linearized`. The longest table name wins.
fn feeder<'a, 'b>(sequence: &str, copied: &'a [&'a MappedTable<'b>]) -> Option<(&'a MappedTable<'b>, usize)> {
    let stem =
        ["_sequence", "_seq"].iter().find_map(|suffix| sequence.strip_suffix(suffix)).unwrap_or(sequence);
    let candidates = copied.iter().filter_map(|mapped| {
        let table = mapped.source.name.as_str();
        let singular = table.strip_suffix('s').unwrap_or(table);
        let rest = [table, singular].iter().find_map(|name| stem.strip_prefix(name));
        let index = match rest {
            Some("") => first_number(mapped, |_| true),
            Some(rest) => {
                let rest = rest.strip_prefix('_')?;
                first_number(mapped, |column| column == rest).or_else(|| {
                    first_number(mapped, |column| column.starts_with(rest) || stem.ends_with(column))
                })
            }
            None => {
                table.strip_prefix(stem)?.strip_prefix('_')?;
                first_number(mapped, |_| true)
            }
        }?;
        let shared = if rest.is_some() { singular.len() } else { 0 };
        Some((shared, *mapped, index))
    });
    let best = candidates.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, mapped, index)| (mapped, index))
}

fn first_number(mapped: &MappedTable<'_>, is_meant: impl Fn(&str) -> bool) -> Option<usize> {
    mapped.columns.iter().position(|column| match column.counterpart {
        Counterpart::Column(target) => is_integer(&target.ty) && is_meant(&column.source.name),
        Counterpart::Missing | Counterpart::Excluded => false,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{Case, column, expect, schema, source, target};
    use super::*;
    use crate::model::cell::Cell;
    use crate::model::finding::Severity::{Blocker, Note, Warning};
    use crate::model::types::Type;

    fn sequence(name: &str, column: Option<(&str, &str)>) -> PgSequence {
        PgSequence {
            name: PgName::new("public", name),
            last_value: None,
            start: 1,
            max: i64::MAX,
            increment: 1,
            missing_privileges: Vec::new(),
            column: column.map(|(table, column)| (PgName::new("public", table), column.into())),
        }
    }

    fn numbered() -> Case {
        let mut case = Case::new();
        case.table().columns[0].sequence = Some(PgName::new("public", "t_id_seq"));
        case.catalog.sequences = vec![sequence("t_id_seq", Some(("t", "id")))];
        case
    }

    #[test]
    fn sequences_never_fall_below_what_was_ever_issued() {
        let mut case = numbered();
        let floor = |case: &Case| case.plan().sequences[0].floor;
        assert_eq!(floor(&case), None);
        case.schema.sequences = vec![
            ("T".into(), CellBuf::Integer(41)),
            ("t".into(), CellBuf::Text(b"99".to_vec())),
            ("gone".into(), CellBuf::Integer(500)),
        ];
        let plan = case.plan();
        assert_eq!(plan.sequences[0].floor, Some(41));
        assert_eq!(plan.sequences[0].sequence, Some(PgName::new("public", "t_id_seq")));
        let source = SequenceSource::Column { table: PgName::new("public", "t"), column: "id".into() };
        assert_eq!(plan.sequences[0].source, source);
        case.catalog.sequences[0].last_value = Some(50);
        assert_eq!(floor(&case), Some(50));
        case.overrides.sequences.insert("public.t_id_seq".into(), 60);
        assert_eq!(floor(&case), Some(60));
    }

    #[test]
    fn a_sequence_that_is_named_after_a_column_goes_on_after_it() {
        let mut case = numbered();
        case.catalog.sequences = vec![sequence("t_id_seq", None)];
        case.overrides.sequences.insert("t_id_seq".into(), 60);
        let plan = case.plan();
        expect(&plan, Note, "sequence_by_name", "public.t_id_seq");
        assert_eq!(plan.sequences.len(), 1);
        assert_eq!(plan.sequences[0].floor, Some(60));
    }

    #[test]
    fn a_counter_below_the_start_says_nothing() {
        let mut case = numbered();
        case.schema.sequences = vec![("t".into(), CellBuf::Integer(0))];
        assert_eq!(case.plan().sequences[0].floor, None);
    }

    #[test]
    fn sequences_that_cannot_go_on_are_told() {
        let mut case = numbered();
        case.catalog.sequences[0].max = 1;
        expect(
            &case.plan(),
            Warning,
            "sequence_exhausted",
            "alter sequence \"public\".\"t_id_seq\" as bigint",
        );
        case.catalog.sequences[0].increment = -1;
        let plan = case.plan();
        expect(&plan, Warning, "sequence_descending", "downwards");
        assert!(plan.sequences.is_empty());
        case.overrides.sequences.insert("typo".into(), 1);
        expect(&case.plan(), Blocker, "sequence_unknown", "typo");
    }

    #[test]
    fn sequences_of_no_column_are_listed_with_what_looks_to_feed_them() {
        let mut case = Case::new();
        let tables: [(&str, &[(&str, &str)]); 4] = [
            ("events", &[("event_id", "TEXT"), ("stream_ordering", "BIGINT")]),
            ("state_groups", &[("room", "TEXT"), ("id", "BIGINT")]),
            ("receipts_linearized", &[("room", "TEXT"), ("stream_id", "BIGINT")]),
            ("application_services_txns", &[("as_id", "TEXT"), ("txn_id", "BIGINT")]),
        ];
        case.schema = schema(tables.iter().map(|(name, columns)| source(name, columns)).collect());
        case.catalog.tables = tables
            .iter()
            .map(|(name, columns)| {
                let typed = |declared: &str| if declared == "TEXT" { Type::Text } else { Type::Int8 };
                target(name, columns.iter().map(|(name, declared)| column(name, typed(declared))).collect())
            })
            .collect();
        let rows: &[&[Cell<'_>]] = &[&[Cell::Text(b"e"), Cell::Integer(123)]];
        for (name, says) in [
            ("events_stream_seq", "\"events_stream_seq\" = 123"),
            ("events_stream_seq", "events.stream_ordering, now at 123"),
            ("state_group_id_seq", "state_groups.id, where no number is yet"),
            ("state_group_id_seq", "\"state_group_id_seq\" = 1"),
            ("receipts_sequence", "receipts_linearized.stream_id"),
            ("application_services_txn_id_seq", "application_services_txns.txn_id"),
            ("events_backfill_stream_seq", "stays where it is /"),
            ("un_partial_sequence", "stays where it is /"),
        ] {
            case.catalog.sequences = vec![sequence(name, None)];
            let plan = case.plan_with(&[("events", rows)]);
            expect(&plan, Warning, "sequence_unowned", says);
            assert!(plan.blockers().next().is_none(), "{name}");
            assert!(plan.sequences.is_empty());
        }
        let shared: &[&[Cell<'_>]] = &[&[Cell::Text(b"r"), Cell::Integer(5)]];
        case.schema.tables.push(source("tags", &[("tag", "TEXT"), ("stream_id", "BIGINT")]));
        case.catalog
            .tables
            .push(target("tags", vec![column("tag", Type::Text), column("stream_id", Type::Int8)]));
        case.catalog.sequences = vec![sequence("receipts_sequence", None)];
        for (own, says) in [
            (
                None,
                "receipts_linearized.stream_id, where no number is yet; tags.stream_id, which may share it, is at 5 / ",
            ),
            (
                Some(4),
                "receipts_linearized.stream_id, now at 4; tags.stream_id, which may share it, is at 5 / ",
            ),
            (Some(5), "receipts_linearized.stream_id, now at 5 / "),
        ] {
            let cells = [Cell::Text(b"r"), own.map_or(Cell::Null, Cell::Integer)];
            let plan = case.plan_with(&[("receipts_linearized", &[&cells]), ("tags", shared)]);
            expect(&plan, Warning, "sequence_unowned", says);
            expect(&plan, Warning, "sequence_unowned", "\"receipts_sequence\" = 5");
        }
        case.catalog.sequences = vec![sequence("un_partial_sequence", None)];
        case.overrides.sequences.insert("un_partial_sequence".into(), 9);
        let plan = case.plan_with(&[]);
        assert_eq!((plan.sequences[0].floor, &plan.sequences[0].source), (Some(9), &SequenceSource::Setting));
    }
}
