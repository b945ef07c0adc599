//! Two sides that a copy has made equal, writes to the source, and the changes that a reader would find. It follows nothing itself.

use crate::oracle::Oracle;
use crate::support::{TempDb, TestDatabase, database, liteferry, psql, sqlite, until};
use liteferry::canon::Fit;
use liteferry::journal::record::route_from_text;
use liteferry::link::{Applied, Applier, BATCH_REFUSED, Changed, Extent, Outcome, Portion, Sending};
use liteferry::model::cell::{Cell, CellBuf};
use liteferry::model::chunk::Chunk;
use liteferry::model::chunk::Keys;
use liteferry::model::fault::Fault;
use liteferry::model::history::Position;
use liteferry::model::key::key_json;
use liteferry::model::name::ident;
use liteferry::plan::overrides::ExistingRows;
use liteferry::plan::packer::Packer;
use liteferry::plan::route::{Identity, Route};
use liteferry::postgres::apply::{Ownership, PgApplier};
use liteferry::postgres::embedded::Cluster;
use liteferry::postgres::target::{LoadRole, PgTarget};
use liteferry::postgres::url::{Place, Target};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::HashSet;
use std::future::{Future, ready};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub struct Sides {
    file: TempDb,
    db: TestDatabase,
    migration: i64,
    routes: Vec<Arc<Route>>,
}

/// An applier and the runtime that it lives in.
pub struct Applying {
    runtime: Runtime,
    applier: PgApplier,
}

/// A server of its own whose commits, where `synchronous_commit` is on, wait for a standby that never comes.
pub struct Waiting {
    _dir: TempDir,
    // Stops the server when dropped.
    cluster: Cluster,
    _runtime: Runtime,
}

impl Waiting {
    pub fn start() -> Waiting {
        // Started by root, the server runs as another user, who must be able to pass through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        let dir = tempfile::Builder::new().permissions(open).tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let settings =
            [("fsync", "off"), ("synchronous_commit", "local"), ("synchronous_standby_names", "nobody")];
        let cluster =
            runtime.block_on(Cluster::start_with(dir.path(), &settings)).expect("PostgreSQL starts");
        Waiting { _dir: dir, cluster, _runtime: runtime }
    }

    pub fn database(&self, name: &str) -> TestDatabase {
        psql(&self.url("postgres"), &format!("create database {name} template template0"));
        TestDatabase { url: self.url(name), name: name.into() }
    }

    fn url(&self, database: &str) -> String {
        let Target { hosts, user, .. } = self.cluster.target();
        let Some(Place::Socket(dir)) = hosts.into_iter().next().map(|host| host.place) else {
            panic!("a private server is reached through its socket");
        };
        format!("postgres://{user}@{}/{database}", dir.display().to_string().replace('/', "%2F"))
    }
}

/// The point of the one history that these tests know.
pub fn at(seq: i64) -> Position {
    Position { epoch: 1, seq, nonce: seq * 10 }
}

impl Sides {
    /// `create` mode; the target stands at 1 and belongs to `me`.
    pub fn copied(source: &str) -> Sides {
        Sides::of(sqlite(source), database(), "target.mode=create")
    }

    pub fn copied_into(source: &str, db: TestDatabase) -> Sides {
        Sides::of(sqlite(source), db, "target.mode=create")
    }

    /// `existing` mode, into tables that `target` makes.
    pub fn mapped(source: &str, target: &str) -> Sides {
        let db = database();
        psql(&db.url, target);
        Sides::of(sqlite(source), db, "target.mode=existing")
    }

    fn of(file: TempDb, db: TestDatabase, mode: &str) -> Sides {
        let source = file.path.display().to_string();
        liteferry(&["copy", "--json", "--set", mode, "--source", &source, "--target", &db.url]).exits_with(0);
        // What they did is counted when they end.
        let sessions = "select 1 from pg_stat_activity where datname = current_database() and application_name = 'liteferry'";
        until("the copy's sessions have ended", || psql(&db.url, sessions).is_empty());
        psql(
            &db.url,
            "insert into liteferry.follow (migration_id, token, epoch, seq, nonce, owner, phase, source_schema, replica_sessions)
             select id, 'token', 1, 1, 10, 'me', 'dual-write', '', false from liteferry.migration",
        );
        let routes = psql(&db.url, "select route::text from liteferry.route order by ordinal");
        let route = |row: &Vec<Option<String>>| {
            Arc::new(route_from_text(row[0].as_deref().expect("a route")).expect("it is readable"))
        };
        let routes = routes.iter().map(route).collect();
        let migration = psql(&db.url, "select id from liteferry.migration")[0][0].clone();
        let migration = migration.and_then(|id| id.parse().ok()).expect("a migration");
        Sides { file, db, migration, routes }
    }

    pub fn url(&self) -> &str {
        &self.db.url
    }

    pub fn database(&self) -> &str {
        &self.db.name
    }

    pub fn write(&self, sql: &str) {
        self.source().execute_batch(sql).expect("the application writes");
    }

    /// So many rows from 1001 on.
    pub fn add_rows(&self, table: &str, rows: usize) {
        self.write(&format!(
            "with recursive n (i) as (select 1001 union all select i + 1 from n where i < {0} + 1000)
             insert into {table} (id, v) select i, 'v' || i from n where {0} > 0",
            rows
        ));
    }

    pub fn target(&self, sql: &str) {
        psql(self.url(), sql);
    }

    /// Rows of one column.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        psql(self.url(), sql).into_iter().flatten().flatten().collect()
    }

    #[track_caller]
    pub fn until(&self, sql: &str, answer: &str) {
        until(&format!("{sql} gives {answer}"), || self.rows(sql) == [answer]);
    }

    pub fn equal(&self) {
        Oracle::new(&self.file.path, &self.db, "public").check();
    }

    pub fn applier(&self, owner: &str) -> Applying {
        self.applier_in(owner, LoadRole::Origin)
    }

    pub fn applier_in(&self, owner: &str, role: LoadRole) -> Applying {
        self.applier_at(self.url(), (owner, role))
    }

    /// One whose batches wait for whatever the server waits for.
    pub fn applier_that_waits(&self, owner: &str) -> Applying {
        let url = format!("{}?options=-csynchronous_commit%3Don", self.url());
        self.applier_at(&url, (owner, LoadRole::Origin))
    }

    /// One that reaches a server of the target's by this URL.
    pub fn applier_through(&self, url: &str) -> Applying {
        self.applier_at(url, ("me", LoadRole::Origin))
    }

    fn applier_at(&self, url: &str, (owner, role): (&str, LoadRole)) -> Applying {
        let address = Arc::new(Target::parse(url, &|_| None).expect("a URL"));
        let target = PgTarget::new(address, Some(self.migration), role, ExistingRows::Refuse);
        let ownership = Ownership { migration: self.migration, owner: owner.into() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Applying {
            runtime: runtime.expect("a runtime can be made"),
            applier: PgApplier::new(target, ownership),
        }
    }

    /// What a reader finds of these keys: a query, or rows in words of SQL.
    pub fn changed(&self, table: &str, keys: &str) -> Changed {
        let route = self.routes.iter().find(|route| route.source == table).expect("the table has a route");
        let Identity::Columns(key) = &route.identity else { panic!("{table} has no key") };
        let query = if keys.starts_with("select") {
            keys.to_owned()
        } else if keys.starts_with('(') {
            format!("values {keys}")
        } else {
            format!("values ({})", keys.replace(", ", "), ("))
        };
        let names: Vec<String> = route
            .columns
            .iter()
            .map(|column| column.source.as_deref().map_or("rowid".into(), ident))
            .collect();
        let term = |(at, column): (usize, &usize)| format!("{} = ?{}", names[*column], at + 1);
        let terms: Vec<String> = key.iter().enumerate().map(term).collect();
        let row = format!("select {} from {} where {}", names.join(", "), ident(table), terms.join(" and "));
        let source = self.source();
        let mut changed = Changed {
            route: Arc::clone(route),
            keys: Keys::default(),
            names: vec![],
            rows: Chunk::default(),
            emptied: None,
        };
        for key in rows_of(&source, &query, &[]) {
            changed.names.push(key_json(key.iter().map(CellBuf::as_cell)));
            put_key(&mut changed.keys, route, &key);
            for row in rows_of(&source, &row, &key) {
                Packer::new(route).pack(|column| row[column].as_cell(), Vec::new, &mut changed.rows);
            }
        }
        changed
    }

    /// What a reader gives of a table that is copied anew.
    pub fn renewed(&self, table: &str, keys: &str) -> Changed {
        let (keys_of_none, emptied) = (Keys::default(), Some(HashSet::new()));
        Changed { keys: keys_of_none, names: Vec::new(), emptied, ..self.changed(table, keys) }
    }

    fn source(&self) -> Connection {
        Connection::open(&self.file.path).expect("the source can be opened")
    }
}

impl Applying {
    pub fn settle(&mut self) -> Result<(), Fault> {
        self.runtime.block_on(self.applier.settle())
    }

    pub fn position(&mut self) -> Result<Position, Fault> {
        self.runtime.block_on(self.applier.position())
    }

    pub fn apply(
        &mut self,
        step: (i64, i64),
        portions: Vec<Portion>,
        extent: Extent,
    ) -> Result<Applied, Fault> {
        self.apply_with(step, portions, extent, ready(Ok(())))
    }

    pub fn apply_with(
        &mut self,
        (from, to): (i64, i64),
        portions: Vec<Portion>,
        extent: Extent,
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Applied, Fault> {
        let again = portions.clone();
        let outcome = self.send((from, to), portions, (extent, Sending::Ahead), durable)?;
        match self.answer(outcome) {
            Err(fault) if fault.code == BATCH_REFUSED => {
                let outcome = self.send((from, to), again, (extent, Sending::Answered), ready(Ok(())))?;
                self.answer(outcome)
            }
            ended => ended,
        }
    }

    /// Sends a batch; nothing but what it takes to send the next is waited for.
    pub fn send(
        &mut self,
        (from, to): (i64, i64),
        portions: Vec<Portion>,
        (extent, sending): (Extent, Sending),
        durable: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Result<Outcome, Fault> {
        let applier = &mut self.applier;
        self.runtime.block_on(async {
            applier.open(at(from), at(to), at(to)).await?;
            for portion in portions {
                applier.put(portion).await?;
            }
            applier.commit(extent, sending, durable).await
        })
    }

    pub fn answer(&self, outcome: Outcome) -> Result<Applied, Fault> {
        self.runtime.block_on(outcome)
    }
}

/// Keys that do not cross exactly are named only.
fn put_key(keys: &mut Keys, route: &Route, cells: &[CellBuf]) {
    let Identity::Columns(key) = &route.identity else { panic!("a table without a key") };
    let mut tuple = u16::try_from(key.len()).expect("few columns").to_be_bytes().to_vec();
    for (column, cell) in key.iter().zip(cells) {
        let mut bytes = Vec::new();
        if route.columns[*column].codec.encode(cell.as_cell(), &mut bytes) != Fit::Exact {
            return;
        }
        tuple.extend_from_slice(&u32::try_from(bytes.len()).expect("a short key").to_be_bytes());
        tuple.extend_from_slice(&bytes);
    }
    keys.arena.extend_from_slice(&tuple);
    keys.ends.push(keys.arena.len());
}

fn rows_of(source: &Connection, sql: &str, key: &[CellBuf]) -> Vec<Vec<CellBuf>> {
    let mut statement = source.prepare(sql).expect("the table can be read");
    for (at, cell) in key.iter().enumerate() {
        let value = match cell.as_cell() {
            Cell::Null => ValueRef::Null,
            Cell::Integer(value) => ValueRef::Integer(value),
            Cell::Real(value) => ValueRef::Real(value),
            Cell::Text(bytes) => ValueRef::Text(bytes),
            Cell::Blob(bytes) => ValueRef::Blob(bytes),
        };
        let value = rusqlite::types::ToSqlOutput::Borrowed(value);
        statement.raw_bind_parameter(at + 1, value).expect("a parameter");
    }
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next().expect("rows can be read") {
        let cell = |at| match row.get_ref(at).expect("it has the column") {
            ValueRef::Null => CellBuf::Null,
            ValueRef::Integer(value) => CellBuf::Integer(value),
            ValueRef::Real(value) => CellBuf::Real(value),
            ValueRef::Text(bytes) => CellBuf::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => CellBuf::Blob(bytes.to_vec()),
        };
        found.push((0..width).map(cell).collect());
    }
    found
}
