//! What the tests stand on: a private PostgreSQL with a database a test, SQLite files made from SQL, the built program, and the
//! corpus. It asserts nothing about liteferry itself.

pub mod begins;
mod cluster;
pub mod daemon;
pub mod disk;
mod guard;
pub mod held;
pub mod held_ddl;
mod own;
pub mod skipped;
pub mod swallow;

pub use own::OwnServer;

use rusqlite::Connection;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// For what comes by itself, on a slow machine with much other work: nothing is waited for that long where all is well.
/// `LITEFERRY_PATIENCE` gives another number of seconds.
pub static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
    let asked = std::env::var("LITEFERRY_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(300))
});
const LOOK: Duration = Duration::from_millis(20);

/// A database of its own, gone when the server goes.
pub struct TestDatabase {
    pub url: String,
    pub name: String,
}

/// A SQLite file in a directory of its own, removed when dropped.
pub struct TempDb {
    pub path: PathBuf,
    _dir: TempDir,
}

/// What the program did.
#[derive(Debug)]
pub struct Output {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// One hard database; its header says what must come out.
pub struct Case {
    pub name: String,
    pub sql: String,
}

/// Made from `template0` and so in plain UTF-8 with the "C" order, whatever the machine's locale.
pub fn database() -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let create = format!("create database {name} template template0 encoding 'UTF8' locale 'C'");
    psql(&cluster::url("postgres"), &create);
    TestDatabase { url: cluster::url(&name), name }
}

/// The shared server's major version: some expectations are PostgreSQL's own, and differ by it.
pub fn postgres_major() -> u32 {
    let answer = psql(&cluster::url("postgres"), "select current_setting('server_version_num')::int / 10000");
    answer[0][0].as_deref().and_then(|major| major.parse().ok()).expect("a server has a version")
}

/// Foreign keys stay unenforced, as in SQLite's own shell.
pub fn sqlite(sql: &str) -> TempDb {
    sqlite_in(tempfile::tempdir().expect("a temporary directory can be made"), sql)
}

pub fn sqlite_in(dir: TempDir, sql: &str) -> TempDb {
    let path = dir.path().join("source.db");
    let db = Connection::open(&path).expect("SQLite opens a new file");
    db.execute_batch("pragma foreign_keys = off").expect("SQLite knows the pragma");
    db.execute_batch(sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
    TempDb { path, _dir: dir }
}

impl TempDb {
    /// One that somebody else has made, and removes.
    pub fn at(path: &Path) -> TempDb {
        TempDb {
            path: path.to_owned(),
            _dir: tempfile::tempdir().expect("a temporary directory can be made"),
        }
    }
}

/// The application's own connection: it waits for every lock that somebody will let go of.
pub fn application(path: &Path) -> Connection {
    let db = Connection::open(path).expect("the application opens its database");
    db.busy_timeout(*PATIENCE).expect("a timeout can be set");
    db
}

/// Waits until this is so.
#[track_caller]
pub fn until(what: &str, mut truth: impl FnMut() -> bool) {
    let began = Instant::now();
    while !truth() {
        assert!(began.elapsed() < *PATIENCE, "waited in vain until {what}");
        std::thread::sleep(LOOK);
    }
}

/// Runs the program and waits for its end.
pub fn liteferry(args: &[&str]) -> Output {
    finished(command(args).output().expect("the program can be started"))
}

/// Where no daemon listens.
pub const NOWHERE: &str = "127.0.0.1:1";

/// The program, without any setting of ours or PostgreSQL's in its environment. It asks no daemon that happens to run on this machine.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_liteferry"));
    let foreign = |name: &str| name.starts_with("LITEFERRY_") || name.starts_with("PG");
    for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
        command.env_remove(name);
    }
    command.env("LITEFERRY__HTTP__LISTEN", NOWHERE).args(args);
    command
}

/// The same program under another one, which ends in it.
pub fn under(outer: &[&str], program: &Command) -> Command {
    let mut command = Command::new(outer[0]);
    command.args(&outer[1..]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

pub fn finished(output: std::process::Output) -> Output {
    Output {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("reports are UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Output {
    /// The one JSON document of `--json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self:#?}"))
    }

    #[track_caller]
    pub fn exits_with(self, status: i32) -> Output {
        assert_eq!(self.status, Some(status), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// The rows of all statements, as text.
pub fn psql(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    try_psql(url, sql).unwrap_or_else(|error| panic!("{error}\n{sql}"))
}

/// What the server refuses with.
pub fn refused_by(url: &str, sql: &str) -> String {
    try_psql(url, sql).expect_err("the server refuses this")
}

pub fn try_psql(url: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server answers");
        let driver = tokio::spawn(connection);
        let answers = client.simple_query(sql).await.map_err(|error| format!("{error:?}"));
        drop(client);
        driver.await.expect("the connection is driven to its end").expect("the connection ends well");
        let cells = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()
        };
        let rows = answers?.into_iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(cells(&row)),
            _ => None,
        });
        Ok(rows.collect())
    })
}

/// The databases of `tests/corpus`, in the order of their names.
pub fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(folder).expect("the corpus is there");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let case = |path: &PathBuf| Case {
        name: name(path),
        sql: std::fs::read_to_string(path).expect("a case can be read"),
    };
    paths.iter().map(case).collect()
}
