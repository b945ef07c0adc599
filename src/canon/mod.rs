//! Canonical form: SQLite cell to the bytes PostgreSQL's binary send function gives, and back. Layer 1.
//!
//! A cell either crosses exactly (its bytes decode to the same cell, byte for byte) or it is a misfit with a reason. Text is read by
//! the strict grammars here, never by PostgreSQL's parsers; nothing is rounded, trimmed or guessed in silence. Pure: no I/O, no clock.

mod array;
mod array_text;
mod back;
mod base64;
mod boolean;
mod calendar;
mod decimal;
mod epoch;
pub mod form;
mod formset;
mod interval;
mod interval_text;
mod json;
mod json_scan;
mod jsonb;
mod latin1;
#[cfg(test)]
mod law;
pub mod learn;
mod list;
mod moment;
mod moment_name;
mod moment_text;
mod moment_unit;
mod moment_word;
mod net;
mod number;
mod numeric;
mod reason;
mod scaled;
mod span;
mod sqlite_jsonb;
mod text;
mod unread;
mod uuid;
mod zone;

pub use back::Back;
pub use form::{Form, Hints, Zone};
pub use reason::{Reason, RefusedBy};

use crate::model::cell::Cell;
use crate::model::schema::Affinity;
use crate::model::types::{NumericLimit, Type};
use formset::FormSet;

/// How one column crosses: the target's type, the form in which the source writes its values, and the zone of naive times.
#[derive(Clone, Debug, PartialEq)]
pub struct Codec {
    pub ty: Type,
    pub form: Form,
    pub zone: Zone,
    /// Of a column into which values have come back that its form does not spell: what `back` writes for those is read as well, and is
    /// exact. The affinity decides how it is written.
    pub came_back: Option<Affinity>,
}

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The source holds NULL, or what stands for it in this column; nothing was appended.
    Null,
    /// The bytes appended decode to exactly this cell.
    Exact,
    /// The bytes appended hold the value or its closest neighbour, but do not decode to this cell: it goes to the ledger.
    Kept(Reason),
    /// Nothing was appended; the target holds NULL and the cell goes to the ledger.
    Lost(Reason),
}

/// Bytes that are not the canonical form of the type they are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read canonical bytes as {0}")]
pub struct Malformed(pub &'static str);

impl Codec {
    pub fn new(ty: Type, form: Form, zone: Zone) -> Codec {
        Codec { ty, form, zone, came_back: None }
    }

    /// Appends the cell's canonical bytes, without a length before them.
    #[inline]
    pub fn encode(&self, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
        match (cell, &self.ty, self.form) {
            (Cell::Null, _, Form::EmptyNull) if self.empty_is_null() => Fit::Lost(Reason::Class),
            (Cell::Null, _, _) => Fit::Null,
            (Cell::Integer(value), Type::Int8, Form::Native) => {
                out.extend_from_slice(&value.to_be_bytes());
                Fit::Exact
            }
            (Cell::Text(bytes), Type::Text, Form::Native) if text::is_storable(bytes) => {
                out.extend_from_slice(bytes);
                Fit::Exact
            }
            (Cell::Real(value), Type::Float8, Form::Native) => {
                out.extend_from_slice(&value.to_be_bytes());
                Fit::Exact
            }
            (Cell::Blob(bytes), Type::Bytea, Form::Native) => {
                out.extend_from_slice(bytes);
                Fit::Exact
            }
            _ => self.encode_otherwise(cell, out),
        }
    }

    /// The cell whose canonical bytes these are. NULL has none and never comes here.
    #[inline]
    pub fn decode<'a>(&self, bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Cell<'a>, Malformed> {
        match self.came_back.and_then(|affinity| self.foreign_cell(affinity, bytes)) {
            Some(cell) => Ok(cell.put_into(scratch)),
            None => self.decode_by_family(bytes, scratch),
        }
    }

    /// The cell for which the target has NULL.
    pub fn nothing(&self) -> Cell<'static> {
        if self.empty_is_null() { Cell::Text(b"") } else { Cell::Null }
    }

    /// A type that holds the empty text itself needs no other word for it.
    fn empty_is_null(&self) -> bool {
        let holds_it = match &self.ty {
            Type::Enum(labels) => labels.iter().any(String::is_empty),
            ty => matches!(Family::of(ty), Family::Text(_)),
        };
        self.form == Form::EmptyNull && !holds_it
    }

    #[inline]
    fn decode_by_family<'a>(&self, bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Cell<'a>, Malformed> {
        let (ty, form, zone) = (&self.ty, self.form.of_values(), self.zone);
        match Family::of(ty) {
            Family::Boolean => boolean::decode(form, bytes),
            Family::Number(width) => number::decode(width, form, bytes, scratch),
            Family::Numeric(_) => numeric::decode(form, bytes, scratch),
            Family::Text(text::Kind::Bytes) if form == Form::Base64 => Ok(base64::decode(bytes, scratch)),
            Family::Text(text::Kind::Bytes) if form == Form::Latin1 => Ok(latin1::decode(bytes, scratch)),
            Family::Text(kind) => Ok(text::decode(kind, form, bytes)),
            Family::Uuid => uuid::decode(form, bytes, scratch),
            Family::Address(kind) => net::decode(kind, form, bytes, scratch),
            Family::Moment => moment::decode(ty, form, zone, bytes, scratch),
            Family::Interval => interval::decode(ty, form, zone, bytes, scratch),
            Family::Json => json::decode(ty, form, zone, bytes, scratch),
            Family::Array => array::decode(ty, form, zone, bytes, scratch),
            Family::None => Err(Malformed("a type without a codec")),
        }
    }

    #[inline(never)]
    fn encode_otherwise(&self, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
        let start = out.len();
        match (self.encode_by_family(cell, out), self.came_back) {
            (misfit @ (Fit::Kept(_) | Fit::Lost(_)), Some(affinity)) => {
                match self.foreign_value(affinity, cell) {
                    Some(bytes) => {
                        out.truncate(start);
                        out.extend_from_slice(&bytes);
                        Fit::Exact
                    }
                    None => misfit,
                }
            }
            (fit, _) => fit,
        }
    }

    fn encode_by_family(&self, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
        if cell == Cell::Text(b"") && self.empty_is_null() {
            return Fit::Null;
        }
        let (ty, form, zone) = (&self.ty, self.form.of_values(), self.zone);
        let start = out.len();
        let fit = match Family::of(ty) {
            Family::Boolean => boolean::encode(form, cell, out),
            Family::Number(width) => number::encode(width, form, cell, out),
            Family::Numeric(limit) => numeric::encode(limit, form, cell, out),
            Family::Text(text::Kind::Bytes) if form == Form::Base64 => base64::encode(cell, out),
            Family::Text(text::Kind::Bytes) if form == Form::Latin1 => latin1::encode(cell, out),
            Family::Text(kind) => text::encode(kind, form, cell, out),
            Family::Uuid => uuid::encode(form, cell, out),
            Family::Address(kind) => net::encode(kind, form, cell, out),
            Family::Moment => moment::encode(ty, form, zone, cell, out),
            Family::Interval => interval::encode(ty, form, zone, cell, out),
            Family::Json => json::encode(ty, form, zone, cell, out),
            Family::Array => array::encode(ty, form, zone, cell, out),
            Family::None => Fit::Lost(Reason::Unsupported),
        };
        match fit {
            Fit::Exact | Fit::Kept(_) => {}
            // A family that gave up half-way must leave nothing behind.
            Fit::Null | Fit::Lost(_) => out.truncate(start),
        }
        fit
    }
}

/// The forms that might carry this cell exactly, the likelier first. Proposals: `encode` has the last word.
fn proposed_forms(ty: &Type, cell: Cell<'_>, hints: &Hints) -> FormSet {
    match Family::of(ty) {
        Family::Boolean => boolean::forms(cell),
        Family::Number(width) => number::forms(width, cell),
        Family::Numeric(limit) => numeric::forms(limit, cell, hints.affinity),
        Family::Text(kind) => text::forms(kind, cell, hints.affinity),
        Family::Uuid => uuid::forms(cell),
        Family::Address(_) => net::forms(cell),
        Family::Moment => moment::forms(ty, cell, hints),
        Family::Interval => interval::forms(ty, cell, hints),
        Family::Json => json::forms(ty, cell, hints),
        Family::Array => array::forms(ty, cell, hints),
        Family::None => FormSet::EMPTY,
    }
}

/// Whether the forms proposed for a text are known to carry it, so that they need no trial.
fn proposals_are_proved(ty: &Type) -> bool {
    matches!(Family::of(ty), Family::Moment)
}

/// Which module writes a type.
enum Family<'t> {
    Boolean,
    Number(number::Width),
    Numeric(Option<NumericLimit>),
    Text(text::Kind<'t>),
    Uuid,
    Address(net::Kind),
    Moment,
    Interval,
    Json,
    Array,
    None,
}

impl Family<'_> {
    #[inline]
    fn of(ty: &Type) -> Family<'_> {
        match ty {
            Type::Bool => Family::Boolean,
            Type::Int2 => Family::Number(number::Width::Int2),
            Type::Int4 => Family::Number(number::Width::Int4),
            Type::Int8 => Family::Number(number::Width::Int8),
            Type::Oid => Family::Number(number::Width::Oid),
            Type::Float4 => Family::Number(number::Width::Float4),
            Type::Float8 => Family::Number(number::Width::Float8),
            Type::Numeric(limit) => Family::Numeric(*limit),
            Type::Text | Type::Citext | Type::Varchar(None) => Family::Text(text::Kind::Plain),
            Type::Varchar(Some(limit)) => Family::Text(text::Kind::Varchar(*limit)),
            Type::Bpchar(limit) => Family::Text(text::Kind::Char(*limit)),
            Type::Enum(labels) => Family::Text(text::Kind::Label(labels)),
            Type::Bytea => Family::Text(text::Kind::Bytes),
            Type::Uuid => Family::Uuid,
            Type::Inet => Family::Address(net::Kind::Inet),
            Type::Cidr => Family::Address(net::Kind::Cidr),
            Type::Macaddr => Family::Address(net::Kind::Macaddr),
            Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) => Family::Moment,
            Type::Interval(_) => Family::Interval,
            Type::Json | Type::Jsonb => Family::Json,
            Type::Array { .. } => Family::Array,
            Type::Other(_) => Family::None,
        }
    }
}

/// Exact where the canonical bytes decode to the cell they came from; the law that every family ends with.
fn judged(back: Cell<'_>, cell: Cell<'_>) -> Fit {
    if back == cell {
        Fit::Exact
    } else if back.class() == cell.class() {
        Fit::Kept(Reason::Spelling)
    } else {
        Fit::Kept(Reason::Class)
    }
}
