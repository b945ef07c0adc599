//! A replica in memory that knows of the application's writes nothing but the log: it replaces the logged keys by the rows that are
//! there now. After every transaction it must hold what a dump of the tables holds. A twin file without capture gets the same
//! statements, so that any difference the application could notice is noticed here.

use crate::support::{TempDb, sqlite};
use liteferry::canon::{Codec, Form};
use liteferry::model::cell::{Cell, CellBuf};
use liteferry::model::history::Position;
use liteferry::model::name::{PgName, ident};
use liteferry::model::schema::{Affinity, SqliteSchema, SqliteTable, Storage};
use liteferry::model::types::Type;
use liteferry::plan::capture::{CaptureKey, CaptureTable, capture_table, key_of, remove_ours};
use liteferry::plan::route::{ColumnRoute, Identity, Route, ScanOrder};
use liteferry::sqlite::capture::{Origin, arm};
use liteferry::sqlite::connect::SqliteFile;
use liteferry::sqlite::introspect::introspect;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What identifies a row in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The declared primary key; the rowid where there is none.
    PrimaryKey,
    /// The rowid in a column of our own.
    Rowid,
    /// These columns, which the schema keeps unique.
    Columns(&'static [&'static str]),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    rowid: Option<i64>,
    cells: Vec<CellBuf>,
}

pub struct Replica {
    pub app: Connection,
    pub plain: Connection,
    pub tables: Vec<CaptureTable>,
    pub position: Position,
    images: BTreeMap<String, Vec<Row>>,
    done: Vec<String>,
    file: TempDb,
    _twin: TempDb,
}

impl Replica {
    pub fn new(setup: &str) -> Replica {
        Replica::by(setup, &|_| By::PrimaryKey)
    }

    pub fn by(setup: &str, choice: &dyn Fn(&SqliteTable) -> By) -> Replica {
        let (file, twin) = (sqlite(setup), sqlite(setup));
        let tables = captured(&file.path, choice);
        let position = arm(&writer(&file.path), &origin(), &tables, &|| {}).expect("capture is armed");
        let open = |path: &Path| {
            let db = Connection::open(path).expect("the application opens its file");
            db.execute_batch("pragma synchronous = off; pragma foreign_keys = off")
                .expect("the pragmas are known");
            db
        };
        let (app, plain) = (open(&file.path), open(&twin.path));
        let mut replica = Replica {
            app,
            plain,
            tables,
            position,
            images: BTreeMap::new(),
            done: vec![setup.to_owned()],
            file,
            _twin: twin,
        };
        replica.images = replica.dumped(&replica.app);
        replica
    }

    /// SQLite itself runs some statements in another way once a table has any trigger: rows are visited in another order, or a
    /// statement that fails is undone whole. Then the twin gets triggers too, which do nothing.
    pub fn give_twin_triggers(&self) {
        for trigger in self.tables.iter().flat_map(|table| &table.triggers) {
            let (head, _) = trigger.sql.split_once(" begin ").expect("a trigger has a body");
            self.plain.execute_batch(&format!("{head} begin select 1; end")).expect("a trigger is made");
        }
    }

    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The application runs a statement, which may fail; the replica follows if no transaction is left open.
    #[track_caller]
    pub fn run(&mut self, sql: &str) {
        self.run_only(sql);
        if self.app.is_autocommit() {
            self.follow();
        }
    }

    #[track_caller]
    pub fn run_only(&mut self, sql: &str) {
        self.done.push(sql.to_owned());
        let outcome = |db: &Connection| {
            let failed = db.execute_batch(sql).err().map(|error| error.to_string());
            (failed, db.changes(), db.last_insert_rowid(), db.is_autocommit())
        };
        assert_eq!(outcome(&self.app), outcome(&self.plain), "{}", self.story());
    }

    /// What the replica does with each batch.
    #[track_caller]
    pub fn follow(&mut self) {
        let now = self.dumped(&self.app);
        let story = self.story();
        let known: i64 = self
            .app
            .query_row("select nonce from _liteferry_change where seq = ?1", [self.position.seq], |row| {
                row.get(0)
            })
            .expect("the applied row is still there");
        assert_eq!(known, self.position.nonce, "{story}");
        for table in &self.tables {
            let keys = self.logged(table);
            let image = self.images.get_mut(&table.table).expect("every table has an image");
            for key in keys {
                image.retain(|row| !names(&self.app, table, &key, row));
                let present = now[&table.table].iter().filter(|row| names(&self.app, table, &key, row));
                image.extend(present.cloned());
            }
            let (image, now) = (told(table, image), told(table, &now[&table.table]));
            if image != now {
                let log = log(&self.app, &self.tables);
                panic!("{}\nreplica {image:#?}\nsource {now:#?}\n{story}\n{log}", table.table);
            }
        }
        assert_eq!(self.dumped(&self.app), self.dumped(&self.plain), "the application's own rows\n{story}");
        self.position = self
            .app
            .query_row("select seq, nonce from _liteferry_change order by seq desc limit 1", [], |row| {
                Ok(Position { epoch: self.position.epoch, seq: row.get(0)?, nonce: row.get(1)? })
            })
            .expect("the log is never empty");
    }

    /// Distinct keys of the log that are not followed yet.
    pub fn logged(&self, table: &CaptureTable) -> Vec<Vec<CellBuf>> {
        let columns: Vec<String> = (0..table.key.width()).map(|at| format!("k{at}")).collect();
        let sql = format!(
            "select {} from _liteferry_change where seq > {} and tbl = {} order by seq",
            columns.join(","),
            self.position.seq,
            table.id
        );
        let mut keys: Vec<Vec<CellBuf>> = Vec::new();
        for row in rows(&self.app, &sql) {
            if !keys.contains(&row) {
                keys.push(row);
            }
        }
        keys
    }

    pub fn captured(&self, table: &str) -> &CaptureTable {
        self.tables.iter().find(|captured| captured.table == table).expect("the table is captured")
    }

    /// How many log rows there are that are not followed yet.
    pub fn backlog(&self) -> i64 {
        let sql = format!("select count(*) from _liteferry_change where seq > {}", self.position.seq);
        self.app.query_row(&sql, [], |row| row.get(0)).expect("the log can be counted")
    }

    fn dumped(&self, db: &Connection) -> BTreeMap<String, Vec<Row>> {
        let dump = |table: &CaptureTable| (table.table.clone(), dump(db, &table.table));
        self.tables.iter().map(dump).collect()
    }

    fn story(&self) -> String {
        self.done.join(";\n")
    }
}

fn log(db: &Connection, tables: &[CaptureTable]) -> String {
    let triggers = tables.iter().flat_map(|table| &table.triggers);
    let triggers: Vec<&str> = triggers.map(|trigger| trigger.sql.as_str()).collect();
    format!("{triggers:#?}\n{:?}", rows(db, "select * from _liteferry_change"))
}

pub fn origin() -> Origin {
    Origin { migration: "0123456789abcdef0123456789abcdef".to_owned(), epoch: 1 }
}

pub fn writer(path: &Path) -> Connection {
    let file = SqliteFile::examine(path, Duration::from_secs(1)).expect("the file passes");
    file.open_writer(Duration::from_secs(1)).expect("the writer opens")
}

/// The application's schema, without what is ours.
pub fn schema(path: &Path) -> SqliteSchema {
    let file = SqliteFile::examine(path, Duration::from_secs(1)).expect("the file passes");
    let mut schema = introspect(&file.open_reader().expect("the reader opens")).expect("the schema is read");
    remove_ours(&mut schema);
    schema
}

/// The capture of every table.
pub fn captured(path: &Path, choice: &dyn Fn(&SqliteTable) -> By) -> Vec<CaptureTable> {
    let schema = schema(path);
    let capture = |(table, id): (&SqliteTable, i64)| {
        let key = key_of(&route(table, choice(table)), table).expect("the table has a key");
        capture_table(&schema, table, key, id).unwrap_or_else(|findings| panic!("{findings:#?}"))
    };
    schema.tables.iter().zip(1..).map(capture).collect()
}

pub fn route(table: &SqliteTable, by: By) -> Route {
    let codec = Codec::new(Type::Text, Form::Native, Default::default());
    let column = |source: Option<String>| ColumnRoute {
        source,
        affinity: Affinity::Text,
        target: String::new(),
        type_oid: 0,
        type_sql: String::new(),
        codec: codec.clone(),
        not_null: false,
    };
    let mut columns: Vec<ColumnRoute> =
        table.columns.iter().map(|source| column(Some(source.name.clone()))).collect();
    columns.push(column(None));
    let identity = match by {
        By::PrimaryKey if !table.primary_key.is_empty() => table.primary_key.clone(),
        By::PrimaryKey | By::Rowid => vec![table.columns.len()],
        By::Columns(names) => {
            names.iter().map(|name| table.column(name).expect("the column is there")).collect()
        }
    };
    Route {
        source: table.name.clone(),
        target: PgName::new("public", &table.name),
        columns,
        scan: ScanOrder::Whole,
        identity: Identity::Columns(identity),
    }
}

/// Whether the table can be told by its rowid.
pub fn has_rowid(table: &SqliteTable) -> bool {
    matches!(table.storage, Storage::Rowid { rowid: Some(_), .. })
}

/// Every row, with the classes of its cells.
pub fn dump(db: &Connection, table: &str) -> Vec<Row> {
    let name = ident(table);
    let statement = db.prepare(&format!("select * from {name} as x")).expect("the table is there");
    let is_free =
        |rowid: &&str| !statement.column_names().iter().any(|name| name.eq_ignore_ascii_case(rowid));
    let rowid = ["_rowid_", "rowid", "oid"].into_iter().find(is_free).unwrap_or("null");
    let with_rowid = format!("select x.{rowid}, * from {name} as x not indexed order by 1");
    let sql = match db.prepare(&with_rowid) {
        Ok(_) => with_rowid,
        Err(_) => format!("select null, * from {name} as x"),
    };
    let row = |mut cells: Vec<CellBuf>| {
        let rowid = match cells.remove(0) {
            CellBuf::Integer(rowid) => Some(rowid),
            _ => None,
        };
        Row { rowid, cells }
    };
    rows(db, &sql).into_iter().map(row).collect()
}

pub fn rows(db: &Connection, sql: &str) -> Vec<Vec<CellBuf>> {
    let mut statement = db.prepare(sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
    let width = statement.column_count();
    let mut found = Vec::new();
    let mut rows = statement.query([]).expect("the statement runs");
    while let Some(row) = rows.next().expect("a row can be read") {
        let cell = |at| match row.get_ref(at).expect("the column is there") {
            ValueRef::Null => Cell::Null.to_buf(),
            ValueRef::Integer(value) => CellBuf::Integer(value),
            ValueRef::Real(value) => CellBuf::Real(value),
            ValueRef::Text(bytes) => CellBuf::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => CellBuf::Blob(bytes.to_vec()),
        };
        found.push((0..width).map(cell).collect());
    }
    found
}

/// What the target holds of the rows, in an order of its own.
fn told(table: &CaptureTable, rows: &[Row]) -> Vec<String> {
    let by_rowid = match &table.key {
        CaptureKey::Rowid { .. } => true,
        CaptureKey::Columns { .. } => false,
    };
    let mut told: Vec<String> =
        rows.iter().map(|row| format!("{:?} {:?}", row.rowid.filter(|_| by_rowid), row.cells)).collect();
    told.sort();
    told
}

/// Whether a logged key names the row: the same bytes in the same classes, and by rowid where a NULL names nothing.
fn names(db: &Connection, table: &CaptureTable, key: &[CellBuf], row: &Row) -> bool {
    match &table.key {
        CaptureKey::Rowid { .. } => row.rowid.map(CellBuf::Integer).as_ref() == key.first(),
        CaptureKey::Columns { names, rowid } => {
            let cell = |name: &String| &row.cells[column(db, &table.table, name)];
            let (columns, last) = key.split_at(names.len());
            let null = columns.iter().any(|cell| cell.as_cell().is_null());
            names.iter().map(cell).eq(columns)
                && (!null || rowid.is_none() || row.rowid.map(CellBuf::Integer).as_ref() == last.first())
        }
    }
}

fn column(db: &Connection, table: &str, name: &str) -> usize {
    let statement = db.prepare(&format!("select * from {} as x", ident(table))).expect("the table is there");
    statement.column_index(name).expect("the column is there")
}
