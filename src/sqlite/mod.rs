//! The source: how the SQLite database is opened and what it declares. Layer 3.
//!
//! Nothing here knows PostgreSQL, and nothing opens the database file other than through SQLite.

pub mod apply;
pub mod backup;
pub mod capture;
pub mod changes;
pub mod connect;
pub mod control;
mod ddl;
pub mod digest;
pub mod fault;
mod gather;
mod glimpse;
mod halves;
mod harden;
pub mod history;
pub mod introspect;
mod lookup;
mod mathematics;
pub mod misplaced;
mod mount;
pub mod orphans;
pub mod pair;
mod pragma;
mod readers;
pub mod sample;
pub mod scan;
pub mod source;
pub mod survey;
mod uncomputable;
pub mod wake;
