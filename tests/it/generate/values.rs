//! Values that SQLite stores without a word and other databases stumble over.

use super::random::Random;
use liteferry::model::cell::CellBuf;

/// What the values of a column are mostly like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Small,
    Integer,
    Truth,
    Words(&'static str, &'static str),
    Real,
    Whole,
    Money,
    Digits,
    Date,
    Time,
    Moment(&'static str),
    Epoch(i64),
    Uuid(&'static str),
    Json,
    Text,
    Hostile,
    Blob,
    Any,
}

const KINDS: [Kind; 32] = [
    Kind::Small,
    Kind::Integer,
    Kind::Truth,
    Kind::Words("t", "f"),
    Kind::Words("true", "false"),
    Kind::Words("Yes", "No"),
    Kind::Words("1", "0"),
    Kind::Real,
    Kind::Whole,
    Kind::Money,
    Kind::Digits,
    Kind::Date,
    Kind::Time,
    Kind::Moment("{d} {t}"),
    Kind::Moment("{d}T{t}Z"),
    Kind::Moment("{d} {t}.{f}"),
    Kind::Moment("{d} {t}.{n}+02:00"),
    Kind::Moment("{d}T{t}.{f}+00:00"),
    Kind::Moment("{d} {t} +0000 UTC"),
    Kind::Moment("{d}"),
    Kind::Epoch(1),
    Kind::Epoch(1_000),
    Kind::Epoch(1_000_000),
    Kind::Uuid("hyphens"),
    Kind::Uuid("bare"),
    Kind::Uuid("upper"),
    Kind::Uuid("bytes"),
    Kind::Json,
    Kind::Text,
    Kind::Hostile,
    Kind::Blob,
    Kind::Any,
];

const INTEGERS: [i64; 16] = [
    0,
    1,
    -1,
    2,
    127,
    32_767,
    32_768,
    -32_769,
    2_147_483_647,
    2_147_483_648,
    -2_147_483_649,
    9_007_199_254_740_992,
    9_007_199_254_740_993,
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
];

const REALS: [f64; 20] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    1.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    5e-324,
    -2.225_073_858_507_201e-308,
    f64::MAX,
    f64::MIN_POSITIVE,
    1e15,
    1e16,
    1e22,
    1e23,
    9_007_199_254_740_993.0,
    9_223_372_036_854_775_807.0,
    -9_223_372_036_854_775_808.0,
    123_456_789.123_456_79,
];

const NUMERALS: [&str; 18] = [
    "7",
    "007",
    "+7",
    "-0",
    "1.50",
    ".5",
    "5.",
    "1e3",
    "1E+400",
    "0x10",
    " 42",
    "42 ",
    "1_000",
    "NaN",
    "Infinity",
    "99999999999999999999",
    "0.1000000000000000055511151231257827",
    "-1e-400",
];

const DATES: [&str; 14] = [
    "2024-02-29",
    "1999-12-31",
    "0001-01-01",
    "9999-12-31",
    "0000-00-00",
    "2023-02-29",
    "2024-2-9",
    "24-02-29",
    "-4713-11-24",
    "12345-01-01",
    "today",
    "29/02/2024",
    "20240229",
    "infinity",
];

const TIMES: [&str; 10] = [
    "00:00:00",
    "23:59:59",
    "24:00:00",
    "12:30",
    "23:59:60",
    "01:02:03.4",
    "01:02:03.123456",
    "01:02:03.1234567",
    "1:2:3",
    "25:00:00",
];

const JSONS: [&str; 16] = [
    "{}",
    "[]",
    "null",
    "true",
    "1",
    "1.0",
    "-0",
    "\"a\"",
    "{\"a\": 1, \"b\": [1, 2.50, null]}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\":\"\\ud800\"}",
    "{a:1}",
    "{\"a\":",
    "1e200000",
    "  [ ]  ",
];

const TEXTS: [&str; 24] = [
    "",
    " ",
    "abc   ",
    "\\N",
    "\\.",
    "a\tb\nc\r\n",
    "'\"`$$ $1 ?",
    "😀👩‍👩‍👧",
    "é",
    "e\u{301}",
    "\u{feff}bom",
    "\u{ffff}",
    "\u{10ffff}",
    "\u{1}\u{7f}\u{85}",
    "NULL",
    "a",
    "A",
    "ÀÉ",
    "aà",
    "null\u{2028}",
    "%s",
    "{1,2}",
    "straße",
    "İ",
];

/// Bytes that no UTF-8 text has, and a NUL.
const BROKEN: [&[u8]; 7] =
    [b"a\0b", b"\0", b"caf\xe9", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"];

impl Kind {
    pub fn any(random: &mut Random) -> Kind {
        *random.pick(&KINDS)
    }

    /// What a declared type suggests.
    pub fn of_declared(declared: &str, random: &mut Random) -> Kind {
        let lower = declared.to_ascii_lowercase();
        let holds = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if holds(&["bool", "tinyint(1)", "bit"]) {
            *random.pick(&[Kind::Truth, Kind::Truth, Kind::Words("t", "f"), Kind::Words("true", "false")])
        } else if holds(&["datetime", "timestamp"]) {
            let moments: Vec<Kind> =
                KINDS.into_iter().filter(|kind| matches!(kind, Kind::Moment(_))).collect();
            if random.in_hundred(75) { *random.pick(&moments) } else { Kind::Epoch(*random.pick(&[1, 1000])) }
        } else if holds(&["date"]) {
            Kind::Date
        } else if holds(&["time"]) {
            Kind::Time
        } else if holds(&["uuid", "guid", "unique"]) {
            Kind::Uuid(random.pick::<&str>(&["hyphens", "bare", "upper", "bytes"]))
        } else if holds(&["json"]) {
            Kind::Json
        } else if holds(&["blob", "byte", "binary"]) {
            Kind::Blob
        } else if holds(&["char", "text", "clob", "string", "enum"]) {
            *random.pick(&[Kind::Text, Kind::Text, Kind::Digits, Kind::Hostile])
        } else if holds(&["int", "serial"]) {
            *random.pick(&[Kind::Small, Kind::Integer])
        } else if holds(&["real", "floa", "doub"]) {
            *random.pick(&[Kind::Real, Kind::Whole])
        } else if holds(&["dec", "num", "money", "currency"]) {
            *random.pick(&[Kind::Money, Kind::Digits, Kind::Small])
        } else {
            Kind::any(random)
        }
    }

    pub fn value(self, random: &mut Random) -> CellBuf {
        match self {
            Kind::Small => CellBuf::Integer(random.number() % 1000),
            Kind::Integer if random.in_hundred(40) => CellBuf::Integer(*random.pick(&INTEGERS)),
            Kind::Integer => CellBuf::Integer(random.next().cast_signed() >> random.below(64)),
            Kind::Truth => CellBuf::Integer(random.number() & 1),
            Kind::Words(yes, no) => text(if random.in_hundred(50) { yes } else { no }),
            Kind::Real if random.in_hundred(40) => CellBuf::Real(*random.pick(&REALS)),
            Kind::Real if random.in_hundred(30) => CellBuf::Real(f64::from_bits(random.next())),
            Kind::Real => CellBuf::Real(money(random) / 3.0),
            Kind::Whole => CellBuf::Real((money(random)).trunc()),
            Kind::Money => CellBuf::Real(money(random)),
            Kind::Digits if random.in_hundred(50) => text(random.pick(&NUMERALS)),
            Kind::Digits => text(random.number().to_string()),
            Kind::Date if random.in_hundred(10) => text(random.pick(&DATES)),
            Kind::Date => text(date(random)),
            Kind::Time if random.in_hundred(10) => text(random.pick(&TIMES)),
            Kind::Time => text(clock(random)),
            Kind::Moment(pattern) => text(moment(random, pattern)),
            Kind::Epoch(per_second) => CellBuf::Integer((1_700_000_000 + random.number() / 10) * per_second),
            Kind::Uuid(dress) => uuid(random, dress),
            Kind::Json if random.in_hundred(10) => text(random.pick(&JSONS)),
            Kind::Json => text(format!("{{\"n\": {}, \"s\": [\"é\", null]}}", random.number())),
            Kind::Text if random.in_hundred(50) => text(random.pick(&TEXTS)),
            Kind::Text => text(format!("text {}", random.number() % 50)),
            Kind::Hostile if random.in_hundred(40) => CellBuf::Text(random.pick(&BROKEN).to_vec()),
            Kind::Hostile if random.in_hundred(5) => text("long é ".repeat(random.below(900))),
            Kind::Hostile => text(random.pick(&TEXTS)),
            Kind::Blob if random.in_hundred(20) => CellBuf::Blob(Vec::new()),
            Kind::Blob => CellBuf::Blob(random.next().to_be_bytes()[..random.below(8)].to_vec()),
            Kind::Any => KINDS[random.below(KINDS.len() - 1)].value(random),
        }
    }
}

/// A cell bound to a statement, byte for byte.
pub struct Bound<'c>(pub &'c CellBuf);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self.0 {
            CellBuf::Null => ValueRef::Null,
            CellBuf::Integer(value) => ValueRef::Integer(*value),
            CellBuf::Real(value) => ValueRef::Real(*value),
            CellBuf::Text(bytes) => ValueRef::Text(bytes),
            CellBuf::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn text<T: AsRef<str>>(text: T) -> CellBuf {
    CellBuf::Text(text.as_ref().as_bytes().to_vec())
}

fn money(random: &mut Random) -> f64 {
    f64::from(u32::try_from(random.number()).expect("it is below 2^32")) / 100.0
}

fn date(random: &mut Random) -> String {
    format!("{:04}-{:02}-{:02}", 1900 + random.below(200), 1 + random.below(12), 1 + random.below(28))
}

fn clock(random: &mut Random) -> String {
    format!("{:02}:{:02}:{:02}", random.below(24), random.below(60), random.below(60))
}

fn moment(random: &mut Random, pattern: &str) -> String {
    let (micros, nanos) = (format!("{:06}", random.below(1_000_000)), format!("{:09}", random.number()));
    let filled = pattern.replace("{d}", &date(random)).replace("{t}", &clock(random));
    filled.replace("{f}", &micros).replace("{n}", &nanos)
}

fn uuid(random: &mut Random, dress: &str) -> CellBuf {
    let bytes = [random.next().to_be_bytes(), random.next().to_be_bytes()].concat();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let dressed = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    match dress {
        "bytes" => CellBuf::Blob(bytes),
        "bare" => text(hex),
        "upper" => text(dressed.to_uppercase()),
        _ => text(dressed),
    }
}
