//! The socket of an HTTP/2 connection. Frames of all streams gather here and leave together, once
//! a turn of the connection's task: `h2` itself would flush after each frame with a payload.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{buffer::Buffer, cluster::Upstream, transport_socket::Connection};

/// Bytes that gather at most before the socket must take some. Four frames of the usual size: more
/// saves no system calls worth the memory.
const GATHERED: usize = 64 * 1024;

/// The socket, for `h2` and for the task that drives it. Clones are the same socket.
#[derive(Clone)]
pub(crate) struct Io(Rc<RefCell<Inner>>);

/// Whose socket it is.
pub(crate) enum Socket {
    /// A client's.
    Downstream(Connection),
    /// An endpoint's.
    Upstream(Box<Upstream>),
}

struct Inner {
    socket: Socket,
    received: Buffer,
    gathered: Vec<u8>,
    /// Of `gathered`: what has left.
    sent: usize,
    /// A write was refused, so that `h2` waits for room.
    refused: bool,
    failed: Option<io::ErrorKind>,
    traffic: Traffic,
}

/// Bytes that went through a socket.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// What is left to do for whoever drives the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing.
    Quiet,
    /// `h2` waits for the room there now is, or for an error: it must be polled again.
    PollAgain,
}

// === impl Io ===

impl Io {
    /// `received` has been read from the socket already.
    pub(crate) fn new(socket: Socket, received: Buffer) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            socket,
            received,
            gathered: Vec::new(),
            sent: 0,
            refused: false,
            failed: None,
            traffic: Traffic::default(),
        })))
    }

    /// Writes what has gathered. To be called after each turn of the connection; `cx` is woken
    /// when the socket takes more.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) -> Flushed {
        let mut inner = self.0.borrow_mut();
        let failed_before = inner.failed.is_some();
        let drained = inner.poll_drain(cx).is_ready();
        let newly_failed = !failed_before && inner.failed.is_some();
        if newly_failed || (drained && std::mem::take(&mut inner.refused)) {
            Flushed::PollAgain
        } else {
            Flushed::Quiet
        }
    }

    /// What went through since this was last asked.
    pub(crate) fn take_traffic(&self) -> Traffic {
        std::mem::take(&mut self.0.borrow_mut().traffic)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        if let Some(kind) = inner.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if inner.received.is_empty() {
            let read = inner.socket.connection().poll_read(cx, &mut inner.received);
            if read.is_pending() {
                // An idle connection holds no buffer.
                inner.received.release();
            }
            inner.traffic.received += ready!(read)? as u64;
        }
        let n = inner.received.len().min(into.remaining());
        into.put_slice(&inner.received.filled()[..n]);
        inner.received.consume(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_room(cx))?;
        inner.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_room(cx))?;
        let before = inner.gathered.len();
        for slice in slices {
            inner.gathered.extend_from_slice(slice);
        }
        Poll::Ready(Ok(inner.gathered.len() - before))
    }

    /// So that `h2` hands payloads over instead of copying them to a buffer of its own first.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: see [`Io::flush`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let failed = self.0.borrow().failed;
        Poll::Ready(failed.map_or(Ok(()), |kind| Err(kind.into())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        inner.socket.connection().poll_shutdown(cx)
    }
}

// === impl Socket ===

impl Socket {
    fn connection(&mut self) -> &mut Connection {
        match self {
            Self::Downstream(connection) => connection,
            Self::Upstream(upstream) => &mut upstream.connection,
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Ready when more may gather.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.len() - self.sent < GATHERED {
            return Poll::Ready(Ok(()));
        }
        let drained = self.poll_drain(cx);
        self.refused = drained.is_pending();
        drained
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        while self.sent < self.gathered.len() {
            let connection = self.socket.connection();
            match ready!(connection.poll_write(cx, &self.gathered[self.sent..])) {
                Ok(0) => return self.fail(io::ErrorKind::WriteZero),
                Ok(n) => {
                    self.sent += n;
                    self.traffic.sent += n as u64;
                }
                Err(error) => return self.fail(error.kind()),
            }
        }
        self.gathered.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, kind: io::ErrorKind) -> Poll<io::Result<()>> {
        self.failed = Some(kind);
        Poll::Ready(Err(kind.into()))
    }
}
