//! `uuid`: 16 bytes, which the source writes as text in one of eight spellings or as a BLOB in one of two byte orders.

use super::form::{ByteOrder, Case, Dress, Form, UuidText};
use super::formset::FormSet;
use super::{Fit, Malformed, Reason, judged};
use crate::model::cell::Cell;

const HYPHENED: usize = 36;
const URN: &[u8] = b"urn:uuid:";
/// The longest spelling, `urn:uuid:` and 36 characters.
const SPELLING_MAX: usize = 45;
/// After these bytes a hyphen stands.
const HYPHEN_AFTER: [usize; 4] = [3, 5, 7, 9];

pub(super) fn encode(form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    match cell {
        Cell::Null => Fit::Null,
        Cell::Text(text) => encode_text(text, form, out),
        Cell::Blob(blob) => encode_blob(blob, form, out),
        Cell::Integer(value) => encode_integer(value, form, out),
        // Digits around an `e` that NUMERIC affinity took for a REAL: the text is gone.
        Cell::Real(_) => Fit::Lost(Reason::Class),
    }
}

pub(super) fn decode<'a>(form: Form, bytes: &[u8], scratch: &'a mut Vec<u8>) -> Result<Cell<'a>, Malformed> {
    let id: [u8; 16] = bytes.try_into().map_err(|_| Malformed("uuid"))?;
    scratch.clear();
    Ok(match spelling(form) {
        Spelling::Text(text) => {
            let (spelled, length) = spell(id, text);
            scratch.extend_from_slice(&spelled[..length]);
            Cell::Text(scratch)
        }
        Spelling::Blob(order) => {
            scratch.extend_from_slice(&ordered(id, order));
            Cell::Blob(scratch)
        }
    })
}

/// Preferred forms first; the learner tries each. Byte order shows in no single value, so `Mixed` is never proposed.
pub(super) fn forms(cell: Cell<'_>) -> FormSet {
    match cell {
        Cell::Null | Cell::Real(_) => FormSet::EMPTY,
        // Not exact in this one either, but kept.
        Cell::Integer(_) => {
            FormSet::from([Form::UuidText(UuidText { dress: Dress::Bare, case: Case::Lower })])
        }
        Cell::Blob(_) => FormSet::from([Form::UuidBlob(ByteOrder::BigEndian)]),
        Cell::Text(text) => {
            let both =
                |dress| [Case::Lower, Case::Upper].map(|case| Form::UuidText(UuidText { dress, case }));
            undress(text).into_iter().flat_map(|(dress, _)| both(dress)).collect()
        }
    }
}

enum Spelling {
    Text(UuidText),
    Blob(ByteOrder),
}

fn spelling(form: Form) -> Spelling {
    match form {
        Form::UuidText(text) => Spelling::Text(text),
        Form::UuidBlob(order) => Spelling::Blob(order),
        Form::OtherClass => Spelling::Blob(ByteOrder::BigEndian),
        Form::Native | Form::Number | Form::Real | Form::Shortest | Form::Digits => {
            Spelling::Text(UuidText::PLAIN)
        }
        Form::EmptyNull | Form::Affinity | Form::Words(_) => Spelling::Text(UuidText::PLAIN),
        Form::Trimmed(_) | Form::Unsigned => Spelling::Text(UuidText::PLAIN),
        Form::Moment(_) | Form::Epoch(_) | Form::Duration(_) | Form::Array(_) | Form::List | Form::Base64 => {
            Spelling::Text(UuidText::PLAIN)
        }
        Form::Latin1 => Spelling::Text(UuidText::PLAIN),
    }
}

fn encode_text(text: &[u8], form: Form, out: &mut Vec<u8>) -> Fit {
    let Some(id) = undress(text).and_then(|(dress, body)| parse(dress, body)) else {
        return Fit::Lost(Reason::NotAUuid);
    };
    out.extend_from_slice(&id);
    match spelling(form) {
        Spelling::Text(wanted) => {
            let (spelled, length) = spell(id, wanted);
            judged(Cell::Text(&spelled[..length]), Cell::Text(text))
        }
        Spelling::Blob(_) => Fit::Kept(Reason::Class),
    }
}

fn encode_blob(blob: &[u8], form: Form, out: &mut Vec<u8>) -> Fit {
    let Ok(id) = <[u8; 16]>::try_from(blob) else { return Fit::Lost(Reason::NotAUuid) };
    match spelling(form) {
        Spelling::Blob(order) => {
            out.extend_from_slice(&ordered(id, order));
            Fit::Exact
        }
        Spelling::Text(_) => {
            out.extend_from_slice(&id);
            Fit::Kept(Reason::Class)
        }
    }
}

/// A text of digits alone that NUMERIC affinity turned into an INTEGER: its leading zeros are put back.
fn encode_integer(value: i64, form: Form, out: &mut Vec<u8>) -> Fit {
    match (spelling(form), u64::try_from(value)) {
        (Spelling::Text(UuidText { dress: Dress::Bare, .. }), Ok(value)) => {
            let text = format!("{value:032}");
            let id = parse(Dress::Bare, text.as_bytes()).expect("32 decimal digits are hexadecimal digits");
            out.extend_from_slice(&id);
            Fit::Kept(Reason::Class)
        }
        _ => Fit::Lost(Reason::Class),
    }
}

/// What stands around the digits, and the digits.
fn undress(text: &[u8]) -> Option<(Dress, &[u8])> {
    match text {
        [b'{', body @ .., b'}'] => Some((Dress::Braces, body)),
        body if body.len() == 32 => Some((Dress::Bare, body)),
        body if body.len() == HYPHENED => Some((Dress::Hyphens, body)),
        _ => {
            let (urn, body) = text.split_at_checked(URN.len())?;
            urn.eq_ignore_ascii_case(URN).then_some((Dress::Urn, body))
        }
    }
}

fn parse(dress: Dress, body: &[u8]) -> Option<[u8; 16]> {
    let hyphens = match dress {
        Dress::Bare => false,
        Dress::Hyphens | Dress::Braces | Dress::Urn => true,
    };
    let mut id = [0; 16];
    let mut rest = body;
    for (index, byte) in id.iter_mut().enumerate() {
        let ([high, low], tail) = rest.split_first_chunk()?;
        *byte = nibble(*high)? << 4 | nibble(*low)?;
        rest = tail;
        if hyphens && HYPHEN_AFTER.contains(&index) {
            rest = rest.strip_prefix(b"-")?;
        }
    }
    rest.is_empty().then_some(id)
}

fn spell(id: [u8; 16], text: UuidText) -> ([u8; SPELLING_MAX], usize) {
    let (before, hyphens, after): (&[u8], &[usize], &[u8]) = match text.dress {
        Dress::Bare => (b"", &[], b""),
        Dress::Hyphens => (b"", &HYPHEN_AFTER, b""),
        Dress::Braces => (b"{", &HYPHEN_AFTER, b"}"),
        Dress::Urn => (URN, &HYPHEN_AFTER, b""),
    };
    let digits = match text.case {
        Case::Lower => b"0123456789abcdef",
        Case::Upper => b"0123456789ABCDEF",
    };
    let mut spelled = [0; SPELLING_MAX];
    let mut length = 0;
    let mut put = |bytes: &[u8]| {
        spelled[length..length + bytes.len()].copy_from_slice(bytes);
        length += bytes.len();
    };
    put(before);
    for (index, byte) in id.into_iter().enumerate() {
        put(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        if hyphens.contains(&index) {
            put(b"-");
        }
    }
    put(after);
    (spelled, length)
}

/// From the BLOB's order to the canonical one or back: swapping twice changes nothing.
fn ordered(mut id: [u8; 16], order: ByteOrder) -> [u8; 16] {
    match order {
        ByteOrder::BigEndian => {}
        ByteOrder::Mixed => {
            id[0..4].reverse();
            id[4..6].reverse();
            id[6..8].reverse();
        }
    }
    id
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::law::check;
    use super::*;
    use crate::model::types::Type;

    const HEX: &str = "123456789abcdef0123456789abcdef0";

    #[test]
    fn every_spelling_comes_back_in_its_own_form() {
        for (word, text) in [
            ("uuid", "12345678-9abc-def0-1234-56789abcdef0"),
            ("uuid-upper", "12345678-9ABC-DEF0-1234-56789ABCDEF0"),
            ("uuid-hex", HEX),
            ("uuid-hex-upper", "123456789ABCDEF0123456789ABCDEF0"),
            ("uuid-braces", "{12345678-9abc-def0-1234-56789abcdef0}"),
            ("uuid-urn-upper", "urn:uuid:12345678-9ABC-DEF0-1234-56789ABCDEF0"),
        ] {
            let form: Form = word.parse().expect("a word of the table");
            check(&Type::Uuid, form, Cell::Text(text.as_bytes()), (Fit::Exact, HEX));
            assert!(
                forms(Cell::Text(text.as_bytes())).into_iter().any(|proposed| proposed == form),
                "{word}"
            );
            check(
                &Type::Uuid,
                Form::UuidBlob(ByteOrder::BigEndian),
                Cell::Text(text.as_bytes()),
                (Fit::Kept(Reason::Class), HEX),
            );
        }
        let mixed_case = Cell::Text(b"12345678-9aBC-def0-1234-56789abcdef0");
        check(&Type::Uuid, Form::Native, mixed_case, (Fit::Kept(Reason::Spelling), HEX));
    }

    #[test]
    fn blobs_cross_in_either_byte_order() {
        let blob =
            [0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0];
        check(&Type::Uuid, Form::UuidBlob(ByteOrder::Mixed), Cell::Blob(&blob), (Fit::Exact, HEX));
        let straight = (Fit::Exact, "78563412bc9af0de123456789abcdef0");
        check(&Type::Uuid, Form::UuidBlob(ByteOrder::BigEndian), Cell::Blob(&blob), straight);
        check(&Type::Uuid, Form::Native, Cell::Blob(&blob[1..]), (Fit::Lost(Reason::NotAUuid), ""));
    }

    #[test]
    fn digits_that_became_an_integer_get_their_zeros_back() {
        let bare = Form::UuidText(UuidText { dress: Dress::Bare, case: Case::Lower });
        let nil = "00000000000000000000000000000000";
        check(&Type::Uuid, bare, Cell::Integer(0), (Fit::Kept(Reason::Class), nil));
        check(
            &Type::Uuid,
            bare,
            Cell::Integer(42),
            (Fit::Kept(Reason::Class), "00000000000000000000000000000042"),
        );
        check(&Type::Uuid, bare, Cell::Integer(-1), (Fit::Lost(Reason::Class), ""));
        check(&Type::Uuid, bare, Cell::Real(1.2e31), (Fit::Lost(Reason::Class), ""));
        check(&Type::Uuid, Form::Native, Cell::Integer(0), (Fit::Lost(Reason::Class), ""));
    }

    #[test]
    fn anything_else_is_no_uuid() {
        for text in [
            "",
            "{}",
            "urn:uuid:",
            "12345678-9abc-def0-1234-56789abcdef",
            "123456789-abc-def0-1234-56789abcdef0",
            "{123456789abcdef0123456789abcdef0}",
            "123456789abcdef0123456789abcdefg",
        ] {
            check(&Type::Uuid, Form::Native, Cell::Text(text.as_bytes()), (Fit::Lost(Reason::NotAUuid), ""));
        }
    }
}
