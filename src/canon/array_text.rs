//! How sources spell arrays as JSON text: commas, letters beyond ASCII, floats.

use super::form::{Form, UnknownForm};
use super::jsonb;
use std::fmt;
use std::io::Write;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArrayText {
    pub commas: Commas,
    pub letters: Letters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Commas {
    /// `[1, 2]`, and floats as Python writes them: `1.0`, `1e-07`.
    Spaced,
    /// `[1,2]`, and floats as JavaScript writes them: `1`, `1e-7`.
    Tight,
    /// `[1,2]`, and floats as Python writes them: its `separators=(",", ":")`, which Pony uses.
    Compact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Letters {
    /// All others as `\u00e9`.
    Ascii,
    /// As they are.
    Utf8,
}

impl ArrayText {
    /// As Python's `json.dumps` writes, which SQLAlchemy uses.
    const PYTHON: ArrayText = ArrayText { commas: Commas::Spaced, letters: Letters::Ascii };

    /// As `JSON.stringify` writes.
    pub const JAVASCRIPT: ArrayText = ArrayText { commas: Commas::Tight, letters: Letters::Utf8 };

    pub const ALL: [ArrayText; 6] = [
        ArrayText::PYTHON,
        ArrayText::JAVASCRIPT,
        ArrayText { commas: Commas::Spaced, letters: Letters::Utf8 },
        ArrayText { commas: Commas::Tight, letters: Letters::Ascii },
        ArrayText { commas: Commas::Compact, letters: Letters::Utf8 },
        ArrayText { commas: Commas::Compact, letters: Letters::Ascii },
    ];

    pub(super) fn of(form: Form) -> ArrayText {
        match form {
            Form::Array(text) => text,
            _ => ArrayText::PYTHON,
        }
    }

    pub(super) fn comma(self) -> &'static [u8] {
        match self.commas {
            Commas::Spaced => b", ",
            Commas::Tight | Commas::Compact => b",",
        }
    }

    fn word(self) -> &'static str {
        match (self.commas, self.letters) {
            (Commas::Spaced, Letters::Ascii) => "array-spaced-ascii",
            (Commas::Spaced, Letters::Utf8) => "array-spaced",
            (Commas::Tight, Letters::Ascii) => "array-tight-ascii",
            (Commas::Tight, Letters::Utf8) => "array-tight",
            (Commas::Compact, Letters::Ascii) => "array-compact-ascii",
            (Commas::Compact, Letters::Utf8) => "array-compact",
        }
    }
}

impl fmt::Display for ArrayText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl FromStr for ArrayText {
    type Err = UnknownForm;

    fn from_str(word: &str) -> Result<ArrayText, UnknownForm> {
        ArrayText::ALL
            .into_iter()
            .find(|text| text.word() == word)
            .ok_or_else(|| UnknownForm(word.to_owned()))
    }
}

/// A string in quotes.
pub(super) fn put_string(text: &[u8], form: ArrayText, out: &mut Vec<u8>) {
    let start = out.len();
    jsonb::put_string(text, out);
    let plain = out[start..].iter().all(|byte| (b' '..=b'~').contains(byte));
    if plain || form.letters == Letters::Utf8 {
        return;
    }
    let quoted = String::from_utf8_lossy(&out[start..]).into_owned();
    out.truncate(start);
    for letter in quoted.chars() {
        if (' '..='~').contains(&letter) {
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("writing to memory does not fail");
            }
        }
    }
}

/// A float by its shortest digits.
pub(super) fn put_real(value: f64, form: ArrayText, out: &mut Vec<u8>) {
    let text = match (form.commas, value) {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.is_infinite() => (if value > 0.0 { "Infinity" } else { "-Infinity" }).to_owned(),
        (Commas::Spaced | Commas::Compact, _) => match exponent(value) {
            -4..=15 => format!("{value:?}"),
            exponent => scientific(value, format_args!("{}{:02}", sign(exponent), exponent.abs())),
        },
        (Commas::Tight, _) if value == 0.0 => "0".to_owned(),
        (Commas::Tight, _) => match exponent(value) {
            -6..=20 => value.to_string(),
            exponent => scientific(value, format_args!("{}{}", sign(exponent), exponent.abs())),
        },
    };
    out.extend_from_slice(text.as_bytes());
}

fn sign(exponent: i32) -> char {
    if exponent < 0 { '-' } else { '+' }
}

/// The shortest digits with one of them before the point.
fn scientific(value: f64, exponent: fmt::Arguments<'_>) -> String {
    let text = format!("{value:e}");
    let (digits, _) = text.split_once('e').expect("the scientific form has an exponent");
    format!("{digits}e{exponent}")
}

fn exponent(value: f64) -> i32 {
    let text = format!("{value:e}");
    let (_, exponent) = text.split_once('e').expect("the scientific form has an exponent");
    exponent.parse().expect("a double's exponent is a small number")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_one_spelling() {
        for text in ArrayText::ALL {
            assert_eq!(text.to_string().parse::<ArrayText>().unwrap(), text);
        }
    }
}
