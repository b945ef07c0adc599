//! What the fuzz targets share: how bytes become types, forms and cells, and the laws that hold for all of them.
//! It never asserts what one target alone is about.

use liteferry::canon::{Codec, Fit, Form, Zone};
use liteferry::model::cell::Cell;
use liteferry::model::types::{NumericLimit, Type};
use std::sync::OnceLock;

/// A byte picks, so that small changes of the input make small changes of the case.
pub struct Input<'d>(pub &'d [u8]);

impl<'d> Input<'d> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn ty(&mut self) -> Type {
        static TYPES: OnceLock<Vec<Type>> = OnceLock::new();
        let types = TYPES.get_or_init(types);
        types[usize::from(self.byte()) % types.len()].clone()
    }

    pub fn form(&mut self) -> Form {
        let word = FORMS[usize::from(self.byte()) % FORMS.len()];
        word.parse().expect("the words listed here name forms")
    }

    pub fn zone(&mut self) -> Zone {
        let word = ZONES[usize::from(self.byte()) % ZONES.len()];
        word.parse().expect("the words listed here name zones")
    }

    pub fn codec(&mut self) -> Codec {
        Codec::new(self.ty(), self.form(), self.zone())
    }

    /// The rest of the input as one cell.
    pub fn cell(mut self) -> Cell<'d> {
        match self.byte() % 5 {
            0 => Cell::Integer(i64::from_be_bytes(self.eight())),
            1 => match f64::from_be_bytes(self.eight()) {
                // SQLite stores NaN as NULL.
                real if real.is_nan() => Cell::Null,
                real => Cell::Real(real),
            },
            2 => Cell::Blob(self.0),
            _ => Cell::Text(self.0),
        }
    }

    fn eight(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        let length = self.0.len().min(8);
        bytes[8 - length..].copy_from_slice(&self.0[..length]);
        bytes
    }
}

/// A cell is called exact if and only if its bytes decode to that cell; of jsonb the value is asked for, not the spelling.
pub fn cross(codec: &Codec, cell: Cell<'_>) -> (Fit, Vec<u8>) {
    let mut out = b"before".to_vec();
    let fit = codec.encode(cell, &mut out);
    let bytes = out.strip_prefix(b"before").expect("only appended to").to_vec();
    match fit {
        Fit::Null | Fit::Lost(_) => assert!(bytes.is_empty(), "{codec:?} {cell:?}: {fit:?} left {bytes:?}"),
        Fit::Exact | Fit::Kept(_) => {
            let mut scratch = b"left over".to_vec();
            let back = codec.decode(&bytes, &mut scratch).expect("what encode wrote decodes");
            if codec.ty == Type::Jsonb {
                let mut again = Vec::new();
                codec.encode(back, &mut again);
                assert_eq!(again, bytes, "{codec:?} {cell:?}");
            } else {
                assert_eq!(fit == Fit::Exact, back == cell, "{codec:?} {cell:?}: {fit:?} of {back:?}");
            }
        }
    }
    (fit, bytes)
}

/// Quotes and parentheses close, and nothing stands outside them that would end a statement or begin a comment.
pub fn is_balanced(sql: &str) -> bool {
    let mut depth = 0_usize;
    let mut letters = sql.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            // A doubled quote closes one text and opens the next, which comes to the same here.
            '\'' | '"' => {
                if !letters.by_ref().any(|next| next == letter) {
                    return false;
                }
            }
            '(' => depth += 1,
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            ';' | '\0' | '$' => return false,
            '-' if letters.peek() == Some(&'-') => return false,
            '/' if letters.peek() == Some(&'*') => return false,
            _ => {}
        }
    }
    depth == 0
}

fn types() -> Vec<Type> {
    let limit = |precision, scale| Type::Numeric(Some(NumericLimit { precision, scale }));
    let array = |element, element_oid| Type::Array { element: Box::new(element), element_oid };
    let labels = |labels: &[&str]| Type::Enum(labels.iter().map(|label| (*label).to_owned()).collect());
    vec![
        Type::Bool,
        Type::Int2,
        Type::Int4,
        Type::Int8,
        Type::Oid,
        Type::Float4,
        Type::Float8,
        Type::Numeric(None),
        limit(10, 2),
        limit(3, 5),
        limit(5, -2),
        limit(1000, 400),
        Type::Text,
        Type::Varchar(None),
        Type::Varchar(Some(3)),
        Type::Bpchar(3),
        Type::Citext,
        Type::Bytea,
        Type::Date,
        Type::Time(6),
        Type::Time(0),
        Type::Timestamp(6),
        Type::Timestamp(3),
        Type::Timestamptz(6),
        Type::Timestamptz(0),
        Type::Interval(6),
        Type::Interval(2),
        Type::Uuid,
        Type::Json,
        Type::Jsonb,
        Type::Inet,
        Type::Cidr,
        Type::Macaddr,
        labels(&["", "1", "a b"]),
        array(Type::Int4, 23),
        array(Type::Text, 25),
        array(Type::Numeric(None), 1700),
        array(Type::Timestamp(6), 1114),
        array(Type::Jsonb, 3802),
        Type::Other("geometry".to_owned()),
    ]
}

const ZONES: [&str; 6] = ["UTC", "+05:30", "-15:59", "Europe/Paris", "America/St_Johns", "Pacific/Apia"];

const FORMS: &[&str] = &[
    "native",
    "number",
    "real",
    "digits",
    "affinity",
    "other-class",
    "words-tf",
    "words-True-False",
    "words-ON-OFF",
    "uuid",
    "uuid-upper",
    "uuid-hex",
    "uuid-hex-upper",
    "uuid-braces",
    "uuid-urn",
    "uuid-blob",
    "uuid-blob-mixed",
    "epoch-s",
    "epoch-ms",
    "epoch-us",
    "epoch-ns",
    "epoch-ticks",
    "epoch-real-s",
    "epoch-julian",
    "duration-us",
    "duration-days",
    "duration-ms",
    "duration-s",
    "duration-ns",
    "duration-dotnet",
    "duration-since-1970",
    "duration-iso",
    "array-spaced-ascii",
    "array-spaced",
    "array-tight-ascii",
    "array-tight",
    "array-compact",
    "Y-m-d",
    "H:M:S",
    "H:M:S[.f6]",
    "H:M:S.f9",
    "H:M[:S[.f3|.f6]]",
    "2000-01-01 H:M:S.f6",
    "1970-01-01TH:M:S",
    "Y-m-d H:M:S",
    "Y-m-d H:M:S.f6",
    "Y-m-d H:M:S[.f6]",
    "Y-m-d H:M:S[.f9]",
    "Y-m-d H:M:S.f3 +00:00",
    "Y-m-dTH:M:S[.f]Z",
    "Y-m-dTH:M:S.f3Z",
    "Y-m-d H:M:S[.f3|.f6]",
    "Y-m-d H:M:S[.f]+02:00",
    "Y-m-d H:M:S[.f]+hh:mm",
    "Y-m-d H:M:S[.f] +hh:mm",
    "Y-m-dTH:M:S+hhmm",
    "Y-m-d H:M:S+hh",
    "Y-m-d H:M:S.f7",
    "Y-m-d H:M:S-0330",
    "Y-m-dTH:M[:S[.f3|.f6]]",
];
