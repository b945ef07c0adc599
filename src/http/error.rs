//! Why a request is refused, and the answer that says so (RFC 9457): the one place that decides a status.

use crate::engine::outlook::{Outlook, gate_to_json};
use crate::engine::reason::Reason;
use crate::phase::Phase;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No `Host`, or more than one.
    NoHost,
    ForeignHost,
    ForeignOrigin,
    HeadersTooLarge,
    /// A body whose length is not told beforehand.
    NoLength,
    BodyTooLarge,
    NoToken,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    TooManyConnections,
    NotJson,
    /// A body that is no JSON object, or one that names a field twice.
    NoObject,
    /// Of a field or a parameter; what is wrong with it.
    UnknownField(String),
    BadField(String),
    /// The daemon has more orders to obey than it should have.
    TooManyOrders,
    /// More would listen to events than can be served.
    TooManyListeners,
    /// What is asked for cannot be done as things are.
    Conflict(Reason),
    /// The same of a command: with the phase, and every closed gate.
    Closed(Box<Outlook>),
    /// An order that cannot be undone does not name this file.
    NotConfirmed(String),
    /// What the request asks for is not so at present.
    Unavailable(Reason),
}

pub const PROBLEM: &str = "application/problem+json";

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NoHost => StatusCode::BAD_REQUEST,
            Refusal::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Refusal::ForeignOrigin => StatusCode::FORBIDDEN,
            Refusal::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::NoLength => StatusCode::LENGTH_REQUIRED,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NoToken => StatusCode::UNAUTHORIZED,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::NoObject => StatusCode::BAD_REQUEST,
            Refusal::UnknownField(_) | Refusal::BadField(_) | Refusal::NotConfirmed(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Refusal::Conflict(_) | Refusal::Closed(_) => StatusCode::CONFLICT,
            Refusal::TooManyOrders => StatusCode::TOO_MANY_REQUESTS,
            Refusal::TooManyConnections | Refusal::TooManyListeners | Refusal::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    pub fn body(&self) -> Value {
        let status = self.status();
        let (code, detail, remedy) = self.words();
        let mut body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code,
            "detail": detail,
            "remedy": remedy,
        });
        if let Refusal::Closed(outlook) = self {
            body["phase"] = json!(outlook.phase.map(Phase::word));
            body["gates"] = outlook.closed().map(gate_to_json).collect();
        }
        body
    }

    /// A code for programs, what is wrong, and what to do. Nothing of the request is repeated but a field's name in plain letters: an
    /// answer must not become somebody's page.
    fn words(&self) -> (&'static str, String, String) {
        let told = |code, detail: &str, remedy: &str| (code, detail.to_owned(), remedy.to_owned());
        let reason = |reason: &Reason| (reason.code, reason.sentence.clone(), reason.remedy.clone());
        match self {
            Refusal::NoHost => told("no_host", "The request must name one host.", ""),
            Refusal::ForeignHost => told(
                "foreign_host",
                "The request is for another host.",
                "Ask by 127.0.0.1, or add the name to http.allowed_hosts.",
            ),
            Refusal::ForeignOrigin => told(
                "foreign_origin",
                "The request comes from another site's page.",
                "Add its host to http.allowed_hosts to allow it.",
            ),
            Refusal::HeadersTooLarge => {
                told("headers_too_large", "The request's headers are longer than 16 kB.", "")
            }
            Refusal::NoLength => {
                told("no_length", "The request has a body of unknown length.", "Send Content-Length.")
            }
            Refusal::BodyTooLarge => told("body_too_large", "The request's body is longer than 64 kB.", ""),
            Refusal::NoToken => told(
                "no_token",
                "The request does not bear the token.",
                "Send `Authorization: Bearer` with what http.token_file holds.",
            ),
            Refusal::NotFound => told("not_found", "There is nothing here.", ""),
            Refusal::MethodNotAllowed => told("method_not_allowed", "The method is not for this path.", ""),
            Refusal::TooSlow => told("too_slow", "The request took too long.", ""),
            Refusal::TooManyConnections => told("too_many_clients", "All connections are taken.", AGAIN),
            Refusal::NotJson => {
                told("not_json", "An order is JSON.", "Send `Content-Type: application/json`.")
            }
            Refusal::NoObject => told(
                "no_object",
                "The body is not a JSON object, or names a field twice.",
                "/openapi.json says what an order holds.",
            ),
            Refusal::UnknownField(detail) => told("unknown_field", detail, FIELDS),
            Refusal::BadField(detail) => told("bad_field", detail, FIELDS),
            Refusal::TooManyOrders => {
                told("too_many_orders", "Orders given before wait to be obeyed.", AGAIN)
            }
            Refusal::TooManyListeners => {
                told("too_many_listeners", "All places for listeners are taken.", "Ask /v1/status instead.")
            }
            Refusal::Conflict(why) | Refusal::Unavailable(why) => reason(why),
            Refusal::Closed(outlook) => reason(&outlook.because().expect("what is shut has a reason")),
            Refusal::NotConfirmed(name) => (
                "not_confirmed",
                format!("confirm must be the name of the source's file: {name}"),
                "There is no way back from this order; look at its dry run first.".to_owned(),
            ),
        }
    }
}

const AGAIN: &str = "Try again in a few seconds.";
const FIELDS: &str = "/openapi.json says what a request may hold.";

impl Refusal {
    pub fn unknown_field(name: &str) -> Refusal {
        Refusal::UnknownField(format!("{} is not known here.", plain(name)))
    }

    /// `kind` is what it must be.
    pub fn bad_field(name: &str, kind: &str) -> Refusal {
        Refusal::BadField(format!("{} must be {kind}.", plain(name)))
    }
}

fn plain(name: &str) -> &str {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_' || letter == b'-';
    if !name.is_empty() && name.len() <= FIELD_LETTERS_MAX && name.bytes().all(is_plain) {
        name
    } else {
        "A field"
    }
}

const FIELD_LETTERS_MAX: usize = 64;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = [(CONTENT_TYPE, HeaderValue::from_static(PROBLEM))];
        let mut response = (self.status(), kind, self.body().to_string()).into_response();
        if self == Refusal::NoToken {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
