//! Commands over loopback: what each would meet, which are refused and how, what reaches the daemon; where the application is told to go;
//! and the status as events.

use super::{Listening, OWN_HOST, listening};
use liteferry::engine::order::{Entries, Order, Settle};
use liteferry::engine::standing::{Routing, Writes};
use liteferry::engine::status::Run;
use liteferry::model::fault::Fault;
use liteferry::phase::gate::Gate;
use liteferry::phase::machine::{Command, Crossing, Percent};
use liteferry::phase::{Phase, RunState};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn in_phase(server: &Listening, phase: Phase) {
    server.board.update(Instant::now(), |status| status.machine.phase = phase);
}

fn gates(server: &Listening, closed: &[&'static str]) {
    let gate = |name: &'static str, ok| {
        let remedy = if ok { String::new() } else { format!("Mend {name}.") };
        Gate { name, ok, known: true, reading: "2 s".into(), limit: "1 s".into(), remedy }
    };
    let mut all = vec![gate("canary", true)];
    all.extend(closed.iter().map(|name| gate(name, false)));
    server.board.update(Instant::now(), |status| status.standing.gates = vec![(Command::Switch, all)]);
}

#[test]
fn a_command_reaches_the_daemon_with_who_what_and_why() {
    let mut server = listening();
    let ordered = |server: &mut Listening, path: &str, body: &str| {
        let answer = server.order(path, "X-Liteferry-Actor: ann\r\n", body);
        assert_eq!(answer.status, 202, "{path} {body}: {answer:?}");
        let ordered = server.orders.try_recv().expect("the order was handed on");
        let accepted: Value = serde_json::from_str(&answer.body).unwrap();
        let process = &*server.board.look(Instant::now()).process;
        assert_eq!(accepted, json!({ "see": "/v1/status", "order": ordered.number, "process": process }));
        assert!(ordered.actor.to_string().starts_with("ann (http 127.0.0.1:"), "{}", ordered.actor);
        (ordered.order, ordered.expect, ordered.reason)
    };
    let half = Percent::new(50).unwrap();
    let to = |phase: &str| format!("{{\"to\": \"{phase}\"}}");
    for (phase, path, body, expected) in [
        (Phase::DualWrite, "/v1/phase", to("validate"), Order::Phase(Command::Validate)),
        (Phase::Validate, "/v1/phase", to("switch"), Order::Phase(Command::Switch)),
        (Phase::Switch, "/v1/phase", to("dual-write"), Order::Phase(Command::Rollback)),
        (Phase::Validate, "/v1/pause", "{}".into(), Order::Phase(Command::Pause)),
        (Phase::Validate, "/v1/resume", "{}".into(), Order::Phase(Command::Resume)),
        (Phase::Validate, "/v1/reads", "{\"percent\": 50}".into(), Order::Phase(Command::Reads(half))),
        (
            Phase::Validate,
            "/v1/ledger/7",
            "{\"action\": \"accept\"}".into(),
            Order::Ledger(Entries::One(7), Settle::Accept),
        ),
        (
            Phase::Validate,
            "/v1/ledger/8",
            "{\"action\": \"retry\"}".into(),
            Order::Ledger(Entries::One(8), Settle::Retry),
        ),
    ] {
        in_phase(&server, phase);
        assert_eq!(ordered(&mut server, path, &body), (expected, None, None), "{path} {body}");
    }
    let body = r#"{"to": "switch", "expect": "validate", "reason": "moving day"}"#;
    let (order, expect, reason) = ordered(&mut server, "/v1/phase", body);
    assert_eq!(order, Order::Phase(Command::Switch));
    assert_eq!((expect, reason.as_deref()), (Some(Phase::Validate), Some("moving day")));
}

#[test]
fn a_refused_command_tells_the_phase_and_every_closed_gate() {
    let mut server = listening();
    let refused = |server: &Listening, body: &str| server.order("/v1/phase", "", body).problem(409);
    in_phase(&server, Phase::Validate);
    gates(&server, &["lag", "ledger"]);
    let problem = refused(&server, r#"{"to": "switch"}"#);
    assert_eq!((&problem["code"], &problem["phase"]), (&json!("gates_closed"), &json!("validate")));
    assert_eq!(problem["detail"], "gates are closed: lag, ledger");
    let lag = json!({ "name": "lag", "ok": false, "known": true, "reading": "2 s", "limit": "1 s", "remedy": "Mend lag." });
    assert_eq!((&problem["gates"][0], problem["gates"].as_array().map(Vec::len)), (&lag, Some(2)));

    let problem = refused(&server, r#"{"to": "validate", "expect": "dual-write"}"#);
    assert_eq!(problem["code"], "phase_moved");
    let fault = Fault::fatal("schema_drift", "follow orders").with_remedy("Look at orders.");
    for (name, to, code) in [
        ("paused", "switch", "replication_paused"),
        ("crossing", "dual-write", "crossing_under_way"),
        ("halted", "switch", "schema_drift"),
    ] {
        server.board.update(Instant::now(), |status| {
            status.machine.paused = name == "paused";
            status.machine.crossing = (name == "crossing").then_some(Crossing::Switch);
            let halted = Run::because(RunState::Halted, &fault);
            status.run = if name == "halted" { halted } else { Run::plain(RunState::Running) };
        });
        let problem = refused(&server, &json!({ "to": to }).to_string());
        assert_eq!((&problem["code"], &problem["phase"]), (&json!(code), &json!("validate")), "{name}");
    }
    assert!(server.orders.try_recv().is_err(), "a refused order was handed on");
}

#[test]
fn an_order_that_is_misspelt_is_refused_by_the_field() {
    let mut server = listening();
    in_phase(&server, Phase::Switch);
    for (path, body, code) in [
        ("/v1/phase", "{}", "bad_field"),
        ("/v1/phase", r#"{"to": "done"}"#, "bad_field"),
        ("/v1/phase", r#"{"to": "Switch"}"#, "bad_field"),
        ("/v1/phase", r#"{"to": 1}"#, "bad_field"),
        ("/v1/phase", r#"{"to": "switch", "dry_run": "yes"}"#, "bad_field"),
        ("/v1/phase", r#"{"to": "switch", "expect": "somewhere"}"#, "bad_field"),
        ("/v1/phase", r#"{"to": "switch", "reason": 1}"#, "bad_field"),
        ("/v1/phase", r#"{"to": "switch", "reason": "a\u0000b"}"#, "bad_field"),
        ("/v1/phase", r#"{"to": "switch", "colour": 1}"#, "unknown_field"),
        ("/v1/phase", r#"{"to": "cleanup"}"#, "not_confirmed"),
        ("/v1/phase", r#"{"to": "cleanup", "confirm": "other.db"}"#, "not_confirmed"),
        ("/v1/pause", r#"{"percent": 1}"#, "unknown_field"),
        ("/v1/reads", "{}", "bad_field"),
        ("/v1/reads", r#"{"percent": 101}"#, "bad_field"),
        ("/v1/reads", r#"{"percent": 300}"#, "bad_field"),
        ("/v1/reads", r#"{"percent": 1.5}"#, "bad_field"),
        ("/v1/reads", r#"{"percent": "50"}"#, "bad_field"),
        ("/v1/ledger/0", r#"{"action": "accept"}"#, "bad_field"),
        ("/v1/ledger/x", r#"{"action": "accept"}"#, "bad_field"),
        ("/v1/ledger/%ff", r#"{"action": "accept"}"#, "bad_field"),
        ("/v1/ledger/9223372036854775808", r#"{"action": "accept"}"#, "bad_field"),
        ("/v1/ledger/1", "{}", "bad_field"),
        ("/v1/ledger/1", r#"{"action": "drop"}"#, "bad_field"),
    ] {
        assert_eq!(server.order(path, "", body).problem(422)["code"], code, "{path} {body}");
    }
    assert!(server.orders.try_recv().is_err(), "a refused order was handed on");
    let long = format!("{{\"to\": \"switch\", \"reason\": \"{}\"}}", "x".repeat(501));
    assert_eq!(server.order("/v1/phase", "", &long).problem(422)["code"], "bad_field");
    let cleanup = server.order("/v1/phase", "", r#"{"to": "cleanup", "confirm": "app.db"}"#);
    assert_eq!(cleanup.status, 202, "{cleanup:?}");
    assert_eq!(server.orders.try_recv().unwrap().order, Order::Phase(Command::Cleanup));
}

#[test]
fn a_dry_run_and_the_gates_tell_the_same_and_order_nothing() {
    let mut server = listening();
    in_phase(&server, Phase::Validate);
    gates(&server, &["lag"]);
    let dry = server.order("/v1/phase", "", r#"{"to": "switch", "dry_run": true}"#).json();
    assert_eq!(server.get("/v1/gates?to=switch").json(), dry);
    assert_eq!(server.get("/v1/gates").json(), dry, "the next one is the switch");
    assert_eq!(
        (&dry["to"], &dry["phase"], &dry["open"]),
        (&json!("switch"), &json!("validate"), &json!(false))
    );
    assert_eq!((&dry["gates"][0]["ok"], &dry["gates"][1]["remedy"]), (&json!(true), &json!("Mend lag.")));
    assert!(dry["steps"].as_array().is_some_and(|steps| steps.len() > 3), "{dry:#}");
    let cleanup = server.order("/v1/phase", "", r#"{"to": "cleanup", "dry_run": true}"#).json();
    assert_eq!(cleanup["because"]["code"], "not_in_this_phase");
    let back = server.get("/v1/gates?to=dual-write").json();
    assert_eq!((&back["command"], &back["open"]), (&json!("rollback"), &json!(true)));
    for (path, code) in [("/v1/gates?to=done", "bad_field"), ("/v1/gates?phase=switch", "unknown_field")] {
        assert_eq!(server.get(path).problem(422)["code"], code, "{path}");
    }
    assert!(server.orders.try_recv().is_err(), "a dry run was handed on");
    assert_eq!(server.get("/v1/status").json()["gates"]["switch"]["closed"], json!(["lag"]));
}

#[test]
fn the_application_is_told_where_to_write_and_whose_reads_to_move() {
    let server = listening();
    let routing = |writes| {
        move |status: &mut liteferry::engine::status::Status| {
            status.standing.routing = Some(Routing { epoch: 3, writes });
        }
    };
    server.board.update(Instant::now(), |status| {
        status.machine.phase = Phase::Validate;
        status.machine.reads = Percent::new(50).unwrap();
    });
    server.board.update(Instant::now(), routing(Writes::Sqlite));
    let told = server.get("/v1/routing").json();
    let expected =
        json!({ "epoch": 3, "writes": "sqlite", "reads": { "postgres_percent": 50 }, "ttl_ms": 1000 });
    assert_eq!(told, expected);
    let reads: Vec<Value> = (0..40)
        .map(|user| server.get(&format!("/v1/routing?key=user%20{user}")).json()["read"].clone())
        .collect();
    assert!(reads.contains(&json!("postgres")) && reads.contains(&json!("sqlite")), "{reads:?}");
    assert_eq!(server.get("/v1/routing?key=user%200").json()["read"], reads[0]);

    // Where PostgreSQL falls behind, it is no place to read from; where writes go stays true.
    let fault = Fault::fatal("schema_drift", "follow orders");
    server.board.update(Instant::now(), |status| status.run = Run::because(RunState::Halted, &fault));
    let halted = server.get("/v1/routing?key=a").json();
    assert_eq!(
        (&halted["writes"], &halted["reads"]["postgres_percent"], &halted["read"]),
        (&json!("sqlite"), &json!(0), &json!("sqlite"))
    );
    server.board.update(Instant::now(), routing(Writes::Paused));
    let paused = server.get("/v1/routing").json();
    assert_eq!((&paused["writes"], &paused["ttl_ms"]), (&json!("paused"), &json!(20)));
    server.board.update(Instant::now(), routing(Writes::Postgres));
    let moved = server.get("/v1/routing?key=a").json();
    assert_eq!((&moved["writes"], &moved["read"]), (&json!("postgres"), &json!("postgres")));

    server.board.update(Instant::now(), |status| {
        status.machine.phase = Phase::Setup;
        status.standing.routing = None;
    });
    assert_eq!(server.get("/v1/routing").problem(503)["code"], "routing_unknown");
    assert_eq!(server.get("/v1/routing?keys=a").problem(422)["code"], "unknown_field");
}

#[test]
fn listeners_hear_at_once_of_what_happens_and_are_counted() {
    let server = listening();
    let mut first = Events::listen(&server);
    assert_eq!(first.next()["phase"], "dual-write");
    // Well before the next event would come by itself; of many, whatever else the machine has to do.
    let mut at_once = |phase: Phase| {
        first.next();
        let start = Instant::now();
        // Longer than the pause between two events, shorter than the wait for the next.
        std::thread::sleep(Duration::from_millis(150));
        in_phase(&server, phase);
        while first.next()["phase"] != phase.word() {}
        start.elapsed() < Duration::from_millis(700)
    };
    let mut phases = [Phase::Validate, Phase::DualWrite].into_iter().cycle().take(60);
    assert!(phases.any(&mut at_once), "nobody is told at once");
    let start = Instant::now();
    let mut quiet = Events::listen(&server);
    quiet.next();
    quiet.next();
    assert!(start.elapsed() > Duration::from_millis(900), "heard of nothing after {:?}", start.elapsed());

    let others: Vec<Events> = (0..6).map(|_| Events::listen(&server)).collect();
    assert_eq!(server.get("/v1/events").problem(503)["code"], "too_many_listeners");
    drop(others);
    server.handle.stop();
    let mut rest = String::new();
    first.0.read_to_string(&mut rest).expect("the stream ends in good order");
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}

/// One who listens, behind the head of the answer.
struct Events(BufReader<TcpStream>);

impl Events {
    fn listen(server: &Listening) -> Events {
        let mut stream = BufReader::new(server.connect());
        let request = server.filled(&["GET /v1/events HTTP/1.1\r\n", OWN_HOST, "\r\n"]);
        stream.get_mut().write_all(request.as_bytes()).expect("a line of the stream");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).expect("a line of the stream") > 0, "{head}");
        }
        assert!(
            head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"),
            "{head}"
        );
        Events(stream)
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        while !line.starts_with("data: ") {
            line.clear();
            assert!(self.0.read_line(&mut line).expect("a line of the stream") > 0, "the events have ended");
        }
        serde_json::from_str(line.trim_start_matches("data: ")).expect("a line of the stream")
    }
}
