//! The steps that a crossing is made of, in either direction: the words by which logs, metrics and crash points tell them apart. It
//! takes none of them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The side that gives the writes up is locked.
    Fence,
    Drain,
    Check,
    /// The side that takes the writes is made ready.
    Prepare,
    Decide,
    Open,
}

impl Step {
    pub const ALL: [Step; 6] =
        [Step::Fence, Step::Drain, Step::Check, Step::Prepare, Step::Decide, Step::Open];

    pub fn word(self) -> &'static str {
        match self {
            Step::Fence => "fence",
            Step::Drain => "drain",
            Step::Check => "check",
            Step::Prepare => "prepare",
            Step::Decide => "decide",
            Step::Open => "open",
        }
    }
}
