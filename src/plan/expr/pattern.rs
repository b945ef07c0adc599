//! LIKE and GLOB with constant patterns.
//!
//! SQLite's LIKE folds ASCII letters and knows no escape unless told; GLOB is exact. A pattern that is not a constant is refused:
//! the two grammars differ in what they do with it.

use super::term::{Term, text_of};
use crate::model::cell::CellBuf;
use crate::model::name::literal;
use crate::plan::parse::Refusal;

pub(super) fn like(text: Term, pattern: &Term, escape: Option<&Term>) -> Result<Term, Refusal> {
    let text = text.into_text("LIKE")?;
    let escape = escape.map(escape_of).transpose()?;
    let pattern = like_pattern(constant_of("LIKE", pattern)?, escape)?;
    let sql = if pattern.chars().any(|letter| letter.is_ascii_alphabetic()) {
        format!("(lower({} collate \"C\") like {})", text.text_sql(), literal(&pattern.to_ascii_lowercase()))
    } else {
        format!("({} like {})", text.sql, literal(&pattern))
    };
    Ok(Term::truth(sql))
}

pub(super) fn glob(text: Term, pattern: &Term) -> Result<Term, Refusal> {
    let text = text.into_text("GLOB")?;
    let regex = glob_regex(constant_of("GLOB", pattern)?)?;
    Ok(Term::truth(format!("({} collate \"C\" ~ {})", text.text_sql(), literal(&regex))))
}

/// The pattern with PostgreSQL's own escape, the backslash, before what stands for itself.
fn like_pattern(pattern: &str, escape: Option<char>) -> Result<String, Refusal> {
    let mut out = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let (letter, escaped) = if Some(letter) == escape {
            let next = letters.next();
            (next.ok_or_else(|| Refusal::new("LIKE", "its pattern ends with the escape character"))?, true)
        } else {
            (letter, false)
        };
        match letter {
            '%' | '_' if escaped => out.extend(['\\', letter]),
            '\\' => out.push_str("\\\\"),
            _ => out.push(letter),
        }
    }
    Ok(out)
}

fn escape_of(escape: &Term) -> Result<char, Refusal> {
    let text = constant_of("LIKE … ESCAPE", escape)?;
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some('%' | '_'), None) => {
            Err(Refusal::new("LIKE … ESCAPE", "the escape character is a wildcard itself"))
        }
        (Some(letter), None) if !letter.is_ascii_alphabetic() => Ok(letter),
        _ => Err(Refusal::new("LIKE … ESCAPE", "the escape is not one character, or is a letter")),
    }
}

fn constant_of<'t>(construct: &str, term: &'t Term) -> Result<&'t str, Refusal> {
    match term.cell() {
        Some(CellBuf::Text(bytes)) => text_of(bytes),
        _ => Err(Refusal::new(construct, "its pattern is not a constant text")),
    }
}

/// A regular expression anchored at both ends. In PostgreSQL's own flavour `.` and `[^…]` match line breaks too, as GLOB's do.
fn glob_regex(pattern: &str) -> Result<String, Refusal> {
    let mut regex = String::from("^");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => letters = glob_set(letters.as_str(), &mut regex)?.chars(),
            other => put_literal(other, &mut regex),
        }
    }
    regex.push('$');
    Ok(regex)
}

/// Writes one bracket expression and gives back what follows it. A `]` that comes first stands for itself, and so does a `-` that
/// has no start or no end, or follows a range.
fn glob_set<'p>(rest: &'p str, regex: &mut String) -> Result<&'p str, Refusal> {
    let never =
        || Refusal::new("GLOB", "its pattern has a bracket that is never closed, or a range that is empty");
    let (negated, mut rest) = match rest.strip_prefix('^') {
        Some(rest) => ("^", rest),
        None => ("", rest),
    };
    let mut members = String::new();
    if let Some(after) = rest.strip_prefix(']') {
        put_member(']', &mut members);
        rest = after;
    }
    let mut start = None;
    loop {
        let mut letters = rest.chars();
        let letter = letters.next().ok_or_else(never)?;
        rest = letters.as_str();
        match (letter, start, letters.next()) {
            (']', _, _) => break,
            ('-', Some(low), Some(high)) if high != ']' => {
                if high < low {
                    return Err(never());
                }
                members.push('-');
                put_member(high, &mut members);
                (start, rest) = (None, letters.as_str());
            }
            _ => {
                put_member(letter, &mut members);
                start = Some(letter);
            }
        }
    }
    if members.is_empty() {
        return Err(never());
    }
    regex.push_str(&format!("[{negated}{members}]"));
    Ok(rest)
}

fn put_literal(letter: char, regex: &mut String) {
    if letter.is_ascii_punctuation() && letter != '_' {
        regex.push('\\');
    }
    regex.push(letter);
}

fn put_member(letter: char, members: &mut String) {
    if matches!(letter, '\\' | ']' | '[' | '^' | '-') {
        members.push('\\');
    }
    members.push(letter);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn globs_become_anchored_regular_expressions() {
        let cases = [
            ("[A-Z]*", Some("^[A-Z].*$")),
            ("a?c", Some("^a.c$")),
            ("a.b+", Some("^a\\.b\\+$")),
            ("[^0-9]", Some("^[^0-9]$")),
            ("[]a]", Some("^[\\]a]$")),
            ("[^]a]", Some("^[^\\]a]$")),
            ("[a-c-e]", Some("^[a-c\\-e]$")),
            ("[a-]", Some("^[a\\-]$")),
            ("[-a]", Some("^[\\-a]$")),
            ("[a\\b]", Some("^[a\\\\b]$")),
            ("*", Some("^.*$")),
            ("", Some("^$")),
            ("[z-a]", None),
            ("[abc", None),
            ("[]", None),
        ];
        for (glob, expected) in cases {
            assert_eq!(glob_regex(glob).ok().as_deref(), expected, "{glob}");
        }
    }

    #[test]
    fn like_patterns_escape_the_backslash_and_what_was_escaped() {
        let cases = [
            ("x%", None, Some("x%")),
            ("a\\%", None, Some("a\\\\%")),
            ("10!%!_!!%", Some('!'), Some("10\\%\\_!%")),
            ("a\\_b", Some('\\'), Some("a\\_b")),
            ("a!", Some('!'), None),
        ];
        for (pattern, escape, expected) in cases {
            assert_eq!(like_pattern(pattern, escape).ok().as_deref(), expected, "{pattern}");
        }
    }
}
