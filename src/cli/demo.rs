//! `demo`: the whole of it, with nothing prepared. `--rehearse` runs unattended and checks itself. It touches no database but its own.

use super::live::{self, Audience};
use super::output::say;
use super::progress::Progress;
use super::rehearsal::{expect, rehearsal_failed};
use super::{Ending, Failure, Shared, print};
use crate::engine::copy::{Copied, Listing, copy, validate_alone};
use crate::engine::earlier::Earlier;
use crate::engine::prepare::{Request, Values, Widening};
use crate::engine::report::{Report, Verdict};
use crate::flow::backfill::OnMisfit;
use crate::journal::store::State;
use crate::model::fault::Fault;
use crate::plan::Mode;
use crate::plan::overrides::Overrides;
use crate::postgres::connect::connect;
use crate::postgres::embedded::Cluster;
use crate::sqlite::sample::write_sample;
use crate::sqlite::scan::ChunkLimit;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Run unattended, check every step, leave nothing behind
    #[arg(long)]
    rehearse: bool,
}

const LISTING: Listing = Listing(20);

pub async fn demo(shared: &Shared, args: &DemoArgs) -> Result<Ending, Failure> {
    let dir = Scratch::make()?;
    let walked = walk(shared, args, &dir.0).await;
    dir.remove()?;
    walked
}

/// The demo's directory, gone with the demo however it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Scratch, Fault> {
        let dir = std::env::temp_dir().join(format!("liteferry-demo-{}", std::process::id()));
        match std::fs::create_dir(&dir) {
            Ok(()) => Ok(Scratch(dir)),
            Err(error) => {
                let doing = format!("make directory {}", dir.display());
                Err(Fault::fatal("demo_directory", doing).with_source(error).with_remedy(TEMPORARY))
            }
        }
    }

    fn remove(self) -> Result<(), Fault> {
        std::fs::remove_dir_all(&self.0).map_err(|error| {
            Fault::fatal("demo_directory", format!("remove directory {}", self.0.display()))
                .with_source(error)
                .with_remedy("Remove it by hand: it holds nothing but the demo's databases.")
        })
    }
}

const TEMPORARY: &str = "Name a directory that exists, has room and may be written by TMPDIR; or remove what is there, if it is an earlier demo's.";

impl Drop for Scratch {
    fn drop(&mut self) {
        // Interrupted: nobody is left to be told that something stays behind in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn walk(shared: &Shared, args: &DemoArgs, dir: &Path) -> Result<Ending, Failure> {
    let source = dir.join("shop.db");
    say(&format!("1. a sample SQLite database: {}\n", source.display()))?;
    write_sample(&source)?;
    say(&format!("2. a private PostgreSQL under {}\n", dir.display()))?;
    let cluster = Cluster::start(&dir.join("postgres")).await?;
    let walked = show(&request(source, &cluster), args, &cluster).await;
    if shared.json {
        say(&format!("{:#}\n", serde_json::json!({ "success": matches!(walked, Ok(Ending::Well)) })))?;
    }
    cluster.stop().await?;
    walked
}

fn request(source: PathBuf, cluster: &Cluster) -> Request {
    Request {
        source,
        busy_timeout: Duration::from_secs(5),
        address: Arc::new(cluster.target()),
        schema: "public".into(),
        mode: Mode::Create,
        overrides: Overrides::default(),
        values: Values::Surveyed,
        on_misfit: OnMisfit::Ledger,
        widening: Widening::Never,
        workers: 2,
        partly: None,
        limit: ChunkLimit { bytes: 1 << 20, read_time: Duration::from_millis(500) },
    }
}

async fn show(request: &Request, args: &DemoArgs, cluster: &Cluster) -> Result<Ending, Failure> {
    say("3. liteferry copy: plan, load, indexes, constraints, proof\n\n")?;
    let first = report(copy_once(request).await?)?;
    say(&format!("{}{}", print::report(&first.to_json()), print::findings(&first.findings)))?;
    if !args.rehearse {
        say(
            "\nThe databases are there until you press Enter (the live part follows) or Ctrl-C. Look at them:\n",
        )?;
        say(&format!("  psql '{}'\n", cluster.target().describe()))?;
        say(&format!("  sqlite3 {}\n", request.source.display()))?;
        wait_for_enter().await;
        say("\n4. liteferry run: the shop goes on writing, and every change follows\n")?;
        Box::pin(live::show(request, Audience::Person)).await?;
        return Ok(if first.success() { Ending::Well } else { Ending::Badly });
    }
    rehearse(request, &first).await
}

/// Spoils the target, expects to be told, mends it, and expects to be told that too.
async fn rehearse(request: &Request, first: &Report) -> Result<Ending, Failure> {
    expect("the copy is equal but for the ledger", first.verdict() == Verdict::EqualWithLedger)?;
    let session = connect(&request.address).await?;
    let run = async |sql: &str| -> Result<(), Failure> {
        session
            .batch_execute(sql)
            .await
            .map_err(|error| Failure::Fault(crate::postgres::fault::of(error, "spoil the demo's target")))
    };
    say("\n4. spoiling the target: one cell changed, one row removed, one row added\n")?;
    run("update public.customers set name = name || ' ' where id = 77; delete from public.order_lines where order_id = 5 and position = 1;
         insert into public.notes (id, body) values (99, 'extra')").await?;
    let spoiled = report(validate_alone(request, LISTING, &[], &Progress::new()).await?)?;
    say(&print::report(&spoiled.to_json()))?;
    let found = |table: &str| spoiled.tables.iter().find(|verdict| verdict.route.source == table);
    expect("the changed cell is found", found("customers").is_some_and(|verdict| verdict.different == 1))?;
    expect("the removed row is found", found("order_lines").is_some_and(|verdict| verdict.missing == 1))?;
    expect("the added row is found", found("notes").is_some_and(|verdict| verdict.extra == 1))?;
    say("\n5. mending it, and copying a second time\n")?;
    run("update public.customers set name = rtrim(name) where id = 77; delete from public.notes where id = 99;
         insert into public.order_lines select 5, 1, sku, quantity from (values ('SKU-00183', 5)) as v (sku, quantity)").await?;
    let Copied::Done { report: second, earlier } = copy_once(request).await? else {
        return Err(rehearsal_failed("the second copy is not blocked").into());
    };
    say(&print::report(&second.to_json()))?;
    expect("the second copy finds the first complete", earlier == Some(State::Complete))?;
    expect("the mended target is equal again", second.verdict() == Verdict::EqualWithLedger)?;
    say("\n6. liteferry run: the shop goes on writing, and every change follows\n")?;
    Box::pin(live::show(request, Audience::Nobody)).await?;
    say("\nthe rehearsal went well\n")?;
    Ok(Ending::Well)
}

async fn copy_once(request: &Request) -> Result<Copied, Failure> {
    let progress = Progress::new();
    let copied = copy(request, (Earlier::Resume, LISTING), &progress).await;
    progress.finish();
    Ok(copied?)
}

fn report(copied: Copied) -> Result<Report, Failure> {
    match copied {
        Copied::Done { report, .. } => Ok(report),
        Copied::Blocked(findings) => {
            say(&print::findings(&findings))?;
            Err(rehearsal_failed("the demo's plan has no blockers").into())
        }
    }
}

async fn wait_for_enter() {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    // Without a terminal there is nobody to wait for.
    if let Ok(Err(error)) = read.await {
        tracing::debug!(%error, "standard input cannot be read");
    }
}
