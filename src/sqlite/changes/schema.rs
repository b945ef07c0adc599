//! Whether a snapshot shows the schema that the routes were made for, and whether it was another one in between: a column that is dropped and
//! added again leaves no trace in the schema's text, and others in the rows.

use super::super::connect::schema_version;
use super::super::history::{is_one_step, schema_digest};
use super::{Reader, Shared, SqliteChanges};
use crate::model::fault::{Fault, FaultClass};
use crate::sqlite::capture;
use std::time::{Duration, Instant};

/// An edit of the schema table by hand moves no version: the schema is read again after so long.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl SqliteChanges {
    /// SQLite's version of the schema, as it was last found to be the expected one.
    pub fn schema_version(&self) -> Option<i64> {
        self.shared.state().version
    }

    /// Whether the schema was changed and changed back: rows may be others, of which no trigger tells.
    pub fn has_leapt(&self) -> bool {
        self.shared.state().has_leapt
    }

    /// The same, and it will be seen to.
    pub fn take_leap(&self) -> bool {
        std::mem::take(&mut self.shared.state().has_leapt)
    }
}

impl Shared {
    pub(super) fn confirm_schema(&self, reader: &mut Reader) -> Result<(), Fault> {
        let version = schema_version(&reader.db)?;
        if reader.schema_version == Some(version) && reader.looked.elapsed() < LOOK_AGAIN {
            return Ok(());
        }
        let expected = &self.expected;
        let captured = || capture::census(&reader.db, &expected.captures).map(|census| census.is_whole());
        let known = self.state().version.unwrap_or(version);
        if schema_digest(&reader.db)? != expected.schema || !captured()? {
            let doing = "follow the source under the schema it had";
            return Err(Fault::new(FaultClass::Transient, "source_schema_moved", doing)
                .with_remedy("the application changed its schema: the daemon looks at it anew by itself"));
        }
        // Another thread may have looked at a later snapshot.
        let leaps = !is_one_step(known, version) && !is_one_step(version, known);
        let mut state = self.state();
        state.has_leapt |= leaps;
        state.version = Some(if leaps { version } else { known.max(version) });
        reader.schema_version = Some(version);
        reader.looked = Instant::now();
        Ok(())
    }
}
