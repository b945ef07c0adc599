//! Lengths of time as text: three grammars, each strict, and their writers.
//!
//! A text is of one grammar or of none, so that it needs no hint to be read; nothing here rounds.

use super::calendar::{self, DAY, HOUR, MINUTE, SECOND, UNIX_DAY};
use super::epoch::Rest;
use super::moment_text::{self, Face, Reading, Separator, Spelling, Written};
use super::span::Span;
use std::io::Write;

/// Reads a text by whichever of the three grammars it is of; no text is of two.
pub(super) fn read(text: &[u8]) -> Option<(Span, Rest)> {
    if let [b'P', ..] | [b'-', b'P', ..] = text {
        return iso(text);
    }
    match moment_text::parse(text) {
        Some(Written { day: Some(day), clock: Some(clock), suffix: None, .. }) if clock.micros < DAY => {
            let micros = i128::from(day - UNIX_DAY) * i128::from(DAY) + i128::from(clock.micros);
            Some((Span::of_days(micros)?, if clock.nanos == 0 { Rest::None } else { Rest::Cut }))
        }
        _ => dot_net(text),
    }
}

pub(super) fn since_1970(micros: i128) -> Option<Written> {
    let day = i64::try_from(micros.div_euclid(i128::from(DAY))).ok()? + UNIX_DAY;
    let micros = i64::try_from(micros.rem_euclid(i128::from(DAY))).ok()?;
    (1..=9999).contains(&calendar::date_of(day).0).then_some(Written {
        day: Some(day),
        clock: Some(Reading { micros, nanos: 0, face: Face::Seconds(6) }),
        separator: Separator::Space,
        suffix: None,
        spelling: Spelling::Plain,
    })
}

/// `[-][d.]hh:mm:ss[.f1-7]`. Days and clock share the sign, as Npgsql writes a `TimeSpan`.
fn dot_net(text: &[u8]) -> Option<(Span, Rest)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (days, clock) = match text[..colon].iter().position(|byte| *byte == b'.') {
        Some(dot) => (i32::try_from(digits(&text[..dot])?).ok()?, &text[dot + 1..]),
        None => (0, text),
    };
    let Some(Written { day: None, clock: Some(reading), suffix: None, .. }) = moment_text::parse(clock)
    else {
        return None;
    };
    if reading.micros >= DAY || !matches!(reading.face, Face::Seconds(0..=7)) {
        return None;
    }
    let rest = if reading.nanos == 0 { Rest::None } else { Rest::Cut };
    let sign = if negative { -1 } else { 1 };
    Some((Span { months: 0, days: days * sign, micros: reading.micros * i64::from(sign) }, rest))
}

pub(super) fn put_dot_net(total: i128, out: &mut Vec<u8>) {
    let day = u128::from(DAY.unsigned_abs());
    let part = |number: u128| i64::try_from(number).expect("the parts of an interval fit in 64 bits");
    let (days, micros) = (part(total.unsigned_abs() / day), part(total.unsigned_abs() % day));
    if total < 0 {
        out.push(b'-');
    }
    if days > 0 {
        write!(out, "{days}.").expect("writing to memory does not fail");
    }
    // .NET writes seven digits or none.
    let face = Face::Seconds(if micros % SECOND == 0 { 0 } else { 7 });
    moment_text::put_clock(Reading { micros, nanos: 0, face }, out);
}

/// `P[nY][nM][nW][nD][T[nH][nM][n[.f1-9]S]]`, each number with its own sign, and perhaps one before the `P`.
fn iso(text: &[u8]) -> Option<(Span, Rest)> {
    let (sign, text) = match text {
        [b'-', b'P', rest @ ..] => (-1, rest),
        [b'P', rest @ ..] => (1, rest),
        _ => return None,
    };
    let (date, time) = match text.iter().position(|byte| *byte == b'T') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    let ends_in_t = text.ends_with(b"T");
    if text.is_empty() || ends_in_t {
        return None;
    }
    let [years, months, weeks, days] = parts(date, *b"YMWD", sign)?;
    let [hours, minutes, seconds] = parts(time, *b"HMS", sign)?;
    if [years, months, weeks, days, hours, minutes].iter().any(|part| part.nanos != 0) {
        return None;
    }
    let months = years.whole.checked_mul(12)?.checked_add(months.whole)?;
    let days = weeks.whole.checked_mul(7)?.checked_add(days.whole)?;
    let clock = hours.whole.checked_mul(HOUR)?.checked_add(minutes.whole.checked_mul(MINUTE)?)?;
    let micros = clock.checked_add(seconds.whole.checked_mul(SECOND)?)?.checked_add(seconds.nanos / 1000)?;
    let rest = if seconds.nanos % 1000 == 0 { Rest::None } else { Rest::Cut };
    Some((Span { months: i32::try_from(months).ok()?, days: i32::try_from(days).ok()?, micros }, rest))
}

#[derive(Clone, Copy, Default)]
struct Part {
    whole: i64,
    nanos: i64,
}

/// Numbers, each followed by its letter, in the letters' order; those that do not stand there are zero.
fn parts<const N: usize>(mut text: &[u8], letters: [u8; N], sign: i64) -> Option<[Part; N]> {
    let mut parts = [Part::default(); N];
    for (part, letter) in parts.iter_mut().zip(letters) {
        let Some(end) = text.iter().position(|byte| byte.is_ascii_alphabetic()) else { break };
        if text[end] == letter {
            *part = number(&text[..end], sign)?;
            text = &text[end + 1..];
        }
    }
    text.is_empty().then_some(parts)
}

fn number(text: &[u8], sign: i64) -> Option<Part> {
    let (sign, text) = match text {
        [b'-', rest @ ..] => (-sign, rest),
        _ => (sign, text),
    };
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], Some(&text[dot + 1..])),
        None => (text, None),
    };
    let nanos = match fraction {
        None => 0,
        Some(fraction) => match moment_text::fraction(fraction)? {
            (_, nanos, []) => nanos,
            _ => return None,
        },
    };
    Some(Part { whole: digits(whole)? * sign, nanos: nanos * sign })
}

fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_i64, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(i64::from(digit))
    })
}

/// One spelling for each interval: zero parts left out, each part with its own sign, a fraction without trailing zeros.
pub(super) fn put_iso(span: Span, out: &mut Vec<u8>) {
    let seconds = span.micros % MINUTE;
    let date = [(span.months / 12, 'Y'), (span.months % 12, 'M'), (span.days, 'D')];
    let time = [(span.micros / HOUR, 'H'), (span.micros % HOUR / MINUTE, 'M')];
    let no_fault = "writing to memory does not fail";
    out.push(b'P');
    for (number, letter) in date.into_iter().filter(|(number, _)| *number != 0) {
        write!(out, "{number}{letter}").expect(no_fault);
    }
    if span.micros != 0 || span == Span::default() {
        out.push(b'T');
    }
    for (number, letter) in time.into_iter().filter(|(number, _)| *number != 0) {
        write!(out, "{number}{letter}").expect(no_fault);
    }
    if seconds != 0 || span == Span::default() {
        let sign = if seconds < 0 { "-" } else { "" };
        write!(out, "{sign}{}", (seconds / SECOND).abs()).expect(no_fault);
        if seconds % SECOND != 0 {
            write!(out, ".{:06}", (seconds % SECOND).abs()).expect(no_fault);
            let end = out.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
            out.truncate(end);
        }
        out.push(b'S');
    }
}
