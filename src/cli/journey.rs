//! The demo's third part: the writes move to PostgreSQL, back, and over again, while an application goes on writing; at the end every
//! write that it was told is done must be in the database that it ended with.

use super::output::say;
use super::rehearsal::{PATIENCE, expect, rehearsal_failed, until};
use super::till::{Places, Receipts, Till};
use super::{Failure, print};
use crate::engine::order::{Actor, Entries, Order, Ordered, Settle};
use crate::engine::prepare::Request;
use crate::engine::reason::Reason;
use crate::engine::standing::Writes;
use crate::engine::status::Board;
use crate::phase::Phase;
use crate::phase::machine::Command;
use crate::postgres::connect::connect;
use crate::postgres::fault;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The daemon, as an operator reaches it.
pub struct Helm<'a> {
    pub board: &'a Board,
    pub orders: &'a mpsc::Sender<Ordered>,
    /// Of the newest order, whoever gave it.
    pub number: &'a AtomicU64,
}

/// The till writes for so long on each side.
const STAY: Duration = Duration::from_millis(1_500);
const AGAIN: Duration = Duration::from_secs(1);

pub async fn travel(helm: &Helm<'_>, request: &Request, daemon: SocketAddr) -> Result<(), Failure> {
    let till = Till::open(Places {
        daemon,
        sqlite: request.source.clone(),
        postgres: Arc::clone(&request.address),
        schema: request.schema.clone(),
    });
    helm.persuade(Order::Ledger(Entries::All, Settle::Accept)).await?;
    until("the till writes", || till.written() > 0).await?;
    helm.lead(Command::Validate).await?;
    helm.lead(Command::Switch).await?;
    helm.tell_pause("PostgreSQL takes the writes")?;
    stay(&till).await?;
    helm.lead(Command::Rollback).await?;
    helm.tell_pause("SQLite takes the writes again")?;
    stay(&till).await?;
    helm.lead(Command::Validate).await?;
    helm.lead(Command::Switch).await?;
    helm.tell_pause("PostgreSQL takes the writes")?;
    stay(&till).await?;
    let receipts = till.close().await?;
    prove(&receipts, request).await?;
    helm.lead(Command::Cleanup).await?;
    until("the migration has ended", || helm.phase() == Phase::Done).await?;
    say("   cleanup: SQLite is archived beside the database, and nothing of liteferry is left in it\n")?;
    Ok(())
}

/// The till writes for a while, and is told of some of it at least.
async fn stay(till: &Till) -> Result<(), Failure> {
    let before = till.written();
    tokio::time::sleep(STAY).await;
    until("the till writes", || till.written() > before + 1).await
}

impl Helm<'_> {
    fn phase(&self) -> Phase {
        self.board.look(Instant::now()).status.machine.phase
    }

    /// Gives a command, and waits until it is done.
    async fn lead(&self, command: Command) -> Result<(), Failure> {
        say(&format!("   liteferry {}\n", words(command)))?;
        self.persuade(Order::Phase(command)).await?;
        match command {
            // A verdict and a look at the constraints open the switch's gates.
            Command::Validate => {
                until("the gates of the switch open", || {
                    let gates = self.board.look(Instant::now()).status.standing.gates;
                    gates.iter().any(|(to, gates)| *to == Command::Switch && gates.iter().all(|gate| gate.ok))
                })
                .await
            }
            Command::Switch => self.arrive(Writes::Postgres).await,
            Command::Rollback => self.arrive(Writes::Sqlite).await,
            Command::Cleanup | Command::Pause | Command::Resume | Command::Reads(_) => Ok(()),
        }
    }

    async fn arrive(&self, writes: Writes) -> Result<(), Failure> {
        until("the application is told where it writes", || {
            let routing = self.board.look(Instant::now()).status.standing.routing;
            routing.is_some_and(|routing| routing.writes == writes)
        })
        .await
    }

    /// What passes by itself may close a gate for a moment, or come between: the order is given again, as a person would.
    async fn persuade(&self, order: Order) -> Result<(), Failure> {
        let began = Instant::now();
        while let Some(reason) = self.give(order).await? {
            if began.elapsed() > PATIENCE {
                let failed = rehearsal_failed("the order is obeyed");
                return Err(failed.with_remedy(reason.sentence).into());
            }
            say(&format!("   not yet: {}\n", print::shown(&reason.sentence)))?;
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    /// Gives why it was refused, if it was.
    async fn give(&self, order: Order) -> Result<Option<Reason>, Failure> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        self.orders
            .try_send(Ordered::new(order, Actor::new(None, "the demo"), number))
            .map_err(|_| rehearsal_failed("the daemon takes orders"))?;
        let answer = || self.board.look(Instant::now()).status.standing.answers.into_iter().next();
        until("the order is answered", || answer().is_some_and(|answer| answer.number >= number)).await?;
        Ok(answer().and_then(|answer| answer.refused))
    }

    fn tell_pause(&self, what: &str) -> Result<(), Failure> {
        let pause = self.board.look(Instant::now()).status.standing.pause_measured.unwrap_or_default();
        Ok(say(&format!("   {what}; writers waited {} ms\n", pause.as_millis()))?)
    }
}

fn words(command: Command) -> &'static str {
    match command {
        Command::Validate => "phase validate",
        Command::Switch => "phase switch",
        Command::Rollback => "rollback",
        Command::Cleanup => "cleanup",
        Command::Pause => "pause",
        Command::Resume => "resume",
        Command::Reads(_) => "reads",
    }
}

/// Every receipt that was acknowledged, once and in the right place.
async fn prove(receipts: &Receipts, request: &Request) -> Result<(), Failure> {
    let session = connect(&request.address).await?;
    let table = crate::model::name::PgName::new(&request.schema, "notes").sql();
    let sql = format!("select substr(body, 9)::bigint from {table} where body like 'receipt %' order by 1");
    let rows = session.query(&sql, &[]).await.map_err(|error| fault::of(error, "read the receipts"))?;
    let held: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let mut acknowledged: Vec<i64> =
        receipts.in_sqlite.iter().chain(&receipts.in_postgres).copied().collect();
    acknowledged.sort_unstable();
    say(&format!(
        "   the till was told of {} receipts in SQLite and {} in PostgreSQL, and tried {} again; PostgreSQL holds {}\n",
        receipts.in_sqlite.len(),
        receipts.in_postgres.len(),
        receipts.tried_again,
        held.len()
    ))?;
    expect(
        "the till wrote on both sides",
        !receipts.in_sqlite.is_empty() && !receipts.in_postgres.is_empty(),
    )?;
    let lost = acknowledged.iter().filter(|number| held.binary_search(number).is_err()).count();
    expect("no acknowledged write is lost", lost == 0)?;
    expect("no write is there twice", held.windows(2).all(|pair| pair[0] != pair[1]))?;
    Ok(())
}
