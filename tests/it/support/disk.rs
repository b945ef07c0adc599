//! A disk so small that a test can fill it: a file system in memory, gone when the test is, however it went. It needs root.

use super::skipped::skipped;
use super::until;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// What was mounted on a directory of its own.
pub struct Mounted {
    dir: TempDir,
    /// Its input ends with us, and then it unmounts.
    guard: Child,
}

pub struct SmallDisk(Mounted);

/// An ext4 in a file, of which nothing is written back by itself while a test runs.
pub struct LateDisk {
    folder: TempDir,
    mounted: Mounted,
}

/// It tells when it may be waited for: a mount that nobody would take away is never made. The script is given an argument and the directory.
const GUARD: &str = r#"
trap '' INT TERM HUP
mounting || exit 1
echo mounted
cat >/dev/null
umount -l "$2"
"#;

impl Mounted {
    /// By a shell's commands. `None`, with a word why, where this machine lets nobody mount.
    pub fn by(mounting: &str, argument: &str) -> Option<Mounted> {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        let dir = tempfile::Builder::new().prefix("liteferry-disk-").permissions(open).tempdir();
        let dir = dir.expect("a temporary directory can be made");
        let script = GUARD.replace("mounting", mounting);
        let mut command = Command::new("sh");
        command.args(["-c", &script, "guard", argument]).arg(dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut guard = command.spawn().expect("a shell can be started");
        let mut told = [0; 7];
        let output = guard.stdout.as_mut().expect("a pipe");
        if std::io::Read::read_exact(output, &mut told).is_ok() {
            return Some(Mounted { dir, guard });
        }
        let refused = guard.wait_with_output().expect("a child ends");
        skipped(&format!("nothing can be mounted: {}", String::from_utf8_lossy(&refused.stderr).trim()));
        None
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl SmallDisk {
    /// Of so many bytes, for that user. `None`, with a word why, where this machine lets nobody mount.
    pub fn mount(bytes: u64, (uid, gid): (u32, u32)) -> Option<SmallDisk> {
        let options = format!("size={bytes},mode=0700,uid={uid},gid={gid}");
        Mounted::by("mount -t tmpfs -o \"$1\" tmpfs \"$2\"", &options).map(SmallDisk)
    }

    /// From here on nobody writes there.
    pub fn turn_read_only(&self) {
        self.turn("remount,ro");
    }

    pub fn turn_writable(&self) {
        self.turn("remount,rw");
    }

    fn turn(&self, options: &str) {
        let turned = Command::new("mount").args(["-o", options]).arg(self.path()).status();
        assert!(turned.expect("mount can be run").success());
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Until not a byte more can be written. Room is made by dropping the answer.
    pub fn fill(&self) -> Ballast {
        let mut names = (0..).map(|number| self.path().join(format!("ballast{number}")));
        let path = names.find(|path| !path.exists()).expect("numbers do not end");
        let mut file = File::create(&path).expect("a file can be made");
        // Large pieces first, then what is left by the byte.
        for piece in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
        Ballast { path }
    }
}

impl LateDisk {
    /// With so much room that no gate is in the way. `None`, with a word why, where this machine lets nobody mount.
    pub fn mount() -> Option<LateDisk> {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let image = folder.path().join("disk.img");
        let file = File::create(&image).expect("a file can be made");
        file.set_len(400 << 20).expect("a file can be sparse");
        if !Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status().is_ok_and(|made| made.success())
        {
            skipped("there is no mkfs.ext4 here");
            return None;
        }
        let disk = LateDisk { mounted: LateDisk::loops(&image)?, folder };
        // Some machines have very few devices, and a cut needs one more.
        LateDisk::loops(&disk.copied()).is_some().then_some(disk)
    }

    pub fn path(&self) -> &Path {
        self.mounted.path()
    }

    /// What a power cut would leave. Whoever writes there stands still.
    pub fn cut(&self) -> Mounted {
        let (copy, mut cut) = (self.copied(), None);
        until("another test lets go of a device", || {
            cut = LateDisk::loops(&copy);
            cut.is_some()
        });
        cut.expect("it was waited for")
    }

    fn copied(&self) -> PathBuf {
        let (image, copy) = (self.folder.path().join("disk.img"), self.folder.path().join("cut.img"));
        let copied = Command::new("cp").arg("--sparse=always").args([&image, &copy]).status();
        assert!(copied.expect("there is a cp").success());
        copy
    }

    fn loops(image: &Path) -> Option<Mounted> {
        Mounted::by("mount -o loop,commit=600 \"$1\" \"$2\"", &image.display().to_string())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _unmounted = self.guard.wait();
    }
}

/// What takes all the room of a disk.
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    pub fn shed(&self, bytes: u64) {
        let file = File::options().write(true).open(&self.path).expect("opened");
        let all = file.metadata().expect("it is there").len();
        file.set_len(all - bytes).expect("cut short");
    }

    pub fn throw_off(self) {
        fs::remove_file(&self.path).expect("removed");
    }
}
