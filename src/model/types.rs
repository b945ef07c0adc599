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

impl Type {
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
