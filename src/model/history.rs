//! A point in one history of the change table. A bare number names no history: a restored backup counts on from where it stood.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which history: a new one begins whenever capture starts anew.
    pub epoch: i64,
    pub seq: i64,
    /// What the application's own commit drew at random beside `seq`: two histories that share a number do not share this.
    pub nonce: i64,
}
