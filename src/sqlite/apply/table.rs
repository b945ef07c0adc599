//! One table as it is written: how its rows are found by exact key, and the statements that change them.
//!
//! It writes no generated column, and names the conflict's outcome itself: a declaration may say `on conflict replace`, and would
//! take other rows away without a word.

use super::writing::{Present, Wanted, Written, cell_of, holds, judged, refused};
use crate::model::cell::{Cell, CellBuf};
use crate::model::fault::Fault;
use crate::model::name::{folded, ident};
use crate::plan::route::{Identity, Route, ScanOrder};
use crate::sqlite::fault::from_sqlite;
use crate::sqlite::halves::Encoding;
use crate::sqlite::scan::{Bound, Reading, cell, select};
use rusqlite::{Connection, OptionalExtension, Row};
use std::sync::Arc;

pub struct Table {
    pub route: Arc<Route>,
    reading: Reading,
    /// What a row is found by once it is known: its rowid, or its key.
    address: Vec<String>,
    /// By the route's columns: SQLite computes those that are not.
    writable: Vec<bool>,
    /// The rowid's name, where it stands in no column that crosses.
    hidden_rowid: Option<String>,
    /// AUTOINCREMENT never gives an id twice, not even one of a row that came and went on the other side.
    counts: bool,
    largest: Option<i64>,
}

impl Table {
    pub fn learn(db: &Connection, route: &Arc<Route>) -> Result<Table, Fault> {
        let mut table = Table::shape(db, route)?;
        table.counts = counts(db, &route.source).map_err(|error| unprepared(route, error))?;
        Ok(table)
    }

    /// All but whether it counts, which takes a look at every table's text.
    fn shape(db: &Connection, route: &Arc<Route>) -> Result<Table, Fault> {
        let generated = generated_columns(db, &route.source).map_err(|error| unprepared(route, error))?;
        let reading = Reading::of_route(route, Encoding::of(db)?);
        let (address, hidden_rowid) = match &route.scan {
            ScanOrder::Rowid { name, column: Some(_) } => (vec![ident(name)], None),
            ScanOrder::Rowid { name, column: None } => (vec![ident(name)], Some(ident(name))),
            ScanOrder::Key { names, .. } => (names.iter().map(|name| ident(name)).collect(), None),
            ScanOrder::Whole => (key_of(route).iter().map(|column| name_of(route, *column)).collect(), None),
        };
        let is_writable =
            |source: &Option<String>| source.as_ref().is_none_or(|name| !generated.contains(&folded(name)));
        let writable = route.columns.iter().map(|column| is_writable(&column.source)).collect();
        let route = Arc::clone(route);
        Ok(Table { route, reading, address, writable, hidden_rowid, counts: false, largest: None })
    }

    pub fn key(&self) -> &[usize] {
        key_of(&self.route)
    }

    pub fn is_writable(&self, column: usize) -> bool {
        self.writable[column]
    }

    /// The key's cells as SQLite holds them.
    pub fn key_of(&self, parts: &[Option<&[u8]>]) -> Vec<CellBuf> {
        let mut scratch = Vec::new();
        let cell = |(column, bytes): (&usize, &Option<&[u8]>)| {
            let column = &self.route.columns[*column];
            let back = |bytes| cell_of(column.codec.back(column.affinity, bytes, &mut scratch));
            bytes.map_or(CellBuf::Null, back)
        };
        self.key().iter().zip(parts).map(cell).collect()
    }

    /// The same, out of a whole row.
    pub fn key_in_tuple(&self, tuple: &[Option<&[u8]>]) -> Vec<CellBuf> {
        let parts: Vec<Option<&[u8]>> = self.key().iter().map(|column| tuple[*column]).collect();
        self.key_of(&parts)
    }

    /// A new batch begins.
    pub fn forget_keys(&mut self) {
        self.largest = None;
    }

    /// Remembers the largest id that was ever given.
    pub fn note_key(&mut self, key: &[CellBuf]) {
        if let (true, [CellBuf::Integer(id)]) = (self.counts, key) {
            self.largest = self.largest.max(Some(*id));
        }
    }

    /// The row that has exactly this key: by its column's collation SQLite might find another's.
    pub fn find(&self, db: &Connection, key: &[CellBuf]) -> Result<Option<Present>, Fault> {
        let failed = |error| from_sqlite(format!("read table {} by key", self.route.source), error);
        let mut statement = db.prepare_cached(&self.by_key(key)).map_err(failed)?;
        let binds = key.iter().map(|cell| Bound(cell.as_cell()));
        let mut rows = statement.query(rusqlite::params_from_iter(binds)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let present = self.present(row);
            if self.key_in(&present).eq(key.iter()) {
                return Ok(Some(present));
            }
        }
        Ok(None)
    }

    pub fn delete(&self, db: &Connection, address: &[CellBuf]) -> Result<(), Fault> {
        let sql = format!("delete from {}{}", self.sql(), self.at(1, address));
        let deleted = db
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(bound(address))));
        match deleted
            .map_err(|error| from_sqlite(format!("delete from table {}", self.route.source), error))?
        {
            0 | 1 => Ok(()),
            _ => {
                Err(Fault::fatal("rows_swallowed", format!("delete one row of table {}", self.route.source)))
            }
        }
    }

    pub fn delete_all(&self, db: &Connection) -> Result<(), Fault> {
        let sql = format!("delete from {}", self.sql());
        db.execute_batch(&sql)
            .map_err(|error| from_sqlite(format!("empty table {}", self.route.source), error))
    }

    pub fn delete_where(&self, db: &Connection, goes: impl Fn(&[CellBuf]) -> bool) -> Result<(), Fault> {
        let failed = |error| from_sqlite(format!("empty table {}", self.route.source), error);
        let mut statement = db.prepare(&select(&self.reading, "")).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let present = self.present(row);
            let key: Vec<CellBuf> = self.key_in(&present).cloned().collect();
            if goes(&key) {
                self.delete(db, &present.address)?;
            }
        }
        Ok(())
    }

    /// Writes the cells that differ.
    pub fn update(
        &self,
        db: &Connection,
        address: &[CellBuf],
        wanted: &Wanted<'_>,
    ) -> Result<Written, Fault> {
        let columns: Vec<usize> =
            wanted.changed.iter().copied().filter(|column| self.writable[*column]).collect();
        let cells = columns.iter().map(|column| &wanted.cells[*column]).chain(address);
        let cells: Vec<Cell<'_>> = cells.map(CellBuf::as_cell).collect();
        let sql = self.update_sql(&columns, &cells, address);
        self.run_one(db, &sql, &cells, (&columns, wanted))
    }

    pub fn insert(&self, db: &Connection, wanted: &Wanted<'_>) -> Result<Written, Fault> {
        let columns = self.written_columns();
        let cells: Vec<Cell<'_>> = columns.iter().map(|column| wanted.cells[*column].as_cell()).collect();
        let sql = format!("{} returning {}", self.insert_sql(&columns, None, &cells), self.read(&columns));
        self.run_one(db, &sql, &cells, (&columns, wanted))
    }

    /// Inserts a row that was laid aside, under the rowid that it had.
    pub fn insert_again(
        &self,
        db: &Connection,
        address: Option<&[CellBuf]>,
        cells: &[CellBuf],
    ) -> Result<Written, Fault> {
        let columns = self.written_columns();
        let rowid = self.hidden_rowid.as_deref().zip(address.and_then(<[CellBuf]>::first));
        let bound = columns.iter().map(|column| &cells[*column]).chain(rowid.map(|(_, cell)| cell));
        let bound: Vec<Cell<'_>> = bound.map(CellBuf::as_cell).collect();
        let sql = self.insert_sql(&columns, rowid.map(|(name, _)| name), &bound);
        let mut statement = db.prepare_cached(&sql).map_err(|error| unprepared(&self.route, error))?;
        let inserted = statement.execute(rusqlite::params_from_iter(bound.iter().map(|cell| Bound(*cell))));
        judged((&self.route, cells), inserted.map(drop))
    }

    pub fn raise_counter(&self, db: &Connection) -> Result<(), Fault> {
        let Some(largest) = self.largest.filter(|_| self.counts) else { return Ok(()) };
        let raise = |sql: &str| {
            db.execute(sql, (&self.route.source, largest)).map_err(|error| {
                from_sqlite(format!("raise the counter of table {}", self.route.source), error)
            })
        };
        if raise("update main.sqlite_sequence set seq = max(seq, ?2) where name = ?1 collate nocase")? == 0 {
            raise("insert into main.sqlite_sequence(name, seq) values (?1, ?2)")?;
        }
        Ok(())
    }

    fn run_one(
        &self,
        db: &Connection,
        sql: &str,
        cells: &[Cell<'_>],
        (columns, wanted): (&[usize], &Wanted<'_>),
    ) -> Result<Written, Fault> {
        let mut statement = db.prepare_cached(sql).map_err(|error| unprepared(&self.route, error))?;
        let mut run = || -> rusqlite::Result<bool> {
            let mut rows =
                statement.query(rusqlite::params_from_iter(cells.iter().map(|cell| Bound(*cell))))?;
            let Some(row) = rows.next()? else { return Ok(false) };
            let held = |(at, column): (usize, &usize)| holds(&self.route, *column, (cell(row, at), wanted));
            let all = columns.iter().enumerate().all(held);
            while rows.next()?.is_some() {}
            Ok(all)
        };
        match run() {
            Ok(true) => Ok(Written::Done),
            Ok(false) => {
                Err(refused((&self.route, &wanted.cells), "a column there changes what is written to it"))
            }
            Err(error) => judged((&self.route, &wanted.cells), Err(error)),
        }
    }

    /// Compiles every statement by which rows of the table may be written, and runs none: a tree or an expression may need what only the
    /// application has.
    pub fn compile(db: &Connection, route: &Arc<Route>) -> Result<(), Fault> {
        let table = Table::shape(db, route)?;
        let columns = table.written_columns();
        let nothing = |count: usize| vec![CellBuf::Null; count];
        let (cells, address) = (nothing(columns.len()), nothing(table.address.len()));
        let cells: Vec<Cell<'_>> = cells.iter().map(CellBuf::as_cell).collect();
        let delete = format!("delete from {}{}", table.sql(), table.at(1, &address));
        let insert = table.insert_sql(&columns, None, &cells);
        let statements = [insert, table.update_sql(&columns, &cells, &address), delete];
        let compiled = statements.iter().try_for_each(|sql| db.prepare(sql).map(drop));
        compiled.map_err(|error| unprepared(route, error))
    }

    fn by_key(&self, key: &[CellBuf]) -> String {
        let terms: Vec<String> = self
            .key()
            .iter()
            .zip(key)
            .enumerate()
            .map(|(at, (column, cell))| {
                format!("x.{} = {}", name_of(&self.route, *column), self.place(cell.as_cell(), at))
            })
            .collect();
        select(&self.reading, &format!(" where {}", terms.join(" and ")))
    }

    /// Where the value of a parameter, counted from zero, stands.
    fn place(&self, cell: Cell<'_>, at: usize) -> String {
        self.reading.encoding().place(cell, at + 1)
    }

    /// `cells` are what will be bound, the address among it.
    fn update_sql(&self, columns: &[usize], cells: &[Cell<'_>], address: &[CellBuf]) -> String {
        let set: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| format!("{} = {}", name_of(&self.route, *column), self.place(cells[at], at)))
            .collect();
        format!(
            "update or abort {} set {}{} returning {}",
            self.sql(),
            set.join(", "),
            self.at(columns.len() + 1, address),
            self.read(columns)
        )
    }

    fn written_columns(&self) -> Vec<usize> {
        (0..self.route.columns.len()).filter(|column| self.writable[*column]).collect()
    }

    fn insert_sql(&self, columns: &[usize], rowid: Option<&str>, cells: &[Cell<'_>]) -> String {
        let names: Vec<String> = columns
            .iter()
            .map(|column| name_of(&self.route, *column))
            .chain(rowid.map(str::to_owned))
            .collect();
        let values: Vec<String> = cells.iter().enumerate().map(|(at, cell)| self.place(*cell, at)).collect();
        format!("insert or abort into {}({}) values ({})", self.sql(), names.join(", "), values.join(", "))
    }

    /// What reads these columns of a row that was written.
    fn read(&self, columns: &[usize]) -> String {
        let term = |column: &usize| self.reading.encoding().term(&name_of(&self.route, *column));
        columns.iter().map(term).collect::<Vec<_>>().join(", ")
    }

    fn at(&self, first: usize, address: &[CellBuf]) -> String {
        let parts = self.address.iter().zip(address).enumerate();
        let terms: Vec<String> = parts
            .map(|(at, (name, cell))| format!("{name} = {}", self.place(cell.as_cell(), first - 1 + at)))
            .collect();
        format!(" where {}", terms.join(" and "))
    }

    fn sql(&self) -> String {
        format!("main.{}", ident(&self.route.source))
    }

    fn present(&self, row: &Row<'_>) -> Present {
        let cells: Vec<CellBuf> = (0..self.route.columns.len()).map(|at| cell(row, at).to_buf()).collect();
        let mut address: Vec<CellBuf> = self.reading.position(row).into_iter().map(Cell::to_buf).collect();
        if address.is_empty() {
            address = self.key().iter().map(|column| cells[*column].clone()).collect();
        }
        Present { address, cells }
    }

    fn key_in<'p>(&'p self, present: &'p Present) -> impl Iterator<Item = &'p CellBuf> {
        self.key().iter().map(|column| &present.cells[*column])
    }
}

fn unprepared(route: &Route, error: rusqlite::Error) -> Fault {
    from_sqlite(format!("prepare to write table {}", route.source), error)
}

fn bound(cells: &[CellBuf]) -> impl Iterator<Item = Bound<'_>> {
    cells.iter().map(|cell| Bound(cell.as_cell()))
}

pub fn key_of(route: &Route) -> &[usize] {
    match &route.identity {
        Identity::Columns(columns) => columns,
        Identity::WholeRow => unreachable!("a table without a key is refused before it is captured"),
    }
}

/// The column as SQL names it; without a name it is the rowid.
fn name_of(route: &Route, column: usize) -> String {
    match (&route.columns[column].source, &route.scan) {
        (Some(name), _) => ident(name),
        (None, ScanOrder::Rowid { name, .. }) => ident(name),
        (None, ScanOrder::Key { .. } | ScanOrder::Whole) => {
            unreachable!("only a table read by rowid keeps it in a column of its own")
        }
    }
}

fn generated_columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "select name from pragma_table_xinfo(?1, 'main') where hidden in (2, 3)";
    let mut statement = db.prepare_cached(sql)?;
    statement.query_map([table], |row| Ok(folded(&row.get::<_, String>(0)?)))?.collect()
}

/// Whether the word stands in the table's declaration. A counter more than needed does no harm.
fn counts(db: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "select 1 from main.sqlite_schema where type = 'table' and name = ?1 collate nocase \
               and sql like '%autoincrement%' and exists (select 1 from main.sqlite_schema where name = 'sqlite_sequence')";
    Ok(db.query_row(sql, [table], |_| Ok(())).optional()?.is_some())
}
