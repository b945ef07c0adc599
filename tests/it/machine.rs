//! The machine's record: it moves by compare-and-set alone, and each move stands in the journal with who, why, before and after.

use crate::support::{TestDatabase, database, psql};
use futures_util::future::join_all;
use liteferry::engine::records::Records;
use liteferry::journal::crossing::{Crosser, begin_way_back};
use liteferry::journal::follow::Taken;
use liteferry::journal::machine::{Entry, Recorded};
use liteferry::journal::store::Store;
use liteferry::model::fault::Fault;
use liteferry::model::history::Position;
use liteferry::phase::Phase;
use liteferry::phase::machine::{Command, Crossing, Event, Percent, State, transition};
use liteferry::postgres::connect::{connect, pool};
use liteferry::postgres::url::Target;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// A migration that follows, without the tables it would follow.
struct Bench {
    target: TestDatabase,
    store: Store,
    owner: String,
    runtime: Runtime,
}

const MIGRATION: i64 = 1;
const FOLLOWS: &str = "insert into liteferry.migration (source_path, mode, target_schema, fingerprint, version)
     values ('app.db', 'create', 'public', '', '');
     insert into liteferry.follow (migration_id, token, epoch, seq, nonce, phase, source_schema, replica_sessions)
     values (1, 't', 1, 0, 0, 'dual-write', '', false)";
const DUAL_WRITE: State = State { phase: Phase::DualWrite, ..State::FIRST };
const VALIDATE: State = State { phase: Phase::Validate, ..State::FIRST };
const BEGUN: State = State { crossing: Some(Crossing::Switch), ..VALIDATE };
const BY_ANN: Entry<'static> =
    Entry { what: "command", detail: "validate", actor: "ann (http)", reason: "the week is over" };

impl Bench {
    fn new() -> Bench {
        let target = database();
        let runtime = Runtime::new().expect("a runtime can be made");
        let store = runtime.block_on(async {
            let store = Store::new(pool(&address(&target)).await.expect("the server answers"));
            store.upgrade().await.expect("the schema can be made");
            store
        });
        psql(&target.url, FOLLOWS);
        let mut bench = Bench { target, store, owner: String::new(), runtime };
        bench.owner = bench.take_over();
        bench
    }

    fn take_over(&self) -> String {
        self.take_over_after(None).expect("the migration is there").owner
    }

    fn take_over_after(&self, before: Option<&Taken>) -> Result<Taken, Fault> {
        self.runtime.block_on(async {
            let owner = self.store.unheard_name().await?;
            self.store
                .take_over(MIGRATION, (&owner, "a test"), before.map(|taken| (taken, [].as_slice())))
                .await
        })
    }

    fn recorded(&self) -> Result<Recorded, Fault> {
        self.runtime.block_on(self.store.machine(MIGRATION))
    }

    fn state(&self) -> State {
        self.recorded().expect("the record can be read").state
    }

    fn enter(&self, before: State, after: State) -> Result<(), Fault> {
        self.enter_as(&self.owner, (before, after), BY_ANN)
    }

    fn enter_as(&self, owner: &str, states: (State, State), entry: Entry<'_>) -> Result<(), Fault> {
        self.runtime.block_on(self.store.enter((MIGRATION, owner), states, entry))
    }

    fn lines(&self) -> Vec<Vec<Option<String>>> {
        psql(
            &self.target.url,
            "select before, after from liteferry.journal where what = 'command' order by id",
        )
    }
}

fn address(target: &TestDatabase) -> Target {
    Target::parse(&target.url, &|_| None).expect("the test's own URL")
}

fn line(before: &str, after: &str) -> Vec<Option<String>> {
    vec![Some(before.to_owned()), Some(after.to_owned())]
}

#[test]
fn a_move_is_recorded_with_who_and_why_and_from_where_to_where() {
    let bench = Bench::new();
    let first = bench.recorded().expect("the record can be read");
    assert_eq!(first, Recorded { state: DUAL_WRITE, routing_epoch: 1 });
    bench.enter(DUAL_WRITE, VALIDATE).expect("it stands there");
    let reads = State { reads: Percent::new(25).expect("a percentage"), ..VALIDATE };
    let fact = Entry { what: "phase", detail: "", actor: "", reason: "" };
    bench.enter_as(&bench.owner, (VALIDATE, reads), fact).expect("it stands there");
    assert_eq!(bench.state(), reads);

    let records = Records::new(Arc::new(address(&bench.target)), "public".to_owned());
    let journal = bench.runtime.block_on(records.journal(10)).expect("the journal can be read");
    let fields = |entry: &Value| {
        ["what", "detail", "actor", "reason", "before", "after"].map(|field| entry[field].clone())
    };
    let entries: Vec<_> = journal["entries"].as_array().expect("a list").iter().map(fields).collect();
    let phase = [
        json!("phase"),
        json!(""),
        Value::Null,
        Value::Null,
        json!("validate"),
        json!("validate, reads 25 %"),
    ];
    let command = ["command", "validate", "ann (http)", "the week is over", "dual-write", "validate"];
    assert_eq!(entries, [phase, command.map(|text| json!(text))]);
}

#[test]
fn a_state_that_is_no_more_is_refused_and_leaves_no_line() {
    let bench = Bench::new();
    bench.enter(DUAL_WRITE, VALIDATE).expect("it stands there");
    bench.enter(VALIDATE, BEGUN).expect("it stands there");
    for (before, after) in [
        // It has left this phase, or this step of the crossing; the last one is not there yet.
        (DUAL_WRITE, VALIDATE),
        (VALIDATE, BEGUN),
        (State { crossing: Some(Crossing::Rollback), ..VALIDATE }, DUAL_WRITE),
        (State { phase: Phase::Switch, ..State::FIRST }, State { phase: Phase::Cleanup, ..State::FIRST }),
    ] {
        assert_eq!(bench.enter(before, after).unwrap_err().code, "another_owner");
    }
    let other = bench.enter_as("somebody", (BEGUN, VALIDATE), BY_ANN);
    assert_eq!(other.unwrap_err().code, "another_owner");
    assert_eq!(bench.state(), BEGUN);
    assert_eq!(bench.lines(), [line("dual-write", "validate"), line("validate", "validate, switch begun")]);
}

#[test]
fn whoever_lost_the_migration_moves_it_no_more() {
    let bench = Bench::new();
    let new = bench.take_over();
    assert_eq!(bench.enter(DUAL_WRITE, VALIDATE).unwrap_err().code, "another_owner");
    bench.enter_as(&new, (DUAL_WRITE, VALIDATE), BY_ANN).expect("the new owner may");
    assert_eq!(bench.lines().len(), 1);
}

/// Of whoever had it before us, and of ourselves, a target that fell back remembers; of whoever took it after us only one that lives.
#[test]
fn whoever_lost_the_migration_takes_it_back_from_nobody_who_came_later() {
    let bench = Bench::new();
    let first = bench.take_over_after(None).expect("it is free");
    let fallen_back = "update liteferry.follow set owner_seen = owner_seen - interval '1 second'";
    psql(&bench.target.url, "update liteferry.follow set owner_seen = now() + interval '1 second'");
    let ours = bench.take_over_after(Some(&first)).expect("it is ours still, whenever it was last seen");
    psql(&bench.target.url, &format!("{fallen_back}, owner = '{}'", first.owner));
    let ours = bench.take_over_after(Some(&ours)).expect("it was ours before");
    psql(&bench.target.url, &format!("{fallen_back}, owner = 'one before us'"));
    let ours = bench.take_over_after(Some(&ours)).expect("whoever had it before us has lost it");
    psql(&bench.target.url, "update liteferry.follow set owner = '', owner_seen = '-infinity'");
    let ours = bench.take_over_after(Some(&ours)).expect("it is nobody's");
    let theirs = bench.take_over();
    assert_eq!(bench.take_over_after(Some(&ours)).expect_err("it is theirs").code, "another_owner");
    bench.enter_as(&theirs, (DUAL_WRITE, VALIDATE), BY_ANN).expect("they have it still");
}

#[test]
fn the_way_back_is_begun_by_whoever_has_the_migration_where_it_stands() {
    let bench = Bench::new();
    bench.enter(DUAL_WRITE, VALIDATE).expect("it stands there");
    let at = |nonce| Position { epoch: 1, seq: 0, nonce };
    let begin = |owner: &str, state: State, at: Position| {
        bench.runtime.block_on(async {
            let session = connect(&address(&bench.target)).await.expect("the server answers");
            session.batch_execute("begin").await.expect("begun");
            let crosser = Crosser { migration: MIGRATION, owner, state };
            let begun = begin_way_back(&session, crosser, at).await;
            session.batch_execute("commit").await.expect("ended");
            begun
        })
    };
    begin(&bench.owner, VALIDATE, at(7)).expect("it is ours");
    let waiting = "insert into liteferry.reverse_change (migration_id, tbl, key) values (1, 1, 'a')";
    psql(&bench.target.url, waiting);
    let new = bench.take_over();
    for (owner, state) in [(&bench.owner, VALIDATE), (&new, DUAL_WRITE), (&new, BEGUN)] {
        assert_eq!(begin(owner, state, at(8)).expect_err("it stands elsewhere").code, "another_owner");
    }
    let stands = "select nonce, (select count(*) from liteferry.reverse_change) from liteferry.reverse";
    assert_eq!(psql(&bench.target.url, stands), [line("7", "1")]);
}

#[test]
fn what_is_recorded_and_decided_waits_for_the_disk_whatever_the_database_is_set_to() {
    let bench = Bench::new();
    psql(&bench.target.url, &format!("alter database {} set synchronous_commit = off", bench.target.name));
    assert_eq!(psql(&bench.target.url, "show synchronous_commit"), [[Some("off".to_owned())]]);
    let (sql, address) = ("select current_setting('synchronous_commit')", address(&bench.target));
    bench.runtime.block_on(async {
        let session = connect(&address).await.expect("the server answers");
        let waits: String = session.query_one(sql, &[]).await.expect("it tells").get(0);
        let pool = pool(&address).await.expect("the server answers");
        let recorded: String = sqlx::query_scalar(sql).fetch_one(&pool.connections).await.expect("it tells");
        assert_eq!((waits.as_str(), recorded.as_str()), ("on", "on"));
    });
}

#[test]
fn of_many_moves_at_once_from_one_state_one_is_made() {
    let bench = Bench::new();
    bench.enter(DUAL_WRITE, VALIDATE).expect("it stands there");
    let moves =
        [DUAL_WRITE; 4].map(|after| bench.store.enter((MIGRATION, &bench.owner), (VALIDATE, after), BY_ANN));
    let moved = bench.runtime.block_on(join_all(moves));
    assert_eq!(moved.iter().filter(|moved| moved.is_ok()).count(), 1, "{moved:?}");
    assert_eq!(bench.lines().len(), 2);
}

#[test]
fn a_record_that_no_event_leads_to_is_not_acted_upon() {
    let bench = Bench::new();
    for record in [
        "phase = 'Setup'",
        "phase = 'setup', paused = true",
        "phase = 'dual-write', crossing = 'switch'",
        "phase = 'switch', reads_percent = 10",
    ] {
        psql(
            &bench.target.url,
            "update liteferry.follow set paused = false, crossing = null, reads_percent = 0",
        );
        psql(&bench.target.url, &format!("update liteferry.follow set {record}"));
        assert_eq!(bench.recorded().unwrap_err().code, "state_unreadable", "{record}");
    }
}

#[test]
fn what_the_machine_says_is_what_the_record_holds_all_the_way() {
    let bench = Bench::new();
    let mut state = DUAL_WRITE;
    for event in [
        Event::Commanded(Command::Validate),
        Event::Commanded(Command::Reads(Percent::ALL)),
        Event::Commanded(Command::Pause),
        Event::Commanded(Command::Resume),
        Event::Commanded(Command::Switch),
        Event::Decided(Crossing::Switch),
        Event::Commanded(Command::Rollback),
        Event::Abandoned(Crossing::Rollback),
        Event::Commanded(Command::Cleanup),
        Event::CleanedUp,
    ] {
        let after = transition(state, event).expect("it is legal");
        bench.enter(state, after).expect("it stands there");
        assert_eq!(bench.state(), after);
        state = after;
    }
    assert_eq!(bench.lines().len(), 10);
}
