//! What an operator may order: each order is looked at, counted, and handed to the daemon, which writes it into the journal as it
//! obeys. Nothing here acts by itself or waits for what comes of it. That the token was borne is seen to by the guard.

use super::error::Refusal;
use super::routes::{HttpState, Peer, as_json};
use crate::engine::order::{Actor, Entries, Order, Ordered, Repair, Settle};
use crate::engine::reason::Reason;
use crate::engine::status::View;
use crate::phase::{Phase, RunState};
use axum::body::{Bytes, HttpBody};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;

/// By which a client says who is at it.
const ACTOR: &str = "x-liteferry-actor";

/// An order as it comes: by whom, and what it holds.
pub(super) struct Given {
    pub(super) actor: Actor,
    pub(super) fields: Fields,
}

/// What an order holds, field by field.
pub(super) struct Fields(BTreeMap<String, Value>);

pub async fn validation(State(state): State<HttpState>, mut given: Given) -> Result<Response, Refusal> {
    let repair = match given.fields.flag("repair")? {
        Some(true) => Repair::ReadAgain,
        Some(false) | None => Repair::LeaveAsIs,
    };
    given.fields.end()?;
    let view = state.view();
    follows(&view).map_err(Refusal::Conflict)?;
    if view.status.machine.phase > Phase::Switch {
        return Err(Refusal::Conflict(Reason::nothing_to_compare()));
    }
    order(&state, Ordered::new(Order::Validate(repair), given.actor, 0), "/v1/validation")
}

pub async fn ledger(
    State(state): State<HttpState>,
    entry: Result<Path<String>, PathRejection>,
    mut given: Given,
) -> Result<Response, Refusal> {
    let entries = match entry.ok().as_ref().map(|Path(id)| id.as_str()) {
        Some("all") => Some(Entries::All),
        Some(id) => id.parse().ok().filter(|id: &i64| *id > 0).map(Entries::One),
        None => None,
    };
    let entries = entries.ok_or_else(|| Refusal::bad_field("id", "the number of an entry, or all"))?;
    let settle = match given.fields.text("action")?.as_deref() {
        Some("accept") => Settle::Accept,
        Some("retry") => Settle::Retry,
        Some(_) | None => return Err(Refusal::bad_field("action", "retry or accept")),
    };
    given.fields.end()?;
    let view = state.view();
    follows(&view).map_err(Refusal::Conflict)?;
    if view.status.machine.phase >= Phase::Switch {
        return Err(Refusal::Conflict(Reason::ledger_rests()));
    }
    order(&state, Ordered::new(Order::Ledger(entries, settle), given.actor, 0), "/v1/status")
}

/// An order that nobody would obey is not taken.
fn follows(view: &View) -> Result<(), Reason> {
    let run = &view.status.run;
    let phase = view.located()?;
    if !phase.replicates() {
        let sentence = format!("changes are not followed in the phase {}", phase.word());
        let remedy = "Wait until they are: `liteferry status` shows how far the backfill has come.";
        return Err(Reason::new("not_replicating", sentence, remedy));
    }
    match run.state {
        RunState::Halted | RunState::Stopping => Err(run.reason.clone().unwrap_or_else(|| {
            Reason::new("not_running", format!("replication is {}", run.state.word()), "")
        })),
        RunState::Running | RunState::Degraded | RunState::CatchingUp | RunState::Paused => Ok(()),
    }
}

/// Hands the order on under a number of its own, and says where to look for what becomes of it.
pub(super) fn order(state: &HttpState, ordered: Ordered, see: &str) -> Result<Response, Refusal> {
    let place = state.orders.try_reserve().map_err(|_| Refusal::TooManyOrders)?;
    let number = state.number.fetch_add(1, Ordering::Relaxed) + 1;
    place.send(Ordered { number, ..ordered });
    let accepted = json!({ "see": see, "order": number, "process": *state.view().process });
    Ok((StatusCode::ACCEPTED, as_json(&accepted)).into_response())
}

impl FromRequest<HttpState> for Given {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &HttpState) -> Result<Given, Refusal> {
        // Whoever puts `dry_run` there would not be heard, and must not be obeyed.
        if let Some((name, _)) =
            url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).next()
        {
            return Err(Refusal::unknown_field(&name));
        }
        // Without a body there is nothing to be of a kind; whoever names another one means something else.
        let is_bare = request.body().size_hint().exact() == Some(0);
        if !is_bare || request.headers().contains_key(CONTENT_TYPE) {
            is_json(request.headers())?;
        }
        let actor = actor(&request);
        let body = Bytes::from_request(request, state).await.map_err(|_| Refusal::NoObject)?;
        let fields = if is_bare {
            Fields(BTreeMap::new())
        } else {
            serde_json::from_slice(&body).map_err(|_| Refusal::NoObject)?
        };
        Ok(Given { actor, fields })
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Refusal::NotJson) }
}

fn actor(request: &Request) -> Actor {
    let claimed = request.headers().get(ACTOR).map(|claimed| String::from_utf8_lossy(claimed.as_bytes()));
    let Peer(from) = request.extensions().get().expect("the listener names the peer of every request");
    Actor::new(claimed.as_deref(), &format!("http {from}"))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Fields, D::Error> {
        from.deserialize_map(Once)
    }
}

/// An object that names nothing twice: readers of JSON differ in which of the two they take.
struct Once;

impl<'de> Visitor<'de> for Once {
    type Value = Fields;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a field stands twice"));
            }
        }
        Ok(Fields(fields))
    }
}

impl Fields {
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(truth)),
            Some(_) => Err(Refusal::bad_field(name, "true or false")),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad_field(name, "text")),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(number) => {
                whole(&number).map(Some).ok_or_else(|| Refusal::bad_field(name, "a whole number"))
            }
        }
    }

    /// What nobody has asked for is a misunderstanding, and an order must have none.
    pub(super) fn end(self) -> Result<(), Refusal> {
        self.0.keys().next().map_or(Ok(()), |name| Err(Refusal::unknown_field(name)))
    }
}

/// JSON knows one kind of number: 42.0 is a whole one.
fn whole(number: &Value) -> Option<u64> {
    number.as_u64().or_else(|| {
        let text = number.as_f64()?.to_string();
        text.parse().ok()
    })
}
