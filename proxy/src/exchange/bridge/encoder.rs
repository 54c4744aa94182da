//! Bodies framed for HTTP/1.

use std::{
    io,
    task::{Context, Poll, ready},
};

use http::HeaderMap;

use crate::net::transport_socket::Connection;

/// Bytes that gather before they are written.
const GATHERED: usize = 16 * 1024;
/// Memory of a head that serves its body as well. Of a larger head nothing is held once it has left.
const KEPT: usize = 4096;

/// Frames a body, behind a head that is ready.
pub(in super::super) struct Encoder {
    framed: Framed,
    out: Vec<u8>,
    /// Bytes of `out` that were written.
    written: usize,
    /// Something was written.
    left: bool,
    /// The head was.
    head_left: bool,
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Framed {
    /// In chunks.
    Chunked,
    /// Not at all: its head says how long it is, or the end of the connection ends it.
    Plain,
}

// === impl Encoder ===

impl Encoder {
    pub(in super::super) fn new(head: Vec<u8>, framed: Framed) -> Self {
        Self {
            framed,
            out: head,
            written: 0,
            left: false,
            head_left: false,
        }
    }

    /// Whether something was written.
    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    /// Whether what has gathered must be written first.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= GATHERED
    }

    pub(super) fn data(&mut self, data: &[u8]) {
        // An empty chunk would be the end.
        if data.is_empty() {
            return;
        }
        match self.framed {
            Framed::Plain => self.out.extend_from_slice(data),
            Framed::Chunked => {
                let size = format!("{:x}\r\n", data.len());
                self.out.extend_from_slice(size.as_bytes());
                self.out.extend_from_slice(data);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) {
        if self.framed == Framed::Plain {
            return;
        }
        self.out.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            self.out.extend_from_slice(name.as_str().as_bytes());
            self.out.extend_from_slice(b": ");
            self.out.extend_from_slice(value.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes all there is.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Connection,
    ) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            match ready!(to.poll_write(cx, &self.out[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    self.written += n;
                    self.left = true;
                }
            }
        }
        if !std::mem::replace(&mut self.head_left, true) {
            self.release();
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Gives back memory that nothing needs before the next message.
    pub(super) fn release(&mut self) {
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
            self.written = 0;
        }
    }
}
