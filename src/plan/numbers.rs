//! The column that a sequence numbers: how its largest number is asked of PostgreSQL.

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
    /// In a type of numbers.
    AsNumber,
    /// In a text: the values that are digits alone are numbers, zeros before them or not, and the others are nobody's.
    InDigits,
}

/// No sequence has counted further, and every number of so many digits is a bigint.
pub const DIGITS_MAX: usize = 18;

impl Written {
    /// Nothing where the column can hold no number that a sequence gave.
    pub fn in_type(ty: &Type) -> Option<Written> {
        match ty {
            Type::Int2 | Type::Int4 | Type::Int8 => Some(Written::AsNumber),
            Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext => Some(Written::InDigits),
            _ => None,
        }
    }
}

impl Numbers {
    pub fn of(table: &PgName, column: &str, ty: &Type) -> Numbers {
        let written = Written::in_type(ty).unwrap_or(Written::AsNumber);
        Numbers { table: table.clone(), column: column.to_owned(), written }
    }

    /// The largest number as a bigint; NULL where there is none.
    pub fn largest_sql(&self) -> String {
        let (table, column) = (self.table.sql(), ident(&self.column));
        match self.written {
            Written::AsNumber => format!("select max({column})::bigint from {table}"),
            // No collation but "C": a regular expression takes not every other.
            Written::InDigits => format!(
                "select max(case when length({column}::text) <= {DIGITS_MAX} and {column}::text collate \"C\" ~ '^[0-9]+$' \
                 then {column}::text::bigint end) from {table}"
            ),
        }
    }

    /// One row if the column has texts, and none of them is a number: it is not known then how it is numbered.
    pub fn untold_sql(&self) -> Option<String> {
        let (table, column) = (self.table.sql(), ident(&self.column));
        (self.written == Written::InDigits).then(|| {
            format!(
                "select 1 where exists (select from {table} where {column}::text <> '') and ({}) is null",
                self.largest_sql()
            )
        })
    }
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.table, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_asked_for_as_its_column_writes_it() {
        let of = |ty: &Type| Numbers::of(&PgName::new("s", "t"), "no", ty);
        assert_eq!(of(&Type::Int4).largest_sql(), "select max(\"no\")::bigint from \"s\".\"t\"");
        assert_eq!(of(&Type::Int4).untold_sql(), None);
        for text in [Type::Text, Type::Varchar(Some(9)), Type::Bpchar(9), Type::Citext] {
            assert_eq!(of(&text).written, Written::InDigits, "{text:?}");
        }
    }
}
