//! What the process tells of itself. Layer 4.

mod families;
pub mod labels;
mod lines;
pub mod logging;
pub mod metrics;
