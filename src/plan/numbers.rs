//! The column that a sequence numbers: how its largest number is asked of PostgreSQL, and told from a value on its way there.

use crate::canon::{Codec, Form, Zone};
use crate::model::cell::Cell;
use crate::model::name::{PgName, ident};
use crate::model::types::Type;

/// A column of the target whose largest number tells how far its sequence is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    pub table: PgName,
    pub column: String,
    pub written: Written,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// In a type of whole numbers.
    AsInteger,
    /// In a type that holds others too: those that are whole are numbers, and the others are nobody's.
    AsDecimal,
    /// In a text: the values that are digits alone are numbers, zeros before them or not, and the others are nobody's.
    InDigits,
    /// In a text that ends with it, whatever stands before (`INV-000120`): told where a sequence is known to be a part of the text.
    AtEnd,
}

/// What the values of such a column tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    pub largest: Option<i64>,
    /// Whether there are values that may be no numbers.
    pub has_others: bool,
}

/// How far columns are that were read before anybody waited.
pub type Heights = [(Numbers, Reached)];

/// No sequence has counted further, and every number of so many digits is a bigint.
pub const DIGITS_MAX: usize = 18;

impl Written {
    /// Nothing where the column can hold no number that a sequence gave.
    pub fn in_type(ty: &Type) -> Option<Written> {
        match ty {
            Type::Int2 | Type::Int4 | Type::Int8 => Some(Written::AsInteger),
            Type::Numeric(_) => Some(Written::AsDecimal),
            Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext => Some(Written::InDigits),
            _ => None,
        }
    }

    /// What one value tells, by its canonical bytes in a column of this type.
    pub fn read(self, ty: &Type, bytes: &[u8]) -> Reached {
        let mut scratch = Vec::new();
        let cell = Codec::new(ty.clone(), Form::Native, Zone::default()).decode(bytes, &mut scratch);
        let largest = match (self, cell) {
            (Written::AsInteger, Ok(Cell::Integer(number))) => Some(number),
            (Written::AsDecimal, Ok(Cell::Integer(number))) => {
                Some(number).filter(|number| number.unsigned_abs() < NUMBERS_END)
            }
            (Written::InDigits, Ok(Cell::Text(text))) => in_digits(text),
            (Written::AtEnd, Ok(Cell::Text(text))) => at_end(text),
            (_, Ok(_) | Err(_)) => None,
        };
        let is_empty = [Written::InDigits, Written::AtEnd].contains(&self) && bytes.is_empty();
        Reached { largest, has_others: self != Written::AsInteger && !is_empty }
    }
}

/// The first number of more digits.
const NUMBERS_END: u64 = 1_000_000_000_000_000_000;

/// PostgreSQL pads what has a fixed length.
fn in_digits(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_end();
    let is_number = !text.is_empty() && text.len() <= DIGITS_MAX && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

fn at_end(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_end();
    let digits = text.iter().rev().take_while(|letter| letter.is_ascii_digit()).count();
    in_digits(&text[text.len() - digits..])
}

impl Reached {
    #[must_use]
    pub fn and(self, other: Reached) -> Reached {
        Reached { largest: self.largest.max(other.largest), has_others: self.has_others || other.has_others }
    }

    /// There are values, and none of them is a number: it is not known then how the column is numbered.
    pub fn is_untold(self) -> bool {
        self.largest.is_none() && self.has_others
    }
}

impl Numbers {
    pub fn of(table: &PgName, column: &str, ty: &Type) -> Numbers {
        let written = Written::in_type(ty).unwrap_or(Written::AsInteger);
        Numbers { table: table.clone(), column: column.to_owned(), written }
    }

    /// The same column, where its texts may begin with something else.
    pub fn at_end(&self) -> Option<Numbers> {
        (self.written == Written::InDigits).then(|| Numbers { written: Written::AtEnd, ..self.clone() })
    }

    /// The largest number as a bigint; NULL where there is none.
    pub fn largest_sql(&self) -> String {
        format!("select {} from {}", self.largest(), self.table.sql())
    }

    /// The same, and whether there are values that may be no numbers.
    pub fn reached_sql(&self) -> String {
        let column = ident(&self.column);
        let others = match self.written {
            Written::AsInteger => "false".to_owned(),
            Written::AsDecimal => format!("count({column}) > 0"),
            Written::InDigits | Written::AtEnd => format!("coalesce(bool_or({column}::text <> ''), false)"),
        };
        format!("select {}, {others} from {}", self.largest(), self.table.sql())
    }

    fn largest(&self) -> String {
        let column = ident(&self.column);
        match self.written {
            Written::AsInteger => format!("max({column})::bigint"),
            // NaN is beyond every number.
            Written::AsDecimal => {
                let limit = "9".repeat(DIGITS_MAX);
                format!(
                    "max(case when {column} between -{limit} and {limit} and {column} = trunc({column}) then {column} end)::bigint"
                )
            }
            // No collation but "C": a regular expression takes not every other.
            Written::InDigits => format!(
                "max(case when length({column}::text) <= {DIGITS_MAX} and {column}::text collate \"C\" ~ '^[0-9]+$' \
                 then {column}::text::bigint end)"
            ),
            Written::AtEnd => {
                let digits = format!("substring({column}::text collate \"C\" from '[0-9]+$')");
                format!("max(case when length({digits}) <= {DIGITS_MAX} then {digits}::bigint end)")
            }
        }
    }
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.table, self.column)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_asked_for_as_its_column_writes_it() {
        let of = |ty: &Type| Numbers::of(&PgName::new("s", "t"), "no", ty);
        assert_eq!(of(&Type::Int4).largest_sql(), "select max(\"no\")::bigint from \"s\".\"t\"");
        assert_eq!(of(&Type::Int4).reached_sql(), "select max(\"no\")::bigint, false from \"s\".\"t\"");
        for text in [Type::Text, Type::Varchar(Some(9)), Type::Bpchar(9), Type::Citext] {
            assert_eq!(of(&text).written, Written::InDigits, "{text:?}");
        }
        assert_eq!(of(&Type::Numeric(None)).written, Written::AsDecimal);
    }

    #[test]
    fn a_number_is_told_from_a_value_on_its_way() {
        let check = |ty: &Type, cell: Cell<'_>, number: Option<i64>| {
            let mut bytes = Vec::new();
            let _fit = Codec::new(ty.clone(), Form::Native, Zone::default()).encode(cell, &mut bytes);
            let reached = Written::in_type(ty).unwrap().read(ty, &bytes);
            assert_eq!(reached.largest, number, "{ty:?} {cell:?}");
            assert_eq!(reached.is_untold(), number.is_none() && cell != Cell::Text(b""), "{ty:?} {cell:?}");
        };
        let (int, text) = (Cell::Integer, |text: &'static str| Cell::Text(text.as_bytes()));
        check(&Type::Int2, int(-7), Some(-7));
        check(&Type::Int8, int(i64::MAX), Some(i64::MAX));
        check(&Type::Text, text("000120"), Some(120));
        check(&Type::Bpchar(9), text("000120"), Some(120));
        for other in ["INV-7", "-7", "1.0", "9999999999999999999", ""] {
            check(&Type::Varchar(None), text(other), None);
        }
        for (end, number) in
            [("INV-007", Some(7)), ("2024/12", Some(12)), ("7x", None), ("A9999999999999999999", None)]
        {
            assert_eq!(at_end(end.as_bytes()), number, "{end}");
        }
        let numeric = Type::Numeric(None);
        check(&numeric, int(120_000), Some(120_000));
        check(&numeric, Cell::Real(12.0), Some(12));
        check(&numeric, Cell::Real(12.5), None);
        check(&numeric, int(999_999_999_999_999_999), Some(999_999_999_999_999_999));
        check(&numeric, int(1_000_000_000_000_000_000), None);
    }
}
