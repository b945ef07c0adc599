//! A migrated pair whose application has moved to PostgreSQL: writes there, batches taken back by SQLite, and both compared.

use crate::support::{TempDb, TestDatabase, database, liteferry, psql, sqlite};
use futures_util::future::join;
use liteferry::flow::backfill::OnMisfit;
use liteferry::flow::follow::{Step, step};
use liteferry::flow::validate::{Comparison, Extra, Mender, Scope, TableVerdict};
use liteferry::journal::record::route_from_text;
use liteferry::link::{Applied, Applier, Captured, Extent, Link, OnDisk, Sending, Span, Take};
use liteferry::model::fault::Fault;
use liteferry::model::history::Position;
use liteferry::model::name::literal;
use liteferry::plan::capture::{CaptureTable, capture_table, key_of};
use liteferry::plan::overrides::ExistingRows;
use liteferry::plan::reverse::Firing;
use liteferry::plan::route::Route;
use liteferry::postgres::capture as there;
use liteferry::postgres::changes::{PgChanges, name_again};
use liteferry::postgres::connect::{Session, connect};
use liteferry::postgres::pair::PgHalf;
use liteferry::postgres::target::{LoadRole, PgTarget};
use liteferry::postgres::url::Target;
use liteferry::sqlite::apply::SqliteApplier;
use liteferry::sqlite::capture::{self, Origin};
use liteferry::sqlite::connect::SqliteFile;
use liteferry::sqlite::control;
use liteferry::sqlite::history::schema_digest;
use liteferry::sqlite::introspect::introspect;
use liteferry::sqlite::pair::SqliteHalf;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

pub const TOKEN: &str = "00000000000000000000000000000001";
/// Where both sides begin.
pub const BEGIN: Position = Position { epoch: 1, seq: 0, nonce: 42 };

pub struct Pair {
    pub file: TempDb,
    pub db: TestDatabase,
    pub migration: i64,
    pub routes: BTreeMap<i64, Arc<Route>>,
}

/// Both ends of the way back, and the runtime that they live in.
pub struct Way {
    pub runtime: Runtime,
    pub changes: PgChanges,
    pub applier: SqliteApplier,
    pub at: Position,
}

impl Pair {
    pub fn created(source: &str) -> Pair {
        Pair::created_in(source, database())
    }

    pub fn created_in(source: &str, db: TestDatabase) -> Pair {
        Pair::of(sqlite(source), db, &["target.mode=create"])
    }

    pub fn mapped(source: &str, target: &str) -> Pair {
        Pair::mapped_with(&[], (source, target))
    }

    pub fn mapped_with(settings: &[&str], (source, target): (&str, &str)) -> Pair {
        let db = database();
        psql(&db.url, target);
        Pair::of(sqlite(source), db, &[&["target.mode=existing"], settings].concat())
    }

    fn of(file: TempDb, db: TestDatabase, settings: &[&str]) -> Pair {
        let source = file.path.display().to_string();
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let args = [&["copy", "--json", "--source", &source, "--target", &db.url], &settings[..]].concat();
        liteferry(&args).exits_with(0);
        let routes =
            psql(&db.url, "select route::text from liteferry.route where not compared order by ordinal");
        let route = |row: &Vec<Option<String>>| {
            let mut route = route_from_text(row[0].as_deref().expect("a route")).expect("it is readable");
            for column in &mut route.columns {
                let sql = format!(
                    "select atttypid from pg_attribute where attrelid = {}::regclass and attname = {}",
                    literal(&route.target.sql()),
                    literal(&column.target)
                );
                let oid = psql(&db.url, &sql)[0][0].clone().expect("the column is there");
                column.type_oid = oid.parse().expect("a number");
            }
            Arc::new(route)
        };
        let routes = (1..).zip(routes.iter().map(route)).collect();
        let migration = psql(&db.url, "select id from liteferry.migration")[0][0].clone();
        let migration = migration.and_then(|id| id.parse().ok()).expect("a migration");
        let pair = Pair { file, db, migration, routes };
        pair.switch();
        pair
    }

    /// What the switch leaves behind: capture armed on both sides, SQLite's writes closed.
    fn switch(&self) {
        let source = self.source().open_writer(Duration::from_secs(5)).expect("it can be written");
        let captures = self.captures(&source);
        let origin = Origin { migration: TOKEN.into(), epoch: 1 };
        capture::arm(&source, &origin, &captures, &|| {}).expect("capture is armed");
        control::begin_reverse(&source, BEGIN).expect("the way back is opened");
        source.execute_batch("update _liteferry_control set writes = 'postgres'").expect("closed");
        self.with_session(async |session| {
            session.batch_execute("begin").await.expect("begun");
            there::install(session, self.migration, &self.routes).await?;
            there::begin_history(session, self.migration, BEGIN).await?;
            there::set_parts(session, self.migration, &[(there::Part::Capture, Firing::Always)]).await?;
            session.batch_execute("commit").await.expect("committed");
            Ok(())
        });
    }

    pub fn captures(&self, source: &Connection) -> Vec<CaptureTable> {
        let schema = introspect(source).expect("the schema is read");
        let capture = |(id, route): (&i64, &Arc<Route>)| {
            let table = schema.table(&route.source).expect("the table is there");
            let key = key_of(route, table).expect("it has a key");
            capture_table(&schema, table, key, *id).expect("it can be captured")
        };
        self.routes.iter().map(capture).collect()
    }

    pub fn with_session<T>(&self, work: impl AsyncFnOnce(&Session) -> Result<T, Fault>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let session = connect(&self.address()).await.expect("the server answers");
            let done = work(&session).await.expect("it is done");
            session.close().await;
            done
        })
    }

    fn address(&self) -> Target {
        Target::parse(&self.db.url, &|_| None).expect("a URL")
    }

    pub fn way(&self) -> Way {
        self.way_in_portions_of(1 << 20)
    }

    fn target(&self) -> PgTarget {
        let (address, role) = (Arc::new(self.address()), LoadRole::Origin);
        PgTarget::new(address, Some(self.migration), role, ExistingRows::Refuse)
    }

    fn source(&self) -> SqliteFile {
        SqliteFile::examine(&self.file.path, Duration::from_secs(5)).expect("the source is usable")
    }

    pub fn way_in_portions_of(&self, bytes: usize) -> Way {
        self.way_told_by(None, bytes)
    }

    /// A way that somebody else tells what SQLite's disk has.
    pub fn way_told_by(&self, told: Option<OnDisk>, bytes: usize) -> Way {
        let file = self.source();
        let schema = schema_digest(&file.open_reader().expect("it opens")).expect("it has a schema");
        let (applier, on_disk) = SqliteApplier::new(file, TOKEN.into(), schema).expect("it can be written");
        let followed = (self.migration, self.routes.clone());
        let changes = PgChanges::new(self.target(), followed, bytes, told.unwrap_or(on_disk));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let mut way = Way { runtime: runtime.expect("a runtime"), changes, applier, at: BEGIN };
        way.resume().expect("SQLite stands somewhere");
        way
    }

    /// The application writes to PostgreSQL.
    pub fn app(&self, sql: &str) {
        psql(&self.db.url, sql);
    }

    pub fn there(&self, sql: &str) -> Vec<String> {
        psql(&self.db.url, sql).into_iter().flatten().map(|cell| cell.unwrap_or("null".into())).collect()
    }

    pub fn sqlite(&self) -> Connection {
        Connection::open(&self.file.path).expect("SQLite opens")
    }

    /// Rows of SQLite; NULL as such, blobs as text.
    pub fn here(&self, sql: &str) -> Vec<String> {
        let db = self.sqlite();
        let mut statement = db.prepare(sql).expect("a query");
        let width = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        let mut found = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            let cells: Vec<String> = (0..width)
                .map(|at| match row.get_ref(at).expect("a cell") {
                    ValueRef::Null => "NULL".into(),
                    ValueRef::Integer(value) => value.to_string(),
                    ValueRef::Real(value) => format!("{value:?}"),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                        String::from_utf8_lossy(bytes).into_owned()
                    }
                })
                .collect();
            found.push(cells.join("|"));
        }
        found
    }

    pub fn waiting(&self) -> String {
        self.there("select count(*) from liteferry.reverse_change")[0].clone()
    }

    /// By the validator that reads the whole of both sides.
    #[track_caller]
    pub fn is_equal(&self) {
        let source = self.file.path.display().to_string();
        let report = liteferry(&["validate", "--json", "--source", &source, "--target", &self.db.url]);
        let found = report.json();
        assert_eq!(found["success"], true, "{found:#}");
    }
}

/// Keeps the keys of one table that differ.
#[derive(Debug)]
pub struct Differing {
    id: i64,
    pub keys: Vec<Vec<u8>>,
}

impl Mender for Differing {
    async fn differing(&mut self, _route: &Arc<Route>, keys: Vec<Vec<u8>>) -> Result<(), Fault> {
        self.keys.extend(keys);
        Ok(())
    }
}

/// Whoever does not wait has gone on by then.
async fn after_a_moment(look: impl FnOnce()) {
    tokio::time::sleep(Duration::from_millis(300)).await;
    tokio::task::block_in_place(look);
}

impl Way {
    pub fn resume(&mut self) -> Result<(), Fault> {
        self.runtime.block_on(async {
            let reached = self.applier.reached().await?;
            self.changes.resume(reached).await;
            self.at = reached.at;
            Ok(())
        })
    }

    /// Takes one batch, and forgets with the same question the one before; nothing if none waits.
    pub fn step(&mut self, take: Take, on_misfit: OnMisfit) -> Result<Option<Step>, Fault> {
        self.runtime.block_on(async {
            let step = step(&self.changes, &mut self.applier, (self.at, take), on_misfit).await?;
            self.at = step.as_ref().map_or(self.at, |step| step.to);
            Ok(step)
        })
    }

    /// Takes all that waits.
    #[track_caller]
    pub fn drain(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(step) = self.step(Take::UpTo(10_000), OnMisfit::Ledger).expect("a batch is taken") {
            steps.push(step);
        }
        steps
    }

    /// Commits in SQLite, and forgets nothing.
    pub fn commit_only(&mut self) -> Result<Applied, Fault> {
        self.runtime.block_on(async {
            let mut batch = self.changes.changes(self.at, Take::All).await?.expect("something waits");
            self.applier.open(batch.from, batch.to, batch.newest).await?;
            while let Some(portion) = batch.portions.next().await? {
                self.applier.put(portion).await?;
            }
            self.applier.commit(Extent::Whole, Sending::Ahead, self.changes.harden()).await?.await
        })
    }

    /// Commits what is durable once `durable` says so, and forgets nothing. It is given up where that is asked for first.
    pub fn commit_unless(
        &mut self,
        durable: impl Future<Output = Result<(), Fault>> + Send,
        given_up: impl Future<Output = ()>,
    ) -> Option<Result<Applied, Fault>> {
        self.runtime.block_on(async {
            let mut batch =
                self.changes.changes(self.at, Take::All).await.expect("read").expect("something waits");
            self.applier.open(batch.from, batch.to, batch.newest).await.expect("opened");
            while let Some(portion) = batch.portions.next().await.expect("it is read") {
                self.applier.put(portion).await.expect("it is written");
            }
            tokio::select! {
                biased;
                committed = self.applier.commit(Extent::Whole, Sending::Ahead, durable) => {
                    Some(match committed {
                        Ok(outcome) => outcome.await,
                        Err(fault) => Err(fault),
                    })
                }
                () = given_up => None,
            }
        })
    }

    pub fn commit_only_if_any(&mut self) -> Option<Applied> {
        let waits = self.lag().rows > 0;
        waits.then(|| self.commit_only().expect("SQLite has taken it"))
    }

    /// As the driver does after a batch: where SQLite stands now, the next begins.
    pub fn go_on(&mut self) {
        self.at = self.runtime.block_on(self.applier.reached()).expect("SQLite stands somewhere").at;
        self.runtime.block_on(self.changes.forget(self.at.seq)).expect("it is forgotten");
    }

    /// Reads what comes next until SQLite may commit it, while somebody looks on.
    pub fn read_next_beside(&mut self, meanwhile: impl FnOnce()) -> Result<(), Fault> {
        let read = async {
            let mut batch = self.changes.changes(self.at, Take::All).await?.expect("something waits");
            while batch.portions.next().await?.is_some() {}
            self.changes.harden().await
        };
        self.runtime.block_on(async { join(read, after_a_moment(meanwhile)).await.0 })
    }

    /// Begins to read what comes next, and goes no further than somebody looks on.
    pub fn begin_beside(&mut self, meanwhile: impl FnOnce()) {
        self.runtime.block_on(async {
            let begun = self.changes.changes(self.at, Take::All).await.expect("read");
            after_a_moment(meanwhile).await;
            drop(begun.expect("something waits"));
        });
    }

    /// Forgets what was taken last, while somebody looks on.
    pub fn forget_beside(&mut self, meanwhile: impl FnOnce()) -> Result<(), Fault> {
        self.runtime
            .block_on(async { join(self.changes.forget(self.at.seq), after_a_moment(meanwhile)).await.0 })
    }

    /// Writes the first portion, and goes no further.
    pub fn abandon(&mut self) {
        self.runtime.block_on(async {
            let mut batch =
                self.changes.changes(self.at, Take::All).await.expect("read").expect("something waits");
            self.applier.open(batch.from, batch.to, batch.newest).await.expect("opened");
            let portion = batch.portions.next().await.expect("it is read").expect("a portion");
            self.applier.put(portion).await.expect("it is written");
        });
    }

    /// What SQLite has taken last and PostgreSQL has not forgotten, and the same as PostgreSQL showed it.
    pub fn halves(&mut self, pair: &Pair) -> Link<PgHalf, SqliteHalf> {
        self.runtime.block_on(async {
            let at = self.applier.reached().await.expect("SQLite stands somewhere").at;
            let snapshot = self.changes.share(at.seq).await.expect("the batch is open");
            let source = PgHalf::sharing(&pair.target(), pair.migration, &snapshot).await.expect("shared");
            let target = SqliteHalf::brought_to(&pair.source(), at).await.expect("it stands there");
            Link { source, target }
        })
    }

    /// The same where nothing waits; nothing if something does.
    pub fn halves_at_rest(&mut self, pair: &Pair) -> Option<Link<PgHalf, SqliteHalf>> {
        self.runtime.block_on(async {
            let at = self.applier.reached().await.expect("SQLite stands somewhere").at;
            let source = PgHalf::at_rest(&pair.target(), pair.migration, at).await.expect("looked")?;
            let target = SqliteHalf::brought_to(&pair.source(), at).await.expect("it stands there");
            Some(Link { source, target })
        })
    }

    /// The verdict on each table by its name, and the keys that differ.
    pub fn compare(
        &self,
        pair: &Pair,
        link: &Link<PgHalf, SqliteHalf>,
    ) -> Result<BTreeMap<String, (TableVerdict, Differing)>, Fault> {
        self.compare_but(pair, link, Extra::Counts)
    }

    /// The same, where rows that one side alone has may be no difference.
    pub fn compare_but(
        &self,
        pair: &Pair,
        link: &Link<PgHalf, SqliteHalf>,
        extra: Extra,
    ) -> Result<BTreeMap<String, (TableVerdict, Differing)>, Fault> {
        let scope = Scope { workers: 1, listed_max: 10, extra };
        self.runtime.block_on(async {
            let mut verdicts = BTreeMap::new();
            for (id, route) in &pair.routes {
                let mut differing = Differing { id: *id, keys: Vec::new() };
                let mut comparison = Comparison::new(route, 100);
                comparison.compare(link, Span::default(), scope, &mut differing).await?;
                verdicts.insert(route.source.clone(), (comparison.end(), differing));
            }
            Ok(verdicts)
        })
    }

    pub fn read_again(&self, pair: &Pair, Differing { id, keys }: &Differing) {
        let route = &pair.routes[id];
        let target = pair.target();
        let named = name_again(&target, pair.migration, (*id, route), keys);
        self.runtime.block_on(named).expect("they are named");
    }

    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub fn lag(&self) -> liteferry::postgres::changes::Lag {
        self.runtime.block_on(self.changes.lag()).expect("the queue can be looked at")
    }
}
