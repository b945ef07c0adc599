//! Logs: to standard error, as text or JSON. Never a cell's value, never a password.

use super::lines::{Line, Lines};
use std::io::IsTerminal;
use std::sync::Arc;
use tracing::Level;
use tracing_subscriber::filter::Targets;
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
pub struct LevelSwitch(Handle<Targets, Registry>);

impl LevelSwitch {
    pub fn set(&self, level: Level) {
        // It fails where the logs have gone already, and then there is nobody to tell.
        let _gone = self.0.reload(targets(level));
    }
}

/// What our libraries complain of they also hand to us, who wait or say it in our words: theirs are for whoever looks for a bug.
fn targets(level: Level) -> Targets {
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    if level >= Level::DEBUG { ours.with_default(level) } else { ours }
}

/// As <https://no-color.org> has it.
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty())
}

/// Starts logging; a second call changes nothing.
pub fn start(shape: Shape, level: Level) -> LevelSwitch {
    let (filter, handle) = Layer::new(targets(level));
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

#[cfg(test)]
mod tests {
    use super::targets;
    use tracing::Level;

    #[test]
    fn a_library_is_heard_by_who_looks_for_a_bug_alone() {
        for level in [Level::ERROR, Level::WARN, Level::INFO] {
            assert!(targets(level).would_enable("liteferry::engine::daemon", &level));
            assert!(!targets(level).would_enable("sqlx_core::pool::inner", &Level::ERROR));
        }
        for level in [Level::DEBUG, Level::TRACE] {
            assert!(targets(level).would_enable("sqlx_core::pool::inner", &level));
        }
        assert!(!targets(Level::INFO).would_enable("liteferry::engine::daemon", &Level::DEBUG));
    }
}
