//! Capture in real SQLite files: whatever the application does, the logged keys and the rows that they name now are enough to follow.

mod hazards;
mod libraries;
mod life;
mod mixed_keys;
mod replica;
mod schema_changes;
mod torture;
mod turns;
