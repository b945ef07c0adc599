//! JSON text, token by token, as RFC 8259 has it and nothing besides: no comments, no NaN, no trailing commas.
//!
//! It checks the whole structure while it is read, without recursion, and decodes strings on demand. It keeps no tree.

/// Deeper nesting is refused, before PostgreSQL's stack would.
const DEPTH_MAX: usize = 5000;
const WORDS: usize = DEPTH_MAX.div_ceil(64);

/// One step through a valid text. Strings and numbers are as they are written, strings without their quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    Begin(Container),
    End(Container),
    /// An object's key; its value follows.
    Key(&'a [u8]),
    String(&'a [u8]),
    Number(&'a [u8]),
    True,
    False,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Array,
    Object,
}

/// The text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson;

pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the value begins that was begun last.
    value_at: usize,
    next: Next,
    depth: usize,
    /// One bit for each open container: set for an object.
    objects: [u64; WORDS],
}

/// What the grammar allows next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Value,
    /// A value, or the end of an array just begun.
    FirstValue,
    Key,
    /// A key, or the end of an object just begun.
    FirstKey,
    CommaOrEnd,
    Nothing,
}

/// Whether the whole text is one JSON value.
pub(super) fn is_json(text: &[u8]) -> bool {
    let Some(mut scanner) = Scanner::new(text) else { return false };
    loop {
        match scanner.step() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(NotJson) => return false,
        }
    }
}

impl<'a> Scanner<'a> {
    /// Nothing where the bytes are no UTF-8.
    pub fn new(text: &'a [u8]) -> Option<Scanner<'a>> {
        std::str::from_utf8(text).ok()?;
        Some(Scanner { text, at: 0, value_at: 0, next: Next::Value, depth: 0, objects: [0; WORDS] })
    }

    /// Where the value begins that was begun last, and where the last event ends.
    pub fn position(&self) -> (usize, usize) {
        (self.value_at, self.at)
    }

    /// The next event; `None` once the text has ended as it should.
    pub fn step(&mut self) -> Result<Option<Event<'a>>, NotJson> {
        self.skip_spaces();
        match (self.next, self.text.get(self.at)) {
            (Next::Nothing, None) => Ok(None),
            (Next::FirstKey, Some(b'}')) => self.end().map(Some),
            (Next::FirstKey | Next::Key, Some(b'"')) => self.key().map(Some),
            (Next::FirstValue, Some(b']')) => self.end().map(Some),
            (Next::FirstValue | Next::Value, Some(first)) => self.value(*first).map(Some),
            (Next::CommaOrEnd, Some(b',')) => {
                self.at += 1;
                self.next = if self.in_object() { Next::Key } else { Next::Value };
                self.step()
            }
            (Next::CommaOrEnd, Some(b'}')) if self.in_object() => self.end().map(Some),
            (Next::CommaOrEnd, Some(b']')) if !self.in_object() => self.end().map(Some),
            _ => Err(NotJson),
        }
    }

    fn value(&mut self, first: u8) -> Result<Event<'a>, NotJson> {
        self.value_at = self.at;
        match first {
            b'{' => return self.begin(Container::Object),
            b'[' => return self.begin(Container::Array),
            _ => {}
        }
        self.next = if self.depth == 0 { Next::Nothing } else { Next::CommaOrEnd };
        match first {
            b'"' => self.string().map(Event::String),
            b'-' | b'0'..=b'9' => self.number().map(Event::Number),
            b't' => self.word(b"true", Event::True),
            b'f' => self.word(b"false", Event::False),
            b'n' => self.word(b"null", Event::Null),
            _ => Err(NotJson),
        }
    }

    fn begin(&mut self, container: Container) -> Result<Event<'a>, NotJson> {
        if self.depth == DEPTH_MAX {
            return Err(NotJson);
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        match container {
            Container::Object => self.objects[word] |= bit,
            Container::Array => self.objects[word] &= !bit,
        }
        self.next = match container {
            Container::Object => Next::FirstKey,
            Container::Array => Next::FirstValue,
        };
        self.depth += 1;
        self.at += 1;
        Ok(Event::Begin(container))
    }

    fn end(&mut self) -> Result<Event<'a>, NotJson> {
        let container = if self.in_object() { Container::Object } else { Container::Array };
        self.depth -= 1;
        self.at += 1;
        self.next = if self.depth == 0 { Next::Nothing } else { Next::CommaOrEnd };
        Ok(Event::End(container))
    }

    fn in_object(&self) -> bool {
        let innermost = self.depth - 1;
        self.objects[innermost / 64] >> (innermost % 64) & 1 == 1
    }

    fn key(&mut self) -> Result<Event<'a>, NotJson> {
        let key = self.string()?;
        self.skip_spaces();
        if self.text.get(self.at) != Some(&b':') {
            return Err(NotJson);
        }
        self.at += 1;
        self.next = Next::Value;
        Ok(Event::Key(key))
    }

    /// A string from its opening quote on, its escapes checked.
    fn string(&mut self) -> Result<&'a [u8], NotJson> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            match self.text.get(at).ok_or(NotJson)? {
                b'"' => {
                    self.at = at + 1;
                    return Ok(&self.text[start..at]);
                }
                b'\\' => at += escape_length(&self.text[at + 1..]).ok_or(NotJson)? + 1,
                0..=0x1f => return Err(NotJson),
                _ => at += 1,
            }
        }
    }

    fn number(&mut self) -> Result<&'a [u8], NotJson> {
        let start = self.at;
        self.at += usize::from(self.text[start] == b'-');
        let whole = self.at;
        if self.digits() == 0 || (self.text[whole] == b'0' && self.at - whole > 1) {
            return Err(NotJson);
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(NotJson);
            }
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(NotJson);
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> usize {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn word(&mut self, word: &[u8], event: Event<'a>) -> Result<Event<'a>, NotJson> {
        if !self.text[self.at..].starts_with(word) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(event)
    }

    fn skip_spaces(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }
}

/// The length of an escape behind its backslash.
fn escape_length(text: &[u8]) -> Option<usize> {
    match text {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(1),
        [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => Some(5),
        _ => None,
    }
}

/// Appends what a checked string says. Nothing where it says what no UTF-8 text of PostgreSQL can: NUL, half a surrogate pair.
pub(super) fn unescape(string: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = string;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let length = escape_length(&rest[at + 1..])?;
        let escape = &rest[at + 1..];
        rest = &escape[length..];
        let plain = match escape[0] {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = unit(&escape[1..5])?;
                let low = match (unit, rest) {
                    (0xd800..=0xdbff, [b'\\', b'u', ..]) if rest.len() >= 6 => {
                        let low = unit_of_pair(&rest[2..6])?;
                        rest = &rest[6..];
                        Some(low)
                    }
                    _ => None,
                };
                let code = low.map_or(unit, |low| 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
                char::from_u32(code).filter(|letter| *letter != '\0')?
            }
            other => char::from(other),
        };
        out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out.extend_from_slice(rest);
    Some(())
}

fn unit_of_pair(digits: &[u8]) -> Option<u32> {
    unit(digits).filter(|unit| (0xdc00..=0xdfff).contains(unit))
}

fn unit(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_the_rfc_says() {
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-0",
            "-1.5e+10",
            "1E5",
            "\"\"",
            "[]",
            " [ ] ",
            "{}",
            "[1,2]",
            "{\"a\":1}",
            "{\"a\" : [ {} , null ] , \"a\":2}\r\n\t",
            "\"\\u0000\\ud800\\/\\\"\"",
            "\"\u{7f}é\u{10ffff}\"",
            "[[[]],{\"\":{}}]",
        ] {
            assert!(is_json(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_json() {
        for text in [
            "",
            " ",
            "nul",
            "nulls",
            "NaN",
            "Infinity",
            "-",
            "+1",
            "01",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "0x1F",
            "'a'",
            "\"",
            "\"a",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12G4\"",
            "\"\t\"",
            "\"\0\"",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "{\"a\" 1}",
            "[}",
            "{]",
            "1 2",
            "[]]",
            "// c\n1",
            "\u{feff}1",
            "1\u{a0}",
            "[1]\0",
        ] {
            assert!(!is_json(text.as_bytes()), "{text:?}");
        }
        assert!(!is_json(b"\"\xff\""));
        assert!(!is_json(b"\"\xed\xa0\x80\""));
    }

    #[test]
    fn nesting_has_a_bound() {
        let nested = |depth| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(is_json(&nested(DEPTH_MAX)));
        assert!(!is_json(&nested(DEPTH_MAX + 1)));
    }

    #[test]
    fn strings_are_decoded_or_refused() {
        let decoded = |string: &str| {
            let mut out = Vec::new();
            unescape(string.as_bytes(), &mut out).map(|()| String::from_utf8_lossy(&out).into_owned())
        };
        for (string, expected) in [
            ("plain é", Some("plain é")),
            (r#"\"\\\/\b\f\n\r\t"#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (r"\u00e9\u00E9x", Some("ééx")),
            (r"\ud83d\ude00!", Some("\u{1f600}!")),
            (r"\u0000", None),
            (r"\ud800", None),
            (r"\ud800x", None),
            (r"\ud800\ud800", None),
            (r"\ud800\u0041", None),
            (r"\udc00", None),
            (r"\ud800\n", None),
        ] {
            assert_eq!(decoded(string).as_deref(), expected, "{string}");
        }
    }
}
