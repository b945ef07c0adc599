//! Being asked to stop, as the daemon's tasks hear of it.

use tokio::sync::watch;

/// Asks.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Is asked.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopper {
    pub fn new() -> (Stopper, Stopping) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Stopping(receiver))
    }

    pub fn ask(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once somebody has asked. A stopper that is gone never asks.
    pub async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
