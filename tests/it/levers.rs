//! What an operator does with a running daemon: orders with the token, validation and repair beside a writer, and taking everything
//! out of the source again.

mod daemon;

use crate::support::{
    Output, TempDb, TestDatabase, application, command, database, finished, liteferry, psql, sqlite,
};
use daemon::Daemon;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Rows that the tests plant differences in, out of the writers' way.
const ROWS: &str = "pragma journal_mode = wal;
    create table item (id integer primary key, name text not null, price real);
    create index item_name on item (name);
    create table note (key text primary key, body text) without rowid;
    create trigger item_upper after insert on item when new.name = 'lower' begin
        update item set name = 'UPPER' where id = new.id; end;
    create view cheap as select * from item where price < 10;
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
    insert into item select i, 'item ' || i, i * 0.25 from n;
    insert into note values ('a', 'first'), ('b', 'second'), ('c', x'00ff');";

#[test]
fn an_order_wants_the_token_and_stands_in_the_journal() {
    let (source, target) = (sqlite(ROWS), database());
    let daemon = Daemon::follow(&source, &target);
    let order = |headers: &[(&str, &str)], body: &str| daemon.post("/v1/validation", headers, body);
    let (bearer, json) = (daemon.bearer(), ("content-type", "application/json"));
    let good = ("authorization", bearer.as_str());
    assert_eq!(order(&[json], "{}").0, 401);
    assert_eq!(order(&[("authorization", "Bearer 00000000000000000000000000000000"), json], "{}").0, 401);
    assert_eq!(order(&[good, json, ("host", "evil.example")], "{}").0, 421);
    let (status, problem) = order(&[good, json], r#"{"repair": false, "colour": "red"}"#);
    assert_eq!((status, &problem["detail"]), (422, &json!("colour is not known here.")));
    let (status, accepted) = order(&[good, json, ("x-liteferry-actor", "ann")], "{}");
    assert_eq!((status, &accepted["see"]), (202, &json!("/v1/validation")));
    let number = accepted["order"].as_u64().expect("an order has a number");
    daemon.wait("the verdict", || daemon.get("/v1/validation")["answered"].as_u64() >= Some(number));

    let journal = daemon.liteferry(&["journal", "--json"]).exits_with(0).json();
    let noted: Vec<&Value> = journal["entries"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|note| note["what"] == "validation")
        .collect();
    assert_eq!(noted.len(), 1, "{journal:#}");
    let detail = noted[0]["detail"].as_str().expect("text");
    assert!(detail.starts_with("ordered by ann (http 127.0.0.1:"), "{detail}");
    let told = daemon.liteferry(&["journal", "--limit", "3"]).exits_with(0).stdout;
    assert!(told.contains("validation") && told.lines().count() == 4, "{told}");
    daemon.stop();
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let (source, target) = (sqlite(ROWS), database());
    let (reader, mut full) = std::io::pipe().expect("a pipe can be made");
    let out = full.try_clone().expect("it can be shared");
    // Nothing that is written to it is ever taken.
    let filling = thread::spawn(move || while full.write_all(&[b'x'; 4096]).is_ok() {});
    let daemon = Daemon::follow_into(&source, &target, (&["run", "--set", "log.level=debug"], out.into()));
    let writer = Writer::start(&source.path);
    daemon.wait("hundreds of changes", || {
        daemon.get("/v1/status")["target"]["position"]["seq"].as_i64() > Some(300)
    });
    assert!(writer.end() > 10, "the writer did not write");
    daemon.liteferry(&["validate"]).exits_with(0);
    daemon.stop();
    drop(reader);
    filling.join().expect("a pipe without a reader refuses");
}

#[test]
fn an_order_outlives_the_loss_of_the_target() {
    let (source, target) = (sqlite(ROWS), database());
    let daemon = Daemon::follow(&source, &target);
    plant(&target);
    let writer = Writer::start(&source.path);
    let bearer = daemon.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let (status, accepted) = daemon.post("/v1/validation", &headers, "{\"repair\": true}");
    assert_eq!(status, 202, "{accepted}");
    for _ in 0..60 {
        psql(
            &target.url,
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        );
        thread::sleep(Duration::from_millis(20));
    }
    writer.end();
    daemon.wait("word of what was lost", || daemon.told().contains("goes on by itself"));
    let number = accepted["order"].as_u64().expect("an order has a number");
    daemon.wait("the verdict", || daemon.get("/v1/validation")["answered"].as_u64() >= Some(number));
    assert_eq!(daemon.get("/v1/validation")["verdict"], "equal + ledger");
    let journal = daemon.liteferry(&["journal", "--json"]).exits_with(0).json();
    let notes = journal["entries"].as_array().expect("a list");
    let orders = notes.iter().filter(|note| note["what"] == "validation").count();
    assert!(orders >= 1, "{journal:#}");
    daemon.stop();
}

#[test]
fn a_planted_difference_is_found_and_mended_beside_a_writer() {
    let (source, target) = (sqlite(ROWS), database());
    let daemon = Daemon::follow(&source, &target);
    let writer = Writer::start(&source.path);
    daemon.liteferry(&["validate"]).exits_with(0);
    plant(&target);
    let found = daemon.liteferry(&["validate", "--json"]).exits_with(1).json();
    assert_differences(&found);
    let shown = daemon.get("/v1/validation");
    assert_eq!((&shown["verdict"], &shown["differences"]), (&json!("differs"), &json!(4)));
    assert_differences(&shown["report"]);
    // Only what is looked at counts, and nothing is mended unasked.
    daemon.liteferry(&["validate", "--table", "note"]).exits_with(1);
    let told = daemon.liteferry(&["validate"]).exits_with(1).stdout;
    assert!(told.contains("1 missing, 1 extra, 1 different") && told.contains("verdict: differs"), "{told}");

    let mended = daemon.liteferry(&["validate", "--repair"]).exits_with(0);
    assert!(
        mended.stderr.contains("rows that differed and were read again from the source: 4"),
        "{}",
        mended.stderr
    );
    assert!(writer.end() > 0, "the writer did not write meanwhile");
    daemon.liteferry(&["validate"]).exits_with(0);
    let rows = psql(&target.url, "select name from item where id in (7, 8, 100007) order by id");
    assert_eq!(rows, [[Some("item 7".to_owned())], [Some("item 8".to_owned())]]);
    let metrics = daemon.text("/metrics");
    assert!(metrics.contains("liteferry_repairs_total{table=\"item\"} 3"), "{metrics}");
    daemon.stop();
}

#[test]
fn without_a_daemon_a_repair_names_the_rows_and_the_next_one_carries_them_over() {
    let (source, target) = (sqlite(ROWS), database());
    Daemon::follow(&source, &target).stop();
    plant(&target);
    let daemonless = Daemon::settings(&source, &target);
    let repaired = finished(command(&daemonless.args(&["validate", "--repair"])).output().expect("it runs"));
    let repaired = repaired.exits_with(1);
    assert!(
        repaired
            .stderr
            .contains("rows named in the change table, for the daemon to carry over when it runs: 4"),
        "{}",
        repaired.stderr
    );
    assert!(repaired.stdout.contains("1 missing, 1 extra, 1 different"), "{}", repaired.stdout);
    let daemon = Daemon::follow(&source, &target);
    daemon.liteferry(&["validate"]).exits_with(0);
    daemon.stop();
}

#[test]
fn a_one_shot_copy_is_not_repaired_and_says_what_to_do() {
    let (source, target) = (sqlite(ROWS), database());
    let settings = Daemon::settings(&source, &target);
    liteferry(&settings.args(&["copy"])).exits_with(0);
    plant(&target);
    let refused = liteferry(&settings.args(&["validate", "--repair"])).exits_with(1);
    assert!(refused.stderr.contains("[repair_not_followed]"), "{}", refused.stderr);
    assert!(refused.stderr.contains("copy --restart"), "{}", refused.stderr);
    liteferry(&settings.args(&["validate"])).exits_with(1);
}

#[test]
fn status_tables_and_ledger_are_told_to_people_and_programs() {
    let (source, target) = (sqlite(ROWS), database());
    let daemon = Daemon::follow(&source, &target);
    daemon.liteferry(&["validate"]).exits_with(0);
    let status = daemon.liteferry(&["status", "--json"]).exits_with(0).json();
    assert_eq!(status["phase"], "dual-write");
    let tables = status["tables"].as_array().expect("a list");
    let item = tables.iter().find(|table| table["source"] == "item").expect("item is followed");
    assert_eq!((&item["rows"], &item["state"]), (&json!(500), &json!("followed")));
    let told = daemon.liteferry(&["status"]).exits_with(0).stdout;
    assert!(told.contains("phase") && told.contains("dual-write") && told.contains("public.item"), "{told}");

    let ledger = daemon.liteferry(&["ledger", "--table", "note", "--json"]).exits_with(0).json();
    let entry = &ledger["entries"][0];
    assert_eq!((&entry["column"], &entry["class"]), (&json!("body"), &json!("blob")), "{ledger:#}");
    let fields: Vec<&String> = entry.as_object().expect("an object").keys().collect();
    assert_eq!(
        fields,
        ["id", "table", "key", "column", "class", "reason", "standing", "recorded", "accepted"]
    );
    assert_eq!(daemon.liteferry(&["ledger", "--table", "item", "--json"]).json(), json!({ "entries": [] }));
    assert!(daemon.liteferry(&["ledger"]).exits_with(0).stdout.contains("note"));
    let settings = Daemon::settings(&source, &target);
    daemon.stop();
    let gone = liteferry(&settings.args(&["status"])).exits_with(1);
    assert!(
        gone.stderr.contains("[daemon_unreachable]") && gone.stderr.contains("liteferry run"),
        "{gone:?}"
    );
}

#[test]
fn detach_leaves_the_schema_as_it_was_before_the_daemon_came() {
    let (source, target) = (sqlite(ROWS), database());
    let before = schema(&source.path);
    let daemon = Daemon::follow(&source, &target);
    assert_ne!(schema(&source.path), before);
    let args = ["--source", source.path.to_str().expect("UTF-8"), "detach"];
    let refused = finished(command(&args).stdin(std::process::Stdio::null()).output().expect("it runs"));
    assert!(refused.exits_with(1).stderr.contains("[not_confirmed]"));
    let detached = daemon.liteferry(&["detach", "--yes"]).exits_with(0);
    assert!(detached.stderr.contains("will halt with capture_missing"), "{}", detached.stderr);
    assert!(detached.stdout.contains("_liteferry_change"), "{}", detached.stdout);
    assert_eq!(schema(&source.path), before);
    let write = "insert into item values (9000, 'still writable', 1)";
    application(&source.path).execute_batch(write).expect("the application writes on");
    daemon.wait("the halt", || daemon.get("/v1/status")["run"]["reason"]["code"] == "capture_missing");
    // A daemon that has halted compares nothing: the command does it, and sees what was written since.
    let alone = daemon.liteferry(&["validate"]).exits_with(1).stdout;
    assert!(alone.contains("missing row [9000]"), "{alone}");
    let refused = daemon.liteferry(&["validate", "--repair"]).exits_with(1).stderr;
    assert!(refused.contains("[capture_missing]"), "{refused}");
    daemon.stop();
    let again = liteferry(&[&args[..], &["--json"]].concat()).exits_with(0).json();
    assert_eq!(again["removed"], json!([]));
}

/// A changed cell, a missing row, an extra row; and a changed cell under a key that is text.
fn plant(target: &TestDatabase) {
    psql(
        &target.url,
        "update item set name = 'spoiled' where id = 7; delete from item where id = 8;
         insert into item values (100007, 'extra', 1); update note set body = 'spoiled' where key = 'b'",
    );
}

#[track_caller]
fn assert_differences(report: &Value) {
    let tables = report["tables"].as_array().expect("a list");
    let found = |name: &str| -> Vec<(String, String)> {
        let table = tables.iter().find(|table| table["table"] == name).expect("it was compared");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let listed = table["differences"].as_array().expect("a list").iter();
        listed.map(|difference| (text(&difference["kind"]), text(&difference["key"]))).collect()
    };
    let pair = |kind: &str, key: &str| (kind.to_owned(), key.to_owned());
    assert_eq!(
        found("item"),
        [pair("different", "[7]"), pair("missing", "[8]"), pair("extra", "[100007]")],
        "{report:#}"
    );
    assert_eq!(found("note"), [pair("different", "[\"b\"]")], "{report:#}");
}

/// The text of every object, as SQLite's own shell tells it.
fn schema(path: &Path) -> Vec<(String, String)> {
    let db = application(path);
    let mut statement =
        db.prepare("select name, coalesce(sql, '') from sqlite_schema order by rowid").expect("it is SQL");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("it runs");
    rows.collect::<Result<_, _>>().expect("every row can be read")
}

/// Writes rows of its own until it is told to end.
struct Writer {
    ending: Arc<AtomicBool>,
    thread: thread::JoinHandle<u32>,
}

impl Writer {
    fn start(path: &Path) -> Writer {
        let (path, ending) = (path.to_owned(), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&ending);
        let thread = thread::spawn(move || {
            let db = application(&path);
            let mut writes = 0;
            while !asked.load(Ordering::Relaxed) {
                let id = 1_000 + writes % 50;
                db.execute(
                    "insert or replace into item values (?1, ?2, ?3)",
                    (id, format!("w{writes}"), 1.5),
                )
                .expect("the application writes");
                writes += 1;
                thread::sleep(Duration::from_millis(5));
            }
            writes
        });
        Writer { ending, thread }
    }

    /// How often it wrote.
    fn end(self) -> u32 {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer writes to its end")
    }
}
