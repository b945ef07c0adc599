//! Requests as an attacker sends them, to every path and method of the served description: whatever is wrong with one, nothing is
//! ordered, and the answer is one that is described. Nothing here knows a path by heart.

use super::{Answer, answer, listening};
use crate::support::PATIENCE;
use liteferry::phase::Phase;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// A listener under attack.
pub struct Attacked {
    pub at: SocketAddr,
    pub token: String,
}

/// One path and method of the description.
struct Operation {
    method: String,
    path: String,
    /// An order that would be taken.
    body: Value,
    described: Map<String, Value>,
}

#[derive(Clone)]
struct Request {
    method: String,
    target: String,
    host: String,
    bearer: String,
    kind: String,
    more: String,
    body: String,
}

/// Whom a mistake must stop.
#[derive(Clone, Copy, PartialEq)]
enum Stops {
    All,
    /// Readers on loopback may do without the token, and nobody looks at their bodies.
    Orders,
}

type Mistake = (&'static str, Stops, fn(&mut Request));
type Trick = (&'static str, fn(&str) -> String);

const MISTAKES: [Mistake; 42] = [
    ("no token", Stops::Orders, |it| it.bearer.clear()),
    ("an empty token", Stops::Orders, |it| it.bearer = "Authorization: Bearer \r\n".into()),
    ("a wrong token", Stops::Orders, |it| it.bearer = it.bearer.replace(['a', '1', '7'], "b")),
    ("half a token", Stops::Orders, |it| it.bearer = format!("{}\r\n", &it.bearer[..50])),
    ("a longer token", Stops::Orders, |it| it.bearer = it.bearer.replace("\r\n", "0\r\n")),
    ("the token twice", Stops::Orders, |it| it.bearer = it.bearer.repeat(2)),
    ("another scheme", Stops::Orders, |it| it.bearer = it.bearer.replace("Bearer", "Basic")),
    ("the token in the query", Stops::Orders, |it| {
        it.target += &format!("?token={}", it.secret());
        it.bearer.clear();
    }),
    ("the token where OAuth has it", Stops::Orders, |it| {
        it.target += &format!("?access_token={}", it.secret());
        it.bearer.clear();
    }),
    ("the token in a cookie", Stops::Orders, |it| it.bearer = format!("Cookie: token={}\r\n", it.secret())),
    ("the token in another header", Stops::Orders, |it| {
        it.bearer =
            format!("X-Authorization: Bearer {0}\r\nProxy-Authorization: Bearer {0}\r\n", it.secret());
    }),
    ("the token in the body", Stops::Orders, |it| {
        it.body = it.body.replacen('{', &format!("{{\"token\": \"{}\",", it.secret()), 1);
        it.bearer.clear();
    }),
    ("a parameter beside the body", Stops::Orders, |it| it.target += "?dry_run=true"),
    ("no host", Stops::All, |it| it.host.clear()),
    ("a foreign host", Stops::All, |it| it.host = "Host: evil.example\r\n".into()),
    ("a name that was bound to this address", Stops::All, |it| {
        it.host = it.host.replace("127.0.0.1", "rebound.evil.example");
    }),
    ("two hosts", Stops::All, |it| it.host += "Host: evil.example\r\n"),
    ("a foreign host in the line", Stops::All, |it| it.target = format!("http://evil.example{}", it.target)),
    ("somebody's page", Stops::All, |it| it.more = "Origin: http://evil.example\r\n".into()),
    ("a page from nowhere", Stops::All, |it| it.more = "Origin: null\r\n".into()),
    ("another port's page", Stops::All, |it| it.more = "Origin: http://127.0.0.1:1\r\n".into()),
    ("another site", Stops::All, |it| it.more = "Sec-Fetch-Site: cross-site\r\n".into()),
    ("a long body", Stops::All, |it| it.body += &" ".repeat(64 * 1024 + 1)),
    ("a long header", Stops::All, |it| it.more = format!("X-Filler: {}\r\n", "x".repeat(17 * 1024))),
    ("a very long header", Stops::All, |it| it.more = format!("X-Filler: {}\r\n", "x".repeat(90 * 1024))),
    ("a body of unknown length", Stops::All, |it| it.more = "Transfer-Encoding: chunked\r\n".into()),
    ("no kind", Stops::Orders, |it| it.kind.clear()),
    ("text", Stops::Orders, |it| it.kind = "Content-Type: text/plain\r\n".into()),
    ("a form", Stops::Orders, |it| it.kind = "Content-Type: application/x-www-form-urlencoded\r\n".into()),
    ("a form in parts", Stops::Orders, |it| it.kind = "Content-Type: multipart/form-data\r\n".into()),
    ("a kind that begins like JSON", Stops::Orders, |it| it.kind = it.kind.replace("json", "json-seq")),
    ("an unknown field", Stops::Orders, |it| {
        it.body = it.body.replacen('{', "{\"colour\": 1,", 1).replace(",}", "}")
    }),
    ("a field in capitals", Stops::Orders, |it| {
        it.body = it.body.replacen('{', "{\"Reason\": \"\",", 1).replace(",}", "}")
    }),
    ("a field twice", Stops::Orders, |it| {
        it.body = it.body.replacen('{', "{\"reason\": \"a\", \"reason\": \"b\",", 1).replace(",}", "}");
    }),
    ("garbage behind the body", Stops::Orders, |it| it.body += "x"),
    ("two bodies", Stops::Orders, |it| it.body = it.body.repeat(2)),
    ("a list", Stops::Orders, |it| it.body = format!("[{}]", it.body)),
    ("a blank body", Stops::Orders, |it| it.body = " ".into()),
    ("half a body", Stops::Orders, |it| it.body.truncate(1)),
    ("a mark before the body", Stops::Orders, |it| it.body.insert(0, '\u{feff}')),
    ("a deep body", Stops::Orders, |it| it.body = format!("{{\"reason\": {}", "[".repeat(60_000))),
    ("a NUL in the body", Stops::Orders, |it| {
        it.body = it.body.replacen('{', "{\"reason\": \"\\u0000\",", 1).replace(",}", "}");
    }),
];

/// Other ways to write a path: none of them leads there.
const TRICKS: [Trick; 10] = [
    ("a slash in front", |path| format!("/{path}")),
    ("a slash behind", |path| format!("{path}/")),
    ("up and down", |path| format!("/v1/..{path}")),
    ("up and down, encoded", |path| format!("/v1/%2e%2e{path}")),
    ("in place", |path| format!("/.{path}")),
    ("a letter encoded", |path| path.replace("/v1", "/%761").replace("z", "%7a").replace("m", "%6d")),
    ("a slash encoded", |path| format!("/{}", path[1..].replace('/', "%2f"))),
    ("in capitals", |path| path.to_uppercase()),
    ("a NUL behind", |path| format!("{path}%00")),
    ("a parameter of the path", |path| format!("{path};a=b")),
];

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post"];

#[test]
fn a_request_with_any_mistake_changes_nothing_and_gets_a_described_answer() {
    let mut server = listening();
    server.board.update(Instant::now(), |status| status.machine.phase = Phase::Validate);
    let attacked = Attacked { at: server.handle.at(), token: server.token.clone() };
    // What is attacked is an order that is taken without the mistake, or there would be nothing to see.
    for operation in attacked.operations().iter().filter(|operation| operation.is_order()) {
        let taken = attacked.ask(&attacked.good(operation));
        assert_eq!(taken.status, 202, "{} {}: {taken:?}", operation.path, operation.body);
        server.orders.try_recv().expect("the order was handed on");
    }
    let before = server.get("/v1/status").json();
    attacked.storm(|what| assert!(server.orders.try_recv().is_err(), "an order was taken: {what}"));
    let after = server.get("/v1/status").json();
    for part in ["phase", "machine", "routing", "answer", "run", "validation"] {
        assert_eq!(before[part], after[part]);
    }
}

impl Attacked {
    /// Sends every operation with every mistake, and looks at each answer; `unmoved` looks at what is behind.
    pub fn storm(&self, mut unmoved: impl FnMut(&str)) {
        let operations = self.operations();
        assert!(operations.len() > 15, "the description was not understood");
        for operation in &operations {
            let good = self.good(operation);
            for (mistake, stops, make) in MISTAKES {
                let mut request = good.clone();
                make(&mut request);
                assert!(request.wire() != good.wire(), "{mistake} changes nothing");
                let what = format!("{} {}: {mistake}", operation.method, operation.path);
                let answer = self.ask(&request);
                if stops == Stops::All || operation.is_order() {
                    answer.is_refusal(&what);
                    // The parser has no word for some.
                    let told = answer.bare() || operation.described.contains_key(&answer.status.to_string());
                    assert!(told, "{what} is answered {answer:?}");
                }
                assert!(
                    operation.described.contains_key(&answer.status.to_string()) || answer.bare(),
                    "{what}: {answer:?}"
                );
                unmoved(&what);
            }
            for (trick, twist) in TRICKS {
                let target = twist(&operation.path);
                let known = operations.iter().any(|other| other.path == target);
                if target == operation.path || known {
                    continue;
                }
                let what = format!("{} {target}: {trick}", operation.method);
                self.ask(&Request { target, ..good.clone() }).is_refusal(&what);
                unmoved(&what);
            }
        }
        self.try_methods(&operations, unmoved);
    }

    fn try_methods(&self, operations: &[Operation], mut unmoved: impl FnMut(&str)) {
        for operation in operations {
            let is_known = |method: &str| {
                operations.iter().any(|other| other.path == operation.path && other.method == method)
            };
            for method in METHODS.into_iter().filter(|method| !is_known(method)) {
                let what = format!("{method} {}", operation.path);
                let request = Request { method: method.to_owned(), ..self.good(operation) };
                self.ask(&request).problem(405);
                unmoved(&what);
            }
            let overridden = Request {
                method: "GET".to_owned(),
                more: "X-HTTP-Method-Override: POST\r\nX-Method-Override: POST\r\n".to_owned(),
                ..self.good(operation)
            };
            self.ask(&overridden);
            unmoved("another method in a header");
        }
    }

    fn operations(&self) -> Vec<Operation> {
        let document = Request { method: "GET".into(), target: "/openapi.json".into(), ..self.plain() };
        let document = self.ask(&document).json();
        let paths = document["paths"].as_object().expect("there are paths");
        let of_path = |(path, verbs): (&String, &Value)| {
            let verbs = verbs.as_object().expect("a path has methods").clone();
            let path = path.replace("{id}", "7");
            verbs.into_iter().map(move |(verb, operation)| Operation {
                method: verb.to_uppercase(),
                path: path.clone(),
                body: example(&operation["requestBody"]["content"]["application/json"]["schema"]),
                described: operation["responses"].as_object().expect("answers are described").clone(),
            })
        };
        paths.iter().flat_map(of_path).collect()
    }

    fn good(&self, operation: &Operation) -> Request {
        let (method, target) = (operation.method.clone(), operation.path.clone());
        Request { method, target, body: operation.body.to_string(), ..self.plain() }
    }

    fn plain(&self) -> Request {
        Request {
            method: String::new(),
            target: String::new(),
            host: format!("Host: 127.0.0.1:{}\r\n", self.at.port()),
            bearer: format!("Authorization: Bearer {}\r\n", self.token),
            kind: "Content-Type: application/json\r\n".to_owned(),
            more: String::new(),
            body: String::new(),
        }
    }

    /// Where the listener answers before it has read all, writing may fail.
    fn ask(&self, request: &Request) -> Answer {
        let mut stream = TcpStream::connect(self.at).expect("the listener listens");
        stream.set_read_timeout(Some(*PATIENCE)).expect("a socket takes a timeout");
        let sent = stream.write_all(request.wire().as_bytes());
        answer(&mut stream).unwrap_or_else(|error| panic!("{error}, sent: {sent:?}\n{:.300}", request.wire()))
    }
}

impl Operation {
    fn is_order(&self) -> bool {
        self.method == "POST"
    }
}

impl Request {
    fn secret(&self) -> &str {
        self.bearer.trim().rsplit(' ').next().unwrap_or_default()
    }

    fn wire(&self) -> String {
        let Request { method, target, host, bearer, kind, more, body } = self;
        let length = if more.contains("chunked") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        format!("{method} {target} HTTP/1.1\r\n{host}{bearer}{kind}{more}{length}\r\n{body}")
    }
}

impl Answer {
    fn is_refusal(&self, what: &str) {
        assert!((400..500).contains(&self.status), "{what} is answered {}: {:.300}", self.status, self.body);
        if !self.bare() {
            let problem = self.problem(self.status);
            assert!(problem["code"].is_string() && problem["detail"].is_string(), "{what}: {problem}");
        }
    }
}

/// The least that the schema asks for.
fn example(schema: &Value) -> Value {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let value = |name: &str| {
        let property = &schema["properties"][name];
        let first = property["enum"].as_array().and_then(|words| words.first()).cloned();
        first.unwrap_or_else(|| if property["type"] == "integer" { json!(0) } else { json!("a") })
    };
    Value::Object(required.map(|name| (name.to_owned(), value(name))).collect())
}
