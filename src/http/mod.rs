//! The daemon's face to scripts, monitoring and operators: HTTP/1.1 on a thread of its own. Layer 6.
//!
//! Nothing that a client does may slow replication down: it works on copies of the daemon's state, and connections, header bytes,
//! bodies and times are bounded. It never shows a cell's value or a password.
//!
//! ```text
//!  driver --writes--> Board, Metrics <--reads-- routes <-- guard <-- server <-- sockets
//!  (its runtime)                                (the thread `liteferry-http`)
//! ```

mod error;
mod guard;
mod routes;
mod server;
mod token;

pub use guard::Guard;
pub use routes::HttpState;
pub use server::{Handle, serve, spawn};
