//! Connections to PostgreSQL: sessions for the data path, a small pool for the control path, both from one `Target`.
//!
//! A session owns the task that drives its connection: nothing outlives it. Neither kind ever falls back to a weaker way in.

pub(super) mod abandoned;
mod heard;

use super::fault;
use super::password::{self, Login, Secret};
use super::plain::Plain;
use super::pooler;
use super::task::Task;
use super::tls;
use super::url::{ChannelBinding, Host, Place, SessionAttrs, Target, TlsMode};
use crate::model::fault::{Fault, FaultClass};
use abandoned::Held;
use heard::Lock;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::config::{self, SslMode, SslNegotiation};
use tokio_postgres::{Client, Config, SimpleQueryMessage, Statement};
use tracing::warn;

/// The oldest server that the catalog queries and the DDL are written for.
pub const VERSION_MIN: u32 = 130_000;
const SESSION_SQL: &str = include_str!("sql/session.sql");
/// Its transactions are statement after statement: one that stands still has lost us, and what it has locked would keep us out.
const CONTROL_SQL: &str = "set idle_in_transaction_session_timeout = '20s'";
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
const CLOSE_WAIT: Duration = Duration::from_secs(1);
const POOL_CONNECTIONS_MAX: u32 = 3;
/// Beyond it all are let go: none is worth the memory of a server.
const PREPARED_MAX: usize = 512;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// While sent bytes are not acknowledged there are no keepalives, and the kernel would try for a quarter of an hour.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// One connection, set up. Dropping it ends it at once; `close` ends it in good order.
#[derive(Debug)]
pub struct Session {
    client: Client,
    /// Statements that come again and again, by their text.
    prepared: Mutex<HashMap<String, Statement>>,
    task: Task<()>,
    /// Where others like it are to be had, and the server's name for it.
    address: Arc<Target>,
    backend: i32,
    /// What a statement of ours was last found to wait for.
    behind: Mutex<Option<Lock>>,
    held: Held,
    host: Host,
    version_num: u32,
    /// By its certificate, by its place, or by SCRAM; or the operator says that it need not.
    has_proven_itself: bool,
}

/// Connects to the first host that takes us. A host that cannot now is passed over; one that refuses us for good ends the search.
pub async fn connect(target: &Target) -> Result<Session, Fault> {
    let mut last = None;
    for host in &target.hosts {
        match connect_host(target, host).await {
            Ok(session) => return Ok(session),
            Err(fault) if fault.class == FaultClass::Transient => last = Some(fault),
            Err(fault) => return Err(fault),
        }
    }
    Err(last.expect("a target has at least one host"))
}

/// The control path's connections, and where others are to be had that can tell of them.
#[derive(Clone, Debug)]
pub struct Pool {
    pub connections: PgPool,
    pub address: Arc<Target>,
}

/// A pool for journal, migrations and small queries, on the host that `connect` would choose now. After a failover make another.
pub async fn pool(target: &Target) -> Result<Pool, Fault> {
    pool_of(target, POOL_CONNECTIONS_MAX).await
}

/// A pool of one connection, for who may wait for the other's turn.
pub async fn pool_of_one(target: &Target) -> Result<Pool, Fault> {
    pool_of(target, 1).await
}

async fn pool_of(target: &Target, connections_max: u32) -> Result<Pool, Fault> {
    let session = connect(target).await?;
    let (host, trusted) = (session.host.clone(), session.has_proven_itself);
    session.close().await;
    let doing = || format!("open a pool on {host}");
    let options = control_options(target, &host)?;
    // Its driver answers whatever it is asked: only a server that could not learn anything new by it is given the password.
    let password = if trusted { password_for(target, &host)? } else { None };
    let options = password.iter().fold(options, |options, password| options.password(password.expose()));
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(target.connect_timeout * 2)
        // A connection is kept as long as the pool: one made anew after hours would come with the password of those days.
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(SESSION_SQL).execute(&mut *connection).await?;
                sqlx::raw_sql(CONTROL_SQL).execute(connection).await.map(drop)
            })
        })
        .connect_with(options)
        .await
        .map(|connections| Pool { connections, address: Arc::new(target.clone()) })
        .map_err(|error| fault::of_control(error, doing()))
}

impl Session {
    /// `server_version_num`.
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    /// A statement that is asked for again and again, prepared the first time. Its text must be one of few.
    pub async fn prepared(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        let known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let statement = self.prepare(sql).await?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.len() >= PREPARED_MAX {
            prepared.clear();
        }
        prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Says goodbye, so that the server has nothing to complain of in its log.
    pub async fn close(self) {
        let Session { client, task, mut held, .. } = self;
        drop(client);
        // A server that does not take the goodbye in time is left without one: dropping the task closes the socket.
        if timeout(CLOSE_WAIT, task).await.is_ok() {
            held.has_ended();
        }
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// The task that moves bytes between a client and its socket.
fn driving(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) -> Task<()> {
    Task::begin(async move {
        // Those who wait for an answer are told only that the connection is closed; the reason comes out here.
        if let Err(error) = connection.await {
            let fault = fault::of(error, "keep the connection to postgres");
            warn!(code = fault.code, "connection to postgres ended");
        }
    })
}

/// Names are resolved anew each time: after a failover the same name may mean another server.
async fn connect_host(target: &Target, host: &Host) -> Result<Session, Fault> {
    let name = match &host.place {
        Place::Socket(_) => return attempt(target, host, None).await,
        Place::Tcp(name) => name,
    };
    let doing = || format!("resolve the host name {name}");
    let found = timeout(target.connect_timeout, lookup_host((name.as_str(), host.port))).await;
    let found = found.map_err(|late| fault::unreachable(doing(), late))?;
    let found = found.map_err(|error| fault::unreachable(doing(), error))?;
    let mut last = fault::unreachable(doing(), "the name has no address");
    for address in found.take(ADDRESSES_MAX) {
        match attempt(target, host, Some(address.ip())).await {
            Ok(session) => return Ok(session),
            Err(fault) if fault.class == FaultClass::Transient => last = fault,
            Err(fault) => return Err(fault),
        }
    }
    Err(last)
}

async fn attempt(target: &Target, host: &Host, address: Option<IpAddr>) -> Result<Session, Fault> {
    match timeout(target.connect_timeout, Box::pin(establish(target, host, address))).await {
        Ok(outcome) => outcome,
        Err(late) => Err(fault::unreachable(format!("connect to {host}"), late)),
    }
}

/// A connection as the driver makes it, of which nothing has been asked.
struct Opened {
    client: Client,
    task: Task<()>,
    has_proven_itself: bool,
}

async fn open(target: &Target, host: &Host, address: Option<IpAddr>) -> Result<Opened, Fault> {
    let doing = || to_connect(target, host);
    let mut config = data_options(target, host, address)?;
    let (client, task, announced, has_proven_itself) = if target.guards_password(host) {
        let plain = Plain::default();
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        let connected = config.connect(plain.clone()).await;
        let (client, connection) = connected.map_err(|error| fault::of(error, doing()))?;
        let announced = connection.parameter(ANNOUNCED).and_then(major_of);
        (client, driving(connection), announced, plain.is_proven())
    } else {
        let tls = tls::connector(target, target.tls_for(host))?;
        let (client, connection) = config.connect(tls).await.map_err(|error| fault::of(error, doing()))?;
        let announced = connection.parameter(ANNOUNCED).and_then(major_of);
        (client, driving(connection), announced, true)
    };
    // Before anything is asked of it: to what it does not know it answers in words that say nothing of its age.
    if let Some(major) = announced.filter(|major| major * 10_000 < VERSION_MIN) {
        return Err(too_old(doing(), major));
    }
    Ok(Opened { client, task, has_proven_itself })
}

fn to_connect(target: &Target, host: &Host) -> String {
    format!("connect to {host} as {} to {}", target.user, target.dbname)
}

async fn establish(target: &Target, host: &Host, address: Option<IpAddr>) -> Result<Session, Fault> {
    let doing = || to_connect(target, host);
    let Opened { client, task, has_proven_itself } = open(target, host, address).await?;
    // Before anything is set: what is set behind a pooler, the application finds in its own sessions.
    if !target.own_sessions.are_proven() {
        let Opened { client: other, task: of_other, .. } = open(target, host, address).await?;
        pooler::refuse(&client, &other).await?;
        target.own_sessions.prove();
        drop(other);
        let _ = timeout(CLOSE_WAIT, of_other).await;
    }
    let answers = client.simple_query(SESSION_SQL).await.map_err(|error| fault::of(error, doing()))?;
    let row = answers.iter().rev().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    // Whatever speaks PostgreSQL's protocol without being one is as good as too old.
    let shown = |name| row.and_then(|row| row.get(name));
    let number = |name| shown(name).and_then(|number| number.parse().ok()).unwrap_or(0);
    let version_num = u32::try_from(number("version")).unwrap_or(0);
    if version_num < VERSION_MIN {
        return Err(too_old(doing(), version_num / 10_000));
    }
    if target.session == SessionAttrs::ReadWrite && shown("read_only") != Some("f") {
        return Err(fault::read_only(doing()));
    }
    let backend = number("backend");
    let clock = shown("clock").and_then(|clock| clock.parse().ok()).unwrap_or(0.0);
    let held = target.abandoned.hold(backend, (shown("server").unwrap_or_default(), clock));
    target.abandoned.end(&client).await;
    Ok(Session {
        client,
        prepared: Mutex::default(),
        task,
        address: Arc::new(target.clone()),
        backend,
        behind: Mutex::new(None),
        held,
        host: host.clone(),
        version_num,
        has_proven_itself,
    })
}

/// What a server calls its version as a session begins, such as `15.12 (Debian 15.12-0+deb12u2)` or `9.6.24`. Not every pooler does.
const ANNOUNCED: &str = "server_version";

fn major_of(announced: &str) -> Option<u32> {
    let end = announced.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(announced.len());
    announced[..end].parse().ok()
}

fn too_old(doing: String, major: u32) -> Fault {
    Fault::fatal("postgres_too_old", doing).with_remedy(format!(
        "The server is version {major}; liteferry needs PostgreSQL 13 or newer. Upgrade it, or name another in target.url."
    ))
}

fn data_options(target: &Target, host: &Host, address: Option<IpAddr>) -> Result<Config, Fault> {
    let mut config = Config::new();
    config
        .port(host.port)
        .user(&target.user)
        .dbname(&target.dbname)
        .application_name(&target.application_name)
        .connect_timeout(target.connect_timeout)
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(UNACKNOWLEDGED_MAX)
        .ssl_mode(match target.tls_for(host) {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        })
        .channel_binding(match target.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
    match &host.place {
        Place::Socket(dir) => config.host_path(dir),
        Place::Tcp(name) => config.host(name),
    };
    if let Some(address) = address {
        config.hostaddr(address);
    }
    if let Some(password) = password_for(target, host)? {
        config.password(password.expose());
    }
    if !target.options.is_empty() {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace(' ', "\\ ");
        let options = target.options.iter().map(|(name, value)| format!("-c {name}={}", escaped(value)));
        config.options(options.collect::<Vec<_>>().join(" "));
    }
    Ok(config)
}

/// The same for sqlx, which differs in two things: it binds no channel, and it trusts the system's authorities beside `ca_file`.
fn control_options(target: &Target, host: &Host) -> Result<PgConnectOptions, Fault> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(host.port)
        .username(&target.user)
        .database(&target.dbname)
        .application_name(&target.application_name)
        .extra_float_digits(None)
        .ssl_mode(match target.tls_for(host) {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::VerifyCa => PgSslMode::VerifyCa,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .disable_statement_logging();
    // Even an empty list would be sent, and poolers refuse the parameter.
    if !target.options.is_empty() {
        options = options.options(target.options.iter().map(|(name, value)| (name, value)));
    }
    options = match &host.place {
        Place::Socket(dir) => options.socket(dir),
        Place::Tcp(name) => options.host(name),
    };
    if let Some(path) = &target.ca_file {
        options = options.ssl_root_cert(path);
    }
    if let Some(files) = &target.client_certificate {
        options = options.ssl_client_cert(&files.certificate).ssl_client_key(&files.key);
    }
    Ok(options)
}

fn password_for(target: &Target, host: &Host) -> Result<Option<Secret>, Fault> {
    if let Some(file) = &target.password_file {
        return password::first_line(file).map(Some);
    }
    let (Some(passfile), None) = (&target.passfile, &target.password) else {
        return Ok(target.password.clone());
    };
    let place = match &host.place {
        Place::Tcp(name) => name.clone(),
        Place::Socket(dir) => dir.display().to_string(),
    };
    let login = Login { host: &place, port: host.port, dbname: &target.dbname, user: &target.user };
    password::look_up(passfile, login)
}
