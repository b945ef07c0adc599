//! Beside a rollback journal: a commit waits for every reader there, and no reader begins while it waits. The application must not wait for one
//! of us that waits for another.

use crate::follow::Case;
use crate::support::application;
use std::path::Path;
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
