//! Being asked to stop: by Ctrl-C, or by the SIGTERM of a service manager or a container. And SIGHUP, which would end a process that does
//! not listen for it.

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

/// Whoever asks is heard from here on, also while nobody waits for it.
#[derive(Debug)]
pub struct Listening {
    interrupt: Signal,
    terminate: Signal,
}

impl Listening {
    /// Within a runtime, and before anything else is done there.
    pub fn begin() -> Listening {
        Listening {
            interrupt: listen_for(SignalKind::interrupt()),
            terminate: listen_for(SignalKind::terminate()),
        }
    }

    /// Waits until somebody asks, or has asked.
    pub async fn asked(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::CtrlC,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

pub fn hangups() -> Signal {
    listen_for(SignalKind::hangup())
}

fn listen_for(kind: SignalKind) -> Signal {
    signal(kind).expect("these signals can be listened for")
}
