//! A power cut, as the disk sees it: what a file system has not written yet is gone. The source lies in an image that is mounted with
//! a very late write-back; a copy of the image is what a cut leaves. Whatever PostgreSQL has must be in every such copy.

use crate::daemon::{Daemon, Recipe, send_signal};
use crate::oracle;
use crate::random::Random;
use crate::schema::{SCHEMA, filling};
use crate::server::Server;
use crate::writer::Writer;
use rusqlite::{Connection, OptionalExtension};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What the cuts took away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    cuts: usize,
    /// Cuts after which SQLite had forgotten commits that it had acknowledged.
    forgetful: usize,
    changes: i64,
}

/// An ext4 in a file, unmounted when dropped.
struct Disk {
    image: PathBuf,
    place: PathBuf,
}

/// A number and its nonce: one change of one history.
type At = (i64, i64);

/// Nothing is written back by itself while a test runs.
const OPTIONS: &str = "loop,commit=600";
const IMAGE_BYTES: u64 = 96 << 20;
const DATABASE: &str = "cut";
const BULK_ROWS: usize = 3_000;
const WAIT_MAX: Duration = Duration::from_secs(300);

/// `None` where this machine lets nobody mount.
pub fn cut_the_power(folder: &Path, cuts: usize, random: &mut Random) -> Option<Losses> {
    let disk = Disk::make(folder)?;
    let source = disk.place.join("source.db");
    let db = Connection::open(&source).expect("SQLite opens a new file");
    db.execute_batch(SCHEMA).expect("SQLite takes the schema");
    db.execute_batch(&filling(BULK_ROWS)).expect("SQLite takes the rows");
    drop(db);
    assert!(done("sync", &[]), "sync");
    let server = Server::start();
    let create = format!("create database {DATABASE} template template0 encoding 'UTF8' locale 'C'");
    server.query("postgres", &create).expect("a database can be made");
    let sets = vec!["http.listen=127.0.0.1:0".to_owned()];
    let url = server.url(DATABASE).replace("?application_name=test", "");
    let recipe = Recipe { source: source.clone(), url, logs: folder.to_owned(), sets };
    let mut daemon = recipe.start(0);
    let mut writers: Vec<Writer> =
        (0..2).map(|number| Writer::start(&source, random.next(), number)).collect();
    writers.iter_mut().for_each(Writer::write);
    until(&mut daemon, "changes are followed", || target(&server).is_some_and(|(seq, _)| seq > 100));
    let mut losses = Losses::default();
    for _ in 0..cuts {
        sleep(Duration::from_millis(u64::try_from(20 + random.below(300)).expect("short")));
        let still: Vec<u32> = writers.iter().map(Writer::pid).chain([daemon.pid()]).collect();
        still.iter().for_each(|pid| send_signal(*pid, "STOP"));
        // In this order: what the target has now must have been on disk before.
        let (has, wrote) = (target(&server), newest(&source));
        let cut = disk.copy(folder.join("cut.img"));
        still.iter().for_each(|pid| send_signal(*pid, "CONT"));
        losses.see(&cut.mount(folder.join("cut")).expect("an image can be mounted"), has, wrote);
    }
    // The last one is lived through: the machine comes back with what was on disk.
    writers.into_iter().for_each(Writer::kill);
    daemon.kill();
    let cut = disk.copy(folder.join("last.img"));
    let place = disk.place.clone();
    drop(disk);
    let _disk = cut.mount(place).expect("an image can be mounted");
    let left = newest(&source);
    let mut daemon = recipe.start(1);
    until(&mut daemon, "the target has all that was left", || target(&server).is_some_and(|has| has == left));
    oracle::compare(&source, &server, DATABASE).unwrap_or_else(|difference| panic!("{difference}"));
    daemon.kill();
    Some(losses)
}

impl Losses {
    fn see(&mut self, cut: &Disk, has: Option<At>, wrote: At) {
        let (seq, nonce) = has.expect("the server is there");
        let source = cut.place.join("source.db");
        let left = newest(&source);
        let db = Connection::open(&source).expect("SQLite opens what is left");
        let found =
            db.query_row("select nonce from _liteferry_change where seq = ?1", [seq], |row| row.get(0));
        let found: Option<i64> = found.optional().expect("SQLite reads what is left");
        assert_eq!(
            found,
            Some(nonce),
            "PostgreSQL has change {seq}; the disk ends at {left:?}, SQLite was at {wrote:?}"
        );
        let sound: String =
            db.query_row("pragma integrity_check", [], |row| row.get(0)).expect("SQLite checks itself");
        assert_eq!(sound, "ok");
        self.cuts += 1;
        self.forgetful += usize::from(left.0 < wrote.0);
        self.changes += wrote.0 - left.0;
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Losses { cuts, forgetful, changes } = self;
        write!(
            out,
            "power cuts {cuts}, of which {forgetful} made SQLite forget {changes} acknowledged changes in all; PostgreSQL had none of them"
        )
    }
}

struct Image(PathBuf);

impl Image {
    fn mount(self, place: PathBuf) -> Option<Disk> {
        fs::create_dir_all(&place).expect("a directory can be made");
        let (image, at) = (self.0.display().to_string(), place.display().to_string());
        done("mount", &["-o", OPTIONS, &image, &at]).then(|| Disk { image: self.0, place })
    }
}

impl Disk {
    fn make(folder: &Path) -> Option<Disk> {
        let image = folder.join("disk.img");
        let file = fs::File::create(&image).expect("a file can be made");
        file.set_len(IMAGE_BYTES).expect("a file can be sparse");
        let made = done("mkfs.ext4", &["-q", "-F", &image.display().to_string()]);
        if made { Image(image).mount(folder.join("disk")) } else { None }
    }

    /// What a cut would leave now. Whoever writes must stand still.
    fn copy(&self, image: PathBuf) -> Image {
        fs::copy(&self.image, &image).expect("an image can be copied");
        Image(image)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let place = self.place.display().to_string();
        // A process that is just being killed may still be in there; then the machine unmounts it when it is gone.
        let _ = done("umount", &[&place]) || done("umount", &["--lazy", &place]);
    }
}

fn done(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn until(daemon: &mut Daemon, what: &str, truth: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !truth() {
        if let Some(complaint) = daemon.complaint() {
            panic!("{complaint}");
        }
        assert!(daemon.ended().is_none(), "the daemon ended: {}", daemon.log.display());
        assert!(Instant::now() < deadline, "waited in vain until {what}: {}", daemon.log.display());
        sleep(Duration::from_millis(20));
    }
}

fn target(server: &Server) -> Option<At> {
    let rows =
        server.query(DATABASE, "select seq, nonce from liteferry.follow where phase = 'dual-write'").ok()?;
    let number = |at: usize| rows.first()?[at].as_deref()?.parse().ok();
    Some((number(0)?, number(1)?))
}

fn newest(source: &Path) -> At {
    let db = Connection::open(source).expect("SQLite opens the source");
    let sql = "select seq, nonce from _liteferry_change order by seq desc limit 1";
    db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("the change table is there")
}
