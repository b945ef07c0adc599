//! Just enough of Rust's lexis to look at code without being misled by its comments and strings. It parses nothing.

/// Replaces comments by spaces and keeps every newline, so that line numbers hold.
pub fn without_comments(source: &str) -> String {
    blanked(source, Strings::Kept)
}

/// Replaces comments and the insides of strings and characters by spaces.
pub fn code_only(source: &str) -> String {
    blanked(source, Strings::Blanked)
}

/// What stands before the unit tests of a file.
pub fn production(source: &str) -> &str {
    let tests = test_items(source).find(|(_, item)| item.ends_with('{'));
    tests.map_or(source, |(at, _)| &source[..at])
}

/// Modules in files of their own that are compiled for tests only.
pub fn test_modules(source: &str) -> impl Iterator<Item = &str> {
    test_items(source).filter_map(|(_, item)| words(item.strip_suffix(';')?).last().map(|(_, name)| name))
}

/// Each `#[cfg(test)]` at a line's start, with the line of the item it belongs to.
fn test_items(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source.match_indices("\n#[cfg(test)]\n").filter_map(|(at, mark)| {
        let item = source[at + mark.len()..].lines().find(|line| !line.starts_with("#["))?;
        Some((at + 1, item.trim_end()))
    })
}

pub fn line_of(source: &str, at: usize) -> usize {
    source[..at].matches('\n').count() + 1
}

/// The first byte after the bracket that closes the one at `open`; the text must be `code_only`.
pub fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The identifiers of a text with the places where they start.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    code.split(move |c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strings {
    Kept,
    Blanked,
}

fn blanked(source: &str, strings: Strings) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let (length, kept) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if let Some(length) = string(rest, at.checked_sub(1).map(|before| bytes[before])) {
            (length, strings == Strings::Kept)
        } else {
            (rest.chars().next().map_or(1, char::len_utf8), true)
        };
        let piece = &rest[..length];
        if kept {
            out.push_str(piece);
        } else {
            out.extend(piece.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        }
        at += length;
    }
    out
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of the string or character literal that starts here.
fn string(rest: &str, before: Option<u8>) -> Option<usize> {
    let in_word = before.is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    let prefix = match rest.find(|c: char| !c.is_ascii_lowercase())? {
        length if length <= 2 && !in_word => length,
        _ => 0,
    };
    let (prefix, body) = rest.split_at(prefix);
    if prefix.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        if !body[hashes..].starts_with('"') {
            return None;
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = hashes + 1;
        return Some(prefix.len() + inside + body[inside..].find(&end)? + end.len());
    }
    match body.as_bytes().first()? {
        b'"' => Some(prefix.len() + quoted(body, '"')?),
        b'\'' if is_character(body) => Some(prefix.len() + quoted(body, '\'')?),
        _ => None,
    }
}

fn is_character(body: &str) -> bool {
    let mut inside = body[1..].chars();
    match inside.next() {
        Some('\\') => true,
        Some(_) => inside.next() == Some('\''),
        None => false,
    }
}

fn quoted(body: &str, quote: char) -> Option<usize> {
    let mut chars = body.char_indices().skip(1);
    while let Some((at, next)) = chars.next() {
        if next == '\\' {
            chars.next();
        } else if next == quote {
            return Some(at + quote.len_utf8());
        }
    }
    None
}

#[test]
fn comments_and_strings_do_not_mislead() {
    for (source, expected) in [
        ("a // b\nc", "a c"),
        ("a /* /* x */ { */ b", "a b"),
        (r#"f("}\"{") '{'"#, "f( )"),
        (r##"r#"}"{"# x"##, "x"),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        (r"b'\'' '\u{7d}' 'é' y", "y"),
        ("b\"}\" bar\"\" /", "bar /"),
    ] {
        let code = code_only(source);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{source}");
        assert_eq!((code.len(), code.lines().count()), (source.len(), source.lines().count()), "{source}");
    }
    assert_eq!(without_comments("\"// no\" // yes").trim_end(), "\"// no\"");
    assert_eq!(closing("f(a(b)[c])d", 1), Some(10));
    let source = "mod b;\n#[cfg(test)]\nmod c;\nfn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n";
    assert_eq!(production(source), "mod b;\n#[cfg(test)]\nmod c;\nfn a() {}\n");
    assert_eq!(test_modules(source).collect::<Vec<_>>(), ["c"]);
    assert_eq!(words("a+b_1").collect::<Vec<_>>(), [(0, "a"), (2, "b_1")]);
}
