//! What stands between the daemon and PostgreSQL and passes bytes on, until it is told to swallow those of every link of now, or of the
//! one link that brings certain words: both ends then look alive, and neither hears of the other any more.

use super::TestDatabase;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

pub struct Swallower {
    port: u16,
    /// Links that were made before this many were.
    swallowed: Arc<AtomicU64>,
    made: Arc<AtomicU64>,
    words: Words,
}

/// What the next link to say it is swallowed for.
type Words = Arc<Mutex<Option<&'static str>>>;

impl Swallower {
    pub fn before(target: &TestDatabase) -> Swallower {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (swallowed, made) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let socket = socket_of(&target.url);
        let words = Words::default();
        let (of_links, counted, awaited) = (Arc::clone(&swallowed), Arc::clone(&made), Arc::clone(&words));
        spawn(move || {
            for daemon in listener.incoming().map_while(Result::ok) {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let server = UnixStream::connect(&socket).expect("the server listens");
                let again = || (daemon.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                let (from_daemon, to_server) = again();
                let (to_daemon, from_server) = again();
                let (before, said) = (Arc::clone(&of_links), Arc::new(AtomicBool::new(false)));
                let (also_before, also_said) = (Arc::clone(&before), Arc::clone(&said));
                let words = Arc::clone(&awaited);
                spawn(move || {
                    let is_swallowed = |bytes: &[u8]| {
                        if says(bytes, &words) {
                            said.store(true, Ordering::SeqCst);
                        }
                        said.load(Ordering::SeqCst) || number < before.load(Ordering::SeqCst)
                    };
                    if pass(&from_daemon, &to_server, &is_swallowed) == End::Told {
                        let _gone = to_server.shutdown(Shutdown::Both);
                    }
                });
                spawn(move || {
                    let is_swallowed = |_: &[u8]| {
                        also_said.load(Ordering::SeqCst) || number < also_before.load(Ordering::SeqCst)
                    };
                    if pass(&from_server, &to_daemon, &is_swallowed) == End::Told {
                        let _gone = to_daemon.shutdown(Shutdown::Both);
                    }
                });
            }
        });
        Swallower { port, swallowed, made, words }
    }

    /// The same database, through this.
    pub fn url(&self, target: &TestDatabase) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, target.name)
    }

    /// From now on nothing of what the links of now carry arrives, either way. Later links are sound.
    pub fn swallow(&self) {
        self.swallowed.store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// The next link on which the daemon says this is swallowed from then on, this included; the others are sound.
    pub fn swallow_at(&self, words: &'static str) {
        *self.words.lock().expect("nobody panics with it") = Some(words);
    }

    pub fn has_swallowed(&self) -> bool {
        self.words.lock().expect("nobody panics with it").is_none()
    }
}

fn says(bytes: &[u8], words: &Words) -> bool {
    let mut words = words.lock().expect("nobody panics with it");
    let found = words.is_some_and(|words| bytes.windows(words.len()).any(|said| said == words.as_bytes()));
    if found {
        *words = None;
    }
    found
}

/// Reads on whatever becomes of it, so that neither end notices.
fn pass(mut from: impl Read, mut to: impl Write, is_swallowed: &dyn Fn(&[u8]) -> bool) -> End {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut bytes).unwrap_or(0);
        match (is_swallowed(&bytes[..count]), count) {
            (true, 0) => return End::Swallowed,
            (true, _) => {}
            (false, 0) => return End::Told,
            (false, _) if to.write_all(&bytes[..count]).is_err() => return End::Told,
            (false, _) => {}
        }
    }
}

/// Whether the other end is to hear of it.
#[derive(PartialEq, Eq)]
enum End {
    Told,
    Swallowed,
}

pub fn socket_of(url: &str) -> PathBuf {
    let host = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("a private server's URL");
    PathBuf::from(host.replace("%2F", "/")).join(".s.PGSQL.5432")
}
