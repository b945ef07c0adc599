//! The flows: what is done, step by step, over a link's roles. Layer 4. No flow names an engine.

pub mod backfill;
pub mod cross;
pub mod flight;
pub mod follow;
pub mod progress;
pub mod validate;
