//! Arrays as their elements with commas between, and nothing around them: `1,2,3`, as JavaScript's `join` writes (MikroORM). An empty text
//! is an array without elements.
//!
//! Whether commas are what parts the elements no text can prove, so that a list is proposed only for what does not begin as JSON does. A
//! whole JSON array is never read as one: in such a column it is what came back for want of a list that spells it.

use super::array::{self, Shape};
use super::form::{ArrayText, Form, Hints};
use super::json_scan::is_json;
use super::{Codec, Fit, Malformed, Reason, array_text};
use crate::model::cell::Cell;
use crate::model::types::Type;

pub(super) fn encode(element: &Codec, element_oid: u32, text: &[u8], out: &mut Vec<u8>) -> Fit {
    let mut shape = Shape::default();
    let mut body = Vec::new();
    match read(&mut shape, element, text, &mut body) {
        Ok(()) => {}
        Err(reason) => return Fit::Lost(reason),
    }
    let start = out.len();
    shape.put(element_oid, out);
    out.extend_from_slice(&body);
    body.clear();
    let written = write(element, &out[start..], &mut body);
    written.expect("an array just written is well-formed");
    if body == text { Fit::Exact } else { Fit::Kept(shape.misfit().unwrap_or(Reason::Spelling)) }
}

/// Whether this text is proposed to be a list.
pub(super) fn is_likely(ty: &Type, text: &[u8], hints: &Hints) -> bool {
    let is_json = matches!(text, [b'[' | b'{' | b'"', ..] | b"null");
    let codec = Codec::new(ty.clone(), Form::List, hints.zone);
    !is_json && codec.encode(Cell::Text(text), &mut Vec::new()) == Fit::Exact
}

/// Appends the elements. A NULL, a comma within an element, a second dimension are written as `join` writes them; only that the text
/// does not come back tells of them.
pub(super) fn write(element: &Codec, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = out.len();
    let mut is_first = true;
    array::each_element(bytes, |bytes| {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        match bytes {
            Some(bytes) => write_element(element, bytes, out),
            None => Ok(()),
        }
    })
    .inspect_err(|_| out.truncate(start))
}

fn read(shape: &mut Shape, element: &Codec, text: &[u8], body: &mut Vec<u8>) -> Result<(), Reason> {
    if text.is_empty() {
        return Ok(());
    }
    if text.starts_with(b"[") && is_json(text) {
        return Err(Reason::NotAnArray);
    }
    shape.begin()?;
    for piece in text.split(|byte| *byte == b',') {
        shape.enter()?;
        shape.put_cell(element, Some(cell_of(&element.ty, piece)?), body)?;
    }
    shape.end()
}

fn cell_of<'a>(element: &Type, piece: &'a [u8]) -> Result<Cell<'a>, Reason> {
    let word = std::str::from_utf8(piece).map_err(|_| Reason::NotText)?;
    Ok(match element {
        Type::Bool if word == "true" => Cell::Integer(1),
        Type::Bool if word == "false" => Cell::Integer(0),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid => {
            word.parse().map_or(Cell::Text(piece), Cell::Integer)
        }
        // An infinity's word is left to the element's own grammar.
        Type::Float4 | Type::Float8 if !piece.iter().any(u8::is_ascii_alphabetic) || word.contains('e') => {
            word.parse().map_or(Cell::Text(piece), Cell::Real)
        }
        _ => Cell::Text(piece),
    })
}

fn write_element(element: &Codec, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut scratch = Vec::new();
    match (element.decode(bytes, &mut scratch)?, &element.ty) {
        (Cell::Integer(truth), Type::Bool) => {
            out.extend_from_slice(if truth == 0 { b"false" } else { b"true" });
        }
        (Cell::Integer(value), _) => out.extend_from_slice(value.to_string().as_bytes()),
        (Cell::Real(value), _) => array_text::put_real(value, ArrayText::JAVASCRIPT, out),
        (Cell::Text(text) | Cell::Blob(text), _) => out.extend_from_slice(text),
        (Cell::Null, _) => return Err(array::MALFORMED),
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canon::learn::Learner;
    use crate::canon::{Back, Zone};
    use crate::model::schema::Affinity;

    fn codec(element: Type) -> Codec {
        let element_oid = element.builtin_oid().unwrap();
        Codec::new(Type::Array { element: Box::new(element), element_oid }, Form::List, Zone::Utc)
    }

    fn back(codec: &Codec, bytes: &[u8]) -> String {
        let mut scratch = b"left over".to_vec();
        match codec.decode(bytes, &mut scratch).unwrap() {
            Cell::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_crosses_and_comes_back() {
        for (element, text) in [
            (Type::Text, "a,b,c"),
            (Type::Text, "ü\"q, two words ,,"),
            (Type::Text, "one"),
            (Type::Text, ""),
            (Type::Varchar(Some(3)), "abc,d"),
            (Type::Int4, "1,-2,3"),
            (Type::Int4, ""),
            (Type::Float8, "0.1,1,1e+21,1e-7,-2.5"),
            (Type::Bool, "true,false"),
            (Type::Numeric(None), "1.50,-3"),
            (Type::Uuid, "12345678-1234-5678-1234-567812345678,00000000-0000-0000-0000-000000000000"),
            (Type::Date, "2024-02-29,1999-12-31"),
        ] {
            let codec = codec(element);
            let mut bytes = Vec::new();
            assert_eq!(codec.encode(Cell::Text(text.as_bytes()), &mut bytes), Fit::Exact, "{text}");
            assert_eq!(back(&codec, &bytes), text);
        }
    }

    /// What PostgreSQL 15 sends for `'{a,b}'::text[]` and for an array without elements.
    #[test]
    fn lists_are_laid_out_as_postgres_has_them() {
        let hex = |text: &str| {
            let mut bytes = Vec::new();
            codec(Type::Text).encode(Cell::Text(text.as_bytes()), &mut bytes);
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let two = "00000001000000000000001900000002000000010000000161";
        assert_eq!(hex("a,b"), format!("{two}0000000162"));
        assert_eq!(hex(""), "000000000000000000000019");
    }

    #[test]
    fn what_is_no_list_of_its_elements_is_told() {
        for (element, text, expected) in [
            (Type::Int4, "1,x", None),
            (Type::Int4, "1,,2", None),
            (Type::Int2, "40000", Some(Reason::OutOfRange)),
            (Type::Varchar(Some(1)), "ab", None),
            (Type::Text, "a\0b", None),
            (Type::Text, "[\"a\", \"b\"]", Some(Reason::NotAnArray)),
        ] {
            let fit = codec(element).encode(Cell::Text(text.as_bytes()), &mut Vec::new());
            match (fit, expected) {
                (Fit::Lost(reason), Some(expected)) => assert_eq!(reason, expected, "{text}"),
                (Fit::Lost(_) | Fit::Kept(_), None) => {}
                (fit, _) => panic!("{text}: {fit:?}"),
            }
        }
        let spelt = codec(Type::Int4).encode(Cell::Text(b"1,02"), &mut Vec::new());
        assert_eq!(spelt, Fit::Kept(Reason::Spelling));
    }

    /// As JSON, which the list must not take for elements of its own.
    #[test]
    fn an_array_that_no_list_spells_comes_back_and_is_read_as_what_it_was() {
        let json = Codec { form: Form::Native, ..codec(Type::Text) };
        for array in
            [r#"["a,b", "c"]"#, r#"["a", null]"#, r#"[""]"#, r#"[["a", "b"], ["c", "d"]]"#, r#"["[1]"]"#]
        {
            let (mut bytes, mut again) = (Vec::new(), Vec::new());
            assert_eq!(json.encode(Cell::Text(array.as_bytes()), &mut bytes), Fit::Exact);
            let cell = match codec(Type::Text).back(Affinity::Text, &bytes, &mut Vec::new()) {
                Back::Foreign(cell) => cell,
                Back::Spelt(cell) => panic!("{array} is spelt as {cell:?}"),
            };
            let came_back = codec(Type::Text).having_come_back(Affinity::Text);
            came_back.encode(cell.as_cell(), &mut again);
            assert_eq!(bytes, again, "{array} as {cell:?}");
        }
    }

    /// The way back sees that the text is not read as the array again.
    #[test]
    fn arrays_that_no_list_spells_are_written_as_join_writes_them() {
        let spaced = Codec { form: Form::Native, ..codec(Type::Text) };
        for (array, text) in [
            (r#"["a,b", "c"]"#, "a,b,c"),
            (r#"["a", null]"#, "a,"),
            (r#"[""]"#, ""),
            (r#"[["a", "b"], ["c", "d"]]"#, "a,b,c,d"),
        ] {
            let (mut bytes, mut again) = (Vec::new(), Vec::new());
            assert_eq!(spaced.encode(Cell::Text(array.as_bytes()), &mut bytes), Fit::Exact);
            let list = codec(Type::Text);
            assert_eq!(back(&list, &bytes), text);
            list.encode(Cell::Text(text.as_bytes()), &mut again);
            assert_ne!(bytes, again, "{array}");
        }
    }

    #[test]
    fn a_list_is_learned_where_no_json_is() {
        let learned = |texts: &[&str]| {
            let mut learner = Learner::new(codec(Type::Text).ty, Hints::default());
            texts.iter().for_each(|text| learner.observe(Cell::Text(text.as_bytes())));
            let learned = learner.learned();
            (learned.codec.form.to_string(), learned.exact)
        };
        assert_eq!(learned(&["a,b", "", "c"]), ("array-list".into(), 3));
        assert_eq!(learned(&["[\"a\"]", "[\"b\", \"é\"]", "a"]), ("array-spaced".into(), 2));
        assert_eq!(learned(&["[1", "{a,b}", "null", "\"a\""]).1, 0);
    }
}
