//! Progress: what a flow tells whoever watches it.

#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Rows of a table have been surveyed.
    Surveyed { table: &'a str, rows: u64 },
    /// A chunk has been committed in the target.
    Loaded { table: &'a str, rows: u64, bytes: u64 },
    /// An index, constraint or other step after the load has been made.
    Stepped { what: &'a str },
    /// Rows of a table have been digested on both sides.
    Compared { table: &'a str, rows: u64 },
}

/// Told of every event, from any thread; must not block.
pub trait Watch: Send + Sync {
    fn see(&self, event: Event<'_>);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn see(&self, _event: Event<'_>) {}
}
