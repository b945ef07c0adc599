//! Texts and bytes: text, varchar, char, citext, enum labels, bytea.
//!
//! PostgreSQL's text holds UTF-8 without NUL; nothing is replaced or stripped to make other bytes fit.

use super::decimal::{Spelled, spelled_integer, spelled_real};
use super::form::{Form, Textual};
use super::formset::FormSet;
use super::latin1::Letters;
use super::{Fit, Reason, judged};
use crate::model::cell::Cell;
use crate::model::schema::Affinity;

/// What a type asks of its texts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'t> {
    /// No text at all.
    Bytes,
    Plain,
    /// At most so many characters.
    Varchar(u32),
    /// Padded with spaces to so many characters.
    Char(u32),
    /// One of these.
    Label(&'t [String]),
}

pub(super) fn encode(kind: Kind<'_>, form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let start = out.len();
    match cell {
        Cell::Null => return Fit::Null,
        Cell::Integer(value) => out.extend_from_slice(&Spelled::integer(value)),
        Cell::Real(value) => out.extend_from_slice(&Spelled::real(value)),
        Cell::Text(bytes) | Cell::Blob(bytes) => out.extend_from_slice(bytes),
    }
    match standing(kind, &out[start..]) {
        Standing::Whole => {}
        Standing::Short(spaces) => out.resize(out.len() + spaces, b' '),
        Standing::Cut(end) => {
            out.truncate(start + end);
            return Fit::Kept(Reason::TooLong);
        }
        Standing::Refused(reason) => return Fit::Lost(reason),
    }
    judged(decode(kind, form, &out[start..]), cell)
}

pub(super) fn decode<'a>(kind: Kind<'_>, form: Form, bytes: &'a [u8]) -> Cell<'a> {
    let bytes = match kind {
        Kind::Bytes => {
            return match form.textual() {
                // The other class of bytes is TEXT; no number's spelling is looked for in them.
                Textual::Blob => Cell::Text(bytes),
                Textual::Text | Textual::Affinity => Cell::Blob(bytes),
            };
        }
        Kind::Char(_) => unpadded(bytes),
        Kind::Plain | Kind::Varchar(_) | Kind::Label(_) => bytes,
    };
    match form.textual() {
        Textual::Text => Cell::Text(bytes),
        Textual::Blob => Cell::Blob(bytes),
        Textual::Affinity => by_spelling(bytes),
    }
}

/// Preferred forms first; the learner tries each.
pub(super) fn forms(kind: Kind<'_>, cell: Cell<'_>, affinity: Affinity) -> FormSet {
    let bytea = matches!(kind, Kind::Bytes);
    match cell {
        Cell::Null => FormSet::EMPTY,
        Cell::Integer(_) | Cell::Real(_) => {
            FormSet::from([if bytea { Form::Native } else { Form::Affinity }])
        }
        Cell::Text(text) if bytea => match Letters::of(text) {
            Letters::Others => FormSet::from([Form::OtherClass]),
            Letters::Either => FormSet::from([Form::OtherClass, Form::Latin1]),
            Letters::OfBytes => FormSet::from([Form::Latin1]),
        },
        Cell::Blob(_) => FormSet::from([if bytea { Form::Native } else { Form::OtherClass }]),
        // A column of TEXT affinity holds no numbers, so their spellings are texts.
        Cell::Text(_) if affinity == Affinity::Text => FormSet::from([Form::Native]),
        Cell::Text(_) => FormSet::from([Form::Native, Form::Affinity]),
    }
}

#[inline]
pub(super) fn is_storable(bytes: &[u8]) -> bool {
    storable(bytes).is_some()
}

/// The bytes as text, where PostgreSQL can hold them.
#[inline]
pub(super) fn storable(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|_| !bytes.contains(&0))
}

/// How a text stands to what its type asks.
enum Standing {
    Whole,
    /// So many spaces are missing.
    Short(usize),
    /// The longest prefix that fits ends here.
    Cut(usize),
    Refused(Reason),
}

fn standing(kind: Kind<'_>, bytes: &[u8]) -> Standing {
    if let Kind::Bytes = kind {
        return Standing::Whole;
    }
    let Some(text) = storable(bytes) else { return Standing::Refused(Reason::NotText) };
    match kind {
        Kind::Bytes | Kind::Plain => Standing::Whole,
        // No text has more characters than bytes.
        Kind::Varchar(limit) if usize::try_from(limit).is_ok_and(|limit| bytes.len() <= limit) => {
            Standing::Whole
        }
        Kind::Varchar(limit) => match room(text, limit) {
            Ok(_) => Standing::Whole,
            Err(end) => Standing::Cut(end),
        },
        Kind::Char(limit) => match room(text, limit) {
            Ok(spaces) => Standing::Short(spaces),
            Err(end) => Standing::Cut(end),
        },
        Kind::Label(labels) if labels.iter().any(|label| label == text) => Standing::Whole,
        Kind::Label(_) => Standing::Refused(Reason::NotALabel),
    }
}

/// How many characters fit after the text, or where the longest prefix that fits ends.
fn room(text: &str, limit: u32) -> Result<usize, usize> {
    let limit = usize::try_from(limit).expect("pointers have at least 32 bits");
    match text.char_indices().nth(limit) {
        Some((end, _)) => Err(end),
        None => Ok(limit - text.chars().count()),
    }
}

fn unpadded(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &bytes[..length]
}

fn by_spelling(bytes: &[u8]) -> Cell<'_> {
    if !matches!(bytes.first(), Some(b'-' | b'0'..=b'9')) {
        return Cell::Text(bytes);
    }
    let integer = spelled_integer(bytes).map(Cell::Integer);
    integer.or_else(|| spelled_real(bytes).map(Cell::Real)).unwrap_or(Cell::Text(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::law::check;
    use super::*;
    use crate::model::types::Type;

    #[test]
    fn text_holds_utf8_without_nul_and_nothing_else() {
        let class = Fit::Kept(Reason::Class);
        let lost = (Fit::Lost(Reason::NotText), "");
        for (form, cell, expected) in [
            (Form::Native, Cell::Text(b""), (Fit::Exact, "")),
            (Form::Native, Cell::Text("é\u{10FFFF}".as_bytes()), (Fit::Exact, "c3a9f48fbfbf")),
            (Form::Native, Cell::Text(b"a\0b"), lost),
            (Form::Native, Cell::Text(b"\xe2\x82"), lost),
            (Form::Native, Cell::Text(b"\xed\xa0\x80"), lost),
            (Form::Native, Cell::Text(b"\xc0\x80"), lost),
            (Form::Native, Cell::Blob(b"blob"), (class, "626c6f62")),
            (Form::Native, Cell::Blob(b"\xff\x00"), lost),
            (Form::OtherClass, Cell::Blob(b"blob"), (Fit::Exact, "626c6f62")),
            (Form::OtherClass, Cell::Text(b"blob"), (class, "626c6f62")),
            (Form::Native, Cell::Integer(-5), (class, "2d35")),
            (Form::Native, Cell::Real(1.5), (class, "312e35")),
        ] {
            check(&Type::Text, form, cell, expected);
            check(&Type::Citext, form, cell, expected);
        }
    }

    #[test]
    fn classes_mixed_in_a_column_cross_by_their_spelling() {
        let exact = |hex| (Fit::Exact, hex);
        let class = |hex| (Fit::Kept(Reason::Class), hex);
        for (cell, expected) in [
            (Cell::Integer(1), exact("31")),
            (Cell::Real(1.0), exact("312e30")),
            (Cell::Real(-0.0), exact("2d302e30")),
            (Cell::Real(f64::INFINITY), exact("392e30652b393939")),
            (Cell::Text(b"two"), exact("74776f")),
            (Cell::Text(b"007"), exact("303037")),
            (Cell::Text(b"1e3"), exact("316533")),
            (Cell::Text(b"Inf"), exact("496e66")),
            (Cell::Text(b""), exact("")),
            (Cell::Text(b"1"), class("31")),
            (Cell::Text(b"1.5"), class("312e35")),
            (Cell::Blob(b"x"), class("78")),
        ] {
            check(&Type::Text, Form::Affinity, cell, expected);
        }
    }

    #[test]
    fn a_limit_counts_characters_and_the_prefix_is_kept() {
        let long = Fit::Kept(Reason::TooLong);
        for (ty, cell, expected) in [
            (Type::Varchar(Some(3)), Cell::Text("ééé".as_bytes()), (Fit::Exact, "c3a9c3a9c3a9")),
            (Type::Varchar(Some(3)), Cell::Text("éééé".as_bytes()), (long, "c3a9c3a9c3a9")),
            (Type::Varchar(Some(3)), Cell::Text(b"a   "), (long, "612020")),
            (Type::Varchar(Some(2)), Cell::Integer(123), (long, "3132")),
            (Type::Varchar(None), Cell::Text(b"a   "), (Fit::Exact, "61202020")),
            (Type::Bpchar(4), Cell::Text(b"ab"), (Fit::Exact, "61622020")),
            (Type::Bpchar(3), Cell::Text("é".as_bytes()), (Fit::Exact, "c3a92020")),
            (Type::Bpchar(3), Cell::Text(b""), (Fit::Exact, "202020")),
            (Type::Bpchar(4), Cell::Text(b"ab "), (Fit::Kept(Reason::Spelling), "61622020")),
            (Type::Bpchar(2), Cell::Text(b"abc"), (long, "6162")),
        ] {
            check(&ty, Form::Native, cell, expected);
        }
    }

    #[test]
    fn a_label_is_one_of_the_enum_and_bytes_are_bytes() {
        let labels = Type::Enum(["ok", "1"].map(String::from).into());
        check(&labels, Form::Native, Cell::Text(b"ok"), (Fit::Exact, "6f6b"));
        check(&labels, Form::Native, Cell::Text(b"OK"), (Fit::Lost(Reason::NotALabel), ""));
        check(&labels, Form::Affinity, Cell::Integer(1), (Fit::Exact, "31"));
        check(&Type::Bytea, Form::Native, Cell::Blob(b"\0\xff"), (Fit::Exact, "00ff"));
        check(&Type::Bytea, Form::Native, Cell::Text(b"\0\xff"), (Fit::Kept(Reason::Class), "00ff"));
        check(&Type::Bytea, Form::OtherClass, Cell::Text(b"\0\xff"), (Fit::Exact, "00ff"));
        check(&Type::Bytea, Form::Native, Cell::Integer(7), (Fit::Kept(Reason::Class), "37"));
    }
}
