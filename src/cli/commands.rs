//! `phase`, `rollback`, `cleanup`, `pause`, `resume`, `reads`: commands given to the running daemon, which alone carries them out. What is
//! refused is told with every closed gate.

use super::client::{Client, HALTED, Taken, for_the_reason};
use super::confirm::confirm;
use super::copy::ReportFile;
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
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Whether somebody waits for what becomes of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    UntilAnswered,
    /// What comes next is not refused because nobody has looked at its gates yet.
    UntilKnown,
    /// A cleanup is answered as it begins.
    UntilDone,
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
pub struct CleanupArgs {
    #[command(flatten)]
    moving: Moving,
    /// Stay until it is done, and write the final report as JSON into FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
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
    let stay = match (args.moving.given.wait, args.to == Phase::Cleanup.word()) {
        (true, true) => Stay::UntilDone,
        (true, false) => Stay::UntilKnown,
        (false, _) => Stay::No,
    };
    lead(shared, &args.to, &args.moving, stay).await
}

pub async fn rollback(shared: &Shared, moving: &Moving) -> Result<Ending, Failure> {
    lead(shared, Phase::DualWrite.word(), moving, Stay::from(&moving.given.wait)).await
}

pub async fn cleanup(shared: &Shared, args: &CleanupArgs) -> Result<Ending, Failure> {
    let CleanupArgs { moving, report } = args;
    let report = report.as_deref().filter(|_| !moving.dry_run).map(ReportFile::create).transpose()?;
    let stay = if moving.given.wait || report.is_some() { Stay::UntilDone } else { Stay::No };
    let ending = lead(shared, Phase::Cleanup.word(), moving, stay).await?;
    match (ending, report) {
        (Ending::Well, Some(file)) => {
            let found = Client::new(&load_settings(shared)?).get("/v1/validation").await?;
            file.write(&found["report"])?;
        }
        (Ending::Well | Ending::Badly, _) => {}
    }
    Ok(ending)
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
    let (answer, mut status) = answered(client, (number, &taken["process"])).await?;
    if answer["refused"].is_null() {
        status = match stay {
            Stay::UntilDone => done(client, number).await?,
            Stay::UntilKnown => known(client, number, status).await?,
            Stay::UntilAnswered | Stay::No => status,
        };
    }
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

async fn lead(shared: &Shared, to: &str, moving: &Moving, stay: Stay) -> Result<Ending, Failure> {
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
    give(shared, &client, ("/v1/phase", order), stay).await
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

/// A comparison, or a look for rows that break a constraint, may take longer, and some looks fail again and again.
const LOOKS_MAX: Duration = Duration::from_mins(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Waits until the daemon has answered the order, as long as it still can; gives the answer, and the status that it stood in.
async fn answered(client: &Client, (order, process): (u64, &Value)) -> Result<(Value, Value), Fault> {
    let mut waiting = Waiting::new(order);
    loop {
        let status = client.get("/v1/status").await?;
        // Its orders are counted anew, and it knows nothing of ours.
        if status["process"] != *process {
            return Err(Fault::fatal("daemon_restarted", format!("see what became of order {order}"))
                .with_remedy(
                    "the daemon was started anew: `liteferry status` and `liteferry journal` tell",
                ));
        }
        let mut answers = status["answers"].as_array().into_iter().flatten();
        if let Some(answer) = answers.find(|answer| answer["order"] == order).cloned() {
            return Ok((answer, status));
        }
        if status["answer"]["order"].as_u64().unwrap_or(0) > order {
            return Err(Fault::fatal("order_overtaken", format!("see what became of order {order}"))
                .with_remedy("many later orders were answered since: `liteferry journal` tells of all"));
        }
        waiting.go_on(&status).await?;
    }
}

/// Waits until the migration has ended. It goes on by itself in a daemon that is started anew.
async fn done(client: &Client, order: u64) -> Result<Value, Fault> {
    let mut waiting = Waiting::new(order);
    loop {
        let status = client.get("/v1/status").await?;
        if status["phase"] == Phase::Done.word() {
            return Ok(status);
        }
        waiting.go_on(&status).await?;
    }
}

/// Waits until every gate of what comes next has a reading, for as long as somebody looks; gives the status as it is then.
async fn known(client: &Client, order: u64, status: Value) -> Result<Value, Fault> {
    let (mut waiting, mut status) = (Waiting::new(order), status);
    let phase = status["phase"].clone();
    loop {
        let outlook = client.get("/v1/gates").await?;
        waiting.unknown = gates::unknown(&outlook);
        if waiting.unknown.is_empty() || status["phase"] != phase {
            return Ok(status);
        }
        if waiting.began.elapsed() >= LOOKS_MAX {
            let unknown = waiting.unknown.join(", ");
            complain(&format!(
                "liteferry: not known yet: {unknown}; `liteferry gates` shows what becomes of it\n"
            ));
            return Ok(status);
        }
        waiting.go_on(&status).await?;
        status = client.get("/v1/status").await?;
    }
}

/// What is seen of a daemon at work, by whoever waits for it.
struct Waiting {
    order: u64,
    began: Instant,
    told: Instant,
    /// Gates that have no reading yet, where somebody waits for that.
    unknown: Vec<String>,
    /// Nothing where nobody looks.
    bar: ProgressBar,
}

impl Waiting {
    fn new(order: u64) -> Waiting {
        let seen = std::io::stderr().is_terminal();
        let bar = if seen { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Waiting { order, began: Instant::now(), told: Instant::now(), unknown: Vec::new(), bar }
    }

    /// Waits a moment for a daemon that can still come to an end.
    async fn go_on(&mut self, status: &Value) -> Result<(), Fault> {
        let order = self.order;
        if status["run"]["state"] == HALTED {
            let halted = Fault::fatal("daemon_halted", format!("see what became of order {order}"));
            return Err(for_the_reason(halted, &status["run"]["reason"]));
        }
        let line = print::shown(&progress(status, &self.unknown, self.began.elapsed()));
        self.bar.set_message(line.clone());
        self.bar.tick();
        if self.bar.is_hidden() && self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            complain(&format!("order {order}: {line}\n"));
        }
        sleep(LOOK_EVERY).await;
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn progress(status: &Value, unknown: &[String], waited: Duration) -> String {
    let lag = match status["lag"]["seconds"].as_f64() {
        Some(seconds) => format!(", lag {seconds:.1} s"),
        None => String::new(),
    };
    let crossing = match status["machine"]["crossing"].as_str() {
        Some(crossing) => format!(", {crossing} under way"),
        None => String::new(),
    };
    let gates = match unknown {
        [] => String::new(),
        unknown => format!(", not known yet: {}", unknown.join(", ")),
    };
    let (phase, state) = (status["phase"].as_str().unwrap_or("not known yet"), cell(&status["run"]["state"]));
    format!("phase {phase}{crossing}, {state}{lag}{gates}, {} s", waited.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_hears_for_which_gates() {
        let status = json!({"phase": "validate", "run": {"state": "running"}, "lag": {"seconds": 0.25}});
        let waited = Duration::from_secs(15);
        assert_eq!(progress(&status, &[], waited), "phase validate, running, lag 0.2 s, 15 s");
        let unknown = ["reverse_canary".to_owned(), "pause".to_owned()];
        assert_eq!(
            progress(&status, &unknown, waited),
            "phase validate, running, lag 0.2 s, not known yet: reverse_canary, pause, 15 s"
        );
    }
}
