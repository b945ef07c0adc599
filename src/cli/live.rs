//! The demo's second half: a shop that goes on writing, and the daemon that follows it.

use super::journey::{Helm, travel};
use super::output::say;
use super::rehearsal::{expect, rehearsal_failed, until};
use super::{Failure, print, till};
use crate::engine::daemon::{self, Ended, Job, JournalRule, Start, Stopper, SwitchRules, Timetable, Voice};
use crate::engine::order::{Actor, ORDERS_MAX, Order, Ordered, Repair};
use crate::engine::prepare::Request;
use crate::engine::records::Records;
use crate::engine::report::Verdict;
use crate::engine::status::{Board, Status, Validated};
use crate::http::{self, HttpState};
use crate::phase::{Phase, RunState};
use crate::settings::{Hooks, Http};
use crate::sqlite::sample::Shop;
use crate::telemetry::metrics::Metrics;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Whether somebody looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Person,
    Nobody,
}

pub async fn show(request: &Request, audience: Audience) -> Result<(), Failure> {
    let request = Request { schema: "live".into(), ..request.clone() };
    let board = Board::new(Status::at_start(&request.source), Instant::now());
    let voice = Voice::new(board.clone(), Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))));
    let listen = Http {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        token_file: request.source.with_file_name("token"),
        allowed_hosts: Vec::new(),
    };
    let (orders, waiting) = mpsc::channel(ORDERS_MAX);
    let number = Arc::new(AtomicU64::new(1));
    let state = HttpState {
        board: board.clone(),
        metrics: Arc::clone(&voice.metrics),
        lag_max: Duration::from_secs(5),
        records: Arc::new(Records::new(Arc::clone(&request.address), request.schema.clone())),
        orders: orders.clone(),
        number: Arc::clone(&number),
    };
    let listener = http::spawn(&listen, state)?;
    let shop = Shop::open(&request.source);
    let (stopper, stopping) = Stopper::new();
    let job = job(request.clone());
    let script = async {
        until("the daemon follows the shop", || {
            board.look(Instant::now()).status.machine.phase == Phase::DualWrite
        })
        .await?;
        say(&format!("   following; its page is at http://{}/\n", listener.at()))?;
        match audience {
            Audience::Person => watch(&board, &shop).await?,
            Audience::Nobody => tokio::time::sleep(Duration::from_secs(3)).await,
        }
        until("the shop writes", || shop.transactions() > 0).await?;
        let written = shop.close()?;
        prove(&board, &orders, written).await?;
        say("\n   the writes move to PostgreSQL, back, and over again, while a till goes on writing:\n")?;
        let helm = Helm { board: &board, orders: &orders, number: &number };
        travel(&helm, &request, listener.at()).await?;
        stopper.ask();
        std::future::pending::<Result<(), Failure>>().await
    };
    let ended = tokio::select! {
        ended = daemon::run(&job, &voice, waiting, stopping) => ended?,
        failed = script => return failed,
    };
    listener.stop();
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Blocked(findings) => {
            say(&print::findings(&findings))?;
            Err(rehearsal_failed("the live plan has no blockers").into())
        }
    }
}

fn job(request: Request) -> Job {
    Job {
        request,
        journal: JournalRule::RequireWal,
        poll: Duration::from_millis(100),
        batch_max: 50_000,
        retention: Duration::from_secs(3_600),
        log_rows_warn: 1_000_000,
        validation: Timetable { every: None, pair_age_max: Duration::from_secs(5), listed_max: 20 },
        switch: SwitchRules {
            // Wider than the defaults: the machine may be a busy one, and what the pause really was is told.
            pause_budget: DEADLINE,
            deadline: DEADLINE,
            lag_max: Duration::from_secs(10),
            validation_age_max: Duration::from_secs(24 * 3_600),
            application_busy_timeout: till::BUSY_TIMEOUT,
            keys_may_be_broken: false,
            hooks: Hooks::none(),
            archive: None,
        },
        start: Start::GoOn,
    }
}

/// Shows how the two keep step, until somebody has seen enough.
async fn watch(board: &Board, shop: &Shop) -> Result<(), Failure> {
    say("   the shop writes, PostgreSQL follows; press Enter to end\n")?;
    let mut enough = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    loop {
        tokio::select! {
            _ = &mut enough => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let view = board.look(Instant::now());
        let applied = view.status.target.position.map_or(0, |at| at.seq);
        say(&format!(
            "   shop: {} transactions, PostgreSQL: change {applied}, lag {:.3} s\n",
            shop.transactions(),
            view.lag().unwrap_or_default().as_secs_f64()
        ))?;
    }
}

/// Waits until all is applied, and has both sides compared.
async fn prove(board: &Board, orders: &mpsc::Sender<Ordered>, written: u64) -> Result<(), Failure> {
    expect("the shop wrote while it was followed", written > 0)?;
    until("every change is applied", || {
        let status = board.look(Instant::now()).status;
        let applied = status.target.position.map(|at| at.seq);
        status.run.state == RunState::Running && applied.is_some() && applied == status.source.seq
    })
    .await?;
    orders
        .try_send(Ordered::new(Order::Validate(Repair::LeaveAsIs), Actor::new(None, "the demo"), 1))
        .map_err(|_| rehearsal_failed("the daemon takes orders"))?;
    let verdict = || board.look(Instant::now()).status.validation.last;
    until("both sides are compared", || verdict().is_some()).await?;
    let Some(Validated { verdict, differences, .. }) = verdict() else {
        return Err(rehearsal_failed("both sides are compared").into());
    };
    say(&format!("   {written} transactions of the shop followed; both sides: {}\n", verdict.words()))?;
    expect("nothing differs after following", verdict != Verdict::Differs && differences == 0)?;
    Ok(())
}

/// Below the till's own wait.
const DEADLINE: Duration = Duration::from_secs(4);
