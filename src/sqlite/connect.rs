//! The one place where connections to the source are opened, and what is refused before that.
//!
//! The file is looked at by `stat` only: opening and closing it other than through SQLite would drop the locks that
//! this process holds on it (POSIX locks belong to the process, not to the descriptor). No connection made here can
//! run a trigger or expand a view, and only the writer's can write.

use super::fault::from_sqlite;
use super::halves;
use super::mathematics;
use super::mount::{Kind, mount_of};
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::Access;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Older libraries lose commits when a checkpoint meets a log that another process has restarted.
const LIBRARY_MIN: i32 = 3_051_003;

/// A database file that passed every check that needs no connection.
#[derive(Clone, Debug)]
pub struct SqliteFile {
    path: PathBuf,
    /// What we were told to follow, where symbolic links lead from there to the file.
    links: Option<PathBuf>,
    busy_timeout: Duration,
    findings: Vec<Finding>,
}

type BusyHandler = fn(i32) -> bool;

/// How much of what a schema may say is believed to be meant so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Schema {
    Defended,
    AsItIs,
}

impl SqliteFile {
    /// Resolves the path and refuses what SQLite could not share safely with the application.
    pub fn examine(path: &Path, busy_timeout: Duration) -> Result<SqliteFile, Fault> {
        check_library(rusqlite::version_number())?;
        let resolved = path.canonicalize().map_err(|error| unreachable_file(path, error))?;
        let metadata = resolved.metadata().map_err(|error| unreachable_file(path, error))?;
        check_file(&resolved, &metadata)?;
        check_owner(&resolved, &metadata)?;
        let findings = check_mount(&resolved)?;
        // Kept whole, so that a link stays a link wherever the process goes.
        let named = std::path::absolute(path).map_err(|error| unreachable_file(path, error))?;
        let links = (named != resolved).then_some(named);
        Ok(SqliteFile { path: resolved, links, busy_timeout, findings })
    }

    /// The application opens the file by this name, and by it another one as soon as a link is turned.
    pub(super) fn links(&self) -> Option<&Path> {
        self.links.as_deref()
    }

    /// Absolute, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long the file is; nothing where it is gone.
    pub fn bytes(&self) -> Option<u64> {
        self.path.metadata().ok().map(|file| file.len())
    }

    /// What is odd about the place of the file, yet no reason to refuse it.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// A connection that reads. Opened for writing all the same, as any application would: only then does SQLite roll back
    /// a crashed application's journal, and only then does the last one to close a WAL database leave no -wal behind.
    /// `query_only` refuses every write of ours.
    pub fn open_reader(&self) -> Result<Connection, Fault> {
        let db = self.open_unaided_reader()?;
        db.collation_needed(stand_in)
            .map_err(|error| from_sqlite(format!("open {}", self.path.display()), error))?;
        Ok(db)
    }

    /// One that knows no more of the application's own collations than a writer does.
    pub fn open_unaided_reader(&self) -> Result<Connection, Fault> {
        let db = self.open(self.busy_timeout)?;
        db.pragma_update(None, "query_only", true)
            .map_err(|error| from_sqlite(format!("open {}", self.path.display()), error))?;
        self.check_writable(&db)?;
        Ok(db)
    }

    /// A connection that writes what is ours: no trigger fires for it and no foreign key acts. `wait` bounds how long it asks for the
    /// write lock; nobody must wait long behind us, so neither do we.
    pub fn open_writer(&self, wait: Duration) -> Result<Connection, Fault> {
        let db = self.open(wait)?;
        if db.is_readonly("main").map_err(|error| from_sqlite("open the source for writing", error))? {
            return Err(Fault::fatal("source_permission", format!("write to {}", self.path.display()))
                .with_remedy("Capture needs write permission on the database file and its directory."));
        }
        Ok(db)
    }

    fn open(&self, wait: Duration) -> Result<Connection, Fault> {
        self.connect(wait).map_err(|fault| match fault.code {
            "source_cannot_open" => self.unwritable_directory(&fault).unwrap_or(fault),
            _ => fault,
        })
    }

    /// SQLite says no more than that it cannot open a file; most often it is one that it would have to make.
    fn unwritable_directory(&self, fault: &Fault) -> Option<Fault> {
        let directory = self.path.parent()?;
        let refused = rustix::fs::access(directory, Access::WRITE_OK).err()?;
        let remedy = format!(
            "SQLite keeps files beside the database while it is open, and we may not write to {}: run as the owner of the database, \
             on a file system that is not mounted read-only.",
            directory.display()
        );
        let told = Fault::fatal("source_permission", fault.doing.clone()).with_remedy(remedy);
        Some(told.with_source(std::io::Error::from(refused)))
    }

    /// A schema that an application made with fewer precautions (`sqlite-utils enable-counts` puts triggers on the tables of a full text
    /// index) is taken for a broken one by a defensive connection alone.
    fn connect(&self, wait: Duration) -> Result<Connection, Fault> {
        self.connect_as(Schema::Defended, wait).or_else(|fault| match fault.code {
            "source_corrupt" => self.connect_as(Schema::AsItIs, wait).map_err(|_| fault),
            _ => Err(fault),
        })
    }

    fn connect_as(&self, schema: Schema, wait: Duration) -> Result<Connection, Fault> {
        let doing = || format!("open {}", self.path.display());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let db =
            Connection::open_with_flags(&self.path, flags).map_err(|error| from_sqlite(doing(), error))?;
        restrict(&db, schema, wait).map_err(|error| from_sqlite(doing(), error))?;
        mathematics::register(&db).map_err(|error| from_sqlite(doing(), error))?;
        halves::register(&db).map_err(|error| from_sqlite(doing(), error))?;
        // The first read tells whether this is a database, whether it is locked, and whether its schema can be parsed.
        schema_version(&db)?;
        db.prepare("select 1 from sqlite_schema").map_err(|error| from_sqlite(doing(), error))?;
        Ok(db)
    }

    /// A reader of a WAL database that may not write cannot take part in its locks, and leaves -wal and -shm behind.
    fn check_writable(&self, db: &Connection) -> Result<(), Fault> {
        let doing = || format!("share {} with the application", self.path.display());
        let failed = |error| from_sqlite(doing(), error);
        let mode = journal_mode(db)?;
        if mode == "wal" && db.is_readonly("main").map_err(failed)? {
            return Err(Fault::fatal("source_permission", doing()).with_remedy(
                "A database in WAL mode can be read safely only with write permission on the file and its directory. Having looked, SQLite has left a -wal and a \
                 -shm beside it that nobody may write either: remove both, while nobody has the database open, before it is written again.",
            ));
        }
        Ok(())
    }
}

/// The path from the root, past links, as far as it leads: that of a file that is gone too, or it would be taken for another one.
pub fn past_links(path: &Path) -> PathBuf {
    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..LINKS_MAX {
        if let Ok(found) = path.canonicalize() {
            return found;
        }
        let Ok(next) = path.read_link() else { break };
        path = path.parent().map_or_else(|| next.clone(), |from| from.join(&next));
    }
    let mut above = path.ancestors().skip(1);
    let found = above.find_map(|above| Some(above.canonicalize().ok()?.join(path.strip_prefix(above).ok()?)));
    found.unwrap_or(path)
}

/// As many as the kernel follows.
const LINKS_MAX: usize = 40;

/// What an ordinary user may still write on the file's volume; nothing where the system does not tell.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let volume = rustix::fs::statvfs(path).ok()?;
    volume.f_bavail.checked_mul(volume.f_frsize)
}

/// `wal`, `delete`, `truncate`, `persist`, `memory` or `off`.
pub fn journal_mode(db: &Connection) -> Result<String, Fault> {
    db.pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(|error| from_sqlite("read journal_mode", error))
}

/// Moves whenever another connection has committed; compared only with itself, on one connection.
pub fn data_version(db: &Connection) -> Result<i64, Fault> {
    db.pragma_query_value(None, "data_version", |row| row.get(0))
        .map_err(|error| from_sqlite("read data_version", error))
}

/// Moves whenever the schema has changed.
pub fn schema_version(db: &Connection) -> Result<i64, Fault> {
    db.prepare_cached("pragma main.schema_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| from_sqlite("read schema_version", error))
}

/// From here on.
pub(super) fn wait_at_most(db: &Connection, bound: Duration) -> rusqlite::Result<()> {
    db.busy_handler(busy_handler(bound))
}

/// SQLite opens a tree that is kept in an order of the application's own only if that order has a name. A reader's statements walk such
/// trees from end to end and compare nothing by them (`plan::route::ScanOrder`, `plan::capture`); a writer has no stand-in, for it would
/// put rows where the application does not look for them.
pub(super) fn stand_in(db: &Connection, collation: &str) -> rusqlite::Result<()> {
    db.create_collation(collation, str::cmp)
}

/// An empty database that nobody else sees, under the rules of every other one.
pub(super) fn in_memory() -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    restrict(&db, Schema::Defended, Duration::ZERO)?;
    mathematics::register(&db)?;
    halves::register(&db)?;
    Ok(db)
}

fn restrict(db: &Connection, schema: Schema, busy_timeout: Duration) -> rusqlite::Result<()> {
    db.busy_handler(busy_handler(busy_timeout))?;
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, schema == Schema::Defended),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        db.set_db_config(setting, on)?;
    }
    for limit in
        [Limit::SQLITE_LIMIT_ATTACHED, Limit::SQLITE_LIMIT_TRIGGER_DEPTH, Limit::SQLITE_LIMIT_WORKER_THREADS]
    {
        db.set_limit(limit, 0)?;
    }
    // Checkpoints are the application's business as long as it writes; mapped memory would turn its truncation of the file into a SIGBUS.
    db.execute_batch(
        "pragma wal_autocheckpoint = 0; pragma mmap_size = 0; pragma cell_size_check = on; \
         pragma temp_store = memory; pragma cache_size = -4096;",
    )
}

fn check_library(version: i32) -> Result<(), Fault> {
    if version >= LIBRARY_MIN {
        return Ok(());
    }
    Err(Fault::fatal("sqlite_library_old", format!("use SQLite {version} beside another process"))
        .with_remedy("Build with the bundled SQLite, 3.51.3 or later."))
}

fn unreachable_file(path: &Path, error: std::io::Error) -> Fault {
    let (code, remedy) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => (
            "source_missing",
            "Check source.path: it must name an existing file (in a container: inside the mounted directory).",
        ),
        ErrorKind::PermissionDenied => (
            "source_permission",
            "Run as the owner of the database; every directory above it must be open to that user.",
        ),
        _ => ("source_disk", "The path cannot be looked up: see the cause."),
    };
    Fault::fatal(code, format!("find {}", path.display())).with_remedy(remedy).with_source(error)
}

fn check_file(path: &Path, metadata: &Metadata) -> Result<(), Fault> {
    let doing = || format!("read {}", path.display());
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "a device, pipe or socket" };
        return Err(Fault::fatal("source_not_a_file", doing())
            .with_remedy(format!("source.path names {what}: name the database file.")));
    }
    if metadata.nlink() > 1 {
        return Err(Fault::fatal("source_hard_links", doing()).with_remedy(
            "The file has a second name (hard link); under each name SQLite keeps another journal. Remove all names but one.",
        ));
    }
    Ok(())
}

/// In WAL mode even a reader makes -wal and -shm files. Made by a foreign user they would lock the application out, and
/// only opening the database tells its mode: so this is settled before.
fn check_owner(path: &Path, file: &Metadata) -> Result<(), Fault> {
    let parent = path.parent().unwrap_or(path);
    let directory = parent.metadata().map_err(|error| unreachable_file(parent, error))?;
    match effective_uid() {
        Some(uid) if !may_share(uid, file, &directory) => {
            Err(Fault::fatal("source_owner", format!("share {} with the application", path.display())).with_remedy(
                format!(
                    "Run as the owner of the database (uid {}) or as root; or give its directory the setgid bit and the \
                     file mode 0660, with a group that holds both users.",
                    file.uid()
                ),
            ))
        }
        _ => Ok(()),
    }
}

fn check_mount(path: &Path) -> Result<Vec<Finding>, Fault> {
    let Some(mount) = mount_of(path) else { return Ok(Vec::new()) };
    let doing = || format!("trust the locks on {}", path.display());
    if mount.point == path {
        return Err(Fault::fatal("source_file_mount", doing()).with_remedy(
            "The database file itself is a mount, so its -wal and -shm files are not the application's. Mount its directory.",
        ));
    }
    match mount.kind() {
        Kind::Local => Ok(Vec::new()),
        Kind::Overlay => Ok(vec![Finding::note(
            "source_overlay",
            path.display().to_string(),
            "the database lies on an overlay file system: it is seen only from inside this container",
        )
        .with_remedy("Keep the database in a volume.")]),
        Kind::Shared => Err(Fault::fatal("source_filesystem", doing()).with_remedy(format!(
            "The file system ({}) is not local: SQLite's locks and shared memory do not hold there. Run on the machine that \
             holds the disk.",
            mount.fstype
        ))),
    }
}

/// SQLite gives files that root makes to the owner of the database; a shared group works only where new files inherit it.
fn may_share(uid: u32, file: &Metadata, directory: &Metadata) -> bool {
    let setgid = directory.mode() & 0o2000 != 0 && directory.gid() == file.gid();
    let group_writes = file.mode() & 0o060 == 0o060;
    uid == 0 || uid == file.uid() || (setgid && group_writes)
}

/// `Uid: real effective saved fs`. `None` where there is no such file.
fn effective_uid() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// SQLite's own timeout sleeps up to 100 ms between tries and starves beside a busy writer, so we ask often. The driver takes
/// a plain function, which cannot know the timeout: the next longer of these is used.
fn busy_handler(timeout: Duration) -> Option<BusyHandler> {
    const LADDER: [(u64, BusyHandler); 11] = [
        (25, wait::<25>),
        (50, wait::<50>),
        (100, wait::<100>),
        (250, wait::<250>),
        (500, wait::<500>),
        (1_000, wait::<1_000>),
        (2_500, wait::<2_500>),
        (5_000, wait::<5_000>),
        (10_000, wait::<10_000>),
        (30_000, wait::<30_000>),
        (60_000, wait::<60_000>),
    ];
    if timeout.is_zero() {
        return None;
    }
    let longer = LADDER.iter().find(|(ms, _)| Duration::from_millis(*ms) >= timeout);
    Some(longer.unwrap_or(&LADDER[LADDER.len() - 1]).1)
}

/// Whether to try again, after a sleep; `tries` counts those before this one.
fn wait<const MS: u64>(tries: i32) -> bool {
    match pause(u64::from(tries.unsigned_abs()), MS * 1_000) {
        Some(pause) => {
            std::thread::sleep(pause);
            true
        }
        None => false,
    }
}

/// 0.2 ms for the first 2 ms, 1 ms up to 50 ms, then 5 ms; nothing once the bound is slept through.
fn pause(tries: u64, bound_us: u64) -> Option<Duration> {
    let (slept_us, pause_us) = match tries {
        0..10 => (tries * 200, 200),
        10..58 => (2_000 + (tries - 10) * 1_000, 1_000),
        _ => (50_000 + (tries - 58) * 5_000, 5_000),
    };
    (slept_us < bound_us).then(|| Duration::from_micros(pause_us))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Instant;
    use tempfile::TempDir;

    fn examine(path: &Path) -> Result<SqliteFile, Fault> {
        SqliteFile::examine(path, Duration::from_millis(50))
    }

    fn code<T>(result: Result<T, Fault>) -> &'static str {
        match result {
            Ok(_) => "ok",
            Err(fault) => {
                assert!(!fault.remedy.is_empty(), "{fault}");
                fault.code
            }
        }
    }

    /// A database with one table, written by an ordinary application.
    fn database(directory: &TempDir, journal_mode: &str) -> (PathBuf, Connection) {
        let path = directory.path().join("app.db");
        let app = Connection::open(&path).unwrap();
        app.execute_batch(&format!(
            "pragma journal_mode = {journal_mode}; create table t(a); insert into t values (1);"
        ))
        .unwrap();
        (path, app)
    }

    fn files(directory: &TempDir) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_that_cannot_be_a_shared_database_are_refused_by_name() {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(code(examine(&at("missing"))), "source_missing");
        assert_eq!(code(examine(directory.path())), "source_not_a_file");
        assert_eq!(code(examine(Path::new("/dev/null"))), "source_not_a_file");
        fs::write(at("plain"), "").unwrap();
        assert_eq!(code(examine(&at("plain"))), "ok");
        assert_eq!(code(examine(&at("plain/below"))), "source_missing");
        symlink(at("plain"), at("link")).unwrap();
        assert_eq!(examine(&at("link")).unwrap().path(), at("plain").canonicalize().unwrap());
        symlink(at("nowhere"), at("dangling")).unwrap();
        assert_eq!(code(examine(&at("dangling"))), "source_missing");
        fs::hard_link(at("plain"), at("second")).unwrap();
        assert_eq!(code(examine(&at("plain"))), "source_hard_links");
    }

    #[test]
    fn an_empty_file_is_an_empty_database_and_stays_empty() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("empty.db");
        fs::write(&path, "").unwrap();
        let db = examine(&path).unwrap().open_reader().unwrap();
        assert_eq!(schema_version(&db).unwrap(), 0);
        drop(db);
        assert_eq!(path.metadata().unwrap().len(), 0);
        assert_eq!(files(&directory), ["empty.db"]);
    }

    #[test]
    fn what_other_builds_of_sqlite_know_is_known_and_what_the_application_compares_by_is_stood_in_for() {
        let directory = TempDir::new().unwrap();
        let (path, app) = database(&directory, "delete");
        app.execute_batch(
            "create table k(a text primary key collate nocase, b as (abs(a))) without rowid; insert into k(a) values (1.5), (0.5);
             pragma writable_schema = on; update sqlite_schema set sql = replace(replace(sql, 'nocase', 'unicase'), 'abs(', 'floor(')",
        )
        .unwrap();
        drop(app);
        let file = examine(&path).unwrap();
        let read = |db: Connection| -> rusqlite::Result<Vec<f64>> {
            db.prepare("select b from k")?.query_map([], |row| row.get(0))?.collect()
        };
        assert_eq!(read(file.open_reader().unwrap()).unwrap(), [0.0, 1.0]);
        assert!(read(file.open_unaided_reader().unwrap()).is_err());
        assert!(read(file.open_writer(Duration::ZERO).unwrap()).is_err());
    }

    #[test]
    fn what_is_not_a_database_is_told_apart_from_a_broken_one() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("text.db");
        fs::write(&path, "no database at all, ".repeat(100)).unwrap();
        assert_eq!(code(examine(&path).unwrap().open_reader()), "source_not_sqlite");

        let (path, app) = database(&directory, "delete");
        app.execute_batch("pragma writable_schema = on; update sqlite_schema set sql = 'create table t('")
            .unwrap();
        drop(app);
        let fault = examine(&path).unwrap().open_reader().unwrap_err();
        assert_eq!(fault.code, "source_corrupt");
    }

    #[test]
    fn triggers_on_the_tables_of_a_full_text_index_are_no_damage() {
        let directory = TempDir::new().unwrap();
        let (path, app) = database(&directory, "wal");
        app.execute_batch(
            "create virtual table f using fts5(a); create table counts(n);
             create trigger counted after insert on f_data begin update counts set n = n + 1; end",
        )
        .unwrap();
        let file = examine(&path).unwrap();
        let rows = |db: Connection| db.query_row("select count(*) from t", [], |row| row.get::<_, i64>(0));
        assert_eq!(rows(file.open_reader().unwrap()).unwrap(), 1);
        assert_eq!(rows(file.open_writer(Duration::ZERO).unwrap()).unwrap(), 1);
    }

    #[test]
    fn a_reader_cannot_write_and_leaves_nothing_behind() {
        for mode in ["wal", "delete", "truncate", "persist"] {
            let directory = TempDir::new().unwrap();
            let (path, app) = database(&directory, mode);
            drop(app);
            let before = (files(&directory), fs::read(&path).unwrap());
            let file = examine(&path).unwrap();
            let db = file.open_reader().unwrap();
            assert_eq!(db.query_row("select a from t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
            for sql in ["insert into t values (2)", "drop table t", "pragma user_version = 7", "vacuum"] {
                assert!(db.execute_batch(sql).is_err(), "{mode} {sql}");
            }
            assert!(db.execute_batch("attach ':memory:' as other").is_err());
            drop(db);
            assert_eq!((files(&directory), fs::read(&path).unwrap()), before, "{mode}");
        }
    }

    #[test]
    fn the_last_to_close_a_wal_database_leaves_its_rows_in_the_file() {
        let directory = TempDir::new().unwrap();
        let (path, app) = database(&directory, "wal");
        let db = examine(&path).unwrap().open_reader().unwrap();
        let before = data_version(&db).unwrap();
        app.execute_batch("insert into t values (2)").unwrap();
        assert_ne!(data_version(&db).unwrap(), before);
        drop(app);
        assert_eq!(files(&directory), ["app.db", "app.db-shm", "app.db-wal"]);
        drop(db);
        assert_eq!(files(&directory), ["app.db"]);
        let rows: i64 = Connection::open(&path)
            .unwrap()
            .query_row("select count(*) from t", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_hot_journal_is_rolled_back() {
        let directory = TempDir::new().unwrap();
        let (path, app) = database(&directory, "delete");
        // A crash between the first write into the file and the commit, taken from a live transaction.
        app.execute_batch("pragma cache_size = 1; pragma cache_spill = 1; begin; insert into t select randomblob(3000) \
             from (with recursive n(i) as (select 1 union all select i + 1 from n where i < 500) select i from n)").unwrap();
        let crashed = TempDir::new().unwrap();
        for name in ["app.db", "app.db-journal"] {
            fs::copy(directory.path().join(name), crashed.path().join(name)).unwrap();
        }
        app.execute_batch("rollback").unwrap();
        assert!(crashed.path().join("app.db").metadata().unwrap().len() > path.metadata().unwrap().len());
        let db = examine(&crashed.path().join("app.db")).unwrap().open_reader().unwrap();
        assert_eq!(db.query_row("select count(*) from t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        assert_eq!(files(&crashed), ["app.db"]);
    }

    #[test]
    fn a_locked_database_is_waited_for_and_then_reported() {
        let directory = TempDir::new().unwrap();
        let (path, app) = database(&directory, "delete");
        app.execute_batch("begin exclusive").unwrap();
        let file = examine(&path).unwrap();
        let started = Instant::now();
        assert_eq!(code(file.open_reader()), "source_busy");
        assert!(started.elapsed() >= Duration::from_millis(50));
        app.execute_batch("commit").unwrap();
        assert_eq!(code(file.open_reader()), "ok");
    }

    #[test]
    fn views_and_triggers_are_out_of_reach() {
        let directory = TempDir::new().unwrap();
        let (path, app) = database(&directory, "delete");
        app.execute_batch("create view v as select * from t").unwrap();
        let db = examine(&path).unwrap().open_reader().unwrap();
        assert!(db.prepare("select * from v").is_err());
    }

    #[test]
    fn pauses_grow_and_end_at_the_bound() {
        let total = |bound_us| (0..).map_while(|tries| pause(tries, bound_us)).sum::<Duration>();
        for ms in [50, 250, 5_000] {
            assert_eq!(total(ms * 1_000), Duration::from_millis(ms));
        }
        assert_eq!(pause(9, 50_000), Some(Duration::from_micros(200)));
        assert_eq!(pause(10, 50_000), Some(Duration::from_millis(1)));
        assert_eq!(pause(58, 60_000), Some(Duration::from_millis(5)));
        assert!(busy_handler(Duration::ZERO).is_none());
        assert!(busy_handler(Duration::from_secs(3_600)).is_some());
    }

    #[test]
    fn another_user_needs_an_inherited_group() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("app.db");
        fs::write(&path, "").unwrap();
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let owner = path.metadata().unwrap().uid();
        let other = owner + 1;
        for (directory_mode, file_mode, uid, expected) in [
            (0o755, 0o644, owner, true),
            (0o755, 0o644, 0, true),
            (0o775, 0o660, other, false),
            (0o2775, 0o640, other, false),
            (0o2775, 0o660, other, true),
        ] {
            chmod(directory.path(), directory_mode);
            chmod(&path, file_mode);
            let (file, above) = (path.metadata().unwrap(), directory.path().metadata().unwrap());
            assert_eq!(may_share(uid, &file, &above), expected, "{directory_mode:o} {file_mode:o} {uid}");
        }
        assert_eq!(effective_uid(), Some(owner));
    }

    #[test]
    fn a_file_that_is_gone_has_the_path_that_it_had() {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().canonicalize().unwrap().join(name);
        fs::create_dir(at("data")).unwrap();
        fs::write(at("data/app.db"), "").unwrap();
        symlink("data", at("current")).unwrap();
        symlink("current/app.db", at("link")).unwrap();
        let named = || ["data/app.db", "current/app.db", "link"].map(|name| past_links(&at(name)));
        let there = named();
        assert_eq!(there, [at("data/app.db"), at("data/app.db"), at("data/app.db")]);
        fs::remove_file(at("data/app.db")).unwrap();
        assert_eq!(named(), there);
        fs::remove_dir(at("data")).unwrap();
        assert_eq!(past_links(&at("data/app.db")), there[0]);

        symlink("round", at("round")).unwrap();
        assert_eq!(past_links(&at("round")), at("round"));
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(past_links(Path::new("not/there.db")), here.join("not/there.db"));
    }

    #[test]
    fn a_library_without_the_checkpoint_fix_is_refused() {
        assert_eq!(code(check_library(3_051_002)), "sqlite_library_old");
        assert_eq!(code(check_library(rusqlite::version_number())), "ok");
    }
}
