//! The engine: the only place where engines and flows meet. Layer 5.

pub mod copy;
pub mod daemon;
mod finish;
pub mod prepare;
pub mod report;
mod retry;
pub mod status;
