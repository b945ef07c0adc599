//! Families: what a declared type says its column is meant to hold. A claim, to be held against the values, never a proof.

use crate::model::schema::{Affinity, SqliteColumn, SqliteTable};
use crate::model::types::Type;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A true INTEGER PRIMARY KEY: SQLite stores nothing but 64 bit integers there.
    RowidAlias,
    Integer(Width),
    Boolean,
    Real,
    Numeric,
    Text,
    Date,
    Time,
    Moment,
    Uuid,
    Json,
    Blob,
    /// NUMERIC affinity under a name that promises bytes: `BINARY(16)`, `VARBINARY`, `BYTEA`.
    Binary,
    /// NUMERIC affinity under a name that says nothing: `STRING`, `ANY`, `HSTORE`.
    Named,
    /// No type at all, or ANY in a STRICT table: values stay as they were given.
    Untyped,
}

/// The integer type that the declared name means in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Small,
    Regular,
    Big,
}

impl Family {
    pub fn of(table: &SqliteTable, column: usize) -> Family {
        let declaring = &table.columns[column];
        if table.rowid_alias() == Some(column) {
            return Family::RowidAlias;
        }
        if table.strict && declaring.declared.trim().eq_ignore_ascii_case("any") {
            return Family::Untyped;
        }
        let (base, argument) = base_and_argument(&declaring.declared);
        Family::by_word(&base, &argument).unwrap_or_else(|| Family::by_affinity(declaring, &base))
    }

    /// The type that the family's name promises; for a family without a promise, none.
    pub fn home(self) -> Option<Type> {
        match self {
            Family::RowidAlias | Family::Integer(_) => Some(Type::Int8),
            Family::Boolean => Some(Type::Bool),
            Family::Real => Some(Type::Float8),
            Family::Numeric => Some(Type::Numeric(None)),
            Family::Text => Some(Type::Text),
            Family::Date => Some(Type::Date),
            Family::Time => Some(Type::Time(6)),
            Family::Moment => Some(Type::Timestamp(6)),
            Family::Uuid => Some(Type::Uuid),
            Family::Json => Some(Type::Json),
            Family::Blob | Family::Binary => Some(Type::Bytea),
            Family::Named | Family::Untyped => None,
        }
    }

    /// Words that mean something to the frameworks which write them, though SQLite gives each of them a numeric affinity.
    fn by_word(base: &str, argument: &str) -> Option<Family> {
        let starts = |words: &[&str]| words.iter().any(|word| base.starts_with(word));
        match base {
            "tinyint" if argument == "1" => Some(Family::Boolean),
            "bit" if argument.is_empty() || argument == "1" => Some(Family::Boolean),
            "date" => Some(Family::Date),
            "time" | "time without time zone" => Some(Family::Time),
            "uuid" | "guid" | "uniqueidentifier" => Some(Family::Uuid),
            "json" | "jsonb" => Some(Family::Json),
            _ if Affinity::of_declared(base) != Affinity::Numeric => None,
            _ if starts(&["bool"]) => Some(Family::Boolean),
            _ if starts(&["datetime", "timestamp", "smalldatetime"]) => Some(Family::Moment),
            _ if starts(&["numeric", "decimal", "number", "fixed", "money", "smallmoney"]) => {
                Some(Family::Numeric)
            }
            "dec" | "num" | "currency" => Some(Family::Numeric),
            "binary" | "varbinary" | "binary varying" | "longvarbinary" => Some(Family::Binary),
            "bytea" | "bytes" | "raw" | "image" => Some(Family::Binary),
            _ => None,
        }
    }

    fn by_affinity(column: &SqliteColumn, base: &str) -> Family {
        match column.affinity {
            Affinity::Integer => Family::Integer(match base {
                "smallint" | "int2" => Width::Small,
                "integer" | "int" | "int4" => Width::Regular,
                _ => Width::Big,
            }),
            Affinity::Real => Family::Real,
            Affinity::Text => Family::Text,
            Affinity::Numeric => Family::Named,
            Affinity::Blob if base.is_empty() => Family::Untyped,
            Affinity::Blob => Family::Blob,
        }
    }
}

/// `DECIMAL (10, 2) UNSIGNED` as `decimal unsigned` and `10, 2`.
fn base_and_argument(declared: &str) -> (String, String) {
    let lower = declared.to_ascii_lowercase();
    let (before, rest) = lower.split_once('(').unwrap_or((&lower, ""));
    let (argument, after) = rest.rsplit_once(')').unwrap_or((rest, ""));
    let words: Vec<&str> = before.split_ascii_whitespace().chain(after.split_ascii_whitespace()).collect();
    (words.join(" "), argument.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples;

    #[test]
    fn a_declared_type_belongs_to_one_family() {
        for (declared, expected) in [
            ("", Family::Untyped),
            ("FLOATING POINT", Family::Integer(Width::Big)),
            ("integer", Family::Integer(Width::Regular)),
            ("smallint unsigned", Family::Integer(Width::Big)),
            ("INT2", Family::Integer(Width::Small)),
            ("TINYINT(1)", Family::Boolean),
            ("TINYINT", Family::Integer(Width::Big)),
            ("BIT(1)", Family::Boolean),
            ("BIT(8)", Family::Named),
            ("BINARY(16)", Family::Binary),
            ("bytea", Family::Binary),
            ("BINARY_DOUBLE", Family::Real),
            ("bool", Family::Boolean),
            ("STRING", Family::Named),
            ("TEXT[]", Family::Text),
            ("DATETIME(6)", Family::Moment),
            ("TIMESTAMP WITH TIME ZONE", Family::Moment),
            ("date", Family::Date),
            ("DATETEXT", Family::Text),
            ("DECIMAL(-5,+2)", Family::Numeric),
            ("NUM", Family::Numeric),
            ("MONEY", Family::Numeric),
            ("BLOB", Family::Blob),
            ("JSONB", Family::Json),
            ("GUID", Family::Uuid),
            ("double precision", Family::Real),
        ] {
            let table = samples::table("t", &[&format!("c {declared}")]);
            assert_eq!(Family::of(&table, 0), expected, "{declared}");
        }
    }

    #[test]
    fn any_keeps_its_values_only_in_a_strict_table() {
        let mut table = samples::table("t", &["c ANY"]);
        assert_eq!(Family::of(&table, 0), Family::Named);
        table.strict = true;
        assert_eq!(Family::of(&table, 0), Family::Untyped);
    }
}
