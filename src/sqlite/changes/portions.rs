//! A batch of any length, read portion by portion by a thread of its own. Few portions wait to be written.

use super::{Begun, Head, Opened, Shared};
use crate::link::{Piece, Pieces};
use crate::model::fault::Fault;
use crate::sqlite::gather::{Gathering, gathered, log_rows};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Log rows folded at once.
const LOG_ROWS_PER_PORTION: i64 = 8_192;

/// How the reading of a batch ended.
enum Ended {
    AtItsEnd,
    /// Nobody wants the rest.
    GivenUp,
}

/// What a batch's reader gives out. The head goes out with the second piece, of which there is room for more: whoever waits for a batch
/// of one portion, as most are, is woken once and finds it whole.
struct Outlet<'p> {
    head: Option<(Opened, Head)>,
    pieces: &'p Pieces,
    given: usize,
}

impl Outlet<'_> {
    fn give(&mut self, piece: Result<Piece, Fault>) -> Result<(), Unwanted> {
        let is_last = !matches!(piece, Ok(Piece::Portion(_)));
        let given = self.pieces.blocking_send(piece).map_err(|_| Unwanted);
        self.given += 1;
        if (is_last || self.given > 1)
            && let Some((opened, head)) = self.head.take()
        {
            // Whoever asked has gone, and the portions' receiver with him.
            let _gone = opened.send(Ok(Some(head)));
        }
        given
    }
}

/// Nobody takes the batch any more.
struct Unwanted;

impl Shared {
    pub fn read_to_its_end(&self, begun: Begun) {
        let Begun { reader, head, opened, pieces } = begun;
        let (from, until, extent) = (head.from, head.to, head.extent);
        let mut outlet = Outlet { head: Some((opened, head)), pieces: &pieces, given: 0 };
        // A receiver that is gone has given the batch up; so has this thread.
        let ended = match self.read_portions(&reader.db, (from.seq, until.seq), &mut outlet) {
            Ok(Ended::GivenUp) => return,
            Ok(Ended::AtItsEnd) => self.end(reader, until, extent),
            Err(fault) => Err(fault),
        };
        let _given_up = outlet.give(ended.map(|()| Piece::End));
    }

    /// Reads the log piece by piece.
    fn read_portions(
        &self,
        db: &Connection,
        (from, to): (i64, i64),
        outlet: &mut Outlet<'_>,
    ) -> Result<Ended, Fault> {
        let mut reached = from;
        while reached < to {
            let until = to.min(reached + LOG_ROWS_PER_PORTION);
            let mut tables: BTreeMap<i64, Gathering<'_>> = BTreeMap::new();
            for (id, key) in log_rows(db, (reached, until))? {
                // The marker, and tables that are followed no more.
                let Some(route) = self.expected.tables.get(&id) else { continue };
                let table = tables.entry(id).or_insert_with(|| Gathering::new(route));
                table.add(db, key)?;
                if table.rows.bytes() >= self.portion_bytes
                    && outlet.give(Ok(Piece::Portion(gathered(&mut tables)))).is_err()
                {
                    return Ok(Ended::GivenUp);
                }
            }
            let portion = gathered(&mut tables);
            if !portion.is_empty() && outlet.give(Ok(Piece::Portion(portion))).is_err() {
                return Ok(Ended::GivenUp);
            }
            reached = until;
        }
        Ok(Ended::AtItsEnd)
    }
}
