//! `numeric`: decimal digits in groups of four, as PostgreSQL's `numeric_send` gives them.
//!
//! A column's scale rounds half away from zero, and a value that was rounded is never called exact.

use super::decimal::{Decimal, Spelled};
use super::form::{Form, Numeral, Trim};
use super::formset::FormSet;
use super::scaled::Scaled;
use super::{Fit, Malformed, Reason};
use crate::model::cell::{Cell, Class};
use crate::model::schema::Affinity;
use crate::model::types::NumericLimit;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;
/// Whatever a column's limit is.
pub(super) const NAN: [u8; 8] = [0, 0, 0, 0, 0xC0, 0, 0, 0];
/// PostgreSQL sends an infinity with this scale, a trace of how it stores one.
const INFINITY_SCALE: u16 = 0x0020;

/// The power of ten of the first digit that PostgreSQL holds: 131072 digits before the point.
const POWER_MAX: i64 = 131_071;
const SCALE_MAX: u16 = 16_383;
/// Count of groups, weight, sign, scale: two bytes each.
const HEADER_BYTES: usize = 8;
const SCALE_AT: usize = 6;

/// Whether every digit of the source was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    All,
    Rounded,
}

pub(super) fn encode(limit: Option<NumericLimit>, form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let fit = match cell {
        Cell::Null => Ok(Fit::Null),
        Cell::Blob(text) if form == Form::OtherClass => encode_text(text, limit, form, out),
        Cell::Blob(_) => Err(Reason::Class),
        Cell::Integer(value) => encode_integer(value, limit, form, out),
        Cell::Real(value) if value.is_infinite() => encode_infinity(value, limit, out),
        Cell::Real(value) if value.is_nan() => Err(Reason::NotANumber),
        Cell::Real(value) => encode_real(value, limit, form, out),
        Cell::Text(text) => encode_text(text, limit, form, out),
    };
    match fit {
        // The digits were read by the same grammar, and come back as bytes.
        Ok(Fit::Exact) if form == Form::OtherClass && cell.class() == Class::Text => Fit::Kept(Reason::Class),
        fit => fit.unwrap_or_else(Fit::Lost),
    }
}

/// Whether two values are the same number, written to another digit: 1.5 and 1.50.
pub(super) fn differ_in_scale_alone(one: &[u8], other: &[u8]) -> bool {
    let parts = |bytes: &[u8]| Some((bytes.get(..SCALE_AT)?.to_vec(), bytes.get(HEADER_BYTES..)?.to_vec()));
    parts(one).is_some_and(|one| parts(other) == Some(one))
}

pub(super) fn decode<'a>(form: Form, bytes: &[u8], scratch: &'a mut Vec<u8>) -> Result<Cell<'a>, Malformed> {
    let wire = Wire::read(bytes).ok_or(Malformed("numeric"))?;
    let negative = match wire.sign {
        POSITIVE => false,
        NEGATIVE => true,
        POSITIVE_INFINITY => return Ok(Cell::Real(f64::INFINITY)),
        NEGATIVE_INFINITY => return Ok(Cell::Real(f64::NEG_INFINITY)),
        // NaN among them: SQLite has no cell for it.
        _ => return Err(Malformed("numeric")),
    };
    scratch.clear();
    if negative {
        scratch.push(b'-');
    }
    wire.spell(scratch);
    if let Form::Trimmed(trim) = form {
        trim_zeros(trim, scratch);
        return Ok(Cell::Text(scratch));
    }
    let text: &'a [u8] = scratch;
    if let Numeral::Digits = numeral(form) {
        return Ok(if form == Form::OtherClass { Cell::Blob(text) } else { Cell::Text(text) });
    }
    let decimal = Decimal::parse(text).expect("spelled by the grammar");
    if let (Numeral::Natural | Numeral::Number, Some(value)) = (numeral(form), integer(form, &decimal)) {
        return Ok(Cell::Integer(value));
    }
    let text = std::str::from_utf8(text).expect("digits are ASCII");
    Ok(Cell::Real(text.parse().expect("Rust reads every decimal as a float")))
}

/// Bytes spell a number by its digits.
fn numeral(form: Form) -> Numeral {
    if form == Form::OtherClass { Numeral::Digits } else { form.numeral() }
}

/// The INTEGER that the form writes for the number.
fn integer(form: Form, decimal: &Decimal<'_>) -> Option<i64> {
    match form {
        Form::Unsigned => decimal.to_u64().map(u64::cast_signed).or_else(|| decimal.to_i64()),
        _ => decimal.to_i64(),
    }
}

/// A number's zeros at the end of its fraction.
fn trim_zeros(trim: Trim, text: &mut Vec<u8>) {
    let point = text.iter().position(|letter| *letter == b'.').unwrap_or(text.len());
    let zeros = text[point..].iter().rev().take_while(|digit| **digit == b'0').count();
    let length = text.len() - zeros;
    if length > point + 1 {
        return text.truncate(length);
    }
    text.truncate(point);
    if trim == Trim::Point {
        text.extend_from_slice(b".0");
    }
}

/// Preferred forms first; the learner tries each.
pub(super) fn forms(limit: Option<NumericLimit>, cell: Cell<'_>, affinity: Affinity) -> FormSet {
    let is_unsigned = limit == Some(NumericLimit::UNSIGNED) && affinity == Affinity::Integer;
    match cell {
        Cell::Null => FormSet::EMPTY,
        // Only as a BLOB do digits stay what they are in a column that SQLite takes for one of numbers.
        Cell::Blob(text) if Decimal::parse(text).is_some() => FormSet::from([Form::OtherClass]),
        Cell::Blob(_) => FormSet::EMPTY,
        Cell::Integer(_) if is_unsigned => FormSet::from([Form::Native, Form::Unsigned]),
        Cell::Integer(_) => FormSet::from([Form::Native]),
        Cell::Real(_) => FormSet::from([Form::Native, Form::Real]),
        Cell::Text(text) => forms_of_digits(limit, text),
    }
}

/// Where the column has no scale of its own, the digits say where they end.
fn forms_of_digits(limit: Option<NumericLimit>, text: &[u8]) -> FormSet {
    let usual = FormSet::from([Form::Digits]);
    let Some(scale) = limit.map(|limit| i64::from(limit.scale)).filter(|scale| *scale >= 0) else {
        return usual;
    };
    let Some(decimal) = Decimal::parse(text) else { return usual };
    let forms = [
        (Form::Digits, decimal.is_plain(scale)),
        (Form::Trimmed(Trim::Bare), decimal.is_trimmed(Trim::Bare)),
        (Form::Trimmed(Trim::Point), decimal.is_trimmed(Trim::Point)),
    ];
    let forms = forms.into_iter().filter(|(_, is_so)| *is_so).map(|(form, _)| form).collect();
    if forms == FormSet::EMPTY { usual } else { forms }
}

fn encode_integer(
    value: i64,
    limit: Option<NumericLimit>,
    form: Form,
    out: &mut Vec<u8>,
) -> Result<Fit, Reason> {
    let is_unsigned = form == Form::Unsigned;
    let scaled = if is_unsigned { Scaled::of_unsigned(value) } else { Scaled::of_integer(value) };
    let digits = match scaled.put(limit, out) {
        Some(()) => Digits::All,
        None => {
            let text = if is_unsigned { Spelled::unsigned(value) } else { Spelled::integer(value) };
            put(&Decimal::parse(&text).expect("spelled by the grammar"), limit, out)?
        }
    };
    Ok(match (digits, numeral(form)) {
        (Digits::Rounded, _) => Fit::Kept(Reason::Rounded),
        (Digits::All, Numeral::Natural | Numeral::Number) => Fit::Exact,
        (Digits::All, Numeral::Real | Numeral::Digits) => Fit::Kept(Reason::Class),
    })
}

/// No decimal shorter than the shortest reads back as the same REAL, so a rounded one never does.
fn encode_real(
    value: f64,
    limit: Option<NumericLimit>,
    form: Form,
    out: &mut Vec<u8>,
) -> Result<Fit, Reason> {
    if let Some(short) = Scaled::of_real(value)
        && short.put(limit, out).is_some()
    {
        let integral = short.scale == 0;
        return Ok(match numeral(form) {
            Numeral::Real => Fit::Exact,
            Numeral::Natural | Numeral::Number if !integral => Fit::Exact,
            Numeral::Natural | Numeral::Number | Numeral::Digits => Fit::Kept(Reason::Class),
        });
    }
    let text = Spelled::shortest(value);
    let decimal = Decimal::parse(&text).expect("spelled by the grammar");
    let digits = put(&decimal, limit, out)?;
    Ok(match (digits, numeral(form)) {
        (Digits::Rounded, _) => Fit::Kept(Reason::Rounded),
        (Digits::All, _) if decimal.negative && decimal.span().is_none() => Fit::Kept(Reason::NegativeZero),
        (Digits::All, Numeral::Real) => Fit::Exact,
        (Digits::All, Numeral::Natural | Numeral::Number) if integer(form, &decimal).is_none() => Fit::Exact,
        (Digits::All, Numeral::Natural | Numeral::Number | Numeral::Digits) => Fit::Kept(Reason::Class),
    })
}

fn encode_text(
    text: &[u8],
    limit: Option<NumericLimit>,
    form: Form,
    out: &mut Vec<u8>,
) -> Result<Fit, Reason> {
    let decimal = Decimal::parse(text).ok_or(Reason::NotANumber)?;
    let digits = put(&decimal, limit, out)?;
    let scale = limit.map_or(decimal.scale(), |limit| i64::from(limit.scale.max(0)));
    Ok(match (digits, numeral(form)) {
        (Digits::Rounded, _) => Fit::Kept(Reason::Rounded),
        (Digits::All, Numeral::Digits) if is_spelt(&decimal, form, scale) => Fit::Exact,
        (Digits::All, Numeral::Digits) => Fit::Kept(Reason::Spelling),
        (Digits::All, Numeral::Natural | Numeral::Number | Numeral::Real) => Fit::Kept(Reason::Class),
    })
}

fn is_spelt(decimal: &Decimal<'_>, form: Form, scale: i64) -> bool {
    match form {
        Form::Trimmed(trim) => decimal.is_trimmed(trim),
        _ => decimal.is_plain(scale),
    }
}

/// A column with a precision holds no infinity. It decodes to REAL in every form.
fn encode_infinity(value: f64, limit: Option<NumericLimit>, out: &mut Vec<u8>) -> Result<Fit, Reason> {
    if limit.is_some() {
        return Err(Reason::Infinite);
    }
    let sign = if value > 0.0 { POSITIVE_INFINITY } else { NEGATIVE_INFINITY };
    for word in [0, 0, sign, INFINITY_SCALE] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    Ok(Fit::Exact)
}

/// Appends header and groups. Groups are aligned to the decimal point, so that `weight` counts them from there.
fn put(decimal: &Decimal<'_>, limit: Option<NumericLimit>, out: &mut Vec<u8>) -> Result<Digits, Reason> {
    let scale = limit.map_or(decimal.scale(), |limit| i64::from(limit.scale.max(0)));
    let scale = u16::try_from(scale).ok().filter(|scale| *scale <= SCALE_MAX).ok_or(Reason::OutOfRange)?;
    let Some((high, low)) = decimal.span() else {
        out.extend_from_slice(&header(0, 0, POSITIVE, scale));
        return Ok(Digits::All);
    };
    if high > POWER_MAX {
        return Err(Reason::OutOfRange);
    }
    let header_at = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let start = out.len();
    let cut = limit.map_or(low, |limit| -i64::from(limit.scale));
    let (digits, weight) = if low < cut {
        (Digits::Rounded, put_rounded(decimal, (high, cut), out))
    } else {
        put_groups(decimal, (high, low), out);
        (Digits::All, high.div_euclid(4))
    };
    let weight = strip_zero_groups(start, weight, out);
    let groups = &out[start..];
    let header = if groups.is_empty() {
        header(0, 0, POSITIVE, scale)
    } else {
        let power_max = limit.map(|limit| i64::from(limit.precision) - i64::from(limit.scale));
        if power_max.is_some_and(|power_max| leading_power(groups, weight) >= power_max) {
            return Err(Reason::OutOfRange);
        }
        header(groups.len() / 2, weight, if decimal.negative { NEGATIVE } else { POSITIVE }, scale)
    };
    out[header_at..start].copy_from_slice(&header);
    Ok(digits)
}

fn header(groups: usize, weight: i64, sign: u16, scale: u16) -> [u8; HEADER_BYTES] {
    let [a, b] = u16::try_from(groups).expect("bounded by the digit limits").to_be_bytes();
    let [c, d] = i16::try_from(weight).expect("bounded by the digit limits").to_be_bytes();
    let [e, f] = sign.to_be_bytes();
    let [g, h] = scale.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

/// All groups from the one that holds the power `high` down to the one that holds `low`, digits below `low` as zero.
fn put_groups(decimal: &Decimal<'_>, (high, low): (i64, i64), out: &mut Vec<u8>) {
    for group in (low.div_euclid(4)..=high.div_euclid(4)).rev() {
        let mut value = 0_u16;
        for power in (group * 4..group * 4 + 4).rev() {
            let digit = if power < low { 0 } else { decimal.digit(power) };
            value = value * 10 + u16::from(digit);
        }
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Keeps the digits from the power `cut` up, rounded half away from zero; gives the weight of the first group.
fn put_rounded(decimal: &Decimal<'_>, (high, cut): (i64, i64), out: &mut Vec<u8>) -> i64 {
    let start = out.len();
    // One group more than needed takes the carry of 9999.
    let weight = high.max(cut).div_euclid(4) + 1;
    put_groups(decimal, (weight * 4, cut), out);
    if decimal.digit(cut - 1) >= 5 {
        let place = u32::try_from(cut.rem_euclid(4)).expect("0 to 3");
        let mut carry = 10_u16.pow(place);
        for group in out[start..].rchunks_exact_mut(2) {
            let value = u16::from_be_bytes([group[0], group[1]]) + carry;
            group.copy_from_slice(&(value % 10_000).to_be_bytes());
            carry = value / 10_000;
        }
    }
    weight
}

/// PostgreSQL keeps no zero groups at either end; gives the weight of the group that is now the first.
fn strip_zero_groups(start: usize, weight: i64, out: &mut Vec<u8>) -> i64 {
    while out.len() > start && out.ends_with(&[0, 0]) {
        out.truncate(out.len() - 2);
    }
    let zeros = out[start..].chunks_exact(2).take_while(|group| *group == [0, 0]).count();
    out.drain(start..start + zeros * 2);
    weight - i64::try_from(zeros).expect("a length in memory is below 2^63")
}

/// The power of ten of the first digit of groups that begin at `weight`.
fn leading_power(groups: &[u8], weight: i64) -> i64 {
    let first = u16::from_be_bytes([groups[0], groups[1]]);
    weight * 4 + i64::from(first.ilog10())
}

struct Wire<'a> {
    weight: i64,
    sign: u16,
    scale: u16,
    groups: &'a [u8],
}

impl<'a> Wire<'a> {
    fn read(bytes: &'a [u8]) -> Option<Wire<'a>> {
        let (header, groups) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let weight = i64::from(i16::from_be_bytes([header[2], header[3]]));
        let whole = usize::from(word(0)) * 2 == groups.len();
        let decimal = groups.chunks_exact(2).all(|group| u16::from_be_bytes([group[0], group[1]]) < 10_000);
        (whole && decimal).then_some(Wire { weight, sign: word(4), scale: word(6), groups })
    }

    /// Appends `whole[.fraction]` with exactly `scale` digits after the point.
    fn spell(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for group in (0..=self.weight.max(0)).rev() {
            out.extend_from_slice(&self.group(group));
        }
        let zeros = out[start..].iter().take_while(|digit| **digit == b'0').count();
        let zeros = zeros.min(out.len() - start - 1);
        out.drain(start..start + zeros);
        if self.scale == 0 {
            return;
        }
        out.push(b'.');
        let end = out.len() + usize::from(self.scale);
        let mut group = -1;
        while out.len() < end {
            out.extend_from_slice(&self.group(group));
            group -= 1;
        }
        out.truncate(end);
    }

    /// The four digits of the group at this weight.
    fn group(&self, weight: i64) -> [u8; 4] {
        let at = usize::try_from(self.weight - weight).ok();
        let group = at.and_then(|at| self.groups.get(at * 2..at * 2 + 2));
        let mut value = group.map_or(0, |group| u16::from_be_bytes([group[0], group[1]]));
        let mut digits = [b'0'; 4];
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(value % 10).expect("a digit");
            value /= 10;
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hints;
    use super::super::law::{check, crossing};
    use super::super::learn::Learner;
    use super::*;
    use crate::model::types::Type;

    /// The long way, without the short one.
    fn by_digits(text: &[u8], limit: Option<NumericLimit>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let digits = put(&Decimal::parse(text).expect("a decimal"), limit, &mut out).ok()?;
        (digits == Digits::All).then_some(out)
    }

    #[test]
    fn digits_are_trimmed_as_their_writer_trims_them() {
        let money = Type::Numeric(Some(NumericLimit { precision: 18, scale: 2 }));
        let whole = Type::Numeric(Some(NumericLimit { precision: 18, scale: 0 }));
        let (spelling, exact) = (Fit::Kept(Reason::Spelling), Fit::Exact);
        for (ty, text, [digits, bare, point]) in [
            (&money, "1.5", [spelling, exact, exact]),
            (&money, "1.25", [exact, exact, exact]),
            (&money, "2", [spelling, exact, spelling]),
            (&money, "2.0", [spelling, spelling, exact]),
            (&money, "2.00", [exact, spelling, spelling]),
            (&money, "0.0", [spelling, spelling, exact]),
            (&money, "-0.5", [spelling, exact, exact]),
            (&money, "-0", [spelling, spelling, spelling]),
            (&money, "1e2", [spelling, spelling, spelling]),
            (&whole, "3.0", [spelling, spelling, exact]),
            (&whole, "3", [exact, exact, spelling]),
            (&Type::Numeric(None), "3.0", [exact, spelling, exact]),
            (&Type::Numeric(None), "3", [exact, exact, spelling]),
        ] {
            for (form, expected) in [
                (Form::Digits, digits),
                (Form::Trimmed(Trim::Bare), bare),
                (Form::Trimmed(Trim::Point), point),
            ] {
                let (fit, _) = crossing(ty, form, Cell::Text(text.as_bytes()));
                assert_eq!(fit, expected, "{ty:?} {form} {text}");
            }
        }
    }

    #[test]
    fn a_column_says_how_its_digits_are_trimmed() {
        let money = Type::Numeric(Some(NumericLimit { precision: 18, scale: 2 }));
        for (texts, expected) in [
            (&["1.25", "10.75"][..], "digits"),
            (&["1.25", "10.70"], "digits"),
            (&["1.25", "10.7"], "digits-trimmed"),
            (&["1.25", "10.7", "3"], "digits-trimmed"),
            (&["1.25", "10.7", "3.0"], "digits-trimmed-1"),
        ] {
            let hints = Hints { affinity: Affinity::Text, ..Hints::default() };
            let mut learner = Learner::new(money.clone(), hints);
            texts.iter().for_each(|text| learner.observe(Cell::Text(text.as_bytes())));
            let learned = learner.learned();
            assert_eq!(learned.codec.form.to_string(), expected, "{texts:?}");
            assert_eq!(learned.exact, u64::try_from(texts.len()).unwrap(), "{texts:?}");
        }
    }

    #[test]
    fn the_upper_half_of_unsigned_integers_is_negative_to_sqlite() {
        let ulong = Type::Numeric(Some(NumericLimit::UNSIGNED));
        let highest = "000500040000000007341a5802e103bb064f";
        check(&ulong, Form::Unsigned, Cell::Integer(-1), (Fit::Exact, highest));
        check(&ulong, Form::Unsigned, Cell::Integer(5), (Fit::Exact, "00010000000000000005"));
        crossing(&ulong, Form::Unsigned, Cell::Integer(i64::MIN));
        crossing(&ulong, Form::Unsigned, Cell::Real(-5.0));
        crossing(&ulong, Form::Unsigned, Cell::Real(1e19));
        for (affinity, ty, expected) in [
            (Affinity::Integer, &ulong, "unsigned"),
            (Affinity::Numeric, &ulong, "native"),
            (Affinity::Integer, &Type::Numeric(None), "native"),
        ] {
            let mut learner = Learner::new(ty.clone(), Hints { affinity, ..Hints::default() });
            [7, -1].into_iter().for_each(|value| learner.observe(Cell::Integer(value)));
            assert_eq!(learner.learned().codec.form, Form::Native, "{affinity:?} {ty:?}");
            learner.take_habit(Form::Unsigned);
            assert_eq!(learner.learned().codec.form.to_string(), expected, "{affinity:?} {ty:?}");
        }
    }

    #[test]
    fn the_short_way_gives_the_bytes_of_the_long_way() {
        let limits = [
            None,
            Some(NumericLimit { precision: 10, scale: 2 }),
            Some(NumericLimit { precision: 38, scale: 9 }),
            Some(NumericLimit { precision: 3, scale: -2 }),
        ];
        let mut seed = 42u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut reals = vec![
            0.1 + 0.2,
            1e15,
            999_999_999_999_999.0,
            0.000_000_01,
            1e-9,
            123_456_789.123_456,
            -0.5,
            5e-324,
            1e22,
            -10_000.0,
        ];
        for _ in 0..20_000 {
            let (digits, scale) = (next() % 1_000_000_000_000_000, i32::try_from(next() % 12).unwrap());
            reals.push(format!("{digits}e-{scale}").parse().unwrap());
            reals.push(f64::from_bits(next()));
        }
        let integers: Vec<i64> = [0, 1, -1, 9_999, 10_000, i64::MAX, i64::MIN]
            .into_iter()
            .chain((0..5_000).map(|_| next().cast_signed()))
            .collect();
        for limit in limits {
            for value in reals.iter().copied().filter(|value| value.is_finite()) {
                let mut out = Vec::new();
                if Scaled::of_real(value).and_then(|short| short.put(limit, &mut out)).is_some() {
                    assert_eq!(Some(out), by_digits(&Spelled::shortest(value), limit), "{value:?} {limit:?}");
                }
            }
            for value in integers.iter().copied() {
                let mut out = Vec::new();
                if Scaled::of_integer(value).put(limit, &mut out).is_some() {
                    assert_eq!(Some(out), by_digits(&Spelled::integer(value), limit), "{value} {limit:?}");
                }
            }
        }
        assert!(
            Scaled::of_real(12.34).is_some() && Scaled::of_real(-0.25).is_some(),
            "the short way is taken"
        );
    }

    fn limited(precision: u16, scale: i16) -> Type {
        Type::Numeric(Some(NumericLimit { precision, scale }))
    }

    #[test]
    fn numbers_without_a_limit_keep_every_digit() {
        let any = Type::Numeric(None);
        let kept = Fit::Kept;
        for (form, cell, expected) in [
            (Form::Native, Cell::Integer(0), (Fit::Exact, "0000000000000000")),
            (Form::Native, Cell::Integer(100_000), (Fit::Exact, "0001000100000000000a")),
            (Form::Native, Cell::Integer(10_000), (Fit::Exact, "00010001000000000001")),
            (Form::Native, Cell::Integer(i64::MAX), (Fit::Exact, "0005000400000000039a0d2c0170156516af")),
            (Form::Native, Cell::Real(1e-7), (Fit::Exact, "0001fffe00000007000a")),
            (Form::Native, Cell::Real(1e-30), (Fit::Exact, "0001fff80000001e0064")),
            (Form::Native, Cell::Real(1e23), (Fit::Exact, "000100050000000003e8")),
            (Form::Native, Cell::Real(100_000.0), (kept(Reason::Class), "0001000100000000000a")),
            (Form::Real, Cell::Real(100_000.0), (Fit::Exact, "0001000100000000000a")),
            (Form::Native, Cell::Real(-0.0), (kept(Reason::NegativeZero), "0000000000000000")),
            (Form::Native, Cell::Real(f64::INFINITY), (Fit::Exact, "00000000d0000020")),
            (Form::Native, Cell::Real(f64::NEG_INFINITY), (Fit::Exact, "00000000f0000020")),
            (Form::Digits, Cell::Text(b"10.50"), (Fit::Exact, "0002000000000002000a1388")),
            (Form::Digits, Cell::Text(b"0.10"), (Fit::Exact, "0001ffff0000000203e8")),
            (Form::Digits, Cell::Text(b"0.00"), (Fit::Exact, "0000000000000002")),
            (Form::Digits, Cell::Text(b"-12345678.0001"), (Fit::Exact, "000300014000000404d2162e0001")),
            (
                Form::Digits,
                Cell::Text(b"79228162514264337593543950335.0"),
                (Fit::Exact, "00080007000000010007240c0659059210f1172f112b014f"),
            ),
            (Form::Digits, Cell::Text(b"1e5"), (kept(Reason::Spelling), "0001000100000000000a")),
            (Form::Digits, Cell::Text(b"-0.00"), (kept(Reason::Spelling), "0000000000000002")),
            (Form::Native, Cell::Text(b"10.50"), (kept(Reason::Class), "0002000000000002000a1388")),
            (Form::Digits, Cell::Text(b"1,234.50"), (Fit::Lost(Reason::NotANumber), "")),
            (Form::Digits, Cell::Text(b"NaN"), (Fit::Lost(Reason::NotANumber), "")),
            (Form::Digits, Cell::Text(b"1e131072"), (Fit::Lost(Reason::OutOfRange), "")),
            (Form::Digits, Cell::Text(b"0e-16384"), (Fit::Lost(Reason::OutOfRange), "")),
            (Form::Native, Cell::Blob(b"1"), (Fit::Lost(Reason::Class), "")),
            (Form::OtherClass, Cell::Blob(b"10.50"), (Fit::Exact, "0002000000000002000a1388")),
            (Form::OtherClass, Cell::Blob(b"3"), (Fit::Exact, "00010000000000000003")),
            (Form::OtherClass, Cell::Blob(b"1E+5"), (kept(Reason::Spelling), "0001000100000000000a")),
            (Form::OtherClass, Cell::Text(b"10.50"), (kept(Reason::Class), "0002000000000002000a1388")),
            (Form::OtherClass, Cell::Integer(3), (kept(Reason::Class), "00010000000000000003")),
            (Form::OtherClass, Cell::Real(10.5), (kept(Reason::Class), "0002000000000001000a1388")),
            (Form::OtherClass, Cell::Blob(b"\x00\x01"), (Fit::Lost(Reason::NotANumber), "")),
        ] {
            check(&any, form, cell, expected);
        }
    }

    #[test]
    fn a_limit_rounds_half_away_from_zero_and_says_so() {
        let rounded = Fit::Kept(Reason::Rounded);
        let lost = |reason| (Fit::Lost(reason), "");
        let text = |text: &'static str| Cell::Text(text.as_bytes());
        for (ty, cell, expected) in [
            (limited(10, 2), Cell::Integer(3), (Fit::Exact, "00010000000000020003")),
            (limited(10, 2), text("99.995"), (rounded, "00010000000000020064")),
            (limited(10, 2), text("9999.995"), (rounded, "00010001000000020001")),
            (limited(10, 2), text("-0.005"), (rounded, "0001ffff400000020064")),
            (limited(10, 2), text("0.004"), (rounded, "0000000000000002")),
            (limited(10, 2), text("-0.004"), (rounded, "0000000000000002")),
            (limited(10, 2), Cell::Real(1.005), (rounded, "000200000000000200010064")),
            (limited(10, 2), text("99999999.99"), (Fit::Kept(Reason::Class), "0003000100000002270f270f26ac")),
            (limited(10, 2), text("99999999.995"), lost(Reason::OutOfRange)),
            (limited(10, 2), Cell::Integer(100_000_000), lost(Reason::OutOfRange)),
            (limited(10, 2), Cell::Real(f64::INFINITY), lost(Reason::Infinite)),
            (
                limited(20, 6),
                Cell::Real(12_345_678_901_234.123),
                (Fit::Exact, "0005000300000006000c0d801ed204d204ce"),
            ),
            (limited(20, 6), Cell::Real(-1e14), lost(Reason::OutOfRange)),
            (limited(3, 5), text("0.00009"), (Fit::Kept(Reason::Class), "0001fffe000000052328")),
            (limited(3, 5), text("0.01"), lost(Reason::OutOfRange)),
            (limited(5, -2), Cell::Integer(1250), (rounded, "00010000000000000514")),
            (limited(5, -2), Cell::Integer(99_950), (rounded, "0001000100000000000a")),
        ] {
            check(&ty, Form::Native, cell, expected);
        }
        check(&limited(10, 2), Form::Digits, text("10.50"), (Fit::Exact, "0002000000000002000a1388"));
        check(
            &limited(10, 2),
            Form::Digits,
            text("10.5"),
            (Fit::Kept(Reason::Spelling), "0002000000000002000a1388"),
        );
    }

    #[test]
    fn the_longest_numbers_cross() {
        let longest = format!("{}.{}", "9".repeat(131_072), "1".repeat(16_383));
        let (fit, _) = crossing(&Type::Numeric(None), Form::Digits, Cell::Text(longest.as_bytes()));
        assert_eq!(fit, Fit::Exact);
    }

    #[test]
    fn bytes_that_no_numeric_has_are_refused() {
        let mut scratch = Vec::new();
        let infinite = [0, 0, 0, 0, 0xD0, 0, 0, 0x20];
        assert_eq!(decode(Form::Native, &infinite, &mut scratch), Ok(Cell::Real(f64::INFINITY)));
        for bytes in [&[][..], &[0; 7], &[0, 1, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0xC0, 0, 0, 0]] {
            assert_eq!(decode(Form::Native, bytes, &mut scratch), Err(Malformed("numeric")), "{bytes:?}");
        }
    }
}
