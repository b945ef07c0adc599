//! The source: how the SQLite database is opened and what it declares. Layer 3.
//!
//! Nothing here knows PostgreSQL, and nothing opens the database file other than through SQLite.

pub mod capture;
pub mod connect;
mod ddl;
mod digest;
pub mod fault;
pub mod introspect;
mod mount;
mod pragma;
pub mod sample;
pub mod scan;
pub mod source;
pub mod survey;
