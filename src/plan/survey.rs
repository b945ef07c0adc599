//! The survey: what one pass over a table's values found, gathered cell by cell. Types are decided from it.

use super::numbers::DIGITS_MAX;
use super::route::{ColumnRoute, Route};
use crate::canon::form::Unit;
use crate::canon::learn::Learner;
use crate::canon::{Codec, Form};
use crate::model::cell::{Cell, Class};
use crate::model::schema::{SqliteColumn, SqliteSchema};
use crate::model::types::Type;
use std::collections::BTreeMap;

/// By table name as in SQLite.
#[derive(Debug, Default)]
pub struct Survey {
    pub tables: BTreeMap<String, TableSurvey>,
}

#[derive(Clone, Debug, Default)]
pub struct TableSurvey {
    pub rows: u64,
    /// Rows in which a column of the declared primary key is NULL.
    pub key_nulls: u64,
    /// The largest row, by the bytes of its texts and blobs and eight for each other cell.
    pub row_bytes_max: u64,
    pub columns: Vec<ColumnSurvey>,
}

#[derive(Clone, Debug, Default)]
pub struct ColumnSurvey {
    counts: [u64; 5],
    /// Smallest and largest INTEGER.
    pub integers: Option<(i64, i64)>,
    /// Largest number that a TEXT of digits alone spells.
    pub digits: Option<i64>,
    /// INTEGERs that a double cannot hold exactly.
    pub integers_beyond_double: u64,
    /// Infinite REALs.
    pub reals_infinite: u64,
    /// The REAL -0.0.
    pub reals_negative_zero: u64,
    /// REALs with an integral value within 64 bits.
    pub reals_integral: u64,
    /// TEXT that PostgreSQL's text cannot hold: NUL or not UTF-8.
    pub text_refused: u64,
    pub text_chars_max: u64,
    pub bytes_max: u64,
    /// One for each type that the column might become.
    pub learners: Vec<Learner>,
}

impl Survey {
    /// What a look at these tables would find if every column held what its route carries by nature, and nothing else: the ground that
    /// their indexes and constraints were planned on.
    pub fn as_it_crosses<'r>(schema: &SqliteSchema, routes: impl IntoIterator<Item = &'r Route>) -> Survey {
        let mut survey = Survey::default();
        for route in routes {
            let Some(table) = schema.tables.iter().find(|table| table.name == route.source) else { continue };
            let of_column = |column: &SqliteColumn| {
                let carried = |crossing: &&ColumnRoute| crossing.source.as_ref() == Some(&column.name);
                let mut survey = ColumnSurvey::default();
                if let Some(crossing) = route.columns.iter().find(carried) {
                    by_nature(&crossing.codec).iter().for_each(|cell| survey.observe(*cell));
                }
                survey
            };
            let columns = table.columns.iter().map(of_column).collect();
            survey
                .tables
                .insert(table.name.clone(), TableSurvey { rows: 1, columns, ..TableSurvey::default() });
        }
        survey
    }
}

/// One cell of each class that a column so carried has by nature; of integers the smallest and the largest.
fn by_nature(codec: &Codec) -> &'static [Cell<'static>] {
    match (codec.form, &codec.ty) {
        (Form::Native, Type::Bool) => &[Cell::Integer(0), Cell::Integer(1)],
        (Form::Native, Type::Int2) => &[Cell::Integer(-32_768), Cell::Integer(32_767)],
        (Form::Native, Type::Int4) => &[Cell::Integer(-2_147_483_648), Cell::Integer(2_147_483_647)],
        (Form::Native, Type::Int8 | Type::Oid) => &[Cell::Integer(i64::MIN), Cell::Integer(i64::MAX)],
        (Form::Native, Type::Float4 | Type::Float8) | (Form::Real | Form::Shortest, _) => &[Cell::Real(0.5)],
        (Form::Native, Type::Numeric(_)) | (Form::Number, _) => {
            &[Cell::Integer(i64::MIN), Cell::Integer(i64::MAX), Cell::Real(0.5)]
        }
        (Form::Native, Type::Bytea) | (Form::UuidBlob(_), _) => &[Cell::Blob(b"x")],
        (Form::OtherClass, Type::Bytea) => &[Cell::Text(b"x")],
        (Form::OtherClass, _) => &[Cell::Blob(b"x")],
        (Form::Unsigned, _) => &[Cell::Integer(i64::MIN), Cell::Integer(i64::MAX)],
        (Form::Affinity, _) => &[Cell::Integer(0), Cell::Real(0.5), Cell::Text(b"x")],
        (Form::Epoch(Unit::RealSeconds | Unit::Julian), _) => &[Cell::Real(0.5)],
        (form, _) if form.counts() => &[Cell::Integer(i64::MIN), Cell::Integer(i64::MAX)],
        (Form::EmptyNull, ty) => by_nature(&Codec::new(ty.clone(), Form::Native, codec.zone)),
        (Form::Native | Form::Digits | Form::Words(_) | Form::Moment(_), _) => &[Cell::Text(b"x")],
        (Form::Epoch(_) | Form::UuidText(_) | Form::Duration(_) | Form::Trimmed(_), _) => &[Cell::Text(b"x")],
        (Form::Array(_) | Form::List | Form::Base64 | Form::Latin1, _) => &[Cell::Text(b"x")],
    }
}

impl ColumnSurvey {
    pub fn with_learners(learners: Vec<Learner>) -> ColumnSurvey {
        ColumnSurvey { learners, ..ColumnSurvey::default() }
    }

    pub fn count(&self, class: Class) -> u64 {
        self.counts[class as usize]
    }

    /// Cells that are not NULL.
    pub fn values(&self) -> u64 {
        Class::ALL.into_iter().filter(|class| *class != Class::Null).map(|class| self.count(class)).sum()
    }

    /// Whether every value that is not NULL is of one of these classes.
    pub fn only(&self, classes: &[Class]) -> bool {
        classes.iter().map(|class| self.count(*class)).sum::<u64>() == self.values()
    }

    /// `3 INTEGER, 1 TEXT`.
    pub fn held(&self) -> String {
        let classes = Class::ALL.into_iter().filter(|class| *class != Class::Null && self.count(*class) > 0);
        classes
            .map(|class| format!("{} {}", self.count(class), class.word().to_uppercase()))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The largest whole number, in either class.
    pub fn largest(&self) -> Option<i64> {
        self.integers.map(|(_, largest)| largest).max(self.digits)
    }

    pub fn observe(&mut self, cell: Cell<'_>) {
        self.counts[cell.class() as usize] += 1;
        match cell {
            Cell::Null => return,
            Cell::Integer(value) => self.observe_integer(value),
            Cell::Real(value) => self.observe_real(value),
            Cell::Text(bytes) => self.observe_text(bytes),
            Cell::Blob(bytes) => self.bytes_max = self.bytes_max.max(bytes.len() as u64),
        }
        for learner in &mut self.learners {
            learner.observe(cell);
        }
    }

    pub fn merge(&mut self, other: ColumnSurvey) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.integers = match (self.integers, other.integers) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self.digits = self.digits.max(other.digits);
        self.integers_beyond_double += other.integers_beyond_double;
        self.reals_infinite += other.reals_infinite;
        self.reals_negative_zero += other.reals_negative_zero;
        self.reals_integral += other.reals_integral;
        self.text_refused += other.text_refused;
        self.text_chars_max = self.text_chars_max.max(other.text_chars_max);
        self.bytes_max = self.bytes_max.max(other.bytes_max);
        for (learner, more) in self.learners.iter_mut().zip(other.learners) {
            learner.merge(more);
        }
    }

    fn observe_integer(&mut self, value: i64) {
        self.integers = Some(match self.integers {
            Some((min, max)) => (min.min(value), max.max(value)),
            None => (value, value),
        });
        if value.unsigned_abs() > 1 << 53 {
            self.integers_beyond_double += 1;
        }
    }

    fn observe_real(&mut self, value: f64) {
        if value.is_infinite() {
            self.reals_infinite += 1;
        } else if value == 0.0 && value.is_sign_negative() {
            self.reals_negative_zero += 1;
        } else if value.fract() == 0.0 && value.abs() < 9.2e18 {
            self.reals_integral += 1;
        }
    }

    fn observe_text(&mut self, bytes: &[u8]) {
        self.bytes_max = self.bytes_max.max(bytes.len() as u64);
        match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.contains(&0) => {
                if bytes.len() as u64 > self.text_chars_max {
                    self.text_chars_max = self.text_chars_max.max(text.chars().count() as u64);
                }
            }
            _ => self.text_refused += 1,
        }
        self.digits = self.digits.max(digits_in(bytes));
    }
}

/// Of digits alone. Nearly every text is told by its length or its first byte.
fn digits_in(text: &[u8]) -> Option<i64> {
    let with =
        |number: i64, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'));
    if (1..=DIGITS_MAX).contains(&text.len()) { text.iter().try_fold(0, with) } else { None }
}

impl TableSurvey {
    pub fn merge(&mut self, other: TableSurvey) {
        self.rows += other.rows;
        self.key_nulls += other.key_nulls;
        self.row_bytes_max = self.row_bytes_max.max(other.row_bytes_max);
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            column.merge(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_number_where_it_is_digits_alone() {
        let wanted = [
            ("0", Some(0)),
            ("000120", Some(120)),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("0999999999999999999", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1 ", None),
            ("INV-7", None),
            ("\u{663}", None),
        ];
        for (text, number) in wanted {
            let mut column = ColumnSurvey::default();
            column.observe(Cell::Text(text.as_bytes()));
            assert_eq!(column.largest(), number, "{text}");
        }
    }
}
