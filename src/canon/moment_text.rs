//! Date and time as text: one strict grammar to read it, and the forms in which sources write it.
//!
//! `Y-m-d`, `H:M[:S[.f]]`, or both with a space or `T` between, then `[ ](Z|+hh[[:]mm])`, ` UTC`, or ` +hhmm` and a zone's name; or all of
//! date and clock without anything between, `YmdHMS[.f]`, as MediaWiki and the databases of its time have it, and the date alone, `Ymd`, as
//! GnuCash has it. Nothing else is a moment: no words, no year 0, no day that is not in its month, no second 60. Nothing is rounded here.

use super::calendar::{self, DAY, HOUR, MINUTE, SECOND};
use super::moment_name::ZoneName;

/// How a column's text spells date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    pub shape: Shape,
    pub separator: Separator,
    pub clock: Clock,
    pub suffix: Option<Suffix>,
}

/// Which of date and time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `2024-02-29` or `20240229`; in a timestamp column as long as the clock shows midnight.
    Date,
    /// `13:14:15`.
    Clock,
    /// `2024-02-29 13:14:15`; in a date column the clock shows midnight.
    DateClock,
    /// In a time column: `2000-01-01 13:14:15`.
    ClockOn2000,
    /// In a time column: `1970-01-01 13:14:15`.
    ClockOn1970,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Separator {
    Space,
    T,
    /// Nor between the parts of date and clock: `20240229131415`. Never with a zone.
    Nothing,
}

/// How seconds and their fraction are written. Where the digits would not hold the microseconds, six are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// Always so many digits, 0 to 9.
    Fixed(u8),
    /// So many digits, or none for a whole second.
    UnlessZero(u8),
    /// No trailing zeros, none for a whole second.
    Trimmed,
    /// No trailing zeros, but one digit always: `13:14:15.0`.
    TrimmedToOne,
    /// Three or six digits, none for a whole second.
    Groups,
    /// As `Groups`, and for a whole minute no seconds either.
    Shortest,
}

/// The zone that is written behind the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suffix {
    pub gap: Gap,
    pub style: Style,
    pub offset: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gap {
    Tight,
    Spaced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// `Z`, for an offset of zero only.
    Z,
    /// `UTC` behind a space, for an offset of zero only: Ruby's `Time#to_s` and Rust's chrono.
    Utc,
    /// `+02:00`
    Colon,
    /// `+0200`
    Basic,
    /// `+02`; as `Colon` where the offset is no whole hour.
    Hours,
    /// As `Z` where the offset is zero, and else as `Colon`: RFC 3339 as Go and Java write it. Never of a fixed offset.
    ZOrColon,
    /// `+0200 CEST`, as Go's `time.String()` has it.
    Named(ZoneName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offset {
    /// The same in every value: seconds east of Greenwich.
    Fixed(i32),
    /// The one that the column's zone has at that moment.
    Local,
}

/// What one text says, feature by feature: two texts are equal exactly when these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Days since 2000-01-01.
    pub day: Option<i64>,
    pub clock: Option<Reading>,
    /// `Space` where date and clock do not both stand there, but for a date that is written without any.
    pub separator: Separator,
    pub suffix: Option<Zoned>,
    pub spelling: Spelling,
}

/// What the clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Of the day; a whole day for `24:00:00`.
    pub micros: i64,
    /// Beyond the microseconds.
    pub nanos: i64,
    pub face: Face,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    Minutes,
    /// With so many digits of the fraction.
    Seconds(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zoned {
    pub gap: Gap,
    pub style: Style,
    pub seconds: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `put` gives it back.
    Plain,
    /// Understood, but written by no form: `-00:00`.
    Foreign,
    /// Beside the time stands what another clock shows, which no column keeps: the monotonic one of Go's `time.Now().String()`.
    Clocked,
}

impl Moment {
    pub const DATE: Moment =
        Moment { shape: Shape::Date, separator: Separator::Space, clock: Clock::Fixed(0), suffix: None };
    pub const DENSE_DATE: Moment = Moment { separator: Separator::Nothing, ..Moment::DATE };

    /// Without separators: MediaWiki's whole seconds, Roundup's three digits behind them.
    pub const fn dense(clock: Clock) -> Moment {
        Moment { shape: Shape::DateClock, separator: Separator::Nothing, clock, suffix: None }
    }
}

impl Clock {
    /// Whether it says how many digits a fraction has.
    pub(super) fn counts_digits(self) -> bool {
        matches!(self, Clock::Fixed(_) | Clock::UnlessZero(_))
    }

    /// How this clock spells a reading.
    pub(super) fn face(self, micros: i64) -> Face {
        let fraction = micros % SECOND;
        let digits = match self {
            Clock::Shortest if micros % MINUTE == 0 => return Face::Minutes,
            Clock::Fixed(digits) => digits,
            Clock::UnlessZero(_) | Clock::Trimmed | Clock::Groups | Clock::Shortest if fraction == 0 => 0,
            Clock::UnlessZero(digits) => digits,
            Clock::Trimmed => least_digits(fraction),
            Clock::TrimmedToOne => least_digits(fraction).max(1),
            Clock::Groups | Clock::Shortest => least_digits(fraction).next_multiple_of(3),
        };
        Face::Seconds(if digits < least_digits(fraction) { 6 } else { digits })
    }
}

fn least_digits(fraction: i64) -> u8 {
    match fraction {
        0 => 0,
        f if f % 100_000 == 0 => 1,
        f if f % 10_000 == 0 => 2,
        f if f % 1000 == 0 => 3,
        f if f % 100 == 0 => 4,
        f if f % 10 == 0 => 5,
        _ => 6,
    }
}

impl Suffix {
    /// The suffix for an offset, as this one spells it.
    pub(super) fn zoned(self, seconds: i32) -> Zoned {
        let style = match self.style {
            Style::Hours if seconds % 3600 != 0 => Style::Colon,
            Style::ZOrColon if seconds == 0 => Style::Z,
            Style::ZOrColon => Style::Colon,
            Style::Z | Style::Utc | Style::Colon | Style::Basic | Style::Hours | Style::Named(_) => {
                self.style
            }
        };
        Zoned { gap: self.gap, style, seconds }
    }
}

impl Style {
    /// In which styles each value may have the offset of its moment, and the name.
    pub(super) fn everywhere(self) -> impl Iterator<Item = Style> {
        let (one, other) = match self {
            Style::Z => (Style::ZOrColon, None),
            Style::Colon => (Style::Colon, Some(Style::ZOrColon)),
            Style::Named(_) => (Style::Named(ZoneName::OWN), None),
            Style::Basic | Style::Hours | Style::ZOrColon => (self, None),
            Style::Utc => (self, None),
        };
        std::iter::once(one).chain(other)
    }
}

/// Reads a text by the grammar; nothing where it is not of it.
pub(super) fn parse(text: &[u8]) -> Option<Written> {
    if let Some(spread) = spread_out(text) {
        let (day, rest) = date(&spread)?;
        let (reading, rest) = match rest {
            [] => (None, rest),
            _ => clock(rest).map(|(reading, rest)| (Some(reading), rest))?,
        };
        return rest.is_empty().then_some(Written {
            day: Some(day),
            clock: reading,
            separator: Separator::Nothing,
            suffix: None,
            spelling: Spelling::Plain,
        });
    }
    let (day, separator, rest) = match date(text) {
        Some((day, [])) => {
            let spelling = Spelling::Plain;
            return Some(Written {
                day: Some(day),
                clock: None,
                separator: Separator::Space,
                suffix: None,
                spelling,
            });
        }
        Some((day, [b' ', rest @ ..])) => (Some(day), Separator::Space, rest),
        Some((day, [b'T', rest @ ..])) => (Some(day), Separator::T, rest),
        Some(_) => return None,
        None => (None, Separator::Space, text),
    };
    let (reading, rest) = clock(rest)?;
    let (suffix, spelling) = suffix(rest)?;
    Some(Written { day, clock: Some(reading), separator, suffix, spelling })
}

/// What begins with fourteen digits, or is eight, with the separators that date and clock have between their parts.
fn spread_out(text: &[u8]) -> Option<Vec<u8>> {
    let (digits, rest) = text.split_at_checked(if text.len() == 8 { 8 } else { 14 })?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if let Some((year, [m1, m2, d1, d2])) = digits.split_at_checked(4) {
        return Some([year, &[b'-', *m1, *m2, b'-', *d1, *d2]].concat());
    }
    let [year, month, day, hour, minute, second] =
        [0..4, 4..6, 6..8, 8..10, 10..12, 12..14].map(|at| &digits[at]);
    Some([year, b"-", month, b"-", day, hour, b":", minute, b":", second, rest].concat())
}

fn date(text: &[u8]) -> Option<(i64, &[u8])> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else { return None };
    let year = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
    let month = two(*m1, *m2)?;
    let day = two(*d1, *d2)?;
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > calendar::days_in_month(year, month) {
        return None;
    }
    Some((calendar::day_of(year, month, day), rest))
}

fn clock(text: &[u8]) -> Option<(Reading, &[u8])> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else { return None };
    let (hours, minutes) = (two(*h1, *h2)?, two(*m1, *m2)?);
    let (seconds, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (Some(two(*s1, *s2)?), rest),
        [b':', ..] => return None,
        _ => (None, rest),
    };
    let (digits, nanos, rest) = match rest {
        [b'.', rest @ ..] if seconds.is_some() => fraction(rest)?,
        _ => (0, 0, rest),
    };
    let micros = hours * HOUR + minutes * MINUTE + seconds.unwrap_or(0) * SECOND + nanos / 1000;
    let nanos = nanos % 1000;
    let of_day = hours < 24 || (micros == DAY && nanos == 0);
    if !of_day || minutes > 59 || seconds > Some(59) {
        return None;
    }
    let face = if seconds.is_some() { Face::Seconds(digits) } else { Face::Minutes };
    Some((Reading { micros, nanos, face }, rest))
}

/// One to nine digits: how many, their value in nanoseconds, and what follows them.
pub(super) fn fraction(text: &[u8]) -> Option<(u8, i64, &[u8])> {
    let (mut digits, mut nanos, mut unit) = (0, 0, SECOND * 1000);
    let mut rest = text;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        if digits == 9 {
            return None;
        }
        unit /= 10;
        nanos += i64::from(digit - b'0') * unit;
        digits += 1;
        rest = after;
    }
    (digits > 0).then_some((digits, nanos, rest))
}

fn suffix(text: &[u8]) -> Option<(Option<Zoned>, Spelling)> {
    let (gap, text) = match text {
        [] => return Some((None, Spelling::Plain)),
        [b' ', rest @ ..] => (Gap::Spaced, rest),
        _ => (Gap::Tight, text),
    };
    let (sign, style, seconds, tail) = match text {
        [b'Z'] => return Some((Some(Zoned { gap, style: Style::Z, seconds: 0 }), Spelling::Plain)),
        b"UTC" if gap == Gap::Spaced => {
            return Some((Some(Zoned { gap, style: Style::Utc, seconds: 0 }), Spelling::Plain));
        }
        [sign, h1, h2, b':', m1, m2] => {
            (sign, Style::Colon, seconds(two(*h1, *h2)?, two(*m1, *m2)?)?, &[][..])
        }
        [sign, h1, h2] => (sign, Style::Hours, seconds(two(*h1, *h2)?, 0)?, &[][..]),
        [sign, h1, h2, m1, m2, tail @ ..] => {
            (sign, Style::Basic, seconds(two(*h1, *h2)?, two(*m1, *m2)?)?, tail)
        }
        _ => return None,
    };
    let (seconds, sign_of_zero) = match sign {
        b'+' => (seconds, Spelling::Plain),
        b'-' if seconds == 0 => (0, Spelling::Foreign),
        b'-' => (-seconds, Spelling::Plain),
        _ => return None,
    };
    let (style, spelling) = match tail {
        [] => (style, sign_of_zero),
        [b' ', tail @ ..] if gap == Gap::Spaced => {
            let (name, monotonic) = named(tail)?;
            (Style::Named(name), if monotonic { Spelling::Clocked } else { sign_of_zero })
        }
        _ => return None,
    };
    Some((Some(Zoned { gap, style, seconds }), spelling))
}

/// Reads a suffix that a form can write.
pub(super) fn zoned(text: &[u8]) -> Option<Zoned> {
    match suffix(text)? {
        (zoned, Spelling::Plain) => zoned,
        (_, Spelling::Foreign | Spelling::Clocked) => None,
    }
}

/// Seconds of an offset, as far as PostgreSQL knows offsets.
fn seconds(hours: i64, minutes: i64) -> Option<i32> {
    if hours > 15 || minutes > 59 {
        return None;
    }
    i32::try_from(hours * 3600 + minutes * 60).ok()
}

/// `AEDT`, `UTC`, `+0330`, and whether ` m=+245.850218253` follows.
fn named(tail: &[u8]) -> Option<(ZoneName, bool)> {
    let mut words = tail.split(|byte| *byte == b' ');
    let name = ZoneName::read(words.next()?)?;
    let Some(word) = words.next() else { return Some((name, false)) };
    let [b'm', b'=', b'+' | b'-', digits @ ..] = word else { return None };
    let is_number = !digits.is_empty() && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    (is_number && words.next().is_none()).then_some((name, true))
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Writes the text. Years that the grammar does not hold are written as PostgreSQL writes them.
pub(super) fn put(written: &Written, out: &mut Vec<u8>) {
    if let Written { day: Some(day), separator: Separator::Nothing, .. } = written {
        return put_dense(*day, written.clock, out);
    }
    let mut before_christ = false;
    if let Some(day) = written.day {
        let (year, month, day) = calendar::date_of(day);
        before_christ = year < 1;
        put_year(if before_christ { 1 - year } else { year }, out);
        out.push(b'-');
        put_two(month, out);
        out.push(b'-');
        put_two(day, out);
    }
    if let Some(reading) = written.clock {
        if written.day.is_some() {
            out.push(match written.separator {
                Separator::Space | Separator::Nothing => b' ',
                Separator::T => b'T',
            });
        }
        put_clock(reading, out);
    }
    if let Some(zoned) = written.suffix {
        put_zoned(zoned, out);
    }
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// The year has four digits: `Target::write` sees to it.
fn put_dense(day: i64, reading: Option<Reading>, out: &mut Vec<u8>) {
    let (year, month, day) = calendar::date_of(day);
    put_year(year, out);
    put_two(month, out);
    put_two(day, out);
    let mut clock = Vec::new();
    if let Some(reading) = reading {
        put_clock(reading, &mut clock);
    }
    out.extend(clock.into_iter().filter(|byte| *byte != b':'));
}

fn put_year(year: i64, out: &mut Vec<u8>) {
    if year > 9999 {
        out.extend_from_slice(year.to_string().as_bytes());
    } else {
        put_two(year / 100, out);
        put_two(year % 100, out);
    }
}

pub(super) fn put_clock(reading: Reading, out: &mut Vec<u8>) {
    let micros = reading.micros;
    put_two(micros / HOUR, out);
    out.push(b':');
    put_two(micros / MINUTE % 60, out);
    let Face::Seconds(digits) = reading.face else { return };
    out.push(b':');
    put_two(micros / SECOND % 60, out);
    if digits > 0 {
        out.push(b'.');
        let (start, fraction) = (out.len(), micros % SECOND);
        put_two(fraction / 10_000, out);
        put_two(fraction / 100 % 100, out);
        put_two(fraction % 100, out);
        out.resize(start + usize::from(digits), b'0');
    }
}

pub(super) fn put_zoned(zoned: Zoned, out: &mut Vec<u8>) {
    if zoned.gap == Gap::Spaced {
        out.push(b' ');
    }
    match zoned.style {
        Style::Z => return out.push(b'Z'),
        Style::Utc => return out.extend_from_slice(b"UTC"),
        Style::ZOrColon | Style::Colon | Style::Basic | Style::Hours | Style::Named(_) => {}
    }
    out.push(if zoned.seconds < 0 { b'-' } else { b'+' });
    let minutes = i64::from(zoned.seconds.abs() / 60);
    put_two(minutes / 60, out);
    match zoned.style {
        Style::Colon | Style::ZOrColon => out.push(b':'),
        Style::Basic | Style::Named(_) => {}
        Style::Z | Style::Utc | Style::Hours => return,
    }
    put_two(minutes % 60, out);
    if let Style::Named(name) = zoned.style {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
}

fn put_two(number: i64, out: &mut Vec<u8>) {
    let digit = |digit: i64| b'0' + u8::try_from(digit).expect("below ten");
    out.extend_from_slice(&[digit(number / 10), digit(number % 10)]);
}
