//! Follow: brings the target, batch by batch, to a state that the source is in.
//!
//! One batch is one snapshot of the source and one transaction of the target, and nothing commits before the source has it on
//! disk. What became of a batch that failed is never assumed: whoever goes on asks the target for its position.

use super::backfill::OnMisfit;
use crate::link::{Applied, Applier, Batch, Captured, Extent, PART_REFUSED, RENEWAL_REFUSED, Take};
use crate::model::fault::Fault;
use crate::model::history::Position;
use std::collections::BTreeMap;

/// One batch that the target has committed.
#[derive(Clone, Debug)]
pub struct Step {
    pub to: Position,
    pub extent: Extent,
    pub changes: u64,
    pub applied: Applied,
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

/// Applies what changed after `from`; nothing where nothing did. A part of the backlog may hold a row whose value another row of
/// the target has to give up first, further on in the backlog: then all of it is taken at once.
pub async fn step(
    source: &impl Captured,
    applier: &mut impl Applier,
    (from, mut take): (Position, Take),
    on_misfit: OnMisfit,
) -> Result<Option<Step>, Fault> {
    loop {
        let fault = match attempt(source, applier, (from, take), on_misfit).await {
            Ok(step) => return Ok(step),
            Err(fault) => fault,
        };
        take = match (fault.code, take) {
            (RENEWAL_REFUSED, Take::Renewing(most)) => {
                tracing::info!(%fault, "no table is copied anew at present");
                Take::UpTo(most)
            }
            (PART_REFUSED, Take::Renewing(_) | Take::UpTo(_)) => Take::All,
            _ => return Err(fault),
        };
    }
}

async fn attempt(
    source: &impl Captured,
    applier: &mut impl Applier,
    (from, take): (Position, Take),
    on_misfit: OnMisfit,
) -> Result<Option<Step>, Fault> {
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
    let applied = applier.commit(extent, source.harden()).await?;
    Ok(Some(Step { to, extent, changes, applied, tables }))
}
