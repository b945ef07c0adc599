//! The commands that ask and order, as a person types them: what they print, and how they end.

use super::{Listening, listening};
use crate::support::{Output, liteferry};
use liteferry::engine::order::{Order, Ordered};
use liteferry::engine::reason::Reason;
use liteferry::engine::standing::Answer;
use liteferry::engine::status::Run;
use liteferry::model::fault::Fault;
use liteferry::phase::gate::Gate;
use liteferry::phase::machine::{Command, Percent};
use liteferry::phase::{Phase, RunState};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn typed(server: &Listening, args: &[&str]) -> Output {
    let at = format!("--set=http.listen={}", server.handle.at());
    let token = format!("--set=http.token_file={}", server.token_file().display());
    liteferry(&[&[at.as_str(), token.as_str()], args].concat())
}

fn at(phase: Phase) -> Listening {
    let server = listening();
    let closed = Gate {
        name: "lag",
        ok: false,
        known: true,
        reading: "2 s".into(),
        limit: "1 s".into(),
        remedy: "Wait for it.".into(),
    };
    let open = Gate { name: "canary", ok: true, remedy: String::new(), ..closed.clone() };
    server.board.update(Instant::now(), |status| {
        status.machine.phase = phase;
        let none = |command| (command, Vec::new());
        status.standing.gates =
            vec![(Command::Switch, vec![open, closed]), none(Command::Rollback), none(Command::Cleanup)];
    });
    server
}

/// Obeys one order as the daemon would, and gives it back.
fn obeying(mut server: Listening, refused: Option<Reason>, typed: impl FnOnce(&Listening)) -> Ordered {
    let nobody = tokio::sync::mpsc::channel(1).1;
    let mut orders = std::mem::replace(&mut server.orders, nobody);
    let board = server.board.clone();
    let daemon = thread::spawn(move || {
        let ordered = orders.blocking_recv().expect("an order comes");
        board.update(Instant::now(), |status| {
            status.standing.tell(Answer { number: ordered.number, refused });
        });
        ordered
    });
    typed(&server);
    daemon.join().expect("the daemon obeys")
}

#[test]
fn closed_gates_are_printed_and_end_a_command_badly() {
    let mut server = at(Phase::Validate);
    let table = "gate            limit  reading\n";
    for args in [&["gates"][..], &["phase", "switch", "--dry-run"], &["phase", "switch"]] {
        let told = typed(&server, args).exits_with(1).stdout;
        assert!(told.starts_with("switch from the phase validate\n"), "{told}");
        assert!(
            told.contains(table) && told.contains("canary  open") && told.contains("Wait for it."),
            "{told}"
        );
        assert!(told.contains("it would be refused: a gate is closed: lag"), "{told}");
    }
    // Nobody is asked: the daemon itself refuses, and only what is closed is told.
    let refused = typed(&server, &["phase", "switch", "--yes"]).exits_with(1).stderr;
    assert!(refused.contains("refused: a gate is closed: lag [gates_closed]"), "{refused}");
    assert!(refused.contains("lag   closed") && !refused.contains("canary"), "{refused}");
    let problem = typed(&server, &["phase", "switch", "--yes", "--json"]).exits_with(1).json();
    assert_eq!((&problem["phase"], &problem["gates"][0]["name"]), (&json!("validate"), &json!("lag")));
    let moved = typed(&server, &["pause", "--expect", "switch"]).exits_with(1).stderr;
    assert!(moved.contains("[phase_moved]") && moved.contains("→ Look at"), "{moved}");
    assert!(server.orders.try_recv().is_err(), "a refused order was handed on");
}

#[test]
fn whoever_cannot_give_an_order_is_told_the_first_reason() {
    let server = at(Phase::Validate);
    let at = format!("--set=http.listen={}", server.handle.at());
    let tokenless = ["pause", &at, "--set=http.token_file=nowhere"];
    let told = liteferry(&tokenless).exits_with(1).stderr;
    // Where it was looked for, in full.
    assert!(told.contains("[token_file_unusable]") && told.contains("/nowhere "), "{told}");
    server.handle.stop();
    let told = liteferry(&tokenless).exits_with(1).stderr;
    assert!(told.contains("[daemon_unreachable]") && told.contains("liteferry run"), "{told}");
}

#[test]
fn the_images_probe_says_whether_the_daemon_is_well() {
    let server = at(Phase::Validate);
    let listen = format!("0.0.0.0:{}", server.handle.at().port());
    let is_well = || {
        let probe = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/docker/healthy");
        let mut probe = std::process::Command::new(probe);
        probe.env("LITEFERRY__HTTP__LISTEN", &listen).output().expect("bash is here").status.success()
    };
    assert!(is_well());
    let fault = Fault::fatal("schema_drift", "follow orders");
    server.board.update(Instant::now(), |status| status.run = Run::because(RunState::Halted, &fault));
    assert!(!is_well(), "it has halted");
    server.board.update(Instant::now(), |status| status.run = Run::plain(RunState::Running));
    assert!(is_well());
    server.handle.stop();
    assert!(!is_well(), "nobody listens");
}

#[test]
fn whoever_waits_for_a_phase_waits_until_its_gates_are_known() {
    let gates = |known: [bool; 2]| {
        let limit = String::from("1");
        let gate = |(name, known)| Gate {
            name,
            ok: known,
            known,
            reading: "1".into(),
            limit: limit.clone(),
            remedy: String::new(),
        };
        vec![(Command::Switch, ["constraints", "validation"].into_iter().zip(known).map(gate).collect())]
    };
    let mut server = at(Phase::DualWrite);
    let nobody = tokio::sync::mpsc::channel(1).1;
    let mut orders = std::mem::replace(&mut server.orders, nobody);
    let board = server.board.clone();
    let all_known = Arc::new(AtomicBool::new(false));
    let shown = Arc::clone(&all_known);
    let daemon = thread::spawn(move || {
        let ordered = orders.blocking_recv().expect("an order comes");
        board.update(Instant::now(), |status| {
            (status.machine.phase, status.standing.gates) = (Phase::Validate, Vec::new());
            status.standing.tell(Answer { number: ordered.number, refused: None });
        });
        for known in [[false, false], [true, false], [true, true]] {
            thread::sleep(Duration::from_millis(500));
            shown.store(known == [true, true], Ordering::SeqCst);
            board.update(Instant::now(), |status| status.standing.gates = gates(known));
        }
    });
    let told = typed(&server, &["phase", "validate", "--wait"]).exits_with(0).stdout;
    assert!(all_known.load(Ordering::SeqCst), "it went before the gates were known");
    assert_eq!(told, "done; the phase is validate\n");
    daemon.join().expect("the daemon obeys");

    // A daemon that is paused looks at nothing.
    let paused = at(Phase::DualWrite);
    obeying(paused, None, |server| {
        server.board.update(Instant::now(), |status| {
            (status.machine.phase, status.standing.gates) = (Phase::Validate, gates([false, true]));
            status.machine.paused = true;
        });
        typed(server, &["phase", "validate", "--wait"]).exits_with(0);
    });
}

#[test]
fn what_is_typed_wrongly_is_usage() {
    let server = at(Phase::Validate);
    for args in [
        &["phase"][..],
        &["phase", "done"],
        &["phase", "switch", "--expect", "nowhere"],
        &["gates", "--to", "backfill"],
        &["reads"],
        &["reads", "101"],
        &["ledger", "drop", "1"],
        &["ledger", "accept", "0"],
        &["rollback", "now"],
    ] {
        typed(&server, args).exits_with(2);
    }
}

#[test]
fn nobody_to_ask_means_no_and_yes_names_the_file_for_the_cleanup() {
    let mut server = at(Phase::Switch);
    for command in ["rollback", "cleanup"] {
        let refused = typed(&server, &[command]).exits_with(1).stderr;
        assert!(refused.contains("[not_confirmed]") && refused.contains("--yes"), "{refused}");
    }
    assert!(server.orders.try_recv().is_err(), "an order was given unasked");
    let told = typed(&server, &["cleanup", "--yes", "--reason", "all is well"]).exits_with(0).stdout;
    assert_eq!(told, "order 1 was taken; `liteferry status` shows what becomes of it\n");
    let ordered = server.orders.try_recv().expect("it was handed on");
    assert_eq!(
        (ordered.order, ordered.reason.as_deref()),
        (Order::Phase(Command::Cleanup), Some("all is well"))
    );
    typed(&server, &["rollback", "--yes", "--expect", "switch"]).exits_with(0);
    let ordered = server.orders.try_recv().expect("it was handed on");
    assert_eq!((ordered.order, ordered.expect), (Order::Phase(Command::Rollback), Some(Phase::Switch)));
}

#[test]
fn whoever_waits_hears_what_became_of_it() {
    let ordered = obeying(at(Phase::Validate), None, |server| {
        let told = typed(server, &["reads", "25", "--wait"]).exits_with(0);
        assert_eq!(told.stdout, "done; the phase is validate\n");
    });
    let quarter = Percent::new(25).expect("it is below a hundred");
    assert_eq!(ordered.order, Order::Phase(Command::Reads(quarter)));

    let vetoed = || Some(Reason::new("hook_refused", "the hook before_switch said no", "Ask it why."));
    obeying(at(Phase::DualWrite), vetoed(), |server| {
        let told = typed(server, &["phase", "validate", "--wait"]).exits_with(1).stderr;
        assert_eq!(told, "liteferry: refused: the hook before_switch said no\n  → Ask it why.\n");
    });
    obeying(at(Phase::DualWrite), vetoed(), |server| {
        let told = typed(server, &["phase", "validate", "--wait", "--json"]).exits_with(1).json();
        assert_eq!((&told["order"], &told["answer"]["refused"]["code"]), (&json!(1), &json!("hook_refused")));
    });
    // Orders of others were answered in the same moment; only one of long ago is forgotten.
    for (answered, status, said) in
        [(1..=9, 0, ""), (2..=9, 1, "[order_overtaken]"), (1..=99, 1, "[order_overtaken]")]
    {
        let server = at(Phase::DualWrite);
        server.board.update(Instant::now(), |status| {
            answered.for_each(|number| status.standing.tell(Answer { number, refused: None }));
        });
        let told = typed(&server, &["phase", "validate", "--wait"]).exits_with(status).stderr;
        assert!(told.contains(said), "{told}");
    }
}
