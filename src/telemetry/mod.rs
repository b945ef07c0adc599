//! What the process tells of itself. Layer 4.

pub mod labels;
mod lines;
pub mod logging;
pub mod metrics;
