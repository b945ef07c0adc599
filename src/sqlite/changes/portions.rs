//! A batch of any length, read portion by portion by a thread of its own. Few portions wait to be written.

use super::renewal::confirm_pace;
use super::{Begun, Head, Opened, Shared};
use crate::link::{Changed, Extent, Piece, Pieces, Span};
use crate::model::chunk::Keys;
use crate::model::fault::Fault;
use crate::plan::route::Route;
use crate::sqlite::gather::{Gathering, gathered, log_rows};
use crate::sqlite::halves::Encoding;
use crate::sqlite::scan::{ChunkLimit, next_chunk};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
        let renewed = self.to_renew(&begun);
        let Begun { reader, mut head, opened, pieces, .. } = begun;
        if renewed.as_ref().is_ok_and(|tables| !tables.is_empty()) {
            (head.to, head.extent) = (head.newest, Extent::Whole);
        }
        let (from, until, extent) = (head.from, head.to, head.extent);
        let mut outlet = Outlet { head: Some((opened, head)), pieces: &pieces, given: 0 };
        let read = |renewed: BTreeMap<i64, &Arc<Route>>| {
            let began = Instant::now();
            for route in renewed.values() {
                if let Ended::GivenUp = self.read_table(&reader.db, (route, began), &mut outlet)? {
                    return Ok(Ended::GivenUp);
                }
            }
            self.read_portions(&reader.db, (from.seq, until.seq), &renewed, &mut outlet)
        };
        // A receiver that is gone has given the batch up; so has this thread.
        let ended = match renewed.and_then(read) {
            Ok(Ended::GivenUp) => return,
            Ok(Ended::AtItsEnd) => self.end(reader, until, extent),
            Err(fault) => Err(fault),
        };
        let _given_up = outlet.give(ended.map(|()| Piece::End));
    }

    /// Reads all rows of a table that is renewed.
    fn read_table(
        &self,
        db: &Connection,
        (route, began): (&Arc<Route>, Instant),
        outlet: &mut Outlet<'_>,
    ) -> Result<Ended, Fault> {
        let limit = ChunkLimit { bytes: self.portion_bytes, read_time: Duration::MAX };
        let (mut after, mut emptied) = (Vec::new(), Some(HashSet::new()));
        loop {
            confirm_pace(began)?;
            let mut rows = next_chunk(db, route, (Span::default(), &after), limit)?;
            let is_last = rows.ends_range;
            after = std::mem::take(&mut rows.last_key);
            let (keys, names) = (Keys::default(), Vec::new());
            let changed = Changed { route: Arc::clone(route), keys, names, rows, emptied: emptied.take() };
            if outlet.give(Ok(Piece::Portion(vec![changed]))).is_err() {
                return Ok(Ended::GivenUp);
            }
            if is_last {
                return Ok(Ended::AtItsEnd);
            }
        }
    }

    /// Reads the log piece by piece, and the rows that it names of tables that are not renewed.
    fn read_portions(
        &self,
        db: &Connection,
        (from, to): (i64, i64),
        renewed: &BTreeMap<i64, &Arc<Route>>,
        outlet: &mut Outlet<'_>,
    ) -> Result<Ended, Fault> {
        let encoding = Encoding::of(db)?;
        let mut reached = from;
        while reached < to {
            let until = to.min(reached + LOG_ROWS_PER_PORTION);
            let mut tables: BTreeMap<i64, Gathering<'_>> = BTreeMap::new();
            for (id, key) in log_rows(db, encoding, (reached, until))? {
                // The marker, and tables that are followed no more.
                let followed = self.expected.tables.get(&id).filter(|_| !renewed.contains_key(&id));
                let Some(route) = followed else { continue };
                let table = tables.entry(id).or_insert_with(|| Gathering::new(route, encoding));
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
