//! The desk: where the migration stands, by whom commands are judged against it, and how a move is recorded, told and answered.
//!
//! Disk first, then memory: nobody is told of a phase that is not recorded.

use super::hooks::{self, Moment};
use super::job::Job;
use super::voice::Voice;
use crate::engine::order::{Order, Ordered};
use crate::engine::reason::Reason;
use crate::engine::standing::{Answer, Routing, Writes};
use crate::journal::crossing::{Crosser, held_still};
use crate::journal::machine::{Entry, Recorded};
use crate::journal::store::{Store, unreadable};
use crate::model::fault::Fault;
use crate::phase::Phase;
use crate::phase::gate::Gate;
use crate::phase::machine::{Command, Event, Percent, State, ask, transition};
use crate::postgres::capture::{self, Written};
use crate::postgres::connect::connect;
use crate::postgres::fault;
use std::time::Instant;

pub struct Desk<'a> {
    pub job: &'a Job,
    pub store: &'a Store,
    pub voice: &'a Voice,
    pub migration: i64,
    pub owner: String,
    /// Stands in the source too.
    pub token: String,
    pub state: State,
    routing: Routing,
}

impl<'a> Desk<'a> {
    pub async fn open(
        job: &'a Job,
        store: &'a Store,
        voice: &'a Voice,
        (migration, owner): (i64, String),
    ) -> Result<Desk<'a>, Fault> {
        let Recorded { state, routing_epoch } = store.machine(migration).await?;
        let missing = || Fault::fatal("state_unreadable", "read where the migration stands");
        let token = store.follow(migration).await?.ok_or_else(missing)?.token;
        let routing = Routing { epoch: routing_epoch, ..Routing::FIRST };
        Ok(Desk { job, store, voice, migration, owner, token, state, routing })
    }

    /// Records a move and shows it.
    pub async fn enter(&mut self, after: State, entry: Entry<'_>) -> Result<(), Fault> {
        self.store.enter((self.migration, &self.owner), (self.state, after), entry).await?;
        self.arrived(after);
        Ok(())
    }

    /// A new history begins with SQLite as the side that is written, whatever was so before it was opened or restored.
    pub async fn back_to_sqlite(&mut self) -> Result<(), Fault> {
        if self.state.phase <= Phase::DualWrite && self.state.crossing.is_none() {
            return Ok(());
        }
        let doing = "shut PostgreSQL to the application's writes";
        let session = connect(&self.job.request.address).await?;
        session.batch_execute("begin").await.map_err(|error| fault::of(error, doing))?;
        // A daemon that stood still must not shut what another has opened since.
        let crosser = Crosser { migration: self.migration, owner: &self.owner, state: self.state };
        held_still(&session, crosser).await?;
        capture::set(&session, self.migration, Written::Sqlite).await?;
        session.batch_execute("commit").await.map_err(|error| fault::of_commit(error, doing))?;
        let after = State { phase: Phase::DualWrite, reads: Percent::NONE, crossing: None, ..self.state };
        let told = Told::by_itself("resync");
        self.enter(after, told.entry("SQLite is the side that is written; PostgreSQL is made equal to it"))
            .await
    }

    /// An event of the daemon's own.
    pub async fn happened(&mut self, event: Event, entry: Entry<'_>) -> Result<(), Fault> {
        let after = self.after(event)?;
        self.enter(after, entry).await
    }

    /// One that is recorded already, with what it came with.
    pub fn has_happened(&mut self, event: Event) -> Result<(), Fault> {
        let after = self.after(event)?;
        self.arrived(after);
        Ok(())
    }

    fn after(&self, event: Event) -> Result<State, Fault> {
        transition(self.state, event).map_err(|illegal| {
            // What it advises is for whoever gave an order, and this was none.
            Fault::fatal("illegal_phase", illegal.to_string()).with_remedy(
                "a defect of liteferry: start the daemon again, it goes on from what is recorded; and report it, with the log",
            )
        })
    }

    /// Shows a state that is recorded already.
    pub fn arrived(&mut self, after: State) {
        let enters = after.phase != self.state.phase;
        if enters {
            tracing::info!(phase = after.phase.word(), "phase entered");
        }
        self.state = after;
        self.voice.board.update(Instant::now(), |status| {
            status.machine = after;
            status.standing.records_read = true;
            if enters {
                status.standing.enter(after.phase);
            }
        });
    }

    /// Tells the application where it writes.
    pub fn route(&mut self, writes: Writes) {
        self.routing.writes = writes;
        self.show_routing();
    }

    /// The epoch that a crossing recorded.
    pub fn route_in(&mut self, epoch: i64, writes: Writes) {
        self.routing = Routing { epoch, writes };
        self.show_routing();
    }

    fn show_routing(&self) {
        let routing = self.routing;
        self.voice.board.update(Instant::now(), |status| status.standing.routing = Some(routing));
    }

    /// What the command would make of the state.
    pub fn judge(&self, ordered: &Ordered, command: Command) -> Result<State, Reason> {
        ask(self.state, command, ordered.expect).map_err(Reason::illegal)
    }

    /// Calls the hook that a crossing has left owed, whoever lived to see it decided: the application must hear of it, at least once.
    pub async fn call_due_hook(&self) -> Result<(), Fault> {
        let ours = (self.migration, self.owner.as_str());
        let Some(word) = self.store.hook_due(ours).await? else { return Ok(()) };
        let moment = Moment::from_word(&word).ok_or_else(|| unreadable("hook"))?;
        if let Err(reason) = hooks::call(&self.job.switch.hooks, moment).await {
            tracing::error!(code = reason.code, "{}: {}", reason.sentence, reason.remedy);
            self.store.note("hook", &reason.sentence).await?;
        }
        self.store.hook_called(ours, &word).await
    }

    /// From here on the order is owed an answer, whatever becomes of this attempt.
    pub fn take_up(&self, ordered: &Ordered) {
        self.voice.owe(Some(ordered.clone()));
    }

    /// An order that a fault came between is answered as soon as the records say what became of it.
    pub async fn answer_interrupted(&self) -> Result<(), Fault> {
        let Some(ordered) = self.voice.owed() else { return Ok(()) };
        let is_so = match ordered.order {
            Order::Phase(command) => {
                transition(self.state, Event::Commanded(command)).is_ok_and(|after| after == self.state)
            }
            Order::Validate(_) | Order::Ledger(..) => false,
        };
        let interrupted = || {
            let sentence = "a fault came between, and nothing came of the order";
            Reason::new(
                "order_interrupted",
                sentence,
                "`liteferry journal` tells what it was; give the order again.",
            )
        };
        self.answer(&ordered, (!is_so).then(interrupted)).await
    }

    /// A comparison that was ordered and has no verdict gets none any more: whoever waits for it is told so.
    pub async fn refuse_comparison(&self) -> Result<(), Fault> {
        let ordered = self.voice.board.look(Instant::now()).status.validation.ordered;
        let Some(ordered) = ordered else { return Ok(()) };
        let reason = Reason::nothing_to_compare();
        self.note_refused(&ordered, &reason).await?;
        self.voice.board.update(Instant::now(), |status| {
            let shown = &mut status.validation;
            (shown.answered, shown.ordered) = (ordered.number, None);
            shown.refused = Some(reason);
        });
        Ok(())
    }

    async fn note_refused(&self, ordered: &Ordered, reason: &Reason) -> Result<(), Fault> {
        let (what, detail) = ordered.words();
        tracing::warn!(code = reason.code, order = ordered.number, "{}", reason.sentence);
        self.store.note(what, &format!("{detail}: refused, {}", reason.sentence)).await
    }

    /// Tells whoever asked what became of it; a refusal stands in the journal too.
    pub async fn answer(&self, ordered: &Ordered, refused: Option<Reason>) -> Result<(), Fault> {
        if let Some(reason) = &refused {
            self.note_refused(ordered, reason).await?;
        }
        let number = ordered.number;
        self.voice.board.update(Instant::now(), |status| {
            status.standing.tell(Answer { number, refused });
        });
        self.voice.owe(None);
        Ok(())
    }
}

/// How the journal tells a move that an operator commanded.
pub struct Told {
    what: &'static str,
    actor: String,
    reason: String,
}

impl Told {
    pub fn of(ordered: &Ordered, what: &'static str) -> Told {
        Told { what, actor: ordered.actor.to_string(), reason: ordered.reason.clone().unwrap_or_default() }
    }

    /// What the daemon does by itself.
    pub fn by_itself(what: &'static str) -> Told {
        Told { what, actor: "liteferry".to_owned(), reason: String::new() }
    }

    pub fn entry<'t>(&'t self, detail: &'t str) -> Entry<'t> {
        Entry { what: self.what, detail, actor: &self.actor, reason: &self.reason }
    }
}

/// All that is closed, in one sentence.
pub fn unmet(gates: &[Gate]) -> Option<Reason> {
    let closed: Vec<&Gate> = gates.iter().filter(|gate| !gate.ok).collect();
    let first = closed.first()?;
    let names: Vec<String> = closed
        .iter()
        .map(|gate| format!("{} ({}, wanted: {})", gate.name, gate.reading, gate.limit))
        .collect();
    let sentence = format!("not every gate is open: {}", names.join("; "));
    Some(Reason::new("gates_closed", sentence, first.remedy.clone()))
}
