//! The application migrates its schema, again and again, while the daemon that follows it is killed at any moment. In the end both sides
//! hold the same tables, the same columns and the same rows.

use crate::daemon::Recipe;
use crate::random::Random;
use crate::server::{Row, Server};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Tables by name, with their columns beside `id`.
type Model = BTreeMap<String, Vec<String>>;

const DATABASE: &str = "reshaped";
const SOURCE: &str = "pragma journal_mode = wal;
    create table t0 (id integer primary key, c0 integer, c1 text); insert into t0 values (1, 1, 'a'), (2, null, 'b');
    create table t1 (id integer primary key, c2 text); insert into t1 values (1, 'x')";
const SETTLED: &str = "select 1 from liteferry.follow where phase = 'dual-write'
    and not exists (select from liteferry.captured where suspect)";
const SETTLES_WITHIN: Duration = Duration::from_secs(300);

struct Application {
    db: Connection,
    model: Model,
    named: usize,
}

pub fn under_fire(server: &Server, folder: &Path, rounds: usize, random: &mut Random) {
    let create = format!("create database {DATABASE} template template0 encoding 'UTF8' locale 'C'");
    server.query("postgres", &create).expect("a database can be made");
    let source = folder.join("source.db");
    let mut application = Application::begin(&source);
    let sets = ["http.listen=127.0.0.1:0", "validate.on=false"].map(str::to_owned).into();
    let recipe = Recipe { source: source.clone(), url: server.url(DATABASE), logs: folder.to_owned(), sets };
    let mut daemons = 0;
    for round in 0..rounds {
        let mut daemon = recipe.start(daemons);
        daemons += 1;
        for _ in 0..=random.below(3) {
            sleep(moment(random, 1_500));
            let done = application.migrate(random);
            println!("round {round}: {done}");
        }
        sleep(moment(random, 5_000));
        daemon.kill();
    }
    let mut daemon = recipe.start(daemons);
    let began = Instant::now();
    loop {
        assert_eq!(daemon.ended(), None, "{:?}", daemon.log);
        let difference = application.difference(server);
        let Some(difference) = difference else { return };
        assert!(began.elapsed() < SETTLES_WITHIN, "{difference}\n{:?}: {:?}", daemon.log, daemon.complaint());
        sleep(Duration::from_millis(200));
    }
}

fn moment(random: &mut Random, below_ms: usize) -> Duration {
    Duration::from_millis(u64::try_from(random.below(below_ms)).expect("a moment is short"))
}

impl Application {
    fn begin(source: &Path) -> Application {
        let db = Connection::open(source).expect("SQLite opens a new file");
        db.busy_timeout(SETTLES_WITHIN).expect("a timeout can be set");
        db.execute_batch(SOURCE).expect("SQLite takes the schema");
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let model = Model::from([("t0".into(), columns(&["c0", "c1"])), ("t1".into(), columns(&["c2"]))]);
        Application { db, model, named: 3 }
    }

    fn name(&mut self, letter: char) -> String {
        self.named += 1;
        format!("{letter}{}", self.named)
    }

    /// One migration in a transaction of its own, with writes before and behind it.
    fn migrate(&mut self, random: &mut Random) -> String {
        let before = self.writes(random);
        let change = self.change(random);
        let behind = self.writes(random);
        let sql = format!("begin immediate; {before} {change}; {behind} commit");
        self.db.execute_batch(&sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
        change
    }

    fn change(&mut self, random: &mut Random) -> String {
        let tables: Vec<String> = self.model.keys().cloned().collect();
        let table = random.pick(&tables).clone();
        let columns = self.model[&table].clone();
        match random.below(8) {
            0 | 1 => {
                let column = self.name('c');
                self.model.get_mut(&table).expect("it was picked").push(column.clone());
                let fill = if random.below(2) == 0 { "integer not null default 5" } else { "text" };
                format!("alter table {table} add column {column} {fill}")
            }
            2 if !columns.is_empty() => {
                let column = self.model.get_mut(&table).expect("it was picked").remove(0);
                format!("alter table {table} drop column {column}")
            }
            3 if !columns.is_empty() => {
                let fresh = self.name('c');
                let old = std::mem::replace(
                    &mut self.model.get_mut(&table).expect("it was picked")[0],
                    fresh.clone(),
                );
                format!("alter table {table} rename column {old} to {fresh}")
            }
            4 => {
                let fresh = self.name('t');
                let columns = self.model.remove(&table).expect("it was picked");
                self.model.insert(fresh.clone(), columns);
                format!("alter table {table} rename to {fresh}")
            }
            5 if tables.len() > 2 => {
                self.model.remove(&table);
                format!("drop table {table}")
            }
            6 => {
                let list = std::iter::once("id").chain(columns.iter().map(String::as_str));
                let list = list.collect::<Vec<_>>().join(", ");
                format!(
                    "create table tmp_{table} ({}); insert into tmp_{table} select {list} from {table};
                     drop table {table}; alter table tmp_{table} rename to {table}",
                    list.replacen("id", "id integer primary key", 1)
                )
            }
            _ => {
                let (fresh, column) = (self.name('t'), self.name('c'));
                self.model.insert(fresh.clone(), vec![column.clone()]);
                format!(
                    "create table {fresh} (id integer primary key, {column} text); insert into {fresh} values (1, 'new'), (2, null)"
                )
            }
        }
    }

    fn writes(&self, random: &mut Random) -> String {
        let tables: Vec<&String> = self.model.keys().collect();
        let write = |_| {
            let (table, id) = (random.pick(&tables), random.below(40));
            match random.below(3) {
                0 => format!("delete from {table} where id = {id};"),
                _ => format!("insert or replace into {table} (id) values ({id});"),
            }
        };
        (0..3).map(write).collect()
    }

    /// What is not the same on both sides, or not yet settled.
    fn difference(&self, server: &Server) -> Option<String> {
        let tables = "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by relname collate \"C\"";
        let there = match server.query(DATABASE, tables) {
            Ok(rows) => rows.into_iter().filter_map(|mut row| row.remove(0)).collect::<Vec<_>>(),
            Err(error) => return Some(error.to_string()),
        };
        let here: Vec<&String> = self.model.keys().collect();
        if here != there.iter().collect::<Vec<_>>() {
            return Some(format!("tables {here:?} here, {there:?} there"));
        }
        for (table, columns) in &self.model {
            let list: String = columns.iter().map(|column| format!(", cast({column} as text)")).collect();
            let sql = format!("select cast(id as text){list} from {table} order by {table}.id");
            let rows = match server.query(DATABASE, &sql) {
                Ok(rows) => rows,
                Err(error) => return Some(format!("{table}: {error}")),
            };
            if self.rows(&sql) != rows {
                return Some(format!("rows of {table} differ"));
            }
        }
        let settled = server.query(DATABASE, SETTLED).is_ok_and(|rows| !rows.is_empty());
        (!settled).then(|| "it is not settled".to_owned())
    }

    fn rows(&self, sql: &str) -> Vec<Row> {
        let mut statement = self.db.prepare(sql).expect("SQLite has the table");
        let width = statement.column_count();
        let rows = statement.query_map([], |row| (0..width).map(|at| row.get(at)).collect());
        rows.expect("SQLite reads").collect::<Result<_, _>>().expect("SQLite reads to the end")
    }
}
