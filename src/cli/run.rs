//! `run`: the daemon. Stays until it is asked to stop; resumes wherever it was.

use super::session::open;
use super::{Ending, Failure, Shared, print, stop};
use crate::engine::daemon::{self, Ended, Job, JournalRule, ORDERS_MAX, Start, Stopper, Timetable, Voice};
use crate::engine::prepare::{Request, Values};
use crate::engine::status::{Board, Status};
use crate::http::{self, HttpState};
use crate::settings::{Journal, Settings};
use crate::telemetry::metrics::Metrics;
use clap::Args;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Begin a new history: compare both sides and carry over what differs, as after a restored backup
    #[arg(long)]
    resync: bool,
}

pub async fn run(shared: &Shared, args: &RunArgs) -> Result<Ending, Failure> {
    let opened = open(shared, Values::Surveyed).await?;
    let start = if args.resync { Start::Resync } else { Start::GoOn };
    let job = job(&opened.settings, opened.request.clone(), start);
    let board = Board::new(Status::at_start(&job.request.source), Instant::now());
    let voice = Voice::new(board, Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))));
    let state =
        HttpState { board: voice.board.clone(), metrics: Arc::clone(&voice.metrics), lag_max: READY_LAG_MAX };
    let listener = http::spawn(&opened.settings.http, state)?;
    tracing::info!(address = %listener.at(), "listening");
    let (stopper, stopping) = Stopper::new();
    let (_orders, waiting) = mpsc::channel(ORDERS_MAX);
    let watched = async {
        stop::asked().await;
        tracing::info!("asked to stop");
        stopper.ask();
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = daemon::run(&job, &voice, waiting, stopping) => ended,
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

/// Replication that is further behind than this is not ready.
const READY_LAG_MAX: Duration = Duration::from_secs(5);

fn job(settings: &Settings, request: Request, start: Start) -> Job {
    Job {
        request,
        start,
        journal: match settings.source.journal {
            Journal::RequireWal => JournalRule::RequireWal,
            Journal::Any => JournalRule::Any,
        },
        poll: Duration::from_millis(settings.follow.poll_ms.into()),
        batch_max: settings.follow.max_batch,
        retention: settings.source.log_retention,
        log_rows_warn: settings.source.log_limit,
        validation: Timetable {
            every: settings.validate.on.then_some(settings.validate.every),
            pair_age_max: Duration::from_millis(settings.validate.pair_max_ms.into()),
            listed_max: usize::try_from(settings.validate.rows_listed_max).expect("32 bits fit"),
        },
    }
}
