//! Mistakes that the simulation must find: each is one switch of a side or of the driver. A simulation that misses one proves nothing.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The source says that all is on disk and does nothing about it.
    HardensNothing,
    /// The position is committed in a transaction after that of the rows.
    PositionApart,
    /// The position is overwritten, wherever it stands and whoever owns it.
    ComparesNothing,
    /// Whoever knows the position may move it.
    AnyOwner,
    /// The log is read in the snapshot, the rows a little later.
    RowsOutsideSnapshot,
    /// A commit without an answer counts as done.
    AssumesCommit,
    /// A batch counts as applied when it is sent.
    CountsWhatIsSent,
    /// A batch that is sent behind another does not wait for the source's disk.
    HardensOneOfMany,
    /// A range is still being loaded while changes are applied.
    LoadsWhileFollowing,
    /// The change that the target stands at is forgotten with those before it.
    PrunesNewest,
    /// Rows are written one by one, each over its old self, in the order of their keys.
    InsertsBeforeDeleting,
    /// A change is known by its number alone.
    IgnoresNonce,
    /// A part of the backlog is called the whole.
    CallsPartWhole,
    /// A range's progress is committed in a transaction after that of its rows.
    ProgressApart,
    /// Two loaders may both move a range.
    ComparesNoRange,
    /// Changes are followed from where the backfill ended, not from where it began.
    FollowsFromTheEnd,
    /// A chunk is loaded while a power cut could still undo its rows.
    LoadsUnhardened,
    /// Only the target's position is looked for in the source, and not what its rows may be of beyond it.
    AsksForPositionAlone,
    /// A range's chunks may come from different histories.
    ForgetsItsLastChunk,
    /// What the chunks were read from is forgotten before they are joined to one state.
    ForgetsItsChunks,
    /// A reader that died counts as one that has come to its end.
    TakesSilenceForTheEnd,
    /// A part of a backlog tells nothing of the snapshot that its rows are of.
    ForgetsItsParts,
    /// A range that moved was moved by another owner, and never by a commit whose answer was lost.
    LeavesMovedRange,
    /// A target is where it was left for as long as nothing is written to it.
    TrustsIdleTarget,
    /// The backfill is called complete whether or not the target still holds it.
    EntersWithoutLooking,
    /// A key that is gone in the source stays in the target.
    KeepsDeleted,
    /// A changed row's old entries stay in the ledger.
    KeepsEntries,
}

impl Bug {
    pub const ALL: [Bug; 27] = [
        Bug::HardensNothing,
        Bug::PositionApart,
        Bug::ComparesNothing,
        Bug::AnyOwner,
        Bug::RowsOutsideSnapshot,
        Bug::AssumesCommit,
        Bug::CountsWhatIsSent,
        Bug::HardensOneOfMany,
        Bug::LoadsWhileFollowing,
        Bug::PrunesNewest,
        Bug::InsertsBeforeDeleting,
        Bug::IgnoresNonce,
        Bug::CallsPartWhole,
        Bug::ProgressApart,
        Bug::ComparesNoRange,
        Bug::FollowsFromTheEnd,
        Bug::LoadsUnhardened,
        Bug::AsksForPositionAlone,
        Bug::ForgetsItsLastChunk,
        Bug::ForgetsItsChunks,
        Bug::ForgetsItsParts,
        Bug::TakesSilenceForTheEnd,
        Bug::LeavesMovedRange,
        Bug::TrustsIdleTarget,
        Bug::EntersWithoutLooking,
        Bug::KeepsDeleted,
        Bug::KeepsEntries,
    ];
}
