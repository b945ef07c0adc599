//! What the process tells of itself. Layer 4.

pub mod logging;
