//! A TCP server that does what its client asks for by the first bytes.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// Bytes of a request.
pub(crate) const LENGTH: usize = 5;
/// After so many that were kept open, those are let go whose client has gone: a turn's are well below
/// what one process may have.
const KEPT: usize = 1024;

/// What a client asks for. No protocol that a proxy detects begins like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Bytes until it closes.
    Stream,
    /// The request itself, then the end.
    EchoAndClose,
    /// The request itself, and no end before the client's.
    EchoAndKeep,
}

/// Serves until the process ends. One thread accepts; only streams get a thread of their own.
pub(super) fn serve(address: (&str, u16)) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("{address:?}"))?;
    // From a thread in the server's namespace, on its core, which those it starts share.
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            // A connection that a proxy dialled and gave up, or one that broke: the client tells.
            kept.extend(answer(stream).ok().flatten());
            if kept.len() % KEPT == 0 {
                kept.retain(is_open);
            }
        }
    });
    Ok(())
}

/// Returns the connection if it is to stay.
fn answer(mut stream: TcpStream) -> io::Result<Option<TcpStream>> {
    // The client speaks as soon as it is connected.
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut message = [0; LENGTH];
    stream.read_exact(&mut message)?;
    if message == Request::Stream.message() {
        thread::spawn(move || {
            let chunk = vec![b'x'; 256 * 1024];
            // Ends when the client closes.
            while stream.write_all(&chunk).is_ok() {}
        });
        return Ok(None);
    }
    stream.write_all(&message)?;
    let stays = message == Request::EchoAndKeep.message();
    if stays {
        // It is never read again, only looked at.
        stream.set_nonblocking(true)?;
    }
    Ok(stays.then_some(stream))
}

/// Whether the client of a connection that does not block has neither ended it nor gone.
fn is_open(stream: &TcpStream) -> bool {
    let seen = stream.peek(&mut [0]);
    seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

// === impl Request ===

impl Request {
    pub(crate) const fn message(self) -> [u8; LENGTH] {
        match self {
            Self::Stream => *b"\0bulk",
            Self::EchoAndClose => *b"\0echo",
            Self::EchoAndKeep => *b"\0keep",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_where_that_is_asked_for_and_until_its_client_ends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        for (request, stays) in [(Request::EchoAndClose, false), (Request::EchoAndKeep, true)] {
            let mut client = TcpStream::connect(address).expect("connected");
            client.write_all(&request.message()).expect("asked");
            let (accepted, _) = listener.accept().expect("accepted");
            let kept = answer(accepted).expect("answered");
            let mut echo = [0; LENGTH];
            client.read_exact(&mut echo).expect("an answer");
            assert_eq!(echo, request.message());
            assert_eq!(kept.is_some(), stays, "{request:?}");
            if let Some(kept) = kept {
                assert!(is_open(&kept));
                drop(client);
                kept.set_nonblocking(false).expect("blocks");
                assert!(!is_open(&kept), "its end is waited for, and seen");
            }
        }
    }
}
