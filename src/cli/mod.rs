//! The command line. Layer 6. One file a command; exit codes as the documentation promises.

mod allowance;
mod check;
mod client;
mod commands;
mod config;
mod confirm;
mod copy;
mod demo;
mod detach;
mod gates;
mod journal;
mod journey;
mod ledger;
mod live;
mod mistyped;
mod notify;
mod output;
mod print;
mod progress;
mod rehearsal;
mod reload;
mod rollback;
mod run;
mod session;
mod shell;
mod status;
mod stop;
mod table;
mod till;
mod validate;

use crate::model::fault::Fault;
use crate::settings::Problem;
use clap::{Args, Parser, Subcommand};
use output::complain;
use std::path::PathBuf;
use std::process::ExitCode;
use stop::{Listening, Stop};
use tokio::runtime::{Builder, Runtime};

#[derive(Debug, Parser)]
#[command(name = "liteferry", version, about, propagate_version = true, after_help = BEGIN_WITH)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

const EVERYWHERE: &str = "Options of every command";

const BEGIN_WITH: &str = "\
Begin with `liteferry demo`, which needs no database, or with
  liteferry check --source app.db --target postgres://me@host/app
which writes nothing. Exit codes: 0 done, or equal; 1 refused, or different; 2 wrong usage;
3 another daemon has the migration; 78 wrong settings.";

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Shared {
    /// Settings file (TOML)
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The SQLite database
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH")]
    source: Option<PathBuf>,
    /// The PostgreSQL database, or `embedded` for a private server
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "URL")]
    target: Option<String>,
    /// One setting, for example --set target.mode=existing
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// One JSON document on standard output
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at both sides and print the plan, findings and blockers; writes nothing
    Check(check::CheckArgs),
    /// Copy everything in one go and prove it; for those who can stop writing
    Copy(copy::CopyArgs),
    /// Compare every row of both sides
    Validate(validate::ValidateArgs),
    /// See it work: a sample shop that keeps writing, a private PostgreSQL, a proven copy, then the daemon and its page
    Demo(demo::DemoArgs),
    /// Follow the source: backfill it, then carry every change over; stays until it is asked to stop
    Run(run::RunArgs),
    /// Ask the running daemon what is so at this moment
    Status,
    /// Ask the running daemon what an order to change the phase would meet
    Gates(gates::GatesArgs),
    /// Lead the migration to another phase: validate, switch, dual-write (the way back), cleanup
    Phase(commands::PhaseArgs),
    /// Stop carrying changes over, until it is resumed
    Pause(commands::Given),
    /// Go on carrying changes over
    Resume(commands::Given),
    /// Move reads to PostgreSQL, by percentage
    Reads(commands::ReadsArgs),
    /// Go back to SQLite
    Rollback(rollback::RollbackArgs),
    /// End the migration: archive SQLite and take liteferry out of both databases
    Cleanup(commands::CleanupArgs),
    /// Ask the running daemon what was done to the migration, the newest last
    Journal(journal::JournalArgs),
    /// Ask the running daemon which cells the target does not give back as they were, or settle one of them
    Ledger(ledger::LedgerArgs),
    /// Take liteferry's triggers and tables out of the SQLite database
    Detach(detach::DetachArgs),
    /// The settings in force
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print what makes a shell complete liteferry's commands
    Completions(shell::CompletionsArgs),
    /// Print the manual page, for `man -l -`
    Man(shell::ManArgs),
}

/// How a command ended, other than by a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Well,
    /// Blockers, differences, a refusal: said already.
    Badly,
}

/// Why a command did not end at all.
#[derive(Debug)]
pub enum Failure {
    Fault(Fault),
    Settings(Vec<Problem>),
    Stopped(Stop),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

const EXIT_BADLY: u8 = 1;
const EXIT_ANOTHER_OWNER: u8 = 3;
const EXIT_SETTINGS: u8 = 78;

pub fn run() -> ExitCode {
    if let Err(fault) = allowance::look(allowance::OF_COMMAND) {
        complain(&format!("{}\n", print::fault(&fault)));
        return ExitCode::from(EXIT_BADLY);
    }
    // Before anything that takes time: until somebody listens a signal ends the process as if it had failed.
    let single = single_threaded();
    let mut listening = {
        let _within = single.enter();
        Listening::begin()
    };
    let mut cli = Cli::try_parse().unwrap_or_else(|error| mistyped::advised(error).exit());
    cli.shared.set = sets(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()));
    let runtime = runtime_for(&cli.command, single);
    let done = runtime.block_on(async {
        match &cli.command {
            // The daemon has transactions to finish first, and listens for its stop itself. Nothing was waited for since the process
            // began, so that it is told of a signal that has come already.
            Command::Run(_) => dispatch(&cli).await,
            _ => tokio::select! {
                done = dispatch(&cli) => done,
                stop = listening.asked() => Err(Failure::Stopped(stop)),
            },
        }
    });
    // A reader in the middle of a chunk must not keep an interrupted command waiting.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match done {
        Ok(Ending::Well) => ExitCode::SUCCESS,
        Ok(Ending::Badly) => ExitCode::from(EXIT_BADLY),
        Err(Failure::Fault(fault)) => {
            complain(&format!("{}\n", print::fault(&fault)));
            let fenced = matches!(cli.command, Command::Run(_)) && fault.code == "another_owner";
            ExitCode::from(if fenced { EXIT_ANOTHER_OWNER } else { EXIT_BADLY })
        }
        Err(Failure::Settings(problems)) => {
            for problem in problems {
                let Problem { key, text, origin } = problem;
                complain(&format!("liteferry: setting {key}: {text} ({origin})\n"));
            }
            ExitCode::from(EXIT_SETTINGS)
        }
        // It is how one leaves it.
        Err(Failure::Stopped(Stop::CtrlC)) if matches!(cli.command, Command::Demo(_)) => {
            complain("the demo is over; nothing of it is left\n");
            ExitCode::SUCCESS
        }
        Err(Failure::Stopped(stop)) => {
            complain("liteferry: interrupted; run the same command again to go on where it stopped\n");
            ExitCode::from(stop.exit_code())
        }
    }
}

/// Every `--set`, before the command and behind it: the parser keeps those behind it alone where there are some.
fn sets(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut arguments = arguments.take_while(|argument| argument != "--");
    let mut sets = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--set") {
            Some("") => sets.extend(arguments.next()),
            Some(rest) => sets.extend(rest.strip_prefix('=').map(str::to_owned)),
            None => {}
        }
    }
    sets
}

/// The daemon answers to single commits: on one thread no step of a batch waits for another thread to wake up.
fn runtime_for(command: &Command, single: Runtime) -> Runtime {
    match command {
        Command::Run(_) => single,
        _ => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(WORKER_THREADS).enable_all().build().expect("the system gives us threads")
        }
    }
}

fn single_threaded() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system gives us file descriptors")
}

const WORKER_THREADS: usize = 2;

async fn dispatch(cli: &Cli) -> Result<Ending, Failure> {
    match &cli.command {
        Command::Check(args) => check::check(&cli.shared, args).await,
        Command::Copy(args) => Box::pin(copy::copy(&cli.shared, args)).await,
        Command::Validate(args) => Box::pin(validate::validate(&cli.shared, args)).await,
        Command::Demo(args) => demo::demo(&cli.shared, args).await,
        Command::Run(args) => Box::pin(run::run(&cli.shared, args)).await,
        Command::Status => status::status(&cli.shared).await,
        Command::Gates(args) => gates::gates(&cli.shared, args).await,
        Command::Phase(args) => commands::phase(&cli.shared, args).await,
        Command::Pause(given) => commands::pause(&cli.shared, given).await,
        Command::Resume(given) => commands::resume(&cli.shared, given).await,
        Command::Reads(args) => commands::reads(&cli.shared, args).await,
        Command::Rollback(args) => rollback::rollback(&cli.shared, args).await,
        Command::Cleanup(args) => commands::cleanup(&cli.shared, args).await,
        Command::Journal(args) => journal::journal(&cli.shared, args).await,
        Command::Ledger(args) => ledger::ledger(&cli.shared, args).await,
        Command::Detach(args) => detach::detach(&cli.shared, args).await,
        Command::Config(command) => config::config(&cli.shared, command),
        Command::Completions(args) => shell::completions(args),
        Command::Man(args) => shell::man(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_is_dropped_wherever_it_stands() {
        let typed = [
            "liteferry",
            "--set",
            "a=1",
            "--source",
            "x",
            "run",
            "--set=b=2",
            "--set",
            "c==",
            "--",
            "--set",
            "d=4",
        ];
        assert_eq!(sets(typed.into_iter().map(str::to_owned)), ["a=1", "b=2", "c=="]);
        let cli = Cli::try_parse_from(&typed[..9]).expect("it is a command line");
        assert_eq!(cli.shared.set, ["b=2", "c=="], "the parser has come to keep all of them");
    }
}
