//! Where the writes are, and what a crossing that somebody did not live to end has come to. One look at SQLite decides.

pub(super) mod rollback;
pub(super) mod switch;
pub mod untouched;

use super::blocking::blocking;
use super::desk::{Desk, Told};
use crate::engine::standing::Writes as Shown;
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::phase::Phase;
use crate::phase::machine::{Command, Crossing, Event};
use crate::sqlite::capture::fence::{control, open_as_decided, settled};
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::control::{Control, WITHOUT_A_WAY_BACK, Writes};
use std::time::Duration;

/// What an attempt is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// SQLite is written, PostgreSQL is brought up to it.
    Forward,
    /// SQLite is closed, and PostgreSQL is not yet open: the switch is finished.
    FinishSwitch,
    /// PostgreSQL is written, SQLite is brought up to it.
    Backward,
    CleanUp,
    Rest,
}

const OPEN_WAIT: Duration = Duration::from_secs(10);

/// Ends what a crossing left half done, as far as that is a matter of records, and says what is to be done now.
pub async fn settle(desk: &mut Desk<'_>) -> Result<Work, Fault> {
    match desk.state.phase {
        Phase::Setup | Phase::Backfill => {
            desk.route(Shown::Sqlite);
            return Ok(Work::Forward);
        }
        Phase::Cleanup => {
            desk.route(Shown::Postgres);
            return Ok(Work::CleanUp);
        }
        Phase::Done => {
            desk.route(Shown::Postgres);
            return Ok(Work::Rest);
        }
        Phase::DualWrite | Phase::Validate | Phase::Switch => {}
    }
    let file = SqliteFile::examine(&desk.job.request.source, desk.job.request.busy_timeout)?;
    let found = look(&file, desk).await.map_err(|fault| match (fault.code, desk.state.phase) {
        ("capture_missing", Phase::Switch) => fault.with_remedy(format!(
            "liteferry's tables are gone from SQLite (a backup from before, or `detach`), and the application's writes went to PostgreSQL: put the \
             right file there; {WITHOUT_A_WAY_BACK}; or, only where SQLite is to be gone on with, and PostgreSQL's rows are to be made equal to \
             its, run it with --resync"
        )),
        (_, _) => fault,
    })?;
    match (found.writes, desk.state.phase) {
        (Writes::Sqlite, Phase::Switch) => Err(Fault::fatal("source_opened", "go on after the switch").with_remedy(
            "SQLite takes the application's writes although the records say that they moved to PostgreSQL (it was opened without \
             PostgreSQL, or restored from a backup; or PostgreSQL is in a state from before a rollback, as after a failover that lost it): \
             stop what writes to either, and decide which is right. After a rollback it is SQLite, which has all that was written before it. \
             PostgreSQL: put the SQLite file back that lay there before, and start the daemon again. SQLite: `liteferry run --resync`, which \
             makes PostgreSQL equal to it; what PostgreSQL alone has is gone then",
        )),
        (Writes::Sqlite, _) => {
            abandon(desk, Crossing::Switch).await?;
            desk.route(Shown::Sqlite);
            Ok(Work::Forward)
        }
        (Writes::Postgres, Phase::Switch) => {
            abandon(desk, Crossing::Rollback).await?;
            desk.route(Shown::Postgres);
            Ok(Work::Backward)
        }
        (Writes::Postgres, _) => {
            // Neither side takes them, whatever comes of this.
            desk.route(Shown::Paused);
            let at = position(desk).await?;
            if at.epoch > found.epoch {
                let left = desk.store.way_back(desk.migration).await?;
                open(&file, &desk.token, (at, left)).await?;
                desk.store.note("rollback", "finished: SQLite takes the application's writes again").await?;
                desk.route(Shown::Sqlite);
                return Ok(Work::Forward);
            }
            // Only PostgreSQL as it was after the switch has given SQLite anything since it was closed.
            if found.reverse.is_some_and(|reached| reached.before.is_some()) {
                return Err(Fault::fatal("switch_forgotten", "finish the switch").with_remedy(
                    "PostgreSQL is in a state from before the switch (a restored backup, a failover that lost commits), and SQLite holds what the \
                     application wrote there since: put the PostgreSQL that has it in place, and start again; or, to go on in SQLite, keep the \
                     application off PostgreSQL and run `liteferry run --resync`, which opens SQLite and makes PostgreSQL equal to it",
                ));
            }
            begin_again(desk).await?;
            Ok(Work::FinishSwitch)
        }
    }
}

/// A switch is recorded as begun before it can be decided. A target that lost that record in a failover is told once more.
async fn begin_again(desk: &mut Desk<'_>) -> Result<(), Fault> {
    let told = Told::by_itself("switch");
    for command in [Command::Validate, Command::Switch] {
        if desk.state.crossing == Some(Crossing::Switch) {
            return Ok(());
        }
        let entry = told.entry("SQLite is closed, and PostgreSQL did not know that this had begun");
        desk.happened(Event::Commanded(command), entry).await?;
    }
    Ok(())
}

async fn abandon(desk: &mut Desk<'_>, crossing: Crossing) -> Result<(), Fault> {
    if desk.state.crossing != Some(crossing) {
        return Ok(());
    }
    tracing::warn!(crossing = crossing.word(), "an attempt ended before it was decided: nothing happened");
    let told = Told::by_itself(crossing.word());
    desk.happened(Event::Abandoned(crossing), told.entry("ended before it was decided: nothing happened"))
        .await
}

async fn position(desk: &Desk<'_>) -> Result<Position, Fault> {
    let missing = || Fault::fatal("state_unreadable", "read where the migration stands");
    Ok(desk.store.follow(desk.migration).await?.ok_or_else(missing)?.at)
}

/// Where a switch has begun, whoever began it may still hold the fence, stalled, and decide: the lock itself is asked.
async fn look(file: &SqliteFile, desk: &Desk<'_>) -> Result<Control, Fault> {
    let (file, token) = (file.clone(), desk.token.clone());
    let begun = desk.state.crossing.is_some();
    blocking("read who takes the application's writes", move || match begun {
        true => settled(&file, &token, OPEN_WAIT),
        false => control(&file.open_reader()?, &token),
    })
    .await
}

async fn open(file: &SqliteFile, token: &str, as_decided: (Position, Option<Position>)) -> Result<(), Fault> {
    let (file, token) = (file.clone(), token.to_owned());
    blocking("open SQLite to the application's writes", move || {
        open_as_decided(&file.open_writer(OPEN_WAIT)?, &token, as_decided)
    })
    .await
}
