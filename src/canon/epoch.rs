//! Bare numbers that count time: whole or broken units on the cell's side, microseconds on ours.
//!
//! It knows no calendar and no zone: a count is as good for an instant as for a length of time. What lies beyond the microsecond is
//! cut from an INTEGER, towards the past, and rounded in a REAL; either is said.

use super::form::Unit;
use crate::model::cell::Cell;

/// Microseconds that a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub micros: i128,
    /// What lay beyond the microsecond.
    pub rest: Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    None,
    Cut,
}

/// 1970-01-01T00:00:00 in Julian days.
const UNIX_JULIAN: f64 = 2_440_587.5;
const DAY: f64 = 86_400e6;
const SECOND_MICROS: i128 = 1_000_000;
const DAY_MICROS: i128 = 86_400 * SECOND_MICROS;
/// More than PostgreSQL's intervals hold.
const DAYS_MAX: i128 = 1 << 40;

/// Reads a number; nothing where the cell is none, or is one that the unit does not count in.
pub(super) fn count(unit: Unit, cell: Cell<'_>) -> Option<Count> {
    match cell {
        Cell::Integer(value) => match unit {
            Unit::Julian => real(unit, float(i128::from(value))),
            Unit::Nanos | Unit::Ticks => {
                let (micros, rest) = (value.div_euclid(per_micro(unit)), value.rem_euclid(per_micro(unit)));
                let rest = if rest == 0 { Rest::None } else { Rest::Cut };
                Some(Count { micros: i128::from(micros), rest })
            }
            Unit::Seconds | Unit::Millis | Unit::Micros | Unit::RealSeconds => {
                Some(Count { micros: i128::from(value) * micros_per(unit), rest: Rest::None })
            }
        },
        Cell::Real(value) => real(unit, value),
        Cell::Null | Cell::Text(_) | Cell::Blob(_) => None,
    }
}

fn real(unit: Unit, value: f64) -> Option<Count> {
    let micros = match unit {
        // SQLite itself computes with whole milliseconds; a day number that is one is taken as that, free of the noise below it.
        Unit::Julian => {
            let micros = (value - UNIX_JULIAN) * DAY;
            let millis = (micros / 1000.0).round() * 1000.0;
            if (UNIX_JULIAN + millis / DAY).to_bits() == value.to_bits() { millis } else { micros }
        }
        Unit::Nanos => value / 1000.0,
        Unit::Ticks => value / 10.0,
        Unit::Seconds | Unit::Millis | Unit::Micros | Unit::RealSeconds => value * float(micros_per(unit)),
    };
    let micros = micros.round();
    let whole = whole(micros)?;
    let rest =
        if number(unit, whole).is_some_and(|back| is_same(back, value)) { Rest::None } else { Rest::Cut };
    Some(Count { micros: whole, rest })
}

/// Reads a length of time in days, whole or broken.
pub(super) fn count_days(cell: Cell<'_>) -> Option<Count> {
    match cell {
        Cell::Integer(value) => Some(Count { micros: i128::from(value) * DAY_MICROS, rest: Rest::None }),
        Cell::Real(value) => {
            let days = whole(value.trunc()).filter(|days| days.abs() < DAYS_MAX)?;
            let micros = days * DAY_MICROS + whole((value.fract() * DAY).round())?;
            let rest = if is_same(number_of_days(micros)?, value) { Rest::None } else { Rest::Cut };
            Some(Count { micros, rest })
        }
        Cell::Null | Cell::Text(_) | Cell::Blob(_) => None,
    }
}

/// INTEGER where the days are whole, else the REAL that Pony computes of days, seconds and microseconds, in its order: another one
/// may end in another bit.
pub(super) fn number_of_days(micros: i128) -> Option<Cell<'static>> {
    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    if rest == 0 {
        return Some(Cell::Integer(i64::try_from(days).ok()?));
    }
    let seconds = float(rest / SECOND_MICROS) + float(rest % SECOND_MICROS) / float(SECOND_MICROS);
    Some(Cell::Real(float(days) + seconds / 86_400.0))
}

fn is_same(back: Cell<'static>, value: f64) -> bool {
    match back {
        Cell::Real(back) => back.to_bits() == value.to_bits(),
        Cell::Integer(back) => float(i128::from(back)) == value,
        Cell::Null | Cell::Text(_) | Cell::Blob(_) => false,
    }
}

/// The number that counts these microseconds: INTEGER in whole units, REAL in broken ones. Nothing where 64 bits do not hold it.
pub(super) fn number(unit: Unit, micros: i128) -> Option<Cell<'static>> {
    match unit {
        Unit::Julian => Some(Cell::Real(UNIX_JULIAN + float(micros) / DAY)),
        Unit::RealSeconds => Some(Cell::Real(float(micros) / float(micros_per(unit)))),
        Unit::Nanos | Unit::Ticks => {
            Some(Cell::Integer(i64::try_from(micros * i128::from(per_micro(unit))).ok()?))
        }
        Unit::Seconds | Unit::Millis | Unit::Micros => {
            let unit = micros_per(unit);
            if micros % unit == 0 {
                Some(Cell::Integer(i64::try_from(micros / unit).ok()?))
            } else {
                Some(Cell::Real(float(micros) / float(unit)))
            }
        }
    }
}

fn micros_per(unit: Unit) -> i128 {
    match unit {
        Unit::Seconds | Unit::RealSeconds => 1_000_000,
        Unit::Millis => 1000,
        Unit::Micros => 1,
        Unit::Nanos | Unit::Ticks | Unit::Julian => unreachable!("{unit} is no whole number of microseconds"),
    }
}

fn per_micro(unit: Unit) -> i64 {
    match unit {
        Unit::Nanos => 1000,
        Unit::Ticks => 10,
        Unit::Seconds | Unit::RealSeconds | Unit::Millis | Unit::Micros | Unit::Julian => {
            unreachable!("{unit} is no fraction of a microsecond")
        }
    }
}

/// Rounds to the nearest double where there is none; callers compare what comes back with what was given.
#[allow(clippy::cast_precision_loss)]
fn float(value: i128) -> f64 {
    value as f64
}

/// A float without a fraction, where its integer is far within 128 bits.
#[allow(clippy::cast_possible_truncation)]
fn whole(value: f64) -> Option<i128> {
    // The guard keeps out infinities and whatever the cast would clamp.
    (value.abs() < 1e30).then_some(value as i128)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn units_are_counted_and_given_back() {
        for (unit, cell, micros) in [
            (Unit::Seconds, Cell::Integer(1_709_208_855), 1_709_208_855_000_000),
            (Unit::Seconds, Cell::Integer(-1), -1_000_000),
            (Unit::Seconds, Cell::Real(1_709_208_855.5), 1_709_208_855_500_000),
            (Unit::Seconds, Cell::Real(1_709_208_855.123_456), 1_709_208_855_123_456),
            (Unit::RealSeconds, Cell::Real(1_709_208_855.0), 1_709_208_855_000_000),
            (Unit::Millis, Cell::Integer(1_709_208_855_123), 1_709_208_855_123_000),
            (Unit::Millis, Cell::Real(0.5), 500),
            (Unit::Micros, Cell::Integer(i64::MIN), i128::from(i64::MIN)),
            (Unit::Nanos, Cell::Integer(1_709_208_855_123_456_000), 1_709_208_855_123_456),
            (Unit::Ticks, Cell::Integer(638_448_056_551_234_560), 63_844_805_655_123_456),
            (Unit::Julian, Cell::Real(2_440_587.5), 0),
            (Unit::Julian, Cell::Real(2_460_370.009_895_833), 1_709_208_855_000_000),
        ] {
            assert_eq!(count(unit, cell), Some(Count { micros, rest: Rest::None }), "{unit} {cell:?}");
            assert_eq!(number(unit, micros), Some(cell), "{unit} {cell:?}");
        }
    }

    #[test]
    fn what_lies_beyond_the_microsecond_is_cut_and_said() {
        for (unit, cell, micros) in [
            (Unit::Nanos, Cell::Integer(1_999), 1),
            (Unit::Nanos, Cell::Integer(-1), -1),
            (Unit::Ticks, Cell::Integer(19), 1),
            (Unit::Micros, Cell::Real(0.25), 0),
            (Unit::Seconds, Cell::Real(1_709_208_855.123_456_7), 1_709_208_855_123_457),
        ] {
            assert_eq!(count(unit, cell), Some(Count { micros, rest: Rest::Cut }), "{unit} {cell:?}");
        }
        for cell in [Cell::Real(f64::INFINITY), Cell::Real(1e300), Cell::Text(b"1"), Cell::Null] {
            assert_eq!(count(Unit::Seconds, cell), None, "{cell:?}");
        }
    }
}
