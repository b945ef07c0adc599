//! PostgreSQL's interval: its three numbers, and the bytes that they stand in.

use super::calendar::DAY;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl Span {
    /// Whole days and a rest that is not negative, as Python divides.
    pub fn of_days(micros: i128) -> Option<Span> {
        let day = i128::from(DAY);
        let days = i32::try_from(micros.div_euclid(day)).ok()?;
        let micros = i64::try_from(micros.rem_euclid(day)).ok()?;
        Some(Span { months: 0, days, micros })
    }

    /// Microseconds, where days are 24 hours.
    pub fn total(self) -> i128 {
        i128::from(self.days) * i128::from(DAY) + i128::from(self.micros)
    }

    pub fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.micros.to_be_bytes());
        out.extend_from_slice(&self.days.to_be_bytes());
        out.extend_from_slice(&self.months.to_be_bytes());
    }

    pub fn take(bytes: &[u8]) -> Option<Span> {
        let (micros, rest) = bytes.split_first_chunk()?;
        let (days, rest) = rest.split_first_chunk()?;
        let months = rest.try_into().ok()?;
        Some(Span {
            micros: i64::from_be_bytes(*micros),
            days: i32::from_be_bytes(*days),
            months: i32::from_be_bytes(months),
        })
    }
}
