//! Follow: brings the target, batch by batch, to a state that the source is in.
//!
//! One batch is one snapshot of the source and one transaction of the target, and nothing commits before the source has it on
//! disk. What became of a batch that failed is never assumed: whoever goes on asks the target for its position.

use super::backfill::OnMisfit;
use crate::link::{
    Applier, BATCH_REFUSED, Batch, Captured, Extent, Outcome, PART_REFUSED, RENEWAL_REFUSED, Sending, Take,
};
use crate::model::fault::Fault;
use crate::model::history::Position;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One batch that the target has committed.
#[derive(Clone, Debug)]
pub struct Step {
    pub to: Position,
    pub extent: Extent,
    pub changes: u64,
    /// From when nothing was left to send to the answer, where that was still to come.
    pub answered_in: Option<Duration>,
    /// By the source's table.
    pub tables: BTreeMap<String, Done>,
}

/// What a batch did to one table. A row that is held back counts as deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub written: u64,
    pub deleted: u64,
    /// Cells that did not cross exactly, those of rows held back included.
    pub misfits: u64,
}

/// A batch of which nothing is left to send. It counts for nothing before its outcome is known.
pub(super) struct Sent {
    pub to: Position,
    pub extent: Extent,
    pub changes: u64,
    pub tables: BTreeMap<String, Done>,
    pub outcome: Outcome,
    /// Since when its answer is awaited, if it is.
    pub since: Option<Instant>,
}

impl Sent {
    pub fn landed(self) -> Step {
        let Sent { to, extent, changes, tables, since, .. } = self;
        Step { to, extent, changes, answered_in: since.map(|since| since.elapsed()), tables }
    }
}

/// Applies what changed after `from`; nothing where nothing did. A part of the backlog may hold a row whose value another row of
/// the target has to give up first, further on in the backlog: then all of it is taken at once.
pub async fn step(
    source: &impl Captured,
    applier: &mut impl Applier,
    (from, take): (Position, Take),
    on_misfit: OnMisfit,
) -> Result<Option<Step>, Fault> {
    step_so(source, applier, from, Terms { take, sending: Sending::Ahead, on_misfit }).await
}

/// How changes are taken and sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub take: Take,
    pub sending: Sending,
    pub on_misfit: OnMisfit,
}

impl Terms {
    /// How what was refused on these terms is taken again; nothing where the fault is another.
    pub fn after(self, fault: &Fault) -> Option<Terms> {
        match (fault.code, self.take) {
            (BATCH_REFUSED, _) if self.sending == Sending::Ahead => {
                tracing::debug!(%fault, "a batch is taken again, and its answers are waited for");
                Some(Terms { sending: Sending::Answered, ..self })
            }
            (RENEWAL_REFUSED, Take::Renewing(most)) => {
                tracing::info!(%fault, "no table is copied anew at present");
                Some(Terms { take: Take::UpTo(most), ..self })
            }
            (PART_REFUSED, Take::Renewing(_) | Take::UpTo(_)) => Some(Terms { take: Take::All, ..self }),
            _ => None,
        }
    }
}

pub(super) async fn step_so(
    source: &impl Captured,
    applier: &mut impl Applier,
    from: Position,
    mut terms: Terms,
) -> Result<Option<Step>, Fault> {
    loop {
        match attempt(source, applier, from, terms).await {
            Ok(step) => return Ok(step),
            Err(fault) => terms = terms.after(&fault).ok_or(fault)?,
        }
    }
}

async fn attempt(
    source: &impl Captured,
    applier: &mut impl Applier,
    from: Position,
    terms: Terms,
) -> Result<Option<Step>, Fault> {
    let Some(mut sent) = send(source, applier, from, terms).await? else { return Ok(None) };
    (&mut sent.outcome).await?;
    Ok(Some(sent.landed()))
}

/// Looks for what changed after `from`, and sends it.
pub(super) async fn send(
    source: &impl Captured,
    applier: &mut impl Applier,
    from: Position,
    Terms { take, sending, on_misfit }: Terms,
) -> Result<Option<Sent>, Fault> {
    let Some(mut batch) = source.changes(from, take).await? else { return Ok(None) };
    applier.open(batch.from, batch.to, batch.newest).await?;
    let mut tables: BTreeMap<String, Done> = BTreeMap::new();
    while let Some(portion) = batch.portions.next().await? {
        if on_misfit == OnMisfit::Halt {
            for table in &portion {
                if let Some(misfit) = table.rows.misfits.first() {
                    return Err(super::backfill::halt(&table.route, misfit));
                }
            }
        }
        for table in &portion {
            let done = tables.entry(table.route.source.clone()).or_default();
            done.misfits += u64::try_from(table.rows.misfits.len()).expect("a count fits");
            let (keys, rows) = (table.names.len(), table.rows.rows());
            done.written += u64::try_from(rows).expect("a count fits");
            done.deleted += u64::try_from(keys.saturating_sub(rows)).expect("a count fits");
        }
        applier.put(portion).await?;
    }
    let Batch { to, extent, changes, .. } = batch;
    // Of a whole batch the next one is better read later, when it holds more.
    if extent == Extent::Part {
        source.read_ahead(to, take);
    }
    let outcome = applier.commit(extent, sending, source.harden()).await?;
    let since = match outcome {
        Outcome::Known(_) => None,
        Outcome::Awaited(_) => Some(Instant::now()),
    };
    Ok(Some(Sent { to, extent, changes, tables, outcome, since }))
}
