//! The text that PostgreSQL gives for a `jsonb` value, behind its version byte: one text for one value.
//!
//! Keys are sorted by length and then by bytes, the last of equal keys stays, numbers are written as `numeric` writes them. A value
//! that `jsonb` cannot hold is refused here, never left for the server to refuse.

use super::Reason;
use super::decimal::Decimal;
use super::json_scan::{Container, Event, NotJson, Scanner, unescape};
use std::borrow::Cow;
use std::cmp::Ordering;

/// The only version of `jsonb`'s wire format.
pub(super) const VERSION: u8 = 1;

/// Whether an object had a key twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Unique,
    Repeated,
}

/// `jsonb` refuses containers beyond 2^28 bytes.
const WEIGHT_MAX: usize = 0x0fff_ffff;
/// What a value may weigh in `jsonb` beside its text: its entry, alignment, the head of a number.
const VALUE_WEIGHT: usize = 16;
/// `numeric`'s bounds: the power of ten of its first digit, and its digits behind the point.
const POWER_MAX: i64 = 131_071;
const SCALE_MAX: i64 = 16_383;
/// A number with fewer characters and no exponent is within those bounds.
const SHORT: usize = 16_000;

/// Appends the canonical bytes of a JSON text. What it appended is void where it fails.
pub(super) fn put(json: &[u8], out: &mut Vec<u8>) -> Result<Keys, Reason> {
    let mut scanner = Scanner::new(json).ok_or(Reason::NotJson)?;
    let (mut weight, start) = (0, out.len());
    out.push(VERSION);
    let mut writer = Writer { out, open: Vec::new(), members: Vec::new(), keys: Keys::Unique };
    while let Some(event) = scanner.step().map_err(|NotJson| Reason::NotJson)? {
        writer.write(event)?;
        weight += VALUE_WEIGHT;
        if weight + writer.out.len() - start > WEIGHT_MAX {
            return Err(Reason::OutOfRange);
        }
    }
    Ok(writer.keys)
}

struct Writer<'a, 'o> {
    out: &'o mut Vec<u8>,
    open: Vec<Open>,
    /// Of all open objects, the innermost last.
    members: Vec<Member<'a>>,
    keys: Keys,
}

/// A container that has not ended yet.
struct Open {
    /// Where its contents start.
    start: usize,
    /// How many members the objects around it have so far.
    members: usize,
}

struct Member<'a> {
    key: Cow<'a, [u8]>,
    start: usize,
}

impl<'a> Writer<'a, '_> {
    fn write(&mut self, event: Event<'a>) -> Result<(), Reason> {
        if !matches!(event, Event::End(_)) {
            self.separate();
        }
        match event {
            Event::Begin(container) => {
                self.out.push(if container == Container::Object { b'{' } else { b'[' });
                self.open.push(Open { start: self.out.len(), members: self.members.len() });
            }
            Event::End(container) => {
                let open = self.open.pop().expect("the scanner ends only what began");
                if container == Container::Object {
                    self.sort(open);
                }
                self.out.push(if container == Container::Object { b'}' } else { b']' });
            }
            Event::Key(key) => {
                let key = decoded(key)?;
                let start = self.out.len();
                put_string(&key, self.out);
                self.out.extend_from_slice(b": ");
                self.members.push(Member { key, start });
            }
            Event::String(string) => put_string(&decoded(string)?, self.out),
            Event::Number(number) => put_number(number, self.out)?,
            Event::True => self.out.extend_from_slice(b"true"),
            Event::False => self.out.extend_from_slice(b"false"),
            Event::Null => self.out.extend_from_slice(b"null"),
        }
        Ok(())
    }

    /// A comma, unless this is the first of its container or the value of a key.
    fn separate(&mut self) {
        let first = self.open.last().is_none_or(|open| open.start == self.out.len());
        if !first && !self.out.ends_with(b": ") {
            self.out.extend_from_slice(b", ");
        }
    }

    /// Puts the members of an object that ends here in order.
    fn sort(&mut self, open: Open) {
        let members = &self.members[open.members..];
        if !members.is_sorted_by(|one, next| order(&one.key, &next.key) == Ordering::Less) {
            let ends = members[1..].iter().map(|next| next.start - 2).chain([self.out.len()]);
            let mut sorted: Vec<_> = members.iter().zip(ends).collect();
            // Stable, so that of equal keys the one that came last stands last.
            sorted.sort_by(|(one, _), (other, _)| order(&one.key, &other.key));
            let mut text = Vec::with_capacity(self.out.len() - open.start);
            for (index, (member, end)) in sorted.iter().enumerate() {
                if sorted.get(index + 1).is_some_and(|(next, _)| next.key == member.key) {
                    self.keys = Keys::Repeated;
                    continue;
                }
                if !text.is_empty() {
                    text.extend_from_slice(b", ");
                }
                text.extend_from_slice(&self.out[member.start..*end]);
            }
            self.out.truncate(open.start);
            self.out.extend_from_slice(&text);
        }
        self.members.truncate(open.members);
    }
}

/// Shorter keys first, keys of one length by their bytes.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

fn decoded(string: &[u8]) -> Result<Cow<'_, [u8]>, Reason> {
    if !string.contains(&b'\\') {
        return Ok(Cow::Borrowed(string));
    }
    let mut text = Vec::with_capacity(string.len());
    unescape(string, &mut text).ok_or(Reason::NotJson)?;
    Ok(Cow::Owned(text))
}

pub(super) fn put_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\x08' => out.extend_from_slice(b"\\b"),
            b'\x0c' => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control @ 0..=0x1f => {
                let digit = b"0123456789abcdef"[usize::from(control & 0xf)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (control >> 4), digit]);
            }
            quoted => out.extend_from_slice(&[b'\\', quoted]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// A number as `numeric` writes it: no exponent, no negative zero, every digit that was written behind the point.
fn put_number(number: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let plain =
        number[0] != b'-' && number.len() < SHORT && !number.iter().any(|byte| matches!(byte, b'e' | b'E'));
    if plain {
        out.extend_from_slice(number);
        return Ok(());
    }
    let decimal = Decimal::parse(number).ok_or(Reason::OutOfRange)?;
    let first = decimal.span().map_or(0, |(first, _)| first);
    if first > POWER_MAX || decimal.scale() > SCALE_MAX {
        return Err(Reason::OutOfRange);
    }
    if decimal.negative && decimal.span().is_some() {
        out.push(b'-');
    }
    for power in (-decimal.scale()..=first.max(0)).rev() {
        if power == -1 {
            out.push(b'.');
        }
        out.push(b'0' + decimal.digit(power));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> Result<(Keys, String), Reason> {
        let mut out = Vec::new();
        let keys = put(json.as_bytes(), &mut out)?;
        assert_eq!(out.remove(0), VERSION);
        Ok((keys, String::from_utf8_lossy(&out).into_owned()))
    }

    /// Each as PostgreSQL 15 sends it.
    #[test]
    fn values_are_written_as_postgres_writes_them() {
        for (json, expected) in [
            (
                r#"{"b":1,"a":[{},[],{"aa":1,"b":2,"a":1}],"":0}"#,
                r#"{"": 0, "a": [{}, [], {"a": 1, "b": 2, "aa": 1}], "b": 1}"#,
            ),
            (r#"{"\u00e9":1,"zz":2,"b":3}"#, r#"{"b": 3, "zz": 2, "é": 1}"#),
            (r#"{"b": {"d":1,"c":2} , "a":"x, y: "}"#, r#"{"a": "x, y: ", "b": {"c": 2, "d": 1}}"#),
            (r#"[": ",1,[": "]]"#, r#"[": ", 1, [": "]]"#),
            (r#""\u007f\u0001\u001F\b\f\n\r\t\/\\\"""#, "\"\u{7f}\\u0001\\u001f\\b\\f\\n\\r\\t/\\\\\\\"\""),
            (r#""é\u00e9\ud83d\ude00""#, "\"éé\u{1f600}\""),
            (" [ ] ", "[]"),
            ("{ }", "{}"),
            ("null", "null"),
            ("[true,false]", "[true, false]"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("-0e-2", "0.00"),
            ("0.0e-2", "0.000"),
            ("0.0e5", "0"),
            ("1e2", "100"),
            ("120e1", "1200"),
            ("1.50e1", "15.0"),
            ("1.50e-1", "0.150"),
            ("100e-1", "10.0"),
            ("1E-2", "0.01"),
            ("-1e-3", "-0.001"),
            ("-12.50", "-12.50"),
            ("0.00001e5", "1"),
            ("12345678901234567890123.4500", "12345678901234567890123.4500"),
        ] {
            assert_eq!(canonical(json), Ok((Keys::Unique, expected.to_owned())), "{json}");
        }
    }

    #[test]
    fn of_equal_keys_the_last_stays_and_it_is_said() {
        for (json, expected) in [
            (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#),
            (r#"{"b":1,"a":2,"\u0062":[3]}"#, r#"{"a": 2, "b": [3]}"#),
            (r#"[{"a":{"c":1,"c":2},"bb":0,"b":1}]"#, r#"[{"a": {"c": 2}, "b": 1, "bb": 0}]"#),
        ] {
            assert_eq!(canonical(json), Ok((Keys::Repeated, expected.to_owned())), "{json}");
        }
    }

    #[test]
    fn numbers_have_the_bounds_of_numeric() {
        let zeros = |count| "0".repeat(count);
        assert_eq!(canonical("1e131071"), Ok((Keys::Unique, format!("1{}", zeros(131_071)))));
        assert_eq!(canonical("1e-16383"), Ok((Keys::Unique, format!("0.{}1", zeros(16_382)))));
        assert_eq!(canonical("0e200000"), Ok((Keys::Unique, "0".to_owned())));
        let long = |digits| format!("1{}", zeros(digits));
        assert_eq!(canonical(&long(131_071)), Ok((Keys::Unique, long(131_071))));
        let refused = [
            "1e131072",
            "10e131071",
            "0.1e131073",
            "1e-16384",
            "10e-16384",
            "0e-16384",
            "1e99999999999999999999",
        ];
        for json in refused.map(str::to_owned).into_iter().chain([long(131_072)]) {
            assert_eq!(canonical(&json), Err(Reason::OutOfRange), "{:.20}", json);
        }
    }

    #[test]
    fn what_jsonb_cannot_hold_is_refused() {
        for json in [r#""\u0000""#, r#"{"\u0000":1}"#, r#""\ud800""#, "[1,]", "", "NaN", "01"] {
            assert_eq!(canonical(json), Err(Reason::NotJson), "{json}");
        }
    }
}
