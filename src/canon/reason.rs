//! Why a cell did not cross exactly: the words of the ledger. A word never changes its meaning and is never reused.

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
    /// Digits of a second's fraction beyond the column's.
    Precision,
    /// A local time that its zone skips or passes twice.
    Zone,
    /// A bare number whose unit nobody stated.
    NoUnit,
    NotJson,
    /// JSON with a key that stands twice in one object, of which the target keeps the last.
    DuplicateKeys,
    NotAnArray,
    /// The target type has no codec.
    Unsupported,
    /// NULL where the target column refuses it.
    NotNull,
    /// PostgreSQL itself refused the value.
    Refused,
    /// The cell has crossed, and stands beside a misfit of its row, which has no key.
    NoKey,
}

impl Reason {
    pub const ALL: [Reason; 29] = [
        Reason::Class,
        Reason::Spelling,
        Reason::Rounded,
        Reason::Fraction,
        Reason::OutOfRange,
        Reason::Infinite,
        Reason::NegativeZero,
        Reason::NotANumber,
        Reason::NotABoolean,
        Reason::NotText,
        Reason::TooLong,
        Reason::NotALabel,
        Reason::NotAUuid,
        Reason::NotAnAddress,
        Reason::NotADate,
        Reason::NotATime,
        Reason::NotATimestamp,
        Reason::NotAnInterval,
        Reason::Offset,
        Reason::Precision,
        Reason::Zone,
        Reason::NoUnit,
        Reason::NotJson,
        Reason::DuplicateKeys,
        Reason::NotAnArray,
        Reason::Unsupported,
        Reason::NotNull,
        Reason::Refused,
        Reason::NoKey,
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
            Reason::Unsupported => "unsupported",
            Reason::NotNull => "not-null",
            Reason::Refused => "refused",
            Reason::NoKey => "no-key",
        }
    }

    pub fn from_word(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_one_reason() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.word()), Some(reason));
        }
    }
}
