//! The engine: the only place where engines and flows meet. Layer 5.

mod computed;
pub mod copy;
mod finish;
pub mod prepare;
mod refused;
pub mod report;
mod retry;
mod witness;
