//! A CHECK's definition, written so that PostgreSQL reads it as the very expression it was printed from.
//!
//! Must never change what the constraint says: a cast is added only where PostgreSQL would otherwise move one by itself, and
//! where the array's type is not certain the definition stays as the catalog prints it.

/// How PostgreSQL prints an array that it casts as a whole.
const OPENING: &str = "(ARRAY[";
const VARCHAR: &str = "::character varying";

/// `status in ('a', 'b')` of a varchar column is printed as `(ARRAY['a'::character varying, …])::text[]`, and PostgreSQL reads
/// that as another expression: a cast next to an array goes to its elements, one by one. With the array's own type said
/// first, the second cast stays outside.
pub(super) fn rereadable(definition: &str) -> String {
    let mut out = String::with_capacity(definition.len());
    let mut rest = definition;
    while !rest.is_empty() {
        if let Some(length) = varchar_array(rest) {
            let array = &rest[1..length];
            out.push('(');
            out.push_str(array);
            out.push_str(VARCHAR);
            out.push_str("[]");
            rest = &rest[length..];
        } else {
            let length = token(rest);
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    out
}

/// The length up to its closing bracket of an array of varchar that is cast as a whole. Each element has to say that type, and
/// without a length: one that has a length would get a cast of its own.
fn varchar_array(text: &str) -> Option<usize> {
    text.strip_prefix(OPENING)?;
    let (mut at, mut depth) = (OPENING.len(), 1_u32);
    while depth > 0 {
        let first = text[at..].chars().next()?;
        if depth == 1 && matches!(first, ',' | ']') && !text[..at].ends_with(VARCHAR) {
            return None;
        }
        match first {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            _ => {}
        }
        at += token(&text[at..]);
    }
    text[at..].starts_with(")::").then_some(at)
}

/// The length of what stands first: a quoted text or name, or one letter. Quotes within are doubled, so that such a text is read
/// as two that stand side by side; a backslash is doubled as well and can hide none.
fn token(text: &str) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    match text.as_bytes().first() {
        Some(quote @ (b'\'' | b'"')) => {
            text[first..].find(char::from(*quote)).map_or(text.len(), |end| first + end + 1)
        }
        Some(_) | None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(definition: &str, expected: &str) {
        assert_eq!(rereadable(definition), expected);
    }

    #[test]
    fn an_array_that_is_cast_as_a_whole_says_its_own_type_first() {
        check(
            "CHECK (((s)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
            "CHECK (((s)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying]::character varying[])::text[])))",
        );
        check(
            "CHECK (((a)::text <> ALL ((ARRAY['x'::character varying])::text[])) OR (b = ANY ((ARRAY[(c)::character varying, NULL::character varying])::text[])))",
            "CHECK (((a)::text <> ALL ((ARRAY['x'::character varying]::character varying[])::text[])) OR (b = ANY ((ARRAY[(c)::character varying, NULL::character varying]::character varying[])::text[])))",
        );
    }

    #[test]
    fn quotes_and_brackets_within_a_text_end_nothing() {
        check(
            "CHECK ((\"(ARRAY['\" = ANY ((ARRAY['it''s](['::character varying, E'\\\\'::character varying])::text[])))",
            "CHECK ((\"(ARRAY['\" = ANY ((ARRAY['it''s](['::character varying, E'\\\\'::character varying]::character varying[])::text[])))",
        );
    }

    #[test]
    fn everything_else_stays_as_it_is_printed() {
        for definition in [
            "CHECK ((n = ANY (ARRAY[1, 2, 3])))",
            "CHECK (((a)::text = ANY (ARRAY['x'::text, 'y'::text])))",
            "CHECK (((a)::text = ANY (ARRAY[('x'::character varying)::text, ('y'::character varying)::text])))",
            "CHECK (((a)::text = ANY ((ARRAY[a, 'b'::character varying])::text[])))",
            "CHECK (((a)::text = ANY ((ARRAY['b'::character varying, 'x'::character varying(5)])::text[])))",
            "CHECK ((length((ARRAY[f('x'::character varying)])[1]) > 0))",
            "CHECK ((t <> '(ARRAY[''a''::character varying])::text[]'::text))",
            "CHECK ((n > 0)) NOT VALID",
            "CHECK ((t <> 'unended",
            "(ARRAY['a'::character varying",
            "",
        ] {
            check(definition, definition);
        }
    }
}
