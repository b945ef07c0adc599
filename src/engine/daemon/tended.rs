//! The triggers of the way back, looked at from validate on. `alter table … disable trigger all`, as fixtures and restores have it, lets
//! strangers in, or leaves rows unnoted; `enable trigger all` after it wakes what has to rest.
//!
//! What was touched is put back, and what was written meanwhile is found by comparing; until then the writes move nowhere. So it is where
//! somebody made a table anew, or a column of it: no trigger tells of that.

use super::back::Back;
use super::desk::Desk;
use super::life::Life;
use super::newcomers::{LOOK_FOR_NEWCOMERS, tied};
use super::reread;
use super::tables::Tables;
use crate::journal::crossing::{Crosser, held_still};
use crate::journal::follow::Which;
use crate::model::fault::{Fault, FaultClass};
use crate::phase::Phase;
use crate::postgres::capture::{Touched, Written, install, set, touched, written_to};
use crate::postgres::connect::Session;
use crate::postgres::fault;
use crate::postgres::make_way::{has_missed, make_way, who_holds};
use crate::postgres::remade::{Made, made_otherwise, note_made};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Whoever holds a table is not waited for: the attempt ends, and the next one tries again.
const BEGIN: &str = "begin; set local lock_timeout = '500ms'";

impl Back<'_> {
    /// Ends this life where something was touched: the next one compares these tables before it counts as running.
    pub(super) async fn tend(&mut self) -> Result<(), Fault> {
        if self.tended.is_some_and(|tended| tended.elapsed() < LOOK_FOR_NEWCOMERS) {
            return Ok(());
        }
        self.tended = Some(Instant::now());
        let session = self.target.session().await?;
        are_apart(&self.desk, &session, &self.tables).await?;
        let touched = touched(&session, self.desk.migration, (&self.tables, Written::Postgres)).await?;
        let others = put_back(&self.desk, &session, (&self.tables, &touched), Written::Postgres).await?;
        if !others.is_empty() {
            return Err(accuse(&self.desk, &others).await?);
        }
        let made = made_otherwise(&session, self.desk.migration, &self.tables).await?;
        take_as_found(&self.desk, &session, (&self.tables, &made)).await?;
        self.target.give_back(session);
        Ok(())
    }

    /// The same under the locks of a rollback, where nobody touches anything any more.
    pub(super) async fn is_untouched(&mut self, fence: &Session) -> Result<(), Fault> {
        if let Some(fault) = tied(fence, &self.tables).await? {
            return Err(fault);
        }
        untouched(fence, self.desk.migration, (&self.tables, Written::Postgres)).await?;
        is_as_made(fence, self.desk.migration, &self.tables).await
    }
}

impl Life<'_> {
    /// The same while SQLite is written and PostgreSQL is guarded.
    pub(super) async fn tend(&self) -> Result<(), Fault> {
        let session = self.link.target.session().await?;
        let made = made_otherwise(&session, self.migration, &self.tables).await?;
        for (id, route) in &remade(&self.tables, &made) {
            let of = (route.source.as_str(), Which::All);
            reread::ledger_of(self.store, self.link.source.file(), (self.migration, *id), of).await?;
        }
        take_as_found(&self.desk, &session, (&self.tables, &made)).await?;
        if self.desk.state.phase != Phase::Validate {
            self.link.target.give_back(session);
            return Ok(());
        }
        let touched = touched(&session, self.migration, (&self.tables, Written::Sqlite)).await?;
        for (id, one) in &touched {
            let of = (one.route.source.as_str(), Which::All);
            reread::ledger_of(self.store, self.link.source.file(), (self.migration, *id), of).await?;
        }
        let others = put_back(&self.desk, &session, (&self.tables, &touched), Written::Sqlite).await?;
        if !others.is_empty() {
            return Err(accuse(&self.desk, &others).await?);
        }
        self.link.target.give_back(session);
        Ok(())
    }

    /// Tables that are about to be compared, those that have just come among them, get what they lack before that: nobody is to blame.
    pub(super) async fn tend_suspects(&self) -> Result<(), Fault> {
        if self.desk.state.phase != Phase::Validate || self.suspects.is_empty() {
            return Ok(());
        }
        let session = self.link.target.session().await?;
        let touched = touched(&session, self.migration, (&self.tables, Written::Sqlite)).await?;
        if touched.keys().all(|id| self.suspects.contains_key(id)) {
            put_back(&self.desk, &session, (&self.tables, &touched), Written::Sqlite).await?;
        }
        self.link.target.give_back(session);
        Ok(())
    }
}

/// Ends this life where two of the tables share their rows: all are compared once they no longer do.
pub(super) async fn are_apart(desk: &Desk<'_>, session: &Session, tables: &Tables) -> Result<(), Fault> {
    let Some(fault) = tied(session, tables).await? else { return Ok(()) };
    desk.store.suspect_all((desk.migration, &desk.owner)).await?;
    Err(fault)
}

/// Asked last by whoever moves the writes: what is set from here on leaves no trace of it.
pub(super) async fn untouched(
    session: &Session,
    migration: i64,
    of: (&Tables, Written),
) -> Result<(), Fault> {
    let touched = touched(session, migration, of).await?;
    let tables: Tables = touched.into_iter().map(|(id, one)| (id, one.route)).collect();
    if tables.is_empty() { Ok(()) } else { Err(was_touched(&tables)) }
}

/// Under the locks of a crossing.
pub(super) async fn is_as_made(session: &Session, migration: i64, tables: &Tables) -> Result<(), Fault> {
    let made = made_otherwise(session, migration, tables).await?;
    let remade = remade(tables, &made);
    if remade.is_empty() { Ok(()) } else { Err(was_remade(&remade)) }
}

/// Ends this life where a table was made anew: the next one compares it before it counts as running.
async fn take_as_found(
    desk: &Desk<'_>,
    session: &Session,
    (tables, made): (&Tables, &[Made]),
) -> Result<(), Fault> {
    if made.is_empty() {
        return Ok(());
    }
    note_made(session, desk.migration, made).await?;
    let remade = remade(tables, made);
    if remade.is_empty() {
        return Ok(());
    }
    let tables = named(&remade);
    tracing::warn!(
        tables,
        "somebody made tables of PostgreSQL's anew, or columns of them: they are compared"
    );
    desk.store.note("made anew", &format!("{tables}, beside liteferry: compared")).await?;
    Err(was_remade(&remade))
}

fn remade(tables: &Tables, made: &[Made]) -> Tables {
    let of = |one: &Made| tables.get(&one.id).map(|route| (one.id, Arc::clone(route)));
    made.iter().filter(|one| one.remade).filter_map(of).collect()
}

fn was_remade(remade: &Tables) -> Fault {
    let doing = format!("rely on what is known of {}", named(remade));
    Fault::new(FaultClass::Transient, "target_remade", doing).with_remedy(
        "somebody made the table anew, or a column or a part of it (`alter column … using`, `detach partition`), and no trigger tells what became \
         of its rows: `run` compares it",
    )
}

/// Gives the tables that may have been written to meanwhile, unnoted or unrefused; a partition that has just been made is nobody's fault.
async fn put_back(
    desk: &Desk<'_>,
    session: &Session,
    (tables, touched): (&Tables, &BTreeMap<i64, Touched>),
    written: Written,
) -> Result<Tables, Fault> {
    if touched.is_empty() {
        return Ok(Tables::new());
    }
    match try_to_put_back(desk, session, (tables, touched), written).await {
        Err(fault) if has_missed(&fault) => {}
        done => return done,
    }
    let let_go = async || {
        session.batch_execute("rollback").await.map_err(|error| fault::of(error, "let go of the tables"))
    };
    let_go().await?;
    make_way(session, tables).await?;
    match try_to_put_back(desk, session, (tables, touched), written).await {
        Err(fault) => {
            let_go().await?;
            Err(who_holds(session, tables, fault).await)
        }
        done => done,
    }
}

async fn try_to_put_back(
    desk: &Desk<'_>,
    session: &Session,
    (tables, touched): (&Tables, &BTreeMap<i64, Touched>),
    written: Written,
) -> Result<Tables, Fault> {
    let doing = "put the triggers of the way back where they were";
    let failed = |error| fault::of(error, doing);
    let migration = desk.migration;
    session.batch_execute(BEGIN).await.map_err(failed)?;
    // A daemon that stood still must not open what another has shut since.
    held_still(session, Crosser { migration, owner: &desk.owner, state: desk.state }).await?;
    install(session, migration, tables).await?;
    set(session, migration, written).await?;
    if written == Written::Sqlite {
        // Our own writes, noted as if they were the application's.
        let sql = "delete from liteferry.reverse_change where migration_id = $1";
        session.execute(sql, &[&migration]).await.map_err(failed)?;
    }
    let others = written_to(session, touched, written).await?;
    let ids: Vec<i64> = others.keys().copied().collect();
    let sql = "update liteferry.captured set suspect = true where migration_id = $1 and id = any($2)";
    session.execute(sql, &[&migration, &ids]).await.map_err(failed)?;
    session.batch_execute("commit").await.map_err(|error| fault::of_commit(error, doing))?;
    Ok(others)
}

async fn accuse(desk: &Desk<'_>, touched: &Tables) -> Result<Fault, Fault> {
    let tables = named(touched);
    tracing::warn!(
        tables,
        "somebody touched the triggers of the way back: they are put back, and the tables compared"
    );
    desk.store.note("put back", &format!("the triggers of the way back, on {tables}")).await?;
    Ok(was_touched(touched))
}

fn was_touched(touched: &Tables) -> Fault {
    let doing = format!("rely on the triggers of the way back on {}", named(touched));
    Fault::new(FaultClass::Transient, "way_back_touched", doing).with_remedy(
        "somebody dropped, disabled or enabled them (`alter table … disable trigger all`), or made a partition, which has none yet: `run` puts them \
         in their place, and compares the tables where anything was written meanwhile",
    )
}

fn named(tables: &Tables) -> String {
    tables.values().map(|route| route.target.to_string()).collect::<Vec<_>>().join(", ")
}
