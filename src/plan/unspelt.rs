//! What PostgreSQL may come to hold after the switch that a column's form does not spell in SQLite: told before anybody depends on
//! the way back.
//!
//! Asked of the codec itself, by values of the kinds that applications write; it promises nothing about infinities, NaN and years that
//! SQLite's own functions do not know either.

use super::route::{ColumnRoute, Route};
use crate::canon::{Back, Codec, Form};
use crate::model::cell::Cell;
use crate::model::finding::Finding;
use crate::model::types::{NumericLimit, Type};

/// A kind of values, and one of them in canonical form.
pub(super) type Probe = (&'static str, Vec<u8>);

/// A note for each column of which some values would be foreign, and a warning where all would.
pub fn unspelt(route: &Route) -> Vec<Finding> {
    route.columns.iter().filter_map(|column| note(route, column)).collect()
}

fn note(route: &Route, column: &ColumnRoute) -> Option<Finding> {
    if !column.codec.ty.has_codec() {
        let text = format!(
            "values of the target's type {} cannot be written: what comes into this column of SQLite later goes to the ledger, and on the way \
             back SQLite would hold PostgreSQL's own bytes as a BLOB",
            column.type_sql
        );
        let subject = format!("{}.{}", route.source, column.source.as_ref().unwrap_or(&column.target));
        let finding = Finding::warning("type_without_codec", &subject, text);
        return Some(
            finding.with_remedy(format!("leave the column out: [tables] exclude = [\"{subject}\"]")),
        );
    }
    let foreign = |(_, bytes): &Probe| {
        matches!(column.codec.back(column.affinity, bytes, &mut Vec::new()), Back::Foreign(_))
    };
    let kinds: Vec<&str> =
        probes(&column.codec.ty).into_iter().filter(foreign).map(|(kind, _)| kind).collect();
    if kinds.is_empty() {
        return None;
    }
    let text = format!(
        "on the way back SQLite would hold {} in another spelling than the column's ({})",
        kinds.join(" and "),
        column.codec.form
    );
    let finding = Finding::note("reverse_spelling", format!("{}.{}", route.source, column.target), text);
    Some(finding.with_remedy(
        "as [misfits] policy says such a value halts the way back, or is written and noted in the ledger; it can be had by no other form",
    ))
}

pub(super) fn probes(ty: &Type) -> Vec<Probe> {
    match ty {
        Type::Timestamp(digits) | Type::Timestamptz(digits) | Type::Time(digits) => fractions(*digits),
        Type::Int8 => vec![("integers beyond 2^53", ((1i64 << 53) + 1).to_be_bytes().to_vec())],
        Type::Numeric(limit) => digits(ty, *limit),
        Type::Interval(_) => vec![
            ("months", [&[0; 12][..], &[0, 0, 0, 1]].concat()),
            (
                "days beside hours",
                [&[0; 4][..], &3_600_000_000u32.to_be_bytes(), &[0, 0, 0, 1], &[0; 4]].concat(),
            ),
        ],
        Type::Inet => vec![("IPv6 addresses", [&[3, 128, 0, 16][..], &[0x20; 16]].concat())],
        Type::Uuid => vec![("UUIDs that are all digits", vec![0x11; 16])],
        Type::Text | Type::Citext | Type::Varchar(None) => {
            vec![("texts that look like numbers", b"007".to_vec()), ("plain texts", b"abc".to_vec())]
        }
        Type::Bytea => {
            vec![("bytes that are no text", vec![0, 255]), ("bytes that look like numbers", b"007".to_vec())]
        }
        Type::Array { element, element_oid } => match **element {
            Type::Text | Type::Varchar(None) | Type::Citext => vec![
                ("NULL elements", array_of(*element_oid, None)),
                ("elements with a comma", array_of(*element_oid, Some(b"a,b"))),
            ],
            _ => vec![("NULL elements", array_of(*element_oid, None))],
        },
        Type::Bool | Type::Int2 | Type::Int4 | Type::Oid | Type::Float4 | Type::Float8 | Type::Date => {
            Vec::new()
        }
        Type::Varchar(Some(_)) | Type::Bpchar(_) | Type::Enum(_) | Type::Json | Type::Jsonb => Vec::new(),
        Type::Cidr | Type::Macaddr | Type::Other(_) => Vec::new(),
    }
}

fn fractions(digits: u8) -> Vec<Probe> {
    let grain = 10i64.pow(6 - u32::from(digits.min(6)));
    let whole = ("whole seconds", 3_600_000_000i64.to_be_bytes().to_vec());
    let fraction = ("fractions of a second", (3_600_000_000 + grain).to_be_bytes().to_vec());
    if digits == 0 { vec![whole] } else { vec![whole, fraction] }
}

/// As many digits as the column takes, more than a float holds.
fn digits(ty: &Type, limit: Option<NumericLimit>) -> Vec<Probe> {
    let (whole, fraction) = match limit {
        None => (18, 6),
        Some(NumericLimit { precision, scale }) => {
            let scale = scale.clamp(0, i16::try_from(precision).unwrap_or(i16::MAX)).unsigned_abs();
            (usize::from(precision - scale), usize::from(scale))
        }
    };
    if whole + fraction < 18 {
        return Vec::new();
    }
    let text = format!("{}.{}", "123456789".repeat(whole / 9 + 1), "123456789".repeat(fraction / 9 + 1));
    let (before, after) = text.split_once('.').expect("it has a point");
    let text = format!("{}.{}", &before[..whole.max(1)], &after[..fraction]);
    let text = text.trim_end_matches('.');
    let mut bytes = Vec::new();
    let codec = Codec::new(ty.clone(), Form::Digits, crate::canon::Zone::Utc);
    codec.encode(Cell::Text(text.as_bytes()), &mut bytes);
    if bytes.is_empty() { Vec::new() } else { vec![("numbers of more digits than a float has", bytes)] }
}

/// Of one element, and nothing for NULL.
fn array_of(element_oid: u32, element: Option<&[u8]>) -> Vec<u8> {
    let length = element.map_or(u32::MAX, |bytes| u32::try_from(bytes.len()).expect("a probe is short"));
    let words = [1, u32::from(element.is_none()), element_oid, 1, 1, length];
    let head = words.iter().flat_map(|word| word.to_be_bytes());
    head.chain(element.unwrap_or_default().iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Zone;
    use crate::model::schema::Affinity;
    use crate::plan::reverse::canary_route;

    #[test]
    fn a_form_that_spells_less_than_the_type_holds_is_told() {
        let numeric = |precision, scale| Type::Numeric(Some(NumericLimit { precision, scale }));
        let texts = || Type::Array { element: Box::new(Type::Text), element_oid: 25 };
        for (ty, form, affinity, expected) in [
            (Type::Timestamp(6), "native", Affinity::Numeric, ""),
            (Type::Other("tsvector".into()), "native", Affinity::Text, "as a BLOB"),
            (Type::Timestamp(6), "epoch-s", Affinity::Integer, ""),
            (Type::Int8, "native", Affinity::Integer, ""),
            (Type::Int8, "real", Affinity::Real, "integers beyond 2^53"),
            (numeric(10, 2), "native", Affinity::Numeric, ""),
            (numeric(30, 2), "native", Affinity::Numeric, "numbers of more digits than a float has"),
            (Type::Numeric(None), "native", Affinity::Numeric, "numbers of more digits than a float has"),
            (Type::Numeric(None), "digits", Affinity::Text, ""),
            (Type::Text, "native", Affinity::Text, ""),
            (Type::Text, "native", Affinity::Numeric, "texts that look like numbers"),
            (Type::Interval(6), "duration-us", Affinity::Integer, "months"),
            (Type::Interval(6), "duration-dotnet", Affinity::Text, "months"),
            (Type::Interval(6), "native", Affinity::Text, ""),
            (Type::Uuid, "uuid-hex", Affinity::Numeric, "UUIDs that are all digits"),
            (Type::Uuid, "uuid", Affinity::Numeric, ""),
            (Type::Bytea, "native", Affinity::Blob, ""),
            (Type::Bytea, "other-class", Affinity::Blob, ""),
            (Type::Bytea, "other-class", Affinity::Numeric, "bytes that look like numbers"),
            (texts(), "array-tight", Affinity::Text, ""),
            (texts(), "array-list", Affinity::Text, "NULL elements and elements with a comma"),
        ] {
            let codec = Codec::new(ty.clone(), form.parse().expect("a form"), Zone::Utc);
            let mut route = canary_route();
            route.columns[1] = ColumnRoute { codec, affinity, ..route.columns[1].clone() };
            let found = unspelt(&route);
            let told = found.iter().map(|finding| finding.text.as_str()).collect::<String>();
            assert!(
                told.contains(expected) && told.is_empty() == expected.is_empty(),
                "{ty:?} {form}: {told}"
            );
        }
    }
}
