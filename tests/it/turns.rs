//! What is told while tables are read: survey and proof report turn by turn, of tables without a rowid too.

use crate::support::{database, sqlite};
use liteferry::engine::copy::{Copied, Listing, copy};
use liteferry::engine::earlier::Earlier;
use liteferry::engine::prepare::{Request, Values, Widening};
use liteferry::flow::backfill::OnMisfit;
use liteferry::flow::progress::{Event, Watch};
use liteferry::plan::Mode;
use liteferry::plan::overrides::Overrides;
use liteferry::postgres::url::Target as Address;
use liteferry::sqlite::scan::ChunkLimit;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Rows by turn, of the survey and of the proof.
#[derive(Default)]
struct Told {
    surveyed: Mutex<Vec<u64>>,
    compared: Mutex<Vec<u64>>,
}

impl Watch for Told {
    fn see(&self, event: Event<'_>) {
        let (turns, rows) = match event {
            Event::Surveyed { rows, .. } => (&self.surveyed, rows),
            Event::Compared { rows, .. } => (&self.compared, rows),
            Event::Loaded { .. } | Event::Stepped { .. } => return,
        };
        turns.lock().expect("no thread has panicked").push(rows);
    }
}

#[test]
fn a_table_without_a_rowid_is_told_of_turn_by_turn() {
    let file = sqlite(
        "create table t (a text, b integer, v, primary key (a desc, b)) without rowid;
         insert into t values ('x', 1, 1), ('x', 2, 'two'), ('y', 1, null), ('z', 9, 4)",
    );
    let target = database();
    let request = Request {
        source: file.path.clone(),
        busy_timeout: Duration::from_secs(5),
        address: Arc::new(Address::parse(&target.url, &|_| None).expect("the test's own URL")),
        schema: "public".into(),
        mode: Mode::Create,
        overrides: Overrides::default(),
        values: Values::Surveyed,
        on_misfit: OnMisfit::Ledger,
        widening: Widening::Never,
        workers: 2,
        partly: None,
        // A turn ends after each row.
        limit: ChunkLimit { bytes: 1 << 16, read_time: Duration::ZERO },
    };
    let told = Told::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let copied = copy(&request, (Earlier::Resume, Listing(5)), &told);
    let copied = runtime.expect("a runtime can be made").block_on(copied);
    let Ok(Copied::Done { report, .. }) = copied else { panic!("the copy ends") };
    assert!(report.success(), "{:#}", report.to_json());
    for turns in [told.surveyed, told.compared] {
        let turns = turns.into_inner().expect("no thread has panicked");
        assert_eq!(turns, [1, 1, 1, 1, 0]);
    }
}
