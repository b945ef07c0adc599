//! How long an answer is waited for. A connection whose bytes are lost on the way looks alive to both ends: keepalives do not see past
//! a proxy that takes our bytes, and without a bound of our own we would wait for ever.

use crate::model::fault::{Fault, FaultClass};
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// A server that is reached at all answers something small in this time. Its own lock waits are shorter.
pub const SMALL: Duration = Duration::from_secs(20);
/// One that builds tables, reads a whole catalog, or waits for locks that the application holds.
pub const LONG: Duration = Duration::from_secs(600);
pub const ANSWER_MISSING: &str = "answer_missing";
/// A mebibyte of rows more, written to a server that is slow.
const MEBIBYTE: Duration = Duration::from_secs(5);

/// For work on so many bytes of rows.
pub fn for_bytes(bytes: usize) -> Duration {
    let mebibytes = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
    SMALL.saturating_add(MEBIBYTE.saturating_mul(mebibytes.saturating_add(1)))
}

/// Gives the work up when its time is over. Its sessions go with it, and whether it was done is not known.
pub fn answered<T>(
    patience: Duration,
    doing: &str,
    work: impl Future<Output = Result<T, Fault>>,
) -> impl Future<Output = Result<T, Fault>> {
    // Whoever waits carries a pointer, and not all that the work ever holds.
    let work = Box::pin(work);
    async move {
        match timeout(patience, work).await {
            Ok(outcome) => outcome,
            Err(late) => Err(Fault::new(FaultClass::Unknown, ANSWER_MISSING, doing)
                .with_remedy(
                    "something between here and PostgreSQL swallows bytes, or the server stands still; it is tried again on another connection",
                )
                .with_source(late)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bytes_have_more_time_and_none_is_without_an_end() {
        assert_eq!(for_bytes(0), Duration::from_secs(25));
        assert_eq!(for_bytes(10 << 20), Duration::from_secs(75));
        assert!(for_bytes(usize::MAX) > for_bytes(1 << 40));
    }

    #[test]
    fn an_answer_that_never_comes_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let waited = async {
            answered(Duration::from_millis(5), "test", std::future::pending::<Result<(), Fault>>()).await
        };
        let fault = runtime.expect("a runtime can be made").block_on(waited).expect_err("it is late");
        assert_eq!((fault.class, fault.code), (FaultClass::Unknown, ANSWER_MISSING));
    }
}
