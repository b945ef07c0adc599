//! A pooler that lends backends by the transaction, and lets prepared statements pass (PgBouncer from 1.21 on). What is set in a session there
//! is found by the application in its own ones, so nothing may be.

use crate::support::swallow::socket_of;
use crate::support::{database, liteferry, sqlite};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::spawn;

const SSL_REQUEST: i32 = 80_877_103;

/// One backend, lent to whoever asks.
struct Pool {
    backend: UnixStream,
    /// What the server said as the session began, for each client to hear.
    greeting: Vec<u8>,
}

impl Pool {
    fn of(url: &str, dbname: &str) -> Pool {
        let mut backend = UnixStream::connect(socket_of(url)).expect("the server listens");
        let words = format!("user\0postgres\0database\0{dbname}\0\0");
        let mut startup = framed(&[&196_608_i32.to_be_bytes(), words.as_bytes()].concat());
        backend.write_all(&std::mem::take(&mut startup)).expect("it reads");
        let greeting = until_ready(&mut backend).0;
        Pool { backend, greeting }
    }

    /// Until the transaction ends, if the request begins one.
    fn lend(&mut self, request: &[u8], client: &mut (impl Read + Write)) -> std::io::Result<()> {
        let mut request = request.to_vec();
        loop {
            self.backend.write_all(&request)?;
            let (answer, state) = until_ready(&mut self.backend);
            client.write_all(&answer)?;
            if state == b'I' {
                return Ok(());
            }
            request = asked(client)?;
        }
    }

    fn ask(&mut self, sql: &str) -> String {
        let request = [b"Q", &framed(format!("{sql}\0").as_bytes())[..]].concat();
        self.backend.write_all(&request).expect("it reads");
        String::from_utf8_lossy(&until_ready(&mut self.backend).0).into_owned()
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).expect("a message is small");
    [&length.to_be_bytes(), body].concat()
}

fn message(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = i32::from_be_bytes(head[1..].try_into().expect("four bytes"));
    let mut body = vec![0; usize::try_from(length - 4).expect("a length")];
    from.read_exact(&mut body)?;
    Ok([&head[..], &body].concat())
}

/// All that is answered, and whether a transaction is open after it.
fn until_ready(backend: &mut UnixStream) -> (Vec<u8>, u8) {
    let mut answer = Vec::new();
    loop {
        let next = message(backend).expect("the server answers");
        answer.extend_from_slice(&next);
        if next[0] == b'Z' {
            return (answer, next[5]);
        }
    }
}

/// What has to be answered before more is asked.
fn asked(client: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        let next = message(client)?;
        if next[0] == b'X' {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&next);
        if [b'Q', b'S'].contains(&next[0]) {
            return Ok(request);
        }
    }
}

fn serve(client: &mut (impl Read + Write), pool: &Mutex<Pool>) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut body = vec![0; usize::try_from(i32::from_be_bytes(length) - 4).expect("a length")];
        client.read_exact(&mut body)?;
        if body != SSL_REQUEST.to_be_bytes() {
            break;
        }
        client.write_all(b"N")?;
    }
    let greeting = pool.lock().expect("nobody panics").greeting.clone();
    client.write_all(&greeting)?;
    loop {
        let request = asked(client)?;
        pool.lock().expect("nobody panics").lend(&request, client)?;
    }
}

#[test]
fn a_pooler_by_the_transaction_is_refused_before_anything_is_set_there() {
    let target = database();
    let pool = Arc::new(Mutex::new(Pool::of(&target.url, &target.name)));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let lent = Arc::clone(&pool);
    spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let pool = Arc::clone(&lent);
            spawn(move || serve(&mut client, &pool));
        }
    });
    let source = sqlite("pragma journal_mode = wal; create table t (id integer primary key)");
    let url = format!("postgres://postgres@127.0.0.1:{port}/{}", target.name);
    for command in ["check", "copy", "validate"] {
        let sides = ["--source", &source.path.display().to_string(), "--target", &url];
        let refused = liteferry(&[&[command], &sides[..]].concat()).exits_with(1);
        assert!(refused.stderr.contains("[pooler_detected]"), "{refused:?}");
        let found = pool.lock().expect("nobody panics").ask("show search_path");
        assert!(found.contains("public") && !found.contains("pg_temp"), "{command}: {found:?}");
    }
}
