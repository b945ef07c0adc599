//! Bytes that the source writes as letters, one for each: what becomes of them in a language whose strings are both (Perl), where they are
//! handed to SQLite as a text. The byte E9 stands there as é, in two bytes of UTF-8.

use super::decimal::Spelled;
use super::{Fit, Reason, judged};
use crate::model::cell::Cell;

pub(super) fn encode(cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let start = out.len();
    let read = match cell {
        Cell::Null => return Fit::Null,
        // Bytes that stand there plainly were written by somebody who knows what they are.
        Cell::Blob(bytes) => {
            out.extend_from_slice(bytes);
            return Fit::Kept(Reason::Class);
        }
        Cell::Text(text) => read(text, out),
        // What SQLite has made a number of in a column that it takes for one of numbers: 1234.
        Cell::Integer(value) => read(&Spelled::integer(value), out),
        Cell::Real(value) => read(&Spelled::real(value), out),
    };
    match read {
        Some(()) => {
            let mut again = Vec::new();
            judged(decode(&out[start..], &mut again), cell)
        }
        None => Fit::Lost(Reason::NotLatin1),
    }
}

pub(super) fn decode<'a>(bytes: &[u8], scratch: &'a mut Vec<u8>) -> Cell<'a> {
    scratch.clear();
    for byte in bytes {
        scratch.extend_from_slice(char::from(*byte).encode_utf8(&mut [0; 2]).as_bytes());
    }
    Cell::Text(scratch)
}

/// What a text says of where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    /// Not of bytes: others are among them, or the text is none.
    Others,
    /// Of bytes, or of a text in some western language.
    Either,
    /// Of bytes: the control letters among them (U+0080 to U+009F) stand in no text.
    OfBytes,
}

impl Letters {
    pub fn of(text: &[u8]) -> Letters {
        let Ok(text) = std::str::from_utf8(text) else { return Letters::Others };
        let one = |letter: char| match letter {
            '\u{80}'..='\u{9f}' => Letters::OfBytes,
            '\0'..='\u{ff}' => Letters::Either,
            _ => Letters::Others,
        };
        text.chars().map(one).fold(Letters::Either, |all, one| match (all, one) {
            (Letters::Others, _) | (_, Letters::Others) => Letters::Others,
            (Letters::OfBytes, _) | (_, Letters::OfBytes) => Letters::OfBytes,
            (Letters::Either, Letters::Either) => Letters::Either,
        })
    }
}

/// Appends the bytes.
fn read(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for letter in std::str::from_utf8(text).ok()?.chars() {
        out.push(u8::try_from(letter).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::form::{Form, Hints};
    use super::super::law::{check, crossing};
    use super::super::learn::Learner;
    use super::*;
    use crate::model::schema::Affinity;
    use crate::model::types::Type;
    use proptest::prelude::*;

    #[test]
    fn a_letter_is_a_byte() {
        let class = Fit::Kept(Reason::Class);
        for (cell, expected) in [
            (Cell::Text("aé\u{80}\0ÿ".as_bytes()), (Fit::Exact, "61e98000ff")),
            (Cell::Text(b""), (Fit::Exact, "")),
            (Cell::Text("aĀ".as_bytes()), (Fit::Lost(Reason::NotLatin1), "")),
            (Cell::Text(&[0xe9]), (Fit::Lost(Reason::NotLatin1), "")),
            (Cell::Blob(&[0xe9]), (class, "e9")),
            (Cell::Integer(12), (class, "3132")),
        ] {
            check(&Type::Bytea, Form::Latin1, cell, expected);
        }
    }

    #[test]
    fn control_letters_tell_that_letters_are_bytes() {
        let form = |texts: &[&[u8]]| {
            let hints = Hints { affinity: Affinity::Text, ..Hints::default() };
            let mut learner = Learner::new(Type::Bytea, hints);
            texts.iter().for_each(|text| learner.observe(Cell::Text(text)));
            learner.learned().codec.form.to_string()
        };
        assert_eq!(form(&[b"abc", b"d"]), "other-class");
        assert_eq!(form(&["é".as_bytes(), "ü".as_bytes()]), "other-class");
        assert_eq!(form(&["é\u{93}".as_bytes(), b"abc", "ü".as_bytes()]), "latin1");
        assert_eq!(form(&["\u{93}".as_bytes(), &[0xc0, 0xa8, 0, 1], &[0xff, 0]]), "other-class");
    }

    proptest! {
        #[test]
        fn all_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(crossing(&Type::Bytea, Form::Latin1, Cell::Text(text.as_bytes())), (Fit::Exact, hex));
        }
    }
}
