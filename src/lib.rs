//! liteferry: moves a live SQLite database into PostgreSQL and proves that nothing was lost.
//!
//! ARCHITECTURE.md has the map; `tests/tidy.rs` keeps the layers apart.

pub mod canon;
pub mod cli;
pub mod crash;
pub mod diff;
pub mod engine;
pub mod flow;

pub mod http;
pub mod journal;
pub mod link;
pub mod model;
pub mod phase;
pub mod plan;
pub mod postgres;
pub mod settings;
pub mod sqlite;
pub mod telemetry;
