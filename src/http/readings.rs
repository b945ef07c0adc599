//! What is only asked for: each reading looks at the state once and answers. None waits for the daemon, and none changes anything.

use super::error::{PROBLEM, Refusal};
use super::guard::Guard;
use super::routes::{HttpState, JSON, as_json};
use crate::engine::follows::{Challenge, follows};
use crate::engine::outlook::{Outlook, Told};
use crate::engine::reason::Reason;
use crate::engine::records::ENTRIES_MAX;
use crate::model::fault::Fault;
use crate::phase::Phase;
use crate::phase::machine::{Command, Percent};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whoever asks is told whose daemon it is, well or not, and without a token.
pub async fn healthz(
    State(state): State<HttpState>,
    Extension(guard): Extension<Arc<Guard>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let given = Asked::read(query.as_deref()).take("challenge");
    let challenge = given.map(|text| Challenge::read(&text).ok_or_else(no_challenge)).transpose()?;
    let view = state.view();
    let (status, kind, mut body) = match view.healthy() {
        Ok(()) => (StatusCode::OK, JSON, json!({ "healthy": true })),
        Err(reason) => {
            let refusal = Refusal::Unavailable(reason);
            (refusal.status(), PROBLEM, refusal.body())
        }
    };
    body["follows"] = follows(&view.status);
    if let Some(challenge) = challenge {
        body["proof"] = json!(guard.proof(&headers, &challenge));
    }
    Ok((status, [(CONTENT_TYPE, kind)], body.to_string()).into_response())
}

fn no_challenge() -> Refusal {
    Refusal::bad_field("challenge", "64 hexadecimal digits")
}

pub async fn readyz(State(state): State<HttpState>) -> Result<Response, Refusal> {
    state.view().ready(state.lag_max).map_err(Refusal::Unavailable)?;
    Ok(as_json(&json!({ "ready": true })))
}

pub async fn metrics(State(state): State<HttpState>) -> Response {
    let text = state.metrics.render(&state.view().readings());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

pub async fn status(State(state): State<HttpState>) -> Response {
    as_json(&state.view().to_json())
}

pub async fn tables(State(state): State<HttpState>) -> Response {
    as_json(&state.view().tables_to_json())
}

pub async fn validation(State(state): State<HttpState>) -> Response {
    as_json(&state.view().validation_in_full())
}

pub async fn journal(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let mut asked = Asked::read(query.as_deref());
    let limit = asked.limit()?;
    asked.end()?;
    state.records.journal(limit).await.map(|found| as_json(&found)).map_err(|fault| unavailable(&fault))
}

pub async fn ledger(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let mut asked = Asked::read(query.as_deref());
    let (limit, table) = (asked.limit()?, asked.take("table"));
    asked.end()?;
    // PostgreSQL has no text with a NUL in it.
    if table.as_ref().is_some_and(|table| table.contains('\0')) {
        return Err(Refusal::bad_field("table", "the name of a table"));
    }
    let found = state.records.ledger(limit, table.as_deref()).await;
    found.map(|found| as_json(&found)).map_err(|fault| unavailable(&fault))
}

pub async fn gates(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let mut asked = Asked::read(query.as_deref());
    let to = asked.take("to").map(|to| aim(&to)).transpose()?;
    asked.end()?;
    let view = state.view();
    let (to, command) = to.unwrap_or_else(|| next(view.status.machine.phase));
    Ok(as_json(&told(to, &view.outlook(command))))
}

pub async fn routing(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let mut asked = Asked::read(query.as_deref());
    let key = asked.take("key");
    asked.end()?;
    let Some(Told { routing, reads, ttl }) = state.view().told(state.lag_max) else {
        let sentence = "the daemon has not read yet where the application writes";
        return Err(Refusal::Unavailable(Reason::new(
            "routing_unknown",
            sentence,
            "Keep to what was told last, and ask again in a second.",
        )));
    };
    let mut answer = json!({
        "epoch": routing.epoch,
        "writes": routing.writes.word(),
        "reads": { "postgres_percent": reads.get() },
        "ttl_ms": u64::try_from(ttl.as_millis()).expect("it is a constant of ours"),
    });
    if let Some(key) = key {
        answer["read"] = json!(if is_moved(&key, reads) { "postgres" } else { "sqlite" });
    }
    Ok(as_json(&answer))
}

/// The phase that an order names, and the command it is.
pub(super) fn aim(word: &str) -> Result<(Phase, Command), Refusal> {
    let known = Phase::from_word(word).and_then(|phase| Some((phase, Command::to(phase)?)));
    known.ok_or_else(|| Refusal::bad_field("to", "validate, switch, dual-write or cleanup"))
}

/// An outlook on the way to a phase.
pub(super) fn told(to: Phase, outlook: &Outlook) -> Value {
    let mut told = outlook.to_json();
    told["to"] = json!(to.word());
    told
}

/// The next one of the way.
fn next(phase: Phase) -> (Phase, Command) {
    match phase {
        Phase::Setup | Phase::Backfill | Phase::DualWrite => (Phase::Validate, Command::Validate),
        Phase::Validate => (Phase::Switch, Command::Switch),
        Phase::Switch | Phase::Cleanup | Phase::Done => (Phase::Cleanup, Command::Cleanup),
    }
}

/// A key that was moved at one percentage stays so at every higher one.
fn is_moved(key: &str, reads: Percent) -> bool {
    let digest = Sha256::digest(key.as_bytes());
    let place = digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte)) % 100;
    place < u64::from(reads.get())
}

fn unavailable(fault: &Fault) -> Refusal {
    Refusal::Unavailable(Reason::of(fault))
}

/// The parameters of a reading. Of one that is given twice the last counts.
struct Asked(BTreeMap<String, String>);

const LIMIT_DEFAULT: u32 = 100;

impl Asked {
    fn read(query: Option<&str>) -> Asked {
        Asked(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn limit(&mut self) -> Result<u32, Refusal> {
        let Some(given) = self.take("limit") else { return Ok(LIMIT_DEFAULT) };
        let limit = given.parse().ok().filter(|limit| (1..=ENTRIES_MAX).contains(limit));
        limit.ok_or_else(|| Refusal::bad_field("limit", "a number from 1 to 1000"))
    }

    fn end(self) -> Result<(), Refusal> {
        self.0.keys().next().map_or(Ok(()), |name| Err(Refusal::unknown_field(name)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_known_and_bounded() {
        let limit = || Err(Refusal::bad_field("limit", "a number from 1 to 1000"));
        for (query, expected) in [
            (None, Ok((100, None))),
            (Some(""), Ok((100, None))),
            (Some("limit=7&table=a%20b"), Ok((7, Some("a b".to_owned())))),
            (Some("limit=1000"), Ok((1000, None))),
            (Some("limit=0"), limit()),
            (Some("limit=1001"), limit()),
            (Some("limit=-1"), limit()),
            (Some("limit="), limit()),
            (Some("colour=red"), Err(Refusal::unknown_field("colour"))),
            (Some("%3Cscript%3E=1"), Err(Refusal::unknown_field("<script>"))),
        ] {
            let mut asked = Asked::read(query);
            let found = asked.limit().and_then(|limit| {
                let table = asked.take("table");
                asked.end().map(|()| (limit, table))
            });
            assert_eq!(found, expected, "{query:?}");
        }
        assert!(!format!("{:?}", Refusal::unknown_field("<script>")).contains("script"));
    }

    #[test]
    fn a_key_moves_once_and_about_as_many_as_were_asked_for() {
        let keys: Vec<String> = (0..10_000).map(|number| format!("user {number}")).collect();
        let moved = |percent| {
            let reads = Percent::new(percent).unwrap();
            keys.iter().filter(|key| is_moved(key, reads)).collect::<Vec<_>>()
        };
        assert_eq!((moved(0).len(), moved(100).len()), (0, keys.len()));
        for (percent, lower) in [(10, 0), (50, 10), (51, 50), (99, 51)] {
            let (more, fewer) = (moved(percent), moved(lower));
            assert!(fewer.iter().all(|key| more.contains(key)), "{percent}");
            assert!(more.len().abs_diff(usize::from(percent) * 100) < 200, "{percent}: {}", more.len());
        }
    }

    #[test]
    fn an_order_may_aim_at_four_phases() {
        for phase in Phase::ALL {
            let aimed = aim(phase.word()).map(|(to, _)| to).ok();
            assert_eq!(aimed, Command::to(phase).map(|_| phase), "{phase:?}");
            assert!(Command::to(next(phase).0) == Some(next(phase).1));
        }
        assert!(aim("Switch").is_err() && aim("").is_err());
    }
}
