//! Transport sockets: how bytes travel on a connection.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{io::AsyncWrite, net::TcpStream};
use tokio_util::io::poll_read_buf;

use crate::buffer::Buffer;

/// A connection to a client or to an endpoint.
#[derive(Debug)]
pub(crate) enum Connection {
    /// `envoy.transport_sockets.raw_buffer`
    Raw(TcpStream),
}

// === impl Connection ===

impl AsMut<Self> for Connection {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

impl Connection {
    /// Reads once. 0 is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Raw(stream) => poll_read_buf(Pin::new(stream), cx, buffer.room()),
        }
    }

    /// Reads once, into memory whose parts are passed on.
    pub(crate) fn poll_read_bytes(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Raw(stream) => poll_read_buf(Pin::new(stream), cx, into),
        }
    }

    /// Writes once.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Raw(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Writes once, from two places.
    pub(crate) fn poll_write_two(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slices = [io::IoSlice::new(first), io::IoSlice::new(second)];
        match self {
            Self::Raw(stream) => Pin::new(stream).poll_write_vectored(cx, &slices),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Raw(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Ready when there is something to read, be it the end. Costs no system call; may be wrong
    /// towards ready.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Raw(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Whether an idle connection has something to read: nobody asked, so it is the end or
    /// garbage, and the connection is of no use any more. Costs a system call only where it is not
    /// known that nothing is left, which is so after a splice.
    pub(crate) fn is_spent(&self) -> bool {
        let ready = self.poll_readable(&mut Context::from_waker(Waker::noop()));
        let Self::Raw(stream) = self;
        let would_block = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        ready.is_ready() && !stream.try_read(&mut [0]).is_err_and(would_block)
    }

    /// The peer's reset is passed on: dropping the connection will send RST instead of FIN.
    pub(crate) fn reset_on_drop(&self) {
        let Self::Raw(stream) = self;
        // If it fails the peer sees FIN, as it would from any other proxy.
        let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
    }

    /// The plain socket, where bytes can be moved within the kernel.
    pub(crate) fn as_raw(&self) -> Option<&TcpStream> {
        match self {
            Self::Raw(stream) => Some(stream),
        }
    }

    /// Our address.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let Self::Raw(stream) = self;
        stream.local_addr()
    }
}
