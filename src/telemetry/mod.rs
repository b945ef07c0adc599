//! What the process tells of itself. Layer 4.

pub mod labels;
pub mod logging;
pub mod metrics;
