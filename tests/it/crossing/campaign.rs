//! The writes cross again and again, and the daemon is killed at any moment of it, while one application obeys the routing and two write
//! to one side each, whatever it says. `make crossings` asks for more rounds.

use super::writers::{Outcome, Postgres, Sqlite, Written};
use super::{Side, Walk, is_settled};
use crate::generate::random::Random;
use crate::support::database;
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What `make test` takes the time for.
const ROUNDS: u64 = 6;
/// The same for all, unless somebody asks for more.
const SEED: u64 = 23;
const KILLED_IN_HUNDRED: usize = 75;
/// Kills that wait until a crossing has begun: it is short beside what comes before it.
const AIMED_IN_HUNDRED: usize = 70;
/// Kills of the daemon before which those applications are killed that are processes of their own.
const APPLICATION_IN_HUNDRED: usize = 50;
/// How often the application asks where it writes, beside after each refusal.
const ASK_EVERY: Duration = Duration::from_millis(50);
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// What was done and seen.
#[derive(Default)]
struct Figures {
    crossed: usize,
    killed: usize,
    /// With the daemon, one a side.
    applications: usize,
    /// The next daemon found a crossing that was begun and not decided.
    abandoned: usize,
    /// It found one that was decided and not finished.
    finished: usize,
}

#[test]
fn no_acknowledged_write_is_lost_however_often_the_writes_cross_and_the_daemon_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let asked = number("CROSSINGS");
    let seed = number("LITEFERRY_SEED").unwrap_or(asked.map_or(SEED, |_| clock.as_secs()));
    let rounds = asked.unwrap_or(ROUNDS);
    println!("LITEFERRY_SEED={seed} ROUNDS={rounds}");
    let mut random = Random::new(seed);
    let mut walk = Walk::begin(database());
    let longest = walk.one_obeys();
    walk.writers.in_fresh_processes(&[Side::Sqlite, Side::Postgres]);
    let (mut figures, mut usual) = (Figures::default(), Duration::from_millis(400));
    for round in 0..rounds {
        let (from, order) = match walk.phase().as_str() {
            "switch" => ("switch", r#"{"to": "dual-write"}"#),
            _ => ("validate", r#"{"to": "switch"}"#),
        };
        walk.stand_in(from);
        if round > 1 && random.in_hundred(KILLED_IN_HUNDRED) {
            // A refusal at the door is no crossing: the next round orders again.
            walk.daemon.try_post("/v1/phase", order);
            if random.in_hundred(AIMED_IN_HUNDRED) {
                walk.until_begun(usual * 3);
                sleep(Duration::from_micros(u64::try_from(random.below(60_000)).expect("a small number")));
            } else {
                let share = u32::try_from(random.below(130)).expect("a small number");
                sleep(usual * share / 100);
            }
            // The application may die with it, or a moment before.
            if random.in_hundred(APPLICATION_IN_HUNDRED) {
                walk.writers.in_fresh_processes(&[Side::Sqlite, Side::Postgres]);
                figures.applications += 1;
            }
            walk.restart(&[]);
            figures.killed += 1;
        } else {
            let began = Instant::now();
            walk.command(order);
            usual = began.elapsed();
        }
        walk.is_whole(&format!("round {round}"));
        figures.crossed += usize::from(walk.phase() != from);
    }
    let told = |which: &str| walk.case.rows(&format!("select 1 from liteferry.journal where {which}")).len();
    figures.abandoned = told("detail like 'ended before it was decided%'");
    figures.finished = told("detail like 'finished: %'")
        + told("actor = 'liteferry' and detail like 'the application''s writes go to%'");
    let count = walk.writers.acknowledged().len();
    println!("{figures}");
    println!(
        "acknowledged {count}, lost 0; the longest wait of the one that obeys {} ms",
        longest.load(Ordering::Relaxed)
    );
    walk.end();
    assert!(figures.crossed >= 2, "the writes never crossed: nothing was shown");
}

/// Switches that `make test` takes the time for.
const SWITCHES: u64 = 2;

#[test]
fn rogues_that_ignore_the_routing_and_write_without_a_pause_lose_nothing_that_was_acknowledged() {
    let asked = std::env::var("SWITCHES").ok().and_then(|asked| asked.parse().ok());
    let mut walk = Walk::begin(database());
    let source = walk.case.source.path.clone();
    // One keeps its connection, one is another old process each time.
    let (kept, at_it) = (source.clone(), Arc::new(AtomicBool::new(false)));
    let (first, second) = (Arc::clone(&at_it), Arc::clone(&at_it));
    walk.writers.hammer("h", move || {
        let mut side = Sqlite::open(&kept);
        move |row: &Written| if first.load(Ordering::SeqCst) { side.write(row) } else { Outcome::Refused }
    });
    walk.writers.hammer("t", move || {
        move |row: &Written| match second.load(Ordering::SeqCst) {
            true => Sqlite::open(&source).write_twice(row),
            false => Outcome::Refused,
        }
    });
    let (switches, mut pauses) = (asked.unwrap_or(SWITCHES), Vec::new());
    for switch in 1..=switches {
        walk.stand_in("validate");
        // Around the switch, or the tables would be all of the work.
        at_it.store(true, Ordering::SeqCst);
        walk.command(r#"{"to": "switch"}"#);
        walk.is_whole(&format!("switch {switch}"));
        at_it.store(false, Ordering::SeqCst);
        let status = walk.daemon.until(is_settled);
        pauses.push(status["pause"]["measured_seconds"].as_f64().unwrap_or_default());
        walk.stand_in("dual-write");
    }
    let attempts =
        walk.case.rows("select 1 from liteferry.journal where detail like 'nothing happened%'").len();
    let acknowledged = walk.writers.acknowledged();
    let of_rogues = acknowledged.iter().filter(|(who, _)| who == "h" || who == "t").count();
    pauses.sort_by(f64::total_cmp);
    println!(
        "switches {switches}, given up and ordered again {attempts}; acknowledged {}, {of_rogues} of them the rogues', lost 0; pauses: median {:.0} ms, longest {:.0} ms",
        acknowledged.len(),
        pauses[pauses.len() / 2] * 1e3,
        pauses[pauses.len() - 1] * 1e3
    );
    walk.end();
}

impl Walk {
    /// Returns when the crossing shows, or does not within the time.
    fn until_begun(&self, wait: Duration) {
        let began = Instant::now();
        while began.elapsed() < wait {
            let status = self.daemon.status().unwrap_or_default();
            if !status["machine"]["crossing"].is_null() {
                return;
            }
        }
    }

    /// An application that writes where it is told to. Gives how many milliseconds it waited at most from one acknowledged write to the
    /// next.
    fn one_obeys(&mut self) -> Arc<AtomicU64> {
        let longest = Arc::new(AtomicU64::new(0));
        let (source, url) = (self.case.source.path.clone(), self.case.target.url.clone());
        let (address, told) = (Arc::clone(&self.address), Arc::clone(&longest));
        self.daemon.until(is_settled);
        self.writers.join("a", move || {
            let (mut sqlite, mut postgres) = (Sqlite::open(&source), Postgres::at(&url));
            let (mut asked, mut side) = (None::<Instant>, Side::Sqlite);
            let mut written = Instant::now();
            move |row: &Written| {
                if asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
                    // Whoever gets no answer keeps to the last one.
                    side = routed(&address).unwrap_or(side);
                    asked = Some(Instant::now());
                }
                let outcome = match side {
                    Side::Sqlite => sqlite.write(row),
                    Side::Postgres => postgres.write(row),
                };
                match outcome {
                    Outcome::Acknowledged => {
                        let waited = u64::try_from(written.elapsed().as_millis()).unwrap_or(u64::MAX);
                        told.fetch_max(waited, Ordering::Relaxed);
                        written = Instant::now();
                    }
                    Outcome::Refused | Outcome::Unknown => asked = None,
                }
                outcome
            }
        });
        longest
    }
}

/// Where the daemon says that the application writes; nothing where it says so of neither side, or is away.
fn routed(address: &Mutex<String>) -> Option<Side> {
    let address = address.lock().expect("no thread has panicked").clone();
    let mut stream = TcpStream::connect(&address).ok()?;
    stream.set_read_timeout(Some(ANSWER_WAIT)).ok()?;
    write!(stream, "GET /v1/routing HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let told: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok()?;
    match told["writes"].as_str()? {
        "sqlite" => Some(Side::Sqlite),
        "postgres" => Some(Side::Postgres),
        _ => None,
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { crossed, killed, applications, abandoned, finished } = self;
        write!(
            out,
            "crossed {crossed}, daemons killed {killed}, applications on both sides with {applications} of them: found begun and undecided {abandoned}, decided and unfinished {finished}"
        )
    }
}
