//! SQLite's own binary JSON (3.45 and later), read into JSON text.
//!
//! Blobs of this format carry no mark: one is taken for JSON only where every length in it fits to the byte and the text that comes
//! out is valid. What JSON5 may write and JSON may not is written the JSON way, with the same value.

use super::json_scan::is_json;
use super::jsonb::put_string;

/// SQLite's own bound on nesting.
const DEPTH_MAX: usize = 1000;

// The kinds of elements; a 5 marks what only JSON5 may write.
const NULL: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const INTEGER: u8 = 3;
const INTEGER5: u8 = 4;
const FLOAT: u8 = 5;
const FLOAT5: u8 = 6;
const TEXT: u8 = 7;
/// Text with JSON's escapes.
const TEXT_ESCAPED: u8 = 8;
const TEXT5: u8 = 9;
/// Text as it is meant, without escapes.
const TEXT_RAW: u8 = 10;
const ARRAY: u8 = 11;
const OBJECT: u8 = 12;

/// The JSON text of a whole blob; nothing where it is none of this format.
pub(super) fn text_of(blob: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (element, rest) = Element::take(blob)?;
    if !rest.is_empty() {
        return None;
    }
    element.put(DEPTH_MAX, &mut out)?;
    is_json(&out).then_some(out)
}

struct Element<'a> {
    kind: u8,
    payload: &'a [u8],
}

impl<'a> Element<'a> {
    /// The first element and what follows it.
    fn take(bytes: &'a [u8]) -> Option<(Element<'a>, &'a [u8])> {
        let (head, rest) = bytes.split_first()?;
        let (size, rest) = match head >> 4 {
            // Words have no payload, and SQLite takes no size for them but the shortest.
            1.. if head & 0xf <= FALSE => return None,
            size @ 0..=11 => (usize::from(size), rest),
            wide => {
                let (size, rest) = rest.split_at_checked(1 << (wide - 12))?;
                let size = size.iter().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
                (usize::try_from(size).ok()?, rest)
            }
        };
        let (payload, rest) = rest.split_at_checked(size)?;
        Some((Element { kind: head & 0xf, payload }, rest))
    }

    fn put(&self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        match self.kind {
            NULL => out.extend_from_slice(b"null"),
            TRUE => out.extend_from_slice(b"true"),
            FALSE => out.extend_from_slice(b"false"),
            INTEGER | FLOAT => out.extend_from_slice(self.payload),
            INTEGER5 => put_integer5(self.payload, out)?,
            FLOAT5 => put_float5(self.payload, out)?,
            TEXT | TEXT_ESCAPED => put_quoted(self.payload, out),
            TEXT5 => put_text5(self.payload, out),
            TEXT_RAW => put_string(self.payload, out),
            ARRAY | OBJECT => self.put_container(depth.checked_sub(1)?, out)?,
            _ => return None,
        }
        self.is_sound(&out[start..]).then_some(())
    }

    /// Whether the element has its kind's own spelling, and its text is one value: a payload must not become a neighbour's text.
    fn is_sound(&self, text: &[u8]) -> bool {
        let fractional = text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        match self.kind {
            INTEGER | INTEGER5 => is_number(text) && !fractional,
            FLOAT | FLOAT5 => is_number(text) && fractional,
            TEXT => is_json(text) && !self.payload.contains(&b'\\'),
            TEXT_ESCAPED..=TEXT_RAW => is_json(text),
            _ => true,
        }
    }

    /// Arrays and objects; an object's elements are its keys and values by turns.
    fn put_container(&self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        let object = self.kind == OBJECT;
        let (mut rest, mut count) = (self.payload, 0_usize);
        out.push(if object { b'{' } else { b'[' });
        while !rest.is_empty() {
            let key = object && count.is_multiple_of(2);
            if count > 0 {
                out.push(if object && !key { b':' } else { b',' });
            }
            let (element, after) = Element::take(rest)?;
            if key && !matches!(element.kind, TEXT..=TEXT_RAW) {
                return None;
            }
            element.put(depth, out)?;
            (rest, count) = (after, count + 1);
        }
        out.push(if object { b'}' } else { b']' });
        (!object || count.is_multiple_of(2)).then_some(())
    }
}

fn is_number(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'-' | b'0'..=b'9'))
        && text.last().is_some_and(u8::is_ascii_digit)
        && is_json(text)
}

/// Text that needs no escapes, or has JSON's own.
fn put_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// `0x1F`, `-0xff`: hexadecimal, for every other spelling has a kind of its own.
fn put_integer5(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (sign, digits) = signed(text);
    let [b'0', b'x' | b'X', hex @ ..] = digits else { return None };
    let hex =
        std::str::from_utf8(hex).ok().filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let value = u64::from_str_radix(hex, 16).ok()?;
    out.extend_from_slice(sign);
    out.extend_from_slice(value.to_string().as_bytes());
    Some(())
}

/// `.5`, `5.`, `-.5e3`.
fn put_float5(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (sign, digits) = signed(text);
    // A point alone is no zero.
    digits.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).find(|byte| byte.is_ascii_digit())?;
    let dot = digits.iter().position(|byte| *byte == b'.');
    let (whole, rest) = digits.split_at(dot.unwrap_or(digits.len()));
    out.extend_from_slice(sign);
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    if let [b'.', fraction @ ..] = rest {
        out.push(b'.');
        if !fraction.first().is_some_and(u8::is_ascii_digit) {
            out.push(b'0');
        }
        out.extend_from_slice(fraction);
    }
    Some(())
}

/// A minus, or nothing, and what follows it.
fn signed(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(usize::from(text.first() == Some(&b'-')))
}

/// Text with JSON5's escapes.
fn put_text5(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        rest = match rest {
            [] => break,
            [b'\\', b'\'', rest @ ..] => put(b"'", rest, out),
            [b'\\', b'v', rest @ ..] => put(b"\\u000b", rest, out),
            [b'\\', b'0', rest @ ..] => put(b"\\u0000", rest, out),
            [b'\\', b'x', high, low, rest @ ..] => put(&[b'\\', b'u', b'0', b'0', *high, *low], rest, out),
            // A line that goes on in the next.
            [b'\\', b'\r', b'\n', rest @ ..] | [b'\\', b'\r' | b'\n', rest @ ..] => rest,
            [b'\\', 0xe2, 0x80, 0xa8 | 0xa9, rest @ ..] => rest,
            [b'\\', escaped, rest @ ..] => put(&[b'\\', *escaped], rest, out),
            [b'"', rest @ ..] => put(b"\\\"", rest, out),
            [control @ 0..=0x1f, rest @ ..] => {
                let hex = format!("\\u{control:04x}");
                put(hex.as_bytes(), rest, out)
            }
            [byte, rest @ ..] => put(&[*byte], rest, out),
        };
    }
    out.push(b'"');
}

fn put<'a>(bytes: &[u8], rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    out.extend_from_slice(bytes);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by SQLite's `jsonb()`, but for what is no such blob.
    #[test]
    fn blobs_of_sqlite_are_read() {
        for (blob, expected) in [
            ("4c17611331", Some(r#"{"a":1}"#)),
            ("00", Some("null")),
            ("01", Some("true")),
            ("02", Some("false")),
            ("1778", Some(r#""x""#)),
            ("0b", Some("[]")),
            ("0c", Some("{}")),
            (
                "cb1b1331652d322e35653398615c75303065395c6e27c3a94c17621b00",
                Some(r#"[1,-2.5e3,"a\u00e9\n","é",{"b":[null]}]"#),
            ),
            (
                "cc31176144307831461762542d30786666176313351764262e35176526352e1766662d2e323565321767553965393939176800",
                Some(r#"{"a":31,"b":-255,"c":5,"d":0.5,"e":5.0,"f":-0.25e2,"g":9e999,"h":null}"#),
            ),
            (
                "cb1dc91b69745c2773205c783431205c76205c3020227122205c0a6c696e65",
                Some(r#"["it's \u0041 \u000b \u0000 \"q\" line"]"#),
            ),
            // Text that SQLite stores raw, and the wider lengths.
            ("4a22c3a90a", Some(r#""\"é\n""#)),
            ("c0017861", None),
            ("c70161", Some(r#""a""#)),
            ("d7000161", Some(r#""a""#)),
            ("e70000000161", Some(r#""a""#)),
            ("f7000000000000000161", Some(r#""a""#)),
            ("f7ffffffffffffffff61", None),
            // A length too short or too long, what is left over, what has no meaning.
            ("", None),
            ("17", None),
            ("177878", None),
            ("0000", None),
            ("1000", None),
            ("0d", None),
            ("0e", None),
            ("0f", None),
            ("1c00", None),
            ("2c1761", None),
            ("3c001331", None),
            ("1322", None),
            ("13ff", None),
            ("1722", None),
            ("17ff", None),
            ("1578", None),
            // Payloads that are more or less than one value.
            ("1b03", None),
            ("4b33312c32", None),
            ("2b1320", None),
            ("6b5761222c2262", None),
            ("06", None),
            ("c100", None),
            // Another kind's spelling.
            ("33312e35", None),
            ("362d3236", None),
            ("275c6e", None),
            ("162e", None),
            ("362e6531", None),
            // Hexadecimal that is none.
            ("242d31", None),
            ("4430782b35", None),
        ] {
            assert_eq!(
                text_of(&bytes(blob)).as_deref().map(String::from_utf8_lossy).as_deref(),
                expected,
                "{blob}"
            );
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digit =
            |digit: u8| u8::try_from(char::from(digit).to_digit(16).expect("hexadecimal")).expect("small");
        hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }
}
