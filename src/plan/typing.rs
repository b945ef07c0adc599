//! Typing: which PostgreSQL type a column becomes in `create` mode, and in which form it crosses.
//!
//! The narrowest type under which every value that was seen decodes to the same cell, byte for byte. Where there is none, the
//! type that leaves the fewest cells to the ledger, and text among equals. For a column without values the declared name
//! decides, and for a date or time what the columns like it hold; nothing is chosen that the values contradict.

use super::costs::{Candidate, Costs};
use super::default::{DefaultTarget, translate_default};
use super::family::{Family, Width};
use super::overrides::{IntWidth, JsonChoice, NumericChoice, Overrides};
use super::spelling;
use super::survey::ColumnSurvey;
use crate::canon::learn::Learner;
use crate::canon::{Codec, Form, Hints, Zone};
use crate::model::cell::Class;
use crate::model::finding::Finding;
use crate::model::schema::{Affinity, SqliteTable};
use crate::model::types::Type;

#[derive(Clone, Debug)]
pub struct Decision {
    pub codec: Codec,
    /// For a column definition, collation included. An enum has no name yet and stands as `text`.
    pub type_sql: String,
    /// One line for people.
    pub note: String,
    pub findings: Vec<Finding>,
    /// Of the values seen, those that will stand in the ledger, at most.
    pub misfits: u64,
    /// Of those, the ones in whose place the target holds NULL, at most.
    pub lost: u64,
}

/// A column and all that was said and seen of it.
struct Column<'a> {
    table: &'a SqliteTable,
    index: usize,
    family: Family,
    survey: Option<&'a ColumnSurvey>,
    overrides: &'a Overrides,
}

/// The types whose learners the survey runs over a column. Plain columns have none: for them the counts suffice.
pub fn candidates(table: &SqliteTable, column: usize, overrides: &Overrides) -> Vec<Learner> {
    let column = Column { table, index: column, family: Family::of(table, column), survey: None, overrides };
    let hints = column.hints();
    column.learned_types().into_iter().map(|ty| Learner::new(ty, hints)).collect()
}

pub fn decide(
    table: &SqliteTable,
    column: usize,
    survey: Option<&ColumnSurvey>,
    overrides: &Overrides,
) -> Decision {
    let column = Column { table, index: column, family: Family::of(table, column), survey, overrides };
    if let Some(spelling) = column.wish() {
        return match spelling::parse(spelling) {
            Some(ty) => column.stated(ty),
            None => column.unknown(spelling),
        };
    }
    match survey.filter(|survey| survey.values() > 0) {
        _ if column.form_stated().is_some() => column.formed(),
        Some(survey) => column.chosen(survey),
        None => column.unseen(),
    }
}

/// For a column that was looked at, holds no value, and refers to one of this codec and affinity. `None` where its own declaration or the
/// operator says what it holds.
pub fn referring(
    (table, column): (&SqliteTable, usize),
    survey: Option<&ColumnSurvey>,
    (model, affinity): (&Codec, Affinity),
    overrides: &Overrides,
) -> Option<Decision> {
    survey.filter(|survey| survey.values() == 0)?;
    let column = Column { table, index: column, family: Family::of(table, column), survey, overrides };
    let promises = match column.family {
        Family::RowidAlias | Family::Integer(_) | Family::Boolean | Family::Real => true,
        Family::Text | Family::Blob => true,
        Family::Numeric | Family::Date | Family::Time | Family::Moment => false,
        Family::Uuid | Family::Json | Family::Binary | Family::Named | Family::Untyped => false,
    };
    if promises || column.wish().is_some() || column.form_stated().is_some() {
        return None;
    }
    let form =
        if affinity == column.affinity() { model.form } else { Form::usual(&model.ty, column.affinity()) };
    let codec = column.codec(model.ty.clone(), form);
    let mut decision = column.decision(Candidate { codec, misfits: 0, lost: 0 });
    decision.note.push_str(", as what it refers to");
    Some(decision)
}

/// A type as a column definition spells it. Text compares by its bytes, as SQLite's BINARY does.
pub fn type_sql(ty: &Type) -> String {
    match ty {
        Type::Text | Type::Varchar(_) | Type::Bpchar(_) => format!("{} collate \"C\"", ty.sql()),
        Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 => ty.sql(),
        Type::Numeric(_) | Type::Citext | Type::Bytea | Type::Date | Type::Time(_) => ty.sql(),
        Type::Timestamp(_) | Type::Timestamptz(_) | Type::Interval(_) | Type::Uuid => ty.sql(),
        Type::Json | Type::Jsonb | Type::Inet | Type::Cidr | Type::Macaddr | Type::Oid => ty.sql(),
        Type::Enum(_) | Type::Array { .. } | Type::Other(_) => ty.sql(),
    }
}

impl<'a> Column<'a> {
    fn name(&self) -> &'a str {
        &self.table.columns[self.index].name
    }

    fn subject(&self) -> String {
        format!("{}.{}", self.table.name, self.name())
    }

    fn affinity(&self) -> Affinity {
        match self.family {
            // STRICT ANY converts nothing, whatever its name's affinity would be.
            Family::Untyped => Affinity::Blob,
            _ => self.table.columns[self.index].affinity,
        }
    }

    /// A row is found by its key, and PostgreSQL compares no two values of `json`.
    fn json(&self) -> JsonChoice {
        let is_key = self.table.primary_key.contains(&self.index);
        if is_key && self.overrides.json == JsonChoice::Json { JsonChoice::Text } else { self.overrides.json }
    }

    fn wish(&self) -> Option<&'a str> {
        self.overrides.column(&self.table.name, self.name())?.type_sql.as_deref()
    }

    fn form_stated(&self) -> Option<Form> {
        self.overrides.column(&self.table.name, self.name())?.form
    }

    fn zone(&self) -> Zone {
        let own = self.overrides.column(&self.table.name, self.name()).and_then(|own| own.zone);
        own.unwrap_or(self.overrides.source_tz)
    }

    fn hints(&self) -> Hints {
        Hints {
            affinity: self.affinity(),
            zone: self.zone(),
            form: self.form_stated(),
            unit: self.overrides.unit,
        }
    }

    /// `candidates` and `chosen` must agree on this list.
    fn learned_types(&self) -> Vec<Type> {
        if let Some(spelling) = self.wish() {
            return spelling::parse(spelling).into_iter().collect();
        }
        match self.family {
            Family::Boolean => vec![Type::Bool],
            Family::Date => vec![Type::Date],
            Family::Time => vec![Type::Time(6)],
            Family::Moment => vec![Type::Timestamp(6), Type::Timestamptz(6)],
            Family::Uuid => vec![Type::Uuid],
            Family::Json => match self.json() {
                JsonChoice::Text => Vec::new(),
                JsonChoice::Json => vec![Type::Json],
                JsonChoice::Jsonb => vec![Type::Jsonb],
            },
            // Texts that look like numbers are told apart from numbers only cell by cell.
            Family::Untyped => vec![Type::Text],
            Family::RowidAlias | Family::Integer(_) | Family::Real | Family::Numeric => self.form_home(),
            Family::Text | Family::Blob | Family::Binary | Family::Named => self.form_home(),
        }
    }

    /// A stated form without a stated type is judged under the family's own type.
    fn form_home(&self) -> Vec<Type> {
        self.form_stated().and_then(|_| self.family.home()).into_iter().collect()
    }

    fn codec(&self, ty: Type, form: Form) -> Codec {
        Codec::new(ty, form, self.zone())
    }

    fn usual(&self, ty: Type) -> Codec {
        let form = self.form_stated().unwrap_or_else(|| Form::usual(&ty, self.affinity()));
        self.codec(ty, form)
    }

    fn stated(&self, ty: Type) -> Decision {
        let learned = self.learned(|learned| *learned == ty);
        self.set(learned.unwrap_or_else(|| Candidate { codec: self.usual(ty), misfits: 0, lost: 0 }))
    }

    /// A form was set and no type: the family's own, whatever it costs.
    fn formed(&self) -> Decision {
        let learned = match (self.family, self.survey) {
            (Family::Moment, Some(survey)) => self.moments(survey),
            _ => self.learned(|_| true),
        };
        let home = || Some(Candidate { codec: self.usual(self.family.home()?), misfits: 0, lost: 0 });
        match learned.or_else(home) {
            Some(candidate) => self.set(candidate),
            None => {
                let mut decision = self.unseen();
                let text =
                    "a form is set for it, but its declared type promises none that the form could be of";
                let finding = Finding::blocker("form_without_type", self.subject(), text);
                decision.findings.push(finding.with_remedy("set its type too"));
                decision
            }
        }
    }

    fn set(&self, candidate: Candidate) -> Decision {
        let mut decision = self.decision(candidate);
        decision.note.push_str(", as set");
        decision
    }

    fn unknown(&self, spelling: &str) -> Decision {
        let mut decision = self.decision(Candidate { codec: self.usual(Type::Text), misfits: 0, lost: 0 });
        decision.findings.push(
            Finding::blocker(
                "type_unknown",
                self.subject(),
                format!("the type \"{spelling}\" set for it is none that liteferry can write"),
            )
            .with_remedy(
                "set a type of PostgreSQL such as bigint, text, numeric(12,2), timestamptz or enum('a','b')",
            ),
        );
        decision
    }

    /// No values: what the family stores without fail. A date or a truth value is no proof of itself.
    fn unseen(&self) -> Decision {
        if let Some(codec) = self.custom() {
            let mut decision = self.decision(Candidate { codec, misfits: 0, lost: 0 });
            decision.note.push_str(", as in columns like it");
            return decision;
        }
        let scanned = self.survey.is_some();
        let ty = match self.family {
            Family::RowidAlias | Family::Integer(_) => self.integer_type(None),
            Family::Boolean if scanned => Type::Bool,
            Family::Boolean => Type::Int8,
            Family::Real => Type::Float8,
            Family::Numeric => match self.overrides.numeric {
                NumericChoice::Numeric => Type::Numeric(None),
                NumericChoice::Float8 => Type::Float8,
            },
            Family::Blob | Family::Binary => Type::Bytea,
            Family::Text | Family::Date | Family::Time | Family::Moment | Family::Uuid => Type::Text,
            Family::Json | Family::Named | Family::Untyped => Type::Text,
        };
        let form = match (&ty, self.family) {
            (Type::Text, Family::Untyped) => Form::Affinity,
            _ => self.usual(ty.clone()).form,
        };
        self.decision(Candidate { codec: self.codec(ty, form), misfits: 0, lost: 0 })
    }

    fn chosen(&self, survey: &ColumnSurvey) -> Decision {
        let candidates = self.candidates(survey);
        // Binary JSON was asked for, and normalises by nature.
        let normalised = |candidate: &Candidate| candidate.codec.ty == Type::Jsonb && candidate.lost == 0;
        let exact = candidates.iter().find(|candidate| candidate.misfits == 0 || normalised(candidate));
        let bytes = matches!(self.family, Family::Blob | Family::Binary);
        let fallback = if bytes { Type::Bytea } else { Type::Text };
        let cheapest =
            || candidates.iter().min_by_key(|candidate| (candidate.misfits, candidate.codec.ty != fallback));
        let best = exact.or_else(cheapest).expect("every family has a candidate");
        let mut decision = self.decision(best.clone());
        decision.findings.extend(self.widening(survey, &decision));
        decision
    }

    /// Narrowest first.
    fn candidates(&self, survey: &ColumnSurvey) -> Vec<Candidate> {
        let costs = Costs { survey, zone: self.zone() };
        let integer = || costs.integer(self.integer_type(Some(survey)));
        match self.family {
            Family::RowidAlias => vec![integer()],
            Family::Integer(_) => [vec![integer(), costs.float()], costs.wide()].concat(),
            Family::Boolean => {
                let learned = self.learned(|ty| *ty == Type::Bool);
                learned.into_iter().chain([integer(), costs.float()]).chain(costs.wide()).collect()
            }
            Family::Real => vec![costs.real(), costs.bytea(), costs.text(Form::Affinity)],
            Family::Numeric => match self.overrides.numeric {
                NumericChoice::Numeric => costs.wide(),
                NumericChoice::Float8 => [vec![costs.float()], costs.wide()].concat(),
            },
            Family::Text => costs.texts(),
            Family::Date | Family::Time | Family::Moment => {
                let learned = self.moments(survey);
                learned.into_iter().chain([integer(), costs.float()]).chain(costs.wide()).collect()
            }
            Family::Uuid | Family::Json => {
                let learned = self.learned(|_| true);
                let held = [costs.bytea(), costs.text(Form::Affinity)];
                learned.into_iter().chain(held).chain(costs.bytes_in_texts()).collect()
            }
            Family::Binary | Family::Named => [vec![integer()], costs.wide()].concat(),
            // Bytes of any class stand in bytea, so a mixture loses nothing there.
            Family::Blob => vec![costs.bytea(), costs.bytea_of_text(), integer(), costs.real()],
            Family::Untyped => {
                let singles = [integer(), costs.real(), costs.bytea(), costs.text(Form::Native)];
                let learned = self.learned(|ty| *ty == Type::Text);
                let last = [costs.float(), costs.numeric()].into_iter().chain(costs.bytes_in_texts());
                singles.into_iter().chain(learned).chain(last).collect()
            }
        }
    }

    /// What the survey's learner of such a type came to.
    fn learned(&self, wanted: impl Fn(&Type) -> bool) -> Option<Candidate> {
        let learners = self.survey.map(|survey| survey.learners.as_slice()).unwrap_or_default();
        let learned = learners.iter().map(Learner::learned).find(|learned| wanted(&learned.codec.ty))?;
        // What another form carries exactly may be lost under this one.
        let lost = learned.lost + learned.elsewhere;
        Some(Candidate { misfits: learned.kept + lost, lost, codec: learned.codec })
    }

    /// The unit of bare numbers is never guessed: without the operator's word they stay numbers.
    fn moments(&self, survey: &ColumnSurvey) -> Option<Candidate> {
        let numbers = survey.count(Class::Integer) + survey.count(Class::Real);
        let unit_stated = self.overrides.unit.is_some() || self.form_stated().is_some();
        if numbers > 0 && !unit_stated {
            return None;
        }
        // Most of PostgreSQL's drivers give a program that reads such a value an error; as a text it stays what it was.
        if survey.learners.iter().any(|learner| learner.learned().endless > 0) && self.form_stated().is_none()
        {
            return None;
        }
        let naive = self.learned(|ty| matches!(ty, Type::Date | Type::Time(_) | Type::Timestamp(_)));
        let zoned = self.learned(|ty| matches!(ty, Type::Timestamptz(_)));
        let instant = zoned.filter(|zoned| tells_instant(zoned.codec.form));
        instant.filter(|zoned| zoned.misfits == 0 || self.form_stated().is_some()).or(naive)
    }

    /// What all columns declared like this one are found to hold: an application that reads those as times reads this one so too.
    fn custom(&self) -> Option<Codec> {
        if !matches!(
            self.family,
            Family::Date | Family::Time | Family::Moment | Family::Uuid | Family::Boolean
        ) {
            return None;
        }
        let learners = &self.survey?.learners;
        let habits = learners.iter().filter_map(|learner| Some((learner.ty(), learner.habit()?)));
        // Numbers of which nobody said the unit are no times in those columns either.
        let mut habits: Vec<(&Type, Form)> =
            habits.filter(|(_, form)| !form.counts() || self.overrides.unit.is_some()).collect();
        habits.sort_by_key(|(ty, form)| matches!(ty, Type::Timestamptz(_)) != tells_instant(*form));
        let (ty, form) = habits.first()?;
        let codec = self.codec((*ty).clone(), *form);
        // A default such as `''` or `'0000-00-00'` is a value that will come, and no time.
        let default = self.table.columns[self.index].default.as_deref();
        let target = DefaultTarget { codec: &codec, affinity: self.affinity() };
        let fits = default.is_none_or(|raw| translate_default(raw, target).is_ok());
        fits.then_some(codec)
    }

    fn integer_type(&self, survey: Option<&ColumnSurvey>) -> Type {
        let range = survey.and_then(|survey| survey.integers);
        let fits = |least: i64, most: i64| range.is_none_or(|(min, max)| least <= min && max <= most);
        let small = fits(i64::from(i16::MIN), i64::from(i16::MAX));
        let regular = fits(i64::from(i32::MIN), i64::from(i32::MAX));
        match (self.family, self.overrides.int_width) {
            (Family::Boolean, _) if small => Type::Int2,
            (Family::Integer(Width::Small), IntWidth::Declared) if small => Type::Int2,
            (Family::Integer(Width::Regular), IntWidth::Declared) if regular => Type::Int4,
            _ => Type::Int8,
        }
    }

    fn decision(&self, candidate: Candidate) -> Decision {
        let Candidate { codec, misfits, lost } = candidate;
        let mut findings = Vec::new();
        if misfits > 0 {
            let text = format!("{misfits} of its values do not cross exactly as {}", codec.ty.sql());
            let remedy =
                "they are kept byte for byte in the ledger; correct them in the source, or set another type";
            findings.push(Finding::warning("cells_to_ledger", self.subject(), text).with_remedy(remedy));
        }
        let type_sql = type_sql(&codec.ty);
        Decision { note: self.note(&codec, misfits), codec, type_sql, findings, misfits, lost }
    }

    fn note(&self, codec: &Codec, misfits: u64) -> String {
        let form = codec.form.told().map(|word| format!(" ({word})")).unwrap_or_default();
        let outcome = match self.survey {
            None => "values not read".to_owned(),
            Some(survey) if survey.values() == 0 => "no values".to_owned(),
            Some(survey) if misfits == 0 => format!("{} values, all exact", survey.values()),
            Some(survey) => format!("{} values, at most {misfits} in the ledger", survey.values()),
        };
        let ty = match &codec.ty {
            Type::Enum(_) => "enum".to_owned(),
            ty => ty.sql(),
        };
        format!("column {}  {} → {ty}{form}: {outcome}", self.name(), self.declared())
    }

    fn declared(&self) -> &'a str {
        match self.table.columns[self.index].declared.trim() {
            "" => "(no type)",
            declared => declared,
        }
    }

    /// What to say where the values contradict the declared type.
    fn widening(&self, survey: &ColumnSurvey, decision: &Decision) -> Option<Finding> {
        let home = self.family.home()?;
        let ty = &decision.codec.ty;
        if self.is_at_home(ty) {
            return None;
        }
        let setting = format!("[types.column.{:?}]", self.subject());
        let timely = matches!(self.family, Family::Date | Family::Time | Family::Moment);
        if timely && survey.only(&[Class::Integer]) {
            return Some(self.numbers_for_times(ty, &setting));
        }
        let (declared, held) = (self.declared(), survey.held());
        let text = format!("it is declared {declared} and holds {held}: it becomes {}", ty.sql());
        let finding = Finding::note("column_widened", self.subject(), text);
        let (wanted, outcome) = match self.nearest(survey) {
            None => (home, "what does not fit then stands in the ledger".to_owned()),
            Some(near) if near.lost >= survey.values() => return Some(finding),
            Some(near) => {
                let outcome = format!("{} of its values then stand in the ledger, at most", near.misfits);
                (near.codec.ty, outcome)
            }
        };
        let wanted = wanted.sql();
        let remedy = format!("to have {wanted} all the same, set {setting} type = \"{wanted}\"; {outcome}");
        Some(finding.with_remedy(remedy))
    }

    /// Of the types that the family's name may mean, the one that holds the most of the values; nothing where none was tried.
    fn nearest(&self, survey: &ColumnSurvey) -> Option<Candidate> {
        let tried = survey.learners.iter().filter_map(|learner| self.learned(|ty| ty == learner.ty()));
        // Of a text with an offset the instant is what a type without a zone would lose.
        let loses_instant = |candidate: &Candidate| {
            tells_instant(candidate.codec.form) && !matches!(candidate.codec.ty, Type::Timestamptz(_))
        };
        tried.min_by_key(|candidate| (candidate.lost, loses_instant(candidate), candidate.misfits))
    }

    fn numbers_for_times(&self, ty: &Type, setting: &str) -> Finding {
        let is_epoch =
            |candidate: &Candidate| candidate.misfits == 0 && matches!(candidate.codec.form, Form::Epoch(_));
        let guess = self.learned(|_| true).filter(is_epoch).map(|learned| learned.codec.form);
        let form = guess.map_or_else(|| "epoch-s\" or \"epoch-ms".to_owned(), |form| form.to_string());
        let wanted = match self.family {
            Family::Date => "date",
            Family::Time => "time",
            _ => "timestamptz",
        };
        let text = format!("it is declared {} and holds integers: they stay {}", self.declared(), ty.sql());
        let remedy = format!("if they count time, set {setting} type = \"{wanted}\", form = \"{form}\"");
        Finding::note("numbers_for_times", self.subject(), text).with_remedy(remedy)
    }

    /// Whether the type is what the family's name promises, or as good.
    fn is_at_home(&self, ty: &Type) -> bool {
        match self.family {
            Family::RowidAlias | Family::Integer(_) => matches!(ty, Type::Int2 | Type::Int4 | Type::Int8),
            Family::Boolean => *ty == Type::Bool,
            Family::Real => *ty == Type::Float8,
            Family::Numeric => matches!(ty, Type::Numeric(_) | Type::Float8),
            Family::Text => *ty == Type::Text,
            Family::Date | Family::Time | Family::Moment => {
                matches!(ty, Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_))
            }
            Family::Uuid => *ty == Type::Uuid,
            Family::Json => matches!(ty, Type::Json | Type::Jsonb) || self.json() == JsonChoice::Text,
            Family::Blob | Family::Binary => *ty == Type::Bytea,
            Family::Named | Family::Untyped => true,
        }
    }
}

/// A number counts from an instant, and a text with an offset tells one.
fn tells_instant(form: Form) -> bool {
    match form {
        Form::Epoch(_) => true,
        Form::Moment(moment) => moment.suffix.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::form::Unit;
    use crate::model::cell::Cell::{self, Blob, Integer, Null, Real, Text};
    use crate::plan::overrides::ColumnOverride;
    use crate::plan::survey::{Survey, TableSurvey};
    use crate::plan::{habit, samples};

    /// `type form misfits` of a column with such values.
    fn decided(declared: &str, cells: &[Cell<'_>], overrides: &Overrides) -> String {
        let table = samples::table("t", &[&format!("c {declared}")]);
        let survey = samples::column_survey(&table, 0, cells, overrides);
        let decision = decide(&table, 0, Some(&survey), overrides);
        format!("{} {} {}", decision.codec.ty.sql(), decision.codec.form, decision.misfits)
    }

    fn check(cases: &[(&str, &[Cell<'_>], &str)]) {
        for (declared, cells, expected) in cases {
            assert_eq!(decided(declared, cells, &Overrides::default()), *expected, "{declared:?} {cells:?}");
        }
    }

    #[test]
    fn numbers_keep_the_narrowest_exact_type() {
        check(&[
            ("INTEGER", &[Integer(1), Integer(i64::MAX), Null], "bigint native 0"),
            ("INTEGER", &[Integer(1), Real(1.5), Real(1e19)], "double precision number 0"),
            ("INTEGER", &[Integer(i64::MAX), Real(1.5)], "numeric native 0"),
            ("INTEGER", &[Integer(1), Text(b"two"), Text(b"")], "text affinity 0"),
            ("INTEGER", &[Integer(1), Text(b"two"), Blob(&[1])], "text affinity 1"),
            ("CHARINT", &[Integer(3), Text(b"abc"), Integer(1)], "text affinity 0"),
            ("REAL", &[Real(0.1), Real(f64::INFINITY), Real(1.0)], "double precision native 0"),
            ("REAL", &[Real(1.5), Real(2.0), Text(b"abc")], "text affinity 0"),
            ("DECIMAL(10,2)", &[Real(10.1), Integer(3), Real(1e20)], "numeric native 0"),
            ("NUMERIC", &[Real(f64::INFINITY), Real(5e-324)], "numeric native 0"),
            ("DECIMAL(10,2)", &[Real(10.1), Text(b"1,234.50")], "text affinity 0"),
        ]);
    }

    #[test]
    fn texts_and_blobs_stay_what_they_are_and_the_few_go_to_the_ledger() {
        check(&[
            ("TEXT", &[Text(b"a"), Text("é".as_bytes())], "text native 0"),
            ("TEXT", &[Text(b"a"), Text(b"b"), Text(b"\0")], "text native 1"),
            ("TEXT", &[Text(b"a"), Blob(b"b")], "text native 1"),
            ("TEXT", &[Text(b"\xff"), Text(b"\0"), Text(b"a")], "bytea other-class 0"),
            ("TEXT", &[Blob(b"b")], "bytea native 0"),
            ("BLOB", &[Blob(b"b"), Blob(b"")], "bytea native 0"),
            ("BLOB", &[Text(b"\0\xff")], "bytea other-class 0"),
            ("BLOB", &[Blob(b"b"), Text(b"a")], "bytea native 1"),
            ("BLOB", &[Blob(b"b"), Text(b"a"), Integer(7)], "bytea native 2"),
        ]);
    }

    /// PHP binds a digest's sixteen bytes as TEXT, and SQLite asks no column whether that is one.
    #[test]
    fn bytes_that_were_bound_as_texts_are_bytes_under_any_declaration() {
        for declared in ["BINARY(16)", "STRING", "UUID", "JSON", "DATE", "NUMERIC", "INTEGER", ""] {
            check(&[(declared, &[Text(b"\xff\x01"), Text(b"\0"), Text(b"a")], "bytea other-class 0")]);
        }
        check(&[
            ("BINARY(16)", &[Blob(b"b")], "bytea native 0"),
            ("BINARY(16)", &[Text(b"a word")], "text affinity 0"),
            ("BINARY(16)", &[Text(b"\xff"), Text(b"\xfe"), Integer(7)], "bytea other-class 1"),
        ]);
    }

    #[test]
    fn a_column_without_a_type_gets_that_of_its_values() {
        check(&[
            ("", &[Integer(1), Integer(2)], "bigint native 0"),
            ("", &[Real(1.0), Real(-0.0)], "double precision native 0"),
            ("", &[Text(b"007"), Text(b"a")], "text native 0"),
            ("", &[Blob(b"1")], "bytea native 0"),
            ("", &[Integer(1), Text(b"txt")], "text affinity 0"),
            ("", &[Integer(1), Real(1.0), Text(b"a")], "text affinity 0"),
            ("", &[Integer(1), Text(b"txt"), Blob(&[0, 255])], "text affinity 1"),
            ("", &[Integer(1), Integer(2), Text(b"1")], "text affinity 1"),
            ("STRING", &[Integer(7), Text(b"abc"), Real(1000.5)], "text affinity 0"),
            ("STRING", &[Integer(7)], "bigint native 0"),
        ]);
    }

    #[test]
    fn a_time_without_an_end_keeps_its_column_a_text() {
        let times = [Text(b"2024-01-02 03:04:05"), Text(b"infinity")];
        check(&[
            ("DATETIME", &times[..1], "timestamp Y-m-d H:M:S[.f6] 0"),
            ("DATETIME", &times, "text affinity 0"),
        ]);
        let stated = Overrides {
            columns: [(
                "t.c".into(),
                ColumnOverride { form: "Y-m-d H:M:S".parse().ok(), ..ColumnOverride::default() },
            )]
            .into(),
            ..Overrides::default()
        };
        assert_eq!(decided("DATETIME", &times, &stated), "timestamp Y-m-d H:M:S 0");
    }

    #[test]
    fn truth_values_are_boolean_only_when_all_are() {
        check(&[
            ("BOOLEAN", &[Integer(0), Integer(1), Null], "boolean native 0"),
            ("TINYINT(1)", &[Integer(1)], "boolean native 0"),
            ("BOOLEAN", &[Text(b"t"), Text(b"f")], "boolean words-tf 0"),
            ("BOOLEAN", &[Integer(2), Integer(-1)], "smallint native 0"),
            ("BOOLEAN", &[Integer(40_000)], "bigint native 0"),
            ("BOOLEAN", &[Integer(1), Text(b"maybe")], "text affinity 0"),
            ("BOOLEAN", &[Null], "boolean native 0"),
        ]);
    }

    #[test]
    fn times_want_one_exact_spelling_and_numbers_stay_numbers() {
        check(&[
            ("DATE", &[Text(b"2024-02-29")], "date Y-m-d 0"),
            ("DATETIME", &[Text(b"2024-02-29 13:14:15")], "timestamp Y-m-d H:M:S[.f6] 0"),
            (
                "DATETIME",
                &[Text(b"2024-02-29 13:14:15+00:00")],
                "timestamp with time zone Y-m-d H:M:S[.f6]+00:00 0",
            ),
            ("DATETIME", &[Text(b"2024-02-29 13:14:15"), Text(b"bad")], "text affinity 0"),
            ("DATETIME", &[Integer(1_704_067_200)], "bigint native 0"),
            ("DATETIME", &[Integer(1_704_067_200), Text(b"2024-02-29 13:14:15")], "text affinity 0"),
            ("DATETIME", &[Real(2_460_310.5)], "double precision number 0"),
            ("DATETIME", &[Null], "text affinity 0"),
        ]);
        let unit = Overrides { unit: Some(Unit::Seconds), ..Overrides::default() };
        let stated = decided("DATETIME", &[Integer(1_704_067_200)], &unit);
        assert_eq!(stated, "timestamp with time zone epoch-s 0");
    }

    #[test]
    fn an_empty_time_is_what_the_columns_like_it_are() {
        let typed = |seen: Cell<'_>, declared: &str, overrides: &Overrides| {
            let (empty, default) = declared.split_once(" default ").unzip();
            let empty = format!("empty {}", empty.unwrap_or(declared));
            let mut table = samples::table("t", &["seen DATETIME", &empty]);
            table.columns[1].default = default.map(str::to_owned);
            let columns = [&[seen][..], &[Null]];
            let columns = columns.iter().enumerate();
            let columns = columns.map(|(at, cells)| samples::column_survey(&table, at, cells, overrides));
            let surveyed = TableSurvey { rows: 1, columns: columns.collect(), ..TableSurvey::default() };
            let mut survey = Survey::default();
            survey.tables.insert(table.name.clone(), surveyed);
            habit::tell(&mut survey, &[], &[]);
            let decision = decide(&table, 1, survey.tables["t"].columns.last(), overrides);
            format!("{} {}", decision.codec.ty.sql(), decision.codec.form)
        };
        let plain = Overrides::default();
        let (naive, zoned) = (Text(b"2024-02-29 13:14:15"), Text(b"2024-02-29 13:14:15+00:00"));
        assert_eq!(typed(naive, "DATETIME", &plain), "timestamp Y-m-d H:M:S[.f6]");
        assert_eq!(typed(zoned, "TIMESTAMP", &plain), "timestamp with time zone Y-m-d H:M:S[.f6]+00:00");
        assert_eq!(typed(naive, "DATE", &plain), "text affinity");
        assert_eq!(typed(Text(b"never"), "DATETIME", &plain), "text affinity");
        assert_eq!(typed(naive, "DATETIME default '0000-00-00'", &plain), "text affinity");
        let now = typed(naive, "DATETIME default current_timestamp", &plain);
        assert_eq!(now, "timestamp Y-m-d H:M:S[.f6]");
        let number = Integer(1_704_067_200);
        assert_eq!(typed(number, "DATETIME", &plain), "text affinity");
        let unit = Overrides { unit: Some(Unit::Seconds), ..Overrides::default() };
        assert_eq!(typed(number, "DATETIME", &unit), "timestamp with time zone epoch-s");
    }

    #[test]
    fn the_type_that_is_advised_in_place_of_text_is_the_one_that_holds_most() {
        let near = |declared: &str, cells: &[Cell<'_>]| {
            let table = samples::table("t", &[&format!("c {declared}")]);
            let survey = samples::column_survey(&table, 0, cells, &Overrides::default());
            let decision = decide(&table, 0, Some(&survey), &Overrides::default());
            let told = decision.findings.iter().find(|finding| finding.code == "column_widened").unwrap();
            told.remedy.clone()
        };
        let (zoned, zulu) = (Text(b"2024-01-02 03:04:05+02:00"), Text(b"2024-01-02T03:04:05Z"));
        let (naive, other) = (Text(b"2024-01-02 03:04:05"), Text(b"2024-01-02T03:04:05"));
        for (declared, cells, expected) in [
            ("DATETIME", [zoned, zulu, zulu], "type = \"timestamp with time zone\"; 1 of"),
            ("DATETIME", [naive, other, other], "type = \"timestamp\"; 1 of"),
            ("DATETIME", [naive, naive, zoned], "type = \"timestamp\"; 1 of"),
            ("DATETIME", [naive, naive, Text(b"never")], "type = \"timestamp\"; 1 of"),
            ("TIME", [Text(b"12:00 PM"), Text(b"1:00 PM"), Text(b"")], ""),
            (
                "UUID",
                [Text(b"x"), Text(b"y"), Text(b"12345678-1234-5678-1234-567812345678")],
                "type = \"uuid\"; 2 of",
            ),
            ("INTEGER", [Integer(1), Text(b"x"), Text(b"y")], "type = \"bigint\"; what does not fit"),
        ] {
            let told = near(declared, &cells);
            assert!(
                told.contains(expected) && told.is_empty() == expected.is_empty(),
                "{declared} {cells:?}: {told}"
            );
        }
    }

    #[test]
    fn uuids_and_json_fall_back_to_text() {
        check(&[
            ("UUID", &[Text(b"12345678-1234-5678-1234-567812345678")], "uuid uuid 0"),
            ("UUID", &[Text(b"12345678-1234-5678-1234-567812345678"), Text(b"x")], "text affinity 0"),
            ("JSON", &[Text(b"{\"a\": 1}"), Text(b"[]")], "json native 0"),
            ("JSON", &[Text(b"{\"a\": 1}"), Text(b"{a:1}")], "text affinity 0"),
            ("UUID", &[Real(1.5e31)], "text affinity 0"),
        ]);
    }

    #[test]
    fn without_values_the_declared_family_decides() {
        for (declared, scanned, unscanned) in [
            ("INT", "bigint", "bigint"),
            ("BOOL", "boolean", "bigint"),
            ("REAL", "double precision", "double precision"),
            ("DECIMAL", "numeric", "numeric"),
            ("DATETIME", "text collate \"C\"", "text collate \"C\""),
            ("varchar(5)", "text collate \"C\"", "text collate \"C\""),
            ("BLOB", "bytea", "bytea"),
            ("VARBINARY(20)", "bytea", "bytea"),
            ("", "text collate \"C\"", "text collate \"C\""),
        ] {
            let table = samples::table("t", &[&format!("c {declared}")]);
            let overrides = Overrides::default();
            let empty = ColumnSurvey::default();
            assert_eq!(decide(&table, 0, Some(&empty), &overrides).type_sql, scanned, "{declared}");
            assert_eq!(decide(&table, 0, None, &overrides).type_sql, unscanned, "{declared}");
        }
    }

    #[test]
    fn the_operators_word_holds_and_its_cost_is_told() {
        let with = |type_sql: &str| {
            let own = ColumnOverride { type_sql: Some(type_sql.to_owned()), form: None, zone: None };
            Overrides { columns: [("t.c".to_owned(), own)].into(), ..Overrides::default() }
        };
        let cells = [Integer(1), Text(b"x")];
        assert_eq!(decided("INTEGER", &cells, &with("bigint")), "bigint native 1");
        assert_eq!(decided("TEXT", &[Text(b"a")], &with("enum('a','b')")), "text native 0");
        let table = samples::table("t", &["c INT"]);
        let decision = decide(&table, 0, None, &with("geometry"));
        assert_eq!(decision.findings[0].code, "type_unknown");
    }

    #[test]
    fn a_form_without_a_type_takes_the_familys_type_at_any_cost() {
        let with = |form: &str| {
            let own = ColumnOverride { type_sql: None, form: form.parse().ok(), zone: None };
            Overrides { columns: [("t.c".to_owned(), own)].into(), ..Overrides::default() }
        };
        let millis = [Integer(1_704_067_200_123), Text(b"bad")];
        assert_eq!(decided("DATETIME", &millis, &with("epoch-ms")), "timestamp with time zone epoch-ms 1");
        assert_eq!(decided("BOOLEAN", &[Text(b"t"), Text(b"x")], &with("words-tf")), "boolean words-tf 1");
        assert_eq!(decided("TEXT", &[Blob(b"b"), Text(b"x")], &with("other-class")), "text other-class 1");
    }

    #[test]
    fn declared_width_is_kept_on_request_where_every_value_fits() {
        let declared = Overrides { int_width: IntWidth::Declared, ..Overrides::default() };
        assert_eq!(decided("smallint", &[Integer(5)], &declared), "smallint native 0");
        assert_eq!(decided("integer", &[Integer(5)], &declared), "integer native 0");
        assert_eq!(decided("integer", &[Integer(1 << 40)], &declared), "bigint native 0");
        assert_eq!(decided("bigint", &[Integer(5)], &declared), "bigint native 0");
    }
}
