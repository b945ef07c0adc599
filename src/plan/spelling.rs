//! Spelling: the SQL spelling of a type, as an operator writes it in the settings, to the type it names.
//!
//! A spelling that is not understood whole is refused whole; a modifier is never dropped.

use crate::model::types::{NumericLimit, Type};

/// The type a spelling such as `varchar(20)` or `enum('a','b')` names, if `canon` can write it.
pub fn parse(spelling: &str) -> Option<Type> {
    let trimmed = spelling.trim();
    if let Some(element) = trimmed.strip_suffix("[]") {
        let element = parse(element).filter(|ty| !matches!(ty, Type::Array { .. } | Type::Enum(_)))?;
        let element_oid = element.builtin_oid()?;
        return Some(Type::Array { element: Box::new(element), element_oid });
    }
    let Some((name, rest)) = trimmed.split_once('(') else { return plain(&spaced(trimmed)) };
    let (arguments, tail) = rest.rsplit_once(')')?;
    let name = spaced(name);
    if name == "enum" {
        return tail.trim().is_empty().then(|| labels(arguments)).flatten();
    }
    with_arguments(&spaced(&format!("{name} {tail}")), &numbers(arguments)?)
}

/// The spelling that names this type.
pub fn spelled(ty: &Type) -> String {
    match ty {
        Type::Enum(labels) => {
            let quoted = labels.iter().map(|label| format!("'{}'", label.replace('\'', "''")));
            format!("enum({})", quoted.collect::<Vec<_>>().join(", "))
        }
        ty => ty.sql(),
    }
}

fn plain(name: &str) -> Option<Type> {
    Some(match name {
        "bool" | "boolean" => Type::Bool,
        "smallint" | "int2" => Type::Int2,
        "integer" | "int" | "int4" => Type::Int4,
        "bigint" | "int8" => Type::Int8,
        "real" | "float4" => Type::Float4,
        "double precision" | "float8" | "float" => Type::Float8,
        "numeric" | "decimal" | "dec" => Type::Numeric(None),
        "text" => Type::Text,
        "varchar" | "character varying" => Type::Varchar(None),
        "char" | "character" => Type::Bpchar(1),
        "citext" => Type::Citext,
        "bytea" => Type::Bytea,
        "date" => Type::Date,
        "uuid" => Type::Uuid,
        "json" => Type::Json,
        "jsonb" => Type::Jsonb,
        "inet" => Type::Inet,
        "cidr" => Type::Cidr,
        "macaddr" => Type::Macaddr,
        "oid" => Type::Oid,
        _ => return moment(name, 6),
    })
}

fn with_arguments(name: &str, arguments: &[i32]) -> Option<Type> {
    match (name, arguments) {
        ("numeric" | "decimal" | "dec", [precision]) => limited(*precision, 0),
        ("numeric" | "decimal" | "dec", [precision, scale]) => limited(*precision, *scale),
        ("varchar" | "character varying", [length]) => Some(Type::Varchar(Some(positive(*length)?))),
        ("char" | "character" | "bpchar", [length]) => Some(Type::Bpchar(positive(*length)?)),
        ("float", [1..=24]) => Some(Type::Float4),
        ("float", [25..=53]) => Some(Type::Float8),
        (_, [digits @ 0..=6]) => moment(name, u8::try_from(*digits).ok()?),
        _ => None,
    }
}

fn moment(name: &str, digits: u8) -> Option<Type> {
    match name {
        "time" | "time without time zone" => Some(Type::Time(digits)),
        "timestamp" | "timestamp without time zone" => Some(Type::Timestamp(digits)),
        "timestamptz" | "timestamp with time zone" => Some(Type::Timestamptz(digits)),
        "interval" => Some(Type::Interval(digits)),
        _ => None,
    }
}

fn limited(precision: i32, scale: i32) -> Option<Type> {
    let precision = u16::try_from(precision).ok().filter(|precision| (1..=1000).contains(precision))?;
    let scale = i16::try_from(scale).ok().filter(|scale| (-1000..=1000).contains(scale))?;
    Some(Type::Numeric(Some(NumericLimit { precision, scale })))
}

fn positive(length: i32) -> Option<u32> {
    u32::try_from(length).ok().filter(|length| (1..=10_485_760).contains(length))
}

fn numbers(arguments: &str) -> Option<Vec<i32>> {
    arguments.split(',').map(|number| number.trim().parse().ok()).collect()
}

/// The labels of `'a', 'it''s'`.
fn labels(list: &str) -> Option<Type> {
    let mut labels = Vec::new();
    let mut rest = list.trim();
    loop {
        let (label, tail) = quoted(rest)?;
        // PostgreSQL keeps 63 bytes of a label, and a label stands once.
        if label.is_empty() || label.len() > 63 || labels.contains(&label) {
            return None;
        }
        labels.push(label);
        let tail = tail.trim_start();
        if tail.is_empty() {
            return Some(Type::Enum(labels.into()));
        }
        rest = tail.strip_prefix(',')?.trim_start();
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut label = String::new();
    loop {
        let (part, tail) = rest.split_once('\'')?;
        label.push_str(part);
        let Some(more) = tail.strip_prefix('\'') else { return Some((label, tail)) };
        label.push('\'');
        rest = more;
    }
}

fn spaced(name: &str) -> String {
    name.to_ascii_lowercase().split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_name_types() {
        for (spelling, expected) in [
            ("BIGINT", Some(Type::Int8)),
            ("character  varying ( 20 )", Some(Type::Varchar(Some(20)))),
            ("numeric(10, 2)", Some(Type::Numeric(Some(NumericLimit { precision: 10, scale: 2 })))),
            ("decimal", Some(Type::Numeric(None))),
            ("timestamp(3) with time zone", Some(Type::Timestamptz(3))),
            ("timestamptz", Some(Type::Timestamptz(6))),
            ("time(7)", None),
            ("time with time zone", None),
            ("float(24)", Some(Type::Float4)),
            ("text(5)", None),
            ("char", Some(Type::Bpchar(1))),
            ("int4[]", Some(Type::Array { element: Box::new(Type::Int4), element_oid: 23 })),
            ("enum('a', 'it''s')", Some(Type::Enum(["a".to_owned(), "it's".to_owned()].into()))),
            ("enum('a', 'a')", None),
            ("enum('a'", None),
            ("enum()", None),
            ("hstore", None),
            ("", None),
        ] {
            assert_eq!(parse(spelling), expected, "{spelling}");
        }
    }
}
