//! Words for values that PostgreSQL holds and no grammar here reads: infinities, NaN, years before 1 and beyond 9999. On the way back
//! they come to SQLite as text.
//!
//! They are read only where values are known to have come back: an application that writes such a word of its own may mean something
//! else. An infinite date or timestamp in a column of texts is no such word: what an application that knows PostgreSQL writes there.

use super::calendar::DAY;
use super::{Codec, Fit, Form, moment, numeric};
use crate::model::cell::Cell;
use crate::model::types::Type;

/// As PostgreSQL spells it.
pub const NAN: &[u8] = b"NaN";
const INFINITY: &[u8] = b"Infinity";
const NEGATIVE_INFINITY: &[u8] = b"-Infinity";

pub fn word_of_infinity(value: f64) -> &'static [u8] {
    if value > 0.0 { INFINITY } else { NEGATIVE_INFINITY }
}

/// Canonical bytes that the text may stand for. A proposal: whoever takes them asks whether they are written so.
pub fn proposed(codec: &Codec, text: &[u8]) -> Option<Vec<u8>> {
    match &codec.ty {
        Type::Date | Type::Timestamp(_) | Type::Timestamptz(_) => {
            infinite_moment(&codec.ty, text).or_else(|| far_moment(codec, text))
        }
        Type::Numeric(_) if text == NAN => Some(numeric::NAN.to_vec()),
        Type::Float4 | Type::Float8 | Type::Numeric(_) => number(codec, text),
        _ => None,
    }
}

fn number(codec: &Codec, text: &[u8]) -> Option<Vec<u8>> {
    let value = match text {
        NAN => f64::NAN,
        INFINITY => f64::INFINITY,
        NEGATIVE_INFINITY => f64::NEG_INFINITY,
        _ => return None,
    };
    crossed(&Codec { form: Form::Native, ..codec.clone() }, Cell::Real(value))
}

/// A date or timestamp before or after all others. Every form of texts writes it alike, so that it tells nothing of the column's.
pub fn infinite_moment(ty: &Type, text: &[u8]) -> Option<Vec<u8>> {
    let (day, micros) = match text {
        b"infinity" => (i32::MAX, i64::MAX),
        b"-infinity" => (i32::MIN, i64::MIN),
        _ => return None,
    };
    match ty {
        Type::Date => Some(day.to_be_bytes().to_vec()),
        Type::Timestamp(_) | Type::Timestamptz(_) => Some(micros.to_be_bytes().to_vec()),
        _ => None,
    }
}

/// Years after which the calendar begins anew, and their days.
const CYCLE: i64 = 400;
const DAYS_OF_CYCLE: i64 = 146_097;

/// The same day of another cycle of the calendar is one that the grammar reads.
fn far_moment(codec: &Codec, text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let before_christ = text.strip_suffix(" BC");
    let (year, rest) = before_christ.unwrap_or(text).split_once('-')?;
    let year: i64 = year.parse().ok()?;
    let year = if before_christ.is_some() { 1 - year } else { year };
    let cycles = (year - 2000).div_euclid(CYCLE);
    let near = format!("{:04}-{rest}", year - cycles * CYCLE);
    let mut near_bytes = Vec::new();
    match moment::encode(&codec.ty, Form::Native, codec.zone, Cell::Text(near.as_bytes()), &mut near_bytes) {
        Fit::Exact | Fit::Kept(_) => {}
        Fit::Null | Fit::Lost(_) => return None,
    }
    let days = cycles.checked_mul(DAYS_OF_CYCLE)?;
    if codec.ty == Type::Date {
        let near = i32::from_be_bytes(near_bytes.try_into().ok()?);
        let day = i32::try_from(i64::from(near).checked_add(days)?).ok()?;
        return Some(day.to_be_bytes().to_vec());
    }
    let near = i64::from_be_bytes(near_bytes.try_into().ok()?);
    let micros = near.checked_add(days.checked_mul(DAY)?)?;
    Some(micros.to_be_bytes().to_vec())
}

/// The bytes of a cell that this codec takes, if its value is all there.
pub fn crossed(codec: &Codec, cell: Cell<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match codec.encode(cell, &mut bytes) {
        Fit::Exact | Fit::Kept(_) => Some(bytes),
        Fit::Null | Fit::Lost(_) => None,
    }
}
