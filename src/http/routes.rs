//! Which path answers what: one table, from which both the router and its description are made. Handlers look at the state once and
//! answer; none of them waits for the daemon.

use super::error::Refusal;
use super::guard::{Guard, admitted};
use super::{levers, openapi};
use crate::engine::daemon::Ordered;
use crate::engine::records::{ENTRIES_MAX, Records};
use crate::engine::status::{Board, Reason, View};
use crate::model::fault::Fault;
use crate::telemetry::metrics::Metrics;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What the routes look at.
#[derive(Clone)]
pub struct HttpState {
    pub board: Board,
    pub metrics: Arc<Metrics>,
    /// With more than this the daemon is not ready.
    pub lag_max: Duration,
    pub records: Arc<Records>,
    pub orders: mpsc::Sender<Ordered>,
    /// Of the newest order.
    pub number: Arc<AtomicU64>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

pub struct Route {
    pub verb: Verb,
    pub path: &'static str,
    pub summary: &'static str,
    /// Parameters of a reading, fields of an order.
    pub fields: &'static [Field],
    /// By status; any other is a problem that every request may meet.
    pub answers: &'static [(u16, &'static str)],
    pub kind: Kind,
    handler: fn() -> MethodRouter<HttpState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

/// Of the good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    Metrics,
}

pub struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    pub summary: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Flag,
    Limit,
    Text,
}

const LIMIT: Field =
    Field { name: "limit", kind: FieldKind::Limit, summary: "How many entries, the newest first." };

pub static ROUTES: [Route; 10] = [
    Route {
        verb: Verb::Get,
        path: "/healthz",
        summary: "Whether the process makes progress.",
        fields: &[],
        answers: &[(200, "It does."), (503, "It does not; the reason.")],
        kind: Kind::Json,
        handler: || get(healthz),
    },
    Route {
        verb: Verb::Get,
        path: "/readyz",
        summary: "Whether replication is live and close behind.",
        fields: &[],
        answers: &[(200, "It is."), (503, "It is not; the reason.")],
        kind: Kind::Json,
        handler: || get(readyz),
    },
    Route {
        verb: Verb::Get,
        path: "/metrics",
        summary: "Metrics in Prometheus' text format.",
        fields: &[],
        answers: &[(200, "The metrics.")],
        kind: Kind::Metrics,
        handler: || get(metrics),
    },
    Route {
        verb: Verb::Get,
        path: "/openapi.json",
        summary: "This description.",
        fields: &[],
        answers: &[(200, "The description.")],
        kind: Kind::Json,
        handler: || get(async || as_json(&openapi::document(&ROUTES))),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/status",
        summary: "What is so at this moment.",
        fields: &[],
        answers: &[(200, "Phase, lag, positions, validation.")],
        kind: Kind::Json,
        handler: || get(status),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tables",
        summary: "Every followed table.",
        fields: &[],
        answers: &[(200, "The tables, with their rows as they were last counted.")],
        kind: Kind::Json,
        handler: || get(tables),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/validation",
        summary: "The last verdict, with its tables and the differences that are listed.",
        fields: &[],
        answers: &[(200, "The verdict, and the newest order that it answers.")],
        kind: Kind::Json,
        handler: || get(validation),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/validation",
        summary: "Compares both sides now.",
        fields: &[Field {
            name: "repair",
            kind: FieldKind::Flag,
            summary: "Whether rows that differ are read again from the source.",
        }],
        answers: &[
            (202, "It will be done; where to look, and the number of the order."),
            (409, "Changes are not followed at present; the reason."),
            (503, "Earlier orders wait to be obeyed."),
        ],
        kind: Kind::Json,
        handler: || post(levers::validation),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/journal",
        summary: "What was done to migrations into this target.",
        fields: &[LIMIT],
        answers: &[(200, "The entries, newest first."), (503, "The target does not answer.")],
        kind: Kind::Json,
        handler: || get(journal),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/ledger",
        summary: "Cells that the target does not give back as they were; never their values.",
        fields: &[
            LIMIT,
            Field { name: "table", kind: FieldKind::Text, summary: "Only of this table of the source." },
        ],
        answers: &[(200, "The entries, newest first."), (503, "The target does not answer.")],
        kind: Kind::Json,
        handler: || get(ledger),
    },
];

pub fn router(state: HttpState, guard: Guard) -> Router {
    let routed =
        ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
    routed
        .fallback(async || Refusal::NotFound)
        .method_not_allowed_fallback(async || Refusal::MethodNotAllowed)
        .with_state(state)
        .layer(from_fn_with_state(Arc::new(guard), admitted))
}

async fn healthz(State(state): State<HttpState>) -> Result<Response, Refusal> {
    state.view().healthy().map_err(Refusal::Unavailable)?;
    Ok(as_json(&json!({ "healthy": true })))
}

async fn readyz(State(state): State<HttpState>) -> Result<Response, Refusal> {
    state.view().ready(state.lag_max).map_err(Refusal::Unavailable)?;
    Ok(as_json(&json!({ "ready": true })))
}

async fn metrics(State(state): State<HttpState>) -> Response {
    let text = state.metrics.render(&state.view().readings());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn status(State(state): State<HttpState>) -> Response {
    as_json(&state.view().to_json())
}

async fn tables(State(state): State<HttpState>) -> Response {
    as_json(&state.view().tables_to_json())
}

async fn validation(State(state): State<HttpState>) -> Response {
    as_json(&state.view().validation_in_full())
}

async fn journal(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let asked = Asked::read(query.as_deref(), &[LIMIT.name])?;
    state.records.journal(asked.limit).await.map(|found| as_json(&found)).map_err(|fault| unavailable(&fault))
}

async fn ledger(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let asked = Asked::read(query.as_deref(), &[LIMIT.name, "table"])?;
    let found = state.records.ledger(asked.limit, asked.table.as_deref()).await;
    found.map(|found| as_json(&found)).map_err(|fault| unavailable(&fault))
}

/// The parameters of a reading.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    limit: u32,
    table: Option<String>,
}

const LIMIT_DEFAULT: u32 = 100;

impl Asked {
    fn read(query: Option<&str>, known: &[&str]) -> Result<Asked, Refusal> {
        let mut asked = Asked { limit: LIMIT_DEFAULT, table: None };
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                name if !known.contains(&name) => return Err(Refusal::unknown_field(name)),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=ENTRIES_MAX).contains(limit));
                    asked.limit =
                        limit.ok_or_else(|| Refusal::bad_field("limit", "a number from 1 to 1000"))?;
                }
                // PostgreSQL has no text with a NUL in it.
                _ if value.contains('\0') => return Err(Refusal::bad_field("table", "the name of a table")),
                _ => asked.table = Some(value.into_owned()),
            }
        }
        Ok(asked)
    }
}

fn unavailable(fault: &Fault) -> Refusal {
    Refusal::Unavailable(Reason::of(fault))
}

impl HttpState {
    pub(super) fn view(&self) -> View {
        self.board.look(Instant::now())
    }
}

pub(super) fn as_json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_known_and_bounded() {
        let both = ["limit", "table"];
        let asked = |limit, table: Option<&str>| Ok(Asked { limit, table: table.map(str::to_owned) });
        let limit = || Err(Refusal::bad_field("limit", "a number from 1 to 1000"));
        for (query, known, expected) in [
            (None, &both[..], asked(100, None)),
            (Some(""), &both, asked(100, None)),
            (Some("limit=7&table=a%20b"), &both, asked(7, Some("a b"))),
            (Some("limit=1000"), &both, asked(1000, None)),
            (Some("limit=0"), &both, limit()),
            (Some("limit=1001"), &both, limit()),
            (Some("limit=-1"), &both, limit()),
            (Some("limit="), &both, limit()),
            (Some("table=a"), &both[..1], Err(Refusal::unknown_field("table"))),
            (Some("table=%00"), &both, Err(Refusal::bad_field("table", "the name of a table"))),
            (Some("colour=red"), &both, Err(Refusal::unknown_field("colour"))),
            (Some("%3Cscript%3E=1"), &both, Err(Refusal::unknown_field("<script>"))),
        ] {
            assert_eq!(Asked::read(query, known), expected, "{query:?}");
        }
        assert!(!format!("{:?}", Refusal::unknown_field("<script>")).contains("script"));
    }
}
