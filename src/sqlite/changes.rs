//! The source's captured changes, batch by batch: changed keys after a position and the rows they name now, read in one snapshot.
//!
//! ```text
//!  changes() ──▶ blocking thread: begin · same history? · same schema? · log rows ──fold──▶ keys ──look up──▶ rows
//!      ▲               │ head (from, to, extent)                                    portion by portion │
//!      └───────────────┘                     the batch's channel, few portions wait at most ◀──────────┘
//! ```
//!
//! The connection stays only while data moves (`rest` closes it): an idle one would spoil the application's own backups and stops.

use super::capture;
use super::connect::{SqliteFile, schema_version};
use super::fault::from_sqlite;
use super::gather::{Gathering, gathered, log_rows};
use super::harden::Hardener;
use super::history::{self, FileIdentity, schema_digest};
use crate::link::{Batch, Captured, Extent, Piece, Pieces, Portion, Portions, Take};
use crate::model::fault::{Fault, FaultClass};
use crate::model::history::Position;
use crate::plan::capture::CaptureTable;
use crate::plan::route::Route;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What the source must still be for its changes to mean what they say.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The migration's token, which the source bears too.
    pub token: String,
    /// `schema_digest` of the schema that the routes were made for.
    pub schema: String,
    /// The triggers, word for word.
    pub captures: Vec<CaptureTable>,
    /// What is followed, by the number that a table's triggers know it by.
    pub tables: BTreeMap<i64, Arc<Route>>,
}

/// A reader whose transaction is still open, at the position that the target was brought to.
pub struct Held {
    pub at: Position,
    pub db: Connection,
}

pub struct SqliteChanges {
    shared: Arc<Shared>,
    ahead: Mutex<Option<Reading>>,
}

/// A batch that a thread is reading. Dropped, the thread gives it up.
struct Reading {
    from: Position,
    take: Take,
    head: oneshot::Receiver<Result<Option<Head>, Fault>>,
    portions: Portions,
    hardened: Hardened,
}

type Hardened = oneshot::Receiver<Result<(), Fault>>;

struct Shared {
    file: SqliteFile,
    identity: FileIdentity,
    expected: Expected,
    hardener: Hardener,
    portion_bytes: usize,
    watch: Box<Watch>,
    state: Mutex<State>,
}

/// Told of every look at the source, from any thread.
pub type Watch = dyn Fn(Known) + Send + Sync;

#[derive(Default)]
struct State {
    reader: Option<Reader>,
    hold: bool,
    held: Option<Held>,
    known: Option<Known>,
    looked: Option<Instant>,
    /// Changes that rows of the target may be of, which every snapshot has to show.
    seen: Vec<Position>,
    /// What becomes of hardening the batch that was asked for last.
    hardened: Option<Hardened>,
}

/// A connection, and the schema version that was last found to be the expected schema.
struct Reader {
    db: Connection,
    schema_version: Option<i64>,
    looked: Instant,
}

/// What was last seen of the source, for those who watch.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub newest: Position,
    pub log_rows: i64,
    /// How many changes lie beyond the position that was asked about, and since when at the latest: what the look before this one did
    /// not see is younger than that look.
    pub waiting: i64,
    pub since: Instant,
}

/// What a snapshot holds of the change table beyond a position.
struct Head {
    from: Position,
    to: Position,
    newest: Position,
    extent: Extent,
}

/// Portions that wait to be written.
const PORTIONS_AHEAD: usize = 8;
/// Log rows folded at once.
const LOG_ROWS_PER_PORTION: i64 = 8_192;
/// An edit of the schema table by hand moves no version: the schema is read again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Lookups of a database with many tables stay prepared.
const STATEMENTS_MAX: usize = 512;

impl SqliteChanges {
    pub fn new(
        file: SqliteFile,
        expected: Expected,
        portion_bytes: usize,
        watch: Box<Watch>,
    ) -> Result<SqliteChanges, Fault> {
        let identity = FileIdentity::of(file.path())?;
        let hardener = Hardener::new(file.path());
        let state = Mutex::default();
        let shared = Shared { file, identity, expected, hardener, portion_bytes, watch, state };
        Ok(SqliteChanges { shared: Arc::new(shared), ahead: Mutex::default() })
    }

    /// Closes the connection until the next change.
    pub fn rest(&self) {
        let reader = self.shared.state().reader.take();
        drop(reader);
    }

    /// Keeps the next snapshot that the target is brought to, or already stands at, open for a comparison.
    pub fn hold_next(&self) {
        self.shared.state().hold = true;
    }

    pub fn take_held(&self) -> Option<Held> {
        self.shared.state().held.take()
    }

    /// Refuses, from here on, every snapshot that does not know these changes: rows of the target may be of them.
    pub fn must_show(&self, seen: Vec<Position>) {
        self.shared.state().seen = seen;
    }

    /// How many changes the source has beyond a position.
    pub async fn waiting(&self, at: Position) -> Result<u64, Fault> {
        let shared = Arc::clone(&self.shared);
        let looked = tokio::task::spawn_blocking(move || shared.waiting(at)).await;
        looked.unwrap_or_else(|error| Err(Fault::fatal("stopped", "look at the source").with_source(error)))
    }

    pub fn known(&self) -> Option<Known> {
        self.shared.state().known
    }

    pub fn wal_bytes(&self) -> u64 {
        self.shared.hardener.wal_bytes()
    }

    fn ahead(&self) -> MutexGuard<'_, Option<Reading>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, from: Position, take: Take) -> Reading {
        let (opened, head) = oneshot::channel();
        let (pieces, portions) = Portions::channel(PORTIONS_AHEAD);
        let (told, hardened) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.read_batch(from, take, (opened, &pieces), told));
        Reading { from, take, head, portions, hardened }
    }

    /// The rows that the last changes name, at most so many changes; `last` is the newest, and nobody writes meanwhile.
    pub async fn newest_rows(&self, last: Position, changes_max: i64) -> Result<Portion, Fault> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.newest_rows(last, changes_max)).await;
        read.unwrap_or_else(|error| Err(Fault::fatal("stopped", "read the last changes").with_source(error)))
    }

    /// The files whose look tells that somebody has written: the database and its -wal.
    pub fn files(&self) -> [PathBuf; 2] {
        [self.shared.file.path().to_owned(), self.shared.hardener.wal().to_owned()]
    }
}

/// Of the same source, without what is being read ahead: that is for who applies it.
impl Clone for SqliteChanges {
    fn clone(&self) -> SqliteChanges {
        SqliteChanges { shared: Arc::clone(&self.shared), ahead: Mutex::default() }
    }
}

impl Captured for SqliteChanges {
    async fn changes(&self, from: Position, take: Take) -> Result<Option<Batch>, Fault> {
        let ahead = self.ahead().take().filter(|ahead| (ahead.from, ahead.take) == (from, take));
        let Reading { head, portions, hardened, .. } = ahead.unwrap_or_else(|| self.read(from, take));
        self.shared.state().hardened = Some(hardened);
        let ended = || Fault::fatal("stopped", "read the source's changes");
        let head = head.await.map_err(|_| ended())??;
        Ok(head.map(|Head { from, to, newest, extent }| Batch {
            from,
            to,
            extent,
            changes: u64::try_from(to.seq - from.seq).expect("a batch goes forward"),
            newest,
            portions,
        }))
    }

    fn read_ahead(&self, from: Position, take: Take) {
        *self.ahead() = Some(self.read(from, take));
    }

    async fn harden(&self) -> Result<(), Fault> {
        let begun = self.shared.state().hardened.take();
        if let Some(begun) = begun
            && let Ok(hardened) = begun.await
        {
            return hardened;
        }
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || shared.hardener.harden()).await;
        done.unwrap_or_else(|error| Err(Fault::fatal("stopped", "sync the source").with_source(error)))
    }

    async fn forget(&self, seq: i64) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || shared.forget(seq)).await;
        done.unwrap_or_else(|error| Err(Fault::fatal("stopped", "prune the change table").with_source(error)))
    }
}

/// How the reading of a batch ended.
enum Ended {
    AtItsEnd,
    /// Nobody wants the rest.
    GivenUp,
}

type Opened = oneshot::Sender<Result<Option<Head>, Fault>>;

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
    /// A thread that panicked while it held the state left it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_batch(
        self: Arc<Shared>,
        from: Position,
        take: Take,
        (opened, pieces): (Opened, &Pieces),
        hardened: oneshot::Sender<Result<(), Fault>>,
    ) {
        let begun = self.reader().and_then(|mut reader| {
            let head = self.begin(&mut reader, from, take)?;
            Ok((reader, head))
        });
        let (reader, head) = match begun {
            Ok(begun) => begun,
            Err(fault) => return drop(opened.send(Err(fault))),
        };
        let Some(head) = head else {
            // Kept before it is answered, so that whoever asked finds it.
            let ended = self.end(reader, from, Extent::Whole);
            return drop(opened.send(ended.map(|()| None)));
        };
        // From here on the target may come to hold these rows, whatever becomes of its answers.
        self.state().seen = vec![head.newest];
        // All that this snapshot shows has been written: the disk works while it is read.
        let disk = Arc::clone(&self);
        tokio::task::spawn_blocking(move || hardened.send(disk.hardener.harden()));
        let (until, extent) = (head.to, head.extent);
        let mut outlet = Outlet { head: Some((opened, head)), pieces, given: 0 };
        // A receiver that is gone has given the batch up; so has this thread.
        let ended = match self.read_portions(&reader.db, (from.seq, until.seq), &mut outlet) {
            Ok(Ended::GivenUp) => return,
            Ok(Ended::AtItsEnd) => self.end(reader, until, extent),
            Err(fault) => Err(fault),
        };
        let _given_up = outlet.give(ended.map(|()| Piece::End));
    }

    fn reader(&self) -> Result<Reader, Fault> {
        self.identity.confirm(self.file.path())?;
        if let Some(reader) = self.state().reader.take() {
            return Ok(reader);
        }
        let db = self.file.open_reader()?;
        db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(Reader { db, schema_version: None, looked: Instant::now() })
    }

    fn waiting(&self, at: Position) -> Result<u64, Fault> {
        let mut reader = self.reader()?;
        let head = self.begin(&mut reader, at, Take::All)?;
        reader.db.execute_batch("commit").map_err(|error| from_sqlite("end a snapshot", error))?;
        self.state().reader = Some(reader);
        Ok(head.map_or(0, |head| u64::try_from(head.to.seq - at.seq).expect("a head is ahead")))
    }

    fn newest_rows(&self, last: Position, changes_max: i64) -> Result<Portion, Fault> {
        let failed = |error| from_sqlite("read the last changes", error);
        let mut reader = self.reader()?;
        reader.db.execute_batch("begin").map_err(failed)?;
        // A table that was made or rebuilt a moment ago has changed without a line in the log: nothing else would tell.
        self.confirm_schema(&mut reader)?;
        let mut tables: BTreeMap<i64, Gathering<'_>> = BTreeMap::new();
        for (id, key) in log_rows(&reader.db, (last.seq - changes_max, last.seq))? {
            let Some(route) = self.expected.tables.get(&id) else { continue };
            tables.entry(id).or_insert_with(|| Gathering::new(route)).add(&reader.db, key)?;
        }
        let portion = gathered(&mut tables);
        drop(tables);
        reader.db.execute_batch("commit").map_err(failed)?;
        self.state().reader = Some(reader);
        Ok(portion)
    }

    /// Opens the snapshot and says what it holds beyond `from`.
    fn begin(&self, reader: &mut Reader, from: Position, take: Take) -> Result<Option<Head>, Fault> {
        let failed = |error| from_sqlite("begin a snapshot of the source", error);
        reader.db.execute_batch("begin").map_err(failed)?;
        let newest = history::confirm(&reader.db, &self.expected.token, from)?;
        let seen = self.state().seen.clone();
        for seen in seen.into_iter().filter(|seen| *seen != from) {
            history::confirm(&reader.db, &self.expected.token, seen)?;
        }
        self.confirm_schema(reader)?;
        let to = match take {
            Take::All => newest,
            Take::UpTo(changes) => {
                let last = from.seq.saturating_add(i64::try_from(changes).unwrap_or(i64::MAX));
                history::position_upto(&reader.db, from.epoch, last).map_err(failed)?.unwrap_or(newest)
            }
        };
        let oldest: i64 = reader
            .db
            .prepare_cached("select min(seq) from main._liteferry_change")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        let now = Instant::now();
        let since = self.state().looked.replace(now).unwrap_or(now);
        let (log_rows, waiting) = (newest.seq - oldest + 1, newest.seq - from.seq);
        let known = Known { newest, log_rows, waiting, since };
        self.state().known = Some(known);
        (self.watch)(known);
        let extent = if to == newest { Extent::Whole } else { Extent::Part };
        Ok((to.seq > from.seq).then_some(Head { from, to, newest, extent }))
    }

    fn confirm_schema(&self, reader: &mut Reader) -> Result<(), Fault> {
        let version = schema_version(&reader.db)?;
        if reader.schema_version == Some(version) && reader.looked.elapsed() < LOOK_AGAIN {
            return Ok(());
        }
        let expected = &self.expected;
        let captured = || capture::census(&reader.db, &expected.captures).map(|census| census.is_whole());
        if schema_digest(&reader.db)? != expected.schema || !captured()? {
            let doing = "follow the source under the schema it had";
            return Err(Fault::new(FaultClass::Transient, "source_schema_moved", doing)
                .with_remedy("the application changed its schema: the daemon looks at it anew by itself"));
        }
        reader.schema_version = Some(version);
        reader.looked = Instant::now();
        Ok(())
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

    /// Ends the snapshot, unless somebody wants it held.
    fn end(&self, reader: Reader, at: Position, extent: Extent) -> Result<(), Fault> {
        let mut state = self.state();
        if extent == Extent::Whole && state.hold {
            state.hold = false;
            state.held = Some(Held { at, db: reader.db });
            return Ok(());
        }
        reader.db.execute_batch("commit").map_err(|error| from_sqlite("end a snapshot", error))?;
        state.reader = Some(reader);
        Ok(())
    }

    fn forget(&self, seq: i64) -> Result<(), Fault> {
        let db = self.file.open_writer(PRUNE_WAIT)?;
        for _ in 0..PRUNE_TURNS {
            if capture::prune(&db, seq, PRUNE_ROWS)? < usize::try_from(PRUNE_ROWS).expect("a small number") {
                break;
            }
            std::thread::sleep(PRUNE_PAUSE);
        }
        Ok(())
    }
}

/// Pruning is worth no wait: it comes again.
const PRUNE_WAIT: Duration = Duration::from_millis(50);
const PRUNE_ROWS: u32 = 500;
const PRUNE_TURNS: u32 = 10;
/// The application's own writers come in between.
const PRUNE_PAUSE: Duration = Duration::from_millis(5);
