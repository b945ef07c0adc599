//! JSON columns: `json` keeps a text as it is, `jsonb` keeps the value it tells.
//!
//! A text crosses into `json` byte for byte. Of `jsonb` the law that bytes come back is asked for the value alone: order of keys, spaces
//! and spelling of numbers are PostgreSQL's own, and a text whose value comes back counts as exact. A key that stands twice in one object
//! is a loss, and goes to the ledger. Nothing but RFC 8259 is JSON here: NaN, comments and trailing commas are refused, not mended.

use super::decimal::Spelled;
use super::form::{Form, Hints};
use super::formset::FormSet;
use super::jsonb::{self, Keys};
use super::{Fit, Malformed, Reason, Zone, json_scan, judged, sqlite_jsonb, text};
use crate::model::cell::{Cell, Class};
use crate::model::schema::Affinity;
use crate::model::types::Type;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Jsonb,
}

pub(super) fn encode(ty: &Type, form: Form, _zone: Zone, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let kind = Kind::of(ty);
    match cell {
        Cell::Null => Fit::Null,
        Cell::Integer(value) => kind.encode(&Spelled::integer(value), form, cell, out),
        Cell::Real(value) => kind.encode(&Spelled::real(value), form, cell, out),
        Cell::Text(bytes) => kind.encode(bytes, form, cell, out),
        Cell::Blob(bytes) if json_scan::is_json(bytes) => kind.encode(bytes, form, cell, out),
        Cell::Blob(bytes) => match sqlite_jsonb::text_of(bytes) {
            Some(text) => kind.encode(&text, form, cell, out),
            None => Fit::Lost(Reason::NotJson),
        },
    }
}

pub(super) fn decode<'a>(
    ty: &Type,
    form: Form,
    _zone: Zone,
    bytes: &'a [u8],
    _scratch: &'a mut Vec<u8>,
) -> Result<Cell<'a>, Malformed> {
    Kind::of(ty).decode(form, bytes)
}

/// The forms under which this cell would cross exactly.
pub(super) fn forms(ty: &Type, cell: Cell<'_>, hints: &Hints) -> FormSet {
    let form = match cell.class() {
        Class::Null => return FormSet::EMPTY,
        Class::Integer | Class::Real => Form::Affinity,
        Class::Text => Form::Native,
        Class::Blob => Form::OtherClass,
    };
    let mut bytes = Vec::new();
    if encode(ty, form, hints.zone, cell, &mut bytes) != Fit::Exact {
        return FormSet::EMPTY;
    }
    let is_text = |form| Kind::of(ty).decode(form, &bytes).is_ok_and(|back| back.class() == Class::Text);
    // A column of TEXT affinity holds no numbers, so their spellings are texts.
    let mixed = cell.class() == Class::Text && hints.affinity != Affinity::Text && is_text(Form::Affinity);
    [Some(form), mixed.then_some(Form::Affinity)].into_iter().flatten().collect()
}

impl Kind {
    fn of(ty: &Type) -> Kind {
        match ty {
            Type::Json => Kind::Json,
            Type::Jsonb => Kind::Jsonb,
            other => unreachable!("{} is no JSON type", other.sql()),
        }
    }

    fn encode(self, json: &[u8], form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
        let start = out.len();
        let keys = match self {
            Kind::Json if !json_scan::is_json(json) => return Fit::Lost(Reason::NotJson),
            Kind::Json => {
                out.extend_from_slice(json);
                Keys::Unique
            }
            Kind::Jsonb => match jsonb::put(json, out) {
                Ok(keys) => keys,
                Err(reason) => {
                    out.truncate(start);
                    return Fit::Lost(reason);
                }
            },
        };
        if keys == Keys::Repeated {
            return Fit::Kept(Reason::DuplicateKeys);
        }
        let back = self.decode(form, &out[start..]).expect("what was just written is well-formed");
        match (self, cell) {
            (Kind::Jsonb, Cell::Text(_)) if back.class() == Class::Text => Fit::Exact,
            (Kind::Jsonb, Cell::Blob(bytes)) if back.class() == Class::Blob && bytes == json => Fit::Exact,
            (Kind::Json | Kind::Jsonb, _) => judged(back, cell),
        }
    }

    fn decode(self, form: Form, bytes: &[u8]) -> Result<Cell<'_>, Malformed> {
        let json = match self {
            Kind::Json => bytes,
            Kind::Jsonb => bytes.strip_prefix(&[jsonb::VERSION]).ok_or(Malformed("jsonb"))?,
        };
        Ok(text::decode(text::Kind::Plain, form, json))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn crossing(ty: &Type, form: Form, cell: Cell<'_>) -> (Fit, String) {
        let mut bytes = Vec::new();
        let fit = encode(ty, form, Zone::Utc, cell, &mut bytes);
        (fit, String::from_utf8(bytes).unwrap().trim_start_matches('\u{1}').to_owned())
    }

    #[test]
    fn json_keeps_the_text() {
        let blob_of_sqlite = b"\x4c\x17a\x131";
        for (form, cell, fit, text) in [
            (Form::Native, Cell::Text(b" {\"a\":1,\"a\":2} "), Fit::Exact, " {\"a\":1,\"a\":2} "),
            (Form::Native, Cell::Text(b"\"\\u0000\\ud800\""), Fit::Exact, "\"\\u0000\\ud800\""),
            (Form::Native, Cell::Text(b"NaN"), Fit::Lost(Reason::NotJson), ""),
            (Form::Native, Cell::Text(b""), Fit::Lost(Reason::NotJson), ""),
            (Form::Native, Cell::Text(b"{\"a\":"), Fit::Lost(Reason::NotJson), ""),
            (Form::Native, Cell::Text(b"\"\0\""), Fit::Lost(Reason::NotJson), ""),
            (Form::Native, Cell::Text(b"\"\xff\""), Fit::Lost(Reason::NotJson), ""),
            (Form::Native, Cell::Integer(5), Fit::Kept(Reason::Class), "5"),
            (Form::Native, Cell::Blob(b"{}"), Fit::Kept(Reason::Class), "{}"),
            (Form::Native, Cell::Blob(blob_of_sqlite), Fit::Kept(Reason::Class), "{\"a\":1}"),
            (Form::Native, Cell::Blob(b"\xff"), Fit::Lost(Reason::NotJson), ""),
            (Form::Native, Cell::Null, Fit::Null, ""),
            (Form::OtherClass, Cell::Blob(b"{}"), Fit::Exact, "{}"),
            (Form::OtherClass, Cell::Blob(blob_of_sqlite), Fit::Kept(Reason::Spelling), "{\"a\":1}"),
            (Form::OtherClass, Cell::Text(b"{}"), Fit::Kept(Reason::Class), "{}"),
            (Form::Affinity, Cell::Integer(5), Fit::Exact, "5"),
            (Form::Affinity, Cell::Real(0.5), Fit::Exact, "0.5"),
            (Form::Affinity, Cell::Real(1e23), Fit::Exact, "1.0e+23"),
            (Form::Affinity, Cell::Text(b"{}"), Fit::Exact, "{}"),
            (Form::Affinity, Cell::Text(b"5"), Fit::Kept(Reason::Class), "5"),
        ] {
            assert_eq!(crossing(&Type::Json, form, cell), (fit, text.to_owned()), "{form} {cell:?}");
        }
    }

    #[test]
    fn jsonb_keeps_the_value() {
        for (form, cell, fit, text) in [
            (Form::Native, Cell::Text(b" {\"b\":1, \"a\":[ ]} "), Fit::Exact, "{\"a\": [], \"b\": 1}"),
            (Form::Native, Cell::Text(b"{\"a\":1,\"a\":2}"), Fit::Kept(Reason::DuplicateKeys), "{\"a\": 2}"),
            (Form::Native, Cell::Text(b"\"\\u0000\""), Fit::Lost(Reason::NotJson), ""),
            (Form::Native, Cell::Text(b"1e200000"), Fit::Lost(Reason::OutOfRange), ""),
            (Form::Native, Cell::Integer(5), Fit::Kept(Reason::Class), "5"),
            (Form::Native, Cell::Blob(b"[1,2]"), Fit::Kept(Reason::Class), "[1, 2]"),
            (Form::OtherClass, Cell::Blob(b"[1,2]"), Fit::Exact, "[1, 2]"),
            (Form::OtherClass, Cell::Blob(b"\x4c\x17a\x131"), Fit::Kept(Reason::Spelling), "{\"a\": 1}"),
            (Form::Affinity, Cell::Integer(5), Fit::Exact, "5"),
            (Form::Affinity, Cell::Real(0.5), Fit::Exact, "0.5"),
            (Form::Affinity, Cell::Text(b"1e2"), Fit::Kept(Reason::Class), "100"),
        ] {
            let (got, bytes) = crossing(&Type::Jsonb, form, cell);
            // What is refused half-way is taken away by the dispatch; here only the verdict counts.
            let bytes = if matches!(got, Fit::Lost(_)) { String::new() } else { bytes };
            assert_eq!((got, bytes), (fit, text.to_owned()), "{form} {cell:?}");
        }
    }

    #[test]
    fn forms_are_those_that_carry_the_cell() {
        let forms = |ty: &Type, cell, affinity| {
            let hints = Hints { affinity, ..Hints::default() };
            forms(ty, cell, &hints).into_iter().collect::<Vec<_>>()
        };
        for ty in [Type::Json, Type::Jsonb] {
            assert_eq!(forms(&ty, Cell::Text(b"{}"), Affinity::Text), [Form::Native]);
            assert_eq!(forms(&ty, Cell::Text(b"{}"), Affinity::Numeric), [Form::Native, Form::Affinity]);
            assert_eq!(forms(&ty, Cell::Text(b"5"), Affinity::Blob), [Form::Native]);
            assert_eq!(forms(&ty, Cell::Integer(5), Affinity::Numeric), [Form::Affinity]);
            assert_eq!(forms(&ty, Cell::Blob(b"{}"), Affinity::Blob), [Form::OtherClass]);
            assert_eq!(forms(&ty, Cell::Text(b"NaN"), Affinity::Text), []);
        }
    }

    #[test]
    fn only_the_one_version_of_jsonb_is_read() {
        let mut scratch = Vec::new();
        for bytes in [&b""[..], b"\x02{}"] {
            assert!(decode(&Type::Jsonb, Form::Native, Zone::Utc, bytes, &mut scratch).is_err());
        }
    }
}
