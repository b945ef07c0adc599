//! Orders over loopback: who may give them, to whom, in which form, and which are taken; the description of all paths; records that the
//! target must be asked for.

use super::{OWN_HOST, listening};
use liteferry::engine::follows::{Challenge, Holder};
use liteferry::engine::order::{ORDERS_MAX, Order, Repair};
use liteferry::engine::status::Run;
use liteferry::model::fault::Fault;
use liteferry::phase::{Phase, RunState};
use serde_json::{Value, json};
use std::time::Instant;

#[test]
fn an_order_bears_the_token_is_json_and_holds_nothing_unknown() {
    let mut server = listening();
    let bearer = format!("Authorization: Bearer {}\r\n", server.token);
    let json = "Content-Type: application/json\r\n";
    let good = [OWN_HOST, &bearer, json].concat();
    let wrong = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";
    for (headers, body, status, code) in [
        ([OWN_HOST, json].concat(), "{}", 401, "no_token"),
        ([OWN_HOST, wrong, json].concat(), "{}", 401, "no_token"),
        ([OWN_HOST, &bearer, &bearer, json].concat(), "{}", 401, "no_token"),
        (["Host: evil.example\r\n", &bearer, json].concat(), "{}", 421, "foreign_host"),
        ([&good, "Origin: http://evil.example\r\n"].concat(), "{}", 403, "foreign_origin"),
        ([&good, "Sec-Fetch-Site: cross-site\r\n"].concat(), "{}", 403, "foreign_origin"),
        ([OWN_HOST, &bearer].concat(), "{}", 415, "not_json"),
        ([OWN_HOST, &bearer, "Content-Type: text/plain\r\n"].concat(), "{}", 415, "not_json"),
        ([OWN_HOST, &bearer, "Content-Type: text/plain\r\n"].concat(), "", 415, "not_json"),
        (good.clone(), " ", 400, "no_object"),
        (good.clone(), "[]", 400, "no_object"),
        (good.clone(), "{\"repair\": tru", 400, "no_object"),
        (good.clone(), "{\"repair\": 1}", 422, "bad_field"),
        (good.clone(), "{\"repair\": true, \"colour\": 1}", 422, "unknown_field"),
        (good.clone(), "{\"<script>\": 1}", 422, "unknown_field"),
    ] {
        let answer = server.post("/v1/validation", &headers, body);
        assert_eq!(answer.problem(status)["code"], code, "{headers}{body}");
        assert!(!answer.body.contains("script"), "{}", answer.body);
    }
    assert!(server.orders.try_recv().is_err(), "a refused order was handed on");
    let unknown = server.order("/v1/validation", "", "{\"colour\": 1}").problem(422);
    assert_eq!(unknown["detail"], "colour is not known here.");

    let accepted = server.order("/v1/validation", "X-Liteferry-Actor: ann\r\n", "{\"repair\": true}");
    assert_eq!(accepted.status, 202);
    let process = server.board.look(Instant::now()).process;
    assert_eq!(accepted.body, format!(r#"{{"see":"/v1/validation","order":1,"process":"{process}"}}"#));
    let ordered = server.orders.try_recv().expect("the order was handed on");
    assert_eq!((ordered.order, ordered.number), (Order::Validate(Repair::ReadAgain), 1));
    assert!(ordered.actor.to_string().starts_with("ann (http 127.0.0.1:"), "{}", ordered.actor);
    server.order("/v1/validation", "", "{}");
    let ordered = server.orders.try_recv().expect("the order was handed on");
    assert_eq!((ordered.order, ordered.number), (Order::Validate(Repair::LeaveAsIs), 2));
}

#[test]
fn an_order_that_needs_no_field_needs_no_body() {
    let mut server = listening();
    let bearer = format!("Authorization: Bearer {}\r\n", server.token);
    let bare = [OWN_HOST, &bearer].concat();
    let json = [OWN_HOST, &bearer, "Content-Type: application/json\r\n"].concat();
    let description = server.get("/openapi.json").json();
    let orders = description["paths"].as_object().expect("there are paths").iter();
    for (path, post) in orders.filter_map(|(path, verbs)| Some((path, verbs.get("post")?))) {
        let required = &post["requestBody"]["content"]["application/json"]["schema"]["required"];
        let needed = required.as_array().is_some_and(|fields| !fields.is_empty());
        assert_eq!(post["requestBody"]["required"], needed, "{path} is described otherwise than it is taken");
        for headers in [&bare, &json] {
            let answer = server.post(&path.replace("{id}", "1"), headers, "");
            if needed {
                assert_eq!(answer.problem(422)["code"], "bad_field", "{path}: {headers}");
            } else {
                assert_eq!(answer.status, 202, "{path}: {headers}{answer:?}");
                assert!(server.orders.try_recv().is_ok(), "{path}: the order was handed on");
            }
        }
    }
}

#[test]
fn orders_that_nobody_would_obey_are_refused() {
    let mut server = listening();
    for _ in 0..ORDERS_MAX {
        assert_eq!(server.order("/v1/validation", "", "{}").status, 202);
    }
    assert_eq!(server.order("/v1/validation", "", "{}").problem(429)["code"], "too_many_orders");
    while server.orders.try_recv().is_ok() {}
    server.board.update(Instant::now(), |status| status.machine.phase = Phase::Backfill);
    assert_eq!(server.order("/v1/validation", "", "{}").problem(409)["code"], "not_replicating");
    server.board.update(Instant::now(), |status| status.machine.phase = Phase::Switch);
    let entry = server.order("/v1/ledger/1", "", r#"{"action": "retry"}"#);
    assert_eq!(entry.problem(409)["code"], "not_possible");
    server.board.update(Instant::now(), |status| status.machine.phase = Phase::Cleanup);
    assert_eq!(server.order("/v1/validation", "", "{}").problem(409)["code"], "not_possible");
    let fault = Fault::fatal("schema_drift", "follow orders").with_remedy("Look at orders.");
    server.board.update(Instant::now(), |status| {
        status.machine.phase = Phase::DualWrite;
        status.run = Run::because(RunState::Halted, &fault);
    });
    assert_eq!(server.order("/v1/validation", "", "{}").problem(409)["code"], "schema_drift");
    assert!(server.orders.try_recv().is_err());
}

#[test]
fn the_description_holds_every_path_and_nothing_else() {
    let server = listening();
    let description = server.get("/openapi.json").json();
    let paths = description["paths"].as_object().expect("there are paths");
    let all: Vec<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(
        all,
        [
            "/",
            "/healthz",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/v1/status",
            "/v1/tables",
            "/v1/validation",
            "/v1/journal",
            "/v1/ledger",
            "/v1/ledger/{id}",
            "/v1/gates",
            "/v1/routing",
            "/v1/events",
            "/v1/phase",
            "/v1/pause",
            "/v1/resume",
            "/v1/reads"
        ]
    );
    for (path, verbs) in paths {
        for verb in verbs.as_object().expect("a path has verbs").keys() {
            let asked = path.replace("{id}", "1");
            let answer = match verb.as_str() {
                "get" => server.get(&asked),
                _ => server.order(&asked, "", "{}"),
            };
            let described = &verbs[verb]["responses"][answer.status.to_string()];
            assert!(described.is_object(), "{verb} {path} answers {answer:?}");
        }
    }
    assert_eq!(description["paths"]["/v1/validation"]["post"]["security"], json!([{ "token": [] }]));
}

#[test]
fn a_target_that_is_away_keeps_no_reader_waiting() {
    let server = listening();
    for path in ["/v1/journal", "/v1/ledger?table=a&limit=5"] {
        assert_eq!(server.get(path).problem(503)["code"], "postgres_unreachable", "{path}");
    }
    for (path, code) in [
        ("/v1/journal?limit=0", "bad_field"),
        ("/v1/journal?table=a", "unknown_field"),
        ("/v1/ledger?limit=1001", "bad_field"),
    ] {
        assert_eq!(server.get(path).problem(422)["code"], code, "{path}");
    }
}

#[test]
fn the_daemon_proves_well_or_not_that_it_holds_the_token_by_the_name_it_was_asked_by() {
    let server = listening();
    let challenge = Challenge::throw().expect("the system gives random bytes");
    let path = format!("/healthz?challenge={}", challenge.letters());
    let holder = Holder::of(&server.token);
    let own = server.filled(&["127.0.0.1:{port}"]);
    let well = server.get(&path).json();
    let by_another_name =
        server.ask(&[&format!("GET {path} HTTP/1.1\r\n"), "Host: ops.example\r\n", "\r\n"]).json();
    let fault = Fault::fatal("schema_drift", "follow orders");
    server.board.update(Instant::now(), |status| status.run = Run::because(RunState::Halted, &fault));
    let unwell = server.get(&path).problem(503);
    for (health, host) in [(&well, &*own), (&unwell, &*own), (&by_another_name, "ops.example")] {
        let proof = health["proof"].as_str().expect("a challenge is answered");
        assert!(holder.gives(proof, host.as_bytes(), &challenge), "{health}");
    }
    assert_eq!(server.get("/healthz").problem(503)["proof"], Value::Null);
    for none in ["", "0123", &"g".repeat(64), &format!("{}0", challenge.letters())] {
        let refused = server.get(&format!("/healthz?challenge={none}")).problem(422);
        assert_eq!(refused["code"], "bad_field", "{none:?}");
    }
}
