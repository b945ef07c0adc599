//! The machine: the only function that says which phase may follow which. Total and pure; whoever acts on its answer records it in
//! the target by compare-and-set before anybody is told.

use super::Phase;
use std::fmt;

/// Where a migration stands, as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub phase: Phase,
    /// A crossing that has begun and is not decided.
    pub crossing: Option<Crossing>,
    pub paused: bool,
    /// How many of a hundred reads the application is told to ask of PostgreSQL.
    pub reads: Percent,
}

/// The writes go over to the other side: decided by one commit, finished forward after it, without a trace before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Crossing {
    /// SQLite to PostgreSQL.
    Switch,
    /// PostgreSQL to SQLite.
    Rollback,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent(u8);

/// What an operator may command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Validate,
    Switch,
    /// The way back, from wherever one is.
    Rollback,
    Cleanup,
    Pause,
    Resume,
    Reads(Percent),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Commanded(Command),
    /// Capture is armed: nothing is missed from here on.
    Armed,
    BackfillComplete,
    /// The one commit that decides a crossing was seen.
    Decided(Crossing),
    /// A crossing ended before its decision: nothing happened.
    Abandoned(Crossing),
    /// Nothing of ours is left but the report.
    CleanedUp,
}

/// An event that is not legal where the migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalEvent {
    pub state: State,
    pub event: Event,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The phase does not know the event.
    Phase,
    /// A crossing is under way: it is decided or abandoned first.
    Crossing,
    /// Nothing goes forward while replication is paused.
    Paused,
    /// The command was meant for this phase, and the migration is in another.
    Expected(Phase),
}

/// What the state becomes. An event that tells or asks for what is so already changes nothing.
pub fn transition(state: State, event: Event) -> Result<State, IllegalEvent> {
    let after = match event {
        Event::Commanded(command) => commanded(state, command),
        Event::Armed => reached(state, (Phase::Setup, Phase::Backfill)),
        Event::BackfillComplete => reached(state, (Phase::Backfill, Phase::DualWrite)),
        Event::CleanedUp => reached(state, (Phase::Cleanup, Phase::Done)),
        Event::Decided(crossing) => ended(state, crossing, decided(state, crossing)),
        Event::Abandoned(crossing) => ended(state, crossing, abandoned(state, crossing)),
    };
    after.map_err(|why| IllegalEvent { state, event, why })
}

/// What a command leads to that may have been meant for one phase alone: an operator who acts on an old view is refused.
pub fn ask(state: State, command: Command, expected: Option<Phase>) -> Result<State, IllegalEvent> {
    match expected {
        Some(phase) if phase != state.phase => {
            Err(IllegalEvent { state, event: Event::Commanded(command), why: Why::Expected(phase) })
        }
        Some(_) | None => transition(state, Event::Commanded(command)),
    }
}

fn commanded(state: State, command: Command) -> Result<State, Why> {
    let after = wished(state, command).ok_or(Why::Phase)?;
    if after == state {
        return Ok(state);
    }
    if state.crossing.is_some() {
        return Err(Why::Crossing);
    }
    // A target that is not brought up to date may still be relieved of reads, and nobody has to resume before he gives up.
    let relieves = after.phase <= state.phase && after.reads <= state.reads && after.crossing.is_none();
    if state.paused && !relieves { Err(Why::Paused) } else { Ok(after) }
}

/// What the command leads to where nothing is in its way; nothing in a phase that does not know it.
fn wished(state: State, command: Command) -> Option<State> {
    use Phase::{Backfill, Cleanup, Done, DualWrite, Setup, Switch, Validate};
    match (command, state.phase) {
        (Command::Validate, DualWrite | Validate) => Some(State { phase: Validate, ..state }),
        (Command::Switch, Validate) => Some(State { crossing: Some(Crossing::Switch), ..state }),
        (Command::Switch, Switch) => Some(State { crossing: None, ..state }),
        (Command::Rollback, DualWrite | Validate) => {
            Some(State { phase: DualWrite, crossing: None, reads: Percent::NONE, ..state })
        }
        (Command::Rollback, Switch) => Some(State { crossing: Some(Crossing::Rollback), ..state }),
        (Command::Cleanup, Switch | Cleanup) => Some(State { phase: Cleanup, crossing: None, ..state }),
        (Command::Cleanup, Done) => Some(state),
        (Command::Pause | Command::Resume, DualWrite | Validate | Switch) => {
            Some(State { paused: command == Command::Pause, ..state })
        }
        (Command::Reads(reads), DualWrite | Validate) => Some(State { reads, ..state }),
        (Command::Validate, Setup | Backfill | Switch | Cleanup | Done)
        | (Command::Switch, Setup | Backfill | DualWrite | Cleanup | Done)
        | (Command::Rollback, Setup | Backfill | Cleanup | Done)
        | (Command::Cleanup, Setup | Backfill | DualWrite | Validate)
        | (Command::Pause | Command::Resume, Setup | Backfill | Cleanup | Done)
        | (Command::Reads(_), Setup | Backfill | Switch | Cleanup | Done) => None,
    }
}

fn reached(state: State, (before, after): (Phase, Phase)) -> Result<State, Why> {
    if state.phase == before {
        Ok(State { phase: after, ..state })
    } else if state.phase == after {
        Ok(state)
    } else {
        Err(Why::Phase)
    }
}

/// `after` is what the end of the crossing makes of the state.
fn ended(state: State, crossing: Crossing, after: State) -> Result<State, Why> {
    if state.crossing == Some(crossing) || state == after { Ok(after) } else { Err(Why::Phase) }
}

fn decided(state: State, crossing: Crossing) -> State {
    let reads = match crossing {
        Crossing::Switch => Percent::ALL,
        Crossing::Rollback => Percent::NONE,
    };
    State { phase: crossing.end(), crossing: None, reads, ..state }
}

fn abandoned(state: State, crossing: Crossing) -> State {
    State { phase: crossing.start(), crossing: None, ..state }
}

impl State {
    pub const FIRST: State =
        State { phase: Phase::Setup, crossing: None, paused: false, reads: Percent::NONE };

    /// Whether events can lead here: a record that says otherwise is not ours.
    pub fn is_legal(self) -> bool {
        let resting = self.crossing.is_none() && !self.paused;
        match self.phase {
            Phase::Setup | Phase::Backfill => resting && self.reads == Percent::NONE,
            Phase::DualWrite => self.crossing.is_none(),
            Phase::Validate => {
                self.crossing.is_none() || (!self.paused && self.crossing == Some(Crossing::Switch))
            }
            Phase::Switch => {
                self.reads == Percent::ALL
                    && (self.crossing.is_none()
                        || (!self.paused && self.crossing == Some(Crossing::Rollback)))
            }
            Phase::Cleanup | Phase::Done => resting && self.reads == Percent::ALL,
        }
    }

    /// One line for the journal.
    pub fn words(self) -> String {
        let mut words = self.phase.word().to_owned();
        if let Some(crossing) = self.crossing {
            words.push_str(&format!(", {} begun", crossing.word()));
        }
        if self.paused {
            words.push_str(", paused");
        }
        if self.reads != Percent::NONE {
            words.push_str(&format!(", reads {}", self.reads));
        }
        words
    }
}

impl Crossing {
    pub const ALL: [Crossing; 2] = [Crossing::Switch, Crossing::Rollback];

    pub fn word(self) -> &'static str {
        match self {
            Crossing::Switch => "switch",
            Crossing::Rollback => "rollback",
        }
    }

    pub fn from_word(word: &str) -> Option<Crossing> {
        Crossing::ALL.into_iter().find(|crossing| crossing.word() == word)
    }

    /// The phase that it begins in, and that it falls back to when it is abandoned.
    pub fn start(self) -> Phase {
        match self {
            Crossing::Switch => Phase::Validate,
            Crossing::Rollback => Phase::Switch,
        }
    }

    /// The phase that its decision leads to.
    pub fn end(self) -> Phase {
        match self {
            Crossing::Switch => Phase::Switch,
            Crossing::Rollback => Phase::DualWrite,
        }
    }
}

impl Percent {
    pub const NONE: Percent = Percent(0);
    pub const ALL: Percent = Percent(100);

    /// `None` beyond a hundred.
    pub fn new(percent: u8) -> Option<Percent> {
        (percent <= 100).then_some(Percent(percent))
    }

    pub fn get(self) -> u8 {
        self.0
    }
}

impl Command {
    /// The phase that the command leads to: `POST /v1/phase` names commands by it.
    pub fn to(phase: Phase) -> Option<Command> {
        match phase {
            Phase::Validate => Some(Command::Validate),
            Phase::Switch => Some(Command::Switch),
            Phase::DualWrite => Some(Command::Rollback),
            Phase::Cleanup => Some(Command::Cleanup),
            Phase::Setup | Phase::Backfill | Phase::Done => None,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Command::Validate => "validate",
            Command::Switch => "switch",
            Command::Rollback => "rollback",
            Command::Cleanup => "cleanup",
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::Reads(_) => "reads",
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} %", self.0)
    }
}

impl fmt::Display for IllegalEvent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.state.phase.word();
        let what = match self.event {
            Event::Commanded(command) => command.word(),
            Event::Armed => "arming",
            Event::BackfillComplete => "the end of the backfill",
            Event::Decided(crossing) | Event::Abandoned(crossing) => crossing.word(),
            Event::CleanedUp => "the end of the cleanup",
        };
        match self.why {
            Why::Phase => write!(out, "`{what}` is not possible in the phase {phase}"),
            Why::Crossing => write!(out, "`{what}` is not possible while the writes are being moved"),
            Why::Paused => write!(out, "`{what}` is not possible while replication is paused"),
            Why::Expected(expected) => write!(
                out,
                "`{what}` was meant for the phase {}, and the migration is in the phase {phase}",
                expected.word()
            ),
        }
    }
}

impl IllegalEvent {
    pub fn remedy(&self) -> &'static str {
        match self.why {
            Why::Crossing => "Wait until it has ended: `liteferry status` shows it.",
            Why::Paused => "Run `liteferry resume` first.",
            Why::Expected(_) => {
                "Look at `liteferry status`, and give the command again if it is still wanted."
            }
            Why::Phase => match self.state.phase {
                Phase::Setup | Phase::Backfill => {
                    "Wait for the phase dual-write: `liteferry status` shows how far it has come."
                }
                Phase::DualWrite => "The way leads over `liteferry phase validate`.",
                Phase::Validate => {
                    "From here `liteferry phase switch` goes on, and `liteferry rollback` goes back."
                }
                Phase::Switch => {
                    "From here `liteferry cleanup` ends the migration, and `liteferry rollback` goes back."
                }
                Phase::Cleanup | Phase::Done => "The migration has ended; there is no way back to SQLite.",
            },
        }
    }
}

#[cfg(test)]
mod tests;
