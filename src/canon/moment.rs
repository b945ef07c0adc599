//! Dates, times and timestamps: the wall clock or instant that a cell tells, as PostgreSQL counts it, and back.
//!
//! A text's meaning is read by `moment_text`'s grammar, a number's by `epoch`; this file places both in a column's type and zone. A
//! text crosses exactly when the form would write for the stored value just what the text says. Nothing is rounded: digits that do
//! not fit are cut, and the cell goes to the ledger.

pub use super::moment_text::Moment;

use super::calendar::{
    DATE_RANGE, DAY, FOUR_DIGITS, SECOND, TIMESTAMP_RANGE, UNIX_DAY, UNIX_MICROS, UNIX_SECONDS,
    YEAR_ONE_MICROS,
};
use super::epoch::{self, Rest};
use super::form::{Form, Hints, Unit};
use super::formset::FormSet;
use super::moment_name::ZoneName;
use super::moment_text::{
    Clock, Face, Offset, Reading, Separator, Shape, Spelling, Style, Suffix, Written, Zoned, parse, put,
};
use super::{Fit, Malformed, Reason, Zone, unread};
use crate::model::cell::Cell;
use crate::model::types::Type;

/// A column's type, and the microseconds below which its values hold nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    grain: i64,
}

/// Microseconds, by the digits of a second's fraction that a type keeps.
const GRAINS: [i64; 7] = [1_000_000, 100_000, 10_000, 1000, 100, 10, 1];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Date,
    Time,
    Timestamp,
    Timestamptz,
}

/// A value as the target counts it: days, or microseconds; with what had to be cut from it.
pub(super) struct Stored {
    pub(super) value: i64,
    rest: Rest,
}

pub fn encode(ty: &Type, form: Form, zone: Zone, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let target = Target::of(ty);
    match (cell, form) {
        (Cell::Null, _) => Fit::Null,
        // Whoever counts its times may mean something else by a word.
        (Cell::Text(text), _) => match unread::infinite_moment(ty, text).filter(|_| !form.counts()) {
            Some(bytes) => {
                out.extend_from_slice(&bytes);
                Fit::Exact
            }
            None => target.encode_text(form, zone, text, out),
        },
        (Cell::Integer(_) | Cell::Real(_), Form::Epoch(unit)) => target.encode_number(unit, zone, cell, out),
        (Cell::Integer(_) | Cell::Real(_), _) => Fit::Lost(Reason::NoUnit),
        (Cell::Blob(_), _) => Fit::Lost(Reason::Class),
    }
}

pub fn decode<'a>(
    ty: &Type,
    form: Form,
    zone: Zone,
    bytes: &[u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Cell<'a>, Malformed> {
    let target = Target::of(ty);
    let value = target.take(bytes)?;
    scratch.clear();
    if let Some(word) = target.infinity(value) {
        scratch.extend_from_slice(word);
        return Ok(Cell::Text(scratch));
    }
    if let Form::Epoch(unit) = form
        && let Some(number) = target.number(unit, zone, value)
    {
        return Ok(number);
    }
    put(&target.write(target.moment(form), zone, value), scratch);
    Ok(Cell::Text(scratch))
}

/// The forms under which this cell would cross exactly.
pub fn forms(ty: &Type, cell: Cell<'_>, hints: &Hints) -> FormSet {
    let target = Target::of(ty);
    match cell {
        Cell::Text(text) => target.moments(text, hints.zone),
        Cell::Integer(_) | Cell::Real(_) => match hints.unit {
            Some(unit) => target.epochs(&[unit], cell, hints.zone),
            None => target.epochs(target.units(), cell, hints.zone),
        },
        Cell::Null | Cell::Blob(_) => FormSet::EMPTY,
    }
}

/// What tells the forms of the two commonest texts, `Y-m-d` and `Y-m-d H:M:S`: two of one kind have the same forms, if both are
/// moments at all. `None` for every other text, and where a zone's clock makes its own rules.
pub fn kind_of_text(ty: &Type, text: &[u8], zone: Zone) -> Option<(u8, bool)> {
    let own_rules = matches!(zone, Zone::Named(_)) || Target::of(ty).kind == Kind::Time;
    match text {
        _ if own_rules => None,
        [_, _, _, _, b'-', _, _, b'-', _, _] => Some((0, false)),
        [_, _, _, _, b'-', _, _, b'-', _, _, separator, _, _, b':', _, _, b':', seconds @ ..]
            if seconds.len() == 2 =>
        {
            // Some writers leave out seconds that are zero.
            Some((*separator, seconds == b"00"))
        }
        _ => None,
    }
}

/// Whether a text is a moment that the type holds whole.
pub fn holds(ty: &Type, text: &[u8], zone: Zone) -> bool {
    let target = Target::of(ty);
    parse(text)
        .is_some_and(|written| matches!(target.store(&written, zone), Ok(Stored { rest: Rest::None, .. })))
}

impl Target {
    pub(super) fn of(ty: &Type) -> Target {
        let (kind, digits) = match ty {
            Type::Date => (Kind::Date, 6),
            Type::Time(digits) => (Kind::Time, *digits),
            Type::Timestamp(digits) => (Kind::Timestamp, *digits),
            Type::Timestamptz(digits) => (Kind::Timestamptz, *digits),
            other => unreachable!("{} is no type of date or time", other.sql()),
        };
        Target { kind, grain: GRAINS[usize::from(digits.min(6))] }
    }

    /// What of these microseconds the column does not hold; never negative, so that they are cut towards the past.
    fn beyond(self, micros: i64) -> i64 {
        // Most columns hold them all, and a division costs as much as all the rest.
        if self.grain == 1 { 0 } else { micros.rem_euclid(self.grain) }
    }

    /// The form in which texts are written: the column's, or the plainest of the type where the column's is none for text.
    fn moment(self, form: Form) -> Moment {
        match (form, self.kind) {
            (Form::Moment(moment), _) => moment,
            (_, Kind::Date) => Moment::DATE,
            (_, Kind::Time) => Moment { shape: Shape::Clock, clock: Clock::UnlessZero(6), ..Moment::DATE },
            (_, Kind::Timestamp | Kind::Timestamptz) => {
                Moment { shape: Shape::DateClock, clock: Clock::UnlessZero(6), ..Moment::DATE }
            }
        }
    }

    fn encode_text(self, form: Form, zone: Zone, text: &[u8], out: &mut Vec<u8>) -> Fit {
        let Some(written) = parse(text) else { return Fit::Lost(self.refusal()) };
        let stored = match self.store(&written, zone) {
            Ok(stored) => stored,
            Err(reason) => return Fit::Lost(reason),
        };
        self.put(stored.value, out);
        if stored.rest == Rest::Cut || written.spelling == Spelling::Clocked {
            return Fit::Kept(Reason::Precision);
        }
        // A value that the unit cannot count is given back as a text.
        if let Form::Epoch(unit) = form
            && self.number(unit, zone, stored.value).is_some()
        {
            return Fit::Kept(Reason::Class);
        }
        let back = self.write(self.moment(form), zone, stored.value);
        if back == written { Fit::Exact } else { Fit::Kept(self.difference(&written, &back)) }
    }

    fn encode_number(self, unit: Unit, zone: Zone, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
        let stored = match self.store_number(unit, zone, cell) {
            Ok(stored) => stored,
            Err(reason) => return Fit::Lost(reason),
        };
        self.put(stored.value, out);
        match self.number(unit, zone, stored.value) {
            Some(back) if back == cell => Fit::Exact,
            _ if stored.rest == Rest::Cut => Fit::Kept(Reason::Precision),
            Some(back) if back.class() != cell.class() => Fit::Kept(Reason::Class),
            Some(_) | None => Fit::Kept(Reason::Zone),
        }
    }

    /// The value that a text's moment has in this column.
    fn store(self, written: &Written, zone: Zone) -> Result<Stored, Reason> {
        let reading = written.clock.unwrap_or(Reading { micros: 0, nanos: 0, face: Face::Minutes });
        let beyond = self.beyond(reading.micros);
        let rest = if beyond == 0 && reading.nanos == 0 { Rest::None } else { Rest::Cut };
        let micros = reading.micros - beyond;
        let (Kind::Date | Kind::Timestamp | Kind::Timestamptz) = self.kind else {
            if written.separator == Separator::Nothing {
                return Err(Reason::NotATime);
            }
            let named = written.day.is_none_or(|day| day == UNIX_DAY || day == 0);
            return if named && written.clock.is_some() {
                Ok(Stored { value: micros, rest })
            } else {
                Err(Reason::NotATime)
            };
        };
        let day = written.day.filter(|_| reading.micros < DAY).ok_or(self.refusal())?;
        let wall = day * DAY + micros;
        let instant = |zoned: Zoned| wall - i64::from(zoned.seconds) * SECOND;
        let value = match (self.kind, written.suffix) {
            (Kind::Date, _) => {
                let rest = if reading.micros == 0 { rest } else { Rest::Cut };
                return Ok(Stored { value: day, rest });
            }
            (Kind::Timestamptz, Some(zoned)) => instant(zoned),
            (Kind::Timestamptz, None) => to_utc(wall, zone),
            (Kind::Timestamp, Some(zoned)) => to_wall(instant(zoned), zone),
            (Kind::Timestamp | Kind::Time, None) | (Kind::Time, Some(_)) => wall,
        };
        Ok(Stored { value, rest })
    }

    /// What a form writes for a value of this column.
    fn write(self, moment: Moment, zone: Zone, value: i64) -> Written {
        let utc = match self.kind {
            // The zone behind a date or a time of day is part of its spelling; the value beside it does not move.
            Kind::Date => to_utc(value.min(TIMESTAMP_RANGE.end / DAY) * DAY, zone),
            Kind::Time => to_utc(value + UNIX_MICROS, zone),
            Kind::Timestamp => to_utc(value, zone),
            Kind::Timestamptz => value,
        };
        let zoned =
            moment.suffix.map(|suffix| suffix.named_at(utc, zone).zoned(suffix.seconds_at(utc, zone)));
        let (day, micros) = match self.kind {
            Kind::Date => (value, 0),
            Kind::Time => (0, value),
            Kind::Timestamp | Kind::Timestamptz => {
                let local = match zoned {
                    Some(zoned) => utc + i64::from(zoned.seconds) * SECOND,
                    None if self.kind == Kind::Timestamp => value,
                    None => to_wall(utc, zone),
                };
                (local.div_euclid(DAY), local.rem_euclid(DAY))
            }
        };
        let bare = match moment.shape {
            Shape::Date => self.kind != Kind::Time && micros == 0,
            Shape::Clock | Shape::DateClock | Shape::ClockOn2000 | Shape::ClockOn1970 => false,
        };
        let spelling = Spelling::Plain;
        if bare {
            let dense = moment.separator == Separator::Nothing && FOUR_DIGITS.contains(&day);
            let separator = if dense { Separator::Nothing } else { Separator::Space };
            return Written { day: Some(day), clock: None, separator, suffix: None, spelling };
        }
        let clock = Some(Reading { micros, nanos: 0, face: moment.clock.face(micros) });
        let day = match (self.kind, moment.shape) {
            (Kind::Date | Kind::Timestamp | Kind::Timestamptz, _) => Some(day),
            (Kind::Time, Shape::ClockOn2000) => Some(0),
            (Kind::Time, Shape::ClockOn1970) => Some(UNIX_DAY),
            (Kind::Time, Shape::Date | Shape::Clock | Shape::DateClock) => None,
        };
        let separator = match (day, moment.separator) {
            (None, _) => Separator::Space,
            (Some(day), Separator::Nothing) if !FOUR_DIGITS.contains(&day) => Separator::Space,
            (Some(_), separator) => separator,
        };
        Written { day, clock, separator, suffix: zoned, spelling }
    }

    /// The value that a number counts to, where it lies in the column's range.
    pub(super) fn store_number(self, unit: Unit, zone: Zone, cell: Cell<'_>) -> Result<Stored, Reason> {
        let count = epoch::count(unit, cell).ok_or(Reason::OutOfRange)?;
        let micros = count.micros + i128::from(self.origin(unit));
        let within = |micros: &i64| TIMESTAMP_RANGE.contains(micros);
        let utc = i64::try_from(micros).ok().filter(within).ok_or(Reason::OutOfRange)?;
        let wall = to_wall(utc, zone);
        let value = match self.kind {
            Kind::Date => wall.div_euclid(DAY),
            Kind::Time if wall.div_euclid(DAY) == day_of_times(unit) => wall.rem_euclid(DAY),
            Kind::Time => return Err(Reason::NotATime),
            Kind::Timestamp => wall,
            Kind::Timestamptz => utc,
        };
        let beyond = match self.kind {
            Kind::Date => wall.rem_euclid(DAY),
            Kind::Time | Kind::Timestamp | Kind::Timestamptz => self.beyond(value),
        };
        let value = if self.kind == Kind::Date { value } else { value - beyond };
        if !self.range().contains(&value) {
            return Err(Reason::OutOfRange);
        }
        Ok(Stored { value, rest: if beyond == 0 { count.rest } else { Rest::Cut } })
    }

    /// The number that counts to a value; nothing where the unit cannot.
    pub(super) fn number(self, unit: Unit, zone: Zone, value: i64) -> Option<Cell<'static>> {
        let utc = match self.kind {
            Kind::Date if value >= TIMESTAMP_RANGE.end / DAY => return None,
            Kind::Date => to_utc(value * DAY, zone),
            Kind::Time => to_utc(value + day_of_times(unit) * DAY, zone),
            Kind::Timestamp => to_utc(value, zone),
            Kind::Timestamptz => value,
        };
        epoch::number(unit, i128::from(utc) - i128::from(self.origin(unit)))
    }

    /// Where a unit counts from, in microseconds since 2000-01-01.
    fn origin(self, unit: Unit) -> i64 {
        match (unit, self.kind) {
            (Unit::Ticks, Kind::Date | Kind::Timestamp | Kind::Timestamptz) => YEAR_ONE_MICROS,
            _ => UNIX_MICROS,
        }
    }

    fn moments(self, text: &[u8], zone: Zone) -> FormSet {
        let Some(written) = parse(text) else { return FormSet::EMPTY };
        let Ok(Stored { value, rest: Rest::None }) = self.store(&written, zone) else {
            return FormSet::EMPTY;
        };
        let shape = match (self.kind, written.day) {
            (Kind::Time, Some(0)) => Shape::ClockOn2000,
            (Kind::Time, Some(_)) => Shape::ClockOn1970,
            (_, None) => Shape::Clock,
            (_, Some(_)) if written.clock.is_none() => Shape::Date,
            (_, Some(_)) => Shape::DateClock,
        };
        let moment = |clock, suffix| Moment { shape, separator: written.separator, clock, suffix };
        let suffixes = |zoned: Zoned| {
            let suffix = move |style, offset| Suffix { gap: zoned.gap, style, offset };
            let has_offsets = zone != Zone::Utc && zoned.style != Style::Utc;
            let local = zoned.style.everywhere().filter(move |_| has_offsets);
            let fixed = |wanted: bool| wanted.then(|| suffix(zoned.style, Offset::Fixed(zoned.seconds)));
            // Whoever stated a zone has another offset in its other season; zero may be everywhere's.
            let is_zero = zoned.seconds == 0;
            let local = local.map(move |style| suffix(style, Offset::Local));
            fixed(is_zero).into_iter().chain(local).chain(fixed(!is_zero))
        };
        if written.separator == Separator::Nothing {
            let date = written.clock.is_none().then_some(Moment::DENSE_DATE);
            let clocks = clocks(&written).filter(|clock| date.is_none() && clock.counts_digits());
            let dense = date.into_iter().chain(clocks.map(Moment::dense));
            let dense = dense.filter(|dense| self.write(*dense, zone, value) == written);
            return dense.map(Form::Moment).collect();
        }
        clocks(&written)
            .flat_map(|clock| {
                let bare = written.suffix.is_none().then(|| moment(clock, None));
                let zoned = written.suffix.into_iter().flat_map(suffixes);
                bare.into_iter().chain(zoned.map(move |suffix| moment(clock, Some(suffix))))
            })
            .filter(|moment| self.write(*moment, zone, value) == written)
            .map(Form::Moment)
            .collect()
    }

    /// Why a text that tells another moment than the value, or the same in other words, does not come back.
    fn difference(self, written: &Written, back: &Written) -> Reason {
        let wall = |written: &Written| {
            let day = if self.kind == Kind::Time { None } else { written.day };
            (day, written.clock.map_or(0, |reading| reading.micros))
        };
        let offset = |written: &Written| written.suffix.map_or(0, |zoned| zoned.seconds);
        let moved = match self.kind {
            Kind::Date | Kind::Time => offset(written) != offset(back),
            Kind::Timestamp | Kind::Timestamptz => wall(written) != wall(back),
        };
        match (written.suffix, back.suffix) {
            _ if !moved => Reason::Spelling,
            (None, None) => Reason::Zone,
            (Some(_), _) | (None, Some(_)) => Reason::Offset,
        }
    }

    /// What a text is not.
    fn refusal(self) -> Reason {
        match self.kind {
            Kind::Date => Reason::NotADate,
            Kind::Time => Reason::NotATime,
            Kind::Timestamp | Kind::Timestamptz => Reason::NotATimestamp,
        }
    }

    fn range(self) -> std::ops::Range<i64> {
        match self.kind {
            Kind::Date => DATE_RANGE,
            Kind::Time => 0..DAY + 1,
            Kind::Timestamp | Kind::Timestamptz => TIMESTAMP_RANGE,
        }
    }

    fn infinity(self, value: i64) -> Option<&'static [u8]> {
        let (least, most) = match self.kind {
            Kind::Date => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Timestamp | Kind::Timestamptz => (i64::MIN, i64::MAX),
            Kind::Time => return None,
        };
        match value {
            value if value == most => Some(b"infinity"),
            value if value == least => Some(b"-infinity"),
            _ => None,
        }
    }

    fn put(self, value: i64, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Date => {
                let day = i32::try_from(value).expect("a date in range fits in 32 bits");
                out.extend_from_slice(&day.to_be_bytes());
            }
            Kind::Time | Kind::Timestamp | Kind::Timestamptz => out.extend_from_slice(&value.to_be_bytes()),
        }
    }

    fn take(self, bytes: &[u8]) -> Result<i64, Malformed> {
        let (value, name) = match self.kind {
            Kind::Date => (bytes.try_into().ok().map(|bytes| i64::from(i32::from_be_bytes(bytes))), "date"),
            Kind::Time => (bytes.try_into().ok().map(i64::from_be_bytes), "time"),
            Kind::Timestamp | Kind::Timestamptz => {
                (bytes.try_into().ok().map(i64::from_be_bytes), "timestamp")
            }
        };
        let known = |value: &i64| self.range().contains(value) || self.infinity(*value).is_some();
        value.filter(known).ok_or(Malformed(name))
    }
}

impl Suffix {
    /// The offset to write at an instant. Whole minutes, for more cannot be written.
    fn seconds_at(self, utc: i64, zone: Zone) -> i32 {
        match (self.style, self.offset) {
            (Style::Z | Style::Utc, _) => 0,
            (_, Offset::Fixed(seconds)) => seconds,
            (_, Offset::Local) => {
                let seconds = zone.offset_of_utc(unix_seconds(utc));
                seconds - seconds % 60
            }
        }
    }

    /// With the name that is to be written at an instant, if one is.
    fn named_at(self, utc: i64, zone: Zone) -> Suffix {
        match (self.style, self.offset) {
            (Style::Named(_), Offset::Local) => {
                Suffix { style: Style::Named(ZoneName::of(zone, unix_seconds(utc))), ..self }
            }
            _ => self,
        }
    }
}

/// The clocks that may have written a reading, the likeliest first. `H:M:S` alone writes what `UnlessZero(6)` writes: it is Python that
/// leaves six zeros out; three digits are written always, by SQLite and JavaScript. Beside a zone's name Go leaves out all zeros.
fn clocks(written: &Written) -> impl Iterator<Item = Clock> {
    let reading = written.clock;
    let named = written.suffix.is_some_and(|zoned| matches!(zoned.style, Style::Named(_)));
    let first = match reading.map(|reading| reading.face) {
        Some(Face::Seconds(digits)) if named => {
            [Some(Clock::Trimmed), (digits > 0).then_some(Clock::Fixed(digits))]
        }
        None => [Some(Moment::DATE.clock), None],
        Some(Face::Minutes) => [None, None],
        Some(Face::Seconds(0)) => [Some(Clock::UnlessZero(6)), Some(Clock::UnlessZero(3))],
        // What `Fixed(1)` writes exactly, `TrimmedToOne` does too, and the finer fractions that may follow.
        Some(Face::Seconds(1)) => [Some(Clock::UnlessZero(1)), None],
        Some(Face::Seconds(3)) => [Some(Clock::Fixed(3)), Some(Clock::UnlessZero(3))],
        Some(Face::Seconds(digits)) => [Some(Clock::UnlessZero(digits)), Some(Clock::Fixed(digits))],
    };
    let common = [Clock::Trimmed, Clock::Groups, Clock::Shortest, Clock::TrimmedToOne];
    let common = common.into_iter().filter(move |_| reading.is_some() && !named);
    first.into_iter().flatten().chain(common)
}

/// The day on which a unit's times of day are counted: SQLite's Julian ones are of 2000-01-01, all others of 1970-01-01.
fn day_of_times(unit: Unit) -> i64 {
    match unit {
        Unit::Julian => 0,
        Unit::Seconds | Unit::Millis | Unit::Micros | Unit::Nanos | Unit::Ticks | Unit::RealSeconds => {
            UNIX_DAY
        }
    }
}

fn to_utc(wall: i64, zone: Zone) -> i64 {
    wall - i64::from(zone.offset_of_local(unix_seconds(wall))) * SECOND
}

fn to_wall(utc: i64, zone: Zone) -> i64 {
    utc + i64::from(zone.offset_of_utc(unix_seconds(utc))) * SECOND
}

fn unix_seconds(micros: i64) -> i64 {
    micros.div_euclid(SECOND) - UNIX_SECONDS
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::form::Form;
    use super::*;
    use proptest::prelude::*;

    const DATE: Type = Type::Date;
    const TIME: Type = Type::Time(6);
    const TIMESTAMP: Type = Type::Timestamp(6);
    const TIMESTAMPTZ: Type = Type::Timestamptz(6);
    const PARIS: Zone = Zone::Named(chrono_tz::Europe::Paris);
    const LONDON: Zone = Zone::Named(chrono_tz::Europe::London);

    fn form(word: &str) -> Form {
        word.parse().unwrap()
    }

    /// Encodes, asserts the law, and gives the bytes in hexadecimal.
    fn crossing(ty: &Type, form: Form, zone: Zone, cell: Cell<'_>) -> (Fit, String) {
        let mut bytes = Vec::new();
        let fit = encode(ty, form, zone, cell, &mut bytes);
        match fit {
            Fit::Null | Fit::Lost(_) => assert!(bytes.is_empty(), "{ty:?} {form} {cell:?} left bytes"),
            Fit::Exact | Fit::Kept(_) => {
                let mut scratch = b"left over".to_vec();
                let back = decode(ty, form, zone, &bytes, &mut scratch).unwrap();
                assert_eq!(
                    fit == Fit::Exact,
                    back == cell,
                    "{ty:?} {form} {zone} {cell:?}: {fit:?}, but {back:?}"
                );
            }
        }
        (fit, bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn check(ty: &Type, word: &str, text: &str, expected: (Fit, &str)) {
        let (fit, hex) = crossing(ty, form(word), Zone::Utc, Cell::Text(text.as_bytes()));
        assert_eq!((fit, hex.as_str()), expected, "{ty:?} {word:?} {text:?}");
    }

    /// Whatever form the column's other values have. In a column of numbers the word is a stranger's, and no other word is one.
    #[test]
    fn an_infinity_crosses_among_texts() {
        let lost = |reason| (Fit::Lost(reason), "");
        for (ty, word, text, expected) in [
            (&DATE, "Y-m-d", "infinity", (Fit::Exact, "7fffffff")),
            (&DATE, "native", "-infinity", (Fit::Exact, "80000000")),
            (&TIMESTAMP, "Y-m-dTH:M:S.f3Z", "infinity", (Fit::Exact, "7fffffffffffffff")),
            (&TIMESTAMPTZ, "YmdHMS[.f6]", "infinity", (Fit::Exact, "7fffffffffffffff")),
            (&TIMESTAMPTZ, "Y-m-d H:M:S+02:00", "-infinity", (Fit::Exact, "8000000000000000")),
            (&TIMESTAMPTZ, "epoch-s", "infinity", lost(Reason::NotATimestamp)),
            (&TIMESTAMPTZ, "native", "Infinity", lost(Reason::NotATimestamp)),
            (&TIMESTAMPTZ, "native", "+infinity", lost(Reason::NotATimestamp)),
            (&TIMESTAMPTZ, "native", "infinit", lost(Reason::NotATimestamp)),
            (&TIMESTAMPTZ, "native", "now", lost(Reason::NotATimestamp)),
            (&TIME, "native", "infinity", lost(Reason::NotATime)),
        ] {
            check(ty, word, text, expected);
        }
    }

    /// The bytes are what PostgreSQL 15 sends.
    #[test]
    fn every_library_s_spelling_crosses_exactly() {
        for (ty, word, text, hex) in [
            (&DATE, "Y-m-d", "2024-02-29", "00002279"),
            (&DATE, "Y-m-d", "0001-01-01", "fff4dbf9"),
            (&DATE, "Y-m-d", "9999-12-31", "002c95d3"),
            (&DATE, "Y-m-d H:M:S", "2024-02-29 00:00:00", "00002279"),
            (&DATE, "Y-m-d H:M:S+00:00", "2024-02-29 00:00:00+00:00", "00002279"),
            (&DATE, "Y-m-dTH:M:S.f3Z", "2024-02-29T00:00:00.000Z", "00002279"),
            (&TIME, "H:M:S[.f6]", "13:14:15.123456", "0000000b18777a00"),
            (&TIME, "H:M:S[.f6]", "00:00:00", "0000000000000000"),
            (&TIME, "H:M:S", "24:00:00", "000000141dd76000"),
            (&TIME, "H:M[:S[.f3|.f6]]", "12:30", "0000000a7a358200"),
            (&TIME, "2000-01-01 H:M:S[.f6]", "2000-01-01 13:14:15.123456", "0000000b18777a00"),
            (&TIME, "1970-01-01 H:M:S.f6", "1970-01-01 13:14:15.123456", "0000000b18777a00"),
            (&TIME, "H:M:S.f7", "13:14:15.1234560", "0000000b18777a00"),
            (&TIMESTAMP, "Y-m-d H:M:S[.f6]", "2024-02-29 13:14:15.123456", "0002b583ce03da00"),
            (&TIMESTAMP, "Y-m-d H:M:S[.f6]", "2024-02-29 13:14:15", "0002b583ce01f7c0"),
            (&TIMESTAMP, "Y-m-d H:M:S.f3", "2024-02-29 13:14:15.123", "0002b583ce03d838"),
            (&TIMESTAMP, "Y-m-dTH:M:S[.f3|.f6]", "2024-02-29T13:14:15.123456", "0002b583ce03da00"),
            (&TIMESTAMP, "Y-m-d H:M:S[.f]", "1999-12-31 23:59:59.999999", "ffffffffffffffff"),
            (&TIMESTAMP, "Y-m-d H:M:S.f6", "0001-01-01 00:00:00.000000", "ff1fe2ffc59c6000"),
            (&TIMESTAMP, "Y-m-d H:M:S.f6", "9999-12-31 23:59:59.999999", "0380e70b913b7fff"),
            (&TIMESTAMP, "Y-m-d", "2024-02-29", "0002b578b58c6000"),
            (&TIMESTAMP, "Y-m-dTH:M:S.f3Z", "2024-02-29T13:14:15.123Z", "0002b583ce03d838"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S[.f6]", "2024-02-29 13:14:15.123456", "0002b583ce03da00"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S.f6+00:00", "2024-02-29 13:14:15.123456+00:00", "0002b583ce03da00"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S.f3 +00:00", "2024-02-29 13:14:15.123 +00:00", "0002b583ce03d838"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S[.f]+02:00", "2024-02-29 13:14:15.123456+02:00", "0002b58220dc9200"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S[.f]-0330", "2024-02-29 13:14:15.1-0330", "0002b586bd083c60"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S+00:00", "0001-01-01 00:00:00+00:00", "ff1fe2ffc59c6000"),
            (
                &TIMESTAMPTZ,
                "Y-m-d H:M:S[.f] +0000 UTC",
                "2024-02-29 13:14:15.123456 +0000 UTC",
                "0002b583ce03da00",
            ),
            (&TIMESTAMPTZ, "Y-m-d H:M:S[.f] +0000 UTC", "0001-01-01 00:00:00 +0000 UTC", "ff1fe2ffc59c6000"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S UTC", "0001-01-01 00:00:00 UTC", "ff1fe2ffc59c6000"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S[.f3|.f6] UTC", "2024-02-29 13:14:15.123456 UTC", "0002b583ce03da00"),
            (
                &TIMESTAMPTZ,
                "Y-m-d H:M:S[.f] -0330 -0330",
                "2024-02-29 13:14:15.1 -0330 -0330",
                "0002b586bd083c60",
            ),
            (
                &TIMESTAMP,
                "Y-m-d H:M:S[.f] +0800 UTC+8",
                "2024-02-29 21:14:15.123456 +0800 UTC+8",
                "0002b583ce03da00",
            ),
            (&TIMESTAMPTZ, "YmdHMS[.f6]", "20240229131415.123456", "0002b583ce03da00"),
            (&TIMESTAMPTZ, "YmdHMS[.f6]", "20240229131415", "0002b583ce01f7c0"),
            (&TIMESTAMP, "YmdHMS.f3", "20240229131415.123", "0002b583ce03d838"),
            (&TIMESTAMP, "YmdHMS.f3", "20240229131415.000", "0002b583ce01f7c0"),
            (&TIMESTAMP, "YmdHMS[.f6]", "00010101000000", "ff1fe2ffc59c6000"),
            (&TIMESTAMP, "YmdHMS[.f6]", "99991231235959.999999", "0380e70b913b7fff"),
            (&DATE, "YmdHMS[.f6]", "20240229000000", "00002279"),
            (&DATE, "Ymd", "20240229", "00002279"),
            (&DATE, "Ymd", "99991231", "002c95d3"),
            (&TIMESTAMP, "Ymd", "20240229", "0002b578b58c6000"),
            (&TIMESTAMP, "Ymd", "20240229131415.123456", "0002b583ce03da00"),
        ] {
            check(ty, word, text, (Fit::Exact, hex));
        }
    }

    #[test]
    fn other_spellings_keep_the_value() {
        let (spelling, offset) = (Fit::Kept(Reason::Spelling), Fit::Kept(Reason::Offset));
        let precision = Fit::Kept(Reason::Precision);
        for (ty, word, text, fit, hex) in [
            (&DATE, "Y-m-d", "2024-02-29 00:00:00", spelling, "00002279"),
            (&DATE, "Y-m-d H:M:S", "2024-02-29", spelling, "00002279"),
            (&DATE, "Y-m-d", "2024-02-29 13:14:15", precision, "00002279"),
            (&DATE, "Y-m-d H:M:S+00:00", "2024-02-29 00:00:00+02:00", offset, "00002279"),
            (&TIME, "H:M:S", "2000-01-01 13:14:15.123456", spelling, "0000000b18777a00"),
            (&TIME, "H:M:S", "12:30", spelling, "0000000a7a358200"),
            (&TIME, "H:M:S[.f]", "13:14:15.1234567", precision, "0000000b18777a00"),
            (&TIMESTAMP, "Y-m-d H:M:S[.f6]", "2024-02-29T13:14:15", spelling, "0002b583ce01f7c0"),
            (&TIMESTAMP, "Y-m-d H:M:S[.f6]", "2024-02-29 13:14:15.123", spelling, "0002b583ce03d838"),
            (&TIMESTAMP, "Y-m-d H:M:S[.f6]", "2024-02-29 13:14:15Z", spelling, "0002b583ce01f7c0"),
            (&TIMESTAMP, "Y-m-d H:M:S[.f6]", "2024-02-29 15:14:15+02:00", offset, "0002b583ce01f7c0"),
            (&TIMESTAMP, "Y-m-d H:M:S.f6", "1999-12-31 23:59:59.9999999", precision, "ffffffffffffffff"),
            (&TIMESTAMPTZ, "Y-m-d H:M:S[.f]+00:00", "2024-02-29 13:14:15", spelling, "0002b583ce01f7c0"),
            (
                &TIMESTAMPTZ,
                "Y-m-d H:M:S[.f]+00:00",
                "2024-02-29 13:14:15-00:00",
                spelling,
                "0002b583ce01f7c0",
            ),
            (&TIMESTAMPTZ, "Y-m-d H:M:S[.f]+00:00", "2024-02-29 15:14:15+02:00", offset, "0002b583ce01f7c0"),
            (
                &TIMESTAMPTZ,
                "Y-m-d H:M:S[.f]+00:00",
                "2023-10-04 20:27:15.365730552 +1100 AEDT m=+245.850218253",
                precision,
                "0002a9df61b35762",
            ),
            (
                &TIMESTAMPTZ,
                "Y-m-d H:M:S[.f] +1100",
                "2023-10-04 20:27:15.36573 +1100 AEDT",
                spelling,
                "0002a9df61b35762",
            ),
            (
                &TIMESTAMPTZ,
                "Y-m-d H:M:S[.f] +1100 AEDT",
                "2023-10-04 20:27:15.36573 +1100 AEDT m=+245.850218253",
                precision,
                "0002a9df61b35762",
            ),
            (
                &TIMESTAMPTZ,
                "Y-m-d H:M:S[.f] +1100 AEDT",
                "2023-10-04 20:27:15.36573 +1100 +1100",
                spelling,
                "0002a9df61b35762",
            ),
            (&TIMESTAMPTZ, "epoch-s", "2024-02-29 13:14:15", Fit::Kept(Reason::Class), "0002b583ce01f7c0"),
        ] {
            check(ty, word, text, (fit, hex));
        }
        // A modifier cuts, and never rounds up into the next second.
        check(
            &Type::Timestamp(0),
            "Y-m-d H:M:S[.f6]",
            "2024-02-29 13:14:15.999999",
            (precision, "0002b583ce01f7c0"),
        );
        check(
            &Type::Timestamptz(3),
            "Y-m-d H:M:S[.f6]",
            "2024-02-29 13:14:15.123456",
            (precision, "0002b583ce03d838"),
        );
        check(&Type::Time(0), "H:M:S[.f6]", "23:59:59.999999", (precision, "000000141dc81dc0"));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        // Empty, and what stands between the bars.
        let everywhere = "| |now|today|epoch|Infinity|allballs|0000-00-00|0000-01-01|2023-02-29|2024-13-01|\
             2024-00-10|2024-01-00|02/03/2024|2024-060|2024-W09-4|20240230|2024229|10000-01-01|-0044-03-15|\
             2024-2-9|2024-02-29 | 2024-02-29|2024-02-29 13|2024-02-29 13:14:15,5|2024-02-29 13:14:15.|\
             2024-02-29 13:14:15.1234567890|2024-02-29 13:14:60|2024-02-29 13:60:00|\
             2024-02-29 25:00:00|2024-02-29 24:00:01|2024-02-29  13:14:15|2024-02-29t13:14:15|\
             2024-02-29 13:14:15z|2024-02-29 13:14:15UTC|2024-02-29 13:14:15 CST|2024-02-29 13:14:15+16:00|\
             2024-02-29 13:14:15+2|2024-02-29 13:14:15+02:60|2024-02-29 13:14:15+02:00:00|\
             2024-02-29 13:14.5|1709208855|2024-02-29 13:14:15 +1100 aedt|\
             2024-02-29 13:14:15 +1100 AEDT m=|2024-02-29 13:14:15 +1100 AEDT m=+1 x|13:14:15 CST|\
             2024-02-29\0";
        for text in everywhere.split('|') {
            check(&DATE, "Y-m-d", text, (Fit::Lost(Reason::NotADate), ""));
            check(&TIME, "H:M:S", text, (Fit::Lost(Reason::NotATime), ""));
            check(&TIMESTAMP, "Y-m-d H:M:S", text, (Fit::Lost(Reason::NotATimestamp), ""));
            check(&TIMESTAMPTZ, "Y-m-d H:M:S", text, (Fit::Lost(Reason::NotATimestamp), ""));
        }
        check(&DATE, "Y-m-d", "13:14:15", (Fit::Lost(Reason::NotADate), ""));
        check(&DATE, "Y-m-d", "2024-02-29 24:00:00", (Fit::Lost(Reason::NotADate), ""));
        check(&TIME, "H:M:S", "2024-02-29", (Fit::Lost(Reason::NotATime), ""));
        check(&TIME, "H:M:S", "2024-02-29 13:14:15", (Fit::Lost(Reason::NotATime), ""));
        check(&TIMESTAMP, "Y-m-d H:M:S", "13:14:15", (Fit::Lost(Reason::NotATimestamp), ""));
        check(&TIMESTAMP, "Y-m-d H:M:S", "2024-02-29 24:00:00", (Fit::Lost(Reason::NotATimestamp), ""));
        for (cell, reason) in [
            (Cell::Integer(1), Reason::NoUnit),
            (Cell::Real(1.5), Reason::NoUnit),
            (Cell::Blob(b"2024-02-29"), Reason::Class),
        ] {
            assert_eq!(crossing(&DATE, form("Y-m-d"), Zone::Utc, cell).0, Fit::Lost(reason));
        }
        assert_eq!(crossing(&DATE, form("Y-m-d"), Zone::Utc, Cell::Null).0, Fit::Null);
    }

    #[test]
    fn naive_times_are_read_in_their_zone() {
        let naive = "Y-m-d H:M:S[.f6]";
        let rfc = "Y-m-dTH:M:S[.f]Z|+hh:mm";
        let (local, named) = ("Y-m-d H:M:S[.f]+hh:mm", "Y-m-d H:M:S[.f] +hhmm zone");
        for (ty, word, zone, text, fit, hex) in [
            (&TIMESTAMPTZ, naive, PARIS, "2024-07-01 12:00:00", Fit::Exact, "0002bf2b6dcbe800"),
            // Skipped: as PostgreSQL reads it, an hour later on the new clock.
            (&TIMESTAMPTZ, naive, PARIS, "2024-03-31 02:30:00", Fit::Kept(Reason::Zone), "0002b7e9947e7600"),
            // Shown twice: the first of both, an hour before PostgreSQL's choice.
            (&TIMESTAMPTZ, naive, PARIS, "2024-10-27 02:30:00", Fit::Exact, "0002c86938979200"),
            (&TIMESTAMPTZ, local, PARIS, "2024-07-01 12:00:00+02:00", Fit::Exact, "0002bf2b6dcbe800"),
            (&TIMESTAMPTZ, local, PARIS, "2024-10-27 02:30:00+01:00", Fit::Exact, "0002c86a0f2b3600"),
            (&TIMESTAMPTZ, rfc, LONDON, "2024-07-01T11:00:00+01:00", Fit::Exact, "0002bf2b6dcbe800"),
            (&TIMESTAMPTZ, rfc, LONDON, "2024-02-29T13:14:15Z", Fit::Exact, "0002b583ce01f7c0"),
            (
                &TIMESTAMPTZ,
                rfc,
                LONDON,
                "2024-02-29T13:14:15+00:00",
                Fit::Kept(Reason::Spelling),
                "0002b583ce01f7c0",
            ),
            (&TIMESTAMPTZ, named, PARIS, "2024-07-01 12:00:00 +0200 CEST", Fit::Exact, "0002bf2b6dcbe800"),
            (&TIMESTAMPTZ, named, PARIS, "2024-10-27 02:30:00 +0100 CET", Fit::Exact, "0002c86a0f2b3600"),
            (
                &TIMESTAMPTZ,
                named,
                PARIS,
                "2024-07-01 12:00:00 +0200 EET",
                Fit::Kept(Reason::Spelling),
                "0002bf2b6dcbe800",
            ),
            (
                &TIMESTAMPTZ,
                local,
                PARIS,
                "2024-07-01 10:00:00+00:00",
                Fit::Kept(Reason::Offset),
                "0002bf2b6dcbe800",
            ),
            (
                &TIMESTAMPTZ,
                naive,
                PARIS,
                "2024-07-01 12:00:00+02:00",
                Fit::Kept(Reason::Spelling),
                "0002bf2b6dcbe800",
            ),
            (&TIMESTAMPTZ, naive, Zone::Fixed(7200), "2024-02-29 15:14:15", Fit::Exact, "0002b583ce01f7c0"),
            // A timestamp without zone is the wall clock of the zone.
            (&TIMESTAMP, "Y-m-dTH:M:SZ", PARIS, "2024-02-29T12:14:15Z", Fit::Exact, "0002b583ce01f7c0"),
            (
                &TIMESTAMP,
                naive,
                PARIS,
                "2024-02-29 12:14:15+00:00",
                Fit::Kept(Reason::Offset),
                "0002b583ce01f7c0",
            ),
            (&TIMESTAMP, naive, PARIS, "2024-03-31 02:30:00", Fit::Exact, "0002b7ea6b121a00"),
            (
                &TIMESTAMP,
                "Y-m-dTH:M:SZ",
                PARIS,
                "2024-10-27T01:30:00Z",
                Fit::Kept(Reason::Offset),
                "0002c86ae5beda00",
            ),
        ] {
            let (got, bytes) = crossing(ty, form(word), zone, Cell::Text(text.as_bytes()));
            assert_eq!((got, bytes.as_str()), (fit, hex), "{ty:?} {word} {zone} {text}");
        }
    }

    #[test]
    fn numbers_count_from_their_epoch() {
        let precision = Fit::Kept(Reason::Precision);
        for (ty, unit, zone, cell, fit, hex) in [
            (
                &TIMESTAMPTZ,
                Unit::Seconds,
                PARIS,
                Cell::Integer(1_709_212_455),
                Fit::Exact,
                "0002b583ce01f7c0",
            ),
            (
                &TIMESTAMPTZ,
                Unit::Millis,
                Zone::Utc,
                Cell::Integer(1_709_212_455_123),
                Fit::Exact,
                "0002b583ce03d838",
            ),
            (
                &TIMESTAMPTZ,
                Unit::Nanos,
                Zone::Utc,
                Cell::Integer(1_709_212_455_123_456_789),
                precision,
                "0002b583ce03da00",
            ),
            (
                &TIMESTAMPTZ,
                Unit::Ticks,
                Zone::Utc,
                Cell::Integer(638_448_092_551_234_560),
                Fit::Exact,
                "0002b583ce03da00",
            ),
            (
                &TIMESTAMPTZ,
                Unit::Ticks,
                Zone::Utc,
                Cell::Integer(638_448_092_551_234_567),
                precision,
                "0002b583ce03da00",
            ),
            (
                &TIMESTAMPTZ,
                Unit::Seconds,
                Zone::Utc,
                Cell::Real(1_709_212_455.5),
                Fit::Exact,
                "0002b583ce0998e0",
            ),
            (
                &TIMESTAMPTZ,
                Unit::Seconds,
                Zone::Utc,
                Cell::Real(1_709_212_455.0),
                Fit::Kept(Reason::Class),
                "0002b583ce01f7c0",
            ),
            (
                &TIMESTAMPTZ,
                Unit::RealSeconds,
                Zone::Utc,
                Cell::Real(1_709_212_455.0),
                Fit::Exact,
                "0002b583ce01f7c0",
            ),
            (&TIMESTAMPTZ, Unit::Julian, Zone::Utc, Cell::Real(2_440_587.5), Fit::Exact, "fffca2fec4c82000"),
            (
                &TIMESTAMP,
                Unit::Millis,
                PARIS,
                Cell::Integer(1_709_208_855_123),
                Fit::Exact,
                "0002b583ce03d838",
            ),
            // The second of two instants with one wall clock.
            (
                &TIMESTAMP,
                Unit::Seconds,
                PARIS,
                Cell::Integer(1_729_992_600),
                Fit::Kept(Reason::Zone),
                "0002c86ae5beda00",
            ),
            // JDBC: milliseconds of midnight in the source's zone.
            (&DATE, Unit::Millis, PARIS, Cell::Integer(1_709_161_200_000), Fit::Exact, "00002279"),
            (&DATE, Unit::Millis, Zone::Utc, Cell::Integer(1_709_161_200_000), precision, "00002278"),
            (&TIME, Unit::Millis, PARIS, Cell::Integer(44_055_000), Fit::Exact, "0000000b187597c0"),
            (&TIME, Unit::Seconds, Zone::Utc, Cell::Integer(86_400), Fit::Lost(Reason::NotATime), ""),
            (
                &TIMESTAMP,
                Unit::Seconds,
                Zone::Utc,
                Cell::Integer(i64::MAX),
                Fit::Lost(Reason::OutOfRange),
                "",
            ),
            (
                &TIMESTAMP,
                Unit::Seconds,
                Zone::Utc,
                Cell::Integer(9_224_318_016_000),
                Fit::Lost(Reason::OutOfRange),
                "",
            ),
            (
                &TIMESTAMP,
                Unit::Seconds,
                Zone::Utc,
                Cell::Integer(9_224_318_015_999),
                Fit::Exact,
                "7fffff5bb3a35dc0",
            ),
            (
                &TIMESTAMP,
                Unit::Seconds,
                Zone::Utc,
                Cell::Real(f64::NEG_INFINITY),
                Fit::Lost(Reason::OutOfRange),
                "",
            ),
        ] {
            let (got, bytes) = crossing(ty, Form::Epoch(unit), zone, cell);
            assert_eq!((got, bytes.as_str()), (fit, hex), "{ty:?} {unit} {zone} {cell:?}");
        }
        let whole = crossing(
            &Type::Timestamp(0),
            Form::Epoch(Unit::Millis),
            Zone::Utc,
            Cell::Integer(1_709_212_455_999),
        );
        assert_eq!(whole, (precision, "0002b583ce01f7c0".to_owned()));
    }

    #[test]
    fn values_beyond_the_grammar_are_written_as_postgres_writes_them() {
        let shown = |ty: &Type, form: Form, bytes: &[u8]| {
            let mut scratch = Vec::new();
            match decode(ty, form, Zone::Utc, bytes, &mut scratch) {
                Ok(Cell::Text(text)) => String::from_utf8(text.to_vec()).unwrap(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(shown(&TIMESTAMP, Form::Native, &i64::MAX.to_be_bytes()), "infinity");
        assert_eq!(shown(&DATE, Form::Epoch(Unit::Seconds), &i32::MIN.to_be_bytes()), "-infinity");
        assert_eq!(shown(&DATE, Form::Native, &(-745_790_i32).to_be_bytes()), "0043-02-05 BC");
        assert_eq!(
            shown(&DATE, Form::Epoch(Unit::Seconds), &2_145_031_948_i32.to_be_bytes()),
            "5874897-12-31"
        );
        let last = TIMESTAMP_RANGE.end - 1;
        assert_eq!(
            shown(&TIMESTAMPTZ, form("Y-m-d H:M:S+00"), &last.to_be_bytes()),
            "294276-12-31 23:59:59.999999+00"
        );
        for bytes in [&b"short"[..], &(DAY + 1).to_be_bytes(), &(-1_i64).to_be_bytes()] {
            assert!(decode(&TIME, Form::Native, Zone::Utc, bytes, &mut Vec::new()).is_err());
        }
        assert!(
            decode(&TIMESTAMP, Form::Native, Zone::Utc, &TIMESTAMP_RANGE.end.to_be_bytes(), &mut Vec::new())
                .is_err()
        );
    }

    #[test]
    fn forms_are_those_that_carry_the_cell() {
        let words = |ty: &Type, cell: Cell<'_>, zone: Zone| {
            let hints = Hints { zone, ..Hints::default() };
            forms(ty, cell, &hints).into_iter().map(|form| form.to_string()).collect::<Vec<_>>().join(" | ")
        };
        for (ty, cell, zone, expected) in [
            (&DATE, Cell::Text(b"2024-02-29"), Zone::Utc, "Y-m-d"),
            (&TIMESTAMP, Cell::Text(b"2024-02-29"), Zone::Utc, "Y-m-d"),
            (
                &TIMESTAMP,
                Cell::Text(b"2024-02-29 13:14:15"),
                Zone::Utc,
                "Y-m-d H:M:S[.f6] | Y-m-d H:M:S[.f3] | Y-m-d H:M:S[.f] | Y-m-d H:M:S[.f3|.f6] | Y-m-d H:M[:S[.f3|.f6]]",
            ),
            (
                &TIMESTAMP,
                Cell::Text(b"2024-02-29 13:14:15.100000"),
                Zone::Utc,
                "Y-m-d H:M:S[.f6] | Y-m-d H:M:S.f6",
            ),
            (&TIMESTAMP, Cell::Text(b"2024-02-29 13:14:15.000"), Zone::Utc, "Y-m-d H:M:S.f3"),
            (&TIMESTAMP, Cell::Text(b"2024-02-29 13:14:15.1234567"), Zone::Utc, ""),
            (
                &TIMESTAMPTZ,
                Cell::Text(b"2024-02-29 13:14:15.000+01:00"),
                PARIS,
                "Y-m-d H:M:S.f3+hh:mm | Y-m-d H:M:S.f3Z|+hh:mm | Y-m-d H:M:S.f3+01:00",
            ),
            (&TIMESTAMPTZ, Cell::Text(b"2024-02-29 13:14:15.000Z"), PARIS, "Y-m-d H:M:S.f3Z"),
            (
                &TIMESTAMPTZ,
                Cell::Text(b"2024-02-29 13:14:15.000Z"),
                LONDON,
                "Y-m-d H:M:S.f3Z | Y-m-d H:M:S.f3Z|+hh:mm",
            ),
            (&TIMESTAMPTZ, Cell::Text(b"2024-02-29 13:14:15.000 UTC"), PARIS, "Y-m-d H:M:S.f3 UTC"),
            (
                &TIMESTAMPTZ,
                Cell::Text(b"2024-02-29 13:14:15 +0100 CET"),
                PARIS,
                "Y-m-d H:M:S[.f] +hhmm zone | Y-m-d H:M:S[.f] +0100 CET",
            ),
            (&TIMESTAMPTZ, Cell::Text(b"2024-02-29 13:14:15 +0000 UTC m=+1.5"), Zone::Utc, ""),
            (&TIMESTAMPTZ, Cell::Text(b"2024-03-31 02:30:00"), PARIS, ""),
            (&TIME, Cell::Text(b"2000-01-01 12:30"), Zone::Utc, "2000-01-01 H:M[:S[.f3|.f6]]"),
            (&TIMESTAMP, Cell::Integer(1_709_212_455), Zone::Utc, "epoch-s"),
            (&TIMESTAMP, Cell::Integer(1_709_212_455_123), Zone::Utc, "epoch-ms"),
            (&TIMESTAMP, Cell::Integer(638_448_092_551_234_000), Zone::Utc, "epoch-ticks | epoch-ns"),
            (
                &TIMESTAMP,
                Cell::Integer(0),
                Zone::Utc,
                "epoch-s | epoch-ms | epoch-us | epoch-ticks | epoch-ns",
            ),
            (&TIMESTAMP, Cell::Real(2_460_370.5), Zone::Utc, "epoch-julian"),
            (&TIMESTAMP, Cell::Real(1_709_212_455.5), Zone::Utc, "epoch-s | epoch-real-s"),
            (&DATE, Cell::Integer(1_709_161_200_000), PARIS, "epoch-ms"),
            (&DATE, Cell::Text(b"never"), Zone::Utc, ""),
            (&TIMESTAMPTZ, Cell::Text(b"20240229131415"), Zone::Utc, "YmdHMS[.f6] | YmdHMS[.f3]"),
            (&TIMESTAMPTZ, Cell::Text(b"20240229131415.120"), Zone::Utc, "YmdHMS.f3 | YmdHMS[.f3]"),
            (&TIMESTAMPTZ, Cell::Text(b"20240229131415.000"), Zone::Utc, "YmdHMS.f3"),
            (&TIMESTAMPTZ, Cell::Text(b"20240331023000"), PARIS, ""),
            (&TIMESTAMP, Cell::Text(b"20240229131415"), PARIS, "YmdHMS[.f6] | YmdHMS[.f3]"),
            (&DATE, Cell::Text(b"20240229000000"), Zone::Utc, "YmdHMS[.f6] | YmdHMS[.f3]"),
            (&DATE, Cell::Text(b"20240229"), Zone::Utc, "Ymd"),
            (&TIMESTAMPTZ, Cell::Text(b"20240229"), PARIS, "Ymd"),
            (&DATE, Cell::Text(b"20240230"), Zone::Utc, ""),
            (&DATE, Cell::Text(b"2024022"), Zone::Utc, ""),
            (&TIME, Cell::Text(b"20000101"), Zone::Utc, ""),
            (&TIME, Cell::Text(b"20000101131415"), Zone::Utc, ""),
        ] {
            assert_eq!(words(ty, cell, zone), expected, "{ty:?} {cell:?} {zone}");
        }
    }

    fn any_type() -> impl Strategy<Value = Type> {
        prop_oneof![
            Just(Type::Date),
            (0..=6_u8).prop_map(Type::Time),
            (0..=6_u8).prop_map(Type::Timestamp),
            (0..=6_u8).prop_map(Type::Timestamptz),
        ]
    }

    fn any_zone() -> impl Strategy<Value = Zone> {
        let half_hours = Zone::Named(chrono_tz::Australia::Lord_Howe);
        prop::sample::select(vec![Zone::Utc, Zone::Fixed(-12_600), PARIS, LONDON, half_hours])
    }

    fn any_text() -> impl Strategy<Value = String> {
        let day = prop_oneof![
            "(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9])",
            "(2000|1970|2024|0001|9999)-(01|03|10|12)-(01|27|31)",
        ];
        let clock = "([01][0-9]|2[0-4]):[0-5]0(:[0-5][0-9](\\.[0-9]{0,4}0{0,5})?)?";
        let suffix = "( ?Z| UTC| ?[+-](0[0-9]|1[0-6])(:?[0-5]0)?( AEDT| CET| [+-]0[0-9](30)?)?)?";
        (day, "[ T]?", clock, suffix, 0..8_u8).prop_map(|(day, between, clock, suffix, parts)| match parts {
            0 => day,
            1 => format!("{clock}{suffix}"),
            2 => format!("{day}{clock}").replace(['-', ':'], ""),
            _ => format!("{day}{between}{clock}{suffix}"),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_text_is_exact_under_just_the_forms_it_names(ty in any_type(), zone in any_zone(), text in any_text(), other in any_text()) {
            let hints = Hints { zone, ..Hints::default() };
            let cell = Cell::Text(text.as_bytes());
            for form in forms(&ty, cell, &hints) {
                prop_assert_eq!(crossing(&ty, form, zone, cell).0, Fit::Exact, "{} {}", form, text);
                prop_assert_eq!(form.to_string().parse::<Form>().unwrap(), form);
            }
            for form in forms(&ty, Cell::Text(other.as_bytes()), &hints) {
                crossing(&ty, form, zone, cell);
            }
            crossing(&ty, Form::Native, zone, cell);
        }

        #[test]
        fn a_number_is_exact_only_if_it_comes_back(
            ty in any_type(),
            zone in any_zone(),
            unit in prop::sample::select(Unit::ALL.to_vec()),
            integer in prop_oneof![any::<i64>(), 0..2_000_000_000_i64, 0..2_000_000_000_000_i64],
            real in prop_oneof![any::<f64>().prop_filter("no cell is NaN", |real| !real.is_nan()), 2_400_000.0..2_500_000.0, 0.0..2e9],
        ) {
            for cell in [Cell::Integer(integer), Cell::Real(real), Cell::Real((real * 1e3).round() / 1e3)] {
                crossing(&ty, Form::Epoch(unit), zone, cell);
                let hints = Hints { zone, ..Hints::default() };
                for form in forms(&ty, cell, &hints) {
                    prop_assert_eq!(crossing(&ty, form, zone, cell).0, Fit::Exact);
                }
            }
        }

        #[test]
        fn every_value_of_postgres_has_a_cell(ty in any_type(), zone in any_zone(), value in any::<i64>(), text in any_text()) {
            let target = Target::of(&ty);
            let range = target.range();
            let value = range.start + value.rem_euclid(range.end / 2 - range.start / 2);
            let mut bytes = Vec::new();
            target.put(value, &mut bytes);
            let hints = Hints { zone, ..Hints::default() };
            let learned = forms(&ty, Cell::Text(text.as_bytes()), &hints);
            for form in learned.into_iter().chain(Unit::ALL.map(Form::Epoch)).chain([Form::Native]) {
                prop_assert!(decode(&ty, form, zone, &bytes, &mut Vec::new()).is_ok(), "{}", form);
            }
        }
    }
}
