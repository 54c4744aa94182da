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

/// Bytes that are read in one turn: what they belong to should be sent on while they are still in
/// the processor's cache, and other connections want their turn.
const READ_PER_TURN: usize = 128 * 1024;
/// A read of at least this size goes straight to where `h2` wants it; smaller ones would cost a
/// system call for every few frames.
const LARGE: usize = 8 * 1024;

/// Empty buffers a worker keeps for what gathers. Connections take turns, so that few are in use at
/// a time, and the one used last is still in the processor's cache.
const KEPT: usize = 8;

thread_local! {
    static STOCK: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

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
    /// Holds memory only while something is in it.
    gathered: Vec<u8>,
    /// Of `gathered`: what has left.
    sent: usize,
    /// Bytes read in this turn.
    read: usize,
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
            read: 0,
            refused: false,
            failed: None,
            traffic: Traffic::default(),
        })))
    }

    /// Writes what has gathered. To be called after each turn of the connection; `cx` is woken
    /// when the socket takes more.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) -> Flushed {
        let mut inner = self.0.borrow_mut();
        inner.read = 0;
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
            if inner.read >= READ_PER_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let connection = inner.socket.connection();
            if into.remaining() >= LARGE {
                let before = into.filled().len();
                ready!(connection.poll_read_into(cx, into))?;
                inner.count(into.filled().len() - before);
                return Poll::Ready(Ok(()));
            }
            let read = connection.poll_read(cx, &mut inner.received);
            if read.is_pending() {
                // An idle connection holds no buffer.
                inner.received.release();
            }
            let n = ready!(read)?;
            inner.count(n);
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
    fn count(&mut self, read: usize) {
        self.read += read;
        self.traffic.received += read as u64;
    }

    /// Ready when more may gather.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.len() - self.sent >= GATHERED {
            let drained = self.poll_drain(cx);
            self.refused = drained.is_pending();
            ready!(drained)?;
        }
        if self.gathered.capacity() == 0 {
            self.gathered = STOCK.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        Poll::Ready(Ok(()))
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
        self.sent = 0;
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.clear();
        STOCK.with_borrow_mut(|stock| {
            if gathered.capacity() > 0 && stock.len() < KEPT {
                stock.push(gathered);
            }
        });
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, kind: io::ErrorKind) -> Poll<io::Result<()>> {
        self.failed = Some(kind);
        Poll::Ready(Err(kind.into()))
    }
}
