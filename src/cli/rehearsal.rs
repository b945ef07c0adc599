//! What the demo asks of itself: that something is so, or comes to be so in time.

use super::Failure;
use crate::model::fault::Fault;
use std::time::{Duration, Instant};

/// On a slow machine with much other work; where all is well nothing takes that long.
pub const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);

pub async fn until(what: &str, true_now: impl Fn() -> bool) -> Result<(), Failure> {
    let began = Instant::now();
    while !true_now() {
        if began.elapsed() > PATIENCE {
            return Err(rehearsal_failed(what).into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

pub fn expect(what: &str, truth: bool) -> Result<(), Fault> {
    if truth { Ok(()) } else { Err(rehearsal_failed(what)) }
}

pub fn rehearsal_failed(what: &str) -> Fault {
    Fault::fatal("rehearsal_failed", format!("see that {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_that_does_not_show_what_it_should_fails() {
        assert!(expect("both sides are equal", true).is_ok());
        let fault = expect("both sides are equal", false).expect_err("they are not");
        assert_eq!((fault.code, fault.doing.as_str()), ("rehearsal_failed", "see that both sides are equal"));
    }
}
