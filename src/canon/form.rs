//! Forms: how the source spells a column's values, so that the target's bytes can be turned back into the same cells.
//!
//! One form per column, never per cell: it is learned from the values or set by the operator, in the words that `Display` writes
//! and `FromStr` reads. It must never be guessed from one value alone.

pub use super::array_text::ArrayText;
pub use super::interval::Duration;
pub use super::moment::Moment;
pub use super::zone::Zone;

use crate::model::schema::Affinity;
use crate::model::types::Type;
use std::fmt;
use std::str::FromStr;

/// One form per column, learned from its values or set by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The class the type has by nature: integers INTEGER, floats REAL, text TEXT, bytea BLOB, booleans INTEGER 0 and 1,
    /// numeric INTEGER when integral and within 64 bits, otherwise REAL. Types that SQLite has no class for: TEXT in their
    /// own plain spelling.
    Native,
    /// `Native`, with the empty text for NULL, in a column whose type holds no empty text. An application writes this that knows no NULL.
    EmptyNull,
    /// Numbers as SQLite's INTEGER and NUMERIC affinities store them: INTEGER when integral and exact, otherwise REAL.
    /// In an inet column: an IPv4 address as INTEGER.
    Number,
    /// Numbers as REAL even when integral.
    Real,
    /// In a float4 column: REAL as the shortest digits name it, 99.99. An application that computes in doubles writes this; one that widens
    /// its own float4 writes 99.98999786376953, which is `Native`.
    Shortest,
    /// Numbers and booleans written as TEXT digits: `42`, `10.50`.
    Digits,
    /// In a numeric column: TEXT digits without the zeros at a fraction's end, whatever the column's scale.
    Trimmed(Trim),
    /// In a numeric column: INTEGERs whose 64 bits count from 0 to 2^64 - 1, so that the upper half is negative to SQLite (.NET's `ulong`).
    Unsigned,
    /// In a text column: INTEGER and REAL by their one spelling (`1`, `1.0`), every other text TEXT. What SQLite's numeric
    /// affinities leave behind in one column crosses exactly, and so do classes mixed in a column without a type.
    Affinity,
    /// Bytes of TEXT class in a bytea column; bytes of BLOB class in a text or JSON column, and in a numeric one, where they are its digits:
    /// so a decimal stays what it is in a column that SQLite takes for one of numbers (Tryton).
    OtherClass,
    /// Truth written as words.
    Words(Words),
    /// Date and time as text.
    Moment(Moment),
    /// Date and time as a number since 1970-01-01T00:00:00 UTC (or, for `Julian`, REAL days).
    Epoch(Unit),
    /// A 36 or 32 character text.
    UuidText(UuidText),
    /// 16 bytes.
    UuidBlob(ByteOrder),
    /// A length of time.
    Duration(Duration),
    /// An array as JSON text.
    Array(ArrayText),
    /// An array as its elements with commas between: `a,b`.
    List,
    /// In a bytea column: bytes as their base64, a TEXT.
    Base64,
    /// In a bytea column: a TEXT of one letter for each byte, U+0000 to U+00FF.
    Latin1,
}

/// What is left of a fraction that is nothing but zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trim {
    /// Nothing: `2`, `1.5`. JavaScript's libraries of decimals.
    Bare,
    /// One digit: `2.0`, `1.5`. EF Core.
    Point,
}

/// A pair of words for true and false, in one case: an index into `SPELLINGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Words(u8);

/// The word of the setting, true, false.
const SPELLINGS: [(&str, &str, &str); 13] = [
    ("words-tf", "t", "f"),
    ("words-TF", "T", "F"),
    ("words-true-false", "true", "false"),
    ("words-True-False", "True", "False"),
    ("words-TRUE-FALSE", "TRUE", "FALSE"),
    ("words-yn", "y", "n"),
    ("words-YN", "Y", "N"),
    ("words-yes-no", "yes", "no"),
    ("words-Yes-No", "Yes", "No"),
    ("words-YES-NO", "YES", "NO"),
    ("words-on-off", "on", "off"),
    ("words-On-Off", "On", "Off"),
    ("words-ON-OFF", "ON", "OFF"),
];

/// What a bare number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
    /// .NET: 100 ns; in a date or timestamp since 0001-01-01.
    Ticks,
    /// REAL seconds with a fraction.
    RealSeconds,
    /// REAL days since noon of 24 November 4714 BC, as SQLite's `julianday()` gives them.
    Julian,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UuidText {
    pub dress: Dress,
    pub case: Case,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dress {
    /// `8-4-4-4-12`.
    Hyphens,
    /// 32 hexadecimal digits.
    Bare,
    /// Hyphens within `{}`.
    Braces,
    /// Hyphens after `urn:uuid:`.
    Urn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    Lower,
    Upper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    BigEndian,
    /// .NET's `Guid.ToByteArray`: the first three groups little-endian.
    Mixed,
}

/// What is known of a column before its values are seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hints {
    pub affinity: Affinity,
    pub zone: Zone,
    /// Set by the operator; nothing is learned against it.
    pub form: Option<Form>,
    /// Unit of bare integers, where the operator states one.
    pub unit: Option<Unit>,
}

/// A setting that names no form.
#[derive(Debug, thiserror::Error)]
#[error("name a form: \"{0}\" is none")]
pub struct UnknownForm(pub String);

/// What a form comes to for a number or a truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numeral {
    Natural,
    Number,
    Real,
    Digits,
}

/// What a form comes to for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Textual {
    Text,
    Blob,
    Affinity,
}

impl Form {
    /// Whether it reads times and lengths of time from bare numbers.
    pub fn counts(self) -> bool {
        match self {
            Form::Epoch(_) => true,
            Form::Duration(duration) => duration.unit().is_some(),
            Form::Native | Form::Number | Form::Real | Form::Shortest | Form::Digits => false,
            Form::Trimmed(_) | Form::Unsigned => false,
            Form::EmptyNull | Form::Affinity | Form::OtherClass => false,
            Form::Words(_) | Form::Moment(_) | Form::UuidText(_) | Form::UuidBlob(_) => false,
            Form::Array(_) | Form::List | Form::Base64 | Form::Latin1 => false,
        }
    }

    /// How it spells what is not NULL.
    pub(super) fn of_values(self) -> Form {
        if self == Form::EmptyNull { Form::Native } else { self }
    }

    /// The form of a column none of whose values was seen yet, and the first among equals when they were.
    pub fn usual(ty: &Type, affinity: Affinity) -> Form {
        match ty {
            Type::Bool => match affinity {
                Affinity::Real => Form::Real,
                Affinity::Text => Form::Digits,
                Affinity::Integer | Affinity::Numeric | Affinity::Blob => Form::Native,
            },
            Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid | Type::Numeric(_) => match affinity {
                Affinity::Real => Form::Real,
                Affinity::Text => Form::Digits,
                Affinity::Integer | Affinity::Numeric | Affinity::Blob => Form::Native,
            },
            Type::Float4 | Type::Float8 => match affinity {
                Affinity::Integer | Affinity::Numeric => Form::Number,
                Affinity::Text => Form::Digits,
                Affinity::Real | Affinity::Blob if *ty == Type::Float4 => Form::Shortest,
                Affinity::Real | Affinity::Blob => Form::Native,
            },
            Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext | Type::Enum(_) => {
                match affinity {
                    Affinity::Integer | Affinity::Numeric | Affinity::Real => Form::Affinity,
                    Affinity::Text | Affinity::Blob => Form::Native,
                }
            }
            Type::Bytea => match affinity {
                Affinity::Text => Form::OtherClass,
                Affinity::Integer | Affinity::Numeric | Affinity::Real | Affinity::Blob => Form::Native,
            },
            Type::Uuid => Form::UuidText(UuidText::PLAIN),
            Type::Inet | Type::Cidr | Type::Macaddr | Type::Json | Type::Jsonb => Form::Native,
            Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) => Form::Native,
            Type::Interval(_) | Type::Array { .. } | Type::Other(_) => Form::Native,
        }
    }

    /// Its word, where it says more than that each value is of the class and the spelling that one expects.
    pub fn told(self) -> Option<String> {
        match self {
            Form::Native | Form::Number | Form::Real | Form::Shortest | Form::Digits => None,
            Form::Affinity | Form::OtherClass | Form::Trimmed(_) => None,
            Form::Words(_) | Form::Moment(_) | Form::Epoch(_) | Form::UuidText(_) => Some(self.to_string()),
            Form::EmptyNull
            | Form::UuidBlob(_)
            | Form::Duration(_)
            | Form::Array(_)
            | Form::List
            | Form::Base64
            | Form::Latin1
            | Form::Unsigned => Some(self.to_string()),
        }
    }

    pub(super) fn numeral(self) -> Numeral {
        match self {
            Form::Number => Numeral::Number,
            Form::Real => Numeral::Real,
            Form::Digits | Form::Trimmed(_) => Numeral::Digits,
            Form::Native | Form::Shortest | Form::Affinity | Form::OtherClass | Form::Unsigned => {
                Numeral::Natural
            }
            Form::Words(_) | Form::Moment(_) | Form::Epoch(_) | Form::UuidText(_) => Numeral::Natural,
            Form::EmptyNull
            | Form::UuidBlob(_)
            | Form::Duration(_)
            | Form::Array(_)
            | Form::List
            | Form::Base64
            | Form::Latin1 => Numeral::Natural,
        }
    }

    pub(super) fn textual(self) -> Textual {
        match self {
            Form::Affinity => Textual::Affinity,
            Form::OtherClass => Textual::Blob,
            Form::Native | Form::Number | Form::Real | Form::Shortest | Form::Digits => Textual::Text,
            Form::Trimmed(_) | Form::Unsigned => Textual::Text,
            Form::Words(_) | Form::Moment(_) | Form::Epoch(_) | Form::UuidText(_) => Textual::Text,
            Form::EmptyNull
            | Form::UuidBlob(_)
            | Form::Duration(_)
            | Form::Array(_)
            | Form::List
            | Form::Base64
            | Form::Latin1 => Textual::Text,
        }
    }
}

impl Words {
    pub fn all() -> impl Iterator<Item = Words> {
        (0..).zip(SPELLINGS).map(|(index, _)| Words(index))
    }

    pub fn spelling(self, truth: bool) -> &'static str {
        let (_, yes, no) = SPELLINGS[usize::from(self.0)];
        if truth { yes } else { no }
    }

    /// The words a text is one of, and what it says; letters must match.
    pub fn of(text: &[u8]) -> Option<(Words, bool)> {
        Words::find(|word| word.as_bytes() == text)
    }

    /// What a text says in whatever case.
    pub fn truth(text: &[u8]) -> Option<bool> {
        Words::find(|word| word.as_bytes().eq_ignore_ascii_case(text)).map(|(_, truth)| truth)
    }

    fn find(matches: impl Fn(&str) -> bool) -> Option<(Words, bool)> {
        Words::all().find_map(|words| {
            let says = |truth: bool| matches(words.spelling(truth)).then_some((words, truth));
            says(true).or_else(|| says(false))
        })
    }

    fn word(self) -> &'static str {
        SPELLINGS[usize::from(self.0)].0
    }
}

impl Unit {
    pub const ALL: [Unit; 7] = [
        Unit::Seconds,
        Unit::Millis,
        Unit::Micros,
        Unit::Nanos,
        Unit::Ticks,
        Unit::RealSeconds,
        Unit::Julian,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Millis => "ms",
            Unit::Micros => "us",
            Unit::Nanos => "ns",
            Unit::Ticks => "ticks",
            Unit::RealSeconds => "real-s",
            Unit::Julian => "julian",
        }
    }
}

impl UuidText {
    /// Lower case with hyphens, as PostgreSQL shows it.
    pub const PLAIN: UuidText = UuidText { dress: Dress::Hyphens, case: Case::Lower };

    fn all() -> impl Iterator<Item = UuidText> {
        let dresses = [Dress::Hyphens, Dress::Bare, Dress::Braces, Dress::Urn];
        let both = |dress| [Case::Lower, Case::Upper].map(|case| UuidText { dress, case });
        dresses.into_iter().flat_map(both)
    }

    fn word(self) -> &'static str {
        match (self.dress, self.case) {
            (Dress::Hyphens, Case::Lower) => "uuid",
            (Dress::Hyphens, Case::Upper) => "uuid-upper",
            (Dress::Bare, Case::Lower) => "uuid-hex",
            (Dress::Bare, Case::Upper) => "uuid-hex-upper",
            (Dress::Braces, Case::Lower) => "uuid-braces",
            (Dress::Braces, Case::Upper) => "uuid-braces-upper",
            (Dress::Urn, Case::Lower) => "uuid-urn",
            (Dress::Urn, Case::Upper) => "uuid-urn-upper",
        }
    }
}

impl Default for Hints {
    fn default() -> Hints {
        Hints { affinity: Affinity::Blob, zone: Zone::default(), form: None, unit: None }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl FromStr for Unit {
    type Err = UnknownForm;

    fn from_str(word: &str) -> Result<Unit, UnknownForm> {
        Unit::ALL.into_iter().find(|unit| unit.word() == word).ok_or_else(|| UnknownForm(word.to_owned()))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Native => out.write_str("native"),
            Form::EmptyNull => out.write_str("empty-null"),
            Form::Number => out.write_str("number"),
            Form::Real => out.write_str("real"),
            Form::Shortest => out.write_str("shortest"),
            Form::Digits => out.write_str("digits"),
            Form::Trimmed(Trim::Bare) => out.write_str("digits-trimmed"),
            Form::Trimmed(Trim::Point) => out.write_str("digits-trimmed-1"),
            Form::Unsigned => out.write_str("unsigned"),
            Form::Affinity => out.write_str("affinity"),
            Form::OtherClass => out.write_str("other-class"),
            Form::Words(words) => out.write_str(words.word()),
            Form::Moment(moment) => moment.fmt(out),
            Form::Epoch(unit) => write!(out, "epoch-{unit}"),
            Form::UuidText(text) => out.write_str(text.word()),
            Form::UuidBlob(ByteOrder::BigEndian) => out.write_str("uuid-blob"),
            Form::UuidBlob(ByteOrder::Mixed) => out.write_str("uuid-blob-mixed"),
            Form::Duration(duration) => duration.fmt(out),
            Form::Array(text) => text.fmt(out),
            Form::List => out.write_str("array-list"),
            Form::Base64 => out.write_str("base64"),
            Form::Latin1 => out.write_str("latin1"),
        }
    }
}

impl FromStr for Form {
    type Err = UnknownForm;

    fn from_str(word: &str) -> Result<Form, UnknownForm> {
        let numbers = [Form::Native, Form::Number, Form::Real, Form::Shortest, Form::Digits];
        let plain = numbers.into_iter().chain([
            Form::Trimmed(Trim::Bare),
            Form::Trimmed(Trim::Point),
            Form::Unsigned,
            Form::EmptyNull,
            Form::Affinity,
            Form::OtherClass,
            Form::List,
            Form::Base64,
            Form::Latin1,
        ]);
        let blobs = [ByteOrder::BigEndian, ByteOrder::Mixed].map(Form::UuidBlob);
        plain
            .chain(blobs)
            .chain(Words::all().map(Form::Words))
            .chain(UuidText::all().map(Form::UuidText))
            .chain(Unit::ALL.map(Form::Epoch))
            .find(|form| form.to_string() == word)
            .or_else(|| word.parse().ok().map(Form::Moment))
            .or_else(|| word.parse().ok().map(Form::Duration))
            .or_else(|| word.parse().ok().map(Form::Array))
            .ok_or_else(|| UnknownForm(word.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_form_names_that_form() {
        let words = "native empty-null number real shortest digits digits-trimmed digits-trimmed-1 unsigned affinity other-class words-tf words-TF words-Yes-No epoch-s epoch-ms \
                     epoch-ticks epoch-julian uuid uuid-upper uuid-hex uuid-braces-upper uuid-urn uuid-blob uuid-blob-mixed array-list base64 latin1";
        for word in words.split_ascii_whitespace() {
            assert_eq!(word.parse::<Form>().unwrap().to_string(), word);
        }
        assert!("words".parse::<Form>().is_err());
        assert!("".parse::<Form>().is_err());
    }

    #[test]
    fn words_are_known_in_any_case_and_told_apart_by_it() {
        assert_eq!(
            Words::of(b"True").map(|(words, truth)| (words.word(), truth)),
            Some(("words-True-False", true))
        );
        assert_eq!(
            Words::of(b"OFF").map(|(words, truth)| (words.word(), truth)),
            Some(("words-ON-OFF", false))
        );
        assert_eq!(Words::of(b"tRUE"), None);
        assert_eq!(Words::truth(b"tRUE"), Some(true));
        assert_eq!(Words::truth(b"tr"), None);
    }
}
