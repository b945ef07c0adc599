//! `detach`: takes what is ours out of the SQLite database, whether daemon and PostgreSQL run or not.

use super::client::Client;
use super::confirm::confirm;
use super::output::{complain, say};
use super::session::{load_settings, source, start_logging};
use super::{Ending, Failure, Shared, print};
use crate::model::fault::Fault;
use crate::plan::capture::{CHANGE, CONTROL, is_named_as_a_pin};
use crate::settings::Settings;
use crate::sqlite::capture;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::control::is_closed;
use clap::Args;
use serde_json::json;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct DetachArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Detach even where that opens SQLite to writes beside PostgreSQL
    #[arg(long)]
    open_sqlite: bool,
}

/// How long the application may take to end its transaction.
const WRITER_WAIT: Duration = Duration::from_secs(30);

pub async fn detach(shared: &Shared, args: &DetachArgs) -> Result<Ending, Failure> {
    let settings = load_settings(shared)?;
    start_logging(&settings);
    let file = SqliteFile::examine(
        &source(&settings)?,
        Duration::from_millis(settings.source.busy_timeout_ms.into()),
    )?;
    let path = file.path().display().to_string();
    // Closed before the question: a connection must not stay in the application's way while a person thinks.
    let reader = file.open_reader()?;
    let installed = capture::installed(&reader)?;
    let closed = is_closed(&reader)?;
    drop(reader);
    if closed && !args.open_sqlite {
        return Err(Fault::fatal("writes_in_postgres", format!("detach from {path}"))
            .with_remedy(
                "the application's writes have moved to PostgreSQL, and without liteferry's guards SQLite would take them again beside \
                 it: `liteferry cleanup` ends the migration, `liteferry rollback` goes back; --open-sqlite detaches all the same",
            )
            .into());
    }
    let mut removed = Vec::new();
    if !installed.is_empty() {
        warn(&settings).await;
        if !args.yes {
            confirm(&format!("take {} objects of liteferry out of {path}", installed.len())).await?;
        }
        removed = capture::detach(&file.open_writer(WRITER_WAIT)?, &|| {})?;
    }
    if shared.json {
        say(&format!("{:#}\n", json!({ "source": path, "removed": removed })))?;
    } else if removed.is_empty() {
        say(&format!("nothing of liteferry is in {}\n", print::shown(&path)))?;
    } else {
        say(&format!("taken out of {}:\n{}", print::shown(&path), told(&removed)))?;
    }
    Ok(Ending::Well)
}

/// By kind: a table has five triggers, or more, and --json names them all.
fn told(removed: &[String]) -> String {
    let (tables, others): (Vec<&str>, Vec<&str>) =
        removed.iter().map(String::as_str).partition(|name| [CHANGE, CONTROL].contains(name));
    let (indexes, triggers): (Vec<&str>, Vec<&str>) =
        others.into_iter().partition(|name| is_named_as_a_pin(name));
    let counted = |number: usize, one: &str, more: &str| match number {
        0 => None,
        1 => Some(format!("  1 {one}\n")),
        number => Some(format!("  {number} {more}\n")),
    };
    let lines = [
        (!tables.is_empty()).then(|| format!("  {}\n", tables.join(", "))),
        counted(triggers.len(), "trigger", "triggers"),
        counted(indexes.len(), "empty index", "empty indexes"),
    ];
    lines.into_iter().flatten().collect()
}

/// Whoever listens or not, what is ours must come out.
async fn warn(settings: &Settings) {
    match Client::of_source(settings).await {
        Ok(None) => {}
        Ok(Some(_)) => complain(
            "liteferry: the daemon that follows this database will halt with capture_missing; what is written from then on does not \
             reach the target, and to follow again begins anew\n",
        ),
        Err(_) => complain(
            "liteferry: a daemon listens, but does not say which database it follows; if it is this one, it will halt with \
             capture_missing\n",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_out_is_told_by_kind() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let many: Vec<String> = (1..=177).map(|id| format!("_liteferry_{id}_ai")).collect();
        let all = [names(&["_liteferry_change", "_liteferry_control"]), many, names(&["_liteferry_pin_3"])]
            .concat();
        assert_eq!(told(&all), "  _liteferry_change, _liteferry_control\n  177 triggers\n  1 empty index\n");
        assert_eq!(told(&names(&["_liteferry_guard_1_i"])), "  1 trigger\n");
    }
}
