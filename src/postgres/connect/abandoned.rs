//! Sessions that were let go of without a goodbye. Where something on the way keeps one open, PostgreSQL goes on waiting for us with all that it
//! has locked, and no keepalive tells: whoever tried the same work again would wait behind us. The next session that is made ends them.
//!
//! Never anybody else's: the number is believed only of the same server, and only while what the session is at was begun by us. A pool in session
//! mode may have lent the session to others since.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// The server's names for them. All clones know of all.
#[derive(Clone, Debug, Default)]
pub struct Abandoned(Arc<Mutex<Vec<Backend>>>);

/// Older ones are forgotten. More than one attempt has at the same time.
const KEPT_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq)]
struct Backend {
    number: i32,
    /// When its server was started.
    server: String,
    /// When we let go of it, by the server's clock, in seconds.
    left: f64,
}

/// One session, while it is ours.
#[derive(Debug)]
pub(super) struct Held {
    abandoned: Abandoned,
    backend: Backend,
    since: Instant,
    has_ended: bool,
}

impl Held {
    /// It has been told that we leave, and has heard it.
    pub(super) fn has_ended(&mut self) {
        self.has_ended = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // The answer was older when it came: too early a moment is on the safe side.
        let left = self.backend.left + self.since.elapsed().as_secs_f64();
        let mut kept = self.abandoned.lock();
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Backend { left, ..self.backend.clone() });
    }
}

impl Abandoned {
    /// A session that began at `clock` of the server that was started at `server`.
    pub(super) fn hold(&self, number: i32, (server, clock): (&str, f64)) -> Held {
        let backend = Backend { number, server: server.to_owned(), left: clock };
        Held { abandoned: self.clone(), backend, since: Instant::now(), has_ended: false }
    }

    /// Ends what waits for us. What is still at work is looked at again with the next session, and so is what could not be looked at.
    pub(super) async fn end(&self, client: &Client) {
        let known = self.lock().clone();
        if known.is_empty() {
            return;
        }
        let numbers: Vec<i32> = known.iter().map(|backend| backend.number).collect();
        let servers: Vec<&str> = known.iter().map(|backend| backend.server.as_str()).collect();
        let left: Vec<f64> = known.iter().map(|backend| backend.left).collect();
        let bound: [(&(dyn ToSql + Sync), Type); 3] =
            [(&numbers, Type::INT4_ARRAY), (&servers, Type::TEXT_ARRAY), (&left, Type::FLOAT8_ARRAY)];
        match client.query_typed(END, &bound).await {
            Ok(rows) => {
                let (ended, at_work): (Vec<_>, Vec<_>) = rows
                    .iter()
                    .map(|row| (row.get(0), row.get(1)))
                    .partition(|(_, ended): &(i32, bool)| *ended);
                let is_at_work = |backend: &Backend| at_work.contains(&(backend.number, false));
                self.lock().retain(|backend| is_at_work(backend) || !known.contains(backend));
                tracing::debug!(?ended, "sessions that were let go of are ended");
            }
            Err(_) => tracing::debug!("whether sessions that were let go of are still there is not known"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Backend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits for a standby has committed, and is left to it.
const END: &str = "select pid, case when waits_for_us then pg_terminate_backend(pid) else false end from (
        select pid, coalesce(wait_event_type = 'Client', false) as waits_for_us,
               pg_postmaster_start_time()::text as server, coalesce(xact_start, state_change) as begun
        from pg_stat_activity
        where usename = current_user and application_name = current_setting('application_name')
          and datname = current_database() and pid <> pg_backend_pid()
    ) as seen
    join unnest($1::int4[], $2::text[], $3::float8[]) as left_behind (number, of_server, moment)
        on number = pid and of_server = server and begun <= to_timestamp(moment)";
