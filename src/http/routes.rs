//! Which path answers what. Handlers look at the state once and answer; none of them waits.

use super::error::Refusal;
use super::guard::{Guard, admitted};
use crate::engine::status::{Board, View};
use crate::telemetry::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the routes look at.
#[derive(Clone)]
pub struct HttpState {
    pub board: Board,
    pub metrics: Arc<Metrics>,
    /// With more than this the daemon is not ready.
    pub lag_max: Duration,
}

pub fn router(state: HttpState, guard: Guard) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
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

impl HttpState {
    fn view(&self) -> View {
        self.board.look(Instant::now())
    }
}

fn as_json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
