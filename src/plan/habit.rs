//! Habit: how an application spells what SQLite has no class for (dates and times, UUIDs, truth, exact decimals), as far as all its columns agree. It
//! decides what the values of a column leave open: whether `12:30:00.250000` would be `12:30:00` or `12:30:00.000000` without its
//! fraction, what a `0` counts, in which spelling values come back to a column that was empty, and in `create` mode which type such a
//! column becomes.
//!
//! A literal DEFAULT of a column of truth values is one that it will have: what all the others do says less of it.
//!
//! Never against a value, and never where the columns disagree.

use super::default::stored_constant;
use super::route::Route;
use super::survey::{ColumnSurvey, Survey};
use crate::canon::Form;
use crate::canon::form::Moment;
use crate::canon::learn::Learner;
use crate::model::schema::{SqliteColumn, SqliteTable};
use crate::model::types::Type;
use std::sync::Arc;

/// Lets each column know the habit of those like it: of the survey, and of tables that are followed and were not looked at again.
pub fn tell(survey: &mut Survey, tables: &[SqliteTable], followed: &[Arc<Route>]) {
    let habits = habits(survey);
    let columns = survey.tables.values_mut().flat_map(|table| &mut table.columns);
    for learner in columns.flat_map(|column| &mut column.learners).filter(|learner| is_spelt(learner.ty())) {
        let seen = habits.iter().find(|(pattern, _)| learner.is_like(pattern));
        let known = followed.iter().flat_map(|route| &route.columns);
        let known = known.filter(|column| learner.is_as(&column.codec, column.affinity));
        let known: Vec<Form> = known.map(|column| column.codec.form).collect();
        if let Some(form) = agreed(seen, &known)
            && says_more_than_its_class(learner.ty(), form)
        {
            learner.take_habit(form);
        }
    }
    for table in tables {
        let surveyed = survey.tables.get_mut(&table.name).into_iter().flat_map(|table| &mut table.columns);
        surveyed.zip(&table.columns).for_each(|(surveyed, column)| take_default(surveyed, column));
    }
}

/// Of a column without values.
fn take_default(surveyed: &mut ColumnSurvey, column: &SqliteColumn) {
    let default = column.default.as_deref().and_then(|raw| stored_constant(raw, column.affinity));
    let Some(default) = default.filter(|_| surveyed.values() == 0) else { return };
    for learner in surveyed.learners.iter_mut().filter(|learner| *learner.ty() == Type::Bool) {
        if let Some(form) = learner.only_form_of(default.as_cell()) {
            learner.take_habit(form);
        }
    }
}

/// The form that values seen now and columns that are followed speak for. What a followed column's values were is not known any more: they
/// agree where their form carries whatever is seen, and where the two differ in nothing but when they show a fraction.
fn agreed(seen: Option<&(Learner, Option<Form>)>, known: &[Form]) -> Option<Form> {
    let first = known.first().copied();
    let Some((kind, form)) = seen else {
        return first.filter(|first| known.iter().all(|one| is_alike(*first, *one)));
    };
    let form = (*form)?;
    match first {
        Some(first)
            if known.iter().all(|one| *one == first) && kind.votes_for(first) == kind.learned().exact =>
        {
            Some(first)
        }
        _ => known.iter().all(|one| is_alike(form, *one)).then_some(form),
    }
}

fn is_alike(one: Form, other: Form) -> bool {
    match (one, other) {
        (Form::Moment(one), Form::Moment(other)) => Moment { clock: other.clock, ..one } == other,
        _ => one == other,
    }
}

/// For each kind of columns the one form that every value of every such column speaks for; nothing where they disagree.
fn habits(survey: &Survey) -> Vec<(Learner, Option<Form>)> {
    let mut kinds: Vec<Learner> = Vec::new();
    let columns = survey.tables.values().flat_map(|table| &table.columns);
    let learners = columns.flat_map(|column| &column.learners);
    for learner in learners.filter(|learner| is_spelt(learner.ty()) && is_plain(learner)) {
        match kinds.iter_mut().find(|kind| kind.is_like(learner)) {
            Some(kind) => kind.merge(learner.clone()),
            None => kinds.push(learner.clone()),
        }
    }
    let with_form = kinds.into_iter().map(|kind| {
        let form = is_plain(&kind).then(|| kind.learned().codec.form);
        (kind, form)
    });
    with_form.collect()
}

/// Whether all its values, and there are some, speak for one form.
fn is_plain(learner: &Learner) -> bool {
    let learned = learner.learned();
    learned.exact > learned.endless && learned.elsewhere + learned.kept + learned.lost == 0
}

/// Whether applications spell such values each in their own way.
fn is_spelt(ty: &Type) -> bool {
    match ty {
        Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) | Type::Interval(_) => true,
        Type::Uuid | Type::Bool | Type::Array { .. } => true,
        Type::Numeric(_) | Type::Int2 | Type::Int4 | Type::Int8 => true,
        Type::Oid | Type::Float4 | Type::Float8 => false,
        Type::Text | Type::Citext | Type::Varchar(_) | Type::Bpchar(_) | Type::Enum(_) | Type::Bytea => false,
        Type::Json | Type::Jsonb | Type::Inet | Type::Cidr | Type::Macaddr | Type::Other(_) => false,
    }
}

/// A number that SQLite holds as one is spelt by SQLite; one that an application writes as bytes, or as digits of its own, is not.
fn says_more_than_its_class(ty: &Type, form: Form) -> bool {
    let is_number = ty.is_integer() || matches!(ty, Type::Numeric(_));
    !is_number || matches!(form, Form::OtherClass | Form::Trimmed(_))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canon::Hints;
    use crate::model::cell::Cell;
    use crate::model::schema::Affinity;
    use crate::plan::overrides::Overrides;
    use crate::plan::samples;
    use crate::plan::survey::{ColumnSurvey, TableSurvey};

    /// The form that each column is found to have, or takes while it is empty, where they stand in tables of their own.
    fn forms(ty: &Type, columns: &[&[Cell<'_>]]) -> Vec<String> {
        let hints = Hints { affinity: Affinity::Numeric, ..Hints::default() };
        let mut survey = Survey::default();
        for (at, cells) in columns.iter().enumerate() {
            let learners = vec![Learner::new(ty.clone(), hints)];
            let mut column = ColumnSurvey::with_learners(learners);
            cells.iter().for_each(|cell| column.observe(*cell));
            let table = TableSurvey { rows: 1, columns: vec![column], ..TableSurvey::default() };
            survey.tables.insert(format!("t{at}"), table);
        }
        tell(&mut survey, &[], &[]);
        let form = |table: &TableSurvey| {
            let column = &table.columns[0];
            let learner = &column.learners[0];
            let learned = learner.learned().codec.form;
            let form = if column.values() > 0 { Some(learned) } else { learner.habit() };
            form.map_or("none".to_owned(), |form| form.to_string())
        };
        survey.tables.values().map(form).collect()
    }

    #[test]
    fn what_a_columns_values_leave_open_is_as_in_columns_like_it() {
        let micros = Cell::Text(b"2024-01-02 03:04:05.678901");
        let whole = Cell::Text(b"2024-01-02 03:04:05");
        let zeros = Cell::Text(b"2024-01-02 03:04:05.000000");
        let millis = Cell::Integer(1_704_164_645_000);
        let (always, at_need) = ("Y-m-d H:M:S.f6", "Y-m-d H:M:S[.f6]");
        for (columns, expected) in [
            (&[&[micros][..], &[zeros], &[]][..], [always, always, always]),
            (&[&[micros], &[whole, micros], &[]], [at_need, at_need, at_need]),
            (&[&[millis], &[Cell::Integer(0)], &[Cell::Null]], ["epoch-ms", "epoch-ms", "epoch-ms"]),
            // A value is believed before its neighbours, and neighbours who disagree are not asked.
            (&[&[zeros], &[whole], &[]], [always, at_need, "none"]),
            (&[&[millis], &[zeros], &[]], ["epoch-ms", always, "none"]),
            // A column that is no clean one speaks for itself alone.
            (&[&[millis, Cell::Text(b"never")], &[], &[whole]], ["epoch-ms", at_need, at_need]),
            (&[&[], &[], &[Cell::Text(b"never")]], ["none", "none", "native"]),
            // An infinity says nothing of how times are written.
            (&[&[millis], &[Cell::Text(b"infinity")], &[]], ["epoch-ms", "epoch-ms", "epoch-ms"]),
            (&[&[], &[Cell::Text(b"infinity")], &[whole]], [at_need, at_need, at_need]),
        ] {
            assert_eq!(forms(&Type::Timestamptz(6), columns), expected, "{columns:?}");
        }
    }

    #[test]
    fn a_default_that_one_form_alone_spells_is_a_truth_value_to_come() {
        let with_default = |default: Option<&str>, cells: &[Cell<'_>]| {
            let mut table = samples::table("t", &["c BOOLEAN"]);
            table.columns[0].default = default.map(str::to_owned);
            let other = samples::table("other", &["c BOOLEAN"]);
            let overrides = Overrides::default();
            let mut survey = Survey::default();
            let words = [Cell::Text(b"true"), Cell::Text(b"false")];
            for (table, cells) in [(&table, cells), (&other, &words[..])] {
                let columns = vec![samples::column_survey(table, 0, cells, &overrides)];
                let surveyed = TableSurvey { rows: 2, columns, ..TableSurvey::default() };
                survey.tables.insert(table.name.clone(), surveyed);
            }
            tell(&mut survey, &[table, other], &[]);
            let learned = survey.tables["t"].columns[0].learners[0].learned();
            learned.codec.form.to_string()
        };
        for (default, cells, expected) in [
            (None, &[][..], "words-true-false"),
            (Some("'no'"), &[], "words-yes-no"),
            (Some("'False'"), &[], "words-True-False"),
            (Some("0"), &[], "native"),
            (Some("FALSE"), &[], "native"),
            (Some("'maybe'"), &[], "words-true-false"),
            (Some("(random() & 1)"), &[], "words-true-false"),
            (Some("NULL"), &[], "words-true-false"),
            (Some("'no'"), &[Cell::Text(b"t")], "words-tf"),
        ] {
            assert_eq!(with_default(default, cells), expected, "{default:?}");
        }
    }

    #[test]
    fn whatever_sqlite_has_no_class_for_is_spelt_by_habit_and_numbers_and_texts_are_not() {
        let bytes = Cell::Blob(b"0123456789abcdef");
        for (ty, values, expected) in [
            (Type::Uuid, [bytes].as_slice(), "uuid-blob"),
            (Type::Bool, &[Cell::Text(b"yes"), Cell::Text(b"no")], "words-yes-no"),
            (Type::Interval(6), &[Cell::Integer(90_000_000)], "duration-us"),
            (Type::Text, &[bytes], "none"),
            (Type::Int8, &[Cell::Real(1.0)], "none"),
            (Type::Numeric(None), &[Cell::Real(1.5)], "none"),
            (Type::Numeric(None), &[Cell::Blob(b"12.3400")], "other-class"),
            (Type::Int8, &[Cell::Blob(b"1234")], "other-class"),
        ] {
            assert_eq!(forms(&ty, &[values, &[]])[1], expected, "{ty:?}");
        }
    }
}
