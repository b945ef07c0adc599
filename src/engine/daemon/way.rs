//! What the way to PostgreSQL and back needs of a life in which SQLite is written: the way back laid and walked by a canary, everything
//! applied, both sides compared one last time.

use super::back::back_to;
use super::blocking::blocking;
use super::crossing::switch::{Forward, Preparations};
use super::desk::Told;
use super::job::Next;
use super::life::Life;
use super::schema_moved::schema_moved;
use crate::flow::follow::step;
use crate::journal::crossing::{Crosser, begin_way_back, held_still};
use crate::link::{Applier, Captured, Extent, Take};
use crate::model::cell::CellBuf;
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::model::key::cells_of_key;
use crate::plan::reverse::Firing;
use crate::postgres::capture::{Part, install, send_canary, set_parts};
use crate::postgres::compare::differing;
use crate::postgres::fault;
use crate::postgres::make_way::{has_missed, make_way, who_holds};
use crate::postgres::newcomers::disturbed;
use crate::sqlite::capture;
use crate::sqlite::capture::fence::control;
use crate::sqlite::control::{begin_reverse, read};
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};
use tokio::try_join;

/// Whoever has a transaction open on a table is not waited for: nothing is followed meanwhile, and every other writer would wait behind.
const LAY: &str = "begin; set local lock_timeout = '500ms'";
const WRITE_WAIT: Duration = Duration::from_secs(5);
/// Batches of the way back until the canary has come home.
const STEPS_MAX: u32 = 20;

impl Life<'_> {
    /// Applies everything that the source shows; gives where the target stands then.
    pub(super) async fn catch_up(&mut self) -> Result<Position, Fault> {
        let mut at = self.applier.position().await?;
        while let Some(step) = self.step(at, Take::UpTo).await? {
            at = step.to;
            if step.extent == Extent::Whole {
                break;
            }
        }
        Ok(at)
    }

    /// The same up to a change that the source is known to show, whatever a batch took for its newest that was read before.
    pub(super) async fn catch_up_to(&mut self, last: Position) -> Result<Position, Fault> {
        let mut at = self.applier.position().await?;
        while at != last {
            let Some(step) = self.step(at, Take::UpTo).await? else { break };
            at = step.to;
        }
        Ok(at)
    }

    /// Puts capture on PostgreSQL's tables, at rest, and guards, which keep every writer but us out from now on; and begins the history
    /// of the way back where none has begun.
    pub(super) async fn open_way_back(&mut self) -> Result<(), Fault> {
        match self.lay_way_back().await {
            Err(fault) if has_missed(&fault) => {}
            laid => return laid,
        }
        let session = self.link.target.session().await?;
        make_way(&session, &self.tables).await?;
        match self.lay_way_back().await {
            Err(fault) => Err(who_holds(&session, &self.tables, fault).await),
            Ok(()) => {
                self.link.target.give_back(session);
                Ok(())
            }
        }
    }

    async fn lay_way_back(&mut self) -> Result<(), Fault> {
        let doing = "lay the way back";
        let session = self.link.target.session().await?;
        session.batch_execute(LAY).await.map_err(|error| fault::of(error, doing))?;
        // A daemon that stood still must not shut what another has opened since.
        let owner = self.owner.clone();
        let crosser = Crosser { migration: self.migration, owner: &owner, state: self.desk.state };
        held_still(&session, crosser).await?;
        install(&session, self.migration, &self.tables).await?;
        set_parts(&session, self.migration, &[(Part::Guards, Firing::Always)]).await?;
        session.batch_execute("commit").await.map_err(|error| fault::of_commit(error, doing))?;
        let (file, token) = (self.link.source.file().clone(), self.desk.token.clone());
        let epoch = self.applier.position().await?.epoch;
        let reached = blocking(doing, move || {
            let db = file.open_writer(WRITE_WAIT)?;
            if let Some(reached) = control(&db, &token)?.reverse {
                return Ok((reached.at, false));
            }
            let first = Position { epoch, seq: 0, nonce: capture::drawn(&db)? };
            begin_reverse(&db, first)?;
            Ok((first, true))
        });
        // The target is told after the source: the other way round a crash would leave a history that the source does not know.
        let (first, begun) = reached.await?;
        if begun || self.store.way_back(self.migration).await?.is_none() {
            session.batch_execute("begin").await.map_err(|error| fault::of(error, doing))?;
            begin_way_back(&session, crosser, first).await?;
            session.batch_execute("commit").await.map_err(|error| fault::of_commit(error, doing))?;
        }
        self.link.target.give_back(session);
        Ok(())
    }

    /// Sends a word the whole way round: noted in PostgreSQL, read there, written to SQLite, read again.
    pub(super) async fn send_canary(&mut self) -> Result<(), Fault> {
        let session = self.link.target.session().await?;
        let word = send_canary(&session, self.migration).await?;
        self.link.target.give_back(session);
        let (changes, mut applier) =
            back_to(&self.desk, self.tables.clone(), (&self.link.target, self.link.source.file())).await?;
        let reached = applier.reached().await?;
        changes.resume(reached).await;
        let mut at = reached.at;
        for _ in 0..STEPS_MAX {
            let on_misfit = self.job.request.on_misfit;
            let step = step(&changes, &mut applier, (at, Take::All), on_misfit).await;
            let Some(step) = step.map_err(before_the_switch)? else { break };
            changes.forget(step.to.seq).await?;
            at = step.to;
        }
        let came = self.link.source.read(|db| Ok(read(db)?.and_then(|control| control.canary))).await?;
        let home = came.as_deref() == Some(&word);
        self.voice.board.update(Instant::now(), |status| {
            let mut reverse = status.standing.reverse.unwrap_or_default();
            reverse.canary = home;
            status.standing.reverse = Some(reverse);
        });
        Ok(())
    }

    /// SQLite is closed already: PostgreSQL is opened.
    pub(super) async fn finish_switch(&mut self) -> Result<Next, Fault> {
        self.open_way_back().await?;
        let preparations = Preparations::as_decided(self).await?;
        let told = Told::by_itself("switch");
        let deadline = FINISH_MAX;
        let last = Forward::new(self, &preparations, (&told, deadline)).finish().await?;
        tracing::info!(last = last.seq, "the switch is finished: the application's writes go to postgres");
        Ok(Next::Again)
    }

    /// Has the source's row of an entry read again; tells whether there is such an entry, of a table that is followed.
    pub(super) async fn read_entry_again(&mut self, entry: i64) -> Result<bool, Fault> {
        let Some((table, key)) = self.store.entry_key(self.migration, entry).await? else { return Ok(false) };
        self.read_row_again(&table, &key).await
    }

    pub(super) async fn read_entries_again(&mut self) -> Result<(), Fault> {
        let mut after = (String::new(), String::new());
        loop {
            let page = self.store.entry_keys(self.migration, &after, ENTRIES_PER_PAGE).await?;
            for (table, key) in &page {
                self.read_row_again(table, key).await?;
                self.voice.board.tick(Instant::now());
            }
            let Some(last) = page.into_iter().next_back() else { return Ok(()) };
            after = last;
        }
    }

    async fn read_row_again(&self, table: &str, key: &str) -> Result<bool, Fault> {
        let followed = self.tables.iter().find(|(_, route)| route.source == table);
        let cells: Option<Vec<CellBuf>> = cells_of_key(key);
        let (Some((id, _)), Some(cells)) = (followed, cells) else { return Ok(false) };
        let (id, file) = (*id, self.link.source.file().clone());
        blocking("name a row again", move || capture::touch(&file.open_writer(WRITE_WAIT)?, id, &[cells]))
            .await
            .map(|()| true)
    }

    /// Compares the rows that changed last, as both sides show them under the fence. What was put on a table since the last look may have
    /// done to other rows what it likes: there must be nothing of it.
    pub(super) async fn compare_newest(&mut self, last: Position) -> Result<u64, Fault> {
        let newest = self.changes.newest_rows(last, COMPARED_MAX).await?;
        let session = self.link.target.session().await?;
        // All tables are asked about before the first is answered: many of them, far away, would take longer than the application waits.
        let asked = newest.iter().map(|changed| differing(&session, self.migration, changed));
        let (found, newcomers) = try_join!(try_join_all(asked), self.newcomers(&session))?;
        if let Some((changed, _)) = newest.iter().zip(found).find(|(_, differing)| *differing > 0) {
            let doing = format!("find both sides equal in table {}", changed.route.target);
            return Err(Fault::new(FaultClass::Transient, "sides_differ", doing).with_remedy(
                "Nothing happened: rows that changed last differ. `liteferry validate --repair` finds and mends them.",
            ));
        }
        if let Some(first) = newcomers.first() {
            return Err(disturbed(first));
        }
        self.link.target.give_back(session);
        let rows: usize = newest.iter().map(|changed| changed.names.len()).sum();
        Ok(u64::try_from(rows).expect("a count fits"))
    }
}

/// SQLite is the application's still, which may change its schema whenever it likes.
fn before_the_switch(fault: Fault) -> Fault {
    if fault.code == "reverse_schema_moved" { schema_moved(fault) } else { fault }
}

/// Keys compared while the application waits: some milliseconds.
const COMPARED_MAX: i64 = 500;
const ENTRIES_PER_PAGE: u32 = 1_000;
/// Nobody waits for this but the application, which can do nothing else.
const FINISH_MAX: Duration = Duration::from_secs(30);
