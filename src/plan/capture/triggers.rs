//! The triggers of one table.
//!
//! Keys of rows that exist are logged BEFORE they change: a trigger of the application that raises IGNORE or FAIL after the change
//! could else keep ours from running. The key of a new row is logged before too, where it is known, and after it where it is not.

use super::names::{CHANGE, trigger_name};
use super::probe::{self, Probe};
use super::value::{self, Reading};
use super::{CaptureKey, Trigger, log_key_columns, rowid_name};
use crate::model::name::ident;
use crate::model::schema::{Affinity, SqliteTable};

/// Whether the application has a trigger that may end a statement before our AFTER INSERT trigger has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserts {
    Followed,
    CutOff,
}

/// Whether the application has a trigger that may change the row which an update is about to change: the columns that the statement does not
/// name are then read anew, and the row gets a key that no BEFORE trigger could expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Updates {
    AsTold,
    Preceded,
}

pub(super) fn of_table(
    table: &SqliteTable,
    key: &CaptureKey,
    id: i64,
    (inserts, updates): (Inserts, Updates),
) -> Vec<Trigger> {
    let bodies = Bodies { table, key, id, name: ident(&table.name) };
    let probes = probe::of_table(table, key);
    let before_update = bodies.before_update(&probes);
    let mut triggers = vec![
        bodies.trigger("bu", "before update on", &before_update),
        bodies.trigger("bd", "before delete on", &bodies.log_values("old")),
    ];
    let known = bodies.known();
    if known == Known::Before || !probes.is_empty() || inserts == Inserts::CutOff {
        triggers.push(bodies.trigger("bi", "before insert on", &bodies.before_insert(&probes)));
    }
    let after_insert = match (known, key) {
        (Known::After, _) => Some(String::new()),
        (Known::Before, CaptureKey::Columns { names, rowid: Some(_) }) => {
            let nulls: Vec<String> =
                names.iter().map(|name| format!("new.{} is null", ident(name))).collect();
            Some(format!(" when {}", nulls.join(" or ")))
        }
        (Known::Before, CaptureKey::Columns { rowid: None, .. } | CaptureKey::Rowid { .. }) => None,
    };
    if let Some(when) = after_insert {
        let head = format!("after insert on {}{when}", bodies.name);
        triggers.push(bodies.trigger_with_head("ai", &head, &bodies.log_values("new")));
    }
    // A key of one part is either the statement's or the trigger's, and each is logged.
    let is_mixed = updates == Updates::Preceded && bodies.key_columns().count() > 1;
    if is_mixed || bodies.key_columns().any(|column| value::is_replaced(table, column)) {
        let head = format!("after update on {} when {}", bodies.name, bodies.differs(Told::Stored));
        triggers.push(bodies.trigger_with_head("au", &head, &bodies.log_values("new")));
    }
    triggers
}

/// When the key of a row to be inserted can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// NULLs in it aside.
    Before,
    After,
}

/// Which of the new row's values are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// What a BEFORE trigger must expect them to become.
    Expected,
    Stored,
}

struct Bodies<'a> {
    table: &'a SqliteTable,
    key: &'a CaptureKey,
    id: i64,
    /// Quoted.
    name: String,
}

impl Bodies<'_> {
    fn trigger(&self, when: &str, event: &str, body: &str) -> Trigger {
        self.trigger_with_head(when, &format!("{event} {}", self.name), body)
    }

    fn trigger_with_head(&self, when: &str, head: &str, body: &str) -> Trigger {
        let name = trigger_name(self.id, when);
        let sql = format!("create trigger {name} {head} begin {body} end");
        Trigger { name, sql }
    }

    fn before_update(&self, probes: &[Probe]) -> String {
        let mut body = self.log_values("old");
        let new = self.expected_key();
        body +=
            &self.log(&format!("select {},random(),{new} where {}", self.id, self.differs(Told::Expected)));
        for probe in probes {
            let other = self.is_another_row(&probe.alias);
            body += &self.log_probe(probe, &format!(" and {other}"));
        }
        body
    }

    fn before_insert(&self, probes: &[Probe]) -> String {
        let mut body = match self.key {
            // SQLite shows -1 where it has yet to choose.
            CaptureKey::Rowid { name } => {
                let key = format!("new.{}", ident(name));
                self.log(&format!("select {},random(),{key} where {key}<>-1", self.id))
            }
            CaptureKey::Columns { .. } => self.log_values("new"),
        };
        for probe in probes {
            body += &self.log_probe(probe, "");
        }
        body
    }

    fn log_values(&self, row: &str) -> String {
        self.log(&format!("values({},random(),{})", self.id, self.key_in(row)))
    }

    fn log_probe(&self, probe: &Probe, more: &str) -> String {
        let Probe { alias, from, condition } = probe;
        let key = self.key_in(alias);
        self.log(&format!("select {},random(),{key} from {from} where {condition}{more}", self.id))
    }

    /// The columns are named, so that a wider key of another table can widen the log.
    fn log(&self, rows: &str) -> String {
        format!("insert into {CHANGE}(tbl,nonce,{}) {rows};", log_key_columns(self.key.width()))
    }

    fn key_in(&self, row: &str) -> String {
        self.key_names().iter().map(|name| format!("{row}.{}", ident(name))).collect::<Vec<_>>().join(",")
    }

    fn expected_key(&self) -> String {
        self.key_names().iter().map(|name| self.value(name, Told::Expected)).collect::<Vec<_>>().join(",")
    }

    fn key_names(&self) -> Vec<&String> {
        match self.key {
            CaptureKey::Rowid { name } => vec![name],
            CaptureKey::Columns { names, rowid } => names.iter().chain(rowid).collect(),
        }
    }

    fn key_columns(&self) -> impl Iterator<Item = usize> {
        let names = match self.key {
            CaptureKey::Rowid { .. } => &[][..],
            CaptureKey::Columns { names, .. } => names,
        };
        names.iter().filter_map(|name| self.table.column(name))
    }

    fn value(&self, name: &str, told: Told) -> String {
        match (self.table.column(name), told) {
            (Some(column), Told::Expected) => value::of_column(self.table, column, Reading::Bare),
            (Some(_), Told::Stored) | (None, _) => format!("new.{}", ident(name)),
        }
    }

    /// Whether an UPDATE gives the row another key: other bytes or another storage class, which no collation may hide.
    fn differs(&self, told: Told) -> String {
        let mut terms = Vec::new();
        for name in self.key_names() {
            let (old, new) = (format!("old.{}", ident(name)), self.value(name, told));
            let affinity = self.table.column(name).map(|column| self.table.columns[column].affinity);
            let is_rowid = match self.key {
                CaptureKey::Rowid { .. } => true,
                CaptureKey::Columns { rowid, .. } => rowid.as_ref() == Some(name),
            };
            match affinity {
                _ if is_rowid => terms.push(format!("{old}<>{new}")),
                Some(Affinity::Text) => terms.push(format!("{old} is not {new} collate binary")),
                affinity => {
                    terms.push(format!("{old} is not {new} collate binary"));
                    terms.push(format!("typeof({old})<>typeof({new})"));
                    // Both zeros are equal, and a column without affinity keeps the sign.
                    if affinity == Some(Affinity::Blob) {
                        terms.push(format!("{new}=0"));
                    }
                }
            }
        }
        terms.join(" or ")
    }

    /// Two rows have never the same rowid, nor the same key.
    fn is_another_row(&self, alias: &str) -> String {
        if let Some(rowid) = rowid_name(self.table) {
            let rowid = ident(&rowid);
            return format!("{alias}.{rowid}<>old.{rowid}");
        }
        let terms = self.key_names().into_iter().map(|name| {
            let name = ident(name);
            format!("{alias}.{name} is not old.{name} collate binary")
        });
        format!("({})", terms.collect::<Vec<_>>().join(" or "))
    }

    fn known(&self) -> Known {
        let known = |column: usize| {
            self.table.columns[column].generated.is_none()
                && self.table.rowid_alias() != Some(column)
                && !value::is_replaced(self.table, column)
                && !value::has_default_of_chance(self.table, column)
        };
        match self.key {
            CaptureKey::Columns { .. } if self.key_columns().all(known) => Known::Before,
            CaptureKey::Columns { .. } | CaptureKey::Rowid { .. } => Known::After,
        }
    }
}
