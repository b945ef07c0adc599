//! The gate of the directory that the archive of the source goes to. Pure, as all gates are: somebody else has looked.

use super::{Gate, LOOK_AGAIN, MIB, Reading, Readings, UNKNOWN, at_least_bytes};

/// A directory for archives, as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub directory: String,
    pub seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Why no file can be made there.
    Closed(String),
    /// `free_bytes`: nothing where the system does not tell.
    Open { free_bytes: Option<u64>, copy_bytes: u64 },
}

/// Before it is compressed the whole database is copied there.
pub(super) fn archive(readings: &Readings) -> Gate {
    let Some(Place { directory, seen }) = &readings.archive else {
        return Reading::new("archive", UNKNOWN, "can be written").unknown(LOOK_AGAIN);
    };
    match seen {
        Seen::Closed(why) => Reading::new("archive", format!("{directory}: {why}"), "can be written").shut(
            "Make it a directory that the daemon may write to: it is looked at again by itself. Or name another by [cleanup] archive, \
             and restart.",
        ),
        Seen::Open { free_bytes: None, .. } => {
            Reading::new("archive", format!("{directory} can be written"), "can be written").open()
        }
        Seen::Open { free_bytes: Some(free), copy_bytes } => {
            let reading = format!("{directory}: {} MiB free", free / MIB);
            let reading = Reading::new("archive", reading, at_least_bytes(*copy_bytes));
            match free >= copy_bytes {
                true => reading.open(),
                false => reading.shut(
                    "Make room there, for the database is copied before it is compressed. Or name another directory by [cleanup] archive, \
                     and restart.",
                ),
            }
        }
    }
}
