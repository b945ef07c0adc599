//! A session of PostgreSQL that stays, with what it has locked.

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

pub struct HeldSession {
    runtime: Runtime,
    client: Client,
}

impl HeldSession {
    pub fn open(url: &str) -> HeldSession {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let (client, connection) =
            runtime.block_on(tokio_postgres::connect(url, NoTls)).expect("the server answers");
        runtime.spawn(async move { drop(connection.await) });
        HeldSession { runtime, client }
    }

    pub fn run(&self, sql: &str) {
        self.runtime
            .block_on(self.client.batch_execute(sql))
            .unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    }
}
