//! Lengths of time: PostgreSQL's months, days and microseconds, from a count, a span of .NET, a datetime after 1970, or ISO 8601.
//!
//! The three parts are never exchanged for each other beyond what the form says: a day of a count is 24 hours, a month is no number
//! of days. Nothing is rounded: digits that do not fit are cut, and the cell goes to the ledger.

use super::epoch::{self, Rest};
use super::form::{Form, Hints, Unit, UnknownForm};
use super::formset::FormSet;
use super::interval_text::{put_dot_net, put_iso, read, since_1970};
use super::span::Span;
use super::{Fit, Malformed, Reason, Zone};
use crate::model::cell::{Cell, Class};
use crate::model::types::Type;
use std::fmt;
use std::str::FromStr;

/// How a column writes lengths of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duration {
    /// INTEGER microseconds, as Django does; whole days become days.
    Micros,
    /// INTEGER milliseconds; whole days become days.
    Millis,
    /// INTEGER seconds, REAL where broken; whole days become days.
    Seconds,
    /// INTEGER nanoseconds, as Go does; Go's durations know no days, so all are microseconds.
    Nanos,
    /// INTEGER days, REAL where broken, as Pony does.
    Days,
    /// TEXT `[-][d.]hh:mm:ss[.fffffff]` of .NET.
    DotNet,
    /// TEXT `1970-01-02 02:00:00.000000`: the date that far from 1970, as SQLAlchemy does.
    Since1970,
    /// TEXT `P1DT2H` of ISO 8601.
    Iso,
}

pub(super) fn encode(ty: &Type, form: Form, _zone: Zone, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let duration = Duration::of(form);
    let read = match cell {
        Cell::Null => return Fit::Null,
        Cell::Blob(_) => return Fit::Lost(Reason::Class),
        Cell::Integer(_) | Cell::Real(_) if !duration.counts() => return Fit::Lost(Reason::NoUnit),
        Cell::Integer(_) | Cell::Real(_) => duration.count(cell).ok_or(Reason::OutOfRange),
        Cell::Text(text) => read(text).ok_or(Reason::NotAnInterval),
    };
    let (span, rest) = match read {
        Ok(read) => read,
        Err(reason) => return Fit::Lost(reason),
    };
    let beyond = span.micros % grain(ty);
    let span = Span { micros: span.micros - beyond, ..span };
    span.put(out);
    let end = out.len();
    let fit = duration.judge(span, cell, out);
    out.truncate(end);
    match fit {
        // A large REAL may come back from what was left of it.
        Fit::Exact => Fit::Exact,
        _ if rest == Rest::Cut || beyond != 0 => Fit::Kept(Reason::Precision),
        fit => fit,
    }
}

pub(super) fn decode<'a>(
    _ty: &Type,
    form: Form,
    _zone: Zone,
    bytes: &[u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Cell<'a>, Malformed> {
    let span = Span::take(bytes).ok_or(Malformed("interval"))?;
    scratch.clear();
    Ok(match Duration::of(form).write(span, scratch) {
        Some(number) => number,
        None => Cell::Text(scratch),
    })
}

/// Whether the cell is ISO 8601 where the column writes another word: read by all, and a stranger among numbers to who counts them.
pub(super) fn is_iso_instead(form: Form, cell: Cell<'_>) -> bool {
    Duration::of(form) != Duration::Iso && matches!(cell, Cell::Text([b'P', ..]))
}

/// The forms under which this cell would cross exactly.
pub(super) fn forms(ty: &Type, cell: Cell<'_>, hints: &Hints) -> FormSet {
    let mut scratch = Vec::new();
    let mut exact = |duration: &Duration| {
        scratch.clear();
        encode(ty, Form::Duration(*duration), hints.zone, cell, &mut scratch) == Fit::Exact
    };
    let stated = |duration: &Duration| {
        let unit = if cell.class() == Class::Text { None } else { hints.unit };
        unit.is_none() || duration.unit() == unit
    };
    let durations = if cell.class() == Class::Real { &Duration::BROKEN[..] } else { &Duration::ALL };
    let durations =
        durations.iter().filter(|duration| stated(duration) && duration.tells(cell) && exact(duration));
    durations.map(|duration| Form::Duration(*duration)).collect()
}

/// The microseconds below which the column holds nothing.
fn grain(ty: &Type) -> i64 {
    match ty {
        Type::Interval(digits) => 10_i64.pow(6 - u32::from((*digits).min(6))),
        other => unreachable!("{} is no interval", other.sql()),
    }
}

/// Eleven years: one value in twenty-five of this size is a whole number of microseconds by chance.
const TELLING_DAYS: f64 = 4096.0;

impl Duration {
    pub const ALL: [Duration; 8] = [
        Duration::Micros,
        Duration::Millis,
        Duration::Seconds,
        Duration::Nanos,
        Duration::Days,
        Duration::DotNet,
        Duration::Since1970,
        Duration::Iso,
    ];

    /// Who breaks a unit breaks seconds (Python's `total_seconds()`); what is smaller is counted whole. Hours and minutes are no round
    /// numbers of days: a column of these tells itself from one of seconds.
    const BROKEN: [Duration; 5] =
        [Duration::Seconds, Duration::Millis, Duration::Micros, Duration::Nanos, Duration::Days];

    /// ISO 8601 where the column's form is none for lengths of time: it alone writes every interval.
    fn of(form: Form) -> Duration {
        match form {
            Form::Duration(duration) => duration,
            _ => Duration::Iso,
        }
    }

    pub(super) fn unit(self) -> Option<Unit> {
        match self {
            Duration::Micros => Some(Unit::Micros),
            Duration::Millis => Some(Unit::Millis),
            Duration::Seconds => Some(Unit::Seconds),
            Duration::Nanos => Some(Unit::Nanos),
            Duration::Days | Duration::DotNet | Duration::Since1970 | Duration::Iso => None,
        }
    }

    /// Whether it says something that the cell crosses exactly. A REAL of more days than that tells hardly more than microseconds apart:
    /// whatever was measured in seconds would come back from it.
    fn tells(self, cell: Cell<'_>) -> bool {
        !matches!(cell, Cell::Real(days) if self == Duration::Days && days.abs() > TELLING_DAYS)
    }

    /// Whether it is written as a number.
    pub fn counts(self) -> bool {
        self == Duration::Days || self.unit().is_some()
    }

    fn count(self, cell: Cell<'_>) -> Option<(Span, Rest)> {
        let count = match self {
            Duration::Days => epoch::count_days(cell)?,
            _ => epoch::count(self.unit()?, cell)?,
        };
        let micros = i64::try_from(count.micros).ok();
        let span = match self {
            Duration::Nanos => Span { micros: micros?, ..Span::default() },
            _ => Span::of_days(count.micros)?,
        };
        Some((span, count.rest))
    }

    fn judge(self, span: Span, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
        let start = out.len();
        let number = self.write(span, out);
        let back = number.unwrap_or(Cell::Text(&out[start..]));
        super::judged(back, cell)
    }

    /// The number that the form writes, or else the text that it appends. What the form cannot write is written as ISO 8601.
    fn write(self, span: Span, out: &mut Vec<u8>) -> Option<Cell<'static>> {
        if span.months == 0 {
            match self {
                Duration::Micros | Duration::Millis | Duration::Seconds | Duration::Nanos => {
                    let unit = self.unit().expect("these four count in units");
                    let number = epoch::number(unit, span.total());
                    if number.is_some() {
                        return number;
                    }
                }
                Duration::Days => {
                    let number = epoch::number_of_days(span.total());
                    if number.is_some() {
                        return number;
                    }
                }
                Duration::DotNet => {
                    put_dot_net(span.total(), out);
                    return None;
                }
                Duration::Since1970 => {
                    if let Some(written) = since_1970(span.total()) {
                        super::moment_text::put(&written, out);
                        return None;
                    }
                }
                Duration::Iso => {}
            }
        }
        put_iso(span, out);
        None
    }

    fn word(self) -> &'static str {
        match self {
            Duration::Micros => "duration-us",
            Duration::Millis => "duration-ms",
            Duration::Seconds => "duration-s",
            Duration::Nanos => "duration-ns",
            Duration::Days => "duration-days",
            Duration::DotNet => "duration-dotnet",
            Duration::Since1970 => "duration-since-1970",
            Duration::Iso => "duration-iso",
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl FromStr for Duration {
    type Err = UnknownForm;

    fn from_str(word: &str) -> Result<Duration, UnknownForm> {
        Duration::ALL.into_iter().find(|form| form.word() == word).ok_or_else(|| UnknownForm(word.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canon::calendar::DAY;

    const TY: Type = Type::Interval(6);

    /// Encodes, asserts the law, and gives microseconds, days and months.
    fn crossing(ty: &Type, duration: Duration, cell: Cell<'_>) -> (Fit, Option<(i64, i32, i32)>) {
        let form = Form::Duration(duration);
        let mut bytes = Vec::new();
        let fit = encode(ty, form, Zone::Utc, cell, &mut bytes);
        if let Fit::Lost(_) = fit {
            assert!(bytes.is_empty());
            return (fit, None);
        }
        let mut scratch = b"left over".to_vec();
        let back = decode(ty, form, Zone::Utc, &bytes, &mut scratch).unwrap();
        assert_eq!(fit == Fit::Exact, back == cell, "{duration} {cell:?} came back as {back:?}");
        let span = Span::take(&bytes).unwrap();
        (fit, Some((span.micros, span.days, span.months)))
    }

    #[test]
    fn counts_are_split_into_days_and_come_back() {
        for (duration, cell, span) in [
            (Duration::Micros, Cell::Integer(93_600_000_005), (7_200_000_005, 1, 0)),
            (Duration::Micros, Cell::Integer(-86_400_000_001), (86_399_999_999, -2, 0)),
            (Duration::Micros, Cell::Integer(8_639_913_600_000_000), (0, 99_999, 0)),
            (Duration::Micros, Cell::Integer(i64::MIN), (71_945_224_192, -106_751_992, 0)),
            (Duration::Millis, Cell::Integer(86_400_001), (1000, 1, 0)),
            (Duration::Seconds, Cell::Integer(-1), (86_399_000_000, -1, 0)),
            (Duration::Seconds, Cell::Real(1.5), (1_500_000, 0, 0)),
            (Duration::Nanos, Cell::Integer(90_000_000_000_000), (90_000_000_000, 0, 0)),
            (Duration::Days, Cell::Integer(-3), (0, -3, 0)),
            (Duration::Days, Cell::Real(20.0 / 24.0), (72_000_000_000, 0, 0)),
            (Duration::Days, Cell::Real(-1.5), (43_200_000_000, -2, 0)),
        ] {
            assert_eq!(crossing(&TY, duration, cell), (Fit::Exact, Some(span)), "{duration} {cell:?}");
        }
    }

    /// Pony's own expression, for lengths of every size that a REAL tells from each other by microseconds.
    #[test]
    fn days_that_pony_computes_come_back() {
        for micros in [1, 999_999, 1_000_001, 86_399_999_999, 604_799_123_457, 7_776_000_000_000 + 7] {
            for (days, seconds, rest) in [micros, -micros, micros * 31].map(|micros: i64| {
                (micros.div_euclid(DAY), micros.rem_euclid(DAY) / 1_000_000, micros.rem_euclid(1_000_000))
            }) {
                let [days_, seconds_, rest_] =
                    [days, seconds, rest].map(|part| f64::from(i32::try_from(part).unwrap()));
                let cell = Cell::Real(days_ + (seconds_ + rest_ / 1e6) / 86400.0);
                let span = (seconds * 1_000_000 + rest, i32::try_from(days).unwrap(), 0);
                assert_eq!(crossing(&TY, Duration::Days, cell), (Fit::Exact, Some(span)));
            }
        }
    }

    #[test]
    fn texts_of_each_library_come_back() {
        for (duration, text, span) in [
            (Duration::DotNet, "1.02:03:04.0000050", (7_384_000_005, 1, 0)),
            (Duration::DotNet, "-1.02:03:04.0000010", (-7_384_000_001, -1, 0)),
            (Duration::DotNet, "00:00:00", (0, 0, 0)),
            (Duration::DotNet, "10675199.02:48:05", (10_085_000_000, 10_675_199, 0)),
            (Duration::Since1970, "1970-01-02 02:00:00.000005", (7_200_000_005, 1, 0)),
            (Duration::Since1970, "1969-12-30 23:59:59.999999", (86_399_999_999, -2, 0)),
            (Duration::Iso, "P1Y2M3DT4H5M6.5S", (14_706_500_000, 3, 14)),
            (Duration::Iso, "PT26H", (93_600_000_000, 0, 0)),
            (Duration::Iso, "P1DT-0.000001S", (-1, 1, 0)),
            (Duration::Iso, "PT-26H-3M-1.5S", (-93_781_500_000, 0, 0)),
            (Duration::Iso, "PT0S", (0, 0, 0)),
            (Duration::Iso, "P-1M", (0, 0, -1)),
        ] {
            let cell = Cell::Text(text.as_bytes());
            assert_eq!(crossing(&TY, duration, cell), (Fit::Exact, Some(span)), "{duration} {text}");
        }
    }

    #[test]
    fn other_spellings_keep_the_value() {
        let class = Fit::Kept(Reason::Class);
        let spelling = Fit::Kept(Reason::Spelling);
        let precision = Fit::Kept(Reason::Precision);
        for (duration, text, fit, span) in [
            (Duration::DotNet, "1.02:03:04.0000005", precision, (7_384_000_000, 1, 0)),
            (Duration::DotNet, "00:00:01.5", spelling, (1_500_000, 0, 0)),
            (Duration::DotNet, "0.00:00:01", spelling, (1_000_000, 0, 0)),
            (Duration::DotNet, "-00:00:00", spelling, (0, 0, 0)),
            (Duration::Micros, "P1D", class, (0, 1, 0)),
            (Duration::Iso, "P2W", spelling, (0, 14, 0)),
            (Duration::Iso, "P1DT02H00M00S", spelling, (7_200_000_000, 1, 0)),
            (Duration::Iso, "-PT5M", spelling, (-300_000_000, 0, 0)),
            (Duration::Iso, "PT0.0000019S", precision, (1, 0, 0)),
            (Duration::Since1970, "1970-01-01 00:00:01", spelling, (1_000_000, 0, 0)),
        ] {
            let cell = Cell::Text(text.as_bytes());
            assert_eq!(crossing(&TY, duration, cell), (fit, Some(span)), "{duration} {text}");
        }
        let second = Type::Interval(0);
        let cut = crossing(&second, Duration::DotNet, Cell::Text(b"00:00:01.5000000"));
        assert_eq!(cut, (precision, Some((1_000_000, 0, 0))));
    }

    #[test]
    fn a_real_that_comes_back_from_fewer_digits_is_exact() {
        let large = Cell::Real(146_704_800_365_778.78);
        let (fit, _) = crossing(&Type::Interval(2), Duration::Seconds, large);
        assert_eq!(fit, Fit::Exact);
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "P1DT",
            "P1",
            "P1H",
            "PT1D",
            "P1M1Y",
            "P1.5D",
            "PT1.5H",
            "P1Y1Y",
            "PT1.S",
            "PT.5S",
            "P--1D",
            "P1D ",
            "1 day",
            "5",
            "24:00:00",
            "1:00:00",
            "00:60:00",
            "00:00:60",
            "00:00",
            "1.2.03:04:05",
            ".01:02:03",
            "00:00:00.12345678",
            "--01:00:00",
            "99999999999.00:00:00",
            "P99999999999D",
            "PT99999999999999999999S",
            "1970-01-01",
            "1970-01-01 00:00:00Z",
            "infinity",
        ] {
            let fit = crossing(&TY, Duration::Iso, Cell::Text(text.as_bytes())).0;
            assert_eq!(fit, Fit::Lost(Reason::NotAnInterval), "{text:?}");
        }
        for (duration, cell, reason) in [
            (Duration::Iso, Cell::Integer(1), Reason::NoUnit),
            (Duration::DotNet, Cell::Real(1.5), Reason::NoUnit),
            (Duration::Micros, Cell::Blob(b"1"), Reason::Class),
            (Duration::Seconds, Cell::Integer(i64::MAX), Reason::OutOfRange),
            (Duration::Seconds, Cell::Real(f64::INFINITY), Reason::OutOfRange),
            (Duration::Days, Cell::Integer(i64::MAX), Reason::OutOfRange),
            (Duration::Days, Cell::Real(1e300), Reason::OutOfRange),
            (Duration::Days, Cell::Real(f64::NEG_INFINITY), Reason::OutOfRange),
        ] {
            assert_eq!(crossing(&TY, duration, cell).0, Fit::Lost(reason), "{duration} {cell:?}");
        }
    }

    #[test]
    fn what_a_form_cannot_write_is_written_as_iso() {
        let mut bytes = Vec::new();
        Span { months: 1, days: -1, micros: 500_000 }.put(&mut bytes);
        for duration in Duration::ALL {
            let mut scratch = Vec::new();
            let back = decode(&TY, Form::Duration(duration), Zone::Utc, &bytes, &mut scratch).unwrap();
            assert_eq!(back, Cell::Text(b"P1M-1DT0.5S"), "{duration}");
        }
        assert!(decode(&TY, Form::Native, Zone::Utc, b"short", &mut Vec::new()).is_err());
    }

    #[test]
    fn forms_are_those_that_carry_the_cell() {
        let forms = |cell, unit| {
            let hints = Hints { unit, ..Hints::default() };
            forms(&TY, cell, &hints).into_iter().map(|form| form.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(forms(Cell::Text(b"PT0S"), None), "duration-iso");
        assert_eq!(forms(Cell::Text(b"00:00:00"), None), "duration-dotnet");
        assert_eq!(forms(Cell::Integer(7), None), "duration-us duration-ms duration-s duration-days");
        assert_eq!(forms(Cell::Real(5.0 / 6.0), None), "duration-days");
        assert_eq!(forms(Cell::Real(401.5), None), "duration-s duration-ms duration-days");
        assert_eq!(forms(Cell::Real(86_401.5), None), "duration-s duration-ms");
        assert_eq!(forms(Cell::Integer(7000), Some(Unit::Nanos)), "duration-ns");
        assert_eq!(forms(Cell::Text(b"PT0S"), Some(Unit::Nanos)), "duration-iso");
        assert_eq!(forms(Cell::Null, None), "");
    }

    #[test]
    fn every_word_names_one_duration() {
        for duration in Duration::ALL {
            assert_eq!(duration.to_string().parse::<Duration>().unwrap(), duration);
        }
    }
}
