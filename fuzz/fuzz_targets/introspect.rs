//! Databases of any kind: bytes that are none, a good one with bytes changed, and schemas of any SQL that SQLite takes. They are
//! introspected, surveyed and planned for, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry::plan::create;
use liteferry::plan::overrides::Overrides;
use liteferry::plan::survey::{ColumnSurvey, Survey, TableSurvey};
use liteferry::plan::typing;
use liteferry::sqlite::connect::SqliteFile;
use liteferry::sqlite::introspect::introspect;
use liteferry::sqlite::scan::Turns;
use liteferry::sqlite::survey::survey_span;
use liteferry_fuzz::{Input, is_balanced};
use rusqlite::Connection;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// SQLite's virtual machine stops after so many thousands of steps.
const STEPS_MAX: i32 = 20_000;
const STATEMENTS_MAX: usize = 12;

/// A small database of everything that introspection looks at.
const GOOD: &[u8] = b"
tt (id integer primary key autoincrement, a text default 'x' check (length(a) < 9), b real, c decimal(10,2) unique)
tp (k text collate nocase, v, primary key (k desc)) without rowid
tq (id int, k text references p on delete cascade, g int as (id * 2) stored, constraint ck check (id > 0))
ii on t (a collate nocase desc, lower(a)) where b > 0
vv as select a, count(*) as n from t group by a
gg after insert on q begin select 1; end
rt values (null, 'a', 1.5, 2), (null, 'b', 9e999, 3.25)
rp values ('k', 1), ('l', x'00ff')
rq (id, k) values (1, 'k'), ('x', null)
";

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let path = dir.path().join("source.db");
    let mut input = Input(data);
    match input.byte() % 3 {
        0 => std::fs::write(&path, input.0).expect("a temporary file can be written"),
        1 => write_mutant(&path, input),
        _ => write_schema(&path, input.0),
    }
    let Ok(file) = SqliteFile::examine(&path, Duration::from_millis(1)) else { return };
    let Ok(db) = file.open_reader() else { return };
    read(&db);
});

/// Places are two bytes each, so that a change of the input is one change of the file.
fn write_mutant(path: &Path, mut input: Input<'_>) {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    let sample = || {
        write_schema(path, GOOD);
        std::fs::read(path).expect("the sample can be read")
    };
    let mut bytes = SAMPLE.get_or_init(sample).clone();
    while !input.0.is_empty() {
        let place = usize::from(u16::from_be_bytes([input.byte(), input.byte()])) % bytes.len();
        bytes[place] = input.byte();
    }
    std::fs::write(path, bytes).expect("a temporary file can be written");
}

/// One statement a line; the first byte says what is created, so that no line reaches beyond the file.
fn write_schema(path: &Path, text: &[u8]) {
    let db = Connection::open(path).expect("SQLite opens a new file");
    limit(&db);
    let text = String::from_utf8_lossy(text);
    for line in text.lines().take(STATEMENTS_MAX) {
        let mut letters = line.chars();
        let what = match letters.next() {
            Some('t') => "create table",
            Some('i') => "create index",
            Some('u') => "create unique index",
            Some('v') => "create view",
            Some('g') => "create trigger",
            Some('r') => "insert into",
            _ => continue,
        };
        if let Ok(mut statement) = db.prepare(&format!("{what} {}", letters.as_str())) {
            let _ = statement.raw_execute();
        }
    }
}

fn limit(db: &Connection) {
    let mut steps = 0;
    let count = move || {
        steps += 1;
        steps > STEPS_MAX
    };
    db.progress_handler(1000, Some(count)).expect("a progress handler can be set");
}

fn read(db: &Connection) {
    limit(db);
    let Ok(schema) = introspect(db) else { return };
    let overrides = Overrides::default();
    let mut survey = Survey::default();
    for table in &schema.tables {
        let learners = |column| ColumnSurvey::with_learners(typing::candidates(table, column, &overrides));
        let columns = (0..table.columns.len()).map(learners).collect();
        let blank = TableSurvey { columns, ..TableSurvey::default() };
        let turns = Turns { read_time: Duration::MAX, ended: &|_| {} };
        if let Ok(seen) = survey_span(db, table, (Default::default(), blank), &turns) {
            survey.tables.insert(table.name.clone(), seen);
        }
    }
    for survey in [None, Some(&survey)] {
        let plan = create::plan(&schema, survey, "public", &overrides);
        let statements = plan.tables.iter().flat_map(|table| table.create.iter().chain(table.after_load()));
        for statement in statements.chain(&plan.views) {
            assert!(is_balanced(&statement.sql), "{}", statement.sql);
        }
    }
}
