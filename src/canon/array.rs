//! Arrays, which sources without them write as JSON text: `[1, 2, 3]`, nested for more dimensions (or as a `list`).
//!
//! Elements cross as their own type does, in its plainest form; a text crosses exactly when the array written back is that text. What is
//! no array of one shape is refused: objects, elements beside arrays, arrays of different lengths. Only where the elements are JSON
//! themselves is each of them a value as it stands, whatever it is, and there is one dimension.

use super::array_text::{self, ArrayText};
use super::form::{Form, Hints, UuidText};
use super::formset::FormSet;
use super::json_scan::{Container, Event, Scanner, unescape};
use super::{Codec, Fit, Malformed, Reason, Zone, list};
use crate::model::cell::Cell;
use crate::model::types::Type;

/// PostgreSQL's bound on dimensions.
const DIMENSIONS_MAX: usize = 6;
/// The length that stands for NULL.
const NULL: i32 = -1;

pub(super) fn encode(ty: &Type, form: Form, zone: Zone, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let text = match cell {
        Cell::Null => return Fit::Null,
        Cell::Text(text) => text,
        Cell::Integer(_) | Cell::Real(_) | Cell::Blob(_) => return Fit::Lost(Reason::NotAnArray),
    };
    let (element, element_oid) = element_of(ty, zone);
    if form == Form::List {
        return list::encode(&element, element_oid, text, out);
    }
    let start = out.len();
    let mut shape = Shape::default();
    let mut body = Vec::new();
    let read = match element.ty {
        Type::Json | Type::Jsonb => shape.read_values(&element, text, &mut body),
        _ => shape.read(&element, text, &mut body),
    };
    match read {
        Ok(()) => {}
        Err(reason) => return Fit::Lost(reason),
    }
    shape.put(element_oid, out);
    out.extend_from_slice(&body);
    body.clear();
    let written = write(&element, ArrayText::of(form), &out[start..], &mut body);
    written.expect("an array just written is well-formed");
    if body == text { Fit::Exact } else { Fit::Kept(shape.misfit.unwrap_or(Reason::Spelling)) }
}

pub(super) fn decode<'a>(
    ty: &Type,
    form: Form,
    zone: Zone,
    bytes: &[u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Cell<'a>, Malformed> {
    scratch.clear();
    let (element, _) = element_of(ty, zone);
    match form {
        Form::List => list::write(&element, bytes, scratch)?,
        _ => write(&element, ArrayText::of(form), bytes, scratch)?,
    }
    Ok(Cell::Text(scratch))
}

/// The forms under which this cell would cross exactly.
pub(super) fn forms(ty: &Type, cell: Cell<'_>, hints: &Hints) -> FormSet {
    let mut scratch = Vec::new();
    let mut exact = |form: &Form| {
        scratch.clear();
        encode(ty, *form, hints.zone, cell, &mut scratch) == Fit::Exact
    };
    let json = ArrayText::ALL.into_iter().map(Form::Array).filter(|form| exact(form));
    let is_list = matches!(cell, Cell::Text(text) if list::is_likely(ty, text, hints));
    json.chain(is_list.then_some(Form::List)).collect()
}

/// How the elements of an array cross, and the id of their type.
fn element_of(ty: &Type, zone: Zone) -> (Codec, u32) {
    let Type::Array { element, element_oid } = ty else { unreachable!("{} is no array", ty.sql()) };
    let form = match **element {
        Type::Numeric(_) => Form::Digits,
        Type::Uuid => Form::UuidText(UuidText::PLAIN),
        Type::Float4 => Form::Shortest,
        _ => Form::Native,
    };
    (Codec::new((**element).clone(), form, zone), *element_oid)
}

/// What is known of an array while it is read.
#[derive(Default)]
pub(super) struct Shape {
    /// Elements so far of each open array, the outermost first.
    open: Vec<usize>,
    /// Length of each dimension, as far as one of its arrays has ended.
    lengths: [Option<usize>; DIMENSIONS_MAX],
    /// In how many arrays the elements stand.
    depth: Option<usize>,
    nulls: bool,
    /// The first element that did not cross exactly.
    misfit: Option<Reason>,
}

impl Shape {
    fn read(&mut self, element: &Codec, text: &[u8], body: &mut Vec<u8>) -> Result<(), Reason> {
        let mut scanner = Scanner::new(text).ok_or(Reason::NotAnArray)?;
        while let Some(event) = scanner.step().map_err(|_| Reason::NotAnArray)? {
            match event {
                Event::Begin(Container::Array) => self.begin()?,
                Event::End(Container::Array) => self.end()?,
                Event::Begin(Container::Object) | Event::End(Container::Object) | Event::Key(_) => {
                    return Err(Reason::NotAnArray);
                }
                Event::String(_) | Event::Number(_) | Event::True | Event::False | Event::Null => {
                    self.enter()?;
                    self.put_element(element, event, body)?;
                }
            }
        }
        // Arrays without elements may not be deeper than those with them.
        let deepest = self.lengths.iter().flatten().count();
        if self.depth.is_some_and(|depth| depth != deepest) { Err(Reason::NotAnArray) } else { Ok(()) }
    }

    fn read_values(&mut self, element: &Codec, text: &[u8], body: &mut Vec<u8>) -> Result<(), Reason> {
        let mut scanner = Scanner::new(text).ok_or(Reason::NotAnArray)?;
        if scanner.step() != Ok(Some(Event::Begin(Container::Array))) {
            return Err(Reason::NotAnArray);
        }
        self.begin()?;
        let (mut depth, mut begins) = (0_u32, 0);
        while let Some(event) = scanner.step().map_err(|_| Reason::NotAnArray)? {
            let (value_at, end) = scanner.position();
            if depth == 0 {
                begins = value_at;
            }
            match event {
                Event::End(_) if depth == 0 => {
                    self.end()?;
                    continue;
                }
                Event::Begin(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Key(_) | Event::String(_) | Event::Number(_) => {}
                Event::True | Event::False | Event::Null => {}
            }
            if depth == 0 {
                self.enter()?;
                let cell = (event != Event::Null).then_some(Cell::Text(&text[begins..end]));
                self.put_cell(element, cell, body)?;
            }
        }
        Ok(())
    }

    pub(super) fn misfit(&self) -> Option<Reason> {
        self.misfit
    }

    pub(super) fn begin(&mut self) -> Result<(), Reason> {
        if let Some(count) = self.open.last_mut() {
            *count += 1;
        }
        self.open.push(0);
        if self.open.len() > self.depth.unwrap_or(DIMENSIONS_MAX) { Err(Reason::NotAnArray) } else { Ok(()) }
    }

    pub(super) fn end(&mut self) -> Result<(), Reason> {
        let length = self.open.pop().expect("the scanner ends only what began");
        let known = self.lengths[self.open.len()].get_or_insert(length);
        if *known == length { Ok(()) } else { Err(Reason::NotAnArray) }
    }

    pub(super) fn enter(&mut self) -> Result<(), Reason> {
        let here = self.open.len();
        let count = self.open.last_mut().ok_or(Reason::NotAnArray)?;
        *count += 1;
        if *self.depth.get_or_insert(here) == here { Ok(()) } else { Err(Reason::NotAnArray) }
    }

    fn put_element(&mut self, element: &Codec, event: Event<'_>, body: &mut Vec<u8>) -> Result<(), Reason> {
        let mut text = Vec::new();
        let cell = cell_of(&element.ty, event, &mut text)?;
        self.put_cell(element, cell, body)
    }

    pub(super) fn put_cell(
        &mut self,
        element: &Codec,
        cell: Option<Cell<'_>>,
        body: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        let Some(cell) = cell else {
            self.nulls = true;
            body.extend_from_slice(&NULL.to_be_bytes());
            return Ok(());
        };
        let start = body.len();
        body.extend_from_slice(&[0; 4]);
        match element.encode(cell, body) {
            Fit::Exact => {}
            Fit::Kept(reason) => {
                self.misfit.get_or_insert(reason);
            }
            Fit::Lost(reason) => return Err(reason),
            Fit::Null => unreachable!("an element that is not null has a value"),
        }
        let length = i32::try_from(body.len() - start - 4).map_err(|_| Reason::OutOfRange)?;
        body[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// The head of the array: dimensions, whether NULLs are within, the elements' type.
    pub(super) fn put(&self, element_oid: u32, out: &mut Vec<u8>) {
        let dimensions = i32::try_from(self.depth.unwrap_or(0)).expect("dimensions are few");
        out.extend_from_slice(&dimensions.to_be_bytes());
        out.extend_from_slice(&i32::from(self.nulls).to_be_bytes());
        out.extend_from_slice(&element_oid.to_be_bytes());
        for length in self.lengths.iter().flatten().take(self.depth.unwrap_or(0)) {
            let length = i32::try_from(*length).expect("a text of SQLite holds fewer elements");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&1_i32.to_be_bytes());
        }
    }
}

/// The cell that an element is, nothing for null.
fn cell_of<'a>(element: &Type, event: Event<'a>, text: &'a mut Vec<u8>) -> Result<Option<Cell<'a>>, Reason> {
    let word = std::str::from_utf8;
    Ok(Some(match event {
        Event::String(string) => {
            unescape(string, text).ok_or(Reason::NotText)?;
            Cell::Text(text)
        }
        Event::Number(number) => {
            let integer = word(number).ok().and_then(|number| number.parse().ok());
            let real = word(number).ok().and_then(|number| number.parse().ok());
            match element {
                Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid => {
                    integer.map_or(Cell::Text(number), Cell::Integer)
                }
                Type::Float4 | Type::Float8 => real.map_or(Cell::Text(number), Cell::Real),
                _ => Cell::Text(number),
            }
        }
        Event::True if *element == Type::Bool => Cell::Integer(1),
        Event::False if *element == Type::Bool => Cell::Integer(0),
        Event::True => Cell::Text(b"true"),
        Event::False => Cell::Text(b"false"),
        Event::Null => return Ok(None),
        Event::Begin(_) | Event::End(_) | Event::Key(_) => unreachable!("only scalars are elements"),
    }))
}

/// Appends the text of an array.
fn write(element: &Codec, form: ArrayText, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    let (dimensions, lengths) = head(&mut reader)?;
    if dimensions == 0 {
        out.extend_from_slice(b"[]");
    } else {
        write_level(element, form, &lengths[..dimensions], &mut reader, out)?;
    }
    if reader.0.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

/// How many dimensions there are, and how long each is.
fn head(reader: &mut Reader<'_>) -> Result<(usize, [usize; DIMENSIONS_MAX]), Malformed> {
    let dimensions = usize::try_from(reader.int()?).map_err(|_| MALFORMED)?;
    let (_nulls, _element_oid) = (reader.int()?, reader.int()?);
    if dimensions > DIMENSIONS_MAX {
        return Err(MALFORMED);
    }
    let mut lengths = [0; DIMENSIONS_MAX];
    for length in &mut lengths[..dimensions] {
        // An array without elements has no dimensions, so a few bytes never stand for many empty arrays.
        *length = usize::try_from(reader.int()?).ok().filter(|length| *length > 0).ok_or(MALFORMED)?;
        let _lower_bound = reader.int()?;
    }
    Ok((dimensions, lengths))
}

/// The elements in their order, of however many dimensions; nothing for NULL.
pub(super) fn each_element(
    bytes: &[u8],
    mut told: impl FnMut(Option<&[u8]>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    let (dimensions, lengths) = head(&mut reader)?;
    let count = lengths[..dimensions]
        .iter()
        .try_fold(usize::from(dimensions > 0), |count, length| count.checked_mul(*length))
        .ok_or(MALFORMED)?;
    for _ in 0..count {
        told(reader.element()?)?;
    }
    if reader.0.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

/// Recursion as deep as there are dimensions.
fn write_level(
    element: &Codec,
    form: ArrayText,
    lengths: &[usize],
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let Some((length, inner)) = lengths.split_first() else {
        return write_element(element, form, reader, out);
    };
    out.push(b'[');
    for index in 0..*length {
        if index > 0 {
            out.extend_from_slice(form.comma());
        }
        write_level(element, form, inner, reader, out)?;
    }
    out.push(b']');
    Ok(())
}

fn write_element(
    element: &Codec,
    form: ArrayText,
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let Some(bytes) = reader.element()? else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    let mut scratch = Vec::new();
    match (element.decode(bytes, &mut scratch)?, &element.ty) {
        (Cell::Integer(truth), Type::Bool) => {
            out.extend_from_slice(if truth == 0 { b"false" } else { b"true" });
        }
        (Cell::Text(number), Type::Numeric(_)) if number.last().is_some_and(u8::is_ascii_digit) => {
            out.extend_from_slice(number);
        }
        (Cell::Text(json), Type::Json | Type::Jsonb) => out.extend_from_slice(json),
        (Cell::Integer(value), _) => out.extend_from_slice(value.to_string().as_bytes()),
        (Cell::Real(value), _) => array_text::put_real(value, form, out),
        (Cell::Text(text) | Cell::Blob(text), _) => array_text::put_string(text, form, out),
        (Cell::Null, _) => return Err(MALFORMED),
    }
    Ok(())
}

pub(super) const MALFORMED: Malformed = Malformed("array");

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn int(&mut self) -> Result<i32, Malformed> {
        let (int, rest) = self.0.split_first_chunk().ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*int))
    }

    fn element(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let length = self.int()?;
        if length == NULL {
            return Ok(None);
        }
        self.take(usize::try_from(length).map_err(|_| MALFORMED)?).map(Some)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn array_of(element: Type) -> Type {
        let element_oid = element.builtin_oid().unwrap();
        Type::Array { element: Box::new(element), element_oid }
    }

    /// Encodes, asserts the law, and gives the bytes in hexadecimal.
    fn crossing(element: Type, form: Form, text: &str) -> (Fit, String) {
        let ty = array_of(element);
        let mut bytes = Vec::new();
        let fit = encode(&ty, form, Zone::Utc, Cell::Text(text.as_bytes()), &mut bytes);
        if !matches!(fit, Fit::Lost(_)) {
            let mut scratch = b"left over".to_vec();
            let back = decode(&ty, form, Zone::Utc, &bytes, &mut scratch).unwrap();
            assert_eq!(
                fit == Fit::Exact,
                back == Cell::Text(text.as_bytes()),
                "{text} came back as {back:?}"
            );
        }
        (fit, bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    #[test]
    fn a_dimension_without_elements_is_malformed() {
        let ints = |ints: &[i32]| ints.iter().flat_map(|int| int.to_be_bytes()).collect::<Vec<u8>>();
        for bytes in [ints(&[2, 0, 23, i32::MAX, 1, 0, 1]), ints(&[1, 0, 23, 0, 1])] {
            let mut scratch = Vec::new();
            for form in [Form::Native, Form::List] {
                let decoded = decode(&array_of(Type::Int4), form, Zone::Utc, &bytes, &mut scratch);
                assert_eq!(decoded.err(), Some(MALFORMED));
            }
        }
    }

    /// The bytes are what PostgreSQL 15 sends.
    #[test]
    fn arrays_are_laid_out_as_postgres_has_them() {
        for (element, text, hex) in [
            (
                Type::Int4,
                "[1, 2, 3]",
                "0000000100000000000000170000000300000001000000040000000100000004000000020000000400000003",
            ),
            (Type::Int4, "[]", "000000000000000000000017"),
            (
                Type::Int4,
                "[[1, null], [3, 4]]",
                "000000020000000100000017000000020000000100000002000000010000000400000001ffffffff00000004000000030000000400000004",
            ),
            (
                Type::Text,
                r#"["a", "\u00e9\"", "", null]"#,
                "0000000100000001000000190000000400000001000000016100000003c3a92200000000ffffffff",
            ),
            (
                Type::Numeric(None),
                "[1.5, -0.25]",
                "0000000100000000000006a400000002000000010000000c0002000000000001000113880000000a0001ffff4000000209c4",
            ),
            (Type::Bool, "[true, false]", "000000010000000000000010000000020000000100000001010000000100"),
            (Type::Json, "[{}, \"t\"]", "0000000100000000000000720000000200000001000000027b7d00000003227422"),
            (
                Type::Float8,
                "[0.5, 1e+20]",
                "0000000100000000000002bd0000000200000001000000083fe0000000000000000000084415af1d78b58c40",
            ),
        ] {
            assert_eq!(crossing(element, Form::Native, text), (Fit::Exact, hex.to_owned()), "{text}");
        }
    }

    #[test]
    fn every_spelling_comes_back_under_its_form() {
        let [python, javascript, utf8, php, pony, _] = ArrayText::ALL.map(Form::Array);
        for (element, form, text) in [
            (Type::Int8, javascript, "[1,-2]"),
            (Type::Text, javascript, "[\"é\",\"\\n\"]"),
            (Type::Text, php, "[\"\\u00e9\",\"\\ud83d\\ude00\"]"),
            (Type::Text, utf8, "[\"é\", \"a\"]"),
            (Type::Float8, python, "[1.0, -0.0, 1e-05, 0.0001, 1e+16, 1234567890123456.0, 1.5e-07]"),
            (Type::Float8, javascript, "[1,0.000001,1e-7,100000000000000000000,1e+21,0.5]"),
            (Type::Float8, pony, "[1.0,-0.0,1e-05,0.5]"),
            (Type::Text, pony, "[\"é\",\"a\"]"),
            (Type::Float4, python, "[0.1, 99.99, 1e-05]"),
            (Type::Uuid, python, "[\"12345678-1234-5678-1234-567812345678\"]"),
            (Type::Date, python, "[\"2024-02-29\"]"),
            (Type::Json, python, r#"[{"a":[1, {}]}, "true", "é", 1.50, [1, [2]], null]"#),
            (Type::Json, javascript, r#"[{"a":1},[],{"b":""}]"#),
            (Type::Jsonb, python, r#"[{"a": [1, {}]}, "true", true]"#),
        ] {
            assert_eq!(crossing(element, form, text).0, Fit::Exact, "{text}");
        }
        for (element, text, reason) in [
            (Type::Int4, "[1,2]", Reason::Spelling),
            (Type::Int4, "[[], []]", Reason::Spelling),
            (Type::Int4, "[ 1]", Reason::Spelling),
            (Type::Text, "[1]", Reason::Spelling),
            (Type::Float4, "[0.30000000000000004]", Reason::Rounded),
            (Type::Jsonb, r#"[{"a":1}]"#, Reason::Spelling),
            (Type::Jsonb, r#"[{"a":1,"a":2}]"#, Reason::DuplicateKeys),
        ] {
            assert_eq!(crossing(element, python, text).0, Fit::Kept(reason), "{text}");
        }
    }

    #[test]
    fn what_is_no_array_of_one_shape_is_refused() {
        for text in [
            "",
            "1",
            "null",
            "{}",
            "[{}]",
            "[[1], 2]",
            "[1, [2]]",
            "[[1], [2, 3]]",
            "[[1], []]",
            "[[[]], [1]]",
            "[[1], null]",
            "[1",
            "{1,2}",
            "[[[[[[[1]]]]]]]",
        ] {
            assert_eq!(crossing(Type::Int4, Form::Native, text).0, Fit::Lost(Reason::NotAnArray), "{text}");
        }
        for text in ["", "1", "null", "{}", "[{},]", "[{}", "[NaN]", "[{}] 1"] {
            assert_eq!(crossing(Type::Json, Form::Native, text).0, Fit::Lost(Reason::NotAnArray), "{text}");
        }
        assert_eq!(crossing(Type::Int2, Form::Native, "[40000]").0, Fit::Lost(Reason::OutOfRange));
        let blob =
            encode(&array_of(Type::Int4), Form::Native, Zone::Utc, Cell::Blob(b"[1]"), &mut Vec::new());
        assert_eq!(blob, Fit::Lost(Reason::NotAnArray));
    }

    #[test]
    fn broken_bytes_are_reported() {
        let whole = "000000010000000000000017000000010000000100000004000000010";
        let bytes: Vec<u8> = (0..whole.len() / 2)
            .map(|at| u8::from_str_radix(&whole[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        let ty = array_of(Type::Int4);
        let read = |bytes: &[u8]| {
            let reads = |form| decode(&ty, form, Zone::Utc, bytes, &mut Vec::new()).is_ok();
            assert_eq!(reads(Form::Native), reads(Form::List));
            reads(Form::List)
        };
        assert!(read(&bytes));
        for end in 0..bytes.len() {
            assert!(!read(&bytes[..end]), "{end}");
        }
        assert!(!read(&[&bytes[..], b"x"].concat()));
        assert!(!read(&[0xff; 12]));
    }

    #[test]
    fn forms_are_those_that_carry_the_cell() {
        let forms = |text: &str| forms(&array_of(Type::Text), Cell::Text(text.as_bytes()), &Hints::default());
        assert_eq!(forms("[\"a\"]").into_iter().count(), ArrayText::ALL.len());
        assert_eq!(
            forms("[\"a\", \"é\"]").into_iter().map(|form| form.to_string()).collect::<Vec<_>>(),
            ["array-spaced"]
        );
        assert_eq!(forms("[").into_iter().count(), 0);
    }
}
