//! A TCP server that does what its client asks for by the first bytes.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// What is answered to [`Request::EchoAndClose`].
pub(crate) const ECHO: [u8; 5] = Request::EchoAndClose.message();

/// What a client asks for. No protocol that a proxy detects begins like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Bytes until it closes.
    Stream,
    /// The request itself, then the end.
    EchoAndClose,
}

/// Serves until the process ends. One thread accepts; only streams get a thread of their own.
pub(super) fn serve(address: (&str, u16)) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("{address:?}"))?;
    // From a thread in the server's namespace, on its core, which those it starts share.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that a proxy dialled and gave up, or one that broke: the client tells.
            let _ = answer(stream);
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    // The client speaks as soon as it is connected.
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut message = [0; ECHO.len()];
    stream.read_exact(&mut message)?;
    if message == Request::Stream.message() {
        thread::spawn(move || {
            let chunk = vec![b'x'; 256 * 1024];
            // Ends when the client closes.
            while stream.write_all(&chunk).is_ok() {}
        });
        return Ok(());
    }
    stream.write_all(&message)
}

// === impl Request ===

impl Request {
    pub(crate) const fn message(self) -> [u8; 5] {
        match self {
            Self::Stream => *b"\0bulk",
            Self::EchoAndClose => *b"\0echo",
        }
    }
}
