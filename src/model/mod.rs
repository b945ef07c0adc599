//! Words of the domain: cells, schemas, types, chunks, findings, faults. Layer 0.
//!
//! Nothing here performs input or output, knows an engine's driver, or depends on another layer.

pub mod catalog;
pub mod cell;
pub mod chunk;
pub mod fault;
pub mod finding;
pub mod history;
pub mod key;
pub mod name;
pub mod position;
pub mod schema;
pub mod types;
