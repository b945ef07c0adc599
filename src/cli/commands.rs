//! `phase`, `rollback`, `cleanup`, `pause`, `resume`, `reads`: commands given to the running daemon, which alone carries them out. What is
//! refused is told with every closed gate.

use super::client::{Client, HALTED, Taken};
use super::confirm::confirm;
use super::gates::{self, aims};
use super::output::{complain, say};
use super::session::load_settings;
use super::table::cell;
use super::{Ending, Failure, Shared, print};
use crate::model::fault::Fault;
use crate::phase::Phase;
use clap::Args;
use clap::builder::PossibleValuesParser;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Whether somebody waits for what becomes of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    UntilAnswered,
    No,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Given {
    /// Stay until it is done or refused
    #[arg(long)]
    wait: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Refused where the migration is in another phase than this
    #[arg(long, value_name = "PHASE", value_parser = phases(), hide_possible_values = true)]
    expect: Option<String>,
}

/// What commands take that lead to another phase.
#[derive(Debug, Args)]
pub struct Moving {
    #[command(flatten)]
    given: Given,
    /// Only tell what it would meet and do
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Moving {
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether nobody is to be asked.
    pub fn is_confirmed(&self) -> bool {
        self.yes
    }
}

#[derive(Debug, Args)]
pub struct PhaseArgs {
    /// The phase to be led to
    #[arg(value_name = "PHASE", value_parser = aims())]
    to: String,
    #[command(flatten)]
    moving: Moving,
}

#[derive(Debug, Args)]
pub struct ReadsArgs {
    /// Of a hundred keys, how many are to be read in PostgreSQL
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    #[command(flatten)]
    given: Given,
}

impl From<&bool> for Stay {
    fn from(asked: &bool) -> Stay {
        if *asked { Stay::UntilAnswered } else { Stay::No }
    }
}

fn phases() -> PossibleValuesParser {
    PossibleValuesParser::new(Phase::ALL.map(Phase::word))
}

pub async fn phase(shared: &Shared, args: &PhaseArgs) -> Result<Ending, Failure> {
    lead(shared, &args.to, &args.moving).await
}

pub async fn rollback(shared: &Shared, moving: &Moving) -> Result<Ending, Failure> {
    lead(shared, Phase::DualWrite.word(), moving).await
}

pub async fn cleanup(shared: &Shared, moving: &Moving) -> Result<Ending, Failure> {
    lead(shared, Phase::Cleanup.word(), moving).await
}

pub async fn pause(shared: &Shared, given: &Given) -> Result<Ending, Failure> {
    give(shared, &Client::new(&load_settings(shared)?), ("/v1/pause", order(given)), Stay::from(&given.wait))
        .await
}

pub async fn resume(shared: &Shared, given: &Given) -> Result<Ending, Failure> {
    give(shared, &Client::new(&load_settings(shared)?), ("/v1/resume", order(given)), Stay::from(&given.wait))
        .await
}

pub async fn reads(shared: &Shared, args: &ReadsArgs) -> Result<Ending, Failure> {
    let mut order = order(&args.given);
    order["percent"] = json!(args.percent);
    give(shared, &Client::new(&load_settings(shared)?), ("/v1/reads", order), Stay::from(&args.given.wait))
        .await
}

/// What was ordered, followed to its end where somebody waits.
pub async fn give(
    shared: &Shared,
    client: &Client,
    (path, order): (&str, Value),
    stay: Stay,
) -> Result<Ending, Failure> {
    let taken = match client.order(path, &order).await? {
        Taken::Is(taken) => taken,
        Taken::Not(problem) => return refused(shared, &problem),
    };
    let number = taken["order"].as_u64().unwrap_or(0);
    if stay == Stay::No {
        let told = format!("order {number} was taken; `liteferry status` shows what becomes of it\n");
        say(&if shared.json { format!("{taken:#}\n") } else { told })?;
        return Ok(Ending::Well);
    }
    let status = answered(client, number).await?;
    let answer = &status["answer"];
    if shared.json {
        say(&format!("{:#}\n", json!({ "order": number, "answer": answer, "phase": status["phase"] })))?;
    }
    if !answer["refused"].is_null() {
        if !shared.json {
            complain(&format!(
                "liteferry: refused: {}\n",
                print::shown(&cell(&answer["refused"]["sentence"]))
            ));
            complain(&gates::remedy(&answer["refused"]["remedy"]));
        }
        return Ok(Ending::Badly);
    }
    if !shared.json {
        say(&format!("done; the phase is {}\n", print::shown(&cell(&status["phase"]))))?;
    }
    Ok(Ending::Well)
}

async fn lead(shared: &Shared, to: &str, moving: &Moving) -> Result<Ending, Failure> {
    let client = Client::new(&load_settings(shared)?);
    let mut order = order(&moving.given);
    order["to"] = json!(to);
    if moving.dry_run {
        order["dry_run"] = json!(true);
        return gates::tell(shared, &client.post("/v1/phase", &order).await?);
    }
    // Nothing of the application's changes by entering the phase validate.
    if !moving.yes && to != Phase::Validate.word() {
        let outlook = client.get(&format!("/v1/gates?to={to}")).await?;
        // Gates that are not known yet are looked at before the order is obeyed.
        if outlook["open"] != true && outlook["because"]["code"] != gates::UNREAD {
            return gates::tell(shared, &outlook);
        }
        if std::io::stdin().is_terminal() {
            complain(&gates::told(&outlook));
        }
        let command = outlook["command"].as_str().unwrap_or_default();
        confirm(&format!("have the daemon do the {command}")).await?;
    }
    if to == Phase::Cleanup.word() {
        let status = client.get("/v1/status").await?;
        let path = status["source"]["path"].as_str().unwrap_or_default();
        order["confirm"] = json!(Path::new(path).file_name().unwrap_or_default().to_string_lossy());
    }
    give(shared, &client, ("/v1/phase", order), Stay::from(&moving.given.wait)).await
}

fn order(given: &Given) -> Value {
    let mut order = json!({});
    for (name, value) in [("reason", &given.reason), ("expect", &given.expect)] {
        if let Some(value) = value {
            order[name] = json!(value);
        }
    }
    order
}

fn refused(shared: &Shared, problem: &Value) -> Result<Ending, Failure> {
    if shared.json {
        say(&format!("{problem:#}\n"))?;
        return Ok(Ending::Badly);
    }
    let said = |name: &str| print::shown(&cell(&problem[name]));
    complain(&format!("liteferry: refused: {} [{}]\n", said("detail"), said("code")));
    let closed = gates::rows(&problem["gates"]);
    // The table says of each gate what to do.
    complain(&if closed.is_empty() { gates::remedy(&problem["remedy"]) } else { format!("\n{closed}") });
    Ok(Ending::Badly)
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Waits until the daemon has answered the order, as long as it still can.
async fn answered(client: &Client, order: u64) -> Result<Value, Fault> {
    let seen = std::io::stderr().is_terminal();
    let bar = if seen { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let (began, mut told, mut uptime) = (Instant::now(), Instant::now(), 0);
    loop {
        let status = client.get("/v1/status").await?;
        let answered = status["answer"]["order"].as_u64().unwrap_or(0);
        if answered > order {
            bar.finish_and_clear();
            return Err(Fault::fatal("order_overtaken", format!("see what became of order {order}"))
                .with_remedy("a later order was answered since: `liteferry journal` tells of both"));
        }
        if answered == order {
            bar.finish_and_clear();
            return Ok(status);
        }
        let now = status["uptime_seconds"].as_u64().unwrap_or(0);
        if now < uptime {
            bar.finish_and_clear();
            return Err(Fault::fatal("daemon_restarted", format!("see what became of order {order}"))
                .with_remedy(
                    "the daemon was started anew: `liteferry status` and `liteferry journal` tell",
                ));
        }
        uptime = now;
        if status["run"]["state"] == HALTED {
            bar.finish_and_clear();
            let said = |name: &str| status["run"]["reason"][name].as_str().unwrap_or_default().to_owned();
            return Err(Fault::fatal("daemon_halted", format!("see what became of order {order}"))
                .with_source(format!("{} [{}]", said("sentence"), said("code")))
                .with_remedy(said("remedy")));
        }
        let line = print::shown(&progress(&status, began.elapsed()));
        bar.set_message(line.clone());
        bar.tick();
        if !seen && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            complain(&format!("order {order}: {line}\n"));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn progress(status: &Value, waited: Duration) -> String {
    let lag = status["lag"]["seconds"].as_f64().unwrap_or(0.0);
    let crossing = match status["machine"]["crossing"].as_str() {
        Some(crossing) => format!(", {crossing} under way"),
        None => String::new(),
    };
    let (phase, state) = (cell(&status["phase"]), cell(&status["run"]["state"]));
    format!("phase {phase}{crossing}, {state}, lag {lag:.1} s, {} s", waited.as_secs())
}
