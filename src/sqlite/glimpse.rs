//! Which file lies under a path, and how long it is, without a question for its times.
//!
//! Where somebody has asked for them, Linux (6.13 and later) notes the time of the next write by itself, and not once a tick of its clock: the
//! writer then has more to do, and so has whoever syncs the file.

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
use rustix::io::Errno;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub struct Glimpse {
    pub device: u64,
    pub inode: u64,
    pub bytes: u64,
}

impl Glimpse {
    pub fn of(path: &Path) -> io::Result<Glimpse> {
        match statx(CWD, path, AtFlags::empty(), StatxFlags::INO | StatxFlags::SIZE) {
            Ok(seen) => Ok(Glimpse {
                device: makedev(seen.stx_dev_major, seen.stx_dev_minor),
                inode: seen.stx_ino,
                bytes: seen.stx_size,
            }),
            // An old kernel, or a container's old rules.
            Err(Errno::NOSYS) => {
                let seen = path.metadata()?;
                Ok(Glimpse { device: seen.dev(), inode: seen.ino(), bytes: seen.len() })
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::thread::sleep;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_write_after_a_glimpse_notes_no_time_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db-wal");
        let file = File::create_new(&path).unwrap();
        let keeps_the_time = || {
            file.write_all_at(b"a page", 0).unwrap();
            sleep(Duration::from_micros(200));
            assert_eq!(Glimpse::of(&path).unwrap().bytes, 6);
            // The kernel's clock and ours differ by some nanoseconds.
            let before = SystemTime::now() - Duration::from_micros(100);
            file.write_all_at(b"a page", 0).unwrap();
            path.metadata().unwrap().modified().unwrap() < before
        };
        // Between both writes the clock may tick.
        assert!((0..50).any(|_| keeps_the_time()));
    }

    #[test]
    fn it_is_the_file_that_the_kernel_names() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("app.db"), folder.path().join("link"));
        std::fs::write(&path, "a page").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let (seen, by_link, kernels) =
            (Glimpse::of(&path).unwrap(), Glimpse::of(&link).unwrap(), path.metadata().unwrap());
        assert_eq!((seen.device, seen.inode, seen.bytes), (kernels.dev(), kernels.ino(), 6));
        assert_eq!((by_link.device, by_link.inode), (seen.device, seen.inode));
        assert!(Glimpse::of(&folder.path().join("none")).is_err());
    }
}
