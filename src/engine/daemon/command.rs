//! What becomes of an operator's commands while SQLite is the side that is written.
//!
//! A command is judged against the machine and the gates as they are when its turn comes, whatever they were when it was given; it is
//! recorded before it is obeyed, and answered when it is done or refused.

use super::crossing::switch::{Forward, Preparations};
use super::desk::{Told, unmet};
use super::gates::Look;
use super::hooks::{self, Moment};
use super::job::Next;
use super::life::Life;
use super::verifying::Verifying;
use super::voice::millis;
use crate::crash;
use crate::engine::order::{Entries, Order, Ordered, Settle};
use crate::engine::reason::Reason;
use crate::engine::standing::Writes;
use crate::flow::cross::{Crossed, Failed, cross};
use crate::model::fault::{Fault, FaultClass};
use crate::phase::RunState;
use crate::phase::gate::{Readings, to_switch};
use crate::phase::machine::{Command, Crossing, Event, State};
use crate::sqlite::connect::journal_mode;
use crate::telemetry::labels::CutoverOutcome;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const LOOK_WHILE_PAUSED: Duration = Duration::from_secs(1);

impl Life<'_> {
    /// Obeys an order. Where what is to be done next is no longer what this life is for, it says so.
    pub(super) async fn obey(
        &mut self,
        ordered: Ordered,
        verifying: &mut Verifying,
    ) -> Result<Option<Next>, Fault> {
        match ordered.order {
            Order::Validate(_) => {
                verifying.obey(ordered, (self.store, self.voice)).await?;
                Ok(None)
            }
            Order::Ledger(entries, settle) => {
                self.desk.take_up(&ordered);
                self.let_go_of_sqlite(verifying).await?;
                self.settle_entries(&ordered, (entries, settle)).await.map(|()| None)
            }
            Order::Phase(command) => {
                self.desk.take_up(&ordered);
                match self.desk.judge(&ordered, command) {
                    Err(reason) => self.desk.answer(&ordered, Some(reason)).await.map(|()| None),
                    // What is so already needs neither gates nor a line in the journal.
                    Ok(after) if after == self.desk.state => {
                        self.desk.answer(&ordered, None).await.map(|()| None)
                    }
                    Ok(after) => Box::pin(self.command(ordered, (command, after), verifying)).await,
                }
            }
        }
    }

    /// Nothing is applied; changes wait in the source's log.
    pub(super) async fn stay_paused(
        &mut self,
        (orders, verifying): (&mut mpsc::Receiver<Ordered>, &mut Verifying),
    ) -> Result<Option<Next>, Fault> {
        self.changes.rest();
        while self.desk.state.paused && !self.stopping.is_asked() {
            self.voice.say(RunState::Paused, None);
            self.voice.board.tick(Instant::now());
            self.voice.look_at_source().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK_WHILE_PAUSED) => {}
                () = self.stopping.asked() => {}
                Some(order) = orders.recv() => {
                    if let Some(next) = self.obey(order, verifying).await? {
                        return Ok(Some(next));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn command(
        &mut self,
        ordered: Ordered,
        (command, after): (Command, State),
        verifying: &mut Verifying,
    ) -> Result<Option<Next>, Fault> {
        match command {
            Command::Switch => {
                self.let_go_of_sqlite(verifying).await?;
                return self.switch(&ordered, after).await;
            }
            Command::Validate => {
                self.let_go_of_sqlite(verifying).await?;
                match self.open_way_back().await {
                    Err(fault) if fault.class == FaultClass::Transient => {
                        self.desk.answer(&ordered, Some(Reason::of(&fault))).await?;
                        return Ok(Some(Next::Again));
                    }
                    opened => opened?,
                }
                self.enter(&ordered, after).await?;
                // Nobody kept strangers from PostgreSQL's tables until now: what was equal then need not be.
                verifying.begin_anew(self.voice);
                if let Err(fault) = self.ready_to_switch().await {
                    tracing::warn!(code = fault.code, doing = fault.doing, "the switch would be refused");
                }
                self.show_gates().await?;
            }
            Command::Rollback | Command::Cleanup | Command::Pause | Command::Resume | Command::Reads(_) => {
                self.enter(&ordered, after).await?;
            }
        }
        self.desk.answer(&ordered, None).await?;
        Ok(None)
    }

    /// Beside a rollback journal what is written to SQLite now would wait for a comparison, and the application's readers for both.
    async fn let_go_of_sqlite(&self, verifying: &mut Verifying) -> Result<(), Fault> {
        if self.link.source.read(journal_mode).await? != "wal" {
            verifying.let_go(self.voice).await;
            self.changes.hold_none();
        }
        Ok(())
    }

    async fn enter(&mut self, ordered: &Ordered, after: State) -> Result<(), Fault> {
        let (what, detail) = ordered.words();
        self.desk.enter(after, Told::of(ordered, what).entry(&detail)).await
    }

    /// Moves the writes to PostgreSQL, or tells why not.
    async fn switch(&mut self, ordered: &Ordered, begun: State) -> Result<Option<Next>, Fault> {
        // To make ready puts guards back too, and would leave nobody to say that strangers were let in.
        let ready = match self.look_for_newcomers().await {
            Ok(()) => self.ready_to_switch().await,
            Err(fault) => Err(fault),
        };
        let (preparations, readings) = match ready {
            Ok(ready) => ready,
            Err(fault) => {
                self.voice.attempted(CutoverOutcome::Refused);
                self.desk.answer(ordered, Some(Reason::of(&fault))).await?;
                return Ok(Some(Next::Again));
            }
        };
        if let Some(reason) = unmet(&to_switch(&readings)) {
            self.voice.attempted(CutoverOutcome::Refused);
            return self.desk.answer(ordered, Some(reason)).await.map(|()| None);
        }
        if let Err(reason) = hooks::call(&self.job.switch.hooks, Moment::BeforeSwitch).await {
            self.voice.attempted(CutoverOutcome::Refused);
            return self.desk.answer(ordered, Some(reason)).await.map(|()| None);
        }
        let told = Told::of(ordered, "switch");
        self.desk.enter(begun, told.entry("begun")).await?;
        crash::passed("switch", "begun");
        self.catch_up().await?;
        self.desk.route(Writes::Paused);
        let deadline = self.job.switch.deadline;
        let mut sides = Forward::new(self, &preparations, (&told, deadline));
        match cross(&mut sides, deadline).await {
            Ok(crossed) => {
                self.voice.crossed(&crossed);
                self.after_switch(ordered, &crossed).await?;
                Ok(Some(Next::Again))
            }
            Err(Failed::Before(fault)) => {
                self.voice.attempted(CutoverOutcome::Abandoned);
                self.desk.route(Writes::Sqlite);
                let entry = format!("nothing happened: {fault}");
                self.desk.happened(Event::Abandoned(Crossing::Switch), told.entry(&entry)).await?;
                self.desk.answer(ordered, Some(Reason::of(&fault))).await?;
                // A session that was left in the middle of a statement is not used again.
                Ok(Some(Next::Again))
            }
            Err(Failed::InDoubt(fault)) => {
                self.voice.attempted(CutoverOutcome::InDoubt);
                Err(fault)
            }
        }
    }

    /// Walks the way back once, rehearses what PostgreSQL will be given, and looks closely at every gate.
    pub(super) async fn ready_to_switch(&mut self) -> Result<(Preparations, Readings), Fault> {
        self.open_way_back().await?;
        self.send_canary().await?;
        let preparations = Preparations::make(self).await?;
        let readings = self.readings(Look::Everything(&preparations)).await?;
        Ok((preparations, readings))
    }

    async fn after_switch(&mut self, ordered: &Ordered, crossed: &Crossed) -> Result<(), Fault> {
        tracing::info!(
            pause_ms = millis(crossed.pause),
            last = crossed.last.seq,
            rows_compared = crossed.rows_compared,
            "the application's writes go to postgres"
        );
        self.desk.call_due_hook().await?;
        crash::passed("switch", "told");
        self.desk.answer(ordered, None).await
    }

    async fn settle_entries(
        &mut self,
        ordered: &Ordered,
        (entries, settle): (Entries, Settle),
    ) -> Result<(), Fault> {
        let found = match (entries, settle) {
            (Entries::One(entry), Settle::Accept) => self.store.accept_entry(self.migration, entry).await?,
            (Entries::One(entry), Settle::Retry) => self.read_entry_again(entry).await?,
            (Entries::All, Settle::Accept) => {
                self.store.accept_entries(self.migration).await.map(|()| true)?
            }
            (Entries::All, Settle::Retry) => self.read_entries_again().await.map(|()| true)?,
        };
        if !found {
            let reason = Reason::new(
                "no_such_entry",
                "the ledger has no such entry of a table that is followed",
                "`liteferry ledger` lists them.",
            );
            return self.desk.answer(ordered, Some(reason)).await;
        }
        let (what, detail) = ordered.words();
        self.store.note(what, &detail).await?;
        self.look_at_ledger().await?;
        self.show_gates().await?;
        self.desk.answer(ordered, None).await
    }
}
