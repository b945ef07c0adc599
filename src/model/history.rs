//! A point in one history of the change table. A bare number names no history: a restored backup counts on from where it stood.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which history: a new one begins whenever capture starts anew.
    pub epoch: i64,
    pub seq: i64,
    /// What the application's own commit drew at random beside `seq`: two histories that share a number do not share this.
    pub nonce: i64,
}

/// Where the way back stands in SQLite: the batch it has taken last, and what was drawn for the one before. Whoever forgets what SQLite
/// has taken may have fallen one batch behind, and is told by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    pub at: Position,
    /// Nothing before the first batch.
    pub before: Option<i64>,
}
