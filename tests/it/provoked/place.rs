//! Where things lie and as whom they are reached: owners, mounts, limits of the kernel, directories, a damaged disk.

use super::{SHOP, halts, refused};
use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::disk::Mounted;
use crate::support::swallow::Swallower;
use crate::support::{application, command, finished, liteferry};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Two users of a group, neither of whom this machine knows.
const APPLICATION: u32 = 64_100;
const MOVER: u32 = 64_101;
const GROUP: u32 = 64_102;

#[test]
fn a_stranger_to_the_database_becomes_its_owner_or_one_of_its_group() {
    let case = Case::new(SHOP);
    let path = &case.source.path;
    let dir = path.parent().expect("a file lies somewhere");
    let owned = |uid, gid, (of_dir, of_file)| {
        [(dir, of_dir), (path.as_path(), of_file)].into_iter().all(|(path, mode)| {
            let owned = chown(path, Some(uid), Some(gid));
            owned.and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode))).is_ok()
        })
    };
    // The program itself may lie where only its owner may go.
    let program = dir.join("liteferry");
    let copied = fs::hard_link(env!("CARGO_BIN_EXE_liteferry"), &program).is_ok()
        || fs::copy(env!("CARGO_BIN_EXE_liteferry"), &program).is_ok();
    assert!(copied, "the program can be copied");
    if !owned(APPLICATION, APPLICATION, (0o755, 0o644)) {
        return println!("skipped: nobody may become somebody else here");
    }
    let source = path.display().to_string();
    // The server's socket is not open to everybody.
    let url = Swallower::before(&case.target).url(&case.target);
    let as_user = |uid, gid| {
        let args = ["check", "--source", &source, "--target", &url];
        let mut check = Command::new(&program);
        finished(check.args(args).env_clear().uid(uid).gid(gid).output().expect("it can be started"))
    };
    refused(as_user(MOVER, GROUP), "source_owner", "the setgid bit and the file mode 0660");
    as_user(APPLICATION, APPLICATION).exits_with(0);
    assert!(owned(APPLICATION, GROUP, (0o2770, 0o660)), "root may do this");
    as_user(MOVER, GROUP).exits_with(0);
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
        return println!("skipped: nobody may have a namespace of his own here");
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
