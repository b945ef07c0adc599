//! Finish: everything between the last row and the proof. Each step is recorded where it is done, so a killed copy takes none twice.

use crate::flow::progress::{Event, Watch};
use crate::journal::store::Store;
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::plan::{Plan, SequenceSource, Statement, TablePlan};
use crate::postgres::finish::{SequenceSet, analyze, set_sequence};
use crate::postgres::target::{Ground, Outcome, PgTarget};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashMap;

/// Runs what is left of the plan's steps after the load; returns what had to be done otherwise or left out.
pub async fn finish(
    target: &PgTarget,
    store: &Store,
    (migration, plan): (i64, &Plan),
    workers: usize,
    watch: &dyn Watch,
) -> Result<Vec<Finding>, Fault> {
    let steps = Steps::open(target, store, migration, watch).await?;
    let indexes: Vec<&Statement> = plan.tables.iter().flat_map(|table| &table.indexes).collect();
    let mut findings = steps.taken_before();
    findings.extend(steps.take_side_by_side(&indexes, workers).await?);
    let restored = store.suspended(migration).await?;
    let of_tables = |part: fn(&TablePlan) -> &Vec<Statement>| plan.tables.iter().flat_map(part);
    let one_by_one = of_tables(|table| &table.checks).chain(of_tables(|table| &table.foreign_keys));
    findings.extend(steps.take_one_by_one(one_by_one.chain(&restored).chain(&plan.views)).await?);
    Ok(findings)
}

/// Statements taken once each, whoever died in between.
pub struct Steps<'a> {
    target: &'a PgTarget,
    watch: &'a dyn Watch,
    taken: HashMap<String, Outcome>,
    ground: Ground,
}

impl<'a> Steps<'a> {
    pub async fn open(
        target: &'a PgTarget,
        store: &Store,
        migration: i64,
        watch: &'a dyn Watch,
    ) -> Result<Steps<'a>, Fault> {
        let recorded = store.steps(migration).await?;
        let taken = recorded
            .into_iter()
            .map(|(what, outcome, detail)| (what, Outcome::from_words(&outcome, detail)))
            .collect();
        Ok(Steps { target, watch, taken, ground: Ground::Loaded })
    }

    /// The same, while the target stands at a state of its source.
    #[must_use]
    pub fn on(self, ground: Ground) -> Steps<'a> {
        Steps { ground, ..self }
    }

    /// What earlier runs had to do otherwise or leave out.
    fn taken_before(&self) -> Vec<Finding> {
        self.taken.iter().filter_map(|(what, outcome)| finding(what, outcome)).collect()
    }

    /// Statements that are independent of each other, such as indexes. The server has several processes at work on each, so that half
    /// as many at once as load rows keep it busy.
    pub async fn take_side_by_side(
        &self,
        statements: &[&Statement],
        workers: usize,
    ) -> Result<Vec<Finding>, Fault> {
        let open: Vec<&Statement> =
            statements.iter().copied().filter(|statement| self.is_open(statement)).collect();
        let built: Vec<Option<Finding>> = stream::iter(open)
            .map(|statement| self.take(statement))
            .buffer_unordered(workers.div_ceil(2).max(1))
            .try_collect()
            .await?;
        Ok(built.into_iter().flatten().collect())
    }

    /// Constraints lock two tables each.
    pub async fn take_one_by_one(
        &self,
        statements: impl Iterator<Item = &Statement>,
    ) -> Result<Vec<Finding>, Fault> {
        let mut findings = Vec::new();
        for statement in statements.filter(|statement| self.is_open(statement)) {
            findings.extend(self.take(statement).await?);
        }
        Ok(findings)
    }

    async fn take(&self, statement: &Statement) -> Result<Option<Finding>, Fault> {
        let outcome = self.target.run_step(statement, self.ground).await?;
        self.watch.see(Event::Stepped { what: &statement.what });
        Ok(finding(&statement.what, &outcome))
    }

    pub fn is_open(&self, statement: &Statement) -> bool {
        !self.taken.contains_key(&statement.what)
    }
}

fn finding(what: &str, outcome: &Outcome) -> Option<Finding> {
    match outcome {
        Outcome::Done => None,
        Outcome::Fallback(why) => Some(
            Finding::warning("step_fallback", what, format!("made in its weaker form: {why}"))
                .with_remedy("a constraint left NOT VALID is validated by `alter table … validate constraint` once the rows are mended"),
        ),
        Outcome::Dropped(why) => Some(
            Finding::warning("step_dropped", what, format!("left out: {why}"))
                .with_remedy("create it by hand once what stands in the way is mended"),
        ),
    }
}

/// Sequences and statistics: safe to do again, so not recorded.
pub async fn settle(target: &PgTarget, plan: &Plan) -> Result<Vec<Finding>, Fault> {
    let session = target.session().await?;
    let mut findings = Vec::new();
    let setting = plan.sequences.iter().map(|sequence| set_sequence(&session, sequence));
    let set: Vec<SequenceSet> = stream::iter(setting).buffered(SENT_AHEAD).try_collect().await?;
    for (sequence, set) in plan.sequences.iter().zip(set) {
        let subject = match &sequence.source {
            SequenceSource::Column(numbers) => numbers.to_string(),
            SequenceSource::Setting => {
                sequence.sequence.as_ref().map(ToString::to_string).unwrap_or_default()
            }
        };
        match set {
            SequenceSet::Untouched | SequenceSet::At(_) => {}
            SequenceSet::Exhausted { sequence, last } => findings.push(
                Finding::warning("sequence_exhausted", subject, format!("{sequence} stands at {last}, its last value"))
                    .with_remedy("the next insert without a key fails: free the largest keys, or widen column and sequence to bigint"),
            ),
            SequenceSet::Absent => findings.push(Finding::warning(
                "sequence_absent",
                subject,
                "the column has no sequence, so nothing was set",
            )),
        }
    }
    let analyzing = plan.tables.iter().map(|table| analyze(&session, &table.route.target));
    stream::iter(analyzing).buffered(SENT_AHEAD).try_collect::<()>().await?;
    target.give_back(session);
    Ok(findings)
}

/// Questions on their way to a server that may be far away. It answers one after the other.
const SENT_AHEAD: usize = 8;
