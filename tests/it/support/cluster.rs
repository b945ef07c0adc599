//! One private PostgreSQL for the whole test process: started by the first test that needs it, stopped when the process is gone,
//! however it went.

use super::guard::guard;
use liteferry::postgres::embedded::Cluster;
use liteferry::postgres::url::{Place, Target};
use std::process::Child;
use std::sync::OnceLock;

struct Server {
    cluster: Cluster,
    /// Its input ends with our process, and then it clears away.
    _guard: Child,
}

/// Durability is of no use to a database that lives for one test; a machine of many cores runs as many of them at a time.
const SETTINGS: [(&str, &str); 3] =
    [("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "1000")];

/// Connects to `database` as the superuser.
pub fn url(database: &str) -> String {
    let Target { hosts, user, .. } = server().cluster.target();
    let Some(Place::Socket(dir)) = hosts.into_iter().next().map(|host| host.place) else {
        panic!("a private server is reached through its socket");
    };
    format!("postgres://{user}@{}/{database}", dir.display().to_string().replace('/', "%2F"))
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        // Started by root, the server runs as another user, who must be able to pass through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        let dir = tempfile::Builder::new().prefix("liteferry-it-").permissions(open).tempdir();
        let dir = dir.expect("a temporary directory can be made").keep();
        let guard = guard(&dir);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let starting = Cluster::start_with(&dir, &SETTINGS);
        let cluster = runtime.expect("a runtime can be made").block_on(starting);
        Server { cluster: cluster.expect("PostgreSQL is installed and starts"), _guard: guard }
    })
}
