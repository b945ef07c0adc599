//! Gates: the named preconditions of a change of phase, each with its present reading, its limit, and what to do. Pure.

/// One precondition, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    pub name: &'static str,
    pub ok: bool,
    pub reading: String,
    pub limit: String,
    /// What opens it; empty where it is open.
    pub remedy: String,
}
