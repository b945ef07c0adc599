//! Generated databases: whatever SQLite has stored is copied, proved, and had back. `LITEFERRY_SEEDS` says how many databases are
//! tried, `LITEFERRY_SEED` which is the first, and alone without the other.

use crate::generate;
use crate::generate::random::Random;
use crate::oracle::Oracle;
use crate::support::{TestDatabase, database, psql};
use liteferry::canon::Zone;
use liteferry::engine::copy::{Copied, Listing, copy};
use liteferry::engine::earlier::Earlier;
use liteferry::engine::prepare::{Request, Values, Widening};
use liteferry::engine::report::{Report, Verdict};
use liteferry::flow::backfill::OnMisfit;
use liteferry::flow::progress::Unwatched;
use liteferry::model::finding::Finding;
use liteferry::plan::Mode;
use liteferry::plan::overrides::{IntWidth, JsonChoice, Letters, NumericChoice, Overrides};
use liteferry::postgres::url::Target as Address;
use liteferry::sqlite::scan::ChunkLimit;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SEEDS: u64 = 40;

#[test]
fn every_generated_database_is_copied_and_had_back() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (first, seeds) = match (number("LITEFERRY_SEED"), number("LITEFERRY_SEEDS")) {
        (Some(first), seeds) => (first, seeds.unwrap_or(1)),
        (None, seeds) => (1, seeds.unwrap_or(SEEDS)),
    };
    let seeds = first..first + seeds;
    let target = database();
    psql(&target.url, FRESH_KEY);
    let fails = |seed: &u64| std::panic::catch_unwind(|| check(*seed, &target)).is_err();
    let failed: Vec<u64> = seeds.filter(fails).collect();
    assert!(failed.is_empty(), "run each with LITEFERRY_SEED: {failed:?}");
}

/// A schema for each seed: a database for each would take longer than the copy.
fn check(seed: u64, target: &TestDatabase) {
    eprintln!("seed {seed}");
    let source = generate::source(seed);
    let request = request(seed, &source.path, target);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let copied = runtime.expect("a runtime can be made").block_on(copy(
        &request,
        (Earlier::Resume, Listing(5)),
        &Unwatched,
    ));
    let report = match copied {
        Ok(Copied::Done { report, .. }) => report,
        Ok(Copied::Blocked(findings)) => panic!("{findings:#?}"),
        Err(fault) => panic!("{fault:?}"),
    };
    assert_ne!(report.verdict(), Verdict::Differs, "{:#}", report.to_json());
    let copied =
        CopiedSeed { oracle: Oracle::new(&source.path, target, &request.schema), target, request, report };
    copied.oracle.check();
    copied.nothing_is_left_out_in_silence();
    copied.identity_columns_give_fresh_keys();
    psql(&target.url, &format!("drop schema {} cascade", copied.request.schema));
}

struct CopiedSeed<'a> {
    oracle: Oracle<'a>,
    target: &'a TestDatabase,
    request: Request,
    report: Report,
}

fn request(seed: u64, source: &Path, target: &TestDatabase) -> Request {
    let mut random = Random::new(seed.wrapping_mul(31));
    let overrides = Overrides {
        // Not jsonb: it gives back the same JSON, not the same text, and counts as exact.
        json: *random.pick(&[JsonChoice::Json, JsonChoice::Text]),
        numeric: *random.pick(&[NumericChoice::Numeric, NumericChoice::Numeric, NumericChoice::Float8]),
        int_width: *random.pick(&[IntWidth::Bigint, IntWidth::Declared]),
        letters: *random.pick(&[Letters::Keep, Letters::Lower]),
        source_tz: *random.pick(&[Zone::Utc, Zone::Utc, Zone::Named(chrono_tz::Europe::Paris)]),
        ..Overrides::default()
    };
    Request {
        source: source.to_owned(),
        busy_timeout: Duration::from_secs(5),
        address: Arc::new(Address::parse(&target.url, &|_| None).expect("the test's own URL")),
        schema: format!("s{seed}"),
        mode: Mode::Create,
        overrides,
        values: Values::Surveyed,
        on_misfit: OnMisfit::Ledger,
        widening: Widening::Never,
        workers: 2,
        // Small enough for several chunks of a table.
        partly: None,
        limit: ChunkLimit { bytes: 1 << random.below(16), read_time: Duration::from_secs(1) },
    }
}

impl CopiedSeed<'_> {
    /// Each index, foreign key and view of the source is in the target, or the report says why not.
    fn nothing_is_left_out_in_silence(&self) {
        let (source, of_table) =
            (&self.oracle, "(select name as t from pragma_table_list where type = 'table')");
        let indexes = source.count(&format!("select count(*) from {of_table}, pragma_index_list(t)"));
        let made = self
            .there("pg_index i join pg_class c on c.oid = i.indrelid where indisvalid and c.relnamespace");
        let dropped =
            ["index_dropped", "index_redundant", "index_too_long", "index_too_wide", "unique_dropped"];
        let said = self.said(&dropped, "index ") + self.said(&[], "constraint ");
        assert!(indexes <= made + said, "{indexes} {made} {:#}", self.report.to_json());

        let keys = format!("select count(*) from {of_table}, pragma_foreign_key_list(t) where seq = 0");
        let made = self.there("pg_constraint where contype = 'f' and connamespace");
        let said = self.said(&["foreign_key_dropped"], "foreign key ");
        assert_eq!(source.count(&keys), made + said, "{:#}", self.report.to_json());

        let views = source.count("select count(*) from sqlite_schema where type = 'view'");
        let made = self.there("pg_class where relkind = 'v' and relnamespace");
        let said = self.said(&["view_dropped"], "view ");
        assert_eq!(views, made + said, "{:#}", self.report.to_json());
    }

    fn there(&self, what: &str) -> i64 {
        let sql = format!("select count(*) from {what} = '{}'::regnamespace", self.request.schema);
        psql(&self.target.url, &sql)[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a count")
    }

    /// Findings of these codes, and steps of this kind that PostgreSQL refused.
    fn said(&self, codes: &[&str], step: &str) -> i64 {
        let of = |finding: &&Finding| {
            codes.contains(&finding.code)
                || finding.code == "step_dropped" && finding.subject.starts_with(step)
        };
        i64::try_from(self.report.findings.iter().filter(of).count()).expect("few findings")
    }

    fn identity_columns_give_fresh_keys(&self) {
        let sql = format!(
            "select attrelid::regclass::text, fresh_key(attrelid, attname) from pg_attribute a
             join pg_class c on c.oid = a.attrelid where attidentity <> '' and relnamespace = '{}'::regnamespace",
            self.request.schema
        );
        let keys = psql(&self.target.url, &sql);
        let without = keys.iter().filter(|row| row[1].is_none()).count();
        let exhausted =
            self.report.findings.iter().filter(|finding| finding.code == "sequence_exhausted").count();
        assert!(without <= exhausted, "{keys:?} {:#}", self.report.to_json());
    }
}

/// Takes away what a row of defaults may break, but for the primary key, and inserts one.
const FRESH_KEY: &str = r#"
create function fresh_key(of regclass, key name) returns bigint language plpgsql as $$
declare name text; given bigint; known bigint;
begin
    for name in select conname from pg_constraint where conrelid = of and contype in ('c', 'u', 'f') loop
        execute format('alter table %s drop constraint if exists %I cascade', of, name);
    end loop;
    for name in select indexrelid::regclass::text from pg_index where indrelid = of and not indisprimary loop
        execute format('drop index if exists %s cascade', name);
    end loop;
    for name in select attname from pg_attribute where attrelid = of and attnum > 0 and attnotnull and attname <> key loop
        execute format('alter table %s alter column %I drop not null', of, name);
    end loop;
    execute format('insert into %s default values returning %I', of, key) into given;
    execute format('select max(%I) from %s where %I <> $1', key, of, key) into known using given;
    if known >= given then raise 'key % is not fresh: %', given, known; end if;
    return given;
exception when sequence_generator_limit_exceeded then
    return null;
end $$"#;
