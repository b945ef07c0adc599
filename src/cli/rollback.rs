//! `rollback`: the way back to SQLite. Ordinarily the daemon walks it; where PostgreSQL is gone for good, `--without-target` opens SQLite
//! again by itself, and says what may be lost.

use super::client::Client;
use super::commands::{self, Moving};
use super::confirm::confirm;
use super::output::say;
use super::session::{load_settings, source, start_logging};
use super::{Ending, Failure, Shared, print};
use crate::model::fault::Fault;
use crate::sqlite::capture::fence::Opening;
use crate::sqlite::connect::SqliteFile;
use crate::sqlite::control::{self, Control, Writes};
use clap::Args;
use serde_json::json;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    moving: Moving,
    /// PostgreSQL is gone for good: open SQLite again as it is, without what did not come back in time
    #[arg(long)]
    without_target: bool,
}

const OPEN_WAIT: Duration = Duration::from_secs(10);

pub async fn rollback(shared: &Shared, args: &RollbackArgs) -> Result<Ending, Failure> {
    if args.without_target {
        return without_target(shared, &args.moving).await;
    }
    commands::rollback(shared, &args.moving).await
}

async fn without_target(shared: &Shared, moving: &Moving) -> Result<Ending, Failure> {
    let doing = "open SQLite to the application's writes without PostgreSQL";
    let settings = load_settings(shared)?;
    start_logging(&settings);
    let busy = Duration::from_millis(settings.source.busy_timeout_ms.into());
    let file = SqliteFile::examine(&source(&settings)?, busy)?;
    let path = file.path().display().to_string();
    let found = control::read(&file.open_reader()?)?;
    let Some(Control { migration, writes: Writes::Postgres, reverse, .. }) = found else {
        let text = "SQLite takes the application's writes already: nothing was done\n";
        say(&if shared.json {
            format!("{:#}\n", json!({ "source": path, "opened": false }))
        } else {
            text.into()
        })?;
        return Ok(Ending::Well);
    };
    if Client::of_source(&settings).await?.is_some() {
        return Err(Fault::fatal("daemon_running", doing)
            .with_remedy("a daemon follows this database: stop it first, or, if PostgreSQL answers it, run `liteferry rollback`")
            .into());
    }
    let batches = reverse.map_or(0, |reached| reached.at.seq);
    if moving.dry_run() {
        say(&if shared.json {
            let would = json!({ "source": path, "opened": false, "batches_taken_from_postgres": batches });
            format!("{would:#}\n")
        } else {
            format!("{}\n", would(&path, batches))
        })?;
        return Ok(Ending::Well);
    }
    if !moving.is_confirmed() {
        confirm(&would(&path, batches)).await?;
    }
    Opening::begin(&file, &migration, OPEN_WAIT)?.commit()?;
    if shared.json {
        say(&format!(
            "{:#}\n",
            json!({ "source": path, "opened": true, "batches_taken_from_postgres": batches })
        ))?;
    } else {
        say(&format!(
            "{} takes the application's writes again. It holds what {batches} batches brought from PostgreSQL; what was written there \
             after the last of them is not in it.\nIf PostgreSQL comes back, let nothing write there: `liteferry run --resync` makes it \
             equal to SQLite again.\n",
            print::shown(&path)
        ))?;
    }
    Ok(Ending::Well)
}

fn would(path: &str, batches: i64) -> String {
    format!(
        "open {path} to the application's writes, as it is after {batches} batches from PostgreSQL; what was written there since is lost"
    )
}
