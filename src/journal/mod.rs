//! The journal: what a migration has done and where it stands, kept in PostgreSQL's schema `liteferry`. Layer 3.
//!
//! The only memory of progress; the process' own directory holds nothing that matters.

mod control;
pub mod crossing;
pub mod follow;
mod ground;
pub mod look;
pub mod machine;
mod mark;
pub mod record;
pub mod reshape;
mod rules;
pub mod store;
mod suspended;
