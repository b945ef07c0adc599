//! Which sequences of the target are to be set after the load, and from what.
//!
//! A sequence must never issue a value again that either side has issued. One that no column owns cannot be set from the
//! data: it is named, with the column it looks to be fed from, and set only where the operator says to what; unless its name
//! is the very one that PostgreSQL would give a column's own.

use super::Ground;
use super::mapping::{Counterpart, MappedColumn, MappedTable};
use crate::model::catalog::{PgColumn, PgSequence};
use crate::model::cell::{CellBuf, Class};
use crate::model::finding::Finding;
use crate::model::name::{PgName, ident};
use crate::model::schema::SqliteSchema;
use crate::plan::feeder::{Numbered, feeder};
use crate::plan::numbers::{Numbers, Written};
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
        set_after(sequence, copied, ground, &mut out);
    }
    for name in ground.overrides.sequences.keys() {
        let is_named = |found: &PgName| found.name == *name || found.to_string() == *name;
        if !ground.catalog.sequences.iter().any(|sequence| is_named(&sequence.name)) {
            let text = "the settings give a value for this sequence, and the target has no such sequence";
            let remedy = "correct its name in [sequences], or take the line out";
            out.findings.push(Finding::blocker("sequence_unknown", name, text).with_remedy(remedy));
        }
    }
    out
}

fn owned(mapped: &MappedTable<'_>, ground: Ground<'_>, out: &mut Sequences) {
    for column in &mapped.target.columns {
        if let Some(name) = &column.sequence {
            goes_on_after(name, (mapped, column), ground, out);
        }
    }
}

fn goes_on_after(
    name: &PgName,
    (mapped, column): (&MappedTable<'_>, &PgColumn),
    ground: Ground<'_>,
    out: &mut Sequences,
) {
    let sequence = ground.catalog.sequences.iter().find(|sequence| sequence.name == *name);
    if sequence.is_some_and(|sequence| sequence.increment < 0) {
        let text = format!(
            "this sequence of {}.{} counts downwards and is left alone",
            mapped.target.name, column.name
        );
        let remedy = "set it by hand below the smallest value in use";
        out.findings
            .push(Finding::warning("sequence_descending", name.to_string(), text).with_remedy(remedy));
        return;
    }
    let source = source_of(mapped, &column.name);
    let counter = source.filter(|index| mapped.source.rowid_alias() == Some(*index));
    let counter = counter.and_then(|_| sqlite_sequence(ground.schema, &mapped.source.name));
    // What the target has issued itself counts too: its rows may be gone, but others may have seen them.
    let issued = sequence.and_then(|sequence| sequence.last_value);
    let floor = counter.max(ground.overrides.sequence_floor(name)).max(issued);
    let largest = source.and_then(|index| surveyed(ground, mapped, index)).and_then(ColumnSurvey::largest);
    let reached = floor.max(largest);
    if let (Some(sequence), Some(reached)) = (sequence, reached)
        && reached >= sequence.max
    {
        let text = format!("values have reached {reached}, and this sequence ends at {}", sequence.max);
        let remedy = format!("alter sequence {} as bigint maxvalue 9223372036854775807;", name.sql());
        out.findings.push(Finding::warning("sequence_exhausted", name.to_string(), text).with_remedy(remedy));
    }
    out.findings.extend(sequence.and_then(|sequence| privileges(sequence, ground)));
    let source = SequenceSource::Column(Numbers::of(&mapped.target.name, &column.name, &column.ty));
    out.plans.push(SequencePlan { source, sequence: Some(name.clone()), floor });
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
    if let Some(floor) = ground.overrides.sequence_floor(&sequence.name) {
        out.findings.extend(privileges(sequence, ground));
        let source = SequenceSource::Setting;
        out.plans.push(SequencePlan { source, sequence: Some(sequence.name.clone()), floor: Some(floor) });
        return;
    }
    if !ground.overrides.sequence_columns(&sequence.name).is_empty() {
        return;
    }
    let name = sequence.name.name.as_str();
    let (text, value) = match (&sequence.part_of, looks_to_number(name, copied, ground)) {
        (Some(part_of), _) => of_a_part(part_of, copied, ground),
        (None, Some((mapped, index))) => suggestion(mapped, index, copied, ground),
        (None, None) => {
            (STAYS.to_owned(), "the \"table.column\" whose values it goes on after, or a number".to_owned())
        }
    };
    let remedy = format!("under [sequences]: \"{name}\" = {value}");
    out.findings
        .push(Finding::warning("sequence_unowned", sequence.name.to_string(), text).with_remedy(remedy));
}

const STAYS: &str = "no column owns this sequence, so it stays where it is";

/// By its name, and in a text by what that holds.
fn looks_to_number<'m, 'a>(
    sequence: &str,
    copied: &[&'m MappedTable<'a>],
    ground: Ground<'_>,
) -> Option<(&'m MappedTable<'a>, usize)> {
    let tables: Vec<Numbered<'_>> = copied.iter().map(|mapped| numbered(mapped)).collect();
    let (table, index) = feeder(sequence, &tables, &ground.catalog.sequences)?;
    let mapped = copied[table];
    (!holds_no_number(ground, mapped, index)).then_some((mapped, index))
}

/// What is told of a sequence that is a part of a text, and the setting for it: that text itself, where it is digits alone.
fn of_a_part(
    (table, column): &(PgName, String),
    copied: &[&MappedTable<'_>],
    ground: Ground<'_>,
) -> (String, String) {
    let part = format!("this sequence is a part of what {table}.{column} holds");
    let mapped = copied.iter().find(|mapped| mapped.target.name == *table);
    let digits = mapped.and_then(|mapped| {
        let index = source_of(mapped, column)?;
        let largest = surveyed(ground, mapped, index)?.largest()?;
        Some((format!("\"{}.{}\"", mapped.source.name, mapped.source.columns[index].name), largest))
    });
    match digits {
        Some((named, largest)) => {
            (format!("{part}, so it stays where it is; the largest number there is {largest}"), named)
        }
        None => (
            format!("{part}, which is no number, so it stays where it is"),
            "a number that it will not have reached when the writes move".to_owned(),
        ),
    }
}

/// A text without a value of digits alone, fractions without a whole number: whatever numbers it, the numbers cannot be told from it.
fn holds_no_number(ground: Ground<'_>, mapped: &MappedTable<'_>, index: usize) -> bool {
    let Counterpart::Column(target) = &mapped.columns[index].counterpart else { return true };
    let Some(column) = surveyed(ground, mapped, index).filter(|column| column.largest().is_none()) else {
        return false;
    };
    match Written::in_type(&target.ty) {
        Some(Written::InDigits | Written::AtEnd) => column.bytes_max > 0,
        Some(Written::AsDecimal) => {
            column.values() > 0 && column.only(&[Class::Real]) && column.reals_integral == 0
        }
        Some(Written::AsInteger) | None => false,
    }
}

fn numbered<'a>(mapped: &MappedTable<'a>) -> Numbered<'a> {
    let column = |column: &MappedColumn<'a>| match column.counterpart {
        Counterpart::Column(target) => (column.source.name.as_str(), Some(target)),
        Counterpart::Missing | Counterpart::Excluded => (column.source.name.as_str(), None),
    };
    Numbered {
        name: &mapped.source.name,
        columns: mapped.columns.iter().map(column).collect(),
        key: mapped.source.rowid_alias(),
    }
}

/// The settings say after which columns it goes on.
fn set_after(sequence: &PgSequence, copied: &[&MappedTable<'_>], ground: Ground<'_>, out: &mut Sequences) {
    for named in ground.overrides.sequence_columns(&sequence.name) {
        let found = copied.iter().find_map(|mapped| Some((*mapped, column_named(mapped, named)?)));
        let why = match found {
            Some((mapped, column)) => {
                let index = source_of(mapped, &column.name);
                if !index.is_some_and(|index| holds_no_number(ground, mapped, index)) {
                    goes_on_after(&sequence.name, (mapped, column), ground, out);
                    continue;
                }
                "holds no whole number, in a text none of digits alone"
            }
            None => "is no column of numbers or of text that is carried over",
        };
        let text = format!("the settings let it go on after {named}, which {why}");
        let remedy = "name a column as it is called in SQLite, \"table.column\", or give a number";
        out.findings
            .push(Finding::blocker("sequence_unknown", sequence.name.to_string(), text).with_remedy(remedy));
    }
}

fn column_named<'m>(mapped: &'m MappedTable<'_>, named: &str) -> Option<&'m PgColumn> {
    mapped.columns.iter().find_map(|column| match column.counterpart {
        Counterpart::Column(target) if Written::in_type(&target.ty).is_some() => {
            let name = format!("{}.{}", mapped.source.name, column.source.name);
            name.eq_ignore_ascii_case(named).then_some(target)
        }
        Counterpart::Column(_) | Counterpart::Missing | Counterpart::Excluded => None,
    })
}

/// What a sequence looks to number, and the setting that lets it go on after that. Tables may share a sequence, and then call their columns
/// alike: it goes on after all of those too, for which of them is the furthest when the writes move, nobody knows yet. A column called `id`
/// says nothing of the kind.
fn suggestion(
    mapped: &MappedTable<'_>,
    index: usize,
    copied: &[&MappedTable<'_>],
    ground: Ground<'_>,
) -> (String, String) {
    let name = mapped.source.columns[index].name.as_str();
    let own_name = format!("{}.{name}", mapped.source.name);
    let hint = format!("{STAYS}; it looks to number {own_name}");
    if ground.survey.is_none() {
        return (hint, format!("\"{own_name}\""));
    }
    let own = largest(ground, mapped, index);
    let now = own.map_or(", where no number is yet".to_owned(), |own| format!(", now at {own}"));
    let alike = alike((mapped, name, own), copied, ground);
    if alike.is_empty() {
        return (format!("{hint}{now}"), format!("\"{own_name}\""));
    }
    let furthest = alike.iter().filter_map(|(other, index)| Some((largest(ground, other, *index)?, other)));
    let shared = match (furthest.max_by_key(|(largest, _)| *largest), alike.len() - 1) {
        (None, _) => format!("; others of that name may share it, {} at most", alike.len()),
        (Some((largest, other)), 0) => {
            format!("; {}.{name}, which may share it, is at {largest}", other.source.name)
        }
        (Some((largest, other)), more) => {
            format!("; {}.{name}, which may share it as {more} more may, is at {largest}", other.source.name)
        }
    };
    let others = alike.iter().map(|(other, _)| format!(", \"{}.{name}\"", other.source.name));
    (format!("{hint}{now}{shared}"), format!("[\"{own_name}\"{}]", others.collect::<String>()))
}

fn largest(ground: Ground<'_>, mapped: &MappedTable<'_>, index: usize) -> Option<i64> {
    surveyed(ground, mapped, index).and_then(ColumnSurvey::largest)
}

/// The columns of other tables that bear the same name, and that a sequence can go on after. One that points at the table which the sequence
/// numbers is numbered there, unless it is further already.
fn alike<'m, 'a>(
    (mapped, name, own): (&MappedTable<'a>, &str, Option<i64>),
    copied: &[&'m MappedTable<'a>],
    ground: Ground<'_>,
) -> Vec<(&'m MappedTable<'a>, usize)> {
    if name.eq_ignore_ascii_case("id") {
        return Vec::new();
    }
    let others = copied.iter().filter(|other| other.source.name != mapped.source.name);
    let named = others.filter_map(|other| {
        column_named(other, &format!("{}.{name}", other.source.name))?;
        Some((*other, other.source.column(name)?))
    });
    let points_there = |other: &MappedTable<'_>, index: usize| {
        let keys = &mut other.source.foreign_keys.iter();
        keys.any(|key| key.columns.contains(&index) && key.parent.eq_ignore_ascii_case(&mapped.source.name))
    };
    let numbered = named.filter(|(other, index)| {
        !points_there(other, *index) || largest(ground, other, *index).is_some_and(|there| Some(there) > own)
    });
    numbered.filter(|(other, index)| !holds_no_number(ground, other, *index)).collect()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{Case, column, expect, keyed, schema, source, target};
    use super::*;
    use crate::model::cell::Cell;
    use crate::model::finding::Severity::{Blocker, Note, Warning};
    use crate::model::schema::{Deferrable, FkAction, SqliteForeignKey};
    use crate::model::types::Type;
    use crate::plan::overrides::SequenceStart;

    fn sequence(name: &str, column: Option<(&str, &str)>) -> PgSequence {
        PgSequence {
            name: PgName::new("public", name),
            last_value: None,
            max: i64::MAX,
            increment: 1,
            missing_privileges: Vec::new(),
            part_of: None,
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
        let source = SequenceSource::Column(Numbers::of(&PgName::new("public", "t"), "id", &Type::Int8));
        assert_eq!(plan.sequences[0].source, source);
        case.catalog.sequences[0].last_value = Some(50);
        assert_eq!(floor(&case), Some(50));
        case.overrides.sequences.insert("public.t_id_seq".into(), SequenceStart::At(60));
        assert_eq!(floor(&case), Some(60));
    }

    #[test]
    fn a_sequence_that_is_named_after_a_column_goes_on_after_it() {
        let mut case = numbered();
        case.catalog.sequences = vec![sequence("t_id_seq", None)];
        case.overrides.sequences.insert("t_id_seq".into(), SequenceStart::At(60));
        let plan = case.plan();
        expect(&plan, Note, "sequence_by_name", "public.t_id_seq");
        assert_eq!(plan.sequences.len(), 1);
        assert_eq!(plan.sequences[0].floor, Some(60));
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
        case.overrides.sequences.insert("typo".into(), SequenceStart::At(1));
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
            ("events_stream_seq", "\"events_stream_seq\" = \"events.stream_ordering\""),
            ("events_stream_seq", "events.stream_ordering, now at 123"),
            ("state_group_id_seq", "state_groups.id, where no number is yet"),
            ("state_group_id_seq", "\"state_group_id_seq\" = \"state_groups.id\""),
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
        let add = |case: &mut Case, table: &str, ty: Type| {
            case.schema.tables.push(source(table, &[("tag", "TEXT"), ("stream_id", "BIGINT")]));
            let columns = vec![column("tag", Type::Text), column("stream_id", ty)];
            case.catalog.tables.push(target(table, columns));
        };
        add(&mut case, "tags", Type::Int8);
        case.catalog.sequences = vec![sequence("receipts_sequence", None)];
        for (own, says) in [
            (None, "where no number is yet; tags.stream_id, which may share it, is at 5 / "),
            (Some(4), "now at 4; tags.stream_id, which may share it, is at 5 / "),
            (Some(6), "now at 6; tags.stream_id, which may share it, is at 5 / "),
        ] {
            let cells = [Cell::Text(b"r"), own.map_or(Cell::Null, Cell::Integer)];
            let plan = case.plan_with(&[("receipts_linearized", &[&cells]), ("tags", shared)]);
            expect(&plan, Warning, "sequence_unowned", &format!("receipts_linearized.stream_id, {says}"));
            let after = "[\"receipts_linearized.stream_id\", \"tags.stream_id\"]";
            expect(&plan, Warning, "sequence_unowned", &format!("\"receipts_sequence\" = {after}"));
        }
        add(&mut case, "later", Type::Int8);
        add(&mut case, "flagged", Type::Bool);
        let plan = case.plan_with(&[("tags", shared)]);
        expect(
            &plan,
            Warning,
            "sequence_unowned",
            "tags.stream_id, which may share it as 1 more may, is at 5",
        );
        let after = "[\"receipts_linearized.stream_id\", \"tags.stream_id\", \"later.stream_id\"]";
        expect(&plan, Warning, "sequence_unowned", &format!("\"receipts_sequence\" = {after}"));
        let plan = case.plan_with(&[("tags", &[])]);
        expect(&plan, Warning, "sequence_unowned", "others of that name may share it, 2 at most");
        let points_there = SqliteForeignKey {
            name: None,
            columns: vec![1],
            parent: "Receipts_linearized".into(),
            parent_columns: vec!["stream_id".into()],
            on_update: FkAction::NoAction,
            on_delete: FkAction::NoAction,
            deferrable: Deferrable::No,
        };
        let child = case.schema.tables.iter_mut().find(|table| table.name == "tags").unwrap();
        child.foreign_keys.push(points_there);
        for (own, named) in [(9, ""), (4, "\"tags.stream_id\", ")] {
            let cells = [Cell::Text(b"r"), Cell::Integer(own)];
            let plan = case.plan_with(&[("receipts_linearized", &[&cells]), ("tags", shared)]);
            let after = format!("[\"receipts_linearized.stream_id\", {named}\"later.stream_id\"]");
            expect(&plan, Warning, "sequence_unowned", &format!("\"receipts_sequence\" = {after}"));
        }
        case.catalog.sequences = vec![sequence("un_partial_sequence", None)];
        case.overrides.sequences.insert("un_partial_sequence".into(), SequenceStart::At(9));
        let plan = case.plan_with(&[]);
        assert_eq!((plan.sequences[0].floor, &plan.sequences[0].source), (Some(9), &SequenceSource::Setting));
    }

    /// Roundup's: named after its classes, whose tables have an underscore before them.
    #[test]
    fn a_sequence_of_ids_is_told_from_the_table_that_it_names() {
        let mut case = Case::new();
        let tables =
            [("_issue", "id"), ("issue__journal", "nodeid"), ("_user", "id"), ("__textids", "_textid")];
        let of_source = |(name, key): &(&str, &str)| keyed(name, &[(*key, "INTEGER")]);
        let of_target = |(name, key): &(&str, &str)| target(name, vec![column(key, Type::Int4)]);
        case.schema = schema(tables.iter().map(of_source).collect());
        case.catalog.tables = tables.iter().map(of_target).collect();
        let names =
            [("_issue_ids", "_issue.id"), ("_user_ids", "_user.id"), ("___textids_ids", "__textids._textid")];
        for (name, numbers) in names {
            case.catalog.sequences = vec![sequence(name, None)];
            let setting = format!("\"{name}\" = \"{numbers}\"");
            expect(&case.plan(), Warning, "sequence_unowned", &setting);
        }
    }

    /// privacyIDEA's, all of them asked by the application itself.
    #[test]
    fn a_shortened_name_is_told_from_the_keys_that_nothing_numbers() {
        let mut case = Case::new();
        let tables = [
            "pidea_audit",
            "caconnector",
            "caconnectorconfig",
            "passwordreset",
            "resolverconfig",
            "machineresolverconfig",
            "smsgatewayoption",
            "numbered",
        ];
        case.schema = schema(tables.iter().map(|name| keyed(name, &[("id", "INTEGER")])).collect());
        case.catalog.tables =
            tables.iter().map(|name| target(name, vec![column("id", Type::Int4)])).collect();
        case.catalog.tables[7].columns[0].sequence = Some(PgName::new("public", "other"));
        let names = [
            ("audit_seq", Some("pidea_audit")),
            ("caconnector_seq", Some("caconnector")),
            ("caconfig_seq", Some("caconnectorconfig")),
            ("pwreset_seq", Some("passwordreset")),
            ("resolverconf_seq", Some("resolverconfig")),
            ("machineresolverconf_seq", Some("machineresolverconfig")),
            ("smsgwoption_seq", Some("smsgatewayoption")),
            ("numbrd_seq", None),
            ("id_seq", None),
            ("config_seq", None),
        ];
        case.catalog.sequences = names.iter().map(|(name, _)| sequence(name, None)).collect();
        let plan = case.plan_with(&[]);
        for (name, table) in names {
            let found = plan.findings.iter().find(|finding| finding.subject == format!("public.{name}"));
            let found = found.expect("each is told");
            assert_eq!((found.code, found.severity), ("sequence_unowned", Warning));
            match table {
                Some(table) => {
                    assert_eq!(found.remedy, format!("under [sequences]: \"{name}\" = \"{table}.id\""))
                }
                None => assert_eq!(found.text, STAYS),
            }
        }
    }

    #[test]
    fn a_sequence_goes_on_after_the_columns_that_the_settings_name() {
        let mut case = Case::new();
        case.schema = schema(vec![source("Person", &[("ID", "BIGINT"), ("seen", "DATE")])]);
        case.catalog.tables =
            vec![target("person", vec![column("id", Type::Int8), column("seen", Type::Date)])];
        case.catalog.sequences = vec![sequence("person_seq", None)];
        let mut after = |column: &str| {
            case.overrides.sequences =
                [("person_seq".to_owned(), SequenceStart::After(vec![column.into()]))].into();
            case.plan()
        };
        let plan = after("person.id");
        let person = PgName::new("public", "person");
        let column = SequenceSource::Column(Numbers::of(&person, "id", &Type::Int8));
        assert_eq!(plan.sequences.iter().map(|one| &one.source).collect::<Vec<_>>(), [&column]);
        assert!(plan.findings.iter().all(|finding| finding.code != "sequence_unowned"));
        for wrong in ["person.seen", "person.nothing", "nobody.id"] {
            expect(&after(wrong), Blocker, "sequence_unknown", wrong);
        }
    }

    #[test]
    fn a_sequence_that_is_a_part_of_a_text_is_told() {
        let mut case = Case::with_value("TEXT", Type::Text);
        let part =
            PgSequence { part_of: Some((PgName::new("public", "t"), "v".into())), ..sequence("bill", None) };
        case.catalog.sequences = vec![part];
        expect(&case.plan(), Warning, "sequence_unowned", "is a part of what public.t.v holds");
    }
}
