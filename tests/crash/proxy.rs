//! What stands between the daemon and PostgreSQL: a TCP listener on loopback that passes bytes on to the server's socket, until it is
//! told to cut, to hold them back, or to tell when so many have gone by.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::spawn;
use std::time::{Duration, Instant};

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

/// What becomes of the bytes. A rule holds for all links until another is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Pass,
    /// So many more bytes, then the link that carries the next one is cut.
    CutAfter {
        bytes: u64,
    },
    /// The next commit does not arrive.
    CutBeforeCommit,
    /// The next commit arrives, and its answer does not.
    CutAfterCommit,
    /// So many more bytes, then everything is held, the link that carries the next one in the middle of what it carries.
    HoldAfter {
        bytes: u64,
    },
    /// The next commit is held before it arrives, and everything else with it.
    HoldBeforeCommit,
    /// The next commit arrives; its answer, and everything else, is held.
    HoldAfterCommit,
    /// Links of now are held for good; new ones are not.
    HoldOld {
        before: u64,
    },
    HoldAll,
    /// Links of now look ended to the daemon, and alive to the server; new ones pass.
    OrphanOld {
        before: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToDaemon,
}

struct Shared {
    socket: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    rule: Rule,
    /// How often a rule that waits for something came to pass.
    sprung: u64,
    next: u64,
    links: BTreeMap<u64, (TcpStream, UnixStream)>,
}

enum Verdict {
    Pass,
    /// So many bytes of these still go by.
    Cut {
        after: usize,
    },
    /// The same, and the rest when the rule changes.
    Hold {
        after: usize,
    },
}

impl Proxy {
    pub fn start(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = State { rule: Rule::Pass, sprung: 0, next: 0, links: BTreeMap::new() };
        let shared = Arc::new(Shared { socket, state: Mutex::new(state), changed: Condvar::new() });
        let of_listener = Arc::clone(&shared);
        spawn(move || {
            for daemon in listener.incoming().map_while(Result::ok) {
                Shared::link(&of_listener, daemon);
            }
        });
        Proxy { port, shared }
    }

    pub fn rule(&self, rule: Rule) {
        self.shared.state().rule = rule;
        self.shared.changed.notify_all();
    }

    /// Holds every link of now for good.
    pub fn hold_old(&self) {
        let mut state = self.shared.state();
        state.rule = Rule::HoldOld { before: state.next };
    }

    /// What is held ends for the server, which has noticed that nobody is there; the daemon is told nothing.
    pub fn end_held_for_server(&self) {
        let state = self.shared.state();
        if let Rule::HoldOld { before } = state.rule {
            for (_, (_, server)) in state.links.range(..before) {
                let _ = server.shutdown(Shutdown::Both);
            }
        }
    }

    /// Ends every link of now towards the daemon alone.
    pub fn orphan_old(&self) {
        let mut state = self.shared.state();
        state.rule = Rule::OrphanOld { before: state.next };
        for (daemon, _) in state.links.values() {
            // A link that has ended already is as it should be.
            let _ = daemon.shutdown(Shutdown::Both);
        }
    }

    pub fn cut_all(&self) {
        let mut state = self.shared.state();
        for (_, (daemon, server)) in std::mem::take(&mut state.links) {
            let _ = (daemon.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Whether a rule came to pass within the time.
    pub fn springs_within(&self, since: u64, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        let mut state = self.shared.state();
        while state.sprung == since {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub fn sprung(&self) -> u64 {
        self.shared.state().sprung
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(shared: &Arc<Shared>, daemon: TcpStream) {
        // A server that is away refuses; so does the proxy, by closing.
        let Ok(server) = UnixStream::connect(&shared.socket) else { return };
        let copy = || Some((daemon.try_clone().ok()?, server.try_clone().ok()?));
        let (Some(to_server), Some(to_daemon), Some(kept)) = (copy(), copy(), copy()) else { return };
        // Small writes are answers that somebody waits for.
        drop(daemon.set_nodelay(true));
        let mut state = shared.state();
        let number = state.next;
        state.next += 1;
        state.links.insert(number, kept);
        drop(state);
        let (up, down) = (Arc::clone(shared), Arc::clone(shared));
        spawn(move || up.pump(number, Way::ToServer, to_server.0, to_server.1));
        spawn(move || down.pump(number, Way::ToDaemon, to_daemon.1, to_daemon.0));
    }

    fn pump(&self, number: u64, way: Way, mut from: impl Read, mut to: impl Write) {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if !self.pass(number, way, &buffer[..read], &mut to) {
                break;
            }
        }
        self.cut(number);
    }

    /// Whether the link lives on.
    fn pass(&self, number: u64, way: Way, bytes: &[u8], to: &mut impl Write) -> bool {
        let mut write = |bytes: &[u8]| to.write_all(bytes).and_then(|()| to.flush()).is_ok();
        let mut passed = 0;
        loop {
            let mut state = self.state();
            let verdict = state.judge(number, way, &bytes[passed..]);
            self.changed.notify_all();
            match verdict {
                Verdict::Pass => {
                    drop(state);
                    return write(&bytes[passed..]);
                }
                Verdict::Cut { after } => {
                    drop(state);
                    write(&bytes[passed..passed + after]);
                    return false;
                }
                Verdict::Hold { after } => {
                    if !write(&bytes[passed..passed + after]) || !state.links.contains_key(&number) {
                        return false;
                    }
                    passed += after;
                    let rule = state.rule;
                    while state.rule == rule && state.links.contains_key(&number) {
                        state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            }
        }
    }

    fn cut(&self, number: u64) {
        let mut state = self.state();
        if let Rule::OrphanOld { before } | Rule::HoldOld { before } = state.rule
            && number < before
        {
            return;
        }
        if let Some((daemon, server)) = state.links.remove(&number) {
            let _ = (daemon.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
        self.changed.notify_all();
    }
}

impl State {
    fn judge(&mut self, number: u64, way: Way, bytes: &[u8]) -> Verdict {
        let size = u64::try_from(bytes.len()).expect("a buffer is small");
        let commits = way == Way::ToServer && bytes.windows(7).any(|window| window == b"commit\0");
        match &mut self.rule {
            Rule::Pass | Rule::OrphanOld { .. } => Verdict::Pass,
            Rule::CutAfter { bytes: left } | Rule::HoldAfter { bytes: left } if *left >= size => {
                *left -= size;
                Verdict::Pass
            }
            Rule::CutAfter { bytes: left } => {
                let after = usize::try_from(*left).expect("less than a buffer");
                self.spring(Rule::Pass);
                Verdict::Cut { after }
            }
            Rule::HoldAfter { bytes: left } => {
                let after = usize::try_from(*left).expect("less than a buffer");
                self.spring(Rule::HoldAll);
                Verdict::Hold { after }
            }
            Rule::CutBeforeCommit if commits => {
                self.spring(Rule::Pass);
                Verdict::Cut { after: 0 }
            }
            Rule::CutAfterCommit if commits => {
                self.spring(Rule::Pass);
                Verdict::Cut { after: bytes.len() }
            }
            Rule::HoldBeforeCommit if commits => {
                self.spring(Rule::HoldAll);
                Verdict::Hold { after: 0 }
            }
            Rule::HoldAfterCommit if commits => {
                self.spring(Rule::HoldAll);
                Verdict::Hold { after: bytes.len() }
            }
            Rule::CutBeforeCommit | Rule::CutAfterCommit | Rule::HoldBeforeCommit | Rule::HoldAfterCommit => {
                Verdict::Pass
            }
            Rule::HoldOld { before } if number < *before => Verdict::Hold { after: 0 },
            Rule::HoldOld { .. } => Verdict::Pass,
            Rule::HoldAll => Verdict::Hold { after: 0 },
        }
    }

    fn spring(&mut self, next: Rule) {
        self.sprung += 1;
        self.rule = next;
    }
}
