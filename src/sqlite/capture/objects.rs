//! What of ours stands in the database, and how that is brought to what should stand there.
//!
//! Compared word for word, and by target: a rebuild takes triggers away, a RENAME takes them elsewhere, and neither says a word.

use super::compile::Compiled;
use super::run;
use crate::model::fault::Fault;
use crate::model::name::{folded, ident};
use crate::plan::capture::{
    CHANGE, CONTROL, CaptureTable, Trigger, control_columns_sql, has_our_prefix, is_our_guard, is_our_pin,
    is_our_table, is_our_trigger, log_table_sql,
};
use crate::sqlite::fault::from_sqlite;
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// How what was put in stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// The log and the control table.
    pub tables: Standing,
    /// For each table that was asked about, by its id.
    pub captured: Vec<(i64, Standing)>,
    /// Objects with our prefix that none of these tables needs: left behind, carried off by a RENAME, or somebody else's.
    pub strangers: Vec<String>,
}

impl Census {
    /// Whether nothing that is asked for is missing or altered.
    pub fn is_whole(&self) -> bool {
        self.tables == Standing::Intact
            && self.captured.iter().all(|(_, standing)| *standing == Standing::Intact)
    }

    pub fn is_intact(&self, id: i64) -> bool {
        self.captured.iter().any(|(of, standing)| *of == id && *standing == Standing::Intact)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Intact,
    Missing,
    /// Another text, another table, or behind a later trigger of the application that could keep it from running.
    Altered,
}

/// Reads in the caller's transaction, so that it tells of the same moment as the rows read there.
pub fn census(db: &Connection, tables: &[CaptureTable]) -> Result<Census, Fault> {
    let objects = Objects::read(db)?;
    let width = tables.iter().map(|table| table.key.width()).max().unwrap_or(1);
    let tables_stand = match (&objects.log, &objects.control) {
        (Some(log), Some(control))
            if key_columns(log) >= width && control_columns_sql(control).is_empty() =>
        {
            Standing::Intact
        }
        (Some(_), Some(_)) => Standing::Altered,
        (None, _) | (_, None) => Standing::Missing,
    };
    let needed = needed_names(tables);
    let is_stranger = |object: &&Object| match folded(&object.name).as_str() {
        CHANGE => objects.log.is_none(),
        CONTROL => objects.control.is_none(),
        name => !needed.contains(name),
    };
    let strangers = objects.all.iter().filter(is_stranger).map(|object| object.name.clone()).collect();
    let captured = tables.iter().map(|table| (table.id, objects.standing(table))).collect();
    Ok(Census { tables: tables_stand, captured, strangers })
}

#[derive(Default)]
pub(super) struct Objects {
    /// Everything with our prefix, whoever made it.
    all: Vec<Object>,
    /// Places in `all`, by folded name, and by the number that a table's name bears.
    named: HashMap<String, usize>,
    numbered: HashMap<String, Vec<usize>>,
    /// By folded table name: the place of the application's latest trigger. Later triggers fire first after a change.
    latest: HashMap<String, i64>,
    /// Column names, where the table is there and ours.
    pub log: Option<Vec<String>>,
    pub control: Option<Vec<String>>,
}

struct Object {
    kind: String,
    name: String,
    table: String,
    sql: String,
    /// Its row in `sqlite_schema`: in this order the schema is read.
    place: i64,
}

impl Objects {
    pub fn read(db: &Connection) -> Result<Objects, Fault> {
        let read = || -> rusqlite::Result<Objects> {
            let mut objects = Objects::default();
            let sql = "select type, name, tbl_name, sql, rowid from sqlite_schema \
                       where type = 'trigger' or name like '\\_liteferry\\_%' escape '\\' order by rowid";
            let mut statement = db.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let text = |at| -> rusqlite::Result<String> {
                    Ok(String::from_utf8_lossy(row.get_ref(at)?.as_bytes_or_null()?.unwrap_or_default())
                        .into_owned())
                };
                let name = text(1)?;
                if has_our_prefix(&name) {
                    let (kind, table, sql) = (text(0)?, text(2)?, text(3)?);
                    objects.add(Object { kind, name, table, sql, place: row.get(4)? });
                } else {
                    objects.latest.insert(folded(&text(2)?), row.get(4)?);
                }
            }
            objects.log = objects.columns_of_ours(db, CHANGE)?;
            objects.control = objects.columns_of_ours(db, CONTROL)?;
            Ok(objects)
        };
        read().map_err(|error| from_sqlite("look for what is ours", error))
    }

    fn add(&mut self, object: Object) {
        let at = self.all.len();
        self.named.entry(folded(&object.name)).or_insert(at);
        if let Some(number) = object.number() {
            self.numbered.entry(number).or_default().push(at);
        }
        self.all.push(object);
    }

    /// Something else under a name that we need is nobody's to replace.
    pub fn refuse_strangers(&self, tables: &[CaptureTable]) -> Result<(), Fault> {
        let needed = needed_names(tables);
        let is_stranger = |object: &&Object| match folded(&object.name).as_str() {
            CHANGE => self.log.is_none(),
            CONTROL => self.control.is_none(),
            name => needed.contains(name) && !object.is_ours(),
        };
        match self.all.iter().find(is_stranger) {
            None => Ok(()),
            Some(object) => {
                Err(Fault::fatal("capture_name_taken", format!("put {} in place", ident(&object.name)))
                    .with_remedy("Something that is not ours bears this name: rename or drop it."))
            }
        }
    }

    /// Drops what no table needs any more and makes what is missing or altered. In a table of which nothing changes, nothing is touched: each object made or dropped makes the
    /// application's connections read the schema again.
    pub fn install(&self, db: &Connection, tables: &[CaptureTable]) -> Result<(), Fault> {
        let needed = needed_names(tables);
        self.drop_where(db, |object| object.is_ours() && !needed.contains(&folded(&object.name)))?;
        tables.iter().try_for_each(|table| self.install_on(db, table).map(drop))
    }

    /// What is missing or altered on these tables is made, one after the other until the time is up; gives those that are left.
    pub fn install_until<'t>(
        &self,
        db: &Connection,
        mut tables: &'t [CaptureTable],
        until: Instant,
    ) -> Result<&'t [CaptureTable], Fault> {
        while let Some((table, others)) = tables.split_first() {
            tables = others;
            if self.install_on(db, table)? == Standing::Intact {
                continue;
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(tables)
    }

    /// Gives how it stood before.
    fn install_on(&self, db: &Connection, table: &CaptureTable) -> Result<Standing, Fault> {
        let standing = self.standing(table);
        if standing == Standing::Intact {
            return Ok(standing);
        }
        let before = Compiled::of(db, &table.table)?;
        for surplus in self.surplus(table) {
            surplus.drop(db)?;
        }
        for trigger in &table.triggers {
            self.install_trigger(db, table, trigger)?;
        }
        if let Some(pin) = &table.pin
            && self.pin_standing(table) != Standing::Intact
        {
            self.drop_named(db, &pin.name)?;
            run(db, "pin the rowids", &pin.sql)?;
        }
        before.still_compiles(db, &table.table)?;
        Ok(standing)
    }

    /// By name, as they stand in the schema.
    pub fn ours(&self) -> Vec<String> {
        let is_ours = |object: &&Object| match folded(&object.name).as_str() {
            CHANGE => self.log.is_some(),
            CONTROL => self.control.is_some(),
            _ => object.is_ours() || object.is_guard(),
        };
        self.all.iter().filter(is_ours).map(|object| object.name.clone()).collect()
    }

    /// Makes the log anew where somebody dropped it while it was not needed, as wide as the triggers write it.
    pub fn revive_log(&self, db: &Connection) -> Result<(), Fault> {
        if self.log.is_some() {
            return Ok(());
        }
        let names = |at: usize| {
            let (next, last) = (format!(",k{at},"), format!(",k{at})"));
            self.all.iter().any(|object| object.sql.contains(&next) || object.sql.contains(&last))
        };
        let width = (0..).take_while(|at| names(*at)).count();
        run(db, "make the change table anew", &log_table_sql(width))
    }

    pub fn drop_triggers(&self, db: &Connection) -> Result<(), Fault> {
        self.drop_where(db, |object| object.kind == "trigger" && object.is_ours())
    }

    /// Guards too; whether none is left.
    pub fn drop_triggers_until(&self, db: &Connection, until: Instant) -> Result<bool, Fault> {
        let is_trigger = |object: &&Object| object.kind == "trigger" && object.is_ours() || object.is_guard();
        for object in self.all.iter().filter(is_trigger) {
            if Instant::now() >= until {
                return Ok(false);
            }
            object.drop(db)?;
        }
        Ok(true)
    }

    pub fn guards(&self) -> i64 {
        let guards = self.all.iter().filter(|object| object.is_guard());
        i64::try_from(guards.count()).expect("a count fits")
    }

    pub fn drop_guards(&self, db: &Connection) -> Result<(), Fault> {
        self.drop_where(db, Object::is_guard)
    }

    pub fn drop_pins(&self, db: &Connection) -> Result<(), Fault> {
        self.drop_where(db, |object| object.kind == "index" && object.is_ours())
    }

    fn standing(&self, table: &CaptureTable) -> Standing {
        let triggers = table.triggers.iter().map(|trigger| self.trigger_standing(table, trigger));
        let all: Vec<Standing> = triggers.chain([self.pin_standing(table)]).collect();
        let surplus = self.surplus(table).next().is_some();
        if all.contains(&Standing::Missing) {
            Standing::Missing
        } else if surplus || all.contains(&Standing::Altered) {
            Standing::Altered
        } else {
            Standing::Intact
        }
    }

    /// One that its table no longer needs would go on logging, and keep the application from dropping the columns that it names.
    fn surplus(&self, table: &CaptureTable) -> impl Iterator<Item = &Object> {
        let needed = needed_names(std::slice::from_ref(table));
        let of_table =
            self.numbered.get(&table.id.to_string()).into_iter().flatten().map(|at| &self.all[*at]);
        of_table.filter(move |object| object.is_ours() && !needed.contains(&folded(&object.name)))
    }

    fn trigger_standing(&self, table: &CaptureTable, trigger: &Trigger) -> Standing {
        let Some(object) = self.named(&trigger.name) else { return Standing::Missing };
        let latest = self.latest.get(&folded(&table.table)).copied().unwrap_or(0);
        let intact = object.kind == "trigger"
            && folded(&object.table) == folded(&table.table)
            && same_text(&object.sql, &trigger.sql)
            && (object.place > latest || !fires_after(trigger));
        if intact { Standing::Intact } else { Standing::Altered }
    }

    fn pin_standing(&self, table: &CaptureTable) -> Standing {
        let Some(pin) = &table.pin else { return Standing::Intact };
        match self.named(&pin.name) {
            None => Standing::Missing,
            Some(object)
                if folded(&object.table) == folded(&table.table) && same_text(&object.sql, &pin.sql) =>
            {
                Standing::Intact
            }
            Some(_) => Standing::Altered,
        }
    }

    fn install_trigger(&self, db: &Connection, table: &CaptureTable, trigger: &Trigger) -> Result<(), Fault> {
        if self.trigger_standing(table, trigger) == Standing::Intact {
            return Ok(());
        }
        self.drop_named(db, &trigger.name)?;
        run(db, &format!("put triggers on {}", ident(&table.table)), &trigger.sql)
    }

    fn named(&self, name: &str) -> Option<&Object> {
        self.named.get(&folded(name)).map(|at| &self.all[*at])
    }

    fn drop_named(&self, db: &Connection, name: &str) -> Result<(), Fault> {
        self.named(name).map_or(Ok(()), |object| object.drop(db))
    }

    fn drop_where(&self, db: &Connection, chosen: impl Fn(&Object) -> bool) -> Result<(), Fault> {
        self.all.iter().filter(|object| chosen(object)).try_for_each(|object| object.drop(db))
    }

    fn columns_of_ours(&self, db: &Connection, name: &str) -> rusqlite::Result<Option<Vec<String>>> {
        if self.named(name).is_none_or(|object| object.kind != "table") {
            return Ok(None);
        }
        let mut statement = db.prepare("select name from pragma_table_xinfo(?1, 'main') order by cid")?;
        let columns: Vec<String> =
            statement.query_map([name], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(is_our_table(name, columns.iter().map(String::as_str)).then_some(columns))
    }
}

impl Object {
    /// Tables aside, which are told by their columns.
    fn is_ours(&self) -> bool {
        match self.kind.as_str() {
            "trigger" => is_our_trigger(&self.name, &self.sql),
            "index" => is_our_pin(&self.name, &self.sql),
            _ => false,
        }
    }

    fn is_guard(&self) -> bool {
        self.kind == "trigger" && is_our_guard(&self.name, &self.sql)
    }

    /// The table that its name says it belongs to.
    fn number(&self) -> Option<String> {
        let name = folded(&self.name);
        let rest = name.strip_prefix("_liteferry_")?;
        let number = rest.strip_prefix("pin_").or_else(|| rest.split_once('_').map(|(number, _)| number))?;
        Some(number.to_owned())
    }

    fn drop(&self, db: &Connection) -> Result<(), Fault> {
        run(db, "drop what is ours", &format!("drop {} if exists {}", self.kind, ident(&self.name)))
    }
}

/// Only there does the order among triggers matter.
fn fires_after(trigger: &Trigger) -> bool {
    trigger.name.ends_with("_ai") || trigger.name.ends_with("_au")
}

/// How many columns of the log hold keys.
pub(super) fn key_columns(columns: &[String]) -> usize {
    columns.iter().filter(|name| name.starts_with('k')).count()
}

fn needed_names(tables: &[CaptureTable]) -> HashSet<String> {
    let triggers = tables.iter().flat_map(|table| &table.triggers).map(|trigger| folded(&trigger.name));
    let pins = tables.iter().filter_map(|table| table.pin.as_ref()).map(|pin| folded(&pin.name));
    triggers.chain(pins).collect()
}

/// SQLite writes the first two words itself and keeps the rest as it was given.
fn same_text(stored: &str, ours: &str) -> bool {
    let rest = |sql: &str| sql.splitn(3, ' ').nth(2).map(str::to_owned);
    rest(stored) == rest(ours)
}
