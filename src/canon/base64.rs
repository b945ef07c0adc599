//! Bytes that the source writes as base64: RFC 4648's own letters, padded, without line breaks, as an application does that takes SQLite
//! for a store of texts (SQLObject).
//!
//! Most short words are base64 of something, so that no text proposes it: the operator says so.

use super::decimal::Spelled;
use super::{Fit, Reason, judged};
use crate::model::cell::Cell;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD: u8 = b'=';

pub(super) fn encode(cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let start = out.len();
    let read = match cell {
        Cell::Null => return Fit::Null,
        // Bytes that stand there plainly are no code.
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
        None => Fit::Lost(Reason::NotBase64),
    }
}

pub(super) fn decode<'a>(bytes: &[u8], scratch: &'a mut Vec<u8>) -> Cell<'a> {
    scratch.clear();
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        let letter = |shift: u32| LETTERS[usize::try_from(group >> shift & 0x3f).expect("six bits")];
        let four = [letter(18), letter(12), letter(6), letter(0)];
        scratch.extend_from_slice(&four[..=three.len()]);
        scratch.resize(scratch.len() + 3 - three.len(), PAD);
    }
    Cell::Text(scratch)
}

/// Appends the bytes. Line breaks, a missing end and bits that say nothing are read as every decoder does; only that the text does not come
/// back tells of them.
fn read(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut held, mut letters) = (0_u32, 0_u32, 0_usize);
    let mut text = text.iter().copied().filter(|letter| !matches!(letter, b'\r' | b'\n'));
    for letter in text.by_ref() {
        if letter == PAD {
            // The one that ended the loop counts.
            let pads = 1 + text.by_ref().take_while(|letter| *letter == PAD).count();
            return (text.next().is_none() && (letters + pads).is_multiple_of(4) && pads <= 2).then_some(());
        }
        bits = bits << 6 | value(letter)?;
        held += 6;
        letters += 1;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).expect("eight bits"));
        }
    }
    // One letter alone holds no byte.
    (letters % 4 != 1).then_some(())
}

fn value(letter: u8) -> Option<u32> {
    let at = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(at))
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::super::law::{check, crossing};
    use super::*;
    use crate::model::types::Type;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_read_from_their_code_and_written_as_it() {
        let (class, spelling) = (Fit::Kept(Reason::Class), Fit::Kept(Reason::Spelling));
        let lost = (Fit::Lost(Reason::NotBase64), "");
        for (cell, expected) in [
            (Cell::Text(b""), (Fit::Exact, "")),
            (Cell::Text(b"AA=="), (Fit::Exact, "00")),
            (Cell::Text(b"AP8="), (Fit::Exact, "00ff")),
            (Cell::Text(b"aGVs"), (Fit::Exact, "68656c")),
            (Cell::Text(b"+/+/"), (Fit::Exact, "fbffbf")),
            (Cell::Text(b"aGVs\nbG8=\n"), (spelling, "68656c6c6f")),
            (Cell::Text(b"AA"), (spelling, "00")),
            // Bits after the last byte.
            (Cell::Text(b"AB=="), (spelling, "00")),
            (Cell::Text(b"A"), lost),
            (Cell::Text(b"AAAAA"), lost),
            (Cell::Text(b"A==="), lost),
            (Cell::Text(b"===="), lost),
            (Cell::Text(b"AA="), lost),
            (Cell::Text(b"AA==AA=="), lost),
            (Cell::Text(b"AAA=\n="), lost),
            (Cell::Text(b"a-_b"), lost),
            (Cell::Text("hé".as_bytes()), lost),
            (Cell::Text(b"a b="), lost),
            (Cell::Blob(b"\0\xff"), (class, "00ff")),
            (Cell::Integer(1234), (class, "d76df8")),
            (Cell::Integer(-1), lost),
            (Cell::Real(1.5), lost),
        ] {
            check(&Type::Bytea, Form::Base64, cell, expected);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_one_code(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut code = Vec::new();
            decode(&bytes, &mut code);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(crossing(&Type::Bytea, Form::Base64, Cell::Text(&code)), (Fit::Exact, hex));
        }
    }
}
