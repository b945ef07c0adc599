//! The source's captured changes, batch by batch: changed keys after a position and the rows they name now, read in one snapshot.
//!
//! ```text
//!  changes() ──▶ blocking thread: begin · same history? · same schema? · log rows ──fold──▶ keys ──look up──▶ rows
//!      ▲               │ head (from, to, extent)                                    portion by portion │
//!      └───────────────┘                     the batch's channel, few portions wait at most ◀──────────┘
//! ```
//!
//! What is short is read at once by whoever asks (`glance`): two threads cost more than such a batch.
//! The connection stays only while data moves (`rest` closes it): an idle one would spoil the application's own backups and stops.

mod glance;
mod portions;
mod pruning;
mod renewal;
mod schema;

use super::connect::{SqliteFile, journal_mode};
use super::fault::from_sqlite;
use super::gather::{Gathering, gathered, log_rows};
use super::halves::Encoding;
use super::harden::Hardener;
use super::history::{self, FileIdentity};
use crate::link::{Batch, Captured, Extent, Pieces, Portion, Portions, Take};
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::plan::capture::CaptureTable;
use crate::plan::route::Route;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;

/// What the source must still be for its changes to mean what they say.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The migration's token, which the source bears too.
    pub token: String,
    /// `schema_digest` of the schema that the routes were made for.
    pub schema: String,
    /// SQLite's `schema_version` then.
    pub version: Option<i64>,
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
/// Dropped, it leaves the hardening to whoever waits for it.
type Hardening = oneshot::Sender<Result<(), Fault>>;

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
    /// What the reader before this one found.
    never_waited: Option<bool>,
    hold: bool,
    held: Option<Held>,
    known: Option<Known>,
    looked: Option<Instant>,
    /// Changes that rows of the target may be of, which every snapshot has to show.
    seen: Vec<Position>,
    /// What becomes of hardening the batch that was asked for last.
    hardened: Option<Hardened>,
    /// Whether to renew a table was asked of the changes up to here.
    weighed: i64,
    /// SQLite's version of the schema, as it was last found to be the expected schema.
    version: Option<i64>,
    /// It has gone further than one step at a time, and nobody has done anything about it yet.
    has_leapt: bool,
    /// Since when somebody else was reading whenever it was to be pruned.
    read_since: Option<Instant>,
}

/// A connection, and the schema version that was last found to be the expected schema.
struct Reader {
    db: Connection,
    /// Nobody who writes makes it wait.
    never_waits: bool,
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
        let state = Mutex::new(State { version: expected.version, ..State::default() });
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

    /// Ends what is held, and keeps nothing open that is not asked for anew.
    pub fn hold_none(&self) {
        let mut state = self.shared.state();
        state.hold = false;
        drop(state.held.take());
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

    /// Has whoever watches told of them, where nobody is about to apply them: under whatever schema they were made, they wait.
    pub async fn tell_waiting(&self, at: Position) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let looked = tokio::task::spawn_blocking(move || shared.tell_waiting(at)).await;
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

    fn ask(&self, from: Position, take: Take) -> (Asked, Reading) {
        let (opened, head) = oneshot::channel();
        let (pieces, portions) = Portions::channel(PORTIONS_AHEAD);
        let (told, hardened) = oneshot::channel();
        let asked = Asked { from, take, opened, pieces, hardened: told };
        (asked, Reading { from, take, head, portions, hardened })
    }

    fn read(&self, asked: Asked) {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.read_batch(asked));
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
        let Reading { head, portions, hardened, .. } = ahead.unwrap_or_else(|| {
            let (asked, reading) = self.ask(from, take);
            if let Some(asked) = self.shared.glance(asked) {
                self.read(asked);
            }
            reading
        });
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
        let (asked, reading) = self.ask(from, take);
        self.read(asked);
        *self.ahead() = Some(reading);
    }

    async fn harden(&self) -> Result<(), Fault> {
        let begun = self.shared.state().hardened.take();
        if let Some(begun) = begun
            && let Ok(hardened) = begun.await
        {
            return hardened;
        }
        if self.shared.hardener.is_quick() {
            // What was sent to the target goes out first: it works meanwhile.
            tokio::task::yield_now().await;
            return self.shared.hardener.harden();
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

type Opened = oneshot::Sender<Result<Option<Head>, Fault>>;

/// A batch that somebody waits for, and where its parts go.
struct Asked {
    from: Position,
    take: Take,
    opened: Opened,
    pieces: Pieces,
    hardened: Hardening,
}

/// A batch whose snapshot is open.
struct Begun {
    reader: Reader,
    head: Head,
    take: Take,
    opened: Opened,
    pieces: Pieces,
}

impl Shared {
    /// A thread that panicked while it held the state left it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_batch(self: Arc<Shared>, asked: Asked) {
        let reader = self.reader();
        if let Some((begun, hardened)) = self.open(reader, asked) {
            self.harden_beside(hardened);
            self.read_to_its_end(begun);
        }
    }

    /// Opens the snapshot. Nothing where the answer has been given: nothing has changed, or something failed.
    fn open(&self, reader: Result<Reader, Fault>, asked: Asked) -> Option<(Begun, Hardening)> {
        let Asked { from, take, opened, pieces, hardened } = asked;
        let begun = reader.and_then(|mut reader| {
            let head = self.begin(&mut reader, from, take)?;
            Ok((reader, head))
        });
        let (reader, head) = match begun {
            Ok((reader, Some(head))) => (reader, head),
            // Kept before it is answered, so that whoever asked finds it.
            Ok((reader, None)) => {
                let ended = self.end(reader, from, Extent::Whole);
                let _gone = opened.send(ended.map(|()| None));
                return None;
            }
            Err(fault) => {
                let _gone = opened.send(Err(fault));
                return None;
            }
        };
        // From here on the target may come to hold these rows, whatever becomes of its answers.
        self.state().seen = vec![head.newest];
        Some((Begun { reader, head, take, opened, pieces }, hardened))
    }

    /// All that the snapshot shows has been written: the disk works on it while it is read.
    fn harden_beside(self: &Arc<Shared>, hardened: Hardening) {
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || hardened.send(shared.hardener.harden()));
    }

    fn reader(&self) -> Result<Reader, Fault> {
        self.identity.confirm(&self.file)?;
        if let Some(reader) = self.state().reader.take() {
            return Ok(reader);
        }
        let db = self.file.open_reader()?;
        db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let mode = journal_mode(&db)?;
        let never_waits = mode == "wal";
        // What was asked of it at the start holds no more, and is no reason to stop: nothing is missed.
        if self.state().never_waited.replace(never_waits) == Some(true) && !never_waits {
            tracing::warn!(
                mode,
                "the application has left WAL mode: from now on each reader, ours too, makes its writers wait"
            );
        }
        Ok(Reader { db, never_waits, schema_version: None, looked: Instant::now() })
    }

    fn waiting(&self, at: Position) -> Result<u64, Fault> {
        let mut reader = self.reader()?;
        let head = self.begin(&mut reader, at, Take::All)?;
        turn(&reader.db, "commit").map_err(|error| from_sqlite("end a snapshot", error))?;
        self.state().reader = Some(reader);
        Ok(head.map_or(0, |head| u64::try_from(head.to.seq - at.seq).expect("a head is ahead")))
    }

    fn tell_waiting(&self, at: Position) -> Result<(), Fault> {
        let reader = self.reader()?;
        let newest = self.snapshot(&reader, at)?;
        self.tell(&reader, (at, newest))?;
        turn(&reader.db, "commit").map_err(|error| from_sqlite("end a snapshot", error))?;
        self.state().reader = Some(reader);
        Ok(())
    }

    fn newest_rows(&self, last: Position, changes_max: i64) -> Result<Portion, Fault> {
        let failed = |error| from_sqlite("read the last changes", error);
        let mut reader = self.reader()?;
        turn(&reader.db, "begin").map_err(failed)?;
        // A table that was made or rebuilt a moment ago has changed without a line in the log: nothing else would tell.
        self.confirm_schema(&mut reader)?;
        let portion = self.rows_of(&reader.db, (last.seq - changes_max, last.seq), usize::MAX)?;
        turn(&reader.db, "commit").map_err(failed)?;
        self.state().reader = Some(reader);
        Ok(portion.expect("there is no bound"))
    }

    /// The rows that these changes name; nothing where they are of more bytes.
    fn rows_of(
        &self,
        db: &Connection,
        changes: (i64, i64),
        bytes_max: usize,
    ) -> Result<Option<Portion>, Fault> {
        let encoding = Encoding::of(db)?;
        let mut tables: BTreeMap<i64, Gathering<'_>> = BTreeMap::new();
        let mut bytes = 0;
        for (id, key) in log_rows(db, encoding, changes)? {
            // The marker, and tables that are followed no more.
            let Some(route) = self.expected.tables.get(&id) else { continue };
            let table = tables.entry(id).or_insert_with(|| Gathering::new(route, encoding));
            let before = table.rows.bytes();
            table.add(db, key)?;
            bytes += table.rows.bytes() - before;
            if bytes > bytes_max {
                return Ok(None);
            }
        }
        Ok(Some(gathered(&mut tables)))
    }

    /// Opens the snapshot and says what it holds beyond `from`.
    fn begin(&self, reader: &mut Reader, from: Position, take: Take) -> Result<Option<Head>, Fault> {
        let newest = self.snapshot(reader, from)?;
        self.confirm_schema(reader)?;
        let most = match take {
            Take::All => i64::MAX,
            Take::UpTo(changes) | Take::Renewing(changes) => i64::try_from(changes).unwrap_or(i64::MAX),
        };
        let last = from.seq.saturating_add(most);
        let to = match last < newest.seq {
            true => history::position_upto(&reader.db, from.epoch, last).map_err(begins)?.unwrap_or(newest),
            false => newest,
        };
        self.tell(reader, (from, newest))?;
        let extent = if to == newest { Extent::Whole } else { Extent::Part };
        Ok((to.seq > from.seq).then_some(Head { from, to, newest, extent }))
    }

    /// Opens it, and gives the newest change that it holds.
    fn snapshot(&self, reader: &Reader, from: Position) -> Result<Position, Fault> {
        turn(&reader.db, "begin").map_err(begins)?;
        let newest = history::confirm(&reader.db, &self.expected.token, from)?;
        let seen = self.state().seen.clone();
        for seen in seen.into_iter().filter(|seen| *seen != from) {
            history::confirm(&reader.db, &self.expected.token, seen)?;
        }
        Ok(newest)
    }

    fn tell(&self, reader: &Reader, (from, newest): (Position, Position)) -> Result<(), Fault> {
        let oldest: i64 = reader
            .db
            .prepare_cached("select min(seq) from main._liteferry_change")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(begins)?;
        let now = Instant::now();
        let since = self.state().looked.replace(now).unwrap_or(now);
        let (log_rows, waiting) = (newest.seq - oldest + 1, newest.seq - from.seq);
        let known = Known { newest, log_rows, waiting, since };
        self.state().known = Some(known);
        (self.watch)(known);
        Ok(())
    }

    /// Ends the snapshot, unless somebody wants it held.
    fn end(&self, reader: Reader, at: Position, extent: Extent) -> Result<(), Fault> {
        let mut state = self.state();
        if extent == Extent::Whole && state.hold {
            state.hold = false;
            state.held = Some(Held { at, db: reader.db });
            return Ok(());
        }
        turn(&reader.db, "commit").map_err(|error| from_sqlite("end a snapshot", error))?;
        state.reader = Some(reader);
        Ok(())
    }
}

fn begins(error: rusqlite::Error) -> Fault {
    from_sqlite("begin a snapshot of the source", error)
}

/// Begins a snapshot, or ends it: as often as anybody looks, so that its statement stays prepared.
fn turn(db: &Connection, sql: &'static str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(|_none| ())
}
