//! SIGHUP: the settings are read again, and `log.level` takes effect at once. Nothing else may: a migration half of whose settings are
//! new would be one that nobody has described.

use super::Shared;
use super::session::{level, load_settings};
use super::{Failure, print};
use crate::telemetry::logging::LevelSwitch;
use std::convert::Infallible;
use tokio::signal::unix::Signal;
use tracing::Level;

/// Goes on for as long as somebody waits for it. Settings that are wrong change nothing, and each is named.
pub async fn obey_hangups(mut hangups: Signal, (shared, logging): (&Shared, &LevelSwitch)) -> Infallible {
    loop {
        if hangups.recv().await.is_none() {
            std::future::pending::<Infallible>().await;
        }
        match load_settings(shared) {
            Ok(settings) => {
                let level = level(&settings);
                // Told while information is still shown, or once it is shown again.
                if level < Level::INFO {
                    tell(level);
                    logging.set(level);
                } else {
                    logging.set(level);
                    tell(level);
                }
            }
            Err(Failure::Settings(problems)) => {
                for problem in problems {
                    tracing::warn!(
                        key = problem.key,
                        problem = problem.text,
                        "a setting is wrong: the old ones hold"
                    );
                }
            }
            Err(Failure::Fault(fault)) => {
                tracing::warn!(
                    fault = print::fault(&fault),
                    "the settings could not be read: the old ones hold"
                );
            }
            Err(Failure::Stopped(_)) => {}
        }
    }
}

fn tell(level: Level) {
    tracing::info!(%level, "the settings were read again; of them only log.level is taken without a restart");
}
