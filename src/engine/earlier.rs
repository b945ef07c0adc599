//! What a copy makes of an earlier one into the same schema.
//!
//! It must never touch what a daemon follows: after the switch its tables are the application's, and nobody else has their rows.

use super::prepare::Request;
use crate::journal::store::{Migration, State, Store};
use crate::model::fault::Fault;
use crate::phase::Phase;
use crate::plan::Mode;
use crate::postgres::connect::pool_of_one;

/// What becomes of an earlier copy into the same schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// An unfinished one is gone on with, a finished one is validated.
    Resume,
    /// What it made is dropped.
    Forget,
}

/// Whether to forget the earlier copy would drop tables that it has filled and left: nobody knows who has written to them since.
pub async fn finished(request: &Request) -> Result<bool, Fault> {
    let store = Store::new(pool_of_one(&request.address).await?);
    if !store.exists().await? {
        return Ok(false);
    }
    let Some(known) = store.find(&request.schema).await? else { return Ok(false) };
    let is_followed = store.follow(known.id).await?.is_some();
    Ok(!is_followed && known.mode == Mode::Create && known.state == State::Complete)
}

pub(super) async fn known_migration(
    store: &Store,
    request: &Request,
    earlier: Earlier,
) -> Result<Option<Migration>, Fault> {
    if !store.exists().await? {
        return Ok(None);
    }
    let Some(known) = store.find(&request.schema).await? else { return Ok(None) };
    if let Some(follow) = store.follow(known.id).await? {
        return Err(followed(request, follow.phase));
    }
    if earlier == Earlier::Forget {
        store.forget(&known).await?;
        store
            .note("forgotten", &format!("the copy of {} into schema {}", known.source_path, request.schema))
            .await?;
        return Ok(None);
    }
    let path = request.source_path();
    if known.source_path != path {
        return Err(Fault::fatal("other_source", format!("copy {path} into schema {}", request.schema)).with_remedy(format!(
            "the schema already holds a copy of {}: choose another target.schema, or --restart to drop that copy",
            known.source_path
        )));
    }
    Ok(Some(known))
}

fn followed(request: &Request, phase: Phase) -> Fault {
    let remedy = match phase {
        Phase::Setup | Phase::Backfill | Phase::DualWrite | Phase::Validate => {
            "`liteferry run` goes on with it, and compares both sides. To give it up for a copy: stop the daemon, `liteferry detach`, and \
             in PostgreSQL drop schema liteferry and the tables that were copied"
        }
        Phase::Switch | Phase::Cleanup | Phase::Done => {
            "the application's writes went to PostgreSQL, and what it wrote there would be lost: copy into another target.schema"
        }
    };
    let doing =
        format!("copy into schema {}, which `liteferry run` fills (phase {})", request.schema, phase.word());
    Fault::fatal("migration_in_the_way", doing).with_remedy(remedy)
}

pub(super) fn plan_changed() -> Fault {
    Fault::fatal("plan_changed", "go on with the unfinished copy").with_remedy(
        "the source's schema or values, or the settings, are not what they were when it began: run it with --restart, which drops what it made",
    )
}
