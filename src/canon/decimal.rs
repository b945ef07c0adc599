//! Decimal numbers as text: the one grammar for numbers written as TEXT, and the spelling of INTEGER and REAL.
//!
//! A REAL is always spelled by its shortest digits that read back as the same 64 bits, never by a fixed number of them.

use super::form::Trim;
use std::fmt::{self, Write};

/// A number as it was written: `[-]whole[.fraction][e exponent]`, digits untouched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal<'a> {
    pub negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
    /// The text had an `e`.
    scientific: bool,
}

/// A number spelled on the stack; every INTEGER and REAL fits.
pub(super) struct Spelled {
    bytes: [u8; 32],
    length: usize,
}

/// What SQLite's `quote()` writes for an infinite REAL, and reads back as one; `Inf` would stay a text.
const INFINITY: &str = "9.0e+999";

/// An exponent beyond this is the same for every type: out of range, or nothing but zeros.
const EXPONENT_MAX: i64 = 1_000_000_000;

impl<'a> Decimal<'a> {
    /// Digits are required before the point, and after it where there is one; no spaces, no `+`, no separators.
    pub fn parse(text: &'a [u8]) -> Option<Decimal<'a>> {
        let (negative, rest) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, rest) = split_digits(rest)?;
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => split_digits(rest)?,
            None => (&[][..], rest),
        };
        let exponent = match rest {
            [] => None,
            [b'e' | b'E', exponent @ ..] => Some(parse_exponent(exponent)?),
            _ => return None,
        };
        let scientific = exponent.is_some();
        Some(Decimal { negative, whole, fraction, exponent: exponent.unwrap_or(0), scientific })
    }

    /// The powers of ten of the first and last digits that are not zero; nothing for zero.
    pub fn span(&self) -> Option<(i64, i64)> {
        let digits = || self.whole.iter().chain(self.fraction);
        let first = digits().position(|digit| *digit != b'0')?;
        let last = self.len() - 1 - digits().rev().position(|digit| *digit != b'0')?;
        Some((self.top() - offset(first), self.top() - offset(last)))
    }

    /// The digit that stands for this power of ten; zero where none was written.
    pub fn digit(&self, power: i64) -> u8 {
        let digit = usize::try_from(self.top() - power).ok().and_then(|index| {
            self.whole.get(index).or_else(|| self.fraction.get(index.checked_sub(self.whole.len())?))
        });
        digit.map_or(0, |digit| digit - b'0')
    }

    /// Whether the text is what one would write for the value without zeros at its fraction's end.
    pub fn is_trimmed(&self, trim: Trim) -> bool {
        let fraction = match (trim, self.fraction) {
            (Trim::Bare, fraction) => fraction.last() != Some(&b'0'),
            (Trim::Point, [_]) => true,
            (Trim::Point, fraction) => fraction.last().is_some_and(|last| *last != b'0'),
        };
        fraction && self.is_plain(offset(self.fraction.len()))
    }

    /// The value as an integer without a sign, where it is one within 64 bits.
    pub fn to_u64(self) -> Option<u64> {
        let Some((high, low)) = self.span() else { return Some(0) };
        if low < 0 || high > 19 || self.negative {
            return None;
        }
        let mut digits = (0..=high).rev().map(|power| u64::from(self.digit(power)));
        digits.try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(digit))
    }

    /// Digits after the point once the exponent is written out.
    pub fn scale(&self) -> i64 {
        (offset(self.fraction.len()) - self.exponent).max(0)
    }

    /// The value as an integer, where it is one within 64 bits.
    pub fn to_i64(self) -> Option<i64> {
        let Some((high, low)) = self.span() else { return Some(0) };
        if low < 0 || high > 18 {
            return None;
        }
        let mut value = 0_i64;
        for power in (0..=high).rev() {
            let digit = i64::from(self.digit(power));
            let digit = if self.negative { -digit } else { digit };
            value = value.checked_mul(10)?.checked_add(digit)?;
        }
        Some(value)
    }

    pub fn has_fraction(&self) -> bool {
        self.span().is_some_and(|(_, low)| low < 0)
    }

    /// Whether the text is what one would write for the value with `scale` digits after the point.
    pub fn is_plain(&self, scale: i64) -> bool {
        let leading_zero = self.whole.len() > 1 && self.whole[0] == b'0';
        let negative_zero = self.negative && self.span().is_none();
        !self.scientific && !leading_zero && !negative_zero && offset(self.fraction.len()) == scale
    }

    /// The power of ten of the first digit written.
    fn top(&self) -> i64 {
        offset(self.whole.len()) - 1 + self.exponent
    }

    fn len(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }
}

impl Spelled {
    pub fn integer(value: i64) -> Spelled {
        Spelled::of(format_args!("{value}"))
    }

    pub fn unsigned(value: i64) -> Spelled {
        Spelled::of(format_args!("{}", value.cast_unsigned()))
    }

    /// The shortest digits, with an exponent: `1.5e0`, `-5e-324`; `inf` where infinite.
    pub fn shortest(value: f64) -> Spelled {
        Spelled::of(format_args!("{value:e}"))
    }

    /// The same of a float4, which takes fewer of them: `9.999e1`.
    fn shortest_of_float4(value: f32) -> Spelled {
        Spelled::of(format_args!("{value:e}"))
    }

    /// As SQLite prints a REAL, but with as many digits as it takes: `1.5`, `100.0`, `1.0e+20`.
    pub fn real(value: f64) -> Spelled {
        if value.is_infinite() {
            let sign = if value < 0.0 { "-" } else { "" };
            return Spelled::of(format_args!("{sign}{INFINITY}"));
        }
        let shortest = Spelled::shortest(value);
        let Some((mantissa, exponent)) = shortest.as_str().split_once('e') else { return shortest };
        let power: i32 = exponent.parse().expect("{:e} writes a number after the e");
        if (-4..=14).contains(&power) {
            return Spelled::of(format_args!("{value:?}"));
        }
        let point = if mantissa.contains('.') { "" } else { ".0" };
        let sign = if power < 0 { '-' } else { '+' };
        Spelled::of(format_args!("{mantissa}{point}e{sign}{:02}", power.abs()))
    }

    fn of(text: fmt::Arguments<'_>) -> Spelled {
        let mut spelled = Spelled { bytes: [0; 32], length: 0 };
        spelled.write_fmt(text).expect("every INTEGER and REAL takes at most 32 bytes");
        spelled
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self).expect("digits are ASCII")
    }
}

impl Write for Spelled {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl std::ops::Deref for Spelled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The INTEGER whose one spelling this text is.
pub(super) fn spelled_integer(text: &[u8]) -> Option<i64> {
    let value = std::str::from_utf8(text).ok()?.parse().ok()?;
    (*Spelled::integer(value) == *text).then_some(value)
}

/// The REAL whose one spelling this text is.
pub(super) fn spelled_real(text: &[u8]) -> Option<f64> {
    // Anything longer or with another first byte was not written by `Spelled::real`.
    let spellable = text.len() <= 32 && matches!(text.first(), Some(b'-' | b'0'..=b'9'));
    let value = std::str::from_utf8(text).ok().filter(|_| spellable)?.parse().ok()?;
    (*Spelled::real(value) == *text).then_some(value)
}

/// The REAL as an INTEGER, where it is one within 64 bits; -0.0 counts as 0.
pub(super) fn integral(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation)]
    // The range and the missing fraction are checked before it is used.
    (value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value)).then_some(value as i64)
}

/// The double that the shortest digits of a float4 name: 99.99, where its own bits are those of 99.98999786376953. Narrowed it is that
/// float4 again.
pub(super) fn named_by_shortest(value: f32) -> f64 {
    let named: f64 = Spelled::shortest_of_float4(value).as_str().parse().expect("{:e} writes a number");
    #[allow(clippy::cast_possible_truncation)] // Whether it is lossless is what is asked.
    let again = named as f32;
    if again.to_bits() == value.to_bits() { named } else { f64::from(value) }
}

/// The INTEGER as a REAL: the nearest one where 53 bits are too few.
pub(super) fn nearest_real(value: i64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // Callers compare with the integer they came from.
    let real = value as f64;
    real
}

fn split_digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    (length > 0).then(|| text.split_at(length))
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let ([_, ..], []) = split_digits(digits)? else { return None };
    let value = digits.iter().fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(EXPONENT_MAX)
    });
    Some(sign * value)
}

fn offset(length: usize) -> i64 {
    i64::try_from(length).expect("a length in memory is below 2^63")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_takes_digits_and_nothing_else() {
        for text in ["0", "-0", "10.50", "1e3", "1E-3", "1.5e+07", "00012"] {
            assert!(Decimal::parse(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "", "-", "+1", " 1", "1 ", ".5", "5.", "1e", "1e+", "1,5", "0x10", "Inf", "nan", "--1", "1e1.5",
            "1_0",
        ] {
            assert!(Decimal::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn integral_decimals_become_integers() {
        let value = |text: &str| Decimal::parse(text.as_bytes()).and_then(Decimal::to_i64);
        assert_eq!(value("9223372036854775807"), Some(i64::MAX));
        assert_eq!(value("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(value("9223372036854775808"), None);
        assert_eq!(value("1.50e2"), Some(150));
        assert_eq!(value("120e-1"), Some(12));
        assert_eq!(value("0e999999999999999999999"), Some(0));
        assert_eq!(value("1e99999999999999999999"), None);
        assert_eq!(value("1.5"), None);
    }

    #[test]
    fn reals_are_spelled_as_sqlite_prints_them_without_losing_digits() {
        let cases = [
            (1.0, "1.0"),
            (1.5, "1.5"),
            (-0.0, "-0.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e14, "100000000000000.0"),
            (1e15, "1.0e+15"),
            (999_999_999_999_999.9, "999999999999999.9"),
            (0.0001, "0.0001"),
            (0.00001, "1.0e-05"),
            (1.5e-7, "1.5e-07"),
            (1e23, "1.0e+23"),
            (5e-324, "5.0e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "9.0e+999"),
            (f64::NEG_INFINITY, "-9.0e+999"),
        ];
        for (value, text) in cases {
            assert_eq!(Spelled::real(value).as_str(), text);
            assert_eq!(spelled_real(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        for text in ["1", "1.50", "01.5", "1e20", "inf", "Inf", "nan", "", "1.0e+999", "+1.0", "1.0e20"] {
            assert_eq!(spelled_real(text.as_bytes()), None, "{text}");
        }
        for text in ["01", "+1", "-0", "1.0", "", "9223372036854775808"] {
            assert_eq!(spelled_integer(text.as_bytes()), None, "{text}");
        }
    }
}
