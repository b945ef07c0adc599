//! Two operators at a real daemon, with old views, out of order and twice: it does what the machine says, or refuses because of a gate
//! and changes nothing. `CASES=n` tries more sequences.

#[path = "../model/orders.rs"]
mod orders;

use crate::follow::Case;
use crate::generate::random::Random;
use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use liteferry::phase::Phase;
use liteferry::phase::machine::{Command, Crossing, Event, Percent, State, transition};
use orders::{Act, Expect, Operator, acts, answer, told};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SOURCE: &str = "pragma journal_mode = wal; create table t (id integer primary key, v text); insert into t values (1, 'a');";
const CASES: u32 = 2;

#[test]
fn a_daemon_does_what_the_machine_says_whatever_two_operators_command() {
    let asked = std::env::var("CASES").ok().and_then(|cases| cases.parse().ok());
    let settings = ProptestConfig {
        cases: asked.unwrap_or(CASES),
        // The same for all, unless somebody asks for more.
        rng_seed: asked.map_or(RngSeed::Fixed(1), |_| RngSeed::Random),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(settings, |(acts in acts())| {
        let mut bench = Bench::new();
        for act in acts {
            bench.obey(act);
        }
        bench.tells_the_whole_way();
    });
}

/// The daemon, what it should be in, and what each operator saw of it last.
struct Bench {
    case: Case,
    daemon: Daemon,
    state: State,
    ann: State,
    bob: State,
}

impl Bench {
    fn new() -> Bench {
        let case = Case::new(SOURCE);
        let mut daemon = case.daemon(&["--set", "validate.on=false"]);
        daemon.until(|status| status["phase"] == "dual-write");
        let state = State { phase: Phase::DualWrite, ..State::FIRST };
        Bench { case, daemon, state, ann: state, bob: state }
    }

    fn obey(&mut self, act: Act) {
        match act {
            Act::Look(Operator::Ann) => self.ann = self.state,
            Act::Look(Operator::Bob) => self.bob = self.state,
            // What the daemon sees, it tells by itself; that it may be asked to say so again is what a crash comes to.
            Act::Tell(Event::Armed) => self.crash(),
            Act::Tell(_) => {}
            Act::Order { by, command, expect, times } => {
                for _ in 0..times {
                    self.order(by, (command, expect));
                }
            }
        }
    }

    fn crash(&mut self) {
        self.daemon.signal("-KILL");
        self.daemon = self.case.daemon(&["--set", "validate.on=false"]);
        self.rests_in("a crash");
    }

    fn order(&mut self, by: Operator, (command, expect): (Command, Expect)) {
        let before = self.state;
        let seen = match by {
            Operator::Ann => self.ann,
            Operator::Bob => self.bob,
        };
        let what = format!("{command:?}, {expect:?}, at {before:?}, seen {seen:?}");
        let refused = self.give(command, (expect, seen));
        match answer(before, seen, (command, expect)) {
            Err(_) => assert!(refused.is_some(), "{what}: obeyed"),
            Ok(after) if after == before => assert_eq!(refused, None, "{what}"),
            // A gate that is closed, or a fault that comes between, is the daemon's to judge.
            Ok(_) if refused.as_ref().is_some_and(is_of_gates) => {
                assert!(matches!(command, Command::Switch | Command::Rollback | Command::Cleanup), "{what}");
            }
            Ok(_) if refused.as_ref().is_some_and(|refused| !is_of_machine(refused)) => {
                println!("{what}: {refused:?}");
            }
            Ok(after) => {
                assert_eq!(refused, None, "{what}\n{}", self.daemon.log());
                self.state = carried_out(after);
            }
        }
        self.rests_in(&what);
    }

    /// Null where it was obeyed, nothing where it had been so already; else why it was refused.
    fn give(&mut self, command: Command, (expect, seen): (Expect, State)) -> Option<Value> {
        let expected = match expect {
            Expect::Nothing => Value::Null,
            Expect::TheSeenPhase => json!(seen.phase.word()),
            Expect::This(phase) => json!(phase.word()),
        };
        let to = |phase: Phase| ("/v1/phase", json!({ "to": phase.word() }));
        let (path, mut body) = match command {
            Command::Validate => to(Phase::Validate),
            Command::Switch => to(Phase::Switch),
            Command::Rollback => to(Phase::DualWrite),
            Command::Cleanup => ("/v1/phase", json!({ "to": "cleanup", "confirm": "source.db" })),
            Command::Pause => ("/v1/pause", json!({})),
            Command::Resume => ("/v1/resume", json!({})),
            Command::Reads(percent) => ("/v1/reads", json!({ "percent": percent.get() })),
        };
        if expected != Value::Null {
            body["expect"] = expected;
        }
        let (status, told) = self.daemon.post(path, &body.to_string());
        if status != 202 {
            assert_eq!(status, 409, "{path} {body}: {told:#}");
            return Some(told);
        }
        let order = told["order"].as_i64().expect("an order has a number");
        let status = self.daemon.until(|status| status["answer"]["order"].as_i64() >= Some(order));
        Some(status["answer"]["refused"].clone()).filter(|refused| !refused.is_null())
    }

    /// The daemon shows the state that the machine gives, and a comparison has been made where one is wanted.
    #[track_caller]
    fn rests_in(&mut self, after: &str) {
        let state = self.state;
        let run = if state.paused { "paused" } else { "running" };
        let status = self.daemon.until(|status| {
            status["run"]["state"] == run
                && status["machine"]["crossing"].is_null()
                && status["phase"] == state.phase.word()
        });
        let shown = (&status["phase"], &status["machine"]["paused"], &status["machine"]["reads"]);
        let wanted = (json!(state.phase.word()), json!(state.paused), json!(state.reads.get()));
        assert_eq!(shown, (&wanted.0, &wanted.1, &wanted.2), "after {after}");
        if state.phase == Phase::Validate && !state.paused {
            self.compared();
        }
    }

    fn compared(&mut self) {
        self.daemon.wait_for(|daemon| {
            let validation = &daemon.status()?["validation"];
            let idle = validation["state"] == "idle";
            if idle && validation["verdict"].is_null() {
                // It may be refused, and one may have begun by itself meanwhile.
                daemon.try_post("/v1/validation", "{}");
            }
            (idle && validation["verdict"].is_string()).then_some(())
        });
    }

    /// Each line of the journal begins where the one before it ended.
    fn tells_the_whole_way(&self) {
        let lines =
            self.case.rows("select before, after from liteferry.journal where after <> '' order by id");
        for pair in lines.windows(2) {
            assert_eq!(pair[0][1], pair[1][0], "{lines:#?}");
        }
        let last = lines.last().and_then(|line| line[1].clone());
        assert_eq!(last.unwrap_or_else(|| Phase::DualWrite.word().to_owned()), self.state.words());
    }
}

/// At least so long, and until so much was moved.
const TOGETHER: Duration = Duration::from_secs(10);
const MOVES: usize = 10;

/// What an operator sends, whatever the other one does at the same moment.
fn operate(daemon: &Daemon, (name, mut random): (&str, Random), enough: &AtomicBool) -> u64 {
    let mut taken = 0;
    while !enough.load(Ordering::Relaxed) {
        let Some(seen) = daemon.status() else { continue };
        for _ in 0..random.below(4) {
            let (path, mut body) = match random.below(9) {
                0 | 1 => ("/v1/phase", json!({ "to": "validate" })),
                2..5 => ("/v1/phase", json!({ "to": "switch" })),
                5 => ("/v1/phase", json!({ "to": "dual-write" })),
                6 => ("/v1/pause", json!({})),
                7 => ("/v1/resume", json!({})),
                _ => ("/v1/reads", json!({ "percent": random.below(101) })),
            };
            if random.in_hundred(70) {
                body["expect"] = seen["phase"].clone();
            }
            body["reason"] = json!(name);
            let Some((status, told)) = daemon.try_post(path, &body.to_string()) else { continue };
            assert!([202, 409, 429, 503].contains(&status), "{path} {body}: {told:#}");
            taken += u64::from(status == 202);
        }
        if seen["phase"] == "validate" && seen["validation"]["verdict"].is_null() {
            daemon.try_post("/v1/validation", "{}");
        }
    }
    taken
}

#[test]
fn two_operators_at_the_same_time_lead_it_along_the_machines_own_ways() {
    let seed = std::env::var("LITEFERRY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    println!("LITEFERRY_SEED={seed}");
    let mut bench = Bench::new();
    let (began, enough) = (Instant::now(), AtomicBool::new(false));
    let moves = || bench.case.rows("select 1 from liteferry.journal where after <> ''").len();
    let taken: u64 = thread::scope(|scope| {
        let operators = [("ann", seed), ("bob", seed + 1)];
        let at_work = operators.map(|(name, seed)| {
            let (daemon, enough) = (&bench.daemon, &enough);
            scope.spawn(move || operate(daemon, (name, Random::new(seed)), enough))
        });
        while began.elapsed() < TOGETHER || moves() < MOVES && began.elapsed() < *PATIENCE {
            thread::sleep(Duration::from_millis(200));
        }
        enough.store(true, Ordering::Relaxed);
        at_work.into_iter().map(|operator| operator.join().expect("an operator ends")).sum()
    });
    // Too many may wait as yet.
    let last = loop {
        let (status, last) = bench.daemon.post("/v1/resume", "{}");
        match status {
            429 => thread::sleep(Duration::from_millis(100)),
            202 | 409 => break last,
            _ => panic!("{last:#}"),
        }
    };
    let status = bench.daemon.until(|status| {
        let answered =
            last["order"].is_null() || status["answer"]["order"].as_i64() >= last["order"].as_i64();
        answered && status["machine"]["crossing"].is_null() && status["run"]["state"] == "running"
    });
    let words = known_states();
    let lines =
        bench.case.rows("select before, after, what from liteferry.journal where after <> '' order by id");
    let mut at = Phase::DualWrite.word().to_owned();
    for line in &lines {
        let [before, after, what] = [0, 1, 2].map(|column| line[column].clone().unwrap_or_default());
        assert_eq!(before, at, "{what} begins elsewhere: {lines:#?}");
        let leads = |event| transition(words[&before], event) == Ok(words[&after]);
        assert!(before == after || events().any(leads), "{what}: no event leads from {before} to {after}");
        at = after;
    }
    let reads = status["machine"]["reads"].as_u64().and_then(|reads| u8::try_from(reads).ok());
    let state = State {
        phase: Phase::from_word(status["phase"].as_str().expect("a phase")).expect("a phase"),
        crossing: None,
        paused: status["machine"]["paused"] == true,
        reads: reads.and_then(Percent::new).expect("a percentage"),
    };
    assert_eq!(at, state.words(), "the last line is where it stands");
    println!("orders taken {taken}, moves {}", lines.len());
    assert!(lines.len() >= MOVES, "hardly anything was moved: {lines:#?}");
}

fn events() -> impl Iterator<Item = Event> {
    use Command::{Cleanup, Pause, Resume, Rollback, Switch, Validate};
    let reads = (0..=100).filter_map(Percent::new).map(Command::Reads);
    let commands = [Validate, Switch, Rollback, Cleanup, Pause, Resume].into_iter().chain(reads);
    let crossings = Crossing::ALL.into_iter().flat_map(|one| [Event::Decided(one), Event::Abandoned(one)]);
    commands.map(Event::Commanded).chain(crossings)
}

/// Every state that events lead to from the first one that the journal tells of, by its words.
fn known_states() -> BTreeMap<String, State> {
    let mut known = BTreeMap::new();
    let mut next = vec![State { phase: Phase::DualWrite, ..State::FIRST }];
    while let Some(state) = next.pop() {
        if known.insert(state.words(), state).is_none() {
            next.extend(events().filter_map(|event| transition(state, event).ok()));
        }
    }
    known
}

/// What the daemon makes of a command that it obeys.
fn carried_out(after: State) -> State {
    match (after.crossing, after.phase) {
        (Some(crossing), _) => told(after, Event::Decided(crossing)).expect("it has begun"),
        (None, Phase::Cleanup) => told(after, Event::CleanedUp).expect("a cleanup ends"),
        (None, _) => after,
    }
}

fn is_of_gates(refused: &Value) -> bool {
    refused["code"] == "gates_closed"
}

/// By the machine itself, which knows no passing reason.
fn is_of_machine(refused: &Value) -> bool {
    let codes = ["not_in_this_phase", "crossing_under_way", "replication_paused", "phase_moved"];
    codes.iter().any(|code| refused["code"] == *code)
}

#[test]
fn a_crossing_that_is_carried_out_ends_where_the_machine_says() {
    let validate = State { phase: Phase::Validate, ..State::FIRST };
    let begun = State { crossing: Some(Crossing::Switch), ..validate };
    assert_eq!(carried_out(begun), State { phase: Phase::Switch, reads: Percent::ALL, ..validate });
    assert_eq!(carried_out(validate), validate);
}
