//! The listener: takes connections, bounds how many there are and how long each may take, and ends with all of them.
//!
//! It has a thread and a runtime of its own, so that whatever clients do, replication keeps its threads.

use super::error::{PROBLEM, Refusal};
use super::events::Closing;
use super::guard::{Guard, HEADER_BYTES_MAX};
use super::routes::{HttpState, Peer, router};
use crate::model::fault::Fault;
use crate::settings;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The running listener. It ends when this is dropped.
#[derive(Debug)]
pub struct Handle {
    at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

const CONNECTIONS_MAX: usize = 64;
/// From the end of one request to the end of the next one's headers; an idle connection ends with it too.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// A connection is closed after the request that it then is at. Who reads no answers holds none for ever.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// For the request that a closing connection is at: longer than any may take.
const LAST_REQUEST_TIME_MAX: Duration = Duration::from_secs(31);
/// When we stop, requests that are under way get this long.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);
/// Without file descriptors a listener would turn in circles.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Listens where the settings say, on a thread of its own, and returns once it does.
pub fn spawn(settings: &settings::Http, state: HttpState) -> Result<Handle, Fault> {
    let refused = |error: io::Error| {
        Fault::fatal("listen_refused", format!("listen at {}", settings.listen))
            .with_remedy("Another program has the address, or it is not this machine's: see http.listen.")
            .with_source(error)
    };
    let listener = std::net::TcpListener::bind(settings.listen).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let at = listener.local_addr().map_err(refused)?;
    let guard = Guard::new(settings, at)?;
    let (stop, stopped) = oneshot::channel();
    // The caller may be inside another runtime, which must see neither the making of this one nor its end.
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let work = move || {
        let (runtime, listener) = match started(listener) {
            Ok(ready) => ready,
            Err(error) => return tell.send(Err(error)).expect("the caller waits for this word"),
        };
        tell.send(Ok(())).expect("the caller waits for this word");
        runtime.block_on(serve(listener, state, guard, stopped));
    };
    let thread = thread::Builder::new().name("liteferry-http".into()).spawn(work).map_err(refused)?;
    told.recv().expect("the thread says how it started").map_err(refused)?;
    Ok(Handle { at, stop: Some(stop), thread: Some(thread) })
}

fn started(listener: std::net::TcpListener) -> io::Result<(Runtime, TcpListener)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let within = runtime.enter();
    let listener = TcpListener::from_std(listener)?;
    drop(within);
    Ok((runtime, listener))
}

/// Answers until `stop` ends, whatever it says, and then as long as requests under way take, within bounds.
async fn serve(listener: TcpListener, state: HttpState, guard: Guard, stop: impl Future) {
    let router = router(state, guard);
    let (stopping, closing) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) if connections.len() < CONNECTIONS_MAX => {
                    let router = router
                        .clone()
                        .layer(Extension(Peer(from)))
                        .layer(Extension(Closing(closing.clone())));
                    connections.spawn(attend(stream, router, closing.clone()));
                }
                Ok((stream, _)) => turn_away(&stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop((listener, stopping));
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(STOP_TIME_MAX, ended).await.is_err() {
        tracing::debug!("requests that were under way are cut off");
    }
}

impl Handle {
    /// Where it listens: the port is known even where the settings left it open.
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// Waits, a few seconds at most, until the last request is answered and the thread is gone.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the listener's thread has panicked");
        }
    }
}

/// One connection, until the client, its time or we end it.
async fn attend(stream: TcpStream, router: Router, mut closing: watch::Receiver<()>) {
    let mut http = http1::Builder::new();
    // The guard refuses headers past the bound with a reason; past twice the bound, the parser does without one.
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).max_buf_size(2 * HEADER_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // How a connection ends is the client's affair: a fault of it is nothing that an operator could mend.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.changed() => {}
        () = sleep(CONNECTION_TIME_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(timeout(LAST_REQUEST_TIME_MAX, connection).await);
}

/// One small write into an empty buffer, which cannot wait. A client that has gone already misses nothing.
fn turn_away(stream: &TcpStream) {
    let refusal = Refusal::TooManyConnections;
    let (status, body) = (refusal.status(), refusal.body().to_string());
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    if let Err(error) = stream.try_write(answer.as_bytes()) {
        tracing::debug!(%error, "turned a connection away without a word");
    }
}
