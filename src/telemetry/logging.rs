//! Logs: to standard error, as text or JSON. Never a cell's value, never a password.

use super::lines::{Line, Lines};
use std::io::IsTerminal;
use std::sync::Arc;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::{Registry, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Json,
}

/// Changes what is logged while the process runs.
#[derive(Clone, Debug)]
pub struct LevelSwitch(Handle<LevelFilter, Registry>);

impl LevelSwitch {
    pub fn set(&self, level: Level) {
        // It fails where the logs have gone already, and then there is nobody to tell.
        let _gone = self.0.reload(LevelFilter::from_level(level));
    }
}

/// As <https://no-color.org> has it.
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty())
}

/// Starts logging; a second call changes nothing.
pub fn start(shape: Shape, level: Level) -> LevelSwitch {
    let (filter, handle) = Layer::new(LevelFilter::from_level(level));
    let out = Arc::new(Lines::to(std::io::stderr()));
    let lines = fmt::layer()
        .with_writer(move || Line(Arc::clone(&out)))
        .with_target(false)
        // What cannot be written would be complained of on the same closed pipe, by a panic.
        .log_internal_errors(false);
    let filtered = tracing_subscriber::registry().with(filter);
    let started = match shape {
        Shape::Text => tracing::subscriber::set_global_default(
            filtered.with(lines.with_ansi(std::io::stderr().is_terminal() && !no_colour())),
        ),
        Shape::Json => tracing::subscriber::set_global_default(filtered.with(lines.json())),
    };
    if started.is_err() {
        tracing::debug!("logging was already started");
    }
    LevelSwitch(handle)
}
