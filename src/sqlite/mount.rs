//! Which file system a path lies on, read from the kernel's list of mounts.
//!
//! Pure but for reading `/proc/self/mountinfo`; it never touches the path itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    pub fstype: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Local,
    /// Coherent once a file was opened for writing; before that, a reader may hold the lower layer's copy.
    Overlay,
    /// Shared between kernels or served by a process: locks and shared memory cannot be trusted.
    Shared,
}

/// `None` where the kernel keeps no such list.
pub fn mount_of(path: &Path) -> Option<Mount> {
    find(&std::fs::read("/proc/self/mountinfo").ok()?, path)
}

impl Mount {
    pub fn kind(&self) -> Kind {
        const SHARED: &[&str] = &[
            "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "gfs2", "gpfs", "lustre",
            "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf",
            "virtiofs", "vmhgfs",
        ];
        match self.fstype.as_str() {
            "overlay" => Kind::Overlay,
            shared if SHARED.contains(&shared) || shared.starts_with("fuse.") => Kind::Shared,
            _ => Kind::Local,
        }
    }
}

/// The longest mount point above the path; of several mounts on one point the last hides the others.
fn find(mountinfo: &[u8], path: &Path) -> Option<Mount> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(parse)
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

/// `id parent major:minor root POINT options [tags…] - FSTYPE source options`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.nth(4)?;
    let fstype = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount {
        point: PathBuf::from(OsString::from_vec(unescape(point))),
        fstype: String::from_utf8_lossy(fstype).into_owned(),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'\\'
            && let Some((digits, after)) = tail.split_at_checked(3)
            && let Ok(digits) = std::str::from_utf8(digits)
            && let Ok(byte) = u8::from_str_radix(digits, 8)
        {
            out.push(byte);
            rest = after;
        } else {
            out.push(*first);
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        23 22 0:21 / /data rw - nfs4 server:/x rw\n\
        24 23 8:2 / /data/local rw master:1 propagate_from:2 - xfs /dev/sdb rw\n\
        25 22 8:1 /var/app.db /srv/app.db rw - ext4 /dev/sda1 rw\n\
        26 22 0:30 / /with\\040space\\134 rw - fuse.sshfs host: rw\n\
        27 22 0:31 / /twice rw - virtiofs tag rw\n\
        28 27 8:3 / /twice rw - btrfs /dev/sdc rw\n\
        29 22 0:40 / /layer rw - overlay overlay rw,lowerdir=/l\n";

    #[test]
    fn the_innermost_mount_holds_the_path() {
        let cases = [
            ("/home/app.db", "/", "ext4", Kind::Local),
            ("/data/app.db", "/data", "nfs4", Kind::Shared),
            ("/database/app.db", "/", "ext4", Kind::Local),
            ("/data/local/app.db", "/data/local", "xfs", Kind::Local),
            ("/srv/app.db", "/srv/app.db", "ext4", Kind::Local),
            ("/with space\\/app.db", "/with space\\", "fuse.sshfs", Kind::Shared),
            ("/twice/app.db", "/twice", "btrfs", Kind::Local),
            ("/layer/app.db", "/layer", "overlay", Kind::Overlay),
        ];
        for (path, point, fstype, kind) in cases {
            let mount = find(MOUNTS, Path::new(path)).unwrap();
            assert_eq!((mount.point.to_str().unwrap(), mount.fstype.as_str()), (point, fstype), "{path}");
            assert_eq!(mount.kind(), kind, "{path}");
        }
    }

    #[test]
    fn lines_that_are_not_mounts_are_no_mounts() {
        for line in ["", "1 2 3", "1 2 3:4 / /x rw", "1 2 3:4 / /x rw -"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(unescape(b"a\\04"), b"a\\04");
    }
}
