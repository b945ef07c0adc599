//! The short way to `numeric` for the usual numbers: integers, and REALs with at most eight decimals and fifteen digits.
//!
//! It gives the same bytes as the long way through digits in `numeric`, or nothing at all.

use crate::model::types::NumericLimit;

/// `value = unscaled / 10^scale`, with no trailing zero beyond the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scaled {
    pub unscaled: u64,
    pub scale: u8,
    negative: Sign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
const REAL_POWERS: [f64; 9] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
/// Two decimals of at most this many digits never stand for the same double.
const DIGITS_LIMIT: f64 = 1e15;
/// Groups of four digits before the point (a 64-bit integer has five) and after it.
const GROUPS: usize = 7;
const GROUPS_BEFORE_POINT: i16 = 5;

impl Scaled {
    pub fn of_integer(value: i64) -> Scaled {
        let negative = if value < 0 { Sign::Minus } else { Sign::Plus };
        Scaled { unscaled: value.unsigned_abs(), scale: 0, negative }
    }

    /// The 64 bits of an INTEGER as a number without a sign.
    pub fn of_unsigned(value: i64) -> Scaled {
        Scaled { unscaled: value.cast_unsigned(), scale: 0, negative: Sign::Plus }
    }

    /// The shortest decimal that reads back as this REAL, if it is short. A quotient of two exact doubles is rounded correctly, so
    /// equality with it is what reading the decimal would give; the first scale that fits has no digit to spare.
    pub fn of_real(value: f64) -> Option<Scaled> {
        let size = value.abs();
        if size == 0.0 {
            return None;
        }
        for (scale, power) in (0u8..).zip(REAL_POWERS) {
            let unscaled = (size * power).round();
            if unscaled >= DIGITS_LIMIT {
                return None;
            }
            if unscaled / power == size {
                let negative = if value < 0.0 { Sign::Minus } else { Sign::Plus };
                return Some(Scaled { unscaled: whole(unscaled), scale, negative });
            }
        }
        None
    }

    /// Writes the value as `numeric`, unless the column's limit would round or refuse it.
    pub fn put(self, limit: Option<NumericLimit>, out: &mut Vec<u8>) -> Option<()> {
        let scale = u16::from(self.scale);
        let shown = match limit {
            None => scale,
            Some(limit) => {
                let shown = u16::try_from(limit.scale).ok()?;
                let before_point = u32::from(limit.precision.checked_sub(shown)?);
                let fits = 10u64.checked_pow(before_point).is_none_or(|room| self.whole_part() < room);
                (scale <= shown && fits).then_some(shown)?
            }
        };
        let groups = self.groups();
        let first = groups.iter().position(|group| *group != 0);
        let last = groups.iter().rposition(|group| *group != 0);
        let (used, weight) = match (first, last) {
            (Some(first), Some(last)) => {
                (&groups[first..=last], GROUPS_BEFORE_POINT - 1 - i16::try_from(first).expect("one of seven"))
            }
            _ => (&groups[..0], 0),
        };
        let sign: u16 = match self.negative {
            Sign::Minus if !used.is_empty() => 0x4000,
            Sign::Minus | Sign::Plus => 0,
        };
        out.extend_from_slice(&u16::try_from(used.len()).expect("at most seven").to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&shown.to_be_bytes());
        for group in used {
            out.extend_from_slice(&group.to_be_bytes());
        }
        Some(())
    }

    fn whole_part(self) -> u64 {
        self.unscaled / POWERS[usize::from(self.scale)]
    }

    fn groups(self) -> [u16; GROUPS] {
        let power = POWERS[usize::from(self.scale)];
        let (mut whole, rest) = (self.unscaled / power, self.unscaled % power);
        let fraction = rest * POWERS[8 - usize::from(self.scale)];
        let four = |digits: u64| u16::try_from(digits % 10_000).expect("below ten thousand");
        let mut groups = [0; GROUPS];
        for group in groups[..5].iter_mut().rev() {
            *group = four(whole);
            whole /= 10_000;
        }
        (groups[5], groups[6]) = (four(fraction / 10_000), four(fraction));
        groups
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A rounded double from 0 to 10^15 is an integer of 64 bits.
fn whole(value: f64) -> u64 {
    value as u64
}
