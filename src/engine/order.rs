//! An order on its way to the daemon: what is asked, and who asks. It holds no token and nothing else of the request.

use crate::phase::Phase;
use crate::phase::machine::Command;
use std::fmt;

/// What an operator asks of a running daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Validate(Repair),
    Phase(Command),
    Ledger(Entries, Settle),
}

/// Which of the ledger's entries are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// By its number.
    One(i64),
    All,
}

/// What an operator decides about entries of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// What stands in the target is right as it is.
    Accept,
    /// The row is read again from the source.
    Retry,
}

/// What is done about rows that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    LeaveAsIs,
    ReadAgain,
}

/// Orders that wait for the daemon; more are refused by whoever takes them.
pub const ORDERS_MAX: usize = 16;

#[derive(Clone, Debug)]
pub struct Ordered {
    pub order: Order,
    pub actor: Actor,
    /// Counted by whoever takes orders, so that a verdict can be told to answer this one.
    pub number: u64,
    /// Whether it stands in the journal.
    pub recorded: bool,
    /// The phase that whoever asks believes the migration to be in.
    pub expect: Option<Phase>,
    /// In the operator's words.
    pub reason: Option<String>,
}

/// Who asks, fit for a line of the journal. What a client calls itself is not proven: where it asks from stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

/// Letters kept of a name that a client gives itself.
const CLAIMED_MAX: usize = 64;

impl Actor {
    /// `way` is how the order came, as we saw it ourselves.
    pub fn new(claimed: Option<&str>, way: &str) -> Actor {
        let claimed = claimed.map(str::trim).filter(|claimed| !claimed.is_empty());
        let Some(claimed) = claimed else { return Actor(way.to_owned()) };
        let name: String = claimed.chars().take(CLAIMED_MAX).flat_map(char::escape_debug).collect();
        Actor(format!("{name} ({way})"))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Ordered {
    pub fn new(order: Order, actor: Actor, number: u64) -> Ordered {
        Ordered { order, actor, number, recorded: false, expect: None, reason: None }
    }

    /// What the journal says of it.
    pub fn words(&self) -> (&'static str, String) {
        let actor = &self.actor;
        match self.order {
            Order::Validate(Repair::LeaveAsIs) => ("validation", format!("ordered by {actor}")),
            Order::Validate(Repair::ReadAgain) => {
                ("validation", format!("ordered by {actor}, with rows that differ to be read again"))
            }
            Order::Phase(Command::Reads(reads)) => ("command", format!("reads {reads} by {actor}")),
            Order::Phase(command) => ("command", format!("{} by {actor}", command.word())),
            Order::Ledger(entries, settle) => {
                let which = match entries {
                    Entries::One(entry) => format!("entry {entry}"),
                    Entries::All => "every entry".to_owned(),
                };
                let what = match settle {
                    Settle::Accept => "accepted",
                    Settle::Retry => "tried again",
                };
                ("ledger", format!("{which} {what} by {actor}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_one_short_line() {
        let long = "x".repeat(500);
        for (claimed, expected) in [
            (None, "http 127.0.0.1:9".to_owned()),
            (Some(" "), "http 127.0.0.1:9".to_owned()),
            (Some("ann"), "ann (http 127.0.0.1:9)".to_owned()),
            (Some("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J (http 127.0.0.1:9)".to_owned()),
            (Some(&long), format!("{} (http 127.0.0.1:9)", &long[..CLAIMED_MAX])),
        ] {
            assert_eq!(Actor::new(claimed, "http 127.0.0.1:9").to_string(), expected);
        }
    }

    #[test]
    fn the_journal_tells_who_and_what() {
        let actor = Actor::new(Some("ann"), "http 127.0.0.1:9");
        let (what, detail) = Ordered::new(Order::Validate(Repair::ReadAgain), actor, 1).words();
        assert_eq!(what, "validation");
        assert_eq!(detail, "ordered by ann (http 127.0.0.1:9), with rows that differ to be read again");
    }
}
