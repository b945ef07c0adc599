//! Being asked to stop: by Ctrl-C, or by the SIGTERM of a service manager or a container. And SIGHUP, which would end a process that does
//! not listen for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

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

/// Ends the process where its one thread does not: a disk that hangs keeps a read, and all that waits on the same thread, for as long as it
/// likes. Nothing is lost by that: what was not committed is rolled back by either side.
#[derive(Debug, Default)]
pub struct LastResort {
    is_ending: Arc<AtomicBool>,
}

impl LastResort {
    /// On a thread of its own, which ends with the process. `after` is longer than any end in good order takes.
    pub fn arm(after: Duration) -> std::io::Result<LastResort> {
        let armed = LastResort::default();
        let is_ending = Arc::clone(&armed.is_ending);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let wait = async move {
            Listening::begin().asked().await;
            sleep(after).await;
        };
        std::thread::Builder::new().name("liteferry-stop".into()).spawn(move || {
            runtime.block_on(wait);
            if !is_ending.load(Ordering::Relaxed) {
                tracing::error!("asked to stop, and something does not end: a disk that hangs, perhaps; left as by a crash");
                std::process::exit(0);
            }
        })?;
        Ok(armed)
    }

    /// The thread is at it itself.
    pub fn stand_down(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }
}

pub fn hangups() -> Signal {
    listen_for(SignalKind::hangup())
}

fn listen_for(kind: SignalKind) -> Signal {
    signal(kind).expect("these signals can be listened for")
}
