//! Where things lie and as whom they are reached: owners, mounts, limits of the kernel, directories, a damaged disk.

use super::{SHOP, halts, refused};
use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::disk::Mounted;
use crate::support::skipped::skipped;
use crate::support::swallow::Swallower;
use crate::support::{Output, application, command, finished, liteferry};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Two users of a group, neither of whom this machine knows.
const APPLICATION: u32 = 64_100;
const MOVER: u32 = 64_101;
const GROUP: u32 = 64_102;

/// Nothing where nobody may do so.
fn give(to: (u32, u32), paths: &[(&Path, u32)]) -> Option<()> {
    for (path, mode) in paths {
        chown(path, Some(to.0), Some(to.1)).ok()?;
        fs::set_permissions(path, Permissions::from_mode(*mode)).ok()?;
    }
    Some(())
}

/// The program itself may lie where only its owner may go.
fn program_in(dir: &Path) -> PathBuf {
    let (ours, program) = (env!("CARGO_BIN_EXE_liteferry"), dir.join("liteferry"));
    let copied = fs::hard_link(ours, &program).is_ok() || fs::copy(ours, &program).is_ok();
    assert!(copied, "the program can be copied");
    program
}

fn check_as((uid, gid): (u32, u32), source: &Path, url: &str) -> Output {
    let mut check = Command::new(source.with_file_name("liteferry"));
    check.arg("check").arg("--source").arg(source).args(["--target", url]);
    finished(check.env_clear().uid(uid).gid(gid).output().expect("it can be started"))
}

#[test]
fn a_stranger_to_the_database_becomes_its_owner_or_one_of_its_group() {
    let case = Case::new(SHOP);
    let path = case.source.path.as_path();
    let dir = path.parent().expect("a file lies somewhere");
    let (application, mover) = ((APPLICATION, APPLICATION), (MOVER, GROUP));
    program_in(dir);
    let Some(()) = give(application, &[(dir, 0o755), (path, 0o644)]) else {
        return skipped("nobody may become somebody else here");
    };
    // The server's socket is not open to everybody.
    refused(check_as(application, path, &case.target.url), "socket_denied", "check the directory's rights");
    let url = Swallower::before(&case.target).url(&case.target);
    refused(check_as(mover, path, &url), "source_owner", "the setgid bit and the file mode 0660");
    check_as(application, path, &url).exits_with(0);
    give((APPLICATION, GROUP), &[(dir, 0o2770), (path, 0o660)]).expect("it could be given before");
    check_as(mover, path, &url).exits_with(0);
}

#[test]
fn a_journal_that_a_crash_left_wants_the_right_to_write() {
    let case = Case::new("create table t (id integer primary key, v text)");
    let path = case.source.path.as_path();
    let dir = path.parent().expect("a file lies somewhere").join("crashed");
    fs::create_dir(&dir).expect("made");
    let db = application(path);
    // The cache holds less than the transaction, so that some of it is in the file already.
    let many = "pragma cache_size = 5; begin;
        with recursive n (i) as (select 1 union all select i + 1 from n where i < 2000) insert into t select i, printf('%.*c', 200, 'x') from n";
    db.execute_batch(many).expect("the application writes");
    let (copy, journal) = (dir.join("source.db"), dir.join("source.db-journal"));
    fs::copy(path, &copy)
        .and_then(|_| fs::copy(path.with_extension("db-journal"), &journal))
        .expect("copied");
    program_in(&dir);
    let owner = (APPLICATION, APPLICATION);
    let above = dir.parent().expect("it has one");
    fs::set_permissions(above, Permissions::from_mode(0o755)).expect("a mode can be set");
    let Some(()) = give(owner, &[(&dir, 0o555), (&copy, 0o444), (&journal, 0o444)]) else {
        return skipped("nobody may become somebody else here");
    };
    let url = Swallower::before(&case.target).url(&case.target);
    refused(
        check_as(owner, &copy, &url),
        "source_hot_journal",
        "give us write permission on the file and its directory",
    );
    give(owner, &[(&dir, 0o755), (&copy, 0o644), (&journal, 0o644)]).expect("it could be given before");
    check_as(owner, &copy, &url).exits_with(0);
    assert!(!journal.exists(), "it was rolled back");
}

#[test]
fn a_file_that_is_itself_a_mount_is_refused_and_its_directory_is_not() {
    let case = Case::new(SHOP);
    let one = "mount -t tmpfs tmpfs \"$2\" && touch \"$2/source.db\" && mount --bind \"$1\" \"$2/source.db\"";
    let Some(mounted) = Mounted::by(one, &case.source.path.display().to_string()) else { return };
    let check = |dir: &Path| {
        let source = dir.join("source.db").display().to_string();
        liteferry(&["check", "--source", &source, "--target", &case.target.url])
    };
    refused(check(mounted.path()), "source_file_mount", "Mount its directory");
    let dir = case.source.path.parent().expect("a file lies somewhere").display().to_string();
    let whole = Mounted::by("mount --bind \"$1\" \"$2\"", &dir).expect("something could be mounted before");
    check(whole.path()).exits_with(0);
}

/// In a user's namespace of its own the kernel's limits can be set for one process.
const LIMIT: &str = "/proc/sys/user/max_inotify_instances";

#[test]
fn a_daemon_that_may_watch_nothing_goes_on_once_it_may() {
    let lower = format!("echo 0 > {LIMIT}; exec \"$@\"");
    let outer = ["unshare", "--user", "--map-root-user", "sh", "-c", &lower, "sh"];
    let able = Command::new(outer[0]).args(&outer[1..]).arg("true").stderr(Stdio::null()).status();
    if !able.is_ok_and(|status| status.success()) {
        return skipped("nobody may have a namespace of his own here");
    }
    let case = Case::new(SHOP);
    let mut daemon =
        Daemon::start_under(&outer, &case.source, &Swallower::before(&case.target).url(&case.target));
    halts(&mut daemon, "watch_failed", &["fs.inotify.max_user_instances", "goes on by itself"]);
    let raise = ["--user", "--preserve-credentials", "--target", &daemon.id().to_string(), "sh", "-c"];
    let raised = Command::new("nsenter").args(raise).arg(format!("echo 64 > {LIMIT}")).status();
    assert!(raised.is_ok_and(|status| status.success()), "the limit can be raised");
    daemon.until(|status| status["run"]["state"] == "running");
    case.app("insert into item values (3, 'c')");
    daemon.drained(&case.source);
}

#[test]
fn a_damaged_index_ends_no_cleanup_until_it_is_mended() {
    let case = Case::new(&format!("{SHOP} create index item_name on item (name)"));
    let daemon = case.led_over();
    assert_eq!(daemon.stop(), Some(0));
    case.app("pragma wal_checkpoint(truncate)");
    let place = "select (rootpage - 1) * (select page_size from pragma_page_size) from sqlite_schema where name = 'item_name'";
    let place: i64 =
        application(&case.source.path).query_row(place, [], |row| row.get(0)).expect("an index has pages");
    let file = File::options().write(true).open(&case.source.path).expect("nobody has it open");
    // The number of fragmented bytes in the page, which nobody needs to read an index.
    file.write_all_at(&[60], u64::try_from(place + 7).expect("a place in a file")).expect("written");
    drop(file);

    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["gates"]["cleanup"]["open"] == true);
    let name = case.source.path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    daemon.obeys("/v1/phase", &format!(r#"{{"to":"cleanup","confirm":"{name}"}}"#));
    halts(
        &mut daemon,
        "archive_corrupt",
        &["Nothing was removed", "pragma integrity_check", "reindex", "start the daemon again"],
    );
    assert_eq!(daemon.stop(), Some(0));
    let looked = |sql: &str| -> String {
        application(&case.source.path).query_row(sql, [], |row| row.get(0)).expect("SQLite looks")
    };
    assert_ne!(looked("pragma integrity_check"), "ok");
    assert_ne!(
        looked("select cast(count(*) as text) from sqlite_schema where name like '%liteferry%'").as_str(),
        "0"
    );
    case.app("reindex");
    assert_eq!(looked("pragma integrity_check"), "ok");
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "done");
}

#[test]
fn a_private_server_and_a_demo_say_which_directory_they_want() {
    let case = Case::new(SHOP);
    let source = case.source.path.display().to_string();
    let data = case.source.path.with_extension("private").join("data");
    fs::create_dir_all(&data).expect("made");
    let state = format!("state.dir={}", data.parent().expect("it has one").display());
    let copy = || liteferry(&["copy", "--source", &source, "--target", "embedded", "--set", &state]);
    fs::write(data.join("notes.txt"), "somebody else's").expect("written");
    refused(copy(), "embedded_failed", "name another state.dir");
    fs::write(data.join("PG_VERSION"), "12\n").expect("written");
    refused(
        copy(),
        "postgres_missing",
        "version 12: install that version's server, or name another state.dir",
    );

    let mut demo = command(&["demo", "--rehearse"]);
    let told = demo.env("TMPDIR", "/nowhere").output().expect("it can be started");
    refused(finished(told), "demo_directory", "TMPDIR");
}
