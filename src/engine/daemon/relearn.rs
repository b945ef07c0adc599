//! Forms learned anew: of columns that no value had spoken for when the migration began, most often because their table was empty, and
//! whose values turn out to be spelt otherwise than was taken for granted.
//!
//! A form gives way only to one that every value speaks for which speaks for any. The schema of neither side is touched, and the whole
//! table is compared afterwards. It never looks at a large table: following waits while it looks. Where no form helps, a wider type may,
//! if the operator wants it (`widening`).

use super::job::Next;
use super::life::Life;
use super::reread;
use super::widening::Widened;
use crate::canon::{Codec, Form};
use crate::engine::prepare::{Partly, Prepared, Request, Values, prepare};
use crate::flow::follow::Step;
use crate::flow::progress::Unwatched;
use crate::journal::follow::Which;
use crate::journal::reshape::{Reshaping, TableChange};
use crate::model::cell::Class;
use crate::model::fault::Fault;
use crate::model::name::ident;
use crate::model::schema::SqliteTable;
use crate::model::types::Type;
use crate::plan::route::Route;
use crate::plan::survey::{ColumnSurvey, Survey, TableSurvey};
use crate::sqlite::fault::from_sqlite;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Misfits of each table since its values were last looked at.
pub(super) struct Doubts {
    tables: BTreeMap<String, Doubt>,
    looked: Instant,
    /// When to look once more at what a look came to nothing for.
    again: Option<Instant>,
}

struct Doubt {
    misfits: u64,
    /// How many it takes for another look.
    patience: u64,
    /// How many the last look left, and when the next may be taken for any that came since.
    left: u64,
    rested: Instant,
}

/// While there is something to apply.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After a look that something came between.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// From a look that changed nothing to the next, and so many times its own length, where not even twice as many misfits came meanwhile.
const REST: Duration = Duration::from_secs(10);
const REST_BY_LENGTH: u32 = 9;
/// A table that began without values is looked at long before it has so many rows.
const ROWS_MAX: i64 = 100_000;

impl Doubts {
    /// `held`: tables, reasons and how many entries the ledger has of each. What PostgreSQL itself refused is no question of forms.
    pub fn new(held: &[(String, String, u64)]) -> Doubts {
        let mut doubts = Doubts { tables: BTreeMap::new(), looked: Instant::now(), again: None };
        for (table, _, misfits) in held.iter().filter(|(_, reason, _)| reason != "refused") {
            doubts.note(table, *misfits);
        }
        doubts
    }

    pub fn stepped(&mut self, step: &Step) {
        for (table, done) in step.tables.iter().filter(|(_, done)| done.misfits > 0) {
            self.note(table, done.misfits);
        }
    }

    fn note(&mut self, table: &str, misfits: u64) {
        let doubt = self.tables.entry(table.to_owned()).or_insert_with(Doubt::new);
        doubt.misfits += misfits;
    }

    /// Whether the last look is long enough ago for another one while there is something to apply.
    pub fn have_waited(&self) -> bool {
        self.looked.elapsed() >= LOOK_EVERY
    }

    /// Whether a look is to be taken again by now, though nothing was applied.
    pub fn are_due_again(&self) -> bool {
        match self.again {
            Some(again) => again <= Instant::now(),
            None => self.tables.values().any(Doubt::is_due),
        }
    }

    /// A look that took so long has changed nothing of these. `held`: as for `new`.
    fn looked_at(&mut self, (tables, took): (&BTreeSet<String>, Duration), held: &[(String, String, u64)]) {
        let rested = Instant::now() + REST.max(took * REST_BY_LENGTH);
        for (table, doubt) in self.tables.iter_mut().filter(|(table, _)| tables.contains(*table)) {
            let of_table = held.iter().filter(|(of, reason, _)| of == table && reason != "refused");
            doubt.misfits = of_table.map(|(_, _, misfits)| misfits).sum();
            (doubt.left, doubt.patience, doubt.rested) = (doubt.misfits, (doubt.misfits * 2).max(1), rested);
        }
    }

    fn look_again(&mut self, tables: &BTreeSet<String>) {
        for (_, doubt) in self.tables.iter_mut().filter(|(table, _)| tables.contains(*table)) {
            doubt.patience = doubt.misfits;
        }
        self.again = Some(Instant::now() + LOOK_AGAIN);
    }

    /// The tables to look at now. Each that is named here waits for twice as many misfits before it is named again, or for a rest.
    fn due(&mut self) -> BTreeSet<String> {
        let mut due = BTreeSet::new();
        if self.again.is_some_and(|again| again > Instant::now()) {
            return due;
        }
        self.again = None;
        for (table, doubt) in &mut self.tables {
            if doubt.is_due() {
                doubt.patience = doubt.misfits.saturating_mul(2);
                doubt.left = doubt.misfits;
                due.insert(table.clone());
            }
        }
        due
    }
}

impl Doubt {
    fn new() -> Doubt {
        Doubt { misfits: 0, patience: 1, left: 0, rested: Instant::now() + REST }
    }

    fn is_due(&self) -> bool {
        self.misfits >= self.patience || (self.misfits > self.left && self.rested <= Instant::now())
    }
}

impl Life<'_> {
    /// Looks at the values of tables that have had misfits. Where a column's form or type is another now, everything begins anew with that.
    pub(super) async fn learn_anew(&mut self, doubts: &mut Doubts) -> Result<Option<Next>, Fault> {
        doubts.looked = Instant::now();
        let due = doubts.due();
        if due.is_empty() {
            return Ok(None);
        }
        // Beside a rollback journal a snapshot of ours would keep our own commit waiting, and the application with it.
        drop(self.changes.take_held());
        let widened = match self.voice.attended(self.values_of(&due)).await {
            Ok(Some(seen)) => {
                let changes = self.forms_now(&seen);
                if !changes.is_empty() {
                    self.take_forms(&changes).await?;
                    return Ok(Some(Next::Again));
                }
                self.widen(&seen).await?
            }
            Ok(None) => Widened::Nothing,
            Err(fault) => {
                // What ails a side is found, and named, by the following itself.
                tracing::warn!(code = fault.code, doing = fault.doing, "the values were not looked at");
                Widened::Later
            }
        };
        match widened {
            Widened::Nothing => {
                let held = self.look_at_ledger().await?;
                doubts.looked_at((&due, doubts.looked.elapsed()), &held);
                Ok(None)
            }
            Widened::Anew => Ok(Some(Next::Again)),
            Widened::Later => {
                doubts.look_again(&due);
                Ok(None)
            }
        }
    }

    /// Both sides as they are, with what the values of these tables say; nothing where each of them is too large for a look.
    async fn values_of(&self, due: &BTreeSet<String>) -> Result<Option<Seen>, Fault> {
        let mut rows = BTreeMap::new();
        let rows_max = self.job.request.widening.rows_max().unwrap_or(0).max(ROWS_MAX);
        let followed = |table: &&String| self.tables.values().any(|route| route.source == **table);
        for table in due.iter().filter(followed) {
            let count = self.rows_up_to(table, rows_max + 1).await?;
            if count > rows_max {
                tracing::info!(
                    table,
                    rows_max,
                    "too large for a look at its values: its misfits stay in the ledger"
                );
                continue;
            }
            rows.insert(table.clone(), count);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        // Here values speak, and nothing else.
        let partly = Some(Partly { surveyed: rows.keys().cloned().collect(), followed: Vec::new() });
        let request = Request { partly, values: Values::Surveyed, ..self.job.request.clone() };
        Ok(Some(Seen { prepared: prepare(&request, &Unwatched).await?, rows }))
    }

    async fn rows_up_to(&self, table: &str, rows_max: i64) -> Result<i64, Fault> {
        let sql = format!("select count(*) from (select 1 from {} limit {rows_max})", ident(table));
        let count = self.link.source.read(move |db| {
            db.query_row(&sql, [], |row| row.get::<_, i64>(0))
                .map_err(|error| from_sqlite("count a table's rows", error))
        });
        count.await
    }

    fn forms_now(&self, seen: &Seen) -> Vec<TableChange> {
        let mut changes = Vec::new();
        for (id, route) in self.seen(seen, ROWS_MAX) {
            let table = seen.prepared.schema.tables.iter().find(|table| table.name == route.source);
            let relearned =
                table.zip(seen.survey().tables.get(&route.source)).and_then(|seen| relearned(route, seen));
            if let Some(route) = relearned {
                changes.push(TableChange::Altered { id, route, statements: Vec::new() });
            }
        }
        changes
    }

    /// The tables that were looked at, and have no more rows than this.
    pub(super) fn seen<'s>(
        &'s self,
        seen: &'s Seen,
        rows_max: i64,
    ) -> impl Iterator<Item = (i64, &'s Arc<Route>)> {
        let is_small =
            move |route: &Route| seen.rows.get(&route.source).is_some_and(|rows| *rows <= rows_max);
        self.tables.iter().filter(move |(_, route)| is_small(route)).map(|(id, route)| (*id, route))
    }

    async fn take_forms(&self, changes: &[TableChange]) -> Result<(), Fault> {
        self.take_changes(changes).await?;
        for change in changes {
            let table = change.table();
            tracing::info!(
                table,
                "its values are spelt otherwise than was taken for granted; it is read again"
            );
            self.store.note("forms", &format!("learned anew: {table}")).await?;
        }
        Ok(())
    }

    /// Records under which routes these tables cross from now on. What the ledger has of them is read again.
    pub(super) async fn take_changes(&self, changes: &[TableChange]) -> Result<(), Fault> {
        let missing = || Fault::fatal("state_unreadable", "read where the migration stands");
        let recorded = self.store.follow(self.migration).await?.ok_or_else(missing)?;
        for (id, route) in &self.tables {
            if changes.iter().any(|change| change.table() == route.source) {
                let file = self.link.source.file();
                reread::ledger_of(self.store, file, (self.migration, *id), (&route.source, Which::All))
                    .await?;
            }
        }
        self.store
            .reshape(&Reshaping {
                migration: self.migration,
                owner: &self.owner,
                source_schema: &recorded.source_schema,
                changes,
                suspended: &[],
                role: recorded.role,
                referring: &[],
                turnovers: &[],
                suspect: &BTreeSet::new(),
            })
            .await?;
        // A verdict was about the forms that it saw.
        self.voice.board.update(Instant::now(), |status| status.validation.schema_holds = false);
        Ok(())
    }
}

/// A look at tables whose values were in doubt.
pub(super) struct Seen {
    pub prepared: Prepared,
    /// How many each has, of those that were looked at.
    rows: BTreeMap<String, i64>,
}

impl Seen {
    pub fn survey(&self) -> &Survey {
        self.prepared.survey.as_ref().expect("the values were surveyed")
    }
}

/// The route under the forms that the values speak for, where that is another.
fn relearned(route: &Arc<Route>, (table, survey): (&SqliteTable, &TableSurvey)) -> Option<Route> {
    let mut fresh = Route::clone(route);
    let mut changed = false;
    for column in &mut fresh.columns {
        let at = table.columns.iter().position(|found| Some(&found.name) == column.source.as_ref());
        let Some(seen) = at.and_then(|at| survey.columns.get(at)) else { continue };
        for learner in &seen.learners {
            let learned = learner.learned();
            let same_type = learned.codec.ty == column.codec.ty && learned.codec.zone == column.codec.zone;
            let speaks = learned.elsewhere == 0 && learned.exact > learner.votes_for(column.codec.form);
            if same_type && speaks {
                column.codec = learned.codec.as_came_back_to(&column.codec);
                changed = true;
            }
        }
        if let Some(form) = class_of_bytes(&column.codec, seen) {
            column.codec.form = form;
            changed = true;
        }
    }
    changed.then_some(fresh)
}

/// In `create` mode nothing is learned of a column of bytes: the class alone, BLOB or TEXT, tells how it is written.
fn class_of_bytes(codec: &Codec, seen: &ColumnSurvey) -> Option<Form> {
    let all = |class| seen.values() > 0 && seen.only(&[class]);
    let spoken = [(Class::Text, Form::OtherClass), (Class::Blob, Form::Native)];
    let (_, form) = spoken.into_iter().find(|(class, _)| all(*class))?;
    (codec.ty == Type::Bytea && seen.learners.is_empty() && codec.form != form).then_some(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_looked_at_again_only_after_twice_as_many_misfits() {
        let held = [("t", "class", 2), ("t", "spelling", 1), ("u", "spelling", 1), ("v", "refused", 9)];
        let mut doubts =
            Doubts::new(&held.map(|(table, reason, rows)| (table.to_owned(), reason.to_owned(), rows)));
        let due = |doubts: &mut Doubts| doubts.due().into_iter().collect::<Vec<_>>();
        assert_eq!(due(&mut doubts), ["t", "u"]);
        assert!(due(&mut doubts).is_empty());
        doubts.note("u", 1);
        doubts.note("t", 2);
        assert_eq!(due(&mut doubts), ["u"]);
        doubts.note("t", 1);
        doubts.note("u", 1);
        assert_eq!(due(&mut doubts), ["t"]);
        doubts.look_again(&["u".to_owned()].into());
        assert!(due(&mut doubts).is_empty() && !doubts.are_due_again(), "not at once");
        doubts.again = Some(Instant::now());
        assert!(doubts.are_due_again());
        assert_eq!(due(&mut doubts), ["u"]);
        assert!(!doubts.are_due_again());
    }

    #[test]
    fn what_is_left_after_a_look_does_not_hide_what_comes() {
        let held = |misfits| {
            [("t".to_owned(), "class".to_owned(), misfits), ("t".to_owned(), "refused".to_owned(), 9)]
        };
        let mut doubts = Doubts::new(&held(5));
        assert_eq!(doubts.due().len(), 1);
        let all = BTreeSet::from(["t".to_owned()]);
        // They have left the ledger since they were counted.
        doubts.looked_at((&all, Duration::ZERO), &held(0));
        assert!(doubts.due().is_empty());
        doubts.note("t", 1);
        assert!(doubts.are_due_again());
        assert_eq!(doubts.due().len(), 1);
        // So many stay, and one more is looked at after a rest.
        doubts.looked_at((&all, Duration::ZERO), &held(8));
        doubts.note("t", 1);
        assert!(doubts.due().is_empty() && !doubts.are_due_again());
        doubts.tables.get_mut("t").expect("it is in doubt").rested = Instant::now();
        assert!(doubts.are_due_again());
        assert_eq!(doubts.due().len(), 1);
        assert!(doubts.due().is_empty());
    }
}
