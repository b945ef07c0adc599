//! Which path answers what: one table, from which both the router and its description are made. It decides nothing about an answer.

use super::error::Refusal;
use super::events::{self, Listeners};
use super::guard::{Guard, admitted};
use super::{commands, levers, openapi, page, readings};
use crate::engine::order::Ordered;
use crate::engine::records::Records;
use crate::engine::status::{Board, View};
use crate::telemetry::metrics::Metrics;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use serde_json::Value;
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
    Events,
    Page,
}

pub struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    pub summary: &'static str,
    pub need: Need,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Must,
    May,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Flag,
    Limit,
    Text,
    /// Text without a NUL.
    Name,
    Reason,
    Percent,
    /// A phase that an order may lead to.
    Aim,
    Phase,
    /// What becomes of an entry of the ledger.
    Settle,
    Challenge,
}

const fn may(name: &'static str, kind: FieldKind, summary: &'static str) -> Field {
    Field { name, kind, summary, need: Need::May }
}

const fn must(name: &'static str, kind: FieldKind, summary: &'static str) -> Field {
    Field { name, kind, summary, need: Need::Must }
}

const LIMIT: Field = may("limit", FieldKind::Limit, "How many entries, the newest first.");
const EXPECT: Field =
    may("expect", FieldKind::Phase, "Refused where the migration is in another phase than this.");
const REASON: Field = may("reason", FieldKind::Reason, "Why, for the journal; at most 500 letters.");

const TAKEN: (u16, &str) = (202, "It is on its way; where to look, and the number of the order.");
const MANY: (u16, &str) = (429, "Earlier orders wait to be obeyed.");
const UNKNOWN: (u16, &str) = (422, "A field is unknown, missing, or not what it must be.");
const NOT_NOW: (u16, &str) =
    (409, "It is not possible as things are: the phase, the reason, every closed gate.");

pub static ROUTES: [Route; 19] = [
    Route {
        verb: Verb::Get,
        path: "/",
        summary: "The operator's page.",
        fields: &[],
        answers: &[(200, "The page; it wants no token and holds no data.")],
        kind: Kind::Page,
        handler: || get(page::page),
    },
    Route {
        verb: Verb::Get,
        path: "/healthz",
        summary: "Whether the process makes progress; and whose daemon it is, by digests of what it follows.",
        fields: &[may(
            "challenge",
            FieldKind::Challenge,
            "Random, of the client's own: the answer's `proof` shows that the daemon holds the token.",
        )],
        answers: &[(200, "It does."), (503, "It does not; the reason.")],
        kind: Kind::Json,
        handler: || get(readings::healthz),
    },
    Route {
        verb: Verb::Get,
        path: "/readyz",
        summary: "Whether replication is live and close behind.",
        fields: &[],
        answers: &[(200, "It is."), (503, "It is not; the reason.")],
        kind: Kind::Json,
        handler: || get(readings::readyz),
    },
    Route {
        verb: Verb::Get,
        path: "/metrics",
        summary: "Metrics in Prometheus' text format.",
        fields: &[],
        answers: &[(200, "The metrics.")],
        kind: Kind::Metrics,
        handler: || get(readings::metrics),
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
        handler: || get(readings::status),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tables",
        summary: "Every followed table.",
        fields: &[],
        answers: &[(200, "The tables, with their rows as they were last counted.")],
        kind: Kind::Json,
        handler: || get(readings::tables),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/validation",
        summary: "The last verdict, with its tables and the differences that are listed.",
        fields: &[],
        answers: &[(200, "The verdict, and the newest order that it answers.")],
        kind: Kind::Json,
        handler: || get(readings::validation),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/validation",
        summary: "Compares both sides now.",
        fields: &[may("repair", FieldKind::Flag, "Whether rows that differ are read again from the source.")],
        answers: &[TAKEN, (409, "Changes are not followed at present; the reason."), UNKNOWN, MANY],
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
        handler: || get(readings::journal),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/ledger",
        summary: "Cells that the target does not give back as they were; never their values.",
        fields: &[LIMIT, may("table", FieldKind::Name, "Only of this table of the source.")],
        answers: &[(200, "The entries, newest first."), (503, "The target does not answer.")],
        kind: Kind::Json,
        handler: || get(readings::ledger),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/ledger/{id}",
        summary: "Decides about one entry of the ledger.",
        fields: &[must(
            "action",
            FieldKind::Settle,
            "retry: the row is read again from the source; accept: what the target holds is right.",
        )],
        answers: &[TAKEN, (409, "Changes are not followed at present; the reason."), UNKNOWN, MANY],
        kind: Kind::Json,
        handler: || post(levers::ledger),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/gates",
        summary: "What an order to change the phase would meet.",
        fields: &[may(
            "to",
            FieldKind::Aim,
            "The phase; dual-write is the way back. The next one of the way where it is left out.",
        )],
        answers: &[(200, "Every gate with its reading, its limit and what to do."), UNKNOWN],
        kind: Kind::Json,
        handler: || get(readings::gates),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/routing",
        summary: "For the application: where it writes, and which of its reads go to PostgreSQL.",
        fields: &[may("key", FieldKind::Text, "Whose reads; the answer for one key does not waver.")],
        answers: &[
            (200, "Where to write and to read, for as long as `ttl_ms`."),
            (503, "The records have not been read yet: what was told last still holds."),
        ],
        kind: Kind::Json,
        handler: || get(readings::routing),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/events",
        summary: "The status as server-sent events: at once, every second, and when something happens.",
        fields: &[],
        answers: &[
            (200, "The events, for a minute at most; then ask again."),
            (503, "Enough others listen."),
        ],
        kind: Kind::Events,
        handler: || get(events::events),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/phase",
        summary: "Leads the migration to another phase. From validate or switch to dual-write is the way back.",
        fields: &[
            must("to", FieldKind::Aim, "The phase."),
            may("dry_run", FieldKind::Flag, "Only tells what the order would meet and do."),
            EXPECT,
            REASON,
            may(
                "confirm",
                FieldKind::Text,
                "For cleanup, after which there is no way back: the name of the source's file.",
            ),
        ],
        answers: &[(200, "Of a dry run: the gates, and what would be done."), TAKEN, NOT_NOW, UNKNOWN, MANY],
        kind: Kind::Json,
        handler: || post(commands::phase),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/pause",
        summary: "Stops carrying changes over, until it is resumed.",
        fields: &[EXPECT, REASON],
        answers: &[TAKEN, NOT_NOW, UNKNOWN, MANY],
        kind: Kind::Json,
        handler: || post(commands::pause),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/resume",
        summary: "Goes on carrying changes over.",
        fields: &[EXPECT, REASON],
        answers: &[TAKEN, NOT_NOW, UNKNOWN, MANY],
        kind: Kind::Json,
        handler: || post(commands::resume),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/reads",
        summary: "Moves reads to PostgreSQL, by percentage.",
        fields: &[must("percent", FieldKind::Percent, "Of a hundred keys, how many."), EXPECT, REASON],
        answers: &[TAKEN, NOT_NOW, UNKNOWN, MANY],
        kind: Kind::Json,
        handler: || post(commands::reads),
    },
];

pub fn router(state: HttpState, guard: Guard) -> Router {
    let guard = Arc::new(guard);
    let routed =
        ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
    routed
        .fallback(async || Refusal::NotFound)
        .method_not_allowed_fallback(async || Refusal::MethodNotAllowed)
        .with_state(state)
        .layer(Extension(Listeners::new()))
        .layer(Extension(Arc::clone(&guard)))
        .layer(from_fn_with_state(guard, admitted))
}

impl HttpState {
    pub(super) fn view(&self) -> View {
        self.board.look(Instant::now())
    }
}

pub(super) const JSON: &str = "application/json";

pub(super) fn as_json(value: &Value) -> Response {
    ([(CONTENT_TYPE, JSON)], value.to_string()).into_response()
}
