//! What stands between a session and PostgreSQL, and puts other words in the place of a BEGIN: whatever can become of one, at will. Or it
//! holds back what PostgreSQL answers: until the COMMIT has come by, until it is told to let go, or for good.

use super::swallow::socket_of;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, spawn};
use std::time::Duration;

pub struct Begins {
    port: u16,
    orders: Arc<Orders>,
}

/// What is to be done on each link.
#[derive(Default)]
struct Orders {
    instead: Mutex<Option<&'static str>>,
    instead_of_commit: Mutex<Option<&'static str>>,
    holds_back: AtomicBool,
    keeps: AtomicBool,
    delay_micros: AtomicU64,
    ahead_waits: AtomicBool,
    commits: AtomicUsize,
    links: Mutex<Vec<(TcpStream, Arc<Gate>)>>,
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
        let orders: Arc<Orders> = Arc::default();
        let (socket, obeyed) = (socket_of(url), Arc::clone(&orders));
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = UnixStream::connect(&socket).expect("the server listens");
                let (mut to_client, mut from_server) =
                    (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                let gate = Arc::new(Gate::default());
                let link = (client.try_clone().expect("a handle"), Arc::clone(&gate));
                obeyed.links().push(link);
                let (held, orders) = (Arc::clone(&gate), Arc::clone(&obeyed));
                spawn(move || {
                    let _ended = answer(&mut from_server, &mut to_client, (&held, &orders));
                    let _gone = to_client.shutdown(Shutdown::Both);
                });
                let orders = Arc::clone(&obeyed);
                spawn(move || {
                    let _ended = pass(client, &server, (&orders, &gate));
                    gate.open();
                    let _gone = server.shutdown(Shutdown::Both);
                });
            }
        });
        Begins { port, orders }
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Stands in the place of the next BEGIN that comes by.
    pub fn replace_next(&self, sql: &'static str) {
        *self.orders.instead() = Some(sql);
    }

    /// Stands in the place of the next COMMIT that comes by.
    pub fn replace_next_commit(&self, sql: &'static str) {
        *self.orders.instead_of_commit() = Some(sql);
    }

    /// From now on nothing is answered between a BEGIN and its COMMIT.
    pub fn hold_back_answers(&self) {
        self.orders.holds_back.store(true, Ordering::SeqCst);
    }

    /// Nothing is answered from the next BEGIN on.
    pub fn keep_answers(&self) {
        self.orders.keeps.store(true, Ordering::SeqCst);
    }

    /// What was kept goes on to who waits for it.
    pub fn let_answers_through(&self) {
        self.orders.keeps.store(false, Ordering::SeqCst);
        self.orders.links().iter().for_each(|(_, gate)| gate.open());
    }

    /// What is sent ahead from now on reaches nobody as yet.
    pub fn keep_what_is_sent_ahead(&self) {
        self.orders.ahead_waits.store(true, Ordering::SeqCst);
    }

    pub fn let_through_what_is_sent_ahead(&self) {
        self.orders.ahead_waits.store(false, Ordering::SeqCst);
    }

    /// Each answer takes so long from now on.
    pub fn delay_answers(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).expect("a short time");
        self.orders.delay_micros.store(micros, Ordering::SeqCst);
    }

    /// What is on its way to the server gets there; nothing that was kept comes back.
    pub fn cut(&self) {
        self.orders.keeps.store(false, Ordering::SeqCst);
        for (client, gate) in self.orders.links().drain(..) {
            let _gone = client.shutdown(Shutdown::Both);
            gate.open();
        }
    }

    /// How many COMMITs have come by.
    pub fn commits(&self) -> usize {
        self.orders.commits.load(Ordering::SeqCst)
    }

    pub fn is_replaced(&self) -> bool {
        self.orders.instead().is_none()
    }
}

impl Orders {
    fn instead(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.instead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instead_of_commit(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.instead_of_commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, Vec<(TcpStream, Arc<Gate>)>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only the session prepares that sends batches ahead.
const AHEAD: &[u8] = b"with moved as";

/// A letter and a length that counts itself head each message, but for the first, which has no letter.
fn pass(mut from: TcpStream, mut to: &UnixStream, (orders, gate): (&Orders, &Gate)) -> std::io::Result<()> {
    let (_, startup) = message(&mut from, None)?;
    to.write_all(&startup)?;
    let mut is_ahead = false;
    loop {
        let mut letter = [0];
        from.read_exact(&mut letter)?;
        let (body, mut whole) = message(&mut from, Some(letter[0]))?;
        if letter == *b"Q" && body.starts_with(b"begin") {
            let words = orders.instead().take();
            whole = words.map_or(whole, query);
            if orders.holds_back.load(Ordering::SeqCst) || orders.keeps.load(Ordering::SeqCst) {
                gate.shut();
            }
        }
        if letter == *b"Q" && body.starts_with(b"commit") {
            let words = orders.instead_of_commit().take();
            whole = words.map_or(whole, query);
            orders.commits.fetch_add(1, Ordering::SeqCst);
            if !orders.keeps.load(Ordering::SeqCst) {
                gate.open();
            }
        }
        is_ahead |= letter == *b"P" && body.windows(AHEAD.len()).any(|part| part == AHEAD);
        while is_ahead && orders.ahead_waits.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1));
        }
        to.write_all(&whole)?;
    }
}

fn answer(
    from: &mut UnixStream,
    to: &mut TcpStream,
    (gate, orders): (&Gate, &Orders),
) -> std::io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        gate.wait();
        sleep(Duration::from_micros(orders.delay_micros.load(Ordering::SeqCst)));
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
