//! Databases in places that SQLite cannot share safely, or that nobody may write to: one clear line each, nothing left behind, and no more
//! is refused than must be. Skipped, with a word why, where this machine lets nobody mount.

use crate::support::daemon::Daemon;
use crate::support::disk::{Mounted, SmallDisk};
use crate::support::{Output, TempDb, command, database, finished, liteferry, sqlite};
use rusqlite::Connection;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A database in this directory, which its application has closed.
fn database_in(dir: &Path, journal: &str) -> String {
    let path = dir.join("app.db");
    let sql = format!(
        "pragma journal_mode = {journal}; create table t (id integer primary key, v text); insert into t values (1, 'a')"
    );
    let db = Connection::open(&path).expect("SQLite opens a new file");
    db.execute_batch(&sql).expect("it can be written");
    path.display().to_string()
}

#[track_caller]
fn names(output: &Output, code: &str) {
    let lines: Vec<&str> = output.stderr.lines().filter(|line| line.contains(code)).collect();
    assert_eq!(lines.len(), 1, "{output:#?}");
    assert!(output.stderr.contains('→'), "it says what to do: {output:#?}");
}

fn files(dir: &Path) -> Vec<String> {
    let entries = dir.read_dir().expect("a directory can be listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn where_nobody_may_write_a_wal_database_is_refused_by_name_and_one_with_a_rollback_journal_is_read() {
    let target = database();
    for (journal, code) in [("wal", "source_permission"), ("delete", "")] {
        let Some(disk) = SmallDisk::mount(8 << 20, (0, 0)) else { return };
        let source = database_in(disk.path(), journal);
        disk.turn_read_only();
        for command in ["check", "copy"] {
            let output = liteferry(&[command, "--source", &source, "--target", &target.url]);
            if code.is_empty() {
                output.exits_with(0);
            } else {
                names(&output.exits_with(1), code);
            }
        }
        // Capture writes, whatever the journal.
        let (temp, state) =
            (TempDb::at(Path::new(&source)), tempfile::tempdir().expect("a directory can be made"));
        let followed = database();
        let mut daemon =
            Daemon::start_in(state.path(), &temp, &followed.url, &["--set", "source.journal=any"]);
        assert_eq!(daemon.halted(), "source_permission", "{}", daemon.log());
        assert_eq!(files(disk.path()), ["app.db"]);
        disk.turn_writable();
        daemon.until(|status| status["phase"] == "dual-write" && status["run"]["state"] == "running");
    }
}

const OVERLAY: &str = "mkdir \"$1/lower\" \"$1/upper\" \"$1/work\" &&
    mount -t overlay -o \"lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work\" overlay \"$2\"";

#[test]
fn a_database_on_an_overlay_is_followed_and_noted() {
    let Some(disk) = SmallDisk::mount(8 << 20, (0, 0)) else { return };
    let Some(overlay) = Mounted::by(OVERLAY, &disk.path().display().to_string()) else { return };
    let (source, target) = (database_in(overlay.path(), "wal"), database());
    let output = liteferry(&["check", "--source", &source, "--target", &target.url]).exits_with(0);
    assert!(output.stdout.contains("source_overlay"), "{output:#?}");
    liteferry(&["copy", "--source", &source, "--target", &target.url]).exits_with(0);
    assert_eq!(files(overlay.path()), ["app.db"]);
}

/// The least that a process must answer for a file to be there.
const SERVER: &str = r#"
import ctypes, os, stat, struct, sys
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"test", sys.argv[1].encode(), b"fuse.test", 0, options) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
def attributes(node):
    mode, size = (stat.S_IFDIR | 0o755, 0) if node == 1 else (stat.S_IFREG | 0o644, 4096)
    return struct.pack("<6Q10I", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
while True:
    try:
        asked = os.read(fuse, 1 << 20)
    except OSError:
        break
    _, what, unique, node = struct.unpack("<IIQQ", asked[:24])
    error, answer = 0, b""
    if what == 26:
        answer = struct.pack("<4I2H2I", 7, 31, 65536, 0, 0, 0, 131072, 0).ljust(64, b"\0")
    elif what == 1 and asked[40:].split(b"\0")[0] == b"app.db":
        answer = struct.pack("<4Q2I", 2, 0, 1, 1, 0, 0) + attributes(2)
    elif what == 1:
        error = 2
    elif what == 3:
        answer = struct.pack("<Q2I", 1, 0, 0) + attributes(node)
    elif what in (2, 42):
        continue
    else:
        error = 38
    os.write(fuse, struct.pack("<IiQ", 16 + len(answer), -error, unique) + answer)
"#;
const SERVED: &str = "{ python3 -c \"$1\" \"$2\" & while ! grep -q \" $2 \" /proc/self/mountinfo; do kill -0 $! || exit 1; sleep 0.02; done; }";

#[test]
fn a_file_system_that_a_process_serves_is_refused_by_its_name() {
    let Some(served) = Mounted::by(SERVED, SERVER) else { return };
    let (source, target) = (served.path().join("app.db").display().to_string(), database());
    for command in ["check", "copy"] {
        let output = liteferry(&[command, "--source", &source, "--target", &target.url]).exits_with(1);
        names(&output, "source_filesystem");
        assert!(output.stderr.contains("fuse.test"), "{output:#?}");
    }
}

/// A setting is a text; whatever a name that is none would be turned into names another file.
#[test]
fn a_path_that_is_not_utf8_is_refused_as_that_and_a_link_to_it_is_followed() {
    let file = sqlite("create table t (id integer primary key); insert into t values (1)");
    let named = file.path.with_file_name(OsStr::from_bytes(b"caf\xe9.db"));
    let link = file.path.with_file_name("link.db");
    std::fs::rename(&file.path, &named).expect("renamed");
    symlink(&named, &link).expect("linked");
    let target = database();
    let plain = ["--target", &target.url];
    let mut flag = command(&[&["check"], &plain[..]].concat());
    flag.arg("--source").arg(&named);
    let mut variable = command(&[&["check"], &plain[..]].concat());
    variable.env("LITEFERRY__SOURCE__PATH", &named);
    for mut program in [flag, variable] {
        let told = finished(program.output().expect("it runs")).exits_with(78).stderr;
        assert!(told.contains("is not UTF-8") && told.contains("symbolic link"), "{told}");
    }
    liteferry(&[&["copy", "--source", &link.display().to_string()], &plain[..]].concat()).exits_with(0);
}
