//! `run`: the daemon. Stays until it is asked to stop; resumes wherever it was.

use super::session::open;
use super::{Ending, Failure, Shared, print, stop};
use crate::engine::daemon::{self, Ended, Job, JournalRule, Stopper, Voice};
use crate::engine::prepare::Values;
use crate::engine::status::{Board, Status};
use crate::http::{self, HttpState};
use crate::settings::{Journal, Settings};
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub async fn run(shared: &Shared) -> Result<Ending, Failure> {
    let opened = open(shared, Values::Surveyed).await?;
    let job = job(&opened.settings, opened.request.clone());
    let board = Board::new(Status::at_start(&job.request.source), Instant::now());
    let voice = Voice { board, metrics: Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))) };
    let state = HttpState::new(voice.board.clone(), Arc::clone(&voice.metrics), &opened.settings.http);
    let listener = http::spawn(&opened.settings.http, state)?;
    tracing::info!(address = %listener.address(), "listening");
    let (stopper, stopping) = Stopper::new();
    let watched = async {
        stop::asked().await;
        tracing::info!("asked to stop");
        stopper.ask();
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = daemon::run(&job, &voice, stopping) => ended,
        never = watched => never,
    };
    listener.stop();
    opened.close().await?;
    match ended? {
        Ended::Stopped => Ok(Ending::Well),
        Ended::Blocked(findings) => {
            super::output::say(&format!("{}\nnothing was written\n", print::findings(&findings)))?;
            Ok(Ending::Badly)
        }
    }
}

fn job(settings: &Settings, request: crate::engine::prepare::Request) -> Job {
    Job {
        request,
        journal: match settings.source.journal {
            Journal::RequireWal => JournalRule::RequireWal,
            Journal::Any => JournalRule::Any,
        },
        poll: Duration::from_millis(settings.follow.poll_ms.into()),
        batch_max: settings.follow.max_batch,
        retention: Duration::from_secs(60 * u64::from(settings.source.log_retention_minutes)),
        log_rows_warn: settings.source.log_limit,
    }
}
