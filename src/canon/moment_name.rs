//! What a zone is called behind its offset, as Go's `time.String()` writes it: `+0200 CEST`, `-0300 -03`, `+0800 UTC+8`.
//!
//! The offset alone says what is meant; a name is part of the spelling, and nothing is ever read from it.

use super::zone::Zone;
use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZoneName {
    letters: [u8; ZoneName::LENGTH_MAX],
    /// A byte, for every form has room for a name.
    length: u8,
}

impl ZoneName {
    const LENGTH_MAX: usize = 15;
    /// Stands for the name that the column's zone has at each moment.
    pub const OWN: ZoneName = ZoneName { letters: [0; ZoneName::LENGTH_MAX], length: 0 };

    /// An abbreviation or another name of one word, or an offset where the zone has no name.
    pub fn read(word: &[u8]) -> Option<ZoneName> {
        let is_name = match word {
            [b'+' | b'-', digits @ ..] => {
                (2..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
            }
            [b'A'..=b'Z', rest @ ..] => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-/_:".contains(byte);
                !rest.is_empty() && rest.iter().all(is_part)
            }
            _ => false,
        };
        let mut name = ZoneName { length: u8::try_from(word.len()).ok()?, ..ZoneName::OWN };
        name.letters.get_mut(..word.len()).filter(|_| is_name)?.copy_from_slice(word);
        Some(name)
    }

    /// What Go calls a zone at an instant: one of the time zone database by its abbreviation there, any other by its offset.
    pub fn of(zone: Zone, unix_seconds: i64) -> ZoneName {
        let minutes = zone.offset_of_utc(unix_seconds) / 60;
        let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
        let (hours, minutes) = (minutes / 60, minutes % 60);
        let name = match (zone, zone.abbreviation(unix_seconds)) {
            (_, Some(abbreviation)) => abbreviation,
            (Zone::Named(_), None) if minutes == 0 => format!("{sign}{hours:02}"),
            (Zone::Utc | Zone::Fixed(_) | Zone::Named(_), None) => format!("{sign}{hours:02}{minutes:02}"),
        };
        ZoneName::read(name.as_bytes()).unwrap_or(ZoneName::OWN)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.letters[..usize::from(self.length)]
    }
}

/// What stands before Go's monotonic clock: ` m=+245.850218253` counts from the start of a process.
pub fn without_monotonic(text: &[u8]) -> &[u8] {
    let end = text.windows(3).rposition(|three| three == b" m=");
    end.map_or(text, |end| &text[..end])
}

impl fmt::Debug for ZoneName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_zone() {
        for name in ["UTC", "CEST", "ChST", "-03", "+0530", "UTC+8", "GMT-03:00", "Asia/Shanghai"] {
            assert_eq!(ZoneName::read(name.as_bytes()).unwrap().as_bytes(), name.as_bytes());
        }
        for word in ["", "Z", "aedt", "+1", "+05300", "+05:30", "m=+1", "UTC!", "A/Name/Too/Long/Indeed"] {
            assert_eq!(ZoneName::read(word.as_bytes()), None, "{word}");
        }
    }

    /// Go takes the abbreviations of the time zone database, and the digits of an offset that has no name.
    #[test]
    fn a_zone_has_the_name_that_go_gives_it() {
        let (winter, summer) = (1_704_067_200, 1_719_792_000);
        for (zone, at, name) in [
            ("UTC", winter, "UTC"),
            ("Etc/UTC", winter, "UTC"),
            ("+03:30", winter, "+0330"),
            ("-05:00", winter, "-0500"),
            ("Europe/Berlin", winter, "CET"),
            ("Europe/Berlin", summer, "CEST"),
            ("Asia/Kolkata", winter, "IST"),
            ("Asia/Kathmandu", winter, "+0545"),
            ("America/Sao_Paulo", winter, "-03"),
            ("Pacific/Guam", winter, "ChST"),
        ] {
            let zone: Zone = zone.parse().unwrap();
            let got = ZoneName::of(zone, at);
            assert_eq!(String::from_utf8_lossy(got.as_bytes()), name, "{zone}");
        }
    }
}
