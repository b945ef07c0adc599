//! A source whose writes were led over to this very target before, and cleaned up after. Of the migration nothing may be left but the
//! report beside its archive; a daemon that is started again, or a copy that is made, with the settings of then, would put old rows over the
//! application's.

use crate::engine::archive::archived_as;
use crate::engine::prepare::{Prepared, Request, Values, prepare};
use crate::flow::progress::Unwatched;
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::plan::{Mode, TableRole};
use crate::sqlite::connect::past_links;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// `archive`: the directory that the settings name for archives.
pub fn moved_before(request: &Request, prepared: &Prepared, archive: Option<&Path>) -> Option<Finding> {
    let has_rows =
        |target: &_| prepared.catalog.tables.iter().any(|table| table.name == *target && table.has_rows);
    let mut copied = prepared.plan.tables.iter().filter(|table| table.role == TableRole::Copied);
    if prepared.plan.mode != Mode::Existing || !copied.any(|table| has_rows(&table.route.target)) {
        return None;
    }
    let report = report_of(request, archive)?;
    let text = "the application's writes were moved from here to this target before, and what it has written there since would be overwritten";
    let remedy = format!(
        "there is nothing left to do: stop the daemon for good. To fill the target from SQLite once more all the same, move {} away",
        report.display()
    );
    Some(Finding::blocker("moved_before", request.source.display().to_string(), text).with_remedy(remedy))
}

/// The same for a copy, which nothing else is to be asked of than this, and only where such a report is there.
pub async fn copied_over(request: &Request, archive: Option<&Path>) -> Result<Option<Finding>, Fault> {
    if report_of(request, archive).is_none() {
        return Ok(None);
    }
    let unseen = Request { values: Values::Unseen, ..request.clone() };
    Ok(moved_before(request, &prepare(&unseen, &Unwatched).await?, archive))
}

fn report_of(request: &Request, archive: Option<&Path>) -> Option<PathBuf> {
    let source = past_links(&request.source);
    let target = request.address.describe();
    reports(&source, archive).into_iter().find(|path| is_of(path, (&source, &target)))
}

/// Of cleanups of a database of this name.
fn reports(source: &Path, archive: Option<&Path>) -> Vec<PathBuf> {
    let (dir, start) = archived_as(source, archive);
    // A directory that is not there holds none.
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_report = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(&start) && name.ends_with(".report.json")
    };
    entries.map(|entry| entry.path()).filter(is_report).collect()
}

/// A directory for archives may be several databases', of one name, each with a schema of its own in the target. One that stands beside
/// its archive may have been moved with it.
fn is_of(report: &Path, (source, target): (&Path, &str)) -> bool {
    let text = std::fs::read(report).unwrap_or_default();
    let stands_beside = report.parent() == source.parent();
    serde_json::from_slice::<Value>(&text).is_ok_and(|report| {
        report["target"] == target && (stands_beside || report["source"] == *source.to_string_lossy())
    })
}
