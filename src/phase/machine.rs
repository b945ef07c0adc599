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
    /// Nothing moves while replication is paused.
    Paused,
}

/// What the state becomes. An event that asks for what is so already changes nothing.
pub fn transition(state: State, event: Event) -> Result<State, IllegalEvent> {
    let illegal = |why| Err(IllegalEvent { state, event, why });
    match event {
        Event::Commanded(command) => commanded(state, command).map_or_else(illegal, Ok),
        Event::Armed => match state.phase {
            Phase::Setup => Ok(State { phase: Phase::Backfill, ..state }),
            _ => illegal(Why::Phase),
        },
        Event::BackfillComplete => match state.phase {
            Phase::Backfill => Ok(State { phase: Phase::DualWrite, ..state }),
            _ => illegal(Why::Phase),
        },
        Event::Decided(crossing) if state.crossing == Some(crossing) => Ok(match crossing {
            Crossing::Switch => State { phase: Phase::Switch, crossing: None, reads: Percent::ALL, ..state },
            Crossing::Rollback => {
                State { phase: Phase::DualWrite, crossing: None, reads: Percent::NONE, ..state }
            }
        }),
        Event::Abandoned(crossing) if state.crossing == Some(crossing) => {
            Ok(State { crossing: None, ..state })
        }
        Event::Decided(_) | Event::Abandoned(_) => illegal(Why::Phase),
        Event::CleanedUp => match state.phase {
            Phase::Cleanup => Ok(State { phase: Phase::Done, ..state }),
            _ => illegal(Why::Phase),
        },
    }
}

fn commanded(state: State, command: Command) -> Result<State, Why> {
    if state.crossing.is_some() {
        return Err(Why::Crossing);
    }
    match command {
        Command::Pause | Command::Resume => match state.phase {
            Phase::Setup | Phase::Backfill | Phase::Cleanup | Phase::Done => Err(Why::Phase),
            Phase::DualWrite | Phase::Validate | Phase::Switch => {
                Ok(State { paused: command == Command::Pause, ..state })
            }
        },
        Command::Validate | Command::Switch | Command::Rollback | Command::Cleanup | Command::Reads(_)
            if state.paused =>
        {
            Err(Why::Paused)
        }
        Command::Validate => match state.phase {
            Phase::DualWrite | Phase::Validate => Ok(State { phase: Phase::Validate, ..state }),
            Phase::Setup | Phase::Backfill | Phase::Switch | Phase::Cleanup | Phase::Done => Err(Why::Phase),
        },
        Command::Switch => match state.phase {
            Phase::Validate => Ok(State { crossing: Some(Crossing::Switch), ..state }),
            Phase::Switch => Ok(state),
            Phase::Setup | Phase::Backfill | Phase::DualWrite | Phase::Cleanup | Phase::Done => {
                Err(Why::Phase)
            }
        },
        Command::Rollback => match state.phase {
            Phase::DualWrite | Phase::Validate => {
                Ok(State { phase: Phase::DualWrite, reads: Percent::NONE, ..state })
            }
            Phase::Switch => Ok(State { crossing: Some(Crossing::Rollback), ..state }),
            Phase::Setup | Phase::Backfill | Phase::Cleanup | Phase::Done => Err(Why::Phase),
        },
        Command::Cleanup => match state.phase {
            Phase::Switch | Phase::Cleanup => Ok(State { phase: Phase::Cleanup, ..state }),
            Phase::Done => Ok(state),
            Phase::Setup | Phase::Backfill | Phase::DualWrite | Phase::Validate => Err(Why::Phase),
        },
        Command::Reads(reads) => match state.phase {
            Phase::DualWrite | Phase::Validate => Ok(State { reads, ..state }),
            Phase::Setup | Phase::Backfill | Phase::Switch | Phase::Cleanup | Phase::Done => Err(Why::Phase),
        },
    }
}

impl State {
    pub const FIRST: State =
        State { phase: Phase::Setup, crossing: None, paused: false, reads: Percent::NONE };

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
        }
    }
}

impl IllegalEvent {
    pub fn remedy(&self) -> &'static str {
        match self.why {
            Why::Crossing => "Wait until it has ended: `liteferry status` shows it.",
            Why::Paused => "Run `liteferry resume` first.",
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
