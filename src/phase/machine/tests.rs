//! Tests of the machine over every state there is: the reviewed table, and the laws that hold in all of it.

use super::*;
use std::collections::{BTreeSet, HashSet};

const TABLE: &str = include_str!("../transitions.golden");
const TABLE_HEADER: &str = "\
# Every phase and every event: what becomes of it. Made from src/phase/machine.rs and read by people: `LITEFERRY_GOLDEN=write
# cargo test --lib the_table_is_as_it_was_reviewed` writes it anew, and the difference is what is to be reviewed.
# Orders of an operator stand by their names, what the daemon has seen in words. 50 % of reads stands for any percentage.
";

fn percent(percent: u8) -> Percent {
    Percent::new(percent).unwrap()
}

fn states_with(reads: &[u8]) -> Vec<State> {
    let mut states = Vec::new();
    for phase in Phase::ALL {
        for paused in [false, true] {
            for crossing in [None, Some(Crossing::Switch), Some(Crossing::Rollback)] {
                let state = |reads: &u8| State { phase, crossing, paused, reads: percent(*reads) };
                states.extend(reads.iter().map(state));
            }
        }
    }
    states
}

fn all_states() -> Vec<State> {
    states_with(&(0..=100).collect::<Vec<u8>>())
}

fn events_with(reads: &[u8]) -> Vec<Event> {
    use Command::{Cleanup, Pause, Resume, Rollback, Switch, Validate};
    let commands = [Validate, Switch, Rollback, Cleanup, Pause, Resume].into_iter();
    let reads = reads.iter().map(|reads| Command::Reads(percent(*reads)));
    let facts = [
        Event::Armed,
        Event::BackfillComplete,
        Event::Decided(Crossing::Switch),
        Event::Abandoned(Crossing::Switch),
        Event::Decided(Crossing::Rollback),
        Event::Abandoned(Crossing::Rollback),
        Event::CleanedUp,
    ];
    commands.chain(reads).map(Event::Commanded).chain(facts).collect()
}

fn all_events() -> Vec<Event> {
    events_with(&(0..=100).collect::<Vec<u8>>())
}

/// Every state that is legal, every event, and what comes of it.
fn every_step() -> impl Iterator<Item = (State, Event, Result<State, IllegalEvent>)> {
    let events = all_events();
    let legal = all_states().into_iter().filter(|state| state.is_legal());
    legal.flat_map(move |state| {
        let step = move |event| (state, event, transition(state, event));
        events.clone().into_iter().map(step)
    })
}

fn table() -> String {
    let mut table = TABLE_HEADER.to_owned();
    let told_apart =
        |state: &State| state.is_legal() && (state.reads < Percent::ALL || state.phase >= Phase::Switch);
    for state in states_with(&[0, 50, 100]).into_iter().filter(told_apart) {
        table.push_str(&format!("\n{}\n", state.words()));
        for event in events_with(&[0, 50, 100]) {
            let outcome = match transition(state, event) {
                Ok(after) if after == state => "stays".to_owned(),
                Ok(after) => format!("-> {}", after.words()),
                Err(IllegalEvent { why: Why::Phase, .. }) => ".  not in this phase".to_owned(),
                Err(IllegalEvent { why: Why::Crossing, .. }) => {
                    ".  not while the writes are moved".to_owned()
                }
                Err(IllegalEvent { why: Why::Paused, .. }) => ".  not while paused".to_owned(),
                Err(IllegalEvent { why: Why::Expected(_), .. }) => unreachable!("nothing was expected"),
            };
            table.push_str(&format!("  {:<20} {outcome}\n", event_words(event)));
        }
    }
    table
}

fn event_words(event: Event) -> String {
    match event {
        Event::Commanded(Command::Reads(reads)) => format!("reads {reads}"),
        Event::Commanded(command) => command.word().to_owned(),
        Event::Armed => "(armed)".to_owned(),
        Event::BackfillComplete => "(backfill complete)".to_owned(),
        Event::Decided(crossing) => format!("({} decided)", crossing.word()),
        Event::Abandoned(crossing) => format!("({} abandoned)", crossing.word()),
        Event::CleanedUp => "(cleaned up)".to_owned(),
    }
}

#[test]
fn the_table_is_as_it_was_reviewed() {
    let table = table();
    if std::env::var("LITEFERRY_GOLDEN").is_ok_and(|what| what == "write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/phase/transitions.golden");
        std::fs::write(path, &table).unwrap();
        return;
    }
    for (now, reviewed) in table.lines().zip(TABLE.lines()) {
        assert_eq!(now, reviewed);
    }
    assert_eq!(table.lines().count(), TABLE.lines().count());
}

#[test]
fn every_event_has_an_answer_everywhere_and_leads_to_a_legal_state() {
    for state in all_states() {
        for event in all_events() {
            // Even where no record of ours stands, the answer is one, and it names what was asked.
            match transition(state, event) {
                Ok(after) => assert!(!state.is_legal() || after.is_legal(), "{state:?} {event:?} {after:?}"),
                Err(illegal) => assert_eq!((illegal.state, illegal.event), (state, event)),
            }
        }
    }
}

#[test]
fn the_legal_states_are_those_that_events_lead_to() {
    let events = all_events();
    let (mut known, mut open) = (HashSet::from([State::FIRST]), vec![State::FIRST]);
    while let Some(state) = open.pop() {
        for after in events.iter().filter_map(|event| transition(state, *event).ok()) {
            if known.insert(after) {
                open.push(after);
            }
        }
    }
    for state in all_states() {
        assert_eq!(state.is_legal(), known.contains(&state), "{state:?}");
    }
}

#[test]
fn an_event_that_comes_twice_changes_nothing_the_second_time() {
    for (state, event, after) in every_step() {
        if let Ok(after) = after {
            assert_eq!(transition(after, event), Ok(after), "{state:?} {event:?}");
        }
    }
}

#[test]
fn the_writes_go_over_by_a_decision_and_by_nothing_else() {
    let on_postgres = |state: State| state.phase >= Phase::Switch;
    let mut crossed = BTreeSet::new();
    for (state, event, after) in every_step() {
        let Ok(after) = after else { continue };
        if on_postgres(state) != on_postgres(after) {
            let Event::Decided(crossing) = event else { panic!("{state:?} {event:?}") };
            assert_eq!(state.crossing, Some(crossing));
            assert_eq!((state.phase, after.phase, after.crossing), (crossing.start(), crossing.end(), None));
            crossed.insert(crossing.word());
        }
    }
    assert_eq!(crossed, BTreeSet::from(["rollback", "switch"]));
}

#[test]
fn a_crossing_under_way_is_left_by_its_own_end_alone() {
    for (state, event, after) in every_step() {
        let (Some(crossing), Ok(after)) = (state.crossing, after) else { continue };
        let ended = [Event::Decided(crossing), Event::Abandoned(crossing)].contains(&event);
        assert_eq!(after != state, ended, "{state:?} {event:?}");
    }
}

#[test]
fn a_pause_lets_through_only_what_relieves_the_target() {
    for (state, event, after) in every_step() {
        let (true, Event::Commanded(command), Ok(after)) = (state.paused, event, after) else { continue };
        let resumed = command == Command::Resume;
        assert_eq!(after.paused, !resumed);
        assert_eq!(after.crossing, None);
        assert!(after.phase <= state.phase && after.reads <= state.reads, "{state:?} {event:?}");
    }
}

#[test]
fn from_everywhere_the_end_can_be_reached_and_from_the_end_nothing() {
    let steps: Vec<(State, State)> =
        every_step().filter_map(|(state, _, after)| Some((state, after.ok()?))).collect();
    let mut ending: HashSet<State> =
        all_states().into_iter().filter(|state| state.is_legal() && state.phase == Phase::Done).collect();
    loop {
        let more = steps.iter().filter(|(state, after)| ending.contains(after) && !ending.contains(state));
        let more: Vec<State> = more.map(|(state, _)| *state).collect();
        if more.is_empty() {
            break;
        }
        ending.extend(more);
    }
    assert!(all_states().into_iter().filter(|state| state.is_legal()).all(|state| ending.contains(&state)));
    assert!(steps.iter().all(|(state, after)| state.phase != Phase::Done || after == state));
}

#[test]
fn a_command_that_was_meant_for_another_phase_is_refused() {
    let at = |phase| State { phase, ..State::FIRST };
    let validate = at(Phase::Validate);
    let begun = State { crossing: Some(Crossing::Switch), ..validate };
    for (state, command, expected, answer) in [
        (validate, Command::Switch, None, Ok(begun)),
        (validate, Command::Switch, Some(Phase::Validate), Ok(begun)),
        (validate, Command::Switch, Some(Phase::DualWrite), Err(Why::Expected(Phase::DualWrite))),
        // Even where it would change nothing: whoever asks saw another state.
        (validate, Command::Validate, Some(Phase::DualWrite), Err(Why::Expected(Phase::DualWrite))),
        (begun, Command::Switch, Some(Phase::Validate), Ok(begun)),
        (begun, Command::Rollback, Some(Phase::Validate), Err(Why::Crossing)),
        (at(Phase::Backfill), Command::Switch, Some(Phase::Validate), Err(Why::Expected(Phase::Validate))),
        (at(Phase::Backfill), Command::Switch, Some(Phase::Backfill), Err(Why::Phase)),
    ] {
        let found = ask(state, command, expected).map_err(|illegal| illegal.why);
        assert_eq!(found, answer, "{} {} {expected:?}", state.words(), command.word());
    }
}

#[test]
fn a_refusal_says_what_where_and_what_to_do() {
    let validate = State { phase: Phase::Validate, ..State::FIRST };
    let begun = State { crossing: Some(Crossing::Switch), ..validate };
    let paused = State { paused: true, ..validate };
    for (illegal, sentence) in [
        (ask(State::FIRST, Command::Switch, None), "`switch` is not possible in the phase setup"),
        (ask(begun, Command::Rollback, None), "`rollback` is not possible while the writes are being moved"),
        (ask(paused, Command::Switch, None), "`switch` is not possible while replication is paused"),
        (
            ask(validate, Command::Cleanup, Some(Phase::Switch)),
            "`cleanup` was meant for the phase switch, and the migration is in the phase validate",
        ),
        (
            transition(validate, Event::CleanedUp),
            "`the end of the cleanup` is not possible in the phase validate",
        ),
    ] {
        let illegal = illegal.unwrap_err();
        assert_eq!(illegal.to_string(), sentence);
        assert!(illegal.remedy().ends_with('.'));
    }
}

#[test]
fn words_come_back_as_what_they_were() {
    for crossing in Crossing::ALL {
        assert_eq!(Crossing::from_word(crossing.word()), Some(crossing));
    }
    assert_eq!(Crossing::from_word("Switch"), None);
    assert_eq!((Percent::new(100), Percent::new(101)), (Some(Percent::ALL), None));
    assert_eq!(Command::to(Phase::DualWrite), Some(Command::Rollback));
    assert_eq!(Phase::ALL.into_iter().filter_map(Command::to).count(), 4);
    let state =
        State { phase: Phase::Switch, crossing: Some(Crossing::Rollback), paused: true, reads: percent(9) };
    assert_eq!(state.words(), "switch, rollback begun, paused, reads 9 %");
}
