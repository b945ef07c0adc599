//! A PostgreSQL of these tests' own, which is made to crash. It speaks through its socket alone; the daemon comes by the proxy.

use crate::guard::guard;
use liteferry::postgres::embedded::Cluster;
use liteferry::postgres::url::Place;
use std::path::PathBuf;
use std::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub struct Server {
    runtime: Runtime,
    cluster: Option<Cluster>,
    dir: PathBuf,
    _guard: Child,
}

pub type Row = Vec<Option<String>>;

/// A crash of processes loses nothing of what the kernel has; only a machine that fails would.
const SETTINGS: [(&str, &str); 3] =
    [("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "60")];

impl Server {
    pub fn start() -> Server {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        let dir = tempfile::Builder::new().prefix("liteferry-crash-").permissions(open).tempdir();
        let dir = dir.expect("a temporary directory can be made").keep();
        let guard = guard(&dir);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let mut server = Server { runtime, cluster: None, dir, _guard: guard };
        server.restart();
        server
    }

    /// As `pg_ctl stop -m immediate` does it.
    pub fn crash(&mut self) {
        self.cluster = None;
    }

    pub fn restart(&mut self) {
        let starting = Cluster::start_with(&self.dir, &SETTINGS);
        self.cluster = Some(self.runtime.block_on(starting).expect("PostgreSQL starts"));
    }

    pub fn socket(&self) -> PathBuf {
        self.socket_dir().join(".s.PGSQL.5432")
    }

    fn socket_dir(&self) -> PathBuf {
        let target = self.cluster.as_ref().expect("the server runs").target();
        match target.hosts.into_iter().next().map(|host| host.place) {
            Some(Place::Socket(dir)) => dir,
            Some(Place::Tcp(_)) | None => panic!("a private server is reached through its socket"),
        }
    }

    pub fn url(&self, database: &str) -> String {
        let dir = self.socket_dir().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{dir}/{database}?application_name=test")
    }

    /// The rows of all statements, as text; an error where the server is away.
    pub fn query(&self, database: &str, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
        let url = self.url(database);
        self.runtime.block_on(async {
            let client = connect(&url).await?;
            rows(&client, sql).await
        })
    }

    /// A kill that PostgreSQL takes for a crash of its own.
    pub fn kill_backend(&self, pid: &str) {
        Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().expect("a shell runs");
    }
}

pub async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with the client; what went wrong, the client is told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
    let answers = client.simple_query(sql).await?;
    let cells = |row: &tokio_postgres::SimpleQueryRow| {
        (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()
    };
    Ok(answers
        .iter()
        .filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(cells(row)),
            _ => None,
        })
        .collect())
}
