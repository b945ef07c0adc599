//! What the page says where things do not stand well, or have not begun, or are over; and that it fits a phone whatever names it is
//! given.

use super::super::{Listening, listening};
use super::browser::Browser;
use super::{followed, gates, pictures, prepare_still};
use liteferry::engine::report::Verdict;
use liteferry::engine::standing::{Reverse, Routing, Writes};
use liteferry::engine::status::{Backfill, Lag, Run, Status, TableProgress, TableState};
use liteferry::model::fault::{Fault, FaultClass};
use liteferry::phase::machine::{Command, Crossing, State};
use liteferry::phase::{Phase, RunState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Change = fn(&mut Status);

/// A state by its name, what leads to it from a migration that is well, what the page says of it, and what it must not say.
struct Case {
    name: &'static str,
    change: Change,
    says: &'static [&'static str],
    never: &'static [&'static str],
}

const CASES: [Case; 14] = [
    Case {
        name: "first-look",
        change: |status| *status = Status::at_start(Path::new("/srv/shop/data/shop.db")),
        says: &["stands has not been read yet.", "not reached", "No table is followed yet.", "Closed"],
        never: &["behind.", "reads 100 %"],
    },
    Case {
        name: "backfill",
        change: |status| {
            many_tables(status);
            status.machine.phase = Phase::Backfill;
            status.backfill.eta = Some(Duration::from_secs(754));
        },
        says: &["while its rows are copied", "13 min left", "and 189 more tables"],
        never: &["behind."],
    },
    Case {
        name: "many-tables",
        change: many_tables,
        says: &["public.a_table_of_the_application_with_a_rather_long_name_199"],
        never: &[],
    },
    Case {
        name: "unread-gates",
        change: |status| (status.machine.phase, status.standing.gates) = (Phase::Validate, Vec::new()),
        says: &["the gates have not been looked at yet"],
        never: &["No gate stands", "✓ open"],
    },
    Case {
        name: "halted-replaced",
        change: |status| halt(status, &replaced()),
        says: &["Halted: a person is needed.", "[source_replaced]", "nothing is carried over to PostgreSQL"],
        never: &["behind.", "Nothing has moved"],
    },
    Case {
        name: "halted-drift",
        change: |status| halt(status, &drifted()),
        says: &["Halted: a person is needed.", "[schema_drift]"],
        never: &["behind."],
    },
    Case {
        name: "halted-early",
        change: |status| {
            *status = Status::at_start(Path::new("/srv/shop/data/shop.db"));
            halt(status, &drifted());
        },
        says: &["Nothing is carried over."],
        never: &["behind."],
    },
    Case {
        name: "halted-switched",
        change: |status| {
            switched(status);
            let doing = "carry table public.orders back to SQLite";
            let fault = Fault::fatal("reverse_refused", doing)
                .with_source("UNIQUE constraint failed: customers.email")
                .with_remedy(
                    "Change the row in PostgreSQL: the way back goes on. Or give it up: `liteferry cleanup`.",
                );
            halt(status, &fault);
        },
        says: &["[reverse_refused]", "nothing is carried back to SQLite", "Closed"],
        never: &["behind."],
    },
    Case {
        name: "halted-crossing",
        change: |status| {
            status.machine.phase = Phase::Validate;
            status.machine.crossing = Some(Crossing::Switch);
            status.standing.routing = Some(Routing { epoch: 1, writes: Writes::Paused });
            halt(status, &Fault::fatal("source_unreadable", "read who takes the application's writes"));
        },
        says: &["halted while switch was under way"],
        never: &["for a moment", "has not left SQLite"],
    },
    Case {
        name: "degraded",
        change: |status| {
            let fault =
                Fault::new(FaultClass::Transient, "target_unreachable", "connect to db.internal:5432")
                    .with_source("connection refused (os error 111)")
                    .with_remedy("it is tried again by itself");
            status.run = Run::because(RunState::Degraded, &fault);
            status.target.up = false;
            // So long that it stays the same word, however long the browser takes.
            let oldest = Instant::now().checked_sub(Duration::from_secs(10_800));
            status.lag = Some(Lag { changes: 12_094, oldest });
        },
        says: &["A passing fault is being waited out.", "PostgreSQL is 3 h behind.", "not reached"],
        never: &["Nothing has moved"],
    },
    Case {
        name: "paused",
        change: |status| {
            status.machine.paused = true;
            status.run = Run::plain(RunState::Paused);
        },
        says: &["paused by the operator", "Resume"],
        never: &[],
    },
    Case {
        name: "differs",
        change: |status| {
            let last = status.validation.last.as_mut().expect("it was compared");
            (last.verdict, last.differences) = (Verdict::Differs, 3);
        },
        says: &["differs", "3 rows differ", "Repair"],
        never: &[],
    },
    Case {
        name: "switched",
        change: switched,
        says: &["The application writes to PostgreSQL; SQLite is"],
        never: &["is carried"],
    },
    Case {
        name: "done",
        change: |status| {
            switched(status);
            status.machine = State { phase: Phase::Done, ..State::FIRST };
            status.standing.enter(Phase::Done);
            (status.tables, status.source.up) = (Vec::new(), false);
        },
        says: &[
            "The migration has ended",
            "archived",
            "No table is followed any more.",
            "nothing is left to be ordered",
        ],
        never: &["not reached", "behind."],
    },
];

#[test]
fn the_page_says_what_is_so_in_every_state_and_fits_a_phone() {
    let Some(browser) = Browser::start() else { return };
    let server = listening();
    prepare_still(&server.board);
    browser.open(&format!("http://127.0.0.1:{}/", server.handle.at().port()));
    let well = server.board.look(Instant::now()).status;
    // However long the browser takes, the daemon is not stuck before it is made so.
    let (board, ticking) = (server.board.clone(), Arc::new(AtomicBool::new(true)));
    let ticks = Arc::clone(&ticking);
    let ticker = thread::spawn(move || {
        while ticks.load(Ordering::Relaxed) {
            board.tick(Instant::now());
            thread::sleep(Duration::from_millis(200));
        }
    });
    for case in CASES {
        show(&server, &well, case.change);
        for said in case.says {
            browser.until(&format!("{}: {said}", case.name), &includes(said));
        }
        for never in case.never {
            let is_said = browser.run(&includes(never)) == serde_json::json!(true);
            assert!(!is_said, "{}: {never}", case.name);
        }
        browser.look((390, 844), "light");
        browser.until(
            &format!("{} fits a phone", case.name),
            "matchMedia('(max-width: 400px)').matches && document.documentElement.scrollWidth <= 390",
        );
        browser.until(&format!("{} shows a phone the phase", case.name), HERE_IS_SEEN);
        browser.look((1280, 900), "light");
        pictures(&browser, case.name);
    }
    ticking.store(false, Ordering::Relaxed);
    ticker.join().expect("it does nothing but tick");
    let long_ago = Instant::now().checked_sub(Duration::from_secs(40)).expect("the machine runs for longer");
    server.board.update(Instant::now(), |status| *status = well);
    server.board.tick(long_ago);
    browser.until("it is stuck", &includes("Nothing has moved for"));
    pictures(&browser, "stuck");
    browser.is_silent();
}

/// All of the way, and in it the phase that the migration is in; the last one where it has ended.
const HERE_IS_SEEN: &str = "(() => {
    const way = document.querySelector('#path');
    const [path, here] = [way, way.querySelector('.here') || way.lastElementChild].map(node => node.getBoundingClientRect());
    return way.scrollWidth <= way.clientWidth && here.left >= path.left - 1 && here.right <= path.right + 1;
})()";

fn includes(text: &str) -> String {
    format!("document.querySelector('main').innerText.includes({})", serde_json::json!(text))
}

fn show(server: &Listening, well: &Status, change: Change) {
    server.board.update(Instant::now(), |status| {
        *status = well.clone();
        change(status);
    });
}

fn halt(status: &mut Status, fault: &Fault) {
    status.run = Run::because(RunState::Halted, fault);
}

fn replaced() -> Fault {
    Fault::fatal("source_replaced", "follow /srv/shop/data/customers/europe/production/2026/shop.db")
        .with_source("another file has taken the place of the one that was followed")
        .with_remedy("make sure that the file is the one you want; then `liteferry run --resync` once")
}

fn drifted() -> Fault {
    Fault::fatal("schema_drift", "write to public.orders: column total is now of type text, and was numeric")
        .with_remedy("undo the change in PostgreSQL, or carry it out in SQLite too")
}

fn switched(status: &mut Status) {
    status.machine = State { phase: Phase::Switch, ..State::FIRST };
    status.standing.routing = Some(Routing { epoch: 2, writes: Writes::Postgres });
    status.standing.reverse = Some(Reverse { changes: 2, oldest: Some(Instant::now()), canary: true });
    status.standing.gates = vec![(Command::Rollback, Vec::new()), (Command::Cleanup, Vec::new())];
    status.standing.pause_measured = Some(Duration::from_millis(34));
}

/// Two hundred, of which one has the longest name that PostgreSQL takes, and one a name without a place to break it.
fn many_tables(status: &mut Status) {
    let mut names: Vec<String> = (0..199)
        .map(|number| format!("a_table_of_the_application_with_a_rather_long_name_{}", number + 1))
        .collect();
    names.push("W".repeat(63));
    names.push("möbel und \u{202e}rückwärts; drop table".to_owned());
    status.tables = (1..).zip(&names).map(|(id, name)| followed(id, name)).collect();
    let progress = |at: usize| {
        let state = if at.is_multiple_of(3) { TableState::Copied } else { TableState::Copying };
        TableProgress { rows: 1_000 * u64::try_from(at).expect("it is small"), total: 420_000, state }
    };
    let tables = names.iter().enumerate().map(|(at, name)| (name.clone(), progress(at))).collect();
    status.backfill = Backfill { tables, eta: None };
    status.standing.gates = vec![(Command::Switch, gates(&["constraints"]))];
}
