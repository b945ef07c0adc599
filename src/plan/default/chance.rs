//! Defaults that draw: random numbers, random hexadecimal digits, and uuids put together from them.
//!
//! A uuid is told by its shape, not by its spelling: whatever pieces it is built of, the text that comes out is what counts.

use super::{DefaultTarget, Holds, fit, misplaced, spelled};
use crate::model::cell::{Cell, CellBuf};
use crate::model::schema::Affinity;
use crate::model::types::Type;
use crate::plan::parse::{self, Refusal};
use sqlite3_parser::ast::{Expr, Operator};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    Uuid(Dress, Case),
    /// `randomblob(16)`.
    Bytes,
    Integer(Draw),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dress {
    Hyphens,
    Bare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Lower,
    Upper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    Any,
    NotNegative,
    /// From `first`, so many.
    Among {
        first: i64,
        count: i64,
    },
}

/// One character of a text that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Glyph {
    Letter(char),
    Hex(Case),
    /// One of 8, 9, a and b: the variant digit of a uuid.
    Variant(Case),
}

/// More than any default that is read here.
const GLYPHS_MAX: usize = 64;

const ANY: &str = "hashtextextended(gen_random_uuid()::text, 0)";

pub(super) fn recognised(expr: &Expr<'_>) -> Option<Chance> {
    if let Some(draw) = draw(expr) {
        return Some(Chance::Integer(draw));
    }
    if spelled(expr) == "randomblob(16)" {
        return Some(Chance::Bytes);
    }
    uuid_shape(&glyphs(expr)?).map(|(dress, case)| Chance::Uuid(dress, case))
}

impl Chance {
    pub fn sql(&self, target: DefaultTarget<'_>) -> Result<String, Refusal> {
        let ty = &target.codec.ty;
        match self {
            Chance::Uuid(dress, case) => match ty {
                Type::Uuid => {
                    let sample = sample(*dress, *case);
                    match fit(target.codec, Cell::Text(sample.as_bytes()), &mut Vec::new())? {
                        Holds::Value => Ok("gen_random_uuid()".to_owned()),
                        Holds::Null => Err(misplaced("a random uuid", target)),
                    }
                }
                Type::Text | Type::Varchar(None) | Type::Citext => Ok(uuid_text(*dress, *case)),
                _ => Err(misplaced("a random uuid", target)),
            },
            Chance::Bytes => match ty {
                Type::Bytea => Ok("uuid_send(gen_random_uuid())".to_owned()),
                _ => Err(misplaced("randomblob(16)", target)),
            },
            Chance::Integer(draw) => draw.sql(target),
        }
    }
}

impl Draw {
    fn sql(self, target: DefaultTarget<'_>) -> Result<String, Refusal> {
        let sql = match self {
            Draw::Any => ANY.to_owned(),
            Draw::NotNegative => format!("({ANY} & 9223372036854775807)"),
            Draw::Among { first: 0, count } => format!("floor(random() * {count})::bigint"),
            Draw::Among { first, count } => format!("(floor(random() * {count})::bigint + {first})"),
        };
        match (&target.codec.ty, target.affinity) {
            (Type::Int8 | Type::Numeric(None), Affinity::Integer | Affinity::Numeric | Affinity::Blob) => {
                Ok(sql)
            }
            (Type::Text | Type::Varchar(None), Affinity::Text) => Ok(format!("{sql}::text")),
            _ => Err(misplaced("a random number", target)),
        }
    }
}

fn draw(expr: &Expr<'_>) -> Option<Draw> {
    match spelled(expr).as_str() {
        "random()" => return Some(Draw::Any),
        "abs(random())" => return Some(Draw::NotNegative),
        _ => {}
    }
    let (first, among) = match parse::bare(expr) {
        Expr::Binary(left, Operator::Add, right) => match (integer(left), integer(right)) {
            (Some(first), None) => (first, right),
            (None, Some(first)) => (first, left),
            _ => return None,
        },
        _ => (0, &expr),
    };
    let Expr::Binary(left, Operator::Modulus, right) = parse::bare(among) else { return None };
    let count = integer(right).filter(|count| (1..=1 << 53).contains(count))?;
    let whole = spelled(left) == "abs(random())" && (-(1 << 53)..=1 << 53).contains(&first);
    whole.then_some(Draw::Among { first, count })
}

fn integer(expr: &Expr<'_>) -> Option<i64> {
    match parse::constant(expr)? {
        CellBuf::Integer(value) => Some(value),
        CellBuf::Null | CellBuf::Real(_) | CellBuf::Text(_) | CellBuf::Blob(_) => None,
    }
}

/// The text that an expression comes to, character by character.
fn glyphs(expr: &Expr<'_>) -> Option<Vec<Glyph>> {
    let expr = parse::bare(expr);
    let found = match expr {
        Expr::Binary(left, Operator::Concat, right) => [glyphs(left)?, glyphs(right)?].concat(),
        Expr::FunctionCall { name, args: Some(args), .. } => call(&name.0.to_ascii_lowercase(), args)?,
        _ => match parse::constant(expr)? {
            CellBuf::Text(bytes) => String::from_utf8(bytes).ok()?.chars().map(Glyph::Letter).collect(),
            CellBuf::Integer(digits) => digits.to_string().chars().map(Glyph::Letter).collect(),
            CellBuf::Null | CellBuf::Real(_) | CellBuf::Blob(_) => return None,
        },
    };
    (found.len() <= GLYPHS_MAX).then_some(found)
}

fn call(name: &str, args: &[Expr<'_>]) -> Option<Vec<Glyph>> {
    match (name, args) {
        ("lower", [text]) => Some(glyphs(text)?.into_iter().map(|glyph| glyph.cased(Case::Lower)).collect()),
        ("upper", [text]) => Some(glyphs(text)?.into_iter().map(|glyph| glyph.cased(Case::Upper)).collect()),
        ("hex", [bytes]) => match parse::bare(bytes) {
            Expr::FunctionCall { name, args: Some([count]), .. }
                if name.0.eq_ignore_ascii_case("randomblob") =>
            {
                let count =
                    usize::try_from(integer(count)?).ok().filter(|count| (1..=GLYPHS_MAX).contains(count))?;
                Some(vec![Glyph::Hex(Case::Upper); count * 2])
            }
            _ => None,
        },
        ("substr" | "substring", [text, start, length])
            if draw(start) == Some(Draw::Among { first: 1, count: 4 }) =>
        {
            variant(&glyphs(text)?, integer(length)?)
        }
        ("substr" | "substring", [text, start, rest @ ..]) if rest.len() <= 1 => {
            let skipped = usize::try_from(integer(start)?).ok()?.checked_sub(1)?;
            let length = match rest {
                [length] => usize::try_from(integer(length)?).ok()?,
                _ => GLYPHS_MAX,
            };
            Some(glyphs(text)?.into_iter().skip(skipped).take(length).collect())
        }
        _ => None,
    }
}

impl Glyph {
    fn cased(self, case: Case) -> Glyph {
        match (self, case) {
            (Glyph::Letter(letter), Case::Lower) => Glyph::Letter(letter.to_ascii_lowercase()),
            (Glyph::Letter(letter), Case::Upper) => Glyph::Letter(letter.to_ascii_uppercase()),
            (Glyph::Hex(_), case) => Glyph::Hex(case),
            (Glyph::Variant(_), case) => Glyph::Variant(case),
        }
    }
}

/// One character drawn from the four that a uuid of version 4 may have there.
fn variant(letters: &[Glyph], length: i64) -> Option<Vec<Glyph>> {
    let has = |wanted: &str| {
        length == 1
            && letters.len() == 4
            && wanted.chars().all(|letter| letters.contains(&Glyph::Letter(letter)))
    };
    if has("89ab") {
        Some(vec![Glyph::Variant(Case::Lower)])
    } else if has("89AB") {
        Some(vec![Glyph::Variant(Case::Upper)])
    } else {
        None
    }
}

/// Digits of one case, with hyphens or none; the version and variant digits may be drawn or set.
fn uuid_shape(glyphs: &[Glyph]) -> Option<(Dress, Case)> {
    let dress = match glyphs.len() {
        36 => Dress::Hyphens,
        32 => Dress::Bare,
        _ => return None,
    };
    let hyphens = [8, 13, 18, 23];
    let is_hyphen = |place: usize| dress == Dress::Hyphens && hyphens.contains(&place);
    if (0..glyphs.len()).any(|place| is_hyphen(place) != (glyphs[place] == Glyph::Letter('-'))) {
        return None;
    }
    let digits: Vec<Glyph> = glyphs.iter().copied().filter(|glyph| *glyph != Glyph::Letter('-')).collect();
    let case = if digits.contains(&Glyph::Hex(Case::Upper)) { Case::Upper } else { Case::Lower };
    let fits = digits.iter().enumerate().all(|(place, glyph)| match glyph {
        Glyph::Hex(found) => *found == case,
        Glyph::Letter('4') => place == 12,
        Glyph::Variant(found) => place == 16 && *found == case,
        Glyph::Letter(_) => false,
    });
    fits.then_some((dress, case))
}

fn uuid_text(dress: Dress, case: Case) -> String {
    let text = match dress {
        Dress::Hyphens => "gen_random_uuid()::text".to_owned(),
        Dress::Bare => "replace(gen_random_uuid()::text, '-', '')".to_owned(),
    };
    match case {
        Case::Lower => text,
        Case::Upper => format!("upper({text})"),
    }
}

fn sample(dress: Dress, case: Case) -> String {
    let hyphens = "0a1b2c3d-4e5f-4a6b-8c7d-9e0fa1b2c3d4";
    let text = match dress {
        Dress::Hyphens => hyphens.to_owned(),
        Dress::Bare => hyphens.replace('-', ""),
    };
    match case {
        Case::Lower => text,
        Case::Upper => text.to_ascii_uppercase(),
    }
}
