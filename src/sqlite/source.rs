//! SQLite in the roles of a source and of a side to compare.
//!
//! SQLite blocks, so every call works on a blocking thread with a reader taken from a small stock; a reader is given back when the
//! call ends and none outlives the source.

use super::connect::SqliteFile;
use super::harden::Hardener;
use super::scan::{ChunkLimit, Turns, next_chunk};
use super::{digest, survey};
use crate::diff::RowDigest;
use crate::diff::compare::Seen;
use crate::link::{Comparable, Range, Refused, Source, Span, Sums, Wanted};
use crate::model::chunk::Chunk;
use crate::model::fault::Fault;
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
    hardener: Option<Arc<Hardener>>,
}

impl SqliteSource {
    pub fn new(file: SqliteFile, limit: ChunkLimit) -> SqliteSource {
        SqliteSource { file: Arc::new(file), idle: Arc::new(Mutex::new(Vec::new())), limit, hardener: None }
    }

    /// Scans then give out only chunks that would survive a power cut: what is followed afterwards never names a row that the source
    /// forgot, so the target would keep it for good.
    #[must_use]
    pub fn hardened(self) -> SqliteSource {
        let hardener = Some(Arc::new(Hardener::new(self.file.path())));
        SqliteSource { hardener, ..self }
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

impl Source for SqliteSource {
    async fn spans(&self, route: &Arc<Route>, want: usize) -> Result<Vec<Span>, Fault> {
        self.cut(&route.source, &route.scan, want).await
    }

    async fn scan(&self, range: Range, chunks: mpsc::Sender<Chunk>) -> Result<(), Fault> {
        let (limit, hardener) = (self.limit, self.hardener.clone());
        self.read(move |db| {
            let mut after = range.after;
            loop {
                let chunk = next_chunk(db, &range.route, (range.span, &after), limit)?;
                if let Some(hardener) = &hardener {
                    hardener.harden()?;
                }
                let ends = chunk.ends_range;
                after.clone_from(&chunk.last_key);
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
        Range { id: 1, route: Arc::new(route), span: Span::default(), after: Vec::new() }
    }

    /// How the scan ended, and the rows it gave out.
    async fn scan(source: SqliteSource) -> (Option<&'static str>, usize) {
        let (sender, mut chunks) = mpsc::channel(8);
        let ended = source.scan(range(), sender).await;
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
        Connection::open(&path)
            .unwrap()
            .execute_batch("create table t (id integer primary key); insert into t values (1)")
            .unwrap();
        // Nothing for SQLite to find, and nothing that could be synced.
        std::os::unix::fs::symlink("a.db-wal", directory.path().join("a.db-wal")).unwrap();
        let limit = ChunkLimit { bytes: 1 << 20, read_time: Duration::from_secs(1) };
        let file = SqliteFile::examine(&path, Duration::from_secs(1)).unwrap();
        assert_eq!(scan(SqliteSource::new(file.clone(), limit)).await, (None, 1));
        assert_eq!(scan(SqliteSource::new(file, limit).hardened()).await, (Some("source_disk"), 0));
    }
}
