//! Work that waits for a disk or for SQLite's locks, on a thread where it may: the daemon's own would have everything wait with it.

use crate::model::fault::Fault;
use std::time::Duration;

/// How long triggers may wait for the application to end its transaction.
pub const ARM_WAIT: Duration = Duration::from_secs(30);

/// `doing` is what it is told as where the thread dies.
pub async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Fault::fatal("stopped", doing).with_source(error)))
}
