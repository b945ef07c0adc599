//! The status as server-sent events: at once, every second, and when something happens. Who listens is counted, and nobody listens for
//! ever: a client that has gone without a word holds its place for a minute at most.

use super::error::Refusal;
use super::routes::HttpState;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

const LISTENERS_MAX: usize = 8;
const EVERY: Duration = Duration::from_secs(1);
/// Between two events, however much happens.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// Less than the listener grants a connection.
const LISTENING_MAX: Duration = Duration::from_secs(50);

/// Places for those who listen.
#[derive(Clone, Debug)]
pub struct Listeners(Arc<Semaphore>);

/// Ends with the server.
#[derive(Clone, Debug)]
pub struct Closing(pub watch::Receiver<()>);

struct Listening {
    state: HttpState,
    moved: watch::Receiver<()>,
    closing: watch::Receiver<()>,
    until: Instant,
    /// When the last event was sent.
    told: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

pub async fn events(
    State(state): State<HttpState>,
    Extension(Listeners(places)): Extension<Listeners>,
    Extension(Closing(closing)): Extension<Closing>,
) -> Result<Response, Refusal> {
    let place = places.try_acquire_owned().map_err(|_| Refusal::TooManyListeners)?;
    let (moved, until) = (state.board.moved(), Instant::now() + LISTENING_MAX);
    let listening = Listening { state, moved, closing, until, told: None, _place: place };
    let told = unfold(listening, async |mut listening| {
        let event = listening.next().await?;
        Some((Ok::<String, Infallible>(event), listening))
    });
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(told)).into_response())
}

impl Listening {
    async fn next(&mut self) -> Option<String> {
        if let Some(told) = self.told {
            tokio::select! {
                // A sender that is gone means the same as one that speaks.
                _ = self.closing.changed() => return None,
                () = sleep_until(self.until) => return None,
                () = moved_or_late(&mut self.moved, told) => {}
            }
        }
        self.told = Some(Instant::now());
        self.moved.mark_unchanged();
        let status = self.state.view().to_json();
        Some(format!("event: status\ndata: {status}\n\n"))
    }
}

async fn moved_or_late(moved: &mut watch::Receiver<()>, told: Instant) {
    sleep_until(told + EVERY_MIN).await;
    tokio::select! {
        Ok(()) = moved.changed() => {}
        () = sleep_until(told + EVERY) => {}
    }
}

impl Listeners {
    pub fn new() -> Listeners {
        Listeners(Arc::new(Semaphore::new(LISTENERS_MAX)))
    }
}
