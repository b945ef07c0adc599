//! Canonical form: SQLite cell to the bytes PostgreSQL's binary send function gives, and back. Layer 1.
//!
//! A cell either crosses exactly (its bytes decode to the same cell, byte for byte) or it is a misfit with a reason. Text is read by
//! the strict grammars here, never by PostgreSQL's parsers; nothing is rounded, trimmed or guessed in silence. Pure: no I/O, no clock.

pub mod form;

pub use form::{Form, Hints, Zone};

use crate::model::cell::Cell;
use crate::model::types::Type;

/// How one column crosses: the target's type, the form in which the source writes its values, and the zone of naive times.
#[derive(Clone, Debug, PartialEq)]
pub struct Codec {
    pub ty: Type,
    pub form: Form,
    pub zone: Zone,
}

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The source holds NULL; nothing was appended.
    Null,
    /// The bytes appended decode to exactly this cell.
    Exact,
    /// The bytes appended hold the value or its closest neighbour, but do not decode to this cell: it goes to the ledger.
    Kept(Reason),
    /// Nothing was appended; the target holds NULL and the cell goes to the ledger.
    Lost(Reason),
}
