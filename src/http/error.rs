//! Why a request is refused, and the answer that says so (RFC 9457): the one place that decides a status.

use crate::engine::status::Reason;
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
    /// A body that is no JSON object.
    NoObject,
    /// Of a field or a parameter; what is wrong with it.
    UnknownField(String),
    BadField(String),
    /// The daemon has more orders to obey than it should have.
    TooManyOrders,
    /// What is asked for cannot be done as things are.
    Conflict(Reason),
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
            Refusal::UnknownField(_) | Refusal::BadField(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::TooManyConnections | Refusal::TooManyOrders | Refusal::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    pub fn body(&self) -> Value {
        let status = self.status();
        let (detail, remedy) = self.words();
        json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": self.code(),
            "detail": detail,
            "remedy": remedy,
        })
    }

    /// Stable, for programs.
    fn code(&self) -> &'static str {
        match self {
            Refusal::NoHost => "no_host",
            Refusal::ForeignHost => "foreign_host",
            Refusal::ForeignOrigin => "foreign_origin",
            Refusal::HeadersTooLarge => "headers_too_large",
            Refusal::NoLength => "no_length",
            Refusal::BodyTooLarge => "body_too_large",
            Refusal::NoToken => "no_token",
            Refusal::NotFound => "not_found",
            Refusal::MethodNotAllowed => "method_not_allowed",
            Refusal::TooSlow => "too_slow",
            Refusal::TooManyConnections => "too_many_connections",
            Refusal::NotJson => "not_json",
            Refusal::NoObject => "no_object",
            Refusal::UnknownField(_) => "unknown_field",
            Refusal::BadField(_) => "bad_field",
            Refusal::TooManyOrders => "too_many_orders",
            Refusal::Conflict(reason) | Refusal::Unavailable(reason) => reason.code,
        }
    }

    /// What is wrong, and what to do. Nothing of the request is repeated but a field's name in plain letters: an answer must not
    /// become somebody's page.
    fn words(&self) -> (&str, &str) {
        match self {
            Refusal::NoHost => ("The request must name one host.", ""),
            Refusal::ForeignHost => (
                "The request is for another host.",
                "Ask by 127.0.0.1, or add the name to http.allowed_hosts.",
            ),
            Refusal::ForeignOrigin => (
                "The request comes from another site's page.",
                "Add its host to http.allowed_hosts to allow it.",
            ),
            Refusal::HeadersTooLarge => ("The request's headers are longer than 16 kB.", ""),
            Refusal::NoLength => ("The request has a body of unknown length.", "Send Content-Length."),
            Refusal::BodyTooLarge => ("The request's body is longer than 64 kB.", ""),
            Refusal::NoToken => (
                "The request does not bear the token.",
                "Send `Authorization: Bearer` with what http.token_file holds.",
            ),
            Refusal::NotFound => ("There is nothing here.", ""),
            Refusal::MethodNotAllowed => ("The method is not for this path.", ""),
            Refusal::TooSlow => ("The request took too long.", ""),
            Refusal::TooManyConnections => ("All connections are taken.", "Try again in a few seconds."),
            Refusal::NotJson => ("An order is JSON.", "Send `Content-Type: application/json`."),
            Refusal::NoObject => {
                ("The body is not a JSON object.", "/openapi.json says what an order holds.")
            }
            Refusal::UnknownField(detail) | Refusal::BadField(detail) => {
                (detail, "/openapi.json says what a request may hold.")
            }
            Refusal::TooManyOrders => {
                ("Orders given before wait to be obeyed.", "Try again in a few seconds.")
            }
            Refusal::Conflict(reason) | Refusal::Unavailable(reason) => (&reason.sentence, &reason.remedy),
        }
    }
}

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
