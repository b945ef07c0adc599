//! Comparing two sides: rows to digests, digests to a verdict. Layer 1. Pure: neither side's engine is known here.

pub mod compare;
pub mod digest;
mod lookup3;

pub use digest::{Buckets, RowDigest, Sum};
