//! What two operators and the daemon might do, in any order: drawn at random, and answered by the machine of phases as the reference.
//! Nothing here knows what carries it out.

use liteferry::phase::Phase;
use liteferry::phase::machine::{Command, Crossing, Event, IllegalEvent, Percent, State, ask, transition};
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// An operator looks at the status.
    Look(Operator),
    /// An operator commands, by what was seen at the last look; maybe twice, as one whose answer was lost.
    Order { by: Operator, command: Command, expect: Expect, times: usize },
    /// The daemon has seen something, or a crash made it say so again.
    Tell(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Ann,
    Bob,
}

#[derive(Clone, Copy, Debug)]
pub enum Expect {
    Nothing,
    TheSeenPhase,
    /// Whatever was typed.
    This(Phase),
}

pub const ACTS_MAX: usize = 60;

pub fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 1..ACTS_MAX)
}

/// What the machine answers to an order of one who has `seen` this state.
pub fn answer(
    state: State,
    seen: State,
    (command, expect): (Command, Expect),
) -> Result<State, IllegalEvent> {
    let expected = match expect {
        Expect::Nothing => None,
        Expect::TheSeenPhase => Some(seen.phase),
        Expect::This(phase) => Some(phase),
    };
    ask(state, command, expected)
}

/// What the machine makes of what the daemon tells.
pub fn told(state: State, event: Event) -> Result<State, IllegalEvent> {
    transition(state, event)
}

fn act() -> impl Strategy<Value = Act> {
    let order = (operator(), command(), expect(), 1..3usize)
        .prop_map(|(by, command, expect, times)| Act::Order { by, command, expect, times });
    prop_oneof![2 => operator().prop_map(Act::Look), 5 => order, 4 => event().prop_map(Act::Tell)]
}

fn operator() -> impl Strategy<Value = Operator> {
    select(vec![Operator::Ann, Operator::Bob])
}

fn command() -> impl Strategy<Value = Command> {
    use Command::{Cleanup, Pause, Resume, Rollback, Switch, Validate};
    let reads = (0..=100u8).prop_map(|reads| Command::Reads(Percent::new(reads).expect("a percentage")));
    // The last step of the way is rare, or every sequence would end early.
    prop_oneof![
        12 => select(vec![Validate, Switch, Switch, Rollback, Pause, Resume, Resume]),
        2 => reads,
        1 => Just(Cleanup),
    ]
}

fn expect() -> impl Strategy<Value = Expect> {
    let typed = select(Phase::ALL.to_vec()).prop_map(Expect::This);
    prop_oneof![2 => Just(Expect::Nothing), 2 => Just(Expect::TheSeenPhase), 1 => typed]
}

fn event() -> impl Strategy<Value = Event> {
    select(vec![
        Event::Armed,
        Event::BackfillComplete,
        Event::Decided(Crossing::Switch),
        Event::Decided(Crossing::Rollback),
        Event::Abandoned(Crossing::Switch),
        Event::Abandoned(Crossing::Rollback),
        Event::CleanedUp,
    ])
}
