//! What an order would meet at this moment: whether the machine knows the way, which gates are closed, what would be done; and where the
//! application is told to go. It changes nothing and promises nothing: the daemon looks again before it acts.

use super::reason::Reason;
use super::standing::{Answer, Reverse, Routing, Writes};
use super::status::View;
use crate::phase::gate::Gate;
use crate::phase::machine::{Command, IllegalEvent, Percent, State, Why, ask};
use crate::phase::{Phase, RunState};
use serde_json::{Map, Value, json};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    pub command: Command,
    /// `None` while the records have not been read.
    pub phase: Option<Phase>,
    /// Why it would not even be tried, where that is so.
    pub refused: Option<Reason>,
    /// As they were last read, where the command would be tried. `None` where there are gates, and nobody has looked at them yet.
    pub gates: Option<Vec<Gate>>,
}

/// What the application is told. It may keep to it for as long as `ttl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub routing: Routing,
    pub reads: Percent,
    pub ttl: Duration,
}

/// Commands that lead to another phase, in the order of the way.
pub const MOVES: [Command; 4] = [Command::Validate, Command::Switch, Command::Rollback, Command::Cleanup];

const TTL: Duration = Duration::from_secs(1);
/// Whoever waits for the other side wants to know soon.
const TTL_CROSSING: Duration = Duration::from_millis(20);

impl View {
    pub fn outlook(&self, command: Command) -> Outlook {
        self.outlook_from(command, None)
    }

    /// The same, for somebody who takes the migration to be in a phase.
    pub fn outlook_from(&self, command: Command, expect: Option<Phase>) -> Outlook {
        let from = self.status.machine;
        let asked = |_| ask(from, command, expect).map_err(Reason::illegal);
        let refused = self.located().and_then(asked).and_then(|_| self.obeyed(command)).err();
        let is_back = command == Command::Rollback;
        let refused = refused.map(|refused| if is_back { self.without_target(refused) } else { refused });
        let of = |(named, gates): &(Command, Vec<Gate>)| (*named == command).then(|| gates.clone());
        let looked_at = self.status.standing.gates.iter().find_map(of);
        let gates = match &refused {
            None => looked_at.or_else(|| (!is_gated(command, from.phase)).then(Vec::new)),
            // Nobody looks at gates then, and what was read before is not so now.
            Some(_) => Some(Vec::new()),
        };
        Outlook { command, phase: self.status.phase(), refused, gates }
    }

    /// Whether the daemon would carry the command out soon. One that waited for a fault to pass would surprise everybody.
    fn obeyed(&self, command: Command) -> Result<(), Reason> {
        self.healthy()?;
        let run = &self.status.run;
        let said = || {
            run.reason.clone().unwrap_or_else(|| {
                let sentence = format!("replication is {}", run.state.word());
                Reason::new("not_running", sentence, "Wait until it is running: `liteferry status` shows it.")
            })
        };
        match (run.state, command) {
            (RunState::Halted | RunState::Stopping, _) => Err(said()),
            (
                RunState::Degraded,
                Command::Validate | Command::Switch | Command::Rollback | Command::Cleanup,
            ) => Err(said()),
            (RunState::Degraded, Command::Pause | Command::Resume | Command::Reads(_))
            | (RunState::Running | RunState::CatchingUp | RunState::Paused, _) => Ok(()),
        }
    }

    /// Whoever cannot wait for PostgreSQL, which has the writes, has another way back.
    fn without_target(&self, refused: Reason) -> Reason {
        if self.status.target.up || self.status.phase() != Some(Phase::Switch) {
            return refused;
        }
        let remedy = format!(
            "{} If PostgreSQL is gone for good: stop the daemon, and `liteferry rollback --without-target` opens SQLite as it is.",
            refused.remedy
        );
        Reason { remedy, ..refused }
    }

    /// `None` while the records have not been read. With more lag than `lag_max`, or none that is known, nobody is sent to PostgreSQL to
    /// read what is the truth in SQLite.
    pub fn told(&self, lag_max: Duration) -> Option<Told> {
        let State { phase, crossing, reads, .. } = self.status.machine;
        let routing = match (self.status.standing.routing, phase) {
            (Some(routing), _) => routing,
            // The application's writes have never been anywhere else.
            (None, Phase::Backfill | Phase::DualWrite | Phase::Validate) => Routing::FIRST,
            (None, Phase::Setup | Phase::Switch | Phase::Cleanup | Phase::Done) => return None,
        };
        let reads = match routing.writes {
            Writes::Postgres => Percent::ALL,
            Writes::Sqlite if self.ready(lag_max).is_err() => Percent::NONE,
            Writes::Sqlite | Writes::Paused => reads,
        };
        let crosses = crossing.is_some() || routing.writes == Writes::Paused;
        Some(Told { routing, reads, ttl: if crosses { TTL_CROSSING } else { TTL } })
    }

    /// Whether the application could go back to SQLite without loss, or why not.
    pub(super) fn way_back(&self) -> Result<(), String> {
        let unread = || "where the migration stands has not been read yet".to_owned();
        match self.status.phase().ok_or_else(unread)? {
            // They may be decided already.
            Phase::Validate if self.status.machine.crossing.is_some() => {
                return Err("the writes are being moved".to_owned());
            }
            // Its writes have never been anywhere else.
            Phase::Setup | Phase::Backfill | Phase::DualWrite | Phase::Validate => return Ok(()),
            Phase::Switch | Phase::Cleanup | Phase::Done => {}
        }
        match (self.outlook(Command::Rollback).because(), self.status.standing.reverse) {
            (Some(reason), _) => Err(reason.sentence),
            (None, None) => Err("the way back has not been looked at yet".to_owned()),
            (None, Some(_)) => Ok(()),
        }
    }

    /// What the status says of the way.
    pub(super) fn standing_to_json(&self) -> Map<String, Value> {
        let State { crossing, paused, reads, .. } = self.status.machine;
        let standing = &self.status.standing;
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let of_answer = |answer: &Answer| {
            let refused = answer.refused.as_ref().map(Reason::to_json);
            json!({ "order": answer.number, "refused": refused })
        };
        let summaries = MOVES.into_iter().map(|command| {
            let outlook = self.outlook(command);
            (command.word().to_owned(), outlook.summary())
        });
        let told = [
            (
                "machine",
                json!({ "crossing": crossing.map(|crossing| crossing.word()), "paused": paused, "reads": reads.get() }),
            ),
            (
                "routing",
                standing.routing.map_or(
                    Value::Null,
                    |routing| json!({ "epoch": routing.epoch, "writes": routing.writes.word() }),
                ),
            ),
            ("reverse", standing.reverse.map_or(Value::Null, |reverse| self.reverse_to_json(reverse))),
            ("gates", Value::Object(summaries.collect())),
            (
                "pause",
                json!({ "expected_seconds": seconds(standing.pause_expected), "measured_seconds": seconds(standing.pause_measured) }),
            ),
            ("answer", standing.answers.first().map_or(Value::Null, of_answer)),
            ("answers", standing.answers.iter().map(of_answer).collect()),
        ];
        told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn reverse_to_json(&self, reverse: Reverse) -> Value {
        let lag = self.reverse_lag(reverse).as_secs_f64();
        json!({
            "changes": reverse.changes,
            "lag_seconds": lag,
            "canary": reverse.canary,
            "applied": self.status.standing.written_back,
        })
    }

    pub(super) fn reverse_lag(&self, reverse: Reverse) -> Duration {
        reverse.oldest.map_or(Duration::ZERO, |oldest| self.since(oldest))
    }

    /// Of the commands that would be tried now: what was read before a halt, a fault or a pause is not so any more.
    pub(super) fn gates(&self) -> Vec<(&'static str, &'static str, bool)> {
        let of = |command: Command| {
            let gates = self.outlook(command).gates.unwrap_or_default();
            gates.into_iter().map(move |gate| (command.word(), gate.name, gate.ok))
        };
        MOVES.into_iter().flat_map(of).collect()
    }
}

impl Outlook {
    pub fn closed(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().flatten().filter(|gate| !gate.ok)
    }

    /// Whether the way is known to be free.
    pub fn is_open(&self) -> bool {
        self.because().is_none()
    }

    /// Whether an order is refused without the daemon being asked, which looks at gates that nobody has looked at.
    pub fn is_shut(&self) -> bool {
        self.refused.is_some() || self.closed().next().is_some()
    }

    /// Why the way is not known to be free.
    pub fn because(&self) -> Option<Reason> {
        self.refused.clone().or_else(|| self.gates_closed()).or_else(|| self.gates_unread())
    }

    fn gates_closed(&self) -> Option<Reason> {
        let closed: Vec<&Gate> = self.closed().collect();
        let names: Vec<&str> = closed.iter().map(|gate| gate.name).collect();
        let first = closed.first()?;
        let counted = if closed.len() == 1 { "a gate is" } else { "gates are" };
        let sentence = format!("{counted} closed: {}", names.join(", "));
        Some(Reason::new("gates_closed", sentence, &first.remedy))
    }

    fn gates_unread(&self) -> Option<Reason> {
        let sentence = "the gates have not been looked at yet";
        let unread = || Reason::new("gates_unread", sentence, "Ask again in some seconds.");
        self.gates.is_none().then(unread)
    }

    pub fn to_json(&self) -> Value {
        json!({
            "command": self.command.word(),
            "phase": self.phase.map(Phase::word),
            "open": self.is_open(),
            "because": self.because().as_ref().map(Reason::to_json),
            "gates": self.gates.iter().flatten().map(gate_to_json).collect::<Vec<_>>(),
            "steps": steps(self.command, self.phase),
        })
    }

    fn summary(&self) -> Value {
        let closed: Vec<&str> = self.closed().map(|gate| gate.name).collect();
        let because = self.because().as_ref().map(Reason::to_json);
        let of = self.gates.as_ref().map_or(0, Vec::len);
        json!({ "open": self.is_open(), "because": because, "closed": closed, "of": of })
    }
}

/// Whether gates stand before a command that the machine allows.
fn is_gated(command: Command, phase: Phase) -> bool {
    match command {
        Command::Switch => phase == Phase::Validate,
        Command::Rollback | Command::Cleanup => phase == Phase::Switch,
        Command::Validate | Command::Pause | Command::Resume | Command::Reads(_) => false,
    }
}

pub fn gate_to_json(gate: &Gate) -> Value {
    let Gate { name, ok, known, reading, limit, remedy } = gate;
    json!({ "name": name, "ok": ok, "known": known, "reading": reading, "limit": limit, "remedy": remedy })
}

impl Reason {
    /// Of a comparison, once SQLite is no copy of PostgreSQL any more.
    pub fn nothing_to_compare() -> Reason {
        let sentence =
            "the migration is being cleaned up, or has ended: there is nothing to compare any more";
        Reason::new("not_possible", sentence, "The final report holds the last verdict.")
    }

    /// Of an order about the ledger, after the switch.
    pub fn ledger_rests() -> Reason {
        Reason::new(
            "not_possible",
            "PostgreSQL is written by the application: the ledger is settled again after a rollback",
            "`liteferry ledger` lists what it holds; rows of SQLite that differ are mended by `liteferry validate --repair`.",
        )
    }

    /// Why the machine does not know the way.
    pub fn illegal(event: IllegalEvent) -> Reason {
        let told = |code| Reason::new(code, event.to_string(), event.remedy());
        match event.why {
            Why::Phase => told("not_in_this_phase"),
            Why::Crossing => told("crossing_under_way"),
            Why::Paused => told("replication_paused"),
            Why::Expected(_) => told("phase_moved"),
        }
    }
}

/// What would be done, in order, for whoever thinks about it.
fn steps(command: Command, from: Option<Phase>) -> &'static [&'static str] {
    match command {
        Command::Validate => &[
            "Everything is followed as before.",
            "The way back from PostgreSQL to SQLite is laid and tried out; the application notices nothing.",
            "Reads may be moved to PostgreSQL by percentage from then on.",
        ],
        Command::Switch => &[
            "The hook before_switch is run, if there is one; it may veto.",
            "SQLite's writers wait, its readers go on. What was written last is carried over and checked.",
            "Sequences are set, suspended constraints and triggers come back, and the way back is opened.",
            "One commit decides. Before it everything is as it was, and the deadline sees to that; after it SQLite refuses writes, and PostgreSQL takes them.",
            "The hook after_switch is run, if there is one. From then on every change of PostgreSQL is carried back to SQLite.",
        ],
        Command::Rollback => match from {
            Some(Phase::Switch) => &[
                "The hook before_rollback is run, if there is one; it may veto.",
                "PostgreSQL's writers wait. What was written last is carried back to SQLite.",
                "One commit decides. After it PostgreSQL refuses writes, and SQLite takes them.",
                "The hook after_rollback is run, if there is one. From then on SQLite is followed as before.",
            ],
            None
            | Some(
                Phase::Setup
                | Phase::Backfill
                | Phase::DualWrite
                | Phase::Validate
                | Phase::Cleanup
                | Phase::Done,
            ) => &[
                "All reads go back to SQLite.",
                "The phase becomes dual-write. Writes have never left SQLite; everything is followed as before.",
            ],
        },
        Command::Cleanup => &[
            "SQLite is archived: copied, compressed, and the archive is opened to see that it is whole.",
            "liteferry's triggers and tables are taken out of both databases.",
            "There is no way back to SQLite from then on.",
        ],
        Command::Pause => &["Nothing is carried over any more; changes wait until replication is resumed."],
        Command::Resume => &["What has waited is carried over."],
        Command::Reads(_) => &["The application is told anew which reads to ask of PostgreSQL."],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::status::{Board, Lag, Run, Status};
    use std::path::Path;
    use std::time::Instant;

    fn status(phase: Phase) -> Status {
        let mut status = Status::at_start(Path::new("app.db"));
        status.machine.phase = phase;
        status.standing.gates = vec![(Command::Switch, vec![gate("lag", true), gate("canary", false)])];
        status
    }

    fn gate(name: &'static str, ok: bool) -> Gate {
        let remedy = if ok { String::new() } else { format!("mend {name}") };
        Gate { name, ok, known: true, reading: "1".into(), limit: "2".into(), remedy }
    }

    fn view(status: Status) -> View {
        let now = Instant::now();
        Board::new(status, now).look(now)
    }

    #[test]
    fn an_order_is_refused_for_the_first_reason_that_holds() {
        type Change = fn(&mut Status);
        let cases: [(Command, Phase, Change, Option<&str>); 12] = [
            (Command::Validate, Phase::DualWrite, |_| {}, None),
            (Command::Validate, Phase::Backfill, |_| {}, Some("not_in_this_phase")),
            (Command::Switch, Phase::Validate, |_| {}, Some("gates_closed")),
            (Command::Switch, Phase::DualWrite, |_| {}, Some("not_in_this_phase")),
            (Command::Switch, Phase::Validate, |status| status.standing.gates.clear(), Some("gates_unread")),
            (Command::Rollback, Phase::Switch, |_| {}, Some("gates_unread")),
            (
                Command::Validate,
                Phase::DualWrite,
                |status| status.machine.paused = true,
                Some("replication_paused"),
            ),
            (
                Command::Rollback,
                Phase::Validate,
                |status| status.run = Run::plain(RunState::Degraded),
                Some("not_running"),
            ),
            (Command::Pause, Phase::Validate, |status| status.run = Run::plain(RunState::Degraded), None),
            (
                Command::Pause,
                Phase::Validate,
                |status| status.run = Run::plain(RunState::Halted),
                Some("halted"),
            ),
            (Command::Resume, Phase::Switch, |status| status.machine.paused = true, None),
            (
                Command::Cleanup,
                Phase::Switch,
                |status| status.machine.crossing = Some(crate::phase::machine::Crossing::Rollback),
                Some("crossing_under_way"),
            ),
        ];
        for (index, (command, phase, change, expected)) in cases.into_iter().enumerate() {
            let mut status = status(phase);
            change(&mut status);
            let outlook = view(status).outlook(command);
            assert_eq!(outlook.because().map(|reason| reason.code), expected, "case {index}");
            assert_eq!(outlook.is_open(), expected.is_none(), "case {index}");
            assert_eq!(outlook.is_shut(), !matches!(expected, None | Some("gates_unread")), "case {index}");
            assert!(!steps(command, Some(phase)).is_empty());
        }
        let because = view(status(Phase::Validate)).outlook(Command::Switch).because().unwrap();
        assert_eq!(
            (because.sentence.as_str(), because.remedy.as_str()),
            ("a gate is closed: canary", "mend canary")
        );
    }

    #[test]
    fn gates_that_nobody_looks_at_have_no_reading() {
        let shown = |change: fn(&mut Status)| {
            let mut status = status(Phase::Validate);
            change(&mut status);
            view(status).gates()
        };
        assert_eq!(shown(|_| {}), [("switch", "lag", true), ("switch", "canary", false)]);
        assert_eq!(shown(|status| status.run = Run::plain(RunState::Halted)), []);
        assert_eq!(shown(|status| status.run = Run::plain(RunState::Degraded)), []);
        assert_eq!(shown(|status| status.machine.paused = true), []);
        assert_eq!(shown(|status| status.machine.phase = Phase::DualWrite), []);
    }

    #[test]
    fn nobody_is_refused_for_a_phase_that_was_not_read() {
        let mut status = status(Phase::Setup);
        let codes = |status: &Status| {
            let view = view(status.clone());
            let outlook = view.outlook_from(Command::Switch, Some(Phase::Validate));
            assert_eq!(outlook.to_json()["phase"], json!(status.phase().map(Phase::word)));
            let ready = view.ready(Duration::from_secs(5)).unwrap_err();
            (outlook.because().unwrap().code, ready.code)
        };
        assert_eq!(codes(&status), ("not_looked_yet", "not_looked_yet"));
        let fault = crate::model::fault::Fault::fatal("target_unreachable", "connect");
        status.run = Run::because(RunState::Degraded, &fault);
        assert_eq!(codes(&status), ("target_unreachable", "target_unreachable"));
        status.standing.records_read = true;
        assert_eq!(codes(&status), ("phase_moved", "not_replicating"));
    }

    #[test]
    fn whoever_expects_another_phase_is_told_so() {
        let view = view(status(Phase::DualWrite));
        assert!(view.outlook_from(Command::Validate, Some(Phase::DualWrite)).is_open());
        let moved = view.outlook_from(Command::Validate, Some(Phase::Validate)).because().unwrap();
        assert_eq!(
            (moved.code, moved.sentence.as_str()),
            (
                "phase_moved",
                "`validate` was meant for the phase validate, and the migration is in the phase dual-write"
            )
        );
    }

    #[test]
    fn whoever_would_go_back_while_postgres_is_away_hears_of_the_way_without_it() {
        for (phase, up, command, expected) in [
            (Phase::Switch, false, Command::Rollback, true),
            (Phase::Switch, true, Command::Rollback, false),
            (Phase::Switch, false, Command::Cleanup, false),
            // SQLite has the writes.
            (Phase::Validate, false, Command::Rollback, false),
        ] {
            for run in [RunState::Degraded, RunState::Halted] {
                let mut status = status(phase);
                (status.run, status.target.up) = (Run::plain(run), up);
                let refused = view(status).outlook_from(command, None).refused.expect("it is refused");
                let told = refused.remedy.contains("`liteferry rollback --without-target`");
                assert_eq!(told, expected, "{phase:?} {up} {command:?} {run:?}: {}", refused.remedy);
            }
        }
    }

    #[test]
    fn the_way_back_is_open_only_where_a_rollback_would_be_taken() {
        let gates = |ok| vec![(Command::Rollback, vec![gate("reverse_lag", ok)])];
        for (phase, run, gates, looked, expected) in [
            (Phase::Setup, RunState::Running, Vec::new(), false, Err("where the migration stands")),
            (Phase::DualWrite, RunState::Halted, gates(false), false, Ok(())),
            (Phase::Validate, RunState::Running, gates(false), true, Ok(())),
            (Phase::Switch, RunState::Running, gates(true), true, Ok(())),
            (Phase::Switch, RunState::Paused, gates(true), true, Ok(())),
            (
                Phase::Switch,
                RunState::Running,
                Vec::new(),
                false,
                Err("the gates have not been looked at yet"),
            ),
            (Phase::Switch, RunState::Running, gates(false), true, Err("a gate is closed: reverse_lag")),
            (Phase::Switch, RunState::Degraded, gates(true), true, Err("replication is degraded")),
            (Phase::Switch, RunState::Halted, gates(true), true, Err("replication has halted")),
            (
                Phase::Done,
                RunState::Running,
                Vec::new(),
                true,
                Err("`rollback` is not possible in the phase done"),
            ),
        ] {
            let mut status = status(phase);
            (status.run, status.standing.gates) = (Run::plain(run), gates);
            status.standing.reverse = looked.then(Reverse::default);
            let view = view(status);
            match (view.way_back(), expected) {
                (Ok(()), Ok(())) => {}
                (Err(told), Err(known)) => assert!(told.starts_with(known), "{phase:?} {run:?}: {told}"),
                (told, known) => panic!("{phase:?} {run:?}: {told:?}, not {known:?}"),
            }
            assert_eq!(view.to_json()["rollback"]["possible"], json!(expected.is_ok()));
            assert_eq!(view.readings().rollback_possible, expected.is_ok());
        }
        let mut crossing = status(Phase::Validate);
        crossing.machine.crossing = Some(crate::phase::machine::Crossing::Switch);
        assert_eq!(view(crossing).way_back(), Err("the writes are being moved".to_owned()));
    }

    #[test]
    fn gates_that_nobody_looks_at_are_not_shown() {
        let mut status = status(Phase::Validate);
        assert_eq!(view(status.clone()).outlook(Command::Switch).to_json()["gates"][1]["ok"], json!(false));
        status.run = Run::plain(RunState::Degraded);
        let outlook = view(status).outlook(Command::Switch);
        assert_eq!(outlook.to_json()["gates"], json!([]));
        assert!(outlook.is_shut() && !outlook.is_open());
    }

    #[test]
    fn nobody_is_sent_where_the_truth_is_not() {
        let half = Percent::new(50).unwrap();
        let writes = |writes| Some(Routing { epoch: 3, writes });
        let running = Run::plain(RunState::Running);
        let halted = Run::plain(RunState::Halted);
        for (phase, routing, run, expected) in [
            (Phase::Setup, None, &running, None),
            (Phase::Switch, None, &running, None),
            (Phase::Backfill, None, &running, Some((1, "sqlite", 0))),
            (Phase::Validate, None, &running, Some((1, "sqlite", 50))),
            (Phase::Validate, writes(Writes::Sqlite), &running, Some((3, "sqlite", 50))),
            (Phase::Validate, writes(Writes::Sqlite), &halted, Some((3, "sqlite", 0))),
            (Phase::Validate, writes(Writes::Paused), &running, Some((3, "paused", 50))),
            (Phase::Switch, writes(Writes::Postgres), &running, Some((3, "postgres", 100))),
            (Phase::Switch, writes(Writes::Postgres), &halted, Some((3, "postgres", 100))),
        ] {
            let mut status = status(phase);
            status.machine.reads = half;
            (status.standing.routing, status.run) = (routing, run.clone());
            let shown = |status: &Status| {
                let told = view(status.clone()).told(Duration::from_secs(5));
                told.map(|told| (told.routing.epoch, told.routing.writes.word(), told.reads.get()))
            };
            let unread = shown(&status).map(|(_, writes, reads)| (writes, reads));
            assert!(
                unread.is_none_or(|(writes, reads)| writes != "sqlite" || reads == 0),
                "{phase:?}: nobody has looked"
            );
            status.lag = Some(Lag::default());
            assert_eq!(shown(&status), expected, "{phase:?} {routing:?}");
        }
    }
}
