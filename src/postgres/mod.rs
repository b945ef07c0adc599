//! PostgreSQL: connections, catalog, and a private server for trying out. Layer 3.
//!
//! It never knows SQLite. Every connection is opened in `connect`, every error of a driver is told apart in `fault`.

pub mod apply;
pub mod attend;
pub mod capture;
pub mod catalog;
pub mod changes;
pub mod claim;
pub mod compare;
pub mod connect;
pub mod embedded;
pub mod fault;
pub mod finish;
pub mod left_behind;
pub mod load;
pub mod make_way;
mod merge;
pub mod newcomers;
pub mod pair;
pub mod password;
pub mod remade;
pub mod target;
pub mod task;
pub mod tls;
pub mod url;

pub mod binaries;
mod conninfo;
mod copy;
mod digest;
mod halves;
mod ledger;
pub mod patience;
mod plain;
pub mod pooler;
mod refused;
mod resolve;
mod sqlstate;
mod types;
