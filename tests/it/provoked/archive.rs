//! The directory of the archive: told of before it is wanted, and waited for once it is.

use super::{SHOP, halts};
use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{application, liteferry};
use serde_json::Value;
use std::path::{Path, PathBuf};

impl Case {
    fn archiving_in(&self, directory: &Path) -> Daemon {
        let mut daemon = self.validated(&["--set", &format!("cleanup.archive={}", directory.display())]);
        daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
        daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
        daemon
    }

    fn cleanup(&self) -> String {
        let name = self.source.path.file_name().expect("a file has a name").to_string_lossy();
        format!(r#"{{"to":"cleanup","confirm":"{name}"}}"#)
    }

    /// In the way of the copy that is compressed: known beforehand to nobody.
    fn obstacle(&self, directory: &Path) -> PathBuf {
        let token = self.rows("select left(token, 8) from liteferry.follow")[0][0]
            .clone()
            .expect("a migration has a token");
        let name = self.source.path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let path = directory.join(format!("{name}.liteferry-{token}.copy"));
        std::fs::create_dir(&path).expect("a directory can be made");
        path
    }
}

fn gate(daemon: &Daemon) -> Value {
    let (_, told) = daemon.get("/v1/gates?to=cleanup").expect("it answers");
    let told: Value = serde_json::from_str(&told).expect("it is JSON");
    let found =
        told["gates"].as_array().and_then(|gates| gates.iter().find(|gate| gate["name"] == "archive"));
    found.expect("the gate is there").clone()
}

#[test]
fn a_directory_that_is_not_there_is_told_of_long_before_it_is_wanted() {
    let case = Case::new(SHOP);
    let absent = case.source.path.with_extension("archive");
    let place = format!("cleanup.archive={}", absent.display());
    let source = case.source.path.display().to_string();
    let check =
        liteferry(&["check", "--json", "--source", &source, "--target", &case.target.url, "--set", &place])
            .exits_with(0)
            .json();
    let warned = |told: &Value| {
        told["findings"].as_array().unwrap().iter().any(|finding| {
            finding["code"] == "archive_unwritable"
                && finding["subject"] == absent.display().to_string().as_str()
        })
    };
    assert!(warned(&check), "{check:#}");

    let daemon = case.archiving_in(&absent);
    assert!(daemon.log().contains("archive_unwritable"), "{}", daemon.log());
    let shut = gate(&daemon);
    assert_eq!((&shut["ok"], &shut["known"]), (&false.into(), &true.into()), "{shut:#}");
    let (status, told) = daemon.post("/v1/phase", &case.cleanup());
    assert_eq!((status, &told["code"]), (409, &"gates_closed".into()), "{told:#}");
    assert_eq!(daemon.stop(), Some(0));

    let mut daemon = case.daemon(&["--set", &place]);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    assert!(daemon.log().contains("archive_unwritable"), "each start says it: {}", daemon.log());
    std::fs::create_dir(&absent).unwrap();
    daemon.until(|status| status["gates"]["cleanup"]["open"] == true);
    daemon.obeys("/v1/phase", &case.cleanup());
    daemon.until(|status| status["phase"] == "done");
    assert!(std::fs::read_dir(&absent).unwrap().count() > 1);
}

#[test]
fn an_archive_that_cannot_be_written_waits_for_another_place() {
    let case = Case::new(SHOP);
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = case.archiving_in(directory.path());
    case.obstacle(directory.path());
    daemon.until(|status| status["gates"]["cleanup"]["open"] == true);
    daemon.obeys("/v1/phase", &case.cleanup());
    halts(&mut daemon, "archive_unwritable", &["cleanup.archive", "start the daemon again"]);
    assert_eq!(daemon.stop(), Some(0));
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "done");
    let left = "select count(*) from sqlite_schema where name like '%liteferry%'";
    let left: i64 = application(&case.source.path).query_row(left, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn an_archive_that_could_not_be_written_is_once_it_can_be() {
    let case = Case::new(SHOP);
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = case.archiving_in(directory.path());
    let obstacle = case.obstacle(directory.path());
    daemon.until(|status| status["gates"]["cleanup"]["open"] == true);
    daemon.obeys("/v1/phase", &case.cleanup());
    halts(&mut daemon, "archive_unwritable", &["tried again every minute"]);
    std::fs::remove_dir(&obstacle).unwrap();
    daemon.until(|status| status["phase"] == "done");
}
