//! Disks that fill, below PostgreSQL and below SQLite: told by name, nothing half-made, and the work goes on once there is room.
//! Skipped, with a word why, where this machine lets nobody mount.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::disk::{Ballast, LateDisk, SmallDisk};
use crate::support::{
    OwnServer, PATIENCE, TempDb, application, command, database, finished, liteferry, psql, sqlite,
    sqlite_in, until,
};
use rusqlite::ErrorCode;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A database lies on a disk of its own; PostgreSQL's log and the other databases do not.
struct Small {
    url: String,
    _server: OwnServer,
    disk: SmallDisk,
}

/// Room for an empty database and the rows below.
const TARGET_BYTES: u64 = 64 << 20;
const SOURCE_BYTES: u64 = 4 << 20;
const ROWS: &str = "
    create table t (id integer primary key, v text not null);
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 40000)
        insert into t select i, printf('%0400d', i) from n;
    create index t_v on t (v)";
const FEW: &str = "create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b')";

impl Small {
    fn target() -> Option<Small> {
        let server = OwnServer::new();
        let owner = fs::metadata(server.dir().join("data")).expect("the server's data are there");
        let disk = SmallDisk::mount(TARGET_BYTES, (owner.uid(), owner.gid()))?;
        let postgres = server.url("postgres");
        // It would have sessions write their cache anew, for which a full disk has no room.
        psql(&postgres, "alter system set autovacuum = off");
        psql(&postgres, "select pg_reload_conf()");
        psql(&postgres, &format!("create tablespace small location '{}'", disk.path().display()));
        psql(
            &postgres,
            "create database small template template0 encoding 'UTF8' locale 'C' tablespace small",
        );
        let url = format!("{}/small", postgres.strip_suffix("/postgres").expect("a URL with a database"));
        Some(Small { url, _server: server, disk })
    }

    fn number(&self, sql: &str) -> i64 {
        psql(&self.url, sql)[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a number")
    }
}

fn path(file: &TempDb) -> String {
    file.path.display().to_string()
}

fn follows(status: &Value) -> bool {
    status["phase"] == "dual-write" && status["run"]["state"] == "running"
}

#[track_caller]
fn equal(source: &TempDb, url: &str) {
    let report = liteferry(&["validate", "--json", "--source", &path(source), "--target", url]);
    assert_eq!(report.exits_with(0).json()["verdict"], "equal");
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {}", child.id())]).status();
    assert!(sent.expect("a shell can be started").success(), "kill -s {name}");
}

#[test]
fn a_copy_waits_for_room_below_postgres_and_leaves_nothing_half_done() {
    let Some(small) = Small::target() else { return };
    let file = sqlite(ROWS);
    let log = file.path.with_extension("log");
    let start = || {
        let errors = File::create(&log).expect("a log can be made");
        let args = ["copy", "--source", &path(&file), "--target", &small.url];
        let mut command = command(&args);
        command.args(["--set", "backfill.chunk_bytes=65536"]).stdout(Stdio::piped()).stderr(errors);
        command.spawn().expect("the program starts")
    };
    let told = || fs::read_to_string(&log).expect("the log is there");
    let waits = |child: &mut Child| {
        let deadline = Instant::now() + *PATIENCE;
        while !told().contains("code=\"disk_full\"") {
            assert_eq!(child.try_wait().expect("a child can be asked"), None, "{}", told());
            assert!(Instant::now() < deadline, "the disk is not full: {}", told());
            std::thread::sleep(Duration::from_millis(20));
        }
    };

    // Not all of it finds room.
    let part = vec![0; 48 << 20];
    let ballast = small.disk.path().join("part");
    fs::write(&ballast, part).expect("written");
    let mut child = start();
    waits(&mut child);
    signal(&child, "INT");
    assert_eq!(finished(child.wait_with_output().expect("a child ends")).status, Some(130), "{}", told());
    assert!(small.number("select count(*) from t") < 40_000, "there was room for all of it");
    // In one look: a last commit may still be on its way.
    let apart =
        "select (select count(*) from t) - (select coalesce(sum(rows), 0)::bigint from liteferry.range)";
    assert_eq!(small.number(apart), 0);

    let mut child = start();
    waits(&mut child);
    fs::remove_file(&ballast).expect("removed");
    let output = finished(child.wait_with_output().expect("a child ends"));
    assert_eq!(output.status, Some(0), "{}", told());
    assert!(told().contains("tried again") && output.stdout.contains("verdict: equal"), "{}", output.stdout);
    assert_eq!(small.number("select count(*) from t"), 40_000);
    equal(&file, &small.url);
}

#[test]
fn a_daemon_waits_for_room_below_postgres_and_goes_on() {
    let Some(small) = Small::target() else { return };
    let file = sqlite(&format!("pragma journal_mode = wal; {FEW}"));
    let mut daemon = Daemon::start(&file, &small.url, &[]);
    daemon.until(follows);
    let position = || small.number("select seq from liteferry.follow");
    let before = position();
    let ballast = small.disk.fill();
    // Enough for a session to open, and not for the rows.
    ballast.shed(512 << 10);
    let app = application(&file.path);
    app.execute_batch(
        "with recursive n (i) as (select 10 union all select i + 1 from n where i < 5000)
             insert into t select i, printf('%0400d', i) from n",
    )
    .expect("the application writes on");
    let status = daemon.until(|status| {
        status["run"]["reason"]["code"] == "disk_full" && status["run"]["state"] == "degraded"
    });
    let reason = &status["run"]["reason"];
    assert!(reason["remedy"].as_str().is_some_and(|remedy| remedy.contains("space")), "{reason:#}");
    // One transaction holds the rows and the position: neither is there.
    assert_eq!((small.number("select count(*) from t"), position()), (2, before));
    ballast.throw_off();
    daemon.drained(&file);
    assert_eq!(small.number("select count(*) from t"), 4_993);
    equal(&file, &small.url);
}

/// What PostgreSQL writes as a session opens, where it is missing: without room, no session opens.
fn caches_of(dir: &Path) -> Vec<PathBuf> {
    // What PostgreSQL removes meanwhile is gone.
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let (dirs, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let caches = files.into_iter().filter(|path| path.ends_with("pg_internal.init"));
    caches.chain(dirs.iter().flat_map(|dir| caches_of(dir))).collect()
}

#[test]
fn a_server_without_room_to_open_a_session_is_waited_for() {
    let Some(small) = Small::target() else { return };
    let file = sqlite(&format!("pragma journal_mode = wal; {FEW}"));
    let mut daemon = Daemon::start(&file, &small.url, &["--set", "validate.on=false"]);
    daemon.until(follows);
    assert!(!caches_of(small.disk.path()).is_empty(), "PostgreSQL keeps its cache elsewhere");
    let mut ballast = Vec::new();
    until("no cache is left, nor room for one", || {
        // A session that opens meanwhile is quicker.
        let removed =
            caches_of(small.disk.path()).iter().filter(|cache| fs::remove_file(cache).is_ok()).count();
        ballast.push(small.disk.fill());
        removed == 0
    });
    let app = application(&file.path);
    app.execute_batch("insert into t values (10, hex(randomblob(1000000)))")
        .expect("the application writes on");
    daemon.until_told_by("doing=\"connect to", || {});
    daemon.until(|status| status["run"]["state"] == "degraded");
    ballast.into_iter().for_each(Ballast::throw_off);
    daemon.drained(&file);
    equal(&file, &small.url);
}

#[test]
fn below_the_source_a_full_disk_is_the_applications_own_error_and_pruning_waits() {
    for mode in ["wal", "delete"] {
        let Some(disk) = SmallDisk::mount(SOURCE_BYTES, (0, 0)) else { return };
        let file = sqlite_in(tempfile::tempdir_in(disk.path()).expect("made"), FEW);
        let server = OwnServer::new();
        let url = server.url("postgres");
        let app = application(&file.path);
        app.pragma_update(None, "journal_mode", mode).expect("set");
        let elsewhere = tempfile::tempdir().expect("made");
        let settings = ["source.journal=any", "source.log_retention=1s", "log.level=debug"];
        let more = settings.map(|setting| ["--set", setting]).concat();
        let mut daemon = Daemon::start_in(elsewhere.path(), &file, &url, &more);
        daemon.until(follows);
        for id in 10..40 {
            app.execute("insert into t values (?1, 'x')", [id]).expect("written");
        }
        daemon.drained(&file);
        let ballast = disk.fill();
        let full = app.execute("insert into t values (999, hex(randomblob(100000)))", []);
        assert_eq!(full.expect_err("no room").sqlite_error_code(), Some(ErrorCode::DiskFull), "{mode}");
        let number = |sql: &str| -> i64 { app.query_row(sql, [], |row| row.get(0)).expect("read") };
        assert_eq!(number("select count(*) from t"), 32);
        // Something woke the daemon, and there is nothing to apply.
        let woken = if mode == "wal" { "db-wal" } else { "db" };
        daemon.until_told_by("pruning waits for a quieter moment code=\"source_disk\"", || {
            let touched = Command::new("touch").arg(file.path.with_extension(woken)).status();
            assert!(touched.expect("touch can be started").success());
        });
        daemon.until(|status| status["run"]["state"] == "running");
        assert_eq!(psql(&url, "select count(*) from t")[0][0].as_deref(), Some("32"), "{mode}");

        ballast.throw_off();
        app.execute("insert into t values (1000, hex(randomblob(100000)))", []).expect("there is room");
        daemon.drained(&file);
        let oldest = "select min(seq) from _liteferry_change";
        let before = number(oldest);
        until("something is pruned", || {
            std::thread::sleep(Duration::from_millis(100));
            app.execute("update t set v = 'again' where id = 1", []).expect("written");
            number(oldest) > before
        });
        daemon.drained(&file);
        equal(&file, &url);
    }
}

#[test]
fn below_the_source_a_full_disk_makes_arming_wait() {
    let Some(disk) = SmallDisk::mount(SOURCE_BYTES, (0, 0)) else { return };
    let file = sqlite_in(tempfile::tempdir_in(disk.path()).expect("made"), FEW);
    let app = application(&file.path);
    app.execute_batch("pragma journal_mode = wal; insert into t values (3, 'c')").expect("written");
    let ours = || -> i64 {
        let sql = "select count(*) from sqlite_master where name like '%liteferry%'";
        app.query_row(sql, [], |row| row.get(0)).expect("read")
    };
    let server = OwnServer::new();
    let url = server.url("postgres");
    let elsewhere = tempfile::tempdir().expect("made");
    let ballast = disk.fill();
    let mut daemon = Daemon::start_in(elsewhere.path(), &file, &url, &[]);
    daemon.until(|status| {
        status["run"]["reason"]["code"] == "source_disk" && status["run"]["state"] == "degraded"
    });
    assert_eq!(ours(), 0);
    ballast.throw_off();
    daemon.until(follows);
    assert!(ours() > 0);
    app.execute_batch("update t set v = 'after' where id = 1").expect("written");
    daemon.drained(&file);
    equal(&file, &url);
}

/// Committed at synchronous = NORMAL, a few changes at a time, so that most batches are short. The daemon stands still, and the disk is
/// looked at as a power cut would leave it.
#[test]
fn postgres_has_no_change_that_a_power_cut_would_take_from_sqlite() {
    let Some(disk) = LateDisk::mount() else { return };
    let source = disk.path().join("source.db");
    let app = application(&source);
    app.execute_batch(&format!("pragma journal_mode = wal; {FEW}")).expect("SQLite opens a new file");
    app.execute_batch("pragma synchronous = normal").expect("a setting");
    let case = Case { source: TempDb::at(&source), target: database() };
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    let applied = || -> i64 {
        let told = psql(&case.target.url, "select seq from liteferry.follow");
        told[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a number")
    };
    for _ in 0..8 {
        let before = applied();
        until("batches are applied", || {
            app.execute("insert into t (v) values ('c')", []).expect("SQLite takes writes");
            applied() > before + 20
        });
        daemon.signal("-STOP");
        let applied = applied();
        let left = disk.cut();
        daemon.signal("-CONT");
        let newest = "select max(seq) from _liteferry_change";
        let left: i64 = application(&left.path().join("source.db"))
            .query_row(newest, [], |row| row.get(0))
            .expect("a number");
        assert!(left >= applied, "PostgreSQL has change {applied}; the disk has {left}");
    }
    assert_eq!(daemon.stop(), Some(0));
}
