//! Being asked to stop: by Ctrl-C, or by the SIGTERM of a service manager or a container.

use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    CtrlC,
    Terminate,
}

impl Stop {
    /// What a shell would report had the signal ended the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Stop::CtrlC => 130,
            Stop::Terminate => 143,
        }
    }
}

/// Waits until somebody asks.
pub async fn asked() -> Stop {
    let listen = |kind| -> Signal { signal(kind).expect("these signals can be listened for") };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    tokio::select! {
        _ = interrupt.recv() => Stop::CtrlC,
        _ = terminate.recv() => Stop::Terminate,
    }
}
