//! Whether SQLite's schema is what it was when its writes were closed. No guard keeps anybody from dropping a table or a column there; put
//! back as it was, the schema is the same, and the rows are gone. Nobody goes back to them before both sides were compared.

use super::super::desk::Desk;
use crate::model::fault::Fault;
use crate::sqlite::apply::SCHEMA_MOVED;
use crate::sqlite::capture::fence::{Found, guards};
use crate::sqlite::connect::{SqliteFile, schema_version};
use crate::sqlite::history::is_one_step;

pub struct Untouched {
    /// Digest of the schema that the writes were closed under.
    schema: String,
    /// SQLite's version of it, as of the last look after which its rows were known to be what came back.
    known: i64,
    /// The same, as a comparison that goes on has found it.
    compared: Option<i64>,
}

impl Untouched {
    /// Each guard of ours is a step.
    pub async fn since_closed(desk: &Desk<'_>, file: &SqliteFile) -> Result<Untouched, Fault> {
        let missing = || Fault::fatal("state_unreadable", "read where the migration stands");
        let recorded = desk.store.follow(desk.migration).await?.ok_or_else(missing)?;
        let db = file.open_reader()?;
        let (now, guards) = (schema_version(&db)?, guards(&db)?);
        let is_ours = |known: &i64| is_one_step(*known, now) || now.wrapping_sub(*known) == guards;
        let known = recorded.source_version.filter(|known| !is_ours(known)).unwrap_or(now);
        if recorded.source_version != Some(known) {
            desk.store.understood((desk.migration, &desk.owner), known).await?;
        }
        Ok(Untouched { schema: recorded.source_schema, known, compared: None })
    }

    /// Before a snapshot of SQLite is taken to be compared.
    pub fn is_to_be_compared(&mut self, file: &SqliteFile) -> Result<(), Fault> {
        if self.compared.is_none() {
            self.compared = Some(schema_version(&file.open_reader()?)?);
        }
        Ok(())
    }

    /// The comparison of everything has found both sides equal.
    pub async fn was_equal(&mut self, desk: &Desk<'_>) -> Result<(), Fault> {
        if let Some(version) = self.compared.take().filter(|version| *version != self.known) {
            desk.store.understood((desk.migration, &desk.owner), version).await?;
            self.known = version;
        }
        Ok(())
    }

    /// It has not.
    pub fn differed(&mut self) {
        self.compared = None;
    }

    /// Under SQLite's lock, before its writes are opened again.
    pub fn confirm(&self, found: &Found) -> Result<(), Fault> {
        let remedy = match (found.schema == self.schema, is_one_step(self.known, found.version)) {
            (true, true) => return Ok(()),
            (false, _) => "somebody changed SQLite's schema after the switch: put it back as it was",
            (true, false) => {
                "somebody changed SQLite's schema after the switch, more than once, and rows may have gone with it"
            }
        };
        Err(Fault::fatal(SCHEMA_MOVED, "go back to SQLite under the schema it had").with_remedy(format!(
            "{remedy}; `liteferry validate --repair` brings back what is missing there, and once both sides are equal this is open"
        )))
    }
}
