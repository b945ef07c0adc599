//! What systemd is told: that the daemon is up, what it is at, that it works on, that it stops. Without systemd nothing is said.
//!
//! The watchdog is fed by the work itself: a process whose timers run beside stuck work is killed, and resumes where it was.

use super::print::shown;
use crate::engine::status::{Board, Status, View};
use crate::phase::RunState;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

pub struct Notifier(Option<UnixDatagram>);

/// Well below the unit's WatchdogSec.
const EVERY: Duration = Duration::from_secs(5);
/// `/healthz` speaks up much earlier; this ends the process.
const STUCK: Duration = Duration::from_secs(300);

impl Notifier {
    pub fn of_this_process() -> Notifier {
        let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Notifier(None) };
        let connected = connected(&socket);
        if let Err(error) = &connected {
            tracing::warn!(%error, "systemd cannot be told anything");
        }
        Notifier(connected.ok())
    }

    pub fn ready(&self) {
        self.say("READY=1");
    }

    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stopping");
    }

    /// Goes on for as long as somebody waits for it.
    pub async fn tell(&self, board: &Board) -> Infallible {
        loop {
            self.say(&words(&board.look(Instant::now())));
            tokio::time::sleep(EVERY).await;
        }
    }

    fn say(&self, words: &str) {
        let Some(socket) = &self.0 else { return };
        if let Err(error) = socket.send(words.as_bytes()) {
            tracing::debug!(%error, "systemd was not told");
        }
    }
}

/// A name that begins with `@` is no file's.
fn connected(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn words(view: &View) -> String {
    let status = &view.status;
    let phase = status.phase().map_or_else(|| "phase not known yet".to_owned(), |_| status.machine.words());
    let state = status.run.state.word();
    let reason = status.run.reason.as_ref().map(|reason| format!(" [{}]", reason.code)).unwrap_or_default();
    let lag = view.lag().map(|lag| format!("; lag {:.1} s", lag.as_secs_f64())).unwrap_or_default();
    let line = shown(&format!("{phase}; {state}{reason}{lag}"));
    if works(view) { format!("STATUS={line}\nWATCHDOG=1") } else { format!("STATUS=stuck; {line}") }
}

/// One that has halted waits for a person, as it should: a restart would only halt again. Before the following, and while a backlog or a
/// changed schema is worked off, one statement of PostgreSQL (an index on a large table) may take hours and must not be begun anew.
fn works(view: &View) -> bool {
    let Status { machine, run, .. } = &view.status;
    match run.state {
        RunState::Halted | RunState::CatchingUp | RunState::Stopping => true,
        RunState::Running | RunState::Degraded | RunState::Paused => {
            !machine.phase.replicates() || view.tick_age <= STUCK
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::status::{Lag, Run};
    use crate::model::fault::Fault;
    use crate::phase::Phase;
    use std::path::Path;

    #[test]
    fn the_watchdog_is_fed_by_work_and_not_by_time() {
        let now = Instant::now();
        let board = Board::new(Status::at_start(Path::new("app.db")), now);
        let later = |seconds| words(&board.look(now + Duration::from_secs(seconds)));
        assert_eq!(later(0), "STATUS=phase not known yet; running\nWATCHDOG=1");
        board.update(now, |status| status.standing.records_read = true);
        assert_eq!(later(3_600), "STATUS=setup; running\nWATCHDOG=1", "an index may take its time");
        board.update(now, |status| {
            status.machine.phase = Phase::DualWrite;
            status.lag = Some(Lag::default());
        });
        assert_eq!(later(300), "STATUS=dual-write; running; lag 0.0 s\nWATCHDOG=1");
        assert_eq!(later(301), "STATUS=stuck; dual-write; running; lag 0.0 s");
        board.tick(now + Duration::from_secs(301));
        assert!(later(301).ends_with("WATCHDOG=1"));
        let fault = Fault::fatal("schema_drift", "follow orders");
        board.update(now, |status| status.run = Run::because(RunState::Halted, &fault));
        assert_eq!(later(3_600), "STATUS=dual-write; halted [schema_drift]; lag 0.0 s\nWATCHDOG=1");
    }

    #[test]
    fn systemd_hears_it_by_a_file_and_by_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("liteferry-test-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (listening, told) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&by_name).unwrap(), format!("@{name}").into()),
        ] {
            let notifier = Notifier(Some(connected(&told).unwrap()));
            notifier.ready();
            notifier.stopping();
            let next = || {
                let mut heard = [0; 64];
                let bytes = listening.recv(&mut heard).unwrap();
                String::from_utf8(heard[..bytes].to_vec()).unwrap()
            };
            assert_eq!([next(), next()], ["READY=1", "STOPPING=1\nSTATUS=stopping"]);
        }
        assert!(connected(OsStr::new("/nowhere/notify")).is_err());
        Notifier(None).ready();
    }
}
