//! Why a cell did not cross exactly: the words of the ledger. A word never changes its meaning and is never reused.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The target gives the value back in another storage class.
    Class,
    /// The target gives the value back in another spelling.
    Spelling,
    /// Digits beyond the column's scale or the float's mantissa were rounded.
    Rounded,
    /// A number with a fraction in an integer column.
    Fraction,
    OutOfRange,
    Infinite,
    /// -0.0 where the target knows no signed zero.
    NegativeZero,
    NotANumber,
    NotABoolean,
    /// Text with a NUL or that is not UTF-8.
    NotText,
    /// Longer than the column's limit in characters.
    TooLong,
    NotALabel,
    NotAUuid,
    NotAnAddress,
    NotADate,
    NotATime,
    NotATimestamp,
    NotAnInterval,
    /// The offset from UTC is not given back.
    Offset,
    /// Digits of a second's fraction beyond the column's, or a second clock beside the time.
    Precision,
    /// A local time that its zone skips or passes twice.
    Zone,
    /// A bare number whose unit nobody stated.
    NoUnit,
    NotJson,
    /// JSON with a key that stands twice in one object, of which the target keeps the last.
    DuplicateKeys,
    NotAnArray,
    NotBase64,
    NotLatin1,
    /// The target type has no codec.
    Unsupported,
    /// NULL where the target column refuses it.
    NotNull,
    /// PostgreSQL itself refused the value.
    Refused,
    /// The cell has crossed, and stands beside a misfit of its row, which has no key.
    NoKey,
    /// On the way back: a value of PostgreSQL's that the column's form does not spell.
    Unspelt,
}

impl Reason {
    /// A value that stands in the ledger for one of these has lost no more than how it was written, or its last digits.
    pub const ACCEPTABLE: [Reason; 6] = [
        Reason::Class,
        Reason::Spelling,
        Reason::Offset,
        Reason::NegativeZero,
        Reason::Precision,
        Reason::Rounded,
    ];

    /// The stable word of ledger, reports and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Class => "class",
            Reason::Spelling => "spelling",
            Reason::Rounded => "rounded",
            Reason::Fraction => "fraction",
            Reason::OutOfRange => "out-of-range",
            Reason::Infinite => "infinite",
            Reason::NegativeZero => "negative-zero",
            Reason::NotANumber => "not-a-number",
            Reason::NotABoolean => "not-a-boolean",
            Reason::NotText => "not-text",
            Reason::TooLong => "too-long",
            Reason::NotALabel => "not-a-label",
            Reason::NotAUuid => "not-a-uuid",
            Reason::NotAnAddress => "not-an-address",
            Reason::NotADate => "not-a-date",
            Reason::NotATime => "not-a-time",
            Reason::NotATimestamp => "not-a-timestamp",
            Reason::NotAnInterval => "not-an-interval",
            Reason::Offset => "offset",
            Reason::Precision => "precision",
            Reason::Zone => "zone",
            Reason::NoUnit => "no-unit",
            Reason::NotJson => "not-json",
            Reason::DuplicateKeys => "duplicate-keys",
            Reason::NotAnArray => "not-an-array",
            Reason::NotBase64 => "not-base64",
            Reason::NotLatin1 => "not-latin1",
            Reason::Unsupported => "unsupported",
            Reason::NotNull => "not-null",
            Reason::Refused => "refused",
            Reason::NoKey => "no-key",
            Reason::Unspelt => "reverse-spelling",
        }
    }
}

/// By which rule the target refused a row, as the ledger has it after the word: `refused:23505:t_v_key`. Never a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedBy {
    pub sqlstate: String,
    /// The constraint's name; or the column's, where there is no constraint.
    pub name: Option<String>,
}

impl RefusedBy {
    /// `None` for what is no refusal, or for one that names no rule.
    pub fn from_reason(reason: &str) -> Option<RefusedBy> {
        let rule = reason.strip_prefix(Reason::Refused.word())?.strip_prefix(':')?;
        let (sqlstate, name) = match rule.split_once(':') {
            Some((sqlstate, name)) => (sqlstate, Some(name.to_owned())),
            None => (rule, None),
        };
        Some(RefusedBy { sqlstate: sqlstate.to_owned(), name })
    }
}

impl fmt::Display for RefusedBy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", Reason::Refused.word(), self.sqlstate)?;
        self.name.iter().try_for_each(|name| write!(out, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_rule_and_is_read_back() {
        let by = |sqlstate: &str, name: Option<&str>| RefusedBy {
            sqlstate: sqlstate.into(),
            name: name.map(Into::into),
        };
        for (rule, written) in [
            (by("23505", Some("t_v_key")), "refused:23505:t_v_key"),
            (by("23514", Some("a:b")), "refused:23514:a:b"),
            (by("22012", None), "refused:22012"),
        ] {
            assert_eq!(rule.to_string(), written);
            assert_eq!(RefusedBy::from_reason(written), Some(rule));
        }
        for other in ["refused", "not-null", ""] {
            assert_eq!(RefusedBy::from_reason(other), None, "{other}");
        }
    }
}
