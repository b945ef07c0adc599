//! What somebody puts on the target's tables while they are followed: foreign keys, triggers, CHECKs. It is taken away until the switch, like
//! what stood there at the beginning, and what it may have done is found by comparing.
//!
//! What may not be taken away halts by its name. Nothing of it is ever dropped without the words that give it back.

use super::life::Life;
use super::reread;
use super::tables::Tables;
use crate::journal::follow::Which;
use crate::model::catalog::PgTable;
use crate::model::fault::Fault;
use crate::plan::existing::{suspended_beyond, suspended_now};
use crate::plan::{Mode, Suspended};
use crate::postgres::catalog::catalog;
use crate::postgres::connect::Session;
use crate::postgres::make_way::{has_missed, make_way};
use crate::postgres::newcomers::{
    Checks, FROM_OUTSIDE, INHERITANCE, Newcomer, Writers, disturbed, newcomers,
};
use crate::postgres::target::LoadRole;
use std::time::Duration;

/// A foreign key that cascades, or a trigger that changes values, refuses nothing: only a look finds it.
pub const LOOK_FOR_NEWCOMERS: Duration = Duration::from_secs(2);

impl Life<'_> {
    /// Ends this life where something is found: the next one begins without it.
    pub(super) async fn look_for_newcomers(&self) -> Result<(), Fault> {
        let session = self.link.target.session().await?;
        let found = self.newcomers(&session).await?;
        self.link.target.give_back(session);
        if let Some(first) = found.first() {
            return Err(disturbed(first));
        }
        self.tend().await
    }

    /// What the fault becomes once what may have caused it is taken away; itself, where there is nothing to take away.
    pub(super) async fn without_newcomers(&self, fault: Fault) -> Fault {
        match self.take_newcomers_away().await {
            Ok(None) => fault,
            Ok(Some(first)) => disturbed(&first),
            Err(other) => other,
        }
    }

    async fn take_newcomers_away(&self) -> Result<Option<Newcomer>, Fault> {
        let session = self.link.target.session().await?;
        let mut found = self.newcomers(&session).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let now = catalog(&session, &self.job.request.schema).await?;
        self.link.target.give_back(session);
        let is_followed = |table: &&PgTable| self.tables.values().any(|route| route.target == table.name);
        let followed: Vec<&PgTable> = now.tables.iter().filter(is_followed).collect();
        let is = |one: &Newcomer, item: &Suspended| one.table == item.table && one.name == item.name;
        let mut suspended = suspended_now(&followed, &now);
        suspended.extend(suspended_beyond(&followed, &now));
        suspended.retain(|item| found.iter().any(|one| is(one, item)));
        if let Some(stays) = found.iter().find(|one| !suspended.iter().any(|item| is(one, item))) {
            if ["subscription", INHERITANCE].contains(&stays.kind.as_str()) {
                // What it brought passed the guards, what was deleted was another table's: looked for once there is nothing more of it.
                self.store.suspect_all((self.migration, &self.owner)).await?;
            }
            return Err(not_ours_to_take(stays));
        }
        // A trigger's function may have written to any table.
        let anywhere = found.iter().any(|one| one.kind == "trigger");
        let mut suspects = Vec::new();
        for (id, route) in &self.tables {
            if anywhere || found.iter().any(|one| one.table == route.target) {
                suspects.push(*id);
                let of = (route.source.as_str(), Which::All);
                reread::ledger_of(self.store, self.link.source.file(), (self.migration, *id), of).await?;
            }
        }
        found.iter().for_each(tell);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        let ours = (self.migration, self.owner.as_str());
        let taken = self.store.suspend_newcomers(ours, &suspended, (&suspects, &told.join(", "))).await;
        if taken.as_ref().is_err_and(has_missed) {
            make_way(&self.link.target.session().await?, &self.tables).await?;
        }
        taken?;
        Ok(Some(found.swap_remove(0)))
    }

    /// What would make more of the target's rows than what was brought there.
    pub(super) async fn newcomers(&self, session: &Session) -> Result<Vec<Newcomer>, Fault> {
        disturbing(session, &self.tables, (self.role, self.job.request.mode)).await
    }
}

fn tell(newcomer: &Newcomer) {
    let (table, name) = (&newcomer.table, &newcomer.name);
    if newcomer.kind == FROM_OUTSIDE {
        tracing::info!(%table, name, "a foreign key points at a followed table from one that is not; it is taken away until the switch");
    } else {
        let kind = &newcomer.kind;
        tracing::warn!(%table, kind, name, "put on a table beside liteferry; taken away until the switch, and the table is compared");
    }
}

/// What disturbs the sessions that write the tables.
pub(super) async fn disturbing(
    session: &Session,
    tables: &Tables,
    (role, mode): (LoadRole, Mode),
) -> Result<Vec<Newcomer>, Fault> {
    let names: Vec<String> = tables.values().map(|route| route.target.sql()).collect();
    let writers = match role {
        LoadRole::Origin => Writers::Origin,
        LoadRole::Replica => Writers::Replica,
    };
    let checks = match mode {
        Mode::Create => Checks::Stay,
        Mode::Existing => Checks::Disturb,
    };
    newcomers(session, &names, (writers, checks)).await
}

/// After the switch two of the tables may be tied together, so that one shows the other's rows, which would come back as its own.
pub(super) async fn tied(session: &Session, tables: &Tables) -> Result<Option<Fault>, Fault> {
    let names: Vec<String> = tables.values().map(|route| route.target.sql()).collect();
    // Triggers and foreign keys are the application's again: of a replica's the fewest are looked at.
    let found = newcomers(session, &names, (Writers::Replica, Checks::Stay)).await?;
    Ok(found.iter().find(|one| one.kind == INHERITANCE).map(|one| {
        let doing = format!("tell the tables apart of which one has {one}");
        Fault::fatal("schema_drift", doing)
            .with_remedy(format!("{TIED}; what is written meanwhile waits, and it goes on by itself"))
    }))
}

const TIED: &str = "what is read or deleted in the one is the other's too: `alter table … no inherit …`, or `… detach partition …`, which leaves both \
    with their rows; then every table is compared";

fn not_ours_to_take(newcomer: &Newcomer) -> Fault {
    let what = match newcomer.kind.as_str() {
        "rule" => {
            "it was put there beside liteferry, and writes something else than it is given: `alter table … disable rule …` until the switch, then \
             `liteferry validate --repair`"
        }
        INHERITANCE => TIED,
        "subscription" => {
            "rows of PostgreSQL's own logical replication come to a table that is SQLite's, past the guards: `alter subscription … disable`, or \
             take the table out of it, until the switch; then every table is compared"
        }
        _ => {
            "it was put there beside liteferry, and the table is not ours to alter: take it away until the switch, or make liteferry's role the \
             table's owner"
        }
    };
    Fault::fatal("schema_drift", format!("follow into a table that bears {newcomer}"))
        .with_remedy(format!("{what}; what was written meanwhile waits, and it goes on by itself"))
}
