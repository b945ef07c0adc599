//! What must be true at every instant, whoever did what: it knows every history there was, and looks at each commit of the target.
//! It never helps a side along.

use crate::rows::{TABLES, Tables, image_of, key_of, routes};
use crate::target::{Committed, Shows};
use crate::work::{Apply, Load, Work};
use liteferry::flow::backfill::OnMisfit;
use liteferry::flow::follow::Step;
use liteferry::model::history::Position;
use liteferry::plan::route::Route;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Point = (i64, i64);

pub struct Oracle {
    routes: [Arc<Route>; TABLES],
    /// The source's state after each of its transactions, in every history there was.
    states: BTreeMap<Point, Arc<Tables>>,
    /// The nonce of the line before each line.
    before: BTreeMap<Point, i64>,
    /// Lines that were on disk once.
    durable: BTreeSet<Point>,
    /// Positions that the target was brought to.
    reached: BTreeSet<Point>,
    pub on_misfit: OnMisfit,
    violation: Option<String>,
    pub seen: BTreeMap<&'static str, u64>,
    trace: Vec<String>,
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle {
            routes: routes(),
            states: BTreeMap::new(),
            before: BTreeMap::new(),
            durable: BTreeSet::new(),
            reached: BTreeSet::new(),
            on_misfit: OnMisfit::Ledger,
            violation: None,
            seen: BTreeMap::new(),
            trace: Vec::new(),
        }
    }
}

fn point(at: Position) -> Point {
    (at.seq, at.nonce)
}

/// Events shown with a violation.
const TRACE_MAX: usize = 40;

impl Oracle {
    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
        self.note(what.to_owned());
    }

    fn note(&mut self, what: String) {
        if self.violation.is_none() {
            self.trace.push(what);
        }
    }

    pub fn require(&mut self, truth: bool, what: impl FnOnce() -> String) {
        if !truth && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    pub fn violation(&self) -> Option<String> {
        let first = self.trace.len().saturating_sub(TRACE_MAX);
        self.violation.as_ref().map(|what| format!("{what}\nafter:\n  {}", self.trace[first..].join("\n  ")))
    }

    pub fn written(&mut self, before: Option<Position>, at: Position) {
        if let Some(before) = before {
            self.before.insert(point(at), before.nonce);
        }
    }

    pub fn committed(&mut self, at: Position, tables: Arc<Tables>) {
        self.states.insert(point(at), tables);
    }

    pub fn hardened(&mut self, lines: impl Iterator<Item = Position>) {
        self.durable.extend(lines.map(point));
    }

    /// A transaction of the target has just committed.
    pub fn landed(&mut self, work: &Work, before: &Committed, now: &Committed) {
        match work {
            Work::Load(load) => self.loaded(load, before),
            Work::Apply(apply) => self.applied(apply, before),
        }
        self.shows_a_state(now);
        let refuses = self.on_misfit == OnMisfit::Halt;
        let entries = now.image.entries();
        *self.seen.entry("entries in the ledger").or_default() +=
            u64::try_from(entries).expect("a count fits");
        self.require(!refuses || entries == 0, || "I8: a misfit crossed where it halts".into());
    }

    fn loaded(&mut self, load: &Load, before: &Committed) {
        self.note(format!("a chunk of range {} lands, {} rows", load.range, load.rows.len()));
        let there = &before.image.rows[before.ranges[load.range].table];
        let twice = load.rows.iter().any(|row| there.contains_key(&key_of(row)));
        self.require(!twice, || "I3: a row was loaded twice".into());
        let durable = load.newest.is_some_and(|newest| self.durable.contains(&point(newest)));
        self.require(durable, || {
            format!("I5: the source may still lose rows of {:?} that were loaded", load.newest)
        });
    }

    fn applied(&mut self, apply: &Apply, before: &Committed) {
        let (from, to) = (apply.from, apply.to);
        self.note(format!(
            "a batch of owner {} lands, {} to {}, {:?}",
            apply.owner, from.seq, to.seq, apply.extent
        ));
        self.reached.insert(point(to));
        self.require(before.position == from && to.seq > from.seq, || {
            format!("I3: a batch left {from:?} for {to:?} while the target stood at {:?}", before.position)
        });
        self.require(before.owner == apply.owner, || {
            format!("I6: a batch of owner {}, the target is owned by {}", apply.owner, before.owner)
        });
        let durable = self.durable.contains(&point(to));
        self.require(durable, || format!("I5: the source may still lose {to:?}"));
        let one_history = self.leads(from, to);
        self.require(one_history, || format!("I6: no history leads from {from:?} to {to:?}"));
    }

    fn leads(&self, from: Position, to: Position) -> bool {
        let mut at = point(to);
        while at.0 > from.seq {
            let Some(nonce) = self.before.get(&at) else { return false };
            at = (at.0 - 1, *nonce);
        }
        at == point(from)
    }

    /// Where a snapshot is promised, the target holds exactly one state of the source: that of its position.
    pub fn shows_a_state(&mut self, now: &Committed) {
        if now.shows == Shows::Parts {
            return;
        }
        let at = now.position;
        let Some(tables) = self.states.get(&point(at)) else {
            return self.require(false, || format!("I4: the source was in no state at {at:?}"));
        };
        let right = now.image == image_of(tables, &self.routes);
        self.require(right, || format!("I4: the target is not what the source was at {at:?}"));
    }

    /// A flow said that a batch is applied.
    pub fn told(&mut self, step: &Step) {
        let reached = self.reached.contains(&point(step.to));
        self.require(reached, || format!("I3: a batch to {:?} counts as applied and is not", step.to));
    }
}
