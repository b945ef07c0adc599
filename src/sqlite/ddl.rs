//! What only the text of a CREATE statement tells: CHECKs, generated expressions, constraint names, deferrability, ON CONFLICT, the
//! expressions of indexes, the module of a virtual table.
//!
//! Reads tokens of text that SQLite itself has accepted, and returns slices of it: nothing is rendered anew and nothing
//! recurses, however deep a hostile expression is nested. It never decides alone: the caller compares what is found with
//! what the PRAGMAs say, and `None` means that the text could not be read.

use crate::model::schema::{Deferrable, OnConflict, SqliteCheck};
use sqlite3_parser::lexer::Scanner;
use sqlite3_parser::lexer::sql::{TokenType, Tokenizer};

#[derive(Debug, Default)]
pub struct TableText {
    pub columns: Vec<ColumnText>,
    pub checks: Vec<SqliteCheck>,
    /// In order of declaration; `PRAGMA foreign_key_list` counts from the last.
    pub foreign_keys: Vec<ForeignKeyText>,
    pub on_conflict: Vec<OnConflict>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ColumnText {
    pub name: String,
    pub generated: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ForeignKeyText {
    pub name: Option<String>,
    pub parent: String,
    pub deferrable: Deferrable,
}

#[derive(Debug, PartialEq, Eq)]
pub struct IndexText {
    /// One for each key part, without trailing COLLATE, ASC or DESC.
    pub parts: Vec<String>,
    pub predicate: Option<String>,
}

/// `CREATE TABLE name (…) options`; SQLite stores this form for every ordinary table, CREATE TABLE AS included.
pub fn read_table(sql: &str) -> Option<TableText> {
    let tokens = lex(sql)?;
    let (_, body, _) = around_first_group(&tokens)?;
    let mut table = TableText::default();
    for item in split_at_commas(body)? {
        let mut reader = ItemReader { sql, tokens: item, at: 0, constraint_name: None, table: &mut table };
        reader.read()?;
    }
    Some(table)
}

/// `CREATE [UNIQUE] INDEX name ON table (…) [WHERE …]`.
pub fn read_index(sql: &str) -> Option<IndexText> {
    let tokens = lex(sql)?;
    let (_, body, tail) = around_first_group(&tokens)?;
    let parts = split_at_commas(body)?
        .into_iter()
        .map(|part| text_of(sql, without_order(part)))
        .collect::<Option<Vec<_>>>()?;
    let predicate = match tail {
        [] => None,
        [first, condition @ ..] if first.kind == TokenType::TK_WHERE => Some(text_of(sql, condition)?),
        _ => return None,
    };
    Some(IndexText { parts, predicate })
}

/// The module of `CREATE VIRTUAL TABLE name USING module…`.
pub fn read_module(sql: &str) -> Option<String> {
    // The module's own arguments need not be SQL: only what stands before them is read.
    let mut tokens = Tokens::of(sql).map_while(|token| token);
    tokens.find(|token| token.kind == TokenType::TK_USING)?;
    tokens.next().map(|module| module.unquoted())
}

#[derive(Clone, Copy)]
struct Token<'a> {
    kind: TokenType,
    text: &'a str,
    start: usize,
    end: usize,
}

/// `None` in place of a token that cannot be read; nothing after it.
struct Tokens<'a> {
    sql: &'a str,
    scanner: Scanner<Tokenizer>,
    broken: bool,
}

impl<'a> Tokens<'a> {
    fn of(sql: &'a str) -> Tokens<'a> {
        Tokens { sql, scanner: Scanner::new(Tokenizer::new()), broken: false }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Option<Token<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let scanned = self.scanner.scan(self.sql.as_bytes());
        let token = match scanned {
            Ok((_, None, _)) => return None,
            Ok((start, Some((_, kind)), end)) => {
                self.sql.get(start..end).map(|text| Token { kind, text, start, end })
            }
            Err(_) => None,
        };
        self.broken = token.is_none();
        Some(token)
    }
}

impl Token<'_> {
    /// The name that a token spells: quotes off, doubled quotes single.
    fn unquoted(&self) -> String {
        let mut chars = self.text.chars();
        let close = match chars.next() {
            Some('[') => ']',
            Some(quote @ ('"' | '\'' | '`')) => quote,
            _ => return self.text.to_owned(),
        };
        let inner = chars.as_str().strip_suffix(close).unwrap_or(chars.as_str());
        if close == ']' {
            inner.to_owned()
        } else {
            inner.replace(&format!("{close}{close}"), &close.to_string())
        }
    }
}

fn lex(sql: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Tokens::of(sql).collect::<Option<Vec<_>>>()?;
    while tokens.last().is_some_and(|token| token.kind == TokenType::TK_SEMI) {
        tokens.pop();
    }
    Some(tokens)
}

/// Splits at the first parenthesis and its partner: before, inside, after.
fn around_first_group<'t, 'a>(
    tokens: &'t [Token<'a>],
) -> Option<(&'t [Token<'a>], &'t [Token<'a>], &'t [Token<'a>])> {
    let open = tokens.iter().position(|token| token.kind == TokenType::TK_LP)?;
    let length = group_length(&tokens[open..])?;
    Some((&tokens[..open], &tokens[open + 1..open + length - 1], &tokens[open + length..]))
}

/// Tokens from a parenthesis up to and with its partner.
fn group_length(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenType::TK_LP => depth += 1,
            TokenType::TK_RP => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(index + 1);
        }
    }
    None
}

/// Commas inside parentheses do not count. Nothing between two commas is not SQL.
fn split_at_commas<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<Vec<&'t [Token<'a>]>> {
    let mut depth = 0_usize;
    let mut items = Vec::new();
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenType::TK_LP => depth += 1,
            TokenType::TK_RP => depth = depth.checked_sub(1)?,
            TokenType::TK_COMMA if depth == 0 => {
                items.push(&tokens[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    items.push(&tokens[start..]);
    items.iter().all(|item| !item.is_empty()).then_some(items)
}

/// From the first to the last token, comments between them included.
fn text_of(sql: &str, tokens: &[Token<'_>]) -> Option<String> {
    let (first, last) = (tokens.first()?, tokens.last()?);
    sql.get(first.start..last.end).map(str::to_owned)
}

fn without_order<'t, 'a>(part: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let part = match part {
        [rest @ .., last]
            if !rest.is_empty() && matches!(last.kind, TokenType::TK_ASC | TokenType::TK_DESC) =>
        {
            rest
        }
        _ => part,
    };
    let mut operand = part;
    while let [rest @ .., collate, _] = operand
        && collate.kind == TokenType::TK_COLLATE
    {
        operand = rest;
    }
    if is_operand(operand) { operand } else { part }
}

/// Whether a COLLATE after these tokens is about all of them, and not only about the right side of an operator: one word,
/// one group, or one call.
fn is_operand(tokens: &[Token<'_>]) -> bool {
    let group_from = |start: usize| {
        let group = tokens.get(start..).unwrap_or_default();
        group.first().is_some_and(|token| token.kind == TokenType::TK_LP)
            && group_length(group) == Some(group.len())
    };
    match tokens {
        [] => false,
        [_] => true,
        [first, ..] => group_from(0) || is_callable(first.kind) && group_from(1),
    }
}

/// What may stand before the parenthesis of a call; the operators that may stand there are not among these.
fn is_callable(kind: TokenType) -> bool {
    !matches!(
        kind,
        TokenType::TK_NOT
            | TokenType::TK_EXISTS
            | TokenType::TK_MINUS
            | TokenType::TK_PLUS
            | TokenType::TK_BITNOT
    )
}

/// Walks one item between the commas of a table's body: a column with its constraints, or table constraints. Words that
/// begin a constraint are reserved, so that none of them can be part of a type or of an unquoted name.
struct ItemReader<'t, 'a> {
    sql: &'a str,
    tokens: &'t [Token<'a>],
    at: usize,
    constraint_name: Option<String>,
    table: &'t mut TableText,
}

impl<'t, 'a> ItemReader<'t, 'a> {
    fn read(&mut self) -> Option<()> {
        let first = self.tokens.first()?;
        let is_column = !matches!(
            first.kind,
            TokenType::TK_CONSTRAINT
                | TokenType::TK_PRIMARY
                | TokenType::TK_UNIQUE
                | TokenType::TK_CHECK
                | TokenType::TK_FOREIGN
        );
        if is_column {
            self.at = 1;
            self.table.columns.push(ColumnText { name: first.unquoted(), generated: None });
        }
        while let Some(token) = self.take() {
            self.read_after(token.kind)?;
        }
        Some(())
    }

    fn read_after(&mut self, kind: TokenType) -> Option<()> {
        match kind {
            TokenType::TK_CONSTRAINT => self.constraint_name = Some(self.take()?.unquoted()),
            TokenType::TK_CHECK => {
                let check = SqliteCheck { name: self.constraint_name.take(), expression: self.expression()? };
                self.table.checks.push(check);
            }
            TokenType::TK_AS => {
                let expression = self.expression()?;
                self.table.columns.last_mut()?.generated = Some(expression);
            }
            TokenType::TK_REFERENCES => {
                let parent = self.take()?.unquoted();
                let name = self.constraint_name.take();
                self.table.foreign_keys.push(ForeignKeyText { name, parent, deferrable: Deferrable::No });
            }
            TokenType::TK_NOT => self.after_not()?,
            TokenType::TK_DEFERRABLE => {
                let deferrable = self.initially();
                self.defer(deferrable);
            }
            TokenType::TK_DEFAULT => self.skip_default()?,
            // Of `ON DELETE SET NULL` and `SET DEFAULT`, whose second word would else begin a constraint.
            TokenType::TK_SET => drop(self.take()?),
            TokenType::TK_COLLATE => {
                self.constraint_name = None;
                self.take()?;
            }
            TokenType::TK_PRIMARY | TokenType::TK_UNIQUE | TokenType::TK_NULL => self.constraint_name = None,
            TokenType::TK_LP => {
                self.at -= 1;
                self.group()?;
            }
            TokenType::TK_ON if self.next_is(TokenType::TK_CONFLICT) => {
                self.take()?;
                self.settle(self.tokens.get(self.at)?.kind);
            }
            // Names, types, FOREIGN KEY, MATCH and the like: nothing that the PRAGMAs do not tell.
            _ => {}
        }
        Some(())
    }

    fn settle(&mut self, how: TokenType) {
        let settled = match how {
            TokenType::TK_REPLACE => OnConflict::Replace,
            TokenType::TK_IGNORE => OnConflict::Ignore,
            _ => return,
        };
        if !self.table.on_conflict.contains(&settled) {
            self.table.on_conflict.push(settled);
        }
    }

    fn take(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn next_is(&self, kind: TokenType) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.kind == kind)
    }

    /// The tokens inside the group that begins here; moves behind it.
    fn group(&mut self) -> Option<&'t [Token<'a>]> {
        let rest = self.tokens.get(self.at..)?;
        if rest.first()?.kind != TokenType::TK_LP {
            return None;
        }
        let length = group_length(rest)?;
        self.at += length;
        Some(&rest[1..length - 1])
    }

    fn expression(&mut self) -> Option<String> {
        text_of(self.sql, self.group()?)
    }

    /// `NOT NULL`, or `NOT DEFERRABLE` with an INITIALLY that SQLite reads and ignores.
    fn after_not(&mut self) -> Option<()> {
        if self.take()?.kind == TokenType::TK_DEFERRABLE {
            self.initially();
            self.defer(Deferrable::No);
        } else {
            self.constraint_name = None;
        }
        Some(())
    }

    /// Concerns the foreign key declared last; SQLite ignores the clause where there is none.
    fn defer(&mut self, deferrable: Deferrable) {
        if let Some(foreign_key) = self.table.foreign_keys.last_mut() {
            foreign_key.deferrable = deferrable;
        }
    }

    fn initially(&mut self) -> Deferrable {
        if !self.next_is(TokenType::TK_INITIALLY) {
            return Deferrable::InitiallyImmediate;
        }
        self.at += 1;
        match self.take() {
            Some(word) if word.kind == TokenType::TK_DEFERRED => Deferrable::InitiallyDeferred,
            _ => Deferrable::InitiallyImmediate,
        }
    }

    /// The default itself is in `table_xinfo`; here it is only passed over.
    fn skip_default(&mut self) -> Option<()> {
        self.constraint_name = None;
        if self.next_is(TokenType::TK_LP) {
            return self.group().map(drop);
        }
        let signed = self.next_is(TokenType::TK_PLUS) || self.next_is(TokenType::TK_MINUS);
        self.at += if signed { 2 } else { 1 };
        Some(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checks(sql: &str) -> Vec<(Option<String>, String)> {
        read_table(sql).unwrap().checks.into_iter().map(|check| (check.name, check.expression)).collect()
    }

    #[test]
    fn columns_are_read_whatever_their_types_and_constraints() {
        let sql = "CREATE TABLE \"t(\" (a, \"b\"\"x\" /* , */ TEXT(3, -4) DEFAULT (',' || ')') NOT NULL, [c d] -- , (\n\
            double precision DEFAULT -1.5 COLLATE \"no(case\", 'e' INTEGER CONSTRAINT pk PRIMARY KEY ASC ON CONFLICT ABORT \
            AUTOINCREMENT, `f` DEFAULT null, window, generated, g AS (a + 1), \
            h INT GENERATED ALWAYS AS ( /* why */ (a) * 2 ) STORED, analyse x NULL, i DEFAULT current_timestamp CHECK (i > 0), \
            j DEFAULT +1 UNIQUE, PRIMARY KEY (a, \"b\"\"x\" COLLATE nocase)) STRICT";
        let table = read_table(sql).unwrap();
        let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(
            names,
            ["a", "b\"x", "c d", "e", "f", "window", "generated", "g", "h", "analyse", "i", "j"]
        );
        assert_eq!(table.columns[7].generated.as_deref(), Some("a + 1"));
        assert_eq!(table.columns[8].generated.as_deref(), Some("(a) * 2"));
        assert_eq!(table.checks.len(), 1);
    }

    #[test]
    fn checks_keep_their_words_and_their_own_names_only() {
        let sql = "create table t(a CONSTRAINT n1 CHECK (a > 0) CHECK (a IN (1, 2) /* x */ ), b CONSTRAINT nn NOT NULL CHECK(b), \
            CONSTRAINT \"n 2\" CHECK (a <> ')') CHECK (b), UNIQUE (a) CHECK (c.d->>'$.x' -- end\n))";
        let expected = [
            (Some("n1"), "a > 0"),
            (None, "a IN (1, 2)"),
            (None, "b"),
            (Some("n 2"), "a <> ')'"),
            (None, "b"),
            (None, "c.d->>'$.x'"),
        ];
        let expected: Vec<_> =
            expected.into_iter().map(|(name, text)| (name.map(str::to_owned), text.to_owned())).collect();
        assert_eq!(checks(sql), expected);
    }

    #[test]
    fn what_settles_a_conflict_in_silence_is_told_once() {
        for (sql, expected) in [
            (
                "create table t(a integer primary key on conflict fail, b unique on conflict abort, c not null)",
                &[][..],
            ),
            (
                "create table t(a unique on conflict ignore, conflict text, on_conflict replace)",
                &[OnConflict::Ignore],
            ),
            (
                "create table t(a not null on conflict replace default 1, b, unique (a, b) on conflict replace, check (a on_ > 0), \
                 constraint c primary key (b) on conflict ignore)",
                &[OnConflict::Replace, OnConflict::Ignore],
            ),
        ] {
            assert_eq!(read_table(sql).unwrap().on_conflict, expected, "{sql}");
        }
    }

    #[test]
    fn foreign_keys_keep_name_and_deferrability() {
        let sql = "create table t(a REFERENCES p DEFERRABLE INITIALLY DEFERRED, \
            b CONSTRAINT fb REFERENCES \"q q\"(x) ON DELETE SET NULL ON UPDATE SET DEFAULT CHECK (b) DEFERRABLE, \
            c REFERENCES r MATCH FULL NOT DEFERRABLE INITIALLY DEFERRED, d REFERENCES s NOT NULL, \
            CONSTRAINT fe FOREIGN KEY (a, b) REFERENCES u(x, y) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE)";
        let table = read_table(sql).unwrap();
        let expected = [
            (None, "p", Deferrable::InitiallyDeferred),
            (Some("fb"), "q q", Deferrable::InitiallyImmediate),
            (None, "r", Deferrable::No),
            (None, "s", Deferrable::No),
            (Some("fe"), "u", Deferrable::InitiallyImmediate),
        ];
        for (found, (name, parent, deferrable)) in table.foreign_keys.iter().zip(expected) {
            let name = name.map(str::to_owned);
            assert_eq!(*found, ForeignKeyText { name, parent: parent.into(), deferrable });
        }
        assert_eq!((table.foreign_keys.len(), table.checks.len()), (5, 1));
    }

    #[test]
    fn index_parts_lose_order_and_outer_collation_only() {
        let cases = [
            ("a", "a"),
            ("a DESC", "a"),
            ("desc", "desc"),
            ("asc ASC", "asc"),
            ("\"a\" COLLATE nocase DESC", "\"a\""),
            ("lower(a) COLLATE \"x y\" ASC", "lower(a)"),
            ("(a || b) COLLATE nocase", "(a || b)"),
            ("a COLLATE binary COLLATE nocase", "a"),
            ("a = b COLLATE nocase", "a = b COLLATE nocase"),
            ("f(a) = (b) COLLATE nocase DESC", "f(a) = (b) COLLATE nocase"),
            ("NOT (a) COLLATE nocase", "NOT (a) COLLATE nocase"),
            ("coalesce(a, ',') /* c */ desc", "coalesce(a, ',')"),
        ];
        for (part, expected) in cases {
            let index = read_index(&format!("CREATE INDEX \"i (\" ON t(z, {part});")).unwrap();
            assert_eq!(
                index,
                IndexText { parts: vec!["z".into(), expected.into()], predicate: None },
                "{part}"
            );
        }
        let index = read_index("CREATE UNIQUE INDEX i ON t(a) WHERE a > 0 -- positive\n AND (b)").unwrap();
        assert_eq!(index.predicate.as_deref(), Some("a > 0 -- positive\n AND (b)"));
    }

    #[test]
    fn a_module_is_read_before_its_arguments() {
        let cases = [
            ("CREATE VIRTUAL TABLE x USING fts5(a, content='')", Some("fts5")),
            ("CREATE VIRTUAL TABLE \"using\" /* USING y */ USING \"my \"\"mod\"(a 'b", Some("my \"mod")),
            ("CREATE VIRTUAL TABLE x USING bare", Some("bare")),
            ("CREATE VIRTUAL TABLE x", None),
            ("'", None),
        ];
        for (sql, expected) in cases {
            assert_eq!(read_module(sql).as_deref(), expected, "{sql}");
        }
    }

    #[test]
    fn text_that_cannot_be_read_is_not_guessed_at() {
        for sql in [
            "",
            "(",
            ")",
            "create table t",
            "create table t(a",
            "create table t(a,,b)",
            "create table t(a check)",
            "create table t('a)",
            "create table t(a constraint)",
        ] {
            assert!(read_table(sql).is_none(), "{sql}");
            assert!(
                read_index(sql).is_none() || sql.contains("check") || sql.contains("constraint"),
                "{sql}"
            );
        }
        assert!(read_index("create index i on t(a) having b").is_none());
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = format!("create table t(a check ({}1{}))", "(".repeat(500_000), ")".repeat(500_000));
        assert_eq!(read_table(&deep).unwrap().checks[0].expression.len(), 1_000_001);
        let collated = format!("create index i on t(a{})", " collate x".repeat(2_000));
        assert_eq!(read_index(&collated).unwrap().parts, ["a"]);
    }
}
