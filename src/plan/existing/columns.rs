//! How each column of a mapped table crosses into the column that is already there, and what its values will meet.
//!
//! Never changes the target's type and never drops a column in silence: each one ends as a route, a note or a finding.

use super::mapping::{Counterpart, MappedColumn, MappedTable};
use super::proposal::{
    assumes_byte_order, assumes_unit, assumes_zone, bytes_proposed, is_plain, season_proposed,
    unsigned_proposed, unsurveyed_form,
};
use crate::canon::form::{Duration, Form, Unit};
use crate::canon::learn::Learned;
use crate::canon::{Codec, Reason, Zone};
use crate::model::catalog::{Identity, PgColumn, PgTable, PgTrigger};
use crate::model::cell::Class;
use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::model::schema::{Affinity, SqliteColumn};
use crate::model::types::Type;
use crate::plan::overrides::Overrides;
use crate::plan::reverse;
use crate::plan::route::ColumnRoute;
use crate::plan::survey::{ColumnSurvey, TableSurvey};
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(super) struct Adapted {
    pub columns: Vec<AdaptedColumn>,
    pub notes: Vec<String>,
    pub findings: Vec<Finding>,
    /// Columns whose naive times are read in a zone that nobody stated.
    pub zone_assumed: Vec<String>,
}

#[derive(Debug)]
pub(super) struct AdaptedColumn {
    pub route: ColumnRoute,
    /// Index into the source table's columns.
    pub source: usize,
    /// Every cell is known to cross exactly, and none is NULL.
    pub certain: bool,
}

/// One column on its way: all that decides about it.
struct Crossing<'a> {
    mapped: &'a MappedTable<'a>,
    overrides: &'a Overrides,
    index: usize,
    source: &'a SqliteColumn,
    surveyed: Option<&'a ColumnSurvey>,
}

/// `only`: the source columns that count, where not all of them do.
pub(super) fn adapt(
    mapped: &MappedTable<'_>,
    surveyed: Option<&TableSurvey>,
    overrides: &Overrides,
    only: Option<&[String]>,
) -> Adapted {
    let mut adapted = Adapted::default();
    for (index, column) in mapped.columns.iter().enumerate() {
        let MappedColumn { source, counterpart } = column;
        if only.is_some_and(|names| !names.contains(&source.name)) {
            continue;
        }
        let surveyed = surveyed.and_then(|table| table.columns.get(index));
        let crossing = Crossing { mapped, overrides, index, source, surveyed };
        match counterpart {
            Counterpart::Excluded => adapted.findings.push(crossing.excluded()),
            Counterpart::Missing => adapted.findings.push(crossing.missing()),
            Counterpart::Column(target) if target.generated => crossing.computed(target, &mut adapted),
            Counterpart::Column(target) => crossing.route(target, &mut adapted),
        }
    }
    if only.is_none() {
        for target in &mapped.unfilled {
            unfilled(mapped, target, surveyed, &mut adapted);
        }
    }
    adapted
}

impl Crossing<'_> {
    fn subject(&self) -> String {
        format!("{}.{}", self.mapped.source.name, self.source.name)
    }

    /// Without a survey a column has to be taken for full.
    fn may_hold_values(&self) -> bool {
        self.surveyed.is_none_or(|column| column.values() > 0)
    }

    fn excluded(&self) -> Finding {
        Finding::warning(
            "column_excluded",
            self.subject(),
            "the settings leave this column out: its values stay behind",
        )
    }

    fn missing(&self) -> Finding {
        let subject = self.subject();
        if self.source.generated.is_some() {
            let text = "SQLite computes this column from others, and the target has no such column";
            return Finding::warning("column_missing", subject, text);
        }
        if !self.may_hold_values() {
            let text = "the target has no such column; this one holds nothing but NULL";
            return Finding::warning("column_missing", subject, text);
        }
        let remedy = format!(
            "alter table {} add column {} {}; or leave the column out: [tables] exclude = [\"{subject}\"]",
            self.mapped.target.name.sql(),
            ident(&self.source.name),
            self.plain_type(),
        );
        let text = match self.surveyed {
            Some(_) => "the target has no such column, and this one holds values",
            None => "the target has no such column",
        };
        Finding::blocker("column_missing", subject, text).with_remedy(remedy)
    }

    /// What holds the values that were seen. What is declared does not tell: a `datetime` is a number to SQLite, and most hold texts.
    fn plain_type(&self) -> &'static str {
        let holds = |class| self.surveyed.is_some_and(|column| column.count(class) > 0);
        match self.source.affinity {
            _ if holds(Class::Text) => "text",
            _ if holds(Class::Blob) => "bytea",
            Affinity::Numeric => "numeric",
            Affinity::Real => "double precision",
            _ if holds(Class::Real) => "double precision",
            Affinity::Integer => "bigint",
            _ if holds(Class::Integer) => "bigint",
            Affinity::Text => "text",
            Affinity::Blob => "bytea",
        }
    }

    fn computed(&self, target: &PgColumn, adapted: &mut Adapted) {
        adapted.notes.push(format!("{}: computed by the target, not sent", self.source.name));
        let subject = self.subject();
        adapted.findings.push(if self.source.generated.is_some() {
            Finding::note("column_computed", subject, "both sides compute this column: it is neither sent nor compared")
        } else {
            let expression = target.default.as_deref().unwrap_or_default();
            let text =
                format!("the target computes this column as {expression}: the source's values stay behind and are not compared");
            Finding::warning("column_computed", subject, text)
        });
    }

    fn route(&self, target: &PgColumn, adapted: &mut Adapted) {
        let learned =
            self.surveyed.and_then(|column| column.learners.first()).map(|learner| learner.learned());
        // Where no value has spoken there is nothing learned but the engines' own habit.
        let spoke = learned.as_ref().filter(|_| self.surveyed.is_some_and(|column| column.values() > 0));
        let codec = spoke.map_or_else(|| self.unsurveyed_codec(target), |found| found.codec.clone());
        adapted.notes.push(format!(
            "{} {} -> {} {}{}",
            self.source.name,
            self.source.declared,
            target.name,
            target.type_name,
            read_as(codec.form),
        ));
        self.judge_type(target, adapted);
        if let Some(learned) = &learned {
            adapted.findings.extend(self.misfits(target, learned));
        }
        adapted.findings.extend(self.nulls(target));
        if self.may_hold_values() {
            self.propose(&codec, adapted);
        }
        let certain = self.is_certain(target, learned.as_ref());
        let route = ColumnRoute {
            source: Some(self.source.name.clone()),
            affinity: self.source.affinity,
            target: target.name.clone(),
            type_oid: target.type_oid,
            type_sql: target.type_name.clone(),
            codec,
            not_null: target.not_null,
        };
        adapted.columns.push(AdaptedColumn { route, source: self.index, certain });
    }

    fn unsurveyed_codec(&self, target: &PgColumn) -> Codec {
        let pinned = self.overrides.column(&self.mapped.source.name, &self.source.name);
        let habit = self.surveyed.and_then(|column| column.learners.first()?.habit());
        let form = pinned
            .and_then(|column| column.form)
            .or(habit)
            .unwrap_or_else(|| unsurveyed_form(&target.ty, self.source, self.overrides.unit));
        let zone = pinned.and_then(|column| column.zone).unwrap_or(self.overrides.source_tz);
        Codec::new(target.ty.clone(), form, zone)
    }

    fn is_certain(&self, target: &PgColumn, learned: Option<&Learned>) -> bool {
        match (self.surveyed, learned) {
            (Some(column), Some(learned)) => {
                let is_whole = column.count(Class::Null) == 0 && learned.exact == column.values();
                // Two texts of one value are two keys to SQLite, and one to the target, whatever else is compared.
                is_whole && learned.codec.nothing().is_null() && target.ty != Type::Jsonb
            }
            _ => target.ty == Type::Int8 && self.mapped.source.rowid_alias() == Some(self.index),
        }
    }

    fn judge_type(&self, target: &PgColumn, adapted: &mut Adapted) {
        if !target.ty.has_codec() && self.may_hold_values() {
            let text = format!("values of the target's type {} cannot be written", target.type_name);
            let column = self.subject();
            let table = without(self.mapped);
            let remedy = format!("leave the column out: [tables] exclude = [\"{column}\"]; {table}");
            let finding = Finding::blocker("type_without_codec", self.subject(), text);
            adapted.findings.push(finding.with_remedy(remedy));
        }
        if target.domain_has_checks {
            let domain = target.domain.as_deref().unwrap_or(&target.type_name);
            let text = format!(
                "the checks of domain {domain} cannot be suspended: it judges each value as it arrives"
            );
            adapted.findings.push(Finding::warning("domain_checks", self.subject(), text));
        }
    }

    fn misfits(&self, target: &PgColumn, learned: &Learned) -> Option<Finding> {
        // Where the empty text stands for NULL, NULL itself does not come back.
        let nulls = self.surveyed.map_or(0, |column| column.count(Class::Null));
        let strangers = if learned.codec.nothing().is_null() { 0 } else { nulls };
        let lost = learned.lost + strangers;
        let misfits = learned.elsewhere + learned.kept + lost;
        if misfits == 0 || !target.ty.has_codec() {
            return None;
        }
        let held_elsewhere = learned.kept_elsewhere.as_ref().map_or(0, |_| learned.elsewhere);
        let fate = match (lost + learned.elsewhere - held_elsewhere, target.not_null) {
            (0, _) => "",
            (_, true) => "; the row of each that the target cannot hold is held back",
            (_, false) => "; the target has NULL for each that it cannot hold",
        };
        let reason = learned.first_reason.map(|reason| format!(" (first reason: {})", reason.word()));
        let kinds = [
            (learned.elsewhere, "written in another way than the rest"),
            (learned.kept, "held there rounded, cut or spelt otherwise"),
            (lost, "that nothing there can hold"),
        ];
        let kinds =
            kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}"));
        let text = format!(
            "{misfits} of {} values do not cross exactly into {}{} and go to the ledger: {}{}{fate}",
            learned.exact + misfits,
            target.type_name,
            read_as(learned.codec.form),
            kinds.collect::<Vec<_>>().join(", "),
            reason.unwrap_or_default(),
        );
        let remedy = match learned.numbers {
            Some(form) => Some(self.count_as(form)),
            None if nulls == 0 && !target.not_null && self.would_fit_but_for_empty(learned) => {
                let (subject, form) = (self.subject(), Form::EmptyNull);
                Some(format!(
                    "[types.column.\"{subject}\"] form = \"{form}\" if the empty text stands for NULL here: it crosses as that then, and \
                     NULL comes back as the empty text"
                ))
            }
            None => {
                let mend = learned.first_reason.and_then(|reason| self.mend(target, reason));
                mend.or_else(|| self.acceptance(target, learned))
            }
        };
        let remedy = remedy.unwrap_or_default();
        Some(Finding::warning("misfits_expected", self.subject(), text).with_remedy(remedy))
    }

    /// Whether each is a plain value or the empty text.
    fn would_fit_but_for_empty(&self, learned: &Learned) -> bool {
        let is_plain = learned.exact == 0 || is_plain(&learned.codec);
        is_plain && learned.elsewhere + learned.kept == 0 && learned.lost > 0 && learned.lost == learned.empty
    }

    /// What would let the values fit, where one statement or setting does.
    fn mend(&self, target: &PgColumn, reason: Reason) -> Option<String> {
        let widen = |ty: &str| {
            let (table, column) = (self.mapped.target.name.sql(), ident(&target.name));
            Some(format!("alter table {table} alter column {column} type {ty};"))
        };
        match (reason, &target.ty) {
            (Reason::OutOfRange, Type::Int2 | Type::Int4) => widen("bigint"),
            (Reason::Rounded | Reason::OutOfRange, Type::Float4) => widen("double precision"),
            (Reason::TooLong, Type::Varchar(_) | Type::Bpchar(_)) => widen("text"),
            (Reason::NotALabel, Type::Enum(_)) => {
                Some(format!("alter type {} add value '…';", target.type_name))
            }
            (Reason::NoUnit, Type::Interval(_)) => Some(self.count_as(Form::Duration(Duration::Seconds))),
            (Reason::NoUnit, _) => Some(self.count_as(Form::Epoch(Unit::Seconds))),
            (Reason::Class, Type::Inet) if self.holds_numbers_alone() => Some(format!(
                "[types.column.\"{}\"] form = \"{}\" if the numbers are IPv4 addresses",
                self.subject(),
                Form::Number
            )),
            _ => None,
        }
    }

    /// The setting by which a switch does not wait for values that the target holds, if not as they were written.
    fn acceptance(&self, target: &PgColumn, learned: &Learned) -> Option<String> {
        let all_are_kept = learned.lost + learned.elsewhere == 0;
        let would_do = |reason: &Reason| match reason {
            Reason::Precision => true,
            Reason::Spelling | Reason::Offset if learned.kept_elsewhere.is_some() => learned.lost == 0,
            reason => all_are_kept && Reason::ACCEPTABLE.contains(reason),
        };
        let elsewhere = learned.kept_elsewhere.iter().flatten().filter(|_| learned.elsewhere > 0);
        let reasons = learned.first_reason.iter().chain(elsewhere);
        let open = reasons.filter(|reason| would_do(reason) && !self.overrides.accepted.contains(reason));
        let words: BTreeSet<String> = open.map(|reason| format!("\"{}\"", reason.word())).collect();
        // A row whose key does not cross exactly is held back, which no setting accepts.
        if words.is_empty() || self.is_in_primary_key(target) {
            return None;
        }
        let words = words.into_iter().collect::<Vec<_>>().join(", ");
        let if_so = match words.as_str() {
            "\"precision\"" => "if the target is to have them without those digits",
            "\"rounded\"" => "if the target is to have them rounded",
            _ => "if the target need not have them as they were written",
        };
        let season = if words.contains("offset") { season_proposed(&learned.codec) } else { "" };
        Some(format!(
            "{season}[misfits] accept = [{words}] {if_so}: a switch then waits for nobody to accept each"
        ))
    }

    fn holds_numbers_alone(&self) -> bool {
        self.surveyed.is_some_and(|column| column.count(Class::Integer) == column.values())
    }

    fn is_in_primary_key(&self, target: &PgColumn) -> bool {
        let primary = self.mapped.target.indexes.iter().filter(|index| index.primary);
        primary.flat_map(|index| &index.columns).any(|columns| columns.contains(&target.name))
    }

    fn count_as(&self, form: Form) -> String {
        let subject = self.subject();
        format!(
            "[types.column.\"{subject}\"] form = \"{form}\" if that is what the numbers count; texts then cross too, by their \
             value where the target has another form for it"
        )
    }

    fn nulls(&self, target: &PgColumn) -> Option<Finding> {
        let nulls = self.surveyed.map_or(0, |column| column.count(Class::Null));
        if !target.not_null || nulls == 0 {
            return None;
        }
        let text =
            format!("the target refuses NULL here: {nulls} rows that hold it are held back in the ledger");
        let table = self.mapped.target;
        let remedy = match self.is_in_primary_key(target) {
            true => "give these rows a value in SQLite, or delete them: the column belongs to the target's primary key".to_owned(),
            false => {
                // A domain may say it as well as the column.
                let domain = target.domain.iter().map(|domain| format!("alter domain {domain} drop not null; "));
                let (domain, table) = (domain.collect::<String>(), table.name.sql());
                format!("{domain}alter table {table} alter column {} drop not null;", ident(&target.name))
            }
        };
        Some(Finding::warning("nulls_refused", self.subject(), text).with_remedy(remedy))
    }

    /// Lengths of time that a library writes are longer; whole days and hours that somebody else counts there are not.
    fn is_below_a_second(&self, form: Form) -> bool {
        let integers = self.surveyed.and_then(|column| column.integers);
        let longest = integers.map_or(0, |(min, max)| min.unsigned_abs().max(max.unsigned_abs()));
        form == Form::Duration(Duration::Micros) && (1..1_000_000).contains(&longest)
    }

    fn propose(&self, codec: &Codec, adapted: &mut Adapted) {
        let pinned = self.overrides.column(&self.mapped.source.name, &self.source.name);
        let zone_stated =
            pinned.is_some_and(|column| column.zone.is_some()) || self.overrides.source_tz != Zone::default();
        let form_stated = pinned.is_some_and(|column| column.form.is_some());
        let unit_stated = form_stated || self.overrides.unit.is_some();
        let subject = self.subject();
        // In the same words for each column: what has one cause is told once.
        let pin = format!("if so, for each: [types.column.\"table.column\"] form = \"{}\"", codec.form);
        if assumes_unit(codec.form) && !unit_stated {
            let text = format!("the bare numbers here are read as {}", codec.form);
            let remedy = match codec.form {
                // In the same words for each: one setting may say it of all.
                Form::Epoch(unit) => format!(
                    "[types] units = \"{}\" if that holds for every column; or for one [types.column.\"table.column\"] form = \"{}\"",
                    unit.word(),
                    codec.form
                ),
                _ => pin.clone(),
            };
            adapted.findings.push(match self.is_below_a_second(codec.form) {
                false => Finding::note("unit_proposed", &subject, text).with_remedy(remedy),
                true => {
                    let text = format!("{text}, of which none would be as long as a second: do they count days, hours or seconds?");
                    let remedy = "say what they count, for each: [types.column.\"table.column\"] form = \"duration-days\", \"duration-s\" or \
                                  \"duration-us\"; what counts anything else belongs into a number there";
                    Finding::warning("unit_proposed", &subject, text).with_remedy(remedy)
                }
            });
        }
        if assumes_byte_order(codec.form) && !form_stated {
            let text = format!("the 16 bytes of each value are read as {}", codec.form);
            adapted.findings.push(Finding::note("byte_order_proposed", &subject, text).with_remedy(&pin));
        }
        if codec.form == Form::Unsigned && !form_stated {
            let integers = self.surveyed.and_then(|column| column.integers);
            adapted.findings.push(unsigned_proposed(subject.clone(), integers));
        }
        if codec.form == Form::List && !form_stated {
            let text = "each text is read as an array of what its commas part";
            adapted.findings.push(Finding::note("list_proposed", &subject, text).with_remedy(&pin));
        }
        if codec.ty == Type::Bytea && !form_stated {
            adapted.findings.extend(bytes_proposed(&subject, codec.form));
        }
        if assumes_zone(&codec.ty, codec.form) && !zone_stated {
            adapted.zone_assumed.push(subject);
        }
    }
}

fn unfilled(
    mapped: &MappedTable<'_>,
    target: &PgColumn,
    surveyed: Option<&TableSurvey>,
    adapted: &mut Adapted,
) {
    let subject = format!("{}.{}", mapped.target.name.name, target.name);
    if target.generated {
        adapted.notes.push(format!("{}: computed by the target", target.name));
        let text = "the target computes this column, and the source has none of that name: there is nothing to compare";
        adapted.findings.push(Finding::note("column_computed", subject, text));
    } else if let Some(default) = &target.default {
        let text = format!("the source has no such column: each row gets the default, {default}");
        adapted.findings.push(Finding::note("column_defaulted", subject, text));
    } else if target.identity != Identity::No {
        let text = "the source has no such column: the target numbers the rows itself";
        adapted.findings.push(Finding::note("column_defaulted", subject, text));
    } else if !target.not_null {
        adapted.notes.push(format!("{}: not in the source, stays NULL", target.name));
        adapted.findings.extend(left_to_trigger(mapped.target, target, &subject));
    } else {
        let text = "the target refuses NULL here, has no default, and the source has no such column";
        let alter = format!("alter table {} alter column {}", mapped.target.name.sql(), ident(&target.name));
        let finding = if surveyed.is_some_and(|table| table.rows == 0) {
            Finding::warning("column_without_source", subject, text)
        } else {
            Finding::blocker("column_without_source", subject, text)
        };
        adapted.findings.push(
            finding
                .with_remedy(format!("{alter} set default …; or {alter} drop not null; {}", without(mapped))),
        );
    }
}

/// A search vector, say, which a trigger makes of the other columns: rows that are carried over do not pass through it. To update a row is
/// no way to have it filled, for many such triggers look whether the text has changed.
fn left_to_trigger(table: &PgTable, target: &PgColumn, subject: &str) -> Option<Finding> {
    let may_fill = |trigger: &&PgTrigger| {
        trigger.before && trigger.enabled != 'D' && !reverse::TRIGGERS.contains(&trigger.name.as_str())
    };
    let filler = table.triggers.iter().find(may_fill)?;
    let text = format!(
        "the source has no such column, and what may fill it, trigger {}, rests while rows are carried over: it is NULL in each of them",
        filler.name,
    );
    let column = ident(&target.name);
    let remedy = format!(
        "where the application needs it, fill it after the switch or the copy, by the application's own means or as the trigger's function \
         does for a new row: update {} set {column} = … where {column} is null;",
        table.name.sql()
    );
    Some(Finding::warning("column_left_to_trigger", subject, text).with_remedy(remedy))
}

/// A search index has other columns on each engine, and its rows can be had again.
fn without(mapped: &MappedTable<'_>) -> String {
    let table = &mapped.source.name;
    format!(
        "or, where the application can fill the table again by itself, leave that out: [tables] exclude = [\"{table}\"]"
    )
}

fn read_as(form: Form) -> String {
    form.told().map(|word| format!(", read as {word}")).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{Case, column, expect, expect_codes};
    use crate::canon::Reason;
    use crate::canon::form::{Form, Unit};
    use crate::model::catalog::{Identity, PgColumn, PgTrigger};
    use crate::model::cell::Cell;
    use crate::model::finding::Severity::{Blocker, Note, Warning};
    use crate::model::schema::Generated;
    use crate::model::types::{NumericLimit, Type};
    use crate::plan::Plan;
    use crate::plan::overrides::ColumnOverride;

    #[test]
    fn columns_without_a_counterpart_block_as_long_as_they_hold_values() {
        let mut case = Case::new();
        case.table().columns.truncate(1);
        expect(
            &case.plan(),
            Blocker,
            "column_missing",
            "alter table \"public\".\"t\" add column \"v\" text;",
        );
        expect(&case.plan_with_value(Cell::Null), Warning, "column_missing", "nothing but NULL");
        expect(&case.plan_unread(), Blocker, "column_missing", "no such column / alter table");
        expect(&case.plan_unread(), Blocker, "column_missing", "exclude = [\"t.v\"]");
        case.overrides.exclude = vec!["t.v".into()];
        expect(&case.plan(), Warning, "column_excluded", "t.v");
        case.overrides.exclude.clear();
        case.schema.tables[0].columns[1].generated =
            Some(Generated { stored: true, expression: "id".into() });
        expect(&case.plan(), Warning, "column_missing", "computes");
    }

    #[test]
    fn a_missing_column_is_to_be_added_with_a_type_that_holds_what_was_seen() {
        let check = |declared: &str, value: Cell<'_>, expected: &str| {
            let mut case = Case::with_value(declared, Type::Text);
            case.table().columns.truncate(1);
            let statement = format!("alter table \"public\".\"t\" add column \"v\" {expected};");
            expect(&case.plan_with_value(value), Blocker, "column_missing", &statement);
        };
        check("datetime", Cell::Text(b"2024-02-29 13:14:15"), "text");
        check("datetime", Cell::Integer(1_709_212_455), "numeric");
        check("integer", Cell::Text(b"many"), "text");
        check("integer", Cell::Real(0.5), "double precision");
        check("text", Cell::Blob(b"\xff"), "bytea");
        check("", Cell::Integer(1), "bigint");
        check("", Cell::Text(b"one"), "text");
        check("", Cell::Real(0.5), "double precision");
    }

    #[test]
    fn generated_columns_of_the_target_are_never_sent() {
        let mut case = Case::new();
        case.table().columns[1].generated = true;
        let plan = case.plan();
        expect(&plan, Warning, "column_computed", "stay behind");
        assert_eq!(plan.tables[0].route.columns.len(), 1);
        case.schema.tables[0].columns[1].generated =
            Some(Generated { stored: false, expression: "1".into() });
        expect(&case.plan(), Note, "column_computed", "both sides");
        case.schema.tables[0].columns.truncate(1);
        expect(&case.plan(), Note, "column_computed", "nothing to compare");
    }

    #[test]
    fn target_columns_without_a_source_need_something_to_stand_in_them() {
        let extra = |change: fn(&mut PgColumn)| {
            let mut case = Case::new();
            let mut added = column("extra", Type::Int4);
            change(&mut added);
            case.table().columns.push(added);
            case
        };
        expect_codes(&extra(|_| ()).plan(), &[]);
        expect_codes(&extra(|column| column.generated = true).plan(), &["column_computed"]);
        let refusing = extra(|column| column.not_null = true);
        expect(&refusing.plan(), Blocker, "column_without_source", "alter column \"extra\" set default");
        expect(&refusing.plan_with(&[]), Warning, "column_without_source", "drop not null");
        expect(&refusing.plan(), Blocker, "column_without_source", "exclude = [\"t\"]");
        expect(&extra(|column| column.default = Some("7".into())).plan(), Note, "column_defaulted", "7");
        let mut filled = extra(|column| column.ty = Type::Other("tsvector".into()));
        for (before, enabled, is_told) in
            [(true, 'O', true), (true, 'A', true), (false, 'O', false), (true, 'D', false)]
        {
            filled.table().triggers = vec![PgTrigger { name: "fill".into(), before, enabled }];
            let plan = filled.plan();
            assert_eq!(plan.findings.iter().any(|finding| finding.code == "column_left_to_trigger"), is_told);
            if is_told {
                let update = "update \"public\".\"t\" set \"extra\" = … where \"extra\" is null;";
                expect(&plan, Warning, "column_left_to_trigger", update);
            }
        }
        let numbered = extra(|column| (column.not_null, column.identity) = (true, Identity::Always));
        expect(&numbered.plan(), Note, "column_defaulted", "numbers the rows");
    }

    #[test]
    fn types_without_a_codec_block_where_there_are_values() {
        let case = Case::with_value("TEXT", Type::Other("tsvector".into()));
        expect(&case.plan(), Blocker, "type_without_codec", "tsvector");
        expect_codes(&case.plan_with_value(Cell::Null), &[]);
        expect(&case.plan_unread(), Blocker, "type_without_codec", "exclude = [\"t.v\"]");
        expect(&case.plan_unread(), Blocker, "type_without_codec", "exclude = [\"t\"]");
        let element = Box::new(Type::Other("point".into()));
        let array = Case::with_value("TEXT", Type::Array { element, element_oid: 600 });
        expect(&array.plan(), Blocker, "type_without_codec", "point[]");
    }

    #[test]
    fn domains_judge_values_as_they_arrive() {
        let mut case = Case::new();
        case.table().columns[1].domain = Some("public.email".into());
        case.table().columns[1].domain_has_checks = true;
        expect(&case.plan(), Warning, "domain_checks", "public.email");
    }

    #[test]
    fn values_that_will_not_fit_are_counted_beforehand() {
        let case = Case::with_value("INTEGER", Type::Int4);
        let plan = case.plan_with_value(Cell::Integer(3_000_000_000));
        expect(&plan, Warning, "misfits_expected", "out-of-range");
        expect(&plan, Warning, "misfits_expected", "alter column \"v\" type bigint;");
        let plan = Case::with_value("TEXT", Type::Varchar(Some(3))).plan_with_value(Cell::Text(b"toolong"));
        expect(&plan, Warning, "misfits_expected", "type text;");
        let plan = Case::with_value("FLOAT", Type::Float4).plan_with_value(Cell::Real(0.1 + 0.2));
        expect(&plan, Warning, "misfits_expected", "type double precision;");
        expect_codes(&Case::with_value("FLOAT", Type::Float4).plan_with_value(Cell::Real(99.99)), &[]);
        let mut refusing = Case::with_value("INTEGER", Type::Int4);
        refusing.table().columns[1].not_null = true;
        expect(&refusing.plan_with_value(Cell::Text(b"x")), Warning, "misfits_expected", "held back");
        expect(&refusing.plan_with_value(Cell::Null), Warning, "nulls_refused", "drop not null;");
        refusing.table().columns[1].domain = Some("public.email".into());
        let both = "alter domain public.email drop not null; alter table \"public\".\"t\" alter";
        expect(&refusing.plan_with_value(Cell::Null), Warning, "nulls_refused", both);
        refusing.table().indexes[0].columns = Some(vec!["id".into(), "v".into()]);
        expect(&refusing.plan_with_value(Cell::Null), Warning, "nulls_refused", "the target's primary key");
        let plan = Case::with_value("INTEGER", Type::Text).plan_with_value(Cell::Text(b"a\0"));
        let told = plan.findings.iter().find(|finding| finding.code == "misfits_expected").unwrap();
        assert!(
            told.text.starts_with("1 of 1 values do not cross exactly into text and go"),
            "{}",
            told.text
        );
        let notes = plan.tables[0].notes.join("\n");
        assert!(!notes.contains("affinity") && !notes.contains("native"), "{notes}");
    }

    #[test]
    fn a_column_of_addresses_and_empty_texts_is_advised_the_form_for_both() {
        let mut case = Case::with_value("TEXT", Type::Inet);
        let plan = |case: &Case, values: &[Cell<'_>]| case.plan_with_values(values);
        let is_advised = |case: &Case, values: &[Cell<'_>]| {
            let findings = plan(case, values).findings;
            findings.iter().any(|finding| finding.remedy.contains("form = \"empty-null\""))
        };
        let (empty, address) = (Cell::Text(b""), Cell::Text(b"10.0.0.1"));
        assert!(is_advised(&case, &[empty]) && is_advised(&case, &[empty, address]));
        let times = Case::with_value("DATETIME", Type::Timestamp(6));
        assert!(is_advised(&times, &[empty, Cell::Text(b"2024-01-02 03:04:05")]));
        assert!(!is_advised(&times, &[empty, Cell::Text(b"2024-01-02T03:04:05")]));
        assert!(!is_advised(&case, &[address]), "nothing is wrong");
        let numbers = plan(&case, &[Cell::Integer(3_232_235_777)]).findings;
        assert!(numbers[0].remedy.contains("form = \"number\" if"), "{:?}", numbers[0]);
        assert!(
            !is_advised(&case, &[empty, Cell::Text(b"unknown")]),
            "the rest would still be in the ledger"
        );
        assert!(!is_advised(&case, &[empty, Cell::Null]), "NULL has a meaning of its own");
        case.table().columns[1].not_null = true;
        assert!(!is_advised(&case, &[empty]));
        case.table().columns[1].not_null = false;
        let form = Some(Form::EmptyNull);
        case.overrides.columns.insert("t.v".into(), ColumnOverride { form, ..ColumnOverride::default() });
        expect_codes(&plan(&case, &[empty, address]), &[]);
        expect(&plan(&case, &[empty, Cell::Null]), Warning, "misfits_expected", "1 of 2 values");
    }

    #[test]
    fn a_reason_is_advised_to_be_accepted_where_that_is_of_use_and_not_done() {
        let mut case = Case::with_value("DATETIME", Type::Timestamp(6));
        let is_advised = |case: &Case| {
            let plan = case.plan_with_value(Cell::Text(b"2024-01-02 03:04:05.123456789"));
            expect(&plan, Warning, "misfits_expected", "first reason: precision");
            plan.findings.iter().any(|finding| finding.remedy.contains("accept = [\"precision\"]"))
        };
        assert!(is_advised(&case));
        case.overrides.accepted = vec![Reason::Spelling];
        assert!(is_advised(&case));
        case.overrides.accepted.push(Reason::Precision);
        assert!(!is_advised(&case));
        case.overrides.accepted.clear();
        case.table().indexes[0].columns = Some(vec!["id".into(), "v".into()]);
        assert!(!is_advised(&case), "a row that is held back needs more");
    }

    #[test]
    fn values_that_are_all_held_may_be_accepted_and_none_of_what_is_lost() {
        let decimal = Type::Numeric(Some(crate::model::types::NumericLimit { precision: 18, scale: 4 }));
        let text = |text: &'static str| Cell::Text(text.as_bytes());
        let advice = |ty: &Type, declared: &str, values: &[Cell<'_>]| {
            let plan = Case::with_value(declared, ty.clone()).plan_with_values(values);
            plan.findings.into_iter().find(|finding| finding.code == "misfits_expected").unwrap().remedy
        };
        let spelled = advice(&decimal, "VARCHAR(40)", &[text("12.5000"), text("3.0000"), text("12.5")]);
        assert!(spelled.contains("accept = [\"spelling\"] if the target need not"), "{spelled}");
        let rounded = advice(&decimal, "VARCHAR(40)", &[text("12.5000"), text("0.00004")]);
        assert!(
            rounded.contains("accept = [\"rounded\"] if the target is to have them rounded"),
            "{rounded}"
        );
        let blob = advice(&Type::Jsonb, "JSON", &[Cell::Blob(&[0x0c])]);
        assert!(blob.contains("accept = [\"class\"]"), "{blob}");
        for lost in ["a word", "1e40"] {
            let told = advice(&decimal, "VARCHAR(40)", &[text("12.5000"), text("12.5"), text(lost)]);
            assert!(!told.contains("accept"), "{lost}: {told}");
        }
    }

    #[test]
    fn times_that_are_written_in_two_ways_are_held_and_may_be_accepted() {
        let stamp = "2024-01-02 03:04:05";
        for (declared, ty, usual, other, advised) in [
            ("DATETIME", Type::Timestamp(6), stamp, "2024-01-02T03:04:05", "[\"spelling\"]"),
            ("DATETIME", Type::Timestamp(6), stamp, "2024-01-02 03:04:05+02:00", "[\"offset\"]"),
            (
                "DATETIME",
                Type::Timestamptz(6),
                "2024-01-02 03:04:05Z",
                "2024-01-02 05:04:05+02:00",
                "[\"offset\"]",
            ),
            ("DATE", Type::Date, "2024-01-02", "20240102", "[\"spelling\"]"),
        ] {
            let case = Case::with_value(declared, ty);
            let is_zoned = usual.ends_with('Z');
            let (usual, other) = (Cell::Text(usual.as_bytes()), Cell::Text(other.as_bytes()));
            let plan = case.plan_with_values(&[usual, usual, other]);
            expect(&plan, Warning, "misfits_expected", &format!("accept = {advised} if"));
            let told = plan.findings.iter().find(|finding| finding.code == "misfits_expected").unwrap();
            assert!(!told.text.contains("NULL"), "{}", told.text);
            assert_eq!(told.remedy.contains("source_tz"), is_zoned, "{}", told.remedy);
        }
        let case = Case::with_value("DATETIME", Type::Timestamp(6));
        let text = Cell::Text(stamp.as_bytes());
        let plan = case.plan_with_values(&[text, text, Cell::Integer(1_704_164_640)]);
        expect(&plan, Warning, "misfits_expected", "the target has NULL for each");
    }

    #[test]
    fn what_values_cannot_prove_is_proposed_until_it_is_pinned() {
        let mut epochs = Case::with_value("INTEGER", Type::Timestamptz(6));
        let moment = Cell::Integer(1_700_000_000_123);
        expect(&epochs.plan_with_value(moment), Note, "unit_proposed", "form = \"epoch-ms\"");
        epochs.overrides.unit = Some(Unit::Millis);
        expect_codes(&epochs.plan_with_value(moment), &[]);

        let mut naive = Case::with_value("datetime", Type::Timestamptz(6));
        let text = Cell::Text(b"2024-02-29 13:14:15");
        expect(&naive.plan_with_value(text), Note, "zone_assumed", "read as UTC in: t.v");
        naive.overrides.source_tz = "Europe/Paris".parse().unwrap();
        expect_codes(&naive.plan_with_value(text), &[]);

        let bytes = Case::with_value("BLOB", Type::Uuid);
        expect(&bytes.plan_with_value(Cell::Blob(&[7; 16])), Note, "byte_order_proposed", "uuid-blob");

        let mut letters = Case::with_value("TEXT", Type::Bytea);
        let encoded = Cell::Text(b"YWJj");
        expect(&letters.plan_with_value(encoded), Note, "bytes_proposed", "form = \"latin1\"; in any other");
        let form = Some(Form::OtherClass);
        letters.overrides.columns.insert("t.v".into(), ColumnOverride { form, ..ColumnOverride::default() });
        expect_codes(&letters.plan_with_value(encoded), &[]);
        let perl = Case::with_value("TEXT", Type::Bytea).plan_with_value(Cell::Text("\u{93}".as_bytes()));
        expect(&perl, Warning, "bytes_proposed", "form = \"latin1\"");
        expect_codes(&Case::with_value("BLOB", Type::Bytea).plan_with_value(Cell::Blob(b"abc")), &[]);

        let unsigned = Case::with_value("INTEGER", Type::Numeric(Some(NumericLimit::UNSIGNED)));
        expect(&unsigned.plan_with_value(Cell::Integer(-1)), Warning, "unsigned_proposed", "from 2^63 on");
        expect(&unsigned.plan_with_value(Cell::Integer(1)), Note, "unsigned_proposed", "form = \"native\"");

        let texts = Type::Array { element: Box::new(Type::Text), element_oid: 25 };
        let list = Case::with_value("TEXT", texts);
        expect(&list.plan_with_value(Cell::Text(b"a,b")), Note, "list_proposed", "form = \"array-list\"");
        expect_codes(&list.plan_with_value(Cell::Text(b"[\"a\"]")), &[]);
    }

    #[test]
    fn a_column_without_values_takes_the_form_that_the_usual_libraries_write() {
        let form = |plan: Plan| plan.tables[0].route.columns[1].codec.form.to_string();
        for (declared, ty, expected) in
            [("char(32)", Type::Uuid, "uuid-hex"), ("bigint", Type::Interval(6), "duration-us")]
        {
            let case = Case::with_value(declared, ty);
            assert_eq!(form(case.plan_with(&[])), expected, "{declared}, no rows");
            assert_eq!(form(case.plan_with_value(Cell::Null)), expected, "{declared}, nothing but NULL");
        }
        let hyphens = Cell::Text(b"00000000-0000-0000-0000-000000000000");
        let told = Case::with_value("char(32)", Type::Uuid).plan_with_value(hyphens);
        assert_eq!(form(told), "uuid", "values are believed before their declaration");
    }

    #[test]
    fn pinned_forms_are_taken_without_a_question() {
        let mut case = Case::with_value("bigint", Type::Interval(6));
        assert_eq!(case.plan_unread().tables[0].route.columns[1].codec.form.to_string(), "duration-us");
        expect(&case.plan_unread(), Note, "unit_proposed", "t.v");
        expect(&case.plan_with_value(Cell::Integer(90_000_000)), Note, "unit_proposed", "t.v");
        expect(&case.plan_with_value(Cell::Integer(0)), Note, "unit_proposed", "t.v");
        for days in [30, -14, 999_999] {
            expect(&case.plan_with_value(Cell::Integer(days)), Warning, "unit_proposed", "duration-days");
        }
        let pinned = ColumnOverride { form: "duration-ns".parse().ok(), ..ColumnOverride::default() };
        assert!(pinned.form.is_some());
        case.overrides.columns.insert("t.v".into(), pinned);
        let plan = case.plan_with_value(Cell::Integer(5));
        assert_eq!(plan.tables[0].route.columns[1].codec.form.to_string(), "duration-ns");
        assert!(plan.findings.iter().all(|finding| finding.code != "unit_proposed"));
    }
}
