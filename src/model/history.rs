//! A point in one history of the change table. A bare number names none: a restored backup uses numbers again.

/// `seq` names a row of the change table, `nonce` the random number that this row was given, `epoch` the life of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: i64,
    pub seq: i64,
    pub nonce: i64,
}
