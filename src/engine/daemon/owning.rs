//! Whose the migration is: what an attempt of this daemon leaves for the next one, so that neither a session of our own that was cut off
//! nor another daemon's that was cut off for a moment is taken for the end of whoever had it.

use super::super::prepare::Request;
use crate::journal::follow::Taken;
use crate::journal::store::Store;
use crate::model::fault::{Fault, FaultClass};
use crate::postgres::claim::{Claim, end_held};

/// What an earlier attempt of this daemon left in the migration.
pub(super) struct Owned {
    migration: i64,
    taken: Taken,
    /// Names that it has asked for since, and heard nothing of.
    asked: Vec<String>,
    /// The session that holds the target for it.
    claim: i32,
}

/// Makes the migration this attempt's. A process that has just been started takes it from whoever had it; one that has lost it does not
/// take it back: the claim is free also while the other's connection is broken for a moment.
pub(super) async fn take_over(
    store: &Store,
    (migration, claim): (i64, &Claim),
    owned: &mut Option<Owned>,
) -> Result<String, Fault> {
    let owner = store.unheard_name().await?;
    let mut had = owned.as_mut().filter(|owned| owned.migration == migration);
    if let Some(had) = &mut had {
        // Before it is asked for: whether it was given may never be heard.
        had.asked.push(owner.clone());
        had.claim = claim.backend();
    }
    let before = had.as_ref().map(|had| (&had.taken, had.asked.as_slice()));
    let taken = store.take_over(migration, (&owner, &owner_name()), before).await?;
    *owned = Some(Owned { migration, taken, asked: Vec::new(), claim: claim.backend() });
    Ok(owner)
}

impl Owned {
    async fn is_still_ours(&self, store: &Store) -> Result<bool, Fault> {
        for owner in self.asked.iter().chain([&self.taken.owner]) {
            if store.is_owned(self.migration, owner).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Sessions of our own that were cut off hold the claim until the server notices that nobody is behind them. While the migration bears
/// our word no other daemon has it, and leaving would leave nobody to follow.
pub(super) async fn claimed_by_whom(
    request: &Request,
    store: &Store,
    owned: Option<&Owned>,
    fault: Fault,
) -> Fault {
    let Some(owned) = owned else { return fault };
    let still_ours = match owned.is_still_ours(store).await {
        Ok(true) => end_held(&request.address, &request.schema, owned.claim).await.map(|()| true),
        other => other,
    };
    match still_ours {
        Ok(true) => Fault::new(FaultClass::Transient, "claim_held", fault.doing)
            .with_remedy("the server still kept a session of ours that was cut off; it is ended, and the target claimed anew"),
        Ok(false) => fault,
        Err(unread) => unread,
    }
}

/// Of a claim that answers no more. While no migration bears our word nobody could tell it from another daemon's: it would keep us out.
pub(super) async fn let_go(request: &Request, claim: &Claim) {
    if let Err(fault) = end_held(&request.address, &request.schema, claim.backend()).await {
        tracing::debug!(code = fault.code, "whether the claim that was lost is still held is not known");
    }
}

fn owner_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", host.trim(), std::process::id())
}
