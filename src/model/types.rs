//! PostgreSQL's column types, resolved: domains to their base, enums to their labels, modifiers to numbers.

use std::sync::Arc;

/// A type that `canon` can write, with the modifiers that change what a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// `None`: no modifier, any number of digits.
    Numeric(Option<NumericLimit>),
    Text,
    /// Length limit in characters.
    Varchar(Option<u32>),
    /// `char(n)`: padded with spaces to `n` characters.
    Bpchar(u32),
    /// Case-insensitive by comparison, text by its bytes.
    Citext,
    Bytea,
    Date,
    /// The numbers are the digits kept of a second's fraction, 0 to 6.
    Time(u8),
    Timestamp(u8),
    Timestamptz(u8),
    Interval(u8),
    Uuid,
    Json,
    Jsonb,
    Inet,
    Cidr,
    Macaddr,
    Oid,
    Enum(Arc<[String]>),
    Array {
        element: Box<Type>,
        element_oid: u32,
    },
    /// A type without a codec, by its PostgreSQL name; a column of it can only be left alone.
    Other(String),
}

/// `numeric(precision, scale)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericLimit {
    pub precision: u16,
    pub scale: i16,
}

impl NumericLimit {
    /// The narrowest that holds every unsigned integer of 64 bits.
    pub const UNSIGNED: NumericLimit = NumericLimit { precision: 20, scale: 0 };
}

impl Type {
    pub fn is_integer(&self) -> bool {
        matches!(self, Type::Int2 | Type::Int4 | Type::Int8)
    }

    /// Whether `canon` can write it; an array is as good as its elements.
    pub fn has_codec(&self) -> bool {
        match self {
            Type::Other(_) => false,
            Type::Array { element, .. } => element.has_codec(),
            _ => true,
        }
    }

    /// The fixed object id of a built-in type; enums, arrays and extension types have none.
    pub fn builtin_oid(&self) -> Option<u32> {
        Some(match self {
            Type::Bool => 16,
            Type::Int2 => 21,
            Type::Int4 => 23,
            Type::Int8 => 20,
            Type::Float4 => 700,
            Type::Float8 => 701,
            Type::Numeric(_) => 1700,
            Type::Text => 25,
            Type::Varchar(_) => 1043,
            Type::Bpchar(_) => 1042,
            Type::Bytea => 17,
            Type::Date => 1082,
            Type::Time(_) => 1083,
            Type::Timestamp(_) => 1114,
            Type::Timestamptz(_) => 1184,
            Type::Interval(_) => 1186,
            Type::Uuid => 2950,
            Type::Json => 114,
            Type::Jsonb => 3802,
            Type::Inet => 869,
            Type::Cidr => 650,
            Type::Macaddr => 829,
            Type::Oid => 26,
            Type::Citext | Type::Enum(_) | Type::Array { .. } | Type::Other(_) => return None,
        })
    }

    /// Whether a value of the one, in its binary form, is the same value of the other. Limits of length and digits do not change the form;
    /// two forms of equal length would be taken for each other without complaint.
    pub fn travels_as(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Array { element: one, .. }, Type::Array { element: other, .. }) => one.travels_as(other),
            (one, other) => one == other || one.form().is_some_and(|form| other.form() == Some(form)),
        }
    }

    /// The binary form; none of its own where another type's decides, or nobody knows.
    fn form(&self) -> Option<&'static str> {
        Some(match self {
            Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext | Type::Enum(_) | Type::Json => {
                "text"
            }
            Type::Bool => "bool",
            Type::Int2 => "int2",
            Type::Int4 => "int4",
            Type::Int8 => "int8",
            Type::Float4 => "float4",
            Type::Float8 => "float8",
            Type::Numeric(_) => "numeric",
            Type::Bytea => "bytea",
            Type::Date => "date",
            Type::Time(_) => "time",
            Type::Timestamp(_) => "timestamp",
            Type::Timestamptz(_) => "timestamptz",
            Type::Interval(_) => "interval",
            Type::Uuid => "uuid",
            Type::Jsonb => "jsonb",
            Type::Inet => "inet",
            Type::Cidr => "cidr",
            Type::Macaddr => "macaddr",
            Type::Oid => "oid",
            Type::Array { .. } | Type::Other(_) => return None,
        })
    }

    /// Whether PostgreSQL would round values of `planned` in silence where it is given them for this type.
    pub fn rounds(&self, planned: &Type) -> bool {
        match (self, planned) {
            (Type::Numeric(Some(_)), Type::Numeric(None)) => true,
            (Type::Numeric(Some(limit)), Type::Numeric(Some(planned))) => limit.scale < planned.scale,
            (Type::Time(digits), Type::Time(planned))
            | (Type::Timestamp(digits), Type::Timestamp(planned))
            | (Type::Timestamptz(digits), Type::Timestamptz(planned))
            | (Type::Interval(digits), Type::Interval(planned)) => digits < planned,
            (Type::Array { element, .. }, Type::Array { element: planned, .. }) => element.rounds(planned),
            (_, _) => false,
        }
    }

    /// The SQL spelling, for types that need no catalog to be named.
    pub fn sql(&self) -> String {
        let digits = |name: &str, digits: u8| {
            if digits == 6 { name.to_owned() } else { format!("{name}({digits})") }
        };
        match self {
            Type::Bool => "boolean".into(),
            Type::Int2 => "smallint".into(),
            Type::Int4 => "integer".into(),
            Type::Int8 => "bigint".into(),
            Type::Float4 => "real".into(),
            Type::Float8 => "double precision".into(),
            Type::Numeric(None) => "numeric".into(),
            Type::Numeric(Some(limit)) => format!("numeric({},{})", limit.precision, limit.scale),
            Type::Text => "text".into(),
            Type::Varchar(None) => "character varying".into(),
            Type::Varchar(Some(length)) => format!("character varying({length})"),
            Type::Bpchar(length) => format!("character({length})"),
            Type::Citext => "citext".into(),
            Type::Bytea => "bytea".into(),
            Type::Date => "date".into(),
            Type::Time(precision) => digits("time", *precision),
            Type::Timestamp(precision) => digits("timestamp", *precision),
            Type::Timestamptz(precision) if *precision == 6 => "timestamp with time zone".into(),
            Type::Timestamptz(precision) => format!("timestamp({precision}) with time zone"),
            Type::Interval(precision) => digits("interval", *precision),
            Type::Uuid => "uuid".into(),
            Type::Json => "json".into(),
            Type::Jsonb => "jsonb".into(),
            Type::Inet => "inet".into(),
            Type::Cidr => "cidr".into(),
            Type::Macaddr => "macaddr".into(),
            Type::Oid => "oid".into(),
            Type::Enum(_) => "text".into(),
            Type::Array { element, .. } => format!("{}[]", element.sql()),
            Type::Other(name) => name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_leave_the_binary_form_as_it_is_and_types_do_not() {
        let array = |element| Type::Array { element: Box::new(element), element_oid: 1 };
        let limit = Some(NumericLimit { precision: 12, scale: 2 });
        for (one, other, expected) in [
            (Type::Text, Type::Varchar(Some(20)), true),
            (Type::Numeric(None), Type::Numeric(limit), true),
            (Type::Timestamp(6), Type::Timestamp(3), true),
            (Type::Int8, Type::Float8, false),
            (Type::Int8, Type::Int4, false),
            (Type::Timestamp(6), Type::Timestamptz(6), false),
            (Type::Json, Type::Jsonb, false),
            (array(Type::Int8), array(Type::Int8), true),
            (array(Type::Int8), array(Type::Float8), false),
            (array(Type::Int8), Type::Int8, false),
            (Type::Other("box".into()), Type::Other("box".into()), true),
            (Type::Other("box".into()), Type::Other("circle".into()), false),
        ] {
            assert_eq!(one.travels_as(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.travels_as(&one), expected, "{other:?} {one:?}");
        }
        for (there, planned, expected) in [
            (Type::Numeric(limit), Type::Numeric(None), true),
            (Type::Numeric(None), Type::Numeric(limit), false),
            (Type::Numeric(limit), Type::Numeric(limit), false),
            (Type::Timestamp(3), Type::Timestamp(6), true),
            (Type::Timestamp(6), Type::Timestamp(3), false),
            (array(Type::Interval(0)), array(Type::Interval(6)), true),
            (Type::Varchar(Some(3)), Type::Text, false),
        ] {
            assert_eq!(there.rounds(&planned), expected, "{there:?} {planned:?}");
        }
    }
}
