//! What goes wrong in the middle: kills, signals, a server that stops, sessions that are ended, a second copy, writers, closed pipes.
//! Each time: a clear word, nothing half-made, and the same command again ends equal.

use crate::support::held::HeldSession;
use crate::support::held_ddl::HeldDdl;
use crate::support::{
    Output, OwnServer, PATIENCE, TempDb, application, command, database, finished, liteferry, psql, sqlite,
    until,
};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const ROWS: i64 = 130_000;
const MANY: &str = "
    create table t (id integer primary key, k integer not null, v text);
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 60000)
        insert into t select i, i % 7, 'value ' || i from n;
    create unique index t_v on t (v);
    create index t_k on t (k, v);
    create table w (a text, b integer, v text, primary key (a desc, b)) without rowid;
    insert into w select 'k' || (id % 50), id, v from t where id <= 30000;
    create table bare (rowid text, oid text, _rowid_ text);
    insert into bare select v, k, id from t where id <= 20000;
    create table c (id integer primary key, t_id integer references t (id));
    insert into c select id, id from t where id <= 20000;
    create view few as select id, v from t where k = 1;
";
const ONE: &str = "create table t (id integer primary key, v text); insert into t values (1, 'a')";

fn path(file: &TempDb) -> String {
    file.path.display().to_string()
}

/// A copy in small chunks, under way.
fn start(source: &str, url: &str) -> Child {
    let mut command = command(&["copy", "--source", source, "--target", url]);
    command.args(["--set", "backfill.chunk_bytes=65536"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn end(child: Child) -> Output {
    finished(child.wait_with_output().expect("a child ends"))
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {}", child.id())]).status();
    assert!(sent.expect("a shell can be started").success(), "kill -s {name}");
}

fn number(url: &str, sql: &str) -> i64 {
    psql(url, sql)[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a number")
}

fn has_loaded(url: &str) -> bool {
    number(url, "select (to_regclass('liteferry.verdict') is not null)::int") == 1
        && number(url, "select coalesce(sum(rows), 0) from liteferry.range") > 0
}

fn others_sessions(url: &str) -> i64 {
    number(
        url,
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'liteferry'",
    )
}

#[track_caller]
fn ends_equal(source: &str, url: &str) {
    let report = liteferry(&["copy", "--json", "--source", source, "--target", url]).exits_with(0).json();
    assert_eq!(report["verdict"], "equal", "{report:#}");
    assert_eq!(report["total_target"], ROWS);
    whole(url);
}

/// Every index and constraint stands and is valid, and nothing of a broken attempt is left.
#[track_caller]
fn whole(url: &str) {
    let valid = "select count(*) from pg_index i join pg_class c on c.oid = i.indexrelid
        join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and ";
    // Keys of t, w and c; t_v and t_k.
    assert_eq!(number(url, &format!("{valid} indisvalid and indisready")), 5);
    assert_eq!(number(url, &format!("{valid} not (indisvalid and indisready)")), 0);
    assert_eq!(
        number(
            url,
            "select count(*) from pg_constraint where contype = 'f' and convalidated and connamespace = 'public'::regnamespace"
        ),
        1
    );
    assert_eq!(number(url, "select count(*) from pg_prepared_xacts"), 0);
    assert_eq!(number(url, "select count(*) from few"), number(url, "select count(*) from t where k = 1"));
}

#[track_caller]
fn refused(output: &Output, code: &str) {
    let told = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.status, Some(1), "{told}");
    assert!(told.contains(&format!("[{code}]")) && told.contains('→'), "wanted {code}: {told}");
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_copy_that_is_asked_to_stop_says_so_and_leaves_nothing_running() {
    let file = sqlite(MANY);
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let target = database();
        let held = HeldDdl::unique_indexes(&target.url);
        let child = start(&path(&file), &target.url);
        until("rows are loaded", || has_loaded(&target.url));
        signal(&child, name);
        let output = end(child);
        assert_eq!(output.status, Some(status), "{output:?}");
        assert!(output.stderr.contains("run the same command again"), "{output:?}");
        held.clear_away();
        until("its sessions are gone", || others_sessions(&target.url) == 0);
        ends_equal(&path(&file), &target.url);
    }
}

#[test]
fn a_copy_killed_at_any_moment_goes_on_and_ends_equal() {
    let file = sqlite(MANY);
    let began = Instant::now();
    // Where this test got no time at all, a copy was at its end before the first kills.
    let in_the_middle = || {
        let target = database();
        let killed = killed_later_and_later(&path(&file), &target.url);
        ends_equal(&path(&file), &target.url);
        killed
    };
    while in_the_middle() < 4 {
        assert!(began.elapsed() < *PATIENCE, "too few kills came in time: the test shows nothing");
    }
}

/// In the plan, the load, the indexes, the proof. Gives how many kills came before the end.
fn killed_later_and_later(source: &str, url: &str) -> usize {
    let is_killed = |step: &u64| {
        let mut child = start(source, url);
        sleep(Duration::from_millis(120 * step));
        let ended = child.try_wait().expect("a child can be asked").is_some();
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
        !ended
    };
    (1..40).take_while(is_killed).count()
}

#[test]
fn a_copy_killed_at_its_indexes_or_in_its_proof_goes_on_and_ends_equal() {
    let file = sqlite(MANY);
    for (before, lock, waits) in [
        // Rows come in beside this lock, and no index is made.
        ("%unique index%", "public.t in row exclusive", "create %index%"),
        ("%primary key%", "public.t in row exclusive", "alter table % add %"),
        // No row of these goes there, so the proof is the first to look.
        ("%unique index%", "liteferry.ledger in access exclusive", "%liteferry.ledger%"),
    ] {
        let target = database();
        let ddl = HeldDdl::of(&target.url, before);
        let mut child = start(&path(&file), &target.url);
        ddl.is_met();
        let held = HeldSession::open(&target.url);
        held.run(&format!("begin; lock table {lock} mode"));
        ddl.let_go();
        let waiting = format!(
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'liteferry'
             and wait_event_type = 'Lock' and query like '{waits}'"
        );
        until("it waits for the lock", || number(&target.url, &waiting) > 0);
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
        drop(held);
        ends_equal(&path(&file), &target.url);
    }
}

#[test]
fn sessions_that_are_ended_in_the_middle_are_made_anew() {
    let file = sqlite(MANY);
    let target = database();
    let held = HeldDdl::unique_indexes(&target.url);
    let child = start(&path(&file), &target.url);
    until("rows are loaded", || has_loaded(&target.url));
    for _ in 0..4 {
        let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and application_name = 'liteferry'";
        until("sessions are ended", || number(&target.url, ended) > 0);
        sleep(Duration::from_millis(700));
    }
    held.let_go();
    let output = end(child).exits_with(0);
    assert!(output.stderr.contains("tried again"), "{output:?}");
    whole(&target.url);
    ends_equal(&path(&file), &target.url);
}

#[test]
fn a_server_that_crashes_and_comes_back_only_delays_the_copy() {
    let file = sqlite(MANY);
    let mut server = OwnServer::new();
    let url = server.url("postgres");
    // Until the first crash, which ends it.
    let _held = HeldDdl::unique_indexes(&url);
    let mut child = start(&path(&file), &url);
    until("rows are loaded", || has_loaded(&url));
    let mut crashes = 0;
    while child.try_wait().expect("a child can be asked").is_none() && crashes < 4 {
        server.stop_immediately();
        crashes += 1;
        server.start();
        sleep(Duration::from_millis(1_500 * crashes));
    }
    let output = end(child).exits_with(0);
    assert!(output.stderr.contains("tried again") && output.stdout.contains("verdict: equal"), "{output:?}");
    ends_equal(&path(&file), &url);
}

/// Chunks are committed without a wait for the disk, so that a crash takes the last of them, after the copy has taken them for loaded.
#[test]
fn what_a_crash_takes_of_a_load_that_was_complete_is_loaded_again() {
    let file = sqlite(MANY);
    let mut server = OwnServer::new();
    server.restart_with([("wal_writer_delay", "10s".to_owned())]);
    let url = server.url("postgres");
    let loads = HeldDdl::loads_of(&url, "public.c");
    let child = start(&path(&file), &url);
    loads.is_met();
    let held = HeldSession::open(&url);
    held.run("begin; select from liteferry.migration for update");
    loads.let_go();
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'update liteferry.migration %'";
    until("it would record that all is loaded", || number(&url, waiting) > 0);
    server.stop_immediately();
    server.start();
    let output = end(child).exits_with(0);
    assert!(output.stdout.contains("verdict: equal"), "{output:?}");
    ends_equal(&path(&file), &url);
}

#[test]
fn a_wrong_password_is_told_from_a_missing_one() {
    let file = sqlite(ONE);
    let server = OwnServer::new();
    let url = server.url("postgres");
    let hba = server.dir().join("data/pg_hba.conf");
    let rules = fs::read_to_string(&hba).expect("read");
    // A password is kept in one of two ways, of which md5 is the default up to version 13.
    let ways = [("md5", "old"), ("scram-sha-256", "walled")];
    for (way, role) in ways {
        psql(
            &url,
            &format!(
                "set password_encryption = '{way}'; create role {role} login password 'right';
                      revoke create on schema public from public"
            ),
        );
    }
    let walls: String = ways.iter().map(|(way, role)| format!("local all {role} {way}\n")).collect();
    fs::write(&hba, format!("{walls}{rules}")).expect("written");
    psql(&url, "select pg_reload_conf()");
    for (_, role) in ways {
        let check = |password: &[(&str, &str)]| {
            let mut check = command(&["check", "--source", &path(&file), "--target", &server.url(role)]);
            finished(check.envs(password.iter().copied()).output().expect("the program starts"))
        };
        until("the rules are read", || check(&[]).stderr.contains("[password_missing]"));
        refused(&check(&[("PGPASSWORD", "wrong")]), "wrong_password");
        let right = check(&[("PGPASSWORD", "right")]);
        assert!(right.stdout.contains("[target_privilege]"), "{right:?}");
    }
}

#[test]
fn of_two_copies_into_one_schema_one_is_refused() {
    let file = sqlite(MANY);
    let target = database();
    let held = HeldDdl::unique_indexes(&target.url);
    let first = start(&path(&file), &target.url);
    until("rows are loaded", || has_loaded(&target.url));
    signal(&first, "STOP");
    let second = |more: &[&str]| {
        liteferry(&[&["copy", "--source", &path(&file), "--target", &target.url], more].concat())
    };
    refused(&second(&[]), "another_owner");
    refused(&second(&["--restart"]), "another_owner");
    signal(&first, "CONT");
    held.let_go();
    end(first).exits_with(0);
    ends_equal(&path(&file), &target.url);
}

#[test]
fn of_two_copies_begun_together_at_least_one_ends_equal() {
    let file = sqlite(MANY);
    let target = database();
    let both = [start(&path(&file), &target.url), start(&path(&file), &target.url)].map(end);
    assert!(both.iter().any(|output| output.status == Some(0)), "{both:?}");
    for output in both.iter().filter(|output| output.status != Some(0)) {
        refused(output, "another_owner");
    }
    ends_equal(&path(&file), &target.url);
}

#[test]
fn somebody_who_writes_meanwhile_is_noticed_and_a_second_copy_mends_it() {
    let file = sqlite(MANY);
    let target = database();
    let held = HeldDdl::unique_indexes(&target.url);
    let child = start(&path(&file), &target.url);
    until("rows are loaded", || has_loaded(&target.url));
    let app = application(&file.path);
    app.execute_batch("update t set k = 99 where id = 1; delete from w where b = 7").expect("written");
    held.let_go();
    let output = end(child);
    assert!(output.stdout.contains("Somebody wrote to the source"), "{output:?}");
    assert_eq!(output.status == Some(0), output.stdout.contains("verdict: equal"), "{output:?}");
    drop(app);
    liteferry(&["copy", "--restart", "--yes", "--source", &path(&file), "--target", &target.url])
        .exits_with(0);
    assert_eq!(number(&target.url, "select k from t where id = 1"), 99);
    whole(&target.url);
}

#[test]
fn pages_that_are_damaged_later_are_found_by_the_proof() {
    let file = sqlite(MANY);
    let target = database();
    liteferry(&["copy", "--source", &path(&file), "--target", &target.url]).exits_with(0);
    let validate = || liteferry(&["validate", "--source", &path(&file), "--target", &target.url]);
    validate().exits_with(0);
    let sound = fs::read(&file.path).expect("read");
    // SQLite itself cannot tell that a letter has changed.
    let at = sound.windows(11).position(|bytes| bytes == b"value 55555").expect("a cell of t");
    overwrite(&file.path, at, b"V");
    let output = validate().exits_with(1);
    assert!(output.stdout.contains("1 different"), "{output:?}");
    overwrite(&file.path, at, b"v");
    let page = at / 4096 * 4096;
    overwrite(&file.path, page, &[0xff; 4096]);
    refused(&validate(), "source_corrupt");
    refused(&liteferry(&["check", "--source", &path(&file), "--target", &target.url]), "source_corrupt");
    overwrite(&file.path, page, &sound[page..page + 4096]);
    validate().exits_with(0);
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("opened");
    file.seek(SeekFrom::Start(u64::try_from(at).expect("an offset fits"))).expect("there");
    file.write_all(bytes).expect("written");
}

#[test]
fn what_a_crashed_application_left_is_read_as_the_application_would() {
    for (mode, also) in [("delete", "source.db-journal"), ("wal", "source.db-wal")] {
        let file = sqlite(&format!("pragma journal_mode = {mode}; {ONE}"));
        let app = rusqlite::Connection::open(&file.path).expect("opened");
        app.execute_batch(
            "pragma wal_autocheckpoint = 0; pragma cache_size = 1; pragma cache_spill = 1; insert into t values (2, 'committed');
             begin; insert into t select value, hex(randomblob(2000)) from generate_series(3, 500)",
        )
        .or_else(|_| {
            app.execute_batch(
                "with recursive n (i) as (select 3 union all select i + 1 from n where i < 500) insert into t select i, hex(randomblob(2000)) from n",
            )
        })
        .expect("written");
        let crashed = tempfile::tempdir().expect("a directory");
        for name in ["source.db", also] {
            fs::copy(file.path.with_file_name(name), crashed.path().join(name)).expect("copied");
        }
        app.execute_batch("rollback").expect("rolled back");
        let target = database();
        let source = crashed.path().join("source.db").display().to_string();
        liteferry(&["copy", "--source", &source, "--target", &target.url]).exits_with(0);
        let rows = psql(&target.url, "select string_agg(v, ',' order by id) from t");
        assert_eq!(rows[0][0].as_deref(), Some("a,committed"), "{mode}");
    }
}

#[test]
fn an_embedded_server_that_was_orphaned_is_taken_over() {
    let file = sqlite(MANY);
    let open = PermissionsExt::from_mode(0o711);
    let dir = tempfile::Builder::new().prefix("liteferry-emb-").permissions(open).tempdir().expect("made");
    let state = format!("state.dir={}", dir.path().display());
    let waits = "source.busy_timeout_ms=60000";
    let args = ["copy", "--source", &path(&file), "--target", "embedded", "--set", &state, "--set", waits];
    let log = dir.path().join("postgres.log");
    // With the server running, the copy waits for the source.
    let app = application(&file.path);
    app.execute_batch("begin exclusive").expect("locked");
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    until("the server runs", || fs::read_to_string(&log).is_ok_and(|log| log.contains("ready to accept")));
    refused(&liteferry(&args), "embedded_in_use");
    child.kill().expect("killed");
    child.wait().expect("ended");
    app.execute_batch("commit").expect("free");
    liteferry(&args).exits_with(0);
    let second = liteferry(&args).exits_with(0);
    assert!(second.stdout.contains("complete already"), "{second:?}");
    assert!(!dir.path().join("data/postmaster.pid").exists(), "the server is still there");
    app.execute_batch("begin exclusive").expect("locked");
    let child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    until("the server runs", || dir.path().join("data/postmaster.pid").exists());
    signal(&child, "TERM");
    assert_eq!(end(child).status, Some(143));
    assert!(!dir.path().join("data/postmaster.pid").exists(), "the server outlived us");
}

#[test]
fn a_directory_without_room_for_what_wal_mode_needs_is_told_and_left_usable() {
    let file = sqlite(&format!("pragma journal_mode = wal; {ONE}"));
    let target = database();
    let args = ["check", "--source", &path(&file), "--target", &target.url];
    // Not a byte can be written, as on a full disk.
    let mut full = Command::new("sh");
    full.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_liteferry")])
        .args(args);
    refused(&finished(full.output().expect("a shell can be started")), "source_disk");
    let app = rusqlite::Connection::open(&file.path).expect("opened");
    app.execute_batch("insert into t values (2, 'b')").expect("the application writes on");
    drop(app);
    // The file cannot even be made.
    let shm = file.path.with_file_name("source.db-shm");
    assert!(!shm.exists(), "the last connection takes it away");
    symlink("/nowhere/at/all", &shm).expect("made");
    refused(&liteferry(&args), "source_cannot_open");
    fs::remove_file(&shm).expect("removed");
    let rows = |path: &Path| -> i64 {
        let app = rusqlite::Connection::open(path).expect("opened");
        app.query_row("select count(*) from t", [], |row| row.get(0)).expect("read")
    };
    assert_eq!(rows(&file.path), 2);
    liteferry(&args).exits_with(0);
}
