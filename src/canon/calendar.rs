//! The proleptic Gregorian calendar, counted as PostgreSQL counts it: days and microseconds since 2000-01-01.
//!
//! Arithmetic alone: it knows no text and no zones, and nothing here can overflow within PostgreSQL's range.

use std::ops::Range;

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// 1970-01-01 in days since 2000-01-01.
pub const UNIX_DAY: i64 = -10_957;
/// 1970-01-01 in microseconds since 2000-01-01.
pub const UNIX_MICROS: i64 = UNIX_DAY * DAY;
/// 1970-01-01 in seconds since 2000-01-01.
pub const UNIX_SECONDS: i64 = UNIX_DAY * 86_400;
/// 0001-01-01, where .NET counts its ticks from, in microseconds since 2000-01-01.
pub const YEAR_ONE_MICROS: i64 = -730_119 * DAY;

/// The days of the years of four digits: 0001-01-01 to 9999-12-31.
pub const FOUR_DIGITS: Range<i64> = -730_119..2_921_940;
/// The days that PostgreSQL's `date` holds: 4714-11-24 BC to 5874897-12-31.
pub const DATE_RANGE: Range<i64> = -2_451_545..2_145_031_949;
/// The microseconds that its timestamps hold: 4714-11-24 BC to 294276-12-31.
pub const TIMESTAMP_RANGE: Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Days from 2000-01-01 to a valid date; the year before year 1 is year 0.
pub fn day_of(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that a leap day ends one.
    let year = if month <= 2 { year - 1 } else { year };
    let cycle = year.div_euclid(400);
    let year_of_cycle = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    cycle * 146_097 + day_of_cycle - 719_468 + UNIX_DAY
}

/// Year, month and day of a number of days since 2000-01-01.
pub fn date_of(day: i64) -> (i64, i64, i64) {
    let day = day - UNIX_DAY + 719_468;
    let cycle = day.div_euclid(146_097);
    let day_of_cycle = day.rem_euclid(146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    (year, month, day)
}

pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landmarks_stand_where_postgres_has_them() {
        for (date, day) in [
            ((2000, 1, 1), 0),
            ((1970, 1, 1), UNIX_DAY),
            ((1, 1, 1), -730_119),
            ((2024, 2, 29), 8825),
            ((9999, 12, 31), 2_921_939),
            ((-4713, 11, 24), DATE_RANGE.start),
            ((5_874_897, 12, 31), DATE_RANGE.end - 1),
        ] {
            assert_eq!(day_of(date.0, date.1, date.2), day, "{date:?}");
            assert_eq!(date_of(day), date);
        }
        assert_eq!(day_of(-4713, 11, 24) * DAY, TIMESTAMP_RANGE.start);
        assert_eq!(day_of(294_277, 1, 1) * DAY, TIMESTAMP_RANGE.end);
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = (1899, 12, 31);
        for day in day_of(1899, 12, 31)..day_of(2301, 1, 1) {
            assert_eq!(date_of(day), expected);
            assert_eq!(day_of(expected.0, expected.1, expected.2), day);
            expected.2 += 1;
            if expected.2 > days_in_month(expected.0, expected.1) {
                expected = (expected.0, expected.1 + 1, 1);
            }
            if expected.1 > 12 {
                expected = (expected.0 + 1, 1, 1);
            }
        }
    }
}
