//! `run`: the daemon. Stays until it is asked to stop; resumes wherever it was.

use super::allowance;
use super::client::Client;
use super::copy::tell_blocked;
use super::notify::Notifier;
use super::reload::obey_hangups;
use super::session::open;
use super::stop::{self, LastResort, Listening};
use super::{Ending, Failure, Shared};
use crate::engine::daemon::{self, Ended, Job, JournalRule, Start, Stopper, SwitchRules, Timetable, Voice};
use crate::engine::order::ORDERS_MAX;
use crate::engine::prepare::{Request, Values};
use crate::engine::records::Records;
use crate::engine::status::{Board, Status};
use crate::http::{self, HttpState};
use crate::model::fault::Fault;
use crate::settings::{BrokenKeys, Journal, Settings};
use crate::sqlite::connect::past_links;
use crate::telemetry::metrics::Metrics;
use clap::Args;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Begin a new history: compare both sides and carry over what differs, as after a restored backup
    #[arg(long)]
    resync: bool,
}

pub async fn run(shared: &Shared, args: &RunArgs) -> Result<Ending, Failure> {
    allowance::look(allowance::OF_DAEMON)?;
    let (mut listening, hangups) = (Listening::begin(), stop::hangups());
    let last_resort = LastResort::arm(STOP_TIME_MAX).expect("the system gives us a thread");
    let opened = tokio::select! {
        opened = open(shared, Values::Surveyed) => opened?,
        _ = listening.asked() => {
            last_resort.stand_down();
            return Ok(Ending::Well);
        }
    };
    let start = if args.resync { Start::Resync } else { Start::GoOn };
    let job = job(&opened.settings, opened.request.clone(), start);
    let voice = Voice::new(board(&job.request), Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))));
    let (orders, waiting) = mpsc::channel(ORDERS_MAX);
    let state = HttpState {
        board: voice.board.clone(),
        metrics: Arc::clone(&voice.metrics),
        lag_max: READY_LAG_MAX,
        records: Arc::new(Records::new(Arc::clone(&job.request.address), job.request.schema.clone())),
        orders,
        number: Arc::new(AtomicU64::new(0)),
    };
    make_state_dir(&opened.settings)?;
    let listener = match http::spawn(&opened.settings.http, state) {
        Err(fault) => return Err(whose_address(&opened.settings, fault).await),
        listening => listening?,
    };
    tracing::info!(address = %listener.at(), "listening");
    let notifier = Notifier::of_this_process();
    notifier.ready();
    let (stopper, stopping) = Stopper::new();
    let watched = async {
        listening.asked().await;
        tracing::info!("asked to stop");
        notifier.stopping();
        stopper.ask();
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = daemon::run(&job, &voice, waiting, stopping) => ended,
        never = watched => never,
        never = notifier.tell(&voice.board) => match never {},
        never = obey_hangups(hangups, (shared, &opened.logging)) => match never {},
    };
    last_resort.stand_down();
    listener.stop();
    opened.close().await?;
    match ended? {
        Ended::Stopped => Ok(Ending::Well),
        Ended::Blocked(findings) => {
            tell_blocked(shared, &findings)?;
            Ok(Ending::Badly)
        }
    }
}

/// The address may be taken because the same daemon runs already, and whoever starts us is not to try again.
async fn whose_address(settings: &Settings, fault: Fault) -> Failure {
    if !matches!(Client::is_taken(settings).await, Ok(true)) {
        return fault.into();
    }
    let fault = Fault::fatal("another_owner", fault.doing)
        .with_remedy("a daemon that follows the same source into the same target answers there: `liteferry status` asks it");
    fault.into()
}

/// Shows what is worked on, so that clients know whether it is theirs.
fn board(request: &Request) -> Board {
    let source = past_links(&request.source);
    let mut status = Status::at_start(&source);
    status.target.address = request.address.describe();
    status.target.schema = request.schema.clone();
    Board::new(status, Instant::now())
}

/// The token is kept there, where no other place is named for it. Nothing else is: a container may have no such place.
fn make_state_dir(settings: &Settings) -> Result<(), Fault> {
    let dir = &settings.state.dir;
    if !settings.http.token_file.starts_with(dir) {
        return Ok(());
    }
    std::fs::create_dir_all(dir).map_err(|error| {
        Fault::fatal("state_dir_unusable", format!("make directory {}", dir.display()))
            .with_remedy("state.dir names a directory that liteferry's user may make or write to")
            .with_source(error)
    })
}

/// A batch that does not end by itself is dropped after four seconds.
const STOP_TIME_MAX: Duration = Duration::from_secs(7);

/// Replication that is further behind than this is not ready.
const READY_LAG_MAX: Duration = Duration::from_secs(5);

pub(super) fn journal_rule(settings: &Settings) -> JournalRule {
    match settings.source.journal {
        Journal::RequireWal => JournalRule::RequireWal,
        Journal::Any => JournalRule::Any,
    }
}

fn job(settings: &Settings, request: Request, start: Start) -> Job {
    Job {
        request,
        start,
        journal: journal_rule(settings),
        poll: Duration::from_millis(settings.follow.poll_ms.into()),
        batch_max: settings.follow.max_batch,
        switch: switch_rules(settings),
        retention: settings.source.log_retention,
        log_rows_warn: settings.source.log_limit,
        validation: Timetable {
            every: settings.validate.on.then_some(settings.validate.every),
            pair_age_max: Duration::from_millis(settings.validate.pair_max_ms.into()),
            listed_max: usize::try_from(settings.validate.rows_listed_max).expect("32 bits fit"),
        },
    }
}

fn switch_rules(settings: &Settings) -> SwitchRules {
    let switch = &settings.switch;
    let millis = |count: u32| Duration::from_millis(count.into());
    SwitchRules {
        pause_budget: millis(switch.pause_budget_ms),
        deadline: millis(switch.deadline_ms),
        lag_max: millis(switch.max_lag_ms),
        validation_age_max: switch.validation_max_age,
        application_busy_timeout: millis(switch.busy_timeout_ms),
        keys_may_be_broken: switch.broken_keys == BrokenKeys::NotValid,
        hooks: settings.hooks.clone(),
        archive: settings.cleanup.archive.clone(),
    }
}
