//! A connection without TLS: what the server asks of us on it is looked at before the driver answers.
//!
//! Whoever answers at an address may ask for the password in clear text, or for its MD5, which is as good to whoever listens. Neither is ever
//! given over a network without TLS unless the operator says that the way is safe; SCRAM gives nothing away, and proves the server too.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// Stands where the driver expects TLS, and gives it the bare connection with a watch on it. The driver is told to begin "TLS" at once, so
/// that not a byte more or less is sent than without.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    proven: Arc<AtomicBool>,
}

/// The server asked for what would give the password away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    ClearText,
    Md5,
}

pub struct Watched {
    socket: Socket,
    watch: Watch,
}

impl Plain {
    /// Whether the server has shown that it knows the password, or what was made of it.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Asked::ClearText => "the server asks for the password in clear text, and there is no TLS",
            Asked::Md5 => "the server asks for the password's MD5, and there is no TLS",
        })
    }
}

impl std::error::Error for Asked {}

impl MakeTlsConnect<Socket> for Plain {
    type Stream = Watched;
    type TlsConnect = Plain;
    type Error = Infallible;

    fn make_tls_connect(&mut self, _domain: &str) -> Result<Plain, Infallible> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for Plain {
    type Stream = Watched;
    type Error = Infallible;
    type Future = Ready<Result<Watched, Infallible>>;

    fn connect(self, socket: Socket) -> Self::Future {
        ready(Ok(Watched { socket, watch: Watch::new(self.proven) }))
    }
}

impl TlsStream for Watched {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            self.watch.see(&buffer.filled()[before..]).map_err(io::Error::other)?;
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Follows the server's first messages: a letter, a length of four bytes that counts itself, and, where it is about the login, what is asked
/// in four bytes more.
struct Watch {
    head: Vec<u8>,
    /// Of a message whose head has been seen.
    rest: usize,
    over: bool,
    proven: Arc<AtomicBool>,
}

const LENGTH: usize = 4;
const HEAD: usize = 1 + LENGTH;
const LOGIN_HEAD: usize = HEAD + 4;

const LOGIN: u8 = b'R';
const LOGGED_IN: u32 = 0;
const CLEAR_TEXT: u32 = 3;
const MD5: u32 = 5;
/// The driver goes on only if the server's last word of it is right.
const SCRAM_ENDED: u32 = 12;

impl Watch {
    fn new(proven: Arc<AtomicBool>) -> Watch {
        Watch { head: Vec::with_capacity(LOGIN_HEAD), rest: 0, over: false, proven }
    }

    fn see(&mut self, bytes: &[u8]) -> Result<(), Asked> {
        let mut bytes = bytes.iter();
        while !self.over
            && let Some(byte) = bytes.next()
        {
            if self.rest > 0 {
                self.rest -= 1;
                continue;
            }
            self.head.push(*byte);
            let is_login = self.head[0] == LOGIN;
            if self.head.len() < if is_login { LOGIN_HEAD } else { HEAD } {
                continue;
            }
            self.rest = (number(&self.head[1..HEAD]) + 1).saturating_sub(self.head.len());
            if is_login {
                self.asked(number(&self.head[HEAD..]))?;
            }
            self.head.clear();
        }
        Ok(())
    }

    fn asked(&mut self, what: usize) -> Result<(), Asked> {
        match u32::try_from(what) {
            Ok(CLEAR_TEXT) => return Err(Asked::ClearText),
            Ok(MD5) => return Err(Asked::Md5),
            Ok(SCRAM_ENDED) => self.proven.store(true, Ordering::Relaxed),
            Ok(LOGGED_IN) => self.over = true,
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }
}

/// Of four bytes at most.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| (number << 8) | usize::from(*byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + LENGTH).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    fn login(what: u32, more: &[u8]) -> Vec<u8> {
        message(LOGIN, &[&what.to_be_bytes(), more].concat())
    }

    /// Whatever the pieces that it comes in.
    fn check(said: &[Vec<u8>], expected: Result<bool, Asked>) {
        let said = said.concat();
        for piece in [1, 2, 3, 7, said.len()] {
            let plain = Plain::default();
            let mut watch = Watch::new(Arc::clone(&plain.proven));
            let seen = said.chunks(piece).try_for_each(|piece| watch.see(piece));
            assert_eq!(seen.map(|()| plain.is_proven()), expected, "{said:?} in pieces of {piece}");
        }
    }

    #[test]
    fn a_password_that_would_be_given_away_is_refused_whatever_came_before() {
        let ok = || login(LOGGED_IN, b"");
        let row = message(b'D', &login(CLEAR_TEXT, b""));
        check(&[ok(), row.clone()], Ok(false));
        check(&[login(CLEAR_TEXT, b"")], Err(Asked::ClearText));
        check(&[login(MD5, b"salt")], Err(Asked::Md5));
        check(&[message(b'N', b"R\0\0\0\x08\0\0\0\x03"), login(MD5, b"salt")], Err(Asked::Md5));
        let scram = [login(10, b"SCRAM-SHA-256\0\0"), login(11, b"r=x"), login(SCRAM_ENDED, b"v=y")];
        check(&[scram.concat(), ok(), row], Ok(true));
        check(&[scram.concat(), login(CLEAR_TEXT, b"")], Err(Asked::ClearText));
        // A length that cannot be does not stop the watch.
        check(&[vec![b'N', 0, 0, 0, 0], login(CLEAR_TEXT, b"")], Err(Asked::ClearText));
    }
}
