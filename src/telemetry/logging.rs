//! Logs: to standard error, as text or JSON. Never a cell's value, never a password.

use std::io::IsTerminal;
use tracing::Level;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Json,
}

/// Starts logging; a second call changes nothing.
pub fn start(shape: Shape, level: Level) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        // What cannot be written would be complained of on the same closed pipe, by a panic.
        .log_internal_errors(false);
    let started = match shape {
        Shape::Text => tracing::subscriber::set_global_default(
            builder.with_ansi(std::io::stderr().is_terminal()).finish(),
        ),
        Shape::Json => tracing::subscriber::set_global_default(builder.json().finish()),
    };
    if started.is_err() {
        tracing::debug!("logging was already started");
    }
}
