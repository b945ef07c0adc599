//! One migration under fire: a fresh source with its writers, a fresh database, a daemon, and what is checked after each fault.

use crate::audit::{self, Witness};
use crate::daemon::{Daemon, Recipe};
use crate::fault::{EARLY, Effect, Fault};
use crate::figures::Figures;
use crate::oracle;
use crate::proxy::{Proxy, Rule};
use crate::random::Random;
use crate::schema::{SCHEMA, filling};
use crate::server::Server;
use crate::writer::Writer;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub struct Campaign<'s> {
    pub server: &'s mut Server,
    pub proxy: Proxy,
    pub daemon: Daemon,
    recipe: Recipe,
    database: String,
    source: PathBuf,
    writers: Vec<Writer>,
    batches: Batches,
    daemons: u64,
    seed: u64,
}

/// Whether a backlog is applied in one transaction, after each of which the target is at a state of the source, or in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batches {
    Whole,
    Parts,
}

impl Batches {
    fn max(self) -> u64 {
        match self {
            Batches::Whole => 10_000_000,
            Batches::Parts => 300,
        }
    }
}

/// Sessions of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    All,
    /// The one that keeps other daemons out.
    Claim,
}

/// A daemon that does not catch up in this time hangs.
const CATCH_UP_MAX: Duration = Duration::from_secs(300);
const BULK_ROWS: usize = 40_000;
const WRITERS: usize = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Sessions of the daemon that have written and not ended; the test's own are not among them.
const OPEN_WRITES: &str = "select 1 from pg_stat_activity
    where application_name = 'liteferry' and datname = current_database() and backend_xid is not null";
const PIDS: &str =
    "select pid from pg_stat_activity where application_name = 'liteferry' and datname = current_database()";

impl<'s> Campaign<'s> {
    pub fn begin(
        server: &'s mut Server,
        (folder, batches): (&Path, Batches),
        random: &mut Random,
    ) -> Campaign<'s> {
        let name = folder.file_name().expect("a campaign has a folder").to_string_lossy();
        let database = name.replace('-', "_");
        server
            .query(
                "postgres",
                &format!("create database {database} template template0 encoding 'UTF8' locale 'C'"),
            )
            .expect("a database can be made");
        std::fs::create_dir(folder).expect("a directory can be made");
        let source = folder.join("source.db");
        let db = Connection::open(&source).expect("SQLite opens a new file");
        db.execute_batch(SCHEMA).expect("SQLite takes the schema");
        db.execute_batch(&filling(BULK_ROWS)).expect("SQLite takes the rows");
        drop(db);
        let proxy = Proxy::start(server.socket());
        let mut sets: Vec<String> =
            ["http.listen=127.0.0.1:0", "backfill.chunk_bytes=65536", "source.log_retention=5s"]
                .map(str::to_owned)
                .into();
        sets.push(format!("backfill.workers={}", 1 + random.below(3)));
        sets.push(format!("follow.max_batch={}", batches.max()));
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", proxy.port);
        let recipe = Recipe { source: source.clone(), url, logs: folder.to_owned(), sets };
        let seed = random.next();
        let writers =
            (0..WRITERS).map(|number| Writer::start(&source, seed ^ number as u64, number)).collect();
        let daemon = recipe.start(0);
        Campaign { server, proxy, daemon, recipe, database, source, writers, batches, daemons: 1, seed }
    }

    /// So many faults, some of them while the backfill runs.
    pub fn run(&mut self, (rounds, faults): (usize, &[Fault]), random: &mut Random, figures: &mut Figures) {
        self.write();
        let mut round = 0;
        while round < rounds && !self.is_followed(figures) {
            sleep(Duration::from_millis(u64::try_from(30 + random.below(400)).expect("short")));
            if !self.is_followed(figures) && round < 1 + rounds / 3 {
                self.round(*random.pick(&EARLY), random, figures);
                round += 1;
            }
        }
        let mut deck = Vec::new();
        let witness = match self.batches {
            Batches::Whole => Some(Witness::watch(self.server.url(&self.database))),
            Batches::Parts => None,
        };
        while round < rounds {
            sleep(Duration::from_millis(u64::try_from(50 + random.below(900)).expect("short")));
            if deck.is_empty() {
                deck = shuffled(faults, random);
            }
            self.round(deck.pop().expect("it was filled"), random, figures);
            round += 1;
            if random.in_hundred(40) {
                self.check(figures);
            }
        }
        self.check(figures);
        let testified = witness.map_or(Ok(0), Witness::testify);
        figures.looks += testified.unwrap_or_else(|complaint| self.fail(&complaint));
        figures.anew += self.recipe.said("the table is copied anew");
    }

    fn round(&mut self, fault: Fault, random: &mut Random, figures: &mut Figures) {
        let early = !self.in_dual_write();
        let began = Instant::now();
        let effect = fault.strike(self, random);
        figures.struck(fault, effect, early);
        println!(
            "  {fault:?} {effect:?}{} {} ms",
            if early { " in the backfill" } else { "" },
            began.elapsed().as_millis()
        );
        if early {
            return;
        }
        let healed = Instant::now();
        let newest = self.newest();
        self.until("the target catches up", |campaign| campaign.position() >= Some(newest));
        figures.recovered(fault, healed.elapsed());
        self.heal();
    }

    /// With the writers at rest both sides must come to hold the same.
    fn check(&mut self, figures: &mut Figures) {
        let tallies: Vec<_> = self.writers.iter_mut().map(Writer::rest).collect();
        let newest = self.newest();
        self.until("the target has it all", |campaign| campaign.position() == Some(newest));
        let rows = oracle::compare(&self.source, self.server, &self.database);
        let rows = rows.unwrap_or_else(|difference| self.fail(&difference));
        let moves = audit::verify(self.server, &self.database);
        let moves = moves.unwrap_or_else(|complaint| self.fail(&complaint));
        figures.compared(rows, (self.seed, moves), &tallies);
        self.write();
    }

    /// Until the audit is there no round may pass; a campaign without it shows nothing.
    fn is_followed(&mut self, figures: &mut Figures) -> bool {
        if !figures.audited.contains(&self.seed) && audit::install(self.server, &self.database) {
            figures.audited.insert(self.seed);
        }
        self.be_well();
        figures.audited.contains(&self.seed) && self.in_dual_write()
    }

    #[track_caller]
    fn until(&mut self, what: &str, truth: impl Fn(&mut Campaign<'_>) -> bool) {
        let deadline = Instant::now() + CATCH_UP_MAX;
        while !truth(self) {
            self.be_well();
            if Instant::now() > deadline {
                self.fail(&format!("waited in vain until {what}"));
            }
            sleep(LOOK_AGAIN);
        }
    }

    #[track_caller]
    fn be_well(&mut self) {
        if let Some(complaint) = self.daemon.complaint() {
            self.fail(&complaint);
        }
        if let Some(code) = self.daemon.ended() {
            self.fail(&format!("the daemon ended by itself with {code}"));
        }
    }

    #[track_caller]
    fn fail(&self, complaint: &str) -> ! {
        let text = std::fs::read_to_string(&self.daemon.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        panic!("{complaint}\n{}\n{tail}", self.daemon.log.display());
    }

    fn write(&mut self) {
        self.writers.iter_mut().for_each(Writer::write);
    }

    pub fn start_daemon(&mut self) {
        self.daemon = self.another_daemon();
    }

    pub fn another_daemon(&mut self) -> Daemon {
        self.daemons += 1;
        self.recipe.start(self.daemons)
    }

    /// Nothing stands between the daemon and the server any more; links that were tampered with end.
    pub fn heal(&mut self) {
        self.proxy.rule(Rule::Pass);
        self.proxy.cut_all();
    }

    pub fn replace_writer(&mut self, number: usize) {
        self.daemons += 1;
        let mut fresh = Writer::start(&self.source, self.seed ^ (self.daemons << 8), number);
        fresh.write();
        std::mem::replace(&mut self.writers[number], fresh).kill();
    }

    pub fn open_writes(&self) -> Effect {
        match self.server.query(&self.database, OPEN_WRITES) {
            Ok(rows) if !rows.is_empty() => Effect::MidTransaction,
            Ok(_) | Err(_) => Effect::Done,
        }
    }

    pub fn pids(&self) -> Vec<String> {
        let rows = self.server.query(&self.database, PIDS).unwrap_or_default();
        rows.into_iter().filter_map(|mut row| row.swap_remove(0)).collect()
    }

    pub fn end_sessions(&self, which: Sessions) -> usize {
        let claim = match which {
            Sessions::All => "true",
            Sessions::Claim => "pid in (select pid from pg_locks where locktype = 'advisory')",
        };
        let sql = format!("select pg_terminate_backend(pid) from ({PIDS}) s where {claim}");
        self.server.query(&self.database, &sql).map_or(0, |rows| rows.len())
    }

    /// False where it ends before, or the time is over.
    pub fn owned_within(&self, daemon: &mut Daemon, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        let sql = format!("select 1 from liteferry.follow where owner_name like '% {}'", daemon.pid());
        while daemon.ended().is_none() && Instant::now() < deadline {
            if self.server.query(&self.database, &sql).is_ok_and(|rows| rows.len() == 1) {
                return true;
            }
            sleep(LOOK_AGAIN);
        }
        false
    }

    fn in_dual_write(&self) -> bool {
        let sql = "select 1 from liteferry.follow where phase = 'dual-write'";
        self.server.query(&self.database, sql).is_ok_and(|rows| rows.len() == 1)
    }

    fn position(&self) -> Option<i64> {
        let rows = self.server.query(&self.database, "select seq from liteferry.follow").ok()?;
        rows.first()?[0].as_deref()?.parse().ok()
    }

    fn newest(&self) -> i64 {
        let db = Connection::open(&self.source).expect("SQLite opens the source");
        db.busy_timeout(CATCH_UP_MAX).expect("a timeout can be set");
        db.query_row("select max(seq) from _liteferry_change", [], |row| row.get(0))
            .expect("the change table is there")
    }
}

/// Every fault comes once before any comes again. The one that alone shows whether a daemon is fenced off comes first, however few
/// rounds there are.
fn shuffled(faults: &[Fault], random: &mut Random) -> Vec<Fault> {
    let mut deck = faults.to_vec();
    for at in (1..deck.len()).rev() {
        deck.swap(at, random.below(at + 1));
    }
    deck.sort_by_key(|fault| *fault == Fault::Usurp);
    deck
}
