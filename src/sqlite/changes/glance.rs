//! A short batch, read by the thread that asks for it. It never waits for a writer, and what proves long goes to a thread of its own.

use super::schema::LOOK_AGAIN;
use super::{Asked, Begun, Shared};
use crate::link::{Piece, Portion};
use crate::model::fault::Fault;
use std::sync::Arc;

/// Beyond either bound a batch is not short.
const CHANGES_MAX: i64 = 64;
const BYTES_MAX: usize = 256 << 10;

impl Shared {
    /// Reads the batch if that is a matter of microseconds, and gives back what was asked where it is not.
    pub fn glance(self: &Arc<Shared>, asked: Asked) -> Option<Asked> {
        // To open a connection, or to read all of the schema again, may take long.
        let at_hand =
            self.state().reader.take_if(|reader| reader.never_waits && reader.looked.elapsed() < LOOK_AGAIN);
        let Some(reader) = at_hand else { return Some(asked) };
        let still_there = self.identity.confirm(&self.file);
        let (begun, hardened) = self.open(still_there.map(|()| reader), asked)?;
        let is_short = begun.head.to.seq - begun.head.from.seq <= CHANGES_MAX;
        if !(is_short && self.hardener.is_quick()) {
            self.harden_beside(hardened);
        }
        let rows = if is_short { self.short_rows(&begun) } else { Ok(None) };
        match rows {
            Ok(None) => {
                let shared = Arc::clone(self);
                tokio::task::spawn_blocking(move || shared.read_to_its_end(begun));
            }
            Ok(Some(rows)) => self.give(begun, Ok(rows)),
            Err(fault) => self.give(begun, Err(fault)),
        }
        None
    }

    fn short_rows(&self, begun: &Begun) -> Result<Option<Portion>, Fault> {
        let changes = (begun.head.from.seq, begun.head.to.seq);
        self.rows_of(&begun.reader.db, changes, BYTES_MAX)
    }

    /// All of a batch. There is room for it: nothing was given out before.
    fn give(&self, begun: Begun, rows: Result<Portion, Fault>) {
        let Begun { reader, head, opened, pieces, .. } = begun;
        let ended = rows.and_then(|rows| {
            self.end(reader, head.to, head.extent)?;
            Ok(rows)
        });
        let (rows, last) = match ended {
            Ok(rows) => (rows, Ok(Piece::End)),
            Err(fault) => (Portion::new(), Err(fault)),
        };
        let filled = (!rows.is_empty()).then_some(Ok(Piece::Portion(rows)));
        for piece in filled.into_iter().chain([last]) {
            pieces.try_send(piece).expect("whoever asked has not gone, and nothing waits before it");
        }
        let _asked = opened.send(Ok(Some(head)));
    }
}
