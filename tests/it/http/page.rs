//! The operator's page in a real browser: a person leads a migration there and back by clicks alone, strangers' names stay text, and a
//! daemon that is gone is said to be gone. Without chromium and its driver it is skipped, and says so past the test's own output.

mod browser;
mod real;
mod states;

use super::{Listening, OWN_HOST, listening};
use crate::support::PATIENCE;
use browser::Browser;
use liteferry::engine::order::{Order, Ordered, Repair};
use liteferry::engine::report::Verdict;
use liteferry::engine::standing::{Answer, Reverse, Routing, Writes};
use liteferry::engine::status::{
    Backfill, Board, Followed, Lag, Status, TableProgress, TableState, Target, Validated,
};
use liteferry::model::history::Position;
use liteferry::phase::Phase;
use liteferry::phase::gate::Gate;
use liteferry::phase::machine::{Command, Crossing, Event, Percent, State, transition};
use liteferry::telemetry::labels::Direction;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Would take over a page that made markup of it.
const HOSTILE: &str = "<img src=x onerror=\"document.title='taken'\">";

#[test]
fn the_page_is_one_document_that_runs_nothing_of_strangers() {
    let server = listening();
    let page = server.ask(&["GET / HTTP/1.1\r\n", OWN_HOST, "\r\n"]);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let again = server.get("/");
    assert_ne!(again.header("content-security-policy"), Some(policy.as_str()), "the nonce is guessable");
}

#[test]
fn a_person_leads_a_migration_there_and_back_by_clicks() {
    let Some(browser) = Browser::start() else { return };
    let mut server = listening();
    prepare(&server.board);
    obey(&mut server);
    browser.open(&format!("http://127.0.0.1:{}/", server.handle.at().port()));
    browser.until("the phase is shown", "document.querySelector('.path .here').textContent === 'dual-write'");
    browser.until("tables are shown", "document.querySelector('#tables').textContent.includes('onerror')");
    browser.until(
        "differences are shown",
        "document.querySelector('#validation').textContent.includes('equal')",
    );
    assert_eq!(browser.run("document.querySelectorAll('img').length"), json!(0));
    pictures(&browser, "dual-write");

    browser.click("#do-validate");
    browser.until("the dry run is shown", "document.querySelectorAll('#dialog-body ol li').length === 3");
    browser.fill("#token", "wrong wrong wrong wrong wrong wrong");
    browser.click("#dialog-yes");
    browser.until(
        "the token is refused",
        "document.querySelector('#dialog-wrong').textContent.includes('token')",
    );
    browser.fill("#token", &server.token);
    browser.click("#dialog-yes");
    browser.until("validate", "document.querySelector('.path .here').textContent === 'validate'");

    browser.click("#do-switch");
    browser.until(
        "what is closed is told",
        "document.querySelector('#dialog-body').textContent.includes('It would be refused')",
    );
    assert_eq!(browser.run("document.querySelector('#dialog-yes').hidden"), json!(true));
    pictures(&browser, "refused");
    browser.click("#dialog-no");
    show_gates(&server.board, &[]);
    browser.click("#do-switch");
    browser.until("it is possible", "document.querySelector('#reason') !== null");
    assert_eq!(browser.run("document.querySelector('#token')"), Value::Null, "the token is asked for once");
    browser.fill("#reason", "moving day");
    pictures(&browser, "confirm");
    browser.click("#dialog-yes");
    browser.until("switch", "document.querySelector('.path .here').textContent === 'switch'");
    browser.until("the answer is told", "document.querySelector('#toast').textContent.includes('done')");
    browser.until("the way back is counted", "Number(document.querySelector('#rate-now').textContent) > 400");
    browser.until(
        "the way back is drawn",
        "document.querySelector('.reverse').points.length > 1 && !document.querySelector('#reverse-figure').hidden",
    );
    let off = "[...document.querySelectorAll('.order')].every(button => button.disabled)";
    browser.until("nothing is offered that would be refused", off);
    pictures(&browser, "switched");
    browser.click("#do-rollback");
    browser.until("the dry run is shown", "document.querySelectorAll('#dialog-body ol li').length === 4");
    browser.click("#dialog-yes");
    browser.until("dual-write again", "document.querySelector('.path .here').textContent === 'dual-write'");

    assert_eq!(browser.run("document.title"), json!("dual-write – liteferry"));
    server.handle.stop();
    browser.until(
        "the silence is said",
        "document.querySelector('#alarm').textContent.includes('No word from the daemon')",
    );
    browser.until("nothing can be ordered", "document.querySelector('#do-validate').disabled");
    pictures(&browser, "gone");
    browser.is_silent();
}

#[test]
fn the_keyboard_alone_reaches_each_lever() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    const ESCAPE: &str = "\u{e00c}";
    let Some(browser) = Browser::start() else { return };
    let server = listening();
    prepare(&server.board);
    browser.open(&format!("http://127.0.0.1:{}/", server.handle.at().port()));
    browser.until("tables are shown", "document.querySelector('#tables').textContent.includes('onerror')");
    let at = || browser.run("document.activeElement.id || document.activeElement.textContent");
    let mut reached = Vec::new();
    // The levers first: nothing stands before them.
    for _ in 0..10 {
        browser.press(TAB);
        reached.push(at().as_str().unwrap_or_default().to_owned());
    }
    for lever in ["do-validate", "do-pause", "percent", "percent-set", "Compare now", "Validate"] {
        assert!(reached.iter().any(|name| name == lever), "{lever} is not among {reached:?}");
    }
    assert_eq!(
        browser.run("document.querySelector('#do-rollback').disabled"),
        json!(true),
        "nothing to go back from"
    );
    // What changes every second takes the focus from nobody.
    browser.run("document.querySelector('#validation-levers button').focus()");
    let told = browser.run("document.querySelector('#validation').textContent");
    browser.until(
        "the verdict has aged",
        &format!("document.querySelector('#validation').textContent !== {told}"),
    );
    assert_eq!(at(), json!("Compare now"));
    browser.run("document.querySelector('#do-validate').focus()");
    browser.press(ENTER);
    browser.until("the dialog", "document.querySelector('#dialog').open && document.querySelector('#dialog').contains(document.activeElement)");
    browser.press(ESCAPE);
    browser.until(
        "where it was",
        "!document.querySelector('#dialog').open && document.activeElement.id === 'do-validate'",
    );
    browser.press(ENTER);
    browser.until("the token's field", "document.querySelector('#token') !== null");
    browser.fill("#token", &server.token);
    browser.press(ENTER);
    browser.until(
        "the order is taken",
        "document.querySelector('#toast').textContent.includes('taken as order 1')",
    );
    browser.is_silent();
}

/// A daemon in miniature: it does at once what the machine allows.
fn obey(server: &mut Listening) {
    let nobody = tokio::sync::mpsc::channel(1).1;
    let (mut orders, board) = (std::mem::replace(&mut server.orders, nobody), server.board.clone());
    thread::spawn(move || {
        while let Some(Ordered { order, number, .. }) = orders.blocking_recv() {
            let Order::Phase(command) = order else { continue };
            board.update(Instant::now(), |status| {
                let begun = transition(status.machine, Event::Commanded(command)).expect("it was looked at");
                let ended = |crossing: Crossing| transition(begun, Event::Decided(crossing));
                status.machine =
                    begun.crossing.map_or(begun, |crossing| ended(crossing).expect("it was begun"));
                let writes =
                    if status.machine.phase == Phase::Switch { Writes::Postgres } else { Writes::Sqlite };
                if writes == Writes::Postgres {
                    let none = |command| (command, Vec::new());
                    status.standing.gates = vec![none(Command::Rollback), none(Command::Cleanup)];
                }
                let reverse = Reverse { changes: 2, oldest: Some(Instant::now()), canary: true };
                status.standing.routing = Some(Routing { epoch: 2, writes });
                status.standing.reverse = (writes == Writes::Postgres).then_some(reverse);
                status.standing.pause_measured = status.standing.reverse.map(|_| Duration::from_millis(62));
                status.standing.tell(Answer { number, refused: None });
            });
        }
    });
}

/// A migration that is well, and an application that writes.
fn prepare(board: &Board) {
    prepare_still(board);
    let board = board.clone();
    thread::spawn(move || {
        let began = Instant::now();
        while began.elapsed() < *PATIENCE {
            board.tick(Instant::now());
            let step = i64::try_from(began.elapsed().as_millis() / 100).expect("it is small");
            board.update(Instant::now(), |status| write(status, step));
            thread::sleep(Duration::from_millis(100));
        }
    });
}

fn prepare_still(board: &Board) {
    let now = Instant::now();
    let position = Position { epoch: 1, seq: 40, nonce: 7 };
    board.update(now, |status| {
        status.machine = State { phase: Phase::DualWrite, reads: Percent::NONE, ..State::FIRST };
        status.source.path = "/srv/shop/data/shop.db".into();
        (status.source.up, status.source.wal_bytes, status.source.log_rows) = (true, 4_120_000, 18_422);
        status.target = Target {
            up: true,
            version: Some("15.14".into()),
            position: Some(position),
            address: "postgres://shop@db.internal:5432/shop".into(),
            schema: "public".into(),
        };
        status.lag = Some(Lag { changes: 3, oldest: None });
        let names = ["customers", "orders", "order_lines", HOSTILE, "notes"];
        status.tables = (1..).zip(names).map(|(id, name)| followed(id, name)).collect();
        let rows = |rows| TableProgress { rows, total: 420_000, state: TableState::Copied };
        let tables = names.iter().map(|name| ((*name).to_owned(), rows(420_000))).collect();
        status.backfill = Backfill { tables, eta: None };
        status.validation.last = Some(Validated {
            direction: Direction::Forward,
            verdict: Verdict::Equal,
            position,
            at: now,
            differences: 0,
            repair: Repair::LeaveAsIs,
        });
        status.validation.clean = Some(now);
        status.standing.routing = Some(Routing { epoch: 1, writes: Writes::Sqlite });
        status.standing.pause_expected = Some(Duration::from_millis(48));
    });
    show_gates(board, &["validation", "ledger"]);
}

/// The application writes, and is followed more or less closely.
fn write(status: &mut Status, step: i64) {
    let behind = [12, 30, 21, 55, 18, 140, 34, 16][usize::try_from(step / 5 % 8).expect("it is small")];
    let oldest = Some(Instant::now() - Duration::from_millis(behind));
    status.lag = Some(Lag { changes: 3, oldest });
    if let Some(reverse) = &mut status.standing.reverse {
        (reverse.changes, reverse.oldest) = (2, oldest);
        // Faster than the way there, so that the two are told apart.
        status.standing.written_back = 60 * step.unsigned_abs();
        return;
    }
    status.source.seq = Some(41 + step * 23);
    if let Some(position) = &mut status.target.position {
        position.seq = 40 + step * 23;
    }
}

fn followed(id: i64, name: &str) -> Followed {
    Followed { id, source: name.to_owned(), target: format!("public.{name}"), suspect: false }
}

fn show_gates(board: &Board, closed: &[&str]) {
    let gates = gates(closed);
    board.update(Instant::now(), |status| status.standing.gates = vec![(Command::Switch, gates)]);
}

fn gates(closed: &[&str]) -> Vec<Gate> {
    let (validated, held) =
        if closed.is_empty() { ("2 min old", "0 entries") } else { ("31 h old", "2 entries") };
    let broken = match closed.contains(&"constraints") {
        true => "orders_customer_id_fkey of 3 rows, order_lines_order_id_and_a_longer_name_fkey of 12 rows",
        false => "hold",
    };
    let gate = |name, reading: &str, limit: &str, remedy: &str| {
        let ok = !closed.contains(&name);
        let remedy = if ok { String::new() } else { remedy.to_owned() };
        Gate { name, ok, known: true, reading: reading.to_owned(), limit: limit.to_owned(), remedy }
    };
    vec![
        gate("lag", "0.02 s", "1 s", ""),
        gate("validation", validated, "24 h", "Run `liteferry validate`."),
        gate("ledger", held, "none, or accepted", "Look at `liteferry ledger`; accept or retry each."),
        gate("canary", "came round 0.4 s ago", "within 10 s", ""),
        gate("pause", "48 ms expected", "250 ms", ""),
        gate("busy-timeout", "5 s as stated", "above 1 s", ""),
        gate(
            "constraints",
            broken,
            "none",
            "Mend the rows in SQLite, or drop the constraint: `alter table … drop constraint …`.",
        ),
    ]
}

/// For people to look at, where a directory is named for them.
fn pictures(browser: &Browser, name: &str) {
    let Some(dir) = std::env::var_os("LITEFERRY_SCREENSHOTS").map(PathBuf::from) else { return };
    for (size, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
        for colours in ["light", "dark"] {
            browser.look((width, height), colours);
            thread::sleep(Duration::from_millis(1_200));
            let picture = dir.join(format!("{name}-{size}-{colours}.png"));
            std::fs::write(picture, browser.picture()).expect("a picture can be written");
        }
    }
    browser.look((1280, 900), "light");
}
