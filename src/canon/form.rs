//! Forms: how the source spells a column's values, so that the target's bytes can be turned back into the same cells.

/// One form per column, learned from its values or set by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The class the type has by nature: integers INTEGER, floats REAL, text TEXT, bytea BLOB, booleans INTEGER 0 and 1,
    /// numeric INTEGER when integral and within 64 bits, otherwise REAL.
    Native,
    /// Numbers as SQLite's INTEGER and NUMERIC affinities store them: INTEGER when integral and exact, otherwise REAL.
    Number,
    /// Numbers as REAL even when integral.
    Real,
    /// Numbers and booleans written as TEXT digits: `42`, `10.50`.
    Digits,
    /// In a text column: what SQLite's numeric affinity would store for that text (INTEGER or REAL when it looks like a number, else TEXT).
    Affinity,
    /// Bytes of TEXT class in a bytea column; bytes of BLOB class in a text or JSON column.
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
}
