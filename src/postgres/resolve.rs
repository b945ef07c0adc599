//! Catalog rows of types to `model::types::Type`: domains followed to their base, modifiers read as numbers.
//!
//! Pure. What it does not know for certain becomes `Type::Other`, which no codec writes.

use crate::model::types::{NumericLimit, Type};
use std::collections::HashMap;

/// One row of `sql/types.sql`.
#[derive(Clone, Debug, Default)]
pub struct RawType {
    pub oid: u32,
    pub name: String,
    pub sql_name: String,
    /// `typtype`: `b`, `d`, `e` and others.
    pub kind: String,
    pub base_oid: u32,
    pub base_typmod: i32,
    pub not_null: bool,
    pub has_checks: bool,
    /// Zero for what is no array.
    pub element_oid: u32,
    pub labels: Vec<String>,
    pub extension: Option<String>,
}

/// What a column's type comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub ty: Type,
    pub domain: Option<String>,
    pub domain_has_checks: bool,
    pub domain_not_null: bool,
}

/// A modifier counts its own header of four bytes.
const TYPMOD_HEADER: i32 = 4;
/// An interval's modifier that restricts neither fields nor digits.
const INTERVAL_SECOND: i32 = 1 << 12;
const INTERVAL_ALL_DIGITS: i32 = 0xffff;
const TIME_DIGITS_MAX: u8 = 6;

/// `shown` is the column's `format_type`; it names what has no type of ours.
pub fn resolve(types: &HashMap<u32, RawType>, oid: u32, typmod: i32, shown: &str) -> Resolved {
    let other = || Type::Other(shown.to_owned());
    let chain = follow(types, oid, typmod);
    let mut domain_has_checks = chain.has_checks;
    let ty = match chain.base {
        Some(array) if array.element_oid != 0 => {
            // The modifier of an array is its elements'. An array within an array, which takes a domain, has no codec.
            let elements = follow(types, array.element_oid, chain.typmod);
            domain_has_checks |= elements.has_checks || elements.not_null;
            let element = elements.base.filter(|element| element.element_oid == 0);
            let element = element.and_then(|element| scalar(element, elements.typmod));
            element.map(|ty| Type::Array { element: Box::new(ty), element_oid: array.element_oid })
        }
        Some(base) => scalar(base, chain.typmod),
        None => None,
    };
    Resolved {
        ty: ty.unwrap_or_else(other),
        domain: chain.domain.map(|domain| domain.sql_name.clone()),
        domain_has_checks,
        domain_not_null: chain.not_null,
    }
}

/// A type and, where it is a domain, what stands under it.
struct Chain<'a> {
    /// The outermost domain.
    domain: Option<&'a RawType>,
    base: Option<&'a RawType>,
    typmod: i32,
    has_checks: bool,
    not_null: bool,
}

fn follow(types: &HashMap<u32, RawType>, oid: u32, typmod: i32) -> Chain<'_> {
    let mut chain = Chain { domain: None, base: None, typmod, has_checks: false, not_null: false };
    let mut next = types.get(&oid);
    // A chain longer than the number of types would run in a circle.
    for _ in 0..types.len() {
        let Some(raw) = next else { break };
        if raw.kind != "d" {
            chain.base = Some(raw);
            break;
        }
        chain.domain.get_or_insert(raw);
        chain.has_checks |= raw.has_checks;
        chain.not_null |= raw.not_null;
        chain.typmod = raw.base_typmod;
        next = types.get(&raw.base_oid);
    }
    chain
}

/// `None` where no codec writes the type.
fn scalar(raw: &RawType, typmod: i32) -> Option<Type> {
    match raw.kind.as_str() {
        "e" => Some(Type::Enum(raw.labels.as_slice().into())),
        "b" if raw.name == "citext" && raw.extension.as_deref() == Some("citext") => Some(Type::Citext),
        "b" => builtin(raw.oid, typmod),
        _ => None,
    }
}

fn builtin(oid: u32, typmod: i32) -> Option<Type> {
    Some(match oid {
        16 => Type::Bool,
        17 => Type::Bytea,
        20 => Type::Int8,
        21 => Type::Int2,
        23 => Type::Int4,
        25 => Type::Text,
        26 => Type::Oid,
        114 => Type::Json,
        650 => Type::Cidr,
        700 => Type::Float4,
        701 => Type::Float8,
        829 => Type::Macaddr,
        869 => Type::Inet,
        // `bpchar` without a length keeps its blanks as `varchar` does.
        1042 => match length(typmod) {
            Some(length) => Type::Bpchar(length),
            None => Type::Varchar(None),
        },
        1043 => Type::Varchar(length(typmod)),
        1082 => Type::Date,
        1083 => Type::Time(digits(typmod)),
        1114 => Type::Timestamp(digits(typmod)),
        1184 => Type::Timestamptz(digits(typmod)),
        1186 => Type::Interval(interval_digits(typmod)?),
        1700 => Type::Numeric(numeric_limit(typmod)),
        2950 => Type::Uuid,
        3802 => Type::Jsonb,
        _ => return None,
    })
}

fn length(typmod: i32) -> Option<u32> {
    u32::try_from(typmod - TYPMOD_HEADER).ok()
}

fn digits(typmod: i32) -> u8 {
    u8::try_from(typmod).map_or(TIME_DIGITS_MAX, |digits| digits.min(TIME_DIGITS_MAX))
}

/// Fields right of the last one that a column keeps would be dropped in silence: it has no codec. Those left of its first are kept
/// (`day to second` is how Pony and Oracle's users declare any interval).
fn interval_digits(typmod: i32) -> Option<u8> {
    if typmod < 0 {
        return Some(TIME_DIGITS_MAX);
    }
    let keeps_seconds = (typmod >> 16) & INTERVAL_SECOND != 0;
    keeps_seconds.then(|| digits(typmod & INTERVAL_ALL_DIGITS))
}

/// Precision in the upper half; scale in the lower eleven bits, signed since PostgreSQL 15.
fn numeric_limit(typmod: i32) -> Option<NumericLimit> {
    let packed = u32::try_from(typmod - TYPMOD_HEADER).ok()?;
    let precision = u16::try_from(packed >> 16).ok()?;
    let scale = i16::try_from(packed & 0x7ff).ok()?;
    Some(NumericLimit { precision, scale: (scale ^ 0x400) - 0x400 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u32 = 25;
    const VARCHAR: u32 = 1043;
    const NUMERIC: u32 = 1700;
    const MOOD: u32 = 90_001;
    const EMAIL: u32 = 90_002;
    const SHORT: u32 = 90_003;
    const SHORTER: u32 = 90_004;
    const CITEXT: u32 = 90_005;
    const RANGE: u32 = 90_006;

    fn raw(oid: u32, kind: &str, name: &str) -> RawType {
        RawType {
            oid,
            kind: kind.into(),
            name: name.into(),
            sql_name: name.into(),
            base_typmod: -1,
            ..RawType::default()
        }
    }

    fn array_of(oid: u32, element_oid: u32) -> RawType {
        RawType { element_oid, ..raw(oid, "b", "_array") }
    }

    fn types() -> HashMap<u32, RawType> {
        let mut all: Vec<RawType> =
            [16, 20, 26, 1042, VARCHAR, 1083, 1114, 1184, 1186, NUMERIC, TEXT, 19, 1266, 790]
                .map(|oid| raw(oid, "b", "builtin"))
                .into();
        all.push(RawType { labels: vec!["sad".into(), "ok".into()], ..raw(MOOD, "e", "s.mood") });
        all.push(RawType { base_oid: TEXT, has_checks: true, ..raw(EMAIL, "d", "s.email") });
        all.push(RawType {
            base_oid: VARCHAR,
            base_typmod: 14,
            not_null: true,
            ..raw(SHORT, "d", "s.short")
        });
        all.push(RawType { base_oid: SHORT, ..raw(SHORTER, "d", "s.shorter") });
        all.push(RawType { extension: Some("citext".into()), ..raw(CITEXT, "b", "citext") });
        all.push(raw(RANGE, "r", "int4range"));
        all.extend([array_of(1, MOOD), array_of(2, VARCHAR), array_of(3, SHORTER), array_of(4, RANGE)]);
        all.push(RawType { base_oid: 2, base_typmod: 9, ..raw(5, "d", "s.list") });
        all.push(array_of(6, 5));
        all.extend([
            RawType { base_oid: 8, ..raw(7, "d", "a") },
            RawType { base_oid: 7, ..raw(8, "d", "b") },
        ]);
        all.into_iter().map(|raw| (raw.oid, raw)).collect()
    }

    fn check(oid: u32, typmod: i32, expected: Type) {
        assert_eq!(resolve(&types(), oid, typmod, "shown").ty, expected, "{oid} {typmod}");
    }

    #[test]
    fn modifiers_are_read_as_numbers() {
        let limit = |precision, scale| Type::Numeric(Some(NumericLimit { precision, scale }));
        check(NUMERIC, -1, Type::Numeric(None));
        check(NUMERIC, (10 << 16 | 2) + 4, limit(10, 2));
        check(NUMERIC, (1000 << 16) + 4, limit(1000, 0));
        check(NUMERIC, (5 << 16 | 0x7fe) + 4, limit(5, -2));
        check(VARCHAR, -1, Type::Varchar(None));
        check(VARCHAR, 24, Type::Varchar(Some(20)));
        check(1042, 5, Type::Bpchar(1));
        check(1042, -1, Type::Varchar(None));
        check(1083, 0, Type::Time(0));
        check(1114, -1, Type::Timestamp(6));
        check(1184, 3, Type::Timestamptz(3));
        check(1186, -1, Type::Interval(6));
        check(1186, 0x7fff_0003, Type::Interval(3));
        check(1186, 0x1c08_ffff, Type::Interval(6));
        check(1186, 0x1000_0002, Type::Interval(2));
        check(1186, 0x0004_ffff, Type::Other("shown".into()));
        check(1186, 0x0c08_ffff, Type::Other("shown".into()));
    }

    #[test]
    fn domains_enums_and_arrays_are_followed() {
        let mood = || Type::Enum(["sad".to_owned(), "ok".to_owned()].into());
        let array = |element, element_oid| Type::Array { element: Box::new(element), element_oid };
        check(MOOD, -1, mood());
        check(CITEXT, -1, Type::Citext);
        check(EMAIL, -1, Type::Text);
        check(SHORTER, -1, Type::Varchar(Some(10)));
        check(1, -1, array(mood(), MOOD));
        check(2, 12, array(Type::Varchar(Some(8)), VARCHAR));
        check(3, -1, array(Type::Varchar(Some(10)), SHORTER));
        check(5, -1, array(Type::Varchar(Some(5)), VARCHAR));
        for other in [4, 6, 7, 19, 790, 1266, RANGE, 12_345] {
            check(other, -1, Type::Other("shown".into()));
        }
    }

    #[test]
    fn a_domain_passes_on_what_it_refuses() {
        let facts = |oid| {
            let resolved = resolve(&types(), oid, -1, "shown");
            (resolved.domain, resolved.domain_has_checks, resolved.domain_not_null)
        };
        assert_eq!(facts(EMAIL), (Some("s.email".into()), true, false));
        assert_eq!(facts(SHORTER), (Some("s.shorter".into()), false, true));
        assert_eq!(facts(3), (None, true, false), "elements may not be null");
        assert_eq!(facts(TEXT), (None, false, false));
    }
}
