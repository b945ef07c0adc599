//! Integers, object ids and floats.
//!
//! An integer is never wrapped and a float never narrowed in silence.

use super::decimal::{Decimal, Spelled, integral, named_by_shortest, nearest_real};
use super::form::{Form, Numeral};
use super::formset::FormSet;
use super::{Fit, Malformed, Reason, judged};
use crate::model::cell::Cell;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
}

/// Digits as a BLOB are what the same digits are as a text, but for their class.
pub(super) fn encode(width: Width, form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    match (form, cell) {
        (Form::OtherClass, Cell::Blob(digits)) => plainly(width, Form::Digits, Cell::Text(digits), out),
        (Form::OtherClass, _) => match plainly(width, Form::Digits, cell, out) {
            Fit::Exact => Fit::Kept(Reason::Class),
            fit => fit,
        },
        _ => plainly(width, form, cell, out),
    }
}

fn plainly(width: Width, form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let fit = match width {
        Width::Float4 | Width::Float8 => encode_float(width, form, cell, out),
        Width::Int2 | Width::Int4 | Width::Int8 | Width::Oid => encode_integer(width, form, cell, out),
    };
    fit.unwrap_or_else(Fit::Lost)
}

pub(super) fn decode<'a>(
    width: Width,
    form: Form,
    bytes: &[u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Cell<'a>, Malformed> {
    if form != Form::OtherClass {
        return read(width, form, bytes, scratch);
    }
    Ok(match read(width, Form::Digits, bytes, scratch)? {
        Cell::Text(digits) => Cell::Blob(digits),
        cell => cell,
    })
}

fn read<'a>(width: Width, form: Form, bytes: &[u8], scratch: &'a mut Vec<u8>) -> Result<Cell<'a>, Malformed> {
    let value = match width {
        Width::Int2 => i64::from(i16::from_be_bytes(fixed(bytes, "int2")?)),
        Width::Int4 => i64::from(i32::from_be_bytes(fixed(bytes, "int4")?)),
        Width::Int8 => i64::from_be_bytes(fixed(bytes, "int8")?),
        Width::Oid => i64::from(u32::from_be_bytes(fixed(bytes, "oid")?)),
        Width::Float4 => {
            return Ok(float_cell(read_as(f32::from_be_bytes(fixed(bytes, "float4")?), form), form, scratch));
        }
        Width::Float8 => return Ok(float_cell(f64::from_be_bytes(fixed(bytes, "float8")?), form, scratch)),
    };
    Ok(integer_cell(value, form, scratch))
}

/// Preferred forms first; the learner tries each.
pub(super) fn forms(width: Width, cell: Cell<'_>) -> FormSet {
    let floats = matches!(width, Width::Float4 | Width::Float8);
    match cell {
        Cell::Blob(digits) if Decimal::parse(digits).is_some() => FormSet::from([Form::OtherClass]),
        Cell::Null | Cell::Blob(_) => FormSet::EMPTY,
        Cell::Integer(_) => FormSet::from([if floats { Form::Number } else { Form::Native }]),
        Cell::Real(_) if width == Width::Float4 => {
            FormSet::from([Form::Shortest, Form::Number, Form::Native])
        }
        Cell::Real(_) if floats => FormSet::from([Form::Native, Form::Number]),
        Cell::Real(_) => FormSet::from([Form::Real]),
        Cell::Text(_) => FormSet::from([Form::Digits]),
    }
}

fn encode_integer(width: Width, form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<Fit, Reason> {
    let value = integer_of(cell)?;
    match width {
        Width::Int2 => out.extend_from_slice(&narrow::<i16>(value)?.to_be_bytes()),
        Width::Int4 => out.extend_from_slice(&narrow::<i32>(value)?.to_be_bytes()),
        Width::Oid => out.extend_from_slice(&narrow::<u32>(value)?.to_be_bytes()),
        Width::Int8 | Width::Float4 | Width::Float8 => out.extend_from_slice(&value.to_be_bytes()),
    }
    Ok(match (form.numeral(), cell) {
        // Decided without spelling the value: the hot path of narrow integers.
        (Numeral::Natural | Numeral::Number, Cell::Integer(_)) => Fit::Exact,
        (Numeral::Digits, Cell::Text(text)) => judged(Cell::Text(&Spelled::integer(value)), Cell::Text(text)),
        (Numeral::Digits, _) => Fit::Kept(Reason::Class),
        (Numeral::Natural | Numeral::Number | Numeral::Real, _) => match real_or_integer(value, form) {
            Cell::Real(_) if is_negative_zero(cell) => Fit::Kept(Reason::NegativeZero),
            back => judged(back, cell),
        },
    })
}

fn integer_of(cell: Cell<'_>) -> Result<i64, Reason> {
    match cell {
        Cell::Integer(value) => Ok(value),
        Cell::Real(value) if value.fract() != 0.0 && value.is_finite() => Err(Reason::Fraction),
        Cell::Real(value) if value.is_infinite() => Err(Reason::Infinite),
        Cell::Real(value) => integral(value).ok_or(Reason::OutOfRange),
        Cell::Text(text) => {
            let decimal = Decimal::parse(text).ok_or(Reason::NotANumber)?;
            let fault = if decimal.has_fraction() { Reason::Fraction } else { Reason::OutOfRange };
            decimal.to_i64().ok_or(fault)
        }
        Cell::Blob(_) | Cell::Null => Err(Reason::Class),
    }
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, Reason> {
    T::try_from(value).map_err(|_| Reason::OutOfRange)
}

fn integer_cell(value: i64, form: Form, scratch: &mut Vec<u8>) -> Cell<'_> {
    match form.numeral() {
        Numeral::Digits => spelled(&Spelled::integer(value), scratch),
        Numeral::Natural | Numeral::Number | Numeral::Real => real_or_integer(value, form),
    }
}

/// An integer that no REAL holds stays INTEGER in every form but `Digits`.
fn real_or_integer(value: i64, form: Form) -> Cell<'static> {
    match form.numeral() {
        Numeral::Real if integral(nearest_real(value)) == Some(value) => Cell::Real(nearest_real(value)),
        Numeral::Natural | Numeral::Number | Numeral::Real | Numeral::Digits => Cell::Integer(value),
    }
}

fn encode_float(width: Width, form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<Fit, Reason> {
    let wanted = float_of(cell)?;
    let held = match width {
        Width::Float4 => {
            #[allow(clippy::cast_possible_truncation)] // What is lost shows in the comparison below.
            let narrow = wanted as f32;
            if narrow.is_infinite() && wanted.is_finite() {
                return Err(Reason::OutOfRange);
            }
            out.extend_from_slice(&narrow.to_be_bytes());
            read_as(narrow, form)
        }
        Width::Int2 | Width::Int4 | Width::Int8 | Width::Oid | Width::Float8 => {
            out.extend_from_slice(&wanted.to_be_bytes());
            wanted
        }
    };
    let rounded = held.to_bits() != wanted.to_bits()
        || matches!(cell, Cell::Integer(value) if integral(wanted) != Some(value));
    if rounded {
        return Ok(Fit::Kept(Reason::Rounded));
    }
    Ok(match (form.numeral(), cell) {
        (Numeral::Digits, Cell::Text(text)) => judged(Cell::Text(&Spelled::real(held)), Cell::Text(text)),
        (Numeral::Digits, _) => Fit::Kept(Reason::Class),
        (Numeral::Natural | Numeral::Number | Numeral::Real, _) => judged(number_or_real(held, form), cell),
    })
}

/// The number that the source means by a float4: most write the one that its shortest digits name.
fn read_as(narrow: f32, form: Form) -> f64 {
    match (form, form.numeral()) {
        (Form::Shortest, _) | (_, Numeral::Number | Numeral::Digits) => named_by_shortest(narrow),
        (_, Numeral::Natural | Numeral::Real) => f64::from(narrow),
    }
}

fn float_of(cell: Cell<'_>) -> Result<f64, Reason> {
    match cell {
        Cell::Integer(value) => Ok(nearest_real(value)),
        Cell::Real(value) => Ok(value),
        Cell::Text(text) => {
            let number = std::str::from_utf8(text).ok().filter(|_| Decimal::parse(text).is_some());
            let value: f64 = number.and_then(|text| text.parse().ok()).ok_or(Reason::NotANumber)?;
            if value.is_finite() { Ok(value) } else { Err(Reason::OutOfRange) }
        }
        Cell::Blob(_) | Cell::Null => Err(Reason::Class),
    }
}

fn float_cell(value: f64, form: Form, scratch: &mut Vec<u8>) -> Cell<'_> {
    match form.numeral() {
        Numeral::Digits => spelled(&Spelled::real(value), scratch),
        Numeral::Natural | Numeral::Number | Numeral::Real => number_or_real(value, form),
    }
}

/// SQLite's rule for REALs in columns of INTEGER and NUMERIC affinity, strict at both ends of 64 bits; -0.0 stays what it is.
fn number_or_real(value: f64, form: Form) -> Cell<'static> {
    let integer =
        integral(value).filter(|integer| *integer != i64::MIN && !is_negative_zero(Cell::Real(value)));
    match (form.numeral(), integer) {
        (Numeral::Number, Some(integer)) => Cell::Integer(integer),
        (Numeral::Number, None) | (Numeral::Natural | Numeral::Real | Numeral::Digits, _) => {
            Cell::Real(value)
        }
    }
}

fn is_negative_zero(cell: Cell<'_>) -> bool {
    cell == Cell::Real(-0.0)
}

fn spelled<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Cell<'a> {
    scratch.clear();
    scratch.extend_from_slice(text);
    Cell::Text(scratch)
}

fn fixed<const N: usize>(bytes: &[u8], ty: &'static str) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed(ty))
}

#[cfg(test)]
mod tests {
    use super::super::law::check;
    use super::*;
    use crate::model::types::Type;

    const EXACT: Fit = Fit::Exact;

    fn kept(reason: Reason) -> Fit {
        Fit::Kept(reason)
    }

    fn lost(reason: Reason) -> (Fit, &'static str) {
        (Fit::Lost(reason), "")
    }

    #[test]
    fn integers_keep_their_value_or_are_lost() {
        let big = i64::MAX;
        for (ty, form, cell, expected) in [
            (Type::Int8, Form::Native, Cell::Integer(big), (EXACT, "7fffffffffffffff")),
            (Type::Int2, Form::Native, Cell::Integer(-2), (EXACT, "fffe")),
            (Type::Int2, Form::Native, Cell::Integer(32_768), lost(Reason::OutOfRange)),
            (Type::Int4, Form::Native, Cell::Integer(-2_147_483_649), lost(Reason::OutOfRange)),
            (Type::Oid, Form::Native, Cell::Integer(4_294_967_295), (EXACT, "ffffffff")),
            (Type::Oid, Form::Native, Cell::Integer(-1), lost(Reason::OutOfRange)),
            (Type::Int4, Form::Native, Cell::Real(2.0), (kept(Reason::Class), "00000002")),
            (Type::Int4, Form::Real, Cell::Real(2.0), (EXACT, "00000002")),
            (Type::Int4, Form::Real, Cell::Real(-0.0), (kept(Reason::NegativeZero), "00000000")),
            (Type::Int4, Form::Real, Cell::Integer(2), (kept(Reason::Class), "00000002")),
            (Type::Int4, Form::Native, Cell::Real(1.5), lost(Reason::Fraction)),
            (Type::Int8, Form::Native, Cell::Real(9_223_372_036_854_775_808.0), lost(Reason::OutOfRange)),
            (Type::Int8, Form::Native, Cell::Real(f64::NEG_INFINITY), lost(Reason::Infinite)),
            (Type::Int4, Form::Digits, Cell::Text(b"42"), (EXACT, "0000002a")),
            (Type::Int4, Form::Digits, Cell::Text(b"042"), (kept(Reason::Spelling), "0000002a")),
            (Type::Int4, Form::Digits, Cell::Text(b"4.2e1"), (kept(Reason::Spelling), "0000002a")),
            (Type::Int4, Form::Native, Cell::Text(b"42"), (kept(Reason::Class), "0000002a")),
            (Type::Int4, Form::Digits, Cell::Text(b"1.5"), lost(Reason::Fraction)),
            (Type::Int4, Form::Digits, Cell::Text(b"two"), lost(Reason::NotANumber)),
            (Type::Int4, Form::Digits, Cell::Text(b""), lost(Reason::NotANumber)),
            (Type::Int8, Form::Digits, Cell::Text(b"9223372036854775808"), lost(Reason::OutOfRange)),
            (Type::Int4, Form::Native, Cell::Blob(b"1"), lost(Reason::Class)),
            (Type::Int8, Form::OtherClass, Cell::Blob(b"9223372036854775807"), (EXACT, "7fffffffffffffff")),
            (Type::Int4, Form::OtherClass, Cell::Blob(b"-42"), (EXACT, "ffffffd6")),
            (Type::Int4, Form::OtherClass, Cell::Blob(b"042"), (kept(Reason::Spelling), "0000002a")),
            (Type::Int4, Form::OtherClass, Cell::Text(b"42"), (kept(Reason::Class), "0000002a")),
            (Type::Int4, Form::OtherClass, Cell::Integer(42), (kept(Reason::Class), "0000002a")),
            (Type::Int4, Form::OtherClass, Cell::Blob(b"\x00\x2a"), lost(Reason::NotANumber)),
            (Type::Int2, Form::OtherClass, Cell::Blob(b"32768"), lost(Reason::OutOfRange)),
            (Type::Float8, Form::OtherClass, Cell::Blob(b"2.5"), (EXACT, "4004000000000000")),
        ] {
            check(&ty, form, cell, expected);
        }
    }

    #[test]
    fn floats_keep_every_bit_or_say_what_was_rounded() {
        let exact_in_53_bits = 1_i64 << 53;
        for (ty, form, cell, expected) in [
            (Type::Float8, Form::Native, Cell::Real(-0.0), (EXACT, "8000000000000000")),
            (Type::Float8, Form::Native, Cell::Real(f64::INFINITY), (EXACT, "7ff0000000000000")),
            (Type::Float8, Form::Number, Cell::Real(-0.0), (EXACT, "8000000000000000")),
            (Type::Float8, Form::Number, Cell::Integer(3), (EXACT, "4008000000000000")),
            (Type::Float8, Form::Number, Cell::Real(3.0), (kept(Reason::Class), "4008000000000000")),
            (Type::Float8, Form::Native, Cell::Integer(3), (kept(Reason::Class), "4008000000000000")),
            (Type::Float8, Form::Number, Cell::Real(2.5), (EXACT, "4004000000000000")),
            (Type::Float8, Form::Number, Cell::Integer(exact_in_53_bits), (EXACT, "4340000000000000")),
            (
                Type::Float8,
                Form::Number,
                Cell::Integer(exact_in_53_bits + 1),
                (kept(Reason::Rounded), "4340000000000000"),
            ),
            (
                Type::Float8,
                Form::Number,
                Cell::Integer(i64::MAX),
                (kept(Reason::Rounded), "43e0000000000000"),
            ),
            (Type::Float8, Form::Digits, Cell::Text(b"2.5"), (EXACT, "4004000000000000")),
            (Type::Float8, Form::Digits, Cell::Text(b"2.50"), (kept(Reason::Spelling), "4004000000000000")),
            (Type::Float8, Form::Digits, Cell::Text(b"1e999"), lost(Reason::OutOfRange)),
            (Type::Float8, Form::Digits, Cell::Text(b"NaN"), lost(Reason::NotANumber)),
            (Type::Float4, Form::Native, Cell::Real(1.5), (EXACT, "3fc00000")),
            (Type::Float4, Form::Native, Cell::Real(0.1), (kept(Reason::Rounded), "3dcccccd")),
            (Type::Float4, Form::Native, Cell::Real(f64::from(0.1_f32)), (EXACT, "3dcccccd")),
            (
                Type::Float4,
                Form::Shortest,
                Cell::Real(f64::from(0.1_f32)),
                (kept(Reason::Rounded), "3dcccccd"),
            ),
            (Type::Float4, Form::Shortest, Cell::Real(0.1), (EXACT, "3dcccccd")),
            (Type::Float4, Form::Shortest, Cell::Real(99.99), (EXACT, "42c7fae1")),
            (Type::Float4, Form::Shortest, Cell::Real(-0.0), (EXACT, "80000000")),
            (Type::Float4, Form::Shortest, Cell::Real(1e-45), (EXACT, "00000001")),
            (Type::Float4, Form::Shortest, Cell::Real(3.4028235e38), (EXACT, "7f7fffff")),
            (Type::Float4, Form::Shortest, Cell::Real(f64::NEG_INFINITY), (EXACT, "ff800000")),
            (Type::Float4, Form::Shortest, Cell::Real(0.1 + 0.2), (kept(Reason::Rounded), "3e99999a")),
            (Type::Float4, Form::Shortest, Cell::Real(1e39), lost(Reason::OutOfRange)),
            (Type::Float4, Form::Shortest, Cell::Integer(3), (kept(Reason::Class), "40400000")),
            (Type::Float4, Form::Number, Cell::Real(99.99), (EXACT, "42c7fae1")),
            (Type::Float4, Form::Number, Cell::Integer(3), (EXACT, "40400000")),
            (Type::Float4, Form::Digits, Cell::Text(b"99.99"), (EXACT, "42c7fae1")),
            (Type::Float4, Form::Native, Cell::Real(1e39), lost(Reason::OutOfRange)),
            (Type::Float4, Form::Number, Cell::Integer(16_777_217), (kept(Reason::Rounded), "4b800000")),
        ] {
            check(&ty, form, cell, expected);
        }
    }

    #[test]
    fn every_float4_is_named_by_a_double_that_names_it() {
        // Every exponent and sign, under bits of a generator that visits all of 23.
        let mut fraction = 1_u32;
        for high in 0..=0x1ff_u32 {
            for _ in 0..200 {
                fraction = fraction.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) >> 9;
                let bytes = ((high << 23) | (fraction & 0x7f_ffff)).to_be_bytes();
                for form in [Form::Shortest, Form::Number, Form::Native] {
                    let mut scratch = Vec::new();
                    let cell =
                        decode(Width::Float4, form, &bytes, &mut scratch).expect("four bytes are a float4");
                    if matches!(cell, Cell::Real(value) if value.is_nan()) {
                        continue;
                    }
                    let mut again = Vec::new();
                    let fit = encode(Width::Float4, form, cell, &mut again);
                    assert_eq!((fit, again.as_slice()), (EXACT, &bytes[..]), "{form} {cell:?}");
                }
            }
        }
    }
}
