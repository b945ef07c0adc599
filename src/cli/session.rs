//! What a command works with: settings, the request made of them, and the private PostgreSQL where one is asked for.

use super::{Failure, Shared};
use crate::engine::prepare::{Request, Values, Widening};
use crate::flow::backfill::OnMisfit;
use crate::postgres::embedded::Cluster;
use crate::postgres::password::Secret;
use crate::postgres::url::{Target as Address, TlsMode, UnguardedPassword as Unguarded, holds_password};
use crate::settings::{
    ENVIRONMENT_PREFIX, LogFormat, LogLevel, MisfitPolicy, ORIGIN_COMMAND_LINE, ORIGIN_ENVIRONMENT, Problem,
    Settings, Tls, UnguardedPassword,
};
use crate::sqlite::scan::ChunkLimit;
use crate::telemetry::logging::{self, LevelSwitch, Shape};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub struct Opened {
    pub settings: Settings,
    pub logging: LevelSwitch,
    pub request: Request,
    cluster: Option<Cluster>,
}

pub const EMBEDDED: &str = "embedded";

/// The database that the settings name.
pub fn source(settings: &Settings) -> Result<PathBuf, Failure> {
    let missing = || Problem::new("source.path", "names no database: give --source PATH", "not set");
    settings.source.path.clone().ok_or_else(|| Failure::Settings(vec![missing()]))
}

pub fn load_settings(shared: &Shared) -> Result<Settings, Failure> {
    let mut sets = Vec::new();
    let mut problems = Vec::new();
    for pair in &shared.set {
        match pair.split_once('=') {
            Some((key, value)) => sets.push((key.to_owned(), value.to_owned())),
            None => problems.push(Problem::new(pair.clone(), "is not KEY=VALUE", "--set")),
        }
    }
    let source = shared.source.as_ref().map(|source| source.display().to_string());
    if shared.source.as_ref().is_some_and(|source| source.to_str().is_none()) {
        problems.push(Problem::new("source.path", NOT_UTF8, ORIGIN_COMMAND_LINE));
    }
    let env = environment(&mut problems);
    let flags = [("--source", "source.path", source), ("--target", "target.url", shared.target.clone())];
    for (flag, key, value) in flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))) {
        // Either may be the one that was meant.
        if sets.iter().any(|(set, other)| set == key && *other != value) {
            let text = format!("is given twice, by {flag} and otherwise by --set: leave one of them out");
            problems.push(Problem::new(key, text, ORIGIN_COMMAND_LINE));
        }
        sets.push((key.to_owned(), value));
    }
    if !problems.is_empty() {
        return Err(Failure::Settings(problems));
    }
    let settings =
        Settings::load(shared.config.as_deref(), env.into_iter(), &sets).map_err(Failure::Settings)?;
    match password_in_arguments(&settings).or_else(|| password_in_an_open_file(&settings)) {
        Some(problem) => Err(Failure::Settings(vec![problem])),
        None => Ok(settings),
    }
}

/// Made a text by force, a path would name another file.
const NOT_UTF8: &str =
    "is not UTF-8, which every setting is: give the path of a symbolic link to the file, with a name that is";

/// A variable whose name is not UTF-8 cannot be one of ours, and the value of one that is not ours is nobody's business here.
fn environment(problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let mut texts = Vec::new();
    for (name, value) in named {
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if name.starts_with(ENVIRONMENT_PREFIX) => {
                problems.push(Problem::new(name, NOT_UTF8, ORIGIN_ENVIRONMENT));
            }
            Err(_) => {}
        }
    }
    texts
}

/// Like the files that hold nothing but a password.
fn password_in_an_open_file(settings: &Settings) -> Option<Problem> {
    let url = settings.target.url.as_deref().filter(|url| holds_password(url))?;
    let file = origin_of_url(settings);
    if url.is_empty() || file == ORIGIN_COMMAND_LINE || file.starts_with(ORIGIN_ENVIRONMENT) {
        return None;
    }
    let is_open = std::fs::metadata(file).is_ok_and(|metadata| metadata.mode() & 0o077 != 0);
    let text = format!(
        "holds a password, and others may read the file: run `chmod 0600 {file}`, or name a target.password_file"
    );
    is_open.then(|| Problem::new("target.url", text, file))
}

/// Every user of the machine reads the arguments of every process.
fn password_in_arguments(settings: &Settings) -> Option<Problem> {
    let url = settings.target.url.as_deref().filter(|_| origin_of_url(settings) == ORIGIN_COMMAND_LINE)?;
    if !holds_password(url) {
        return None;
    }
    let text = "holds a password, and everybody on this machine can read a command line: take it out, and give it in PGPASSWORD, or in a \
                file that PGPASSFILE or target.password_file names; or the whole URL in LITEFERRY__TARGET__URL";
    Some(Problem::new("target.url", text, ORIGIN_COMMAND_LINE))
}

fn origin_of_url(settings: &Settings) -> &str {
    let url = settings.effective().iter().find(|setting| setting.key == "target.url");
    url.map_or("", |setting| &setting.origin)
}

/// Loads the settings, starts logging, and starts the private PostgreSQL where the target is `embedded`.
pub async fn open(shared: &Shared, values: Values) -> Result<Opened, Failure> {
    let settings = load_settings(shared)?;
    let logging = start_logging(&settings);
    let source = source(&settings)?;
    let missing =
        || Problem::new("target.url", "names no database: give --target URL or --target embedded", "not set");
    let url = settings.target.url.clone().ok_or_else(|| Failure::Settings(vec![missing()]))?;
    let (address, cluster) = if url == EMBEDDED {
        let cluster = Cluster::start(&settings.state.dir).await?;
        (cluster.target(), Some(cluster))
    } else {
        (address(&settings, &url)?, None)
    };
    let request = Request {
        source,
        busy_timeout: Duration::from_millis(settings.source.busy_timeout_ms.into()),
        address: Arc::new(address),
        schema: settings.target.schema.clone(),
        mode: settings.target.mode,
        overrides: settings.overrides(),
        values,
        on_misfit: match settings.misfits.policy {
            MisfitPolicy::Ledger | MisfitPolicy::Widen => OnMisfit::Ledger,
            MisfitPolicy::Halt => OnMisfit::Halt,
        },
        widening: match settings.misfits.policy {
            MisfitPolicy::Widen => Widening::UpTo(settings.misfits.widen_rows_max.into()),
            MisfitPolicy::Ledger | MisfitPolicy::Halt => Widening::Never,
        },
        workers: usize::from(settings.backfill.workers),
        partly: None,
        limit: ChunkLimit {
            bytes: usize::try_from(settings.backfill.chunk_bytes).expect("32 bits fit"),
            read_time: Duration::from_millis(settings.backfill.max_read_ms.into()),
        },
    };
    Ok(Opened { settings, logging, request, cluster })
}

impl Opened {
    pub async fn close(self) -> Result<(), Failure> {
        match self.cluster {
            Some(cluster) => Ok(cluster.stop().await?),
            None => Ok(()),
        }
    }
}

pub fn address(settings: &Settings, url: &str) -> Result<Address, Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let mut address = Address::parse(url, &env).map_err(|error| {
        Failure::Settings(vec![Problem::new("target.url", error.to_string(), "target.url")])
    })?;
    if let Some(password) = settings.target.password().map_err(|problem| Failure::Settings(vec![problem]))? {
        address.password = Some(Secret::new(password));
        // What can be read once only (a pipe) is kept as it was then.
        address.password_file = settings
            .target
            .password_file
            .clone()
            .filter(|file| std::fs::metadata(file).is_ok_and(|file| file.is_file()));
    }
    if let Some(tls) = settings.target.tls {
        address.tls = Some(match tls {
            Tls::Disable => TlsMode::Disable,
            Tls::VerifyCa => TlsMode::VerifyCa,
            Tls::VerifyFull => TlsMode::VerifyFull,
        });
    }
    if let Some(ca_file) = &settings.target.ca_file {
        address.ca_file = Some(ca_file.clone());
    }
    address.unguarded_password = match settings.target.unguarded_password {
        UnguardedPassword::Refuse => Unguarded::Refuse,
        UnguardedPassword::Allow => Unguarded::Allow,
    };
    Ok(address)
}

pub fn start_logging(settings: &Settings) -> LevelSwitch {
    let shape = match settings.log.format {
        LogFormat::Text => Shape::Text,
        LogFormat::Json => Shape::Json,
    };
    logging::start(shape, level(settings))
}

pub fn level(settings: &Settings) -> tracing::Level {
    match settings.log.level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    }
}
