//! Real processes under fire: the built daemon, a PostgreSQL of its own and an application that writes, while all of it is killed,
//! stopped, cut off and doubled. Afterwards both sides must be equal and every position passed exactly once.
//!
//! One seed tells the whole schedule (`LITEFERRY_SEED`); the moments are the machine's own.

mod audit;
mod campaign;
mod daemon;
mod fault;
mod figures;
#[path = "../it/support/guard.rs"]
mod guard;
mod oracle;
mod powercut;
mod proxy;
#[path = "../it/generate/random.rs"]
mod random;
mod reshaping;
mod schema;
mod server;
mod statements;
mod writer;

use campaign::{Batches, Campaign};
use figures::Figures;
use random::Random;
use server::Server;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// What `make test` takes the time for; `make crash` asks for more.
const ROUNDS: usize = 14;
const RESHAPING_ROUNDS: usize = 8;
const ROUNDS_PER_CAMPAIGN: usize = 14;
/// The same for all, unless somebody asks for more.
const SEED: u64 = 11;

#[test]
fn whatever_is_killed_or_cut_off_both_sides_end_equal_and_nothing_is_applied_twice() {
    let (seed, rounds) = (seed("ROUNDS"), number("ROUNDS"));
    let faults = if rounds.is_some() { &fault::ANY } else { fault::quick() };
    let rounds = rounds.map_or(ROUNDS, |rounds| usize::try_from(rounds).expect("rounds can be counted"));
    let began = Instant::now();
    println!("LITEFERRY_SEED={seed} ROUNDS={rounds}");
    let mut folder = kept_folder();
    let mut server = Server::start();
    let mut figures = Figures::default();
    let mut random = Random::new(seed);
    let (mut left, mut campaign) = (rounds, 0);
    while left > 0 {
        let now = left.min(ROUNDS_PER_CAMPAIGN);
        campaign += 1;
        let place = folder.path().join(format!("campaign-{campaign}"));
        let batches = if campaign % 2 == 1 { Batches::Whole } else { Batches::Parts };
        println!("{}, {now} rounds, batches {batches:?}", place.display());
        Campaign::begin(&mut server, (&place, batches), &mut random).run(
            (now, faults),
            &mut random,
            &mut figures,
        );
        left -= now;
    }
    println!("{figures}\nLITEFERRY_SEED={seed} ROUNDS={rounds}: {} s", began.elapsed().as_secs());
    folder.disable_cleanup(false);
    assert!(figures.hits() * 2 > rounds, "too few faults took effect: the test shows nothing");
}

/// A round is a few migrations and a kill.
#[test]
fn whatever_the_application_does_to_its_schema_both_sides_end_equal() {
    let (seed, rounds) = (seed("ROUNDS"), number("ROUNDS"));
    let rounds =
        rounds.map_or(RESHAPING_ROUNDS, |rounds| usize::try_from(rounds).expect("rounds can be counted"));
    println!("LITEFERRY_SEED={seed}, {rounds} rounds of schema changes");
    let (mut folder, server) = (kept_folder(), Server::start());
    reshaping::under_fire(&server, folder.path(), rounds, &mut Random::new(seed));
    folder.disable_cleanup(false);
}

/// It mounts images, which only root may, and only where it is asked for: `make powercut`.
#[test]
fn what_a_power_cut_takes_from_sqlite_postgres_never_had() {
    let Some(cuts) = number("POWER_CUTS") else {
        println!("skipped: `make powercut` asks for it");
        return;
    };
    let seed = seed("POWER_CUTS");
    let mut folder = kept_folder();
    let cuts = usize::try_from(cuts).expect("cuts can be counted");
    let losses = powercut::cut_the_power(folder.path(), cuts, &mut Random::new(seed));
    match losses {
        Some(losses) => println!("{losses}\nLITEFERRY_SEED={seed} POWER_CUTS={cuts}"),
        None => println!("skipped: no image can be mounted here"),
    }
    folder.disable_cleanup(false);
}

#[test]
fn an_application_writes_where_one_is_asked_for() {
    writer::be_one();
}

/// Left where it is when the test fails: the source and what every daemon said.
fn kept_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("liteferry-crash-").disable_cleanup(true).tempdir();
    folder.expect("a temporary directory can be made")
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// As it is given; by the clock where so many rounds are asked for.
fn seed(asked_for: &str) -> u64 {
    let asked = number("LITEFERRY_SEED").or(number(asked_for).is_none().then_some(SEED));
    asked.unwrap_or_else(by_the_clock)
}

fn by_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    since.as_secs()
}
