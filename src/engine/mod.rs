//! The engine: the only place where engines and flows meet. Layer 5.

pub mod archive;
pub mod begun;
pub mod bookkept;
mod computed;
pub mod copy;
pub mod daemon;
pub mod earlier;
mod finish;
pub mod follows;
pub mod order;
mod orphans;
pub mod outlook;
pub mod prepare;
pub mod reason;
pub mod records;
mod refused;
pub mod report;
mod retry;
pub mod standing;
pub mod status;
mod witness;
