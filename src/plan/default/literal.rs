//! Canonical bytes as a SQL literal: what the codec stores is what the default says, whatever PostgreSQL's parsers think of a text.

use crate::canon::form::UuidText;
use crate::canon::{Codec, Form, Zone};
use crate::model::cell::{Cell, CellBuf};
use crate::model::name::literal;
use crate::model::types::Type;
use crate::plan::parse::Refusal;

pub(super) fn of(ty: &Type, bytes: &[u8]) -> Result<String, Refusal> {
    let typed = |text: String| Ok(format!("{}::{}", literal(&text), ty.sql()));
    match ty {
        Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 => {
            match plain(ty, Form::Native, bytes)? {
                CellBuf::Integer(value) if *ty == Type::Bool => Ok((value == 1).to_string()),
                CellBuf::Integer(value) => Ok(value.to_string()),
                CellBuf::Real(value) if value.is_finite() => typed(format!("{value:?}")),
                CellBuf::Real(value) => {
                    typed(if value > 0.0 { "Infinity".into() } else { "-Infinity".into() })
                }
                CellBuf::Null | CellBuf::Text(_) | CellBuf::Blob(_) => Err(unwritten(ty)),
            }
        }
        Type::Numeric(_) => text(ty, Form::Digits, bytes),
        Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext | Type::Enum(_) => {
            text(ty, Form::Native, bytes).map(|text| literal(&text))
        }
        Type::Bytea => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            typed(format!("\\x{digits}"))
        }
        Type::Date | Type::Timestamp(_) => typed(common_era(ty, text(ty, Form::Native, bytes)?)?),
        Type::Timestamptz(_) => typed(format!("{}+00", common_era(ty, text(ty, Form::Native, bytes)?)?)),
        Type::Uuid => typed(text(ty, Form::UuidText(UuidText::PLAIN), bytes)?),
        Type::Time(_) | Type::Json | Type::Jsonb | Type::Inet | Type::Cidr | Type::Macaddr => {
            typed(text(ty, Form::Native, bytes)?)
        }
        Type::Interval(_) | Type::Oid | Type::Array { .. } | Type::Other(_) => Err(unwritten(ty)),
    }
}

fn plain(ty: &Type, form: Form, bytes: &[u8]) -> Result<CellBuf, Refusal> {
    let mut scratch = Vec::new();
    let codec = Codec::new(ty.clone(), form, Zone::default());
    codec.decode(bytes, &mut scratch).map(Cell::to_buf).map_err(|_| unwritten(ty))
}

fn text(ty: &Type, form: Form, bytes: &[u8]) -> Result<String, Refusal> {
    match plain(ty, form, bytes)? {
        CellBuf::Text(bytes) => String::from_utf8(bytes).map_err(|_| unwritten(ty)),
        CellBuf::Null | CellBuf::Integer(_) | CellBuf::Real(_) | CellBuf::Blob(_) => Err(unwritten(ty)),
    }
}

/// Four digits for the year, and not year 0, are read the same everywhere.
fn common_era(ty: &Type, text: String) -> Result<String, Refusal> {
    match text.split_once('-') {
        Some((year, _)) if year.len() == 4 && year != "0000" => Ok(text),
        _ => Err(unwritten(ty)),
    }
}

fn unwritten(ty: &Type) -> Refusal {
    Refusal::new("a constant", format!("this value of type {} is not written as a literal", ty.sql()))
}
