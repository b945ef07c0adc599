//! How a row's key is written for people, reports and the ledger: a JSON array of its cells.
//!
//! The text names exactly one key: classes stay apart (`1`, `1.0`, `"1"`), blobs and text that is not UTF-8 are shown in hex.

use super::cell::Cell;
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
    fn a_nul_in_a_key_is_escaped() {
        assert_eq!(key_json([Cell::Text(b"a\0b")]), "[\"a\\u0000b\"]");
    }
}
