//! How a row's key is written for people, reports and the ledger: a JSON array of its cells.
//!
//! The text names exactly one key: classes stay apart (`1`, `1.0`, `"1"`), blobs and text that is not UTF-8 are shown in hex.

use super::cell::{Cell, CellBuf};
use std::fmt::Write;

pub fn key_json<'a>(cells: impl IntoIterator<Item = Cell<'a>>) -> String {
    let mut out = String::from("[");
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        put_cell(&mut out, cell);
    }
    out.push(']');
    out
}

/// The cells that a key was written from; nothing where it is no such text.
pub fn cells_of_key(text: &str) -> Option<Vec<CellBuf>> {
    let mut rest = text.strip_prefix('[')?.strip_suffix(']')?;
    let mut cells = Vec::new();
    while !rest.is_empty() {
        let (cell, tail) = take_cell(rest)?;
        cells.push(cell);
        rest = match tail.strip_prefix(',') {
            Some(more) if !more.is_empty() => more,
            Some(_) => return None,
            None if tail.is_empty() => tail,
            None => return None,
        };
    }
    Some(cells)
}

fn take_cell(text: &str) -> Option<(CellBuf, &str)> {
    if text.starts_with('"') {
        let (string, tail) = take_string(text)?;
        return Some((CellBuf::Text(string.into_bytes()), tail));
    }
    if let Some(object) = text.strip_prefix('{') {
        let (class, tail) = take_string(object)?;
        let (value, tail) = take_string(tail.strip_prefix(':')?)?;
        let tail = tail.strip_prefix('}')?;
        let cell = match class.as_str() {
            "real" => CellBuf::Real(value.parse().ok()?),
            "text" => CellBuf::Text(bytes_of_hex(&value)?),
            "blob" => CellBuf::Blob(bytes_of_hex(&value)?),
            _ => return None,
        };
        return Some((cell, tail));
    }
    let (word, tail) = text.split_at(text.find(',').unwrap_or(text.len()));
    let cell = match word {
        "null" => CellBuf::Null,
        number if number.contains(['.', 'e', 'E']) => CellBuf::Real(number.parse().ok()?),
        number => CellBuf::Integer(number.parse().ok()?),
    };
    Some((cell, tail))
}

/// A string as `put_string` writes it, and what follows it.
fn take_string(text: &str) -> Option<(String, &str)> {
    let mut string = String::new();
    let mut letters = text.strip_prefix('"')?.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((string, &text[at + 2..])),
            '\\' => match letters.next()?.1 {
                'u' => {
                    let code: String = (0..4).map_while(|_| letters.next()).map(|(_, digit)| digit).collect();
                    string.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
                }
                escaped @ ('"' | '\\') => string.push(escaped),
                _ => return None,
            },
            other => string.push(other),
        }
    }
    None
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

fn put_cell(out: &mut String, cell: Cell<'_>) {
    match cell {
        Cell::Null => out.push_str("null"),
        Cell::Integer(value) => write!(out, "{value}").expect("a string takes all"),
        Cell::Real(value) if value.is_finite() => write!(out, "{value:?}").expect("a string takes all"),
        Cell::Real(value) => write!(out, "{{\"real\":\"{value}\"}}").expect("a string takes all"),
        Cell::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => put_string(out, text),
            Err(_) => put_hex(out, "text", bytes),
        },
        Cell::Blob(bytes) => put_hex(out, "blob", bytes),
    }
}

/// A JSON string; control characters are escaped, all else stands as it is.
pub fn put_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                write!(out, "\\u{:04x}", u32::from(control)).expect("a string takes all");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

fn put_hex(out: &mut String, class: &str, bytes: &[u8]) {
    write!(out, "{{\"{class}\":\"").expect("a string takes all");
    for byte in bytes {
        write!(out, "{byte:02x}").expect("a string takes all");
    }
    out.push_str("\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_cells_and_their_classes() {
        let cells = [
            Cell::Integer(1),
            Cell::Real(1.0),
            Cell::Text("a\"\n".as_bytes()),
            Cell::Text(b"\xff"),
            Cell::Blob(b"\x00\x01"),
            Cell::Null,
        ];
        assert_eq!(key_json(cells), r#"[1,1.0,"a\"\u000a",{"text":"ff"},{"blob":"0001"},null]"#);
    }

    #[test]
    fn a_key_is_read_back_as_it_was_written() {
        let cells = [
            CellBuf::Null,
            CellBuf::Integer(i64::MIN),
            CellBuf::Real(0.1 + 0.2),
            CellBuf::Real(1e300),
            CellBuf::Real(f64::NEG_INFINITY),
            CellBuf::Text("a,\"b\\ \u{1}ü]".into()),
            CellBuf::Text(vec![0xff, 0]),
            CellBuf::Blob(vec![0, 255]),
        ];
        for length in 0..=cells.len() {
            let key = key_json(cells[..length].iter().map(CellBuf::as_cell));
            assert_eq!(cells_of_key(&key).as_deref(), Some(&cells[..length]), "{key}");
        }
        // Not every reader of JSON reads a number to its last bit.
        for number in [-3.597847523160892e-242, -0.0, 7.0, 5e-324, f64::INFINITY] {
            let key = key_json([Cell::Real(number)]);
            assert_eq!(cells_of_key(&key), Some(vec![CellBuf::Real(number)]), "{key}");
        }
        for broken in ["", "[", "[1", "[1,]", "[\"a]", "[{\"blob\":\"0\"}]", "[one]", "[1]x"] {
            assert_eq!(cells_of_key(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_nul_in_a_key_is_escaped() {
        assert_eq!(key_json([Cell::Text(b"a\0b")]), "[\"a\\u0000b\"]");
    }
}
