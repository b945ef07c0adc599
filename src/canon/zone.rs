//! The zone in which a source writes naive times: UTC, a fixed offset, or a place with its history of offsets.
//!
//! It never reads the machine's own zone: the operator states the source's, and UTC is the default.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::OffsetName;
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Zone {
    #[default]
    Utc,
    /// Seconds east of Greenwich.
    Fixed(i32),
    Named(chrono_tz::Tz),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no zone: write UTC, an offset such as +02:00, or a name of the time zone database such as Europe/Paris"
)]
pub struct UnknownZone(String);

/// The Unix seconds of the years 1 to 9999. Zone rules say nothing beyond, so the offsets at the edges hold there.
const RULED: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const DAY_SECONDS: i64 = 86_400;

impl Zone {
    /// Seconds to add to the Unix time `utc` to get the local wall clock.
    pub fn offset_of_utc(self, utc: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(seconds) => seconds,
            Zone::Named(tz) => tz.offset_from_utc_datetime(&naive(utc)).fix().local_minus_utc(),
        }
    }

    /// What the zone is called at the Unix time `utc`, where it has letters for that.
    pub fn abbreviation(self, utc: i64) -> Option<String> {
        match self {
            Zone::Utc => Some("UTC".to_owned()),
            Zone::Fixed(_) => None,
            Zone::Named(tz) => tz.offset_from_utc_datetime(&naive(utc)).abbreviation().map(str::to_owned),
        }
    }

    /// Seconds to subtract from the wall clock `local` (counted as if it were Unix time) to get the Unix time.
    ///
    /// Of a wall clock that was shown twice the earlier instant is meant. One that was never shown, because the clocks were put
    /// forward, is read with the offset from before, as PostgreSQL, Java and Python do; it does not come back from that instant.
    pub fn offset_of_local(self, local: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(seconds) => seconds,
            Zone::Named(tz) => match tz.offset_from_local_datetime(&naive(local)) {
                chrono::LocalResult::Single(offset) => offset.fix().local_minus_utc(),
                chrono::LocalResult::Ambiguous(one, other) => {
                    one.fix().local_minus_utc().max(other.fix().local_minus_utc())
                }
                chrono::LocalResult::None => self.offset_of_utc(local.saturating_sub(DAY_SECONDS)),
            },
        }
    }
}

fn naive(seconds: i64) -> chrono::NaiveDateTime {
    let seconds = seconds.clamp(*RULED.start(), *RULED.end());
    DateTime::from_timestamp(seconds, 0).expect("years 1 to 9999 are within chrono's calendar").naive_utc()
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Zone, UnknownZone> {
        if text.eq_ignore_ascii_case("utc") {
            return Ok(Zone::Utc);
        }
        let named = || text.parse().ok().map(Zone::Named);
        offset(text.as_bytes()).map(Zone::Fixed).or_else(named).ok_or_else(|| UnknownZone(text.to_owned()))
    }
}

/// `+hh:mm` or `-hh:mm`.
fn offset(text: &[u8]) -> Option<i32> {
    let [sign, digits @ ..] = text else { return None };
    let [h1, h2, b':', m1, m2] = digits else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(10).and_then(|digit| i32::try_from(digit).ok());
    let hours = digit(h1)? * 10 + digit(h2)?;
    let minutes = digit(m1)? * 10 + digit(m2)?;
    if hours > 15 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Zone::Utc => f.write_str("UTC"),
            Zone::Fixed(seconds) => {
                let sign = if *seconds < 0 { '-' } else { '+' };
                let minutes = seconds.abs() / 60;
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Zone::Named(tz) => f.write_str(tz.name()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_read_and_shown_alike() {
        for text in ["UTC", "+02:00", "-05:30", "+00:00", "Europe/Paris", "Etc/UTC"] {
            assert_eq!(text.parse::<Zone>().unwrap().to_string(), text);
        }
        for text in ["", "Paris", "+2", "+16:00", "02:00", "+02:60", "local", "+0200", "é2:00"] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
        let error = "Paris".parse::<Zone>().unwrap_err().to_string();
        assert!(error.starts_with("\"Paris\" names no zone"), "{error}");
    }

    #[test]
    fn offsets_follow_the_clock_changes() {
        let paris: Zone = "Europe/Paris".parse().unwrap();
        let winter = 1_709_208_855;
        assert_eq!(paris.offset_of_utc(winter), 3600);
        assert_eq!(paris.offset_of_local(winter + 3600), 3600);
        // 2024-03-31 02:30 never was.
        assert_eq!(paris.offset_of_local(1_711_852_200), 3600);
        // 2024-10-27 02:30 was twice; the first time was summer time.
        assert_eq!(paris.offset_of_local(1_729_996_200), 7200);
        // The mean solar time before standard time, with seconds.
        assert_eq!(paris.offset_of_utc(-3_000_000_000), 561);
        for far in [i64::MIN, i64::MAX] {
            paris.offset_of_utc(far);
            paris.offset_of_local(far);
        }
    }
}
