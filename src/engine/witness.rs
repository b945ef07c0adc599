//! Whether somebody wrote to the source while a command read it.

use super::prepare::Request;
use crate::model::fault::Fault;
use crate::sqlite::connect::{SqliteFile, data_version};
use rusqlite::Connection;

/// Holds a connection whose `data_version` tells whether anybody else has written.
pub struct WriteWitness {
    db: Connection,
    at_start: i64,
}

impl WriteWitness {
    pub fn open(request: &Request) -> Result<WriteWitness, Fault> {
        let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
        let db = file.open_reader()?;
        let at_start = data_version(&db)?;
        Ok(WriteWitness { db, at_start })
    }

    pub fn saw_a_write(&self) -> Result<bool, Fault> {
        Ok(data_version(&self.db)? != self.at_start)
    }
}
