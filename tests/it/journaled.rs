//! Beside a rollback journal: a commit waits for every reader there, and no reader begins while it waits. The application must not wait for one
//! of us that waits for another.

use crate::follow::Case;
use crate::support::{application, until};
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

const ANY: &[&str] = &["--set", "source.journal=any", "--set", "validate.on=false"];

/// An application that reads all the time.
struct Reader {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Reader {
    fn start(path: &Path) -> Reader {
        let (ending, path) = (Arc::new(AtomicBool::new(false)), path.to_owned());
        let told = Arc::clone(&ending);
        let thread = spawn(move || {
            let (db, mut longest) = (application(&path), Duration::ZERO);
            while !told.load(Ordering::Relaxed) {
                let began = Instant::now();
                db.query_row("select count(*) from t", [], |row| row.get::<_, i64>(0))
                    .expect("rows are read");
                longest = longest.max(began.elapsed());
                sleep(Duration::from_millis(2));
            }
            longest
        });
        Reader { ending, thread }
    }

    /// How long the application has waited for its answer, at most.
    fn longest(self) -> Duration {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("every read had its answer")
    }
}

/// A process of its own that has begun to read and is not done: SQLite's locks keep apart processes.
struct Report {
    child: Child,
    heard: BufReader<ChildStdout>,
}

const PLACE: &str = "JOURNALED_REPORT";
/// The test of this program that is a report where the environment says so.
const ENTRY: &str = "journaled::a_report_is_made_where_one_is_asked_for";
const BEGUN: &str = "has begun to read";

impl Report {
    fn begin(path: &Path) -> Report {
        let mut command = Command::new(std::env::current_exe().expect("a program knows its file"));
        command.args(["--exact", ENTRY, "--nocapture", "--test-threads=1"]).env(PLACE, path);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a report starts");
        let mut heard = BufReader::new(child.stdout.take().expect("its output is piped"));
        let begun = heard.by_ref().lines().map_while(Result::ok).any(|line| line.contains(BEGUN));
        assert!(begun, "it ended before it had begun");
        Report { child, heard }
    }

    /// Its input ends.
    fn end(mut self) {
        drop(self.child.stdin.take());
        self.heard.read_to_end(&mut Vec::new()).expect("it says no more");
        self.child.wait().expect("it ends");
    }
}

/// Is a report, if this process was started to be one.
#[test]
fn a_report_is_made_where_one_is_asked_for() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let db = application(Path::new(&place));
    db.execute_batch("begin; select count(*) from t").expect("rows are read");
    writeln!(stdout(), "{BEGUN}").expect("somebody listens");
    // Or with the test, however that ends.
    stdin().read_to_end(&mut Vec::new()).expect("it ends");
}

/// A fifth of what it took when one of us waited for another, and ten times what a busy machine makes of a read.
const WAIT_MAX: Duration = Duration::from_secs(1);

#[test]
fn a_repair_keeps_no_reader_of_the_application_waiting() {
    let case = Case::new(
        "create table t (k text primary key, v text);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000) insert into t select 'k' || i, 'v' from n;
         create table numbered (id integer primary key, n integer);
         insert into numbered values (1, 1), (2, 2), (3, 3)",
    );
    let mut daemon = case.daemon(ANY);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("update numbered set n = 'no number' where id = 2");
    daemon.drained(&case.source);
    // Rows that differ, rows that are not there or not here, and a ledger that tells nothing.
    case.rows(
        "update t set v = 'spoiled' where k like 'k1%'; delete from t where k like 'k2%'; insert into t values ('more', 'extra');
         delete from liteferry.ledger; update numbered set n = 9 where id = 3",
    );
    let reader = Reader::start(&case.source.path);
    let repaired = daemon.compared(r#"{"repair": true}"#);
    let longest = reader.longest();
    assert_eq!(repaired["verdict"], "equal + ledger", "{repaired:#}\n{}", daemon.log());
    assert!(longest < WAIT_MAX, "a read took {longest:?}\n{}", daemon.log());
    assert_eq!(case.rows("select key from liteferry.ledger"), [[Some("[2]".to_owned())]]);
    case.is_equal();
}

/// A report that takes long is no reason to keep those waiting who only read, too.
#[test]
fn a_repair_beside_a_long_reader_keeps_no_other_waiting() {
    let case = Case::new(
        "create table t (k text primary key, v text); insert into t values ('a', 'v'), ('b', 'v'), ('c', 'v')",
    );
    let mut daemon = case.daemon(ANY);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.drained(&case.source);
    case.rows("update t set v = 'spoiled'");
    let report = Report::begin(&case.source.path);
    let reader = Reader::start(&case.source.path);
    let (status, told) = daemon.post("/v1/validation", r#"{"repair": true}"#);
    assert_eq!(status, 202, "{told:#}");
    daemon.wait_for(|daemon| daemon.log().contains("rows that differ are read again").then_some(()));
    sleep(LONG);
    let longest = reader.longest();
    report.end();
    assert!(longest < WAIT_MAX, "a read took {longest:?}\n{}", daemon.log());
    daemon.until(|status| status["validation"]["verdict"] == "equal");
    case.is_equal();
}

const LONG: Duration = Duration::from_secs(3);

/// Guards, and a canary that is sent the whole way round, are writes to SQLite too.
#[test]
fn an_order_that_comes_upon_a_comparison_keeps_no_reader_waiting() {
    // Without a number for its key it is compared in one piece, which takes some seconds.
    let case = Case::new(
        "create table t (k text primary key, v text);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 700000) insert into t select 'k' || i, 'v' from n",
    );
    let mut daemon = case.daemon(ANY);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.drained(&case.source);
    let (status, told) = daemon.post("/v1/validation", "{}");
    assert_eq!(status, 202, "{told:#}");
    daemon.until(|status| status["validation"]["state"] == "running");
    sleep(Duration::from_millis(200));
    let reader = Reader::start(&case.source.path);
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    let longest = reader.longest();
    assert!(longest < WAIT_MAX, "a read took {longest:?}\n{}", daemon.log());
    let status = daemon.until(|status| status["validation"]["verdict"].is_string());
    assert_eq!(status["validation"]["verdict"], "equal");
}

/// A column's form is learnt while a comparison waits: what is read again for that is named in SQLite.
#[test]
fn what_is_learnt_anew_keeps_no_reader_waiting() {
    let case = Case::new(
        "create table t (id integer primary key, at datetime);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 50) insert into t select i, '2024-01-02 03:04:05' from n;
         insert into t values (77, 'no time')",
    );
    let forced = ["--set", "types.column.\"t.at\".type=timestamp"];
    let mut daemon = case.daemon(&[ANY, &forced].concat());
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.drained(&case.source);
    // By then the values were looked at as they are.
    sleep(Duration::from_secs(1));
    let reader = Reader::start(&case.source.path);
    case.app(
        "begin; create table anew (id integer primary key, at datetime); insert into anew select id, replace(at, ' 0', 'T0') from t;
         drop table t; alter table anew rename to t; commit",
    );
    until("the new form is learnt", || {
        daemon.drained(&case.source);
        case.rows("select 1 from liteferry.captured where suspect").is_empty()
            && case.rows("select key from liteferry.ledger") == [[Some("[77]".to_owned())]]
            && daemon.log().contains("spelt otherwise than was taken for granted")
    });
    let longest = reader.longest();
    assert!(longest < WAIT_MAX, "a read took {longest:?}\n{}", daemon.log());
    case.is_equal();
}

#[test]
fn an_application_that_leaves_wal_is_followed_on_and_told_of() {
    let case = Case::new("pragma journal_mode = wal; create table t (id integer primary key)");
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    case.app("insert into t values (1)");
    daemon.drained(&case.source);
    daemon.at_rest(&case.source);
    assert!(!daemon.log().contains("has left WAL mode"));
    // SQLite waits for nobody here: whoever is connected at this moment, if only to look, refuses it.
    daemon.wait_for(|_| application(&case.source.path).execute_batch("pragma journal_mode = delete").ok());
    daemon.until_told_by("has left WAL mode", || case.app("insert into t select max(id) + 1 from t"));
    daemon.drained(&case.source);
    case.is_equal();
}
