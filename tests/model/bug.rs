//! Mistakes that the protocol could have been built with. Each is planted alone, and the search must find what it breaks; one that it
//! does not find shows that the model is blind there.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Drains, and then fences: what is written in between stays behind.
    DrainsBeforeTheFence,
    /// The transaction that opens PostgreSQL does not ask whose the migration is.
    PreparesWithoutComparing,
    /// PostgreSQL commits, and then SQLite.
    CommitsPostgresFirst,
    /// A daemon that finds a switch begun reads SQLite without waiting for its lock.
    LooksPastTheLock,
    /// A daemon that finds a switch begun takes it for abandoned.
    TakesABegunSwitchForAbandoned,
    /// An attempt that is given up leaves the fence where it is.
    KeepsTheFence,
    /// Changes are applied without asking whose the migration is.
    FollowsWithoutOwner,
    /// Changes are written back without comparing the mark.
    WritesBackWithoutComparing,
    /// Changes are written back without asking, in the same transaction, whether SQLite is still closed to the application.
    WritesBackIntoAnOpenSide,
    /// Changes are written back without comparing that both sides count the same crossings.
    WritesBackAcrossCrossings,
    /// Reads the last changes back, and then holds the tables.
    DrainsBackBeforeTheTablesAreHeld,
    /// The decision of a rollback leaves PostgreSQL's guards off.
    LeavesPostgresOpen,
    /// SQLite is opened, and then PostgreSQL commits.
    OpensBeforeTheDecision,
    /// SQLite is opened without comparing which crossing closed it.
    OpensWithoutComparing,
    /// A restart after the decision of a rollback does not look whether SQLite is open.
    ForgetsToOpen,
}

impl Bug {
    pub const ALL: [Bug; 15] = [
        Bug::DrainsBeforeTheFence,
        Bug::PreparesWithoutComparing,
        Bug::CommitsPostgresFirst,
        Bug::LooksPastTheLock,
        Bug::TakesABegunSwitchForAbandoned,
        Bug::KeepsTheFence,
        Bug::FollowsWithoutOwner,
        Bug::WritesBackWithoutComparing,
        Bug::WritesBackIntoAnOpenSide,
        Bug::WritesBackAcrossCrossings,
        Bug::DrainsBackBeforeTheTablesAreHeld,
        Bug::LeavesPostgresOpen,
        Bug::OpensBeforeTheDecision,
        Bug::OpensWithoutComparing,
        Bug::ForgetsToOpen,
    ];
}
