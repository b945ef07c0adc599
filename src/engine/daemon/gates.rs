//! What the gates look at, brought together: from the board, the records, and both sides. What costs a look at many rows is taken only
//! where somebody is about to act on it.

use super::blocking::blocking;
use super::closer::Closer;
use super::crossing::switch::Preparations;
use super::life::Life;
use super::shown::{limits, reverse, validated};
use crate::engine::status::ValidationState;
use crate::model::fault::Fault;
use crate::phase::Phase;
use crate::phase::gate::{BadSequence, Disk, Readings, SequenceTrouble, to_switch};
use crate::phase::machine::Command;
use crate::phase::pause::{Pause, Work, predicted_pause};
use crate::plan::Statement;
use crate::plan::handover::{Issued, Suspect};
use crate::plan::reference::Reference;
use crate::plan::route::Route;
use crate::plan::unspelt::unspelt;
use crate::postgres::capture::standing;
use crate::postgres::connect::Session;
use crate::postgres::fault;
use crate::postgres::make_way::{has_missed, make_way, who_holds};
use crate::sqlite::apply::unwritable;
use crate::sqlite::misplaced::{Sample, misplaced};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How closely is looked.
pub enum Look<'p> {
    /// At what is at hand; what only a closer look tells is as the last one left it.
    AtHand,
    Everything(&'p Preparations),
}

impl Life<'_> {
    pub(super) async fn readings(&mut self, look: Look<'_>) -> Result<Readings, Fault> {
        if let Look::Everything(preparations) = look {
            self.closer = self.look_closer(preparations).await?;
        }
        let view = self.voice.board.look(Instant::now());
        let owned = self.store.is_owned(self.migration, &self.owner).await?;
        let ledger =
            self.store.ledger_open(self.migration, &self.desk.job.request.overrides.accepted).await?;
        let to_load = self.store.suspects(self.migration).await?.len();
        let closer = self.closer.clone();
        let pause_expected = self.predicted(&closer);
        self.voice.board.update(Instant::now(), |status| {
            status.standing.pause_expected = Some(pause_expected.total());
        });
        Ok(Readings {
            limits: limits(&self.job.switch),
            owned,
            run: view.status.run.state,
            target_up: view.status.target.up,
            tables_to_load: u64::try_from(to_load).expect("a count fits"),
            lag: view.lag(),
            validation: validated(&view),
            comparing: view.status.validation.state == ValidationState::Running,
            ledger_open: ledger.entries,
            ledger_acceptable: ledger.acceptable,
            sequences: closer.sequences,
            sequences_left: closer.sequences_left,
            constraints: self.orphans.looked(),
            uncaptured: closer.uncaptured,
            unwritable: closer.unwritable,
            reverse: reverse(&view),
            one_way_columns: self.one_way_columns(),
            left_behind: Vec::new(),
            spelt_otherwise: Vec::new(),
            disk: disk(self.link.source.file().path()),
            archive: None,
            pause_expected,
        })
    }

    /// Shows how the gates stand, every now and then.
    pub(super) async fn show_gates(&mut self) -> Result<(), Fault> {
        if self.desk.state.phase != Phase::Validate {
            self.voice.board.update(Instant::now(), |status| status.standing.gates.clear());
            return Ok(());
        }
        self.look_for_orphans().await?;
        let mut readings = self.readings(Look::AtHand).await?;
        if self.closer.is_due(&readings) || self.heights.have_come() {
            self.tend().await?;
            let ready = self.ready_to_switch().await;
            // An idle reader would spoil the application's own backups and stops.
            self.link.source.release();
            match ready {
                Ok((_, closer)) => readings = closer,
                Err(fault) => {
                    tracing::warn!(code = fault.code, doing = fault.doing, "the switch would be refused");
                    self.closer.at = Some(Instant::now());
                }
            }
        }
        let gates = to_switch(&readings);
        self.voice.board.update(Instant::now(), |status| {
            status.standing.gates = vec![(Command::Switch, gates)];
        });
        Ok(())
    }

    async fn look_closer(&mut self, preparations: &Preparations) -> Result<Closer, Fault> {
        let session = self.link.target.session().await?;
        let began = Instant::now();
        run(&session, "select 1").await?;
        let round_trip = began.elapsed();
        let counters = self.link.source.read(crate::sqlite::capture::fence::counters).await?;
        let (wanted, address) = (preparations.to_be_read(), &self.job.request.address);
        let (sequences, prepared) = match self.heights.look(wanted, &mut self.applier, address).await? {
            Some(heights) => {
                let issued = Issued { counters: &counters, heights: &heights };
                let sequences = bad_sequences(&session, preparations, issued).await?;
                let prepared = match sequences.is_empty() {
                    true => self.rehearsed(&session, preparations, issued).await?,
                    // It would stumble over the same.
                    false => Duration::ZERO,
                };
                if !sequences.is_empty() {
                    self.heights.doubt();
                }
                (Some(sequences), prepared)
            }
            // What was seen before holds until then.
            None => (self.closer.sequences.clone(), self.closer.prepared),
        };
        let standing = standing(&session, self.migration, &self.tables).await?;
        self.link.target.give_back(session);
        let unwritable = self.unwritable().await?;
        Ok(Closer {
            at: Some(Instant::now()),
            sequences,
            sequences_left: preparations.left().iter().map(|left| left.name.to_string()).collect(),
            uncaptured: Some(standing.uncaptured.iter().map(ToString::to_string).collect()),
            unwritable: Some(unwritable),
            round_trip,
            prepared,
        })
    }

    async fn rehearsed(
        &self,
        session: &Session,
        preparations: &Preparations,
        issued: Issued<'_>,
    ) -> Result<Duration, Fault> {
        match preparations.rehearse(session, self.migration, issued).await {
            Err(fault) if has_missed(&fault) => {
                make_way(session, &self.tables).await?;
                match preparations.rehearse(session, self.migration, issued).await {
                    Err(fault) => Err(who_holds(session, &self.tables, fault).await),
                    Ok(took) => Ok(took),
                }
            }
            rehearsed => rehearsed,
        }
    }

    async fn unwritable(&self) -> Result<Vec<String>, Fault> {
        let (file, routes): (_, Vec<Arc<Route>>) =
            (self.link.source.file().clone(), self.tables.values().cloned().collect());
        let look = move || {
            let followed = |name: &str| routes.iter().any(|route| route.source == name);
            let strange = misplaced(&file.open_unaided_reader()?, Sample::GLANCE, followed)?;
            Ok((unwritable(&file, &routes)?, strange))
        };
        let (found, strange) = blocking("look whether SQLite can be written", look).await?;
        let strange = strange.into_iter().map(|tree| format!("{}: {}", tree.table, tree.why()));
        Ok(found.into_iter().map(|found| format!("{}: {}", found.table, found.why)).chain(strange).collect())
    }

    /// Constraints and triggers that come back at the switch; a key that the settings leave out does not, whenever they came to say so.
    pub(super) async fn awaiting_switch(&self) -> Result<Vec<Statement>, Fault> {
        let mut awaiting = self.store.awaiting_switch(self.migration).await?;
        let request = &self.desk.job.request;
        let routes: Vec<&Route> = self.tables.values().map(AsRef::as_ref).collect();
        awaiting.retain(|statement| {
            let reference = Reference::of(&statement.sql).and_then(|key| key.in_source(&routes));
            !reference.is_some_and(|reference| reference.is_left_out(&request.overrides))
        });
        Ok(awaiting)
    }

    /// Beside the following: what is found shows at a later look at the gates.
    async fn look_for_orphans(&mut self) -> Result<(), Fault> {
        if self.orphans.is_due() {
            let awaiting = self.awaiting_switch().await?;
            let followed = self.tables.values().map(|route| route.target.clone()).collect();
            self.orphans.look(&self.job.request.address, awaiting, followed);
        }
        self.orphans.gather().await;
        Ok(())
    }

    fn one_way_columns(&self) -> Vec<String> {
        let found = self.tables.values().flat_map(|route| unspelt(route));
        found.map(|finding| finding.subject).collect()
    }

    fn predicted(&self, closer: &Closer) -> Pause {
        predicted_pause(&Work {
            drains: &self.drains.lately(Instant::now()),
            round_trip: closer.round_trip,
            prepared: closer.prepared,
        })
    }
}

async fn run(session: &Session, sql: &str) -> Result<(), Fault> {
    session.batch_execute(sql).await.map_err(|error| fault::of(error, "ask the target how it fares"))
}

async fn bad_sequences(
    session: &Session,
    preparations: &Preparations,
    issued: Issued<'_>,
) -> Result<Vec<BadSequence>, Fault> {
    let mut bad = Vec::new();
    for sequence in preparations.sequences() {
        let told = ask(session, &sequence.exhausted_sql(issued)).await?;
        let why = match told.filter(|_| !sequence.is_untold(issued)) {
            Some(false) => continue,
            Some(true) => SequenceTrouble::Exhausted,
            None => SequenceTrouble::NotComputable,
        };
        bad.push(BadSequence { name: sequence.name.to_string(), why });
    }
    for left in preparations.left() {
        let Some(suspect) = &left.suspect else { continue };
        if ask(session, &suspect.behind_sql(issued)).await? != Some(false) {
            let why = SequenceTrouble::Undecided { column: suspect.column.clone() };
            bad.push(BadSequence { name: left.name.to_string(), why });
        } else if let Some(reached) = reached_at_end(session, suspect, issued).await? {
            let why = SequenceTrouble::Part { column: suspect.column.clone(), reached };
            bad.push(BadSequence { name: left.name.to_string(), why });
        }
    }
    Ok(bad)
}

/// How far the texts are that the sequence is a part of, where it has yet to give their numbers.
async fn reached_at_end(
    session: &Session,
    suspect: &Suspect,
    issued: Issued<'_>,
) -> Result<Option<i64>, Fault> {
    let Some(sql) = suspect.behind_at_end_sql(issued) else { return Ok(None) };
    let row = session.query_opt(&sql, &[]).await;
    Ok(row.map_err(|error| fault::of(error, "look how far a sequence is"))?.and_then(|row| row.get(0)))
}

/// Whether there is a row; nothing where PostgreSQL refuses to tell.
async fn ask(session: &Session, sql: &str) -> Result<Option<bool>, Fault> {
    match session.query_opt(sql, &[]).await {
        Ok(row) => Ok(Some(row.is_some())),
        Err(error) if error.as_db_error().is_none() => Err(fault::of(error, "look how far a sequence is")),
        Err(_) => Ok(None),
    }
}

/// As `df` sees it: what an ordinary user may still fill.
fn disk(path: &std::path::Path) -> Option<Disk> {
    let database_bytes = path.metadata().ok()?.len();
    let free_bytes = crate::sqlite::connect::free_bytes(path)?;
    Some(Disk { free_bytes, database_bytes })
}
