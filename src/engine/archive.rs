//! The archive of the source: a copy by SQLite's own backup, compressed, its checksum beside it, and opened once more before it counts.
//!
//! It appears under its name only when it is whole.

use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::phase::gate::{Place, Seen};
use crate::sqlite::backup::{self, unwritable};
use crate::sqlite::connect::{SqliteFile, free_bytes};
use rustix::fs::Access;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    pub path: PathBuf,
    /// Of the compressed file, as `sha256sum` prints it.
    pub sha256: String,
    pub bytes: u64,
}

/// Makes the archive, or finds that it is there; `tick` is called while work goes on.
pub fn archive(file: &SqliteFile, path: &Path, tick: &dyn Fn()) -> Result<Archive, Fault> {
    if !path.exists() {
        let copy = path.with_extension("copy");
        let packed = path.with_extension("part");
        backup::copy(file, &copy, tick)?;
        backup::take_ours_out(&copy)?;
        let made = compress(&copy, &packed, tick).and_then(|()| verify(&packed, &copy, tick));
        remove(&copy)?;
        made?;
        std::fs::rename(&packed, path).map_err(|error| unwritable(path, error))?;
    }
    let (sha256, bytes) = checksum(path, tick)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let sums = path.with_extension("sha256");
    std::fs::write(&sums, format!("{sha256}  {name}\n")).map_err(|error| unwritable(&sums, error))?;
    Ok(Archive { path: path.to_owned(), sha256, bytes })
}

/// Where archives of a source are, and how their names begin.
pub fn archived_as(source: &Path, archive: Option<&Path>) -> (PathBuf, String) {
    let dir = archive.unwrap_or(source.parent().unwrap_or(source));
    let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    (dir.to_owned(), format!("{}.liteferry-", shortened(&name)))
}

/// What there is to be known of the directory without writing there.
pub fn place(source: &Path, archive: Option<&Path>) -> Place {
    let (directory, _) = archived_as(source, archive);
    // Where the file has holes, or the file system compresses it, so has and does the copy.
    let on_disk = |file: std::fs::Metadata| file.len().min(file.blocks().saturating_mul(512));
    let seen = match closed(&directory) {
        Some(why) => Seen::Closed(why),
        None => Seen::Open {
            free_bytes: free_bytes(&directory),
            copy_bytes: source.metadata().map(on_disk).unwrap_or_default(),
        },
    };
    Place { directory: directory.display().to_string(), seen }
}

fn closed(directory: &Path) -> Option<String> {
    match directory.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("no such directory".to_owned()),
        Err(error) => return Some(error.to_string()),
        Ok(it) if !it.is_dir() => return Some("not a directory".to_owned()),
        Ok(_) => {}
    }
    let refused = rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!("we may not write there: {}", io::Error::from(refused)))
}

/// Told while there is time: it is wanted at the end, when nobody thinks of it any more.
pub fn unwritable_yet(place: &Place) -> Option<Finding> {
    let Seen::Closed(why) = &place.seen else { return None };
    let text = format!("the cleanup could not write the archive of SQLite there: {why}");
    let remedy = "make it a directory that the daemon may write to, or name another by [cleanup] archive; it is wanted by the cleanup alone, \
                  whose gate `archive` stays shut until then";
    Some(Finding::warning("archive_unwritable", &place.directory, text).with_remedy(remedy))
}

/// File systems take names of 255 bytes. The longest that is made of this one has 32 more: that of the journal of the copy that is packed.
fn shortened(name: &str) -> &str {
    const BYTES_MAX: usize = 255 - 32;
    &name[..name.floor_char_boundary(BYTES_MAX)]
}

pub fn report_path(archive: &Path) -> PathBuf {
    archive.with_extension("report.json")
}

const LEVEL: i32 = 3;

fn compress(copy: &Path, packed: &Path, tick: &dyn Fn()) -> Result<(), Fault> {
    let write = || -> io::Result<()> {
        let mut out = zstd::Encoder::new(File::create(packed)?, LEVEL)?;
        out.include_checksum(true)?;
        pump(&mut File::open(copy)?, &mut out, tick)?;
        out.finish()?.sync_all()
    };
    write().map_err(|error| unwritable(packed, error))
}

/// Unpacks it again, and has SQLite look through every page.
fn verify(packed: &Path, copy: &Path, tick: &dyn Fn()) -> Result<(), Fault> {
    let unpack = || -> io::Result<()> {
        let mut out = File::create(copy)?;
        pump(&mut zstd::Decoder::new(File::open(packed)?)?, &mut out, tick)
    };
    unpack().map_err(|error| unwritable(copy, error))?;
    backup::check(copy)
}

fn checksum(path: &Path, tick: &dyn Fn()) -> Result<(String, u64), Fault> {
    let mut sum = Sum { hasher: Sha256::new(), bytes: 0 };
    let read = || -> io::Result<()> { pump(&mut File::open(path)?, &mut sum, tick) };
    let mut read = read;
    read().map_err(|error| unwritable(path, error))?;
    Ok((format!("{:x}", sum.hasher.finalize()), sum.bytes))
}

struct Sum {
    hasher: Sha256,
    bytes: u64,
}

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pump(from: &mut impl Read, to: &mut impl Write, tick: &dyn Fn()) -> io::Result<()> {
    let mut block = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut block)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&block[..read])?;
        tick();
    }
}

fn remove(path: &Path) -> Result<(), Fault> {
    std::fs::remove_file(path).map_err(|error| unwritable(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_of_a_long_name_has_a_name_that_a_file_can_have() {
        assert_eq!(shortened("app.db"), "app.db");
        let journal = format!("{}.liteferry-01234567.copy-journal", shortened(&"x".repeat(247)));
        assert_eq!(journal.len(), 255);
        assert_eq!(shortened(&"é".repeat(120)), "é".repeat(111));
    }
}
