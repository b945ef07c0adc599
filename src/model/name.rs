//! Names and their quoting: the only way a name or a literal enters SQL text.

use std::fmt;

/// PostgreSQL keeps this many bytes of a name and drops the rest with only a notice.
pub const PG_NAME_BYTES_MAX: usize = 63;

/// A table, index or sequence in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PgName {
    pub schema: String,
    pub name: String,
}

impl PgName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> PgName {
        PgName { schema: schema.into(), name: name.into() }
    }

    /// `"schema"."name"`, as SQL.
    pub fn sql(&self) -> String {
        format!("{}.{}", ident(&self.schema), ident(&self.name))
    }
}

impl fmt::Display for PgName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.schema, self.name)
    }
}

/// A quoted identifier; SQLite and PostgreSQL quote alike.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal for PostgreSQL with `standard_conforming_strings` on, and for SQLite.
/// A NUL cannot stand in SQL text of either; callers never pass one.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Names joined for a column list: `"a", "b"`.
pub fn ident_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// Folds as SQLite compares names: ASCII letters only.
pub fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(PgName::new("s", "T x").sql(), "\"s\".\"T x\"");
        assert_eq!(folded("ÉÀb"), "ÉÀb");
        assert_eq!(folded("ABC"), "abc");
    }
}
