//! What stands between a session and PostgreSQL, and puts other words in the place of a BEGIN: whatever can become of one, at will. Or it
//! holds back what PostgreSQL answers until the COMMIT has come by.

use super::swallow::socket_of;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::spawn;

pub struct Begins {
    port: u16,
    instead: Arc<Mutex<Option<&'static str>>>,
    holds_back: Arc<AtomicBool>,
}

/// Whether answers wait, on one link.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn shut(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn open(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.1.notify_all();
    }

    fn wait(&self) {
        let shut = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.1.wait_while(shut, |shut| *shut).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Begins {
    /// Before the server that this URL leads to through its socket.
    pub fn before(url: &str) -> Begins {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (instead, holds_back) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (socket, words, holds) = (socket_of(url), Arc::clone(&instead), Arc::clone(&holds_back));
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = UnixStream::connect(&socket).expect("the server listens");
                let (mut to_client, mut from_server) =
                    (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                let gate = Arc::new(Gate::default());
                let held = Arc::clone(&gate);
                spawn(move || {
                    let _ended = answer(&mut from_server, &mut to_client, &held);
                    let _gone = to_client.shutdown(Shutdown::Both);
                });
                let (words, holds) = (Arc::clone(&words), Arc::clone(&holds));
                spawn(move || {
                    let _ended = pass(client, &server, (&words, &holds, &gate));
                    gate.open();
                    let _gone = server.shutdown(Shutdown::Both);
                });
            }
        });
        Begins { port, instead, holds_back }
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Stands in the place of the next BEGIN that comes by.
    pub fn replace_next(&self, sql: &'static str) {
        *self.instead.lock().unwrap_or_else(PoisonError::into_inner) = Some(sql);
    }

    /// From now on nothing is answered between a BEGIN and its COMMIT.
    pub fn hold_back_answers(&self) {
        self.holds_back.store(true, Ordering::SeqCst);
    }

    pub fn is_replaced(&self) -> bool {
        self.instead.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// A letter and a length that counts itself head each message, but for the first, which has no letter.
fn pass(
    mut from: TcpStream,
    mut to: &UnixStream,
    (instead, holds_back, gate): (&Mutex<Option<&'static str>>, &AtomicBool, &Gate),
) -> std::io::Result<()> {
    let (_, startup) = message(&mut from, None)?;
    to.write_all(&startup)?;
    loop {
        let mut letter = [0];
        from.read_exact(&mut letter)?;
        let (body, mut whole) = message(&mut from, Some(letter[0]))?;
        if letter == *b"Q" && body.starts_with(b"begin") {
            let words = instead.lock().unwrap_or_else(PoisonError::into_inner).take();
            whole = words.map_or(whole, query);
            if holds_back.load(Ordering::SeqCst) {
                gate.shut();
            }
        }
        if letter == *b"Q" && body.starts_with(b"commit") {
            gate.open();
        }
        to.write_all(&whole)?;
    }
}

fn answer(from: &mut UnixStream, to: &mut TcpStream, gate: &Gate) -> std::io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        gate.wait();
        to.write_all(&bytes[..count])?;
    }
}

/// A message's body, and all of it.
fn message(from: &mut TcpStream, letter: Option<u8>) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let rest = usize::try_from(u32::from_be_bytes(length)).expect("a length fits") - length.len();
    let mut body = vec![0; rest];
    from.read_exact(&mut body)?;
    let whole = letter.into_iter().chain(length).chain(body.iter().copied()).collect();
    Ok((body, whole))
}

fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 5).expect("a length fits").to_be_bytes();
    [b"Q", &length[..], sql.as_bytes(), b"\0"].concat()
}
