//! The daemon's face to scripts, monitoring and operators: HTTP/1.1 on a thread of its own. Layer 6.
//!
//! Nothing that a client does may slow replication down: it works on copies of the daemon's state, and connections, header bytes,
//! bodies and times are bounded. It shows no password, and of rows nothing but the keys that tell which ones are meant.
//!
//! ```text
//!  driver --writes--> Board, Metrics <--reads-- routes <-- guard <-- server <-- sockets
//!  (its runtime)  <--orders, a bounded queue--- levers     (the thread `liteferry-http`)
//!                                               Records --one connection of its own--> target
//! ```

mod commands;
mod error;
mod events;
mod guard;
mod levers;
mod openapi;
mod page;
mod readings;
mod routes;
mod server;
mod token;

pub use routes::HttpState;
pub use server::{Handle, spawn};
