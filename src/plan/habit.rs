//! Habit: how an application spells its dates and times, as far as all its columns agree. It decides what the values of a column leave
//! open: whether `12:30:00.250000` would be `12:30:00` or `12:30:00.000000` without its fraction, what a `0` counts, in which spelling
//! values come back to a column that was empty, and in `create` mode which type such a column becomes.
//!
//! Never against a value, and never where the columns disagree.

use super::survey::Survey;
use crate::canon::Form;
use crate::canon::learn::Learner;
use crate::model::types::Type;

/// Lets each column know the habit of those like it.
pub fn tell(survey: &mut Survey) {
    let habits = habits(survey);
    let columns = survey.tables.values_mut().flat_map(|table| &mut table.columns);
    for learner in columns.flat_map(|column| &mut column.learners) {
        let habit = habits.iter().find(|(pattern, _)| learner.is_like(pattern));
        if let Some((_, form)) = habit {
            learner.take_habit(*form);
        }
    }
}

/// For each kind of columns the one form that every value of every such column speaks for.
fn habits(survey: &Survey) -> Vec<(Learner, Form)> {
    let mut kinds: Vec<Learner> = Vec::new();
    let columns = survey.tables.values().flat_map(|table| &table.columns);
    let learners = columns.flat_map(|column| &column.learners);
    for learner in learners.filter(|learner| is_moment(learner.ty()) && is_plain(learner)) {
        match kinds.iter_mut().find(|kind| kind.is_like(learner)) {
            Some(kind) => kind.merge(learner.clone()),
            None => kinds.push(learner.clone()),
        }
    }
    let agreed = kinds.into_iter().filter(is_plain);
    let with_form = agreed.map(|kind| {
        let form = kind.learned().codec.form;
        (kind, form)
    });
    with_form.collect()
}

/// Whether all its values, and there are some, speak for one form.
fn is_plain(learner: &Learner) -> bool {
    let learned = learner.learned();
    learned.exact > 0 && learned.elsewhere + learned.kept + learned.lost == 0
}

fn is_moment(ty: &Type) -> bool {
    matches!(ty, Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canon::Hints;
    use crate::model::cell::Cell;
    use crate::model::schema::Affinity;
    use crate::plan::survey::{ColumnSurvey, TableSurvey};

    /// The form that each column is found to have, or takes while it is empty, where they stand in tables of their own.
    fn forms(columns: &[&[Cell<'_>]]) -> Vec<String> {
        let hints = Hints { affinity: Affinity::Numeric, ..Hints::default() };
        let mut survey = Survey::default();
        for (at, cells) in columns.iter().enumerate() {
            let learners = vec![Learner::new(Type::Timestamptz(6), hints)];
            let mut column = ColumnSurvey::with_learners(learners);
            cells.iter().for_each(|cell| column.observe(*cell));
            let table = TableSurvey { rows: 1, columns: vec![column], ..TableSurvey::default() };
            survey.tables.insert(format!("t{at}"), table);
        }
        tell(&mut survey);
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
        ] {
            assert_eq!(forms(columns), expected, "{columns:?}");
        }
    }
}
