//! SQLite in the roles of a source and of a side to compare.
//!
//! SQLite blocks, so every call works on a blocking thread with a reader taken from a small stock; a reader is given back when the
//! call ends and none outlives the source.

use super::connect::SqliteFile;
use super::fault::from_sqlite;
use super::harden::Hardener;
use super::scan::{ChunkLimit, Turns, next_chunk};
use super::{digest, history, survey};
use crate::diff::RowDigest;
use crate::diff::compare::Seen;
use crate::link::{Comparable, Range, Refused, Source, Span, Sums, Wanted};
use crate::model::chunk::Chunk;
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::model::schema::{SqliteSchema, SqliteTable};
use crate::plan::capture::remove_ours;
use crate::plan::route::{Route, ScanOrder};
use crate::plan::survey::TableSurvey;
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

#[derive(Clone)]
pub struct SqliteSource {
    file: Arc<SqliteFile>,
    idle: Arc<Mutex<Vec<Connection>>>,
    limit: ChunkLimit,
    followed: Option<Arc<Followed>>,
}

/// What scans see to where changes are followed afterwards.
struct Followed {
    hardener: Hardener,
    /// The migration's token.
    token: String,
    /// Where the target stood when its first chunk was loaded.
    since: Position,
}

impl SqliteSource {
    pub fn new(file: SqliteFile, limit: ChunkLimit) -> SqliteSource {
        SqliteSource { file: Arc::new(file), idle: Arc::new(Mutex::new(Vec::new())), limit, followed: None }
    }

    /// Scans then give out only chunks that would survive a power cut, and of one history: what is followed afterwards never names a row
    /// that the source forgot, so the target would keep it for good.
    #[must_use]
    pub fn followed(self, token: &str, since: Position) -> SqliteSource {
        let hardener = Hardener::new(self.file.path());
        let followed = Some(Arc::new(Followed { hardener, token: token.to_owned(), since }));
        SqliteSource { followed, ..self }
    }

    pub fn file(&self) -> &SqliteFile {
        &self.file
    }

    /// The application's schema: what is ours in it is left out.
    pub async fn introspect(&self) -> Result<SqliteSchema, Fault> {
        let mut schema = self.read(super::introspect::introspect).await?;
        remove_ours(&mut schema);
        Ok(schema)
    }

    /// Reads a span of a table for the survey; `blank` holds the columns' learners, and `told` hears of the rows of each turn.
    pub async fn survey(
        &self,
        table: Arc<SqliteTable>,
        span: Span,
        blank: TableSurvey,
        told: mpsc::Sender<u64>,
    ) -> Result<TableSurvey, Fault> {
        let read_time = self.limit.read_time;
        self.read(move |db| {
            let turns = Turns { read_time, ended: &|rows| tell(&told, rows) };
            survey::survey_span(db, &table, (span, blank), &turns)
        })
        .await
    }

    /// Spans of a table that can be read side by side; one where it has no rowid.
    pub async fn spans_of(&self, table: &SqliteTable, want: usize) -> Result<Vec<Span>, Fault> {
        self.cut(&table.name, &ScanOrder::declared(table), want).await
    }

    async fn cut(&self, table: &str, scan: &ScanOrder, want: usize) -> Result<Vec<Span>, Fault> {
        match scan {
            ScanOrder::Rowid { name, .. } => {
                let (table, rowid) = (table.to_owned(), name.clone());
                self.read(move |db| survey::spans(db, &table, &rowid, want)).await
            }
            ScanOrder::Key { .. } | ScanOrder::Whole => Ok(vec![Span::default()]),
        }
    }

    /// Works with a reader on a blocking thread.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let source = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let db = source.take()?;
            let done = work(&db);
            source.idle().push(db);
            done
        });
        match task.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(Fault::fatal("stopped", "read the source").with_source(cancelled)),
            },
        }
    }

    /// Closes the readers in stock: an idle one would spoil the application's own backups.
    pub fn release(&self) {
        self.idle().clear();
    }

    fn take(&self) -> Result<Connection, Fault> {
        let idle = self.idle().pop();
        match idle {
            Some(db) => Ok(db),
            None => self.file.open_reader(),
        }
    }

    /// A thread that panicked while holding the stock left whole connections in it.
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has stopped listening has stopped waiting for the rest too.
fn tell(told: &mpsc::Sender<u64>, rows: u64) {
    let _gone = told.blocking_send(rows);
}

impl Followed {
    /// A chunk of a snapshot that continues the history of the range's last one.
    fn next_chunk(&self, db: &Connection, range: &Range, limit: ChunkLimit) -> Result<Chunk, Fault> {
        let failed = |error| from_sqlite("read a chunk in a snapshot of its own", error);
        let snapshot = db.unchecked_transaction().map_err(failed)?;
        let newest = history::confirm(&snapshot, &self.token, range.seen.unwrap_or(self.since))?;
        let mut chunk = next_chunk(&snapshot, &range.route, (range.span, &range.after), limit)?;
        snapshot.commit().map_err(failed)?;
        self.hardener.harden()?;
        chunk.newest = Some(newest);
        Ok(chunk)
    }
}

impl Source for SqliteSource {
    async fn spans(&self, route: &Arc<Route>, want: usize) -> Result<Vec<Span>, Fault> {
        self.cut(&route.source, &route.scan, want).await
    }

    async fn scan(&self, range: Range, chunks: mpsc::Sender<Chunk>) -> Result<(), Fault> {
        let (limit, followed) = (self.limit, self.followed.clone());
        self.read(move |db| {
            let mut range = range;
            loop {
                let chunk = match &followed {
                    Some(followed) => followed.next_chunk(db, &range, limit)?,
                    None => next_chunk(db, &range.route, (range.span, &range.after), limit)?,
                };
                let ends = chunk.ends_range;
                range.after.clone_from(&chunk.last_key);
                range.seen = chunk.newest;
                if chunks.blocking_send(chunk).is_err() || ends {
                    return Ok(());
                }
            }
        })
        .await
    }
}

impl Comparable for SqliteSource {
    async fn sums(
        &self,
        route: &Arc<Route>,
        (span, buckets): (Span, usize),
        told: Option<mpsc::Sender<u64>>,
    ) -> Result<Sums, Fault> {
        let (route, read_time) = (Arc::clone(route), self.limit.read_time);
        self.read(move |db| {
            let ended = |rows| told.iter().for_each(|told| tell(told, rows));
            digest::sums(db, &route, (span, buckets), &Turns { read_time, ended: &ended })
        })
        .await
    }

    async fn rows(&self, route: &Arc<Route>, wanted: &Wanted) -> Result<Vec<Seen>, Fault> {
        let (route, wanted, read_time) = (Arc::clone(route), wanted.clone(), self.limit.read_time);
        self.read(move |db| digest::rows(db, &route, &wanted, read_time)).await
    }

    /// A source refuses no rows.
    async fn refused(&self, _route: &Arc<Route>, _span: Span) -> Result<Refused, Fault> {
        Ok(Refused::default())
    }

    async fn tuples(
        &self,
        route: &Arc<Route>,
        span: Span,
        digests: &[RowDigest],
    ) -> Result<Vec<(RowDigest, Vec<u8>)>, Fault> {
        let (route, digests, read_time) = (Arc::clone(route), digests.to_vec(), self.limit.read_time);
        self.read(move |db| digest::tuples(db, &route, (span, &digests), read_time)).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canon::{Codec, Form, Zone};
    use crate::model::name::PgName;
    use crate::model::schema::Affinity;
    use crate::model::types::Type;
    use crate::plan::route::{ColumnRoute, Identity};
    use std::path::Path;
    use std::time::Duration;

    fn range() -> Range {
        let id = ColumnRoute {
            source: Some("id".into()),
            affinity: Affinity::Integer,
            target: "id".into(),
            type_oid: 20,
            type_sql: "bigint".into(),
            codec: Codec::new(Type::Int8, Form::Native, Zone::Utc),
            not_null: true,
        };
        let route = Route {
            source: "t".into(),
            target: PgName::new("public", "t"),
            columns: vec![id],
            scan: ScanOrder::Rowid { name: "rowid".into(), column: Some(0) },
            identity: Identity::Columns(vec![0]),
        };
        Range { id: 1, route: Arc::new(route), span: Span::default(), after: Vec::new(), seen: None }
    }

    const LIMIT: ChunkLimit = ChunkLimit { bytes: 1 << 20, read_time: Duration::from_secs(1) };
    /// A row, and a change table that stands at 1.
    const SOURCE: &str = "create table t (id integer primary key); insert into t values (1);
        create table _liteferry_control (migration text, epoch integer); insert into _liteferry_control values ('token', 1);
        create table _liteferry_change (seq integer primary key, tbl, nonce); insert into _liteferry_change values (1, 0, 10)";

    fn write(path: &Path, sql: &str) {
        Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }

    fn at(seq: i64, nonce: i64) -> Position {
        Position { epoch: 1, seq, nonce }
    }

    /// How the scan ended, and the rows it gave out.
    async fn scan(source: SqliteSource, seen: Option<Position>) -> (Option<&'static str>, usize) {
        let (sender, mut chunks) = mpsc::channel(8);
        let ended = source.scan(Range { seen, ..range() }, sender).await;
        let mut rows = 0;
        while let Some(chunk) = chunks.recv().await {
            rows += chunk.rows();
        }
        (ended.err().map(|fault| fault.code), rows)
    }

    #[tokio::test]
    async fn a_chunk_that_a_power_cut_could_undo_is_not_given_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        write(&path, SOURCE);
        // Nothing for SQLite to find, and nothing that could be synced.
        std::os::unix::fs::symlink("a.db-wal", directory.path().join("a.db-wal")).unwrap();
        let file = SqliteFile::examine(&path, Duration::from_secs(1)).unwrap();
        assert_eq!(scan(SqliteSource::new(file.clone(), LIMIT), None).await, (None, 1));
        let followed = SqliteSource::new(file, LIMIT).followed("token", at(1, 10));
        assert_eq!(scan(followed, None).await, (Some("source_disk"), 0));
    }

    #[tokio::test]
    async fn a_chunk_of_another_history_than_the_one_before_it_is_not_given_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        write(&path, SOURCE);
        let file = SqliteFile::examine(&path, Duration::from_secs(1)).unwrap();
        let followed = || SqliteSource::new(file.clone(), LIMIT).followed("token", at(1, 10));
        assert_eq!(scan(followed(), None).await, (None, 1));
        assert_eq!(scan(followed(), Some(at(2, 20))).await, (Some("seq_regressed"), 0));
        write(&path, "insert into _liteferry_change values (2, 0, 21)");
        assert_eq!(scan(followed(), Some(at(2, 20))).await, (Some("history_fork"), 0));
        write(&path, "update _liteferry_change set nonce = 20 where seq = 2");
        assert_eq!(scan(followed(), Some(at(2, 20))).await, (None, 1));
    }
}
