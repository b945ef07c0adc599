//! How the daemon fares in whatever phase it is in, and the words for it. Pure.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunState {
    Running,
    /// A passing fault is being waited out.
    Degraded,
    /// The backlog is larger than one transaction: the target is at no single state of the source.
    CatchingUp,
    /// A person is needed.
    Halted,
    Stopping,
    /// By the operator.
    Paused,
}

impl RunState {
    pub const ALL: [RunState; 6] = [
        RunState::Running,
        RunState::Degraded,
        RunState::CatchingUp,
        RunState::Halted,
        RunState::Stopping,
        RunState::Paused,
    ];

    pub fn word(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Degraded => "degraded",
            RunState::CatchingUp => "catching-up",
            RunState::Halted => "halted",
            RunState::Stopping => "stopping",
            RunState::Paused => "paused",
        }
    }
}
