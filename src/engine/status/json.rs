//! What `/v1/status` and its kin say, as JSON. A key is never left out: what is not known is null.

use super::{Followed, Status, TableProgress, Validation, View};
use crate::engine::reason::Reason;
use crate::model::history::Position;
use crate::phase::Phase;
use serde_json::{Map, Value, json};

impl View {
    pub fn to_json(&self) -> Value {
        let Status {
            machine: _,
            standing: _,
            run,
            source,
            target,
            lag: _,
            backfill,
            validation,
            ledger_rows,
            tables: _,
        } = &self.status;
        let mut all = json!({
            "phase": self.status.phase().map(Phase::word),
            "run": { "state": run.state.word(), "reason": run.reason.as_ref().map(Reason::to_json) },
            "source": {
                "path": source.path.display().to_string(),
                "up": source.up,
                "seq": source.seq,
                "wal_bytes": source.wal_bytes,
                "log_rows": source.log_rows,
            },
            "target": {
                "up": target.up,
                "version": target.version,
                "position": target.position.map(position_to_json),
                "address": target.address,
                "schema": target.schema,
            },
            "lag": {
                "changes": self.waiting().map(|lag| lag.changes),
                "seconds": self.lag().map(|lag| lag.as_secs_f64()),
            },
            "backfill": {
                "tables": backfill.tables.iter().map(table_to_json).collect::<Map<_, _>>(),
                "eta_seconds": backfill.eta.map(|eta| eta.as_secs_f64()),
            },
            "validation": self.validation_to_json(validation),
            "ledger": { "rows": ledger_rows },
            "rollback": { "possible": self.way_back().is_ok(), "reason": self.way_back().err() },
            "version": env!("CARGO_PKG_VERSION"),
            "process": *self.process,
            "uptime_seconds": self.uptime.as_secs(),
            "tick_age_seconds": self.tick_age.as_secs(),
        });
        for (name, value) in self.standing_to_json() {
            all[name] = value;
        }
        all
    }

    /// The last verdict in full. Keys name the rows that differ; no other value is in it.
    pub fn validation_in_full(&self) -> Value {
        let validation = &self.status.validation;
        let mut all = self.validation_to_json(validation);
        all["ordered"] = json!(validation.ordered.as_ref().map(|ordered| ordered.number));
        all["answered"] = json!(validation.answered);
        all["refused"] = json!(validation.refused.as_ref().map(Reason::to_json));
        all["read_again"] = json!(validation.read_again);
        all["report"] = validation.report.as_deref().cloned().unwrap_or_default();
        all
    }

    /// Every followed table, with its rows as they were last counted.
    pub fn tables_to_json(&self) -> Value {
        let tables = self.status.tables.iter().map(|table| self.followed_to_json(table));
        json!({ "tables": tables.collect::<Vec<_>>() })
    }

    fn followed_to_json(&self, followed: &Followed) -> Value {
        let loaded = self.status.backfill.tables.get(&followed.source);
        let state = match loaded.filter(|_| !self.status.machine.phase.replicates()) {
            Some(progress) => progress.state.word(),
            None if followed.suspect => "suspect",
            None => "followed",
        };
        let report = self.status.validation.report.as_deref();
        let verdict = report.and_then(|report| {
            report["tables"].as_array()?.iter().find(|table| table["table"] == followed.source.as_str())
        });
        let rows = verdict.map(|verdict| verdict["target_rows"].clone());
        json!({
            "id": followed.id,
            "source": followed.source,
            "target": followed.target,
            "state": state,
            "rows": rows.or(loaded.map(|progress| json!(progress.rows))),
            "counted": verdict.map(|_| "validation").or(loaded.map(|_| "backfill")),
        })
    }

    fn validation_to_json(&self, validation: &Validation) -> Value {
        let last = validation.last.as_ref();
        json!({
            "state": validation.state.word(),
            "direction": last.map(|last| last.direction.word()),
            "verdict": last.map(|last| last.verdict.words()),
            "position": last.map(|last| position_to_json(last.position)),
            "age_seconds": last.map(|last| self.since(last.at).as_secs_f64()),
            "differences": last.map(|last| last.differences),
        })
    }
}

/// The nonce is text: it fills 64 bits, of which a reader in JavaScript would keep 53.
fn position_to_json(position: Position) -> Value {
    json!({ "epoch": position.epoch, "seq": position.seq, "nonce": position.nonce.to_string() })
}

fn table_to_json((name, table): (&String, &TableProgress)) -> (String, Value) {
    (name.clone(), json!({ "rows": table.rows, "total": table.total, "state": table.state.word() }))
}
